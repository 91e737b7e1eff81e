// SPDX-License-Identifier: BSD-2-Clause
/* Which service a process is: each selector alone, together, and against namespaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/select.h"
#include "remove_tree.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define INITIAL (SIV_CALLER_INIT_NETNS | SIV_CALLER_INIT_MNTNS | SIV_CALLER_INIT_USERNS)

/* A folder that stands for the cgroup file system, and two executables. */
static char root[] = "/tmp/test_select.XXXXXX";
static uint64_t unit_id, other_id;
static struct stat exe, other_exe;
static struct agent_config config;

static void path(char out[256], const char *name)
{
	snprintf(out, 256, "%s%s", root, name);
}

static void make_file(const char *name, struct stat *st)
{
	char p[256];
	FILE *f;

	path(p, name);
	f = fopen(p, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(stat(p, st), 0);
}

static void make_folder(const char *name, uint64_t *id)
{
	struct stat st;
	char p[256];

	path(p, name);
	assert_int_equal(mkdir(p, 0755), 0);
	assert_int_equal(stat(p, &st), 0);
	*id = st.st_ino;
}

static int setup(void **state)
{
	char text[2048], conf[256];
	uint64_t id;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(root));
	make_folder("/system.slice", &id);
	make_folder("/system.slice/redis.service", &unit_id);
	make_folder("/other", &other_id);
	make_file("/exe", &exe);
	make_file("/other-exe", &other_exe);
	snprintf(text, sizeof(text),
		 "service \"user\"   { user = \"1000\" }\n"
		 "service \"group\"  { group = \"2000\" }\n"
		 "service \"both\"   { user = \"1001\" group = \"2001\" }\n"
		 "service \"narrow\" { user = \"1002\" executable = \"%s/exe\" }\n"
		 "service \"unit\"   { unit = \"redis.service\" }\n"
		 "service \"cg\"     { cgroup = \"/other\" user = \"1003\" }\n"
		 "service \"gone\"   { unit = \"gone.service\" }\n"
		 "service \"noexe\"  { user = \"1004\" executable = \"%s/nothing\" }\n"
		 "service \"twice-a\" { user = \"1005\" }\n"
		 "service \"twice-b\" { user = \"1005\" }\n", root, root);
	path(conf, "/agent.conf");
	f = fopen(conf, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return agent_config_load(conf, &config) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	agent_config_free(&config);
	return remove_tree(root);
}

static void test_selectors(void **state)
{
	const struct {
		struct siv_caller caller;
		const char *bound;
		enum sivp_reason reason;
		const char *service;
	} cases[] = {
		/* by user */
		{ { .uid = 1000, .gid = 5, .flags = INITIAL }, "", SIVP_R_NONE, "user" },
		{ { .uid = 999, .gid = 5, .flags = INITIAL }, "", SIVP_R_NO_SERVICE, NULL },
		/* root is nobody special */
		{ { .uid = 0, .gid = 0, .flags = INITIAL }, "", SIVP_R_NO_SERVICE, NULL },
		/* by group */
		{ { .uid = 5, .gid = 2000, .flags = INITIAL }, "", SIVP_R_NONE, "group" },
		/* both must match */
		{ { .uid = 1001, .gid = 2001, .flags = INITIAL }, "", SIVP_R_NONE, "both" },
		{ { .uid = 1001, .gid = 5, .flags = INITIAL }, "", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 5, .gid = 2001, .flags = INITIAL }, "", SIVP_R_NO_SERVICE, NULL },
		/* several: a user's and a group's */
		{ { .uid = 1000, .gid = 2000, .flags = INITIAL }, "", SIVP_R_AMBIGUOUS, NULL },
		{ { .uid = 1000, .gid = 2000, .flags = INITIAL }, "group", SIVP_R_NONE, "group" },
		{ { .uid = 1005, .gid = 5, .flags = INITIAL }, "", SIVP_R_AMBIGUOUS, NULL },
		{ { .uid = 1005, .gid = 5, .flags = INITIAL }, "twice-b", SIVP_R_NONE, "twice-b" },
		/* bound to what it is not, or what there is not */
		{ { .uid = 1000, .gid = 5, .flags = INITIAL }, "group", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 1000, .gid = 5, .flags = INITIAL }, "nothing", SIVP_R_NO_SERVICE, NULL },
		/* other namespaces: without a unit nothing matches there */
		{ { .uid = 1000, .flags = INITIAL & ~SIV_CALLER_INIT_NETNS }, "", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 1000, .flags = INITIAL & ~SIV_CALLER_INIT_MNTNS }, "", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 1000, .flags = INITIAL & ~SIV_CALLER_INIT_MNTNS }, "user", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 1000, .flags = 0 }, "", SIVP_R_NO_SERVICE, NULL },
		/* the executable narrows */
		{ { .uid = 1002, .flags = INITIAL, .exe_dev = exe.st_dev, .exe_ino = exe.st_ino },
		  "", SIVP_R_NONE, "narrow" },
		{ { .uid = 1002, .flags = INITIAL, .exe_dev = exe.st_dev, .exe_ino = other_exe.st_ino },
		  "", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 1002, .flags = INITIAL, .exe_dev = exe.st_dev + 1, .exe_ino = exe.st_ino },
		  "", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 1002, .flags = INITIAL }, "", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 1004, .flags = INITIAL }, "", SIVP_R_NO_SERVICE, NULL },
		/* it does not widen */
		{ { .uid = 7, .flags = INITIAL, .exe_dev = exe.st_dev, .exe_ino = exe.st_ino },
		  "narrow", SIVP_R_NO_SERVICE, NULL },
		/* a unit's cgroup, in any namespace */
		{ { .uid = 7, .flags = INITIAL, .cgroup_id = unit_id }, "", SIVP_R_NONE, "unit" },
		{ { .uid = 7, .flags = 0, .cgroup_id = unit_id }, "", SIVP_R_NONE, "unit" },
		{ { .uid = 7, .flags = 0, .cgroup_id = 0 }, "unit", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 7, .flags = 0, .cgroup_id = other_id }, "", SIVP_R_NO_SERVICE, NULL },
		{ { .uid = 1003, .flags = 0, .cgroup_id = other_id }, "", SIVP_R_NONE, "cg" },
		{ { .uid = 7, .flags = INITIAL, .cgroup_id = 0 }, "gone", SIVP_R_NO_SERVICE, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct agent_service *service;
		enum sivp_reason reason = agent_select(&config, root, &cases[i].caller,
						       cases[i].bound, &service);

		if (reason != cases[i].reason)
			fail_msg("case %zu: %s", i, sivp_reason_name(reason));
		if (cases[i].service)
			assert_string_equal(service->name, cases[i].service);
		else
			assert_null(service);
	}
}

static void test_a_restarted_unit_is_found_again(void **state)
{
	struct siv_caller caller = { .cgroup_id = unit_id };
	const struct agent_service *service;
	char p[256], keep[256];

	(void)state;
	assert_int_equal(agent_select(&config, root, &caller, "unit", &service), SIVP_R_NONE);
	/* Kept under another name, so that its inode number is not given to the next one. */
	path(p, "/system.slice/redis.service");
	path(keep, "/system.slice/old");
	assert_int_equal(rename(p, keep), 0);
	assert_int_equal(agent_select(&config, root, &caller, "unit", &service), SIVP_R_NO_SERVICE);
	make_folder("/system.slice/redis.service", &unit_id);
	assert_int_equal(agent_select(&config, root, &caller, "unit", &service), SIVP_R_NO_SERVICE);
	caller.cgroup_id = unit_id;
	assert_int_equal(agent_select(&config, root, &caller, "unit", &service), SIVP_R_NONE);
}

static void test_a_replaced_executable_is_found_again(void **state)
{
	struct siv_caller caller = { .uid = 1002, .flags = INITIAL, .exe_dev = exe.st_dev,
				     .exe_ino = exe.st_ino };
	const struct agent_service *service;
	char p[256], keep[256];

	(void)state;
	path(p, "/exe");
	path(keep, "/exe.old");
	assert_int_equal(rename(p, keep), 0);
	make_file("/exe", &exe);
	assert_int_equal(agent_select(&config, root, &caller, "", &service), SIVP_R_NO_SERVICE);
	caller.exe_ino = exe.st_ino;
	assert_int_equal(agent_select(&config, root, &caller, "", &service), SIVP_R_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_selectors),
		cmocka_unit_test(test_a_restarted_unit_is_found_again),
		cmocka_unit_test(test_a_replaced_executable_is_found_again),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
