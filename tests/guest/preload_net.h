/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the preload_* programs share. They are what the shim is for: plain TCP and AF_UNIX programs
 * that know nothing of sivshmem. Suites start them under sivshmem-run and read what they print.
 */
#ifndef _PRELOAD_NET_H
#define _PRELOAD_NET_H

#include <sys/socket.h>
#include <sys/un.h>

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_un un; /* the largest */
		struct sockaddr_storage storage;
	};
	socklen_t len;
};

/* "tcp:1.2.3.4:80", "tcp:[::1]:80" or "unix:/path". Exits with a message if it is neither. */
struct endpoint net_parse(const char *text);

/* A stream socket of the endpoint's family. Exits with a message if there is none. */
int net_socket(const struct endpoint *ep, int flags);

/* Prints "WHO peer ADDRESS" and "WHO self ADDRESS" as getpeername and getsockname have them. */
void net_print_names(const char *who, int fd);

/* Sends @text and waits until it has come back; exits if something else comes. Works on
 * non-blocking sockets, too. */
void net_echo(int fd, const char *text);

/* Prints "what: errno's name", and exits with 1. */
void net_fail(const char *what) __attribute__((noreturn));

#endif
