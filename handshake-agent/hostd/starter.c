// SPDX-License-Identifier: BSD-2-Clause
/* One byte asks for a switch, an int says what became of it. */
#include "starter.h"

#include <errno.h>
#include <sys/socket.h>

#include "child.h"
#include "switch/switch_client.h"

struct start {
	const char *binary, *run_dir, *log_file;
};

static void serve(int fd, void *arg)
{
	const struct start *start = arg;
	char byte;
	int err;

	while (recv(fd, &byte, sizeof(byte), 0) == sizeof(byte)) {
		err = switch_start(start->binary, start->run_dir, start->log_file);
		if (send(fd, &err, sizeof(err), MSG_NOSIGNAL) != sizeof(err))
			break;
	}
}

int starter_open(const char *binary, const char *run_dir, const char *log_file)
{
	struct start start = { .binary = binary, .run_dir = run_dir, .log_file = log_file };

	return child_fork("siv-starter", serve, &start);
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
