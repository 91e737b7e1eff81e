// SPDX-License-Identifier: BSD-2-Clause
/* Processes that hostd forks at its start. */
#include "child.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

int child_fork(const char *name, void (*serve)(int fd, void *arg), void *arg)
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
		prctl(PR_SET_NAME, name, 0, 0, 0);
		signal(SIGHUP, SIG_IGN); /* it is hostd that reads its configuration again */
		/* Whoever waits for hostd's descriptors to close shall not wait for us. */
		if (dup2(pair[1], STDERR_FILENO + 1) < 0 ||
		    close_range(STDERR_FILENO + 2, UINT_MAX, 0))
			_exit(EXIT_FAILURE);
		serve(STDERR_FILENO + 1, arg);
		_exit(EXIT_SUCCESS);
	}
	close(pair[1]);
	return pair[0];
}
