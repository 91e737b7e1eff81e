// SPDX-License-Identifier: BSD-2-Clause
/* What a VM and a service may take: opens a second, channels, link memory; and other work. */
#include "broker_fixture.h"

#include <errno.h>
#include <stdio.h>

#define MS      LOOP_NS_PER_MS
#define CHANNEL alloc_length(13, 14) /* bytes of those that the fixture opens */

/* A/cli may open to all that the fixture allows; A/loc to B's other; B and C to A's loc. */
static int setup(void **state)
{
	struct fixture *fx;

	fx_setup(state);
	fx = *state;
	assert_true(policy_add_allow(fx->policy, A, "loc", B, "other", 10) >= 0);
	assert_true(policy_add_allow(fx->policy, C, "srv2", A, "loc", 11) >= 0);
	return 0;
}

static void limit(struct fixture *fx, unsigned int vm, const char *service,
		  const struct policy_limits *limits)
{
	policy_set_limits(fx->policy, vm,
			  service ? policy_find_service(fx->policy, vm, service) : -1, limits);
}

/* Another broker, which has seen those limits. */
static void start(struct fixture *fx)
{
	fx_restart_broker(fx);
	fx_links_ready(fx);
	fx_up_all(fx);
}

static void cancel(struct fixture *fx, unsigned int vm, uint64_t id)
{
	struct sivp_builder *b = fx_message(fx, SIVP_REJECT, id);

	sivp_put_u32(b, SIVP_A_REASON, SIVP_R_CANCELLED);
	sivp_put_u32(b, SIVP_A_ERRNO, ECONNABORTED);
	fx_send(fx, vm);
}

/* Opens, and gives up if it was let. False: it opens too often. */
static bool try_open(struct fixture *fx, unsigned int vm, uint64_t id, const char *service,
		     unsigned int server, const char *to_vm, const char *to_service)
{
	unsigned int before = broker_count_sessions(fx->broker);
	uint64_t incoming;

	fx_open(fx, vm, id, service, to_vm, to_service);
	if (broker_count_sessions(fx->broker) == before) {
		fx_expect_reject(fx, vm, id, SIVP_R_RATE);
		return false;
	}
	incoming = fx_expect(fx, server, SIVP_INCOMING)->session;
	cancel(fx, vm, id);
	fx_expect_reject(fx, server, incoming, SIVP_R_CANCELLED);
	assert_int_equal(broker_count_sessions(fx->broker), before);
	return true;
}

/* How many of @n opens of A's @service, to B, are let through. */
static unsigned int opens(struct fixture *fx, const char *service, unsigned int n)
{
	const char *to = strcmp(service, "cli") == 0 ? "srv" : "other";
	static uint64_t id = 100;
	unsigned int let = 0;

	for (unsigned int i = 0; i < n; i++)
		let += try_open(fx, A, id++, service, B, "b", to);
	return let;
}

static json_int_t status(struct fixture *fx, unsigned int vm, const char *object, const char *key)
{
	json_t *reply = json_object(), *found;
	json_int_t value;

	assert_int_equal(broker_status(fx->broker, reply), 0);
	found = json_object_get(json_array_get(json_object_get(reply, "vms"), vm), object);
	value = json_integer_value(json_object_get(found, key));
	json_decref(reply);
	return value;
}

/* Opens a second */

static void test_opens_of_a_vm_are_limited(void **state)
{
	struct fixture *fx = *state;

	limit(fx, A, NULL, &(struct policy_limits){ .opens_per_second = 10, .opens_burst = 5 });
	/* a service's own may be more, and its VM's hold all the same */
	limit(fx, A, "cli", &(struct policy_limits){ .opens_per_second = 1000 });
	start(fx);
	assert_int_equal(opens(fx, "cli", 9), 5);
	assert_int_equal(opens(fx, "loc", 1), 0);
	loop_advance(fx->loop, 99 * MS);
	assert_int_equal(opens(fx, "cli", 1), 0);
	loop_advance(fx->loop, MS);
	assert_int_equal(opens(fx, "cli", 3), 1);
	loop_advance(fx->loop, 3600000 * MS);
	assert_int_equal(opens(fx, "cli", 9), 5);
	assert_int_equal(status(fx, A, "refusals", "rate"), 4 + 1 + 1 + 2 + 4);
}

static void test_opens_of_a_service_are_limited(void **state)
{
	struct fixture *fx = *state;

	limit(fx, A, "cli", &(struct policy_limits){ .opens_per_second = 2 });
	start(fx);
	assert_int_equal(opens(fx, "cli", 9), 4); /* two seconds' opens */
	assert_int_equal(opens(fx, "loc", 9), 9);
	loop_advance(fx->loop, 500 * MS);
	assert_int_equal(opens(fx, "cli", 9), 1);
}

/* Nothing is said about either: one service takes half of what its VM may open. */
static void test_a_service_leaves_its_vms_others_half(void **state)
{
	struct fixture *fx = *state;
	unsigned int burst = 2 * BROKER_OPENS_PER_SECOND;

	start(fx);
	assert_int_equal(opens(fx, "cli", burst), burst / 2);
	assert_int_equal(opens(fx, "loc", burst), burst / 2);
}

static void test_the_limit_for_all_vms_can_be_another(void **state)
{
	struct fixture *fx = *state;

	fx->limits.opens_per_second = 1;
	fx->limits.opens_burst = 6;
	limit(fx, B, NULL, &(struct policy_limits){ .opens_burst = 2 });
	start(fx);
	assert_int_equal(opens(fx, "cli", 9), 3);
	assert_true(try_open(fx, B, 1, "srv", A, "a", "loc"));
	assert_false(try_open(fx, B, 2, "srv", A, "a", "loc"));
	loop_advance(fx->loop, 1000 * MS);
	assert_int_equal(opens(fx, "cli", 9), 1);
}

/*
 * B opens and gives up, again and again, so that no cap of connects under way holds it: A's agent
 * gets no more of it than B's limit, and each open of C's and of A's own comes through meanwhile.
 */
static void test_a_vm_that_floods_opens_starves_no_other(void **state)
{
	struct fixture *fx = *state;
	unsigned int let = 0, second = BROKER_OPENS_PER_SECOND / 2; /* of its one service */

	start(fx);
	for (uint64_t id = 1; id <= 8 * second; id++) {
		let += try_open(fx, B, id, "srv", A, "a", "loc");
		if (id == 4 * second) {
			assert_int_equal(let, 2 * second);
			loop_advance(fx->loop, 1000 * MS);
		}
		if (id % 20)
			continue;
		assert_true(try_open(fx, C, id, "srv2", A, "a", "loc"));
		assert_true(try_open(fx, A, id, "cli", C, "c", "srv2"));
	}
	assert_int_equal(let, 3 * second);
	assert_int_equal(status(fx, B, "refusals", "rate"), 5 * second);
	assert_int_equal(status(fx, C, "refusals", "rate"), 0);
	assert_int_equal(broker_count_sessions(fx->broker), 0);
}

/* Asking for what policy refuses costs a token, too: a refusal is work. */
static void test_opens_that_policy_refuses_count(void **state)
{
	struct fixture *fx = *state;

	limit(fx, A, NULL, &(struct policy_limits){ .opens_per_second = 3, .opens_burst = 3 });
	start(fx);
	for (uint64_t id = 1; id <= 5; id++) {
		fx_open(fx, A, id, "no-such-service", "b", "srv");
		fx_expect_reject(fx, A, id, id <= 3 ? SIVP_R_NOT_HELD : SIVP_R_RATE);
	}
}

/* Channels and memory */

static void close_channel(struct fixture *fx, unsigned int server, const struct fx_channel *channel)
{
	fx_closed(fx, A, channel, 0);
	fx_closed(fx, server, channel, 1);
}

static void test_memory_of_a_service_is_limited(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel one;

	limit(fx, A, "cli", &(struct policy_limits){ .memory = 3 * CHANNEL - 1 });
	start(fx);
	one = fx_connected(fx, 1, B, "srv");
	fx_connected(fx, 2, C, "srv2"); /* another link counts as much */
	fx_open(fx, A, 3, "cli", "b", "srv");
	fx_expect_reject(fx, A, 3, SIVP_R_QUOTA);
	fx_expect_nothing(fx, B);
	assert_int_equal(status(fx, A, "opened", "channels"), 2);
	assert_int_equal(status(fx, A, "opened", "memory"), 2 * CHANNEL);
	assert_int_equal(status(fx, A, "refusals", "quota"), 1);
	assert_int_equal(status(fx, B, "opened", "channels"), 0); /* who accepts does not pay */
	/* One kernel may still touch it: that is not free. */
	fx_closed(fx, B, &one, 1);
	fx_open(fx, A, 4, "cli", "b", "srv");
	fx_expect_reject(fx, A, 4, SIVP_R_QUOTA);
	fx_closed(fx, A, &one, 0);
	fx_connected(fx, 5, B, "srv");
}

static void test_channels_of_a_vm_are_limited(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel one;

	limit(fx, A, NULL, &(struct policy_limits){ .channels = 2 });
	start(fx);
	one = fx_connected(fx, 1, B, "srv");
	fx_connected(fx, 2, A, "loc"); /* inside it, too */
	fx_open(fx, A, 3, "loc", "b", "other");
	fx_expect_reject(fx, A, 3, SIVP_R_QUOTA);
	close_channel(fx, B, &one);
	fx_open(fx, A, 4, "loc", "b", "other");
	fx_expect(fx, B, SIVP_INCOMING);
}

/* Several on their way: the limit holds where memory is given out, too. */
static void test_limits_hold_for_connects_under_way(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;
	uint64_t first, second;

	limit(fx, A, "cli", &(struct policy_limits){ .memory = CHANNEL });
	start(fx);
	first = fx_open_to(fx, 1, B, "srv");
	second = fx_open_to(fx, 2, B, "srv");
	fx_ready_both(fx, 2, B, second, "srv");
	fx_expect_grant(fx, B, 1, second, &channel);
	fx_ready_both(fx, 1, B, first, "srv");
	fx_expect_reject(fx, A, 1, SIVP_R_QUOTA);
	fx_expect_reject(fx, B, first, SIVP_R_QUOTA);
	/* The one that was granted is refused by B's kernel: nothing is left of it. */
	fx_attached(fx, B, second, ECONNREFUSED);
	fx_expect_reject(fx, A, 2, SIVP_R_BACKLOG);
	assert_int_equal(status(fx, A, "opened", "channels"), 0);
	fx_connected(fx, 3, B, "srv");
}

/* A restarted broker counts what it takes over. */
static void test_limits_hold_over_a_restart(void **state)
{
	struct fixture *fx = *state;
	struct fx_channel channel;

	limit(fx, A, "cli", &(struct policy_limits){ .channels = 1 });
	start(fx);
	channel = fx_connected(fx, 1, B, "srv");
	fx_restart_broker(fx);
	broker_link_joined(fx->broker, LINK_AB, 0, 10);
	broker_link_joined(fx->broker, LINK_AB, 1, 20);
	fx_links_ready(fx);
	for (unsigned int vm = A; vm <= B; vm++) {
		fx_connect(fx, vm);
		fx_hello(fx, vm);
		fx_report(fx, vm, &channel, vm != A, vm == A ? "b" : "a",
			  vm == A ? "cli" : "srv", vm == A ? "srv" : "cli");
		fx_reported(fx, vm);
	}
	assert_int_equal(status(fx, A, "opened", "memory"), CHANNEL);
	fx_expect_link_up(fx, A, 10);
	fx_expect_link_up(fx, A, SIVP_LOCAL);
	fx_expect_link_up(fx, B, 20);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_QUOTA);
	close_channel(fx, B, &channel);
	assert_int_equal(status(fx, A, "opened", "memory"), 0);
	fx_connected(fx, 3, B, "srv");
}

/* Other limits */

/* As the fixture's, but for A's services, which are @services, in that order. */
static void reload(struct fixture *fx, const char *const services[], const char *limited,
		   const struct policy_limits *limits)
{
	struct policy *p = policy_new("host.conf", fx->policy->domain), *old = fx->policy;
	struct broker_enforced done;

	assert_int_equal(policy_add_vm(p, "a", FX_LOCAL_SIZE, 1), A);
	assert_int_equal(policy_add_vm(p, "b", FX_LOCAL_SIZE, 2), B);
	assert_int_equal(policy_add_vm(p, "c", FX_LOCAL_SIZE, 3), C);
	for (; *services; services++)
		assert_int_equal(policy_add_service(p, A, *services), 0);
	assert_int_equal(policy_add_service(p, B, "srv"), 0);
	assert_int_equal(policy_add_link(p, A, B, FX_LINK_SIZE, 7000, 4), LINK_AB);
	assert_int_equal(policy_add_link(p, C, A, FX_LINK_SIZE, 0, 5), LINK_AC);
	if (policy_find_service(p, A, "cli") >= 0)
		assert_int_equal(policy_add_allow(p, A, "cli", B, "srv", 6), 0);
	fx->policy = p;
	limit(fx, A, limited, limits);
	broker_set_policy(fx->broker, p, &fx->limits);
	policy_free(old);
	broker_enforce(fx->broker, &done);
	fx_run(fx);
}

static void test_another_limit_holds_from_then_on(void **state)
{
	static const char *const services[] = { "new", "loc", "cli", NULL };
	struct fixture *fx = *state;
	struct fx_channel one, two;

	start(fx);
	one = fx_connected(fx, 1, B, "srv");
	two = fx_connected(fx, 2, B, "srv");
	/* What is open stays open, though it is more than may be opened now. */
	reload(fx, services, "cli", &(struct policy_limits){ .channels = 1 });
	fx_expect_nothing(fx, B);
	fx_open(fx, A, 3, "cli", "b", "srv");
	fx_expect_reject(fx, A, 3, SIVP_R_QUOTA);
	close_channel(fx, B, &one);
	fx_open(fx, A, 4, "cli", "b", "srv");
	fx_expect_reject(fx, A, 4, SIVP_R_QUOTA);
	close_channel(fx, B, &two);
	fx_connected(fx, 5, B, "srv");
	assert_int_equal(status(fx, A, "opened", "channels"), 1);
}

static void test_another_rate_holds_from_then_on(void **state)
{
	static const char *const services[] = { "loc", "cli", NULL };
	struct fixture *fx = *state;

	limit(fx, A, "cli", &(struct policy_limits){ .opens_per_second = 1, .opens_burst = 50 });
	start(fx);
	assert_int_equal(opens(fx, "cli", 60), 50);
	/* In another place, and not full for being there. */
	reload(fx, services, "cli",
	       &(struct policy_limits){ .opens_per_second = 10, .opens_burst = 5 });
	assert_int_equal(opens(fx, "cli", 1), 0);
	/* The 50 s that the old bucket would have taken are not waited for. */
	loop_advance(fx->loop, 500 * MS);
	assert_int_equal(opens(fx, "cli", 60), 5);
}

/* A service that policy forgets while it has a channel, and knows again before that is closed. */
static void test_a_service_that_is_back_has_what_it_had(void **state)
{
	static const char *const without[] = { "loc", NULL }, *const with[] = { "cli", NULL };
	struct fixture *fx = *state;
	struct fx_channel channel;

	start(fx);
	channel = fx_connected(fx, 1, B, "srv");
	reload(fx, without, NULL, &(struct policy_limits){ 0 });
	fx_expect_close(fx, A, &channel, 0);
	fx_expect_close(fx, B, &channel, 1);
	assert_int_equal(status(fx, A, "opened", "channels"), 1);
	reload(fx, with, "cli", &(struct policy_limits){ .channels = 1 });
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_QUOTA);
	close_channel(fx, B, &channel);
	assert_int_equal(status(fx, A, "opened", "channels"), 0);
	fx_connected(fx, 3, B, "srv");
	assert_int_equal(status(fx, A, "opened", "memory"), CHANNEL);
}

/* Work that needs no connect */

/* Whether that many requests for certificates, of which nothing is right, are looked at. */
static unsigned int looked_at(struct fixture *fx, unsigned int vm, unsigned int n)
{
	unsigned int looked = 0;

	for (uint64_t id = 1; id <= n; id++) {
		struct sivp_builder *b = fx_message(fx, SIVP_CSR, id);

		sivp_put_str(b, SIVP_A_SERVICE, vm == A ? "cli" : "srv");
		sivp_put_blob(b, SIVP_A_CSR, "no request", 10);
		fx_send(fx, vm);
		switch (sivp_u32(fx_expect(fx, vm, SIVP_REJECT), SIVP_A_REASON)) {
		case SIVP_R_CERTIFICATE:
			looked++;
			break;
		case SIVP_R_RATE:
			break;
		default:
			fail();
		}
	}
	return looked;
}

static void test_requests_for_certificates_are_limited(void **state)
{
	struct fixture *fx = *state;

	start(fx);
	assert_int_equal(looked_at(fx, A, BROKER_CSRS_BURST + 20), BROKER_CSRS_BURST);
	assert_int_equal(looked_at(fx, B, 1), 1);
	loop_advance(fx->loop, 1000 * MS);
	assert_int_equal(looked_at(fx, A, 20), BROKER_CSRS_PER_SECOND);
}

/* Each with another boot: it ends the epochs of all links of A. */
static void test_hellos_are_limited(void **state)
{
	struct fixture *fx = *state;

	fx_connect(fx, A);
	for (unsigned int i = 0; i < BROKER_UPSETS_BURST; i++) {
		fx->agent[A].boot_id[0]++;
		fx_send_hello(fx, A);
		fx_expect(fx, A, SIVP_WELCOME);
		fx_expect_link_up(fx, A, SIVP_LOCAL);
	}
	fx_send_hello(fx, A);
	fx_expect_hang_up(fx, A);
	loop_advance(fx->loop, 1000 * MS / BROKER_UPSETS_PER_SECOND);
	fx_connect(fx, A);
	fx_hello(fx, A);
}

static void test_links_that_are_said_to_stall_are_limited(void **state)
{
	struct fixture *fx = *state;

	start(fx);
	for (unsigned int i = 0; i < 2 * BROKER_UPSETS_BURST; i++) {
		struct sivp_builder *b = fx_message(fx, SIVP_LINK_STALLED, 0);

		sivp_put_u32(b, SIVP_A_IVPOSITION, 10);
		sivp_put_u32(b, SIVP_A_EPOCH, fx->link[LINK_AB].epoch);
		fx_send(fx, A);
	}
	/* its HELLO was the first of these */
	assert_int_equal(fx->link[LINK_AB].n_bumps, BROKER_UPSETS_BURST - 1);
	loop_advance(fx->loop, 1000 * MS / BROKER_UPSETS_PER_SECOND);
	sivp_put_u32(fx_message(fx, SIVP_LINK_STALLED, 0), SIVP_A_IVPOSITION, 10);
	sivp_put_u32(&fx->out, SIVP_A_EPOCH, fx->link[LINK_AB].epoch);
	fx_send(fx, A);
	assert_int_equal(fx->link[LINK_AB].n_bumps, BROKER_UPSETS_BURST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fx_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_opens_of_a_vm_are_limited),
		TEST(test_opens_of_a_service_are_limited),
		TEST(test_a_service_leaves_its_vms_others_half),
		TEST(test_the_limit_for_all_vms_can_be_another),
		TEST(test_a_vm_that_floods_opens_starves_no_other),
		TEST(test_opens_that_policy_refuses_count),
		TEST(test_memory_of_a_service_is_limited),
		TEST(test_channels_of_a_vm_are_limited),
		TEST(test_limits_hold_for_connects_under_way),
		TEST(test_limits_hold_over_a_restart),
		TEST(test_another_limit_holds_from_then_on),
		TEST(test_another_rate_holds_from_then_on),
		TEST(test_a_service_that_is_back_has_what_it_had),
		TEST(test_requests_for_certificates_are_limited),
		TEST(test_hellos_are_limited),
		TEST(test_links_that_are_said_to_stall_are_limited),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
