// SPDX-License-Identifier: BSD-2-Clause
/* host.conf: the design's example, and each thing that can be wrong with its line and its cure. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hostd/config.h"

#define HEAD                                                                                       \
	"trust-domain = \"car.example\"\n"                                                         \
	"vm \"cockpit\" { services = {\"dashboard\"} }\n"                                          \
	"vm \"adas\" { services = {\"cache\", \"fusion\"} }\n"                                     \
	"link \"cockpit\" \"adas\" { size = \"64M\" }\n" /* the next line is 5 */

static char folder[] = "/tmp/siv-config-XXXXXX";
static char path[64];
static char errors[4096];

static struct host_config *load(const char *text)
{
	FILE *file = fopen(path, "w"), *out = fmemopen(errors, sizeof(errors) - 1, "w");
	struct host_config *config;

	assert_non_null(file);
	assert_non_null(out);
	memset(errors, 0, sizeof(errors));
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	fclose(file);
	config = host_config_load(path, out);
	fclose(out);
	return config;
}

/* Of the errors, the path is left out: "5: text". */
static void expect_error(const char *text, const char *expected)
{
	struct host_config *config = load(text);
	char whole[512];

	if (config)
		fail_msg("accepted:\n%s", text);
	snprintf(whole, sizeof(whole), "%s:%s", path, expected);
	if (!strstr(errors, whole))
		fail_msg("expected %s\ngot      %s", whole, errors);
}

static void test_the_designs_example(void **state)
{
	struct host_config *c = load(
		"# host.conf\n"
		"trust-domain = \"car.example\"\n"
		"state = \"/var/lib/sivshmem\" // a comment\n"
		"vm \"cockpit\" { services = {\"dashboard\"} }\n"
		"vm \"adas\"    { services = {\"cache\", \"fusion\"} }\n"
		"/* link \"a\" \"b\" { } */\n"
		"link \"cockpit\" \"adas\" { size = \"64M\" }\n"
		"allow { from = \"cockpit/dashboard\"\n"
		"        to   = \"adas/cache\" }\n");

	(void)state;
	if (!c)
		fail_msg("%s", errors);
	assert_string_equal(c->policy->domain, "car.example");
	assert_string_equal(c->run, HOST_RUN);
	assert_string_equal(c->audit, "/var/lib/sivshmem/audit.log");
	assert_true(c->audit_journal);
	assert_int_equal(c->policy->n_vms, 2);
	assert_int_equal(c->policy->vms[1].n_services, 2);
	assert_string_equal(c->policy->links[0].name, "cockpit--adas");
	assert_int_equal(c->policy->links[0].size, 64 << 20);
	assert_int_equal(c->policy->links[0].timeout_ms, 10000);
	assert_int_equal(c->policy->links[0].line, 7);
	assert_string_equal(c->links[0].socket[1], "cockpit--adas.1.sock");
	assert_int_equal(c->links[0].vectors, 4);
	assert_string_equal(c->vms[0].control, HOST_RUN "/vm-cockpit.sock");
	assert_int_equal(c->vms[0].uid, HOST_UID_OWN);
	assert_int_equal(c->policy->allows[0].line, 8);
	assert_int_equal(c->certificate_lifetime_s, 24 * 3600);
	assert_int_equal(c->limits.opens_per_second, BROKER_OPENS_PER_SECOND);
	assert_int_equal(c->limits.opens_burst, 0);
	assert_int_equal(c->policy->vms[1].limits.opens_per_second, 0);
	assert_int_equal(c->policy->vms[1].services[0].limits.memory, 0);
	host_config_free(c);
}

static void test_every_key(void **state)
{
	struct host_config *c = load(
		"trust-domain = \"x\"\nrun = \"/tmp/r\"\nstate = \"/tmp/s\"\naudit = \"/tmp/a\"\n"
		"audit-journal = no\ncertificate-lifetime = \"5m\"\n"
		"link-timeout = \"0\"\nhandshake-timeout = \"1500ms\"\n"
		"sessions-per-vm = 7\nsessions-per-pair = 3\n"
		"opens-per-second = 11\nopens-burst = 12\n"
		"ca { certificate = \"/c\" key = \"/k\" }\n"
		"vm \"a\" { services = {\"s\"} user = \"12\" "
		"control = \"/run/x\" local-size = \"1M\" }\n"
		""
		"vm \"b\" { user = \"root\" }\n"
		"link \"a\"\n\"b\" { size = \"2M\" link-timeout = \"3s\" vectors = 1 }\n"
		"limits \"a\" { opens-per-second = 1 opens-burst = 1000000 channels = 2 "
		"memory = \"16K\" }\n"
		"limits \"a/s\" { memory = \"1G\" }\n");
	const struct policy_limits *limits;

	(void)state;
	if (!c)
		fail_msg("%s", errors);
	assert_string_equal(c->audit, "/tmp/a");
	assert_false(c->audit_journal);
	assert_int_equal(c->certificate_lifetime_s, 300);
	assert_int_equal(c->limits.handshake_ms, 1500);
	assert_int_equal(c->limits.sessions_per_vm, 7);
	assert_int_equal(c->limits.sessions_per_pair, 3);
	assert_int_equal(c->limits.opens_per_second, 11);
	assert_int_equal(c->limits.opens_burst, 12);
	limits = &c->policy->vms[0].limits;
	assert_int_equal(limits->opens_per_second, 1);
	assert_int_equal(limits->opens_burst, 1000000);
	assert_int_equal(limits->channels, 2);
	assert_int_equal(limits->memory, 16 << 10);
	limits = &c->policy->vms[0].services[0].limits;
	assert_int_equal(limits->opens_per_second, 0);
	assert_int_equal(limits->memory, 1 << 30);
	assert_int_equal(c->policy->vms[1].limits.memory, 0);
	assert_string_equal(c->ca_certificate, "/c");
	assert_string_equal(c->ca_key, "/k");
	assert_int_equal(c->vms[0].uid, 12);
	assert_string_equal(c->vms[0].control, "/run/x");
	assert_int_equal(c->policy->vms[0].local_size, 1 << 20);
	assert_int_equal(c->vms[1].uid, 0);
	assert_int_equal(c->policy->links[0].timeout_ms, 3000);
	assert_int_equal(c->links[0].vectors, 1);
	host_config_free(c);
}

static void test_errors_name_line_and_cure(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ HEAD "alow { }\n", "5: unknown key \"alow\"; did you mean \"allow\"?" },
		{ HEAD "# c\n\n// d\n/* e\n */ zzz = 1\n",
		  "9: unknown key \"zzz\": see host.conf(5)" },
		{ HEAD "vm \"x\" {\n service = {}\n}\n",
		  "6: unknown key \"service\"; did you mean \"services\"?" },
		{ HEAD "allow { from = \"cockpit/dashboard\"\n to = \"adas/cashe\" }\n",
		  "6: allow.to: no service \"cashe\" in vm \"adas\"; did you mean \"cache\"?" },
		{ HEAD "allow { from = \"cockpit/dashboard\" to = \"adaz/cache\" }\n",
		  "5: allow.to: no vm \"adaz\"; did you mean \"adas\"?" },
		{ HEAD "allow { from = \"cockpit/dashboard\" to = \"adas/qqqqqqqq\" }\n",
		  "5: allow.to: no service \"qqqqqqqq\" in vm \"adas\": add it" },
		{ HEAD "allow { from = \"dashboard\" to = \"adas/cache\" }\n",
		  "5: allow.from: \"dashboard\" is no \"VM/SERVICE\"" },
		{ HEAD "allow { from = \"a/b/c\" to = \"adas/cache\" }\n",
		  "5: allow.from: \"a/b/c\" is no \"VM/SERVICE\"" },
		{ HEAD "allow { to = \"adas/cache\" }\n", "5: allow.from is missing" },
		{ HEAD "allow { from = \"cockpit/dashboard\" to = \"adas/cache\" }\n"
		  "allow { from = \"cockpit/dashboard\" to = \"adas/cache\" }\n",
		  "6: allow: cockpit/dashboard to adas/cache is there already" },
		{ HEAD "vm \"third\" { services = {\"s\"} }\n"
		  "allow { from = \"cockpit/dashboard\" to = \"third/s\" }\n",
		  "6: allow: no link connects vm \"cockpit\" and vm \"third\"" },
		{ HEAD "link \"adas\" \"cockpit\" { vectors = 4 }\n",
		  "5: link: \"adas\" and \"cockpit\" have one already, at line 4" },
		{ HEAD "link \"adas\" \"adas\" { vectors = 4 }\n",
		  "5: link: \"adas\" with itself" },
		{ HEAD "link \"adas\" { vectors = 4 }\n", "5: link \"adas\": write link \"VM\"" },
		{ HEAD "link \"adas\" \"cockpt\" { vectors = 4 }\n",
		  "5: link: no vm \"cockpt\"; did you mean \"cockpit\"?" },
		{ HEAD "vm \"Third\" {\n services = {\"s\"}\n}\n", "6: vm \"Third\": bad name" },
		{ HEAD "vm \"a--b\" { local-size = \"1M\" }\n",
		  "5: vm \"a--b\": bad name: no \"--\"" },
		{ HEAD "vm \"x\" { services = {\"UP\"} }\n", "5: vm.services: \"UP\": bad name" },
		{ HEAD "vm \"x\" { services = {\"s\",\n\"s\"} }\n",
		  "5: vm.services: \"s\" is there twice" },
		{ HEAD "vm \"x\" { user = \"no-such-user\" }\n", "5: vm.user: no user" },
		{ HEAD "vm \"x\" { user = \"99999999999\" }\n",
		  "5: vm.user: \"99999999999\" is no" },
		{ HEAD "vm \"x\" { control = \"rel\" }\n",
		  "5: vm.control: \"rel\" is not absolute" },
		{ HEAD "vm \"x\" { local-size = \"3M\" }\n",
		  "5: local-size: \"3M\" is no power of two" },
		{ HEAD "state = \"rel\"\n", "5: state: \"rel\" is not absolute" },
		{ HEAD "certificate-lifetime = \"5s\"\n",
		  "5: certificate-lifetime: \"5s\" is no duration" },
		{ HEAD "certificate-lifetime = \"999d\"\n",
		  "5: certificate-lifetime: \"999d\" is no" },
		{ HEAD "link-timeout = \"10\"\n", "5: link-timeout: \"10\" is no duration" },
		{ HEAD "handshake-timeout = \"99999999999999999999s\"\n",
		  "5: handshake-timeout: " },
		/* what is quoted stays on its line */
		{ HEAD "vm \"a\\nb\\e[2J\" { services = {} }\n", "5: vm \"a?b?[2J\": bad name" },
		{ HEAD "sessions-per-vm = 0\n", "5: sessions-per-vm: 0 is not from 1" },
		{ HEAD "sessions-per-vm = \"x\"\n", "5: " },
		{ HEAD "limits \"adas\" {\n memory = \"15K\" }\n",
		  "6: memory: \"15K\" is no size from 16K, a channel's least" },
		{ HEAD "limits \"adas\" { memory = \"64MB\" }\n",
		  "5: memory: \"64MB\" is no size" },
		{ HEAD "limits \"adas\" {\n\n opens-per-second = 0 }\n",
		  "7: opens-per-second: 0 is not from 1 to 1000000" },
		{ HEAD "limits \"adas\" { opens-burst = -1 }\n", "5: opens-burst: -1 is not" },
		{ HEAD "limits \"adas\" { channels = 0 }\n", "5: channels: 0 is not" },
		{ HEAD "opens-per-second = 1000001\n", "5: opens-per-second: 1000001 is not" },
		{ HEAD "opens-burst = 0\n", "5: opens-burst: 0 is not" },
		{ HEAD "limits \"adaz\" { channels = 1 }\n",
		  "5: limits: no vm \"adaz\"; did you mean \"adas\"?" },
		{ HEAD "limits \"adas/cashe\" { channels = 1 }\n",
		  "5: limits: no service \"cashe\" in vm \"adas\"; did you mean \"cache\"?" },
		{ HEAD "limits \"adas/\" { channels = 1 }\n",
		  "5: limits: \"adas/\" is no \"VM/SERVICE\"" },
		{ HEAD "limits \"adas\" { channels = 1 }\nlimits \"adas\" { channels = 2 }\n",
		  "6: " },
		{ HEAD "limits \"adas\" { memry = 1 }\n",
		  "5: unknown key \"memry\"; did you mean \"memory\"?" },
		{ HEAD "ca { key = \"/k\" }\n", "5: ca: certificate is missing" },
		{ HEAD "vm \"cockpit\" { }\n", "5: " },
		{ HEAD "vm \"x\" {\n user = \"}\"\n", "5: this '{' has no '}'" },
		{ HEAD "vm \"x {\n}\n", "" },
		{ HEAD "\n/* vm \"x\" {\n}\n", "6: this comment has no \"*/\"" },
		{ "vm \"a\" { }\n", " trust-domain is missing" },
		{ "trust-domain = \"x\"\n", " vm: 0 of them" },
		{ "trust-domain = \"Bad Domain\"\nvm \"a\" { }\n",
		  "1: trust-domain: \"Bad Domain\": bad" },
		{ "", " trust-domain is missing" },
		{ "trust-domain = \"x\"\nvm \"a\" { }\nvm \"b\" { }\n"
		  "link \"a\" \"b\" { size = \"1023K\" }\n",
		  "4: size: \"1023K\" is no power of two" },
		{ "trust-domain = \"x\"\nvm \"a\" { }\nvm \"b\" { }\n"
		  "link \"a\" \"b\" { size = \"\" }\n",
		  "4: size: \"\" is no power of two" },
		{ "trust-domain = \"x\"\nvm \"a\" { }\nvm \"b\" { }\n"
		  "link \"a\" \"b\" { vectors = 33 }\n",
		  "4: vectors: 33 is not from 1 to 32" },
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_error(cases[i].text, cases[i].error);
}

static void test_several_errors_are_all_told(void **state)
{
	(void)state;
	assert_null(load(HEAD "allow { from = \"x/dashboard\" to = \"adas/cashe\" }\n"
			      "allow { from = \"y/dashboard\" to = \"adas/cache\" }\n"));
	assert_non_null(strstr(errors, "no vm \"x\""));
	assert_non_null(strstr(errors, "no service \"cashe\""));
	assert_non_null(strstr(errors, "no vm \"y\""));
}

static void test_long_run_folder(void **state)
{
	char text[1024], run[100];

	(void)state;
	memset(run, 'r', sizeof(run) - 1);
	run[0] = '/';
	run[sizeof(run) - 1] = '\0';
	snprintf(text, sizeof(text), "run = \"%s\"\n" HEAD, run);
	expect_error(text, "3: vm \"cockpit\": its control socket's path is longer than 107 bytes");
}

/* Run from the project's root, as make does. */
static void test_the_sample_is_good(void **state)
{
	struct host_config *c;
	FILE *out = fmemopen(errors, sizeof(errors) - 1, "w");

	(void)state;
	memset(errors, 0, sizeof(errors));
	c = host_config_load("packaging/host.conf", out);
	fclose(out);
	if (!c)
		fail_msg("%s", errors);
	assert_int_equal(c->policy->n_vms, 2);
	assert_int_equal(c->policy->n_links, 1);
	assert_int_equal(c->policy->n_allows, 1);
	host_config_free(c);
}

static void test_file_that_is_not_there(void **state)
{
	FILE *out = fmemopen(errors, sizeof(errors) - 1, "w");

	(void)state;
	memset(errors, 0, sizeof(errors));
	assert_null(host_config_load("/nonexistent/host.conf", out));
	fclose(out);
	assert_non_null(strstr(errors, "/nonexistent/host.conf: No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_designs_example),
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_errors_name_line_and_cure),
		cmocka_unit_test(test_several_errors_are_all_told),
		cmocka_unit_test(test_long_run_folder),
		cmocka_unit_test(test_the_sample_is_good),
		cmocka_unit_test(test_file_that_is_not_there),
	};
	int failed;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/host.conf", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	rmdir(folder);
	return failed;
}
