/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where in a hash table an id goes that a stranger may have chosen, or chosen which of them to keep:
 * that he cannot know, so he cannot have a table degenerate into one list.
 */
#ifndef SIVSHMEM_ID_HASH_H
#define SIVSHMEM_ID_HASH_H

#include <stdint.h>

#define ID_HASH_BUCKETS 256u /* of a table; a power of two */

/*
 * @key: random, and secret. The mixing is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast
 * splittable pseudorandom number generators", 2014): no cipher, but nobody sees what it gives.
 */
static inline unsigned int id_hash(uint64_t id, uint64_t key)
{
	uint64_t x = id + key;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (x ^ x >> 31) % ID_HASH_BUCKETS;
}

#endif
