// SPDX-License-Identifier: BSD-2-Clause
/* What servers and clients of the checks share: streams that are known by their seed, and dying. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <sivshmem.h>

#include "check.h"

void (*on_die)(void);

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	if (on_die)
		on_die();
	exit(1);
}

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

struct stream *stream_new(uint64_t seed)
{
	struct stream *s = malloc(sizeof(*s));
	uint64_t x = seed * 0x9e3779b97f4a7c15 + 1, word;
	size_t i;

	if (!s)
		die("no memory");
	for (i = 0; i < STREAM_PERIOD; i += sizeof(word)) {
		word = next(&x);
		memcpy(s->table + i, &word,
		       STREAM_PERIOD - i < sizeof(word) ? STREAM_PERIOD - i : sizeof(word));
	}
	s->pos = 0;
	return s;
}

void stream_fill(struct stream *s, void *buf, size_t len)
{
	uint8_t *to = buf;
	size_t at, n;

	for (; len; len -= n, to += n, s->pos += n) {
		at = s->pos % STREAM_PERIOD;
		n = len < STREAM_PERIOD - at ? len : STREAM_PERIOD - at;
		memcpy(to, s->table + at, n);
	}
}

void stream_check(struct stream *s, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	size_t at, n, i;

	for (; len; len -= n, from += n, s->pos += n) {
		at = s->pos % STREAM_PERIOD;
		n = len < STREAM_PERIOD - at ? len : STREAM_PERIOD - at;
		if (!memcmp(from, s->table + at, n))
			continue;
		for (i = 0; from[i] == s->table[at + i]; i++)
			;
		die("byte %llu is %#x, should be %#x", (unsigned long long)(s->pos + i), from[i],
		    s->table[at + i]);
	}
}

size_t odd_size(uint64_t *state, size_t max)
{
	uint64_t r = next(state);
	size_t top = max >> (r % 20); /* as often in each power of two */

	return 1 + (r >> 8) % (top ? top : 1);
}

void write_all(int fd, const void *buf, size_t len)
{
	ssize_t n;

	for (; len; len -= n, buf = (const char *)buf + n) {
		n = send(fd, buf, len, MSG_NOSIGNAL);
		if (n <= 0)
			die("send of %zu bytes: %s", len, strerror(errno));
	}
}

void read_all(int fd, void *buf, size_t len)
{
	ssize_t n;

	for (; len; len -= n, buf = (char *)buf + n) {
		n = recv(fd, buf, len, 0);
		if (n <= 0)
			die("recv with %zu bytes to come: %s", len,
			    n ? strerror(errno) : "end of file");
	}
}

void expect_eof(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	if (n)
		die("recv at the end gives %zd (%s), should be 0", n, n < 0 ? strerror(errno) : "");
}

struct out {
	int fd;
	uint64_t seed, bytes;
	size_t max;
};

static void *duplex_out(void *arg)
{
	struct out *o = arg;
	struct stream *s = stream_new(o->seed);
	uint8_t *buf = malloc(o->max);
	uint64_t rnd = o->seed + 77, left;
	size_t n;

	if (!buf)
		die("no memory");
	for (left = o->bytes; left; left -= n) {
		n = odd_size(&rnd, o->max);
		n = n < left ? n : left;
		stream_fill(s, buf, n);
		write_all(o->fd, buf, n);
	}
	free(buf);
	free(s);
	return NULL;
}

void duplex(int fd, uint64_t seed_out, uint64_t seed_in, uint64_t bytes, size_t max)
{
	struct out out = { fd, seed_out, bytes, max };
	struct stream *s = stream_new(seed_in);
	uint8_t *buf = malloc(max);
	uint64_t rnd = seed_in + 99, left;
	pthread_t thread;
	ssize_t n;

	if (!buf || pthread_create(&thread, NULL, duplex_out, &out))
		die("no memory");
	for (left = bytes; left; left -= n) {
		size_t want = odd_size(&rnd, max);

		n = recv(fd, buf, want < left ? want : left, 0);
		if (n <= 0)
			die("recv with %llu bytes to come: %s", (unsigned long long)left,
			    n ? strerror(errno) : "end of file");
		stream_check(s, buf, n);
	}
	pthread_join(thread, NULL);
	free(buf);
	free(s);
}

bool is_sealed(int fd)
{
	socklen_t len = sizeof(uint32_t);
	uint32_t sealed;

	if (getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_SEALED, &sealed, &len))
		die("SIVSHMEM_SEALED: %s", strerror(errno));
	return sealed;
}
