// SPDX-License-Identifier: BSD-2-Clause
/*
 * A reader and a writer of one ring, each against a peer whose words are the fuzzer's. However they
 * lie, no side may ever be told that it can move more than the ring holds, or touch a byte outside
 * of it: the copies here go to real memory under ASan.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sivshmem/ring.h>

#define SIZE 64u

struct side {
	uint64_t pos, seen;
};

static uint8_t scratch[SIZE];

/* As siv_chan_copy_in() and siv_chan_copy_out() address the data area. */
static void move(uint8_t *ring, uint64_t pos, uint64_t len)
{
	uint64_t at = pos & (SIZE - 1), first = len < SIZE - at ? len : SIZE - at;

	memcpy(scratch, ring + at, first);
	memcpy(scratch + first, ring, len - first);
}

static void step(struct side *s, uint8_t *ring, uint64_t claim, uint8_t want, int reader)
{
	__u64 bytes = 0;
	uint64_t n;
	int ok = reader ? siv_ring_readable(claim, s->seen, s->pos, SIZE, &bytes) :
			  siv_ring_writable(claim, s->seen, s->pos, SIZE, &bytes);

	if (!ok)
		return; /* the channel would be reset */
	if (bytes > SIZE)
		abort();
	s->seen = claim;
	n = want < bytes ? want : bytes;
	move(ring, s->pos, n);
	s->pos += n;
	/* what is kept privately still fits together */
	if (reader ? s->seen - s->pos > SIZE : s->pos - s->seen > SIZE)
		abort();
}

/*
 * As record_recv_step() does: @header is what the peer left in front of a record. As seal_open() does
 * if @sealed: the copy is then to a buffer for the longest one.
 */
static void record_step(struct side *s, uint8_t *ring, uint64_t claim, uint32_t header, bool sealed)
{
	__u64 bytes = 0;

	if (!siv_ring_readable(claim, s->seen, s->pos, SIZE, &bytes))
		return;
	s->seen = claim;
	if (bytes < SIV_RECORD_HEADER ||
	    !(sealed ? siv_sealed_possible(header, 1, bytes) : siv_record_possible(header, bytes)))
		return;
	if (sealed && (header <= SIV_SEAL_TAG || header > SIV_SEAL_DATA + SIV_SEAL_TAG))
		abort();
	move(ring, s->pos + SIV_RECORD_HEADER, header);
	s->pos += siv_record_span(header);
	if (s->seen - s->pos > SIZE)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *ring = malloc(SIZE);
	struct side reader, writer;
	uint64_t start, claim;

	if (!ring || len < sizeof(start)) {
		free(ring);
		return 0;
	}
	memset(ring, 0, SIZE);
	memcpy(&start, data, sizeof(start));
	reader = writer = (struct side){ start, start };
	/* a claim is a small step from where that side is, or anything at all */
	for (size_t i = sizeof(start); i + 10 <= len; i += 10) {
		struct side *s = data[i] & 1 ? &reader : &writer;

		memcpy(&claim, data + i + 2, sizeof(claim));
		if (data[i] & 2)
			claim = s->seen + (claim & 127) - 16;
		if (data[i] & 4)
			record_step(&reader, ring, claim, data[i] & 8 ? claim : data[i + 1],
				    data[i] & 16);
		else
			step(s, ring, claim, data[i + 1], data[i] & 1);
	}
	free(ring);
	return 0;
}
