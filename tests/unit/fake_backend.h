/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AF_SIVSHMEM's part played by AF_UNIX, so that the shim can be tested without the module: a
 * service is an abstract socket, aliases are remembered in a table.
 */
#ifndef _FAKE_BACKEND_H
#define _FAKE_BACKEND_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include <sivshmem/abi.h>

/* What happened, and what shall. Errors are negative errnos; 0 is: as AF_UNIX does. */
struct fake {
	int socket_error, bind_error, connect_error, alias_error;
	bool never_set_up;
	unsigned int sockets, connects;
	struct sockaddr_sivshmem bound, target; /* the last */
	unsigned int n_peers;
	struct siv_alias_peer peer[SIV_ALIAS_PEERS_MAX];
	void (*in_connect)(int fd); /* called before it */
};
extern struct fake fake;

/* Forgets all of it. */
void fake_reset(void);

/* The AF_UNIX address of a service. Returns its length. */
socklen_t fake_address(const char *service, struct sockaddr_un *un);

#endif
