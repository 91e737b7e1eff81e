// SPDX-License-Identifier: BSD-2-Clause
/*
 * `model`: the life of the connections and the choice of calls. Call number i is a function of seed and
 * i and of what the model knows by then, never of the clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "model.h"

#define PHASE_CALLS 64 /* for so long more is sent than read, or less */
#define PROGRESS_MS 10000
#define STALL_MS    20000

atomic_uint_fast64_t op_number;

static struct conn *conns;
static struct conn *_Atomic current; /* for the watchdog */
static int listener[2]; /* by type: stream, seqpacket */

static char *history_line(struct conn *c, unsigned int back)
{
	return c->history[(c->history_at + HISTORY - back) % HISTORY];
}

void note(struct conn *c, const char *format, ...)
{
	va_list args;
	char *line;
	int at;

	c->history_at++;
	line = history_line(c, 0);
	at = snprintf(line, sizeof(c->history[0]), "%llu ", (unsigned long long)op_number);
	va_start(args, format);
	vsnprintf(line + at, sizeof(c->history[0]) - at, format, args);
	va_end(args);
}

void note_more(struct conn *c, const char *format, ...)
{
	char *line = history_line(c, 0);
	size_t at = strlen(line);
	va_list args;

	va_start(args, format);
	vsnprintf(line + at, sizeof(c->history[0]) - at, format, args);
	va_end(args);
}

static void show(const struct conn *c, int e)
{
	const struct way *w = &c->way[e];

	fprintf(stderr, "  %d->%d: wrote %llu, read %llu, records %u, ring %llu of %llu, %s%s\n", e,
		!e, (unsigned long long)w->wpos, (unsigned long long)w->rpos, w->count,
		(unsigned long long)w->used, (unsigned long long)w->ring,
		w->shut_wr ? "shut for writing " : "", w->shut_rd ? "shut for reading" : "");
	fprintf(stderr, "  end %d: %u descriptors, %sSO_RCVLOWAT %d\n", e, c->end[e].fds,
		c->end[e].reset ? "ECONNRESET due, " : "", c->end[e].lowat);
}

void wrong(struct conn *c, const char *format, ...)
{
	va_list args;
	int i;

	fprintf(stderr,
		"WRONG at call %llu, connection %u.%u (%s, %s): ", (unsigned long long)op_number,
		c->index, c->generation, type_name(c->type), opt.siv ? "siv" : "unix");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nthe model:\n");
	show(c, 0);
	show(c, 1);
	fprintf(stderr, "its last calls:\n");
	for (i = HISTORY - 1; i >= 0; i--)
		if (*history_line(c, i))
			fprintf(stderr, "  %s\n", history_line(c, i));
	fprintf(stderr, "again:\n");
	print_replay(stderr, op_number + 1);
	_exit(1);
}

/* No call may take long: none blocks. */
static void *watchdog(void *arg)
{
	uint64_t seen = ~0ull, since = now_ms();

	for (;;) {
		sleep(1);
		if (seen != op_number) {
			seen = op_number;
			since = now_ms();
		} else if (now_ms() - since > STALL_MS * opt.slow) {
			wrong(current, "the call does not return");
		}
	}
	return arg;
}

static void nonblock(int fd)
{
	if (fcntl(fd, F_SETFL, O_NONBLOCK))
		die("fcntl: %s", strerror(errno));
}

static void conn_open(struct conn *c, struct rng *r)
{
	struct ring_wish wish = { 0 };
	int e, *l = &listener[c->type == SOCK_SEQPACKET];

	c->generation++;
	if (!*l)
		*l = where_listen(c->type, NULL);
	if (rng_percent(r, 80)) {
		wish.tx = 1u << (12 + rng_below(r, 5));
		wish.rx = 1u << (12 + rng_below(r, 5));
		wish.by_bufs = rng_percent(r, 30);
	}
	note(c, "connect, buffers %u and %u", wish.tx, wish.rx);
	c->end[0].fd[0] = where_connect(c->type, NULL, &wish, rng_percent(r, 50));
	c->end[1].fd[0] = where_accept(*l);
	for (e = 0; e < 2; e++) {
		free(c->way[e].records);
		c->way[e] = (struct way){ .key = rng_next(r), .ring = where_ring(c->end[e].fd[0]) };
		c->end[e] = (struct end){
			.fd = { c->end[e].fd[0] }, .fds = 1, .lowat = 1, .peek_off = -1
		};
		nonblock(c->end[e].fd[0]);
	}
	if (where_ring(c->end[0].fd[0]) != c->way[0].ring)
		die("the ring changed");
	watch_add(c, 0);
	watch_add(c, 1);
}

/* One descriptor of end @e; with the last one the end. */
static void end_close(struct conn *c, int e, struct rng *r)
{
	struct end *end = &c->end[e];
	unsigned int i = rng_below(r, end->fds);

	note(c, "%d: close, %u descriptors are left", e, end->fds - 1);
	if (close(end->fd[i]))
		wrong(c, "close: %s", strerror(errno));
	end->fd[i] = end->fd[--end->fds];
	if (!end->fds)
		did_close(c, e);
}

static void end_dup(struct conn *c, int e, struct rng *r)
{
	struct end *end = &c->end[e];
	int fd = fcntl(some_fd(c, e, r), F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		die("dup: %s", strerror(errno));
	note(c, "%d: dup", e);
	end->fd[end->fds++] = fd;
}

static void end_shutdown(struct conn *c, int e, struct rng *r)
{
	int how = rng_below(r, 3);

	note(c, "%d: shutdown %s", e, how == SHUT_RD ? "RD" : how == SHUT_WR ? "WR" : "RDWR");
	if (shutdown(some_fd(c, e, r), how))
		wrong(c, "shutdown: %s", strerror(errno));
	did_shutdown(c, e, how);
}

static void ask_inq(struct conn *c, int e, struct rng *r)
{
	const struct way *w = &c->way[!e];
	uint64_t should = unread(w);
	int n = -1;

	/* what a record socket's next recv() would give; AF_UNIX has the sum */
	if (c->type == SOCK_SEQPACKET && w->ring)
		should = w->count ? record_at(w, 0)->len : 0;
	if (ioctl(some_fd(c, e, r), SIOCINQ, &n))
		wrong(c, "SIOCINQ: %s", strerror(errno));
	note(c, "%d: SIOCINQ = %d", e, n);
	if (n < 0 || (uint64_t)n != should)
		wrong(c, "SIOCINQ says %d, the model says %llu", n, (unsigned long long)should);
}

static void ask_outq(struct conn *c, int e, struct rng *r)
{
	const struct way *w = &c->way[e];
	int n = -1;

	if (c->way[e].shut_rd)
		return; /* the peer may be gone, and its ring with it */
	if (ioctl(some_fd(c, e, r), SIOCOUTQ, &n))
		wrong(c, "SIOCOUTQ: %s", strerror(errno));
	note(c, "%d: SIOCOUTQ = %d", e, n);
	if (!anything_unread(c, w) && n)
		wrong(c, "SIOCOUTQ says %d with everything read", n);
	if (c->type == SOCK_STREAM && w->ring && (uint64_t)n != unread(w))
		wrong(c, "SIOCOUTQ says %d, the model says %llu", n, (unsigned long long)unread(w));
}

static void ask_error(struct conn *c, int e, struct rng *r)
{
	int err = -1, should = c->end[e].reset ? ECONNRESET : 0;
	socklen_t len = sizeof(err);

	if (getsockopt(some_fd(c, e, r), SOL_SOCKET, SO_ERROR, &err, &len))
		wrong(c, "SO_ERROR: %s", strerror(errno));
	note(c, "%d: SO_ERROR = %d", e, err);
	if (err != should)
		wrong(c, "SO_ERROR says %d, the model says %d", err, should);
	c->end[e].reset = false;
}

static void set_lowat(struct conn *c, int e, struct rng *r)
{
	struct end *end = &c->end[e];

	end->lowat = rng_percent(r, 60) ? 1 : rng_size(r, 20000);
	/* the edge that was asked for before is another one now */
	end->in_due = end->in_dry = false;
	note(c, "%d: SO_RCVLOWAT %d", e, end->lowat);
	if (setsockopt(some_fd(c, e, r), SOL_SOCKET, SO_RCVLOWAT, &end->lowat, sizeof(end->lowat)))
		wrong(c, "SO_RCVLOWAT: %s", strerror(errno));
}

static void set_peek_off(struct conn *c, int e, struct rng *r)
{
	struct end *end = &c->end[e];

	end->peek_off = rng_percent(r, 50) ? -1 : (int)rng_below(r, 4000);
	note(c, "%d: SO_PEEK_OFF %d", e, end->peek_off);
	if (setsockopt(some_fd(c, e, r), SOL_SOCKET, SO_PEEK_OFF, &end->peek_off,
		       sizeof(end->peek_off)))
		wrong(c, "SO_PEEK_OFF: %s", strerror(errno));
}

/* Reads whatever is left at @e; then the whole buffer of the other end is free. */
static void drain(struct conn *c, int e, struct rng *r)
{
	struct way *w = &c->way[!e];
	unsigned int i;

	note(c, "%d: until nothing is left:", e);
	for (i = 0; anything_unread(c, w) && i < 100; i++)
		call_recv(c, e, r);
}

/* Both ends want to be used up before long, once one of them is shut or closed. */
static void rare(struct conn *c, int e, struct rng *r)
{
	bool ending = send_shut(c, e) || recv_shut(c, e);

	switch (rng_below(r, 8)) {
	case 0:
		if (rng_percent(r, ending ? 60 : 40))
			end_close(c, e, r);
		break;
	case 1:
		if (rng_percent(r, 40))
			end_shutdown(c, e, r);
		break;
	case 2:
		if (c->end[e].fds < DUPS_MAX)
			end_dup(c, e, r);
		break;
	case 3:
		if (c->end[e].fds > 1)
			end_close(c, e, r);
		break;
	case 4:
		if (c->type == SOCK_STREAM && rng_percent(r, 50))
			set_lowat(c, e, r);
		else if (c->type == SOCK_STREAM)
			set_peek_off(c, e, r);
		break;
	case 5:
		drain(c, e, r);
		break;
	case 6:
		ask_error(c, e, r);
		break;
	default:
		ask_outq(c, e, r);
	}
}

static void step(void)
{
	struct rng r = rng_at(opt.seed, op_number);
	struct conn *c = &conns[rng_below(&r, opt.sockets)];
	int e = rng_below(&r, 2);
	/* connections take turns in being filled and emptied */
	bool filling = (op_number / PHASE_CALLS + c->index) % 2;
	unsigned int what = rng_below(&r, 100);

	current = c;
	if (!c->end[0].fds && !c->end[1].fds)
		conn_open(c, &r);
	if (!c->end[e].fds)
		e = !e;
	if (what < 70) {
		if (rng_percent(&r, filling ? 65 : 35))
			call_send(c, e, &r);
		else
			call_recv(c, e, &r);
	} else if (what < 77) {
		watch_poll(c, e, &r);
	} else if (what < 80) {
		watch_epoll(conns, opt.sockets, c, false);
	} else if (what < 86) {
		watch_epoll(conns, opt.sockets, c, true);
	} else if (what < 92) {
		ask_inq(c, e, &r);
	} else {
		rare(c, e, &r);
	}
}

int run_model(void)
{
	uint64_t start = now_ms(), shown = start, opened = 0;
	pthread_t thread;
	unsigned int i;

	print_replay(stdout, opt.ops);
	conns = calloc(opt.sockets, sizeof(*conns));
	if (!conns)
		die("no memory");
	for (i = 0; i < opt.sockets; i++) {
		conns[i].index = i;
		conns[i].type = !opt.seqpacket || (opt.stream && i % 2) ? SOCK_STREAM :
									  SOCK_SEQPACKET;
	}
	vec_init();
	watch_init();
	if (pthread_create(&thread, NULL, watchdog, NULL))
		die("no thread");
	while (opt.ops ? op_number < opt.ops : now_ms() - start < opt.seconds * 1000ull) {
		step();
		op_number++;
		if (op_number % 64 || now_ms() - shown < PROGRESS_MS)
			continue;
		shown = now_ms();
		printf("%llu s: %llu calls\n", (unsigned long long)(shown - start) / 1000,
		       (unsigned long long)op_number);
	}
	for (i = 0; i < opt.sockets; i++)
		opened += conns[i].generation;
	printf("right: %llu calls, %llu connections\n", (unsigned long long)op_number,
	       (unsigned long long)opened);
	return 0;
}
