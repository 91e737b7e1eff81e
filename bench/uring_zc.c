// SPDX-License-Identifier: BSD-2-Clause
/* Streams over mapped channels, moved by io_uring. */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include <sivshmem/uring.h>

#include "uring_zc.h"

enum {
	NEVER = -1,
	BATCH = 32, /* entries that go to the kernel together */
	ENTRIES = 64,
};

struct zc_stream {
	struct stream stream; /* first */
	struct siv_map *map;
	struct io_uring ring;
	unsigned int queued; /* entries that the kernel has not got yet */
	unsigned int unread; /* sends whose second completion is to come */
};

/* Takes a completion: an entry's data is the length that its result must be. */
static int take_completion(struct zc_stream *zc, const struct io_uring_cqe *cqe,
			   unsigned int *firsts)
{
	if (cqe->flags & IORING_CQE_F_NOTIF) {
		zc->unread--;
		return 0;
	}
	++*firsts;
	zc->unread += !!(cqe->flags & IORING_CQE_F_MORE);
	if (cqe->res == (int64_t)cqe->user_data)
		return 0;
	return cqe->res < 0 ? cqe->res : -EPIPE;
}

/* Submits what is queued, and waits until each has its first completion and @unread fit. */
static int complete(struct zc_stream *zc, unsigned int unread)
{
	unsigned int pending = zc->queued, firsts = 0, head, now;
	struct io_uring_cqe *cqe;
	int n, err = 0;

	zc->queued = 0;
	n = pending ? io_uring_submit(&zc->ring) : 0;
	while (n >= 0 && (firsts < pending || zc->unread > unread)) {
		n = io_uring_wait_cqe(&zc->ring, &cqe);
		now = 0;
		io_uring_for_each_cqe(&zc->ring, head, cqe)
		{
			err = err ?: take_completion(zc, cqe, &firsts);
			now++;
		}
		io_uring_cq_advance(&zc->ring, now);
		if (err)
			return err;
	}
	return n < 0 ? n : err;
}

static int zc_flush(struct stream *stream)
{
	return complete((struct zc_stream *)stream, SIV_URING_ZC_MAX);
}

/* There is room for all entries of a batch, and for their second completions. */
static struct io_uring_sqe *next_entry(struct zc_stream *zc, int *err)
{
	*err = zc->queued < BATCH ? 0 : complete(zc, SIV_URING_ZC_MAX - BATCH);
	return *err ? NULL : io_uring_get_sqe(&zc->ring);
}

static int reserve_some(struct zc_stream *zc, size_t *len, void **view)
{
	struct siv_tx *tx = &zc->map->tx;
	ssize_t room = siv_room(tx, *len);
	int err;

	if (room < 0)
		return room;
	*len = room ? min_size(*len, room) : 1;
	err = complete(zc, SIV_URING_ZC_MAX);
	return err ?: siv_reserve_wait(tx, *len, NEVER, view);
}

static int zc_send(struct stream *stream, const void *buf, size_t len)
{
	struct zc_stream *zc = (struct zc_stream *)stream;
	struct siv_tx *tx = &zc->map->tx;

	while (len) {
		size_t n = min_size(len, siv_reserve_max(tx));
		struct io_uring_sqe *sqe;
		void *view;
		int err = siv_reserve(tx, n, &view);

		if (err == -EAGAIN)
			err = reserve_some(zc, &n, &view);
		if (err)
			return err;
		memcpy(view, buf, n);
		sqe = next_entry(zc, &err);
		if (sqe)
			err = siv_uring_send(tx, sqe, n, 0);
		if (err)
			return err;
		io_uring_sqe_set_data64(sqe, n);
		zc->queued++;
		buf = (const char *)buf + n;
		len -= n;
	}
	return 0;
}

static ssize_t zc_recv(struct stream *stream, void *buf, size_t min, size_t max)
{
	struct zc_stream *zc = (struct zc_stream *)stream;
	struct siv_rx *rx = &zc->map->rx;
	size_t done = 0;

	while (done < min) {
		struct io_uring_sqe *sqe;
		const void *view;
		ssize_t n = siv_peek(rx, &view);
		int err;

		if (n == -EAGAIN)
			n = zc_flush(stream) ?: siv_peek_wait(rx, 1, NEVER, &view);
		if (n < 0)
			return n;
		if (!n)
			return done ? -ECONNRESET : 0;
		n = min_size(n, max - done);
		memcpy((char *)buf + done, view, n);
		sqe = next_entry(zc, &err);
		if (sqe)
			err = siv_uring_release(rx, sqe, n);
		if (err)
			return err;
		io_uring_sqe_set_data64(sqe, n);
		zc->queued++;
		done += n;
	}
	return done;
}

static void zc_close(struct stream *stream)
{
	struct zc_stream *zc = (struct zc_stream *)stream;

	io_uring_queue_exit(&zc->ring);
	siv_unmap(zc->map);
	free(zc);
}

static const struct stream_ops zc_ops = {
	.send = zc_send,
	.flush = zc_flush,
	.recv = zc_recv,
	.close = zc_close,
};

struct stream *uring_zc_stream(int fd, int *err)
{
	struct zc_stream *zc = calloc(1, sizeof(*zc));

	*err = -ENOMEM;
	if (!zc)
		return NULL;
	zc->stream.ops = &zc_ops;
	*err = io_uring_queue_init(ENTRIES, &zc->ring, 0);
	if (*err)
		goto free_stream;
	*err = siv_map(fd, 0, &zc->map);
	if (!*err)
		return &zc->stream;
	io_uring_queue_exit(&zc->ring);
free_stream:
	free(zc);
	return NULL;
}
