// SPDX-License-Identifier: BSD-2-Clause
// Runs a command and sees to it that nothing which it started outlives it: orphans become this
// process's children (PR_SET_CHILD_SUBREAPER), are named, and are killed. Also a time limit.
//   usage: guard SECONDS COMMAND [ARGUMENT...]
// Exits as the command did; 124 after the time limit, 128 + signal when it was told to stop, 123 if
// the command succeeded and left something running.
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_LEFT_RUNNING = 123, EXIT_TIMEOUT = 124, EXIT_TROUBLE = 125, GRACE_S = 10 };

#define PF_EXITING 0x4 /* of the kernel's task flags, as /proc/PID/stat has them */

/* The parent of a process that is alive, else 0: the dying end and wait to be reaped by themselves. */
static pid_t parent_of(const char *pid)
{
	char path[64], line[512], state = 0, *after_name;
	FILE *file;
	unsigned int flags = 0;
	pid_t parent = 0;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file) && (after_name = strrchr(line, ')')))
		sscanf(after_name, ") %c %d %*d %*d %*d %*d %u", &state, &parent, &flags);
	fclose(file);
	return state == 'Z' || flags & PF_EXITING ? 0 : parent;
}

static void print_command(const char *pid)
{
	char path[64], line[300];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);
	for (ssize_t i = 0; i < len; i++)
		if (!line[i])
			line[i] = ' ';
	fprintf(stderr, "guard: left running: %s %.*s\n", pid, (int)(len > 0 ? len : 0), line);
	if (fd >= 0)
		close(fd);
}

/* Kills our children; theirs become ours when they are reaped. Returns how many there were. */
static int kill_children(bool name_them)
{
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	int killed = 0;

	if (!proc)
		err(EXIT_TROUBLE, "guard: /proc");
	while ((entry = readdir(proc))) {
		if (atoi(entry->d_name) <= 0 || parent_of(entry->d_name) != getpid())
			continue;
		if (name_them)
			print_command(entry->d_name);
		kill(atoi(entry->d_name), SIGKILL);
		killed++;
	}
	closedir(proc);
	return killed;
}

/* Leaves no descendant; true if there were any. */
static bool kill_all(bool name_them)
{
	bool any = false;

	while (waitpid(-1, NULL, WNOHANG) >= 0) {
		if (kill_children(name_them))
			any = true;
		/* each death may bring new children, so look again after each */
		waitpid(-1, NULL, 0);
	}
	return any;
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Waits for the command to end (true), a signal to stop us, or the deadline. */
static bool await(pid_t command, const sigset_t *mask, const struct timespec *deadline, int *status,
		  int *stopped_by)
{
	for (;;) {
		struct timespec now, left;
		pid_t pid;
		int got;

		while ((pid = waitpid(-1, status, WNOHANG)) > 0)
			if (pid == command)
				return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		left.tv_sec = deadline->tv_sec - now.tv_sec;
		left.tv_nsec = 0;
		*stopped_by = 0;
		if (left.tv_sec <= 0)
			return false;
		got = sigtimedwait(mask, NULL, &left);
		if (got > 0 && got != SIGCHLD) {
			*stopped_by = got;
			return false;
		}
	}
}

int main(int argc, char **argv)
{
	int status, stopped_by, code;
	struct timespec deadline;
	sigset_t mask, old;
	pid_t command;

	if (argc < 3 || atoi(argv[1]) <= 0)
		errx(EXIT_TROUBLE, "usage: guard SECONDS COMMAND [ARGUMENT...]");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, &old);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += atoi(argv[1]);

	command = fork();
	if (command < 0)
		err(EXIT_TROUBLE, "guard: fork");
	if (!command) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		execvp(argv[2], argv + 2);
		err(EXIT_TROUBLE, "guard: %s", argv[2]);
	}

	if (await(command, &mask, &deadline, &status, &stopped_by)) {
		code = exit_code(status);
		return kill_all(true) && !code ? EXIT_LEFT_RUNNING : code;
	}
	code = stopped_by ? 128 + stopped_by : EXIT_TIMEOUT;
	fprintf(stderr, "guard: %s: %s\n", argv[2],
		stopped_by ? "told to stop" : "time limit reached");
	/* the command may tidy up and write its logs, but not for ever */
	kill(command, SIGTERM);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += GRACE_S;
	await(command, &mask, &deadline, &status, &stopped_by);
	kill_all(false);
	return code;
}
