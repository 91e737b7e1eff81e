/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams over mapped channels, both directions direct: libsivshmem's rings, with each message
 * copied into a view and out of one, as the bare ring copies it. Over a socket, or over memory that
 * two processes map, without a kernel behind it.
 */
#ifndef BENCH_MAPPED_H
#define BENCH_MAPPED_H

#include <stdint.h>

#include "stream.h"

/* The stream over a connected socket, which it owns once it is returned. NULL: *@err is -errno. */
struct stream *mapped_stream(int fd, int *err);

/* As ring_open() and ring_pair(). */
struct stream *mapped_open(const char *path, unsigned int side, uint32_t session, int *err);
int mapped_pair(struct stream *sides[2]);

#endif
