// SPDX-License-Identifier: BSD-2-Clause
/* Mapped rings: when the kernel is called, to wake the peer, to sleep, and to move a position. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "map_lane.h"

static void a_peer_that_has_not_come_yet_is_waited_for(void **state)
{
	struct lane *lane = *state;
	const void *view;

	lane_begin_fd(lane, SOCK_STREAM, false);
	lane->page[0].state = 0;
	kernel.wait_errno = ETIMEDOUT;
	assert_int_equal(siv_peek(&lane->rx, &view), -EAGAIN);
	assert_int_equal(kernel.waits, 1); /* the kernel was asked whether it lives */
	assert_int_equal(kernel.wait.deadline_ns, 0);
	kernel.wait_errno = ECONNRESET;
	assert_int_equal(siv_peek(&lane->rx, &view), -ECONNRESET);
}

static void a_peer_is_woken_when_its_word_is_passed_and_not_before(void **state)
{
	struct lane *lane = *state;
	const void *view;

	lane_begin_fd(lane, SOCK_STREAM, false);
	lane->page[1].wake_data = 100;
	lane_put(lane, 99, 1);
	assert_int_equal(kernel.kicks, 0);
	lane_put(lane, 1, 1);
	assert_int_equal(kernel.kicks, 1);
	lane_put(lane, 1, 1);
	assert_int_equal(kernel.kicks, 1);
	lane->page[0].wake_space = 50;
	assert_int_equal(siv_peek(&lane->rx, &view), 101);
	assert_int_equal(siv_release(&lane->rx, 49, 0), 0);
	assert_int_equal(kernel.kicks, 1);
	assert_int_equal(siv_release(&lane->rx, 52, 0), 0);
	assert_int_equal(kernel.kicks, 2);
}

static void what_is_put_off_is_told_once_and_never_forgotten(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	lane_begin_fd(lane, SOCK_STREAM, false);
	lane->page[1].wake_data = 5;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(siv_reserve(&lane->tx, 1, &view), 0);
		assert_int_equal(siv_commit(&lane->tx, 1, SIV_MORE), 0);
		assert_int_equal(lane->page[0].tx_pos, i + 1); /* who looks sees it */
	}
	assert_int_equal(kernel.kicks, 0);
	assert_int_equal(siv_flush(&lane->tx), 0);
	assert_int_equal(kernel.kicks, 1);
	assert_int_equal(siv_flush(&lane->tx), 0);
	assert_int_equal(kernel.kicks, 1);

	/* by finding no room */
	lane->page[1].wake_data = 20;
	assert_int_equal(siv_reserve(&lane->tx, 100, &view), 0);
	assert_int_equal(siv_commit(&lane->tx, 100, SIV_MORE), 0);
	assert_int_equal(kernel.kicks, 1);
	assert_int_equal(siv_reserve(&lane->tx, SIZE, &view), -EAGAIN);
	assert_int_equal(kernel.kicks, 2);
	lane_put(lane, SIZE - 110, 1);

	/* the reader's, by finding nothing */
	lane->page[0].wake_space = 1;
	assert_int_equal(siv_peek(&lane->rx, &read), SIZE);
	for (int i = 0; i < SIZE; i += SIZE / 4)
		assert_int_equal(siv_release(&lane->rx, SIZE / 4, SIV_MORE), 0);
	assert_int_equal(lane->page[1].rx_pos, SIZE);
	assert_int_equal(kernel.kicks, 2);
	assert_int_equal(siv_peek(&lane->rx, &read), -EAGAIN);
	assert_int_equal(kernel.kicks, 3);
	assert_int_equal(siv_release_flush(&lane->rx), 0);
	assert_int_equal(kernel.kicks, 3);
}

/* Who waits for the ring's first bytes does not sleep until it is full. */
static void no_more_than_a_quarter_of_the_ring_is_put_off(void **state)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	struct lane *lane = *state;
	void *view;

	for (int t = 0; t < 2; t++)
		for (int flush = 0; flush < 2; flush++) {
			const unsigned int header = types[t] == SOCK_STREAM ? 0 : SIV_RECORD_HEADER;

			lane_begin_fd(lane, types[t], false);
			lane->page[1].wake_data = 1;
			if (flush) { /* counts from the last one */
				lane_put(lane, 1000, 1);
				assert_int_equal(kernel.kicks, 1);
				lane->page[1].wake_data = lane->tx.pos + 1;
			}
			for (int i = 1; i <= 64; i++) {
				assert_int_equal(siv_reserve(&lane->tx, 32 - header, &view), 0);
				assert_int_equal(siv_commit(&lane->tx, 32 - header, SIV_MORE), 0);
				assert_int_equal(kernel.kicks, flush + (i > 32));
			}
		}
}

static void one_thread_flushes_both_halves_when_it_finds_nothing(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	for (int with = 0; with < 2; with++) {
		lane_begin_fd(lane, SOCK_STREAM, false);
		if (with)
			siv_one_thread(&lane->tx, &lane->rx);
		lane_put(lane, 1, 1);
		assert_int_equal(siv_peek(&lane->rx, &read), 1);
		assert_int_equal(siv_reserve(&lane->tx, 1, &view), 0);
		lane->page[1].wake_data = 2;
		assert_int_equal(siv_commit(&lane->tx, 1, SIV_MORE), 0);
		assert_int_equal(siv_peek_wait(&lane->rx, 3, 0, &read), -ETIMEDOUT);
		assert_int_equal(kernel.kicks, with);
		siv_flush(&lane->tx);
		lane->page[0].wake_space = 1;
		assert_int_equal(siv_release(&lane->rx, 1, SIV_MORE), 0);
		assert_int_equal(siv_reserve(&lane->tx, SIZE, &view), -EAGAIN);
		assert_int_equal(kernel.kicks, 1 + with);
	}
}

static void where_the_kernel_has_the_position_calls_move_it(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	lane_begin_fd(lane, SOCK_STREAM, true);
	lane_put(lane, 3000, 1);
	assert_int_equal(lane->page[0].tx_pos, 3000);
	assert_int_equal(kernel.sends, 3); /* short counts are gone on from */
	for (int i = 0; i < 10; i++) {
		assert_int_equal(siv_reserve(&lane->tx, 10, &view), 0);
		assert_int_equal(siv_commit(&lane->tx, 10, SIV_MORE), 0);
	}
	assert_int_equal(kernel.sends, 3);
	assert_int_equal(siv_flush(&lane->tx), 0);
	assert_int_equal(kernel.sends, 4); /* one for all of them */
	assert_int_equal(lane->page[0].tx_pos, 3100);
	assert_int_equal(siv_peek(&lane->rx, &read), 3100);
	assert_int_equal(siv_release(&lane->rx, 100, SIV_MORE), 0);
	assert_int_equal(lane->page[1].rx_pos, 0);
	/* no more than a part of the ring is kept from the writer */
	assert_int_equal(siv_release(&lane->rx, 2000, SIV_MORE), 0);
	assert_int_equal(lane->page[1].rx_pos, 2100);
	assert_int_equal(siv_release(&lane->rx, 1000, SIV_MORE), 0);
	assert_int_equal(siv_peek(&lane->rx, &read), -EAGAIN);
	assert_int_equal(lane->page[1].rx_pos, 3100);
}

static void a_record_that_is_another_one_when_it_is_released_ends_the_half(void **state)
{
	struct lane *lane = *state;
	const void *read;

	lane_begin_fd(lane, SOCK_SEQPACKET, true);
	lane_put(lane, 100, 9);
	assert_int_equal(siv_peek(&lane->rx, &read), 100);
	((struct siv_record *)lane->data)->len = 50; /* the peer, once it was looked at */
	assert_int_equal(siv_release(&lane->rx, 100, 0), -ECONNRESET);
	assert_int_equal(siv_peek(&lane->rx, &read), -ECONNRESET);
}

static void where_the_kernel_has_it_records_go_one_by_one(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	lane_begin_fd(lane, SOCK_SEQPACKET, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(siv_reserve(&lane->tx, 11, &view), 0);
		memset(view, i, 11);
		assert_int_equal(siv_commit(&lane->tx, 11, SIV_MORE | (i == 2 ? SIV_EOR : 0)), 0);
		assert_int_equal(kernel.sends, i);
		assert_int_equal(kernel.send_flags & MSG_MORE, i ? MSG_MORE : 0);
	}
	assert_int_equal(siv_flush(&lane->tx), 0);
	assert_int_equal(kernel.sends, 3);
	assert_int_equal(kernel.send_flags & (MSG_MORE | MSG_EOR), MSG_EOR);
	assert_int_equal(siv_flush(&lane->tx), 0);
	assert_int_equal(kernel.sends, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(siv_peek(&lane->rx, &read), 11);
		assert_int_equal(*(const uint8_t *)read, i);
		assert_int_equal(siv_record_flags(&lane->rx), i == 2);
		assert_int_equal(siv_release(&lane->rx, 11, SIV_MORE), 0);
		assert_int_equal(lane->page[1].rx_pos, 24 * (i + 1));
	}
	lane_put(lane, 0, 0);
	assert_int_equal(siv_peek(&lane->rx, &read), 0);
	assert_non_null(read);
	assert_int_equal(siv_release(&lane->rx, 0, 0), 0);
}

static void write_100(struct lane *lane)
{
	lane_put(lane, 100, 9);
}

static void read_100(struct lane *lane)
{
	lane->page[1].rx_pos += 100;
}

static void a_wait_tells_the_kernel_what_is_wanted(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	lane_begin_fd(lane, SOCK_STREAM, false);
	kernel.meanwhile = write_100;
	assert_int_equal(siv_peek_wait(&lane->rx, 100, 123, &read), -ETIMEDOUT); /* long ago */
	assert_int_equal(kernel.waits, 0);
	assert_int_equal(siv_peek_wait(&lane->rx, 100, FOREVER, &read), 100);
	assert_int_equal(kernel.wait.what, SIV_WAIT_DATA);
	assert_int_equal(kernel.wait.data, 100);
	assert_int_equal(kernel.wait.deadline_ns, FOREVER);
	assert_int_equal(siv_release(&lane->rx, 100, 0), 0);

	kernel.meanwhile = NULL;
	lane_put(lane, SIZE, 1);
	kernel.meanwhile = read_100;
	assert_int_equal(siv_reserve_wait(&lane->tx, 60, 123, &view), -ETIMEDOUT);
	assert_int_equal(siv_reserve_wait(&lane->tx, 60, INT64_MAX, &view), 0);
	assert_int_equal(kernel.wait.what, SIV_WAIT_SPACE);
	assert_int_equal(kernel.wait.space, 100 + 60);
	assert_int_equal(kernel.wait.deadline_ns, INT64_MAX);
	assert_int_equal(kernel.waits, 2);
}

static void a_wait_ends_as_the_kernel_says(void **state)
{
	static const int errors[] = { EINTR, ETIMEDOUT, ECONNRESET };
	struct lane *lane = *state;
	const void *read;
	void *view;

	for (int i = 0; i < 3; i++) {
		lane_begin_fd(lane, SOCK_STREAM, false);
		lane_put(lane, SIZE, 1);
		kernel.wait_errno = errors[i];
		assert_int_equal(siv_reserve_wait(&lane->tx, 1, FOREVER, &view), -errors[i]);
		assert_int_equal(siv_reserve(&lane->tx, 1, &view), i == 2 ? -ECONNRESET : -EAGAIN);
		assert_int_equal(siv_peek(&lane->rx, &read), SIZE);
		assert_int_equal(siv_release(&lane->rx, SIZE, 0), 0);
		assert_int_equal(siv_peek_wait(&lane->rx, 1, FOREVER, &read), -errors[i]);
		assert_int_equal(siv_peek(&lane->rx, &read), i == 2 ? -ECONNRESET : -EAGAIN);
	}
	/* woken, and nothing there: this side was shut down */
	lane_begin_fd(lane, SOCK_STREAM, false);
	lane_put(lane, SIZE, 1);
	assert_int_equal(siv_reserve_wait(&lane->tx, 1, FOREVER, &view), -EPIPE);
	assert_int_equal(siv_peek(&lane->rx, &read), SIZE);
	assert_int_equal(siv_release(&lane->rx, SIZE, 0), 0);
	assert_int_equal(siv_peek_wait(&lane->rx, 1, FOREVER, &read), 0);
	assert_null(read);
}

static void send_one(struct lane *lane)
{
	lane_put(lane, 1, 1);
}

/* Waits for a byte, and takes it. Did it look before it slept? */
static bool looks(struct lane *lane)
{
	const unsigned int waits = kernel.waits;
	const uint64_t begin = kernel.now_ns;
	const void *read;

	assert_int_equal(siv_peek_wait(&lane->rx, 1, FOREVER, &read), 1);
	assert_int_equal(siv_release(&lane->rx, 1, 0), 0);
	/* one reading is for the deadline */
	return kernel.waits == waits || kernel.now_ns - begin > kernel.step_ns;
}

static void waits_look_less_often_while_it_is_in_vain_and_again_when_it_pays(void **state)
{
	struct lane *lane = *state;

	lane_begin_fd(lane, SOCK_STREAM, false);
	kernel.step_ns = 100000;
	siv_set_spin(&lane->rx.spin, 200);
	kernel.meanwhile = send_one;
	for (unsigned int n = 1; n < 9; n++) {
		unsigned int misses = n < SIV_SPIN_MISSES ? n : SIV_SPIN_MISSES;

		assert_true(looks(lane));
		for (int i = 1; i < 1 << (misses - 1); i++)
			assert_false(looks(lane));
	}
	/* once it was not in vain */
	kernel.tick = send_one;
	assert_true(looks(lane));
	kernel.tick = NULL;
	/* half of the misses are left */
	assert_true(looks(lane));
	for (int i = 1; i < 1 << (SIV_SPIN_MISSES / 2); i++)
		assert_false(looks(lane));
	assert_true(looks(lane));
	/* never: no look, however often it is asked */
	siv_set_spin(&lane->rx.spin, 0);
	for (int i = 0; i < 100; i++)
		assert_false(looks(lane));
}

/*
 * Long messages. The clock goes on by STEP_NS with each reading, and a wait spins for SPIN_US: for
 * two readings. What the peer does meanwhile is the test's.
 */
enum { LONG = 16 * SIZE, STEP_NS = 100000, SPIN_US = 200 };

static int long_set_up(void **state)
{
	struct lane *lane = aligned_alloc(SIV_HALF_ALIGN, sizeof(*lane));

	assert_non_null(lane);
	lane_map(lane, LONG);
	*state = lane;
	return 0;
}

static void long_begin(struct lane *lane)
{
	lane_begin_fd(lane, SOCK_STREAM, false);
	siv_set_spin(&lane->rx.spin, SPIN_US);
	siv_set_spin(&lane->tx.spin, SPIN_US);
	kernel.step_ns = STEP_NS;
}

static void bring_4096(struct lane *lane)
{
	lane->page[0].tx_pos += 4096;
}

static void take_4096(struct lane *lane)
{
	lane->page[1].rx_pos += 4096;
}

static void spinning_goes_on_while_the_peer_comes_on(void **state)
{
	struct lane *lane = *state;
	const void *read;
	void *view;

	long_begin(lane);
	kernel.tick = bring_4096;
	assert_int_equal(siv_peek_wait(&lane->rx, LONG, FOREVER, &read), LONG);
	assert_int_equal(kernel.waits, 0);

	long_begin(lane);
	lane_put(lane, LONG, 1);
	kernel.tick = take_4096;
	assert_int_equal(siv_reserve_wait(&lane->tx, LONG, FOREVER, &view), 0);
	assert_int_equal(kernel.waits, 0);

	/* up to its deadline */
	long_begin(lane);
	kernel.tick = bring_4096;
	assert_int_equal(siv_peek_wait(&lane->rx, LONG, kernel.now_ns + 4 * STEP_NS, &read),
			 -ETIMEDOUT);
	assert_int_equal(kernel.waits, 0);
}

static void bring_1000(struct lane *lane)
{
	lane->page[0].tx_pos += 1000;
}

/* Claims what it took back: 4096 bytes, none, 4096 bytes ... */
static void come_and_go(struct lane *lane)
{
	lane->page[0].tx_pos = lane->page[0].tx_pos ? 0 : 4096;
}

static void go_back(struct lane *lane)
{
	lane->page[0].tx_pos -= 4096;
}

static void bring_the_rest(struct lane *lane)
{
	lane->page[0].tx_pos = LONG;
}

static void a_peer_that_hardly_moves_or_only_claims_to_is_slept_for(void **state)
{
	static const struct {
		void (*tick)(struct lane *lane);
		unsigned int readings; /* of the clock before it sleeps */
	} peers[] = { { NULL, 3 }, { bring_1000, 3 }, { go_back, 3 }, { come_and_go, 4 } };
	struct lane *lane = *state;
	const void *read;
	uint64_t begin;

	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
		long_begin(lane);
		begin = kernel.now_ns;
		kernel.tick = peers[i].tick;
		kernel.meanwhile = bring_the_rest;
		kernel.wait_errno = EINTR;
		assert_int_equal(siv_peek_wait(&lane->rx, LONG, FOREVER, &read), -EINTR);
		assert_int_equal(kernel.waits, 1);
		assert_int_equal(kernel.now_ns - begin, peers[i].readings * STEP_NS);
	}
}

#define LONG_TEST(name) cmocka_unit_test_setup_teardown(name, long_set_up, lane_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MAP_TEST(a_peer_that_has_not_come_yet_is_waited_for),
		MAP_TEST(a_peer_is_woken_when_its_word_is_passed_and_not_before),
		MAP_TEST(what_is_put_off_is_told_once_and_never_forgotten),
		MAP_TEST(no_more_than_a_quarter_of_the_ring_is_put_off),
		MAP_TEST(one_thread_flushes_both_halves_when_it_finds_nothing),
		MAP_TEST(where_the_kernel_has_the_position_calls_move_it),
		MAP_TEST(where_the_kernel_has_it_records_go_one_by_one),
		MAP_TEST(a_record_that_is_another_one_when_it_is_released_ends_the_half),
		MAP_TEST(a_wait_tells_the_kernel_what_is_wanted),
		MAP_TEST(a_wait_ends_as_the_kernel_says),
		MAP_TEST(waits_look_less_often_while_it_is_in_vain_and_again_when_it_pays),
		LONG_TEST(spinning_goes_on_while_the_peer_comes_on),
		LONG_TEST(a_peer_that_hardly_moves_or_only_claims_to_is_slept_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
