// SPDX-License-Identifier: BSD-2-Clause
// Starts a VM's QEMU and is the host's end of its command channel: many clients share the one stream.
// It only forwards; flow control is between the clients and the guest, so its queues are bounded by
// their windows. It ends when QEMU does, and QEMU when it does.
#define _GNU_SOURCE
#include "frame.h"
#include "vmexec.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Free when fd is -1. */
struct remote {
	int fd;
	uint32_t session; /* 0 until its RUN was forwarded */
	bool finished; /* nothing follows the queue: then it is the client's turn to close */
	struct bytes queue; /* whole frames on their way to it: header and contents */
};

struct mux {
	int qemu;
	bool ready; /* the guest has booted */
	uint32_t last_session;
	struct frame_reader reader;
	struct bytes to_guest;
	struct remote remotes[FRAME_SESSIONS_MAX];
	struct frame frame;
};

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		errx(EXIT_TROUBLE, "vmexec: %s: too long for a socket: use a shorter folder", path);
	strcpy(address.sun_path, path);
	if (fd < 0 || bind(fd, (void *)&address, sizeof(address)) || listen(fd, 64))
		err(EXIT_TROUBLE, "vmexec: %s", path);
	return fd;
}

static void to_guest(struct mux *mux, enum frame_type type, uint32_t session, const void *data,
		     size_t len)
{
	frame_set(&mux->frame, type, session, 0, data, len);
	frame_write(&mux->to_guest, &mux->frame);
}

static void to_remote(struct remote *remote, const struct frame *frame)
{
	bytes_append(&remote->queue, frame, FRAME_HEADER_BYTES + frame->len);
}

static void remote_close(struct remote *remote)
{
	close(remote->fd);
	bytes_free(&remote->queue);
	*remote = (struct remote){ .fd = -1 };
}

/* Everything that runs is over; those that wait for a boot go on waiting. */
static void lose_sessions(struct mux *mux, const char *why)
{
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
		struct remote *remote = &mux->remotes[i];

		if (remote->fd < 0 || !remote->session || remote->finished)
			continue;
		frame_set(&mux->frame, FRAME_LOST, 0, 0, why, strlen(why));
		to_remote(remote, &mux->frame);
		remote->finished = true;
	}
}

/*
 * Writes whole frames, each one message, as far as the client takes them. The end is not a close: one
 * with the client's last acknowledgement still unread would reach it as ECONNRESET, before what it
 * has not yet read of ours.
 */
static void remote_write(struct remote *remote)
{
	while (remote->queue.len) {
		struct frame frame;
		size_t len;

		memcpy(&frame, remote->queue.at, FRAME_HEADER_BYTES);
		len = FRAME_HEADER_BYTES + frame.len;
		if (send(remote->fd, remote->queue.at, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			if (errno == EAGAIN)
				return;
			break;
		}
		bytes_take(&remote->queue, len);
	}
	if (remote->finished)
		shutdown(remote->fd, SHUT_WR);
}

static void remote_read(struct mux *mux, struct remote *remote)
{
	struct frame *frame = &mux->frame;
	int got = frame_receive(remote->fd, frame);

	if (got <= 0 || (remote->session != 0) == (frame->type == FRAME_RUN)) {
		if (remote->session && !remote->finished)
			to_guest(mux, FRAME_DROP, remote->session, NULL, 0);
		remote_close(remote);
		return;
	}
	if (frame->type == FRAME_RUN)
		remote->session = ++mux->last_session;
	frame->session = remote->session;
	if (!remote->finished)
		frame_write(&mux->to_guest, frame);
}

/* False when nobody is waiting. */
static bool remote_accept(struct mux *mux, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
		if (mux->remotes[i].fd < 0) {
			mux->remotes[i].fd = fd;
			return true;
		}
	}
	close(fd); /* its client reports it */
	return true;
}

static void guest_frame(struct mux *mux, struct frame *frame)
{
	if (frame->type == FRAME_READY && frame->len == FRAME_NONCE_BYTES) {
		lose_sessions(mux, "the VM rebooted");
		mux->ready = true;
		to_guest(mux, FRAME_WELCOME, 0, frame->data, frame->len);
		return;
	}
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
		struct remote *remote = &mux->remotes[i];

		if (remote->fd < 0 || !remote->session || remote->session != frame->session)
			continue;
		to_remote(remote, frame);
		remote->finished |= frame->type == FRAME_EXIT;
		return;
	}
}

/* False when QEMU has closed its end. */
static bool guest_read(struct mux *mux)
{
	uint8_t buffer[65536];
	const uint8_t *at = buffer;
	struct frame frame;
	ssize_t n = recv(mux->qemu, buffer, sizeof(buffer), MSG_DONTWAIT);
	size_t len = n;

	if (n < 0)
		return errno == EAGAIN;
	while (frame_read(&mux->reader, &at, &len, &frame))
		guest_frame(mux, &frame);
	return n > 0;
}

static bool guest_write(struct mux *mux)
{
	ssize_t n =
		send(mux->qemu, mux->to_guest.at, mux->to_guest.len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN;
	bytes_take(&mux->to_guest, n);
	return true;
}

enum { POLL_LISTENER, POLL_QEMU, POLL_REMOTES };

/* One round; false when QEMU is gone. */
static bool mux_once(struct mux *mux, int listener)
{
	struct pollfd fds[POLL_REMOTES + FRAME_SESSIONS_MAX];
	bool alive = true;

	fds[POLL_LISTENER] = (struct pollfd){ listener, POLLIN, 0 };
	fds[POLL_QEMU] = (struct pollfd){ mux->qemu, POLLIN, 0 };
	if (mux->to_guest.len)
		fds[POLL_QEMU].events |= POLLOUT;
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
		struct remote *remote = &mux->remotes[i];
		bool room = mux->to_guest.len < FRAME_WINDOW_BYTES;

		/* before the guest is there, requests wait in their sockets */
		fds[POLL_REMOTES + i] = (struct pollfd){ remote->fd, 0, 0 };
		if (mux->ready && room)
			fds[POLL_REMOTES + i].events |= POLLIN;
		if (remote->queue.len)
			fds[POLL_REMOTES + i].events |= POLLOUT;
	}
	if (poll(fds, POLL_REMOTES + FRAME_SESSIONS_MAX, -1) < 0)
		err(EXIT_TROUBLE, "vmexec: poll");

	if (fds[POLL_QEMU].revents & (POLLIN | POLLHUP | POLLERR))
		alive = guest_read(mux);
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
		struct remote *remote = &mux->remotes[i];
		short events = fds[POLL_REMOTES + i].revents;

		if (remote->fd < 0 || !events)
			continue;
		if (events & (POLLIN | POLLHUP | POLLERR))
			remote_read(mux, remote);
		if (remote->fd >= 0)
			remote_write(remote);
	}
	if (fds[POLL_LISTENER].revents)
		remote_accept(mux, listener);
	if (alive && mux->to_guest.len)
		alive = guest_write(mux);
	return alive;
}

/* Tells every client, those that never got to run anything too, and waits until they know. */
static void say_farewell(struct mux *mux, int listener)
{
	while (remote_accept(mux, listener))
		;
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++)
		if (mux->remotes[i].fd >= 0 && !mux->remotes[i].session)
			mux->remotes[i].session = UINT32_MAX;
	lose_sessions(mux, "the VM went away");
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
		struct remote *remote = &mux->remotes[i];

		while (remote->fd >= 0) {
			struct pollfd fd = { remote->fd, POLLOUT, 0 };

			poll(&fd, 1, -1);
			remote_write(remote);
			/* it learns the same from a reset, and must not keep us */
			if (!remote->queue.len || fd.revents & (POLLHUP | POLLERR))
				remote_close(remote);
		}
	}
}

/* Returns its pid; *stream is this end of what QEMU has as descriptor QEMU_FD. */
static pid_t start_qemu(char **argv, int *stream)
{
	pid_t self = getpid(), pid;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		err(EXIT_TROUBLE, "vmexec: socket pair");
	pid = fork();
	if (pid < 0)
		err(EXIT_TROUBLE, "vmexec: fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(EXIT_TROUBLE); /* too late for the signal */
		/*
		 * A test may stop it. In a group that is orphaned, as where the suites run in a
		 * session of their own, the end of any process would then hang up all of us.
		 */
		setpgid(0, 0);
		if (ends[1] == QEMU_FD)
			fcntl(QEMU_FD, F_SETFD, 0);
		else
			dup2(ends[1], QEMU_FD);
		execvp(argv[0], argv);
		err(EXIT_NOT_FOUND, "vmexec: %s", argv[0]);
	}
	close(ends[1]);
	*stream = ends[0];
	return pid;
}

int mux(const char *path, char **qemu_argv)
{
	static struct mux mux;
	int listener = listen_at(path), status;
	pid_t qemu;

	for (int i = 0; i < FRAME_SESSIONS_MAX; i++)
		mux.remotes[i].fd = -1;
	qemu = start_qemu(qemu_argv, &mux.qemu);
	printf("listening, QEMU is %d\n", qemu);
	fflush(stdout);
	while (mux_once(&mux, listener))
		;
	unlink(path);
	say_farewell(&mux, listener);
	waitpid(qemu, &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
