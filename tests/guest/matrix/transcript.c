// SPDX-License-Identifier: BSD-2-Clause
/*
 * Transcripts: lines with names instead of numbers, in memory that outlives the process.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "run.h"

#define DATA_SHOWN 40 /* longer pieces are told by a checksum */

struct transcript *transcript_new(void)
{
	struct transcript *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t == MAP_FAILED) {
		perror("siv-matrix: mmap");
		exit(2);
	}
	return t;
}

void transcript_free(struct transcript *t)
{
	munmap(t, sizeof(*t));
}

static void put(struct transcript *t, const char *format, va_list args)
{
	int n = vsnprintf(t->text + t->len, sizeof(t->text) - t->len, format, args);

	if (n > 0 && t->len + n < sizeof(t->text) - 1)
		t->len += n;
}

static void putf(struct transcript *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put(t, format, args);
	va_end(args);
}

void transcript_append(struct transcript *to, const char *prefix, const struct transcript *from)
{
	const char *line = from->text, *end;

	for (; *line; line = end + !!*end) {
		end = strchrnul(line, '\n');
		putf(to, "%s%.*s\n", prefix, (int)(end - line), line);
	}
}

void t_begin(struct side *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put(s->t, format, args);
	va_end(args);
	s->t->open = true;
}

void t_end(struct side *s, const char *format, ...)
{
	int saved = errno;
	va_list args;

	putf(s->t, " = ");
	va_start(args, format);
	put(s->t, format, args);
	va_end(args);
	putf(s->t, "\n");
	s->t->open = false;
	errno = saved;
}

static const char *errno_name(int err)
{
	const char *name = strerrorname_np(err);

	return name ? name : "an errno without a name"; /* such as ERESTARTSYS, if it escapes */
}

long t_ret(struct side *s, long ret)
{
	if (ret < 0)
		t_end(s, "%s", errno_name(errno));
	else
		t_end(s, "%ld", ret);
	return ret;
}

int t_ok(struct side *s, int ret)
{
	t_end(s, "%s", ret < 0 ? errno_name(errno) : "ok");
	return ret;
}

ssize_t t_data(struct side *s, ssize_t n, const void *data)
{
	if (n > 0)
		t_end(s, "%zd %s", n, text_of_data(data, n));
	else
		t_ret(s, n);
	return n;
}

void t_note(struct side *s, const char *format, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, format);
	put(s->t, format, args);
	va_end(args);
	putf(s->t, "\n");
	errno = saved;
}

void t_fail(struct side *s, const char *format, ...)
{
	va_list args;

	if (s->t->open)
		putf(s->t, "\n");
	s->t->open = false;
	s->t->failed = true;
	va_start(args, format);
	put(s->t, format, args);
	va_end(args);
	putf(s->t, "\n");
	_exit(3);
}

/* Names joined by '|' in one of a few buffers in turn, so that a line can hold several. */
static char *text_buffer(void)
{
	static __thread char buffers[8][400];
	static __thread unsigned int next;

	return buffers[next++ % 8];
}

struct name {
	unsigned int bit;
	const char *name;
};

static const char *names_of(unsigned int bits, const struct name *names, size_t n)
{
	char *text = text_buffer(), *to = text;
	size_t i;

	*to = 0;
	for (i = 0; i < n; i++)
		if (bits & names[i].bit) {
			to += sprintf(to, "%s%s", to == text ? "" : "|", names[i].name);
			bits &= ~names[i].bit;
		}
	if (bits)
		sprintf(to, "%s%#x", to == text ? "" : "|", bits);
	return *text ? text : "0";
}

const char *text_of_msg_flags(int flags)
{
	static const struct name names[] = {
		{ MSG_OOB, "OOB" },
		{ MSG_PEEK, "PEEK" },
		{ MSG_DONTWAIT, "DONTWAIT" },
		{ MSG_WAITALL, "WAITALL" },
		{ MSG_TRUNC, "TRUNC" },
		{ MSG_CTRUNC, "CTRUNC" },
		{ MSG_EOR, "EOR" },
		{ MSG_NOSIGNAL, "NOSIGNAL" },
		{ MSG_MORE, "MORE" },
		{ MSG_ERRQUEUE, "ERRQUEUE" },
		{ MSG_WAITFORONE, "WAITFORONE" },
		{ MSG_CMSG_CLOEXEC, "CMSG_CLOEXEC" },
		{ MSG_DONTROUTE, "DONTROUTE" },
		{ MSG_CONFIRM, "CONFIRM" },
	};

	return names_of(flags, names, ARRAY_SIZE(names));
}

const char *text_of_poll(unsigned int bits)
{
	static const struct name names[] = {
		{ POLLIN, "IN" },	  { POLLPRI, "PRI" },	    { POLLOUT, "OUT" },
		{ POLLERR, "ERR" },	  { POLLHUP, "HUP" },	    { POLLNVAL, "NVAL" },
		{ POLLRDNORM, "RDNORM" }, { POLLRDBAND, "RDBAND" }, { POLLWRNORM, "WRNORM" },
		{ POLLWRBAND, "WRBAND" }, { POLLRDHUP, "RDHUP" },
	};

	return names_of(bits, names, ARRAY_SIZE(names));
}

const char *text_of_data(const void *data, size_t n)
{
	const unsigned char *from = data;
	char *text = text_buffer(), *to = text;
	uint32_t sum = 2166136261u; /* FNV-1a */
	size_t i;

	if (n > DATA_SHOWN) {
		for (i = 0; i < n; i++)
			sum = (sum ^ from[i]) * 16777619u;
		sprintf(text, "of sum %08x", sum);
		return text;
	}
	*to++ = '"';
	for (i = 0; i < n; i++)
		to += sprintf(to, from[i] >= ' ' && from[i] < 127 ? "%c" : "\\x%02x", from[i]);
	strcpy(to, "\"");
	return text;
}
