// SPDX-License-Identifier: BSD-2-Clause
/* A small event loop over epoll, one timerfd and one signalfd. */
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LOOP_BATCH 64 /* events taken from epoll at once */
#define NS_PER_S   1000000000ull

struct loop {
	int epoll_fd;
	bool manual;
	bool stop;
	uint64_t manual_now_ns;

	/* what epoll_wait reported and has not been called yet; loop_remove() clears entries */
	struct epoll_event batch[LOOP_BATCH];
	int batch_next, batch_len;

	/* binary heap, earliest first */
	struct loop_timer **heap;
	unsigned int heap_len, heap_room;
	struct loop_io timer_io;
	uint64_t timerfd_at_ns; /* what the timerfd is set to; 0: disarmed */

	struct loop_io signal_io;
	sigset_t old_mask;
	void (*signal_got)(int signo, void *arg);
	void *signal_arg;
};

uint64_t loop_now_ns(const struct loop *loop)
{
	struct timespec ts;

	if (loop->manual)
		return loop->manual_now_ns;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Timers */

static void heap_put(struct loop *loop, unsigned int index, struct loop_timer *timer)
{
	loop->heap[index] = timer;
	timer->index = index;
}

static void heap_up(struct loop *loop, unsigned int index)
{
	struct loop_timer *timer = loop->heap[index];

	while (index > 0) {
		unsigned int parent = (index - 1) / 2;

		if (loop->heap[parent]->at_ns <= timer->at_ns)
			break;
		heap_put(loop, index, loop->heap[parent]);
		index = parent;
	}
	heap_put(loop, index, timer);
}

static void heap_down(struct loop *loop, unsigned int index)
{
	struct loop_timer *timer = loop->heap[index];

	for (;;) {
		unsigned int child = 2 * index + 1;

		if (child >= loop->heap_len)
			break;
		if (child + 1 < loop->heap_len &&
		    loop->heap[child + 1]->at_ns < loop->heap[child]->at_ns)
			child++;
		if (timer->at_ns <= loop->heap[child]->at_ns)
			break;
		heap_put(loop, index, loop->heap[child]);
		index = child;
	}
	heap_put(loop, index, timer);
}

/* Sets the timerfd to the earliest timer, if that is not what it is set to. */
static void timerfd_update(struct loop *loop)
{
	uint64_t at = loop->heap_len ? loop->heap[0]->at_ns : 0;
	struct itimerspec spec = { 0 };

	if (loop->manual || at == loop->timerfd_at_ns)
		return;
	spec.it_value.tv_sec = (time_t)(at / NS_PER_S);
	spec.it_value.tv_nsec = (long)(at % NS_PER_S);
	timerfd_settime(loop->timer_io.fd, TFD_TIMER_ABSTIME, &spec, NULL);
	loop->timerfd_at_ns = at;
}

int loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns)
{
	loop_timer_cancel(timer);
	if (loop->heap_len == loop->heap_room) {
		unsigned int room = loop->heap_room ? loop->heap_room * 2 : 16;
		struct loop_timer **heap = realloc(loop->heap, room * sizeof(loop->heap[0]));

		if (!heap)
			return -ENOMEM;
		loop->heap = heap;
		loop->heap_room = room;
	}
	timer->loop = loop;
	timer->at_ns = loop_now_ns(loop) + delay_ns;
	if (timer->at_ns == 0)
		timer->at_ns = 1; /* 0 disarms a timerfd */
	heap_put(loop, loop->heap_len++, timer);
	heap_up(loop, timer->index);
	timerfd_update(loop);
	return 0;
}

void loop_timer_cancel(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;
	unsigned int index = timer->index;
	struct loop_timer *last;

	if (!loop)
		return;
	timer->loop = NULL;
	last = loop->heap[--loop->heap_len];
	if (last != timer) {
		heap_put(loop, index, last);
		heap_up(loop, index);
		heap_down(loop, last->index);
	}
	timerfd_update(loop);
}

/* Only what was due at @now: a timer that re-arms itself with 0 does not starve descriptors. */
static void timers_run(struct loop *loop, uint64_t now)
{
	while (loop->heap_len && loop->heap[0]->at_ns <= now) {
		struct loop_timer *timer = loop->heap[0];

		loop_timer_cancel(timer);
		timer->due(timer);
	}
}

static void timerfd_ready(struct loop_io *io, uint32_t events)
{
	struct loop *loop = io->loop;
	uint64_t expirations;

	(void)events;
	if (read(io->fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		return;
	loop->timerfd_at_ns = 0;
	timers_run(loop, loop_now_ns(loop));
	timerfd_update(loop);
}

void loop_advance(struct loop *loop, uint64_t ns)
{
	uint64_t end = loop->manual_now_ns + ns;

	assert(loop->manual);
	while (loop->heap_len && loop->heap[0]->at_ns <= end) {
		struct loop_timer *timer = loop->heap[0];

		if (timer->at_ns > loop->manual_now_ns)
			loop->manual_now_ns = timer->at_ns;
		loop_timer_cancel(timer);
		timer->due(timer);
	}
	loop->manual_now_ns = end;
}

/* Descriptors */

int loop_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = io };

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	io->loop = loop;
	io->fd = fd;
	io->events = events;
	return 0;
}

int loop_modify(struct loop_io *io, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = io };

	/* With EPOLLET the call itself asks for the present state again. */
	if (io->events == events && !(events & EPOLLET))
		return 0;
	if (epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &event) < 0)
		return -errno;
	io->events = events;
	return 0;
}

void loop_remove(struct loop_io *io)
{
	struct loop *loop = io->loop;

	if (!loop)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	for (int i = loop->batch_next; i < loop->batch_len; i++) {
		if (loop->batch[i].data.ptr == io)
			loop->batch[i].data.ptr = NULL;
	}
	io->loop = NULL;
	io->fd = -1;
}

void loop_close(struct loop_io *io)
{
	int fd = io->fd;

	if (!io->loop)
		return;
	loop_remove(io);
	close(fd);
}

/* Signals */

static void signalfd_ready(struct loop_io *io, uint32_t events)
{
	struct loop *loop = io->loop;
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == sizeof(info))
		loop->signal_got((int)info.ssi_signo, loop->signal_arg);
}

int loop_signals(struct loop *loop, const sigset_t *set, void (*got)(int signo, void *arg),
		 void *arg)
{
	int fd, err;

	assert(!loop->signal_io.loop);
	fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (sigprocmask(SIG_BLOCK, set, &loop->old_mask) < 0) {
		err = -errno;
		goto err_close;
	}
	loop->signal_got = got;
	loop->signal_arg = arg;
	loop->signal_io.ready = signalfd_ready;
	err = loop_add(loop, &loop->signal_io, fd, EPOLLIN);
	if (err)
		goto err_mask;
	return 0;

err_mask:
	sigprocmask(SIG_SETMASK, &loop->old_mask, NULL);
err_close:
	close(fd);
	return err;
}

/* Life */

static struct loop *loop_make(bool manual)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int fd, err;

	if (!loop)
		return NULL;
	loop->manual = manual;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		goto err_free;
	if (manual)
		return loop;
	fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (fd < 0)
		goto err_epoll;
	loop->timer_io.ready = timerfd_ready;
	err = loop_add(loop, &loop->timer_io, fd, EPOLLIN);
	if (err) {
		errno = -err;
		goto err_timerfd;
	}
	return loop;

err_timerfd:
	close(fd);
err_epoll:
	close(loop->epoll_fd);
err_free:
	free(loop);
	return NULL;
}

struct loop *loop_new(void)
{
	return loop_make(false);
}

struct loop *loop_new_manual(void)
{
	return loop_make(true);
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	assert(loop->heap_len == 0);
	if (loop->signal_io.loop) {
		loop_close(&loop->signal_io);
		sigprocmask(SIG_SETMASK, &loop->old_mask, NULL);
	}
	loop_close(&loop->timer_io);
	close(loop->epoll_fd);
	free(loop->heap);
	free(loop);
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	int n = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batch_len = n;
	for (loop->batch_next = 0; loop->batch_next < loop->batch_len;) {
		struct epoll_event *event = &loop->batch[loop->batch_next++];
		struct loop_io *io = event->data.ptr;

		if (io)
			io->ready(io, event->events);
	}
	loop->batch_len = loop->batch_next = 0;
	return n;
}

int loop_run(struct loop *loop)
{
	int n = 0;

	loop->stop = false;
	while (!loop->stop && n >= 0)
		n = loop_run_once(loop, -1);
	return n < 0 ? n : 0;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}
