// SPDX-License-Identifier: BSD-2-Clause
/*
 * The calls that move bytes, each in all its forms.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "model.h"

#define MSGS_MAX 4

int some_fd(const struct conn *c, int e, struct rng *r)
{
	return c->end[e].fd[rng_below(r, c->end[e].fds)];
}

static const char *flags_text(int flags)
{
	static char text[120];
	static const struct {
		int flag;
		const char *name;
	} names[] = {
		{ MSG_DONTWAIT, "DONTWAIT" }, { MSG_MORE, "MORE" }, { MSG_NOSIGNAL, "NOSIGNAL" },
		{ MSG_EOR, "EOR" },	      { MSG_PEEK, "PEEK" }, { MSG_TRUNC, "TRUNC" },
		{ MSG_WAITALL, "WAITALL" },
	};
	size_t i, at = 0;

	text[0] = 0;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (flags & names[i].flag)
			at += snprintf(text + at, sizeof(text) - at, "%s%s", at ? "|" : "",
				       names[i].name);
	return text;
}

static void answered(struct conn *c, const struct want *w, ssize_t ret, int err)
{
	char text[100];

	if (ret < 0)
		note_more(c, " = %s", strerrorname_np(err));
	else
		note_more(c, " = %zd", ret);
	if (want_met(w, ret, err))
		return;
	want_text(w, text, sizeof(text));
	wrong(c, "answered %s%zd, the model says %s", ret < 0 ? "with errno " : "",
	      ret < 0 ? (ssize_t)err : ret, text);
}

static volatile sig_atomic_t sigpipes;

static void on_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

static void sigpipe_check(struct conn *c, bool due)
{
	if (sigpipes != due)
		wrong(c, "%d SIGPIPE, should be %d", (int)sigpipes, due);
}

/* --- sending --- */

enum send_via { SEND, WRITE, WRITEV, SENDMSG, SENDMMSG, SENDFILE, SPLICE, SEND_VIAS };
static const char *const send_names[] = { "send",     "write",	  "writev", "sendmsg",
					  "sendmmsg", "sendfile", "splice" };

static ssize_t splice_from(const struct vec *v, int fd, unsigned int flags)
{
	static int pipes[2];
	char rest[4096];
	ssize_t n;
	int err;

	if (!pipes[1] && pipe2(pipes, O_NONBLOCK | O_CLOEXEC))
		die("pipe: %s", strerror(errno));
	if (write(pipes[1], v->iov[0].iov_base, v->len) != (ssize_t)v->len)
		die("write to an empty pipe: %s", strerror(errno));
	n = splice(pipes[0], NULL, fd, NULL, v->len, flags);
	err = errno;
	while (read(pipes[0], rest, sizeof(rest)) > 0)
		;
	errno = err;
	return n;
}

static ssize_t sendfile_from(const struct vec *v, int fd)
{
	static int file;
	off_t at = 0;

	if (!file)
		file = memfd_create("file", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, 0) ||
	    pwrite(file, v->iov[0].iov_base, v->len, 0) != (ssize_t)v->len)
		die("memfd: %s", strerror(errno));
	return sendfile(fd, file, &at, v->len);
}

static ssize_t send_once(enum send_via via, int fd, struct vec *v, int flags)
{
	struct msghdr msg = { .msg_iov = v->iov, .msg_iovlen = v->n };

	switch (via) {
	case SEND:
		return send(fd, v->iov[0].iov_base, v->len, flags);
	case WRITE:
		return write(fd, v->iov[0].iov_base, v->len);
	case WRITEV:
		return writev(fd, v->iov, v->n);
	case SENDFILE:
		return sendfile_from(v, fd);
	case SPLICE:
		return splice_from(v, fd,
				   SPLICE_F_NONBLOCK | (flags & MSG_MORE ? SPLICE_F_MORE : 0));
	default:
		return sendmsg(fd, &msg, flags);
	}
}

/* Was the record marked as one? write() does it; what sendfile() does is not told anywhere. */
static int eor_of(enum send_via via, int flags)
{
	if (via == SENDFILE || via == SPLICE)
		return -1;
	return via == WRITE || via == WRITEV || flags & MSG_EOR;
}

static void send_many(struct conn *c, int e, int fd, struct rng *r, int flags)
{
	struct mmsghdr msgs[MSGS_MAX] = { 0 };
	int n = 1 + rng_below(r, MSGS_MAX), ret, err, i;
	struct vec v[MSGS_MAX];
	static uint8_t mem[MSGS_MAX][LEN_MAX / MSGS_MAX];
	uint64_t pos = c->way[e].wpos;
	struct want want;
	bool pipe_due = false;

	note(c, "%d: sendmmsg %d", e, n);
	for (i = 0; i < n; pos += v[i++].len) {
		v[i].len = rng_percent(r, 5) ? 0 : rng_size(r, sizeof(mem[i]));
		v[i].iov[0] = (struct iovec){ mem[i], v[i].len };
		pattern_fill(c->way[e].key, pos, mem[i], v[i].len);
		msgs[i].msg_hdr.msg_iov = v[i].iov;
		msgs[i].msg_hdr.msg_iovlen = 1;
		note_more(c, " %zu", v[i].len);
	}
	note_more(c, " %s", flags_text(flags));
	ret = sendmmsg(fd, msgs, n, flags);
	err = errno;
	if (!ret)
		wrong(c, "sent 0 messages");
	for (i = 0; i < ret; i++) {
		want = want_send(c, e, v[i].len, v[i].len);
		answered(c, &want, msgs[i].msg_len, 0);
		did_send(c, e, v[i].len, msgs[i].msg_len, 0, !!(flags & MSG_EOR));
		if (msgs[i].msg_len < v[i].len && i + 1 < ret)
			wrong(c, "went on after message %d was sent in part", i);
	}
	if (ret < n && (ret < 0 || msgs[ret - 1].msg_len == v[ret - 1].len)) {
		i = ret < 0 ? 0 : ret;
		want = want_send(c, e, v[i].len, v[i].len);
		if (ret < 0) {
			answered(c, &want, -1, err);
			did_send(c, e, v[i].len, -1, err, 0);
			pipe_due = err == EPIPE;
		} else if (!want.err[0]) {
			wrong(c, "ended after %d messages, and nothing is wrong with the next",
			      ret);
		} else {
			/* which of the reasons is not told */
			note_more(c, ", then stopped");
			did_send(c, e, v[i].len, -1, want.err[0], 0);
			pipe_due = want.err[0] == EPIPE;
		}
	}
	sigpipe_check(c, pipe_due && !(flags & MSG_NOSIGNAL) && c->type == SOCK_STREAM);
}

void call_send(struct conn *c, int e, struct rng *r)
{
	static bool ready;
	enum send_via via = rng_below(r, SEND_VIAS);
	int flags = 0, fd = some_fd(c, e, r), err;
	bool many, fault, zero_is_nothing;
	size_t len = rng_percent(r, 3) ? 0 : rng_size(r, LEN_MAX);
	struct way *w = &c->way[e];
	struct want want;
	struct vec v;
	ssize_t ret;

	if (!ready && signal(SIGPIPE, on_sigpipe) == SIG_ERR)
		die("signal: %s", strerror(errno));
	ready = true;
	sigpipes = 0;
	flags |= rng_percent(r, 70) ? MSG_DONTWAIT : 0;
	flags |= rng_percent(r, 15) ? MSG_MORE : 0;
	flags |= rng_percent(r, 50) ? MSG_NOSIGNAL : 0;
	flags |= rng_percent(r, 20) ? MSG_EOR : 0;
	if (via == SENDMMSG) {
		send_many(c, e, fd, r, flags);
		return;
	}
	if (via != SEND && via != SENDMSG)
		flags &= via == SPLICE ? MSG_MORE : 0;
	many = via == WRITEV || via == SENDMSG;
	fault = via < SENDFILE && rng_percent(r, 8);
	if (via == SENDFILE || via == SPLICE) {
		/* a page is a record */
		if (c->type == SOCK_SEQPACKET && len > 4096)
			len = 1 + len % 4096;
		len = len ?: 1;
	}
	vec_make(&v, r, len, many, fault);
	vec_fill(&v, w->key, w->wpos);
	if (rng_percent(r, 20))
		vec_drop_pages();
	note(c, "%d: %s %s%s %s", e, send_names[via], v.text, v.good < v.len ? " with a hole" : "",
	     flags_text(flags));
	if (v.good < v.len)
		note_more(c, " (%zu good)", v.good);
	want = want_send(c, e, v.len, v.good);
	zero_is_nothing = via == WRITEV && !len;
	if (zero_is_nothing) /* the VFS does not even ask */
		want = (struct want){ 0 };
	ret = send_once(via, fd, &v, flags);
	err = errno;
	answered(c, &want, ret, err);
	if (!zero_is_nothing)
		did_send(c, e, v.len, ret, err, eor_of(via, flags));
	if (via < SENDFILE)
		/* records come without, on AF_UNIX too */
		sigpipe_check(c, ret < 0 && err == EPIPE && !(flags & MSG_NOSIGNAL) &&
					 c->type == SOCK_STREAM);
}

/* --- receiving --- */

enum recv_via { RECV, READ, READV, RECVMSG, RECVMMSG, SPLICE_OUT, RECV_VIAS };
static const char *const recv_names[] = { "recv",    "read",	 "readv",
					  "recvmsg", "recvmmsg", "splice out" };

/* What is in @v after @ret: the payload in place, and nothing after it. */
static void got(struct conn *c, int e, const struct vec *v, ssize_t ret, int flags)
{
	struct way *w = &c->way[!e];
	uint64_t pos = w->rpos + (c->type == SOCK_STREAM ? peek_skip(c, e, flags) : 0);
	size_t n = ret, bad;

	if (c->type == SOCK_SEQPACKET && w->count) {
		pos = record_at(w, 0)->at;
		if (n > v->len)
			n = v->len;
	}
	if (c->type == SOCK_STREAM && w->ring && flags & MSG_TRUNC)
		n = 0;
	bad = vec_differs(v, w->key, pos, n, v->good == v->len);
	if (bad < n)
		wrong(c, "byte %zu of %zu is wrong, position %llu", bad, n,
		      (unsigned long long)(pos + bad));
	if (bad < v->len)
		wrong(c, "byte %zu of the buffer was written, and only %zu were received", bad, n);
}

static void msg_flags_check(struct conn *c, int e, const struct msghdr *msg, size_t len)
{
	struct way *w = &c->way[!e];
	const struct record *record;
	bool trunc;

	if (c->type == SOCK_STREAM || !w->count)
		return;
	record = record_at(w, 0);
	trunc = record->len > len;
	if (trunc != !!(msg->msg_flags & MSG_TRUNC))
		wrong(c, "msg_flags %#x, a record of %u in %zu bytes", msg->msg_flags, record->len,
		      len);
	if (w->ring && !trunc && record->eor >= 0 && record->eor != !!(msg->msg_flags & MSG_EOR))
		wrong(c, "msg_flags %#x, the record was sent %s MSG_EOR", msg->msg_flags,
		      record->eor ? "with" : "without");
}

static void recv_many(struct conn *c, int e, int fd, struct rng *r, int flags)
{
	struct mmsghdr msgs[MSGS_MAX] = { 0 };
	int n = 1 + rng_below(r, MSGS_MAX), ret, err, i;
	struct want want;
	struct vec v[MSGS_MAX];
	static uint8_t mem[MSGS_MAX][LEN_MAX / MSGS_MAX];

	note(c, "%d: recvmmsg %d", e, n);
	for (i = 0; i < n; i++) {
		v[i] = (struct vec){ .n = 1, .len = rng_size(r, sizeof(mem[i])) };
		v[i].good = v[i].len;
		v[i].iov[0] = (struct iovec){ mem[i], v[i].len };
		msgs[i].msg_hdr.msg_iov = v[i].iov;
		msgs[i].msg_hdr.msg_iovlen = 1;
		memset(mem[i], 0xa5, v[i].len);
		note_more(c, " %zu", v[i].len);
	}
	note_more(c, " %s", flags_text(flags));
	ret = recvmmsg(fd, msgs, n, flags, NULL);
	err = errno;
	if (c->end[e].reset) {
		/* the call itself looks at the error first */
		want = (struct want){ .max = -1, .err = { ECONNRESET } };
		answered(c, &want, ret, err);
		c->end[e].reset = false;
		return;
	}
	for (i = 0; i < ret; i++) {
		want = want_recv(c, e, v[i].len, v[i].len, flags);
		answered(c, &want, msgs[i].msg_len, 0);
		msg_flags_check(c, e, &msgs[i].msg_hdr, v[i].len);
		got(c, e, &v[i], msgs[i].msg_len, flags);
		did_recv(c, e, v[i].len, msgs[i].msg_len, 0, flags);
	}
	if (ret == n)
		return;
	i = ret < 0 ? 0 : ret;
	want = want_recv(c, e, v[i].len, v[i].len, flags);
	if (ret >= 0)
		err = EAGAIN; /* nothing else ends it */
	answered(c, &want, -1, err);
	did_recv(c, e, v[i].len, -1, err, flags);
}

static ssize_t splice_to(struct vec *v, int fd)
{
	static int pipes[2];
	ssize_t n;

	if (!pipes[1] && pipe2(pipes, O_NONBLOCK | O_CLOEXEC))
		die("pipe: %s", strerror(errno));
	n = splice(fd, NULL, pipes[1], NULL, v->len, SPLICE_F_NONBLOCK);
	if (n > 0 && read(pipes[0], v->iov[0].iov_base, n) != n)
		die("read of what was spliced: %s", strerror(errno));
	return n;
}

static ssize_t recv_once(enum recv_via via, int fd, struct vec *v, int flags, struct msghdr *msg)
{
	switch (via) {
	case RECV:
		return recv(fd, v->iov[0].iov_base, v->len, flags);
	case READ:
		return read(fd, v->iov[0].iov_base, v->len);
	case READV:
		return readv(fd, v->iov, v->n);
	case SPLICE_OUT:
		return splice_to(v, fd);
	default:
		return recvmsg(fd, msg, flags);
	}
}

void call_recv(struct conn *c, int e, struct rng *r)
{
	enum recv_via via = rng_below(r, RECV_VIAS);
	int flags = 0, fd = some_fd(c, e, r), err;
	size_t len = rng_percent(r, 3) ? 0 : rng_size(r, LEN_MAX);
	struct msghdr msg = { 0 };
	struct want want;
	struct vec v;
	ssize_t ret;
	bool plain = via == READ || via == READV || via == SPLICE_OUT;

	if (!plain) {
		flags |= rng_percent(r, 60) ? MSG_DONTWAIT : 0;
		flags |= rng_percent(r, 15) ? MSG_PEEK : 0;
		flags |= rng_percent(r, 10) ? MSG_TRUNC : 0;
		flags |= rng_percent(r, 15) ? MSG_WAITALL : 0;
	}
	if (via == RECVMMSG) {
		recv_many(c, e, fd, r, flags);
		return;
	}
	if (via == SPLICE_OUT)
		len = len ?: 1;
	vec_make(&v, r, len, via == READV || via == RECVMSG,
		 via != SPLICE_OUT && rng_percent(r, 8));
	vec_blank(&v);
	if (rng_percent(r, 20))
		vec_drop_pages();
	msg.msg_iov = v.iov;
	msg.msg_iovlen = v.n;
	note(c, "%d: %s %s%s %s", e, recv_names[via], v.text, v.good < v.len ? " with a hole" : "",
	     flags_text(flags));
	if (v.good < v.len)
		note_more(c, " (%zu good)", v.good);
	want = want_recv(c, e, len, v.good, flags);
	if (via == SPLICE_OUT && want.max > 1 && c->type == SOCK_STREAM)
		want.min = 1; /* as many pieces as the pipe takes */
	if (!len && plain) /* the VFS does not even ask */
		want = (struct want){ 0 };
	ret = recv_once(via, fd, &v, flags, &msg);
	err = errno;
	answered(c, &want, ret, err);
	if (!len && plain)
		return;
	if (ret >= 0) {
		if (via == RECVMSG)
			msg_flags_check(c, e, &msg, len);
		got(c, e, &v, ret, flags);
	}
	did_recv(c, e, len, ret, err, flags);
}
