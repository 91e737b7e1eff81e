/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams over mapped channels whose positions the kernel has, moved by io_uring: sends in place
 * (IORING_OP_SEND_ZC) and releases in place go to the kernel in batches.
 */
#ifndef BENCH_URING_ZC_H
#define BENCH_URING_ZC_H

#include "stream.h"

/* The stream over @fd, which it owns once it is returned. NULL: *@err is -errno. */
struct stream *uring_zc_stream(int fd, int *err);

#endif
