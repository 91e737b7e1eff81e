// SPDX-License-Identifier: BSD-2-Clause
/*
 * The wrappers: each does one call and records it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

#define BUFFER	   (64u << 10)
#define PIECES_MAX 64
#define AWAIT_MS   20000

static void *memory(struct side *s, size_t len)
{
	void *p = malloc(len ? len : 1);

	T_CHECK(s, p);
	return p;
}

/* free() may change errno, which the caller has yet to see. */
static void release(void *p)
{
	int saved = errno;

	free(p);
	errno = saved;
}

ssize_t t_send(struct side *s, int fd, const char *text, int flags)
{
	t_begin(s, "send(%zu, %s)", strlen(text), text_of_msg_flags(flags));
	return t_ret(s, send(fd, text, strlen(text), flags));
}

ssize_t t_recv(struct side *s, int fd, size_t len, int flags)
{
	char *buf = memory(s, len);
	ssize_t n;

	t_begin(s, "recv(%zu, %s)", len, text_of_msg_flags(flags));
	n = recv(fd, buf, len, flags);
	if (n > 0 && flags & MSG_TRUNC) /* what was thrown away, or the length that it had */
		t_ret(s, n);
	else
		t_data(s, n, buf);
	release(buf);
	return n;
}

ssize_t t_write(struct side *s, int fd, const char *text)
{
	t_begin(s, "write(%zu)", strlen(text));
	return t_ret(s, write(fd, text, strlen(text)));
}

ssize_t t_read(struct side *s, int fd, size_t len)
{
	char *buf = memory(s, len);
	ssize_t n;

	t_begin(s, "read(%zu)", len);
	n = t_data(s, read(fd, buf, len), buf);
	release(buf);
	return n;
}

ssize_t t_send_from(struct side *s, int fd, const char *what, const void *from, size_t len,
		    int flags)
{
	t_begin(s, "send(%s, %zu, %s)", what, len, text_of_msg_flags(flags));
	return t_ret(s, send(fd, from, len, flags));
}

ssize_t t_recv_into(struct side *s, int fd, const char *what, void *to, size_t len, int flags)
{
	t_begin(s, "recv(%s, %zu, %s)", what, len, text_of_msg_flags(flags));
	return t_ret(s, recv(fd, to, len, flags));
}

ssize_t t_sendv(struct side *s, int fd, int flags, ...)
{
	struct iovec v[PIECES_MAX];
	struct msghdr msg = { .msg_iov = v };
	const char *text;
	va_list args;

	t_begin(s, "sendmsg([");
	va_start(args, flags);
	while ((text = va_arg(args, const char *))) {
		t_begin(s, "%s%s", msg.msg_iovlen ? " " : "", text_of_data(text, strlen(text)));
		v[msg.msg_iovlen].iov_base = (void *)text;
		v[msg.msg_iovlen++].iov_len = strlen(text);
	}
	va_end(args);
	t_begin(s, "], %s)", text_of_msg_flags(flags));
	return t_ret(s, sendmsg(fd, &msg, flags));
}

ssize_t t_recvv(struct side *s, int fd, int flags, ...)
{
	struct iovec v[PIECES_MAX];
	struct msghdr msg = { .msg_iov = v };
	char *buf = memory(s, BUFFER);
	va_list args;
	size_t at = 0;
	ssize_t n;
	int len;

	t_begin(s, "recvmsg([");
	va_start(args, flags);
	while ((len = va_arg(args, int)) >= 0) {
		t_begin(s, "%s%d", msg.msg_iovlen ? " " : "", len);
		v[msg.msg_iovlen].iov_base = buf + at;
		v[msg.msg_iovlen++].iov_len = len;
		at += len;
	}
	va_end(args);
	t_begin(s, "], %s)", text_of_msg_flags(flags));
	n = recvmsg(fd, &msg, flags);
	if (n >= 0)
		t_end(s, "%zd %s, flags %s", n,
		      flags & MSG_TRUNC && s->type == SOCK_STREAM ?
			      "dropped" :
			      text_of_data(buf, (size_t)n < at ? (size_t)n : at),
		      text_of_msg_flags(msg.msg_flags & ~MSG_CMSG_CLOEXEC));
	else
		t_ret(s, n);
	release(buf);
	return n;
}

/* Any piece of the stream looks like no other: SplitMix64 of the place of each eight bytes. */
static uint64_t word_at(uint64_t pos)
{
	uint64_t z = (pos / 8 + 1) * 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void bytes_fill(uint64_t pos, void *buf, size_t len)
{
	unsigned char *to = buf;

	for (; len; len--, pos++)
		*to++ = word_at(pos) >> pos % 8 * 8;
}

ssize_t bytes_wrong(uint64_t pos, const void *buf, size_t len)
{
	const unsigned char *from = buf;
	size_t i;

	for (i = 0; i < len; i++)
		if (from[i] != (unsigned char)(word_at(pos + i) >> (pos + i) % 8 * 8))
			return i;
	return -1;
}

static bool send_bytes(struct side *s, int fd, size_t len, int flags)
{
	char *buf = memory(s, len);
	size_t left = len;
	ssize_t n = 0;

	bytes_fill(s->sent, buf, len);
	while (left) {
		n = send(fd, buf + len - left, left, flags);
		if (n < 0)
			break;
		left -= n;
		s->sent += n;
	}
	if (left)
		t_ret(s, n);
	else
		t_end(s, "all");
	release(buf);
	return !left;
}

bool t_send_bytes(struct side *s, int fd, size_t len, int flags)
{
	t_begin(s, "send %zu bytes of the stream, %s", len, text_of_msg_flags(flags));
	return send_bytes(s, fd, len, flags);
}

bool t_send_rest(struct side *s, int fd, size_t len)
{
	t_begin(s, "send the rest of the stream");
	return send_bytes(s, fd, len, 0);
}

static bool recv_bytes(struct side *s, int fd, size_t len, int flags)
{
	char *buf = memory(s, BUFFER);
	ssize_t n = 0, wrong = -1;
	size_t left = len;

	while (left && wrong < 0) {
		n = recv(fd, buf, left < BUFFER ? left : BUFFER, flags);
		if (n <= 0)
			break;
		wrong = bytes_wrong(s->got, buf, n);
		left -= n;
		s->got += n;
	}
	if (wrong >= 0)
		t_end(s, "wrong at %llu", (unsigned long long)(s->got - n + wrong));
	else if (left && n < 0)
		t_ret(s, n);
	else if (left)
		t_end(s, "end of file %zu bytes early", left);
	else
		t_end(s, "all as sent");
	release(buf);
	return !left && wrong < 0;
}

bool t_recv_bytes(struct side *s, int fd, size_t len, int flags)
{
	t_begin(s, "receive %zu bytes of the stream, %s", len, text_of_msg_flags(flags));
	return recv_bytes(s, fd, len, flags);
}

bool t_recv_rest(struct side *s, int fd, size_t len)
{
	t_begin(s, "receive the rest of the stream");
	return recv_bytes(s, fd, len, 0);
}

size_t t_fill(struct side *s, int fd, size_t piece)
{
	char *buf = memory(s, piece);
	size_t total = 0, len = piece;
	ssize_t n;

	t_begin(s, "fill with %zu at a time", piece);
	for (;;) {
		bytes_fill(s->sent, buf, len);
		n = send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0 && (len == 1 || errno != EAGAIN))
			break;
		if (n <= 0) {
			len = 1; /* a smaller record may still fit */
			continue;
		}
		total += n;
		s->sent += n;
	}
	t_end(s, "%s, %s", total ? "some" : "nothing", n < 0 ? strerrorname_np(errno) : "0");
	release(buf);
	return total;
}

/* --- readiness, options -------------------------------------------------------------------- */

static int poll_once(struct side *s, int fd, int events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, ms);
	while (n < 0 && errno == EINTR);
	T_CHECK(s, n >= 0);
	return p.revents;
}

int t_poll(struct side *s, int fd, int events)
{
	int bits;

	t_begin(s, "poll(%s)", text_of_poll(events));
	bits = poll_once(s, fd, events, 0);
	t_end(s, "%s", text_of_poll(bits));
	return bits;
}

/*
 * The bits may come one after the other. poll() wakes for the first; for the rest it is asked again
 * each millisecond.
 */
static bool await_bits(struct side *s, int fd, int want)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	long end = now_ms() + AWAIT_MS;

	while ((poll_once(s, fd, want, AWAIT_MS) & want) != want) {
		if (now_ms() > end)
			return false;
		nanosleep(&ms, NULL);
	}
	return true;
}

int t_await(struct side *s, int fd, int events, int want)
{
	int bits;

	t_begin(s, "poll(%s)", text_of_poll(events));
	await_bits(s, fd, want);
	bits = poll_once(s, fd, events, 0);
	t_end(s, "%s", text_of_poll(bits));
	return bits;
}

void await_poll(struct side *s, int fd, int want)
{
	if (!await_bits(s, fd, want))
		t_fail(s, "poll: no %s in %d ms, but %s", text_of_poll(want), AWAIT_MS,
		       text_of_poll(poll_once(s, fd, POLL_USUAL, 0)));
}

int t_setopt(struct side *s, int fd, int level, int name, const char *text, int value)
{
	t_begin(s, "setsockopt(%s, %d)", text, value);
	return t_ok(s, setsockopt(fd, level, name, &value, sizeof(value)));
}

int t_getopt(struct side *s, int fd, int level, int name, const char *text, int *value)
{
	socklen_t len = sizeof(int);
	int v = 0, ret;

	t_begin(s, "getsockopt(%s)", text);
	ret = getsockopt(fd, level, name, &v, &len);
	if (ret)
		t_ok(s, ret);
	else if (level == SOL_SOCKET && name == SO_ERROR)
		t_end(s, "%s", v ? strerrorname_np(v) : "0");
	else
		t_end(s, "%d", v);
	if (value)
		*value = v;
	return ret;
}

int t_timeout(struct side *s, int fd, int name, const char *text, long ms)
{
	struct timeval t = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	t_begin(s, "setsockopt(%s, %ld ms)", text, ms);
	return t_ok(s, setsockopt(fd, SOL_SOCKET, name, &t, sizeof(t)));
}

int t_nonblock(struct side *s, int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	t_begin(s, "O_NONBLOCK %s", on ? "on" : "off");
	return t_ok(s, fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

int t_ioctl(struct side *s, int fd, unsigned long request, const char *text)
{
	int v = 0, ret;

	t_begin(s, "ioctl(%s)", text);
	ret = ioctl(fd, request, &v);
	t_ret(s, ret ? ret : v);
	return ret ? ret : v;
}

/* --- signals and time ---------------------------------------------------------------------- */

static volatile sig_atomic_t sigpipes, sigpipes_told;

static void on_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

void counters_init(void)
{
	struct sigaction sa = { .sa_handler = on_sigpipe, .sa_flags = SA_RESTART };

	sigaction(SIGPIPE, &sa, NULL);
}

void t_sigpipes(struct side *s)
{
	t_note(s, "SIGPIPE: %d", (int)(sigpipes - sigpipes_told));
	sigpipes_told = sigpipes;
}

long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void t_took(struct side *s, long start, long at_least)
{
	long took = now_ms() - start;

	/*
	 * Only that it waited at all: timers count in jiffies, and those that an emulated CPU missed
	 * while its host was busy all pass at once (43 ms were seen for 60).
	 */
	if (took * 4 < at_least)
		t_note(s, "too early: after %ld of %ld ms", took, at_least);
	else if (took > at_least + 10000)
		t_note(s, "too late: after %ld of %ld ms", took, at_least);
	else
		t_note(s, "after %ld ms", at_least);
}
