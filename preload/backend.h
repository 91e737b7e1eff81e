/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the shim needs from AF_SIVSHMEM, as a table: the tests have one on AF_UNIX, so that all that
 * is decided above it can be proved on a machine without the module.
 */
#ifndef _PRELOAD_BACKEND_H
#define _PRELOAD_BACKEND_H

#include <stdbool.h>

#include <sivshmem/abi.h>

/* All return 0 (socket: a descriptor) or -errno, and are async-signal-safe. */
struct backend {
	int (*socket)(int type);
	int (*bind)(int fd, const struct sockaddr_sivshmem *addr);
	int (*connect)(int fd, const struct sockaddr_sivshmem *addr);
	int (*set_alias)(int fd, const struct siv_alias *alias);
	/* Fails for any socket that is not of the family. */
	int (*get_alias)(int fd, struct siv_alias *alias);
	int (*add_alias_peer)(int fd, const struct siv_alias_peer *peer);
	/*
	 * May a connect that failed with @err go to the plain endpoint? Only where sivshmem was
	 * never set up: no module, or no agent since boot. Nothing that a peer does leads there.
	 */
	bool (*never_set_up)(int err);
};

extern const struct backend backend;

#endif
