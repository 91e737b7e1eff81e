// SPDX-License-Identifier: BSD-2-Clause
/* When things die: VMs, kernels, agents, the broker itself, and the switch's answers. */
#include "broker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static const struct sivp_msg *expect_link(struct fixture *fx, unsigned int vm, uint32_t position,
					  uint32_t epoch, bool up)
{
	const struct sivp_msg *msg = fx_expect(fx, vm, SIVP_LINK);

	assert_int_equal(sivp_u32(msg, SIVP_A_IVPOSITION), position);
	assert_int_equal(sivp_u32(msg, SIVP_A_EPOCH), epoch);
	assert_int_equal(sivp_u32(msg, SIVP_A_UP), up);
	return msg;
}

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
	expect_link(fx, A, 10, 2, false);
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
	expect_link(fx, A, 10, 2, false);
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
	expect_link(fx, A, 10, 1, false);
	fx_reported(fx, A);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_reported(fx, B);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_expect_nothing(fx, B);
	fx_join(fx, LINK_AB, 1, 20);
	expect_link(fx, A, 10, 1, true);
	expect_link(fx, B, 20, 1, true);
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
	expect_link(fx, A, 10, 2, true);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	expect_link(fx, B, 20, 2, true);
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
	expect_link(fx, B, 20, 2, true);
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
	expect_link(fx, A, 10, 2, false);
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
	expect_link(fx, B, 20, 1, true);
	expect_link(fx, B, SIVP_LOCAL, FX_NOW + 1, true);
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
		expect_link(fx, B, 20, 1, true);
		expect_link(fx, B, SIVP_LOCAL, FX_NOW + 1, true);
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
	expect_link(fx, B, 20, 1, true);
	expect_link(fx, B, SIVP_LOCAL, FX_NOW + 1, true);
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	channel.slot += 5;
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_expect_close(fx, B, &channel, 1);
	fx_reported(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

/* The broker is restarted */

static struct fx_channel before_restart(struct fixture *fx)
{
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_restart_broker(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AC, 1, 11);
	broker_link_joined(fx->broker, LINK_AB, 1, 20);
	broker_link_ready(fx->broker, LINK_AB);
	broker_link_ready(fx->broker, LINK_AC);
	return channel;
}

static void after_restart(struct fixture *fx, unsigned int vm)
{
	fx_connect(fx, vm);
	fx_hello(fx, vm);
	fx_expect_nothing(fx, vm);
}

/* A's other links, which are not what the tests are about. */
static void skip_a_links(struct fixture *fx)
{
	const struct sivp_msg *msg = fx_expect(fx, A, SIVP_LINK);

	assert_int_equal(sivp_u32(msg, SIVP_A_IVPOSITION), SIVP_LOCAL);
	msg = fx_expect(fx, A, SIVP_LINK);
	assert_int_equal(sivp_u32(msg, SIVP_A_IVPOSITION), 11);
}

static void expect_kept(struct fixture *fx)
{
	assert_int_equal(fx->link[LINK_AB].epoch, 1);
	expect_link(fx, A, 10, 1, true);
	expect_link(fx, B, 20, 1, true);
	fx_ack(fx, A, 10, 1);
	fx_ack(fx, B, 20, 1);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
}

static void expect_reset(struct fixture *fx)
{
	assert_int_equal(fx->link[LINK_AB].epoch, 2);
	expect_link(fx, A, 10, 2, true);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	expect_link(fx, B, 20, 2, true);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_ack(fx, A, 10, 2);
	fx_ack(fx, B, 20, 2);
	/* Whatever lay in the link is zeroed before anything is granted. */
	memset(fx->link[LINK_AB].memory + SIV_LINK_CHANNELS, 0xaa,
	       FX_LINK_SIZE - SIV_LINK_CHANNELS);
	fx_connected(fx, 50, B, "srv");
	for (uint32_t at = SIV_LINK_CHANNELS; at < FX_LINK_SIZE; at += SIV_PAGE_SIZE)
		assert_int_equal(fx->link[LINK_AB].memory[at], 0);
}

static void test_broker_restart_keeps_what_both_report(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel = before_restart(fx), next;

	memset(fx->link[LINK_AB].memory + SIV_LINK_CHANNELS, 0xaa,
	       FX_LINK_SIZE - SIV_LINK_CHANNELS);
	after_restart(fx, A);
	fx_report(fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(fx, A);
	skip_a_links(fx);
	fx_expect_nothing(fx, A); /* nothing is said before B has reported */
	after_restart(fx, B);
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_reported(fx, B);
	expect_kept(fx);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	/* New connects go elsewhere, on zeroed pages; the open channel's are not touched. */
	next = fx_connected(fx, 2, B, "srv");
	assert_true(next.offset >= channel.offset + alloc_length(13, 14));
	assert_int_equal(fx->link[LINK_AB].memory[channel.offset], 0xaa);
	assert_int_equal(fx->link[LINK_AB].memory[next.offset], 0);
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	assert_int_equal(fx->link[LINK_AB].memory[channel.offset], 0);
}

static void test_broker_restart_resets_what_does_not_fit(void **state)
{
	enum { SLOT, GENERATION, OFFSET, OVERLAP, BOUNDS, ALIGNMENT, ROLE, SERVICE, VM, N_CASES };

	for (int i = 0; i < N_CASES; i++) {
		struct fixture *fx = *state;
		struct fx_channel channel = before_restart(fx), lie = channel;
		unsigned int side = 0;
		const char *service = "cli", *vm = "b";

		print_message("case %d\n", i);
		switch (i) {
		case OFFSET:
			lie.offset += SIV_PAGE_SIZE;
			break;
		case BOUNDS:
			lie.offset = channel.offset = FX_LINK_SIZE - SIV_PAGE_SIZE;
			break;
		case ALIGNMENT:
			lie.offset = channel.offset = channel.offset + 1;
			break;
		case ROLE:
			side = 1;
			lie.position[1] = lie.position[0];
			lie.end[1] = lie.end[0];
			break;
		case SERVICE:
			service = "loc";
			break;
		case VM:
			vm = "c";
			break;
		}
		after_restart(fx, A);
		fx_report(fx, A, &lie, side, vm, service, "srv");
		if (i == SLOT || i == GENERATION || i == OVERLAP) {
			/* a second one in the same pages or slot */
			if (i == SLOT)
				lie.offset += 1 << 16;
			else
				lie.slot++;
			lie.generation++;
			if (i == GENERATION)
				lie.offset += SIV_PAGE_SIZE;
			fx_report(fx, A, &lie, side, vm, service, "srv");
		}
		fx_reported(fx, A);
		skip_a_links(fx);
		after_restart(fx, B);
		fx_report(fx, B, &channel, 1, "a", "srv", "cli");
		fx_reported(fx, B);
		expect_reset(fx);
		fx_teardown(state);
		fx_setup(state);
	}
}

/* B was booted anew while no broker looked: its kernel cannot name a channel of the epoch. */
static void test_broker_restart_resets_without_proof(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel = before_restart(fx);

	after_restart(fx, A);
	fx_report(fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(fx, A);
	skip_a_links(fx);
	after_restart(fx, B);
	fx_reported(fx, B);
	expect_reset(fx);
}

static void test_broker_restart_with_nothing_open_starts_an_epoch(void **state)
{
	struct fixture *fx = *state;

	before_restart(fx);
	after_restart(fx, A);
	fx_reported(fx, A);
	skip_a_links(fx);
	after_restart(fx, B);
	fx_reported(fx, B);
	expect_reset(fx);
}

/* Two channels keep the link; of one, one end has gone meanwhile. */
static void one_sided(struct fixture *fx, unsigned int left, bool says_closed)
{
	static const char *const peer[] = { "b", "a" };
	static const char *const service[] = { "cli", "srv" };
	struct fx_channel both, one;
	unsigned int vm[] = { A, B };

	fx_up(fx);
	both = fx_connected(fx, 1, B, "srv");
	one = fx_connected(fx, 2, B, "srv");
	fx_restart_broker(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AB, 1, 20);
	broker_link_ready(fx->broker, LINK_AB);
	for (unsigned int side = 0; side < 2; side++) {
		after_restart(fx, vm[side]);
		if (side != left && says_closed)
			fx_closed(fx, vm[side], &one, side);
		fx_report(fx, vm[side], &both, side, peer[side], service[side], service[!side]);
		if (side == left)
			fx_report(fx, vm[side], &one, side, peer[side], service[side],
				  service[!side]);
		fx_reported(fx, vm[side]);
		if (side == 0)
			fx_expect(fx, A, SIVP_LINK); /* local */
	}
	assert_int_equal(fx->link[LINK_AB].epoch, 1);
	if (left == 1 && !says_closed)
		fx_expect_close(fx, B, &one, 1);
	assert_int_equal(broker_count_channels(fx->broker), 2);
	expect_link(fx, A, 10, 1, true);
	expect_link(fx, B, 20, 1, true);
	fx_expect_nothing(fx, A);
	fx_closed(fx, vm[left], &one, left);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

static void test_broker_restart_keeps_a_client_whose_server_closed(void **state)
{
	one_sided(*state, 0, false);
}

static void test_broker_restart_keeps_a_server_whose_client_said_closed(void **state)
{
	one_sided(*state, 1, true);
}

static void test_broker_restart_closes_a_server_whose_client_may_never_have_come(void **state)
{
	one_sided(*state, 1, false);
}

static void test_broker_restart_ignores_older_epochs(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel = before_restart(fx), old;

	/* As if B had been gone and back while nobody looked: A's agent was away too. */
	old = channel;
	old.epoch = 0;
	after_restart(fx, A);
	fx_report(fx, A, &old, 0, "b", "cli", "srv");
	channel.slot++;
	fx_report(fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(fx, A);
	skip_a_links(fx);
	after_restart(fx, B);
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_reported(fx, B);
	expect_kept(fx);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

static void test_broker_restart_with_another_policy_closes(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_free_broker(fx);
	/* The rule goes; lines and indices of the others do not matter here. */
	strcpy(fx->policy->allows[0].to_service, "other");
	fx_new_broker(fx);
	fx_start_links(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AB, 1, 20);
	broker_link_ready(fx->broker, LINK_AB);
	after_restart(fx, A);
	fx_report(fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(fx, A);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	after_restart(fx, B);
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_reported(fx, B);
	fx_expect_close(fx, A, &channel, 0);
	fx_expect_close(fx, B, &channel, 1);
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_broker_restart_peer_gone_meanwhile(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_free_broker(fx);
	fx->link[LINK_AB].epoch = 2; /* the switch saw B's QEMU exit */
	fx_new_broker(fx);
	fx_start_links(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_ready(fx->broker, LINK_AB);
	after_restart(fx, A);
	fx_report(fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(fx, A);
	assert_true(fx->link[LINK_AB].epoch > 1);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	expect_link(fx, A, 10, fx->link[LINK_AB].epoch, false);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_closed(fx, A, &channel, 0);
	assert_true(broker_vm_has_stream(fx->broker, A));
}

static void test_broker_restart_keeps_channels_inside_a_vm(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, next;

	fx_up(fx);
	channel = fx_connected(fx, 1, A, "loc");
	fx_restart_broker(fx);
	fx_links_ready(fx);
	after_restart(fx, A);
	fx_report(fx, A, &channel, 0, "a", "cli", "loc");
	fx_report(fx, A, &channel, 1, "a", "loc", "cli");
	fx_reported(fx, A);
	expect_link(fx, A, SIVP_LOCAL, channel.epoch, true);
	fx_ack(fx, A, SIVP_LOCAL, channel.epoch);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	next = fx_connected(fx, 2, A, "loc");
	assert_int_not_equal(next.offset, channel.offset);
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, A, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

/* A later broker's epochs of a link inside a VM are later, whatever it knows. */
static void test_local_epochs_only_grow(void **state)
{
	struct fixture *fx = *state;
	uint32_t before;

	fx_connect(fx, A);
	fx_hello(fx, A);
	fx_reported(fx, A);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	before = sivp_u32(&fx->agent[A].msg, SIVP_A_EPOCH);
	fx->agent[A].module_nonce++;
	fx_hello(fx, A);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	assert_true(sivp_u32(&fx->agent[A].msg, SIVP_A_EPOCH) > before);
}

/* A new switch: the old memory is out of reach, and nobody is joined. */
static void test_link_made_anew(void **state)
{
	struct fixture *fx = *state;

	fx_up(fx);
	fx_connected(fx, 1, B, "srv");
	fx_open_to(fx, 2, B, "srv");
	fx->link[LINK_AB].epoch = 1;
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
		TEST(test_broker_restart_keeps_what_both_report),
		TEST(test_broker_restart_resets_what_does_not_fit),
		TEST(test_broker_restart_resets_without_proof),
		TEST(test_broker_restart_with_nothing_open_starts_an_epoch),
		TEST(test_broker_restart_keeps_a_client_whose_server_closed),
		TEST(test_broker_restart_keeps_a_server_whose_client_said_closed),
		TEST(test_broker_restart_closes_a_server_whose_client_may_never_have_come),
		TEST(test_broker_restart_ignores_older_epochs),
		TEST(test_broker_restart_with_another_policy_closes),
		TEST(test_broker_restart_peer_gone_meanwhile),
		TEST(test_broker_restart_keeps_channels_inside_a_vm),
		TEST(test_local_epochs_only_grow),
		TEST(test_link_made_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
