// SPDX-License-Identifier: BSD-2-Clause
/*
 * The ring's arithmetic, every combination for small sizes, around 0 and around the wrap of 64 bits,
 * against a reference that counts steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sivshmem/ring.h>

#define SIZE 8
#define SPAN 24 /* positions on either side of the base that are tried */

static const uint64_t bases[] = { SPAN, UINT64_MAX / 2, UINT64_MAX - 4, 0x80000000ull - 3 };
#define BASES (sizeof(bases) / sizeof(bases[0]))

static void readable_takes_what_can_be_true_and_nothing_else(void **state)
{
	(void)state;
	for (size_t b = 0; b < BASES; b++)
		for (int seen = 0; seen <= SIZE; seen++)
			for (int tx = -SPAN; tx <= SPAN; tx++) {
				uint64_t pos = bases[b];
				__u64 bytes = 99;
				bool possible = tx >= seen && tx <= SIZE;

				assert_int_equal(siv_ring_readable(pos + tx, pos + seen, pos, SIZE,
								   &bytes), possible);
				assert_int_equal(bytes, possible ? tx : 99);
			}
}

static void has_is_readable_for_who_wants_more_than_was_seen(void **state)
{
	(void)state;
	for (size_t b = 0; b < BASES; b++)
		for (int min = 1; min <= SIZE + 1; min++)
			for (int tx = -SPAN; tx <= SPAN; tx++) {
				uint64_t pos = bases[b];
				__u64 bytes = 0;
				bool readable = siv_ring_readable(pos + tx, pos + min - 1, pos, SIZE,
								  &bytes);

				assert_int_equal(siv_ring_has(pos + tx, pos, min, SIZE),
						 min <= SIZE && readable && bytes >= (__u64)min);
				assert_false(siv_ring_has(pos + tx, pos, min, 0));
			}
}

static void writable_takes_what_can_be_true_and_nothing_else(void **state)
{
	(void)state;
	for (size_t b = 0; b < BASES; b++)
		for (int seen = -SIZE; seen <= 0; seen++)
			for (int rx = -SPAN; rx <= SPAN; rx++) {
				uint64_t pos = bases[b];
				__u64 bytes = 99;
				bool possible = rx >= seen && rx <= 0;

				assert_int_equal(siv_ring_writable(pos + rx, pos + seen, pos, SIZE,
								   &bytes), possible);
				assert_int_equal(bytes, possible ? SIZE + rx : 99);
			}
}

static void far_claims_are_refused(void **state)
{
	const uint64_t lies[] = { 1ull << 63, (1ull << 63) - 1, UINT64_MAX, 1ull << 32, SIZE + 1 };
	__u64 bytes;

	(void)state;
	for (size_t b = 0; b < BASES; b++)
		for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
			assert_false(siv_ring_readable(bases[b] + lies[i], bases[b], bases[b], SIZE,
						       &bytes));
			assert_false(siv_ring_writable(bases[b] + lies[i], bases[b], bases[b], SIZE,
						       &bytes));
		}
}

static void a_step_passes_a_wake_word_that_it_goes_over(void **state)
{
	(void)state;
	for (size_t b = 0; b < BASES; b++)
		for (int step = 0; step <= SIZE; step++)
			for (int wake = -SPAN; wake <= SPAN; wake++)
				assert_int_equal(siv_ring_passed(bases[b], bases[b] + step,
								 bases[b] + wake),
						 wake > 0 && wake <= step);
}

/* Zero is what a word holds before anybody armed it; a channel's positions start at 0. */
static void a_word_of_zero_never_matches_a_young_channel(void **state)
{
	(void)state;
	for (uint64_t old = 0; old < SPAN; old++)
		for (uint64_t new_pos = old; new_pos < old + SIZE; new_pos++)
			assert_false(siv_ring_passed(old, new_pos, 0));
}

/*
 * What the waiter relies on: if siv_ring_armed() says that the word serves, then whatever steps the
 * peer takes from @pos to @want or beyond, one of them passes the word, and not after @want.
 */
static void an_armed_word_is_passed_on_the_way(void **state)
{
	(void)state;
	for (size_t b = 0; b < BASES; b++)
		for (int want = 1; want <= SIZE; want++)
			for (int word = -SIZE; word <= SPAN; word++) {
				uint64_t base = bases[b];
				int passed_at = 0;

				for (int step = 0; step < want; step++)
					if (siv_ring_passed(base + step, base + step + 1, base + word))
						passed_at = step + 1;
				assert_int_equal(siv_ring_armed(base + word, base, base + want),
						 passed_at > 0);
			}
}

static void a_record_takes_its_header_and_whole_headers_of_data(void **state)
{
	(void)state;
	for (__u64 len = 0; len < 5 * SIV_RECORD_HEADER; len++) {
		__u64 span = siv_record_span(len);

		assert_int_equal(span % SIV_RECORD_HEADER, 0);
		assert_in_range(span, len + SIV_RECORD_HEADER, len + 2 * SIV_RECORD_HEADER - 1);
	}
	assert_int_equal(siv_record_span(UINT32_MAX), 0x100000008ull);
}

static void a_record_that_is_not_there_whole_is_impossible(void **state)
{
	static const uint32_t lens[] = { 0, 1, 7, 8, 9, 4088, UINT32_MAX - 8, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		__u64 span = siv_record_span(lens[i]);

		assert_true(siv_record_possible(lens[i], span));
		assert_true(siv_record_possible(lens[i], span + SIV_RECORD_HEADER));
		assert_false(siv_record_possible(lens[i], span - 1));
		assert_false(siv_record_possible(lens[i], 0));
	}
}

static void a_position_is_reached_at_and_after_it(void **state)
{
	(void)state;
	for (size_t b = 0; b < BASES; b++)
		for (int at = -SPAN; at <= SPAN; at++)
			assert_int_equal(siv_ring_reached(bases[b] + at, bases[b]), at >= 0);
}

static void events_beyond_the_capacity_are_noticed(void **state)
{
	__u64 n;

	(void)state;
	for (size_t b = 0; b < BASES; b++)
		for (int pos = -SPAN; pos <= SPAN; pos++) {
			bool possible = siv_events_pending(bases[b] + pos, bases[b], SIZE, &n);

			assert_int_equal(possible, pos >= 0 && pos <= SIZE);
			if (possible)
				assert_int_equal(n, pos);
		}
}

static void a_sealed_record_has_a_tag_and_an_upper_end(void **state)
{
	(void)state;
	assert_false(siv_sealed_possible(SIV_SEAL_TAG - 1, 0, 1 << 20));
	assert_true(siv_sealed_possible(SIV_SEAL_TAG, 0, 1 << 20));
	assert_false(siv_sealed_possible(SIV_SEAL_TAG, 1, 1 << 20));
	assert_true(siv_sealed_possible(SIV_SEAL_TAG + 1, 1, 1 << 20));
	assert_true(siv_sealed_possible(SIV_SEAL_TAG + SIV_SEAL_DATA, 1, 1 << 20));
	assert_false(siv_sealed_possible(SIV_SEAL_TAG + SIV_SEAL_DATA + 1, 1, 1 << 20));
	assert_false(siv_sealed_possible(UINT32_MAX, 1, UINT64_MAX));
	assert_true(siv_sealed_possible(SIV_SEAL_TAG, 0, SIV_RECORD_HEADER + SIV_SEAL_TAG));
	assert_false(siv_sealed_possible(SIV_SEAL_TAG, 0, SIV_RECORD_HEADER + SIV_SEAL_TAG - 1));
}

/* What is said to go in does, and one byte more would not. */
static void a_sealed_record_fits_into_its_room(void **state)
{
	(void)state;
	for (__u64 room = 0; room < 3 * SIV_SEAL_DATA; room++) {
		__u32 len = siv_seal_payload(room);

		assert_true(len <= SIV_SEAL_DATA);
		if (len)
			assert_true(siv_record_span(len + SIV_SEAL_TAG) <= room);
		if (len < SIV_SEAL_DATA)
			assert_true(siv_record_span(len + 1 + SIV_SEAL_TAG) > room);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readable_takes_what_can_be_true_and_nothing_else),
		cmocka_unit_test(has_is_readable_for_who_wants_more_than_was_seen),
		cmocka_unit_test(writable_takes_what_can_be_true_and_nothing_else),
		cmocka_unit_test(far_claims_are_refused),
		cmocka_unit_test(a_step_passes_a_wake_word_that_it_goes_over),
		cmocka_unit_test(a_word_of_zero_never_matches_a_young_channel),
		cmocka_unit_test(an_armed_word_is_passed_on_the_way),
		cmocka_unit_test(a_record_takes_its_header_and_whole_headers_of_data),
		cmocka_unit_test(a_record_that_is_not_there_whole_is_impossible),
		cmocka_unit_test(a_sealed_record_has_a_tag_and_an_upper_end),
		cmocka_unit_test(a_sealed_record_fits_into_its_room),
		cmocka_unit_test(a_position_is_reached_at_and_after_it),
		cmocka_unit_test(events_beyond_the_capacity_are_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
