// SPDX-License-Identifier: BSD-2-Clause
/* Processes that hostd forks at its start. */
#include "child.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
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

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int child_send(int fd, int value, int descriptor)
{
	union control control = { 0 };
	struct iovec iov = { .iov_base = &value, .iov_len = sizeof(value) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (descriptor >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &descriptor, sizeof(descriptor));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL) == sizeof(value) ? 0 : -errno;
}

int child_recv(int fd, int *descriptor)
{
	union control control = { 0 };
	int value = 0;
	struct iovec iov = { .iov_base = &value, .iov_len = sizeof(value) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg;
	ssize_t n;

	*descriptor = -1;
	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS && cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(descriptor, CMSG_DATA(cmsg), sizeof(*descriptor));
	return n == sizeof(value) ? value : -EPIPE;
}
