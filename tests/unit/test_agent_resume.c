// SPDX-License-Identifier: BSD-2-Clause
/* Two agents and the broker: which connects are resumed, and what ends that. */
#include "agent_world.h"

#include <errno.h>
#include <stdlib.h>

#include "common/log.h"

static unsigned int tickets(int vm, unsigned int role)
{
	return tickets_count(w.agent[vm].identities[0].context, role);
}

/* One connect that works; whether both agents resumed, in one word. */
static bool resumes(void)
{
	uint64_t before[NR_VMS] = { w.agent[COCKPIT].resumed, w.agent[ADAS].resumed };
	struct fake_process *p = connect_cache();
	bool both[NR_VMS];

	connected(p);
	for (int vm = 0; vm < NR_VMS; vm++)
		both[vm] = w.agent[vm].resumed != before[vm];
	assert_int_equal(both[COCKPIT], both[ADAS]);
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
	nothing_is_left();
	return both[COCKPIT];
}

static int setup(void **state)
{
	int err = world_setup(state);

	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	assert_false(resumes());
	assert_int_equal(tickets(COCKPIT, TICKET_CLIENT), TICKETS_PER_HANDSHAKE);
	assert_int_equal(tickets(ADAS, TICKET_SERVER), TICKETS_PER_HANDSHAKE);
	return err;
}

static void test_a_later_connect_resumes(void **state)
{
	(void)state;
	assert_false(audited("\"connect\"", "\"resumed\":true"));
	for (int i = 0; i < 2 * (int)TICKETS_PER_HANDSHAKE; i++)
		assert_true(resumes());
	assert_true(audited("\"connect\"", "\"resumed\":true"));
	assert_int_equal(tickets(COCKPIT, TICKET_CLIENT), TICKETS_PER_HANDSHAKE);
	assert_int_equal(tickets(ADAS, TICKET_SERVER), TICKETS_PER_HANDSHAKE);
}

/* The host decides on each OPEN, whatever agents have kept. */
static void test_policy_is_asked_each_time(void **state)
{
	struct fake_process *p = fake_connect(&w.kernel[COCKPIT], 1002, "adas", "cache", "");

	(void)state;
	pump();
	refused(p, EACCES);
	assert_int_equal(tickets(COCKPIT, TICKET_CLIENT), TICKETS_PER_HANDSHAKE);
}

static void test_a_burst_has_what_there_is(void **state)
{
	struct fake_process *p[16];
	uint64_t before = w.agent[ADAS].resumed;

	(void)state;
	for (int i = 0; i < 16; i++)
		p[i] = fake_connect(&w.kernel[COCKPIT], 1001, "adas", "cache", "");
	pump();
	for (int i = 0; i < 16; i++)
		connected(p[i]);
	assert_true(w.agent[ADAS].resumed - before >= TICKETS_PER_HANDSHAKE);
	assert_true(tickets(COCKPIT, TICKET_CLIENT) <= TICKETS_PER_PEER);
	assert_int_equal(tickets(COCKPIT, TICKET_CLIENT), tickets(ADAS, TICKET_SERVER));
}

static void test_what_ends_it(void **state)
{
	(void)state;
	assert_true(resumes());
	/* either agent starts anew */
	for (int vm = 0; vm < NR_VMS; vm++) {
		stop_agent(vm);
		pump();
		start_agent(vm);
		pump();
		assert_false(resumes());
		assert_true(resumes());
	}
	/* so does the host */
	stop_broker();
	start_broker();
	for (int vm = 0; vm < NR_VMS; vm++) {
		pump();
		assert_int_equal(host_attach(&w.agent[vm].host, w.loop, new_stream(vm), false), 0);
	}
	pump();
	assert_int_equal(tickets(COCKPIT, TICKET_CLIENT), 0);
	assert_false(resumes());
	assert_true(resumes());
	/* the peer's incarnation is over */
	broker_link_epoch(w.broker, 0, ++w.epoch);
	pump();
	assert_false(resumes());
	assert_true(resumes());
}

static void test_a_host_that_decides_anew_ends_it(void **state)
{
	(void)state;
	assert_true(resumes());
	broker_changed(w.broker, ADAS);
	pump();
	for (unsigned int role = 0; role < TICKET_ROLES; role++) {
		assert_int_equal(tickets(COCKPIT, role), 0);
		assert_int_equal(tickets(ADAS, role), 0);
	}
	assert_false(resumes());
	assert_true(resumes());
}

static void test_own_certificate_is_renewed(void **state)
{
	struct identity *identity = &w.agent[COCKPIT].identities[0];
	int64_t life = identity->not_after - identity->not_before;

	(void)state;
	identity->not_before -= life * 2 / 3;
	identity->not_after -= life * 2 / 3;
	loop_advance(w.loop, 24ull * 3600 * 1000 * LOOP_NS_PER_MS);
	pump();
	assert_int_equal(tickets(COCKPIT, TICKET_CLIENT), 0);
	assert_false(resumes());
	assert_true(resumes());
}

static void test_a_connect_that_fails_leaves_no_tickets(void **state)
{
	struct fake_process *p;

	(void)state;
	agent_enrol_forget_tickets(&w.agent[COCKPIT]);
	/* the server's kernel answers when nobody waits any more */
	w.kernel[ADAS].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	fake_cancel(&w.kernel[COCKPIT], p);
	pump();
	w.kernel[ADAS].hold = 0;
	pump();
	nothing_is_left();
	assert_int_equal(tickets(COCKPIT, TICKET_CLIENT), 0);
	assert_false(resumes());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, world_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_later_connect_resumes),
		TEST(test_policy_is_asked_each_time),
		TEST(test_a_burst_has_what_there_is),
		TEST(test_what_ends_it),
		TEST(test_a_host_that_decides_anew_ends_it),
		TEST(test_own_certificate_is_renewed),
		TEST(test_a_connect_that_fails_leaves_no_tickets),
	};

	log_init("test_agent_resume", getenv("VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_NONE);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
