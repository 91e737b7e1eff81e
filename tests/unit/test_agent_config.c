// SPDX-License-Identifier: BSD-2-Clause
/* agent.conf: what is read, what is refused, and what the refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/config.h"
#include "common/suggest.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/*
 * Loads @text; what is written to standard error meanwhile goes to @said (@size bytes). The file's
 * path in it is replaced by "F".
 */
static bool load(const char *text, struct agent_config *config, char *said, size_t size)
{
	char conf[] = "/tmp/test_agent_config.XXXXXX", out[] = "/tmp/test_agent_said.XXXXXX", *at;
	int fd = mkstemp(conf), err_fd = mkstemp(out), old;
	ssize_t n;
	bool ok;

	assert_true(fd >= 0 && err_fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	fflush(stderr);
	old = dup(STDERR_FILENO);
	dup2(err_fd, STDERR_FILENO);
	ok = agent_config_load(conf, config);
	dup2(old, STDERR_FILENO);
	close(old);
	n = pread(err_fd, said, size - 1, 0);
	said[n > 0 ? n : 0] = 0;
	close(err_fd);
	while ((at = strstr(said, conf))) {
		*at = 'F';
		memmove(at + 1, at + strlen(conf), strlen(at + strlen(conf)) + 1);
	}
	unlink(conf);
	unlink(out);
	return ok;
}

static void test_the_whole_grammar(void **state)
{
	struct agent_config c;
	char said[1024];

	(void)state;
	assert_true(load("# a comment\n"
			 "control = \"/dev/vport1p1\"\n"
			 "admin = \"/tmp/a.sock\"\n"
			 "vm = \"here\"\n"
			 "trust-domain = \"car.example\"\n"
			 "size = \"16M\"\n"
			 "state = \"/tmp/state\"\n"
			 "audit = \"/tmp/audit.log\" audit-journal = no\n"
			 "service \"dashboard\" {\n"
			 "  user = \"root\"\n"
			 "  group = \"7\"\n"
			 "  executable = \"/usr/bin/redis-cli\"\n"
			 "}\n"
			 "service \"cache\" { unit = \"redis-server.service\" }\n"
			 "service \"fusion\" { cgroup = \"/a/b\" }\n"
			 "allow { from = \"dashboard\" to = \"cache\" }\n", &c, said, sizeof(said)));
	assert_string_equal(said, "");
	assert_string_equal(c.control, "/dev/vport1p1");
	assert_string_equal(c.admin, "/tmp/a.sock");
	assert_string_equal(c.vm, "here");
	assert_string_equal(c.domain, "car.example");
	assert_string_equal(c.state, "/tmp/state");
	assert_string_equal(c.audit, "/tmp/audit.log");
	assert_false(c.audit_journal);
	assert_int_equal(c.size, 16 << 20);
	assert_int_equal(c.nr_services, 3);
	assert_true(c.services[0].has_uid && c.services[0].has_gid);
	assert_int_equal(c.services[0].uid, 0);
	assert_int_equal(c.services[0].gid, 7);
	assert_int_equal(c.services[0].line, 10); /* of its first key */
	assert_string_equal(c.services[0].executable, "/usr/bin/redis-cli");
	assert_null(c.services[0].cgroup);
	assert_string_equal(c.services[1].cgroup, "/system.slice/redis-server.service");
	assert_false(c.services[1].has_uid || c.services[1].has_gid);
	assert_string_equal(c.services[2].cgroup, "/a/b");
	assert_int_equal(c.nr_allows, 1);
	assert_string_equal(c.allows[0].from, "dashboard");
	assert_string_equal(c.allows[0].to, "cache");
	assert_int_equal(c.allows[0].line, 16);
	assert_ptr_equal(agent_config_service(&c, "cache"), &c.services[1]);
	assert_null(agent_config_service(&c, "cach"));
	agent_config_free(&c);
}

static void test_defaults(void **state)
{
	struct agent_config c;
	char said[1024];

	(void)state;
	assert_true(load("service \"a\" { user = \"0\" }\n", &c, said, sizeof(said)));
	assert_string_equal(c.control, AGENT_CONTROL);
	assert_string_equal(c.admin, AGENT_ADMIN);
	assert_string_equal(c.state, AGENT_STATE);
	assert_null(c.audit);
	assert_true(c.audit_journal);
	assert_int_equal(c.size, 64 << 20);
	assert_int_equal(c.nr_allows, 0);
	agent_config_free(&c);
	/* a file that says nothing lets nobody do anything */
	assert_true(load("", &c, said, sizeof(said)));
	assert_int_equal(c.nr_services, 0);
	agent_config_free(&c);
}

static void test_what_is_refused_and_how(void **state)
{
	static const struct {
		const char *text;
		const char *says; /* a part of the message */
	} cases[] = {
		{ "servise \"a\" { user = \"0\" }\n", "F:1: unknown key \"servise\"; did you mean \"service\"?" },
		{ "service \"a\" {\n usr = \"0\" }\n", "F:2: unknown key \"usr\"; did you mean \"user\"?" },
		{ "service \"a\" {\n zzzzzzzz = \"0\" }\n", "F:2: unknown key \"zzzzzzzz\": see" },
		{ "\n\nservice \"a\" { }\n", "F:3: service \"a\": nothing says whose it is" },
		{ "service \"a\" { executable = \"/bin/sh\" }\n", "nothing says whose it is" },
		{ "service \"A\" { user = \"0\" }\n", "F:1: service \"A\": bad name" },
		{ "service \"a\" { user = \"no-such-user\" }\n", "F:1: service \"a\": user: no user \"no-such-user\"" },
		{ "service \"a\" { group = \"no-such-group\" }\n", "group: no group" },
		{ "service \"a\" { user = \"4294967295\" }\n", "user: no user" },
		{ "service \"a\" { user = \"12x\" }\n", "user: no user" },
		{ "service \"a\" { user = \"0\" executable = \"sh\" }\n", "\"sh\" is not absolute" },
		{ "service \"a\" { cgroup = \"a\" }\n", "cgroup: \"a\" is no path" },
		{ "service \"a\" { cgroup = \"/a/../b\" }\n", "is no path" },
		{ "service \"a\" { unit = \"redis\" }\n", "unit: \"redis\" is no unit" },
		{ "service \"a\" { unit = \"../x.service\" }\n", "is no unit" },
		{ "service \"a\" { unit = \"x.service\" cgroup = \"/b\" }\n", "give one of them" },
		{ "service \"a\" { user = \"0\" }\nservice \"a\" { user = \"1\" }\n", "F:2:" },
		{ "service \"cache\" { user = \"0\" }\nallow { from = \"cashe\" to = \"cache\" }\n",
		  "F:2: allow.from: no service \"cashe\" in this file; did you mean \"cache\"?" },
		{ "service \"cache\" { user = \"0\" }\nallow { from = \"cache\" to = \"quite-another\" }\n",
		  "F:2: allow.to: no service \"quite-another\" in this file: add it" },
		{ "service \"cache\" { user = \"0\" }\nallow { from = \"cache\" }\n", "F:2: allow: to is missing" },
		{ "size = \"64\"\nservice \"a\" { user = \"0\" }\n", "size: bad size \"64\"" },
		{ "size = \"1T\"\nservice \"a\" { user = \"0\" }\n", "bad size" },
		{ "size = \"99999999999999999999G\"\nservice \"a\" { user = \"0\" }\n", "bad size" },
		{ "size = \"-1M\"\nservice \"a\" { user = \"0\" }\n", "bad size" },
		{ "vm = \"Me\"\nservice \"a\" { user = \"0\" }\n", "vm: bad name \"Me\"" },
		{ "trust-domain = \"a/b\"\nservice \"a\" { user = \"0\" }\n", "trust-domain: bad name" },
		{ "control = \"port\"\nservice \"a\" { user = \"0\" }\n", "control: \"port\" is not absolute" },
		{ "service \"a\" { user \"0\" }\n", "F:1:" },
		{ "# one\n# two\n/* three\n */ control = \"#4\" # \"\nkontrol = \"\"\n", "F:5: unknown key" },
		/* a file that was cut off */
		{ "service \"a\" { user = \"0\" }\nservice \"b\" {\n user = \"0\"\n",
		  "F:2: this '{' has no '}': was the file cut off?" },
		{ "service \"a\" {\n user = \"0\" # }\n", "F:1: this '{' has no '}'" },
		{ "service \"a\" { user = \"0\" }\nservice \"b\"\n", "F:3: " },
		{ "service \"a\" { user = \"0\" }\nvm =\n", "F:3: " },
		{ "service \"a\" { user = \"0\" }\nvm = \"her", "F:2: " },
		{ "service \"a\" { user = \"0\" }\n\n/* more\n", "F:3: this comment has no \"*/\"" },
		{ "service \"a\" { user = \"0\" }\n}\n", "F:2: " },
	};
	struct agent_config c;
	char said[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (load(cases[i].text, &c, said, sizeof(said)))
			fail_msg("accepted: %s", cases[i].text);
		if (!strstr(said, cases[i].says))
			fail_msg("for: %ssaid: %swanted: %s", cases[i].text, said, cases[i].says);
	}
}

static void test_a_file_that_is_not_there(void **state)
{
	struct agent_config c;

	(void)state;
	assert_false(agent_config_load("/nonexistent/agent.conf", &c));
}

static void test_suggestions(void **state)
{
	static const struct { const char *word, *best; } cases[] = {
		{ "servce", "service" }, { "service", "service" }, { "contrl", "control" },
		{ "alow", "allow" }, { "x", NULL }, { "", NULL }, { "somethingelse", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct suggest s;

		suggest_init(&s, cases[i].word);
		suggest_offer(&s, "service");
		suggest_offer(&s, "control");
		suggest_offer(&s, "allow");
		if (cases[i].best)
			assert_string_equal(s.best, cases[i].best);
		else
			assert_null(s.best);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_whole_grammar),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_what_is_refused_and_how),
		cmocka_unit_test(test_a_file_that_is_not_there),
		cmocka_unit_test(test_suggestions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
