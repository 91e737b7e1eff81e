/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams over connected sockets by io_uring: sends are put off and go to the kernel together, linked
 * so that they stay in order, with the receive that follows. One system call for each round trip,
 * and one for each batch of one-way messages. What is thrown away is
 * received by one multishot receive into provided buffers.
 */
#ifndef BENCH_URING_H
#define BENCH_URING_H

#include "stream.h"

/* The stream over @fd, which it owns once it is returned. NULL: *@err is -errno. */
struct stream *uring_stream(int fd, int *err);

#endif
