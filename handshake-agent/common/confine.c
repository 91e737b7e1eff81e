// SPDX-License-Identifier: BSD-2-Clause
/* Least privilege: memory, capabilities, and system calls by libseccomp. */
#include "confine.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

/*
 * The C library, the event loop, streams, UNIX sockets and the log; files, which are opened again
 * when a configuration is read anew. None of these reaches further than the user's rights do.
 */
static const char *const common_calls[] = {
	/* memory; mmap and mprotect are below */
	"brk", "madvise", "mremap", "munmap", "mlock", "munlock",
	/* time, random numbers, signals, and the end */
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
	"getrandom", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "sigaltstack",
	"restart_syscall", "exit", "exit_group", "futex", "sched_yield", "rseq",
	"set_robust_list", "membarrier",
	/* who we are */
	"getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getgroups",
	"getresuid", "getresgid", "uname", "sysinfo", "getrusage", "umask", "getcwd",
	/* the loop */
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
	"timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4", "eventfd2", "pipe2",
	/* descriptors */
	"read", "readv", "write", "writev", "pread64", "pwrite64", "lseek", "_llseek", "close",
	"dup", "dup2", "dup3", "fcntl", "fcntl64", "flock", "ftruncate", "fsync", "fdatasync",
	"fallocate",
	/* files */
	"open", "openat", "stat", "fstat", "lstat", "newfstatat", "statx", "fstatfs", "statfs",
	"access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents64", "mkdir",
	"mkdirat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat",
	"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat",
	"fadvise64",
	/* sockets; socket and socketpair are below */
	"bind", "listen", "connect", "accept", "accept4", "shutdown", "getsockname", "getpeername",
	"getsockopt", "setsockopt", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg",
	"recvmmsg",
	NULL
};

/* Nothing here makes them; whoever does has taken the process over. */
static const char *const fatal_calls[] = {
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
	"init_module", "finit_module", "kexec_load", "kexec_file_load", "bpf", "userfaultfd",
	"mount", "umount2", "pivot_root", "setns", "unshare", "keyctl", "add_key", "request_key",
	NULL
};

bool confine_mode_parse(const char *name, enum confine_mode *mode)
{
	static const char *const names[] = {
		[CONFINE_OFF] = "off", [CONFINE_LOG] = "log", [CONFINE_ENFORCE] = "enforce",
	};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			*mode = (enum confine_mode)i;
			return true;
		}
	}
	return false;
}

void confine_memory(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		log_warning("core dumps could not be switched off: %s", strerror(errno));
}

int confine_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!(keep & 1ull << cap) && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EPERM)
			return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return -errno;
	if (syscall(SYS_capget, &header, data))
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data))
		return -errno;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

/* Rules */

static int allow(scmp_filter_ctx filter, const char *const *names, uint32_t action)
{
	int err = 0;

	for (; *names && !err; names++) {
		int call = seccomp_syscall_resolve_name(*names);

		/* libseccomp, or this architecture, may not have it. */
		if (call == __NR_SCMP_ERROR)
			continue;
		err = seccomp_rule_add(filter, action, call, 0);
		if (err == -EACCES) /* the default already: CONFINE_LOG */
			err = 0;
	}
	return err;
}

/* Calls that depend on their arguments. */
static int allow_some(scmp_filter_ctx filter, const int *families)
{
	const uint64_t executable = PROT_EXEC, both = PROT_EXEC | PROT_WRITE;
	const uint64_t self = (uint64_t)getpid();
	int err;

	/* No memory that is written and then run: libraries are mapped, never made. */
	err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			       SCMP_A2(SCMP_CMP_MASKED_EQ, executable, 0));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, both, executable));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, executable, 0));
	/* What stdio asks of what may be a terminal. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				       SCMP_A1(SCMP_CMP_EQ, TCGETS));
	/* Reads limits, of itself; abort() raises its signal so. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
				       SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				       SCMP_A0(SCMP_CMP_EQ, self));
	for (; !err && *families; families++) {
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				       SCMP_A0(SCMP_CMP_EQ, (uint64_t)*families));
		if (!err)
			err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
					       SCMP_A0(SCMP_CMP_EQ, (uint64_t)*families));
	}
	return err;
}

int confine_calls(enum confine_mode mode, const struct confine_calls *calls)
{
	scmp_filter_ctx filter;
	int err;

	if (mode == CONFINE_OFF) {
		log_warning("system calls are not confined");
		return 0;
	}
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0 && errno == EINVAL) {
		log_warning("this kernel has no seccomp: system calls are not confined");
		return 0;
	}
	filter = seccomp_init(mode == CONFINE_LOG ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return -ENOMEM;
	err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	if (!err)
		err = allow(filter, common_calls, SCMP_ACT_ALLOW);
	if (!err)
		err = allow(filter, calls->names, SCMP_ACT_ALLOW);
	if (!err)
		err = allow_some(filter, calls->families);
	if (!err && mode == CONFINE_ENFORCE)
		err = allow(filter, fatal_calls, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

int confine(enum confine_mode mode, uint64_t keep, const struct confine_calls *calls)
{
	int err = confine_capabilities(keep);

	if (err)
		log_warning("capabilities could not be dropped: %s", strerror(-err));
	err = confine_calls(mode, calls);
	if (err)
		log_error("--sandbox: system calls could not be confined: %s", strerror(-err));
	return err;
}
