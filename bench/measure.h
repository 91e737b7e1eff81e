/* SPDX-License-Identifier: BSD-2-Clause */
/* The side that asks, and takes the time. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#include "samples.h"
#include "socket.h"
#include "stream.h"

/* A measurement ends with the samples' room, or with the first sample that ends after this time. */
struct measure_limits {
	uint32_t size;         /* bytes of a message */
	uint64_t transfer;     /* bytes of a transfer whose throughput is one sample, at most */
	uint64_t nanoseconds;
	bool exactly; /* for counters: nothing first, as many round trips as samples, or a transfer */
};

/* All return 0 or -errno, and leave @stream open. */

/* A sample: microseconds from the first byte of a message sent to the last that came back. */
int measure_rtt(struct stream *stream, const struct measure_limits *limits,
		struct samples *samples);

/*
 * A sample: 10^6 bytes a second of one transfer in writes of a message each, from the first write
 * until the acknowledgement that the last byte was received is here.
 */
int measure_throughput(struct stream *stream, const struct measure_limits *limits,
		       struct samples *samples);

/*
 * A sample: milliseconds from socket() until connect() has returned, in a process made for it; with
 * TLS until the first bytes of the server are here, because before them the client cannot know
 * whether the server took its certificate.
 */
int measure_connect(const struct endpoint *endpoint, const struct measure_limits *limits,
		    struct samples *samples);

/* A sample: nanoseconds that a reading of the clock takes; each time above holds about one. */
void measure_clock(const struct measure_limits *limits, struct samples *samples);

/* Tells the server that this was all. */
int measure_end(struct stream *stream);

#endif
