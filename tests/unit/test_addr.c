// SPDX-License-Identifier: BSD-2-Clause
/* Addresses of libsivshmem: what is an address, and that text and address are the same thing. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <sivshmem.h>

#define A27 "abcdefghijklmnopqrstuvwxyz0"
#define A63 "a23456789012345678901234567890123456789012345678901234567890123"

static void an_address_is_parsed_into_its_names(void **state)
{
	static const struct { const char *url, *vm, *service; } good[] = {
		{ "siv://adas/telemetry", "adas", "telemetry" },
		{ "siv:///cache", "", "cache" },
		{ "siv://a/b", "a", "b" },
		{ "siv://0/9", "0", "9" },
		{ "siv://a.b_c-d/x.y_z-", "a.b_c-d", "x.y_z-" },
		{ "siv://" A27 "/" A63, A27, A63 },
	};

	(void)state;
	assert_int_equal(strlen(A27), SIV_VM_LEN - 1);
	assert_int_equal(strlen(A63), SIV_SERVICE_LEN - 1);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct sockaddr_sivshmem addr, expected = { .ssiv_family = siv_family() };
		char text[SIV_URL_LEN];

		memset(&addr, 0x55, sizeof(addr));
		strcpy(expected.ssiv_vm, good[i].vm);
		strcpy(expected.ssiv_service, good[i].service);
		assert_int_equal(siv_addr_parse(good[i].url, &addr), 0);
		assert_memory_equal(&addr, &expected, sizeof(addr));
		assert_int_equal(siv_addr_format(&addr, text, sizeof(text)), strlen(good[i].url));
		assert_string_equal(text, good[i].url);
	}
}

static void anything_else_is_refused_and_changes_nothing(void **state)
{
	static const char *const bad[] = {
		"", "siv", "siv:", "siv:/", "siv://", "siv:///", "siv://adas", "siv://adas/",
		"siv:/adas/x", "SIV://adas/x", "siv://Adas/x", "siv://adas/X", "siv://adas/x/",
		"siv://adas/x/y", "siv://adas//x", " siv://adas/x", "siv://adas/x ",
		"siv://ad as/x", "siv://-adas/x", "siv://.adas/x", "siv://adas/_x", "siv://adas/.",
		"siv://adas/x?y", "siv://adas/x#y", "siv://user@adas/x", "siv://adas:1/x",
		"siv://ad\xc3\xa4s/x", "siv://adas/x\n", "siv://adas/%41", "tcp://adas/x",
		"siv://" A27 "x/a", "siv://a/" A63 "x",
	};
	struct sockaddr_sivshmem addr, before;

	(void)state;
	memset(&before, 0x55, sizeof(before));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		addr = before;
		if (siv_addr_parse(bad[i], &addr) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_memory_equal(&addr, &before, sizeof(addr));
	}
}

static void a_broken_address_has_no_text(void **state)
{
	struct sockaddr_sivshmem good, addr;
	char text[SIV_URL_LEN];

	(void)state;
	assert_int_equal(siv_addr_parse("siv://adas/cache", &good), 0);

	addr = good;
	addr.ssiv_flags = 1;
	assert_int_equal(siv_addr_format(&addr, text, sizeof(text)), -EINVAL);

	addr = good;
	addr.ssiv_vm[SIV_VM_LEN - 1] = 'x'; /* behind the NUL */
	assert_int_equal(siv_addr_format(&addr, text, sizeof(text)), -EINVAL);

	addr = good;
	memset(addr.ssiv_vm, 'a', sizeof(addr.ssiv_vm)); /* no NUL */
	assert_int_equal(siv_addr_format(&addr, text, sizeof(text)), -EINVAL);

	addr = good;
	memset(addr.ssiv_service, 'a', sizeof(addr.ssiv_service));
	assert_int_equal(siv_addr_format(&addr, text, sizeof(text)), -EINVAL);

	addr = good;
	memset(addr.ssiv_service, 0, sizeof(addr.ssiv_service));
	assert_int_equal(siv_addr_format(&addr, text, sizeof(text)), -EINVAL);

	addr = good;
	addr.ssiv_vm[0] = '/';
	assert_int_equal(siv_addr_format(&addr, text, sizeof(text)), -EINVAL);
}

static void a_buffer_that_is_too_small_is_left_alone(void **state)
{
	struct sockaddr_sivshmem addr;
	char text[17];

	(void)state;
	assert_int_equal(siv_addr_parse("siv://adas/cache", &addr), 0);
	memset(text, '!', sizeof(text));
	assert_int_equal(siv_addr_format(&addr, text, 16), -ENOSPC);
	assert_int_equal(text[0], '!');
	assert_int_equal(siv_addr_format(&addr, text, 0), -ENOSPC);
	assert_int_equal(siv_addr_format(&addr, text, 17), 16);
}

static void names_follow_the_rules(void **state)
{
	(void)state;
	assert_true(siv_name_valid("adas", SIV_VM_LEN));
	assert_true(siv_name_valid(A27, SIV_VM_LEN));
	assert_false(siv_name_valid(A27 "x", SIV_VM_LEN));
	assert_true(siv_name_valid(A63, SIV_SERVICE_LEN));
	assert_false(siv_name_valid("", SIV_VM_LEN));
	for (int c = 1; c < 256; c++) {
		char first[] = { c, 'a', '\0' }, later[] = { 'a', c, '\0' };
		bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		assert_int_equal(siv_name_valid(first, SIV_VM_LEN), alnum);
		assert_int_equal(siv_name_valid(later, SIV_VM_LEN),
				 alnum || c == '.' || c == '_' || c == '-');
	}
}

static void a_family_number_is_one_that_socket_takes(void **state)
{
	(void)state;
	assert_in_range(siv_family(), 1, AF_MAX - 1);
}

static void calls_with_a_bad_address_or_flag_fail_before_the_kernel_is_asked(void **state)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(siv_connect("siv://adas", 0), -EINVAL);
	assert_int_equal(siv_connect("siv://adas/x", SOCK_STREAM | 0x40000000), -EINVAL);
	assert_int_equal(siv_listen("x", 1, 0), -EINVAL);
	assert_int_equal(siv_listen("siv:///x", 1, SOCK_DGRAM), -EINVAL);
	assert_int_equal(siv_accept(-1, NULL, 0), -EBADF);
	assert_int_equal(siv_peer(-1, &(struct siv_peer){ 0 }), -EBADF);
	assert_int_equal(siv_peer(null, &(struct siv_peer){ 0 }), -ENOTSOCK);
	close(null);
}

static void every_errno_of_the_family_has_a_text_that_says_what_to_do(void **state)
{
	static const int errs[] = {
		ENETDOWN, EHOSTUNREACH, EHOSTDOWN, ECONNREFUSED, EACCES, EKEYREJECTED, EKEYEXPIRED,
		EKEYREVOKED, ENOBUFS, ETIMEDOUT, ECONNRESET, EAFNOSUPPORT, EADDRINUSE,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		assert_non_null(strchr(siv_strerror(errs[i]), ':'));
		assert_ptr_equal(siv_strerror(errs[i]), siv_strerror(-errs[i]));
	}
	assert_string_equal(siv_strerror(ENOMEM), strerror(ENOMEM));
	assert_non_null(siv_strerror(123456));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_parsed_into_its_names),
		cmocka_unit_test(anything_else_is_refused_and_changes_nothing),
		cmocka_unit_test(a_broken_address_has_no_text),
		cmocka_unit_test(a_buffer_that_is_too_small_is_left_alone),
		cmocka_unit_test(names_follow_the_rules),
		cmocka_unit_test(a_family_number_is_one_that_socket_takes),
		cmocka_unit_test(calls_with_a_bad_address_or_flag_fail_before_the_kernel_is_asked),
		cmocka_unit_test(every_errno_of_the_family_has_a_text_that_says_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
