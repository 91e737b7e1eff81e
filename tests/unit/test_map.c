// SPDX-License-Identifier: BSD-2-Clause
/*
 * Mapped rings: what views show, and that a peer which writes what it likes gets nothing by it.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "map_lane.h"

static const uint64_t bases[] = { 0, SIZE - 8, 1ull << 32, UINT64_MAX - 4 * SIZE + 1,
				  UINT64_MAX - 7, 1ull << 63 };
#define BASES (sizeof(bases) / sizeof(bases[0]))

static void a_view_does_not_split_where_the_ring_wraps(void **state)
{
	struct lane *lane = *state;
	const void *view;

	for (size_t b = 0; b < BASES; b++) {
		lane_begin(lane, SOCK_STREAM, bases[b]);
		for (unsigned int i = 0; i < 40; i++) {
			size_t len = i % 3 ? 1001 * (i % 4) + 1 : SIZE;

			lane_put(lane, len, i);
			assert_int_equal(siv_peek(&lane->rx, &view), len);
			for (size_t j = 0; j < len; j++)
				assert_int_equal(((const uint8_t *)view)[j], i);
			assert_int_equal(siv_release(&lane->rx, len, 0), 0);
			assert_int_equal(siv_peek(&lane->rx, &view), -EAGAIN);
		}
	}
}

static void there_is_room_for_a_ring_and_not_for_more(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	for (size_t b = 0; b < BASES; b++) {
		lane_begin(lane, SOCK_STREAM, bases[b]);
		assert_int_equal(siv_reserve(&lane->tx, SIZE + 1, &view), -EMSGSIZE);
		assert_int_equal(siv_reserve(&lane->tx, SIZE_MAX, &view), -EMSGSIZE);
		assert_int_equal(siv_room(&lane->tx, SIZE), SIZE);
		lane_put(lane, SIZE - 10, 1);
		assert_int_equal(siv_reserve(&lane->tx, 11, &view), -EAGAIN);
		assert_int_equal(siv_room(&lane->tx, 11), 10);
		assert_int_equal(siv_commit(&lane->tx, 11, 0), -EINVAL);
		assert_int_equal(siv_commit(&lane->tx, SIZE_MAX, 0), -EINVAL);
		lane_put(lane, 10, 2);
		assert_int_equal(siv_reserve(&lane->tx, 1, &view), -EAGAIN);
		assert_int_equal(siv_peek(&lane->rx, &read), SIZE);
		assert_int_equal(siv_release(&lane->rx, SIZE + 1, 0), -EINVAL);
		assert_int_equal(siv_release(&lane->rx, 1, 0), 0);
		assert_int_equal(siv_reserve(&lane->tx, 2, &view), -EAGAIN);
		assert_int_equal(siv_reserve(&lane->tx, 1, &view), 0);
	}
}

/* A peek gives what was known; who needs more says so. */
static void more_is_looked_for_when_it_is_wanted(void **state)
{
	struct lane *lane = *state;
	const void *view;

	lane_put(lane, 10, 1);
	assert_int_equal(siv_peek(&lane->rx, &view), 10);
	lane_put(lane, 20, 2);
	assert_int_equal(siv_peek(&lane->rx, &view), 10);
	assert_int_equal(siv_peek_wait(&lane->rx, 30, 0, &view), 30);
	assert_int_equal(siv_peek_wait(&lane->rx, 31, 0, &view), -ETIMEDOUT);
	assert_int_equal(siv_peek_wait(&lane->rx, SIZE + 1, 0, &view), -EMSGSIZE);
	assert_int_equal(siv_peek(&lane->rx, &view), 30);
}

/* Every claim near the true one, and some far ones, against what is possible. */
static const int64_t claims[] = { -1, -8, -SIZE, -SIZE - 1, INT64_MIN, INT64_MAX, SIZE + 1, 2 * SIZE,
				  1ll << 32 };
#define CLAIMS (sizeof(claims) / sizeof(claims[0]))

/* The ways to look, each of which checks. All but the first do only when nothing is known. */
static ssize_t look_for_all(struct siv_rx *rx, const void **view)
{
	return siv_peek_wait(rx, SIZE, 0, view);
}

static ssize_t look_for_some(struct siv_rx *rx, const void **view)
{
	return siv_peek_wait(rx, 1, 0, view);
}

static ssize_t wait_for_some(struct siv_rx *rx, const void **view)
{
	return siv_peek_wait(rx, 1, FOREVER, view);
}

static const struct {
	ssize_t (*look)(struct siv_rx *rx, const void **view);
	bool all;
} looks[] = { { look_for_all, true }, { look_for_some, false }, { wait_for_some, false },
	      { siv_peek, false } };
#define LOOKS (sizeof(looks) / sizeof(looks[0]))

static void impossible_for_reader(struct lane *lane, uint64_t base, int seen, int64_t claim,
				  size_t way)
{
	const void *view;

	lane_begin(lane, SOCK_STREAM, base);
	lane->rx.fd = FD;
	if (seen)
		lane_put(lane, seen, 7);
	assert_int_equal(siv_peek(&lane->rx, &view), seen ?: -EAGAIN);
	if (!looks[way].all)
		assert_int_equal(siv_release(&lane->rx, seen, 0), 0);
	if (!looks[way].all || (claim > -SIZE && claim < 0))
		base += seen; /* from there */
	lane->page[0].tx_pos = base + claim;
	assert_int_equal(looks[way].look(&lane->rx, &view), -ECONNRESET);
	assert_int_equal(kernel.inq, 1);
	/* a peer that takes it back changes nothing */
	for (int back = 0; back <= SIZE; back += 8) {
		lane->page[0].tx_pos = base + back;
		assert_int_equal(siv_peek(&lane->rx, &view), -ECONNRESET);
	}
	assert_int_equal(siv_peek_wait(&lane->rx, 1, FOREVER, &view), -ECONNRESET);
	assert_int_equal(siv_peek_wait(&lane->rx, SIZE, FOREVER, &view), -ECONNRESET);
	assert_int_equal(siv_release(&lane->rx, 1, 0), -ECONNRESET);
	assert_int_equal(kernel.inq, 1);
}

static void a_transmit_position_that_cannot_be_ends_the_reader_for_good(void **state)
{
	for (size_t b = 0; b < BASES; b++)
		for (size_t i = 0; i < CLAIMS; i++)
			for (size_t way = 0; way < LOOKS; way++) {
				impossible_for_reader(*state, bases[b], 0, claims[i], way);
				impossible_for_reader(*state, bases[b], SIZE / 2, claims[i], way);
			}
}

static void a_receive_position_that_cannot_be_ends_the_writer_for_good(void **state)
{
	struct lane *lane = *state;
	void *view;

	for (size_t b = 0; b < BASES; b++)
		for (size_t i = 0; i < CLAIMS; i++) {
			if (claims[i] >= -SIZE && claims[i] < 0)
				continue; /* before anything was read: may be */
			lane_begin(lane, SOCK_STREAM, bases[b]);
			lane->tx.fd = FD;
			lane_put(lane, SIZE, 7);
			lane->page[1].rx_pos = bases[b] + claims[i];
			assert_int_equal(siv_reserve(&lane->tx, 1, &view), -ECONNRESET);
			assert_int_equal(kernel.outq, 1);
			for (int back = 0; back <= SIZE; back += 8) {
				lane->page[1].rx_pos = bases[b] + back;
				assert_int_equal(siv_reserve(&lane->tx, 1, &view), -ECONNRESET);
			}
			assert_int_equal(siv_reserve(&lane->tx, 0, &view), -ECONNRESET);
			assert_int_equal(siv_room(&lane->tx, 1), -ECONNRESET);
			assert_int_equal(siv_reserve_wait(&lane->tx, 1, FOREVER, &view),
					 -ECONNRESET);
			assert_int_not_equal(siv_commit(&lane->tx, 1, 0), 0);
			assert_int_equal(kernel.outq, 1);
		}
}

static void a_receive_position_that_goes_back_ends_the_writer(void **state)
{
	struct lane *lane = *state;
	void *view;

	lane_put(lane, SIZE, 7);
	lane->page[1].rx_pos = 100;
	assert_int_equal(siv_reserve(&lane->tx, 100, &view), 0);
	lane->page[1].rx_pos = 99;
	assert_int_equal(siv_reserve(&lane->tx, 100, &view), 0); /* known room is not asked for again */
	assert_int_equal(siv_reserve(&lane->tx, 101, &view), -ECONNRESET);
}

/* Whatever the peer writes, no view goes beyond the mapping, and what is given away was there. */
static void random_words_give_no_view_outside_the_window(void **state)
{
	struct lane *lane = *state;
	unsigned int seed = 4, good = 0;

	for (int round = 0; round < 20000; round++) {
		uint64_t base = bases[rand_r(&seed) % BASES];
		int type = rand_r(&seed) % 2 ? SOCK_SEQPACKET : SOCK_STREAM;

		lane_begin(lane, type, base);
		for (int step = 0; step < 20; step++) {
			size_t len = rand_r(&seed) % (SIZE + 100);
			const void *read;
			void *view;
			ssize_t n;

			if (rand_r(&seed) % 4) {
				lane->page[0].tx_pos = lane->rx.pos + (rand_r(&seed) % SIZE & ~7);
				lane->page[1].rx_pos = lane->tx.pos - rand_r(&seed) % SIZE;
			} else {
				lane->page[0].tx_pos = (uint64_t)rand_r(&seed) << 33 | rand_r(&seed);
				lane->page[1].rx_pos = (uint64_t)rand_r(&seed) << 33 | rand_r(&seed);
			}
			*(uint32_t *)(lane->data + lane->rx.pos % SIZE / 8 * 8) = rand_r(&seed) % 600;
			if (!siv_reserve(&lane->tx, len, &view)) {
				memset(view, 1, len);
				assert_int_equal(siv_commit(&lane->tx, len, 0), 0);
			}
			assert_true(lane->tx.limit - lane->tx.pos <= SIZE);
			n = siv_peek_wait(&lane->rx, len % SIZE, 0, &read);
			if (n > 0) {
				assert_true(n <= SIZE);
				assert_non_null(memchr(read, ((const uint8_t *)read)[n - 1], n));
				assert_int_equal(siv_release(&lane->rx, n, 0), 0);
				good++;
			}
			assert_true(lane->rx.seen - lane->rx.pos <= SIZE);
		}
	}
	assert_true(good > 10000);
}

static void records_stay_what_they_are(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	for (size_t b = 0; b < BASES; b++) {
		lane_begin(lane, SOCK_SEQPACKET, bases[b]);
		assert_int_equal(siv_reserve(&lane->tx, SIZE - 7, &view), -EMSGSIZE);
		assert_int_equal(siv_reserve(&lane->tx, SIZE_MAX, &view), -EMSGSIZE);
		for (unsigned int i = 0; i < 100; i++) {
			size_t len[] = { i * 41 % (SIZE / 2 - 16), i % 9 }, max = SIZE - 8;

			for (int j = 0; j < 2; j++) {
				assert_int_equal(siv_reserve(&lane->tx, len[j], &view), 0);
				memset(view, i + j, len[j]);
				assert_int_equal(siv_commit(&lane->tx, len[j], i % 2 ? SIV_EOR : 0), 0);
			}
			for (int j = 0; j < 2; j++) {
				/* again and again the same one */
				assert_int_equal(siv_peek(&lane->rx, &read), len[j]);
				assert_int_equal(siv_peek_wait(&lane->rx, SIZE, 0, &read), len[j]);
				assert_non_null(read);
				for (size_t k = 0; k < len[j]; k++)
					assert_int_equal(((const uint8_t *)read)[k], i + j);
				assert_int_equal(siv_record_flags(&lane->rx),
						 i % 2 ? SIV_RECORD_EOR : 0);
				assert_int_equal(siv_release(&lane->rx, 0, 0), 0);
				assert_int_equal(siv_release(&lane->rx, 0, 0), -EINVAL);
			}
			assert_int_equal(siv_peek(&lane->rx, &read), -EAGAIN);
			assert_int_equal(siv_room(&lane->tx, max), max);
		}
		lane_put(lane, SIZE - 8, 3);
		assert_int_equal(siv_reserve(&lane->tx, 0, &view), -EAGAIN);
		assert_int_equal(siv_room(&lane->tx, 1), 0);
		assert_int_equal(siv_peek(&lane->rx, &read), SIZE - 8);
	}
}

static void a_header_that_cannot_be_ends_the_reader(void **state)
{
	static const uint32_t lens[] = { 9, 16, SIZE - 8, SIZE, UINT32_MAX, UINT32_MAX - 7, 1u << 31 };
	struct lane *lane = *state;
	const void *view;

	for (size_t b = 0; b < BASES; b++)
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			lane_begin(lane, SOCK_SEQPACKET, bases[b]);
			lane->rx.fd = FD;
			lane_put(lane, 8, 5);
			memcpy(lane->file + bases[b] % SIZE, &lens[i], sizeof(lens[i]));
			assert_int_equal(siv_peek(&lane->rx, &view), -ECONNRESET);
			assert_int_equal(kernel.inq, 1);
			memcpy(lane->file + bases[b] % SIZE, &(uint32_t){ 8 }, 4);
			assert_int_equal(siv_peek(&lane->rx, &view), -ECONNRESET);
		}
	lane_begin(lane, SOCK_SEQPACKET, 0);
	lane->page[0].tx_pos = 7; /* less than a header */
	assert_int_equal(siv_peek(&lane->rx, &view), -ECONNRESET);
}

static void a_header_is_read_once(void **state)
{
	struct lane *lane = *state;
	const void *view;

	lane_begin(lane, SOCK_SEQPACKET, 0);
	lane_put(lane, 8, 5);
	lane_put(lane, 24, 6);
	assert_int_equal(siv_peek(&lane->rx, &view), 8);
	memset(lane->file, 0xff, SIV_RECORD_HEADER);
	assert_int_equal(siv_peek(&lane->rx, &view), 8);
	assert_int_equal(siv_release(&lane->rx, 8, 0), 0);
	assert_int_equal(siv_peek(&lane->rx, &view), 24);
}

static void the_end_of_file_comes_after_the_last_byte(void **state)
{
	struct lane *lane = *state;
	const void *view = lane;

	for (int known = 0; known < 2; known++) {
		lane_begin(lane, SOCK_STREAM, 0);
		lane_put(lane, 5, 1);
		if (known)
			assert_int_equal(siv_peek(&lane->rx, &view), 5);
		lane_put(lane, 5, 1);
		lane->page[0].state |= SIV_STATE_SHUT_WR;
		/* fewer than wanted are given at the end alone */
		assert_int_equal(siv_peek_wait(&lane->rx, 11, FOREVER, &view), 10);
		assert_int_equal(siv_release(&lane->rx, 10, 0), 0);
		assert_int_equal(siv_peek(&lane->rx, &view), 0);
		assert_null(view);
		assert_int_equal(siv_peek_wait(&lane->rx, 1, FOREVER, &view), 0);
	}
	lane_begin(lane, SOCK_SEQPACKET, 0);
	lane_put(lane, 0, 0);
	lane->page[0].state |= SIV_STATE_SHUT_WR;
	assert_int_equal(siv_peek(&lane->rx, &view), 0);
	assert_non_null(view); /* an empty record is no end */
	assert_int_equal(siv_release(&lane->rx, 0, 0), 0);
	assert_int_equal(siv_peek(&lane->rx, &view), 0);
	assert_null(view);
}

/* SHUT_WR is published after the last position: a reader that saw the position first would lose it. */
static struct lane *racing;

static void *last_byte_then_shut(void *arg)
{
	pthread_barrier_t *barrier = arg;

	for (int i = 0; i < 2000; i++) {
		pthread_barrier_wait(barrier);
		lane_put(racing, 1, i);
		__atomic_store_n(&racing->page[0].state, SIV_STATE_ATTACHED | SIV_STATE_SHUT_WR,
				 __ATOMIC_RELEASE);
		pthread_barrier_wait(barrier);
	}
	return NULL;
}

static void no_end_of_file_overtakes_the_last_byte(void **state)
{
	struct lane *lane = *state;
	pthread_barrier_t barrier;
	pthread_t thread;
	const void *view;
	ssize_t n;

	racing = lane;
	pthread_barrier_init(&barrier, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, last_byte_then_shut, &barrier), 0);
	for (int i = 0; i < 2000; i++) {
		lane_begin(lane, SOCK_STREAM, 0);
		pthread_barrier_wait(&barrier);
		while ((n = siv_peek(&lane->rx, &view)) == -EAGAIN)
			;
		assert_int_equal(n, 1);
		pthread_barrier_wait(&barrier);
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&barrier);
}

static void a_peer_that_reads_no_more_is_epipe(void **state)
{
	struct lane *lane = *state;
	void *view;

	lane_put(lane, SIZE, 1);
	lane->page[1].state |= SIV_STATE_SHUT_RD;
	lane->page[1].rx_pos = 100;
	assert_int_equal(siv_reserve(&lane->tx, 1, &view), -EPIPE);
	assert_int_equal(siv_reserve_wait(&lane->tx, 1, FOREVER, &view), -EPIPE);
	assert_int_equal(siv_room(&lane->tx, 1), -EPIPE);
}

static void a_peer_that_aborted_is_econnreset_after_its_bytes(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	lane_put(lane, SIZE, 1);
	lane->page[0].state |= SIV_STATE_ABORTED;
	lane->page[1].state |= SIV_STATE_ABORTED;
	assert_int_equal(siv_reserve(&lane->tx, 1, &view), -ECONNRESET);
	assert_int_equal(siv_peek(&lane->rx, &read), SIZE);
	assert_int_equal(siv_release(&lane->rx, SIZE, 0), 0);
	assert_int_equal(siv_peek(&lane->rx, &read), -ECONNRESET);
}

/* After a reset all windows show private zeros: this is what the library is left with. */
static void reset(struct lane *lane)
{
	memset(lane->page, 0, 2 * SIV_PAGE_SIZE + SIZE);
}

static void after_a_reset_every_call_says_so(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	for (int type = SOCK_STREAM; type <= SOCK_SEQPACKET; type += SOCK_SEQPACKET - SOCK_STREAM)
		for (int flow = 0; flow < 3; flow++) {
			lane_begin(lane, type, flow == 2 ? 1ull << 40 : 0);
			if (flow) {
				lane_put(lane, 1000, 1);
				lane_put(lane, 1000, 1);
				assert_true(siv_peek(&lane->rx, &read) > 0);
			} else {
				assert_int_equal(siv_peek(&lane->rx, &read), -EAGAIN);
				assert_int_equal(siv_reserve(&lane->tx, 1, &view), 0);
			}
			reset(lane);
			if (flow) /* what was read from the view may be zeros */
				assert_int_equal(siv_release(&lane->rx, 1000, 0), -ECONNRESET);
			assert_int_equal(siv_peek(&lane->rx, &read), -ECONNRESET);
			assert_int_equal(siv_peek_wait(&lane->rx, 1, FOREVER, &read), -ECONNRESET);
			assert_int_equal(siv_release(&lane->rx, 0, 0), -ECONNRESET);
			while (!siv_reserve(&lane->tx, 64, &view))
				assert_int_equal(siv_commit(&lane->tx, 64, 0), 0);
			assert_int_equal(siv_reserve(&lane->tx, 64, &view), -ECONNRESET);
			assert_int_equal(siv_reserve_wait(&lane->tx, 64, FOREVER, &view), -ECONNRESET);
		}
}

/* Two threads, each at one end of two lanes: what comes is what was sent, in odd pieces. */
enum { TRANSFER = 8 << 20, PIECE_MAX = 700 };

struct end {
	struct lane *out, *in;
	unsigned int seed;
	int type;
	bool failed;
};

static uint8_t pattern(uint64_t at, unsigned int salt)
{
	return (at * 0x9E3779B97F4A7C15ull >> 40) + salt;
}

static bool end_send(struct siv_tx *tx, unsigned int *seed, uint64_t *sent)
{
	size_t len = rand_r(seed) % PIECE_MAX + 1;
	uint8_t *view;
	int err = siv_reserve(tx, len, (void **)&view);

	if (err == -EAGAIN)
		return true;
	if (err)
		return false;
	for (size_t i = 0; i < len; i++)
		view[i] = pattern(*sent + i, 0);
	*sent += len;
	return !siv_commit(tx, len, rand_r(seed) % 4 ? SIV_MORE : 0);
}

static bool end_recv(struct siv_rx *rx, unsigned int *seed, uint64_t *got)
{
	const uint8_t *view;
	ssize_t n = siv_peek(rx, (const void **)&view);

	if (n == -EAGAIN)
		return true;
	if (n <= 0)
		return false;
	if (!rx->header && rand_r(seed) % 2)
		n = rand_r(seed) % n + 1;
	for (ssize_t i = 0; i < n; i++)
		if (view[i] != pattern(*got + i, 0))
			return false;
	*got += n;
	return !siv_release(rx, n, rand_r(seed) % 4 ? SIV_MORE : 0);
}

static void *end_run(void *arg)
{
	struct end *end = arg;
	uint64_t sent = 0, got = 0;

	while (!end->failed && (sent < TRANSFER || got < TRANSFER)) {
		if (sent < TRANSFER && !end_send(&end->out->tx, &end->seed, &sent))
			end->failed = true;
		if (got < TRANSFER && !end_recv(&end->in->rx, &end->seed, &got))
			end->failed = true;
	}
	return NULL;
}

static void both_ways(struct lane *there, int type)
{
	struct lane *back = aligned_alloc(SIV_HALF_ALIGN, sizeof(*back));
	struct end a = { .out = there, .in = back, .seed = 1 };
	struct end b = { .out = back, .in = there, .seed = 2 };
	pthread_t thread;

	assert_non_null(back);
	lane_map(back, SIZE);
	lane_begin(there, type, UINT64_MAX - TRANSFER / 2 + 1);
	lane_begin(back, type, 0);
	assert_int_equal(pthread_create(&thread, NULL, end_run, &b), 0);
	end_run(&a);
	pthread_join(thread, NULL);
	assert_false(a.failed || b.failed);
	lane_unmap(back);
	free(back);
}

static void bytes_arrive_as_they_were_sent_both_ways_at_once(void **state)
{
	both_ways(*state, SOCK_STREAM);
}

static void records_arrive_as_they_were_sent_both_ways_at_once(void **state)
{
	both_ways(*state, SOCK_SEQPACKET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MAP_TEST(a_view_does_not_split_where_the_ring_wraps),
		MAP_TEST(there_is_room_for_a_ring_and_not_for_more),
		MAP_TEST(more_is_looked_for_when_it_is_wanted),
		MAP_TEST(a_transmit_position_that_cannot_be_ends_the_reader_for_good),
		MAP_TEST(a_receive_position_that_cannot_be_ends_the_writer_for_good),
		MAP_TEST(a_receive_position_that_goes_back_ends_the_writer),
		MAP_TEST(random_words_give_no_view_outside_the_window),
		MAP_TEST(records_stay_what_they_are),
		MAP_TEST(a_header_that_cannot_be_ends_the_reader),
		MAP_TEST(a_header_is_read_once),
		MAP_TEST(the_end_of_file_comes_after_the_last_byte),
		MAP_TEST(no_end_of_file_overtakes_the_last_byte),
		MAP_TEST(a_peer_that_reads_no_more_is_epipe),
		MAP_TEST(a_peer_that_aborted_is_econnreset_after_its_bytes),
		MAP_TEST(after_a_reset_every_call_says_so),
		MAP_TEST(bytes_arrive_as_they_were_sent_both_ways_at_once),
		MAP_TEST(records_arrive_as_they_were_sent_both_ways_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
