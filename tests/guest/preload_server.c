// SPDX-License-Identifier: BSD-2-Clause
/*
 * A forking echo server, as plain programs are written: preload_server ENDPOINT [CONNECTIONS]
 * Prints "ready" when it listens, and for each connection what its child sees as names. Ends after
 * so many connections (default: never) and its children.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload_net.h"

enum { BACKLOG = 64 };

static void serve(int fd)
{
	char buf[1 << 14];
	ssize_t n, sent;

	net_print_names("server", fd);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t done = 0; done < n; done += sent) {
			sent = send(fd, buf + done, n - done, MSG_NOSIGNAL);
			if (sent < 0)
				net_fail("server send");
		}
	}
	if (n < 0)
		net_fail("server recv");
}

int main(int argc, char **argv)
{
	struct endpoint ep;
	int fd, listener, one = 1;
	long left;

	if (argc < 2) {
		printf("usage: %s ENDPOINT [CONNECTIONS]\n", argv[0]);
		return 2;
	}
	ep = net_parse(argv[1]);
	left = argc > 2 ? atol(argv[2]) : -1;
	listener = net_socket(&ep, SOCK_CLOEXEC);
	if (ep.any.sa_family == AF_UNIX)
		unlink(ep.un.sun_path);
	else if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)))
		net_fail("SO_REUSEADDR");
	if (bind(listener, &ep.any, ep.len))
		net_fail("bind");
	if (listen(listener, BACKLOG))
		net_fail("listen");
	printf("ready\n");
	fflush(stdout);
	for (; left; left -= left > 0) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			net_fail("accept");
		switch (fork()) {
		case -1:
			net_fail("fork");
		case 0:
			close(listener);
			serve(fd);
			return EXIT_SUCCESS;
		}
		close(fd);
	}
	close(listener);
	while (wait(NULL) > 0)
		;
	return EXIT_SUCCESS;
}
