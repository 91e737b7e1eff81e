// SPDX-License-Identifier: BSD-2-Clause
/* A broker, and a script in place of its agent. */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker.h"
#include "common/confine.h"
#include "common/log.h"
#include "host_world.h"
#include "proto/proto.h"

#define DOMAIN  "bench.example"
#define VM      "a"
#define SERVICE "s63" /* the last of as many as a VM may have */

enum {
	LINK_BYTES = 8 << 20,
	RING_ORDER = 17, /* 128 KiB, as a socket takes them */
	IN_BYTES = 1 << 17,
	CONNECT_APART_MS = 100, /* so that the budget of the audit log has a line for each */
};

/* The flights of a mutual handshake, by size: hello, the server's, the client's, tickets. */
static const uint16_t flights[] = { 300, 1500, 1200, 500 };

struct world {
	struct loop *loop;
	struct broker *broker;
	bool audit_spent;
	int fd; /* the script's end */
	uint8_t in[IN_BYTES];
	size_t len, used;
	struct sivp_msg msg; /* the last that came */
	struct sivp_builder out;
	uint64_t session;
	char id[SIV_SPIFFE_LEN];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* The script */

static void run(struct world *world)
{
	if (loop_run_once(world->loop, 0) < 0)
		errx(EXIT_FAILURE, "the broker's loop failed");
}

static struct sivp_builder *message(struct world *world, enum sivp_type type, uint64_t session)
{
	sivp_begin(&world->out, SIVP_GUEST, type, session);
	return &world->out;
}

static void say(struct world *world)
{
	size_t len = sivp_end(&world->out);

	if (!len || send(world->fd, world->out.buf, len, MSG_NOSIGNAL) != (ssize_t)len)
		errx(EXIT_FAILURE, "a message was not sent");
	run(world);
}

static void receive(struct world *world)
{
	ssize_t n;

	memmove(world->in, world->in + world->used, world->len - world->used);
	world->len -= world->used;
	world->used = 0;
	n = recv(world->fd, world->in + world->len, sizeof(world->in) - world->len, MSG_DONTWAIT);
	if (n > 0)
		world->len += (size_t)n;
	else if (n == 0 || errno != EAGAIN)
		errx(EXIT_FAILURE, "the broker has hung up");
}

/* The next message, which must be a @type. */
static const struct sivp_msg *expect(struct world *world, enum sivp_type type)
{
	enum sivp_error error;
	size_t used;

	for (;;) {
		const uint8_t *next = world->in + world->used;

		if (world->len - world->used >= SIVP_MAGIC_LEN &&
		    !memcmp(next, SIVP_MAGIC, SIVP_MAGIC_LEN))
			world->used += SIVP_MAGIC_LEN;
		error = sivp_parse(SIVP_HOST, world->in + world->used, world->len - world->used,
				   &world->msg, &used);
		if (error != SIVP_MORE)
			break;
		run(world);
		receive(world);
	}
	if (error != SIVP_OK || world->msg.type != type)
		errx(EXIT_FAILURE, "expected %s, got %s", sivp_type_name(type),
		     error == SIVP_OK ? sivp_type_name(world->msg.type) : sivp_error_name(error));
	world->used += used;
	return &world->msg;
}

static void hello(struct world *world)
{
	static const uint8_t boot_id[16] = { 1 }, nonce[SIVP_NONCE_LEN] = { 2 };
	static const uint8_t links[4] = { 0xff, 0xff, 0xff, 0xff }; /* SIVP_LOCAL */
	struct sivp_builder *b;
	uint32_t epoch;

	if (send(world->fd, SIVP_MAGIC, SIVP_MAGIC_LEN, MSG_NOSIGNAL) != SIVP_MAGIC_LEN)
		err(EXIT_FAILURE, "send");
	b = message(world, SIVP_HELLO, 0);
	sivp_put_u32(b, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(b, SIVP_A_ABI, SIV_ABI_VERSION);
	sivp_put_blob(b, SIVP_A_BOOT_ID, boot_id, sizeof(boot_id));
	sivp_put_u64(b, SIVP_A_MODULE_NONCE, 3);
	sivp_put_blob(b, SIVP_A_NONCE, nonce, sizeof(nonce));
	sivp_put_blob(b, SIVP_A_LINKS, links, sizeof(links));
	say(world);
	expect(world, SIVP_WELCOME);
	message(world, SIVP_REPORTED, 0);
	say(world);
	epoch = sivp_u32(expect(world, SIVP_LINK), SIVP_A_EPOCH);
	b = message(world, SIVP_LINK_ACK, 0);
	sivp_put_u32(b, SIVP_A_IVPOSITION, SIVP_LOCAL);
	sivp_put_u32(b, SIVP_A_EPOCH, epoch);
	sivp_put_u32(b, SIVP_A_UP, 1);
	say(world);
}

static void say_open(struct world *world)
{
	struct sivp_builder *b = message(world, SIVP_OPEN, world->session);

	sivp_put_str(b, SIVP_A_VM, VM);
	sivp_put_str(b, SIVP_A_SERVICE, SERVICE);
	sivp_put_str(b, SIVP_A_PEER_SERVICE, SERVICE);
	sivp_put_u32(b, SIVP_A_TYPE, SOCK_STREAM);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, RING_ORDER);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, RING_ORDER);
	sivp_put_u32(b, SIVP_A_TIMEOUT_MS, 60000);
	sivp_put_u32(b, SIVP_A_UID, 1000);
	sivp_put_u32(b, SIVP_A_PID, 4242);
	say(world);
}

static void relay_tls(struct world *world, uint64_t client, uint64_t server)
{
	static const uint8_t bytes[SIVP_TLS_MAX];

	for (unsigned int i = 0; i < sizeof(flights) / sizeof(flights[0]); i++) {
		sivp_put_blob(message(world, SIVP_TLS, i % 2 ? server : client), SIVP_A_TLS, bytes,
			      flights[i]);
		say(world);
		expect(world, SIVP_TLS);
	}
}

static void say_ready(struct world *world, uint64_t session)
{
	static const uint8_t same[SIV_DIGEST_LEN]; /* a service that connects to itself */
	struct sivp_builder *b = message(world, SIVP_READY, session);

	sivp_put_str(b, SIVP_A_PEER_ID, world->id);
	sivp_put_blob(b, SIVP_A_DIGEST, same, sizeof(same));
	sivp_put_blob(b, SIVP_A_PEER_DIGEST, same, sizeof(same));
	sivp_put_blob(b, SIVP_A_EXPORTER, same, SIVP_EXPORTER_LEN);
	say(world);
}

static void say_attached(struct world *world, uint64_t session)
{
	sivp_put_u32(message(world, SIVP_ATTACHED, session), SIVP_A_ERRNO, 0);
	say(world);
}

static void say_closed(struct world *world, unsigned int end, uint32_t epoch, uint32_t slot,
		       uint64_t generation)
{
	struct sivp_builder *b = message(world, SIVP_CLOSED, 0);

	sivp_put_u32(b, SIVP_A_IVPOSITION, SIVP_LOCAL);
	sivp_put_u32(b, SIVP_A_END, end);
	sivp_put_u32(b, SIVP_A_EPOCH, epoch);
	sivp_put_u32(b, SIVP_A_SLOT, slot);
	sivp_put_u64(b, SIVP_A_GENERATION, generation);
	say(world);
}

uint64_t world_connect(struct world *world)
{
	uint64_t start, ns, generation, client = ++world->session, server;
	const struct sivp_msg *grant;
	uint32_t epoch, slot;

	if (!world->audit_spent)
		loop_advance(world->loop, CONNECT_APART_MS * LOOP_NS_PER_MS);
	start = now_ns();
	say_open(world);
	server = expect(world, SIVP_INCOMING)->session;
	message(world, SIVP_ACCEPTING, server);
	say(world);
	expect(world, SIVP_OPENED);
	relay_tls(world, client, server);
	say_ready(world, client);
	say_ready(world, server);
	grant = expect(world, SIVP_GRANT);
	epoch = sivp_u32(grant, SIVP_A_EPOCH);
	slot = sivp_u32(grant, SIVP_A_SLOT);
	generation = sivp_u64(grant, SIVP_A_GENERATION);
	say_attached(world, server);
	expect(world, SIVP_GRANT);
	say_attached(world, client);
	while (broker_count_sessions(world->broker))
		run(world);
	ns = now_ns() - start;
	for (unsigned int end = 0; end < 2; end++)
		say_closed(world, end, epoch, slot, generation);
	while (broker_count_channels(world->broker))
		run(world);
	return ns;
}

/* What is around it */

static struct policy *make_policy(const struct world_options *options)
{
	static struct revocations revoked;
	struct policy *policy = policy_new("host.conf", DOMAIN);
	char from[SIV_SERVICE_LEN], to[SIV_SERVICE_LEN];
	unsigned int first = POLICY_ALLOWS_MAX - options->rules;
	int bad;

	bad = !policy || policy_add_vm(policy, VM, LINK_BYTES, 1) < 0;
	for (unsigned int i = 0; !bad && i < POLICY_SERVICES_MAX; i++) {
		snprintf(from, sizeof(from), "s%u", i);
		bad = policy_add_service(policy, 0, from);
	}
	/* of all pairs of services so many as were asked for, the last pair included */
	for (unsigned int i = first; !bad && i < POLICY_ALLOWS_MAX; i++) {
		snprintf(from, sizeof(from), "s%u", i / POLICY_SERVICES_MAX);
		snprintf(to, sizeof(to), "s%u", i % POLICY_SERVICES_MAX);
		bad = policy_add_allow(policy, 0, from, 0, to, (int)i + 1) < 0;
	}
	for (unsigned int i = 0; !bad && i < options->revocations; i++) {
		snprintf(from, sizeof(from), "r%u", i);
		bad = revocations_add(&revoked, VM, from, 1);
	}
	if (bad)
		errx(EXIT_FAILURE, "the policy could not be made");
	policy->revoked = &revoked;
	return policy;
}

static struct ca *open_ca(const char *folder)
{
	struct ca_options options = { .domain = DOMAIN, .state = folder, .now = time(NULL) };
	char error[CA_ERROR_LEN];
	struct ca *ca;

	if (ca_open(&options, &ca, error))
		errx(EXIT_FAILURE, "%s", error);
	return ca;
}

void world_prepare(const char *folder)
{
	log_init("siv-bench-host", LOG_LEVEL_ERROR);
	ca_close(open_ca(folder));
}

static void confine_as_hostd(void)
{
	static const int families[] = { AF_UNIX, 0 };
	static const char *const none[] = { NULL };
	const struct confine_calls calls = { .names = none, .families = families };

	/* prctl() is not on hostd's list: where it still works, this kernel confines nothing */
	if (confine_calls(CONFINE_ENFORCE, &calls) || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0)
		errx(EXIT_FAILURE, "system calls could not be confined");
}

struct world *world_open(const struct world_options *options)
{
	struct broker_config config = { .limits.opens_burst = 1 << 30 };
	struct world *world = calloc(1, sizeof(*world));
	char path[256];
	int pair[2];

	if (!world || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		err(EXIT_FAILURE, "world");
	world->loop = config.loop = loop_new_manual();
	config.policy = make_policy(options);
	config.ca = open_ca(options->folder);
	snprintf(path, sizeof(path), "%s/audit.log", options->folder);
	config.audit = audit_open(path, NULL);
	snprintf(path, sizeof(path), "%s/" JOURNAL_FILE, options->folder);
	unlink(path); /* an earlier world's */
	if (options->journal)
		config.journal = journal_open(options->folder);
	if (!config.loop || !config.audit || (options->journal && !config.journal))
		err(EXIT_FAILURE, "%s", options->folder);
	world->broker = broker_new(&config);
	if (!world->broker || broker_add_vm_stream(world->broker, 0, pair[0]))
		errx(EXIT_FAILURE, "the broker could not be made");
	world->fd = pair[1];
	world->audit_spent = options->audit_spent;
	if (!sivp_spiffe_id(DOMAIN, VM, SERVICE, world->id, sizeof(world->id)))
		errx(EXIT_FAILURE, "the service's name is too long");
	hello(world);
	if (options->confined)
		confine_as_hostd();
	return world;
}
