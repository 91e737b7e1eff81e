// SPDX-License-Identifier: BSD-2-Clause
/* The broker's one road, everything that leads off it, and how pages come back. */
#include "broker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ID_CLI "spiffe://test.example/vm/a/service/cli"
#define ID_SRV "spiffe://test.example/vm/b/service/srv"
#define MS     LOOP_NS_PER_MS

/* The road */

static void test_connect_grants_server_first_and_frees_after_both_closed(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_open_to(fx, 1, B, "srv");
	sivp_put_blob(fx_message(fx, SIVP_TLS, 1), SIVP_A_TLS, "hello", 5);
	fx_send(fx, A);
	assert_int_equal(fx_expect(fx, B, SIVP_TLS)->session, incoming);
	assert_memory_equal(fx->agent[B].msg.attr[SIVP_A_TLS].data, "hello", 5);
	sivp_put_blob(fx_message(fx, SIVP_TLS, incoming), SIVP_A_TLS, "flight", 6);
	fx_send(fx, B);
	assert_int_equal(fx_expect(fx, A, SIVP_TLS)->session, 1);
	fx_ready(fx, A, 1, ID_SRV, 'c', 's', 'x');
	fx_expect_nothing(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_ready(fx, B, incoming, ID_CLI, 's', 'c', 'x');
	fx_expect_grant(fx, B, 1, incoming, &channel);
	fx_expect_nothing(fx, A);
	fx_attached(fx, B, incoming, 0);
	fx_expect_grant(fx, A, 0, 1, &channel);
	assert_int_equal(channel.position[0], 10);
	assert_int_equal(channel.position[1], 20);
	assert_int_equal(channel.end[0], 0);
	assert_int_equal(channel.end[1], 1);
	assert_true(channel.offset >= SIV_LINK_CHANNELS);
	fx_attached(fx, A, 1, 0);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
	assert_int_equal(broker_count_channels(fx->broker), 1);

	memset(fx->link[LINK_AB].memory + channel.offset, 0xaa, 1000);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	assert_int_equal(fx->link[LINK_AB].memory[channel.offset], 0xaa);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(fx->link[LINK_AB].memory[channel.offset + i], 0);
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
}

static void test_client_may_be_either_end(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up_all(fx);
	channel = fx_connected(fx, 1, C, "srv2");
	assert_int_equal(channel.end[0], 1);
	assert_int_equal(channel.position[0], 11);
	assert_int_equal(channel.end[1], 0);
	assert_int_equal(channel.position[1], 20);
}

static void test_many_channels_have_pages_of_their_own(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel[20];

	fx_up(fx);
	for (unsigned int i = 0; i < 20; i++) {
		channel[i] = fx_connected(fx, i + 1, B, "srv");
		for (unsigned int j = 0; j < i; j++) {
			uint64_t length = alloc_length(13, 14);

			assert_true(channel[j].offset + length <= channel[i].offset ||
				    channel[i].offset + length <= channel[j].offset);
			assert_int_not_equal(channel[i].slot, channel[j].slot);
			assert_int_not_equal(channel[i].generation, channel[j].generation);
		}
	}
}

static void test_memory_runs_out_and_comes_back(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel[128];
	unsigned int n = 0, room = (FX_LINK_SIZE - SIV_LINK_CHANNELS) / alloc_length(13, 14);
	uint64_t incoming;

	fx_up(fx);
	for (; n < room; n++)
		channel[n] = fx_connected(fx, n + 1, B, "srv");
	incoming = fx_open_to(fx, 1000, B, "srv");
	fx_ready_both(fx, 1000, B, incoming, "srv");
	fx_expect_reject(fx, A, 1000, SIVP_R_NO_MEMORY);
	fx_expect_reject(fx, B, incoming, SIVP_R_NO_MEMORY);
	fx_closed(fx, A, &channel[3], 0);
	fx_closed(fx, B, &channel[3], 1);
	fx_connected(fx, 1001, B, "srv");
}

static void test_connect_inside_a_vm(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, A, "loc");
	assert_int_equal(channel.position[0], SIVP_LOCAL);
	assert_int_equal(channel.position[1], SIVP_LOCAL);
	assert_int_equal(channel.end[0], 0);
	assert_int_equal(channel.end[1], 1);
	fx_closed(fx, A, &channel, 1);
	fx_closed(fx, A, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_empty_vm_resolves_by_policy(void **state)
{
	struct fixture *fx = *state;

	fx_up(fx);
	fx_open(fx, A, 1, "cli", "", "srv");
	assert_string_equal(sivp_str(fx_expect(fx, B, SIVP_INCOMING), SIVP_A_SERVICE), "srv");
}

/* Refusals at OPEN */

static void test_refused_at_open(void **state)
{
	static const struct {
		const char *service, *vm, *to;
		enum sivp_reason reason;
	} cases[] = {
		{ "srv", "b", "srv", SIVP_R_NOT_HELD },
		{ "nobody", "b", "srv", SIVP_R_NOT_HELD },
		{ "cli", "b", "other", SIVP_R_NOT_ALLOWED },
		{ "cli", "b", "unheard", SIVP_R_NOT_ALLOWED },
		{ "loc", "b", "srv", SIVP_R_NOT_ALLOWED },
		{ "cli", "d", "srv", SIVP_R_UNKNOWN_VM },
		{ "cli", "", "other", SIVP_R_UNKNOWN_VM },
		{ "cli", "c", "srv2", SIVP_R_VM_DOWN },
	};
	struct fixture *fx = *state;

	fx_up(fx);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fx_open(fx, A, i + 1, cases[i].service, cases[i].vm, cases[i].to);
		fx_expect_reject(fx, A, i + 1, cases[i].reason);
	}
	fx_expect_nothing(fx, B);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
	assert_int_equal(audit_count(fx->audit, SIVP_R_NOT_HELD), 2);
	assert_int_equal(audit_count(fx->audit, SIVP_R_NOT_ALLOWED), 3);
}

static void test_refused_before_link_is_acknowledged(void **state)
{
	struct fixture *fx = *state;

	fx_join(fx, LINK_AB, 0, 10);
	fx_join(fx, LINK_AB, 1, 20);
	fx_connect(fx, A);
	fx_hello(fx, A);
	fx_expect(fx, A, SIVP_LINK); /* down */
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	fx_open(fx, A, 1, "cli", "b", "srv");
	fx_expect_reject(fx, A, 1, SIVP_R_VM_DOWN); /* A has not reported */
	fx_reported(fx, A);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_VM_DOWN); /* B is not there */
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_expect_link_up(fx, A, 10);
	fx_open(fx, A, 3, "cli", "b", "srv");
	fx_expect_reject(fx, A, 3, SIVP_R_VM_DOWN); /* B has not reported */
	fx_reported(fx, B);
	fx_open(fx, A, 4, "cli", "b", "srv");
	fx_expect_reject(fx, A, 4, SIVP_R_VM_DOWN); /* B's kernel has not taken the epoch */
	fx_expect_link_up(fx, B, 20);
	fx_open(fx, A, 5, "cli", "b", "srv");
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_expect(fx, B, SIVP_INCOMING);
}

static void test_kernel_that_refuses_the_link_gets_no_grant(void **state)
{
	struct fixture *fx = *state;
	struct sivp_builder *b;

	fx_up(fx);
	fx_gone(fx, LINK_AB, 1);
	fx_expect(fx, A, SIVP_LINK);
	fx_hang_up(fx, B);
	fx->agent[B].positions[1] = 21;
	fx->agent[B].boot_id[0]++;
	fx_join(fx, LINK_AB, 1, 21);
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_reported(fx, B);
	fx_expect_link_up(fx, A, 10);
	b = fx_message(fx, SIVP_LINK_ACK, 0);
	sivp_put_u32(b, SIVP_A_IVPOSITION, 21);
	sivp_put_u32(b, SIVP_A_EPOCH, fx->link[LINK_AB].epoch);
	sivp_put_u32(b, SIVP_A_UP, 1);
	sivp_put_u32(b, SIVP_A_ERRNO, ENOMEM);
	fx_send(fx, B);
	fx_open(fx, A, 1, "cli", "b", "srv");
	fx_expect_reject(fx, A, 1, SIVP_R_VM_DOWN);
}

static void test_channel_larger_than_the_link(void **state)
{
	struct fixture *fx = *state;
	struct sivp_builder *b;

	fx_up(fx);
	b = fx_message(fx, SIVP_OPEN, 1);
	sivp_put_str(b, SIVP_A_VM, "b");
	sivp_put_str(b, SIVP_A_SERVICE, "cli");
	sivp_put_str(b, SIVP_A_PEER_SERVICE, "srv");
	sivp_put_u32(b, SIVP_A_TYPE, SOCK_STREAM);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, SIV_CHAN_ORDER_MAX);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, 12);
	sivp_put_u32(b, SIVP_A_TIMEOUT_MS, 1000);
	fx_send(fx, A);
	fx_expect_reject(fx, A, 1, SIVP_R_NO_MEMORY);
}

/* Refusals on the way */

static void test_server_says_nobody_listens(void **state)
{
	struct fixture *fx = *state;
	uint64_t incoming;
	struct sivp_builder *b;

	fx_up(fx);
	fx_open(fx, A, 1, "cli", "b", "srv");
	incoming = fx_expect(fx, B, SIVP_INCOMING)->session;
	b = fx_message(fx, SIVP_REJECT, incoming);
	sivp_put_u32(b, SIVP_A_REASON, SIVP_R_NOT_LISTENING);
	sivp_put_u32(b, SIVP_A_ERRNO, EACCES); /* not what the reason means */
	fx_send(fx, B);
	fx_expect_reject(fx, A, 1, SIVP_R_NOT_LISTENING);
	fx_expect_nothing(fx, B);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
}

static void test_either_side_rejects_during_tls(void **state)
{
	struct fixture *fx = *state;
	uint64_t incoming;
	struct sivp_builder *b;

	fx_up(fx);
	incoming = fx_open_to(fx, 1, B, "srv");
	b = fx_message(fx, SIVP_REJECT, 1);
	sivp_put_u32(b, SIVP_A_REASON, SIVP_R_CERTIFICATE);
	sivp_put_u32(b, SIVP_A_ERRNO, EKEYREJECTED);
	fx_send(fx, A);
	fx_expect_reject(fx, B, incoming, SIVP_R_CERTIFICATE);
	incoming = fx_open_to(fx, 2, B, "srv");
	b = fx_message(fx, SIVP_REJECT, incoming);
	sivp_put_u32(b, SIVP_A_REASON, SIVP_R_EXPIRED);
	sivp_put_u32(b, SIVP_A_ERRNO, EKEYEXPIRED);
	fx_send(fx, B);
	fx_expect_reject(fx, A, 2, SIVP_R_EXPIRED);
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
}

static void test_ready_must_fit_in_each_field(void **state)
{
	static const struct {
		const char *client_peer, *server_peer;
		uint8_t client[3], server[3]; /* digest, peer's, exporter */
	} cases[] = {
		{ ID_SRV "x", ID_CLI, { 'c', 's', 'x' }, { 's', 'c', 'x' } },
		{ ID_SRV, ID_SRV, { 'c', 's', 'x' }, { 's', 'c', 'x' } },
		{ "spiffe://x.example/vm/b/service/srv", ID_CLI, { 'c', 's', 'x' },
		  { 's', 'c', 'x' } },
		{ ID_SRV, ID_CLI, { 'd', 's', 'x' }, { 's', 'c', 'x' } },
		{ ID_SRV, ID_CLI, { 'c', 't', 'x' }, { 's', 'c', 'x' } },
		{ ID_SRV, ID_CLI, { 'c', 's', 'y' }, { 's', 'c', 'x' } },
		{ ID_SRV, ID_CLI, { 'c', 's', 'x' }, { 't', 'c', 'x' } },
		{ ID_SRV, ID_CLI, { 'c', 's', 'x' }, { 's', 'd', 'x' } },
	};
	struct fixture *fx = *state;

	fx_up(fx);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t incoming = fx_open_to(fx, i + 1, B, "srv");

		fx_ready(fx, A, i + 1, cases[i].client_peer, cases[i].client[0], cases[i].client[1],
			 cases[i].client[2]);
		fx_ready(fx, B, incoming, cases[i].server_peer, cases[i].server[0],
			 cases[i].server[1], cases[i].server[2]);
		fx_expect_reject(fx, A, i + 1, SIVP_R_MISMATCH);
		fx_expect_reject(fx, B, incoming, SIVP_R_MISMATCH);
	}
	assert_int_equal(broker_count_sessions(fx->broker), 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_handshake_times_out_on_both_sides(void **state)
{
	struct fixture *fx = *state;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_open_to(fx, 1, B, "srv");
	fx_ready(fx, A, 1, ID_SRV, 'c', 's', 'x');
	loop_advance(fx->loop, (BROKER_HANDSHAKE_MS - 1) * MS);
	fx_expect_nothing(fx, A);
	loop_advance(fx->loop, MS);
	fx_expect_reject(fx, A, 1, SIVP_R_TIMEOUT);
	fx_expect_reject(fx, B, incoming, SIVP_R_TIMEOUT);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
	/* What comes late is ignored. */
	fx_ready(fx, B, incoming, ID_CLI, 's', 'c', 'x');
	fx_expect_nothing(fx, B);
	assert_true(broker_vm_has_stream(fx->broker, B));
}

static void test_no_time_out_after_the_first_grant(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	fx_granted(fx, 1, B, "srv", &channel);
	loop_advance(fx->loop, 3600 * 1000 * MS);
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

/* After the first GRANT */

static void test_server_kernel_refuses(void **state)
{
	static const struct {
		uint32_t error;
		enum sivp_reason reason;
	} cases[] = {
		{ ECONNREFUSED, SIVP_R_BACKLOG },   { ENOENT, SIVP_R_NOT_LISTENING },
		{ EPROTOTYPE, SIVP_R_SOCKET_TYPE }, { ESTALE, SIVP_R_ATTACH },
		{ EEXIST, SIVP_R_ATTACH },	    { EOPNOTSUPP, SIVP_R_ATTACH },
	};
	struct fixture *fx = *state;

	fx_up(fx);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fx_channel channel;
		uint64_t incoming = fx_granted(fx, i + 1, B, "srv", &channel);

		fx_attached(fx, B, incoming, cases[i].error);
		fx_expect_reject(fx, A, i + 1, cases[i].reason);
		fx_expect_nothing(fx, B);
		assert_int_equal(broker_count_sessions(fx->broker), 0);
		assert_int_equal(broker_count_channels(fx->broker), 0);
	}
}

/* Whichever it is. */
static void test_a_kernel_cannot_seal(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx->policy->allows[0].sealed = true;
	fx_up(fx);
	incoming = fx_granted(fx, 1, B, "srv", &channel);
	fx_attached(fx, B, incoming, EOPNOTSUPP);
	fx_expect_reject(fx, A, 1, SIVP_R_NO_SEALING);
	fx_expect_nothing(fx, B);
	assert_int_equal(broker_count_channels(fx->broker), 0);

	incoming = fx_granted(fx, 2, B, "srv", &channel);
	fx_attached(fx, B, incoming, 0);
	fx_expect_grant(fx, A, 0, 2, &channel);
	fx_attached(fx, A, 2, EOPNOTSUPP);
	fx_expect_close(fx, B, &channel, 1);
	assert_int_equal(sivp_u32(&fx->agent[B].msg, SIVP_A_REASON), SIVP_R_NO_SEALING);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_client_kernel_refuses(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_granted(fx, 1, B, "srv", &channel);
	fx_attached(fx, B, incoming, 0);
	fx_expect_grant(fx, A, 0, 1, &channel);
	fx_attached(fx, A, 1, ENOENT);
	fx_expect_close(fx, B, &channel, 1);
	fx_expect_nothing(fx, A);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_client_gives_a_grant_back_by_closed(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_granted(fx, 1, B, "srv", &channel);
	fx_attached(fx, B, incoming, 0);
	fx_expect_grant(fx, A, 0, 1, &channel);
	fx_closed(fx, A, &channel, 0);
	fx_expect_close(fx, B, &channel, 1);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_client_cancels_while_the_server_attaches(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	struct sivp_builder *b;
	uint64_t incoming;

	fx_up(fx);
	for (uint64_t id = 1; id <= 2; id++) {
		incoming = fx_granted(fx, id, B, "srv", &channel);
		b = fx_message(fx, SIVP_REJECT, id);
		sivp_put_u32(b, SIVP_A_REASON, SIVP_R_CANCELLED);
		sivp_put_u32(b, SIVP_A_ERRNO, ECONNABORTED);
		fx_send(fx, A);
		fx_expect_close(fx, B, &channel, 1);
		fx_expect_nothing(fx, B);
		/* The session waits for the kernel's answer, which may be either. */
		assert_int_equal(broker_count_channels(fx->broker), 1);
		if (id == 1) {
			fx_attached(fx, B, incoming, 0);
			assert_int_equal(broker_count_channels(fx->broker), 1);
			fx_closed(fx, B, &channel, 1);
		} else {
			fx_attached(fx, B, incoming, ECONNREFUSED);
		}
		assert_int_equal(broker_count_sessions(fx->broker), 0);
		assert_int_equal(broker_count_channels(fx->broker), 0);
	}
}

static void test_reject_that_crosses_a_grant_is_ignored(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	struct sivp_builder *b;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_granted(fx, 1, B, "srv", &channel);
	b = fx_message(fx, SIVP_REJECT, incoming);
	sivp_put_u32(b, SIVP_A_REASON, SIVP_R_BACKLOG);
	sivp_put_u32(b, SIVP_A_ERRNO, ECONNREFUSED);
	fx_send(fx, B);
	fx_expect_nothing(fx, A);
	fx_attached(fx, B, incoming, ECONNREFUSED);
	fx_expect_reject(fx, A, 1, SIVP_R_BACKLOG);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

/* CLOSED */

static void test_closed_of_what_is_not_open_changes_nothing(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, wrong;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_closed(fx, B, &channel, 1);
	fx_closed(fx, B, &channel, 1);
	wrong = channel;
	wrong.generation++;
	fx_closed(fx, A, &wrong, 0);
	wrong = channel;
	wrong.epoch++;
	fx_closed(fx, A, &wrong, 0);
	wrong = channel;
	wrong.slot++;
	fx_closed(fx, A, &wrong, 0);
	wrong = channel;
	wrong.position[0] = 99;
	fx_closed(fx, A, &wrong, 0);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	fx_closed(fx, A, &channel, 0);
	assert_true(broker_vm_has_stream(fx->broker, A));
}

static void test_closed_for_the_other_end_is_a_violation(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	channel.end[0] = 1;
	fx_closed(fx, A, &channel, 0);
	fx_expect_hang_up(fx, A);
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

static void test_pages_that_cannot_be_zeroed_are_not_given_out(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, next;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx->link[LINK_AB].scrub_error = -EIO;
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx->link[LINK_AB].scrub_error = 0;
	next = fx_connected(fx, 2, B, "srv");
	assert_int_equal(broker_count_channels(fx->broker), 1);
	assert_int_not_equal(next.generation, channel.generation);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connect_grants_server_first_and_frees_after_both_closed),
		TEST(test_client_may_be_either_end),
		TEST(test_many_channels_have_pages_of_their_own),
		TEST(test_memory_runs_out_and_comes_back),
		TEST(test_connect_inside_a_vm),
		TEST(test_empty_vm_resolves_by_policy),
		TEST(test_refused_at_open),
		TEST(test_refused_before_link_is_acknowledged),
		TEST(test_kernel_that_refuses_the_link_gets_no_grant),
		TEST(test_channel_larger_than_the_link),
		TEST(test_server_says_nobody_listens),
		TEST(test_either_side_rejects_during_tls),
		TEST(test_ready_must_fit_in_each_field),
		TEST(test_handshake_times_out_on_both_sides),
		TEST(test_no_time_out_after_the_first_grant),
		TEST(test_server_kernel_refuses),
		TEST(test_client_kernel_refuses),
		TEST(test_a_kernel_cannot_seal),
		TEST(test_client_gives_a_grant_back_by_closed),
		TEST(test_client_cancels_while_the_server_attaches),
		TEST(test_reject_that_crosses_a_grant_is_ignored),
		TEST(test_closed_of_what_is_not_open_changes_nothing),
		TEST(test_closed_for_the_other_end_is_a_violation),
		TEST(test_pages_that_cannot_be_zeroed_are_not_given_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
