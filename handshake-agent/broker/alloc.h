/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which pages and slots of a link are whose.
 *
 *         alloc_take()            one CLOSED           the other          alloc_release()
 *   free --------------> granted -----------> closing ----------> dirty ----------------> free
 *         alloc_claim()
 *
 * Pages leave "granted" only because both kernels have said that they will not touch them again,
 * and "dirty" only because somebody has zeroed them. There is no timer here and none may be added:
 * pages whose state is not known stay quarantined.
 *
 * An extent is the caller's memory (part of its channel); the allocator holds pointers to it from
 * alloc_take() or alloc_claim() until alloc_release().
 */
#ifndef SIVSHMEM_ALLOC_H
#define SIVSHMEM_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

#include <sivshmem/abi.h>

enum alloc_state {
	ALLOC_FREE,
	ALLOC_GRANTED, /* either kernel may touch it */
	ALLOC_CLOSING, /* one of them may */
	ALLOC_DIRTY,   /* none will; it holds a channel's data */
};

struct alloc_extent {
	uint64_t generation; /* never used again on this link */
	uint64_t offset;     /* bytes from the start of the link */
	uint64_t length;     /* bytes */
	uint32_t slot;
	uint8_t c2s_order, s2c_order;
	enum alloc_state state;
	unsigned int closed; /* bit for each end */
};

struct alloc {
	uint64_t size; /* bytes of the link */
	uint64_t used; /* bytes that are not free */
	uint64_t next_generation;
	uint32_t next_slot; /* slots are taken in turns: an old one's stray events die out */
	unsigned int n;     /* extents */
	struct alloc_extent *by_slot[SIV_LINK_SLOTS];
	struct alloc_extent *by_offset[SIV_LINK_SLOTS]; /* the first @n, sorted */
};

/* @first_generation: none that was ever used on this link may be at or after it. */
void alloc_init(struct alloc *alloc, uint64_t size, uint64_t first_generation);

/* Bytes of a channel with these orders, control pages included. */
uint64_t alloc_length(unsigned int c2s_order, unsigned int s2c_order);

/* First fit. 0, -EINVAL (orders out of range), or -ENOBUFS. */
int alloc_take(struct alloc *alloc, struct alloc_extent *extent, unsigned int c2s_order,
	       unsigned int s2c_order);

/*
 * Takes over a channel that a kernel has: @extent's slot, generation, offset and orders are given.
 * 0, -ERANGE (out of bounds, not aligned), or -EEXIST (the slot or a page is another's).
 */
int alloc_claim(struct alloc *alloc, struct alloc_extent *extent);

struct alloc_extent *alloc_find(const struct alloc *alloc, uint32_t slot, uint64_t generation);

/*
 * End @end will not touch that extent again. 0: the other end may; 1: nobody will, it is dirty.
 * -EALREADY: that end had said so before, nothing changed.
 */
int alloc_close(struct alloc_extent *extent, unsigned int end);

/* A dirty extent was zeroed: it is free, and @extent the caller's again. */
void alloc_release(struct alloc *alloc, struct alloc_extent *extent);

/* Calls @gap for each range of channel memory that no extent has. Stops at the first error. */
int alloc_gaps(const struct alloc *alloc, int (*gap)(void *arg, uint64_t offset, uint64_t length),
	       void *arg);

#endif
