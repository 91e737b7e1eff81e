// SPDX-License-Identifier: BSD-2-Clause
/* sivshmem-switch as a process: started, locked, stopped, killed; through the client library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "remove_tree.h"
#include "switch_client.h"

enum { EXIT_TIMEOUT_MS = 20000 /* far beyond anything but a hang */ };

struct daemon_fixture {
	char binary[512]; /* build/bin/sivshmem-switch, beside build/unit/ */
	char dir[64];
	char run_dir[80];
	char log[80];
	struct swp_hello_reply hello; /* of the running one; pid 0: none */
	int pidfd;
};

/* Starts one and connects. */
static int start(struct daemon_fixture *f)
{
	int fd;

	assert_int_equal(switch_start(f->binary, f->run_dir, f->log), 0);
	fd = switch_connect(f->run_dir, &f->hello);
	assert_true(fd >= 0);
	f->pidfd = pidfd_open(f->hello.pid, 0);
	assert_true(f->pidfd >= 0);
	return fd;
}

static void stop(struct daemon_fixture *f, int signal)
{
	struct pollfd pfd = { .fd = f->pidfd, .events = POLLIN };

	assert_int_equal(pidfd_send_signal(f->pidfd, signal, NULL, 0), 0);
	assert_int_equal(poll(&pfd, 1, EXIT_TIMEOUT_MS), 1);
	close(f->pidfd);
	f->hello.pid = 0;
}

static int setup(void **state)
{
	struct daemon_fixture *f = calloc(1, sizeof(*f));
	char self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_non_null(f);
	assert_true(n > 0);
	self[n] = '\0';
	snprintf(f->binary, sizeof(f->binary), "%s/../bin/sivshmem-switch", dirname(self));
	strcpy(f->dir, "/tmp/siv-switch-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->run_dir, sizeof(f->run_dir), "%s/run", f->dir);
	snprintf(f->log, sizeof(f->log), "%s/log", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct daemon_fixture *f = *state;

	if (f->hello.pid)
		stop(f, SIGKILL);
	assert_int_equal(remove_tree(f->dir), 0);
	free(f);
	return 0;
}

static bool exists(const struct daemon_fixture *f, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->run_dir, name);
	return access(path, F_OK) == 0;
}

static bool log_has(const struct daemon_fixture *f, const char *text)
{
	char buf[8192];
	int fd = open(f->log, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	close(fd);
	assert_true(n >= 0);
	buf[n] = '\0';
	return strstr(buf, text) != NULL;
}

static int add(int fd, uint64_t size)
{
	union swp_msg req = { 0 }, reply;
	struct swp_link_add *link = &req.link_add;

	strcpy(link->link, "l");
	link->size = size;
	link->vectors = 4;
	strcpy(link->end[0].vm, "a");
	strcpy(link->end[0].socket, "a.sock");
	strcpy(link->end[1].vm, "b");
	strcpy(link->end[1].socket, "b.sock");
	link->end[0].uid = link->end[1].uid = SWP_UID_SWITCH;
	return switch_call(fd, &req, SWP_LINK_ADD, &reply, NULL, NULL, NULL);
}

static void a_switch_that_said_ready_serves(void **state)
{
	struct daemon_fixture *f = *state;
	union swp_msg req = { 0 }, reply;
	int fd = start(f), memfd;

	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(add(fd, SWP_SIZE_MIN), 0);
	assert_int_equal(add(fd, SWP_SIZE_MIN), 0);
	assert_int_equal(add(fd, SWP_SIZE_MIN * 2), -EEXIST);
	strcpy(req.link_name.link, "l");
	assert_int_equal(switch_call(fd, &req, SWP_MEM, &reply, &memfd, NULL, NULL), 0);
	assert_int_equal(reply.mem_reply.size, SWP_SIZE_MIN);
	close(memfd);
	assert_int_equal(switch_connect(f->run_dir, NULL), -EBUSY);
	close(fd);
	fd = switch_connect(f->run_dir, NULL);
	assert_true(fd >= 0);
	close(fd);
}

static void it_is_nobodys_child_and_in_a_session_of_its_own(void **state)
{
	struct daemon_fixture *f = *state;
	sigset_t all, old, mask;
	char path[64], line[256];
	unsigned long long blocked = ~0ULL;
	FILE *status;

	/* as hostd does: its signals are blocked for a signalfd */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	close(start(f));
	sigprocmask(SIG_SETMASK, NULL, &mask);
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_true(sigismember(&mask, SIGUSR1));

	assert_int_not_equal(getsid(f->hello.pid), getsid(0));
	assert_int_equal(waitpid(f->hello.pid, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	snprintf(path, sizeof(path), "/proc/%d/status", f->hello.pid);
	status = fopen(path, "r");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		sscanf(line, "SigBlk: %llx", &blocked);
	fclose(status);
	/* those that it reads from its own signalfd, and no others */
	assert_int_equal(blocked, 1ULL << (SIGINT - 1) | 1ULL << (SIGTERM - 1) |
			 1ULL << (SIGHUP - 1));
}

static void a_second_one_refuses_the_same_folder(void **state)
{
	struct daemon_fixture *f = *state;
	int fd = start(f);
	char expected[64];

	assert_int_equal(add(fd, SWP_SIZE_MIN), 0);
	assert_int_equal(switch_start(f->binary, f->run_dir, f->log), -EIO);
	snprintf(expected, sizeof(expected), "switch %d runs in this folder", f->hello.pid);
	assert_true(log_has(f, expected));
	assert_int_equal(add(fd, SWP_SIZE_MIN), 0); /* it still serves */
	assert_true(exists(f, "a.sock"));
	close(fd);
}

static void it_goes_on_when_its_client_and_its_terminal_are_gone(void **state)
{
	struct daemon_fixture *f = *state;
	struct swp_hello_reply hello;
	int fd = start(f);

	assert_int_equal(add(fd, SWP_SIZE_MIN), 0);
	close(fd);
	assert_int_equal(pidfd_send_signal(f->pidfd, SIGHUP, NULL, 0), 0);
	fd = switch_connect(f->run_dir, &hello);
	assert_true(fd >= 0);
	assert_int_equal(hello.instance, f->hello.instance);
	assert_int_equal(add(fd, SWP_SIZE_MIN * 2), -EEXIST);
	close(fd);
}

static void sigterm_takes_the_sockets_away(void **state)
{
	struct daemon_fixture *f = *state;
	int fd = start(f);

	assert_int_equal(add(fd, SWP_SIZE_MIN), 0);
	assert_true(exists(f, "a.sock"));
	stop(f, SIGTERM);
	assert_false(exists(f, "a.sock"));
	assert_false(exists(f, "b.sock"));
	assert_false(exists(f, SWP_CONTROL_SOCKET));
	assert_int_equal(switch_connect(f->run_dir, NULL), -ENOENT);
	close(fd);
}

static void it_starts_over_what_a_killed_one_left(void **state)
{
	struct daemon_fixture *f = *state;
	int fd = start(f);
	uint64_t instance = f->hello.instance;

	assert_int_equal(add(fd, SWP_SIZE_MIN), 0);
	close(fd);
	stop(f, SIGKILL);
	assert_true(exists(f, "a.sock"));
	assert_int_equal(switch_connect(f->run_dir, NULL), -ECONNREFUSED);

	fd = start(f);
	assert_int_not_equal(f->hello.instance, instance);
	assert_int_equal(add(fd, SWP_SIZE_MIN * 2), 0); /* it knows nothing of the old link */
	close(fd);
}

static void a_folder_that_others_can_write_is_refused(void **state)
{
	struct daemon_fixture *f = *state;

	assert_int_equal(mkdir(f->run_dir, 0700), 0);
	assert_int_equal(chmod(f->run_dir, 01777), 0);
	assert_int_equal(switch_start(f->binary, f->run_dir, f->log), -EIO);
	assert_true(log_has(f, "writable to nobody else"));
}

static void what_cannot_be_started_is_an_error(void **state)
{
	struct daemon_fixture *f = *state;

	assert_int_equal(switch_start("/nonexistent", f->run_dir, f->log), -ENOENT);
	assert_int_equal(switch_start(f->binary, f->run_dir, "/nonexistent/log"), -EIO);
	assert_int_equal(switch_start("/bin/false", f->run_dir, f->log), -EIO);
	assert_int_equal(switch_connect(f->run_dir, NULL), -ENOENT);
}

#define DAEMON_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(a_switch_that_said_ready_serves),
		DAEMON_TEST(it_is_nobodys_child_and_in_a_session_of_its_own),
		DAEMON_TEST(a_second_one_refuses_the_same_folder),
		DAEMON_TEST(it_goes_on_when_its_client_and_its_terminal_are_gone),
		DAEMON_TEST(sigterm_takes_the_sockets_away),
		DAEMON_TEST(it_starts_over_what_a_killed_one_left),
		DAEMON_TEST(a_folder_that_others_can_write_is_refused),
		DAEMON_TEST(what_cannot_be_started_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
