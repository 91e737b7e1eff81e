// SPDX-License-Identifier: BSD-2-Clause
/* AF_SIVSHMEM's part played by AF_UNIX, so that the shim can be tested without the module. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "backend.h"
#include "fake_backend.h"

enum { ALIASES_MAX = 4096 };

static struct { ino_t ino; struct siv_alias alias; } aliases[ALIASES_MAX];
static unsigned int n_aliases;

struct fake fake;

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	n_aliases = 0;
}

/* For programs that only an environment can be given to. */
__attribute__((constructor))
static void from_environment(void)
{
	const char *error = getenv("FAKE_CONNECT_ERROR");

	fake.connect_error = error ? -atoi(error) : 0;
	fake.never_set_up = getenv("FAKE_NEVER_SET_UP");
}

/* Between programs that are to meet, FAKE_NETWORK is the same; else it is this user's. */
socklen_t fake_address(const char *service, struct sockaddr_un *un)
{
	const char *network = getenv("FAKE_NETWORK");

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	return offsetof(struct sockaddr_un, sun_path) + 1 +
	       snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "fake/%s/%s",
			network ? network : "", service);
}

static int fake_socket(int type)
{
	int fd;

	fake.sockets++;
	if (fake.socket_error)
		return fake.socket_error;
	fd = socket(AF_UNIX, type, 0);
	return fd < 0 ? -errno : fd;
}

static int fake_bind(int fd, const struct sockaddr_sivshmem *addr)
{
	struct sockaddr_un un;
	socklen_t len = fake_address(addr->ssiv_service, &un);

	fake.bound = *addr;
	if (fake.bind_error)
		return fake.bind_error;
	return bind(fd, (struct sockaddr *)&un, len) ? -errno : 0;
}

static int fake_connect(int fd, const struct sockaddr_sivshmem *addr)
{
	struct sockaddr_un un;
	socklen_t len = fake_address(addr->ssiv_service, &un);

	fake.connects++;
	fake.target = *addr;
	if (fake.in_connect)
		fake.in_connect(fd);
	if (fake.connect_error && fake.connect_error != -EINPROGRESS)
		return fake.connect_error;
	if (connect(fd, (struct sockaddr *)&un, len))
		return -errno;
	return fake.connect_error;
}

static ino_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

static int fake_get_alias(int fd, struct siv_alias *alias)
{
	for (unsigned int i = 0; i < n_aliases; i++) {
		if (aliases[i].ino == inode(fd)) {
			*alias = aliases[i].alias;
			return 0;
		}
	}
	return -EAFNOSUPPORT;
}

static int fake_set_alias(int fd, const struct siv_alias *alias)
{
	struct siv_alias before;

	if (fake.alias_error)
		return fake.alias_error;
	if (!fake_get_alias(fd, &before))
		return -EINVAL; /* once */
	if (n_aliases == ALIASES_MAX)
		n_aliases = 0;
	aliases[n_aliases].ino = inode(fd);
	aliases[n_aliases++].alias = *alias;
	return 0;
}

static int fake_add_alias_peer(int fd, const struct siv_alias_peer *peer)
{
	(void)fd;
	if (fake.n_peers == SIV_ALIAS_PEERS_MAX)
		return -ENOSPC;
	fake.peer[fake.n_peers++] = *peer;
	return 0;
}

static bool fake_never_set_up(int err)
{
	(void)err;
	return fake.never_set_up;
}

const struct backend backend = {
	.socket = fake_socket,
	.bind = fake_bind,
	.connect = fake_connect,
	.set_alias = fake_set_alias,
	.get_alias = fake_get_alias,
	.add_alias_peer = fake_add_alias_peer,
	.never_set_up = fake_never_set_up,
};
