// SPDX-License-Identifier: BSD-2-Clause
/* The parser of the shim's rules: what is a rule, and that every error names its line and key. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <sivshmem.h>

#include "rules.h"

#define S63 "a23456789012345678901234567890123456789012345678901234567890123"

static struct rules rules;
static char error[RULES_ERROR_LEN];

static int parse(const char *text)
{
	memset(&rules, 0x55, sizeof(rules));
	strcpy(error, "");
	return rules_parse(&rules, "test.rules", text, strlen(text), '\n', error);
}

static struct in6_addr host(const char *text)
{
	struct in6_addr out;
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1)
		return rules_mapped(v4);
	assert_int_equal(inet_pton(AF_INET6, text, &out), 1);
	return out;
}

static void check_rule(const char *line, enum rule_kind kind, unsigned int uses, const char *where,
		       int port, const char *url, bool fallback)
{
	const struct rule *rule = &rules.rule[0];
	char text[SIV_URL_LEN];

	if (parse(line))
		fail_msg("%s: %s", line, error);
	assert_int_equal(rules.n_rules, 1);
	assert_int_equal(rule->kind, kind);
	assert_int_equal(rule->uses, uses);
	assert_int_equal(rule->line, 1);
	assert_int_equal(rule->fallback, fallback);
	assert_true(siv_addr_format(&rule->target, text, sizeof(text)) > 0);
	assert_string_equal(text, url);
	if (kind == RULE_UNIX) {
		assert_string_equal(rule->path, where);
		return;
	}
	assert_int_equal(rule->port, port);
	assert_int_equal(rule->any_host, !strcmp(where, "*"));
	if (!rule->any_host) {
		struct in6_addr expected = host(where);

		assert_memory_equal(&rule->host, &expected, sizeof(expected));
	}
}

static void a_rule_says_kind_endpoint_service_and_use(void **state)
{
	const unsigned int both = RULE_CONNECT | RULE_LISTEN;

	(void)state;
	check_rule("tcp:10.0.0.2:6379=siv://adas/cache", RULE_TCP, both, "10.0.0.2", 6379,
		   "siv://adas/cache", false);
	check_rule("tcp:*:1=siv:///cache", RULE_TCP, both, "*", 1, "siv:///cache", false);
	check_rule("tcp:[::1]:65535=siv://adas/cache", RULE_TCP, both, "::1", 65535,
		   "siv://adas/cache", false);
	check_rule("tcp:[fd00::2]:80=siv://adas/cache", RULE_TCP, both, "fd00::2", 80,
		   "siv://adas/cache", false);
	check_rule("tcp:[::ffff:10.0.0.2]:80=siv://adas/cache", RULE_TCP, both, "10.0.0.2", 80,
		   "siv://adas/cache", false);
	check_rule("connect tcp:10.0.0.2:80=siv://adas/cache", RULE_TCP, RULE_CONNECT, "10.0.0.2",
		   80, "siv://adas/cache", false);
	check_rule("listen tcp:0.0.0.0:80=siv:///cache", RULE_TCP, RULE_LISTEN, "0.0.0.0", 80,
		   "siv:///cache", false);
	check_rule("connect tcp:10.0.0.2:80=siv://adas/cache fallback", RULE_TCP, RULE_CONNECT,
		   "10.0.0.2", 80, "siv://adas/cache", true);
	check_rule("  tcp:10.0.0.2:80 =\tsiv://adas/cache \t fallback  # why", RULE_TCP, both,
		   "10.0.0.2", 80, "siv://adas/cache", true);
	check_rule("unix:/run/redis.sock=siv://adas/cache", RULE_UNIX, both, "/run/redis.sock", 0,
		   "siv://adas/cache", false);
	check_rule("listen\tunix:/a=siv:///" S63, RULE_UNIX, RULE_LISTEN, "/a", 0, "siv:///" S63,
		   false);
	check_rule("unix:/a b=c#d:e = siv://adas/cache fallback", RULE_UNIX, both, "/a b=c#d:e", 0,
		   "siv://adas/cache", true);
	check_rule("connect unix:/a b = siv://adas/cache", RULE_UNIX, RULE_CONNECT, "/a b", 0,
		   "siv://adas/cache", false);
}

static void lines_are_counted_and_comments_and_blank_lines_skipped(void **state)
{
	(void)state;
	assert_int_equal(parse("# one\n\n  # three\ntcp:*:1=siv:///a # x\nunix:/b=siv:///b"), 0);
	assert_int_equal(rules.n_rules, 2);
	assert_int_equal(rules.rule[0].line, 4);
	assert_int_equal(rules.rule[1].line, 5);
	assert_int_equal(rules.as[0], '\0');
}

static void rules_in_the_environment_are_separated_by_semicolons(void **state)
{
	static const char text[] = "tcp:*:1=siv:///a; unix:/b=siv:///b ;as me;";

	(void)state;
	assert_int_equal(rules_parse(&rules, "E", text, sizeof(text) - 1, ';', error), 0);
	assert_int_equal(rules.n_rules, 2);
	assert_int_equal(rules.rule[1].line, 2);
	assert_string_equal(rules.rule[1].path, "/b");
	assert_string_equal(rules.as, "me");
}

/* Each error begins with file and line, and has what follows in it. */
static void check_error(const char *text, unsigned int line, const char *part)
{
	char start[64];

	snprintf(start, sizeof(start), "test.rules:%u: ", line);
	if (!parse(text))
		fail_msg("\"%s\" was taken", text);
	if (strncmp(error, start, strlen(start)) || !strstr(error, part))
		fail_msg("\"%s\": \"%s\" does not begin with \"%s\" or has no \"%s\"", text, error,
			 start, part);
}

static void wrong_rules_are_refused_with_line_and_key(void **state)
{
	(void)state;
	check_error("tcp:*:1=siv:///a\nudp:*:1=siv:///a", 2, "\"udp:*:1=siv:///a\"");
	check_error("tpc:*:1=siv:///a", 1, "a line starts with");
	check_error("accept tcp:*:1=siv:///a", 1, "\"accept\"");
	check_error("connect", 1, "\"\" is not known");
	check_error("connect listen tcp:*:1=siv:///a", 1, "\"listen");
	check_error("connect as x", 1, "not known");
	check_error("tcp:*:1", 1, "tcp:HOST:PORT=siv://VM/SERVICE");
	check_error("unix:/a", 1, "unix:/PATH=siv://VM/SERVICE");
	check_error("tcp:*:1=http://a/b", 1, "has no service");
	check_error("tcp:*=siv:///a", 1, "no port");
	check_error("tcp:=siv:///a", 1, "no port");
	check_error("tcp:*:=siv:///a", 1, "\"\" is not a port");
	check_error("tcp:*:0=siv:///a", 1, "\"0\" is not a port");
	check_error("tcp:*:65536=siv:///a", 1, "\"65536\" is not a port");
	check_error("tcp:*:+1=siv:///a", 1, "\"+1\" is not a port");
	check_error("tcp:*: 1=siv:///a", 1, "is not a port");
	check_error("tcp:*:99999999999999999999=siv:///a", 1, "is not a port");
	check_error("tcp::1=siv:///a", 1, "tcp: \"\" is not an address");
	check_error("tcp:localhost:1=siv:///a", 1, "tcp: \"localhost\" is not an address");
	check_error("tcp:10.0.0:1=siv:///a", 1, "\"10.0.0\"");
	check_error("tcp:::1:1=siv:///a", 1, "in brackets");
	check_error("tcp:[]:1=siv:///a", 1, "\"[]\"");
	check_error("tcp:[10.0.0.1]:1=siv:///a", 1, "\"10.0.0.1\"");
	check_error("tcp:[fe80::1%eth0]:1=siv:///a", 1, "fe80::1%eth0");
	check_error("tcp:[::1:1=siv:///a", 1, "is not an address");
	check_error("unix:a=siv:///a", 1, "unix: \"a\" does not start with /");
	check_error("unix:=siv:///a", 1, "unix: \"\"");
	check_error("unix:@a=siv:///a", 1, "unix: \"@a\"");
	check_error("tcp:*:1=siv://adas", 1, "\"siv://adas\" is not a service");
	check_error("tcp:*:1=siv://Adas/a", 1, "\"siv://Adas/a\"");
	check_error("tcp:*:1=siv:///" S63 "x", 1, "is not a service");
	check_error("tcp:*:1=siv:///a falback", 1, "option \"falback\"");
	check_error("tcp:*:1=siv:///a fallback no", 1, "option \"no\"");
	check_error("listen tcp:*:1=siv:///a fallback", 1, "fallback: not for a rule that only");
	check_error("as", 1, "as: \"\"");
	check_error("as Me", 1, "as: \"Me\"");
	check_error("as a b", 1, "as: one name only: \"b\"");
	check_error("as a\nas b", 2, "as: line 1 says \"a\"");
	check_error("peer cockpit", 1, "peer: no address");
	check_error("peer = 10.0.0.1", 1, "peer: \"\"");
	check_error("peer Cockpit = 10.0.0.1", 1, "peer: \"Cockpit\"");
	check_error("peer cockpit = somewhere", 1, "peer: \"somewhere\"");
	check_error("peer cockpit = 10.0.0.1:80", 1, "peer: \"10.0.0.1:80\"");
	check_error("peer cockpit = 198.51.100.1\npeer cockpit = 198.51.100.2", 2, "line 1 gives");
	check_error("peer a = 198.51.100.1\npeer b = 198.51.100.1", 2, "tell the two apart");
	check_error("\n\x01", 2, "byte 0x01");
	check_error("tcp:*:1=siv:///a\r\n", 1, "byte 0x0d");
}

static void a_rule_that_can_never_be_used_is_refused(void **state)
{
	(void)state;
	check_error("tcp:10.0.0.1:1=siv:///a\ntcp:10.0.0.1:1=siv:///b", 2, "line 1");
	check_error("tcp:*:1=siv:///a\n\ntcp:10.0.0.1:1=siv:///b", 3, "line 1");
	check_error("tcp:*:1=siv:///a\nlisten tcp:*:1=siv:///b", 2, "line 1");
	check_error("unix:/a=siv:///a\nunix:/a=siv:///b", 2, "line 1");

	assert_int_equal(parse("tcp:10.0.0.1:1=siv:///a\ntcp:*:1=siv:///b"), 0);
	assert_int_equal(parse("connect tcp:*:1=siv:///a\nlisten tcp:*:1=siv:///b"), 0);
	assert_int_equal(parse("connect tcp:*:1=siv:///a\ntcp:*:1=siv:///b"), 0);
	assert_int_equal(parse("tcp:*:1=siv:///a\ntcp:*:2=siv:///b"), 0);
	assert_int_equal(parse("unix:/a=siv:///a\nunix:/b=siv:///a"), 0);
}

static void no_rule_at_all_is_an_error(void **state)
{
	static const char *const empty[] = { "", "\n", "# nothing\n", "as me\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		assert_int_equal(parse(empty[i]), -EINVAL);
		assert_non_null(strstr(error, "test.rules: no tcp: or unix: line"));
	}
}

static void a_peer_has_an_address_that_nobody_trusts(void **state)
{
	struct in6_addr expected;

	(void)state;
	assert_int_equal(parse("unix:/a=siv:///a\npeer cockpit = 198.51.100.7\n"
			       "peer adas=2001:db8::7"), 0);
	assert_int_equal(rules.n_peers, 2);
	assert_string_equal(rules.peer[0].vm, "cockpit");
	expected = host("198.51.100.7");
	assert_memory_equal(&rules.peer[0].host, &expected, sizeof(expected));
	expected = host("2001:db8::7");
	assert_memory_equal(&rules.peer[1].host, &expected, sizeof(expected));

	check_error("peer a = 127.0.0.1", 1, "peer: 127.0.0.1 is loopback");
	check_error("peer a = 127.255.0.9", 1, "loopback");
	check_error("peer a = ::1", 1, "loopback");
	check_error("peer a = ::ffff:127.0.0.1", 1, "loopback");
	check_error("peer a = 0.0.0.0", 1, "unspecified");
	check_error("peer a = 0.1.2.3", 1, "unspecified");
	check_error("peer a = ::", 1, "unspecified");
	check_error("peer a = 224.0.0.1", 1, "multicast");
	check_error("peer a = 255.255.255.255", 1, "broadcast");
	check_error("peer a = ff02::1", 1, "multicast");
	check_error("peer a = fe80::1", 1, "link-local");
}

static void a_peer_never_has_an_address_of_this_machine(void **state)
{
	struct ifaddrs *all, *one;
	char text[INET6_ADDRSTRLEN], line[128];
	int tried = 0;

	(void)state;
	assert_int_equal(getifaddrs(&all), 0);
	for (one = all; one; one = one->ifa_next) {
		if (!one->ifa_addr || !(one->ifa_flags & IFF_UP) || one->ifa_flags & IFF_LOOPBACK)
			continue;
		if (one->ifa_addr->sa_family == AF_INET) {
			struct sockaddr_in *in = (struct sockaddr_in *)one->ifa_addr;

			inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
		} else if (one->ifa_addr->sa_family == AF_INET6) {
			struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)one->ifa_addr;

			if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
				continue;
			inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
		} else {
			continue;
		}
		snprintf(line, sizeof(line), "peer a = %s", text);
		check_error(line, 1, "an address of this machine");
		tried++;
	}
	freeifaddrs(all);
	if (!tried)
		skip();
}

static void every_limit_is_kept(void **state)
{
	static char text[RULES_MAX * 64];
	char path[256];
	int len = 0;

	(void)state;
	for (int i = 1; i <= RULES_MAX; i++)
		len += sprintf(text + len, "tcp:*:%d=siv:///a\n", i);
	assert_int_equal(parse(text), 0);
	assert_int_equal(rules.n_rules, RULES_MAX);
	sprintf(text + len, "tcp:*:9999=siv:///a\n");
	check_error(text, RULES_MAX + 1, "too many rules");

	len = 0;
	for (int i = 1; i <= SIV_ALIAS_PEERS_MAX; i++)
		len += sprintf(text + len, "peer vm%d = 198.51.100.%d\n", i, i);
	sprintf(text + len, "unix:/a=siv:///a\n");
	assert_int_equal(parse(text), 0);
	sprintf(text + len, "peer one = 198.51.100.200\n");
	check_error(text, SIV_ALIAS_PEERS_MAX + 1, "peer: too many");

	snprintf(path, sizeof(path), "unix:/%0106d=siv:///a", 0);
	assert_int_equal(parse(path), 0);
	snprintf(path, sizeof(path), "unix:/%0107d=siv:///a", 0);
	check_error(path, 1, "108 bytes");

	memset(text, ' ', RULES_LINE_MAX);
	strcpy(text + RULES_LINE_MAX, "\nunix:/a=siv:///a");
	assert_int_equal(parse(text), 0);
	text[RULES_LINE_MAX] = ' ';
	check_error(text, 1, "too long");
}

static void errors_longer_than_their_buffer_are_cut(void **state)
{
	char line[RULES_LINE_MAX + 1];

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	assert_int_equal(parse(line), -EINVAL);
	assert_int_equal(strlen(error), RULES_ERROR_LEN - 1);
}

static void sources_are_not_merged(void **state)
{
	char name[] = "/tmp/test_rules.XXXXXX";
	static const char line[] = "unix:/from-file=siv:///a\n";
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, line, sizeof(line) - 1), sizeof(line) - 1);
	close(fd);
	unsetenv(RULES_ENV_RULE);
	setenv(RULES_ENV_FILE, name, 1);
	assert_int_equal(rules_load(&rules, error), 0);
	assert_string_equal(rules.rule[0].path, "/from-file");
	assert_string_equal(rules.source, name);

	setenv(RULES_ENV_RULE, "unix:/from-env=siv:///a", 1);
	assert_int_equal(rules_load(&rules, error), -EINVAL);
	assert_non_null(strstr(error, "unset one"));

	unsetenv(RULES_ENV_FILE);
	assert_int_equal(rules_load(&rules, error), 0);
	assert_string_equal(rules.rule[0].path, "/from-env");

	unlink(name);
	unsetenv(RULES_ENV_RULE);
	setenv(RULES_ENV_FILE, name, 1);
	assert_int_equal(rules_load(&rules, error), -ENOENT);
	assert_non_null(strstr(error, name));
	unsetenv(RULES_ENV_FILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_says_kind_endpoint_service_and_use),
		cmocka_unit_test(lines_are_counted_and_comments_and_blank_lines_skipped),
		cmocka_unit_test(rules_in_the_environment_are_separated_by_semicolons),
		cmocka_unit_test(wrong_rules_are_refused_with_line_and_key),
		cmocka_unit_test(a_rule_that_can_never_be_used_is_refused),
		cmocka_unit_test(no_rule_at_all_is_an_error),
		cmocka_unit_test(a_peer_has_an_address_that_nobody_trusts),
		cmocka_unit_test(a_peer_never_has_an_address_of_this_machine),
		cmocka_unit_test(every_limit_is_kept),
		cmocka_unit_test(errors_longer_than_their_buffer_are_cut),
		cmocka_unit_test(sources_are_not_merged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
