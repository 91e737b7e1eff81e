// SPDX-License-Identifier: BSD-2-Clause
/* Peers, hosts, agents, modules and links that are silent, go away and come back. */
#include "agent_world.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

static void test_a_peer_that_never_answers(void **state)
{
	struct fake_process *p;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	w.kernel[ADAS].hold = 1u << SIV_CMD_LISTENER;
	p = connect_cache();
	assert_true(p->waiting);
	advance_ms(9000);
	assert_true(p->waiting);
	advance_ms(1001);
	refused(p, ETIMEDOUT);
	/* The answer that comes too late does no harm, and the next connect works. */
	w.kernel[ADAS].hold = 0;
	pump();
	connected(connect_cache());
}

static void test_a_host_that_never_answers(void **state)
{
	struct fake_process *p;

	(void)state;
	/* It takes bytes and says nothing. */
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	pump();
	assert_int_equal(host_attach(&w.agent[COCKPIT].host, w.loop, pair[1], false), 0);
	pump();
	p = connect_cache();
	/* no WELCOME on this stream: not a wait, but "not now" */
	assert_false(p->waiting);
	assert_int_equal(p->error, ENETDOWN);
	close(pair[0]);
}

static void test_cancel_in_every_state(void **state)
{
	unsigned int resets;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	/* before ACCEPTING */
	w.kernel[ADAS].hold = 1u << SIV_CMD_LISTENER;
	struct fake_process *p = connect_cache();
	fake_cancel(&w.kernel[COCKPIT], p);
	pump();
	assert_int_equal(w.agent[COCKPIT].nr_sessions, 0);
	w.kernel[ADAS].hold = 0;
	pump();
	nothing_is_left();
	assert_true(audited("\"connect\"", "cancelled"));

	/* while the server attaches */
	w.kernel[ADAS].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	fake_cancel(&w.kernel[COCKPIT], p);
	pump();
	w.kernel[ADAS].hold = 0;
	pump();
	nothing_is_left();

	/* while the client attaches: the kernel says ENOENT, and the server's end is taken back */
	resets = w.kernel[ADAS].nr_resets;
	w.kernel[COCKPIT].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	assert_int_equal(fake_channels(&w.kernel[ADAS]), 1);
	fake_cancel(&w.kernel[COCKPIT], p);
	pump();
	w.kernel[COCKPIT].hold = 0;
	pump();
	nothing_is_left();
	assert_int_equal(w.kernel[ADAS].nr_resets, resets + 1);

	connected(connect_cache());
}

static void test_the_listener_goes_during_the_handshake(void **state)
{
	uint64_t cookie;
	struct fake_process *p;

	(void)state;
	cookie = fake_listen(&w.kernel[ADAS], "cache");
	pump();
	w.kernel[ADAS].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	fake_unlisten(&w.kernel[ADAS], cookie);
	w.kernel[ADAS].hold = 0;
	pump();
	refused(p, ECONNREFUSED);
}

static void test_an_agent_restarts_with_open_channels(void **state)
{
	struct fake_process *p, *q;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	p = connect_cache();
	connected(p);
	stop_agent(COCKPIT);
	pump();
	/* the channel goes on, new connects do not */
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 1);
	q = connect_cache();
	assert_int_equal(q->error, ENETDOWN);
	/* something closes while nobody is there to tell it */
	start_agent(COCKPIT);
	pump();
	assert_int_equal(w.nr_ready, 3);
	assert_int_equal(broker_count_channels(w.broker), 1);
	assert_int_equal(fake_channels(&w.kernel[ADAS]), 1);
	connected(connect_cache());
	assert_int_equal(broker_count_channels(w.broker), 2);

	stop_agent(ADAS);
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
	start_agent(ADAS);
	pump();
	nothing_is_left();
}

static void test_a_broker_restarts_and_loses_nothing(void **state)
{
	struct fake_process *p[3];

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	for (int i = 0; i < 3; i++) {
		p[i] = connect_cache();
		connected(p[i]);
	}
	stop_broker();
	w.broker = NULL;
	pump();
	/* One closes on both sides meanwhile: the agents keep that for the next broker. */
	for (int vm = 0; vm < NR_VMS; vm++) {
		struct fake_kernel *k = &w.kernel[vm];
		struct kernel_upcall *u = &k->upcalls[k->nr_upcalls++];

		k->used[0] = false;
		*u = (struct kernel_upcall){ .kind = SIV_UPCALL_CLOSED, .link_id = 1,
					     .epoch = k->channels[0].chan.epoch,
					     .slot = k->channels[0].chan.slot,
					     .generation = k->channels[0].chan.generation,
					     .reason = SIV_CLOSED_LOCAL };
	}
	pump();
	assert_int_equal(w.agent[COCKPIT].nr_closed, 1);
	assert_int_equal(w.agent[ADAS].nr_closed, 1);
	/* and a process is told at once that nobody is there */
	assert_int_equal(connect_cache()->error, ENETDOWN);

	start_broker();
	for (int vm = 0; vm < NR_VMS; vm++)
		assert_int_equal(host_attach(&w.agent[vm].host, w.loop, new_stream(vm), false), 0);
	pump();
	assert_int_equal(w.agent[COCKPIT].nr_closed, 0);
	assert_int_equal(w.agent[ADAS].nr_closed, 0);
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 2);
	assert_int_equal(fake_channels(&w.kernel[ADAS]), 2);
	assert_int_equal(broker_count_channels(w.broker), 2);
	connected(connect_cache());
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
	nothing_is_left();
}

static void test_the_host_goes_in_the_middle_of_a_connect(void **state)
{
	struct fake_process *p;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	w.kernel[COCKPIT].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache(); /* the kernel attaches just now */
	w.kernel[ADAS].hold = 1u << SIV_CMD_LISTENER;
	struct fake_process *q = connect_cache();

	assert_true(p->waiting && q->waiting);
	stop_broker();
	w.broker = NULL;
	pump();
	assert_int_equal(w.agent[COCKPIT].nr_sessions, 1);
	w.kernel[COCKPIT].hold = w.kernel[ADAS].hold = 0;
	pump();
	assert_int_equal(q->error, ENETDOWN);
	connected(p);
	assert_int_equal(w.agent[COCKPIT].nr_sessions, 0);
	start_broker();
	for (int vm = 0; vm < NR_VMS; vm++)
		assert_int_equal(host_attach(&w.agent[vm].host, w.loop, new_stream(vm), false), 0);
	pump();
	/* A broker that stops takes back what is half granted: nobody has an end without the other. */
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), broker_count_channels(w.broker));
	assert_int_equal(fake_channels(&w.kernel[ADAS]), broker_count_channels(w.broker));
	connected(connect_cache());
}

static void test_the_module_is_loaded_anew(void **state)
{
	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	connected(connect_cache());
	fake_unload(&w.kernel[ADAS]);
	pump();
	fake_load(&w.kernel[ADAS]);
	pump();
	/* The other side was reset, in a new epoch. */
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 0);
	assert_int_equal(broker_count_channels(w.broker), 0);
	assert_true(w.kernel[COCKPIT].links[0].epoch > 1);
	assert_int_equal(w.kernel[COCKPIT].links[0].epoch, w.kernel[ADAS].links[0].epoch);
	fake_listen(&w.kernel[ADAS], "cache");
	connected(connect_cache());
}

static void test_a_link_comes_later(void **state)
{
	unsigned int before = w.kernel[ADAS].nr_link_sets;

	(void)state;
	/* ADAS had no local link: now it has. */
	fake_link_add(&w.kernel[ADAS], SIV_LINK_LOCAL, 0, 0);
	fake_link_add(&w.kernel[ADAS], SIV_LINK_LOCAL, 0, 1);
	pump();
	assert_true(w.kernel[ADAS].nr_link_sets >= before + 3);
	assert_true(w.kernel[ADAS].links[1].up && w.kernel[ADAS].links[2].up);
	fake_listen(&w.kernel[ADAS], "cache");
	connected(connect_cache());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_peer_that_never_answers),
		TEST(test_a_host_that_never_answers),
		TEST(test_cancel_in_every_state),
		TEST(test_the_listener_goes_during_the_handshake),
		TEST(test_an_agent_restarts_with_open_channels),
		TEST(test_a_broker_restarts_and_loses_nothing),
		TEST(test_the_host_goes_in_the_middle_of_a_connect),
		TEST(test_the_module_is_loaded_anew),
		TEST(test_a_link_comes_later),
	};

	log_init("test_agent_restart", getenv("VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
