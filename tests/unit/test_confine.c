// SPDX-License-Identifier: BSD-2-Clause
/* What a daemon has given up is refused from then on; each case in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/confine.h"
#include "common/log.h"

#define X32_BIT       0x40000000
#define EXIT_CONFINED 250 /* confine_calls() failed */

static const int unix_only[] = { AF_UNIX, 0 };
static const char *const memfds[] = { "memfd_create", "no_such_call", NULL };
static const struct confine_calls calls = { .names = memfds, .families = unix_only };

/* errno of @call in a confined process, 0 where it succeeds; or minus the signal that ended it. */
static int outcome(enum confine_mode mode, long (*call)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (confine_calls(mode, &calls))
			_exit(EXIT_CONFINED);
		_exit(call() < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return -WTERMSIG(status);
	assert_int_not_equal(WEXITSTATUS(status), EXIT_CONFINED);
	return WEXITSTATUS(status);
}

struct call {
	const char *name;
	long (*call)(void);
};

static void all_end_with(enum confine_mode mode, const struct call *c, size_t n, int expected)
{
	for (size_t i = 0; i < n; i++) {
		int got = outcome(mode, c[i].call);

		if (got != expected)
			fail_msg("%s: %d, expected %d", c[i].name, got, expected);
	}
}

#define ALL_END_WITH(mode, calls, expected) \
	all_end_with(mode, calls, sizeof(calls) / sizeof((calls)[0]), expected)

/* What a daemon does all day */

static long open_a_file(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static long unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long unix_socketpair(void)
{
	int pair[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
}

static long map(int prot)
{
	return mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static long map_data(void)
{
	return map(PROT_READ | PROT_WRITE);
}

static long map_code(void)
{
	return map(PROT_READ | PROT_EXEC);
}

static long allowed_by_its_own_list(void)
{
	return syscall(SYS_memfd_create, "x", 0);
}

static long read_a_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit);
}

/* What it does not */

static long inet_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static long netlink_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long map_written_code(void)
{
	return map(PROT_READ | PROT_WRITE | PROT_EXEC);
}

static long make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long forked(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static long signal_parent(void)
{
	return kill(getppid(), 0);
}

static long signal_a_thread_of_the_parent(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static long set_uid(void)
{
	return syscall(SYS_setuid, geteuid());
}

static long dumpable_again(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long type_into_the_terminal(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static long raise_a_limit(void)
{
	struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_CORE, &none);
}

static long pidfd(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

/* What only an intruder does */

static long run_a_program(void)
{
	char *args[] = { "true", NULL };

	return execv("/bin/true", args);
}

static long run_a_descriptor(void)
{
	return syscall(SYS_execveat, -1, "", NULL, NULL, 0);
}

static long trace(void)
{
	return syscall(SYS_ptrace, 0, 0, 0, 0);
}

static long read_the_parent(void)
{
	return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static long take_a_descriptor(void)
{
	return syscall(SYS_pidfd_getfd, -1, 0, 0);
}

static long load_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0);
}

static long load_module(void)
{
	return syscall(SYS_finit_module, -1, "", 0);
}

static long new_namespace(void)
{
	return syscall(SYS_unshare, 0);
}

#ifdef __x86_64__
/* The same numbers mean other calls there: a filter by number alone could be gone around. */
static long another_abi(void)
{
	return syscall(X32_BIT | SYS_getpid);
}
#endif

#define CALL(f) { #f, f }

static const struct call listed[] = {
	CALL(open_a_file), CALL(unix_socket), CALL(unix_socketpair), CALL(map_data), CALL(map_code),
	CALL(allowed_by_its_own_list), CALL(read_a_limit),
};

static const struct call unlisted[] = {
	CALL(inet_socket), CALL(netlink_socket), CALL(map_written_code), CALL(make_code),
	CALL(forked), CALL(signal_parent), CALL(signal_a_thread_of_the_parent), CALL(set_uid),
	CALL(dumpable_again), CALL(type_into_the_terminal), CALL(raise_a_limit), CALL(pidfd),
};

static const struct call fatal[] = {
	CALL(run_a_program), CALL(run_a_descriptor), CALL(trace), CALL(read_the_parent),
	CALL(take_a_descriptor), CALL(load_bpf), CALL(load_module), CALL(new_namespace),
#ifdef __x86_64__
	CALL(another_abi),
#endif
};

static void test_listed_calls_work(void **state)
{
	(void)state;
	ALL_END_WITH(CONFINE_ENFORCE, listed, 0);
}

static void test_other_calls_are_refused(void **state)
{
	(void)state;
	ALL_END_WITH(CONFINE_ENFORCE, unlisted, EPERM);
	/* It is not for want of rights. */
	for (size_t i = 0; i < sizeof(unlisted) / sizeof(unlisted[0]); i++)
		assert_int_not_equal(outcome(CONFINE_OFF, unlisted[i].call), EPERM);
}

static void test_calls_of_intruders_are_fatal(void **state)
{
	(void)state;
	ALL_END_WITH(CONFINE_ENFORCE, fatal, -SIGSYS);
}

static void test_modes_without_refusals(void **state)
{
	(void)state;
	assert_int_equal(outcome(CONFINE_LOG, inet_socket), 0);
	assert_int_equal(outcome(CONFINE_LOG, run_a_program), 0);
	assert_int_equal(outcome(CONFINE_OFF, inet_socket), 0);
}

/* An assertion that fails ends it by SIGABRT and is not lost in the filter. */
static long aborted(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}

static void test_abort_still_works(void **state)
{
	(void)state;
	assert_int_equal(outcome(CONFINE_ENFORCE, aborted), -SIGABRT);
}

static void test_memory_is_not_dumped(void **state)
{
	struct rlimit limit;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		confine_memory();
		if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 || getrlimit(RLIMIT_CORE, &limit) ||
		    limit.rlim_cur || limit.rlim_max)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool only_chown_is_left(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (confine_capabilities(1ull << CAP_CHOWN) || syscall(SYS_capget, &header, data))
		return false;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (cap != CAP_CHOWN && prctl(PR_CAPBSET_READ, cap, 0, 0, 0))
			return false;
	return data[0].effective == 1u << CAP_CHOWN && data[0].permitted == 1u << CAP_CHOWN &&
	       !data[1].effective && !data[1].permitted && !data[0].inheritable &&
	       !data[1].inheritable && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

static void test_capabilities_are_dropped_for_good(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip(); /* has none to drop */
	pid = fork();
	if (pid == 0)
		_exit(only_chown_is_left() ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listed_calls_work),
		cmocka_unit_test(test_other_calls_are_refused),
		cmocka_unit_test(test_calls_of_intruders_are_fatal),
		cmocka_unit_test(test_modes_without_refusals),
		cmocka_unit_test(test_abort_still_works),
		cmocka_unit_test(test_memory_is_not_dumped),
		cmocka_unit_test(test_capabilities_are_dropped_for_good),
	};

	log_init("test_confine", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
