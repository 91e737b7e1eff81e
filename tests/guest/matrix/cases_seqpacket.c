// SPDX-License-Identifier: BSD-2-Clause
/*
 * Records: where they begin and end, and what is left of one that does not fit.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "matrix.h"

#define EOR_WHY "AF_UNIX has no MSG_EOR"

static void c_three(struct side *s)
{
	t_send(s, s->fd, "first", 0);
	t_send(s, s->fd, "the second", 0);
	t_send(s, s->fd, "3", 0);
	tell(s);
}

static void s_boundaries(struct side *s)
{
	hear(s);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recv(s, s->fd, 100, MSG_DONTWAIT);
}

static void s_short(struct side *s)
{
	hear(s);
	t_recvv(s, s->fd, 0, 3, -1);
	t_recvv(s, s->fd, 0, 10, -1);
	t_recvv(s, s->fd, 0, 0, -1);
	t_recv(s, s->fd, 100, MSG_DONTWAIT);
}

static void s_short_real(struct side *s)
{
	hear(s);
	t_recvv(s, s->fd, MSG_TRUNC, 3, -1);
	t_recvv(s, s->fd, MSG_TRUNC, 100, -1);
	t_recvv(s, s->fd, MSG_TRUNC, 0, -1);
	t_recv(s, s->fd, 100, MSG_DONTWAIT);
}

static void s_peek(struct side *s)
{
	hear(s);
	t_recvv(s, s->fd, MSG_PEEK, 100, -1);
	t_recvv(s, s->fd, MSG_PEEK, 2, -1);
	t_recvv(s, s->fd, MSG_PEEK | MSG_TRUNC, 2, -1);
	t_recvv(s, s->fd, MSG_PEEK | MSG_TRUNC, 0, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, MSG_PEEK, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, MSG_PEEK | MSG_DONTWAIT, 100, -1);
}

static void s_waitall(struct side *s)
{
	hear(s);
	t_recvv(s, s->fd, MSG_WAITALL, 100, -1);
	t_recvv(s, s->fd, MSG_WAITALL, 10, -1);
	t_recvv(s, s->fd, MSG_WAITALL, 1, -1);
}

static void s_read(struct side *s)
{
	hear(s);
	t_read(s, s->fd, 100);
	t_read(s, s->fd, 4);
	t_read(s, s->fd, 100);
}

static void s_pieces(struct side *s)
{
	hear(s);
	t_recvv(s, s->fd, 0, 1, 0, 2, 100, -1);
	t_recvv(s, s->fd, 0, 4, 3, -1);
	t_recvv(s, s->fd, 0, 0, 1, 1, -1);
}

static void s_fionread(struct side *s)
{
	T_IOCTL(s, s->fd, FIONREAD);
	tell(s);
	hear(s);
	T_IOCTL(s, s->fd, FIONREAD);
	t_recv(s, s->fd, 2, 0);
	T_IOCTL(s, s->fd, SIOCINQ);
	t_recv(s, s->fd, 20, 0);
	t_recv(s, s->fd, 20, 0);
	T_IOCTL(s, s->fd, FIONREAD);
}

static void c_fionread(struct side *s)
{
	hear(s);
	c_three(s);
}

static void c_zero(struct side *s)
{
	t_send(s, s->fd, "", 0);
	t_send(s, s->fd, "after", 0);
	t_sendv(s, s->fd, 0, "", "", NULL);
	t_send(s, s->fd, "end", 0);
	tell(s);
}

static void s_zero(struct side *s)
{
	hear(s);
	t_poll(s, s->fd, POLL_USUAL);
	t_recvv(s, s->fd, MSG_PEEK, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, MSG_DONTWAIT, 0, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, MSG_DONTWAIT, 100, -1);
	t_recvv(s, s->fd, MSG_DONTWAIT, 0, -1);
}

/* write() and writev() of nothing at all send nothing, or an empty record? */
static void c_zero_write(struct side *s)
{
	t_write(s, s->fd, "");
	t_send(s, s->fd, "end", 0);
	tell(s);
}

static void s_zero_write(struct side *s)
{
	hear(s);
	t_read(s, s->fd, 100);
	t_recv(s, s->fd, 100, MSG_DONTWAIT);
}

static void c_zero_end(struct side *s)
{
	t_send(s, s->fd, "", 0);
	t_shutdown(s, s->fd, SHUT_WR);
	tell(s);
}

static void s_zero_end(struct side *s)
{
	hear(s);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, MSG_DONTWAIT, 100, -1);
}

static void c_eor(struct side *s)
{
	t_send(s, s->fd, "part one", 0);
	t_send(s, s->fd, "part two", MSG_EOR);
	t_sendv(s, s->fd, MSG_EOR, "of ", "pieces", NULL);
	t_send(s, s->fd, "not", 0);
	tell(s);
}

static void s_eor(struct side *s)
{
	hear(s);
	await_poll(s, s->fd, POLLIN);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
}

static void s_eor_short(struct side *s)
{
	hear(s);
	await_poll(s, s->fd, POLLIN);
	t_recvv(s, s->fd, 0, 3, -1);
	t_recvv(s, s->fd, 0, 3, -1);
	t_recvv(s, s->fd, 0, 3, -1);
	t_recvv(s, s->fd, 0, 3, -1);
}

static void s_eor_ignored(struct side *s)
{
	char buf[32];
	int i;

	hear(s);
	for (i = 0; i < 4; i++) {
		ssize_t n = recv(s->fd, buf, sizeof(buf), 0);

		t_note(s, "%zd %s", n, text_of_data(buf, n < 0 ? 0 : n));
	}
}

static void c_end(struct side *s)
{
	t_send(s, s->fd, "last", 0);
	t_shutdown(s, s->fd, SHUT_WR);
	tell(s);
}

static void s_end(struct side *s)
{
	hear(s);
	await_poll(s, s->fd, POLLIN | POLLRDHUP);
	t_recvv(s, s->fd, 0, 2, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_recvv(s, s->fd, 0, 100, -1);
	t_send(s, s->fd, "answer", 0);
}

/* A record as large as fits, whole; and how large that is is each family's own. */
static void c_large(struct side *s)
{
	t_send_bytes(s, s->fd, 30000, 0);
	t_send_bytes(s, s->fd, 1, 0);
	t_send_bytes(s, s->fd, 29999, 0);
}

static void s_large(struct side *s)
{
	static char buf[40000];
	ssize_t n;
	int i;

	for (i = 0; i < 3; i++) {
		n = recv(s->fd, buf, sizeof(buf), 0);
		t_note(s, "%zd, wrong at %zd", n, n < 0 ? -1 : bytes_wrong(s->got, buf, n));
		s->got += n < 0 ? 0 : n;
	}
}

static void c_too_large(struct side *s)
{
	size_t len = 64 << 20;
	char *buf = calloc(1, len);

	t_send_from(s, s->fd, "64 MiB", buf, len, 0);
	t_send_from(s, s->fd, "64 MiB", buf, len, MSG_DONTWAIT);
	t_sigpipes(s);
	t_send(s, s->fd, "fits", 0);
	free(buf);
}

static void s_recv_once(struct side *s)
{
	t_recv(s, s->fd, 100, 0);
	t_recv(s, s->fd, 100, MSG_DONTWAIT);
}

/* Into a buffer that is nearly full a record goes whole or not at all. */
static void c_atomic(struct side *s)
{
	char buf[3000];
	uint64_t n = 0;
	ssize_t ret;

	t_begin(s, "records of 3000 until there is no more room");
	memset(buf, 'a', sizeof(buf));
	while ((ret = send(s->fd, buf, sizeof(buf), MSG_DONTWAIT)) == sizeof(buf))
		n++;
	t_end(s, "%s, then %s", n ? "some" : "none", ret < 0 ? strerrorname_np(errno) : "a part");
	tell_number(s, n);
	await_poll(s, s->fd, POLLOUT);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void s_atomic(struct side *s)
{
	uint64_t n = hear_number(s), got = 0, other = 0;
	char buf[4000];
	ssize_t ret;

	while ((ret = recv(s->fd, buf, sizeof(buf), 0)) > 0) {
		got += ret == 3000;
		other += ret != 3000;
	}
	t_note(s, "as many came as went: %s; torn: %d", got == n ? "yes" : "no", (int)other);
}

static void c_wraps(struct side *s)
{
	size_t len;

	for (len = 1; len < 3000; len += 97)
		T_CHECK(s, t_send_bytes(s, s->fd, len, 0));
}

/* Records of all sizes, across the buffer's end at every place. */
static void s_wraps(struct side *s)
{
	size_t len, wrong = 0;
	char buf[4000];

	for (len = 1; len < 3000; len += 97) {
		ssize_t n = recv(s->fd, buf, sizeof(buf), 0);

		if (n != (ssize_t)len || bytes_wrong(s->got, buf, len) >= 0)
			wrong++;
		s->got += len;
	}
	t_note(s, "records that are wrong: %zu", wrong);
}

static void bg_recv(struct side *s, void *arg)
{
	(void)arg;
	t_recvv(s, s->fd, 0, 4, -1);
}

static void s_blocked(struct side *s)
{
	struct bg a;

	bg_start(s, &a, bg_recv, NULL);
	bg_blocked(s, &a);
	tell(s);
	bg_join(s, &a);
	t_recvv(s, s->fd, 0, 4, -1);
}

static void c_blocked(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "longer than four", 0);
	t_send(s, s->fd, "four", 0);
}

static void s_timeout(struct side *s)
{
	long start;

	T_TIMEOUT(s, s->fd, SO_RCVTIMEO, 50);
	start = now_ms();
	t_recvv(s, s->fd, MSG_WAITALL, 100, -1);
	t_took(s, start, 50);
	tell(s);
	T_TIMEOUT(s, s->fd, SO_RCVTIMEO, 20000);
	t_recvv(s, s->fd, MSG_WAITALL, 100, -1);
}

static void c_timeout(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "short", 0);
}

static void c_unconnected(struct side *s)
{
	int fd = t_socket(s, 0);

	t_send(s, fd, "x", 0);
	t_sigpipes(s);
	t_recv(s, fd, 1, 0);
	t_recv(s, fd, 1, MSG_DONTWAIT);
}

static void c_oob(struct side *s)
{
	t_send(s, s->fd, "!", MSG_OOB);
	t_recv(s, s->fd, 1, MSG_OOB);
}

/* A client of one type does not get in at a listener of the other. */
static void c_other_type(struct side *s)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, 0, &addr, false);
	int fd = socket(via_family(s), s->type == SOCK_STREAM ? SOCK_SEQPACKET : SOCK_STREAM, 0);

	T_CHECK(s, fd >= 0);
	meet(s);
	t_begin(s, "connect(another type)");
	t_ok(s, connect(fd, (void *)&addr, len));
	close(fd);
	meet(s);
}

static void s_other_type(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	meet(s);
	meet(s);
	t_nonblock(s, listener, true);
	t_accept(s, listener, 0);
}

static void s_splice(struct side *s)
{
	int p[2];

	T_CHECK(s, !pipe(p));
	hear(s);
	t_begin(s, "splice to a pipe");
	t_ret(s, splice(s->fd, NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK));
}

static const struct testcase cases[] = {
	{ "records keep their boundaries", SEQPACKET, c_three, s_boundaries },
	{ "a short buffer cuts a record, MSG_TRUNC says so, the rest is gone", SEQPACKET, c_three,
	  s_short },
	{ "with MSG_TRUNC the real length is returned", SEQPACKET, c_three, s_short_real },
	{ "a peek shows the next record, whole or cut", SEQPACKET, c_three, s_peek },
	{ "MSG_WAITALL does not join records", SEQPACKET, c_three, s_waitall },
	{ "read() takes a record as recv() does", SEQPACKET, c_three, s_read },
	{ "a record into pieces", SEQPACKET, c_three, s_pieces },
	{ "FIONREAD tells the next record", SEQPACKET, c_fionread, s_fionread,
	  .differences = { { "ioctl(FIONREAD) = 16", "ioctl(FIONREAD) = 5",
			     "the next record's length is what a buffer must have; AF_UNIX adds "
			     "all up" },
			   { "ioctl(SIOCINQ) = 11", "ioctl(SIOCINQ) = 10",
			     "the next record's length is what a buffer must have; AF_UNIX adds "
			     "all up" } } },
	{ "an empty record is one, and no end of file", SEQPACKET, c_zero, s_zero },
	{ "write() of nothing", SEQPACKET, c_zero_write, s_zero_write },
	{ "an empty record before the end of file", SEQPACKET, c_zero_end, s_zero_end },
	{ "MSG_EOR is told as it was sent", SEQPACKET, c_eor, s_eor, 0, VIA_VSOCK, EOR_WHY },
	{ "MSG_EOR of records that are cut", SEQPACKET, c_eor, s_eor_short, 0, VIA_VSOCK, EOR_WHY },
	{ "MSG_EOR joins nothing", SEQPACKET, c_eor, s_eor_ignored },
	{ "the end of file comes after the last record", SEQPACKET, c_end, s_end },
	{ "large records and small ones between", SEQPACKET, c_large, s_large },
	{ "a record larger than the buffer is EMSGSIZE, and harms nothing", SEQPACKET, c_too_large,
	  s_recv_once },
	{ "a record goes whole or not at all", SEQPACKET, c_atomic, s_atomic, SMALL },
	{ "records of all sizes across the buffer's end", SEQPACKET, c_wraps, s_wraps, SMALL },
	{ "a blocked recv gets one record, cut", SEQPACKET, c_blocked, s_blocked },
	{ "SO_RCVTIMEO, and MSG_WAITALL of a record that is shorter", SEQPACKET, c_timeout,
	  s_timeout },
	{ "sending and receiving unconnected", SEQPACKET, c_unconnected, NULL, RAW },
	{ "urgent records", SEQPACKET, c_oob, NULL },
	{ "streams and records do not connect", BOTH, c_other_type, s_other_type, RAW,
	  .differences = { { "connect(another type) = ECONNREFUSED",
			     "connect(another type) = EPROTOTYPE",
			     "as AF_UNIX says it of a path; its abstract names are a set for each "
			     "type" } } },
	{ "splice of records", SEQPACKET, c_three, s_splice },
};

const struct group group_seqpacket = { "seqpacket", cases, ARRAY_SIZE(cases) };
