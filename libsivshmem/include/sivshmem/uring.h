/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mapped channels through io_uring: fills entries of the submission queue that send and release in
 * place. For halves that are not direct; with liburing, which libsivshmem itself does not need.
 *
 * The positions move when an entry is filled, not when it completes: the next siv_reserve() gives
 * the place behind it, so that several can be queued at once. In return
 *
 *  - entries of one half run in the order in which they were filled: queued one after the other
 *    without IOSQE_ASYNC, or linked where something in front of them waits. One out of turn is -EINVAL;
 *  - an entry whose result is not the length that was asked for leaves the half behind what really
 *    was sent or released. Nothing more can be done with it then but siv_unmap().
 *
 * siv_uring(3) has the whole.
 */
#ifndef _SIVSHMEM_URING_H
#define _SIVSHMEM_URING_H

#include <liburing.h>

#include <sivshmem/map.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sends in place, of one socket, whose second completion is still to come. More are -ENOBUFS. */
#define SIV_URING_ZC_MAX 256

/*
 * siv_uring_send - an entry that commits the first @len bytes of what was reserved, IORING_OP_SEND_ZC
 * @sqe: a fresh one; user data and flags are the caller's, to be set afterwards
 * @len: as of siv_commit(); the bytes may still be written by an entry that it is linked to
 * @flags: MSG_MORE, and MSG_EOR for records
 *
 * The first completion says that the peer has the bytes, the second (IORING_CQE_F_NOTIF) that it has
 * read them, or that nobody waits for that any longer. Neither is needed to reserve again: what is
 * free, siv_reserve() finds out by itself.
 *
 * Returns 0 and has filled @sqe, or -EBUSY (direct, or a commit with SIV_MORE is owed its
 * siv_flush()), -EINVAL (more than there is room for), or what the half's calls return from now on.
 */
static inline int siv_uring_send(struct siv_tx *tx, struct io_uring_sqe *sqe, size_t len, int flags)
{
	if (tx->err)
		return tx->err;
	if (tx->own || tx->told != tx->pos)
		return -EBUSY;
	if (len > siv_reserve_max(tx) || siv_tx_span(tx, len) > tx->limit - tx->pos)
		return -EINVAL;
	io_uring_prep_send_zc(sqe, tx->fd, tx->data + (tx->pos & tx->mask) + tx->header, len,
			      flags | MSG_NOSIGNAL, 0);
	tx->pos += siv_tx_span(tx, len);
	tx->fast = tx->told = tx->pos;
	return 0;
}

/*
 * siv_uring_release - an entry that releases @len bytes of what was peeked, IORING_OP_RECV
 * @len: as of siv_release(); of a record it does not matter
 *
 * Its result is @len, of a record the record's length. Returns as siv_uring_send(); -EINVAL: more
 * than was peeked.
 */
static inline int siv_uring_release(struct siv_rx *rx, struct io_uring_sqe *sqe, size_t len)
{
	const __u64 bytes = rx->header ? rx->span : len;

	if (rx->err)
		return rx->err;
	if (rx->own || rx->told != rx->pos)
		return -EBUSY;
	if ((rx->header && !rx->span) || bytes > rx->seen - rx->pos)
		return -EINVAL;
	io_uring_prep_recv(sqe, rx->fd, NULL, rx->header ? 0 : len, MSG_TRUNC);
	rx->span = 0;
	rx->pos += bytes;
	rx->fast = rx->told = rx->pos;
	return 0;
}

#ifdef __cplusplus
}
#endif

#endif
