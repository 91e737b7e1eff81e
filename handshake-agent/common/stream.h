/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A byte stream over a non-blocking descriptor, with bounded buffers each way.
 *
 * One callback, made at the end of a round and never from inside stream_write(): it may do
 * anything, stream_close() included. After STREAM_CLOSED nothing is read or written any more, and
 * all that can be done is stream_close().
 *
 * The process must ignore SIGPIPE.
 *
 * Reading stops while the input buffer is full, so whoever parses must consume whatever a full
 * buffer holds, or close. stream_write() takes all or nothing.
 *
 * STREAM_PORT is for a guest's virtio-serial port, which outlives whoever is at its other end:
 * while nobody is there, poll() reports POLLHUP and read() gives 0. Such a stream is not closed by
 * that. It says STREAM_DOWN, drops what is queued, sleeps until the port says otherwise, and says
 * STREAM_UP. It starts down.
 */
#ifndef SIVSHMEM_STREAM_H
#define SIVSHMEM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

enum {
	STREAM_IN = 1 << 0,     /* there are new bytes: stream_peek(), stream_consume() */
	STREAM_OUT = 1 << 1,    /* the output queue, which was not empty, is */
	STREAM_CLOSED = 1 << 2, /* end of file or an error: see @error; @in may still hold bytes */
	STREAM_DOWN = 1 << 3,   /* STREAM_PORT: nobody is at the other end any more */
	STREAM_UP = 1 << 4,     /* STREAM_PORT: somebody is; comes before their first STREAM_IN */
};

enum { STREAM_PORT = 1 << 0 };

struct stream_buf {
	uint8_t *data;
	size_t start, end; /* what is held */
	size_t room;       /* allocated; grows up to cap */
	size_t cap;
};

struct stream {
	/* Set before stream_open(), by the caller. */
	void (*event)(struct stream *stream, unsigned int what);
	size_t in_cap;  /* bytes */
	size_t out_cap; /* bytes */
	unsigned int flags;

	/* To read only. */
	int error; /* with STREAM_CLOSED: errno, 0 is end of file */
	bool up;

	struct loop *loop;
	struct loop_io io;
	struct stream_buf in, out;
	int fd;
	bool closed;     /* nothing is read or written any more */
	bool out_failed; /* nothing is written any more: the other side does not read */
};

/* Takes @fd over (also if it fails) and makes it non-blocking. 0 or -errno. */
int stream_open(struct stream *stream, struct loop *loop, int fd);

/* Closes the descriptor and drops what is queued. No callback. Closed already: nothing happens. */
void stream_close(struct stream *stream);

static inline bool stream_is_open(const struct stream *stream)
{
	return stream->loop;
}

/*
 * Queues @len bytes and writes what the descriptor takes. 0, or
 *   -ENOBUFS  they do not fit below out_cap: nothing was queued
 *   -EPIPE    closed, or a port that is down
 *   -ENOMEM
 */
int stream_write(struct stream *stream, const void *data, size_t len);

/* Bytes that are queued and not written. */
size_t stream_queued(const struct stream *stream);

/* The input: valid until stream_consume(), or the return of the callback. */
const uint8_t *stream_peek(const struct stream *stream, size_t *len);
void stream_consume(struct stream *stream, size_t len);

#endif
