/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A token bucket: how often something may happen. (Kept as the time at which it is full again, as
 * the generic cell rate algorithm of ITU-T I.371 does: nothing has to be refilled.)
 */
#ifndef SIVSHMEM_BUCKET_H
#define SIVSHMEM_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	uint32_t burst;       /* most tokens that it holds */
	uint64_t interval_ns; /* one more token after each of these */
	uint64_t full_ns;     /* when it is full again if nobody takes any; in the past: it is */
};

/* Another rate. A new bucket, all zero, is full; the tokens that were taken stay so. */
static inline void bucket_set(struct bucket *b, uint32_t burst, uint64_t interval_ns)
{
	b->burst = burst;
	b->interval_ns = interval_ns;
}

/* Takes a token; false if there is none. @now_ns: loop time. */
static inline bool bucket_take(struct bucket *b, uint64_t now_ns)
{
	uint64_t whole_ns = b->burst * b->interval_ns;

	if (b->full_ns < now_ns)
		b->full_ns = now_ns;
	/* What was taken at an earlier, slower rate does not empty it for longer than this one. */
	if (b->full_ns > now_ns + whole_ns)
		b->full_ns = now_ns + whole_ns;
	if (b->full_ns + b->interval_ns > now_ns + whole_ns)
		return false;
	b->full_ns += b->interval_ns;
	return true;
}

#endif
