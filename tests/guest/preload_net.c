// SPDX-License-Identifier: BSD-2-Clause
/* What the preload_* programs share: endpoints, their names, and an echo. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload_net.h"

void net_fail(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	exit(EXIT_FAILURE);
}

static void parse_tcp(struct endpoint *ep, const char *text)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ep->storage;
	struct sockaddr_in *in = (struct sockaddr_in *)&ep->storage;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	in_port_t port;

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return;
	port = htons(atoi(colon + 1));
	memcpy(host, text, colon - text);
	host[colon - text] = '\0';
	if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = port;
		ep->len = sizeof(*in);
		return;
	}
	host[strcspn(host, "]")] = '\0';
	if (host[0] == '[' && inet_pton(AF_INET6, host + 1, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = port;
		ep->len = sizeof(*in6);
	}
}

struct endpoint net_parse(const char *text)
{
	struct endpoint ep = { 0 };

	if (!strncmp(text, "tcp:", 4)) {
		parse_tcp(&ep, text + 4);
	} else if (!strncmp(text, "unix:", 5) && strlen(text + 5) < sizeof(ep.un.sun_path)) {
		ep.un.sun_family = AF_UNIX;
		strcpy(ep.un.sun_path, text + 5);
		ep.len = offsetof(struct sockaddr_un, sun_path) + strlen(text + 5) + 1;
	}
	if (!ep.len) {
		printf("%s: neither tcp:HOST:PORT nor unix:/PATH\n", text);
		exit(2);
	}
	return ep;
}

int net_socket(const struct endpoint *ep, int flags)
{
	int fd = socket(ep->any.sa_family, SOCK_STREAM | flags, 0);

	if (fd < 0)
		net_fail("socket");
	return fd;
}

static void print_name(const char *who, const char *which, const struct sockaddr_storage *addr,
		       socklen_t len)
{
	const struct sockaddr_in *in = (const void *)addr;
	const struct sockaddr_in6 *in6 = (const void *)addr;
	const struct sockaddr_un *un = (const void *)addr;
	char text[INET6_ADDRSTRLEN];

	printf("%s %s ", who, which);
	switch (addr->ss_family) {
	case AF_INET:
		printf("tcp:%s:%d\n", inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)),
		       ntohs(in->sin_port));
		break;
	case AF_INET6:
		printf("tcp:[%s]:%d\n", inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text)),
		       ntohs(in6->sin6_port));
		break;
	case AF_UNIX:
		printf("unix:%.*s\n", (int)(len - offsetof(struct sockaddr_un, sun_path)),
		       un->sun_path);
		break;
	default:
		printf("family-%d\n", addr->ss_family);
	}
}

void net_print_names(const char *who, int fd)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);

	if (getpeername(fd, (struct sockaddr *)&addr, &len))
		net_fail("getpeername");
	print_name(who, "peer", &addr, len);
	memset(&addr, 0, sizeof(addr));
	len = sizeof(addr);
	if (getsockname(fd, (struct sockaddr *)&addr, &len))
		net_fail("getsockname");
	print_name(who, "self", &addr, len);
	fflush(stdout);
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, -1) < 0)
		net_fail("poll");
}

void net_echo(int fd, const char *text)
{
	size_t len = strlen(text), done;
	char buf[256];
	ssize_t n;

	for (done = 0; done < len; done += n > 0 ? n : 0) {
		n = send(fd, text + done, len - done, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			net_fail("send");
		if (n < 0)
			wait_for(fd, POLLOUT);
	}
	for (done = 0; done < len; done += n > 0 ? n : 0) {
		n = recv(fd, buf + done, sizeof(buf) - done, 0);
		if (!n)
			errno = ECONNRESET;
		if (n <= 0 && errno != EAGAIN)
			net_fail("recv");
		if (n < 0)
			wait_for(fd, POLLIN);
	}
	if (done != len || memcmp(buf, text, len)) {
		printf("echo: other bytes came back\n");
		exit(EXIT_FAILURE);
	}
}
