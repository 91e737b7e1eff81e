// SPDX-License-Identifier: BSD-2-Clause
/*
 * Random numbers, and bytes that can be made again at any position. Both are splitmix64 (Steele, Lea,
 * Flood: Fast splittable pseudorandom number generators, 2014).
 */
#include <string.h>

#include "random.h"

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t rng_next(struct rng *r)
{
	return mix(r->x += 0x9e3779b97f4a7c15);
}

struct rng rng_at(uint64_t seed, uint64_t place)
{
	return (struct rng){ mix(seed) ^ mix(place + 0x632be59bd9b4e019) };
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

bool rng_percent(struct rng *r, unsigned int percent)
{
	return rng_below(r, 100) < percent;
}

size_t rng_size(struct rng *r, size_t max)
{
	unsigned int bits = 0;
	size_t top;

	while (bits < 63 && max >> (bits + 1))
		bits++;
	top = max >> rng_below(r, bits + 1);
	return 1 + rng_below(r, top);
}

static uint64_t word_at(uint64_t key, uint64_t index)
{
	return mix(key + index * 0x9e3779b97f4a7c15);
}

void pattern_fill(uint64_t key, uint64_t pos, void *buf, size_t len)
{
	uint8_t *to = buf;
	uint64_t word;
	size_t at, n;

	for (; len; len -= n, to += n, pos += n) {
		word = word_at(key, pos / sizeof(word));
		at = pos % sizeof(word);
		n = sizeof(word) - at < len ? sizeof(word) - at : len;
		memcpy(to, (uint8_t *)&word + at, n);
	}
}

size_t pattern_differs(uint64_t key, uint64_t pos, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	uint64_t word;
	size_t done, at, n, i;

	for (done = 0; done < len; done += n, pos += n) {
		word = word_at(key, pos / sizeof(word));
		at = pos % sizeof(word);
		n = sizeof(word) - at < len - done ? sizeof(word) - at : len - done;
		for (i = 0; i < n; i++)
			if (from[done + i] != ((uint8_t *)&word)[at + i])
				return done + i;
	}
	return len;
}
