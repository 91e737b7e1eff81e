/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A two-way stream of bytes over whatever path is measured, so that all paths run the same code,
 * and what is said over it.
 *
 * The client sends a request; the server answers it with an acknowledgement, eight bytes that are
 * the request's total:
 *
 *   ECHO size count    acknowledged at once; then count messages of size bytes, each sent back
 *   SINK size count    size * count bytes that are thrown away; acknowledged after the last one
 *   VIA size           acknowledged; from then on the server uses its socket by that means (via.h)
 *   END                acknowledged; the stream ends
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum stream_op { STREAM_ECHO = 1, STREAM_SINK, STREAM_END, STREAM_VIA };

struct stream_request {
	uint32_t op;
	uint32_t size;  /* bytes of a message, at most STREAM_MESSAGE_MAX; of VIA: a via_id */
	uint64_t count; /* of messages, at most STREAM_COUNT_MAX */
};

#define STREAM_MESSAGE_MAX (1u << 20)
#define STREAM_COUNT_MAX   (1ull << 32)

struct stream;

struct stream_ops {
	/*
	 * Sends all of it. Returns 0 or -errno. A path that sends in batches may put it off, and
	 * then wants @buf as it is, until flush(), or a recv() that returned or only filled @buf.
	 */
	int (*send)(struct stream *stream, const void *buf, size_t len);
	/* Sends what was put off; NULL where nothing ever is. Returns 0 or -errno. */
	int (*flush)(struct stream *stream);
	/*
	 * Receives at least @min and at most @max bytes; 0 < min <= max. Returns their number, 0
	 * when the stream ended before the first, or -errno; -ECONNRESET when it ended before @min.
	 */
	ssize_t (*recv)(struct stream *stream, void *buf, size_t min, size_t max);
	/*
	 * Receives @total bytes and throws them away; the peer sends no more until it is answered.
	 * NULL where recv() does it as well. Returns 0 or -errno, -ECONNRESET at the stream's end.
	 */
	int (*drop)(struct stream *stream, uint64_t total);
	void (*close)(struct stream *stream);
};

struct stream {
	const struct stream_ops *ops;
};

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline int stream_flush(struct stream *stream)
{
	return stream->ops->flush ? stream->ops->flush(stream) : 0;
}

#endif
