// SPDX-License-Identifier: BSD-2-Clause
// The guest's end of the command channel: runs commands and carries their streams. It is the
// guest's process 1, so when the channel's host end goes away it exits and takes the guest with it.
#define _GNU_SOURCE
#include "frame.h"
#include "vmexec.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 1024 };

/* One command. Free when id is 0. */
struct session {
	uint32_t id;
	pid_t pid; /* and its process group; 0 once it was reaped */
	bool exited;
	uint8_t exit_code;
	int in; /* its standard input, or -1 */
	int out[3]; /* [1] and [2]: its output, or -1; a terminal is both in and out[1] */
	struct bytes in_queue;
	bool in_ends; /* close `in` when the queue is empty */
	size_t unacknowledged[3];
};

struct server {
	int port;
	uint8_t nonce[FRAME_NONCE_BYTES];
	bool welcome;
	struct frame_reader reader;
	struct bytes to_host;
	struct session sessions[FRAME_SESSIONS_MAX];
	struct frame frame; /* the one being sent; too large for the stack of nested calls */
};

static void send_frame(struct server *server, enum frame_type type, uint32_t session,
		       uint8_t stream, const void *data, size_t len)
{
	frame_set(&server->frame, type, session, stream, data, len);
	frame_write(&server->to_host, &server->frame);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void session_free(struct session *session)
{
	/* a terminal's one descriptor stands in both places */
	if (session->in == session->out[1])
		session->in = -1;
	close_fd(&session->in);
	close_fd(&session->out[1]);
	close_fd(&session->out[2]);
	bytes_free(&session->in_queue);
	memset(session, 0, sizeof(*session));
}

static struct session *session_find(struct server *server, uint32_t id)
{
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++)
		if (server->sessions[i].id == id)
			return &server->sessions[i];
	return NULL;
}

static void session_stop_input(struct server *server, struct session *session)
{
	uint32_t dropped = session->in_queue.len;

	/* the sender's window must not stay shut for bytes that nobody will read */
	if (dropped)
		send_frame(server, FRAME_ACK, session->id, 0, &dropped, sizeof(dropped));
	bytes_free(&session->in_queue);
	if (session->in != session->out[1])
		close_fd(&session->in);
	session->in = -1;
}

/* Writes what the command takes without blocking. */
static void session_feed(struct server *server, struct session *session)
{
	while (session->in >= 0 && session->in_queue.len) {
		ssize_t n = write(session->in, session->in_queue.at, session->in_queue.len);
		uint32_t written = n;

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			session_stop_input(server, session);
			return;
		}
		bytes_take(&session->in_queue, n);
		send_frame(server, FRAME_ACK, session->id, 0, &written, sizeof(written));
	}
	if (session->in >= 0 && session->in_ends)
		session_stop_input(server, session);
}

/* Sends what a stream of the command has, up to the window, until it has no more for now. */
static void stream_pump(struct server *server, struct session *session, int stream)
{
	uint8_t data[FRAME_DATA_MAX_BYTES];

	while (session->out[stream] >= 0 && session->unacknowledged[stream] < FRAME_WINDOW_BYTES) {
		size_t room = FRAME_WINDOW_BYTES - session->unacknowledged[stream];
		ssize_t n =
			read(session->out[stream], data, room < sizeof(data) ? room : sizeof(data));

		if (n < 0 && errno == EAGAIN && !session->exited)
			return;
		if (n <= 0) {
			/*
			 * End of file; a terminal's EIO is the same. And when the command has
			 * exited, what others still hold open is not waited for.
			 */
			if (session->in == session->out[stream])
				session_stop_input(server, session);
			close_fd(&session->out[stream]);
			return;
		}
		session->unacknowledged[stream] += n;
		send_frame(server, FRAME_DATA, session->id, stream, data, n);
		if (!session->exited)
			return; /* one chunk each, in turn */
	}
}

/* Ends the session once the command has exited and its output is on its way. */
static void session_settle(struct server *server, struct session *session)
{
	if (!session->exited)
		return;
	stream_pump(server, session, 1);
	stream_pump(server, session, 2);
	if (session->out[1] >= 0 || session->out[2] >= 0)
		return; /* the window is shut: an ACK comes first */
	send_frame(server, FRAME_EXIT, session->id, 0, &session->exit_code, 1);
	session_free(session);
}

static void reap(struct server *server)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
			struct session *session = &server->sessions[i];

			if (session->pid != pid)
				continue;
			session->pid = 0;
			session->exited = true;
			session->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
								   WEXITSTATUS(status);
			session_settle(server, session);
			break;
		}
	}
}

/* Contents of a RUN frame as an argument vector that points into it; NULL if it is malformed. */
static char **run_arguments(struct frame *frame)
{
	static char *argv[ARGUMENTS_MAX + 1];
	char *at = (char *)frame->data + sizeof(struct frame_run);
	char *end = (char *)frame->data + frame->len;
	int argc = 0;

	if (frame->len <= sizeof(struct frame_run) || end[-1])
		return NULL;
	for (; at < end; at += strlen(at) + 1) {
		if (argc == ARGUMENTS_MAX)
			return NULL;
		argv[argc++] = at;
	}
	argv[argc] = NULL;
	return argv;
}

static void set_size(int terminal, const struct frame_run *run)
{
	struct winsize size = { .ws_row = run->rows, .ws_col = run->columns };

	ioctl(terminal, TIOCSWINSZ, &size);
}

/* In the child: never returns. */
static void exec_command(char **argv, const int *fds, bool terminal)
{
	sigset_t none;

	setsid();
	for (int i = 0; i < 3; i++)
		dup2(fds[i], i);
	if (terminal)
		ioctl(0, TIOCSCTTY, 0);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	dprintf(2, "vmexec: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

/* Opens the child's three descriptors in fds, and the server's ends of them in the session. */
static int open_streams(struct session *session, const struct frame_run *run, int *fds)
{
	int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	int master, error;

	if (run->flags & RUN_TERMINAL) {
		master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
		if (master < 0)
			return -errno;
		set_size(master, run);
		if (grantpt(master) || unlockpt(master) ||
		    (fds[0] = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
			error = -errno;
			close(master);
			return error;
		}
		fds[1] = fds[2] = fds[0];
		session->in = session->out[1] = master;
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		if (pipe2(pipes[i], O_CLOEXEC))
			goto close_pipes;
		fcntl(pipes[i][!i], F_SETFL, O_NONBLOCK);
	}
	if (!(run->flags & RUN_STDIN)) {
		close(pipes[0][0]);
		pipes[0][0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		session->in_ends = true;
	}
	for (int i = 0; i < 3; i++)
		fds[i] = pipes[i][!!i];
	session->in = pipes[0][1];
	session->out[1] = pipes[1][0];
	session->out[2] = pipes[2][0];
	return 0;

close_pipes:
	error = -errno;
	for (int i = 0; i < 3; i++) {
		close_fd(&pipes[i][0]);
		close_fd(&pipes[i][1]);
	}
	return error;
}

static void run_command(struct server *server, struct frame *frame)
{
	uint8_t trouble = EXIT_TROUBLE;
	struct session *session = session_find(server, 0);
	char **argv = run_arguments(frame);
	struct frame_run run;
	int fds[3] = { -1, -1, -1 };

	if (!argv || !session || session_find(server, frame->session))
		goto refuse;
	memcpy(&run, frame->data, sizeof(run));
	*session = (struct session){ .id = frame->session, .in = -1, .out = { -1, -1, -1 } };
	if (open_streams(session, &run, fds))
		goto refuse;
	session->pid = fork();
	if (!session->pid)
		exec_command(argv, fds, run.flags & RUN_TERMINAL);
	for (int i = 0; i < 3; i++)
		if (!i || fds[i] != fds[0])
			close(fds[i]);
	if (session->pid < 0)
		goto refuse;
	session_feed(server, session);
	return;

refuse:
	if (session && session->id)
		session_free(session);
	send_frame(server, FRAME_EXIT, frame->session, 0, &trouble, 1);
}

static void kill_group(const struct session *session, int signal)
{
	/* a reaped leader's group may be somebody else's by now */
	if (session->pid > 0)
		kill(-session->pid, signal);
}

static void take_frame(struct server *server, struct frame *frame)
{
	struct session *session = frame->session ? session_find(server, frame->session) : NULL;
	struct frame_run run;
	uint32_t count;

	if (frame->type == FRAME_WELCOME) {
		server->welcome = frame->len == sizeof(server->nonce) &&
				  !memcmp(frame->data, server->nonce, sizeof(server->nonce));
		return;
	}
	if (!server->welcome || !frame->session)
		return; /* meant for an earlier boot */
	if (frame->type == FRAME_RUN) {
		run_command(server, frame);
		return;
	}
	if (!session)
		return; /* it has exited meanwhile */

	switch (frame->type) {
	case FRAME_DATA:
		if (session->in < 0) {
			count = frame->len;
			if (count)
				send_frame(server, FRAME_ACK, session->id, 0, &count,
					   sizeof(count));
			return;
		}
		if (frame->len)
			bytes_append(&session->in_queue, frame->data, frame->len);
		else
			session->in_ends = session->in != session->out[1];
		session_feed(server, session);
		return;
	case FRAME_ACK:
		if (frame->len != sizeof(count))
			return;
		memcpy(&count, frame->data, sizeof(count));
		if (count > session->unacknowledged[frame->stream])
			count = session->unacknowledged[frame->stream];
		session->unacknowledged[frame->stream] -= count;
		session_settle(server, session);
		return;
	case FRAME_SIGNAL:
		if (frame->len == 1)
			kill_group(session, frame->data[0]);
		return;
	case FRAME_RESIZE:
		if (frame->len == sizeof(run) && session->in >= 0) {
			memcpy(&run, frame->data, sizeof(run));
			set_size(session->in, &run);
		}
		return;
	case FRAME_DROP:
		kill_group(session, SIGKILL);
		session_free(session);
		return;
	}
}

static void port_read(struct server *server)
{
	uint8_t buffer[65536];
	const uint8_t *at = buffer;
	struct frame frame;
	ssize_t n = read(server->port, buffer, sizeof(buffer));
	size_t len = n;

	if (n < 0 && errno != EAGAIN)
		err(EXIT_TROUBLE, "vmexec: port");
	if (n <= 0)
		return;
	while (frame_read(&server->reader, &at, &len, &frame))
		take_frame(server, &frame);
}

static void port_write(struct server *server)
{
	ssize_t n = write(server->port, server->to_host.at, server->to_host.len);

	if (n < 0 && errno != EAGAIN)
		err(EXIT_TROUBLE, "vmexec: port");
	if (n > 0)
		bytes_take(&server->to_host, n);
}

static void say_ready(struct server *server)
{
	if (getrandom(server->nonce, sizeof(server->nonce), 0) != sizeof(server->nonce))
		err(EXIT_TROUBLE, "vmexec: random bytes");
	send_frame(server, FRAME_READY, 0, 0, server->nonce, sizeof(server->nonce));
	/* the port blocks until its host end is open, which may come after its name */
	while (server->to_host.len)
		port_write(server);
	fcntl(server->port, F_SETFL, O_NONBLOCK);
}

enum { POLL_PORT, POLL_SIGNALS, POLL_UEVENTS, POLL_SESSIONS };
enum { POLL_MAX = POLL_SESSIONS + 3 * FRAME_SESSIONS_MAX };

/* One round: wait for anything, handle all of it. fds[3 * i + stream] belongs to session i. */
static void serve_once(struct server *server, int signals, int uevents)
{
	struct pollfd fds[POLL_MAX];
	struct signalfd_siginfo info;

	fds[POLL_PORT] = (struct pollfd){ server->port, POLLIN, 0 };
	if (server->to_host.len)
		fds[POLL_PORT].events |= POLLOUT;
	fds[POLL_SIGNALS] = (struct pollfd){ signals, POLLIN, 0 };
	fds[POLL_UEVENTS] = (struct pollfd){ uevents, POLLIN, 0 };
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
		struct session *session = &server->sessions[i];
		struct pollfd *fd = &fds[POLL_SESSIONS + 3 * i];

		fd[0] = fd[1] = fd[2] = (struct pollfd){ -1, 0, 0 };
		if (!session->id)
			continue;
		if (session->in_queue.len)
			fd[0] = (struct pollfd){ session->in, POLLOUT, 0 };
		/* what the host does not take is left in the commands' pipes */
		for (int s = 1; s <= 2; s++)
			if (session->unacknowledged[s] < FRAME_WINDOW_BYTES &&
			    server->to_host.len < FRAME_WINDOW_BYTES)
				fd[s] = (struct pollfd){ session->out[s], POLLIN, 0 };
	}

	if (poll(fds, POLL_MAX, -1) < 0)
		err(EXIT_TROUBLE, "vmexec: poll");
	if (fds[POLL_PORT].revents & POLLHUP)
		errx(EXIT_LOST, "vmexec: the host's end of the port is closed");
	for (int i = 0; i < FRAME_SESSIONS_MAX; i++) {
		struct session *session = &server->sessions[i];
		struct pollfd *fd = &fds[POLL_SESSIONS + 3 * i];

		if (fd[0].revents)
			session_feed(server, session);
		for (int s = 1; s <= 2; s++)
			if (fd[s].revents)
				stream_pump(server, session, s);
		if (session->id)
			session_settle(server, session);
	}
	if (fds[POLL_SIGNALS].revents && read(signals, &info, sizeof(info)) > 0)
		reap(server);
	if (fds[POLL_UEVENTS].revents)
		ports_update(uevents);
	if (fds[POLL_PORT].revents & POLLIN)
		port_read(server);
	if (server->to_host.len)
		port_write(server);
}

int serve(const char *port_name, int ports_expected)
{
	static struct server server;
	int signals, uevents;
	const char *path;
	sigset_t mask;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	path = ports_wait(port_name, ports_expected, &uevents);
	server.port = open(path, O_RDWR | O_CLOEXEC);
	if (signals < 0 || server.port < 0)
		err(EXIT_TROUBLE, "vmexec: %s", path);
	say_ready(&server);
	for (;;)
		serve_once(&server, signals, uevents);
}
