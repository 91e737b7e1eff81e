// SPDX-License-Identifier: BSD-2-Clause
// Runs one command in a VM, on behalf of a process on the host.
#define _GNU_SOURCE
#include "frame.h"
#include "vmexec.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

struct command {
	int socket;
	const struct client_options *options;
	bool stdin_open;
	size_t stdin_unacknowledged;
	int exit_code; /* -1 while it runs */
	struct frame frame;
};

static struct termios saved_terminal;

static void restore_terminal(void)
{
	tcsetattr(0, TCSANOW, &saved_terminal);
}

static void raw_terminal(void)
{
	struct termios raw;

	if (tcgetattr(0, &saved_terminal))
		return; /* not a terminal on this side: the command gets one all the same */
	atexit(restore_terminal);
	raw = saved_terminal;
	cfmakeraw(&raw);
	tcsetattr(0, TCSANOW, &raw);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		errx(EXIT_TROUBLE, "vmexec: %s: too long for a socket's path", path);
	strcpy(address.sun_path, path);
	if (fd < 0)
		err(EXIT_TROUBLE, "vmexec: socket");
	/* whoever knows this path has seen the VM started, so no mux means no VM any more */
	if (connect(fd, (void *)&address, sizeof(address)))
		err(EXIT_LOST, "vmexec: %s: no VM there", path);
	return fd;
}

static void send_frame(struct command *command, enum frame_type type, const void *data, size_t len)
{
	frame_set(&command->frame, type, 0, 0, data, len);
	/* a failure means that the VM is gone; what it has left to say is read first */
	frame_send(command->socket, &command->frame);
}

static struct frame_run run_options(const struct client_options *options)
{
	struct frame_run run = { 0 };
	struct winsize size;

	if (options->with_stdin)
		run.flags |= RUN_STDIN;
	if (options->terminal)
		run.flags |= RUN_TERMINAL;
	if (options->terminal && !ioctl(0, TIOCGWINSZ, &size)) {
		run.rows = size.ws_row;
		run.columns = size.ws_col;
	}
	return run;
}

static void send_run(struct command *command)
{
	struct frame_run run = run_options(command->options);
	uint8_t data[FRAME_DATA_MAX_BYTES];
	size_t len = sizeof(run);

	memcpy(data, &run, sizeof(run));
	for (char **arg = command->options->argv; *arg; arg++) {
		size_t size = strlen(*arg) + 1;

		if (size > sizeof(data) - len)
			errx(EXIT_TROUBLE,
			     "vmexec: command longer than %zu bytes: use a file or -i",
			     sizeof(data));
		memcpy(data + len, *arg, size);
		len += size;
	}
	send_frame(command, FRAME_RUN, data, len);
}

static void write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			err(EXIT_TROUBLE, "vmexec: descriptor %d", fd);
		data += n;
		len -= n;
	}
}

static void from_guest(struct command *command)
{
	struct frame *frame = &command->frame;
	int got = frame_receive(command->socket, frame);
	uint32_t count;

	if (got <= 0) {
		warnx("vmexec: %s: the VM went away", command->options->socket);
		command->exit_code = EXIT_LOST;
		return;
	}
	switch (frame->type) {
	case FRAME_DATA:
		count = frame->len;
		write_all(frame->stream, frame->data, count);
		frame_set(frame, FRAME_ACK, 0, frame->stream, &count, sizeof(count));
		frame_send(command->socket, frame);
		return;
	case FRAME_ACK:
		if (frame->len != sizeof(count))
			return;
		memcpy(&count, frame->data, sizeof(count));
		if (count > command->stdin_unacknowledged)
			count = command->stdin_unacknowledged;
		command->stdin_unacknowledged -= count;
		return;
	case FRAME_EXIT:
		command->exit_code = frame->len == 1 ? frame->data[0] : EXIT_TROUBLE;
		return;
	case FRAME_LOST:
		warnx("vmexec: %s: %.*s", command->options->socket, frame->len,
		      (const char *)frame->data);
		command->exit_code = EXIT_LOST;
		return;
	}
}

static void from_stdin(struct command *command)
{
	size_t room = FRAME_WINDOW_BYTES - command->stdin_unacknowledged;
	uint8_t data[FRAME_DATA_MAX_BYTES];
	ssize_t n = read(0, data, room < sizeof(data) ? room : sizeof(data));

	if (n <= 0)
		command->stdin_open = false;
	send_frame(command, FRAME_DATA, data, n > 0 ? n : 0);
	if (n > 0)
		command->stdin_unacknowledged += n;
}

static void pass_signal(struct command *command, int signals)
{
	struct signalfd_siginfo info;
	struct frame_run size;
	uint8_t number;

	if (read(signals, &info, sizeof(info)) != sizeof(info))
		return;
	/* nobody can catch SIGKILL: SIGALRM stands for it, so that the command's end is awaited */
	number = info.ssi_signo == SIGALRM ? SIGKILL : info.ssi_signo;
	if (number == SIGWINCH) {
		size = run_options(command->options);
		send_frame(command, FRAME_RESIZE, &size, sizeof(size));
	} else {
		send_frame(command, FRAME_SIGNAL, &number, 1);
	}
}

static int open_signals(void)
{
	static const int passed_on[] = { SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
					 SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM };
	sigset_t mask;

	sigemptyset(&mask);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		sigaddset(&mask, passed_on[i]);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	return signalfd(-1, &mask, SFD_CLOEXEC);
}

static int open_timer(double seconds)
{
	struct itimerspec when = { 0 };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	when.it_value.tv_sec = (time_t)seconds;
	when.it_value.tv_nsec = (long)((seconds - (time_t)seconds) * 1e9);
	if (fd >= 0)
		timerfd_settime(fd, 0, &when, NULL);
	return fd;
}

int client(const struct client_options *options)
{
	static struct command command;
	int signals = open_signals(), timer = open_timer(options->timeout_s);

	command.options = options;
	command.exit_code = -1;
	command.stdin_open = options->with_stdin;
	if (signals < 0 || timer < 0)
		err(EXIT_TROUBLE, "vmexec: signals and timer");
	command.socket = connect_to(options->socket);
	if (options->terminal)
		raw_terminal();
	send_run(&command);

	while (command.exit_code < 0) {
		bool take = command.stdin_open && command.stdin_unacknowledged < FRAME_WINDOW_BYTES;
		struct pollfd fds[] = { { command.socket, POLLIN, 0 },
					{ take ? 0 : -1, POLLIN, 0 },
					{ signals, POLLIN, 0 },
					{ timer, POLLIN, 0 } };

		if (poll(fds, 4, -1) < 0)
			err(EXIT_TROUBLE, "vmexec: poll");
		if (fds[0].revents)
			from_guest(&command);
		else if (fds[3].revents)
			break;
		if (fds[1].revents)
			from_stdin(&command);
		if (fds[2].revents)
			pass_signal(&command, signals);
	}
	if (command.exit_code < 0) {
		/* leaving closes the socket, which kills the command */
		warnx("vmexec: %s: %s: killed after %g s", options->socket, options->argv[0],
		      options->timeout_s);
		return EXIT_TIMEOUT;
	}
	return command.exit_code;
}
