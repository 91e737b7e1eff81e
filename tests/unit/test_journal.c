// SPDX-License-Identifier: BSD-2-Clause
/* The journal's file: what was written is read, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/journal.h"
#include "common/log.h"
#include "remove_tree.h"

#define HEADER "sivshmem-journal 1\n"
#define MAX    64

static struct {
	char folder[32], path[64];
	struct journal *journal;
	struct journal_record got[MAX];
	unsigned int n;
	const char *refuse; /* what apply() says of the record of number @refuse_at */
	unsigned int refuse_at;
} t;

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	strcpy(t.folder, "/tmp/siv-journal-XXXXXX");
	assert_non_null(mkdtemp(t.folder));
	snprintf(t.path, sizeof(t.path), "%s/" JOURNAL_FILE, t.folder);
	log_init("journal", LOG_LEVEL_ERROR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	journal_close(t.journal);
	return remove_tree(t.folder);
}

static const char *apply(void *arg, const struct journal_record *record)
{
	(void)arg;
	assert_true(t.n < MAX);
	t.got[t.n++] = *record;
	return t.refuse && t.n == t.refuse_at ? t.refuse : NULL;
}

static bool load(void)
{
	journal_close(t.journal);
	t.n = 0;
	t.journal = journal_open(t.folder);
	assert_non_null(t.journal);
	return journal_load(t.journal, apply, NULL);
}

static void write_file(const char *text, size_t len)
{
	FILE *file = fopen(t.path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *path, char *text, size_t room)
{
	FILE *file = fopen(path, "r");
	size_t len;

	assert_non_null(file);
	len = fread(text, 1, room - 1, file);
	text[len] = '\0';
	fclose(file);
	return len;
}

/* One of each, with every field at an end of its range. */
static const struct journal_record samples[] = {
	{ .type = JOURNAL_VM, .name = "a", .vm = {
		.boot_id = { 0, 1, 0xff, 0x7f }, .module_nonce = UINT64_MAX,
		.positions = { 0, UINT32_MAX }, .n_positions = 2 } },
	{ .type = JOURNAL_VM, .name = "b" },
	{ .type = JOURNAL_LINK, .name = "a--b", .link = { UINT64_MAX, 1 << 20 } },
	{ .type = JOURNAL_LINK, .name = "local/a" },
	{ .type = JOURNAL_EPOCH, .name = "a--b", .epoch = UINT32_MAX },
	{ .type = JOURNAL_GRANT, .name = "a--b", .grant = {
		.generation = UINT64_MAX, .offset = UINT64_MAX - 1, .epoch = 1, .slot = UINT32_MAX,
		.c2s_order = 13, .s2c_order = 30, .type = 5, .client_end = 1, .sealed = 1,
		.position = { UINT32_MAX, 0 }, .service = { "cli", "s.r-v_1" } } },
	{ .type = JOURNAL_DONE, .name = "a--b", .grant = { .slot = 7, .generation = 1ull << 62 } },
	{ .type = JOURNAL_FREE, .name = "a--b", .grant = { .slot = 0, .generation = 0 } },
};

#define N_SAMPLES (sizeof(samples) / sizeof(samples[0]))

static void fill_name(char *name, size_t room)
{
	memset(name, 'x', room - 1);
	name[room - 1] = '\0';
}

static void assert_same(const struct journal_record *a, const struct journal_record *b)
{
	char one[JOURNAL_LINE_MAX], other[JOURNAL_LINE_MAX];
	size_t len = journal_format(a, one);

	assert_int_equal(a->type, b->type);
	assert_int_equal(journal_format(b, other), len);
	assert_memory_equal(one, other, len);
}

static void test_every_record_is_read_as_it_was_written(void **state)
{
	char line[JOURNAL_LINE_MAX];
	struct journal_record record;

	(void)state;
	for (unsigned int i = 0; i < N_SAMPLES; i++) {
		size_t len = journal_format(&samples[i], line);

		assert_int_equal(line[len - 1], '\n');
		assert_true(journal_parse(line, len - 1, &record));
		assert_memory_equal(&record, &samples[i], sizeof(record));
	}
}

static void test_the_longest_records_fit(void **state)
{
	struct journal_record record = samples[5], read;
	char line[JOURNAL_LINE_MAX];
	size_t len;

	(void)state;
	fill_name(record.name, sizeof(record.name));
	fill_name(record.grant.service[0], SIV_SERVICE_LEN);
	fill_name(record.grant.service[1], SIV_SERVICE_LEN);
	len = journal_format(&record, line);
	assert_true(journal_parse(line, len - 1, &read));
	assert_memory_equal(&read, &record, sizeof(read));
	record = samples[0];
	fill_name(record.name, sizeof(record.name));
	record.vm.n_positions = SIVP_LINKS_MAX;
	memset(record.vm.positions, 0xff, sizeof(record.vm.positions));
	len = journal_format(&record, line);
	assert_true(journal_parse(line, len - 1, &read));
	assert_memory_equal(&read, &record, sizeof(read));
}

/* Whatever byte of a line is another: it is another record, of the same form, or none. */
static void test_nothing_else_is_a_record(void **state)
{
	static const char *const bad[] = {
		"", " ", "link", "link a--b", "link a--b 1", "link a--b 1 2 ", "link a--b 1 2 3",
		" link a--b 1 2", "link  a--b 1 2", "link a--b 01 2", "link a--b +1 2",
		"link a--b -1 2", "link a--b 0x1 2", "link a--b 18446744073709551616 2",
		"epoch a--b 4294967296", "epoch a--b", "vm a 00 1 -",
		"vm a 00000000000000000000000000000000 1", "vm a 00000000000000000000000000000000 1 ",
		"vm a 00000000000000000000000000000000 1 1,", "vm a 0000000000000000000000000000000G 1 -",
		"vm a 000000000000000000000000000000AA 1 -", "done a--b 1", "free a--b 1 2 3",
		"grant a--b 1 2 3 4 13 13 1 2 0 5 6 cli srv", "grant a--b 1 2 3 4 13 13 1 0 0 5 6 cli",
		"grant a--b 1 2 3 4 13 13 1 0 0 5 6 CLI srv", "grants a--b 1 2 3 4 13 13 1 0 0 5 6 c s",
		"grant a--b 1 2 3 4 13 13 1 0 2 5 6 c s",
		"gran a--b 1 2 3 4 13 13 1 0 0 5 6 c s",
		"sivshmem-journal 1",
	};
	struct journal_record record;
	char line[JOURNAL_LINE_MAX], again[JOURNAL_LINE_MAX];

	(void)state;
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (journal_parse(bad[i], strlen(bad[i]), &record))
			fail_msg("\"%s\" was taken for a record", bad[i]);
	}
	for (unsigned int i = 0; i < N_SAMPLES; i++) {
		size_t len = journal_format(&samples[i], line);

		for (size_t at = 0; at < len - 1; at++) {
			char was = line[at];

			for (int byte = 0; byte < 256; byte++) {
				line[at] = (char)byte;
				if (!journal_parse(line, len - 1, &record))
					continue;
				assert_int_equal(journal_format(&record, again), len);
				assert_memory_equal(again, line, len);
			}
			line[at] = was;
		}
	}
}

/* Text of all samples as a file, and where each line of it ends. */
static size_t sample_text(char *text, size_t ends[N_SAMPLES + 1])
{
	size_t len = strlen(HEADER);

	strcpy(text, HEADER);
	ends[0] = len;
	for (unsigned int i = 0; i < N_SAMPLES; i++) {
		len += journal_format(&samples[i], text + len);
		ends[i + 1] = len;
	}
	return len;
}

static void test_a_file_torn_anywhere_has_the_whole_lines(void **state)
{
	char text[N_SAMPLES * JOURNAL_LINE_MAX], after[sizeof(text)];
	size_t ends[N_SAMPLES + 1], len = sample_text(text, ends);

	(void)state;
	for (size_t cut = 0; cut <= len; cut++) {
		unsigned int whole = 0;

		while (whole <= N_SAMPLES && ends[whole] <= cut)
			whole++;
		write_file(text, cut);
		assert_int_equal(load(), whole > 0);
		assert_int_equal(t.n, whole ? whole - 1 : 0);
		for (unsigned int i = 0; i < t.n; i++)
			assert_same(&t.got[i], &samples[i]);
		if (!whole)
			continue;
		/* and goes on where the last one ends */
		assert_true(journal_append(t.journal, &samples[6]));
		read_file(t.path, after, sizeof(after));
		assert_memory_equal(after, text, ends[whole - 1]);
		assert_true(load());
		assert_same(&t.got[t.n - 1], &samples[6]);
	}
}

/* What journal_load() logs. */
static void load_logged(char *log, size_t room)
{
	char path[64];
	int saved = dup(STDERR_FILENO), fd;

	snprintf(path, sizeof(path), "%s/log", t.folder);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	fflush(stderr);
	dup2(fd, STDERR_FILENO);
	assert_false(load());
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fd);
	read_file(path, log, room);
}

static void test_what_is_not_ours_is_named_and_kept(void **state)
{
	char text[N_SAMPLES * JOURNAL_LINE_MAX], kept[sizeof(text)], log[1024], where[128], bad[64];
	size_t ends[N_SAMPLES + 1], len = sample_text(text, ends);

	(void)state;
	snprintf(bad, sizeof(bad), "%s/" JOURNAL_BAD_FILE, t.folder);
	for (unsigned int line = 0; line <= N_SAMPLES; line++) {
		char was = text[line ? ends[line - 1] : 0];

		text[line ? ends[line - 1] : 0] = '#';
		write_file(text, len);
		load_logged(log, sizeof(log));
		snprintf(where, sizeof(where), "%s:%u: ", t.path, line + 1);
		if (!strstr(log, where))
			fail_msg("not in the log: \"%s\": %s", where, log);
		assert_int_equal(read_file(bad, kept, sizeof(kept)), len);
		assert_memory_equal(kept, text, len);
		text[line ? ends[line - 1] : 0] = was;
	}
	/* What it means may be wrong as well. */
	write_file(text, len);
	t.refuse = "a joke";
	t.refuse_at = 3;
	load_logged(log, sizeof(log));
	snprintf(where, sizeof(where), "%s:4: a joke", t.path);
	assert_non_null(strstr(log, where));
}

static void dump_two(void *arg, FILE *out)
{
	(void)arg;
	journal_put(out, &samples[0]);
	journal_put(out, &samples[4]);
}

static void test_without_one_there_are_no_grants_until_it_is_written(void **state)
{
	struct stat st;

	(void)state;
	assert_false(load());
	assert_false(journal_append(t.journal, &samples[5]));
	assert_true(journal_append(t.journal, &samples[1])); /* will be in it then */
	assert_true(journal_wants_rewrite(t.journal, 0));
	journal_rewrite(t.journal, 0, dump_two, NULL);
	assert_false(journal_wants_rewrite(t.journal, 0));
	assert_true(journal_append(t.journal, &samples[5]));
	assert_int_equal(stat(t.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(load());
	assert_int_equal(t.n, 3);
	assert_same(&t.got[0], &samples[0]);
	assert_same(&t.got[1], &samples[4]);
	assert_same(&t.got[2], &samples[5]);
}

static void test_a_rewrite_replaces_all_of_it(void **state)
{
	char text[N_SAMPLES * JOURNAL_LINE_MAX];
	size_t ends[N_SAMPLES + 1];

	(void)state;
	write_file(text, sample_text(text, ends));
	assert_true(load());
	journal_rewrite(t.journal, 0, dump_two, NULL);
	assert_true(load());
	assert_int_equal(t.n, 2);
}

static void limit_files(rlim_t size)
{
	struct rlimit limit = { size, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_grant_that_is_half_written_is_not_there(void **state)
{
	char text[N_SAMPLES * JOURNAL_LINE_MAX], after[sizeof(text)], line[JOURNAL_LINE_MAX];
	size_t ends[N_SAMPLES + 1], len = sample_text(text, ends);
	size_t more = journal_format(&samples[5], line);

	(void)state;
	write_file(text, len);
	assert_true(load());
	for (size_t room = 0; room < more; room++) {
		limit_files(len + room);
		assert_false(journal_append(t.journal, &samples[5]));
		limit_files(RLIM_INFINITY);
		assert_int_equal(read_file(t.path, after, sizeof(after)), len);
	}
	assert_true(journal_append(t.journal, &samples[5]));
	assert_true(load());
	assert_int_equal(t.n, N_SAMPLES + 1);
}

static void test_another_record_that_is_half_written_empties_it(void **state)
{
	char text[N_SAMPLES * JOURNAL_LINE_MAX], after[sizeof(text)];
	size_t ends[N_SAMPLES + 1], len = sample_text(text, ends);

	(void)state;
	write_file(text, len);
	assert_true(load());
	journal_rewrite(t.journal, 0, dump_two, NULL);
	limit_files(len / 4);
	while (!journal_wants_rewrite(t.journal, 0))
		assert_true(journal_append(t.journal, &samples[7]));
	assert_int_equal(read_file(t.path, after, sizeof(after)), 0);
	assert_false(journal_append(t.journal, &samples[5]));
	/* Not even that works, and it is tried again, but not all the time. */
	limit_files(0);
	journal_rewrite(t.journal, 1000, dump_two, NULL);
	assert_false(journal_wants_rewrite(t.journal, 1000));
	assert_true(journal_wants_rewrite(t.journal, 1000 + JOURNAL_RETRY_MS * 1000000ull));
	limit_files(RLIM_INFINITY);
	journal_rewrite(t.journal, 2000, dump_two, NULL);
	assert_true(journal_append(t.journal, &samples[5]));
	assert_true(load());
	assert_int_equal(t.n, 3);
}

static void test_a_rewrite_that_fails_leaves_what_there_was(void **state)
{
	char text[N_SAMPLES * JOURNAL_LINE_MAX], after[sizeof(text)], name[64];
	size_t ends[N_SAMPLES + 1], len = sample_text(text, ends);

	(void)state;
	write_file(text, len);
	assert_true(load());
	limit_files(1);
	journal_rewrite(t.journal, 0, dump_two, NULL);
	limit_files(RLIM_INFINITY);
	assert_int_equal(read_file(t.path, after, sizeof(after)), len);
	assert_true(journal_append(t.journal, &samples[5]));
	snprintf(name, sizeof(name), "%s/" JOURNAL_FILE ".new", t.folder);
	assert_int_equal(access(name, F_OK), -1);
	assert_true(load());
	assert_int_equal(t.n, N_SAMPLES + 1);
}

static void test_a_file_that_is_a_link_is_not_opened(void **state)
{
	(void)state;
	assert_int_equal(symlink("/dev/null", t.path), 0);
	assert_null(journal_open(t.folder));
	assert_int_equal(errno, ELOOP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_record_is_read_as_it_was_written),
		TEST(test_the_longest_records_fit),
		TEST(test_nothing_else_is_a_record),
		TEST(test_a_file_torn_anywhere_has_the_whole_lines),
		TEST(test_what_is_not_ours_is_named_and_kept),
		TEST(test_without_one_there_are_no_grants_until_it_is_written),
		TEST(test_a_rewrite_replaces_all_of_it),
		TEST(test_a_grant_that_is_half_written_is_not_there),
		TEST(test_another_record_that_is_half_written_empties_it),
		TEST(test_a_rewrite_that_fails_leaves_what_there_was),
		TEST(test_a_file_that_is_a_link_is_not_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
