// SPDX-License-Identifier: BSD-2-Clause
/* Which pages and slots of a link are whose: first fit over extents sorted by offset. */
#include "alloc.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void alloc_init(struct alloc *alloc, uint64_t size, uint64_t first_generation)
{
	memset(alloc, 0, sizeof(*alloc));
	alloc->size = size & ~(uint64_t)(SIV_PAGE_SIZE - 1);
	alloc->next_generation = first_generation;
}

static bool orders_ok(unsigned int c2s_order, unsigned int s2c_order)
{
	return c2s_order >= SIV_CHAN_ORDER_MIN && c2s_order <= SIV_CHAN_ORDER_MAX &&
	       s2c_order >= SIV_CHAN_ORDER_MIN && s2c_order <= SIV_CHAN_ORDER_MAX;
}

uint64_t alloc_length(unsigned int c2s_order, unsigned int s2c_order)
{
	return SIV_CHAN_PAGES * (uint64_t)SIV_PAGE_SIZE + (1ull << c2s_order) + (1ull << s2c_order);
}

static uint64_t extent_end(const struct alloc_extent *extent)
{
	return extent->offset + extent->length;
}

/* Where an extent at @offset belongs in by_offset. */
static unsigned int find_place(const struct alloc *alloc, uint64_t offset)
{
	unsigned int low = 0, high = alloc->n;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (alloc->by_offset[middle]->offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void insert(struct alloc *alloc, struct alloc_extent *extent, unsigned int place)
{
	memmove(&alloc->by_offset[place + 1], &alloc->by_offset[place],
		(alloc->n - place) * sizeof(alloc->by_offset[0]));
	alloc->by_offset[place] = extent;
	alloc->n++;
	alloc->by_slot[extent->slot] = extent;
	alloc->used += extent->length;
	extent->state = ALLOC_GRANTED;
	extent->closed = 0;
}

int alloc_take(struct alloc *alloc, struct alloc_extent *extent, unsigned int c2s_order,
	       unsigned int s2c_order)
{
	uint64_t start = SIV_LINK_CHANNELS;
	unsigned int place;
	uint64_t length;

	if (!orders_ok(c2s_order, s2c_order))
		return -EINVAL;
	if (alloc->n == SIV_LINK_SLOTS)
		return -ENOBUFS;
	length = alloc_length(c2s_order, s2c_order);
	for (place = 0; place < alloc->n; place++) {
		if (alloc->by_offset[place]->offset - start >= length)
			break;
		start = extent_end(alloc->by_offset[place]);
	}
	if (alloc->size < start || alloc->size - start < length)
		return -ENOBUFS;
	while (alloc->by_slot[alloc->next_slot])
		alloc->next_slot = (alloc->next_slot + 1) % SIV_LINK_SLOTS;
	extent->slot = alloc->next_slot;
	alloc->next_slot = (alloc->next_slot + 1) % SIV_LINK_SLOTS;
	extent->generation = alloc->next_generation++;
	extent->offset = start;
	extent->length = length;
	extent->c2s_order = (uint8_t)c2s_order;
	extent->s2c_order = (uint8_t)s2c_order;
	insert(alloc, extent, place);
	return 0;
}

int alloc_claim(struct alloc *alloc, struct alloc_extent *extent)
{
	unsigned int place;

	if (extent->slot >= SIV_LINK_SLOTS || !orders_ok(extent->c2s_order, extent->s2c_order) ||
	    extent->offset % SIV_PAGE_SIZE || extent->offset < SIV_LINK_CHANNELS ||
	    extent->offset > alloc->size)
		return -ERANGE;
	extent->length = alloc_length(extent->c2s_order, extent->s2c_order);
	if (alloc->size - extent->offset < extent->length)
		return -ERANGE;
	if (alloc->by_slot[extent->slot])
		return -EEXIST;
	place = find_place(alloc, extent->offset);
	if (place > 0 && extent_end(alloc->by_offset[place - 1]) > extent->offset)
		return -EEXIST;
	if (place < alloc->n && alloc->by_offset[place]->offset < extent_end(extent))
		return -EEXIST;
	/* A slot was free, so by_offset has room. */
	insert(alloc, extent, place);
	return 0;
}

struct alloc_extent *alloc_find(const struct alloc *alloc, uint32_t slot, uint64_t generation)
{
	struct alloc_extent *extent = slot < SIV_LINK_SLOTS ? alloc->by_slot[slot] : NULL;

	return extent && extent->generation == generation ? extent : NULL;
}

int alloc_close(struct alloc_extent *extent, unsigned int end)
{
	unsigned int bit = 1u << end;

	assert(end < 2 && extent->state != ALLOC_FREE);
	if (extent->closed & bit)
		return -EALREADY;
	extent->closed |= bit;
	extent->state = extent->closed == 3 ? ALLOC_DIRTY : ALLOC_CLOSING;
	return extent->state == ALLOC_DIRTY;
}

void alloc_release(struct alloc *alloc, struct alloc_extent *extent)
{
	unsigned int place = find_place(alloc, extent->offset);

	assert(extent->state == ALLOC_DIRTY);
	assert(alloc->by_offset[place] == extent && alloc->by_slot[extent->slot] == extent);
	alloc->n--;
	memmove(&alloc->by_offset[place], &alloc->by_offset[place + 1],
		(alloc->n - place) * sizeof(alloc->by_offset[0]));
	alloc->by_slot[extent->slot] = NULL;
	alloc->used -= extent->length;
	extent->state = ALLOC_FREE;
}

int alloc_gaps(const struct alloc *alloc, int (*gap)(void *arg, uint64_t offset, uint64_t length),
	       void *arg)
{
	uint64_t start = SIV_LINK_CHANNELS;
	int err = 0;

	for (unsigned int i = 0; i < alloc->n && !err; i++) {
		if (alloc->by_offset[i]->offset > start)
			err = gap(arg, start, alloc->by_offset[i]->offset - start);
		start = extent_end(alloc->by_offset[i]);
	}
	if (!err && start < alloc->size)
		err = gap(arg, start, alloc->size - start);
	return err;
}
