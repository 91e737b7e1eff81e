// SPDX-License-Identifier: BSD-2-Clause
/* The file of what is revoked: it comes back as it was written, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hostd/revocations.h"
#include "remove_tree.h"

static char state_folder[64];
static char errors[4096];

static int setup(void **state)
{
	(void)state;
	strcpy(state_folder, "/tmp/siv-revocations-XXXXXX");
	assert_non_null(mkdtemp(state_folder));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	remove_tree(state_folder);
	return 0;
}

static const char *path_of(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", state_folder, name);
	return path;
}

static void write_file(const char *text, size_t len)
{
	FILE *file = fopen(path_of(REVOCATIONS_FILE), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	fclose(file);
}

/* What revocations_load() says; its words in errors[]. */
static int load(struct revocations *revoked)
{
	FILE *out = fmemopen(errors, sizeof(errors), "w");
	int err;

	memset(errors, 0, sizeof(errors));
	assert_non_null(out);
	*revoked = (struct revocations){ 0 };
	err = revocations_load(state_folder, revoked, out);
	fclose(out);
	return err;
}

static void fill(struct revocations *revoked)
{
	assert_int_equal(revocations_add(revoked, "adas", "cache", 1800000000), 0);
	assert_int_equal(revocations_add(revoked, "cockpit", "", 1800000001), 0);
	assert_int_equal(revocations_add(revoked, "a.b_c-d", "x.y_z-0", INT32_MAX), 0);
}

static void test_what_was_saved_is_loaded(void **state)
{
	struct revocations revoked = { 0 }, loaded;
	struct stat st;

	(void)state;
	assert_int_equal(load(&loaded), 0); /* there is no file */
	assert_int_equal(loaded.n, 0);
	fill(&revoked);
	assert_int_equal(revocations_save(state_folder, &revoked), 0);
	assert_int_equal(stat(path_of(REVOCATIONS_FILE), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(access(path_of(REVOCATIONS_FILE ".new"), F_OK), -1);
	if (load(&loaded))
		fail_msg("%s", errors);
	assert_int_equal(loaded.n, revoked.n);
	for (unsigned int i = 0; i < loaded.n; i++) {
		assert_string_equal(loaded.list[i].vm, revoked.list[i].vm);
		assert_string_equal(loaded.list[i].service, revoked.list[i].service);
		assert_int_equal(loaded.list[i].since, revoked.list[i].since);
	}
	revocations_free(&loaded);
	/* and nothing, over something */
	revocations_free(&revoked);
	assert_int_equal(revocations_save(state_folder, &revoked), 0);
	assert_int_equal(load(&loaded), 0);
	assert_int_equal(loaded.n, 0);
}

static void test_as_many_as_there_may_be(void **state)
{
	struct revocations revoked = { 0 }, loaded;
	char service[SIV_SERVICE_LEN], vm[SIV_VM_LEN];

	(void)state;
	for (unsigned int i = 0; i < REVOCATIONS_MAX; i++) {
		snprintf(vm, sizeof(vm), "%027u", i);
		snprintf(service, sizeof(service), "%063u", i);
		assert_int_equal(revocations_add(&revoked, vm, service, INT32_MAX), 0);
	}
	assert_int_equal(revocations_add(&revoked, "more", "", 0), -ENOSPC);
	assert_int_equal(revocations_save(state_folder, &revoked), 0);
	if (load(&loaded))
		fail_msg("%s", errors);
	assert_int_equal(loaded.n, REVOCATIONS_MAX);
	revocations_free(&loaded);
	revocations_free(&revoked);
}

/* Wherever it ends, it is refused, or (without the last line's end alone) all there. */
static void test_a_file_that_was_cut_off_is_refused(void **state)
{
	struct revocations revoked = { 0 }, loaded;
	char text[1024];
	size_t len;
	FILE *file;

	(void)state;
	fill(&revoked);
	assert_int_equal(revocations_save(state_folder, &revoked), 0);
	revocations_free(&revoked);
	file = fopen(path_of(REVOCATIONS_FILE), "r");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text), file);
	fclose(file);
	assert_true(len > 100 && len < sizeof(text));
	for (size_t n = 0; n < len - 1; n++) {
		write_file(text, n);
		if (!load(&loaded))
			fail_msg("taken for whole: the first %zu bytes of\n%s", n, text);
		assert_int_equal(loaded.n, 0);
		assert_null(loaded.list);
	}
	write_file(text, len - 1);
	assert_int_equal(load(&loaded), 0);
	assert_int_equal(loaded.n, 3);
	revocations_free(&loaded);
}

static void test_what_is_wrong_is_said_with_its_line(void **state)
{
	static const struct { const char *text, *error; } cases[] = {
		{ "revoked \"adas/cache\" {\n since = 1\n}\nentries = 2\n",
		  ":4: entries: 2, and there are 1" },
		{ "\n\nrevoked \"adas/\" { since = 1 }\nentries = 1\n",
		  ":3: revoked \"adas/\": neither \"VM\" nor \"VM/SERVICE\"" },
		{ "revoked \"/cache\" { since = 1 }\nentries = 1\n", ":1: revoked \"/cache\"" },
		{ "revoked \"\" { since = 1 }\nentries = 1\n", ":1: revoked \"\"" },
		{ "revoked \"a/b/c\" { since = 1 }\nentries = 1\n", ":1: revoked \"a/b/c\"" },
		{ "revoked \"good\" { since = 1 }\nrevoked \"a/b/c\" { since = 1 }\nentries = 2\n",
		  ":2: revoked \"a/b/c\"" },
		{ "revoked \"Adas\" { since = 1 }\nentries = 1\n", ":1: revoked \"Adas\"" },
		{ "revoked \"a23456789012345678901234567x\" { since = 1 }\nentries = 1\n",
		  ":1: revoked \"a23456789012345678901234567x\"" },
		{ "revoked \"a\" { since = 1 }\nrevoked \"a\" { since = 2 }\nentries = 2\n", ":2: " },
		{ "revoked \"a\" { until = 1 }\nentries = 1\n", ":1: unknown key \"until\"" },
		{ "entries = 0\nrevoked \"a\" {\n", ":2: this '{' has no '}'" },
		{ "revoked \"a\" { since = soon }\nentries = 1\n", ":1: " },
		{ "entries = 0\nallow = 1\n", ":2: unknown key \"allow\"" },
	};
	struct revocations loaded;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(cases[i].text, strlen(cases[i].text));
		if (!load(&loaded))
			fail_msg("taken: %s", cases[i].text);
		if (!strstr(errors, cases[i].error))
			fail_msg("%s\nsays: %s", cases[i].text, errors);
		assert_non_null(strstr(errors, "nothing is allowed"));
		assert_int_equal(loaded.n, 0);
	}
}

static void test_a_file_that_cannot_be_read_is_not_none(void **state)
{
	struct revocations loaded;

	(void)state;
	assert_int_equal(symlink("nowhere", path_of(REVOCATIONS_FILE)), 0);
	assert_int_equal(load(&loaded), -1);
	assert_int_equal(unlink(path_of(REVOCATIONS_FILE)), 0);
	assert_int_equal(mkdir(path_of(REVOCATIONS_FILE), 0700), 0);
	assert_int_equal(load(&loaded), -1);
}

static void test_a_save_that_fails_leaves_the_old_file(void **state)
{
	struct revocations revoked = { 0 }, loaded;

	(void)state;
	fill(&revoked);
	assert_int_equal(revocations_save(state_folder, &revoked), 0);
	assert_int_equal(revocations_add(&revoked, "more", "", 1), 0);
	/* what stands in the new one's way */
	assert_int_equal(mkdir(path_of(REVOCATIONS_FILE ".new"), 0700), 0);
	assert_true(revocations_save(state_folder, &revoked) < 0);
	assert_int_equal(load(&loaded), 0);
	assert_int_equal(loaded.n, 3);
	revocations_free(&loaded);
	/* or a leftover, which goes */
	assert_int_equal(rmdir(path_of(REVOCATIONS_FILE ".new")), 0);
	assert_int_equal(symlink("nowhere", path_of(REVOCATIONS_FILE ".new")), 0);
	assert_int_equal(revocations_save(state_folder, &revoked), 0);
	assert_int_equal(access(path_of("nowhere"), F_OK), -1);
	assert_int_equal(load(&loaded), 0);
	assert_int_equal(loaded.n, 4);
	revocations_free(&loaded);
	revocations_free(&revoked);
}

static void test_the_list_in_memory(void **state)
{
	struct revocations revoked = { 0 };

	(void)state;
	assert_false(revocations_cover(NULL, "adas", "cache"));
	assert_false(revocations_cover(&revoked, "adas", "cache"));
	fill(&revoked);
	assert_int_equal(revocations_add(&revoked, "adas", "cache", 1), -EEXIST);
	assert_int_equal(revocations_add(&revoked, "adas", "Cache", 1), -EINVAL);
	assert_int_equal(revocations_add(&revoked, "", "cache", 1), -EINVAL);
	assert_true(revocations_cover(&revoked, "adas", "cache"));
	assert_false(revocations_cover(&revoked, "adas", "cache2"));
	assert_false(revocations_cover(&revoked, "adas2", "cache"));
	assert_true(revocations_cover(&revoked, "cockpit", "whatever"));
	assert_int_equal(revocations_remove(&revoked, "adas", ""), -ENOENT);
	assert_int_equal(revocations_remove(&revoked, "adas", "cache"), 0);
	assert_false(revocations_cover(&revoked, "adas", "cache"));
	assert_true(revocations_cover(&revoked, "cockpit", "whatever"));
	assert_true(revocations_cover(&revoked, "a.b_c-d", "x.y_z-0"));
	revocations_free(&revoked);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_was_saved_is_loaded),
		TEST(test_as_many_as_there_may_be),
		TEST(test_a_file_that_was_cut_off_is_refused),
		TEST(test_what_is_wrong_is_said_with_its_line),
		TEST(test_a_file_that_cannot_be_read_is_not_none),
		TEST(test_a_save_that_fails_leaves_the_old_file),
		TEST(test_the_list_in_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
