// SPDX-License-Identifier: BSD-2-Clause
/*
 * Revocations in the broker: what is open is reset, what is under way rejected, what comes refused;
 * and nothing else is touched.
 */
#include "broker_fixture.h"

#include <errno.h>
#include <stdlib.h>

static struct revocations revoked;

static void take_back(const char *vm, const char *service)
{
	assert_int_equal(revocations_add(&revoked, vm, service, FX_NOW), 0);
}

static void give_back(const char *vm, const char *service)
{
	assert_int_equal(revocations_remove(&revoked, vm, service), 0);
}

/* What is revoked takes effect: so much of it. */
static void enforce(struct fixture *fx, unsigned int channels, unsigned int connects)
{
	struct broker_enforced done;

	broker_enforce(fx->broker, &done);
	fx_run(fx);
	assert_int_equal(done.channels, channels);
	assert_int_equal(done.connects, connects);
}

static void expect_revoked_close(struct fixture *fx, unsigned int vm,
				 const struct fx_channel *channel, unsigned int side)
{
	fx_expect_close(fx, vm, channel, side);
	assert_int_equal(sivp_u32(&fx->agent[vm].msg, SIVP_A_REASON), SIVP_R_REVOKED);
}

/* Beyond the fixture's: a/cli -> b/other, on the link that b/srv has too. */
static int setup(void **state)
{
	struct fixture *fx;

	fx_setup(state);
	fx = *state;
	fx->policy->revoked = &revoked;
	assert_true(policy_add_allow(fx->policy, A, "cli", B, "other", 10) >= 0);
	return 0;
}

static int teardown(void **state)
{
	fx_teardown(state);
	revocations_free(&revoked);
	return 0;
}

static void test_a_servers_channels_are_reset_on_both_sides(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, other;

	fx_up_all(fx);
	channel = fx_connected(fx, 1, B, "srv");
	other = fx_connected(fx, 2, B, "other"); /* on the same link */
	fx_connected(fx, 3, C, "srv2");
	take_back("b", "srv");
	enforce(fx, 1, 0);
	expect_revoked_close(fx, A, &channel, 0);
	expect_revoked_close(fx, B, &channel, 1);
	for (unsigned int vm = A; vm < N_VMS; vm++)
		fx_expect_nothing(fx, vm);
	enforce(fx, 0, 0); /* once */
	fx_expect_nothing(fx, A);
	/* its pages come back by both CLOSED alone */
	fx_closed(fx, A, &channel, 0);
	assert_int_equal(broker_count_channels(fx->broker), 3);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 2);
	fx_closed(fx, A, &other, 0);
	fx_closed(fx, B, &other, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_connected(fx, 4, B, "other");
}

static void test_a_clients_channels_are_reset_too(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel to_b, to_c;

	fx_up_all(fx);
	to_b = fx_connected(fx, 1, B, "srv");
	to_c = fx_connected(fx, 2, C, "srv2");
	take_back("a", "cli");
	enforce(fx, 2, 0);
	expect_revoked_close(fx, B, &to_b, 1);
	expect_revoked_close(fx, C, &to_c, 1);
	expect_revoked_close(fx, A, &to_b, 0);
	expect_revoked_close(fx, A, &to_c, 0);
}

static void test_connects_are_refused_in_both_directions(void **state)
{
	struct fixture *fx = *state;

	fx_up_all(fx);
	take_back("b", "srv");
	fx_open(fx, A, 1, "cli", "b", "srv");
	fx_expect_reject(fx, A, 1, SIVP_R_REVOKED);
	fx_open(fx, A, 2, "cli", "", "srv"); /* wherever it is */
	fx_expect_reject(fx, A, 2, SIVP_R_REVOKED);
	fx_open(fx, B, 3, "srv", "a", "loc");
	fx_expect_reject(fx, B, 3, SIVP_R_REVOKED);
	fx_expect_nothing(fx, B);
	assert_int_equal(audit_count(fx->audit, SIVP_R_REVOKED), 3);
	/* what was never allowed says nothing about revocations */
	fx_open(fx, B, 4, "other", "a", "cli");
	fx_expect_reject(fx, B, 4, SIVP_R_NOT_ALLOWED);
	fx_connected(fx, 5, C, "srv2");
	give_back("b", "srv");
	fx_connected(fx, 6, B, "srv");
}

static void test_a_revoked_vm_is_all_its_services(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel srv, other;

	fx_up_all(fx);
	srv = fx_connected(fx, 1, B, "srv");
	other = fx_connected(fx, 2, B, "other");
	fx_connected(fx, 3, C, "srv2");
	take_back("b", "");
	enforce(fx, 2, 0);
	expect_revoked_close(fx, A, &srv, 0);
	expect_revoked_close(fx, A, &other, 0);
	fx_expect_nothing(fx, A);
	fx_expect_nothing(fx, C);
	fx_open(fx, A, 4, "cli", "b", "srv");
	fx_expect_reject(fx, A, 4, SIVP_R_REVOKED);
	fx_open(fx, A, 5, "cli", "b", "other");
	fx_expect_reject(fx, A, 5, SIVP_R_REVOKED);
	/* a service's own revocation outlives that of its VM */
	take_back("b", "srv");
	give_back("b", "");
	fx_open(fx, A, 6, "cli", "b", "srv");
	fx_expect_reject(fx, A, 6, SIVP_R_REVOKED);
	fx_expect(fx, B, SIVP_CLOSE);
	fx_expect(fx, B, SIVP_CLOSE);
	fx_connected(fx, 7, B, "other");
}

static void test_connects_under_way_are_rejected_in_every_state(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	/* nobody has accepted it */
	fx_open(fx, A, 1, "cli", "b", "srv");
	incoming = fx_expect(fx, B, SIVP_INCOMING)->session;
	take_back("b", "srv");
	enforce(fx, 0, 1);
	fx_expect_reject(fx, A, 1, SIVP_R_REVOKED);
	fx_expect_reject(fx, B, incoming, SIVP_R_REVOKED);
	give_back("b", "srv");

	/* TLS, one side ready */
	incoming = fx_open_to(fx, 2, B, "srv");
	fx_ready(fx, A, 2, "spiffe://test.example/vm/b/service/srv", 'c', 's', 'x');
	take_back("a", "");
	enforce(fx, 0, 1);
	fx_expect_reject(fx, A, 2, SIVP_R_REVOKED);
	fx_expect_reject(fx, B, incoming, SIVP_R_REVOKED);
	give_back("a", "");

	/* the server's kernel may have it: the channel is reset, not given to the client */
	incoming = fx_granted(fx, 3, B, "srv", &channel);
	take_back("b", "srv");
	enforce(fx, 0, 1);
	fx_expect_reject(fx, A, 3, SIVP_R_REVOKED);
	expect_revoked_close(fx, B, &channel, 1);
	fx_attached(fx, B, incoming, 0);
	fx_expect_nothing(fx, A);
	fx_closed(fx, B, &channel, 1);
	give_back("b", "srv");

	/* both may have it */
	incoming = fx_granted(fx, 4, B, "srv", &channel);
	fx_attached(fx, B, incoming, 0);
	fx_expect_grant(fx, A, 0, 4, &channel);
	take_back("b", "srv");
	enforce(fx, 0, 1);
	expect_revoked_close(fx, A, &channel, 0);
	expect_revoked_close(fx, B, &channel, 1);
	fx_attached(fx, A, 4, 0);
	fx_closed(fx, A, &channel, 0);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
	assert_int_equal(broker_count_channels(fx->broker), 0);
}

static void test_connects_of_others_go_on(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_granted(fx, 1, B, "other", &channel);
	take_back("b", "srv");
	enforce(fx, 0, 0);
	fx_attached(fx, B, incoming, 0);
	fx_expect_grant(fx, A, 0, 1, &channel);
}

static void test_who_is_away_is_told_when_it_is_back(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_hang_up(fx, B);
	take_back("b", "srv");
	enforce(fx, 1, 0);
	expect_revoked_close(fx, A, &channel, 0);
	fx->agent[B].nonce[0]++;
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_expect(fx, B, SIVP_LINK);
	fx_expect(fx, B, SIVP_LINK);
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_reported(fx, B);
	expect_revoked_close(fx, B, &channel, 1);
}

static void test_a_restarted_broker_takes_nothing_revoked_over(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, other;

	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	other = fx_connected(fx, 2, B, "other");
	fx_restart_broker(fx);
	take_back("b", "srv");
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AB, 1, 20);
	broker_link_ready(fx->broker, LINK_AB);
	for (unsigned int vm = A; vm <= B; vm++) {
		fx_connect(fx, vm);
		fx_hello(fx, vm);
		fx_report(fx, vm, &channel, vm == B, vm == A ? "b" : "a", vm == A ? "cli" : "srv",
			  vm == A ? "srv" : "cli");
		fx_report(fx, vm, &other, vm == B, vm == A ? "b" : "a", vm == A ? "cli" : "other",
			  vm == A ? "other" : "cli");
		fx_reported(fx, vm);
	}
	for (unsigned int vm = A; vm <= B; vm++) {
		for (unsigned int i = 0; i < fx->agent[vm].n_positions - (vm == A); i++)
			fx_expect(fx, vm, SIVP_LINK);
		expect_revoked_close(fx, vm, &channel, vm == B);
		fx_expect_nothing(fx, vm);
	}
	assert_int_equal(broker_count_channels(fx->broker), 2);
}

static void test_one_channel_alone(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel first, second, third;
	json_t *reply = json_object();

	fx_up(fx);
	first = fx_connected(fx, 1, B, "srv");
	second = fx_connected(fx, 2, B, "srv");
	assert_int_equal(broker_revoke_channel(fx->broker, "a--b", SIV_LINK_SLOTS, reply), -ENOENT);
	assert_int_equal(broker_revoke_channel(fx->broker, "a--b", UINT32_MAX, reply), -ENOENT);
	assert_int_equal(broker_revoke_channel(fx->broker, "b--a", first.slot, reply), -ENOENT);
	assert_int_equal(broker_revoke_channel(fx->broker, "a", first.slot, reply), -ENOENT);
	assert_int_equal(broker_revoke_channel(fx->broker, "a--b", second.slot + 1, reply), -ENOENT);
	assert_int_equal(broker_revoke_channel(fx->broker, "a--b", first.slot, reply), 0);
	assert_string_equal(json_string_value(json_object_get(json_object_get(
		json_object_get(reply, "channel"), "server"), "service")), "srv");
	json_decref(reply);
	fx_run(fx);
	expect_revoked_close(fx, A, &first, 0);
	expect_revoked_close(fx, B, &first, 1);
	fx_expect_nothing(fx, A);
	reply = json_object();
	assert_int_equal(broker_revoke_channel(fx->broker, "a--b", first.slot, reply), -ENOENT);
	json_decref(reply);
	/* the service is as good as before */
	third = fx_connected(fx, 3, B, "srv");
	assert_int_not_equal(third.slot, second.slot);
	assert_int_equal(broker_count_channels(fx->broker), 3);
}

/* Its connect ends with it, and the client does not get it afterwards. */
static void test_one_channel_while_it_is_granted(void **state)
{
	struct fixture *fx = *state;
	json_t *reply = json_object();
	struct fx_channel channel;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_granted(fx, 1, B, "srv", &channel);
	assert_int_equal(broker_revoke_channel(fx->broker, "a--b", channel.slot, reply), 0);
	json_decref(reply);
	fx_run(fx);
	fx_expect_reject(fx, A, 1, SIVP_R_REVOKED);
	expect_revoked_close(fx, B, &channel, 1);
	fx_attached(fx, B, incoming, 0);
	fx_expect_nothing(fx, A);
	fx_closed(fx, B, &channel, 1);
	assert_int_equal(broker_count_channels(fx->broker), 0);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
}

static void test_one_channel_inside_a_vm(void **state)
{
	struct fixture *fx = *state;
	json_t *reply = json_object();
	struct fx_channel channel;

	fx_up(fx);
	channel = fx_connected(fx, 1, A, "loc");
	assert_int_equal(broker_revoke_channel(fx->broker, "b", channel.slot, reply), -ENOENT);
	assert_int_equal(broker_revoke_channel(fx->broker, "local", channel.slot, reply), -ENOENT);
	assert_int_equal(broker_revoke_channel(fx->broker, "a", channel.slot, reply), 0);
	json_decref(reply);
	fx_run(fx);
	fx_expect(fx, A, SIVP_CLOSE);
	fx_expect(fx, A, SIVP_CLOSE);
	fx_expect_nothing(fx, A);
}

static void test_who_has_to_do_with_it_is_told(void **state)
{
	struct fixture *fx = *state;

	fx_up_all(fx);
	broker_changed(fx->broker, B);
	fx_run(fx);
	fx_expect(fx, A, SIVP_CHANGED);
	fx_expect(fx, B, SIVP_CHANGED);
	fx_expect_nothing(fx, C);
	broker_changed(fx->broker, -1);
	fx_run(fx);
	for (unsigned int vm = A; vm < N_VMS; vm++) {
		fx_expect(fx, vm, SIVP_CHANGED);
		fx_expect_nothing(fx, vm);
	}
}

static json_t *listening(const struct fixture *fx, size_t vm)
{
	json_t *reply = json_object(), *list;

	assert_int_equal(broker_status(fx->broker, reply), 0);
	list = json_incref(json_object_get(json_array_get(json_object_get(reply, "vms"), vm),
					   "listening"));
	json_decref(reply);
	return list;
}

/* The same VMs and links; b's services in another order, and no a/cli -> b/srv. */
static void test_another_policy_decides_about_what_is_open(void **state)
{
	struct fixture *fx = *state;
	struct policy *p = policy_new("other.conf", fx->policy->domain), *old = fx->policy;
	struct broker_limits limits = { .sessions_per_pair = 1 };
	struct fx_channel channel, other;
	struct sivp_builder *b;
	json_t *list;

	assert_int_equal(policy_add_vm(p, "a", FX_LOCAL_SIZE, 1), A);
	assert_int_equal(policy_add_vm(p, "b", FX_LOCAL_SIZE, 2), B);
	assert_int_equal(policy_add_vm(p, "c", FX_LOCAL_SIZE, 3), C);
	assert_int_equal(policy_add_service(p, A, "cli"), 0);
	assert_int_equal(policy_add_service(p, B, "new"), 0);
	assert_int_equal(policy_add_service(p, B, "other"), 0);
	assert_int_equal(policy_add_service(p, B, "srv"), 0);
	assert_int_equal(policy_add_link(p, A, B, FX_LINK_SIZE, 7000, 4), LINK_AB);
	assert_int_equal(policy_add_link(p, C, A, FX_LINK_SIZE, 0, 5), LINK_AC);
	assert_true(policy_add_allow(p, A, "cli", B, "other", 6) >= 0);
	assert_true(policy_add_allow(p, A, "cli", B, "new", 7) >= 0);
	fx_up_all(fx);
	channel = fx_connected(fx, 1, B, "srv");
	other = fx_connected(fx, 2, B, "other");
	b = fx_message(fx, SIVP_LISTENING, 0);
	sivp_put_str(b, SIVP_A_SERVICE, "srv");
	sivp_put_u32(b, SIVP_A_UP, 1);
	fx_send(fx, B);
	broker_set_policy(fx->broker, p, &limits);
	policy_free(old);
	fx->policy = p;
	enforce(fx, 1, 0);
	for (unsigned int vm = A; vm <= B; vm++) {
		fx_expect_close(fx, vm, &channel, vm != A);
		assert_int_equal(sivp_u32(&fx->agent[vm].msg, SIVP_A_REASON), SIVP_R_NOT_ALLOWED);
		fx_expect_nothing(fx, vm);
		fx_closed(fx, vm, &channel, vm != A);
	}
	list = listening(fx, B);
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_array_get(list, 0)), "srv");
	json_decref(list);
	fx_open(fx, A, 3, "cli", "b", "srv");
	fx_expect_reject(fx, A, 3, SIVP_R_NOT_ALLOWED);
	fx_open(fx, A, 4, "cli", "c", "srv2");
	fx_expect_reject(fx, A, 4, SIVP_R_NOT_ALLOWED);
	fx_connected(fx, 5, B, "new");
	fx_closed(fx, A, &other, 0);
	fx_closed(fx, B, &other, 1);
	assert_int_equal(broker_count_channels(fx->broker), 1);
	fx_open_to(fx, 6, B, "new");
	fx_open(fx, A, 7, "cli", "b", "new");
	fx_expect_reject(fx, A, 7, SIVP_R_LIMIT);
}

/* Sealed or not: what is open or under way on the other terms ends, and can come again on these. */
static void test_what_is_open_on_other_terms_is_reset(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel, other;
	bool sealed = true;

	fx_up(fx);
	other = fx_connected(fx, 1, B, "other");
	for (unsigned int i = 2; i < 6; i += 2, sealed = !sealed) {
		channel = fx_connected(fx, i, B, "srv");
		fx_open_to(fx, i + 1, B, "srv");
		fx->policy->allows[0].sealed = sealed;
		enforce(fx, 1, 1);
		fx_expect_reject(fx, A, i + 1, SIVP_R_NOT_ALLOWED);
		fx_expect(fx, B, SIVP_REJECT);
		for (unsigned int vm = A; vm <= B; vm++) {
			fx_expect_close(fx, vm, &channel, vm != A);
			assert_int_equal(sivp_u32(&fx->agent[vm].msg, SIVP_A_REASON),
					 SIVP_R_NOT_ALLOWED);
			fx_expect_nothing(fx, vm);
			fx_closed(fx, vm, &channel, vm != A);
		}
		enforce(fx, 0, 0);
	}
	fx_closed(fx, A, &other, 0);
	fx_closed(fx, B, &other, 1);
}

/*
 * A channel that was granted sealed, or plain, and what its ends say of it after a restart of a
 * broker whose policy seals.
 */
static void restarted_with(struct fixture *fx, bool granted, bool a_sealed, bool b_sealed,
			   enum sivp_reason reason)
{
	struct fx_channel channel;

	fx->policy->allows[0].sealed = granted;
	fx_up(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx->policy->allows[0].sealed = true;
	fx_restart_broker(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AB, 1, 20);
	broker_link_ready(fx->broker, LINK_AB);
	for (unsigned int vm = A; vm <= B; vm++) {
		fx_connect(fx, vm);
		fx_hello(fx, vm);
		fx_expect(fx, vm, SIVP_LINK);
		fx_expect(fx, vm, SIVP_LINK);
		channel.sealed = vm == A ? a_sealed : b_sealed;
		fx_report(fx, vm, &channel, vm == B, vm == A ? "b" : "a", vm == A ? "cli" : "srv",
			  vm == A ? "srv" : "cli");
		fx_reported(fx, vm);
		if (reason) {
			fx_expect_close(fx, vm, &channel, vm == B);
			assert_int_equal(sivp_u32(&fx->agent[vm].msg, SIVP_A_REASON), reason);
		}
		fx_expect_nothing(fx, vm);
	}
	assert_int_equal(broker_count_channels(fx->broker), 1);
}

static void test_a_restarted_broker_keeps_what_is_sealed(void **state)
{
	restarted_with(*state, true, true, true, SIVP_R_NONE);
}

static void test_a_restarted_broker_resets_what_is_not_sealed(void **state)
{
	restarted_with(*state, false, false, false, SIVP_R_NOT_ALLOWED);
}

static void test_a_restarted_broker_wants_both_to_say_sealed(void **state)
{
	restarted_with(*state, true, false, true, SIVP_R_VIOLATION);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_servers_channels_are_reset_on_both_sides),
		TEST(test_a_clients_channels_are_reset_too),
		TEST(test_connects_are_refused_in_both_directions),
		TEST(test_a_revoked_vm_is_all_its_services),
		TEST(test_connects_under_way_are_rejected_in_every_state),
		TEST(test_connects_of_others_go_on),
		TEST(test_who_is_away_is_told_when_it_is_back),
		TEST(test_a_restarted_broker_takes_nothing_revoked_over),
		TEST(test_one_channel_alone),
		TEST(test_one_channel_while_it_is_granted),
		TEST(test_one_channel_inside_a_vm),
		TEST(test_who_has_to_do_with_it_is_told),
		TEST(test_another_policy_decides_about_what_is_open),
		TEST(test_what_is_open_on_other_terms_is_reset),
		TEST(test_a_restarted_broker_keeps_what_is_sealed),
		TEST(test_a_restarted_broker_resets_what_is_not_sealed),
		TEST(test_a_restarted_broker_wants_both_to_say_sealed),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
