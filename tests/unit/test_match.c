// SPDX-License-Identifier: BSD-2-Clause
/* Which rule an endpoint matches: families, addresses, ports, paths, and every length of each. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rules.h"

static struct rules rules;

static void parse(const char *text)
{
	char error[RULES_ERROR_LEN];

	if (rules_parse(&rules, "test", text, strlen(text), '\n', error))
		fail_msg("%s", error);
}

/* The line of the rule that matches, 0 for none. The address stands at the end of its memory. */
static unsigned int match(unsigned int use, const void *addr, size_t len)
{
	void *copy = malloc(len);
	const struct rule *rule;

	memcpy(copy, addr, len);
	rule = rules_match(&rules, use, copy, len);
	free(copy);
	return rule ? rule->line : 0;
}

static unsigned int match4(unsigned int use, const char *host, int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	assert_int_equal(inet_pton(AF_INET, host, &in.sin_addr), 1);
	return match(use, &in, sizeof(in));
}

static unsigned int match6(unsigned int use, const char *host, int port)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	assert_int_equal(inet_pton(AF_INET6, host, &in6.sin6_addr), 1);
	return match(use, &in6, sizeof(in6));
}

static unsigned int match_path(unsigned int use, const char *path, size_t extra)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	strcpy(un.sun_path, path);
	return match(use, &un, offsetof(struct sockaddr_un, sun_path) + strlen(path) + extra);
}

static void an_ipv4_rule_matches_its_address_and_port_in_either_family(void **state)
{
	(void)state;
	parse("tcp:10.0.0.2:6379=siv:///a");
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.2", 6379), 1);
	assert_int_equal(match4(RULE_LISTEN, "10.0.0.2", 6379), 1);
	assert_int_equal(match6(RULE_CONNECT, "::ffff:10.0.0.2", 6379), 1);
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.2", 6380), 0);
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.2", 0), 0);
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.3", 6379), 0);
	assert_int_equal(match4(RULE_LISTEN, "0.0.0.0", 6379), 0);
	assert_int_equal(match6(RULE_CONNECT, "::10.0.0.2", 6379), 0); /* compatible, not mapped */
	assert_int_equal(match6(RULE_CONNECT, "::", 6379), 0);
}

static void an_ipv6_rule_matches_its_address_whatever_else_the_sockaddr_says(void **state)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_flowinfo = htonl(5),
		.sin6_scope_id = 3,
	};

	(void)state;
	parse("tcp:[fe80::2]:80=siv:///a");
	assert_int_equal(match6(RULE_CONNECT, "fe80::2", 80), 1);
	assert_int_equal(match6(RULE_CONNECT, "fe80::3", 80), 0);
	assert_int_equal(match4(RULE_CONNECT, "0.0.0.2", 80), 0);
	inet_pton(AF_INET6, "fe80::2", &in6.sin6_addr);
	assert_int_equal(match(RULE_CONNECT, &in6, sizeof(in6)), 1);
}

static void a_mapped_rule_is_an_ipv4_rule(void **state)
{
	(void)state;
	parse("tcp:[::ffff:10.0.0.2]:80=siv:///a");
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.2", 80), 1);
	assert_int_equal(match6(RULE_CONNECT, "::ffff:10.0.0.2", 80), 1);
}

static void a_star_matches_every_address_of_both_families(void **state)
{
	(void)state;
	parse("tcp:*:80=siv:///a");
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.2", 80), 1);
	assert_int_equal(match4(RULE_LISTEN, "0.0.0.0", 80), 1);
	assert_int_equal(match4(RULE_LISTEN, "127.0.0.1", 80), 1);
	assert_int_equal(match6(RULE_LISTEN, "::", 80), 1);
	assert_int_equal(match6(RULE_CONNECT, "fd00::1", 80), 1);
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.2", 81), 0);
}

static void a_port_is_compared_in_full(void **state)
{
	(void)state;
	parse("tcp:*:6379=siv:///a");
	for (int port = 0; port <= 65535; port++)
		assert_int_equal(match4(RULE_CONNECT, "10.0.0.2", port), port == 6379);
}

static void a_path_is_compared_byte_by_byte(void **state)
{
	(void)state;
	parse("unix:/run/redis.sock=siv:///a");
	assert_int_equal(match_path(RULE_CONNECT, "/run/redis.sock", 1), 1);
	assert_int_equal(match_path(RULE_LISTEN, "/run/redis.sock", 1), 1);
	assert_int_equal(match_path(RULE_CONNECT, "/run/redis.sock", 0), 1); /* no NUL counted */
	assert_int_equal(match_path(RULE_CONNECT, "/run/redis.sock", 40), 1); /* zeroes behind */
	assert_int_equal(match_path(RULE_CONNECT, "/run/redis.soc", 1), 0);
	assert_int_equal(match_path(RULE_CONNECT, "/run/redis.sock2", 1), 0);
	assert_int_equal(match_path(RULE_CONNECT, "/run//redis.sock", 1), 0);
	assert_int_equal(match_path(RULE_CONNECT, "run/redis.sock", 1), 0);
	assert_int_equal(match_path(RULE_CONNECT, "/RUN/redis.sock", 1), 0);
}

static void what_stands_behind_a_paths_nul_does_not_count(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)state;
	parse("unix:/a=siv:///a");
	strcpy(un.sun_path, "/a");
	memset(un.sun_path + 3, 'x', 20);
	assert_int_equal(match(RULE_CONNECT, &un, sizeof(un)), 1);
}

static void the_longest_path_matches_and_one_without_a_nul_does_not(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char line[160];

	(void)state;
	memset(un.sun_path, '/', sizeof(un.sun_path) - 1);
	snprintf(line, sizeof(line), "unix:%s=siv:///a", un.sun_path);
	parse(line);
	assert_int_equal(match(RULE_CONNECT, &un, sizeof(un)), 1);
	assert_int_equal(match(RULE_CONNECT, &un, sizeof(un) - 1), 1);
	assert_int_equal(match(RULE_CONNECT, &un, sizeof(un) - 2), 0);
	un.sun_path[sizeof(un.sun_path) - 1] = '/';
	assert_int_equal(match(RULE_CONNECT, &un, sizeof(un)), 0);
}

static void abstract_and_unnamed_sockets_match_nothing(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const size_t head = offsetof(struct sockaddr_un, sun_path);

	(void)state;
	parse("unix:/a=siv:///a");
	strcpy(un.sun_path + 1, "/a");
	assert_int_equal(match(RULE_CONNECT, &un, head + 3), 0);
	assert_int_equal(match(RULE_CONNECT, &un, head + 1), 0);
	assert_int_equal(match(RULE_CONNECT, &un, head), 0);
	assert_int_equal(match(RULE_CONNECT, &un, sizeof(un)), 0);
}

/* Under ASan a read beyond the length is an error, too. */
static void a_length_that_cuts_the_address_off_matches_nothing(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(80) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	struct sockaddr_storage storage = { 0 };

	(void)state;
	parse("tcp:*:80=siv:///a\nunix:/abc=siv:///a");
	for (size_t len = 0; len <= sizeof(in); len++)
		assert_int_equal(match(RULE_CONNECT, &in, len), len == sizeof(in));
	for (size_t len = 0; len <= sizeof(in6); len++)
		assert_int_equal(match(RULE_CONNECT, &in6, len), len >= 24); /* RFC 2133's length */

	memcpy(&storage, &in, sizeof(in));
	assert_int_equal(match(RULE_CONNECT, &storage, sizeof(storage)), 1);
	assert_null(rules_match(&rules, RULE_CONNECT, (void *)&storage, sizeof(storage) + 1));
	assert_null(rules_match(&rules, RULE_CONNECT, (void *)&storage, (socklen_t)-1));
	assert_null(rules_match(&rules, RULE_CONNECT, NULL, sizeof(in)));
	storage.ss_family = AF_UNIX;
	strcpy(((struct sockaddr_un *)&storage)->sun_path, "/abc");
	assert_int_equal(match(RULE_CONNECT, &storage, sizeof(struct sockaddr_un)), 2);
	assert_int_equal(match(RULE_CONNECT, &storage, sizeof(struct sockaddr_un) + 1), 0);
}

static void other_families_match_nothing(void **state)
{
	struct sockaddr_storage storage = { 0 };

	(void)state;
	parse("tcp:*:80=siv:///a");
	((struct sockaddr_in *)&storage)->sin_port = htons(80);
	for (int family = 0; family < 256; family++) {
		storage.ss_family = family;
		assert_int_equal(match(RULE_CONNECT, &storage, sizeof(storage)),
				 family == AF_INET || family == AF_INET6);
	}
}

static void an_unspecified_family_binds_to_any_address_and_connects_to_none(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_UNSPEC, .sin_port = htons(80) };

	(void)state;
	parse("tcp:0.0.0.0:80=siv:///a\ntcp:10.0.0.1:80=siv:///b");
	assert_int_equal(match(RULE_LISTEN, &in, sizeof(in)), 1);
	assert_int_equal(match(RULE_CONNECT, &in, sizeof(in)), 0);
	in.sin_addr.s_addr = inet_addr("10.0.0.1");
	assert_int_equal(match(RULE_LISTEN, &in, sizeof(in)), 0);
}

static void a_restricted_rule_serves_only_its_use(void **state)
{
	(void)state;
	parse("connect tcp:*:1=siv:///a\nlisten tcp:*:2=siv:///b\n"
	      "connect tcp:*:3=siv:///c\nlisten tcp:*:3=siv:///d");
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.1", 1), 1);
	assert_int_equal(match4(RULE_LISTEN, "10.0.0.1", 1), 0);
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.1", 2), 0);
	assert_int_equal(match4(RULE_LISTEN, "10.0.0.1", 2), 2);
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.1", 3), 3);
	assert_int_equal(match4(RULE_LISTEN, "10.0.0.1", 3), 4);
}

static void the_first_rule_that_fits_wins(void **state)
{
	(void)state;
	parse("tcp:10.0.0.1:80=siv:///a\ntcp:*:80=siv:///b");
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.1", 80), 1);
	assert_int_equal(match4(RULE_CONNECT, "10.0.0.2", 80), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ipv4_rule_matches_its_address_and_port_in_either_family),
		cmocka_unit_test(an_ipv6_rule_matches_its_address_whatever_else_the_sockaddr_says),
		cmocka_unit_test(a_mapped_rule_is_an_ipv4_rule),
		cmocka_unit_test(a_star_matches_every_address_of_both_families),
		cmocka_unit_test(a_port_is_compared_in_full),
		cmocka_unit_test(a_path_is_compared_byte_by_byte),
		cmocka_unit_test(what_stands_behind_a_paths_nul_does_not_count),
		cmocka_unit_test(the_longest_path_matches_and_one_without_a_nul_does_not),
		cmocka_unit_test(abstract_and_unnamed_sockets_match_nothing),
		cmocka_unit_test(a_length_that_cuts_the_address_off_matches_nothing),
		cmocka_unit_test(other_families_match_nothing),
		cmocka_unit_test(an_unspecified_family_binds_to_any_address_and_connects_to_none),
		cmocka_unit_test(a_restricted_rule_serves_only_its_use),
		cmocka_unit_test(the_first_rule_that_fits_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
