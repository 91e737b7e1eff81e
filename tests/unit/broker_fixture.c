// SPDX-License-Identifier: BSD-2-Clause
/* A broker with three VMs whose agents are scripts. */
#include "broker_fixture.h"

#include "common/log.h"
#include "remove_tree.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define FX_ROUNDS 8 /* of the loop: more than any exchange needs that the broker does by itself */
#define FX_PATIENCE_MS 20000 /* with a daemon: far beyond anything but a hang */
#define DOMAIN    "test.example"

static const char *const vm_names[N_VMS] = { "a", "b", "c" };

static int64_t wall_seconds(void)
{
	return FX_NOW;
}

static int64_t wall_ms(void)
{
	return (int64_t)FX_NOW * 1000;
}

/* The switch */

static int fake_scrub(void *backend, uint64_t offset, uint64_t length)
{
	struct fx_link *link = backend;

	assert_true(offset >= SIV_LINK_CHANNELS && offset + length <= FX_LINK_SIZE);
	if (link->scrub_error)
		return link->scrub_error;
	link->n_scrubs++;
	memset(link->memory + offset, 0, length);
	return 0;
}

void fx_answer_bump(struct fixture *fx, unsigned int index)
{
	fx->link[index].bump_asked = false;
	broker_link_epoch(fx->broker, index, ++fx->link[index].epoch);
}

static void fake_bump(void *backend)
{
	struct fx_link *link = backend;

	/* A switch never answers from inside the question. */
	link->n_bumps++;
	link->bump_asked = true;
}

static const struct broker_link_ops fake_ops = { .scrub = fake_scrub, .bump = fake_bump };

void fx_join(struct fixture *fx, unsigned int link, unsigned int end, uint32_t position)
{
	broker_link_joined(fx->broker, link, end, position);
	fx_run(fx);
}

void fx_gone(struct fixture *fx, unsigned int link, unsigned int end)
{
	broker_link_gone(fx->broker, link, end, ++fx->link[link].epoch);
	fx_run(fx);
}

/* Life */

static void stream_ended(void *arg, unsigned int vm)
{
	struct fixture *fx = arg;

	assert_false(broker_vm_has_stream(fx->broker, vm));
	fx->n_ended++;
}

static void make_policy(struct fixture *fx)
{
	struct policy *p = policy_new("host.conf", DOMAIN);

	assert_non_null(p);
	assert_int_equal(policy_add_vm(p, "a", FX_LOCAL_SIZE, 1), A);
	assert_int_equal(policy_add_vm(p, "b", FX_LOCAL_SIZE, 2), B);
	assert_int_equal(policy_add_vm(p, "c", FX_LOCAL_SIZE, 3), C);
	assert_int_equal(policy_add_service(p, A, "cli"), 0);
	assert_int_equal(policy_add_service(p, A, "loc"), 0);
	assert_int_equal(policy_add_service(p, B, "srv"), 0);
	assert_int_equal(policy_add_service(p, B, "other"), 0);
	assert_int_equal(policy_add_service(p, C, "srv2"), 0);
	assert_int_equal(policy_add_link(p, A, B, FX_LINK_SIZE, 7000, 4), LINK_AB);
	/* here A is end 1 */
	assert_int_equal(policy_add_link(p, C, A, FX_LINK_SIZE, 0, 5), LINK_AC);
	assert_int_equal(policy_add_allow(p, A, "cli", B, "srv", 6), 0);
	assert_int_equal(policy_add_allow(p, A, "cli", C, "srv2", 7), 1);
	assert_int_equal(policy_add_allow(p, A, "cli", A, "loc", 8), 2);
	assert_int_equal(policy_add_allow(p, B, "srv", A, "loc", 9), 3);
	fx->policy = p;
}

static void make_ca(struct fixture *fx)
{
	static const char *const files[] = { CA_FILE, CA_CERT_FILE };
	char folder[] = "/tmp/siv-broker-XXXXXX", path[64], error[CA_ERROR_LEN];
	struct ca_options options = { .domain = DOMAIN, .now = FX_NOW };

	assert_non_null(mkdtemp(folder));
	options.state = folder;
	if (ca_open(&options, &fx->ca, error))
		fail_msg("%s", error);
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		unlink(path);
	}
	rmdir(folder);
}

void fx_new_broker(struct fixture *fx)
{
	struct broker_config config = {
		.loop = fx->loop,
		.policy = fx->policy,
		.ca = fx->ca,
		.audit = fx->audit,
		.journal = journal_open(fx->state),
		.limits = fx->limits,
		.stream_ended = stream_ended,
		.arg = fx,
		.wall_clock = wall_seconds,
	};

	assert_non_null(config.journal);
	fx->journal = config.journal;
	fx->broker = broker_new(&config);
	assert_non_null(fx->broker);
}

void fx_kill_broker(struct fixture *fx)
{
	char path[64], text[1 << 16];
	size_t len;
	FILE *file;

	fx_journal_path(fx, path);
	file = fopen(path, "r");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text), file);
	assert_true(len < sizeof(text));
	fclose(file);
	fx_free_broker(fx);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	fclose(file);
	for (unsigned int i = 0; i < N_LINKS; i++)
		fx->link[i].bump_asked = false;
}

void fx_journal_path(const struct fixture *fx, char path[64])
{
	snprintf(path, 64, "%s/" JOURNAL_FILE, fx->state);
}

static void close_agent(struct fx_agent *agent)
{
	if (agent->fd >= 0)
		close(agent->fd);
	agent->fd = -1;
	agent->len = agent->used = 0;
}

void fx_free_broker(struct fixture *fx)
{
	broker_free(fx->broker);
	fx->broker = NULL;
	journal_close(fx->journal);
	fx->journal = NULL;
	for (unsigned int vm = 0; vm < N_VMS; vm++)
		close_agent(&fx->agent[vm]);
}

void fx_start_links(struct fixture *fx)
{
	for (unsigned int i = 0; i < N_LINKS; i++)
		broker_link_start(fx->broker, i, &fake_ops, &fx->link[i], fx->instance,
				  FX_LINK_SIZE, fx->link[i].epoch);
}

void fx_links_ready(struct fixture *fx)
{
	for (unsigned int i = 0; i < N_LINKS; i++)
		broker_link_ready(fx->broker, i);
}

void fx_restart_broker(struct fixture *fx)
{
	fx_free_broker(fx);
	fx_new_broker(fx);
	fx_start_links(fx);
}

void fx_init_agents(struct fixture *fx)
{
	for (unsigned int vm = 0; vm < N_VMS; vm++) {
		struct fx_agent *agent = &fx->agent[vm];

		agent->fd = -1;
		memset(agent->boot_id, 'B' + (int)vm, sizeof(agent->boot_id));
		memset(agent->nonce, 'N' + (int)vm, sizeof(agent->nonce));
		agent->module_nonce = 100 + vm;
		agent->positions[agent->n_positions++] = SIVP_LOCAL;
		/* IVPositions are of a link: the same number in two VMs means nothing. */
		agent->positions[agent->n_positions++] = vm == A ? 10 : 20;
	}
	fx->agent[A].positions[fx->agent[A].n_positions++] = 11;
}

int fx_setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	fx->loop = loop_new_manual();
	assert_non_null(fx->loop);
	log_init("broker", LOG_LEVEL_ERROR);
	make_policy(fx);
	make_ca(fx);
	fx->audit = audit_open("/dev/null", wall_ms);
	assert_non_null(fx->audit);
	for (unsigned int i = 0; i < N_LINKS; i++) {
		fx->link[i] = (struct fx_link){ .fx = fx, .index = i, .epoch = 1 };
		fx->link[i].memory = calloc(1, FX_LINK_SIZE);
		assert_non_null(fx->link[i].memory);
	}
	fx_init_agents(fx);
	strcpy(fx->state, "/tmp/siv-state-XXXXXX");
	assert_non_null(mkdtemp(fx->state));
	fx->instance = 77;
	fx_new_broker(fx);
	fx_start_links(fx);
	fx_links_ready(fx);
	*state = fx;
	return 0;
}

int fx_teardown(void **state)
{
	struct fixture *fx = *state;

	fx_free_broker(fx);
	audit_close(fx->audit);
	ca_close(fx->ca);
	policy_free(fx->policy);
	loop_free(fx->loop);
	for (unsigned int i = 0; i < N_LINKS; i++)
		free(fx->link[i].memory);
	assert_int_equal(remove_tree(fx->state), 0);
	free(fx);
	return 0;
}

void fx_run(struct fixture *fx)
{
	if (!fx->loop)
		return; /* a daemon: it runs by itself */
	for (int i = 0; i < FX_ROUNDS; i++) {
		assert_true(loop_run_once(fx->loop, 0) >= 0);
		for (unsigned int link = 0; link < N_LINKS; link++) {
			if (fx->link[link].bump_asked && !fx->link[link].hold_bumps)
				fx_answer_bump(fx, link);
		}
	}
}

/* Streams */

void fx_connect(struct fixture *fx, unsigned int vm)
{
	int pair[2];

	assert_int_equal(fx->agent[vm].fd, -1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(broker_add_vm_stream(fx->broker, vm, pair[0]), 0);
	fx->agent[vm].fd = pair[1];
}

void fx_hang_up(struct fixture *fx, unsigned int vm)
{
	close_agent(&fx->agent[vm]);
	fx_run(fx);
}

void fx_send_bytes(struct fixture *fx, unsigned int vm, const void *bytes, size_t len)
{
	const char *next = bytes;

	/* The broker reads in between, or a long message would never fit the socket. */
	while (len) {
		ssize_t n = send(fx->agent[vm].fd, next, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			n = 0;
		}
		next += n;
		len -= (size_t)n;
		fx_run(fx);
	}
}

struct sivp_builder *fx_message(struct fixture *fx, enum sivp_type type, uint64_t session)
{
	sivp_begin(&fx->out, SIVP_GUEST, type, session);
	return &fx->out;
}

void fx_send(struct fixture *fx, unsigned int vm)
{
	size_t len = sivp_end(&fx->out);

	assert_true(len > 0);
	fx_send_bytes(fx, vm, fx->out.buf, len);
}

static void receive(struct fx_agent *agent)
{
	ssize_t n;

	if (agent->used) {
		memmove(agent->in, agent->in + agent->used, agent->len - agent->used);
		agent->len -= agent->used;
		agent->used = 0;
	}
	assert_true(agent->len < sizeof(agent->in));
	n = recv(agent->fd, agent->in + agent->len, sizeof(agent->in) - agent->len, MSG_DONTWAIT);
	if (n > 0)
		agent->len += (size_t)n;
}

/* False: nothing came, or the daemon has hung up. */
static bool wait_for_more(const struct fx_agent *agent)
{
	struct pollfd pfd = { .fd = agent->fd, .events = POLLIN };

	return poll(&pfd, 1, FX_PATIENCE_MS) == 1 &&
	       recv(agent->fd, (char[1]){ 0 }, 1, MSG_PEEK) > 0;
}

/* @type: what is hoped for, for who reads why it failed. */
static const struct sivp_msg *next_message(struct fixture *fx, unsigned int vm, const char *type)
{
	struct fx_agent *agent = &fx->agent[vm];
	enum sivp_error err;
	size_t used;

	do {
		receive(agent);
		if (agent->len >= SIVP_MAGIC_LEN &&
		    memcmp(agent->in, SIVP_MAGIC, SIVP_MAGIC_LEN) == 0)
			agent->used = SIVP_MAGIC_LEN;
		err = sivp_parse(SIVP_HOST, agent->in + agent->used, agent->len - agent->used,
				 &agent->msg, &used);
	} while (err == SIVP_MORE && !fx->loop && wait_for_more(agent));
	if (err == SIVP_MORE)
		fail_msg("vm %u: expected %s, got nothing", vm, type);
	if (err != SIVP_OK)
		fail_msg("vm %u: %s", vm, sivp_error_name(err));
	agent->used += used;
	return &agent->msg;
}

const struct sivp_msg *fx_expect_any(struct fixture *fx, unsigned int vm)
{
	return next_message(fx, vm, "something");
}

const struct sivp_msg *fx_expect(struct fixture *fx, unsigned int vm, enum sivp_type type)
{
	const struct sivp_msg *msg = next_message(fx, vm, sivp_type_name(type));

	if (msg->type != type)
		fail_msg("vm %u: expected %s, got %s (reason %s)", vm, sivp_type_name(type),
			 sivp_type_name(msg->type),
			 sivp_reason_name(sivp_u32(msg, SIVP_A_REASON)));
	return msg;
}

void fx_expect_nothing(struct fixture *fx, unsigned int vm)
{
	struct fx_agent *agent = &fx->agent[vm];
	struct sivp_msg msg;
	size_t used;

	receive(agent);
	if (!agent->len)
		return;
	if (sivp_parse(SIVP_HOST, agent->in, agent->len, &msg, &used) == SIVP_OK)
		fail_msg("vm %u: unexpected %s", vm, sivp_type_name(msg.type));
	fail_msg("vm %u: unexpected bytes", vm);
}

void fx_expect_hang_up(struct fixture *fx, unsigned int vm)
{
	struct fx_agent *agent = &fx->agent[vm];
	ssize_t n;

	fx_run(fx);
	do {
		n = recv(agent->fd, agent->in, sizeof(agent->in), MSG_DONTWAIT);
	} while (n > 0);
	assert_int_equal(n, 0);
	assert_false(broker_vm_has_stream(fx->broker, vm));
	close_agent(agent);
}

void fx_expect_reject(struct fixture *fx, unsigned int vm, uint64_t session,
		      enum sivp_reason reason)
{
	const struct sivp_msg *msg = fx_expect(fx, vm, SIVP_REJECT);

	assert_int_equal(msg->session, session);
	assert_string_equal(sivp_reason_name(sivp_u32(msg, SIVP_A_REASON)),
			    sivp_reason_name(reason));
	assert_int_equal(sivp_u32(msg, SIVP_A_ERRNO), sivp_reason_errno(reason));
	assert_false(sivp_has(msg, SIVP_A_TEXT)); /* the rest is not a guest's business */
}

/* Conversations */

void fx_send_hello(struct fixture *fx, unsigned int vm)
{
	struct fx_agent *agent = &fx->agent[vm];
	uint8_t links[4 * 4];
	struct sivp_builder *b;

	for (unsigned int i = 0; i < agent->n_positions; i++) {
		for (unsigned int byte = 0; byte < 4; byte++)
			links[4 * i + byte] = (uint8_t)(agent->positions[i] >> 8 * byte);
	}
	fx_send_bytes(fx, vm, SIVP_MAGIC, SIVP_MAGIC_LEN);
	b = fx_message(fx, SIVP_HELLO, 0);
	sivp_put_u32(b, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(b, SIVP_A_ABI, SIV_ABI_VERSION);
	sivp_put_blob(b, SIVP_A_BOOT_ID, agent->boot_id, sizeof(agent->boot_id));
	sivp_put_u64(b, SIVP_A_MODULE_NONCE, agent->module_nonce);
	sivp_put_blob(b, SIVP_A_NONCE, agent->nonce, sizeof(agent->nonce));
	sivp_put_blob(b, SIVP_A_LINKS, links, 4 * agent->n_positions);
	fx_send(fx, vm);
}

void fx_hello(struct fixture *fx, unsigned int vm)
{
	const struct sivp_msg *msg;

	fx_send_hello(fx, vm);
	msg = fx_expect(fx, vm, SIVP_WELCOME);
	assert_memory_equal(msg->attr[SIVP_A_NONCE].data, fx->agent[vm].nonce, SIVP_NONCE_LEN);
	assert_string_equal(sivp_str(msg, SIVP_A_VM), vm_names[vm]);
	assert_string_equal(sivp_str(msg, SIVP_A_DOMAIN), DOMAIN);
	if (fx->loop)
		assert_int_equal(sivp_u64(msg, SIVP_A_TIME), FX_NOW);
	assert_true(msg->attr[SIVP_A_CA].len > 100);
}

void fx_reported(struct fixture *fx, unsigned int vm)
{
	fx_message(fx, SIVP_REPORTED, 0);
	fx_send(fx, vm);
}

void fx_ack(struct fixture *fx, unsigned int vm, uint32_t position, uint32_t epoch)
{
	struct sivp_builder *b = fx_message(fx, SIVP_LINK_ACK, 0);

	sivp_put_u32(b, SIVP_A_IVPOSITION, position);
	sivp_put_u32(b, SIVP_A_EPOCH, epoch);
	sivp_put_u32(b, SIVP_A_UP, 1);
	fx_send(fx, vm);
}

const struct sivp_msg *fx_expect_link(struct fixture *fx, unsigned int vm, uint32_t position,
				      uint32_t epoch, bool up)
{
	const struct sivp_msg *msg = fx_expect(fx, vm, SIVP_LINK);

	assert_int_equal(sivp_u32(msg, SIVP_A_IVPOSITION), position);
	assert_int_equal(sivp_u32(msg, SIVP_A_EPOCH), epoch);
	assert_int_equal(sivp_u32(msg, SIVP_A_UP), up);
	return msg;
}

void fx_expect_link_up(struct fixture *fx, unsigned int vm, uint32_t position)
{
	const struct sivp_msg *msg = fx_expect(fx, vm, SIVP_LINK);

	assert_int_equal(sivp_u32(msg, SIVP_A_IVPOSITION), position);
	assert_int_equal(sivp_u32(msg, SIVP_A_UP), 1);
	fx_ack(fx, vm, position, sivp_u32(msg, SIVP_A_EPOCH));
}

static void expect_link_down(struct fixture *fx, unsigned int vm, uint32_t position)
{
	const struct sivp_msg *msg = fx_expect(fx, vm, SIVP_LINK);

	assert_int_equal(sivp_u32(msg, SIVP_A_IVPOSITION), position);
	assert_int_equal(sivp_u32(msg, SIVP_A_UP), 0);
}

void fx_up(struct fixture *fx)
{
	fx_join(fx, LINK_AB, 0, 10);
	fx_join(fx, LINK_AC, 1, 11);
	fx_join(fx, LINK_AB, 1, 20);
	fx_connect(fx, A);
	fx_hello(fx, A);
	expect_link_down(fx, A, 10);
	expect_link_down(fx, A, 11);
	fx_reported(fx, A);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_expect_link_up(fx, A, 10);
	fx_expect_link_up(fx, B, 20);
	fx_reported(fx, B);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
}

void fx_up_all(struct fixture *fx)
{
	fx_up(fx);
	fx_join(fx, LINK_AC, 0, 20);
	fx_connect(fx, C);
	fx_hello(fx, C);
	fx_expect_link_up(fx, C, 20);
	fx_expect_link_up(fx, A, 11);
	fx_reported(fx, C);
	fx_expect_link_up(fx, C, SIVP_LOCAL);
}

void fx_open(struct fixture *fx, unsigned int vm, uint64_t session, const char *service,
	     const char *to_vm, const char *to_service)
{
	struct sivp_builder *b = fx_message(fx, SIVP_OPEN, session);

	sivp_put_str(b, SIVP_A_VM, to_vm);
	sivp_put_str(b, SIVP_A_SERVICE, service);
	sivp_put_str(b, SIVP_A_PEER_SERVICE, to_service);
	sivp_put_u32(b, SIVP_A_TYPE, SOCK_STREAM);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, 13);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, 14);
	sivp_put_u32(b, SIVP_A_TIMEOUT_MS, 60000);
	sivp_put_u32(b, SIVP_A_UID, 1000);
	sivp_put_u32(b, SIVP_A_PID, 4242);
	fx_send(fx, vm);
}

uint64_t fx_open_to(struct fixture *fx, uint64_t session, unsigned int server,
		    const char *to_service)
{
	const struct sivp_msg *msg;
	uint8_t nonce[SIVP_NONCE_LEN];
	uint64_t incoming;
	uint32_t sealed;

	fx_open(fx, A, session, "cli", vm_names[server], to_service);
	msg = fx_expect(fx, server, SIVP_INCOMING);
	incoming = msg->session;
	assert_true(incoming & SIVP_SESSION_INCOMING);
	assert_string_equal(sivp_str(msg, SIVP_A_VM), "a");
	assert_string_equal(sivp_str(msg, SIVP_A_SERVICE), to_service);
	assert_string_equal(sivp_str(msg, SIVP_A_PEER_SERVICE), "cli");
	memcpy(nonce, msg->attr[SIVP_A_NONCE].data, sizeof(nonce));
	sealed = sivp_u32(msg, SIVP_A_SEALED);
	fx_message(fx, SIVP_ACCEPTING, incoming);
	fx_send(fx, server);
	msg = fx_expect(fx, A, SIVP_OPENED);
	assert_int_equal(msg->session, session);
	assert_string_equal(sivp_str(msg, SIVP_A_VM), vm_names[server]);
	assert_string_equal(sivp_str(msg, SIVP_A_PEER_SERVICE), to_service);
	assert_memory_equal(msg->attr[SIVP_A_NONCE].data, nonce, sizeof(nonce));
	assert_int_equal(sivp_u32(msg, SIVP_A_SEALED), sealed); /* both ends are told the same */
	return incoming;
}

void fx_ready(struct fixture *fx, unsigned int vm, uint64_t session, const char *peer_id,
	      uint8_t digest, uint8_t peer_digest, uint8_t exporter)
{
	struct sivp_builder *b = fx_message(fx, SIVP_READY, session);
	uint8_t bytes[SIV_DIGEST_LEN];

	sivp_put_str(b, SIVP_A_PEER_ID, peer_id);
	memset(bytes, digest, sizeof(bytes));
	sivp_put_blob(b, SIVP_A_DIGEST, bytes, sizeof(bytes));
	memset(bytes, peer_digest, sizeof(bytes));
	sivp_put_blob(b, SIVP_A_PEER_DIGEST, bytes, sizeof(bytes));
	memset(bytes, exporter, sizeof(bytes));
	sivp_put_blob(b, SIVP_A_EXPORTER, bytes, SIVP_EXPORTER_LEN);
	fx_send(fx, vm);
}

void fx_ready_both(struct fixture *fx, uint64_t session, unsigned int server,
		   uint64_t server_session, const char *to_service)
{
	char id[SIV_SPIFFE_LEN];

	assert_true(sivp_spiffe_id(DOMAIN, vm_names[server], to_service, id, sizeof(id)));
	fx_ready(fx, A, session, id, 'c', 's', 'x');
	assert_true(sivp_spiffe_id(DOMAIN, "a", "cli", id, sizeof(id)));
	fx_ready(fx, server, server_session, id, 's', 'c', 'x');
}

void fx_expect_grant(struct fixture *fx, unsigned int vm, unsigned int side, uint64_t session,
		     struct fx_channel *channel)
{
	const struct sivp_msg *msg = fx_expect(fx, vm, SIVP_GRANT);

	assert_int_equal(msg->session, session);
	assert_int_equal(sivp_u32(msg, SIVP_A_C2S_ORDER), 13);
	assert_int_equal(sivp_u32(msg, SIVP_A_S2C_ORDER), 14);
	channel->session[side] = session;
	channel->position[side] = sivp_u32(msg, SIVP_A_IVPOSITION);
	channel->end[side] = sivp_u32(msg, SIVP_A_END);
	channel->epoch = sivp_u32(msg, SIVP_A_EPOCH);
	channel->slot = sivp_u32(msg, SIVP_A_SLOT);
	channel->generation = sivp_u64(msg, SIVP_A_GENERATION);
	channel->offset = sivp_u64(msg, SIVP_A_OFFSET);
	channel->sealed = false;
}

void fx_attached(struct fixture *fx, unsigned int vm, uint64_t session, uint32_t error)
{
	sivp_put_u32(fx_message(fx, SIVP_ATTACHED, session), SIVP_A_ERRNO, error);
	fx_send(fx, vm);
}

uint64_t fx_granted(struct fixture *fx, uint64_t session, unsigned int server,
		    const char *to_service, struct fx_channel *channel)
{
	uint64_t incoming = fx_open_to(fx, session, server, to_service);

	fx_ready_both(fx, session, server, incoming, to_service);
	fx_expect_grant(fx, server, 1, incoming, channel);
	return incoming;
}

struct fx_channel fx_connected(struct fixture *fx, uint64_t session, unsigned int server,
			       const char *to_service)
{
	struct fx_channel channel = { 0 }, seen = { 0 };
	uint64_t incoming = fx_granted(fx, session, server, to_service, &seen);

	fx_attached(fx, server, incoming, 0);
	channel = seen;
	fx_expect_grant(fx, A, 0, session, &channel);
	assert_int_equal(channel.epoch, seen.epoch);
	assert_int_equal(channel.slot, seen.slot);
	assert_int_equal(channel.generation, seen.generation);
	assert_int_equal(channel.offset, seen.offset);
	assert_int_equal(channel.end[0], !channel.end[1]);
	fx_attached(fx, A, session, 0);
	return channel;
}

static void put_channel(struct sivp_builder *b, const struct fx_channel *channel, unsigned int side)
{
	sivp_put_u32(b, SIVP_A_IVPOSITION, channel->position[side]);
	sivp_put_u32(b, SIVP_A_END, channel->end[side]);
	sivp_put_u32(b, SIVP_A_EPOCH, channel->epoch);
	sivp_put_u32(b, SIVP_A_SLOT, channel->slot);
	sivp_put_u64(b, SIVP_A_GENERATION, channel->generation);
}

void fx_closed(struct fixture *fx, unsigned int vm, const struct fx_channel *channel,
	       unsigned int side)
{
	put_channel(fx_message(fx, SIVP_CLOSED, 0), channel, side);
	fx_send(fx, vm);
}

void fx_expect_close(struct fixture *fx, unsigned int vm, const struct fx_channel *channel,
		     unsigned int side)
{
	const struct sivp_msg *msg = fx_expect(fx, vm, SIVP_CLOSE);

	assert_int_equal(sivp_u32(msg, SIVP_A_IVPOSITION), channel->position[side]);
	assert_int_equal(sivp_u32(msg, SIVP_A_END), channel->end[side]);
	assert_int_equal(sivp_u32(msg, SIVP_A_EPOCH), channel->epoch);
	assert_int_equal(sivp_u32(msg, SIVP_A_SLOT), channel->slot);
	assert_int_equal(sivp_u64(msg, SIVP_A_GENERATION), channel->generation);
}

void fx_report(struct fixture *fx, unsigned int vm, const struct fx_channel *channel,
	       unsigned int side, const char *peer_vm, const char *service,
	       const char *peer_service)
{
	struct sivp_builder *b = fx_message(fx, SIVP_OPEN_CHANNEL, 0);

	put_channel(b, channel, side);
	sivp_put_u64(b, SIVP_A_OFFSET, channel->offset);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, 13);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, 14);
	sivp_put_u32(b, SIVP_A_TYPE, SOCK_STREAM);
	sivp_put_u32(b, SIVP_A_SERVER, side);
	sivp_put_u32(b, SIVP_A_SEALED, channel->sealed);
	sivp_put_str(b, SIVP_A_VM, peer_vm);
	sivp_put_str(b, SIVP_A_SERVICE, service);
	sivp_put_str(b, SIVP_A_PEER_SERVICE, peer_service);
	fx_send(fx, vm);
}
