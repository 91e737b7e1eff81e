// SPDX-License-Identifier: BSD-2-Clause
/* The audit log: one line of JSON each, whatever a guest puts into it, and no VM can flood it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "broker/audit.h"

static char path[] = "/tmp/siv-audit-XXXXXX";

static int64_t wall_ms(void)
{
	return 1800000000123;
}

static int setup(void **state)
{
	assert_int_equal(truncate(path, 0), 0);
	*state = audit_open(path, wall_ms);
	assert_non_null(*state);
	return 0;
}

static int teardown(void **state)
{
	audit_close(*state);
	return 0;
}

/* All lines, parsed; each must be an object by itself. */
static json_t *read_lines(void)
{
	json_t *lines = json_array();
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	while ((n = getline(&line, &room, file)) > 0) {
		json_t *parsed = json_loadb(line, (size_t)n, 0, NULL);

		assert_int_equal(line[n - 1], '\n');
		assert_true(n <= (ssize_t)AUDIT_LINE_MAX);
		assert_true(json_is_object(parsed));
		json_array_append_new(lines, parsed);
	}
	free(line);
	fclose(file);
	return lines;
}

static const char *field(json_t *lines, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(lines, i), key));
}

static json_int_t number(json_t *lines, size_t i, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(lines, i), key));
}

static void test_a_line_says_who_what_and_why(void **state)
{
	struct audit_event event = {
		.event = "connect", .reason = SIVP_R_NOT_ALLOWED, .vm = "cockpit",
		.service = "dashboard", .peer_vm = "adas", .peer_service = "cache",
		.spiffe_id = "spiffe://x/vm/cockpit/service/dashboard", .text = "why",
		.session = 7, .rule = 12, .has_caller = true, .uid = 1000, .pid = 42,
	};
	json_t *lines;

	audit_write(*state, NULL, 0, &event);
	event.reason = SIVP_R_NONE;
	audit_write(*state, NULL, 0, &event);
	lines = read_lines();
	assert_int_equal(json_array_size(lines), 2);
	assert_string_equal(field(lines, 0, "time"), "2027-01-15T08:00:00.123Z");
	assert_string_equal(field(lines, 0, "verdict"), "refused");
	assert_string_equal(field(lines, 0, "reason"), "not-allowed");
	assert_string_equal(field(lines, 0, "peer_vm"), "adas");
	assert_int_equal(number(lines, 0, "uid"), 1000);
	assert_int_equal(number(lines, 0, "rule"), 12);
	assert_null(field(lines, 0, "reported_by"));
	assert_string_equal(field(lines, 1, "verdict"), "allowed");
	assert_int_equal(audit_count(*state, SIVP_R_NOT_ALLOWED), 1);
	json_decref(lines);
}

static void test_hostile_text_stays_one_string(void **state)
{
	static const char *const texts[] = {
		"\"}\n{\"verdict\":\"allowed\"}", "\\\"",    "\x1b[2J",
		"\n\n\n",                        "\xff\xfe", "\xc0\x80",
	};
	char longest[8192];
	json_t *lines;

	for (unsigned int i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct audit_event event = { .event = "guest", .reason = SIVP_R_HANDSHAKE,
					     .reported_by = "b", .text = texts[i] };

		audit_write(*state, NULL, 0, &event);
	}
	memset(longest, '"', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	audit_write(*state, NULL, 0, &(struct audit_event){ .event = "guest", .text = longest,
							    .reason = SIVP_R_HANDSHAKE });
	lines = read_lines();
	assert_int_equal(json_array_size(lines), sizeof(texts) / sizeof(texts[0]) + 1);
	for (size_t i = 0; i < json_array_size(lines); i++)
		assert_string_equal(field(lines, i, "verdict"), "refused");
	assert_string_equal(field(lines, 0, "text"), texts[0]);
	assert_null(field(lines, 4, "text")); /* no UTF-8: the line is there, the text is not */
	json_decref(lines);
}

static void test_budget_drops_counts_and_recovers(void **state)
{
	struct audit_event event = { .event = "connect", .reason = SIVP_R_NOT_HELD, .vm = "a" };
	struct audit_budget noisy = { 0 }, quiet = { 0 };
	uint64_t now = 5000000000ull;
	json_t *lines;

	for (unsigned int i = 0; i < AUDIT_BURST + 50; i++)
		audit_write(*state, &noisy, now, &event);
	audit_write(*state, &quiet, now, &event);
	lines = read_lines();
	assert_int_equal(json_array_size(lines), AUDIT_BURST + 1);
	json_decref(lines);
	now += 1000000000ull / AUDIT_PER_SECOND;
	audit_write(*state, &noisy, now, &event);
	audit_write(*state, &noisy, now, &event);
	lines = read_lines();
	assert_int_equal(json_array_size(lines), AUDIT_BURST + 2);
	assert_int_equal(number(lines, AUDIT_BURST + 1, "dropped"), 50);
	json_decref(lines);
	assert_int_equal(noisy.dropped_total, 51);
	assert_int_equal(quiet.dropped_total, 0);
	assert_int_equal(audit_count(*state, SIVP_R_NOT_HELD), AUDIT_BURST + 53);
	/* A long silence does not save up more than a burst. */
	now += 3600ull * 1000000000;
	for (unsigned int i = 0; i < AUDIT_BURST + 50; i++)
		audit_write(*state, &noisy, now, &event);
	assert_int_equal(noisy.dropped_total, 51 + 50);
}

static void test_file_is_appended_to_and_not_inherited(void **state)
{
	struct audit *second = audit_open(path, wall_ms);
	struct audit_event event = { .event = "connect" };
	json_t *lines;

	audit_write(*state, NULL, 0, &event);
	audit_write(second, NULL, 0, &event);
	audit_write(*state, NULL, 0, &event);
	audit_close(second);
	lines = read_lines();
	assert_int_equal(json_array_size(lines), 3);
	json_decref(lines);
	assert_null(audit_open("/nonexistent/folder/log", wall_ms));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_line_says_who_what_and_why),
		TEST(test_hostile_text_stays_one_string),
		TEST(test_budget_drops_counts_and_recovers),
		TEST(test_file_is_appended_to_and_not_inherited),
	};
	int failed, fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
