/* SPDX-License-Identifier: BSD-2-Clause */
/* A token bucket: how often something may happen. */
#ifndef SIVSHMEM_SWITCH_BUCKET_H
#define SIVSHMEM_SWITCH_BUCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct bucket {
	uint32_t tokens;
	uint32_t burst;     /* most tokens that it holds */
	uint32_t refill_ms; /* one more token after each of these */
	int64_t filled_ms;  /* CLOCK_MONOTONIC at the last refill */
};

static inline int64_t bucket_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static inline void bucket_init(struct bucket *b, uint32_t burst, uint32_t refill_ms)
{
	b->tokens = burst;
	b->burst = burst;
	b->refill_ms = refill_ms;
	b->filled_ms = bucket_now_ms();
}

/* Takes a token; false if there is none. */
static inline bool bucket_take(struct bucket *b)
{
	int64_t steps = (bucket_now_ms() - b->filled_ms) / b->refill_ms;

	if (steps >= b->burst - b->tokens)
		b->tokens = b->burst;
	else
		b->tokens += steps;
	b->filled_ms += steps * b->refill_ms;
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}

#endif
