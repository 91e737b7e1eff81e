// SPDX-License-Identifier: BSD-2-Clause
/* Streams over connected sockets by io_uring. */
#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uring.h"

enum {
	BATCH = 32, /* sends that wait for each other */
	BUFFERS = 8, /* a power of two */
	BUFFER_BYTES = 1 << 16,
	ENTRIES = 64, /* a batch and the receive behind it */
};

/* The data of what is not a send or a receive: a send has its length, a receive 0. */
#define MULTISHOT UINT64_MAX
#define CANCEL	  (UINT64_MAX - 1)

struct uring_stream {
	struct stream stream; /* first */
	struct io_uring ring;
	int fd;
	struct io_uring_buf_ring *buffers; /* of group 0; NULL until the first drop */
	uint8_t *data; /* what they are */
	unsigned int queued; /* sends that were put off */
	struct io_uring_sqe *last; /* of them: linked to what comes next */
};

/*
 * Submits what is queued and @receives more, and waits for all. A send that was cut short breaks its
 * chain, so that what follows is cancelled: the first error is the cause. The result of the receive,
 * which is the one that expects 0, goes to @received.
 */
static int complete(struct uring_stream *uring, unsigned int receives, int *received)
{
	unsigned int pending = uring->queued + receives, seen = 0, head;
	struct io_uring_cqe *cqe;
	int n, err = 0;

	uring->queued = 0;
	n = io_uring_submit_and_wait(&uring->ring, pending);
	if (n < 0)
		return n;
	while (seen < pending) {
		unsigned int now = 0;

		io_uring_for_each_cqe(&uring->ring, head, cqe)
		{
			if (!cqe->user_data)
				*received = cqe->res;
			else if (!err && cqe->res != (int64_t)cqe->user_data)
				err = cqe->res < 0 ? cqe->res : -EPIPE;
			now++;
		}
		io_uring_cq_advance(&uring->ring, now);
		seen += now;
		if (seen < pending) {
			n = io_uring_wait_cqe(&uring->ring, &cqe);
			if (n)
				return n;
		}
	}
	return err;
}

static int uring_flush(struct stream *stream)
{
	struct uring_stream *uring = (struct uring_stream *)stream;

	if (!uring->queued)
		return 0;
	uring->last->flags &= ~IOSQE_IO_LINK;
	return complete(uring, 0, NULL);
}

static int uring_send(struct stream *stream, const void *buf, size_t len)
{
	struct uring_stream *uring = (struct uring_stream *)stream;
	struct io_uring_sqe *sqe;

	/* never NULL: a batch and a receive fit, and all are reaped before the next */
	sqe = io_uring_get_sqe(&uring->ring);
	io_uring_prep_send(sqe, 0, buf, len, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data64(sqe, len);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_IO_LINK;
	uring->last = sqe;
	return ++uring->queued == BATCH ? uring_flush(stream) : 0;
}

static ssize_t uring_recv(struct stream *stream, void *buf, size_t min, size_t max)
{
	struct uring_stream *uring = (struct uring_stream *)stream;
	size_t done = 0;

	while (done < min) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
		int err, n = -ECANCELED;

		io_uring_prep_recv(sqe, 0, (char *)buf + done, max - done,
				   min == max ? MSG_WAITALL : 0);
		io_uring_sqe_set_data64(sqe, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
		err = complete(uring, 1, &n);
		if (err || n < 0)
			return err ?: n;
		if (!n)
			return done ? -ECONNRESET : 0;
		done += n;
	}
	return done;
}

static void provide(struct uring_stream *uring, unsigned int buffer)
{
	io_uring_buf_ring_add(uring->buffers, uring->data + buffer * BUFFER_BYTES, BUFFER_BYTES,
			      buffer, io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(uring->buffers, 1);
}

/* What it has made is freed by uring_close(). */
static int make_buffers(struct uring_stream *uring)
{
	struct io_uring_buf_reg reg = { .ring_entries = BUFFERS };
	void *ring;
	int err;

	uring->data = malloc(BUFFERS * BUFFER_BYTES);
	if (!uring->data ||
	    posix_memalign(&ring, sysconf(_SC_PAGESIZE), BUFFERS * sizeof(struct io_uring_buf)))
		return -ENOMEM;
	uring->buffers = ring;
	reg.ring_addr = (uintptr_t)ring;
	err = io_uring_register_buf_ring(&uring->ring, &reg, 0);
	if (err)
		return err;
	io_uring_buf_ring_init(uring->buffers);
	for (unsigned int i = 0; i < BUFFERS; i++)
		provide(uring, i);
	return 0;
}

/* Starts the receive that goes on by itself for as long as there are buffers. */
static int arm(struct uring_stream *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
	int n;

	io_uring_prep_recv_multishot(sqe, 0, NULL, 0, 0);
	io_uring_sqe_set_data64(sqe, MULTISHOT);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	n = io_uring_submit(&uring->ring);
	return n < 0 ? n : 0;
}

/* Ends it, and waits until both it and its cancellation have said so. */
static int disarm(struct uring_stream *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
	struct io_uring_cqe *cqe;
	int err;

	io_uring_prep_cancel64(sqe, MULTISHOT, 0);
	io_uring_sqe_set_data64(sqe, CANCEL);
	err = io_uring_submit_and_wait(&uring->ring, 2);
	for (int i = 0; err >= 0 && i < 2; i++) {
		err = io_uring_wait_cqe(&uring->ring, &cqe);
		if (!err)
			io_uring_cqe_seen(&uring->ring, cqe);
	}
	return err < 0 ? err : 0;
}

static int uring_drop(struct stream *stream, uint64_t total)
{
	struct uring_stream *uring = (struct uring_stream *)stream;
	int n, err = uring->buffers ? 0 : make_buffers(uring);
	struct io_uring_cqe *cqe;
	bool armed = false;

	while (!err && total) {
		if (!armed)
			err = arm(uring);
		err = err ?: io_uring_wait_cqe(&uring->ring, &cqe);
		if (err)
			return err;
		n = cqe->res;
		armed = cqe->flags & IORING_CQE_F_MORE;
		if (n > 0)
			provide(uring, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
		io_uring_cqe_seen(&uring->ring, cqe);
		if (n == -ENOBUFS)
			continue;
		if (n <= 0)
			return n ?: -ECONNRESET;
		total -= n;
	}
	return !err && armed ? disarm(uring) : err;
}

static void uring_close(struct stream *stream)
{
	struct uring_stream *uring = (struct uring_stream *)stream;

	io_uring_queue_exit(&uring->ring);
	close(uring->fd);
	free(uring->buffers);
	free(uring->data);
	free(uring);
}

static const struct stream_ops uring_ops = {
	.send = uring_send,
	.flush = uring_flush,
	.recv = uring_recv,
	.drop = uring_drop,
	.close = uring_close,
};

struct stream *uring_stream(int fd, int *err)
{
	struct uring_stream *uring = calloc(1, sizeof(*uring));

	*err = -ENOMEM;
	if (!uring)
		return NULL;
	uring->stream.ops = &uring_ops;
	uring->fd = fd;
	*err = io_uring_queue_init(ENTRIES, &uring->ring, 0);
	if (*err)
		goto free_stream;
	*err = io_uring_register_files(&uring->ring, &fd, 1);
	if (*err)
		goto exit_ring;
	return &uring->stream;

exit_ring:
	io_uring_queue_exit(&uring->ring);
free_stream:
	free(uring);
	return NULL;
}
