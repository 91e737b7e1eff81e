// SPDX-License-Identifier: BSD-2-Clause
/* The audit log: one line of JSON each, whatever a guest puts into it, and no VM can flood it. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "broker/audit.h"
#include "broker/audit_journal.h"
#include "common/loop.h"

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
	audit_budget_end(*state, &noisy);
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

/* Drops are told of without another line of that VM, once, and cost no other VM a line. */
static void test_a_flood_is_counted_in_time_and_drowns_nobody(void **state)
{
	struct audit_event event = { .event = "connect" };
	struct audit_budget noisy = { .vm = "noisy" }, quiet = { .vm = "quiet" };
	struct loop *loop = loop_new_manual();
	unsigned int n_quiet = 0, n_flood = 0;
	json_t *lines, *by;
	size_t last;

	audit_attach(*state, loop);
	for (unsigned int i = 0; i < 10000; i++) {
		event.vm = "noisy";
		event.reason = i % 4 ? SIVP_R_NOT_HELD : SIVP_R_LIMIT;
		event.reported_by = i % 2 ? "noisy" : NULL;
		audit_write(*state, &noisy, loop_now_ns(loop), &event);
		if (i % 100)
			continue;
		event.vm = "quiet";
		event.reason = SIVP_R_NOT_ALLOWED;
		event.reported_by = NULL;
		audit_write(*state, &quiet, loop_now_ns(loop), &event);
	}
	loop_advance(loop, (AUDIT_REPORT_MS - 1) * LOOP_NS_PER_MS);
	lines = read_lines();
	assert_int_equal(json_array_size(lines), AUDIT_BURST + 100);
	for (size_t i = 0; i < json_array_size(lines); i++) {
		n_quiet += strcmp(field(lines, i, "vm"), "quiet") == 0;
		n_flood += strcmp(field(lines, i, "vm"), "noisy") == 0;
	}
	assert_int_equal(n_quiet, 100);
	assert_int_equal(n_flood, AUDIT_BURST);
	json_decref(lines);
	loop_advance(loop, 1 * LOOP_NS_PER_MS);
	lines = read_lines();
	last = json_array_size(lines) - 1;
	assert_int_equal(last, AUDIT_BURST + 100);
	assert_string_equal(field(lines, last, "event"), "dropped");
	assert_string_equal(field(lines, last, "vm"), "noisy");
	assert_int_equal(number(lines, last, "dropped"), 10000 - AUDIT_BURST);
	by = json_object_get(json_array_get(lines, last), "dropped_by");
	assert_int_equal(json_integer_value(json_object_get(by, "not-held")),
			 7500 - AUDIT_BURST * 3 / 4);
	assert_int_equal(json_integer_value(json_object_get(by, "limit")),
			 2500 - AUDIT_BURST / 4);
	json_decref(lines);
	/* Neither refills the budget nor is told again. */
	loop_advance(loop, 10 * AUDIT_REPORT_MS * LOOP_NS_PER_MS);
	lines = read_lines();
	assert_int_equal(json_array_size(lines), last + 1);
	json_decref(lines);
	assert_int_equal(noisy.refused[SIVP_R_NOT_HELD], 2500);
	assert_int_equal(noisy.reported[SIVP_R_NOT_HELD], 5000);
	assert_int_equal(noisy.refused[SIVP_R_LIMIT], 2500);
	assert_int_equal(quiet.dropped_total, 0);
	assert_int_equal(audit_counts(*state).written, last + 1);
	audit_detach(*state);
	loop_free(loop);
}

static void test_the_end_of_a_vm_writes_its_count(void **state)
{
	struct audit_event event = { .event = "connect", .reason = SIVP_R_NOT_HELD, .vm = "a" };
	struct audit_budget budget = { .vm = "a" };
	json_t *lines;

	for (unsigned int i = 0; i < AUDIT_BURST + 7; i++)
		audit_write(*state, &budget, 0, &event);
	audit_budget_end(*state, &budget);
	audit_budget_end(*state, &budget);
	lines = read_lines();
	assert_int_equal(json_array_size(lines), AUDIT_BURST + 1);
	assert_string_equal(field(lines, AUDIT_BURST, "event"), "dropped");
	assert_int_equal(number(lines, AUDIT_BURST, "dropped"), 7);
	json_decref(lines);
}

/* A full disk: how many lines are missing is in the first that fits again, which is whole. */
static void test_what_could_not_be_written_is_counted(void **state)
{
	struct audit_event event = { .event = "connect", .reason = SIVP_R_NOT_HELD, .vm = "a" };
	struct rlimit unlimited, limit;
	char text[4096], *second;
	ssize_t n;
	json_t *line;
	int fd;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
	signal(SIGXFSZ, SIG_IGN);
	limit = unlimited;
	limit.rlim_cur = 40; /* within the first line */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (unsigned int i = 0; i < 3; i++)
		audit_write(*state, NULL, 0, &event);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
	audit_write(*state, NULL, 0, &event);
	audit_write(*state, NULL, 0, &event);
	assert_int_equal(audit_counts(*state).lost, 3);
	assert_int_equal(audit_counts(*state).written, 2);
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n > 40);
	text[n] = '\0';
	assert_int_equal(text[40], '\n');
	second = strchr(text + 41, '\n');
	assert_non_null(second);
	line = json_loadb(text + 41, (size_t)(second - text) - 41, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(line, "lost")), 3);
	json_decref(line);
	line = json_loadb(second + 1, (size_t)(text + n - second) - 2, 0, NULL);
	assert_non_null(line);
	assert_null(json_object_get(line, "lost"));
	json_decref(line);
}

/* The journal */

static int journald(const char *socket_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, socket_path);
	unlink(socket_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* The fields of the next datagram as an object; all are strings. */
static json_t *journal_entry(int fd)
{
	json_t *entry = json_object();
	char data[8192], *at = data, *end;
	ssize_t n = recv(fd, data, sizeof(data), 0);

	assert_true(n > 0);
	while (at < data + n) {
		char *stop = at + strcspn(at, "=\n"), name[65] = "";
		uint64_t len;

		assert_true(stop < data + n && stop - at <= 64);
		memcpy(name, at, (size_t)(stop - at));
		assert_int_equal(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), strlen(name));
		if (*stop == '=') {
			at = stop + 1;
			end = memchr(at, '\n', (size_t)(data + n - at));
			assert_non_null(end);
		} else {
			memcpy(&len, stop + 1, sizeof(len));
			at = stop + 1 + sizeof(len);
			end = at + le64toh(len);
			assert_true(end < data + n && *end == '\n');
		}
		assert_null(json_object_get(entry, name));
		json_object_set_new(entry, name, json_stringn(at, (size_t)(end - at)));
		at = end + 1;
	}
	return entry;
}

static const char *in(json_t *entry, const char *name)
{
	const char *value = json_string_value(json_object_get(entry, name));

	assert_non_null(value);
	return value;
}

static void test_the_journal_gets_each_line_and_no_forged_field(void **state)
{
	static const char forged[] = "x\nPRIORITY=0\nSIVSHMEM_VM=b\n";
	struct audit_event event = { .event = "guest", .reason = SIVP_R_NO_SERVICE, .vm = "a",
				     .reported_by = "a", .text = forged, .session = 9 };
	char socket_path[sizeof(path) + 4];
	json_t *lines, *entry;
	char *line;
	int fd;

	snprintf(socket_path, sizeof(socket_path), "%s.jnl", path);
	fd = journald(socket_path);
	audit_set_journal(*state, audit_journal_open(socket_path));
	audit_write(*state, NULL, 0, &event);
	entry = journal_entry(fd);
	assert_string_equal(in(entry, "SYSLOG_IDENTIFIER"), AUDIT_JOURNAL_NAME);
	assert_string_equal(in(entry, "PRIORITY"), "5");
	assert_string_equal(in(entry, "SIVSHMEM_VM"), "a");
	assert_string_equal(in(entry, "SIVSHMEM_REPORTED_BY"), "a");
	assert_string_equal(in(entry, "SIVSHMEM_REASON"), "no-service");
	assert_string_equal(in(entry, "SIVSHMEM_SESSION"), "9");
	assert_string_equal(in(entry, "SIVSHMEM_TEXT"), forged);
	lines = read_lines();
	line = json_dumps(json_array_get(lines, 0), JSON_COMPACT | JSON_ENSURE_ASCII |
							     JSON_PRESERVE_ORDER);
	assert_string_equal(in(entry, "MESSAGE"), line);
	free(line);
	json_decref(lines);
	json_decref(entry);
	/* It is restarted: the same name, another socket. */
	close(fd);
	audit_write(*state, NULL, 0, &event);
	assert_int_equal(audit_counts(*state).journal_lost, 1);
	fd = journald(socket_path);
	audit_write(*state, NULL, 0, &event);
	json_decref(journal_entry(fd));
	/* It hangs: nobody waits for it, and the file is whole. */
	for (unsigned int i = 0; i < 2000; i++)
		audit_write(*state, NULL, 0, &event);
	assert_true(audit_counts(*state).journal_lost > 1);
	assert_int_equal(audit_counts(*state).written, 2003);
	assert_int_equal(audit_counts(*state).lost, 0);
	close(fd);
	unlink(socket_path);
	assert_null(audit_journal_open(socket_path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_line_says_who_what_and_why),
		TEST(test_hostile_text_stays_one_string),
		TEST(test_budget_drops_counts_and_recovers),
		TEST(test_file_is_appended_to_and_not_inherited),
		TEST(test_a_flood_is_counted_in_time_and_drowns_nobody),
		TEST(test_the_end_of_a_vm_writes_its_count),
		TEST(test_what_could_not_be_written_is_counted),
		TEST(test_the_journal_gets_each_line_and_no_forged_field),
	};
	int failed, fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
