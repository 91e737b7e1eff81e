// SPDX-License-Identifier: BSD-2-Clause
/*
 * epoll: by level, by edge, once, and on listeners.
 *
 * An edge may come more often than needed, but not less: what is recorded is that it comes, and
 * that nothing is told while nothing is there.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "matrix.h"

#define AWAIT_MS 20000

static int t_epoll(struct side *s, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	T_CHECK(s, ep >= 0);
	t_begin(s, "epoll_ctl(ADD, %s%s%s)", text_of_poll(events & 0xffff),
		events & EPOLLET ? ", ET" : "", events & EPOLLONESHOT ? ", ONESHOT" : "");
	t_ok(s, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	return ep;
}

static void t_epoll_mod(struct side *s, int ep, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };

	t_begin(s, "epoll_ctl(MOD, %s%s%s)", text_of_poll(events & 0xffff),
		events & EPOLLET ? ", ET" : "", events & EPOLLONESHOT ? ", ONESHOT" : "");
	t_ok(s, epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
}

static uint32_t t_epoll_now(struct side *s, int ep)
{
	struct epoll_event ev;
	int n;

	t_begin(s, "epoll_wait(0)");
	n = epoll_wait(ep, &ev, 1, 0);
	t_end(s, "%s", n == 1 ? text_of_poll(ev.events) : n ? "an error" : "nothing");
	return n == 1 ? ev.events : 0;
}

/* The bits once all of @want have been told, in however many turns. */
static void t_epoll_await(struct side *s, int ep, uint32_t want)
{
	struct epoll_event ev = { 0 };
	uint32_t seen = 0;

	t_begin(s, "epoll_wait()");
	while ((seen & want) != want) {
		if (epoll_wait(ep, &ev, 1, AWAIT_MS) != 1) {
			t_end(s, "%s and no more", text_of_poll(seen));
			return;
		}
		seen |= ev.events;
	}
	t_end(s, "%s", text_of_poll(ev.events));
}

static void s_level(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLRDHUP);

	t_epoll_now(s, ep);
	tell(s);
	t_epoll_await(s, ep, EPOLLIN);
	t_epoll_now(s, ep);
	t_recv(s, s->fd, 2, 0);
	t_epoll_now(s, ep);
	t_recv(s, s->fd, 2, 0);
	t_epoll_now(s, ep);
	t_epoll_mod(s, ep, s->fd, EPOLLOUT);
	t_epoll_now(s, ep);
	t_epoll_mod(s, ep, s->fd, EPOLLRDHUP);
	tell(s);
	t_epoll_await(s, ep, EPOLLRDHUP);
	t_epoll_mod(s, ep, s->fd, 0);
	tell(s);
	t_epoll_await(s, ep, EPOLLHUP);
	t_epoll_now(s, ep);
}

static void s_level_records(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLRDHUP);

	t_epoll_now(s, ep);
	tell(s);
	t_epoll_await(s, ep, EPOLLIN);
	t_epoll_now(s, ep);
	t_recv(s, s->fd, 2, 0);
	t_epoll_now(s, ep);
	tell(s);
	t_epoll_await(s, ep, EPOLLRDHUP);
	t_epoll_mod(s, ep, s->fd, 0);
	tell(s);
	t_epoll_await(s, ep, EPOLLHUP);
}

static void c_level(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "data", 0);
	hear(s);
	t_shutdown(s, s->fd, SHUT_WR);
	hear(s);
	t_close(s, s->fd);
}

static void s_edge(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLET), i;

	t_epoll_now(s, ep);
	for (i = 0; i < 3; i++) {
		tell(s);
		t_epoll_await(s, ep, EPOLLIN);
		t_recv(s, s->fd, 16, 0);
		t_recv(s, s->fd, 16, MSG_DONTWAIT);
		t_epoll_now(s, ep);
	}
}

/* What is not read yet makes no edge by itself; what comes after it does. */
static void s_edge_unread(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLET), i;

	for (i = 0; i < 3; i++) {
		tell(s);
		t_epoll_await(s, ep, EPOLLIN);
	}
	for (i = 0; i < 3; i++)
		t_recv(s, s->fd, 4, 0);
	t_recv(s, s->fd, 4, MSG_DONTWAIT);
}

static void c_edge(struct side *s)
{
	int i;

	for (i = 0; i < 3; i++) {
		hear(s);
		t_send(s, s->fd, "edge", 0);
	}
}

static void c_edge_out(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLOUT | EPOLLET), i;

	t_epoll_await(s, ep, EPOLLOUT);
	for (i = 0; i < 2; i++) {
		t_fill(s, s->fd, 1000);
		tell(s);
		t_epoll_await(s, ep, EPOLLOUT);
	}
	t_shutdown(s, s->fd, SHUT_WR);
}

static void s_edge_out(struct side *s)
{
	char buf[4096];
	ssize_t n;
	int i;

	for (i = 0; i < 2; i++) {
		hear(s);
		while ((n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
			s->got += n;
	}
	do
		n = recv(s->fd, buf, sizeof(buf), 0);
	while (n > 0);
	t_note(s, "end: %zd", n);
}

static void s_edge_hup(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLRDHUP | EPOLLET);

	tell(s);
	t_epoll_await(s, ep, EPOLLIN | EPOLLRDHUP);
	tell(s);
	t_epoll_await(s, ep, EPOLLHUP);
	t_recv(s, s->fd, 1, 0);
}

static void c_edge_hup(struct side *s)
{
	hear(s);
	t_shutdown(s, s->fd, SHUT_WR);
	hear(s);
	t_close(s, s->fd);
}

static void s_edge_reset(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLET);

	t_send(s, s->fd, "unread", 0);
	tell(s);
	t_epoll_await(s, ep, EPOLLERR | EPOLLHUP | EPOLLIN);
	t_recv(s, s->fd, 1, 0);
	t_recv(s, s->fd, 1, 0);
}

static void c_edge_reset(struct side *s)
{
	hear(s);
	await_poll(s, s->fd, POLLIN);
	t_close(s, s->fd);
}

static void s_oneshot(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLONESHOT);

	tell(s);
	t_epoll_await(s, ep, EPOLLIN);
	t_epoll_now(s, ep);
	tell(s);
	hear(s);
	t_epoll_now(s, ep);
	t_epoll_mod(s, ep, s->fd, EPOLLIN | EPOLLONESHOT);
	t_epoll_await(s, ep, EPOLLIN);
	t_recv(s, s->fd, 4, 0);
	t_epoll_now(s, ep);
}

static void c_oneshot(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "one", 0);
	hear(s);
	t_send(s, s->fd, "two", 0);
	tell(s);
}

static void s_edge_oneshot(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLET | EPOLLONESHOT);

	tell(s);
	t_epoll_await(s, ep, EPOLLIN);
	tell(s);
	hear(s);
	t_epoll_now(s, ep);
	/* arming again asks what is there now */
	t_epoll_mod(s, ep, s->fd, EPOLLIN | EPOLLET | EPOLLONESHOT);
	t_epoll_await(s, ep, EPOLLIN);
}

static void s_add_late(struct side *s)
{
	int ep;

	await_poll(s, s->fd, POLLIN);
	ep = t_epoll(s, s->fd, EPOLLIN | EPOLLET);
	t_epoll_await(s, ep, EPOLLIN);
	t_recv(s, s->fd, 4, 0);
}

static void c_add_late(struct side *s)
{
	t_send(s, s->fd, "data", 0);
}

static void c_unconnected(struct side *s)
{
	int fd = t_socket(s, 0), ep = t_epoll(s, fd, EPOLLIN | EPOLLOUT);

	t_epoll_now(s, ep);
	hear(s);
	t_connect(s, fd, 0);
	t_epoll_mod(s, ep, fd, EPOLLIN | EPOLLOUT | EPOLLET);
	t_epoll_await(s, ep, EPOLLOUT);
	t_epoll_mod(s, ep, fd, EPOLLIN | EPOLLET);
	tell(s);
	t_epoll_await(s, ep, EPOLLIN);
	t_recv(s, fd, 16, 0);
}

static void s_unconnected(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	tell(s);
	s->fd = t_accept(s, listener, 0);
	hear(s);
	t_send(s, s->fd, "data", 0);
}

static void s_listener(struct side *s)
{
	int listener = make_listener(s, 0, 4), ep = t_epoll(s, listener, EPOLLIN), i;

	t_epoll_now(s, ep);
	tell(s);
	t_epoll_await(s, ep, EPOLLIN);
	t_accept(s, listener, 0);
	t_epoll_now(s, ep);
	t_epoll_mod(s, ep, listener, EPOLLIN | EPOLLET);
	for (i = 0; i < 2; i++) {
		tell(s);
		t_epoll_await(s, ep, EPOLLIN);
		t_accept(s, listener, 0);
		t_epoll_now(s, ep);
	}
}

static void c_listener(struct side *s)
{
	int i;

	for (i = 0; i < 3; i++) {
		hear(s);
		make_connected(s, 0);
	}
}

static void s_exclusive(struct side *s)
{
	int listener = make_listener(s, 0, 4);
	int a = t_epoll(s, listener, EPOLLIN | EPOLLEXCLUSIVE);
	int b = t_epoll(s, listener, EPOLLIN | EPOLLEXCLUSIVE);
	struct pollfd p[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };

	tell(s);
	t_begin(s, "a poll of two epolls with EPOLLEXCLUSIVE");
	t_end(s, "%s", poll(p, 2, AWAIT_MS) > 0 ? "at least one" : "none");
	t_accept(s, listener, 0);
	t_epoll_now(s, a);
	t_epoll_now(s, b);
}

static void c_exclusive(struct side *s)
{
	hear(s);
	make_connected(s, 0);
}

static void s_nested(struct side *s)
{
	int inner = t_epoll(s, s->fd, EPOLLIN), outer = t_epoll(s, inner, EPOLLIN);

	t_epoll_now(s, outer);
	tell(s);
	t_epoll_await(s, outer, EPOLLIN);
	t_epoll_await(s, inner, EPOLLIN);
	t_recv(s, s->fd, 16, 0);
	t_epoll_now(s, outer);
}

static void c_sends(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "data", 0);
}

static void s_dup_outlives(struct side *s)
{
	int copy = dup(s->fd), ep = t_epoll(s, s->fd, EPOLLIN);

	t_close(s, s->fd);
	tell(s);
	/* the file is still open, so it is still watched */
	t_epoll_await(s, ep, EPOLLIN);
	t_recv(s, copy, 16, 0);
	t_close(s, copy);
	t_epoll_now(s, ep);
}

static void bg_epoll(struct side *s, void *arg)
{
	struct epoll_event ev;
	int n;

	t_begin(s, "epoll_wait(blocking)");
	n = epoll_wait(*(int *)arg, &ev, 1, AWAIT_MS);
	t_end(s, "%s", n == 1 ? text_of_poll(ev.events) : "nothing");
}

static void s_blocked(struct side *s)
{
	int ep = t_epoll(s, s->fd, EPOLLIN | EPOLLET);
	struct bg b;

	bg_start(s, &b, bg_epoll, &ep);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &b);
}

static const struct testcase cases[] = {
	{ "by level: as long as there is something", STREAM, c_level, s_level },
	{ "by level, records", SEQPACKET, c_level, s_level_records },
	{ "by edge: each time that something comes, and not while nothing is there", BOTH, c_edge,
	  s_edge },
	{ "by edge: what comes while some is unread is told", BOTH, c_edge, s_edge_unread },
	{ "by edge: room in a buffer that was full", STREAM, c_edge_out, s_edge_out, SMALL },
	{ "by edge: half close and close", BOTH, c_edge_hup, s_edge_hup },
	{ "by edge: a reset", BOTH, c_edge_reset, s_edge_reset },
	{ "once, until armed again", BOTH, c_oneshot, s_oneshot },
	{ "by edge and once, until armed again", BOTH, c_oneshot, s_edge_oneshot },
	{ "what is there when it is added is told", BOTH, c_add_late, s_add_late },
	{ "added before connect", BOTH, c_unconnected, s_unconnected, RAW },
	{ "a listener, by level and by edge", BOTH, c_listener, s_listener, RAW },
	{ "a listener with EPOLLEXCLUSIVE wakes at least one", BOTH, c_exclusive, s_exclusive,
	  RAW },
	{ "an epoll in an epoll", BOTH, c_sends, s_nested },
	{ "a copy of the descriptor keeps it watched", BOTH, c_sends, s_dup_outlives },
	{ "data wakes a blocked epoll_wait", BOTH, c_sends, s_blocked },
};

const struct group group_epoll = { "epoll", cases, ARRAY_SIZE(cases) };
