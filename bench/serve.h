/* SPDX-License-Identifier: BSD-2-Clause */
/* The side that answers. */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include "stream.h"

/* Answers requests until the client ends the stream, and closes it. Returns 0 or -errno. */
int serve_stream(struct stream *stream);

/* Listens at each of @n endpoints (as text), prints "ready", and serves until it is killed. */
int serve_endpoints(char **endpoints, unsigned int n);

#endif
