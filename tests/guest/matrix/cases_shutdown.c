// SPDX-License-Identifier: BSD-2-Clause
/*
 * Ends: shutdown of each direction by either side, and close.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "matrix.h"

#define ERROR_LAST \
	"what was sent before is read before the error, as on a stream; AF_UNIX tells it first"

/* All that can be asked of a connection at its end; what blocks is not asked. */
static void ask(struct side *s)
{
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	t_send(s, s->fd, "x", MSG_DONTWAIT);
	t_sigpipes(s);
	t_send(s, s->fd, "x", MSG_NOSIGNAL);
	t_sigpipes(s);
	T_GETOPT(s, s->fd, SO_ERROR);
	t_getname(s, s->fd, false);
	t_getname(s, s->fd, true);
}

static void s_asks_then(struct side *s)
{
	meet(s);
	ask(s);
	meet(s);
}

static void s_awaits_rdhup(struct side *s)
{
	await_poll(s, s->fd, POLLIN | POLLRDHUP);
	s_asks_then(s);
}

static void s_awaits_hup(struct side *s)
{
	await_poll(s, s->fd, POLLHUP);
	s_asks_then(s);
}

static void c_shuts(struct side *s, const char *data, int how)
{
	if (data)
		t_send(s, s->fd, data, 0);
	t_shutdown(s, s->fd, how);
	meet(s);
	meet(s);
	ask(s);
}

static void c_wr(struct side *s)
{
	c_shuts(s, NULL, SHUT_WR);
}

static void c_wr_data(struct side *s)
{
	c_shuts(s, "last", SHUT_WR);
}

static void c_rd(struct side *s)
{
	c_shuts(s, NULL, SHUT_RD);
}

static void c_both(struct side *s)
{
	c_shuts(s, "last", SHUT_RDWR);
}

static void c_rd_then_wr(struct side *s)
{
	t_shutdown(s, s->fd, SHUT_RD);
	c_shuts(s, "last", SHUT_WR);
}

static void c_twice(struct side *s)
{
	t_shutdown(s, s->fd, SHUT_WR);
	t_shutdown(s, s->fd, SHUT_WR);
	t_shutdown(s, s->fd, SHUT_RD);
	t_shutdown(s, s->fd, SHUT_RDWR);
	t_shutdown(s, s->fd, SHUT_RDWR);
	t_shutdown(s, s->fd, 3);
	t_shutdown(s, s->fd, -1);
	ask(s);
	meet(s);
	t_shutdown(s, s->fd, SHUT_RDWR);
}

static void s_twice(struct side *s)
{
	meet(s);
	await_poll(s, s->fd, POLLHUP);
	t_shutdown(s, s->fd, SHUT_RD);
	t_shutdown(s, s->fd, SHUT_WR);
	t_shutdown(s, s->fd, SHUT_RDWR);
	ask(s);
}

static void c_unconnected(struct side *s)
{
	int fd = t_socket(s, 0);

	t_shutdown(s, fd, SHUT_WR);
	t_send(s, fd, "x", MSG_NOSIGNAL);
}

/* With data unread, a side that reads no more still gets it. */
static void s_rd_unread(struct side *s)
{
	await_poll(s, s->fd, POLLIN);
	t_shutdown(s, s->fd, SHUT_RD);
	tell(s);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "still sends", 0);
	meet(s);
}

static void c_rd_unread(struct side *s)
{
	t_send(s, s->fd, "sent before", 0);
	hear(s);
	t_send(s, s->fd, "sent after", 0);
	t_sigpipes(s);
	t_recv(s, s->fd, 16, 0);
	meet(s);
}

static void c_half(struct side *s)
{
	t_send(s, s->fd, "question", 0);
	t_shutdown(s, s->fd, SHUT_WR);
	t_recv_bytes(s, s->fd, 50000, 0);
	t_recv(s, s->fd, 1, 0);
}

static void s_half(struct side *s)
{
	t_recv(s, s->fd, 8, MSG_WAITALL);
	t_recv(s, s->fd, 1, 0);
	t_send_bytes(s, s->fd, 50000, 0);
	t_close(s, s->fd);
}

static void bg_send_long(struct side *s, void *arg)
{
	char *buf = calloc(1, 4 << 20);
	ssize_t n;

	(void)arg;
	t_begin(s, "send(4 MiB)");
	n = send(s->fd, buf, 4 << 20, MSG_NOSIGNAL);
	t_end(s, "%s", n > 0 && n < 4 << 20 ? "some" : n < 0 ? strerrorname_np(errno) : "all");
	free(buf);
}

static void c_blocked_send(struct side *s)
{
	struct bg b;

	bg_start(s, &b, bg_send_long, NULL);
	bg_blocked(s, &b);
	t_shutdown(s, s->fd, SHUT_WR);
	bg_join(s, &b);
	t_send(s, s->fd, "x", MSG_NOSIGNAL);
}

static void c_blocked_send_peer(struct side *s)
{
	struct bg b;

	bg_start(s, &b, bg_send_long, NULL);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &b);
	t_send(s, s->fd, "x", MSG_NOSIGNAL);
}

static void s_closes_told(struct side *s)
{
	hear(s);
	t_close(s, s->fd);
}

static void c_copy(struct side *s)
{
	int copy = dup(s->fd);

	t_shutdown(s, copy, SHUT_WR);
	t_send(s, s->fd, "x", MSG_NOSIGNAL);
	t_close(s, copy);
	t_recv(s, s->fd, 16, 0);
}

static void s_copy(struct side *s)
{
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "answer", 0);
}

static const struct testcase shutdown_cases[] = {
	{ "for writing: what can be asked on either side", BOTH, c_wr, s_awaits_rdhup },
	{ "for writing: what was sent before comes, then the end", BOTH, c_wr_data,
	  s_awaits_rdhup },
	{ "for reading: what can be asked on either side", BOTH, c_rd, s_asks_then },
	{ "both ways: what can be asked on either side", BOTH, c_both, s_awaits_hup },
	{ "one way after the other", BOTH, c_rd_then_wr, s_awaits_hup },
	{ "twice, by both, and ways that are none", BOTH, c_twice, s_twice },
	{ "an unconnected socket", BOTH, c_unconnected, NULL, RAW,
	  .differences = { { "shutdown(WR) = ok", "shutdown(WR) = ENOTCONN",
			     "ENOTCONN is what POSIX and TCP say" } } },
	{ "for reading, with data unread", BOTH, c_rd_unread, s_rd_unread },
	{ "half a connection goes on", STREAM, c_half, s_half, SMALL },
	{ "cuts a blocked send short", STREAM, c_blocked_send, NULL, SMALL },
	{ "by a copy of the descriptor is by the socket", BOTH, c_copy, s_copy },
};

const struct group group_shutdown = { "shutdown", shutdown_cases, ARRAY_SIZE(shutdown_cases) };

/* --- close --------------------------------------------------------------------------------- */

static void c_close(struct side *s)
{
	t_close(s, s->fd);
	t_close(s, s->fd);
	meet(s);
	meet(s);
}

static void c_close_data(struct side *s)
{
	t_send(s, s->fd, "last ", 0);
	t_send(s, s->fd, "words", 0);
	t_close(s, s->fd);
	meet(s);
	meet(s);
}

static void s_recv_rest(struct side *s)
{
	meet(s);
	await_poll(s, s->fd, POLLHUP);
	t_recv(s, s->fd, 10, MSG_WAITALL);
	ask(s);
	meet(s);
}

static void c_close_much(struct side *s)
{
	t_send_bytes(s, s->fd, 30000, 0);
	t_close(s, s->fd);
}

static void s_recv_much(struct side *s)
{
	await_poll(s, s->fd, POLLHUP);
	t_recv_bytes(s, s->fd, 30000, 0);
	t_recv(s, s->fd, 1, 0);
}

static void c_close_unread(struct side *s)
{
	await_poll(s, s->fd, POLLIN);
	t_close(s, s->fd);
}

static void s_reset(struct side *s)
{
	t_send(s, s->fd, "unread", 0);
	await_poll(s, s->fd, POLLHUP | POLLERR);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "x", 0);
	t_sigpipes(s);
	T_GETOPT(s, s->fd, SO_ERROR);
}

static void s_reset_send(struct side *s)
{
	t_send(s, s->fd, "unread", 0);
	await_poll(s, s->fd, POLLHUP | POLLERR);
	t_send(s, s->fd, "x", 0);
	t_sigpipes(s);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
}

static void s_reset_error(struct side *s)
{
	t_send(s, s->fd, "unread", 0);
	await_poll(s, s->fd, POLLHUP | POLLERR);
	T_GETOPT(s, s->fd, SO_ERROR);
	T_GETOPT(s, s->fd, SO_ERROR);
	ask(s);
}

static void s_reset_peek(struct side *s)
{
	t_send(s, s->fd, "unread", 0);
	await_poll(s, s->fd, POLLHUP | POLLERR);
	t_recv(s, s->fd, 16, MSG_PEEK);
	t_recv(s, s->fd, 16, MSG_PEEK);
	t_recv(s, s->fd, 16, 0);
}

/* Both have something unread: what was sent is read before the error is told. */
static void c_close_crossed(struct side *s)
{
	t_send(s, s->fd, "crossing", 0);
	await_poll(s, s->fd, POLLIN);
	t_close(s, s->fd);
}

static void s_reset_crossed(struct side *s)
{
	t_send(s, s->fd, "unread", 0);
	await_poll(s, s->fd, POLLHUP | POLLERR);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 17, 0);
	t_recv(s, s->fd, 18, 0);
}

static void s_reset_partly(struct side *s)
{
	t_send(s, s->fd, "0123456789", 0);
	await_poll(s, s->fd, POLLHUP | POLLERR);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
}

static void c_close_partly(struct side *s)
{
	t_recv(s, s->fd, 4, 0);
	t_close(s, s->fd);
}

/* Read to the end by a side that shut down: nothing is unread, so nothing is reset. */
static void c_close_read(struct side *s)
{
	t_shutdown(s, s->fd, SHUT_WR);
	t_recv(s, s->fd, 6, MSG_WAITALL);
	t_close(s, s->fd);
	meet(s);
}

static void s_close_read(struct side *s)
{
	t_send(s, s->fd, "unread", 0);
	meet(s);
	await_poll(s, s->fd, POLLHUP);
	ask(s);
}

static void child_waits(struct side *s, void *arg)
{
	(void)arg;
	t_send(s, s->fd, "from one that dies", 0);
	tell(s);
	pause();
}

static void c_killed(struct side *s)
{
	struct bg child;

	child_start(s, &child, child_waits, NULL);
	close(s->fd);
	hear(s);
	kill(child.tid, SIGKILL);
	child_join(s, &child);
}

static void s_killed(struct side *s)
{
	hear(s);
	tell(s);
	await_poll(s, s->fd, POLLHUP);
	t_recv(s, s->fd, 32, 0);
	t_recv(s, s->fd, 32, 0);
	t_send(s, s->fd, "x", MSG_NOSIGNAL);
}

static void linger(struct side *s, int seconds)
{
	struct linger l = { .l_onoff = 1, .l_linger = seconds };

	t_begin(s, "SO_LINGER {1, %d}", seconds);
	t_ok(s, setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
}

static void c_linger_zero(struct side *s)
{
	hear(s);
	linger(s, 0);
	t_close(s, s->fd);
}

static void s_linger_zero(struct side *s)
{
	tell(s);
	await_poll(s, s->fd, POLLHUP | POLLERR);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "x", 0);
	t_sigpipes(s);
}

static void c_linger_long(struct side *s)
{
	linger(s, 20);
	t_send(s, s->fd, "lingering", 0);
	t_close(s, s->fd);
}

static void s_linger_long(struct side *s)
{
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
}

static void both_close(struct side *s)
{
	meet(s);
	t_close(s, s->fd);
	meet(s);
}

static const struct testcase close_cases[] = {
	{ "what can be asked once the peer has closed", BOTH, c_close, s_awaits_hup },
	{ "what was sent before close is read before the end", STREAM, c_close_data, s_recv_rest },
	{ "more than was read before close is read before the end", STREAM, c_close_much,
	  s_recv_much },
	{ "with data unread: ECONNRESET once, then the end", BOTH, c_close_unread, s_reset },
	{ "with data unread: EPIPE to who sends first", BOTH, c_close_unread, s_reset_send },
	{ "with data unread: SO_ERROR tells it instead", BOTH, c_close_unread, s_reset_error },
	{ "with data unread: a peek is told as well", BOTH, c_close_unread, s_reset_peek },
	{ "with data unread on both sides: read first, told then", BOTH, c_close_crossed,
	  s_reset_crossed,
	  .differences = { { "recv(16, 0) = ECONNRESET", "recv(16, 0) = 8 \"crossing\"", ERROR_LAST,
			     SEQPACKET },
			   { "recv(17, 0) = 8 \"crossing\"", "recv(17, 0) = ECONNRESET", ERROR_LAST,
			     SEQPACKET } } },
	{ "with data partly read is with data unread", STREAM, c_close_partly, s_reset_partly },
	{ "with all read is no reset", BOTH, c_close_read, s_close_read },
	{ "by a process that is killed", BOTH, c_killed, s_killed },
	{ "SO_LINGER of 0 s resets", STREAM, c_linger_zero, s_linger_zero, 0, VIA_TCP,
	  "AF_UNIX ignores SO_LINGER" },
	{ "SO_LINGER of 20 s loses nothing", STREAM, c_linger_long, s_linger_long, 0, VIA_TCP,
	  "AF_UNIX ignores SO_LINGER" },
	{ "cuts the peer's blocked send short", STREAM, c_blocked_send_peer, s_closes_told, SMALL },
	{ "by both at once", BOTH, both_close, both_close },
};

const struct group group_close = { "close", close_cases, ARRAY_SIZE(close_cases) };
