// SPDX-License-Identifier: BSD-2-Clause
/*
 * sendmsg and recvmsg: vectors, names, ancillary data, several messages in one call.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "matrix.h"

#define NO_ANCILLARY "neither descriptors nor credentials cross a machine's boundary"

static void c_vectors(struct side *s)
{
	t_sendv(s, s->fd, 0, "one", "", "two", "three", NULL);
	t_sendv(s, s->fd, 0, "", "lead", NULL);
	t_sendv(s, s->fd, 0, "trail", "", NULL);
	meet(s);
}

static void s_vectors(struct side *s)
{
	meet(s);
	t_recvv(s, s->fd, MSG_WAITALL, 1, 0, 4, 6, -1);
	t_recvv(s, s->fd, MSG_WAITALL, 0, 2, 2, -1);
	t_recvv(s, s->fd, MSG_WAITALL, 5, 0, -1);
	t_recvv(s, s->fd, MSG_DONTWAIT, 0, 0, 8, -1);
}

static void c_vectors_records(struct side *s)
{
	t_sendv(s, s->fd, 0, "one", "", "two", "three", NULL);
	t_sendv(s, s->fd, 0, "", "lead", NULL);
	t_sendv(s, s->fd, 0, "trail", "", NULL);
}

static void s_vectors_records(struct side *s)
{
	t_recvv(s, s->fd, 0, 1, 0, 4, 20, -1);
	t_recvv(s, s->fd, 0, 0, 2, 2, -1);
	t_recvv(s, s->fd, 0, 5, 0, -1);
}

/* @n pieces of one byte each; the count alone is told. */
static ssize_t t_vector_of(struct side *s, int fd, int n, bool send)
{
	static char bytes[IOV_MAX + 1];
	struct iovec *v = calloc(n, sizeof(*v));
	ssize_t ret;
	int i;

	T_CHECK(s, v);
	memset(bytes, 'v', sizeof(bytes));
	for (i = 0; i < n; i++)
		v[i] = (struct iovec){ bytes + i, 1 };
	t_begin(s, "%s(%d pieces)", send ? "writev" : "readv", n);
	ret = t_ret(s, send ? writev(fd, v, n) : readv(fd, v, n));
	free(v);
	return ret;
}

static void c_iov_max(struct side *s)
{
	volatile int minus_one = -1; /* the compiler knows that it is too many */

	t_vector_of(s, s->fd, IOV_MAX, true);
	t_vector_of(s, s->fd, IOV_MAX + 1, true);
	t_begin(s, "writev(-1 pieces)");
	t_ret(s, writev(s->fd, NULL, minus_one));
	t_begin(s, "writev(0 pieces)");
	t_ret(s, writev(s->fd, NULL, 0));
	meet(s);
}

static void s_iov_max(struct side *s)
{
	meet(s);
	t_vector_of(s, s->fd, IOV_MAX + 1, false);
	t_recv(s, s->fd, IOV_MAX, MSG_WAITALL | MSG_PEEK);
	t_vector_of(s, s->fd, IOV_MAX, false);
	t_begin(s, "readv(0 pieces)");
	t_ret(s, readv(s->fd, NULL, 0));
	t_recv(s, s->fd, 1, MSG_DONTWAIT);
}

static void c_msg_iov_max(struct side *s)
{
	static struct iovec v[IOV_MAX + 1];
	struct msghdr msg = { .msg_iov = v, .msg_iovlen = IOV_MAX + 1 };

	t_begin(s, "sendmsg(too many pieces)");
	t_ret(s, sendmsg(s->fd, &msg, 0));
	t_begin(s, "recvmsg(too many pieces)");
	t_ret(s, recvmsg(s->fd, &msg, MSG_DONTWAIT));
	msg = (struct msghdr){ .msg_iov = (void *)16, .msg_iovlen = 1 };
	t_begin(s, "sendmsg(pieces nowhere)");
	t_ret(s, sendmsg(s->fd, &msg, 0));
	t_begin(s, "recvmsg(pieces nowhere)");
	t_ret(s, recvmsg(s->fd, &msg, MSG_DONTWAIT));
	t_begin(s, "sendmsg(nowhere)");
	t_ret(s, sendmsg(s->fd, (void *)16, 0));
	t_begin(s, "recvmsg(nowhere)");
	t_ret(s, recvmsg(s->fd, (void *)16, MSG_DONTWAIT));
	t_send(s, s->fd, "still there", 0);
}

static void s_receives_16(struct side *s)
{
	t_recv(s, s->fd, 16, 0);
}

static void c_huge_lengths(struct side *s)
{
	struct iovec v[2] = { { (void *)4096, SSIZE_MAX }, { (void *)4096, SSIZE_MAX } };

	t_begin(s, "writev(more than SSIZE_MAX)");
	t_ret(s, writev(s->fd, v, 2));
	t_begin(s, "readv(more than SSIZE_MAX)");
	t_ret(s, readv(s->fd, v, 2));
	t_send(s, s->fd, "still there", 0);
}

static void c_named(struct side *s)
{
	struct iovec v = { "named", 5 };
	struct sockaddr_storage addr;
	struct msghdr msg = { .msg_name = &addr, .msg_iov = &v, .msg_iovlen = 1 };

	msg.msg_namelen = address_of(s, 0, &addr, false);
	t_begin(s, "sendmsg(to an address)");
	t_ret(s, sendmsg(s->fd, &msg, 0));
	t_begin(s, "sendto(an address)");
	t_ret(s, sendto(s->fd, "named", 5, 0, (void *)&addr, msg.msg_namelen));
	t_begin(s, "sendto(no address)");
	t_ret(s, sendto(s->fd, "unnamed", 7, 0, NULL, 0));
	msg = (struct msghdr){
		.msg_name = (void *)16, .msg_namelen = 20, .msg_iov = &v, .msg_iovlen = 1
	};
	t_begin(s, "sendmsg(to a bad pointer)");
	t_ret(s, sendmsg(s->fd, &msg, 0));
}

static void s_named(struct side *s)
{
	char buf[16], name[128];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr msg = {
		.msg_name = name, .msg_namelen = sizeof(name), .msg_iov = &v, .msg_iovlen = 1
	};
	ssize_t n;

	t_begin(s, "recvmsg(with room for a name)");
	n = recvmsg(s->fd, &msg, 0);
	t_data(s, n, buf);
	t_note(s, "length of the name: %u", msg.msg_namelen);
}

static void s_recvfrom(struct side *s)
{
	char buf[16], name[128];
	socklen_t len = sizeof(name);
	ssize_t n;

	t_begin(s, "recvfrom()");
	n = recvfrom(s->fd, buf, sizeof(buf), 0, (void *)name, &len);
	t_data(s, n, buf);
	t_note(s, "length of the name: %u", len);
	len = -1;
	t_begin(s, "recvfrom(length -1)");
	n = recvfrom(s->fd, buf, sizeof(buf), MSG_DONTWAIT, (void *)name, &len);
	t_data(s, n, buf);
}

static void c_recvfrom(struct side *s)
{
	t_send(s, s->fd, "from whom?", 0);
}

static void c_unconnected_named(struct side *s)
{
	int fd = t_socket(s, 0);
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, 0, &addr, false);

	t_begin(s, "sendto(an address)");
	t_ret(s, sendto(fd, "named", 5, 0, (void *)&addr, len));
	t_sigpipes(s);
}

/* --- ancillary data ------------------------------------------------------------------------ */

static ssize_t send_with(struct side *s, const char *what, int level, int type, const void *data,
			 size_t len, size_t cut)
{
	union {
		char buf[CMSG_SPACE(64)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec v = { "with", 4 };
	struct msghdr msg = { .msg_iov = &v,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = CMSG_SPACE(len) - cut };
	struct cmsghdr *c = &control.align;

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	t_begin(s, "sendmsg(%s)", what);
	return t_ret(s, sendmsg(s->fd, &msg, 0));
}

static void c_rights(struct side *s)
{
	int fd = 0;

	send_with(s, "SCM_RIGHTS", SOL_SOCKET, SCM_RIGHTS, &fd, sizeof(fd), 0);
}

static void c_credentials(struct side *s)
{
	struct ucred me = { getpid(), getuid(), getgid() };

	send_with(s, "SCM_CREDENTIALS", SOL_SOCKET, SCM_CREDENTIALS, &me, sizeof(me), 0);
}

static void c_bad_control(struct side *s)
{
	struct iovec v = { "with", 4 };
	struct msghdr msg = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = (void *)16, .msg_controllen = 64
	};

	t_begin(s, "sendmsg(control nowhere)");
	t_ret(s, sendmsg(s->fd, &msg, 0));
	msg.msg_control = NULL;
	msg.msg_controllen = 0;
	t_begin(s, "sendmsg(no control)");
	t_ret(s, sendmsg(s->fd, &msg, 0));
}

static void s_room_for_control(struct side *s)
{
	char buf[16], control[128];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &v,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	t_begin(s, "recvmsg(with room for control)");
	n = recvmsg(s->fd, &msg, 0);
	t_data(s, n, buf);
	t_note(s, "control of %zu bytes, flags %s", msg.msg_controllen,
	       text_of_msg_flags(msg.msg_flags));
}

static void c_plain(struct side *s)
{
	t_send(s, s->fd, "plain", 0);
}

/* --- several in one call ------------------------------------------------------------------- */

static void mmsg_of(struct mmsghdr *m, struct iovec *v, char (*bufs)[16], int n, size_t len)
{
	int i;

	memset(m, 0, n * sizeof(*m));
	for (i = 0; i < n; i++) {
		v[i] = (struct iovec){ bufs[i], len };
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
}

static void t_sendmmsg(struct side *s, int fd, struct mmsghdr *m, int n, int flags)
{
	int ret, i;

	t_begin(s, "sendmmsg(%d, %s)", n, text_of_msg_flags(flags));
	ret = sendmmsg(fd, m, n, flags);
	t_ret(s, ret);
	for (i = 0; i < ret; i++)
		t_note(s, "- %u", m[i].msg_len);
}

static int t_recvmmsg(struct side *s, int fd, struct mmsghdr *m, int n, int flags,
		      struct timespec *ts)
{
	int ret, i;

	t_begin(s, "recvmmsg(%d, %s%s)", n, text_of_msg_flags(flags), ts ? ", timed" : "");
	ret = recvmmsg(fd, m, n, flags, ts);
	t_ret(s, ret);
	for (i = 0; i < ret; i++)
		t_note(s, "- %u %s, flags %s", m[i].msg_len,
		       text_of_data(m[i].msg_hdr.msg_iov->iov_base, m[i].msg_len),
		       text_of_msg_flags(m[i].msg_hdr.msg_flags));
	return ret;
}

static void c_sendmmsg(struct side *s)
{
	char bufs[4][16] = { "first", "second", "", "fourth" };
	struct mmsghdr m[4];
	struct iovec v[4];
	int i;

	mmsg_of(m, v, bufs, 4, 0);
	for (i = 0; i < 4; i++)
		v[i].iov_len = strlen(bufs[i]);
	t_sendmmsg(s, s->fd, m, 2, 0);
	t_sendmmsg(s, s->fd, m + 3, 1, MSG_DONTWAIT);
	t_sendmmsg(s, s->fd, m, 0, 0);
	meet(s);
	t_shutdown(s, s->fd, SHUT_WR);
	t_sendmmsg(s, s->fd, m, 2, MSG_NOSIGNAL);
}

static void s_recvmmsg(struct side *s)
{
	char bufs[4][16];
	struct mmsghdr m[4];
	struct iovec v[4];

	meet(s);
	mmsg_of(m, v, bufs, 4, 5);
	t_recvmmsg(s, s->fd, m, 1, 0, NULL);
	mmsg_of(m, v, bufs, 4, 6);
	t_recvmmsg(s, s->fd, m, 2, 0, NULL);
	mmsg_of(m, v, bufs, 4, 6);
	/* at the end of file each message is empty */
	t_recvmmsg(s, s->fd, m, 2, 0, NULL);
}

static void s_recvmmsg_waits(struct side *s)
{
	struct timespec soon = { .tv_nsec = 50000000 }, none = { 0 }, bad = { .tv_sec = -1 };
	char bufs[4][16];
	struct mmsghdr m[4];
	struct iovec v[4];

	mmsg_of(m, v, bufs, 4, 16);
	t_recvmmsg(s, s->fd, m, 4, MSG_DONTWAIT, NULL);
	t_recvmmsg(s, s->fd, m, 4, MSG_WAITFORONE | MSG_DONTWAIT, NULL);
	T_TIMEOUT(s, s->fd, SO_RCVTIMEO, 50);
	t_recvmmsg(s, s->fd, m, 4, 0, &soon);
	t_recvmmsg(s, s->fd, m, 4, 0, &bad);
	meet(s);
	await_poll(s, s->fd, POLLIN);
	mmsg_of(m, v, bufs, 4, 16);
	t_recvmmsg(s, s->fd, m, 4, MSG_WAITFORONE, NULL);
	meet(s);
	await_poll(s, s->fd, POLLIN);
	mmsg_of(m, v, bufs, 4, 16);
	t_recvmmsg(s, s->fd, m, 4, 0, &none);
	meet(s);
	/* one comes, the others' wait ends in EAGAIN: the one is told */
	await_poll(s, s->fd, POLLIN);
	mmsg_of(m, v, bufs, 4, 16);
	t_recvmmsg(s, s->fd, m, 4, 0, NULL);
}

static void c_recvmmsg_waits(struct side *s)
{
	meet(s);
	t_send(s, s->fd, "one", 0);
	meet(s);
	t_send(s, s->fd, "two", 0);
	meet(s);
	t_send(s, s->fd, "three", 0);
}

static void c_sendmmsg_full(struct side *s)
{
	char bufs[2][16] = { "x", "y" };
	struct mmsghdr m[2];
	struct iovec v[2];

	t_fill(s, s->fd, 500);
	mmsg_of(m, v, bufs, 2, 1);
	t_sendmmsg(s, s->fd, m, 2, MSG_DONTWAIT);
}

static void c_sendmmsg_bad(struct side *s)
{
	char bufs[3][16] = { "good", "bad", "never" };
	struct mmsghdr m[3];
	struct iovec v[3];

	mmsg_of(m, v, bufs, 3, 4);
	v[1].iov_base = (void *)16;
	t_sendmmsg(s, s->fd, m, 3, 0);
	t_sendmmsg(s, s->fd, m + 1, 2, 0);
	t_sendmmsg(s, s->fd, (void *)16, 2, 0);
}

static const struct testcase cases[] = {
	{ "vectors with empty pieces, first, last and between", STREAM, c_vectors, s_vectors },
	{ "records of vectors with empty pieces", SEQPACKET, c_vectors_records, s_vectors_records },
	{ "IOV_MAX pieces, and one more", BOTH, c_iov_max, s_iov_max },
	{ "headers and vectors that are wrong send and take nothing", BOTH, c_msg_iov_max,
	  s_receives_16 },
	{ "vectors of more than SSIZE_MAX bytes", STREAM, c_huge_lengths, s_receives_16 },
	{ "an address on a connected socket is EISCONN", BOTH, c_named, s_named },
	{ "recvfrom gives no address", BOTH, c_recvfrom, s_recvfrom },
	{ "an address on an unconnected socket", STREAM, c_unconnected_named, NULL, RAW },
	{ "descriptors in a message", BOTH, c_rights, NULL,
	  .differences = { { "sendmsg(SCM_RIGHTS) = 4", "sendmsg(SCM_RIGHTS) = EOPNOTSUPP",
			     NO_ANCILLARY } } },
	{ "credentials in a message", BOTH, c_credentials, NULL,
	  .differences = { { "sendmsg(SCM_CREDENTIALS) = 4",
			     "sendmsg(SCM_CREDENTIALS) = EOPNOTSUPP", NO_ANCILLARY } } },
	{ "control data that is nowhere", BOTH, c_bad_control, s_receives_16 },
	{ "recvmsg gives no control data", BOTH, c_plain, s_room_for_control },
	{ "sendmmsg and recvmmsg, in pieces and at the end of file", BOTH, c_sendmmsg, s_recvmmsg },
	{ "recvmmsg waits for one, for all, or for a time", BOTH, c_recvmmsg_waits,
	  s_recvmmsg_waits },
	{ "sendmmsg into a full buffer", BOTH, c_sendmmsg_full, NULL, SMALL },
	{ "sendmmsg stops at a message that is wrong", BOTH, c_sendmmsg_bad, s_receives_16 },
};

const struct group group_message = { "message", cases, ARRAY_SIZE(cases) };
