// SPDX-License-Identifier: BSD-2-Clause
// The command channel's framing: what is written is read back, and a damaged stream costs the
// damaged frame only.
#include "frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void fill(struct frame *frame, size_t len, unsigned int seed)
{
	frame_set(frame, FRAME_DATA, seed + 1, 1, NULL, 0);
	frame->len = len;
	srand(seed);
	/* zeros in runs of all lengths, and runs without any: what COBS is about */
	for (size_t i = 0; i < len; i++)
		frame->data[i] = seed % 3 == 0 ? 0 : seed % 3 == 1 ? (int)(1 + i % 255) : rand();
}

static void assert_same(const struct frame *a, const struct frame *b)
{
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a, b, FRAME_HEADER_BYTES + a->len);
}

/* Reads from the queue in chunks of `chunk` bytes; returns the number of frames, the last in *out. */
static int read_all(struct frame_reader *reader, const struct bytes *wire, size_t chunk,
		    struct frame *out)
{
	int frames = 0;

	for (size_t done = 0; done < wire->len; done += chunk) {
		const uint8_t *at = wire->at + done;
		size_t len = wire->len - done < chunk ? wire->len - done : chunk;

		while (frame_read(reader, &at, &len, out))
			frames++;
	}
	return frames;
}

static void every_length_survives(void **state)
{
	static struct frame frame, got;
	static struct frame_reader reader;

	(void)state;
	for (unsigned int len = 0; len <= FRAME_DATA_MAX_BYTES; len += len < 600 ? 1 : 263) {
		for (unsigned int kind = 0; kind < 3; kind++) {
			struct bytes wire = { 0 };

			fill(&frame, len, 3 * len + kind);
			frame_write(&wire, &frame);
			assert_int_equal(read_all(&reader, &wire, wire.len, &got), 1);
			assert_same(&frame, &got);
			bytes_free(&wire);
		}
	}
}

static void largest_length_survives(void **state)
{
	static struct frame frame, got;
	static struct frame_reader reader;

	(void)state;
	for (unsigned int kind = 0; kind < 3; kind++) {
		struct bytes wire = { 0 };

		fill(&frame, FRAME_DATA_MAX_BYTES, kind);
		frame_write(&wire, &frame);
		assert_int_equal(read_all(&reader, &wire, wire.len, &got), 1);
		assert_same(&frame, &got);
		bytes_free(&wire);
	}
}

static void byte_by_byte_is_the_same(void **state)
{
	static struct frame frame, got;
	static struct frame_reader reader;
	struct bytes wire = { 0 };

	(void)state;
	fill(&frame, 1000, 2);
	frame_write(&wire, &frame);
	assert_int_equal(read_all(&reader, &wire, 1, &got), 1);
	assert_same(&frame, &got);
	bytes_free(&wire);
}

/* A writer that dies anywhere in a frame does not take the next writer's frame with it. */
static void torn_frame_costs_itself_only(void **state)
{
	static struct frame torn, whole, got;

	(void)state;
	fill(&torn, 300, 2);
	fill(&whole, 50, 5);
	for (size_t cut = 0;; cut++) {
		static struct frame_reader reader;
		struct bytes wire = { 0 };

		frame_write(&wire, &torn);
		if (cut >= wire.len) {
			bytes_free(&wire);
			return;
		}
		wire.len = cut;
		frame_write(&wire, &whole);
		memset(&got, 0, sizeof(got));
		/* a cut behind the last code byte leaves a frame that is still whole */
		assert_in_range(read_all(&reader, &wire, 64, &got), 1, 2);
		assert_same(&whole, &got);
		bytes_free(&wire);
	}
}

static void flipped_bit_is_noticed(void **state)
{
	static struct frame frame, got;

	(void)state;
	fill(&frame, 60, 2);
	for (size_t bit = 8;; bit++) {
		static struct frame_reader reader;
		struct bytes wire = { 0 };

		frame_write(&wire, &frame);
		if (bit >= 8 * (wire.len - 1)) {
			bytes_free(&wire);
			return;
		}
		wire.at[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(read_all(&reader, &wire, wire.len, &got), 0);
		bytes_free(&wire);
	}
}

static void endless_garbage_is_bounded(void **state)
{
	static struct frame frame, got;
	static struct frame_reader reader;
	uint8_t garbage[4096];
	struct bytes wire = { 0 };

	(void)state;
	memset(garbage, 0x55, sizeof(garbage));
	for (int i = 0; i < 100; i++)
		bytes_append(&wire, garbage, sizeof(garbage));
	fill(&frame, 10, 2);
	frame_write(&wire, &frame);
	assert_int_equal(read_all(&reader, &wire, 1000, &got), 1);
	assert_same(&frame, &got);
	bytes_free(&wire);
}

static void queue_keeps_order(void **state)
{
	struct bytes queue = { 0 };
	uint8_t next_in = 0, next_out = 0;

	(void)state;
	srand(1);
	for (int round = 0; round < 10000; round++) {
		for (int n = rand() % 20; n; n--, next_in++)
			bytes_append(&queue, &next_in, 1);
		for (int n = rand() % 20; n && queue.len; n--, next_out++) {
			assert_int_equal(*queue.at, next_out);
			bytes_take(&queue, 1);
		}
	}
	bytes_free(&queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_survives),
		cmocka_unit_test(largest_length_survives),
		cmocka_unit_test(byte_by_byte_is_the_same),
		cmocka_unit_test(torn_frame_costs_itself_only),
		cmocka_unit_test(flipped_bit_is_noticed),
		cmocka_unit_test(endless_garbage_is_bounded),
		cmocka_unit_test(queue_keeps_order),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
