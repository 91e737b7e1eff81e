/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The baseline: a polled single-producer, single-consumer ring for each direction, in memory that
 * both sides map whole. No kernel, no doorbell, no check of what the peer writes.
 */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include <stdatomic.h>
#include <stdint.h>

#include "stream.h"

#define RING_BYTES (128u << 10) /* each direction; what a socket has with the default SO_SNDBUF */

/*
 * Joins @path (a device's resource2, or a file of at least the rings' size) as side 0 or 1 and
 * waits for the other side; positions start at 0 then. @session: the same on both sides, not 0, and
 * another than the last that used this memory. Returns the stream, or NULL and *@err = -errno;
 * -ETIMEDOUT: nobody came. send and recv return that too, where the peer is silent for as long.
 */
struct stream *ring_open(const char *path, unsigned int side, uint32_t session, int *err);

/*
 * Says @session to the peer, for whom all is set up now, and waits for the peer to say the same.
 * Returns 0 or -ETIMEDOUT.
 */
int ring_meet(_Atomic uint32_t *own, const _Atomic uint32_t *peer, uint32_t session);

/* Both sides in one process, joined; for one thread that plays both. Returns 0 or -errno. */
int ring_pair(struct stream *sides[2]);

#endif
