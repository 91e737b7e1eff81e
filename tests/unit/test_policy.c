// SPDX-License-Identifier: BSD-2-Clause
/* Policy: default deny, each verdict with its reason and line, and what cannot be added. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/policy.h"

enum { COCKPIT, ADAS, LOGGER };

static int setup(void **state)
{
	struct policy *p = policy_new("host.conf", "car.example");

	assert_non_null(p);
	assert_int_equal(policy_add_vm(p, "cockpit", 1 << 20, 4), COCKPIT);
	assert_int_equal(policy_add_vm(p, "adas", 1 << 20, 5), ADAS);
	assert_int_equal(policy_add_vm(p, "logger", 1 << 20, 6), LOGGER);
	assert_int_equal(policy_add_service(p, COCKPIT, "dashboard"), 0);
	assert_int_equal(policy_add_service(p, COCKPIT, "log"), 0);
	assert_int_equal(policy_add_service(p, ADAS, "cache"), 0);
	assert_int_equal(policy_add_service(p, ADAS, "log"), 0);
	assert_int_equal(policy_add_service(p, LOGGER, "log"), 0);
	assert_int_equal(policy_add_link(p, COCKPIT, ADAS, 1 << 20, 0, 10), 0);
	assert_int_equal(policy_add_allow(p, COCKPIT, "dashboard", ADAS, "cache", 12), 0);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	policy_free(*state);
	return 0;
}

static void expect(struct policy *p, unsigned int from, const char *service, const char *vm,
		   const char *to, enum sivp_reason reason, int line)
{
	struct policy_verdict verdict;

	memset(&verdict, 0xff, sizeof(verdict));
	policy_decide(p, from, service, vm, to, &verdict);
	assert_string_equal(sivp_reason_name(verdict.reason), sivp_reason_name(reason));
	assert_int_equal(verdict.line, line);
	assert_true(verdict.text[0] && memchr(verdict.text, 0, sizeof(verdict.text)));
	if (reason != SIVP_R_NONE)
		assert_int_equal(verdict.link, -1);
}

static void test_allowed_names_rule_vm_and_link(void **state)
{
	struct policy_verdict verdict;

	policy_decide(*state, COCKPIT, "dashboard", "adas", "cache", &verdict);
	assert_int_equal(verdict.reason, SIVP_R_NONE);
	assert_int_equal(verdict.vm, ADAS);
	assert_int_equal(verdict.link, 0);
	assert_int_equal(verdict.line, 12);
	assert_string_equal(verdict.text, "allowed by host.conf:12");
}

static void test_everything_else_is_refused(void **state)
{
	struct policy *p = *state;

	/* the other way round */
	expect(p, ADAS, "cache", "cockpit", "dashboard", SIVP_R_NOT_ALLOWED, 0);
	expect(p, COCKPIT, "dashboard", "adas", "log", SIVP_R_NOT_ALLOWED, 0);
	expect(p, COCKPIT, "log", "adas", "cache", SIVP_R_NOT_ALLOWED, 0);
	expect(p, COCKPIT, "dashboard", "logger", "log", SIVP_R_NOT_ALLOWED, 0);
	expect(p, COCKPIT, "dashboard", "adas", "cach", SIVP_R_NOT_ALLOWED, 0);
	expect(p, COCKPIT, "dashboard", "adas", "cache1", SIVP_R_NOT_ALLOWED, 0);
	/* in its own VM too */
	expect(p, COCKPIT, "dashboard", "cockpit", "log", SIVP_R_NOT_ALLOWED, 0);
	expect(p, COCKPIT, "dashboard", "cockpit", "dashboard", SIVP_R_NOT_ALLOWED, 0);
}

static void test_service_that_is_not_held(void **state)
{
	expect(*state, COCKPIT, "cache", "adas", "cache", SIVP_R_NOT_HELD, 4);
	expect(*state, LOGGER, "dashboard", "adas", "cache", SIVP_R_NOT_HELD, 6);
	expect(*state, COCKPIT, "", "adas", "cache", SIVP_R_NOT_HELD, 4);
}

static void test_unknown_vm(void **state)
{
	expect(*state, COCKPIT, "dashboard", "adaz", "cache", SIVP_R_UNKNOWN_VM, 0);
}

static void test_empty_vm_is_the_one_that_is_allowed(void **state)
{
	struct policy_verdict verdict;
	struct policy *p = *state;

	policy_decide(p, COCKPIT, "dashboard", "", "cache", &verdict);
	assert_int_equal(verdict.reason, SIVP_R_NONE);
	assert_int_equal(verdict.vm, ADAS);
	/* "log" is held by two others, and none of them may be reached */
	expect(p, COCKPIT, "dashboard", "", "log", SIVP_R_UNKNOWN_VM, 0);
	assert_int_equal(policy_add_allow(p, COCKPIT, "dashboard", ADAS, "log", 13), 1);
	policy_decide(p, COCKPIT, "dashboard", "", "log", &verdict);
	assert_int_equal(verdict.vm, ADAS);
	assert_int_equal(policy_add_allow(p, COCKPIT, "dashboard", COCKPIT, "log", 14), 2);
	expect(p, COCKPIT, "dashboard", "", "log", SIVP_R_UNKNOWN_VM, 0);
}

static void test_inside_a_vm(void **state)
{
	struct policy_verdict verdict;
	struct policy *p = *state;

	assert_int_equal(policy_add_allow(p, COCKPIT, "dashboard", COCKPIT, "log", 14), 1);
	policy_decide(p, COCKPIT, "dashboard", "cockpit", "log", &verdict);
	assert_int_equal(verdict.reason, SIVP_R_NONE);
	assert_int_equal(verdict.link, -1);
	assert_int_equal(verdict.vm, COCKPIT);
}

static void test_what_cannot_be_added(void **state)
{
	struct policy *p = *state;

	assert_int_equal(policy_add_vm(p, "adas", 0, 1), -EEXIST);
	assert_int_equal(policy_add_vm(p, "Adas", 0, 1), -EINVAL);
	assert_int_equal(policy_add_vm(p, "", 0, 1), -EINVAL);
	assert_int_equal(policy_add_vm(p, "a/b", 0, 1), -EINVAL);
	assert_int_equal(policy_add_vm(p, "0123456789012345678901234567", 0, 1), -EINVAL);
	assert_int_equal(policy_add_service(p, ADAS, "cache"), -EEXIST);
	assert_int_equal(policy_add_service(p, ADAS, "-x"), -EINVAL);
	assert_int_equal(policy_add_link(p, ADAS, COCKPIT, 1 << 20, 0, 1), -EEXIST);
	assert_int_equal(policy_add_link(p, ADAS, ADAS, 1 << 20, 0, 1), -ELOOP);
	assert_int_equal(policy_add_link(p, ADAS, 7, 1 << 20, 0, 1), -ENOENT);
	assert_int_equal(policy_add_allow(p, COCKPIT, "dashboard", ADAS, "cache", 1), -EEXIST);
	assert_int_equal(policy_add_allow(p, COCKPIT, "cache", ADAS, "cache", 1), -ENOKEY);
	assert_int_equal(policy_add_allow(p, COCKPIT, "dashboard", ADAS, "x", 1), -ENOKEY);
	assert_int_equal(policy_add_allow(p, COCKPIT, "dashboard", LOGGER, "log", 1), -ENOLINK);
	assert_int_equal(policy_add_allow(p, COCKPIT, "dashboard", 9, "log", 1), -ENOENT);
}

static void test_limits_hold(void **state)
{
	struct policy *p = *state;
	char name[SIV_VM_LEN];

	while (p->n_vms < POLICY_VMS_MAX) {
		snprintf(name, sizeof(name), "vm%u", p->n_vms);
		assert_true(policy_add_vm(p, name, 0, 1) >= 0);
	}
	assert_int_equal(policy_add_vm(p, "more", 0, 1), -ENOSPC);
	while (p->vms[LOGGER].n_services < POLICY_SERVICES_MAX) {
		snprintf(name, sizeof(name), "s%u", p->vms[LOGGER].n_services);
		assert_int_equal(policy_add_service(p, LOGGER, name), 0);
	}
	assert_int_equal(policy_add_service(p, LOGGER, "more"), -ENOSPC);
	while (p->n_links < POLICY_LINKS_MAX)
		assert_true(policy_add_link(p, COCKPIT + (p->n_links > 250),
					    2 + p->n_links % 250, 1, 0, 1) >= 0);
	assert_int_equal(policy_add_link(p, LOGGER, 200, 1, 0, 1), -ENOSPC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_allowed_names_rule_vm_and_link),
		TEST(test_everything_else_is_refused),
		TEST(test_service_that_is_not_held),
		TEST(test_unknown_vm),
		TEST(test_empty_vm_is_the_one_that_is_allowed),
		TEST(test_inside_a_vm),
		TEST(test_what_cannot_be_added),
		TEST(test_limits_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
