// SPDX-License-Identifier: BSD-2-Clause
/* Sockets in one call: connect, listen, accept, and the peer's identity. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>

#include "internal.h"

/* @flags without a type means a stream, as it did before there were records. */
static int new_socket(const struct sockaddr_sivshmem *addr, int flags)
{
	const int modifiers = SOCK_NONBLOCK | SOCK_CLOEXEC;
	int type = flags & ~modifiers, fd;

	if (type && type != SOCK_STREAM && type != SOCK_SEQPACKET)
		return -EINVAL;
	fd = socket(addr->ssiv_family, (type ? type : SOCK_STREAM) | (flags & modifiers), 0);
	return fd < 0 ? -errno : fd;
}

/* Binds to a service of this VM, which is how a client says who it wants to be. */
static int bind_service(int fd, const struct sockaddr_sivshmem *target, const char *service)
{
	struct sockaddr_sivshmem own = { .ssiv_family = target->ssiv_family };

	if (!siv_name_valid(service, sizeof(own.ssiv_service)))
		return -EINVAL;
	strcpy(own.ssiv_service, service);
	return bind(fd, (struct sockaddr *)&own, sizeof(own)) ? -errno : 0;
}

SIV_PUBLIC int siv_connect_as(const char *url, const char *service, int flags)
{
	struct sockaddr_sivshmem addr;
	int err, fd;

	err = siv_addr_parse(url, &addr);
	if (err)
		return err;
	fd = new_socket(&addr, flags);
	if (fd < 0)
		return fd;
	if (service) {
		err = bind_service(fd, &addr, service);
		if (err)
			goto close_fd;
	}
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) && errno != EINPROGRESS) {
		err = -errno;
		goto close_fd;
	}
	return fd;

close_fd:
	close(fd);
	return err;
}

SIV_PUBLIC int siv_connect(const char *url, int flags)
{
	return siv_connect_as(url, NULL, flags);
}

SIV_PUBLIC int siv_listen(const char *url, int backlog, int flags)
{
	struct sockaddr_sivshmem addr;
	int err, fd;

	err = siv_addr_parse(url, &addr);
	if (err)
		return err;
	fd = new_socket(&addr, flags);
	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, backlog)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

SIV_PUBLIC int siv_accept(int listener, struct siv_peer *peer, int flags)
{
	int fd = accept4(listener, NULL, NULL, flags);

	if (fd < 0)
		return -errno;
	if (peer) {
		int err = siv_peer(fd, peer);

		if (err) {
			close(fd);
			return err == -ENOTCONN ? -ECONNABORTED : err;
		}
	}
	return fd;
}

SIV_PUBLIC int siv_peer(int fd, struct siv_peer *peer)
{
	struct siv_peer got;
	socklen_t len = sizeof(got);

	if (getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_PEER, &got, &len))
		return -errno;
	if (len != sizeof(got) ||
	    !memchr(got.addr.ssiv_vm, '\0', sizeof(got.addr.ssiv_vm)) ||
	    !memchr(got.addr.ssiv_service, '\0', sizeof(got.addr.ssiv_service)) ||
	    !memchr(got.spiffe_id, '\0', sizeof(got.spiffe_id)))
		return -EPROTO;
	*peer = got;
	return 0;
}
