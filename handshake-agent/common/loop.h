/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small event loop: descriptors by epoll, one-shot timers by one timerfd, signals by one
 * signalfd. One thread. Callbacks run one after the other and may add and remove anything,
 * themselves included; what was removed gets no further callback, not even one that epoll has
 * reported already.
 *
 * Ownership: struct loop_io and struct loop_timer live in the caller's structures; they must be
 * removed (or cancelled) before that memory goes. Descriptors are the caller's, to close after
 * loop_remove(), or by loop_close().
 *
 * Time is CLOCK_BOOTTIME in nanoseconds: it never steps back and counts while the machine sleeps.
 * loop_new_manual() makes a loop whose time stands still until loop_advance() moves it, for tests.
 */
#ifndef SIVSHMEM_LOOP_H
#define SIVSHMEM_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_NS_PER_MS 1000000ull

struct loop;

struct loop_io {
	/* @events: what epoll reports, EPOLLERR and EPOLLHUP included. */
	void (*ready)(struct loop_io *io, uint32_t events);
	int fd;          /* while added; the loop's to read */
	uint32_t events; /* what is asked for */
	struct loop *loop;
};

struct loop_timer {
	void (*due)(struct loop_timer *timer);
	uint64_t at_ns;     /* loop time; the loop's to write */
	struct loop *loop;  /* NULL: not armed */
	unsigned int index; /* in the loop's heap */
};

/* NULL and errno on failure. */
struct loop *loop_new(void);
struct loop *loop_new_manual(void);

/* All descriptors must have been removed and all timers cancelled. NULL is allowed. */
void loop_free(struct loop *loop);

/* Runs until loop_stop(). 0, or -errno if epoll itself fails. */
int loop_run(struct loop *loop);

/*
 * One round: waits up to @timeout_ms (-1: for ever), then calls what is ready and due. How many
 * descriptors were ready (that of the timers is one of them), or -errno.
 */
int loop_run_once(struct loop *loop, int timeout_ms);

/* loop_run() returns after the present round. */
void loop_stop(struct loop *loop);

uint64_t loop_now_ns(const struct loop *loop);

/* Manual loops only: moves time on and calls what became due, in order. */
void loop_advance(struct loop *loop, uint64_t ns);

/* @io->ready is set by the caller. 0 or -errno. */
int loop_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events);
int loop_modify(struct loop_io *io, uint32_t events);
/* Before the descriptor is closed. Not added (all zero, or removed): nothing happens. */
void loop_remove(struct loop_io *io);
/* Removes and closes the descriptor, for those that leave it to the loop. The same. */
void loop_close(struct loop_io *io);

/* Arms, or arms anew. @timer->due is set by the caller. 0 or -ENOMEM. */
int loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns);
void loop_timer_cancel(struct loop_timer *timer);
static inline bool loop_timer_armed(const struct loop_timer *timer)
{
	return timer->loop;
}

/*
 * Blocks the signals of @set in this process and delivers them as calls of @got. Once for a loop.
 * loop_free() restores the mask. 0 or -errno.
 */
int loop_signals(struct loop *loop, const sigset_t *set, void (*got)(int signo, void *arg),
		 void *arg);

#endif
