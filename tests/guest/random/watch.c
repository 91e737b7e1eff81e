// SPDX-License-Identifier: BSD-2-Clause
/*
 * What poll() and epoll say of a connection. All ends are in two epoll sets, level- and
 * edge-triggered. What must be reported may take a moment (MSG_MORE puts wake-ups off), but only that.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "model.h"

#define WAIT_MS	 3000 /* longest that a report may take */
#define ENDS_MAX 128

static int level_set, edge_set;

void watch_init(void)
{
	level_set = epoll_create1(EPOLL_CLOEXEC);
	edge_set = epoll_create1(EPOLL_CLOEXEC);
	if (level_set < 0 || edge_set < 0)
		die("epoll: %s", strerror(errno));
}

/* A new end, or one whose connection is a new one. */
void watch_add(struct conn *c, int e)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP,
				  .data.u32 = c->index * 2 + e };
	struct end *end = &c->end[e];
	short must, may;

	if (epoll_ctl(level_set, EPOLL_CTL_ADD, end->fd[0], &ev))
		die("epoll_ctl: %s", strerror(errno));
	ev.events |= EPOLLET;
	if (epoll_ctl(edge_set, EPOLL_CTL_ADD, end->fd[0], &ev))
		die("epoll_ctl: %s", strerror(errno));
	want_poll(c, e, &must, &may);
	end->in_due = must & POLLIN;
	end->out_due = must & POLLOUT;
	end->in_dry = !end->in_due;
	end->out_dry = !end->out_due;
}

static const char *bits_text(short bits, char *text, size_t size)
{
	static const struct {
		short bit;
		const char *name;
	} names[] = { { POLLIN, "IN" },	  { POLLOUT, "OUT" }, { POLLRDHUP, "RDHUP" },
		      { POLLHUP, "HUP" }, { POLLERR, "ERR" }, { POLLPRI, "PRI" } };
	size_t i, at = 0;

	snprintf(text, size, "0");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (bits & names[i].bit)
			at += snprintf(text + at, size - at, "%s%s", at ? "|" : "", names[i].name);
	return text;
}

static void bits_check(struct conn *c, int e, const char *who, short asked, short said)
{
	char a[60], b[60], d[60];
	short must, may;

	asked |= POLLHUP | POLLERR;
	want_poll(c, e, &must, &may);
	if ((said & (must & asked)) != (must & asked) || said & ~(may & asked))
		wrong(c, "end %d: %s says %s; the model says %s, and at most %s", e, who,
		      bits_text(said, a, sizeof(a)), bits_text(must & asked, b, sizeof(b)),
		      bits_text(may & asked, d, sizeof(d)));
}

void watch_poll(struct conn *c, int e, struct rng *r)
{
	static const short bits[] = { POLLIN, POLLOUT, POLLIN | POLLOUT, POLLRDHUP,
				      POLLIN | POLLOUT | POLLRDHUP | POLLPRI };
	short events = bits[rng_below(r, sizeof(bits) / sizeof(bits[0]))];
	struct pollfd p = { .fd = some_fd(c, e, r), .events = events };
	char text[60];

	note(c, "%d: poll %s", e, bits_text(events, text, sizeof(text)));
	if (poll(&p, 1, 0) < 0)
		wrong(c, "poll: %s", strerror(errno));
	note_more(c, " = %s", bits_text(p.revents, text, sizeof(text)));
	bits_check(c, e, "poll", events, p.revents);
}

static bool due(const struct end *end)
{
	return end->fds && (end->in_due || end->out_due);
}

static void reported(struct conn *conns, const struct epoll_event *ev, bool edge, bool *seen)
{
	struct conn *c = &conns[ev->data.u32 / 2];
	int e = ev->data.u32 % 2;
	char text[60];

	seen[ev->data.u32] = true;
	if (edge)
		note(c, "%d: edge-triggered epoll says %s", e,
		     bits_text(ev->events, text, sizeof(text)));
	bits_check(c, e, "epoll", POLLIN | POLLOUT | POLLRDHUP, ev->events);
	if (edge && ev->events & EPOLLIN)
		c->end[e].in_due = c->end[e].in_dry = false;
	if (edge && ev->events & EPOLLOUT)
		c->end[e].out_due = c->end[e].out_dry = false;
}

/* An end that is owed a report and has none in @seen yet, or -1. */
static int owed(struct conn *conns, unsigned int n, bool edge, const bool *seen)
{
	short must, may;
	unsigned int i;

	for (i = 0; i < 2 * n; i++) {
		struct conn *c = &conns[i / 2];

		if (edge ? due(&c->end[i % 2]) : c->end[i % 2].fds && !seen[i]) {
			want_poll(c, i % 2, &must, &may);
			if (edge || must)
				return i;
		}
	}
	return -1;
}

void watch_epoll(struct conn *conns, unsigned int n, struct conn *c, bool edge)
{
	uint64_t until = now_ms() + WAIT_MS * opt.slow;
	struct epoll_event ev[ENDS_MAX];
	bool seen[ENDS_MAX] = { false };
	int i, k, end, timeout = 0;

	note(c, "epoll_wait, %s-triggered", edge ? "edge" : "level");
	do {
		k = epoll_wait(edge ? edge_set : level_set, ev, ENDS_MAX, timeout);
		if (k < 0)
			die("epoll_wait: %s", strerror(errno));
		for (i = 0; i < k; i++)
			reported(conns, &ev[i], edge, seen);
		end = owed(conns, n, edge, seen);
		timeout = 10; /* others may be reported at once each time */
		if (end >= 0 && !edge)
			sched_yield();
	} while (end >= 0 && now_ms() < until);
	if (end < 0)
		return;
	c = &conns[end / 2];
	note(c, "%d: in %s, out %s", end % 2, c->end[end % 2].in_due ? "due" : "not due",
	     c->end[end % 2].out_due ? "due" : "not due");
	wrong(c, "end %d: %s-triggered epoll owes a report and gives none", end % 2,
	      edge ? "edge" : "level");
}
