// SPDX-License-Identifier: BSD-2-Clause
/*
 * `storm` and `serve`: connections one after the other in each slot, both sides with their threads.
 * What must hold at the end of each is checked here.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sivshmem/ring.h>

#include "storm.h"

#define HELLO_MAGIC 0x73746f726d2d3031ull
#define STACK_BYTES (256u << 10)
#define WORKERS_MAX 16

/* The client's first bytes: from here on the two sides are of one mind. */
struct hello {
	uint64_t magic, seed, number;
	uint32_t type, pad;
};

static atomic_uint slots, serving;
static volatile sig_atomic_t ending;
static uint64_t until_ms;

static void start_thread(void *(*run)(void *), void *arg, pthread_t *thread)
{
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr,
				    thread ? PTHREAD_CREATE_JOINABLE : PTHREAD_CREATE_DETACHED);
	err = pthread_create(thread ?: &(pthread_t){ 0 }, &attr, run, arg);
	if (err)
		die("thread: %s", strerror(err));
	pthread_attr_destroy(&attr);
}

static void set_timeouts(struct side *s)
{
	struct timeval t = { .tv_usec = s->plan.timeout_ms * 1000 };

	if (setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) ||
	    setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)))
		storm_wrong(s, "time-outs: %s", strerror(errno));
}

/* Bytes that fit into one record, whatever this side's buffer has become. */
static size_t biggest_record(struct side *s)
{
	uint64_t ring = where_ring(s->fd);
	socklen_t len = sizeof(int);
	int sndbuf;

	if (ring && where_sealed(s->fd))
		return siv_seal_payload(ring);
	if (ring)
		return ring - 8 < LEN_MAX ? ring - 8 : LEN_MAX;
	if (getsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, &len))
		storm_wrong(s, "SO_SNDBUF: %s", strerror(errno));
	return sndbuf - 32 < (int)LEN_MAX ? (size_t)sndbuf - 32 : LEN_MAX;
}

static void expect_bytes(struct side *s, bool whole)
{
	const struct plan_way *way = &s->plan.way[!s->e];
	uint64_t should[256] = { 0 }, total = 0, pos, left;
	uint8_t buf[4096];
	unsigned int i;
	size_t n, k;

	for (i = 0; i < way->writers; i++)
		total += way->writer[i].volume;
	if (whole ? s->received != total : s->received > total)
		storm_wrong(s, "received %llu bytes of %llu", (unsigned long long)s->received,
			    (unsigned long long)total);
	if (way->writers == 1 && way->readers == 1)
		return; /* each byte was compared */
	for (i = 0; i < way->writers; i++)
		for (pos = 0; pos < way->writer[i].volume; pos += n) {
			left = way->writer[i].volume - pos;
			n = left < sizeof(buf) ? left : sizeof(buf);
			pattern_fill(way->key + i, pos, buf, n);
			for (k = 0; k < n; k++)
				should[buf[k]]++;
		}
	for (i = 0; i < 256; i++)
		if (whole ? s->count[i] != should[i] : s->count[i] > should[i])
			storm_wrong(s, "byte value %u was received %llu times and sent %llu times",
				    i, (unsigned long long)s->count[i],
				    (unsigned long long)should[i]);
}

static void expect_records(struct side *s, bool whole)
{
	const struct plan_way *way = &s->plan.way[!s->e];
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < way->writers; i++)
		total += way->writer[i].volume;
	/* none came twice, so their number tells */
	if (whole && s->records_read != total)
		storm_wrong(s, "received %llu records of %llu", (unsigned long long)s->records_read,
			    (unsigned long long)total);
}

static void expect_all(struct side *s)
{
	bool whole = !s->plan.cut;

	if (whole && (!s->read_to_end || s->broken))
		storm_wrong(s, "ended before its end");
	if (s->type == SOCK_STREAM)
		expect_bytes(s, whole);
	else
		expect_records(s, whole);
}

static unsigned int hire(struct side *s, struct worker *w, unsigned int at, const char *role,
			 void *(*run)(void *), unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++, at++) {
		w[at] = (struct worker){ .side = s, .role = role, .number = i };
		w[at].rng = rng_at(s->seed, s->number << 8 | s->e << 7 | at);
		start_thread(run, &w[at], &w[at].thread);
	}
	return at;
}

static void join(const struct worker *w, unsigned int from, unsigned int to)
{
	for (; from < to; from++)
		pthread_join(w[from].thread, NULL);
}

/* One end of a connection, from hello to close. */
void side_run(struct side *s)
{
	struct plan_way *out = &s->plan.way[s->e], *in = &s->plan.way[!s->e];
	/* who closes with data unread has nobody beside who would wait for the end */
	bool closer = s->plan.cut == CUT_CLOSE && s->plan.cut_end == s->e;
	struct worker *w = calloc(WORKERS_MAX, sizeof(*w));
	unsigned int i, readers, all;

	for (i = 0; i < CROWD_MAX; i++)
		s->records[i] = calloc(1, RECORDS_MAX + 1);
	if (!w || !s->records[0] || !s->records[1] || !s->records[2])
		storm_wrong(s, "no memory");
	set_timeouts(s);
	s->max = s->type == SOCK_STREAM ? LEN_MAX : biggest_record(s);
	s->writing = out->writers;
	s->reading = in->readers;
	readers = hire(s, w, 0, "reader", work_read, in->readers);
	all = hire(s, w, readers, "writer", work_write, out->writers);
	if (!closer) {
		all = hire(s, w, all, "peeker", work_peek, s->plan.peekers);
		all = hire(s, w, all, "poller", work_poll, s->plan.pollers);
	}
	join(w, 0, readers);
	/* who sends nothing ends its direction when the other one has ended */
	if (!out->writers && shutdown(s->fd, SHUT_WR))
		storm_wrong(s, "shutdown: %s", strerror(errno));
	join(w, readers, all);
	expect_all(s);
	crew_side(s, false);
	close(s->fd);
	for (i = 0; i < CROWD_MAX; i++)
		free(s->records[i]);
	free(w);
}

static struct side *side_new(int type, int e)
{
	struct side *s = calloc(1, sizeof(*s));

	if (!s)
		die("no memory");
	s->type = type;
	s->e = e;
	s->fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void *slot_run(void *arg)
{
	unsigned int slot = (unsigned long)arg;
	int type = !opt.seqpacket || (opt.stream && slot % 2) ? SOCK_STREAM : SOCK_SEQPACKET;
	uint64_t number;

	for (number = slot; now_ms() < until_ms; number += opt.sockets) {
		struct side *s = side_new(type, 0);
		struct hello hello = { HELLO_MAGIC, opt.seed, number, type, 0 };

		s->seed = opt.seed;
		s->number = number;
		s->plan = plan_make(opt.seed, number, type);
		crew_side(s, true);
		s->fd = where_connect(type, opt.url, &s->plan.wish, number % 3 == 0);
		if (send(s->fd, &hello, sizeof(hello), 0) != sizeof(hello))
			storm_wrong(s, "hello: %s", strerror(errno));
		side_run(s);
		free(s);
	}
	slots--;
	return NULL;
}

static void *serve_run(void *arg)
{
	struct side *s = arg;
	struct hello hello;

	if (recv(s->fd, &hello, sizeof(hello), MSG_WAITALL) != sizeof(hello) ||
	    hello.magic != HELLO_MAGIC || hello.type != (uint32_t)s->type)
		storm_wrong(s, "no hello: %s", strerror(errno));
	s->seed = hello.seed;
	s->number = hello.number;
	s->plan = plan_make(s->seed, s->number, s->type);
	side_run(s);
	free(s);
	serving--;
	return NULL;
}

static void *accept_run(void *arg)
{
	int type = (long)arg,
	    listener = where_listen(type, strcmp(opt.mode, "serve") ? NULL : opt.url);

	serving--; /* the place that was kept for this thread until it listens */
	for (;;) {
		int fd = where_accept(listener);
		struct side *s = side_new(type, 1);

		s->fd = fd;
		s->number = ~0ull; /* until hello */
		serving++;
		crew_side(s, true);
		start_thread(serve_run, s, NULL);
	}
	return NULL;
}

static void start_accepting(void)
{
	int type, types[] = { opt.stream ? SOCK_STREAM : 0, opt.seqpacket ? SOCK_SEQPACKET : 0 };
	size_t i;

	for (i = 0; i < 2; i++) {
		type = types[i];
		if (!type)
			continue;
		serving++;
		start_thread(accept_run, (void *)(long)type, NULL);
	}
	while (serving)
		usleep(1000);
}

static bool storm_over(void)
{
	return !slots && !serving;
}

static bool serve_over(void)
{
	return ending && !serving;
}

static void on_end(int sig)
{
	(void)sig;
	ending = 1;
}

int run_storm(void)
{
	unsigned long i;

	print_replay(stdout, 0);
	crew_start();
	if (!opt.url)
		start_accepting();
	until_ms = now_ms() + opt.seconds * 1000ull;
	slots = opt.sockets;
	for (i = 0; i < opt.sockets; i++)
		start_thread(slot_run, (void *)i, NULL);
	crew_watch(storm_over);
	return 0;
}

/* Until SIGTERM, and the connections that are open then have ended. */
int run_serve(void)
{
	crew_start();
	if (signal(SIGTERM, on_end) == SIG_ERR)
		die("signal: %s", strerror(errno));
	start_accepting();
	puts("listening");
	crew_watch(serve_over);
	return 0;
}
