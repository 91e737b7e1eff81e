// SPDX-License-Identifier: BSD-2-Clause
/*
 * The broker is restarted: what its journal has goes on, by the rules of a broker that was there
 * all the time, and reports only confirm or close.
 */
#include "broker_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Joins and starts what the switch has, in the epochs that it is in. */
static void start_links(struct fixture *fx)
{
	fx_start_links(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AB, 1, 20);
	fx_links_ready(fx);
	fx_run(fx);
}

static void restart(struct fixture *fx)
{
	fx_kill_broker(fx);
	fx_new_broker(fx);
	start_links(fx);
}

static struct fx_channel before_restart(struct fixture *fx)
{
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	memset(fx->link[LINK_AB].memory + channel.offset, 0xaa, 64);
	restart(fx);
	return channel;
}

/* HELLO, and the links in @epoch. */
static void back(struct fixture *fx, unsigned int vm, uint32_t epoch, bool up)
{
	fx_connect(fx, vm);
	fx_hello(fx, vm);
	fx_expect_link(fx, vm, vm == A ? 10 : 20, epoch, up);
	fx_expect_link(fx, vm, SIVP_LOCAL, FX_NOW, true);
	fx_expect_nothing(fx, vm);
	if (!up)
		return;
	fx_ack(fx, vm, vm == A ? 10 : 20, epoch);
	fx_ack(fx, vm, SIVP_LOCAL, FX_NOW);
}

static void report(struct fixture *fx, unsigned int vm, const struct fx_channel *channel)
{
	if (vm == A)
		fx_report(fx, A, channel, 0, "b", "cli", "srv");
	else
		fx_report(fx, B, channel, 1, "a", "srv", "cli");
}

static unsigned int scrubbed(const struct fixture *fx, const struct fx_channel *channel)
{
	return fx->link[LINK_AB].memory[channel->offset] == 0;
}

/* What goes on */

static void test_what_is_open_goes_on(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel = before_restart(fx), next;

	back(fx, A, 1, true);
	report(fx, A, &channel);
	fx_reported(fx, A);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_VM_DOWN); /* B has not said yet what it has */
	back(fx, B, 1, true);
	report(fx, B, &channel);
	fx_reported(fx, B);
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
	assert_int_equal(fx->link[LINK_AB].n_bumps, 0);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	next = fx_connected(fx, 3, B, "srv");
	assert_true(next.offset >= channel.offset + alloc_length(13, 14));
	assert_false(scrubbed(fx, &channel));
	fx_closed(fx, A, &channel, 0);
	assert_false(scrubbed(fx, &channel));
	fx_closed(fx, B, &channel, 1);
	assert_true(scrubbed(fx, &channel));
	assert_int_equal(broker_count_channels(fx->broker), 1);
	/* What was freed is, after another restart as well. */
	restart(fx);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

static void test_what_an_end_has_closed_meanwhile_is(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel = before_restart(fx);

	back(fx, A, 1, true);
	fx_reported(fx, A);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	back(fx, B, 1, true);
	report(fx, B, &channel);
	fx_reported(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_true(scrubbed(fx, &channel));
}

static void test_channels_inside_a_vm_go_on(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, next;

	fx_up(fx);
	channel = fx_connected(fx, 1, A, "loc");
	restart(fx);
	fx_connect(fx, A);
	fx_hello(fx, A);
	fx_expect_link(fx, A, 10, 2, true); /* nothing was granted on it: it began anew */
	fx_expect_link(fx, A, SIVP_LOCAL, channel.epoch, true);
	fx_ack(fx, A, SIVP_LOCAL, channel.epoch);
	fx_report(fx, A, &channel, 0, "a", "cli", "loc");
	fx_report(fx, A, &channel, 1, "a", "loc", "cli");
	fx_reported(fx, A);
	fx_expect_nothing(fx, A);
	next = fx_connected(fx, 2, A, "loc");
	assert_int_not_equal(next.offset, channel.offset);
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, A, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

/* Reports open nothing */

static void expect_violation(struct fixture *fx, unsigned int vm, const struct fx_channel *channel)
{
	fx_expect_close(fx, vm, channel, vm == B);
	assert_int_equal(sivp_u32(&fx->agent[vm].msg, SIVP_A_REASON), SIVP_R_VIOLATION);
}

static void test_a_channel_that_was_never_granted_is_closed(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel = before_restart(fx), lie;

	for (unsigned int vm = A; vm <= B; vm++) {
		back(fx, vm, 1, true);
		report(fx, vm, &channel);
		lie = channel;
		lie.generation++;
		lie.slot++;
		lie.offset += alloc_length(13, 14);
		report(fx, vm, &lie); /* both say so */
		expect_violation(fx, vm, &lie);
		lie = channel;
		lie.generation++;
		report(fx, vm, &lie);
		expect_violation(fx, vm, &lie);
		fx_reported(fx, vm);
		fx_expect_nothing(fx, vm);
	}
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

/* Another extent, role or service than what was granted: reset, and claimed until closed. */
static void test_a_channel_that_was_granted_otherwise_is_reset(void **state)
{
	enum { OFFSET, ROLE, SERVICE, PEER_SERVICE, VM, N_CASES };

	for (int i = 0; i < N_CASES; i++) {
		struct fixture *fx = *state;
		struct fx_channel channel = before_restart(fx), lie = channel;

		print_message("case %d\n", i);
		if (i == OFFSET)
			lie.offset += SIV_PAGE_SIZE;
		if (i == ROLE) {
			lie.position[1] = lie.position[0];
			lie.end[1] = lie.end[0];
		}
		back(fx, B, 1, true);
		report(fx, B, &channel);
		fx_reported(fx, B);
		back(fx, A, 1, true);
		fx_report(fx, A, &lie, i == ROLE, i == VM ? "c" : "b",
			  i == SERVICE ? "loc" : "cli", i == PEER_SERVICE ? "other" : "srv");
		expect_violation(fx, B, &channel);
		fx_expect_nothing(fx, A);
		fx_reported(fx, A);
		expect_violation(fx, A, &channel);
		fx_expect_nothing(fx, A);
		assert_int_equal(broker_count_channels(fx->broker), 1);
		fx_closed(fx, B, &channel, 1);
		assert_int_equal(broker_count_channels(fx->broker), 1);
		fx_closed(fx, A, &channel, 0);
		assert_int_equal(broker_count_channels(fx->broker), 0);
		fx_teardown(state);
		fx_setup(state);
	}
}

static void test_the_other_end_is_not_ones_own(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel = before_restart(fx);

	back(fx, A, 1, true);
	channel.position[1] = channel.position[0];
	fx_report(fx, A, &channel, 1, "b", "cli", "srv");
	fx_expect_hang_up(fx, A);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

/* Who is not who was there */

static void another_incarnation(struct fixture *fx, void (*change)(struct fx_agent *agent))
{
	struct fx_channel channel = before_restart(fx);

	/* A is there first: B's end is up as far as the broker knows. */
	back(fx, A, 1, true);
	report(fx, A, &channel);
	fx_reported(fx, A);
	change(&fx->agent[B]);
	fx_connect(fx, B);
	fx_hello(fx, B);
	assert_int_equal(fx->link[LINK_AB].epoch, 2);
	fx_expect_link(fx, A, 10, 2, true);
	fx_expect_link(fx, B, SIVP_LOCAL, FX_NOW + 1, true);
	fx_expect_link(fx, B, 20, 2, true);
	/* It cannot go on with what its predecessor had. */
	report(fx, B, &channel);
	fx_reported(fx, B);
	fx_ack(fx, B, 20, 2);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_VM_DOWN); /* A's kernel is in the old epoch */
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_true(scrubbed(fx, &channel));
	fx_ack(fx, A, 10, 2);
	fx_connected(fx, 3, B, "srv");
	/* and is now who is there */
	restart(fx);
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_expect_link(fx, B, 20, 2, true);
}

static void other_boot(struct fx_agent *agent)
{
	agent->boot_id[15]++;
}

static void other_module(struct fx_agent *agent)
{
	agent->module_nonce++;
}

static void test_a_vm_booted_anew_while_nobody_looked(void **state)
{
	another_incarnation(*state, other_boot);
}

static void test_a_module_loaded_anew_while_nobody_looked(void **state)
{
	another_incarnation(*state, other_module);
}

static void test_a_qemu_replaced_while_nobody_looked(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_kill_broker(fx);
	fx->link[LINK_AB].epoch = 2; /* the switch saw the first one exit */
	fx_new_broker(fx);
	fx_start_links(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AB, 1, 21);
	fx_links_ready(fx);
	back(fx, A, 2, false);
	report(fx, A, &channel);
	fx_reported(fx, A);
	fx_expect_nothing(fx, A);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx->agent[B].positions[1] = 21;
	fx->agent[B].boot_id[0]++;
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_expect_link_up(fx, A, 10);
	assert_int_equal(fx->link[LINK_AB].n_bumps, 0); /* the switch's is enough */
}

static void test_a_vm_gone_while_nobody_looked(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_kill_broker(fx);
	fx->link[LINK_AB].epoch = 2;
	fx_new_broker(fx);
	fx_start_links(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	fx_links_ready(fx);
	back(fx, A, 2, false);
	report(fx, A, &channel);
	fx_reported(fx, A);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

/* The end of an epoch was decided, and the broker died before the switch heard of it. */
static void test_an_epoch_that_was_to_end_does(void **state)
{
	struct fixture *fx = *state;

	fx_up(fx);
	fx->link[LINK_AB].hold_bumps = true;
	fx_connected(fx, 1, B, "srv");
	other_boot(&fx->agent[B]);
	fx_hello(fx, B);
	assert_true(fx->link[LINK_AB].bump_asked);
	fx_kill_broker(fx);
	fx->link[LINK_AB].hold_bumps = false;
	fx_new_broker(fx);
	start_links(fx);
	assert_int_equal(fx->link[LINK_AB].epoch, 2);
	back(fx, A, 2, true);
}

/* Half granted */

static void test_a_grant_to_the_server_only_is_taken_back(void **state)
{
	for (int attached = 0; attached < 2; attached++) {
		struct fixture *fx = *state;
		struct fx_channel channel;

		fx_up(fx);
		fx_granted(fx, 1, B, "srv", &channel);
		restart(fx);
		assert_int_equal(broker_count_channels(fx->broker), 1);
		back(fx, B, 1, true);
		if (attached)
			report(fx, B, &channel);
		fx_reported(fx, B);
		if (attached) {
			fx_expect_close(fx, B, &channel, 1);
			assert_int_equal(sivp_u32(&fx->agent[B].msg, SIVP_A_REASON), SIVP_R_RESET);
		}
		back(fx, A, 1, true);
		fx_reported(fx, A);
		assert_int_equal(broker_count_channels(fx->broker), attached);
		if (attached)
			fx_closed(fx, B, &channel, 1);
		assert_int_equal(broker_count_channels(fx->broker), 0);
		fx_connected(fx, 2, B, "srv");
		fx_teardown(state);
		fx_setup(state);
	}
}

static void test_a_grant_that_the_client_has_not_answered_is_taken_back(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_granted(fx, 1, B, "srv", &channel);
	fx_attached(fx, B, incoming, 0);
	fx_expect_grant(fx, A, 0, 1, &channel);
	restart(fx);
	for (unsigned int vm = A; vm <= B; vm++) {
		back(fx, vm, 1, true);
		report(fx, vm, &channel);
		fx_reported(fx, vm);
		fx_expect_close(fx, vm, &channel, vm == B);
		assert_int_equal(broker_count_channels(fx->broker), 1);
		fx_closed(fx, vm, &channel, vm == B);
	}
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

/* Quarantine */

static void test_pages_that_nobody_could_zero_stay_quarantined(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, next;
	uint64_t incoming;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	memset(fx->link[LINK_AB].memory + channel.offset, 0xaa, 64);
	fx->link[LINK_AB].scrub_error = -EIO;
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	restart(fx);
	for (unsigned int vm = A; vm <= B; vm++) {
		back(fx, vm, 1, true);
		fx_reported(fx, vm);
	}
	assert_int_equal(broker_count_channels(fx->broker), 1);
	incoming = fx_open_to(fx, 2, B, "srv");
	fx_ready_both(fx, 2, B, incoming, "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_NO_MEMORY);
	fx_expect_reject(fx, B, incoming, SIVP_R_NO_MEMORY);
	assert_false(scrubbed(fx, &channel));
	fx->link[LINK_AB].scrub_error = 0;
	next = fx_connected(fx, 3, B, "srv"); /* it is tried again before each grant */
	assert_int_equal(next.offset, channel.offset);
	assert_true(scrubbed(fx, &channel));
}

static void test_pages_of_an_end_that_nobody_has_closed_stay_quarantined(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	memset(fx->link[LINK_AB].memory + channel.offset, 0xaa, 64);
	fx_closed(fx, A, &channel, 0);
	for (int i = 0; i < 3; i++) {
		restart(fx);
		back(fx, A, 1, true);
		fx_reported(fx, A);
		assert_int_equal(broker_count_channels(fx->broker), 1);
		assert_false(scrubbed(fx, &channel));
	}
	back(fx, B, 1, true);
	fx_reported(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_true(scrubbed(fx, &channel));
}

/* Another world */

static void test_another_policy_closes(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, inside;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	inside = fx_connected(fx, 2, A, "loc");
	fx_kill_broker(fx);
	/* The rules go; lines and indices of the others do not matter here. */
	strcpy(fx->policy->allows[0].to_service, "other");
	strcpy(fx->policy->allows[2].to_service, "cli");
	fx_new_broker(fx);
	start_links(fx);
	for (unsigned int vm = A; vm <= B; vm++) {
		back(fx, vm, 1, true);
		report(fx, vm, &channel);
		if (vm == A)
			fx_report(fx, A, &inside, 0, "a", "cli", "loc");
		fx_reported(fx, vm);
		fx_expect_close(fx, vm, &channel, vm == B);
		assert_int_equal(sivp_u32(&fx->agent[vm].msg, SIVP_A_REASON), SIVP_R_NOT_ALLOWED);
		fx_closed(fx, vm, &channel, vm == B);
	}
	fx_expect_close(fx, A, &inside, 0);
	fx_closed(fx, A, &inside, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_the_memory_of_another_switch_has_nothing_of_it(void **state)
{
	struct fixture *fx = *state;

	fx_up(fx);
	fx_connected(fx, 1, B, "srv");
	fx->instance++;
	fx_kill_broker(fx);
	fx_new_broker(fx);
	fx_start_links(fx);
	fx_links_ready(fx);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_int_equal(fx->link[LINK_AB].n_bumps, 0); /* nobody is there */
}

/* The switch keeps the epochs: one that is earlier than a grant's has not given that. */
static void test_a_journal_from_the_future_is_not_believed(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx->link[LINK_AB].epoch = 5;
	fx->instance++;
	fx_start_links(fx);
	fx_links_ready(fx);
	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	assert_int_equal(channel.epoch, 5);
	fx_kill_broker(fx);
	fx->link[LINK_AB].epoch = 4;
	fx_new_broker(fx);
	start_links(fx);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_int_equal(fx->link[LINK_AB].n_bumps, 1);
}

/* Without a journal */

/* Nothing is known: the epoch ends, and all is zeroed before anything is granted. */
static void assert_all_reset(struct fixture *fx, const struct fx_channel *channel)
{
	uint32_t epoch = fx->link[LINK_AB].epoch;
	struct fx_channel next;

	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_int_equal(fx->link[LINK_AB].n_bumps, epoch - 1);
	memset(fx->link[LINK_AB].memory + SIV_LINK_CHANNELS, 0xaa,
	       FX_LINK_SIZE - SIV_LINK_CHANNELS);
	back(fx, A, epoch, false);
	report(fx, A, channel); /* its kernel takes the next epoch in a moment */
	fx_reported(fx, A);
	back(fx, B, epoch, true);
	fx_expect_link_up(fx, A, 10);
	report(fx, B, channel);
	fx_reported(fx, B);
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
	fx_ack(fx, A, SIVP_LOCAL, FX_NOW);
	next = fx_connected(fx, 50, B, "srv");
	assert_int_equal(next.epoch, epoch);
	for (uint32_t at = SIV_LINK_CHANNELS; at < FX_LINK_SIZE; at += SIV_PAGE_SIZE)
		assert_int_equal(fx->link[LINK_AB].memory[at], 0);
}

static void test_a_lost_journal_resets_all(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	char path[64];

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_journal_path(fx, path);
	fx_kill_broker(fx);
	assert_int_equal(unlink(path), 0);
	fx_new_broker(fx);
	start_links(fx);
	/* Once more, before anything was zeroed: it is as unknown as it was. */
	restart(fx);
	assert_int_equal(fx->link[LINK_AB].epoch, 3);
	assert_all_reset(fx, &channel);
}

static void test_a_journal_that_cannot_be_read_resets_all(void **state)
{
	static const char *const bad[] = {
		"nonsense\n", "free a--b 0 0\n", "grant a--b 1 0 1 0 13 14 1 0 0 10 20 cli srv\n",
		"epoch a--b -1\n",
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fixture *fx = *state;
		struct fx_channel channel;
		char path[64];
		FILE *file;

		fx_up(fx);
		channel = fx_connected(fx, 1, B, "srv");
		fx_journal_path(fx, path);
		fx_kill_broker(fx);
		file = fopen(path, "a");
		assert_non_null(file);
		assert_true(fputs(bad[i], file) >= 0);
		fclose(file);
		fx_new_broker(fx);
		start_links(fx);
		strcat(path, ".bad");
		assert_int_equal(access(path, F_OK), 0);
		assert_all_reset(fx, &channel);
		fx_teardown(state);
		fx_setup(state);
	}
}

static void test_what_an_earlier_configuration_had_is_passed_over(void **state)
{
	struct fixture *fx = *state;
	char path[64];
	FILE *file;

	fx_up(fx);
	fx_connected(fx, 1, B, "srv");
	fx_journal_path(fx, path);
	fx_kill_broker(fx);
	file = fopen(path, "a");
	assert_non_null(file);
	fputs("vm z 00000000000000000000000000000000 1 -\nlink a--z 77 2097152\n"
	      "grant a--z 1 0 1 36864 13 14 1 0 0 1 2 cli srv\n", file);
	fclose(file);
	fx_new_broker(fx);
	start_links(fx);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	assert_int_equal(fx->link[LINK_AB].n_bumps, 0);
}

/* A later broker's epochs of a link inside a VM are later, whatever it knows. */
static void test_local_epochs_only_grow(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel old = { .position = { SIVP_LOCAL }, .epoch = FX_NOW + 100 };
	char path[64];
	uint32_t before;

	fx_connect(fx, A);
	fx_hello(fx, A);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	before = sivp_u32(&fx->agent[A].msg, SIVP_A_EPOCH);
	fx->agent[A].module_nonce++;
	fx_hello(fx, A);
	fx_expect_link(fx, A, SIVP_LOCAL, before + 1, true);
	fx_kill_broker(fx);
	fx_new_broker(fx);
	fx_connect(fx, A);
	fx_hello(fx, A);
	fx_expect_link(fx, A, SIVP_LOCAL, before + 1, true);
	/* Without one, and with a clock that goes wrong, by what its kernel has. */
	fx_journal_path(fx, path);
	fx_kill_broker(fx);
	assert_int_equal(unlink(path), 0);
	fx_new_broker(fx);
	fx_connect(fx, A);
	fx_hello(fx, A);
	fx_expect_link(fx, A, SIVP_LOCAL, before, true);
	fx_report(fx, A, &old, 0, "a", "cli", "loc");
	fx_expect_link(fx, A, SIVP_LOCAL, old.epoch + 1, true);
}

/* No room */

static void limit_files(rlim_t size)
{
	struct rlimit limit = { size, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_what_cannot_be_written_down_is_not_granted(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, next;
	uint64_t incoming;
	struct stat st;
	char path[64];

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_journal_path(fx, path);
	assert_int_equal(stat(path, &st), 0);
	limit_files((rlim_t)st.st_size + 10);
	incoming = fx_open_to(fx, 2, B, "srv");
	fx_ready_both(fx, 2, B, incoming, "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_NO_MEMORY);
	fx_expect_reject(fx, B, incoming, SIVP_R_NO_MEMORY);
	/* Nothing of it is left, there or here. */
	assert_int_equal(broker_count_channels(fx->broker), 1);
	restart(fx);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	assert_int_equal(fx->link[LINK_AB].n_bumps, 0);
	for (unsigned int vm = A; vm <= B; vm++) {
		back(fx, vm, 1, true);
		report(fx, vm, &channel);
		fx_reported(fx, vm);
	}
	limit_files(RLIM_INFINITY);
	next = fx_connected(fx, 3, B, "srv");
	assert_int_not_equal(next.slot, channel.slot);
}

/* A record that may not be missing: without it there is no journal, until it is written whole. */
static void test_what_cannot_be_written_of_an_end_is_a_lost_journal(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	struct stat st;
	char path[64];

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_journal_path(fx, path);
	limit_files(0);
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	limit_files(RLIM_INFINITY);
	loop_advance(fx->loop, (uint64_t)JOURNAL_RETRY_MS * LOOP_NS_PER_MS);
	channel = fx_connected(fx, 2, B, "srv");
	restart(fx);
	assert_int_equal(fx->link[LINK_AB].n_bumps, 0);
	back(fx, A, 1, true);
}

/* It is written whole again when it has grown, and says the same. */
static void test_it_does_not_grow_without_end(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel kept, channel;
	unsigned int shrunk = 0;
	struct stat st, last = { 0 };
	char path[64];

	fx_up(fx);
	kept = fx_connected(fx, 1, B, "srv");
	fx_journal_path(fx, path);
	for (uint64_t id = 2; shrunk < 2; id++) {
		assert_true(id < 10000);
		loop_advance(fx->loop, 1000 * LOOP_NS_PER_MS); /* opens a second are limited */
		channel = fx_connected(fx, id, B, "srv");
		fx_closed(fx, A, &channel, 0);
		fx_closed(fx, B, &channel, 1);
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size < JOURNAL_COMPACT_BYTES + JOURNAL_LINE_MAX);
		shrunk += st.st_size < last.st_size;
		last = st;
	}
	restart(fx);
	for (unsigned int vm = A; vm <= B; vm++) {
		back(fx, vm, 1, true);
		report(fx, vm, &kept);
		fx_reported(fx, vm);
		fx_expect_nothing(fx, vm);
	}
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_open_goes_on),
		TEST(test_what_an_end_has_closed_meanwhile_is),
		TEST(test_channels_inside_a_vm_go_on),
		TEST(test_a_channel_that_was_never_granted_is_closed),
		TEST(test_a_channel_that_was_granted_otherwise_is_reset),
		TEST(test_the_other_end_is_not_ones_own),
		TEST(test_a_vm_booted_anew_while_nobody_looked),
		TEST(test_a_module_loaded_anew_while_nobody_looked),
		TEST(test_a_qemu_replaced_while_nobody_looked),
		TEST(test_a_vm_gone_while_nobody_looked),
		TEST(test_an_epoch_that_was_to_end_does),
		TEST(test_a_grant_to_the_server_only_is_taken_back),
		TEST(test_a_grant_that_the_client_has_not_answered_is_taken_back),
		TEST(test_pages_that_nobody_could_zero_stay_quarantined),
		TEST(test_pages_of_an_end_that_nobody_has_closed_stay_quarantined),
		TEST(test_another_policy_closes),
		TEST(test_the_memory_of_another_switch_has_nothing_of_it),
		TEST(test_a_journal_from_the_future_is_not_believed),
		TEST(test_a_lost_journal_resets_all),
		TEST(test_a_journal_that_cannot_be_read_resets_all),
		TEST(test_what_an_earlier_configuration_had_is_passed_over),
		TEST(test_local_epochs_only_grow),
		TEST(test_what_cannot_be_written_down_is_not_granted),
		TEST(test_what_cannot_be_written_of_an_end_is_a_lost_journal),
		TEST(test_it_does_not_grow_without_end),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
