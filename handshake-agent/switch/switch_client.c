// SPDX-License-Identifier: BSD-2-Clause
/* The client's side of switch_proto.h. */
#include "switch_client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/fd_pass.h"

/* The descriptor that a switch is started with for --ready-fd. */
enum { READY_FD = 3 };

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* 0, -ETIMEDOUT or -errno */
static int wait_readable(int fd, int64_t deadline_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	for (;;) {
		int64_t left = deadline_ms - now_ms();
		int n = poll(&pfd, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* In what becomes the switch. Only async-signal-safe calls: the caller may have threads. */
static void start_exec(const char *binary, const char *run_dir, const char *log_file, int ready)
{
	int log = open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0640);
	int null = open("/dev/null", O_RDONLY);

	if (log < 0 || null < 0)
		return;
	/* above the numbers that are about to be replaced */
	log = fcntl(log, F_DUPFD, READY_FD + 1);
	null = fcntl(null, F_DUPFD, READY_FD + 1);
	ready = fcntl(ready, F_DUPFD, READY_FD + 1);
	if (dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
	    dup2(log, STDERR_FILENO) < 0 || dup2(ready, READY_FD) < 0)
		return;
	close_range(READY_FD + 1, UINT_MAX, 0);
	execl(binary, binary, "--run-dir", run_dir, "--ready-fd", "3", NULL);
}

int switch_start(const char *binary, const char *run_dir, const char *log_file)
{
	int ready[2], status, err;
	pid_t child;
	char byte;
	ssize_t n;

	static_assert(READY_FD == 3, "the argument of --ready-fd");
	if (access(binary, X_OK))
		return -errno;
	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	child = fork();
	if (child < 0) {
		err = -errno;
		close(ready[1]);
		goto close_ready;
	}
	if (!child) {
		/* twice, so that it is init's child and nobody here has to reap it */
		if (setsid() >= 0 && fork() == 0) {
			start_exec(binary, run_dir, log_file, ready[1]);
			_exit(127);
		}
		_exit(0);
	}
	close(ready[1]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	err = wait_readable(ready[0], now_ms() + SWITCH_START_TIMEOUT_MS);
	if (err)
		goto close_ready;
	do {
		n = read(ready[0], &byte, sizeof(byte));
	} while (n < 0 && errno == EINTR);
	err = n == 1 ? 0 : -EIO; /* end of file: it ended */
close_ready:
	close(ready[0]);
	return err;
}

int switch_send(int fd, union swp_msg *req, enum swp_type type, uint32_t seq)
{
	static const uint16_t len[] = {
		[SWP_HELLO] = sizeof(struct swp_hello),
		[SWP_LINK_ADD] = sizeof(struct swp_link_add),
		[SWP_LINK_DEL] = sizeof(struct swp_link_name),
		[SWP_STATE] = sizeof(struct swp_state),
		[SWP_MEM] = sizeof(struct swp_link_name),
		[SWP_EPOCH_BUMP] = sizeof(struct swp_link_name),
	};

	if (type >= sizeof(len) / sizeof(len[0]) || !len[type])
		return -EINVAL;
	req->hdr = (struct swp_hdr){ .type = type, .len = len[type], .seq = seq };
	return send(fd, req, len[type], MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The length that a packet from a switch must have, or 0 if there is no such packet. */
static size_t expected_len(const struct swp_hdr *hdr)
{
	if (hdr->type & SWP_REPLY && hdr->error)
		return sizeof(struct swp_hdr);
	switch (hdr->type) {
	case SWP_HELLO | SWP_REPLY:
		return sizeof(struct swp_hello_reply);
	case SWP_LINK_ADD | SWP_REPLY:
	case SWP_LINK_DEL | SWP_REPLY:
	case SWP_EPOCH_BUMP | SWP_REPLY:
		return sizeof(struct swp_link_reply);
	case SWP_STATE | SWP_REPLY:
		return sizeof(struct swp_link_state);
	case SWP_MEM | SWP_REPLY:
		return sizeof(struct swp_mem_reply);
	case SWP_JOINED:
	case SWP_LINGERING:
	case SWP_GONE:
		return sizeof(struct swp_event);
	}
	return 0;
}

int switch_recv(int fd, union swp_msg *msg, int *memfd)
{
	ssize_t n;

	memset(msg, 0, sizeof(*msg));
	n = fd_recv(fd, msg, sizeof(*msg), memfd, MSG_DONTWAIT);
	if (n < 0)
		return (int)n;
	if (n == 0)
		return -ECONNRESET;
	if ((size_t)n < sizeof(msg->hdr) || msg->hdr.len != n ||
	    expected_len(&msg->hdr) != (size_t)n ||
	    (*memfd >= 0) != (msg->hdr.type == (SWP_MEM | SWP_REPLY) && !msg->hdr.error)) {
		if (*memfd >= 0)
			close(*memfd);
		*memfd = -1;
		return -EBADMSG;
	}
	return 0;
}

static bool is_event(const union swp_msg *msg)
{
	return !(msg->hdr.type & SWP_REPLY);
}

int switch_call(int fd, union swp_msg *req, enum swp_type type, union swp_msg *reply, int *memfd,
		switch_event_fn on_event, void *data)
{
	int64_t deadline = now_ms() + SWITCH_CALL_TIMEOUT_MS;
	uint32_t seq = (uint32_t)now_ms() | 1; /* any number but that of events */
	int got = -1;
	int err = switch_send(fd, req, type, seq);

	if (err)
		return err;
	for (;;) {
		err = wait_readable(fd, deadline);
		if (!err)
			err = switch_recv(fd, reply, &got);
		if (err == -EAGAIN)
			continue;
		if (err)
			return err;
		if (!is_event(reply))
			break;
		if (on_event)
			on_event(&reply->event, data);
	}
	if (memfd)
		*memfd = got;
	else if (got >= 0)
		close(got);
	if (reply->hdr.type != (type | SWP_REPLY) || reply->hdr.seq != seq) {
		if (memfd && got >= 0)
			close(got);
		return -EBADMSG;
	}
	return -(int)reply->hdr.error;
}

/*
 * HELLO and its reply. A switch that has a client answers EBUSY and closes without reading, so
 * sending may fail with EPIPE, and the answer is behind an ECONNRESET that is reported once.
 */
int switch_greet(int fd, struct swp_hello_reply *hello)
{
	union swp_msg msg = { .hello = { .version = SWP_VERSION } };
	int memfd;
	int err = switch_send(fd, &msg, SWP_HELLO, 1);

	if (err && err != -EPIPE)
		return err;
	err = wait_readable(fd, now_ms() + SWITCH_CALL_TIMEOUT_MS);
	if (err)
		return err;
	err = switch_recv(fd, &msg, &memfd);
	if (err == -ECONNRESET)
		err = switch_recv(fd, &msg, &memfd);
	if (err)
		return err;
	if (msg.hdr.type != (SWP_HELLO | SWP_REPLY))
		return -EBADMSG;
	if (msg.hdr.error)
		return -(int)msg.hdr.error;
	if (hello)
		*hello = msg.hello_reply;
	return 0;
}

int switch_open(const char *run_dir)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" SWP_CONTROL_SOCKET, run_dir);
	int fd, err;

	if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int switch_connect(const char *run_dir, struct swp_hello_reply *hello)
{
	int fd = switch_open(run_dir), err;

	err = fd < 0 ? fd : switch_greet(fd, hello);
	if (err && fd >= 0)
		close(fd);
	return err ?: fd;
}
