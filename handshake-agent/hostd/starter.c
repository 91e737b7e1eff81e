// SPDX-License-Identifier: BSD-2-Clause
/* One byte asks for a switch, an int says what became of it. */
#include "starter.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "switch/switch_client.h"

static void serve(int fd, const char *binary, const char *run_dir, const char *log_file)
{
	char byte;
	int err;

	while (recv(fd, &byte, sizeof(byte), 0) == sizeof(byte)) {
		err = switch_start(binary, run_dir, log_file);
		if (send(fd, &err, sizeof(err), MSG_NOSIGNAL) != sizeof(err))
			break;
	}
}

int starter_open(const char *binary, const char *run_dir, const char *log_file)
{
	int pair[2], err;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	child = fork();
	if (child < 0) {
		err = -errno;
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (child == 0) {
		prctl(PR_SET_NAME, "siv-starter", 0, 0, 0);
		signal(SIGHUP, SIG_IGN); /* it is hostd that reads its configuration again */
		/* Whoever waits for hostd's descriptors to close shall not wait for us. */
		if (dup2(pair[1], STDERR_FILENO + 1) < 0 ||
		    close_range(STDERR_FILENO + 2, UINT_MAX, 0))
			_exit(EXIT_FAILURE);
		serve(STDERR_FILENO + 1, binary, run_dir, log_file);
		_exit(EXIT_SUCCESS);
	}
	close(pair[1]);
	return pair[0];
}

int starter_start(int starter)
{
	char byte = 0;
	int err;
	ssize_t n;

	if (send(starter, &byte, sizeof(byte), MSG_NOSIGNAL) < 0)
		return -errno;
	do {
		n = recv(starter, &err, sizeof(err), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == sizeof(err) ? err : -EPIPE;
}
