// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a hostile VM may send to the broker, while another one is honest.
 *
 * The input is a script: each step is one byte that says what to do and what it needs. Most steps
 * send a well-formed message with fields of the fuzzer's choosing, so that it gets beyond the
 * codec; some send raw bytes; in some the host revokes what is `a`'s, or tells of authorities. VM
 * `a` is hostile, VM `b` answers like an agent, and `c` has nothing to do with `a` at all. What must hold whatever `a` says: nothing crashes, `b` and `c` never lose
 * their streams, and a connect from `c` to `b` works at the end.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker.h"
#include "common/log.h"

enum { A, B, C, N_VMS };
enum { LINK_AB, LINK_CB, N_LINKS };

#define LINK_SIZE (1u << 20)
#define NOW       1800000000
#define ROUNDS    6

/* Of any message: the scripts of the corpus count on it. What came later has steps of its own. */
#define SCRIPT_TYPES SIVP_CHANGED

struct honest {
	int fd;
	uint8_t in[1 << 16];
	size_t len;
	bool connected; /* C: its connect has been granted */
	/* A: what the broker has told it last, so that the fuzzer can name what exists. */
	uint64_t last_session, generation, offset;
	uint32_t slot, end, position;
};

static struct {
	struct loop *loop;
	struct policy *policy;
	struct revocations revoked;
	struct ca *ca;
	struct audit *audit;
	struct broker *broker;
	struct honest vm[N_VMS];
	uint32_t epoch[N_LINKS];
	bool bump[N_LINKS];
	struct sivp_builder out;
} fz;

static const uint32_t positions[N_VMS] = { 10, 20, 30 };

static int64_t wall(void)
{
	return NOW;
}

static int64_t wall_ms(void)
{
	return NOW * 1000ll;
}

static int scrub(void *backend, uint64_t offset, uint64_t length)
{
	(void)backend;
	assert(offset >= SIV_LINK_CHANNELS && length <= LINK_SIZE && offset <= LINK_SIZE - length);
	return 0;
}

static void bump(void *backend)
{
	*(bool *)backend = true;
}

static const struct broker_link_ops ops = { .scrub = scrub, .bump = bump };

/* Once: the CA's key is what takes time. */
static void set_up(void)
{
	char folder[] = "/tmp/siv-fuzz-XXXXXX", path[64], error[CA_ERROR_LEN];
	struct ca_options options = { .domain = "fuzz.example", .now = NOW };

	log_init("fuzz", LOG_LEVEL_ERROR);
	options.state = mkdtemp(folder);
	assert(options.state && ca_open(&options, &fz.ca, error) == 0);
	snprintf(path, sizeof(path), "%s/ca.pem", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/ca.crt", folder);
	unlink(path);
	rmdir(folder);
	fz.audit = audit_open("/dev/null", wall_ms);
	fz.policy = policy_new("host.conf", "fuzz.example");
	policy_add_vm(fz.policy, "a", LINK_SIZE, 1);
	policy_add_vm(fz.policy, "b", LINK_SIZE, 2);
	policy_add_vm(fz.policy, "c", LINK_SIZE, 3);
	for (unsigned int vm = 0; vm < N_VMS; vm++) {
		policy_add_service(fz.policy, vm, "s");
		policy_add_service(fz.policy, vm, "t");
	}
	policy_add_link(fz.policy, A, B, LINK_SIZE, 0, 4);
	policy_add_link(fz.policy, C, B, LINK_SIZE, 0, 5);
	policy_add_allow(fz.policy, A, "s", B, "s", 6);
	policy_add_allow(fz.policy, B, "s", A, "s", 7);
	policy_add_allow(fz.policy, A, "s", A, "t", 8);
	policy_add_allow(fz.policy, C, "s", B, "s", 9);
	fz.policy->revoked = &fz.revoked;
}

static void run(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		loop_run_once(fz.loop, 0);
		for (unsigned int link = 0; link < N_LINKS; link++) {
			if (!fz.bump[link])
				continue;
			fz.bump[link] = false;
			broker_link_epoch(fz.broker, link, ++fz.epoch[link]);
		}
	}
}

static void send_all(unsigned int vm, const void *data, size_t len)
{
	/* What does not fit is lost, as to a guest that does not wait. */
	if (fz.vm[vm].fd >= 0 && send(fz.vm[vm].fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

static void finish(unsigned int vm)
{
	size_t len = sivp_end(&fz.out);

	if (len)
		send_all(vm, fz.out.buf, len);
}

static void begin(enum sivp_type type, uint64_t session)
{
	sivp_begin(&fz.out, SIVP_GUEST, type, session);
}

static void connect_vm(unsigned int vm)
{
	int pair[2];

	if (fz.vm[vm].fd >= 0)
		close(fz.vm[vm].fd);
	fz.vm[vm].fd = -1;
	run();
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	assert(broker_add_vm_stream(fz.broker, vm, pair[0]) == 0);
	fz.vm[vm].fd = pair[1];
	fz.vm[vm].len = 0;
}

static void say_hello(unsigned int vm, uint8_t boot, uint8_t module, uint32_t position)
{
	const uint32_t links[] = { position, SIVP_LOCAL };
	uint8_t bytes[16] = { boot };

	send_all(vm, SIVP_MAGIC, SIVP_MAGIC_LEN);
	begin(SIVP_HELLO, 0);
	sivp_put_u32(&fz.out, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(&fz.out, SIVP_A_ABI, SIV_ABI_VERSION);
	sivp_put_blob(&fz.out, SIVP_A_BOOT_ID, bytes, sizeof(bytes));
	sivp_put_u64(&fz.out, SIVP_A_MODULE_NONCE, module);
	sivp_put_blob(&fz.out, SIVP_A_NONCE, bytes, sizeof(bytes));
	sivp_put_blob(&fz.out, SIVP_A_LINKS, links, sizeof(links));
	finish(vm);
}

/* The honest agents */

static void send_ready(unsigned int vm, uint64_t session, const char *peer_id)
{
	static const uint8_t same[SIV_DIGEST_LEN];

	begin(SIVP_READY, session);
	sivp_put_str(&fz.out, SIVP_A_PEER_ID, peer_id);
	sivp_put_blob(&fz.out, SIVP_A_DIGEST, same, sizeof(same));
	sivp_put_blob(&fz.out, SIVP_A_PEER_DIGEST, same, sizeof(same));
	sivp_put_blob(&fz.out, SIVP_A_EXPORTER, same, SIVP_EXPORTER_LEN);
	finish(vm);
}

static void put_channel(const struct sivp_msg *msg)
{
	sivp_put_u32(&fz.out, SIVP_A_IVPOSITION, sivp_u32(msg, SIVP_A_IVPOSITION));
	sivp_put_u32(&fz.out, SIVP_A_END, sivp_u32(msg, SIVP_A_END));
	sivp_put_u32(&fz.out, SIVP_A_EPOCH, sivp_u32(msg, SIVP_A_EPOCH));
	sivp_put_u32(&fz.out, SIVP_A_SLOT, sivp_u32(msg, SIVP_A_SLOT));
	sivp_put_u64(&fz.out, SIVP_A_GENERATION, sivp_u64(msg, SIVP_A_GENERATION));
}

static void answer(unsigned int vm, const struct sivp_msg *msg)
{
	char id[SIV_SPIFFE_LEN];

	switch (msg->type) {
	case SIVP_LINK:
		begin(SIVP_LINK_ACK, 0);
		sivp_put_u32(&fz.out, SIVP_A_IVPOSITION, sivp_u32(msg, SIVP_A_IVPOSITION));
		sivp_put_u32(&fz.out, SIVP_A_EPOCH, sivp_u32(msg, SIVP_A_EPOCH));
		sivp_put_u32(&fz.out, SIVP_A_UP, sivp_u32(msg, SIVP_A_UP));
		finish(vm);
		break;
	case SIVP_INCOMING:
		begin(SIVP_ACCEPTING, msg->session);
		finish(vm);
		/* fall through */
	case SIVP_OPENED:
		sivp_spiffe_id("fuzz.example", sivp_str(msg, SIVP_A_VM),
			       sivp_str(msg, SIVP_A_PEER_SERVICE), id, sizeof(id));
		send_ready(vm, msg->session, id);
		break;
	case SIVP_GRANT:
		if (vm == C)
			fz.vm[vm].connected = true;
		begin(SIVP_ATTACHED, msg->session);
		sivp_put_u32(&fz.out, SIVP_A_ERRNO, 0);
		finish(vm);
		break;
	case SIVP_CLOSE:
		begin(SIVP_CLOSED, 0);
		put_channel(msg);
		finish(vm);
		break;
	default:
		break;
	}
}

static void remember(struct honest *h, const struct sivp_msg *msg)
{
	h->last_session = msg->session ?: h->last_session;
	if (msg->type != SIVP_GRANT)
		return;
	h->position = sivp_u32(msg, SIVP_A_IVPOSITION);
	h->end = sivp_u32(msg, SIVP_A_END);
	h->slot = sivp_u32(msg, SIVP_A_SLOT);
	h->generation = sivp_u64(msg, SIVP_A_GENERATION);
	h->offset = sivp_u64(msg, SIVP_A_OFFSET);
}

/* Reads all that an agent got. The honest ones answer. */
static void serve(unsigned int vm)
{
	struct honest *h = &fz.vm[vm];
	size_t at = 0, used;
	struct sivp_msg msg;
	ssize_t n;

	if (h->fd < 0)
		return;
	n = recv(h->fd, h->in + h->len, sizeof(h->in) - h->len, MSG_DONTWAIT);
	assert(n != 0 || vm == A);
	if (n > 0)
		h->len += (size_t)n;
	while (at < h->len) {
		if (h->len - at >= SIVP_MAGIC_LEN &&
		    memcmp(h->in + at, SIVP_MAGIC, SIVP_MAGIC_LEN) == 0) {
			at += SIVP_MAGIC_LEN;
			continue;
		}
		/* The broker itself never breaks the protocol. */
		switch (sivp_parse(SIVP_HOST, h->in + at, h->len - at, &msg, &used)) {
		case SIVP_OK:
			break;
		case SIVP_MORE:
			goto out;
		default:
			abort();
		}
		if (vm == A)
			remember(h, &msg);
		else
			answer(vm, &msg);
		at += used;
	}
out:
	memmove(h->in, h->in + at, h->len - at);
	h->len -= at;
}

static void exchange(void)
{
	for (int i = 0; i < 8; i++) {
		run();
		for (unsigned int vm = 0; vm < N_VMS; vm++)
			serve(vm);
	}
}

/* The hostile one */

struct script {
	const uint8_t *data;
	size_t len;
};

static uint8_t take(struct script *s)
{
	if (!s->len)
		return 0;
	s->len--;
	return *s->data++;
}

static uint64_t a_session(struct script *s)
{
	uint8_t byte = take(s);

	/* Mostly one that exists. */
	if (byte < 128)
		return fz.vm[A].last_session ^ (byte & 3);
	return byte & 64 ? SIVP_SESSION_INCOMING | (byte & 7) : 1 + (byte & 7);
}

static void put_any_channel(struct script *s)
{
	const struct honest *a = &fz.vm[A];
	uint8_t what = take(s);
	bool known = what & 4;

	sivp_put_u32(&fz.out, SIVP_A_IVPOSITION,
		     known ? a->position : what & 1 ? SIVP_LOCAL : 10 + (what >> 7));
	sivp_put_u32(&fz.out, SIVP_A_END, known ? a->end : what >> 1 & 1);
	sivp_put_u32(&fz.out, SIVP_A_EPOCH, what & 8 ? NOW + (what >> 4) : fz.epoch[LINK_AB]);
	sivp_put_u32(&fz.out, SIVP_A_SLOT, known ? a->slot : take(s) % 8);
	sivp_put_u64(&fz.out, SIVP_A_GENERATION, known ? a->generation : take(s) % 8);
}

static void any_message(struct script *s, enum sivp_type type)
{
	static const char *const names[] = { "a", "b", "c", "", "s", "t", "x" };
	static const char *const ids[] = { "spiffe://fuzz.example/vm/a/service/s",
					   "spiffe://fuzz.example/vm/b/service/s",
					   "spiffe://fuzz.example/vm/a/service/t" };
	uint64_t session, offset;
	uint8_t bits;

	switch (type) {
	case SIVP_OPEN:
		begin(type, 1 + take(s) % 8);
		sivp_put_str(&fz.out, SIVP_A_VM, names[take(s) % 4]);
		sivp_put_str(&fz.out, SIVP_A_SERVICE, names[4 + take(s) % 3]);
		sivp_put_str(&fz.out, SIVP_A_PEER_SERVICE, names[4 + take(s) % 3]);
		sivp_put_u32(&fz.out, SIVP_A_TYPE, SOCK_STREAM);
		sivp_put_u32(&fz.out, SIVP_A_C2S_ORDER, 12 + take(s) % 15);
		sivp_put_u32(&fz.out, SIVP_A_S2C_ORDER, 12);
		sivp_put_u32(&fz.out, SIVP_A_TIMEOUT_MS, take(s));
		break;
	case SIVP_READY:
		session = a_session(s) ?: 1;
		send_ready(A, session, ids[take(s) % 3]);
		return;
	case SIVP_TLS: {
		static const uint8_t records[SIVP_TLS_MAX];

		begin(type, a_session(s));
		sivp_put_blob(&fz.out, SIVP_A_TLS, records, 1 + take(s) * 64u);
		break;
	}
	case SIVP_ATTACHED:
		begin(type, a_session(s));
		sivp_put_u32(&fz.out, SIVP_A_ERRNO, take(s) % 3);
		break;
	case SIVP_REJECT:
		begin(type, a_session(s));
		sivp_put_u32(&fz.out, SIVP_A_REASON, take(s) % (SIVP_R_MAX + 1));
		sivp_put_u32(&fz.out, SIVP_A_ERRNO, take(s));
		break;
	case SIVP_ACCEPTING:
		begin(type, a_session(s) | SIVP_SESSION_INCOMING);
		break;
	case SIVP_CLOSED:
		begin(type, 0);
		put_any_channel(s);
		break;
	case SIVP_OPEN_CHANNEL:
		begin(type, 0);
		put_any_channel(s);
		offset = take(s) * (uint64_t)SIV_PAGE_SIZE;
		sivp_put_u64(&fz.out, SIVP_A_OFFSET, offset ?: fz.vm[A].offset);
		sivp_put_u32(&fz.out, SIVP_A_C2S_ORDER, 12 + take(s) % 15);
		sivp_put_u32(&fz.out, SIVP_A_S2C_ORDER, 12);
		sivp_put_u32(&fz.out, SIVP_A_TYPE, SOCK_STREAM);
		bits = take(s);
		sivp_put_u32(&fz.out, SIVP_A_SERVER, bits & 1);
		sivp_put_u32(&fz.out, SIVP_A_SEALED, bits >> 1 & 1);
		sivp_put_str(&fz.out, SIVP_A_VM, names[take(s) % 3]);
		sivp_put_str(&fz.out, SIVP_A_SERVICE, names[4 + take(s) % 3]);
		sivp_put_str(&fz.out, SIVP_A_PEER_SERVICE, names[4 + take(s) % 3]);
		break;
	case SIVP_LINK_ACK:
	case SIVP_LINK_STALLED:
		begin(type, 0);
		sivp_put_u32(&fz.out, SIVP_A_IVPOSITION, take(s) & 1 ? SIVP_LOCAL : 10);
		sivp_put_u32(&fz.out, SIVP_A_EPOCH, fz.epoch[LINK_AB] + (take(s) == 0));
		if (type == SIVP_LINK_ACK)
			sivp_put_u32(&fz.out, SIVP_A_UP, take(s) & 1);
		break;
	case SIVP_AUDIT:
		begin(type, 0);
		sivp_put_u32(&fz.out, SIVP_A_REASON, take(s) % (SIVP_R_MAX + 1));
		break;
	case SIVP_LISTENING:
		begin(type, 0);
		sivp_put_str(&fz.out, SIVP_A_SERVICE, names[4 + take(s) % 3]);
		sivp_put_u32(&fz.out, SIVP_A_UP, take(s) & 1);
		break;
	default:
		begin(type, 0);
		break;
	}
	finish(A);
}

/* The host revokes something of A, or takes that back, or resets one channel. */
static void take_back(uint8_t what)
{
	const char *service = what & 2 ? "s" : "";
	struct broker_enforced done;
	json_t *reply;

	if (what & 1) {
		reply = json_object();
		broker_revoke_channel(fz.broker, what & 4 ? "a--b" : "a", what >> 3 & 3, reply);
		json_decref(reply);
		return;
	}
	if (revocations_remove(&fz.revoked, "a", service))
		assert(revocations_add(&fz.revoked, "a", service, NOW) == 0);
	if (what & 4)
		broker_changed(fz.broker, what & 8 ? A : -1);
	broker_enforce(fz.broker, &done);
	/* That was all of it. */
	broker_enforce(fz.broker, &done);
	assert(!done.channels && !done.connects);
}

/* The host tells whom it trusts; or A says that it has renewed, by a right or a wrong digest. */
static void trust(uint8_t what)
{
	static const uint8_t wrong[SIV_DIGEST_LEN];

	if (what & 1) {
		broker_trust_changed(fz.broker);
		assert(broker_not_renewed(fz.broker) <= N_VMS);
		return;
	}
	begin(SIVP_RENEWED, 0);
	sivp_put_blob(&fz.out, SIVP_A_DIGEST, what & 2 ? wrong : ca_digest(fz.ca), SIV_DIGEST_LEN);
	finish(A);
}

static void step(struct script *s)
{
	uint8_t what = take(s);

	switch (what >> 5) {
	case 0:
		exchange();
		break;
	case 1:
		if (!broker_vm_has_stream(fz.broker, A))
			connect_vm(A);
		say_hello(A, what >> 3 & 1, what >> 2 & 1, 10 + (what >> 1 & 1));
		break;
	case 2: {
		size_t len = take(s);

		if (len > s->len)
			len = s->len;
		send_all(A, s->data, len);
		s->data += len;
		s->len -= len;
		break;
	}
	case 3:
		if (what & 16)
			trust(what);
		else if (what & 1)
			loop_advance(fz.loop, (uint64_t)take(s) * 100 * LOOP_NS_PER_MS);
		else
			any_message(s, SIVP_REPORTED);
		break;
	case 4:
		if (what & 1)
			broker_link_gone(fz.broker, LINK_AB, A, ++fz.epoch[LINK_AB]);
		else
			broker_link_joined(fz.broker, LINK_AB, A, 10 + (what >> 1 & 1));
		break;
	case 5:
		take_back(what);
		break;
	default:
		any_message(s, 1 + what % SCRIPT_TYPES);
		break;
	}
}

static void start(bool restarted)
{
	struct broker_config config = {
		.loop = fz.loop, .policy = fz.policy, .ca = fz.ca, .audit = fz.audit,
		.wall_clock = wall,
	};

	fz.broker = broker_new(&config);
	for (unsigned int link = 0; link < N_LINKS; link++) {
		fz.epoch[link] = 1;
		broker_link_start(fz.broker, link, &ops, &fz.bump[link], 77, LINK_SIZE, 1);
	}
	if (restarted)
		broker_link_joined(fz.broker, LINK_AB, 0, 10);
	broker_link_joined(fz.broker, LINK_AB, 1, 20);
	broker_link_joined(fz.broker, LINK_CB, 0, 30);
	broker_link_joined(fz.broker, LINK_CB, 1, 21);
	for (unsigned int link = 0; link < N_LINKS; link++)
		broker_link_ready(fz.broker, link);
	if (!restarted)
		broker_link_joined(fz.broker, LINK_AB, 0, 10);
	for (unsigned int vm = 0; vm < N_VMS; vm++)
		fz.vm[vm] = (struct honest){ .fd = -1 };
}

static void honest_hello(unsigned int vm)
{
	connect_vm(vm);
	if (vm == B) {
		/* Its two links. */
		const uint32_t links[] = { 20, 21, SIVP_LOCAL };
		uint8_t bytes[16] = { 0 };

		send_all(vm, SIVP_MAGIC, SIVP_MAGIC_LEN);
		begin(SIVP_HELLO, 0);
		sivp_put_u32(&fz.out, SIVP_A_VERSION, SIVP_VERSION);
		sivp_put_u32(&fz.out, SIVP_A_ABI, SIV_ABI_VERSION);
		sivp_put_blob(&fz.out, SIVP_A_BOOT_ID, bytes, sizeof(bytes));
		sivp_put_u64(&fz.out, SIVP_A_MODULE_NONCE, 1);
		sivp_put_blob(&fz.out, SIVP_A_NONCE, bytes, sizeof(bytes));
		sivp_put_blob(&fz.out, SIVP_A_LINKS, links, sizeof(links));
		finish(vm);
	} else {
		say_hello(vm, 0, 1, positions[vm]);
	}
	begin(SIVP_REPORTED, 0);
	finish(vm);
}

/* C, which has nothing to do with A, can still reach B. */
static void check_bystander(void)
{
	exchange();
	begin(SIVP_OPEN, 1);
	sivp_put_str(&fz.out, SIVP_A_VM, "b");
	sivp_put_str(&fz.out, SIVP_A_SERVICE, "s");
	sivp_put_str(&fz.out, SIVP_A_PEER_SERVICE, "s");
	sivp_put_u32(&fz.out, SIVP_A_TYPE, SOCK_STREAM);
	sivp_put_u32(&fz.out, SIVP_A_C2S_ORDER, 12);
	sivp_put_u32(&fz.out, SIVP_A_S2C_ORDER, 12);
	sivp_put_u32(&fz.out, SIVP_A_TIMEOUT_MS, 1000);
	finish(C);
	exchange();
	assert(fz.vm[C].connected);
	assert(broker_vm_has_stream(fz.broker, B) && broker_vm_has_stream(fz.broker, C));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script script = { data, size };

	if (!fz.ca)
		set_up();
	fz.loop = loop_new_manual();
	start(size && (data[0] & 1));
	honest_hello(B);
	honest_hello(C);
	connect_vm(A);
	if (!size || !(data[0] & 2))
		say_hello(A, 0, 0, 10);
	exchange();
	while (script.len)
		step(&script);
	check_bystander();
	broker_free(fz.broker);
	for (unsigned int vm = 0; vm < N_VMS; vm++) {
		if (fz.vm[vm].fd >= 0)
			close(fz.vm[vm].fd);
	}
	loop_free(fz.loop);
	revocations_free(&fz.revoked);
	return 0;
}
