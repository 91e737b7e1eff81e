// SPDX-License-Identifier: BSD-2-Clause
/*
 * Tries each way in which one process reaches into another: whatever a debugger could do to one that
 * holds a channel. Prints "WAY: RESULT" for each: "ok", the first bytes that it got, or an errno.
 *
 *   siv-spy PID FD NAME=ADDRESS...     what `siv-check run URL map-held` prints
 *
 * FD is a socket of the process, each ADDRESS one in it that has some text.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sivshmem.h>

#define WORD sizeof(long)

static void say(const char *way, const char *name, int ok)
{
	printf("%s%s%s: %s\n", way, name[0] ? " " : "", name, ok ? "ok" : strerrorname_np(errno));
}

/* What was read, if it was. */
static void say_text(const char *way, const char *name, int ok, const char text[WORD])
{
	if (ok)
		printf("%s %s: \"%.*s\"\n", way, name, (int)WORD, text);
	else
		say(way, name, 0);
}

/* The process' own socket, as a descriptor of this one: then it is as good as the owner. */
static void try_descriptor(pid_t pid, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0), got;
	uint32_t size = 0;
	socklen_t len = sizeof(size);
	void *window;

	got = pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	say("pidfd_getfd", "", got >= 0);
	if (got < 0)
		return;
	getsockopt(got, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &size, &len);
	window = mmap(NULL, 2ul * size, PROT_READ, MAP_SHARED, got, SIV_MMAP_TX);
	say("mmap of it", "", window != MAP_FAILED);
}

static void try_proc(pid_t pid, int fd)
{
	char path[64], target[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	say("open maps", "", open(path, O_RDONLY | O_CLOEXEC) >= 0);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	say("readlink fd", "", readlink(path, target, sizeof(target)) > 0);
	say("open fd", "", open(path, O_RDWR | O_CLOEXEC) >= 0);
}

/* Stops it for PEEK and POKE. False: not ours to trace. */
static int attach(pid_t pid)
{
	int ok = !ptrace(PTRACE_SEIZE, pid, 0, 0);

	say("ptrace", "", ok);
	if (!ok)
		return 0;
	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) || waitpid(pid, NULL, __WALL) != pid) {
		perror("ptrace");
		exit(2);
	}
	return 1;
}

static void try_traced(pid_t pid, const char *name, void *at)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, at, 0);
	say_text("peek", name, !errno, (const char *)&word);
	memcpy(&word, "intruder", WORD);
	say("poke", name, !ptrace(PTRACE_POKEDATA, pid, at, word));
}

static void try_memory(pid_t pid, int mem, const char *name, void *at)
{
	char text[WORD];
	struct iovec here = { text, WORD }, there = { at, WORD };

	say_text("vm_readv", name, process_vm_readv(pid, &here, 1, &there, 1, 0) == WORD, text);
	memcpy(text, "intruder", WORD);
	say("vm_writev", name, process_vm_writev(pid, &here, 1, &there, 1, 0) == WORD);
	if (mem < 0)
		return;
	say_text("read mem", name, pread(mem, text, WORD, (off_t)(uintptr_t)at) == WORD, text);
	memcpy(text, "intruder", WORD);
	say("write mem", name, pwrite(mem, text, WORD, (off_t)(uintptr_t)at) == WORD);
}

int main(int argc, char **argv)
{
	pid_t pid = argc > 3 ? atoi(argv[1]) : 0;
	char path[64];
	int mem, traced;

	if (!pid) {
		fprintf(stderr, "usage: siv-spy PID FD NAME=ADDRESS...\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	try_proc(pid, atoi(argv[2]));
	try_descriptor(pid, atoi(argv[2]));
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	say("open mem", "", mem >= 0);
	traced = attach(pid);
	for (int i = 3; i < argc; i++) {
		char *name = argv[i], *equals = strchr(name, '=');
		void *at = equals ? (void *)strtoul(equals + 1, NULL, 16) : NULL;

		if (!at)
			return 2;
		*equals = '\0';
		try_memory(pid, mem, name, at);
		if (traced)
			try_traced(pid, name, at);
	}
	return 0;
}
