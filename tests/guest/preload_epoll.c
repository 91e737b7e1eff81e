// SPDX-License-Identifier: BSD-2-Clause
/*
 * A client whose socket is registered with epoll before connect(), level- or edge-triggered, in two
 * instances one of which has a second descriptor: preload_epoll [--edge] [--fast-open] ENDPOINT
 * Goes on only when epoll says so, so a lost event hangs it. Prints "connected",
 * the names, and "echoed".
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "preload_net.h"

#define DATA 0x1122334455667788ull /* what the program gave epoll must come back in full */

static void wait_for(int epfd, uint32_t wanted)
{
	struct epoll_event event;

	do {
		if (epoll_wait(epfd, &event, 1, -1) < 0)
			net_fail("epoll_wait");
		if (event.data.u64 != DATA) {
			printf("epoll: other data came back\n");
			exit(EXIT_FAILURE);
		}
	} while (!(event.events & wanted));
}

static void watch(int epfd, int op, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.u64 = DATA };

	if (epoll_ctl(epfd, op, fd, &event))
		net_fail("epoll_ctl");
}

/* As programs do that know TCP Fast Open: the first send connects, unless the kernel declines. */
static int start_connect(int fd, const struct endpoint *ep, int fast_open)
{
	if (fast_open) {
		if (sendto(fd, "", 0, MSG_FASTOPEN, &ep->any, ep->len) >= 0)
			return 0;
		if (errno != EOPNOTSUPP)
			return -1;
		printf("fast open declined\n");
	}
	return connect(fd, &ep->any, ep->len);
}

static void check_connected(int fd)
{
	socklen_t len = sizeof(int);
	int err;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
		net_fail("SO_ERROR");
	if (err) {
		errno = err;
		net_fail("connect");
	}
}

int main(int argc, char **argv)
{
	int fd, in, out, copy, fast_open = 0;
	struct endpoint ep = { 0 };
	uint32_t edge = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--edge"))
			edge = EPOLLET;
		else if (!strcmp(argv[i], "--fast-open"))
			fast_open = 1;
		else
			ep = net_parse(argv[i]);
	}
	if (!ep.len) {
		printf("usage: %s [--edge] [--fast-open] ENDPOINT\n", argv[0]);
		return 2;
	}
	in = epoll_create1(EPOLL_CLOEXEC);
	out = epoll_create1(EPOLL_CLOEXEC);
	copy = dup(out);
	if (in < 0 || out < 0 || copy < 0)
		net_fail("epoll_create1");
	fd = net_socket(&ep, SOCK_NONBLOCK | SOCK_CLOEXEC);
	watch(in, EPOLL_CTL_ADD, fd, EPOLLIN | edge);
	watch(out, EPOLL_CTL_ADD, fd, EPOLLOUT | edge);

	if (start_connect(fd, &ep, fast_open) && errno != EINPROGRESS)
		net_fail("connect");
	wait_for(copy, EPOLLOUT);
	check_connected(fd);
	printf("connected\n");
	net_print_names("client", fd);

	/* The program's later calls are about the same registration. */
	watch(out, EPOLL_CTL_DEL, fd, 0);
	for (int i = 0; i < 100; i++) {
		char buf[8];
		ssize_t n;

		if (send(fd, "ping", 4, MSG_NOSIGNAL) != 4)
			net_fail("send");
		for (size_t got = 0; got < 4; got += n > 0 ? n : 0) {
			wait_for(in, EPOLLIN);
			n = recv(fd, buf + got, sizeof(buf) - got, 0);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				net_fail("recv");
		}
		if (memcmp(buf, "ping", 4)) {
			printf("echo: other bytes came back\n");
			return EXIT_FAILURE;
		}
	}
	watch(in, EPOLL_CTL_MOD, fd, EPOLLIN | edge);
	printf("echoed\n");
	close(fd);
	close(in);
	close(out);
	close(copy);
	return EXIT_SUCCESS;
}
