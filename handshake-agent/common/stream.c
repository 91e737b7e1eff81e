// SPDX-License-Identifier: BSD-2-Clause
/* A byte stream over a non-blocking descriptor, with bounded buffers each way. */
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "list.h"

#define STREAM_ROOM_MIN 4096u          /* first allocation of a buffer */
#define STREAM_ROUND    (64u * 1024)   /* bytes read in one round: then others have their turn */

static size_t buf_len(const struct stream_buf *buf)
{
	return buf->end - buf->start;
}

static void buf_consume(struct stream_buf *buf, size_t len)
{
	buf->start += len;
	if (buf->start == buf->end)
		buf->start = buf->end = 0;
}

/* Makes room for @len more bytes at the end. False: beyond the cap, or no memory (errno). */
static bool buf_reserve(struct stream_buf *buf, size_t len)
{
	size_t held = buf_len(buf);
	size_t room = buf->room;
	uint8_t *data;

	if (len > buf->cap - held) {
		errno = ENOBUFS;
		return false;
	}
	if (buf->room - buf->end >= len)
		return true;
	if (buf->start) {
		memmove(buf->data, buf->data + buf->start, held);
		buf->start = 0;
		buf->end = held;
	}
	if (buf->room - buf->end >= len)
		return true;
	if (!room)
		room = STREAM_ROOM_MIN;
	while (room < held + len)
		room *= 2;
	if (room > buf->cap)
		room = buf->cap;
	data = realloc(buf->data, room);
	if (!data)
		return false;
	buf->data = data;
	buf->room = room;
	return true;
}

static void buf_free(struct stream_buf *buf)
{
	free(buf->data);
	*buf = (struct stream_buf){ .cap = buf->cap };
}

static void stream_fail(struct stream *s, int error)
{
	if (s->closed)
		return;
	s->closed = true;
	s->error = error;
}

/* The other side does not read any more; what it wrote before that is still wanted. */
static void stream_fail_out(struct stream *s)
{
	s->out_failed = true;
	buf_consume(&s->out, buf_len(&s->out));
}

/* What to ask epoll for. A port that is down is watched for edges: its POLLHUP would spin. */
static uint32_t stream_wants(const struct stream *s)
{
	uint32_t events = 0;

	if ((s->flags & STREAM_PORT) && !s->up)
		return EPOLLIN | EPOLLOUT | EPOLLET;
	if (buf_len(&s->in) < s->in.cap)
		events |= EPOLLIN;
	if (buf_len(&s->out))
		events |= EPOLLOUT;
	return events;
}

static void stream_update(struct stream *s)
{
	int err = loop_modify(&s->io, stream_wants(s));

	if (err)
		stream_fail(s, -err);
}

/* True if the queue, which was not empty, now is. */
static bool stream_flush(struct stream *s)
{
	if (!buf_len(&s->out))
		return false;
	while (buf_len(&s->out)) {
		ssize_t n = write(s->fd, s->out.data + s->out.start, buf_len(&s->out));

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				stream_fail_out(s);
			return false;
		}
		buf_consume(&s->out, (size_t)n);
	}
	return true;
}

/* True if there are new bytes. @end: the other side has closed, or is not there. */
static bool stream_fill(struct stream *s, bool *end)
{
	size_t want = s->in.cap - buf_len(&s->in);
	ssize_t n;

	*end = false;
	if (want > STREAM_ROUND)
		want = STREAM_ROUND;
	if (!want)
		return false;
	if (!buf_reserve(&s->in, want)) {
		stream_fail(s, errno);
		return false;
	}
	do {
		n = read(s->fd, s->in.data + s->in.end, want);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		if (errno != EAGAIN)
			stream_fail(s, errno);
		return false;
	}
	if (n == 0) {
		*end = true;
		return false;
	}
	s->in.end += (size_t)n;
	return true;
}

static unsigned int port_down(struct stream *s)
{
	bool was_up = s->up;

	s->up = false;
	buf_consume(&s->in, buf_len(&s->in));
	buf_consume(&s->out, buf_len(&s->out));
	stream_update(s);
	return was_up ? STREAM_DOWN : 0;
}

static void stream_ready(struct loop_io *io, uint32_t events)
{
	struct stream *s = container_of(io, struct stream, io);
	unsigned int what = 0;
	bool end = false;

	if ((s->flags & STREAM_PORT) && !s->up) {
		if ((events & EPOLLHUP) || !(events & EPOLLOUT))
			return;
		s->up = true;
		what |= STREAM_UP;
	}
	if (!s->closed && (events & EPOLLOUT) && stream_flush(s))
		what |= STREAM_OUT;
	if (!s->closed && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && stream_fill(s, &end))
		what |= STREAM_IN;
	if (s->flags & STREAM_PORT) {
		if (end || ((events & EPOLLHUP) && !(what & STREAM_IN))) {
			what &= ~(unsigned int)(STREAM_UP | STREAM_OUT);
			what |= port_down(s);
		}
	} else if (end) {
		stream_fail(s, 0);
	}
	if (!s->closed)
		stream_update(s);
	if (s->closed) {
		what |= STREAM_CLOSED;
		loop_remove(&s->io);
	}
	if (what)
		s->event(s, what);
}

int stream_open(struct stream *s, struct loop *loop, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	int err;

	s->in = (struct stream_buf){ .cap = s->in_cap };
	s->out = (struct stream_buf){ .cap = s->out_cap };
	s->error = 0;
	s->closed = s->out_failed = false;
	s->up = !(s->flags & STREAM_PORT);
	s->io.ready = stream_ready;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		err = -errno;
		goto err_close;
	}
	err = loop_add(loop, &s->io, fd, stream_wants(s));
	if (err)
		goto err_close;
	s->fd = fd;
	s->loop = loop;
	return 0;

err_close:
	close(fd);
	return err;
}

void stream_close(struct stream *s)
{
	if (!s->loop)
		return;
	loop_remove(&s->io);
	close(s->fd);
	s->fd = -1;
	s->loop = NULL;
	s->closed = true;
	s->up = false;
	buf_free(&s->in);
	buf_free(&s->out);
}

int stream_write(struct stream *s, const void *data, size_t len)
{
	if (!s->loop || s->closed || s->out_failed || !s->up)
		return -EPIPE;
	if (!buf_reserve(&s->out, len))
		return -errno;
	memcpy(s->out.data + s->out.end, data, len);
	s->out.end += len;
	/* What was queued before waits for EPOLLOUT already; else try now, it saves a round. */
	if (buf_len(&s->out) == len) {
		stream_flush(s);
		stream_update(s);
	}
	return s->out_failed ? -EPIPE : 0;
}

size_t stream_queued(const struct stream *s)
{
	return buf_len(&s->out);
}

const uint8_t *stream_peek(const struct stream *s, size_t *len)
{
	*len = buf_len(&s->in);
	return s->in.data + s->in.start;
}

void stream_consume(struct stream *s, size_t len)
{
	assert(len <= buf_len(&s->in));
	buf_consume(&s->in, len);
	if (s->loop && !s->closed)
		stream_update(s);
}
