// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sending and receiving on streams, call by call and flag by flag.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "matrix.h"

#define KIB 1024

static void c_hello(struct side *s)
{
	t_send(s, s->fd, "hello", 0);
	t_recv(s, s->fd, 16, 0);
}

static void s_hello(struct side *s)
{
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "and hello to you", 0);
}

static void c_read_write(struct side *s)
{
	t_write(s, s->fd, "written");
	t_read(s, s->fd, 16);
	t_read(s, s->fd, 0);
	t_write(s, s->fd, "");
	meet(s);
}

static void s_read_write(struct side *s)
{
	t_read(s, s->fd, 16);
	t_write(s, s->fd, "also");
	meet(s);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
}

static void c_in_pieces(struct side *s)
{
	t_send(s, s->fd, "one", 0);
	t_send(s, s->fd, "two", 0);
	t_send(s, s->fd, "three", 0);
	meet(s);
}

static void s_in_pieces(struct side *s)
{
	meet(s);
	t_recv(s, s->fd, 2, 0);
	t_recv(s, s->fd, 3, 0);
	t_recv(s, s->fd, 1, 0);
	t_recv(s, s->fd, 100, MSG_WAITALL | MSG_DONTWAIT);
}

static void s_pieces_at_once(struct side *s)
{
	meet(s);
	t_recv(s, s->fd, 11, MSG_WAITALL);
	t_recv(s, s->fd, 1, MSG_DONTWAIT);
}

static void s_dontwait(struct side *s)
{
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	t_recv(s, s->fd, 16, MSG_DONTWAIT | MSG_PEEK);
	t_recv(s, s->fd, 16, MSG_DONTWAIT | MSG_WAITALL);
	meet(s);
	await_poll(s, s->fd, POLLIN);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
}

static void c_dontwait(struct side *s)
{
	meet(s);
	t_send(s, s->fd, "now", MSG_DONTWAIT);
}

static void s_nonblock(struct side *s)
{
	int on = 1;

	t_nonblock(s, s->fd, true);
	t_recv(s, s->fd, 16, 0);
	t_read(s, s->fd, 16);
	t_nonblock(s, s->fd, false);
	meet(s);
	t_recv(s, s->fd, 16, 0);
	t_begin(s, "ioctl(FIONBIO)");
	t_ok(s, ioctl(s->fd, FIONBIO, &on));
	t_note(s, "O_NONBLOCK: %d", !!(fcntl(s->fd, F_GETFL) & O_NONBLOCK));
	t_recv(s, s->fd, 16, 0);
}

static void s_peek(struct side *s)
{
	t_recv(s, s->fd, 3, MSG_PEEK);
	await_poll(s, s->fd, POLLIN);
	t_recv(s, s->fd, 16, MSG_PEEK);
	t_recv(s, s->fd, 16, MSG_PEEK);
	t_recv(s, s->fd, 2, 0);
	t_recv(s, s->fd, 16, MSG_PEEK);
	T_IOCTL(s, s->fd, FIONREAD);
	t_recv(s, s->fd, 0, MSG_PEEK);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, MSG_PEEK | MSG_DONTWAIT);
	T_IOCTL(s, s->fd, FIONREAD);
}

static void c_peek(struct side *s)
{
	t_send(s, s->fd, "peek at me", 0);
}

static void c_peek_eof(struct side *s)
{
	t_send(s, s->fd, "end", 0);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void s_peek_eof(struct side *s)
{
	t_recv(s, s->fd, 3, MSG_PEEK);
	t_recv(s, s->fd, 16, MSG_PEEK | MSG_WAITALL);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, MSG_PEEK);
	t_recv(s, s->fd, 16, MSG_PEEK | MSG_DONTWAIT);
	t_recv(s, s->fd, 16, 0);
}

/* All that is there in one peek, wherever it lies; the bytes before it were read already. */
static void s_peek_across(struct side *s)
{
	char buf[4 * KIB];
	int turn;

	for (turn = 0; turn < 9; turn++) {
		ssize_t n;

		hear(s);
		T_CHECK(s, recv(s->fd, buf, 1, MSG_PEEK) == 1);
		t_begin(s, "peek at 3001 bytes");
		do
			n = recv(s->fd, buf, sizeof(buf), MSG_PEEK);
		while (n >= 0 && n < 3001);
		t_end(s, "%zd, wrong at %zd", n, bytes_wrong(s->got, buf, n < 0 ? 0 : n));
		t_recv_bytes(s, s->fd, 3001, MSG_WAITALL);
		tell(s);
	}
}

static void c_peek_across(struct side *s)
{
	int turn;

	for (turn = 0; turn < 9; turn++) {
		t_send_bytes(s, s->fd, 3001, 0);
		tell(s);
		hear(s);
	}
}

static void c_waitall(struct side *s)
{
	t_send(s, s->fd, "half ", 0);
	hear(s);
	t_send(s, s->fd, "and half", 0);
	hear(s);
	t_send(s, s->fd, "cut", 0);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void bg_waitall(struct side *s, void *arg)
{
	(void)arg;
	t_recv(s, s->fd, 13, MSG_WAITALL);
}

static void s_waitall(struct side *s)
{
	struct bg b;

	bg_start(s, &b, bg_waitall, NULL);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &b);
	tell(s);
	t_recv(s, s->fd, 13, MSG_WAITALL);
	t_recv(s, s->fd, 13, MSG_WAITALL);
}

static void c_waitall_timeout(struct side *s)
{
	t_send(s, s->fd, "part", 0);
}

static void s_waitall_timeout(struct side *s)
{
	long start;

	await_poll(s, s->fd, POLLIN);
	T_TIMEOUT(s, s->fd, SO_RCVTIMEO, 60);
	start = now_ms();
	t_recv(s, s->fd, 13, MSG_WAITALL);
	t_took(s, start, 60);
	start = now_ms();
	t_recv(s, s->fd, 13, MSG_WAITALL);
	t_took(s, start, 60);
	t_recv(s, s->fd, 13, 0);
}

static void s_waitall_signal(struct side *s)
{
	struct poke poke;

	await_poll(s, s->fd, POLLIN);
	poke_start(s, &poke, 0, NULL);
	t_recv(s, s->fd, 13, MSG_WAITALL);
	poke_join(s, &poke);
	poke_start(s, &poke, SA_RESTART, tell);
	t_recv(s, s->fd, 13, MSG_WAITALL);
	poke_join(s, &poke);
}

static void c_waitall_signal(struct side *s)
{
	t_send(s, s->fd, "part", 0);
	hear(s);
	t_send(s, s->fd, "and the rest.", 0);
}

static void c_zero(struct side *s)
{
	t_send(s, s->fd, "", 0);
	t_send(s, s->fd, "", MSG_DONTWAIT);
	t_sendv(s, s->fd, 0, NULL);
	t_sendv(s, s->fd, 0, "", "", "", NULL);
	t_send_from(s, s->fd, "nowhere", NULL, 0, 0);
	tell(s);
	hear(s);
	t_send(s, s->fd, "x", 0);
}

static void s_zero(struct side *s)
{
	hear(s);
	t_poll(s, s->fd, POLL_USUAL);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	tell(s);
	await_poll(s, s->fd, POLLIN);
	t_recvv(s, s->fd, 0, 0, 0, -1);
	t_recvv(s, s->fd, 0, -1);
	t_recv(s, s->fd, 0, 0);
	t_recv_into(s, s->fd, "nowhere", NULL, 0, 0);
	t_recv(s, s->fd, 16, 0);
}

static void c_zero_ends(struct side *s)
{
	t_shutdown(s, s->fd, SHUT_WR);
	t_send(s, s->fd, "", MSG_NOSIGNAL);
	t_send(s, s->fd, "", 0);
	t_sigpipes(s);
}

static void s_zero_nothing(struct side *s)
{
	t_recv(s, s->fd, 0, MSG_DONTWAIT);
	t_recvv(s, s->fd, MSG_DONTWAIT, 0, 0, -1);
}

static void s_zero_ends(struct side *s)
{
	await_poll(s, s->fd, POLLIN);
	t_recv(s, s->fd, 0, 0);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 0, 0);
}

static void c_trunc(struct side *s)
{
	t_send(s, s->fd, "thrown away, and this is not", 0);
	meet(s);
}

static void s_trunc(struct side *s)
{
	meet(s);
	await_poll(s, s->fd, POLLIN);
	t_recv(s, s->fd, 13, MSG_TRUNC);
	t_recv_into(s, s->fd, "nowhere", NULL, 4, MSG_TRUNC);
	t_recv(s, s->fd, 100, 0);
	t_recv(s, s->fd, 100, MSG_TRUNC | MSG_DONTWAIT);
}

static void s_trunc_peek(struct side *s)
{
	meet(s);
	await_poll(s, s->fd, POLLIN);
	t_recv(s, s->fd, 13, MSG_TRUNC | MSG_PEEK);
	t_recv(s, s->fd, 100, 0);
}

static void c_more(struct side *s)
{
	t_send(s, s->fd, "more ", MSG_MORE);
	t_send(s, s->fd, "and more ", MSG_MORE);
	t_send(s, s->fd, "and the end", 0);
}

static void s_more(struct side *s)
{
	t_recv(s, s->fd, 25, MSG_WAITALL);
}

static void c_more_alone(struct side *s)
{
	t_send(s, s->fd, "nothing follows", MSG_MORE);
}

static void s_more_alone(struct side *s)
{
	await_poll(s, s->fd, POLLIN);
	t_recv(s, s->fd, 15, MSG_WAITALL);
}

static void c_more_shutdown(struct side *s)
{
	t_send(s, s->fd, "before the end", MSG_MORE);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void c_more_close(struct side *s)
{
	t_send(s, s->fd, "before the end", MSG_MORE);
	t_close(s, s->fd);
}

static void s_more_shutdown(struct side *s)
{
	t_recv(s, s->fd, 20, MSG_WAITALL);
	t_recv(s, s->fd, 20, 0);
}

static void c_oob(struct side *s)
{
	t_recv(s, s->fd, 1, MSG_OOB);
	t_send(s, s->fd, "!", MSG_OOB);
}

static void c_ignored_flags(struct side *s)
{
	t_send(s, s->fd, "a", MSG_DONTROUTE);
	t_send(s, s->fd, "b", MSG_CONFIRM);
	t_send(s, s->fd, "c", MSG_EOR);
	t_send(s, s->fd, "d", MSG_WAITALL);
}

static void s_ignored_flags(struct side *s)
{
	t_recv(s, s->fd, 4, MSG_WAITALL | MSG_NOSIGNAL);
	t_recvv(s, s->fd, MSG_CMSG_CLOEXEC | MSG_DONTWAIT, 4, -1);
}

/* --- full buffers -------------------------------------------------------------------------- */

static void c_full(struct side *s)
{
	size_t n = t_fill(s, s->fd, 1000);

	t_poll(s, s->fd, POLL_USUAL);
	t_send(s, s->fd, "x", MSG_DONTWAIT);
	t_nonblock(s, s->fd, true);
	t_send(s, s->fd, "x", 0);
	t_write(s, s->fd, "x");
	t_nonblock(s, s->fd, false);
	tell_number(s, n);
	t_await(s, s->fd, POLL_USUAL, POLLOUT);
	t_send(s, s->fd, "!", MSG_DONTWAIT);
}

static void s_full(struct side *s)
{
	uint64_t n = hear_number(s), left;
	char c[1000];
	ssize_t got;

	for (left = n; left; left -= got) {
		got = recv(s->fd, c, left < sizeof(c) ? left : sizeof(c), 0);
		T_CHECK(s, got > 0);
		if (bytes_wrong(s->got, c, got) >= 0)
			t_fail(s, "wrong byte");
		s->got += got;
	}
	t_note(s, "all of it came");
	t_recv(s, s->fd, 16, 0);
}

static void c_sndtimeo(struct side *s)
{
	long start;

	T_TIMEOUT(s, s->fd, SO_SNDTIMEO, 60);
	t_fill(s, s->fd, 1000);
	start = now_ms();
	t_send(s, s->fd, "x", 0);
	t_took(s, start, 60);
}

/* More than fits is cut by the time-out, and what went is told. */
static void c_sndtimeo_partial(struct side *s)
{
	char *buf = calloc(1, 4 << 20);
	long start = now_ms();
	ssize_t n;

	T_TIMEOUT(s, s->fd, SO_SNDTIMEO, 60);
	t_begin(s, "send(4 MiB)");
	n = send(s->fd, buf, 4 << 20, 0);
	t_end(s, "%s", n > 0 && n < 4 << 20 ? "some" : n < 0 ? "an error" : "all");
	t_took(s, start, 60);
	t_poll(s, s->fd, POLL_USUAL);
	free(buf);
}

/* More than fits, without waiting: what fits goes. */
static void c_dontwait_partial(struct side *s)
{
	char *buf = calloc(1, 4 << 20);
	ssize_t n;

	t_begin(s, "send(4 MiB, DONTWAIT)");
	n = send(s->fd, buf, 4 << 20, MSG_DONTWAIT);
	t_end(s, "%s", n > 0 && n < 4 << 20 ? "some" : n < 0 ? "an error" : "all");
	free(buf);
	t_send(s, s->fd, "x", MSG_DONTWAIT);
	T_CHECK(s, n > 0);
	tell_number(s, n);
}

static void s_dontwait_partial(struct side *s)
{
	uint64_t n = hear_number(s), got;
	char buf[4096];
	ssize_t ret = 1;

	for (got = 0; got < n && ret > 0; got += ret > 0 ? ret : 0)
		ret = recv(s->fd, buf, sizeof(buf), 0);
	t_note(s, "as much came as went: %s", got == n ? "yes" : "no");
	t_recv(s, s->fd, 1, MSG_DONTWAIT);
}

static void c_full_signal(struct side *s)
{
	struct poke poke;

	t_fill(s, s->fd, 1000);
	poke_start(s, &poke, 0, NULL);
	t_send(s, s->fd, "x", 0);
	poke_join(s, &poke);
	T_TIMEOUT(s, s->fd, SO_SNDTIMEO, 20000);
	poke_start(s, &poke, SA_RESTART, NULL);
	t_send(s, s->fd, "x", 0);
	poke_join(s, &poke);
}

static void c_partial_signal(struct side *s)
{
	char *buf = calloc(1, 4 << 20);
	struct poke poke;
	ssize_t n;

	poke_start(s, &poke, SA_RESTART, NULL);
	t_begin(s, "send(4 MiB)");
	n = send(s->fd, buf, 4 << 20, 0);
	t_end(s, "%s", n > 0 && n < 4 << 20 ? "some" : n < 0 ? "an error" : "all");
	poke_join(s, &poke);
	free(buf);
}

static void c_full_peer_reads(struct side *s)
{
	t_send_bytes(s, s->fd, 100000, 0);
	t_send_bytes(s, s->fd, 100001, 0);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void s_full_peer_reads(struct side *s)
{
	t_recv_bytes(s, s->fd, 200001, 0);
	t_recv(s, s->fd, 1, 0);
}

static void bg_send_bytes(struct side *s, void *arg)
{
	t_send_bytes(s, s->fd, *(int *)arg, 0);
}

static void duplex(struct side *s)
{
	int len = 150000;
	struct bg b;

	bg_start(s, &b, bg_send_bytes, &len);
	t_recv_bytes(s, s->fd, len, 0);
	bg_join(s, &b);
}

static void s_full_closed(struct side *s)
{
	hear(s);
	t_shutdown(s, s->fd, SHUT_RD);
	meet(s);
}

static void bg_send(struct side *s, void *arg)
{
	(void)arg;
	t_send(s, s->fd, "x", 0);
}

static void c_full_shut(struct side *s)
{
	struct bg b;

	t_fill(s, s->fd, 1000);
	bg_start(s, &b, bg_send, NULL);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &b);
	t_sigpipes(s);
	t_send(s, s->fd, "x", 0);
	T_GETOPT(s, s->fd, SO_ERROR);
	meet(s);
}

/* --- receiving late ------------------------------------------------------------------------ */

static void s_rcvtimeo(struct side *s)
{
	long start;

	T_TIMEOUT(s, s->fd, SO_RCVTIMEO, 60);
	start = now_ms();
	t_recv(s, s->fd, 16, 0);
	t_took(s, start, 60);
	start = now_ms();
	t_read(s, s->fd, 16);
	t_took(s, start, 60);
	tell(s);
	T_TIMEOUT(s, s->fd, SO_RCVTIMEO, 0);
	t_recv(s, s->fd, 16, 0);
}

static void c_rcvtimeo(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "late", 0);
}

static void s_signal(struct side *s)
{
	struct poke poke;

	poke_start(s, &poke, 0, NULL);
	t_recv(s, s->fd, 16, 0);
	poke_join(s, &poke);
	poke_start(s, &poke, SA_RESTART, tell);
	t_recv(s, s->fd, 16, 0);
	poke_join(s, &poke);
	T_TIMEOUT(s, s->fd, SO_RCVTIMEO, 20000);
	poke_start(s, &poke, SA_RESTART, NULL);
	t_recv(s, s->fd, 16, 0);
	poke_join(s, &poke);
}

static void bg_recv(struct side *s, void *arg)
{
	(void)arg;
	t_recv(s, s->fd, 16, 0);
}

static void s_blocked_data(struct side *s)
{
	struct bg b;

	bg_start(s, &b, bg_recv, NULL);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &b);
}

static void c_blocked_close(struct side *s)
{
	hear(s);
	t_close(s, s->fd);
}

static void s_blocked_shutdown(struct side *s)
{
	struct bg b;

	bg_start(s, &b, bg_recv, NULL);
	bg_blocked(s, &b);
	t_shutdown(s, s->fd, SHUT_RD);
	bg_join(s, &b);
}

/* A descriptor that is closed under a call stays open for that call. */
static void s_blocked_closed(struct side *s)
{
	struct bg b;

	bg_start(s, &b, bg_recv, NULL);
	bg_blocked(s, &b);
	t_close(s, s->fd);
	tell(s);
	bg_join(s, &b);
	t_recv(s, s->fd, 1, 0);
}

/* Two that wait share what comes: each gets something, once all has been sent. */
static void bg_recv_one(struct side *s, void *arg)
{
	(void)arg;
	t_recv(s, s->fd, 1, 0);
}

static void s_two_readers(struct side *s)
{
	struct bg a, b;

	bg_start(s, &a, bg_recv_one, NULL);
	bg_start(s, &b, bg_recv_one, NULL);
	bg_blocked(s, &a);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &a);
	bg_join(s, &b);
}

static void c_two_readers(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "xx", 0);
}

static void s_fionread(struct side *s)
{
	T_IOCTL(s, s->fd, FIONREAD);
	tell(s);
	hear(s);
	t_recv(s, s->fd, 12, MSG_PEEK | MSG_WAITALL);
	T_IOCTL(s, s->fd, FIONREAD);
	t_recv(s, s->fd, 5, 0);
	T_IOCTL(s, s->fd, SIOCINQ);
	t_recv(s, s->fd, 50, 0);
	T_IOCTL(s, s->fd, FIONREAD);
}

static void c_fionread(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "hello", 0);
	t_send(s, s->fd, "goodbye", 0);
	tell(s);
}

static void c_outq(struct side *s)
{
	int v = T_IOCTL(s, s->fd, SIOCOUTQ);

	t_send(s, s->fd, "hello", 0);
	t_begin(s, "unread at the peer");
	T_CHECK(s, !ioctl(s->fd, SIOCOUTQ, &v));
	t_end(s, "%s", v > 0 ? "some" : "nothing");
	tell(s);
	hear(s);
	T_IOCTL(s, s->fd, SIOCOUTQ);
}

static void s_outq(struct side *s)
{
	hear(s);
	t_recv(s, s->fd, 5, MSG_WAITALL);
	tell(s);
}

#define MORE_WHY "AF_UNIX ignores MSG_MORE"

static const struct testcase cases[] = {
	{ "bytes go both ways", BOTH, c_hello, s_hello },
	{ "read and write are recv and send without flags", STREAM, c_read_write, s_read_write },
	{ "a stream has no boundaries", STREAM, c_in_pieces, s_in_pieces },
	{ "several sends are received at once", STREAM, c_in_pieces, s_pieces_at_once },
	{ "MSG_DONTWAIT is EAGAIN while nothing is there", STREAM, c_dontwait, s_dontwait },
	{ "O_NONBLOCK and FIONBIO can be changed at any time", BOTH, c_dontwait, s_nonblock },
	{ "MSG_PEEK leaves what it shows", STREAM, c_peek, s_peek },
	{ "MSG_PEEK before the end of file, and at it", STREAM, c_peek_eof, s_peek_eof },
	{ "MSG_PEEK shows all, wherever it lies in the buffer", STREAM, c_peek_across,
	  s_peek_across, SMALL },
	{ "MSG_WAITALL waits for all, or the end of file", STREAM, c_waitall, s_waitall },
	{ "MSG_WAITALL gives what is there when time is up, then EAGAIN", STREAM, c_waitall_timeout,
	  s_waitall_timeout },
	{ "MSG_WAITALL gives what is there at a signal", STREAM, c_waitall_signal,
	  s_waitall_signal },
	{ "nothing is sent by sending nothing", STREAM, c_zero, s_zero },
	{ "receiving zero bytes waits for one all the same", STREAM, NULL, s_zero_nothing },
	{ "zero bytes after the end of file and after shutdown", STREAM, c_zero_ends, s_zero_ends },
	{ "MSG_TRUNC throws bytes away", STREAM, c_trunc, s_trunc, 0, VIA_TCP,
	  "AF_UNIX ignores MSG_TRUNC on streams" },
	{ "MSG_TRUNC with MSG_PEEK throws nothing away", STREAM, c_trunc, s_trunc_peek, 0, VIA_TCP,
	  "AF_UNIX ignores MSG_TRUNC on streams" },
	{ "MSG_MORE loses nothing and keeps the order", STREAM, c_more, s_more, 0, VIA_TCP,
	  MORE_WHY },
	{ "MSG_MORE alone comes all the same", STREAM, c_more_alone, s_more_alone, 0, VIA_TCP,
	  MORE_WHY },
	{ "MSG_MORE is flushed by shutdown", STREAM, c_more_shutdown, s_more_shutdown, 0, VIA_TCP,
	  MORE_WHY },
	{ "MSG_MORE is flushed by close", STREAM, c_more_close, s_more_shutdown, 0, VIA_TCP,
	  MORE_WHY },
	{ "urgent data", STREAM, c_oob, NULL,
	  .differences = { { "send(1, OOB) = 1", "send(1, OOB) = EOPNOTSUPP",
			     "a byte apart from the stream has no place in a ring" },
			   { "recv(1, OOB) = EINVAL", "recv(1, OOB) = EOPNOTSUPP",
			     "there is none, ever" } } },
	{ "flags that mean nothing here are ignored", STREAM, c_ignored_flags, s_ignored_flags },
	{ "a full buffer is EAGAIN, and POLLOUT once it is read", STREAM, c_full, s_full, SMALL },
	{ "SO_SNDTIMEO ends a send into a full buffer with EAGAIN", BOTH, c_sndtimeo, NULL, SMALL },
	{ "SO_SNDTIMEO cuts a long send short", STREAM, c_sndtimeo_partial, NULL, SMALL },
	{ "MSG_DONTWAIT sends what fits", STREAM, c_dontwait_partial, s_dontwait_partial, SMALL },
	{ "a signal ends a send into a full buffer, also with SA_RESTART if timed", BOTH,
	  c_full_signal, NULL, SMALL },
	{ "a signal cuts a long send short", STREAM, c_partial_signal, NULL, SMALL },
	{ "more than fits goes on as the peer reads", STREAM, c_full_peer_reads, s_full_peer_reads,
	  SMALL },
	{ "both directions at once, more than fits", STREAM, duplex, duplex, SMALL },
	{ "a blocked send ends when the peer stops reading", BOTH, c_full_shut, s_full_closed,
	  SMALL,
	  .differences = { { "SIGPIPE: 0", "SIGPIPE: 1",
			     "AF_UNIX forgets the signal where a send was blocked", STREAM } } },
	{ "SO_RCVTIMEO ends recv and read with EAGAIN", BOTH, c_rcvtimeo, s_rcvtimeo },
	{ "a signal ends recv with EINTR, SA_RESTART goes on, a time-out does not", BOTH,
	  c_rcvtimeo, s_signal },
	{ "data wakes a blocked recv", BOTH, c_rcvtimeo, s_blocked_data },
	{ "close wakes a blocked recv", BOTH, c_blocked_close, s_blocked_data },
	{ "shutdown by another thread wakes a blocked recv", BOTH, NULL, s_blocked_shutdown },
	{ "close by another thread lets a blocked recv go on", BOTH, c_rcvtimeo, s_blocked_closed },
	{ "two blocked readers get a byte each", STREAM, c_two_readers, s_two_readers },
	{ "FIONREAD tells what can be read", STREAM, c_fionread, s_fionread },
	{ "SIOCOUTQ tells what the peer has not read", STREAM, c_outq, s_outq },
};

const struct group group_stream = { "stream", cases, ARRAY_SIZE(cases) };
