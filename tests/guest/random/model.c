// SPDX-License-Identifier: BSD-2-Clause
/*
 * The model: what calls may answer, and what they change.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

bool want_met(const struct want *w, ssize_t ret, int err)
{
	size_t i;

	if (ret >= 0)
		return w->max >= 0 && ret >= w->min && ret <= w->max;
	for (i = 0; i < sizeof(w->err) / sizeof(w->err[0]); i++)
		if (w->err[i] && err == w->err[i])
			return true;
	return false;
}

void want_text(const struct want *w, char *text, size_t size)
{
	size_t at = 0, i;

	text[0] = 0;
	if (w->max >= 0)
		at = w->min == w->max ? snprintf(text, size, "%zd", w->max) :
					snprintf(text, size, "%zd..%zd", w->min, w->max);
	for (i = 0; i < sizeof(w->err) / sizeof(w->err[0]); i++)
		if (w->err[i] && at < size)
			at += snprintf(text + at, size - at, "%s%s", at ? " or " : "",
				       strerrorname_np(w->err[i]));
}

static void want_err(struct want *w, int err)
{
	size_t i;

	for (i = 0; w->err[i]; i++)
		;
	w->err[i] = err;
}

static struct want fails(int err)
{
	return (struct want){ .max = -1, .err = { err } };
}

static struct want exactly(ssize_t n)
{
	return (struct want){ .min = n, .max = n };
}

static size_t min2(size_t a, size_t b)
{
	return a < b ? a : b;
}

bool send_shut(const struct conn *c, int e)
{
	return c->way[e].shut_wr || c->way[e].shut_rd;
}

bool recv_shut(const struct conn *c, int e)
{
	return send_shut(c, !e);
}

uint64_t unread(const struct way *w)
{
	return w->wpos - w->rpos;
}

bool anything_unread(const struct conn *c, const struct way *w)
{
	return c->type == SOCK_STREAM ? unread(w) : w->count;
}

const struct record *record_at(const struct way *w, unsigned int i)
{
	return &w->records[(w->first + i) % w->room];
}

static uint64_t record_room(size_t len)
{
	return RECORD_HEAD + (len + RECORD_HEAD - 1) / RECORD_HEAD * RECORD_HEAD;
}

static void record_add(struct way *w, size_t len, int eor)
{
	struct record *grown;
	unsigned int i;

	if (w->count == w->room) {
		grown = malloc((w->room * 2 + 16) * sizeof(*grown));
		if (!grown)
			die("no memory");
		for (i = 0; i < w->count; i++)
			grown[i] = *record_at(w, i);
		free(w->records);
		w->records = grown;
		w->room = w->room * 2 + 16;
		w->first = 0;
	}
	w->records[(w->first + w->count++) % w->room] =
		(struct record){ .at = w->wpos, .len = len, .eor = eor };
}

static struct want want_send_stream(struct conn *c, int e, size_t len, size_t good)
{
	struct way *w = &c->way[e];
	struct want want;
	uint64_t free = w->ring - w->used;

	if (send_shut(c, e))
		return fails(EPIPE);
	if (!len)
		return exactly(0);
	if (w->ring) {
		if (!free)
			return fails(EAGAIN);
		if (!good)
			return fails(EFAULT);
		return exactly(min2(good, free));
	}
	/* what faults takes the whole piece of the kernel's with it, which may have begun before */
	want = (struct want){ .min = 1, .max = good ? (ssize_t)good : -1 };
	if (good < len)
		want_err(&want, EFAULT);
	if (anything_unread(c, w))
		want_err(&want, EAGAIN);
	return want;
}

static struct want want_send_record(struct conn *c, int e, size_t len, size_t good)
{
	struct way *w = &c->way[e];
	struct want want = { .max = -1 };
	uint64_t biggest;

	socklen_t size = sizeof(int);
	int sndbuf;

	if (c->end[e].reset)
		return fails(ECONNRESET);
	if (w->ring) {
		biggest = w->ring - RECORD_HEAD;
	} else {
		if (getsockopt(c->end[e].fd[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, &size))
			die("SO_SNDBUF: %s", strerror(errno));
		biggest = sndbuf - 32;
	}
	/* which of several reasons not to send is told is nobody's business */
	if (send_shut(c, e))
		want_err(&want, EPIPE);
	if (len > biggest)
		want_err(&want, EMSGSIZE);
	if (want.err[0])
		return want;
	if (good < len)
		want_err(&want, EFAULT);
	if (w->ring ? record_room(len) > w->ring - w->used : w->count)
		want_err(&want, EAGAIN);
	if (good == len && (!w->ring || !want.err[0]))
		want.min = want.max = len;
	return want;
}

struct want want_send(struct conn *c, int e, size_t len, size_t good)
{
	return c->type == SOCK_STREAM ? want_send_stream(c, e, len, good) :
					want_send_record(c, e, len, good);
}

static bool writable(const struct conn *c, const struct way *w)
{
	uint64_t low = w->ring / 4;

	if (!w->ring)
		return !anything_unread(c, w);
	if (w->refused > low)
		low = w->refused;
	return w->ring - w->used >= low;
}

static bool readable(const struct conn *c, int e)
{
	const struct way *w = &c->way[!e];
	uint64_t low = c->end[e].lowat;

	if (c->type == SOCK_SEQPACKET)
		return w->count;
	if (w->ring && low > w->ring)
		low = w->ring;
	return unread(w) && unread(w) >= low;
}

/* Something came to end @e. */
static void news(struct conn *c, int e)
{
	struct end *end = &c->end[e];

	if (end->in_dry && readable(c, e)) {
		end->in_dry = false;
		end->in_due = true;
	}
}

void did_send(struct conn *c, int e, size_t len, ssize_t ret, int err, int eor)
{
	struct way *w = &c->way[e];
	struct end *end = &c->end[e];

	if (ret < 0) {
		if (err == ECONNRESET)
			end->reset = false;
		if (err == EAGAIN) {
			end->out_dry = true;
			w->refused = c->type == SOCK_SEQPACKET ? record_room(len) : 0;
			if (!writable(c, w))
				end->out_due = false;
		}
		return;
	}
	if (c->type == SOCK_STREAM) {
		if (!ret)
			return;
		w->wpos += ret;
		w->used += ret;
		/* what was sent in part may have met a hole instead */
		end->out_dry = end->out_dry || (w->ring && w->used == w->ring);
	} else {
		record_add(w, len, eor);
		w->wpos += len;
		w->used += record_room(len);
		w->refused = 0;
	}
	/* room that is there now is no news later */
	if (writable(c, w))
		end->out_dry = false;
	else
		end->out_due = false;
	news(c, !e);
}

static struct want want_recv_none(struct conn *c, int e)
{
	if (c->end[e].reset)
		return fails(ECONNRESET);
	if (recv_shut(c, e))
		return exactly(0);
	return fails(EAGAIN);
}

uint64_t peek_skip(const struct conn *c, int e, int flags)
{
	return flags & MSG_PEEK && c->end[e].peek_off > 0 ? c->end[e].peek_off : 0;
}

static struct want want_recv_stream(struct conn *c, int e, size_t len, size_t good, int flags)
{
	struct way *w = &c->way[!e];
	uint64_t skip = peek_skip(c, e, flags);
	struct want want;
	size_t n;

	if (unread(w) <= skip)
		return want_recv_none(c, e);
	n = min2(len, unread(w) - skip);
	if (w->ring && flags & MSG_TRUNC) /* nothing is copied */
		return exactly(n);
	if (n <= good)
		return exactly(n);
	if (w->ring)
		return good ? exactly(good) : fails(EFAULT);
	/* the kernel's piece that did not fit stays whole */
	want = (struct want){ .min = 1, .max = good ? (ssize_t)good : -1 };
	want_err(&want, EFAULT);
	return want;
}

static struct want want_recv_record(struct conn *c, int e, size_t len, size_t good, int flags)
{
	struct way *w = &c->way[!e];
	const struct record *record;
	size_t n;

	if (!w->count || (!w->ring && c->end[e].reset))
		return want_recv_none(c, e);
	record = record_at(w, 0);
	n = min2(len, record->len);
	if (n > good)
		return fails(EFAULT);
	return exactly(flags & MSG_TRUNC ? record->len : n);
}

struct want want_recv(struct conn *c, int e, size_t len, size_t good, int flags)
{
	return c->type == SOCK_STREAM ? want_recv_stream(c, e, len, good, flags) :
					want_recv_record(c, e, len, good, flags);
}

void did_recv(struct conn *c, int e, size_t len, ssize_t ret, int err, int flags)
{
	struct way *w = &c->way[!e];
	struct end *end = &c->end[e], *peer = &c->end[!e];
	bool taken = false;
	size_t n, wanted;

	if (ret < 0) {
		if (err == ECONNRESET)
			end->reset = false;
		if (err == EAGAIN)
			end->in_dry = true;
		/* AF_UNIX loses the record that it could not copy */
		taken = err == EFAULT && c->type == SOCK_SEQPACKET && !w->ring;
	} else if (c->type == SOCK_STREAM) {
		if (flags & MSG_PEEK) {
			end->peek_off += end->peek_off >= 0 ? ret : 0;
		} else {
			if (end->peek_off >= 0)
				end->peek_off = end->peek_off > ret ? end->peek_off - ret : 0;
			w->rpos += ret;
			w->used -= ret;
			if (ret && (size_t)ret < len)
				end->in_dry = true;
			/* AF_UNIX looks at the error when it wants more, and does not tell it */
			wanted = flags & MSG_WAITALL ? len : min2(end->lowat, len);
			if (!w->ring && ret && (size_t)ret < wanted && !unread(w))
				end->reset = false;
		}
	} else {
		taken = anything_unread(c, w);
	}
	if (taken && !(flags & MSG_PEEK)) {
		n = record_at(w, 0)->len;
		w->first = (w->first + 1) % w->room;
		w->count--;
		w->rpos += n;
		w->used -= record_room(n);
	}
	if (!readable(c, e) && !recv_shut(c, e))
		end->in_due = false;
	if (peer->out_dry && writable(c, w)) {
		peer->out_dry = false;
		peer->out_due = true;
	}
}

static short ends(const struct conn *c, int e)
{
	short must, may;

	want_poll(c, e, &must, &may);
	return must & (POLLIN | POLLRDHUP | POLLHUP | POLLERR);
}

/* The peer of end @e has ended something; @before is what ends() said. */
static void ended(struct conn *c, int e, short before)
{
	if (ends(c, e) & ~before)
		c->end[e].in_due = true;
}

void did_shutdown(struct conn *c, int e, int how)
{
	short before = ends(c, !e);

	if (how != SHUT_RD)
		c->way[e].shut_wr = true;
	if (how != SHUT_WR)
		c->way[!e].shut_rd = true;
	/* who shuts down knows it; the peer has to be told */
	c->end[e].in_due = c->end[e].in_dry = false;
	ended(c, !e, before);
}

void did_close(struct conn *c, int e)
{
	struct pollfd p = { .fd = c->end[!e].fd[0] };
	const struct way *in = &c->way[!e];
	short before = ends(c, !e);

	if (anything_unread(c, in))
		c->end[!e].reset = true;
	/* AF_UNIX does not count an empty record in front since 6.11, and did before */
	if (c->end[!e].reset && !in->ring && c->type == SOCK_SEQPACKET && !record_at(in, 0)->len &&
	    c->end[!e].fds) {
		poll(&p, 1, 0);
		c->end[!e].reset = p.revents & POLLERR;
	}
	c->way[e].shut_wr = true;
	c->way[!e].shut_rd = true;
	c->end[e].fds = 0;
	c->end[e].in_due = c->end[e].out_due = false;
	ended(c, !e, before);
}

void want_poll(const struct conn *c, int e, short *must, short *may)
{
	const struct way *out = &c->way[e], *in = &c->way[!e];
	bool in_shut = recv_shut(c, e), out_shut = send_shut(c, e);

	*must = 0;
	if (in_shut)
		*must |= POLLRDHUP | POLLIN;
	if (in_shut && out_shut)
		*must |= POLLHUP;
	if (c->end[e].reset)
		*must |= POLLERR;
	if (readable(c, e))
		*must |= POLLIN;
	if (writable(c, out) || (out->ring && out_shut))
		*must |= POLLOUT;
	*may = *must;
	if (!in->ring && anything_unread(c, in))
		*may |= POLLIN; /* AF_UNIX does not look at SO_RCVLOWAT here */
	if (!out->ring)
		*may |= POLLOUT;
}
