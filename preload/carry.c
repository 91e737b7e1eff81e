// SPDX-License-Identifier: BSD-2-Clause
/* Socket options that a program set before connect() or bind(), carried to the new socket. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <sivshmem/abi.h>

#include "carry.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
enum { BUF_LOCK_SEND = 1, BUF_LOCK_RECEIVE = 2 }; /* of SO_BUF_LOCK */

union value {
	int number;
	struct timeval time;
	struct linger linger;
};

/*
 * Not here: options that name interfaces, routes or marks of a network, filters, timestamps and
 * passed credentials, none of which a channel between two VMs has.
 */
static const struct option {
	int level, name;
	socklen_t size;
	bool required; /* else: a hint, lost without harm if the family does not take it */
} options[] = {
	{ SOL_SOCKET, SO_RCVTIMEO, sizeof(struct timeval), true },
	{ SOL_SOCKET, SO_SNDTIMEO, sizeof(struct timeval), true },
	{ SOL_SOCKET, SO_LINGER, sizeof(struct linger), true },
	{ SOL_SOCKET, SO_RCVLOWAT, sizeof(int), true },
	{ SOL_SOCKET, SO_REUSEADDR, sizeof(int), false },
	{ SOL_SOCKET, SO_KEEPALIVE, sizeof(int), false },
	{ SOL_SOCKET, SO_OOBINLINE, sizeof(int), false },
	{ SOL_SOCKET, SO_PRIORITY, sizeof(int), false },
	{ IPPROTO_TCP, TCP_NODELAY, sizeof(int), false },
	{ IPPROTO_TCP, TCP_CORK, sizeof(int), false },
	{ IPPROTO_TCP, TCP_KEEPIDLE, sizeof(int), false },
	{ IPPROTO_TCP, TCP_KEEPINTVL, sizeof(int), false },
	{ IPPROTO_TCP, TCP_KEEPCNT, sizeof(int), false },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, sizeof(int), false },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, sizeof(int), false },
	{ IPPROTO_IP, IP_TOS, sizeof(int), false },
	{ IPPROTO_IPV6, IPV6_V6ONLY, sizeof(int), false },
	{ IPPROTO_IPV6, IPV6_TCLASS, sizeof(int), false },
};

static bool get(int fd, const struct option *option, union value *value)
{
	socklen_t len = option->size;

	return !getsockopt(fd, option->level, option->name, value, &len) && len == option->size;
}

static int carry(int from, int to, const struct option *option)
{
	union value old = { 0 }, new = { 0 };

	if (!get(from, option, &old))
		return 0; /* of another family */
	if (get(to, option, &new) && !memcmp(&old, &new, option->size))
		return 0;
	if (!setsockopt(to, option->level, option->name, &old, option->size))
		return 0;
	return option->required ? -errno : 0;
}

/*
 * A size that the program never set is the other family's default and says nothing about this one.
 * The kernel doubles what it is given, and reports that.
 */
static int carry_buffers(int from, int to)
{
	static const struct { int lock, name; } buffers[] = {
		{ BUF_LOCK_SEND, SO_SNDBUF }, { BUF_LOCK_RECEIVE, SO_RCVBUF },
	};
	socklen_t len = sizeof(int);
	int locks, bytes;

	if (getsockopt(from, SOL_SOCKET, SO_BUF_LOCK, &locks, &len))
		return 0; /* before Linux 5.14: they stay at the default */
	for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
		if (!(locks & buffers[i].lock))
			continue;
		len = sizeof(bytes);
		if (getsockopt(from, SOL_SOCKET, buffers[i].name, &bytes, &len))
			return -errno;
		bytes /= 2;
		if (setsockopt(to, SOL_SOCKET, buffers[i].name, &bytes, sizeof(bytes)))
			return -errno;
	}
	return 0;
}

/* The family has an option of its own for it, since most kernels refuse this one. */
static void carry_reuseport(int from, int to)
{
	socklen_t len = sizeof(int);
	int on;

	if (getsockopt(from, SOL_SOCKET, SO_REUSEPORT, &on, &len) || !on)
		return;
	/* a hint: without it a second listen() says EADDRINUSE */
	setsockopt(to, SOL_SIVSHMEM, SIVSHMEM_REUSEPORT, &on, sizeof(on));
}

int carry_options(int from, int to)
{
	int err = carry_buffers(from, to);

	carry_reuseport(from, to);
	for (size_t i = 0; !err && i < sizeof(options) / sizeof(options[0]); i++)
		err = carry(from, to, &options[i]);
	return err;
}

int carry_owner(int from, int to)
{
	struct f_owner_ex owner;
	int signal = fcntl(from, F_GETSIG);

	if (fcntl(from, F_GETOWN_EX, &owner) || !owner.pid)
		return 0;
	if (fcntl(to, F_SETOWN_EX, &owner) || (signal > 0 && fcntl(to, F_SETSIG, signal)))
		return -errno;
	return 0;
}
