// SPDX-License-Identifier: BSD-2-Clause
/* One byte asks for a switch or a connection to it, an int says what became of it. */
#include "starter.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "common/fd_pass.h"
#include "switch/switch_client.h"

enum { START, CONNECT }; /* what the byte asks for */

struct start {
	const char *binary, *run_dir, *log_file;
};

static void serve(int fd, void *arg)
{
	const struct start *start = arg;
	int descriptor, err;
	char what;

	while (recv(fd, &what, sizeof(what), 0) == sizeof(what)) {
		descriptor = -1;
		if (what == START) {
			err = switch_start(start->binary, start->run_dir, start->log_file);
		} else {
			descriptor = switch_open(start->run_dir);
			err = descriptor < 0 ? descriptor : 0;
		}
		err = fd_send(fd, &err, sizeof(err), descriptor, 0);
		if (descriptor >= 0)
			close(descriptor);
		if (err)
			break;
	}
}

int starter_open(const char *binary, const char *run_dir, const char *log_file)
{
	struct start start = { .binary = binary, .run_dir = run_dir, .log_file = log_file };

	return child_fork("siv-starter", serve, &start);
}

static int ask(int starter, char what, int *descriptor)
{
	int err;
	ssize_t n;

	*descriptor = -1;
	if (send(starter, &what, sizeof(what), MSG_NOSIGNAL) < 0)
		return -errno;
	n = fd_recv(starter, &err, sizeof(err), descriptor, 0);
	if (n < 0)
		return (int)n;
	return n == sizeof(err) ? err : -EPIPE;
}

int starter_start(int starter)
{
	int none;

	return ask(starter, START, &none);
}

int starter_connect(int starter)
{
	int fd, err = ask(starter, CONNECT, &fd);

	if (!err && fd < 0)
		err = -EPIPE;
	return err ?: fd;
}
