/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `storm`: many threads on each connection. What they do is a plan that both sides make from seed and
 * number of the connection, which its first bytes tell; so no other word passes between the sides.
 *
 *   ordered     one writer and one reader for each direction: every byte in its place
 *   crowd       several writers and readers: each byte value as often as it was sent; of records, each
 *               whole, exactly once, and in order for each writer if one reads
 *
 * Beside them: peekers, waiters in poll(), signals, time-outs, children that hold descriptors, and cuts
 * at some point of the stream. Nobody may wait without end.
 */
#ifndef STORM_H
#define STORM_H

#include <stdatomic.h>
#include <pthread.h>

#include "random.h"

#define CROWD_MAX   3
#define RECORDS_MAX 2000u

enum cut {
	CUT_NONE,
	CUT_SHUTDOWN, /* one side shuts down, while everybody is at it */
	CUT_CLOSE, /* one side stops, and closes with data unread */
};

struct plan_way {
	uint64_t key;
	unsigned int writers, readers; /* no writers: nothing is sent this way */
	struct {
		uint64_t volume; /* bytes, or records */
		size_t max; /* bytes of one call at most */
	} writer[CROWD_MAX];
	bool fork; /* a child writes the first half */
};

struct plan {
	struct plan_way way[2]; /* way[e] goes from end e to the other; the client is end 0 */
	enum cut cut;
	int cut_end, cut_how;
	uint64_t cut_after; /* bytes that the cutting end has read */
	bool signals;
	unsigned int timeout_ms; /* SO_RCVTIMEO and SO_SNDTIMEO, 0: none */
	unsigned int nonblock; /* percent of calls with MSG_DONTWAIT */
	unsigned int peekers, pollers;
	struct ring_wish wish;
};
struct plan plan_make(uint64_t seed, uint64_t number, int type);
void plan_show(FILE *to, const struct plan *p);

struct side {
	uint64_t seed, number;
	int type, fd, e;
	struct plan plan;
	size_t max; /* bytes of a record at most; LEN_MAX on streams */
	atomic_uint_fast64_t sent, received; /* bytes; also what the watchdog looks at */
	atomic_uint_fast64_t asked; /* bytes that recv() calls may have taken by now */
	atomic_uint writing, reading;
	atomic_bool stop, broken,
		read_to_end; /* stop: CUT_CLOSE; broken: an end that the cut explains */
	pthread_mutex_t lock;
	uint64_t count[256]; /* of each byte value that was read; under lock */
	uint8_t *records[CROWD_MAX]; /* by writer: seen; under lock */
	uint64_t records_read;
	/* whose change the watchdog saw when */
	uint64_t seen, seen_ms;
	struct side *next; /* crew.c */
};
void side_run(struct side *side);

/* --- crew.c: who is at what, for the watchdog, the shooter and the report --- */
#define DEEDS 8
struct deed {
	const char *call;
	long arg;
	int flags, err;
	ssize_t ret;
	uint64_t start_ms;
	bool over;
};
struct worker {
	struct side *side;
	const char *role;
	unsigned int number;
	pthread_t thread;
	struct deed deeds[DEEDS];
	unsigned int at;
	struct rng rng;
	struct worker *next;
};
void crew_start(void);
void crew_side(struct side *side, bool add);
void crew_join(struct worker *w); /* from the worker's own thread */
void crew_leave(struct worker *w);
/* The watchdog and the shooter; returns when @done says so. */
void crew_watch(bool (*done)(void));
void deed(struct worker *w, const char *call, long arg, int flags);
void deed_over(struct worker *w, ssize_t ret, int err);
void storm_wrong(struct side *side, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

/* --- work.c --- */
void *work_write(void *worker);
void *work_read(void *worker);
void *work_peek(void *worker);
void *work_poll(void *worker);

/* A record in a storm: this, and then pattern. */
struct storm_record {
	uint32_t writer, seq, len, magic;
};
#define STORM_RECORD_MAGIC 0x53495652

#endif
