/* SPDX-License-Identifier: BSD-2-Clause */
/* A descriptor beside bytes, over a UNIX socket. */
#ifndef SIVSHMEM_FD_PASS_H
#define SIVSHMEM_FD_PASS_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Sends @data, with @fd, which stays the caller's, or with none (-1). @flags: send()'s; there is no
 * SIGPIPE. 0, -EAGAIN where not all of it was taken, or -errno.
 */
int fd_send(int sock, const void *data, size_t len, int fd, int flags);

/*
 * Receives up to @len bytes, and in *fd the descriptor that came with them, close-on-exec and for the
 * caller to close, or -1. Bytes, 0 at the end, or -errno with no descriptor.
 */
ssize_t fd_recv(int sock, void *data, size_t len, int *fd, int flags);

#endif
