// SPDX-License-Identifier: BSD-2-Clause
/* hostd as a user of its own: what it still can, and what it cannot any more. */
#include "hostd_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child_called.h"
#include "remove_tree.h"

#define USER      "nobody" /* there is one everywhere */
#define UNIT_CAPS (1ull << CAP_CHOWN | 1ull << CAP_SETUID | 1ull << CAP_SETGID) /* the unit's */

/* The rest of the line @key in /proc/PID/status. */
static void assert_status(pid_t pid, const char *key, const char *expected)
{
	char path[64], line[256], want[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	snprintf(want, sizeof(want), "%s:\t%s\n", key, expected);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, want, strlen(key) + 1) == 0) {
			assert_string_equal(line, want);
			fclose(file);
			return;
		}
	}
	fail_msg("%s has no %s", path, key);
}

static void assert_is(pid_t pid, uid_t uid, gid_t gid, const char *groups)
{
	char ids[64];

	snprintf(ids, sizeof(ids), "%u\t%u\t%u\t%u", uid, uid, uid, uid);
	assert_status(pid, "Uid", ids);
	snprintf(ids, sizeof(ids), "%u\t%u\t%u\t%u", gid, gid, gid, gid);
	assert_status(pid, "Gid", ids);
	if (groups)
		assert_status(pid, "Groups", groups);
}

static uid_t owner(const struct daemon_fixture *d, const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", d->folder, name);
	assert_int_equal(lstat(path, &st), 0);
	return st.st_uid;
}

/* What that user gets of open(). */
static int open_as(const struct daemon_fixture *d, const struct passwd *pw, const char *name,
		   int flags)
{
	char path[128];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/%s", d->folder, name);
	pid = fork();
	if (pid == 0) {
		if (setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
		    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid))
			_exit(255);
		_exit(open(path, flags, 0600) < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* It ran as root until now; what is open goes on. */
static struct fx_channel change_user(struct daemon_fixture *d)
{
	struct fx_channel channel = hostd_bring_up(d);

	hostd_kill(d, SIGTERM, 0);
	assert_int_equal(chmod(d->folder, 0755), 0);
	d->user = USER;
	d->caps = UNIT_CAPS;
	hostd_write_config(d);
	hostd_start(d);
	return channel;
}

static void take_over(struct daemon_fixture *d, const struct fx_channel *channel)
{
	hostd_report_channel(d, channel);
	hostd_barrier(d);
	assert_int_equal(hostd_count_channels(d), 1);
}

static void test_it_becomes_its_user_and_takes_over_what_root_kept(void **state)
{
	struct daemon_fixture *d = *state;
	const struct passwd *pw = getpwnam(USER);
	struct fx_channel channel;

	if (geteuid() != 0)
		skip(); /* it stays who it is */
	assert_non_null(pw);
	channel = change_user(d);
	assert_is(d->hostd, pw->pw_uid, pw->pw_gid, " ");
	assert_is(child_called(d->hostd, "siv-signer"), 0, 0, NULL);
	assert_is(child_called(d->hostd, "siv-starter"), 0, 0, NULL);
	assert_status(d->hostd, "CapPrm", "0000000000000000");
	assert_int_equal(owner(d, "state/hostd"), pw->pw_uid);
	assert_int_equal(owner(d, "state/hostd/journal"), pw->pw_uid);
	take_over(d, &channel);
	hostd_kill(d, SIGKILL, 0);
	hostd_start(d); /* it is its own by now */
	assert_is(d->hostd, pw->pw_uid, pw->pw_gid, " ");
	take_over(d, &channel);
}

static void test_it_can_neither_read_the_key_nor_replace_what_is_roots(void **state)
{
	struct daemon_fixture *d = *state;
	const struct passwd *pw = getpwnam(USER);

	if (geteuid() != 0)
		skip();
	change_user(d);
	assert_int_equal(open_as(d, pw, "state/ca.crt", O_RDONLY), 0);
	assert_int_equal(open_as(d, pw, "state/ca.pem", O_RDONLY), EACCES);
	assert_int_equal(open_as(d, pw, "state/ca-former.crt", O_WRONLY | O_CREAT), EACCES);
	assert_int_equal(open_as(d, pw, "state/audit.log", O_WRONLY), EACCES);
	assert_int_equal(open_as(d, pw, "run/other.sock", O_WRONLY | O_CREAT), EACCES);
	assert_int_equal(open_as(d, pw, "host.conf", O_WRONLY), EACCES);
}

static void test_it_reloads_revokes_and_gets_a_switch(void **state)
{
	struct daemon_fixture *d = *state;
	const struct passwd *pw = getpwnam(USER);
	json_t *reply;

	if (geteuid() != 0)
		skip();
	change_user(d);
	json_decref(hostd_ask(d, "reload"));
	reply = hostd_call(d, json_pack("{s:s, s:s, s:s}", "command", "revoke", "what", "service",
					"name", "b/srv"));
	assert_true(json_is_true(json_object_get(reply, "ok")));
	json_decref(reply);
	assert_int_equal(owner(d, "state/hostd/revocations"), pw->pw_uid);
	hostd_lose_switch(d);
	assert_is(hostd_switch_pid(d), 0, 0, NULL);
}

/* Root does not take what somebody else may have prepared. */
static void test_a_folder_of_somebody_else_is_refused(void **state)
{
	struct daemon_fixture *d = *state;
	char path[128];

	if (geteuid() != 0)
		skip();
	hostd_kill(d, SIGTERM, 0);
	assert_int_equal(chmod(d->folder, 0755), 0);
	d->user = USER;
	hostd_write_config(d);
	snprintf(path, sizeof(path), "%s/state/hostd", d->folder);
	assert_int_equal(chown(path, 12345, 12345), 0);
	hostd_expect_no_start(d);
	assert_int_equal(owner(d, "state/hostd/journal"), 0);
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chmod(path, 0777), 0);
	hostd_expect_no_start(d);
	assert_int_equal(owner(d, "state/hostd/journal"), 0);
	assert_int_equal(chmod(path, 0700), 0);
	hostd_start(d);
}

/* Without the right to become it nothing is left that it could not read the next time. */
static void test_no_file_is_roots_where_it_cannot_become_its_user(void **state)
{
	struct daemon_fixture *d = *state;
	char path[128];

	if (geteuid() != 0)
		skip();
	hostd_kill(d, SIGTERM, 0);
	snprintf(path, sizeof(path), "%s/state/hostd", d->folder);
	assert_int_equal(remove_tree(path), 0);
	assert_int_equal(chmod(d->folder, 0755), 0);
	d->user = USER;
	hostd_write_config(d);
	d->caps = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE;
	hostd_expect_no_start(d);
	strcat(path, "/journal");
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(errno, ENOENT);
	d->caps = UNIT_CAPS;
	hostd_start(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hostd_setup, hostd_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_it_becomes_its_user_and_takes_over_what_root_kept),
		TEST(test_it_can_neither_read_the_key_nor_replace_what_is_roots),
		TEST(test_it_reloads_revokes_and_gets_a_switch),
		TEST(test_a_folder_of_somebody_else_is_refused),
		TEST(test_no_file_is_roots_where_it_cannot_become_its_user),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
