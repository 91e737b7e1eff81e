// SPDX-License-Identifier: BSD-2-Clause
/* The allocator: states, bounds, and a long random run checked against a map of pages. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/alloc.h"

#define SIZE  (1u << 20)
#define PAGES (SIZE / SIV_PAGE_SIZE)
#define FIRST 1000 /* generation */

static int setup(void **state)
{
	struct alloc *alloc = malloc(sizeof(*alloc));

	assert_non_null(alloc);
	alloc_init(alloc, SIZE, FIRST);
	*state = alloc;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void test_smallest_channel_is_four_pages_after_the_link_pages(void **state)
{
	struct alloc_extent e;

	assert_int_equal(alloc_take(*state, &e, 12, 12), 0);
	assert_int_equal(e.offset, SIV_LINK_CHANNELS);
	assert_int_equal(e.length, 4 * SIV_PAGE_SIZE);
	assert_int_equal(e.generation, FIRST);
	assert_int_equal(e.state, ALLOC_GRANTED);
}

static void test_orders_out_of_range(void **state)
{
	struct alloc_extent e;

	assert_int_equal(alloc_take(*state, &e, 11, 12), -EINVAL);
	assert_int_equal(alloc_take(*state, &e, 12, 27), -EINVAL);
	assert_int_equal(alloc_take(*state, &e, 12, 200), -EINVAL);
	assert_int_equal(alloc_take(*state, &e, 26, 26), -ENOBUFS);
}

/* Every order of the events that two ends and a scrub can come in. */
static void test_free_only_after_both_ends_and_scrub(void **state)
{
	for (unsigned int first = 0; first < 2; first++) {
		struct alloc_extent e, other;

		assert_int_equal(alloc_take(*state, &e, 12, 12), 0);
		assert_int_equal(alloc_close(&e, first), 0);
		assert_int_equal(e.state, ALLOC_CLOSING);
		assert_int_equal(alloc_close(&e, first), -EALREADY);
		assert_int_equal(e.state, ALLOC_CLOSING);
		assert_int_equal(alloc_take(*state, &other, 12, 12), 0);
		assert_true(other.offset >= e.offset + e.length);
		assert_int_equal(alloc_close(&e, !first), 1);
		assert_int_equal(e.state, ALLOC_DIRTY);
		assert_int_equal(alloc_close(&e, first), -EALREADY);
		assert_int_equal(alloc_close(&e, !first), -EALREADY);
		assert_ptr_equal(alloc_find(*state, e.slot, e.generation), &e);
		alloc_release(*state, &e);
		assert_null(alloc_find(*state, e.slot, e.generation));
		alloc_close(&other, 0);
		alloc_close(&other, 1);
		alloc_release(*state, &other);
		assert_int_equal(((struct alloc *)*state)->used, 0);
	}
}

static void test_find_wants_slot_and_generation(void **state)
{
	struct alloc_extent e;

	assert_int_equal(alloc_take(*state, &e, 12, 12), 0);
	assert_ptr_equal(alloc_find(*state, e.slot, e.generation), &e);
	assert_null(alloc_find(*state, e.slot, e.generation + 1));
	assert_null(alloc_find(*state, e.slot + 1, e.generation));
	assert_null(alloc_find(*state, SIV_LINK_SLOTS, e.generation));
	assert_null(alloc_find(*state, UINT32_MAX, e.generation));
}

static void test_claim_checks_bounds_and_overlap(void **state)
{
	struct alloc_extent a = { .slot = 7, .generation = 1, .offset = 20 * SIV_PAGE_SIZE,
				  .c2s_order = 12, .s2c_order = 12 };
	static const struct {
		int64_t pages, bytes;
		uint32_t slot;
		uint8_t order;
		int result;
	} cases[] = {
		{ 20, 0, 8, 12, -EEXIST },  /* the same pages */
		{ 17, 0, 8, 12, -EEXIST },  /* its end in them */
		{ 23, 0, 8, 12, -EEXIST },  /* its start in them */
		{ 10, 0, 8, 16, -EEXIST },  /* around them */
		{ 24, 0, 7, 12, -EEXIST },  /* the slot */
		{ 24, 1, 8, 12, -ERANGE },  /* not aligned */
		{ 9, 0, 8, 12, -ERANGE },   /* event ring */
		{ 0, 0, 8, 12, -ERANGE },
		{ PAGES - 3, 0, 8, 12, -ERANGE },
		{ PAGES, 0, 8, 12, -ERANGE },
		{ PAGES + 1, 0, 8, 12, -ERANGE },
		{ INT64_MAX / SIV_PAGE_SIZE, 0, 8, 12, -ERANGE },
		{ -1, 0, 8, 12, -ERANGE },
		{ 24, 0, SIV_LINK_SLOTS, 12, -ERANGE },
		{ 24, 0, 8, 27, -ERANGE },
		{ 24, 0, 8, 11, -ERANGE },
		{ PAGES - 4, 0, 9, 12, 0 }, /* the last that fits */
		{ 24, 0, 8, 12, 0 },        /* right behind */
		{ 16, 0, 10, 12, 0 },       /* right before */
	};
	static struct alloc_extent e[sizeof(cases) / sizeof(cases[0])];

	assert_int_equal(alloc_claim(*state, &a), 0);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		e[i].slot = cases[i].slot;
		e[i].generation = 100 + i;
		e[i].offset = (uint64_t)(cases[i].pages * (int64_t)SIV_PAGE_SIZE + cases[i].bytes);
		e[i].c2s_order = e[i].s2c_order = cases[i].order;
		if (alloc_claim(*state, &e[i]) != cases[i].result)
			fail_msg("case %u", i);
	}
}

static void test_slots_run_out_before_pages(void **state)
{
	static struct alloc_extent e[SIV_LINK_SLOTS + 1];
	struct alloc *alloc = *state;

	alloc_init(alloc, 1ull << 30, FIRST);
	for (unsigned int i = 0; i < SIV_LINK_SLOTS; i++)
		assert_int_equal(alloc_take(alloc, &e[i], 12, 12), 0);
	assert_int_equal(alloc_take(alloc, &e[SIV_LINK_SLOTS], 12, 12), -ENOBUFS);
	alloc_close(&e[1234], 0);
	alloc_close(&e[1234], 1);
	alloc_release(alloc, &e[1234]);
	assert_int_equal(alloc_take(alloc, &e[SIV_LINK_SLOTS], 12, 12), 0);
	assert_int_equal(e[SIV_LINK_SLOTS].slot, 1234);
	assert_int_equal(e[SIV_LINK_SLOTS].generation, FIRST + SIV_LINK_SLOTS);
}

static void test_tiny_link_gives_nothing(void **state)
{
	struct alloc_extent e;

	for (uint64_t size = 0; size < SIV_LINK_CHANNELS + 4 * SIV_PAGE_SIZE; size += 1000) {
		alloc_init(*state, size, FIRST);
		assert_int_equal(alloc_take(*state, &e, 12, 12), -ENOBUFS);
	}
}

/* Gaps */

static int mark_gap(void *arg, uint64_t offset, uint64_t length)
{
	uint8_t *map = arg;

	for (uint64_t at = offset; at < offset + length; at += SIV_PAGE_SIZE) {
		assert_true(at / SIV_PAGE_SIZE < PAGES);
		assert_int_equal(map[at / SIV_PAGE_SIZE], 0);
		map[at / SIV_PAGE_SIZE] = 2;
	}
	return 0;
}

/* Pages of extents are 1, gaps 2, the link's own pages 0: each page exactly one of them. */
static void check_map(struct alloc *alloc, struct alloc_extent *const *live, unsigned int n)
{
	uint8_t map[PAGES] = { 0 };
	uint64_t used = 0;

	for (unsigned int i = 0; i < n; i++) {
		assert_true(live[i]->offset >= SIV_LINK_CHANNELS);
		for (uint64_t at = 0; at < live[i]->length; at += SIV_PAGE_SIZE) {
			uint64_t page = (live[i]->offset + at) / SIV_PAGE_SIZE;

			assert_true(page < PAGES);
			assert_int_equal(map[page], 0);
			map[page] = 1;
		}
		used += live[i]->length;
		for (unsigned int j = 0; j < i; j++)
			assert_int_not_equal(live[i]->slot, live[j]->slot);
	}
	assert_int_equal(used, alloc->used);
	assert_int_equal(n, alloc->n);
	assert_int_equal(alloc_gaps(alloc, mark_gap, map), 0);
	for (unsigned int page = 0; page < PAGES; page++)
		assert_int_equal(map[page] != 0, page >= SIV_LINK_CHANNELS / SIV_PAGE_SIZE);
}

static void test_random_run_against_a_map(void **state)
{
	struct alloc_extent *live[PAGES];
	struct alloc *alloc = *state;
	unsigned int n = 0, refused = 0;
	uint64_t last_generation = 0;
	uint32_t random = 12345;

	for (int step = 0; step < 20000; step++) {
		random = random * 1664525 + 1013904223;
		if ((random >> 16) % 5 < 3) {
			struct alloc_extent *e = calloc(1, sizeof(*e));

			if (alloc_take(alloc, e, 12 + (random >> 20) % 4,
				       12 + (random >> 24) % 4)) {
				free(e);
				refused++;
			} else {
				assert_true(e->generation > last_generation);
				last_generation = e->generation;
				live[n++] = e;
			}
		} else if (n) {
			unsigned int pick = (random >> 8) % n, end = random >> 31;
			struct alloc_extent *e = live[pick];

			if (alloc_close(e, end) == 1) {
				alloc_release(alloc, e);
				free(e);
				live[pick] = live[--n];
			}
		}
		if (step % 16 == 0)
			check_map(alloc, live, n);
	}
	assert_true(refused > 0);
	while (n)
		free(live[--n]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_smallest_channel_is_four_pages_after_the_link_pages),
		TEST(test_orders_out_of_range),
		TEST(test_free_only_after_both_ends_and_scrub),
		TEST(test_find_wants_slot_and_generation),
		TEST(test_claim_checks_bounds_and_overlap),
		TEST(test_slots_run_out_before_pages),
		TEST(test_tiny_link_gives_nothing),
		TEST(test_random_run_against_a_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
