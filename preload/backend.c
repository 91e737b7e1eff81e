// SPDX-License-Identifier: BSD-2-Clause
/* AF_SIVSHMEM itself: the shim's calls to the kernel module. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <sivshmem.h>

#include "../libsivshmem/src/internal.h"
#include "backend.h"

static int result(int ret)
{
	return ret < 0 ? -errno : ret;
}

static int siv_socket(int type)
{
	return result(socket(siv_family(), type, 0));
}

/* Rules were parsed before the module was loaded, perhaps: its number is asked for when needed. */
static struct sockaddr_sivshmem current(const struct sockaddr_sivshmem *addr)
{
	struct sockaddr_sivshmem out = *addr;

	out.ssiv_family = siv_family();
	return out;
}

/* These two come back through the shim's own hooks, where no rule is about this family. */
static int siv_bind(int fd, const struct sockaddr_sivshmem *addr)
{
	struct sockaddr_sivshmem to = current(addr);

	return result(bind(fd, (struct sockaddr *)&to, sizeof(to)));
}

static int siv_connect_fd(int fd, const struct sockaddr_sivshmem *addr)
{
	struct sockaddr_sivshmem to = current(addr);

	return result(connect(fd, (struct sockaddr *)&to, sizeof(to)));
}

static int siv_set_alias(int fd, const struct siv_alias *alias)
{
	return result(setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_ALIAS, alias, sizeof(*alias)));
}

static int siv_get_alias(int fd, struct siv_alias *alias)
{
	socklen_t len = sizeof(int);
	int domain;

	/* Other families may have an option of that number, whatever it is. */
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len))
		return -errno;
	if (domain != siv_family())
		return -EAFNOSUPPORT;
	len = sizeof(*alias);
	return result(getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_ALIAS, alias, &len));
}

static int siv_add_alias_peer(int fd, const struct siv_alias_peer *peer)
{
	return result(setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_ALIAS_PEER, peer, sizeof(*peer)));
}

/*
 * A sandbox may answer EAFNOSUPPORT as well, and an agent that is down for a moment gives ENETDOWN:
 * so the errno alone decides nothing. What cannot be read counts as set up.
 */
static bool siv_never_set_up(int err)
{
	char seen[4];

	switch (err) {
	case -EAFNOSUPPORT:
		return siv_module_loaded() == 0;
	case -ENETDOWN:
		return siv_read_line(SIV_SYSFS_AGENT_SEEN, seen, sizeof(seen)) == 1 &&
		       seen[0] == 'N';
	default:
		return false;
	}
}

const struct backend backend = {
	.socket = siv_socket,
	.bind = siv_bind,
	.connect = siv_connect_fd,
	.set_alias = siv_set_alias,
	.get_alias = siv_get_alias,
	.add_alias_peer = siv_add_alias_peer,
	.never_set_up = siv_never_set_up,
};
