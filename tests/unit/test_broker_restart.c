// SPDX-License-Identifier: BSD-2-Clause
/* When things die: VMs, kernels, agents, and the switch. (The broker itself: test_broker_journal.c) */
#include "broker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* A VM's QEMU exits */

static void test_vm_gone_resets_the_survivor(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	incoming = fx_open_to(fx, 2, B, "srv");
	(void)incoming;
	memset(fx->link[LINK_AB].memory + channel.offset, 0xaa, 64);
	fx_hang_up(fx, B);
	fx_expect_reject(fx, A, 2, SIVP_R_VM_DOWN);
	fx_expect_nothing(fx, A); /* the agent alone may have gone */
	fx_gone(fx, LINK_AB, 1);
	fx_expect_link(fx, A, 10, 2, false);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_open(fx, A, 3, "cli", "b", "srv");
	fx_expect_reject(fx, A, 3, SIVP_R_VM_DOWN);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_int_equal(fx->link[LINK_AB].memory[channel.offset], 0);

	/* and comes again, under another number */
	fx_join(fx, LINK_AB, 1, 21);
	fx_expect_nothing(fx, A);
	fx->agent[B].positions[1] = 21;
	fx->agent[B].boot_id[0]++;
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_expect_link_up(fx, B, 21);
	assert_int_equal(sivp_u32(&fx->agent[B].msg, SIVP_A_EPOCH), 2);
	fx_expect_link_up(fx, A, 10);
	assert_int_equal(sivp_u32(&fx->agent[A].msg, SIVP_A_PEER_IVPOSITION), 21);
	fx_reported(fx, B);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_connected(fx, 4, B, "srv");
}

static void test_vm_gone_in_the_middle_of_a_grant(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_granted(fx, 1, B, "srv", &channel);
	fx_gone(fx, LINK_AB, 1); /* its control stream still hangs on */
	fx_expect_reject(fx, A, 1, SIVP_R_RESET);
	fx_expect_link(fx, A, 10, 2, false);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_attached(fx, B, incoming, 0); /* late, and about nothing */
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

/* Order of JOINED and HELLO */

static void test_hello_may_come_before_joined(void **state)
{
	struct fixture *fx = *state;

	fx_join(fx, LINK_AB, 0, 10);
	fx_connect(fx, A);
	fx_hello(fx, A);
	fx_expect_link(fx, A, 10, 1, false);
	fx_reported(fx, A);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_reported(fx, B);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_expect_nothing(fx, B);
	fx_join(fx, LINK_AB, 1, 20);
	fx_expect_link(fx, A, 10, 1, true);
	fx_expect_link(fx, B, 20, 1, true);
}

/* Another kernel in a QEMU that lives on */

static void reborn(struct fixture *fx, void (*change)(struct fx_agent *agent))
{
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	change(&fx->agent[B]);
	/* on the same stream: the port stays connected */
	fx_hello(fx, B);
	assert_int_equal(fx->link[LINK_AB].epoch, 2);
	fx_expect_link(fx, A, 10, 2, true);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_expect_link(fx, B, 20, 2, true);
	fx_reported(fx, B);
	fx_ack(fx, B, 20, 2);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	/* No grant before A's kernel has left the old epoch. */
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_VM_DOWN);
	fx_ack(fx, A, 10, 1); /* of the old one */
	fx_open(fx, A, 3, "cli", "b", "srv");
	fx_expect_reject(fx, A, 3, SIVP_R_VM_DOWN);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_ack(fx, A, 10, 2);
	fx_connected(fx, 4, B, "srv");
}

static void other_boot(struct fx_agent *agent)
{
	agent->boot_id[15]++;
}

static void other_module(struct fx_agent *agent)
{
	agent->module_nonce++;
}

static void test_reboot_ends_the_epoch(void **state)
{
	reborn(*state, other_boot);
}

static void test_module_reload_ends_the_epoch(void **state)
{
	reborn(*state, other_module);
}

/* A hostile kernel writes where it has no channel, too: the next one there must not find it. */
static void test_free_memory_is_zeroed_once_for_each_epoch(void **state)
{
	struct fixture *fx = *state;
	const struct fx_link *link = &fx->link[LINK_AB];
	struct fx_channel channel;
	unsigned int n_scrubs;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, B, &channel, 1);
	memset(link->memory + SIV_LINK_CHANNELS, 0xaa, FX_LINK_SIZE - SIV_LINK_CHANNELS);
	other_boot(&fx->agent[B]);
	fx_hello(fx, B);
	assert_int_equal(link->epoch, 2);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_expect_link(fx, B, 20, 2, true);
	fx_reported(fx, B);
	fx_ack(fx, B, 20, 2);
	/* not as long as a kernel may be in the old one, and write */
	assert_int_equal(link->memory[SIV_LINK_CHANNELS], 0xaa);
	fx_expect_link_up(fx, A, 10);
	fx_connected(fx, 2, B, "srv");
	for (uint32_t at = SIV_LINK_CHANNELS; at < FX_LINK_SIZE; at++)
		assert_int_equal(link->memory[at], 0);
	n_scrubs = link->n_scrubs;
	fx_connected(fx, 3, B, "srv");
	assert_int_equal(link->n_scrubs, n_scrubs);
}

static void test_device_that_is_unbound_ends_the_epoch(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx->agent[B].n_positions = 1;
	fx_hello(fx, B);
	fx_expect_link(fx, A, 10, 2, false);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_no_heartbeat_ends_the_epoch(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	for (int i = 0; i < 2; i++) {
		struct sivp_builder *b = fx_message(fx, SIVP_LINK_STALLED, 0);

		/* A second time for the same epoch changes nothing. */
		sivp_put_u32(b, SIVP_A_IVPOSITION, 10);
		sivp_put_u32(b, SIVP_A_EPOCH, 1);
		fx_send(fx, A);
	}
	assert_int_equal(fx->link[LINK_AB].n_bumps, 1);
	fx_expect_link_up(fx, A, 10);
	fx_closed(fx, A, &channel, 0);
	/* B's kernel has not said anything: its end stays quarantined. */
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_VM_DOWN);
	fx_expect_link_up(fx, B, 20); /* it was only paused */
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_connected(fx, 3, B, "srv");
}

static void test_nothing_is_granted_while_the_switch_has_not_answered(void **state)
{
	struct fixture *fx = *state;

	fx_up(fx);
	fx->link[LINK_AB].hold_bumps = true;
	fx_connected(fx, 1, B, "srv");
	fx->agent[B].boot_id[3]++;
	fx_hello(fx, B);
	fx_reported(fx, B);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_expect_nothing(fx, A);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_VM_DOWN);
	fx_answer_bump(fx, LINK_AB);
	fx_expect_link_up(fx, A, 10);
	fx_expect_link_up(fx, B, 20);
	fx_connected(fx, 3, B, "srv");
}

/* An agent is restarted */

static void other_agent(struct fixture *fx, unsigned int vm)
{
	fx_hang_up(fx, vm);
	fx->agent[vm].nonce[0]++;
	fx_connect(fx, vm);
	fx_hello(fx, vm);
}

static void test_agent_restart_keeps_reported_channels(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel kept, closed;

	fx_up(fx);
	kept = fx_connected(fx, 1, B, "srv");
	closed = fx_connected(fx, 2, B, "srv");
	other_agent(fx, B);
	assert_int_equal(fx->link[LINK_AB].epoch, 1);
	fx_expect_link(fx, B, 20, 1, true);
	fx_expect_link(fx, B, SIVP_LOCAL, FX_NOW, true);
	fx_report(fx, B, &kept, 1, "a", "srv", "cli");
	fx_reported(fx, B);
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 2);
	fx_closed(fx, A, &closed, 0); /* B's CLOSED went to an agent that is no more */
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, A, &kept, 0);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, B, &kept, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_agent_restart_while_its_kernel_attaches(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	for (uint64_t id = 1; id <= 2; id++) {
		fx_granted(fx, id, B, "srv", &channel);
		other_agent(fx, B);
		fx_expect_reject(fx, A, id, SIVP_R_VM_DOWN);
		/* The old agent may have handed it to the kernel, or not. */
		assert_int_equal(broker_count_channels(fx->broker), 1);
		fx_expect_link(fx, B, 20, 1, true);
		fx_expect_link(fx, B, SIVP_LOCAL, FX_NOW, true);
		if (id == 1)
			fx_report(fx, B, &channel, 1, "a", "srv", "cli");
		fx_reported(fx, B);
		if (id == 1) {
			fx_expect_close(fx, B, &channel, 1);
			fx_closed(fx, B, &channel, 1);
			fx_ack(fx, B, 20, 1);
		}
		assert_int_equal(broker_count_channels(fx->broker), 0);
	}
}

static void test_reported_channel_that_nobody_granted_is_closed(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	other_agent(fx, B);
	fx_expect_link(fx, B, 20, 1, true);
	fx_expect_link(fx, B, SIVP_LOCAL, FX_NOW, true);
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	channel.slot += 5;
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_expect_close(fx, B, &channel, 1);
	fx_reported(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

/* A new switch: the old memory is out of reach, and nobody is joined. */
static void test_link_made_anew(void **state)
{
	struct fixture *fx = *state;

	fx_up(fx);
	fx_connected(fx, 1, B, "srv");
	fx_open_to(fx, 2, B, "srv");
	fx->link[LINK_AB].epoch = 1;
	fx->instance++;
	fx_start_links(fx);
	fx_links_ready(fx);
	fx_run(fx);
	fx_expect_reject(fx, A, 2, SIVP_R_RESET);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_open(fx, A, 3, "cli", "b", "srv");
	fx_expect_reject(fx, A, 3, SIVP_R_VM_DOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vm_gone_resets_the_survivor),
		TEST(test_vm_gone_in_the_middle_of_a_grant),
		TEST(test_hello_may_come_before_joined),
		TEST(test_reboot_ends_the_epoch),
		TEST(test_module_reload_ends_the_epoch),
		TEST(test_free_memory_is_zeroed_once_for_each_epoch),
		TEST(test_device_that_is_unbound_ends_the_epoch),
		TEST(test_no_heartbeat_ends_the_epoch),
		TEST(test_nothing_is_granted_while_the_switch_has_not_answered),
		TEST(test_agent_restart_keeps_reported_channels),
		TEST(test_agent_restart_while_its_kernel_attaches),
		TEST(test_reported_channel_that_nobody_granted_is_closed),
		TEST(test_link_made_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
