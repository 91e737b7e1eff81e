// SPDX-License-Identifier: BSD-2-Clause
/*
 * Two agents and the broker, with somebody on one VM's control stream who reads and changes every
 * message: a relay that mixes sessions up, a host or an agent that replays, drops, reorders and
 * rewrites. Whatever is done, a connect ends with one channel on both sides, or with an errno and
 * none.
 *
 *   agent -- socketpair -- tap -- socketpair -- broker
 */
#include "agent_world.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/session.h"
#include "common/log.h"

#define HELD_MAX (1u << 18)

enum direction { TO_BROKER, TO_AGENT };

enum attack { NONE, DROP, REPEAT, SWAP, SHORTEN, OTHER_SESSION, LATER, N_ATTACKS };
static const char *const attack_names[] = { "none",    "drop",          "repeat", "swap",
					    "shorten", "other session", "later" };

/* The one who listens on VM @vm's stream. */
static struct tap {
	int vm;
	int fd[2]; /* by direction: where its bytes come from */
	uint8_t in[2][HELD_MAX];
	size_t len[2];
	unsigned int count[2]; /* messages so far, by direction */

	/* What to do to the @at-th message of @direction. */
	enum attack attack;
	enum direction direction;
	unsigned int at;
	bool done;             /* it came to that */
	enum sivp_type type;   /* of the message that it came to */
	uint8_t held[HELD_MAX];
	size_t held_len;

	/* Instead: may rewrite the message in place; false: it is dropped. NULL: @attack counts. */
	bool (*rewrite)(enum direction direction, struct sivp_msg *m, uint8_t *frame, size_t *len);
} tap = { .fd = { -1, -1 } };

static void forward(enum direction d, const void *data, size_t len)
{
	ssize_t n = send(tap.fd[!d], data, len, MSG_NOSIGNAL);

	if (n < 0)
		assert_int_equal(errno, EPIPE); /* it has hung up: carry() will see */
	else
		assert_int_equal(n, len);
}

/* A frame is { le32 length of what follows, le16 type, le16 0, le64 session, attributes }. */
static void set_session(uint8_t *frame, uint64_t session)
{
	for (int i = 0; i < 8; i++)
		frame[8 + i] = session >> 8 * i;
}

/* Another host's or guest's tail: the last attribute is gone, and the length says so. */
static void shorten(struct sivp_msg *m, uint8_t *frame, size_t *len)
{
	size_t last = SIVP_HEADER_LEN;

	for (int a = 1; a <= SIVP_A_MAX; a++)
		if (sivp_has(m, a) && (size_t)(m->attr[a].data - frame) - 4 > last)
			last = m->attr[a].data - frame - 4;
	*len = last;
	for (int i = 0; i < 4; i++)
		frame[i] = (*len - 4) >> 8 * i;
}

static void meddle(enum direction d, struct sivp_msg *m, uint8_t *frame, size_t len)
{
	unsigned int index = tap.count[d]++;

	if (tap.rewrite) {
		if (tap.rewrite(d, m, frame, &len))
			forward(d, frame, len);
		return;
	}
	if (tap.attack == NONE || d != tap.direction || index < tap.at || tap.done) {
		forward(d, frame, len);
		return;
	}
	if (index == tap.at) {
		tap.type = m->type;
		memcpy(tap.held, frame, len);
		tap.held_len = len;
	}
	switch (tap.attack) {
	case REPEAT:
		forward(d, frame, len);
		forward(d, frame, len);
		break;
	case SHORTEN:
		shorten(m, frame, &len);
		forward(d, frame, len);
		break;
	case OTHER_SESSION:
		set_session(frame, m->session ^ 1);
		forward(d, frame, len);
		break;
	case SWAP: /* with the next one */
		if (index == tap.at)
			return;
		forward(d, frame, len);
		forward(d, tap.held, tap.held_len);
		break;
	case LATER: /* once more, after the one after the next */
		forward(d, frame, len);
		if (index < tap.at + 2)
			return;
		forward(d, tap.held, tap.held_len);
		break;
	default: /* DROP */
		break;
	}
	tap.done = true;
}

/* Carries what there is in that direction. True: something. */
static bool carry(enum direction d)
{
	uint8_t *in = tap.in[d];
	enum sivp_error err;
	struct sivp_msg m;
	size_t used, at = 0;
	ssize_t n;

	if (tap.fd[d] < 0)
		return false;
	n = recv(tap.fd[d], in + tap.len[d], HELD_MAX - tap.len[d], MSG_DONTWAIT);
	if (n == 0) { /* one side has hung up: so does the other */
		for (int i = 0; i < 2; i++) {
			close(tap.fd[i]);
			tap.fd[i] = -1;
		}
		return true;
	}
	if (n < 0)
		return false;
	tap.len[d] += n;
	while (at < tap.len[d]) {
		if (tap.len[d] - at >= SIVP_MAGIC_LEN &&
		    !memcmp(in + at, SIVP_MAGIC, SIVP_MAGIC_LEN)) {
			forward(d, in + at, SIVP_MAGIC_LEN);
			at += SIVP_MAGIC_LEN;
			continue;
		}
		err = sivp_parse(d == TO_BROKER ? SIVP_GUEST : SIVP_HOST, in + at, tap.len[d] - at,
				 &m, &used);
		if (err == SIVP_MORE)
			break;
		assert_int_equal(err, SIVP_OK);
		meddle(d, &m, in + at, used);
		at += used;
		if (tap.fd[d] < 0)
			return true;
	}
	memmove(in, in + at, tap.len[d] - at);
	tap.len[d] -= at;
	return true;
}

static void run(void)
{
	do {
		pump();
	} while (carry(TO_BROKER) | carry(TO_AGENT));
}

static void advance(unsigned int ms)
{
	run();
	loop_advance(w.loop, ms * LOOP_NS_PER_MS);
	run();
}

/* Everything of VM @vm's stream goes through the tap from now on. */
static void tap_on(int vm)
{
	int pair[2];

	host_detach(&w.agent[vm].host);
	pump();
	memset(tap.len, 0, sizeof(tap.len));
	tap.vm = vm;
	tap.rewrite = NULL;
	tap.attack = NONE;
	tap.fd[TO_AGENT] = new_stream(vm);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	tap.fd[TO_BROKER] = pair[0];
	assert_int_equal(host_attach(&w.agent[vm].host, w.loop, pair[1], false), 0);
	run();
	tap.count[TO_BROKER] = tap.count[TO_AGENT] = 0;
	tap.done = false;
	tap.type = 0;
}

static void tap_off(void)
{
	for (int i = 0; i < 2; i++) {
		if (tap.fd[i] >= 0)
			close(tap.fd[i]);
		tap.fd[i] = -1;
	}
	tap.rewrite = NULL;
	tap.attack = NONE;
	host_detach(&w.agent[tap.vm].host);
	pump();
	assert_int_equal(host_attach(&w.agent[tap.vm].host, w.loop, new_stream(tap.vm), false), 0);
	pump();
}

static int teardown(void **state)
{
	for (int i = 0; i < 2; i++) {
		if (tap.fd[i] >= 0)
			close(tap.fd[i]);
		tap.fd[i] = -1;
	}
	return world_teardown(state);
}

static struct fake_process *connecting(uint32_t uid)
{
	return fake_connect(&w.kernel[COCKPIT], uid, "adas", "cache", "");
}

/*
 * What @p has got is one channel with whom it asked for, and what the other end has in its place is
 * the same. How many that are: 0 if it has been closed there.
 */
static unsigned int other_ends(const struct fake_process *p)
{
	const struct fake_kernel *k = &w.kernel[ADAS];
	unsigned int found = 0;

	connected(p);
	for (int i = 0; i < FAKE_MAX; i++) {
		const struct kernel_channel *c = &k->channels[i];

		if (!k->used[i] || c->chan.slot != p->chan.slot)
			continue;
		found++;
		assert_true(c->chan.generation == p->chan.generation);
		assert_true(c->chan.offset == p->chan.offset && c->chan.epoch == p->chan.epoch);
		assert_true(c->chan.server && !p->chan.server);
		assert_string_equal(c->service, "cache");
		assert_string_equal(c->peer.spiffe_id,
				    "spiffe://car.example/vm/cockpit/service/dashboard");
	}
	assert_true(found <= 1);
	return found;
}

static void close_all(void)
{
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
}

/*
 * One connect while one of its messages is attacked. False: it has no such message. Afterwards,
 * without the tap, all is as it was.
 */
static bool attacked(int vm, enum direction d, unsigned int at, enum attack how)
{
	struct fake_process *p;
	bool came;

	tap_on(vm);
	tap.attack = how;
	tap.direction = d;
	tap.at = at;
	w.kernel[COCKPIT].nr_processes = 0;
	p = connecting(1001);
	run();
	/* Whoever still waits is released by time, on whichever side. */
	advance(10001);
	advance(SESSION_TIMEOUT_MAX_MS + 1);
	came = tap.done;
	if (p->waiting)
		fail_msg("%s of %s %u of vm %d: the process waits for ever", attack_names[how],
			 sivp_type_name(tap.type), at, vm);
	if (!p->error)
		other_ends(p);
	else
		assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 0);
	tap_off();
	/* The kernels and the host agree on what is open: nobody has an end without the other. */
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), fake_channels(&w.kernel[ADAS]));
	assert_int_equal(broker_count_channels(w.broker), fake_channels(&w.kernel[ADAS]));
	close_all();
	nothing_is_left();
	connected(connect_cache());
	close_all();
	nothing_is_left();
	return came;
}

static void test_no_message_can_be_changed(void **state)
{
	unsigned int n[N_ATTACKS] = { 0 };

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	for (int vm = 0; vm < NR_VMS; vm++)
		for (int d = 0; d < 2; d++)
			for (enum attack how = DROP; how < N_ATTACKS; how++)
				for (unsigned int at = 0; attacked(vm, d, at, how); at++) {
					agent_enrol_forget_tickets(&w.agent[at % 2]);
					n[how]++;
				}
	for (enum attack how = DROP; how < N_ATTACKS; how++)
		assert_true(n[how] >= 8);
}

/* Rewrites */

static void set_u32(const struct sivp_msg *m, enum sivp_attr a, uint32_t value)
{
	uint8_t *p = (uint8_t *)m->attr[a].data;

	for (int i = 0; i < 4; i++)
		p[i] = value >> 8 * i;
}

/* A relay that gives each of two sessions the other's records, both ways, from first to last. */
static uint64_t first_session;

static bool swap_sessions(enum direction d, struct sivp_msg *m, uint8_t *frame, size_t *len)
{
	(void)d;
	(void)len;
	if (m->type != SIVP_TLS)
		return true;
	set_session(frame, m->session == first_session ? first_session + 1 : first_session);
	return true;
}

static void test_a_relay_that_swaps_two_sessions(void **state)
{
	struct fake_process *p, *q;
	uint64_t before;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	tap_on(ADAS);
	/* Both are there before either has heard a word of the other. */
	w.kernel[ADAS].hold = 1u << SIV_CMD_LISTENER;
	p = connecting(1001);
	q = connecting(1001);
	run();
	assert_int_equal(w.agent[ADAS].nr_incoming, 2);
	first_session = agent_session_next(&w.agent[ADAS], NULL)->id;
	if (agent_session_by_id(&w.agent[ADAS], first_session - 1))
		first_session--;
	before = audit_count(w.audit, SIVP_R_MISMATCH);
	tap.rewrite = swap_sessions;
	w.kernel[ADAS].hold = 0;
	run();
	/* TLS has nothing against it: the same two services. Their exporters have. */
	refused(p, EKEYREJECTED);
	refused(q, EKEYREJECTED);
	assert_int_equal(audit_count(w.audit, SIVP_R_MISMATCH) - before, 2);
	assert_true(audited("mismatch", "the two exporters differ"));
	tap_off();
	connected(connect_cache());
}

/* READY of one session under the other's number, from an agent that has both. */
static bool swap_ready(enum direction d, struct sivp_msg *m, uint8_t *frame, size_t *len)
{
	(void)d;
	(void)len;
	if (m->type == SIVP_READY)
		set_session(frame, m->session == first_session ? first_session + 1 : first_session);
	return true;
}

static void test_a_ready_for_another_session(void **state)
{
	struct fake_process *p, *q;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	tap_on(COCKPIT);
	w.kernel[ADAS].hold = 1u << SIV_CMD_LISTENER;
	first_session = w.agent[COCKPIT].last_session + 1;
	p = connecting(1001);
	q = connecting(1001);
	run();
	tap.rewrite = swap_ready;
	w.kernel[ADAS].hold = 0;
	run();
	refused(p, EKEYREJECTED);
	refused(q, EKEYREJECTED);
	assert_true(audited("mismatch", "the two exporters differ"));
	tap_off();
	connected(connect_cache());
}

/* What the host says of a connect is what both sides must have bound their handshake to. */
static enum sivp_attr bound;
static enum sivp_type bound_type;

static bool change_binding(enum direction d, struct sivp_msg *m, uint8_t *frame, size_t *len)
{
	(void)d;
	(void)frame;
	(void)len;
	if (m->type == bound_type) {
		uint8_t *p = (uint8_t *)m->attr[bound].data;

		tap.done = true;
		/* END, SEALED, TYPE: to the other one that there is; an order: to the next */
		*p = bound == SIVP_A_END || bound == SIVP_A_SEALED ? !*p : bound == SIVP_A_TYPE ? SOCK_SEQPACKET : *p + 1;
	}
	return true;
}

static void test_a_connect_is_bound_to_its_channel(void **state)
{
	static const enum sivp_attr attrs[] = {
		SIVP_A_NONCE, SIVP_A_IVPOSITION, SIVP_A_PEER_IVPOSITION, SIVP_A_END, SIVP_A_EPOCH,
		SIVP_A_TYPE, SIVP_A_C2S_ORDER, SIVP_A_S2C_ORDER, SIVP_A_SEALED,
	};

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	for (int vm = 0; vm < NR_VMS; vm++) {
		for (size_t i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
			struct fake_process *p;

			tap_on(vm);
			w.kernel[COCKPIT].nr_processes = 0;
			bound = attrs[i];
			bound_type = vm == COCKPIT ? SIVP_OPENED : SIVP_INCOMING;
			tap.rewrite = change_binding;
			p = connecting(1001);
			run();
			assert_true(tap.done);
			assert_false(p->waiting);
			if (p->error != EKEYREJECTED && p->error != EPROTO)
				fail_msg("%s of %s changed: %s", sivp_attr_name(bound),
					 sivp_type_name(bound_type), strerror(p->error));
			nothing_is_left();
			tap_off();
		}
	}
	connected(connect_cache());
}

/* A GRANT that is not of this connect: of another epoch, link, end or size. */
static bool change_grant(enum direction d, struct sivp_msg *m, uint8_t *frame, size_t *len)
{
	(void)d;
	(void)frame;
	(void)len;
	if (m->type == SIVP_GRANT) {
		uint32_t value = sivp_u32(m, bound);

		tap.done = true;
		set_u32(m, bound, bound == SIVP_A_END ? !value : value - 1);
	}
	return true;
}

static void test_a_grant_that_does_not_fit(void **state)
{
	static const enum sivp_attr attrs[] = { SIVP_A_EPOCH, SIVP_A_IVPOSITION, SIVP_A_END,
						SIVP_A_C2S_ORDER, SIVP_A_S2C_ORDER };

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	broker_link_epoch(w.broker, 0, ++w.epoch); /* there is an older one */
	pump();
	for (int vm = 0; vm < NR_VMS; vm++) {
		for (size_t i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
			struct fake_process *p;

			tap_on(vm);
			w.kernel[COCKPIT].nr_processes = 0;
			bound = attrs[i];
			tap.rewrite = change_grant;
			/* It does not even get as far as the kernel. */
			w.kernel[vm].hold = 1u << SIV_CMD_GRANT;
			p = connecting(1001);
			run();
			assert_true(tap.done);
			assert_int_equal(w.kernel[vm].nr_requests, 0);
			w.kernel[vm].hold = 0;
			run();
			assert_false(p->waiting);
			assert_int_not_equal(p->error, 0);
			nothing_is_left();
			tap_off();
		}
	}
	connected(connect_cache());
}

/* A GRANT that was good once, in an epoch that is over, for a connect of now. */
static uint8_t old_grant[HELD_MAX];
static size_t old_grant_len;

static bool keep_grant(enum direction d, struct sivp_msg *m, uint8_t *frame, size_t *len)
{
	(void)d;
	if (m->type == SIVP_GRANT) {
		memcpy(old_grant, frame, *len);
		old_grant_len = *len;
	}
	return true;
}

static bool put_old_grant(enum direction d, struct sivp_msg *m, uint8_t *frame, size_t *len)
{
	(void)d;
	if (m->type == SIVP_GRANT) {
		set_session(old_grant, m->session);
		assert_int_equal(old_grant_len, *len);
		memcpy(frame, old_grant, *len);
		tap.done = true;
	}
	return true;
}

static void test_a_stale_grant(void **state)
{
	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	for (int vm = 0; vm < NR_VMS; vm++) {
		struct fake_process *p;

		w.kernel[COCKPIT].nr_processes = 0;
		tap_on(vm);
		tap.rewrite = keep_grant;
		p = connecting(1001);
		run();
		assert_int_equal(other_ends(p), 1);
		assert_true(old_grant_len > 0);
		/* the epoch ends */
		broker_link_epoch(w.broker, 0, ++w.epoch);
		run();
		close_all();
		run();
		tap.rewrite = put_old_grant;
		w.kernel[vm].hold = 1u << SIV_CMD_GRANT;
		p = connecting(1001);
		run();
		assert_true(tap.done);
		assert_int_equal(w.kernel[vm].nr_requests, 0);
		w.kernel[vm].hold = 0;
		run();
		assert_false(p->waiting);
		assert_int_not_equal(p->error, 0);
		nothing_is_left();
		tap_off();
	}
	connected(connect_cache());
}

/* Who says that it is somebody else */

static const char *claimed; /* as long as what is there */
static enum sivp_attr claimed_in;
static enum sivp_type claimed_type;

static bool claim(enum direction d, struct sivp_msg *m, uint8_t *frame, size_t *len)
{
	(void)d;
	(void)frame;
	(void)len;
	if (m->type == claimed_type) {
		assert_int_equal(m->attr[claimed_in].len, strlen(claimed));
		memcpy((uint8_t *)m->attr[claimed_in].data, claimed, strlen(claimed));
		tap.done = true;
	}
	return true;
}

static void claims(int vm, enum sivp_type type, enum sivp_attr in, const char *name, int error)
{
	struct fake_process *p;

	tap_on(vm);
	w.kernel[COCKPIT].nr_processes = 0;
	claimed = name;
	claimed_in = in;
	claimed_type = type;
	tap.rewrite = claim;
	p = connecting(1001);
	run();
	assert_true(tap.done);
	advance(10001);
	refused(p, error);
	tap_off();
}

static void test_nobody_is_who_it_says(void **state)
{
	static const char other[] = "spiffe://car.example/vm/adas/service/cacha";

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	/* a client that claims a service of another VM ("cache" is adas's; as long: "cacheserv") */
	assert_int_equal(policy_add_service(w.policy, ADAS, "cacheserv"), 0);
	claims(COCKPIT, SIVP_OPEN, SIVP_A_SERVICE, "cacheserv", EACCES);
	assert_true(audited("not-held", "cacheserv"));
	/* one that has verified somebody, and tells the host that it was another */
	claims(COCKPIT, SIVP_READY, SIVP_A_PEER_ID, other, EKEYREJECTED);
	/* a host that names the client to the server wrongly: then its certificate does not fit */
	claims(ADAS, SIVP_INCOMING, SIVP_A_PEER_SERVICE, "cacheserv", EKEYREJECTED);
	claims(ADAS, SIVP_INCOMING, SIVP_A_VM, "moonbus", EKEYREJECTED);
	/* and the server to the client: then it is not what was asked for */
	claims(COCKPIT, SIVP_OPENED, SIVP_A_PEER_SERVICE, "radio", EPROTO);
	claims(COCKPIT, SIVP_OPENED, SIVP_A_VM, "moon", EPROTO);
	connected(connect_cache());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_message_can_be_changed),
		TEST(test_a_relay_that_swaps_two_sessions),
		TEST(test_a_ready_for_another_session),
		TEST(test_a_connect_is_bound_to_its_channel),
		TEST(test_a_grant_that_does_not_fit),
		TEST(test_a_stale_grant),
		TEST(test_nobody_is_who_it_says),
	};

	signal(SIGPIPE, SIG_IGN); /* as the daemons have it */
	log_init("test_attacks_agent", getenv("VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_NONE);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
