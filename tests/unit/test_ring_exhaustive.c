// SPDX-License-Identifier: BSD-2-Clause
/*
 * The ring's arithmetic over all values of small rings, against an oracle that never wraps:
 * positions are counted in 128 bits from the channel's start, and what the functions get are the
 * low 64 of them. What can be true is found by trying every position that can. Claims, which a peer
 * can make up, are all values near the truth and near its opposite, half of 64 bits away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sivshmem/ring.h>

#define SIZES  16 /* rings of 1 to this many bytes, event rings of as many entries */
#define AROUND 20 /* positions on either side of a base from which channels are looked at */
#define BASES  4
#define CLAIMS (2 * (2 * (SIZES + 2) + 1))

typedef __int128 wide;

static const wide half = (wide)1 << 63, whole = (wide)1 << 64;

/* Channels are young, at half of 64 bits, where these wrap, and where they wrap again. */
static wide base(unsigned int i)
{
	const wide bases[BASES] = { AROUND, half, whole, 2 * whole };

	return bases[i];
}

/* Everything within @reach of @truth and of its opposite; how many that are. */
static unsigned int make_claims(wide truth, int reach, uint64_t claims[CLAIMS])
{
	unsigned int n = 0;

	for (int d = -reach; d <= reach; d++) {
		claims[n++] = (uint64_t)(truth + d);
		claims[n++] = (uint64_t)(truth + half + d);
	}
	return n;
}

/* The position in [@from, @to] that a peer can mean by @claim, or -1. */
static wide meant(uint64_t claim, wide from, wide to)
{
	for (wide at = from; at <= to; at++)
		if ((uint64_t)at == claim)
			return at;
	return -1;
}

/* What @claim stands for where all can be meant: less than half of 64 bits ahead, else behind. */
static wide stands_for(uint64_t claim, wide from)
{
	wide ahead = (wide)claim - (wide)(uint64_t)from;

	if (ahead < -half)
		ahead += whole;
	else if (ahead >= half)
		ahead -= whole;
	return from + ahead;
}

/* Of one channel: @pos of this side and @seen of the peer, as this side knows them. */
static void check_readable(wide pos, wide seen, int size)
{
	uint64_t claims[CLAIMS];
	unsigned int n = make_claims(pos, size + 2, claims);

	for (unsigned int i = 0; i < n; i++) {
		wide tx = meant(claims[i], seen, pos + size);
		__u64 bytes = UINT64_MAX;

		assert_int_equal(
			siv_ring_readable(claims[i], (uint64_t)seen, (uint64_t)pos, size, &bytes),
			tx >= 0);
		assert_int_equal(bytes, tx >= 0 ? (uint64_t)(tx - pos) : UINT64_MAX);
	}
}

static void check_writable(wide pos, wide seen, int size)
{
	uint64_t claims[CLAIMS];
	unsigned int n = make_claims(pos, size + 2, claims);

	for (unsigned int i = 0; i < n; i++) {
		wide rx = meant(claims[i], seen, pos);
		__u64 bytes = UINT64_MAX;

		assert_int_equal(
			siv_ring_writable(claims[i], (uint64_t)seen, (uint64_t)pos, size, &bytes),
			rx >= 0);
		assert_int_equal(bytes, rx >= 0 ? (uint64_t)(size - (pos - rx)) : UINT64_MAX);
	}
}

static void check_moved(wide rx_seen, wide tx_seen, int size)
{
	uint64_t rx[CLAIMS], tx[CLAIMS];
	unsigned int n = make_claims(rx_seen, size + 2, rx);

	make_claims(tx_seen, size + 2, tx);
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < n; j++) {
			wide r = stands_for(rx[i], rx_seen), t = stands_for(tx[j], tx_seen);
			bool possible = r >= rx_seen && t >= tx_seen && r <= t && t - r <= size;

			assert_int_equal(siv_ring_moved(rx[i], (uint64_t)rx_seen, tx[j],
							(uint64_t)tx_seen, size),
					 possible);
		}
}

static void check_passed(wide old, wide new_pos, int size)
{
	uint64_t claims[CLAIMS];
	unsigned int n = make_claims(old, size + 2, claims);

	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(siv_ring_passed((uint64_t)old, (uint64_t)new_pos, claims[i]),
				 meant(claims[i], old + 1, new_pos) >= 0);
}

/* Nobody arms for what is there already. */
static void check_armed(wide pos, wide want, int size)
{
	uint64_t claims[CLAIMS];
	unsigned int n = make_claims(pos, size + 2, claims);

	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(siv_ring_armed(claims[i], (uint64_t)pos, (uint64_t)want),
				 meant(claims[i], pos + 1, want) >= 0);
}

static void check_reached(wide want)
{
	uint64_t claims[CLAIMS];
	unsigned int n = make_claims(want, SIZES + 2, claims);

	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(siv_ring_reached(claims[i], (uint64_t)want),
				 stands_for(claims[i], want) >= want);
}

static void check_events(wide seen, int slots)
{
	uint64_t claims[CLAIMS];
	unsigned int n = make_claims(seen, slots + 2, claims);

	for (unsigned int i = 0; i < n; i++) {
		wide pos = meant(claims[i], seen, seen + slots);
		__u64 entries = 0;

		assert_int_equal(siv_events_pending(claims[i], (uint64_t)seen, slots, &entries),
				 pos >= 0);
		if (pos >= 0)
			assert_int_equal(entries, (uint64_t)(pos - seen));
		else
			assert_int_not_equal(entries, 0); /* nobody takes a lie for silence */
	}
}

/* Calls @check with all pairs that are 0 to @size apart, the lower one first if @up. */
static void each_pair(void (*check)(wide, wide, int), bool up)
{
	for (int size = 1; size <= SIZES; size++)
		for (unsigned int b = 0; b < BASES; b++)
			for (int d = -AROUND; d <= AROUND; d++)
				for (int apart = 0; apart <= size; apart++) {
					wide low = base(b) + d, high = low + apart;

					check(up ? low : high, up ? high : low, size);
				}
}

static void readable_is_what_the_writer_can_have_written(void **state)
{
	(void)state;
	each_pair(check_readable, true);
}

static void writable_is_what_the_reader_can_have_read(void **state)
{
	(void)state;
	each_pair(check_writable, false);
}

static void both_positions_move_forward_and_stay_within_the_ring(void **state)
{
	(void)state;
	each_pair(check_moved, true);
}

static void a_word_is_passed_that_lies_on_the_step(void **state)
{
	(void)state;
	each_pair(check_passed, true);
}

static void a_word_serves_that_lies_on_the_way(void **state)
{
	(void)state;
	each_pair(check_armed, true);
}

static void reached_is_at_or_behind(void **state)
{
	(void)state;
	for (unsigned int b = 0; b < BASES; b++)
		for (int d = -AROUND; d <= AROUND; d++)
			check_reached(base(b) + d);
}

static void events_are_counted_up_to_the_capacity(void **state)
{
	(void)state;
	for (int slots = 1; slots <= SIZES; slots++)
		for (unsigned int b = 0; b < BASES; b++)
			for (int d = -AROUND; d <= AROUND; d++)
				check_events(base(b) + d, slots);
}

/* The span is the least multiple of a header's size that has room for the header and the data. */
static void check_record(uint32_t len)
{
	const wide least = (wide)len + SIV_RECORD_HEADER;
	wide span = siv_record_span(len);

	assert_true(span >= least && span < least + SIV_RECORD_HEADER);
	assert_int_equal((uint64_t)span % SIV_RECORD_HEADER, 0);
	for (int d = -(int)SIZES; d <= SIZES; d++) {
		if (span + d >= 0)
			assert_int_equal(siv_record_possible(len, (uint64_t)(span + d)), d >= 0);
		if (SIZES + d >= 0)
			assert_int_equal(siv_record_possible(len, SIZES + d), SIZES + d >= span);
	}
}

static void a_record_is_whole_or_impossible(void **state)
{
	(void)state;
	for (uint32_t len = 0; len < 4096 + SIZES; len++)
		check_record(len);
	for (uint32_t len = UINT32_MAX; len > UINT32_MAX - 4096; len--)
		check_record(len);
	for (uint32_t len = INT32_MAX - 64u; len < INT32_MAX + 64u; len++)
		check_record(len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readable_is_what_the_writer_can_have_written),
		cmocka_unit_test(writable_is_what_the_reader_can_have_read),
		cmocka_unit_test(both_positions_move_forward_and_stay_within_the_ring),
		cmocka_unit_test(a_word_is_passed_that_lies_on_the_step),
		cmocka_unit_test(a_word_serves_that_lies_on_the_way),
		cmocka_unit_test(reached_is_at_or_behind),
		cmocka_unit_test(events_are_counted_up_to_the_capacity),
		cmocka_unit_test(a_record_is_whole_or_impossible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
