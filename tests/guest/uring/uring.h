/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * siv-uring: io_uring on sockets of the family, one case for each thing that must hold, against
 * `siv-check serve`. Each case runs on rings of several kinds.
 */
#ifndef URING_H
#define URING_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <liburing.h>

#include "../check/check.h"

enum ring_kind {
	RING_PLAIN,
	RING_DEFER, /* completions are worked off by the task that waits for them */
	RING_ASYNC, /* every operation goes to a worker thread of the kernel */
	RING_SQPOLL, /* a thread of the kernel submits, with this process's memory */
	RING_KINDS,
};
extern const char *const ring_names[RING_KINDS];

extern struct io_uring ring;
extern enum ring_kind ring_kind;
extern const char *url; /* the server */

/*
 * One operation, and what came of it. A completion that is none too many by the flags is a failure
 * wherever it turns up: of a single shot the second, of zero copy a second notification, or one that
 * was not promised.
 */
#define RESULTS_MAX 64
struct op {
	bool multi; /* results go on while they say so; set before it is queued */
	int n; /* results */
	int res[RESULTS_MAX];
	unsigned int flags[RESULTS_MAX];
	int notifs; /* of zero copy */
	unsigned int order; /* of the last completion among all */
};

/* A transmit window, mapped without the library, so that a test can do what that would not. */
struct window {
	int fd;
	bool record;
	uint8_t *base;
	const uint8_t *ro; /* the peer's control page, then receive data, twice */
	size_t size, rx_size;
	uint64_t pos;
};

void ring_start(enum ring_kind kind);
void ring_stop(void); /* no completion may be left over */

struct io_uring_sqe *sqe_new(void);
/* After prep: what is queued is @op; sqe->flags may be added to until it is submitted. */
void op_is(struct io_uring_sqe *sqe, struct op *op);
void ring_submit(void);
void ring_look(void); /* takes what has completed, without waiting */
void op_wait_any(void); /* submits, waits for some result */
#define op_wait(op) op_wait_at(op, __FILE__, __LINE__)
int op_wait_at(struct op *op, const char *file, int line); /* submits; gives its next result */
#define op_wait_notif(op) op_wait_notif_at(op, __FILE__, __LINE__)
void op_wait_notif_at(struct op *op, const char *file, int line);
/* The same of what was sent in place, up to @end: the peer has really read it. */
void op_wait_read(struct op *op, const struct window *w, uint64_t end);
void op_quiet(const struct op *op); /* nothing has completed */
bool op_over(const struct op *op);

int order_at(uint32_t mode, uint64_t seed, uint64_t bytes); /* a connection that gave this order */
uint64_t fresh_seed(void);
void go(uint64_t seed); /* to those that stall */
void round_trip_elsewhere(void); /* on another connection: time for what would come too early */
void *memory(size_t len);
void fill(void *buf, size_t len, unsigned int seed);

void window_map(struct window *w, int fd, uint64_t pos);
uint8_t *window_at(const struct window *w); /* where the next data goes */
void window_sent(struct window *w, size_t len);
void window_await_room(const struct window *w, size_t len);
void window_unmap(struct window *w);

struct uring_case {
	const char *name;
	void (*run)(const char *arg);
	unsigned int kinds; /* 1 << RING_*; 0: starts its rings itself */
};
extern const struct uring_case io_cases[], end_cases[], accept_cases[], zc_cases[], zc_end_cases[],
	helper_cases[];

#define ALL_KINDS (1 << RING_PLAIN | 1 << RING_DEFER | 1 << RING_ASYNC)
#define ZC_KINDS  (ALL_KINDS | 1 << RING_SQPOLL)
/* a worker sleeps in the call itself where others wait by poll */
#define INLINE_KINDS (1 << RING_PLAIN | 1 << RING_DEFER)

#endif
