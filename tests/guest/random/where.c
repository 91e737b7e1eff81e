// SPDX-License-Identifier: BSD-2-Clause
/*
 * Where connections come from: AF_UNIX, the oracle on which this program itself is proved, or
 * AF_SIVSHMEM.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <sivshmem.h>

#include "random.h"

#define BACKLOG 128

union address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_sivshmem siv;
};

/* @url or, without one, this process's own listener of that type. */
static socklen_t address_of(int type, const char *url, union address *a)
{
	char own[SIV_URL_LEN];

	memset(a, 0, sizeof(*a));
	if (!opt.siv) {
		a->un.sun_family = AF_UNIX;
		/* abstract: nothing is left behind */
		return offsetof(struct sockaddr_un, sun_path) + 1 +
		       snprintf(a->un.sun_path + 1, sizeof(a->un.sun_path) - 1, "siv-random.%d.%s",
				getpid(), type_name(type));
	}
	snprintf(own, sizeof(own), "siv:///random-%s", type_name(type));
	if (siv_addr_parse(url ?: own, &a->siv))
		die("%s: no address", url ?: own);
	return sizeof(a->siv);
}

static int new_socket(int type, int flags)
{
	int fd = socket(opt.siv ? siv_family() : AF_UNIX, type | flags | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket: %s", strerror(errno));
	return fd;
}

int where_listen(int type, const char *url)
{
	int fd = new_socket(type, 0);
	union address a;
	socklen_t len = address_of(type, url, &a);

	if (bind(fd, &a.any, len))
		die("bind: %s", strerror(errno));
	if (listen(fd, BACKLOG))
		die("listen: %s", strerror(errno));
	return fd;
}

static void set_int(int fd, int level, int name, int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)))
		die("setsockopt %d %d: %s", level, name, strerror(errno));
}

static void wish_for(int fd, const struct ring_wish *wish)
{
	bool bufs = wish->by_bufs || !opt.siv;

	if (wish->tx)
		set_int(fd, bufs ? SOL_SOCKET : SOL_SIVSHMEM, bufs ? SO_SNDBUF : SIVSHMEM_TX_SIZE,
			wish->tx);
	if (wish->rx)
		set_int(fd, bufs ? SOL_SOCKET : SOL_SIVSHMEM, bufs ? SO_RCVBUF : SIVSHMEM_RX_SIZE,
			wish->rx);
}

static int connect_error(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err;

	if (errno != EINPROGRESS)
		return errno;
	if (poll(&p, 1, 60000 * opt.slow) != 1)
		return ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
		return errno;
	return err;
}

int where_connect(int type, const char *url, const struct ring_wish *wish, bool nonblock)
{
	int fd = new_socket(type, nonblock ? SOCK_NONBLOCK : 0), err = 0;
	union address a;
	socklen_t len = address_of(type, url, &a);

	wish_for(fd, wish);
	if (connect(fd, &a.any, len))
		err = connect_error(fd);
	if (err)
		die("connect: %s", strerror(err));
	if (nonblock && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK))
		die("fcntl: %s", strerror(errno));
	return fd;
}

int where_accept(int listener)
{
	int fd;

	do
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		die("accept: %s", strerror(errno));
	return fd;
}

uint64_t where_ring(int fd)
{
	socklen_t len = sizeof(uint32_t);
	uint32_t size;

	if (!opt.siv)
		return 0;
	if (getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &size, &len) || !size)
		die("SIVSHMEM_TX_SIZE: %s", strerror(errno));
	return size;
}

bool where_sealed(int fd)
{
	socklen_t len = sizeof(uint32_t);
	uint32_t sealed;

	if (getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_SEALED, &sealed, &len))
		die("SIVSHMEM_SEALED: %s", strerror(errno));
	return sealed;
}
