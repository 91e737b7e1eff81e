/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Ring arithmetic, shared by the kernel module and userspace: which positions can be true, and when
 * a peer is to be told. Pure functions of values that were read once; nothing here touches memory.
 *
 * Positions are free-running 64-bit byte counts and may wrap. All comparisons are of differences.
 */
#ifndef _SIVSHMEM_RING_H
#define _SIVSHMEM_RING_H

#include <linux/types.h>

#ifndef __KERNEL__
#include <stdbool.h>
#endif

#define SIV_RECORD_HEADER 8u /* bytes of struct siv_record, and what records are aligned to */
#define SIV_SEAL_TAG  16u    /* bytes that sealing adds to a record */
#define SIV_SEAL_DATA 16384u /* bytes of a sealed record at most, the tag not counted */

/*
 * The reader's view. @tx is what the writer claims to have written; @seen what it claimed before,
 * @pos what was read, @size the ring's bytes: all three private, with 0 <= seen - pos <= size.
 * True, and @bytes can be read, unless the claim is impossible: it went back, or has more in flight
 * than the ring holds.
 */
static inline bool siv_ring_readable(__u64 tx, __u64 seen, __u64 pos, __u64 size, __u64 *bytes)
{
	if (tx - seen > pos + size - seen)
		return false;
	*bytes = tx - pos;
	return true;
}

/*
 * The same for a reader that has seen fewer than @min bytes, and wants that many: 0 < min. True if
 * they are there and @tx is possible. With a @size of 0 nothing is.
 */
static inline bool siv_ring_has(__u64 tx, __u64 pos, __u64 min, __u64 size)
{
	return tx - pos >= min && tx - pos <= size;
}

/*
 * The writer's view. @rx is what the reader claims to have read; @seen what it claimed before, @pos
 * what was written, @size the ring's bytes: all three private, with 0 <= pos - seen <= size. True,
 * and @bytes can be written, unless the claim is impossible: it went back, or past what was written.
 */
static inline bool siv_ring_writable(__u64 rx, __u64 seen, __u64 pos, __u64 size, __u64 *bytes)
{
	if (rx - seen > pos - seen)
		return false;
	*bytes = size - (pos - rx);
	return true;
}

/*
 * The kernel's view of a direction whose own position a process moves. The reader's @rx was @rx_seen
 * and the writer's @tx was @tx_seen when last looked at; one of the two is the process's, the other
 * the peer's. True unless one went back, or more is in flight than the ring holds.
 */
static inline bool siv_ring_moved(__u64 rx, __u64 rx_seen, __u64 tx, __u64 tx_seen, __u64 size)
{
	return (__s64)(rx - rx_seen) >= 0 && (__s64)(tx - tx_seen) >= 0 && tx - rx <= size;
}

/* Did the step from @old to @new pass the wake word @wake, that is old < wake <= new? */
static inline bool siv_ring_passed(__u64 old, __u64 new_pos, __u64 wake)
{
	return wake - old - 1 < new_pos - old;
}

/* Has @pos come to @want, or gone beyond? */
static inline bool siv_ring_reached(__u64 pos, __u64 want)
{
	return (__s64)(pos - want) >= 0;
}

/* Will a wake word of @word, with the peer at @pos, tell in time for who waits for @want? */
static inline bool siv_ring_armed(__u64 word, __u64 pos, __u64 want)
{
	return !siv_ring_reached(pos, word) && siv_ring_reached(want, word);
}

/*
 * Bytes that a record of @len bytes takes in a SOCK_SEQPACKET ring: struct siv_record, then the data,
 * padded so that the next header is aligned and never wraps. Does not overflow for a @len of 32 bits.
 */
static inline __u64 siv_record_span(__u64 len)
{
	return SIV_RECORD_HEADER +
	       ((len + SIV_RECORD_HEADER - 1) & ~(__u64)(SIV_RECORD_HEADER - 1));
}

/*
 * The reader's view of a record: can a header that claims @len bytes be true, when @bytes can be
 * read? Writers publish whole records only, so one that is not there whole breaks the ring's rules.
 */
static inline bool siv_record_possible(__u32 len, __u64 bytes)
{
	return siv_record_span(len) <= bytes;
}

/*
 * The same of a sealed record, whose @len counts the tag. @min: bytes that it has at least, 1 on a
 * stream, where an empty record would be something to read with nothing in it.
 */
static inline bool siv_sealed_possible(__u32 len, __u32 min, __u64 bytes)
{
	return len >= SIV_SEAL_TAG + min && len <= SIV_SEAL_TAG + SIV_SEAL_DATA &&
	       siv_record_possible(len, bytes);
}

/*
 * The longest record that can be sealed into @room free bytes of a ring; 0: not even one byte.
 */
static inline __u32 siv_seal_payload(__u64 room)
{
	const __u64 whole = room & ~(__u64)(SIV_RECORD_HEADER - 1);
	const __u64 over = SIV_RECORD_HEADER + SIV_SEAL_TAG;

	if (whole <= over)
		return 0;
	return whole - over < SIV_SEAL_DATA ? whole - over : SIV_SEAL_DATA;
}

/*
 * The consumer's view of an event ring of @slots entries: how many to take, when the producer claims
 * @pos and @seen were taken. False if the claim is beyond the capacity.
 */
static inline bool siv_events_pending(__u64 pos, __u64 seen, __u64 slots, __u64 *entries)
{
	*entries = pos - seen;
	return *entries <= slots;
}

#endif
