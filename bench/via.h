/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The means by which a connected socket can be used. The client connects, asks the server by
 * STREAM_VIA for the means that it uses itself, and both make their stream of the socket by it.
 * Another one is another line of the table in via.c.
 */
#ifndef BENCH_VIA_H
#define BENCH_VIA_H

#include "socket.h"
#include "stream.h"

/* Numbers on the wire, between two siv-bench of one build. */
enum via_id { VIA_SOCKET, VIA_URING, VIA_MAPPED, VIA_URING_ZC };

/* What help says. */
#define VIA_NAMES "socket, uring, mapped or uring-zc"

/* Returns a via_id, or -EINVAL. */
int via_parse(const char *name);

/*
 * Connects to @endpoint, shakes hands where that is TLS, and agrees on @via with the server. Returns
 * the stream, or NULL and *@err = -errno.
 */
struct stream *via_connect(const struct endpoint *endpoint, enum via_id via, int *err);

/*
 * The server's part: makes a stream by @via of @stream, which must be a plain socket's and is gone
 * in any case. NULL: *@err is -errno; -EPROTO for a @via that is none.
 */
struct stream *via_take(struct stream *stream, uint32_t via, int *err);

#endif
