// SPDX-License-Identifier: BSD-2-Clause
/* One byte asks for a switch or a connection to it, an int says what became of it. */
#include "starter.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
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
		if (what == START)
			err = switch_start(start->binary, start->run_dir, start->log_file);
		else
			err = descriptor = switch_open(start->run_dir);
		err = child_send(fd, err, descriptor);
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
	*descriptor = -1;
	if (send(starter, &what, sizeof(what), MSG_NOSIGNAL) < 0)
		return -errno;
	return child_recv(starter, descriptor);
}

int starter_start(int starter)
{
	int none;

	return ask(starter, START, &none);
}

int starter_connect(int starter)
{
	int fd, err = ask(starter, CONNECT, &fd);

	if (fd >= 0)
		return fd;
	return err < 0 ? err : -EPIPE;
}
