// SPDX-License-Identifier: BSD-2-Clause
/* Addresses that a peer must never be given as its alias: loopback, and this machine's own. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "local.h"

/*
 * Is it an address of this machine? A datagram socket's connect() sends nothing; it asks for a
 * route, and the source address chosen for a local destination is that destination. This sees what
 * a list of interfaces does not (local routes), and needs no netlink, which sandboxes forbid.
 * The system call is made directly: in the shim, connect() is our own.
 */
static int is_own(const struct sockaddr *addr, socklen_t len, void *source, socklen_t source_len)
{
	int fd, ret = 0;

	fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno == EAFNOSUPPORT ? 0 : -errno;
	if (syscall(SYS_connect, fd, addr, len)) {
		if (errno != ENETUNREACH && errno != EHOSTUNREACH && errno != EADDRNOTAVAIL)
			ret = -errno;
	} else if (getsockname(fd, source, &source_len)) {
		ret = -errno;
	} else {
		ret = 1; /* and the caller compares */
	}
	close(fd);
	return ret;
}

static int is_own_inet(struct in_addr host)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = host };
	struct sockaddr_in from = { 0 };
	int ret = is_own((struct sockaddr *)&to, sizeof(to), &from, sizeof(from));

	return ret > 0 ? from.sin_addr.s_addr == host.s_addr : ret;
}

static int is_own_inet6(const struct in6_addr *host)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(9),
				   .sin6_addr = *host };
	struct sockaddr_in6 from = { 0 };
	int ret = is_own((struct sockaddr *)&to, sizeof(to), &from, sizeof(from));

	return ret > 0 ? IN6_ARE_ADDR_EQUAL(&from.sin6_addr, host) : ret;
}

const char *local_reason(const struct in6_addr *host)
{
	int own;

	if (IN6_IS_ADDR_V4MAPPED(host)) {
		struct in_addr v4;
		in_addr_t a;

		memcpy(&v4, &host->s6_addr[12], sizeof(v4));
		a = ntohl(v4.s_addr);
		if (a >> 24 == 0)
			return "unspecified";
		if (a >> 24 == IN_LOOPBACKNET)
			return "loopback, which services trust";
		if (a >> 28 >= 0xe)
			return "multicast, reserved or broadcast";
		own = is_own_inet(v4);
	} else {
		if (IN6_IS_ADDR_UNSPECIFIED(host))
			return "unspecified";
		if (IN6_IS_ADDR_LOOPBACK(host))
			return "loopback, which services trust";
		if (IN6_IS_ADDR_MULTICAST(host))
			return "multicast";
		if (IN6_IS_ADDR_LINKLOCAL(host))
			return "link-local, which means nothing without an interface";
		own = is_own_inet6(host);
	}
	if (own < 0)
		return "perhaps an address of this machine: the kernel would not say";
	return own ? "an address of this machine, which services trust" : NULL;
}
