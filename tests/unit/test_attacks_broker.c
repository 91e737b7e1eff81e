// SPDX-License-Identifier: BSD-2-Clause
/*
 * Attacks on the broker by an agent that says whatever it likes: in other sessions' names, out of
 * order, too often, after a rewind, and from as many half-open connects as it can get.
 */
#include "broker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ID_CLI  "spiffe://test.example/vm/a/service/cli"
#define ID_SRV  "spiffe://test.example/vm/b/service/srv"
#define ID_SRV2 "spiffe://test.example/vm/c/service/srv2"
#define MS      LOOP_NS_PER_MS
#define FLOOD   1000 /* half-open connects that an attacker tries to have */

/* Other sessions' names */

/* Whose session a number means depends on whose stream it comes by, and on nothing else. */
static void test_ready_for_somebody_elses_session(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t at_b, at_c;

	fx_up_all(fx);
	at_b = fx_open_to(fx, 1, B, "srv");
	at_c = fx_open_to(fx, 2, C, "srv2");
	assert_true(at_b == at_c); /* the same number, another session */
	/* A has verified the server of the first; C says that it was that, too. */
	fx_ready(fx, A, 1, ID_SRV, 'c', 's', 'x');
	fx_ready(fx, C, at_c, ID_CLI, 's', 'c', 'x');
	fx_ready(fx, C, 1, ID_CLI, 's', 'c', 'x'); /* as A numbers it */
	fx_ready(fx, B, 1, ID_CLI, 's', 'c', 'x');
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
	fx_expect_nothing(fx, C);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	/* C's word was about its own session alone, and is held against it. */
	fx_ready(fx, A, 2, ID_SRV2, 'c', 't', 'y');
	fx_expect_reject(fx, A, 2, SIVP_R_MISMATCH);
	fx_expect_reject(fx, C, at_c, SIVP_R_MISMATCH);
	/* The first one goes its way. */
	fx_ready(fx, B, at_b, ID_CLI, 's', 'c', 'x');
	fx_expect_grant(fx, B, 1, at_b, &channel);
	fx_attached(fx, B, at_b, 0);
	fx_expect_grant(fx, A, 0, 1, &channel);
	fx_expect_nothing(fx, C);
}

/* One handshake that is claimed for two sessions: the exporter has each one's own nonce. */
static void test_ready_of_another_session(void **state)
{
	struct fixture *fx = *state;
	uint64_t first, second;

	fx_up(fx);
	first = fx_open_to(fx, 1, B, "srv");
	second = fx_open_to(fx, 2, B, "srv");
	fx_ready(fx, A, 1, ID_SRV, 'c', 's', '1');
	fx_ready(fx, A, 2, ID_SRV, 'c', 's', '2');
	fx_ready(fx, B, first, ID_CLI, 's', 'c', '2');
	fx_expect_reject(fx, A, 1, SIVP_R_MISMATCH);
	fx_expect_reject(fx, B, first, SIVP_R_MISMATCH);
	fx_ready(fx, B, second, ID_CLI, 's', 'c', '1');
	fx_expect_reject(fx, A, 2, SIVP_R_MISMATCH);
	fx_expect_reject(fx, B, second, SIVP_R_MISMATCH);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_tls_stays_in_its_session(void **state)
{
	struct fixture *fx = *state;
	uint64_t at_c;

	fx_up_all(fx);
	fx_open_to(fx, 1, B, "srv");
	at_c = fx_open_to(fx, 2, C, "srv2");
	sivp_put_blob(fx_message(fx, SIVP_TLS, at_c), SIVP_A_TLS, "t", 1);
	fx_send(fx, C);
	assert_int_equal(fx_expect(fx, A, SIVP_TLS)->session, 2);
	/* as A numbers them: those are nobody's on C's stream */
	for (uint64_t id = 1; id <= 2; id++) {
		sivp_put_blob(fx_message(fx, SIVP_TLS, id), SIVP_A_TLS, "t", 1);
		fx_send(fx, C);
	}
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
}

/* Replay and reordering of the control protocol itself */

enum step { OPENED, ONE_READY, SERVER_GRANTED, CLIENT_GRANTED, CONNECTED, N_STEPS };

/* Goes that far along the road; the server's session. */
static uint64_t walk(struct fixture *fx, enum step step, struct fx_channel *channel)
{
	uint64_t incoming = fx_open_to(fx, 1, B, "srv");

	if (step >= ONE_READY)
		fx_ready(fx, A, 1, ID_SRV, 'c', 's', 'x');
	if (step >= SERVER_GRANTED) {
		fx_ready(fx, B, incoming, ID_CLI, 's', 'c', 'x');
		fx_expect_grant(fx, B, 1, incoming, channel);
	}
	if (step >= CLIENT_GRANTED) {
		fx_attached(fx, B, incoming, 0);
		fx_expect_grant(fx, A, 0, 1, channel);
	}
	if (step >= CONNECTED)
		fx_attached(fx, A, 1, 0);
	return incoming;
}

static void say(struct fixture *fx, unsigned int vm, enum sivp_type type, uint64_t session)
{
	switch (type) {
	case SIVP_OPEN:
		fx_open(fx, vm, session, "cli", "b", "srv");
		break;
	case SIVP_READY:
		fx_ready(fx, vm, session, vm == A ? ID_SRV : ID_CLI, vm == A ? 'c' : 's',
			 vm == A ? 's' : 'c', 'x');
		break;
	case SIVP_ATTACHED:
		fx_attached(fx, vm, session, 0);
		break;
	default: /* ACCEPTING */
		fx_message(fx, type, session);
		fx_send(fx, vm);
		break;
	}
}

/* How many grants the agent gets that it has not read yet; it reads all there is. */
static unsigned int grants(struct fixture *fx, unsigned int vm)
{
	static uint8_t data[1 << 16];
	size_t len = 0, used, at;
	unsigned int n = 0;
	struct sivp_msg msg;
	ssize_t got;

	do {
		fx_run(fx);
		got = recv(fx->agent[vm].fd, data + len, sizeof(data) - len, MSG_DONTWAIT);
		len += got > 0 ? (size_t)got : 0;
		for (at = 0; sivp_parse(SIVP_HOST, data + at, len - at, &msg, &used) == SIVP_OK;
		     at += used)
			n += msg.type == SIVP_GRANT;
		len -= at;
		memmove(data, data + at, len);
	} while (got > 0);
	assert_int_equal(len, 0);
	return n;
}

/*
 * Each message once more or before its turn, at each step. Nobody gets a grant for it that was not
 * due, and whoever says what cannot be loses its stream.
 */
static void test_nothing_is_granted_out_of_order(void **state)
{
	static const enum sivp_type types[] = { SIVP_OPEN, SIVP_ACCEPTING, SIVP_READY,
						SIVP_ATTACHED };
	static const struct {
		bool due;  /* the right message at that time */
		bool late; /* its session has just ended: ignored */
	} client[N_STEPS][4] = {
		[OPENED] = { [2] = { .due = true } },
		[CLIENT_GRANTED] = { [3] = { .due = true } },
		[CONNECTED] = { [0] = { .due = true },
				[2] = { .late = true }, [3] = { .late = true } },
	}, server[N_STEPS][4] = {
		[OPENED] = { [2] = { .due = true } },
		[ONE_READY] = { [2] = { .due = true } },
		[SERVER_GRANTED] = { [3] = { .due = true } },
		[CONNECTED] = { [1] = { .late = true }, [2] = { .late = true },
				[3] = { .late = true } },
	};

	for (unsigned int i = 0; i < N_STEPS * 2 * 4; i++) {
		enum step step = i / 8;
		unsigned int vm = i / 4 % 2 ? B : A, t = i % 4;
		bool due = (vm == A ? client : server)[step][t].due;
		bool late = (vm == A ? client : server)[step][t].late;
		struct fixture *fx = *state;
		struct fx_channel channel;
		uint64_t incoming;
		unsigned int n;

		/* B may open sessions of its own; a client's ACCEPTING is no message at all. */
		if (types[t] == (vm == B ? SIVP_OPEN : SIVP_ACCEPTING))
			continue;
		fx_up(fx);
		incoming = walk(fx, step, &channel);
		n = broker_count_channels(fx->broker);
		say(fx, vm, types[t], vm == A ? 1 : incoming);
		fx_run(fx);
		if (!due && broker_vm_has_stream(fx->broker, vm) != late)
			fail_msg("step %d, %s of vm %u: has a stream: %d", step,
				 sivp_type_name(types[t]), vm, !late);
		if (!due) {
			assert_true(broker_count_channels(fx->broker) <= n);
			assert_int_equal(grants(fx, A), 0);
			assert_int_equal(grants(fx, B), 0);
		}
		fx_teardown(state);
		fx_setup(state);
	}
}

/* Rewound guests */

/*
 * B's memory is put back to what it was, in a new QEMU: it has the same boot id and module, thinks
 * itself on the link under its old number, and its kernel has a channel open that is long gone.
 */
static void test_a_restored_snapshot_has_nothing(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_hang_up(fx, B);
	fx_gone(fx, LINK_AB, 1);
	assert_int_equal(sivp_u32(fx_expect(fx, A, SIVP_LINK), SIVP_A_UP), 0);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_join(fx, LINK_AB, 1, 21);
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_reported(fx, B);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_expect_nothing(fx, B); /* not of a link under a number that is not its own */
	fx_ack(fx, B, 20, channel.epoch);
	fx_ack(fx, B, 20, channel.epoch + 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_VM_DOWN);
	/* Its module looks at the register: it is as if it had never been there. */
	fx->agent[B].positions[1] = 21;
	fx_hello(fx, B);
	fx_expect_link_up(fx, B, 21);
	channel.position[1] = 21;
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_reported(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_expect_link_up(fx, A, 10);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_connected(fx, 3, B, "srv");
}

/* The same inside a QEMU that lived on: number, boot and module are the same, and time is not. */
static void test_a_rewound_kernel_gets_nothing_back(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel old, next;

	fx_up(fx);
	old = fx_connected(fx, 1, B, "srv");
	fx_closed(fx, A, &old, 0);
	fx_closed(fx, B, &old, 1);
	next = fx_connected(fx, 2, B, "srv");
	assert_int_equal(next.offset, old.offset); /* these pages are another's now */
	fx_hello(fx, B);
	fx_expect_link_up(fx, B, 20);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_report(fx, B, &old, 1, "a", "srv", "cli");
	fx_expect_close(fx, B, &old, 1);
	fx_reported(fx, B);
	fx_closed(fx, B, &old, 1);
	/* It does not know the present one, so its end of that is closed; A's is not touched. */
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, A, &next, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

/*
 * After a restart of the host's daemon, a VM that is no end of a link has no say in it: C names the
 * channel that B has lost, by the number that B has.
 */
static void test_a_third_vm_cannot_report_for_a_link(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, lie;

	fx_up_all(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_restart_broker(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AB, 1, 20);
	broker_link_joined(fx->broker, LINK_AC, 0, 20);
	broker_link_joined(fx->broker, LINK_AC, 1, 11);
	fx_links_ready(fx);
	fx_connect(fx, A);
	fx_hello(fx, A);
	fx_report(fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(fx, A);
	fx_connect(fx, B);
	fx_hello(fx, B);
	/* C has the number that B has, on its own link, where it is the other end. */
	fx_connect(fx, C);
	fx_hello(fx, C);
	lie = channel;
	lie.end[1] = 0;
	fx_report(fx, C, &lie, 1, "a", "srv", "cli");
	fx_reported(fx, C);
	assert_true(broker_vm_has_stream(fx->broker, C));
	fx_reported(fx, B);
	/* B's end is closed, C's word or not; A's is not touched. */
	assert_int_equal(fx->link[LINK_AB].epoch, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

/* Half-open connects */

/* @vm opens as many as it is let, to A's service, and lets them hang. How many that were. */
static unsigned int flood(struct fixture *fx, unsigned int vm, const char *service)
{
	unsigned int open = 0;

	for (uint64_t id = 1; id <= FLOOD; id++) {
		const struct sivp_msg *msg;
		unsigned int before = broker_count_sessions(fx->broker);

		fx_open(fx, vm, 5000 + id, service, "a", "loc");
		if (broker_count_sessions(fx->broker) == before) {
			fx_expect_reject(fx, vm, 5000 + id, SIVP_R_LIMIT);
			continue;
		}
		open++;
		msg = fx_expect(fx, A, SIVP_INCOMING);
		if (id % 2)
			continue; /* even that is not answered yet */
		fx_message(fx, SIVP_ACCEPTING, msg->session);
		fx_send(fx, A);
		fx_expect(fx, vm, SIVP_OPENED);
		/* a drop of a handshake */
		sivp_put_blob(fx_message(fx, SIVP_TLS, 5000 + id), SIVP_A_TLS, "\x16", 1);
		fx_send(fx, vm);
		fx_expect(fx, A, SIVP_TLS);
	}
	return open;
}

/*
 * @floods of B and C let all hang that they can get, which is @most together while a pair may have
 * @per_pair.
 */
static void flooded(struct fixture *fx, unsigned int floods, uint32_t per_pair, unsigned int most)
{
	unsigned int n;

	/* C, too, may talk to A. */
	assert_true(policy_add_allow(fx->policy, C, "srv2", A, "loc", 10) >= 0);
	fx->limits.opens_per_second = FLOOD; /* nor is their rate what stops them */
	fx->limits.sessions_per_pair = per_pair;
	fx_restart_broker(fx);
	fx_links_ready(fx);
	fx_up_all(fx);
	n = flood(fx, B, "srv");
	if (floods == 2)
		n += flood(fx, C, "srv2");
	assert_int_equal(n, most);
	/* Connects of others, from A and inside it, go on; several, since they come and go. */
	for (uint64_t id = 1; id <= 20; id++) {
		if (floods == 1)
			fx_connected(fx, 2 * id, C, "srv2");
		fx_connected(fx, 2 * id + 1, A, "loc");
	}
	/* Each of the hanging ones has its time, however its drops are timed. */
	loop_advance(fx->loop, (BROKER_HANDSHAKE_MS - 1) * MS);
	assert_int_equal(broker_count_sessions(fx->broker), n);
	loop_advance(fx->loop, MS);
	fx_run(fx);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
}

/* What is kept for each of A's links: to B, to C, and inside it. */
#define SHARE (BROKER_SESSIONS_PER_VM / 2 / 3)

/* Twice: what a pair may have leaves room, and without that so does what is kept for other links. */
static void test_a_vms_half_open_connects_leave_room(void **state)
{
	flooded(*state, 1, BROKER_SESSIONS_PER_PAIR, BROKER_SESSIONS_PER_PAIR);
	fx_teardown(state);
	fx_setup(state);
	flooded(*state, 1, FLOOD, BROKER_SESSIONS_PER_VM - 2 * SHARE);
}

static void test_all_peers_half_open_connects_leave_room(void **state)
{
	flooded(*state, 2, BROKER_SESSIONS_PER_PAIR, BROKER_SESSIONS_PER_VM - SHARE);
}

/*
 * B is slow to read, and A's processes say as much as each session may: that costs those sessions,
 * and none of the others that B has.
 */
static void test_a_flood_of_tls_costs_those_who_flood(void **state)
{
	static const uint8_t records[SIVP_TLS_MAX];
	struct fixture *fx = *state;
	struct fx_channel channel;
	unsigned int lost = 0;
	uint64_t quiet, old;

	fx_up_all(fx);
	quiet = fx_open_to(fx, 1, B, "srv");
	old = fx_granted(fx, 2, B, "srv", &channel);
	for (uint64_t id = 10; id < 200; id++)
		fx_open_to(fx, id, B, "srv");
	for (uint64_t id = 10; id < 200; id++) {
		unsigned int before = broker_count_sessions(fx->broker);

		/* less than the limit of bytes of one session */
		for (int i = 0; i < 8; i++) {
			sivp_put_blob(fx_message(fx, SIVP_TLS, id), SIVP_A_TLS, records,
				      sizeof(records));
			fx_send(fx, A);
		}
		lost += broker_count_sessions(fx->broker) < before;
	}
	assert_true(lost > 100);
	assert_int_equal(broker_count_sessions(fx->broker), 192 - lost);
	assert_int_equal(grants(fx, A), 0); /* reads all the rejects */
	/* B reads again: the one that had said nothing yet goes on, and so does the granted one. */
	assert_int_equal(grants(fx, B), 0);
	fx_ready_both(fx, 1, B, quiet, "srv");
	fx_expect_grant(fx, B, 1, quiet, &channel);
	fx_attached(fx, B, old, 0);
	fx_expect_grant(fx, A, 0, 2, &channel);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ready_for_somebody_elses_session),
		TEST(test_ready_of_another_session),
		TEST(test_tls_stays_in_its_session),
		TEST(test_nothing_is_granted_out_of_order),
		TEST(test_a_restored_snapshot_has_nothing),
		TEST(test_a_rewound_kernel_gets_nothing_back),
		TEST(test_a_third_vm_cannot_report_for_a_link),
		TEST(test_a_vms_half_open_connects_leave_room),
		TEST(test_all_peers_half_open_connects_leave_room),
		TEST(test_a_flood_of_tls_costs_those_who_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
