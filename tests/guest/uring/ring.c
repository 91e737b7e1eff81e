// SPDX-License-Identifier: BSD-2-Clause
/* A ring, the book-keeping of its completions, and windows: what all cases use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sivshmem.h>

#include "uring.h"

#define WAIT_SECONDS 60

const char *const ring_names[RING_KINDS] = { "plain", "defer", "async", "sqpoll" };
struct io_uring ring;
enum ring_kind ring_kind;
static unsigned int completions;

void ring_start(enum ring_kind kind)
{
	static const unsigned int flags[RING_KINDS] = {
		[RING_DEFER] = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		[RING_SQPOLL] = IORING_SETUP_SQPOLL,
	};
	struct io_uring_params params = { .flags = flags[kind], .sq_thread_idle = 1 };
	int err = io_uring_queue_init_params(512, &ring, &params);

	if (err)
		die("io_uring_queue_init: %s", strerror(-err));
	ring_kind = kind;
	completions = 0;
}

struct io_uring_sqe *sqe_new(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	CHECK(sqe);
	return sqe;
}

void op_is(struct io_uring_sqe *sqe, struct op *op)
{
	const bool multi = op->multi;

	memset(op, 0, sizeof(*op));
	op->multi = multi;
	io_uring_sqe_set_data(sqe, op);
	if (ring_kind == RING_ASYNC)
		sqe->flags |= IOSQE_ASYNC;
}

static bool more(const struct op *op)
{
	return op->n && op->flags[op->n - 1] & IORING_CQE_F_MORE;
}

static void take(const struct io_uring_cqe *cqe)
{
	struct op *op = io_uring_cqe_get_data(cqe);

	if (!op)
		die("a completion of nothing: result %d, flags %#x", cqe->res, cqe->flags);
	op->order = ++completions;
	if (cqe->flags & IORING_CQE_F_NOTIF) {
		CHECK(!(cqe->flags & IORING_CQE_F_MORE));
		CHECK(more(op) && !op->multi);
		CHECK(!op->notifs++);
		return;
	}
	CHECK(op->n < RESULTS_MAX);
	CHECK(!op->n || (op->multi && more(op)));
	op->res[op->n] = cqe->res;
	op->flags[op->n++] = cqe->flags;
}

void ring_submit(void)
{
	int n = io_uring_submit(&ring);

	if (n < 0)
		die("io_uring_submit: %s", strerror(-n));
}

void ring_look(void)
{
	struct io_uring_cqe *cqe;
	int err = io_uring_submit_and_get_events(&ring);

	if (err < 0)
		die("io_uring_submit_and_get_events: %s", strerror(-err));
	while (!io_uring_peek_cqe(&ring, &cqe)) {
		take(cqe);
		io_uring_cqe_seen(&ring, cqe);
	}
}

static void wait_one(const char *what, const char *file, int line)
{
	struct __kernel_timespec ts = { .tv_sec = WAIT_SECONDS };
	struct io_uring_cqe *cqe;
	int err;

	ring_submit();
	do
		err = io_uring_wait_cqe_timeout(&ring, &cqe, &ts);
	while (err == -EINTR);
	if (err)
		die("%s:%d: no %s within %d s: %s", file, line, what, WAIT_SECONDS, strerror(-err));
	take(cqe);
	io_uring_cqe_seen(&ring, cqe);
}

void op_wait_any(void)
{
	wait_one("result", __FILE__, __LINE__);
}

int op_wait_at(struct op *op, const char *file, int line)
{
	const int n = op->n;

	while (op->n == n)
		wait_one("result", file, line);
	return op->res[n];
}

void op_wait_notif_at(struct op *op, const char *file, int line)
{
	while (!op->notifs)
		wait_one("second completion", file, line);
}

void op_wait_read(struct op *op, const struct window *w, uint64_t end)
{
	const struct siv_chan_page *peer = (const void *)w->ro;

	op_wait_notif(op);
	CHECK(__atomic_load_n(&peer->rx_pos, __ATOMIC_ACQUIRE) >= end);
}

void op_quiet(const struct op *op)
{
	ring_look();
	if (op->n)
		die("an operation that should be pending gave %d", op->res[0]);
}

bool op_over(const struct op *op)
{
	return op->n && (op->multi ? !more(op) : !more(op) || op->notifs);
}

void ring_stop(void)
{
	struct op nop = { 0 };
	struct io_uring_sqe *sqe = sqe_new();

	io_uring_prep_nop(sqe);
	op_is(sqe, &nop);
	op_wait(&nop);
	ring_look();
	io_uring_queue_exit(&ring);
}

int order_at(uint32_t mode, uint64_t seed, uint64_t bytes)
{
	struct order o = { .mode = mode, .seed = seed, .bytes = bytes };
	int fd = siv_connect(url, 0);

	if (fd < 0)
		die("connect %s: %s", url, strerror(-fd));
	write_all(fd, &o, sizeof(o));
	return fd;
}

uint64_t fresh_seed(void)
{
	static uint64_t n;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((uint64_t)getpid() << 44 ^ (uint64_t)t.tv_sec << 24 ^ t.tv_nsec) + n++;
}

/* The server has done it when this returns: it closes after it. */
void go(uint64_t seed)
{
	int fd = order_at(MODE_GO, seed, 0);

	expect_eof(fd);
	close(fd);
}

void round_trip_elsewhere(void)
{
	int fd = order_at(MODE_ECHO, 0, 0), i;
	char c = 'r';

	for (i = 0; i < 20; i++) {
		write_all(fd, &c, 1);
		read_all(fd, &c, 1);
	}
	close(fd);
}

void *memory(size_t len)
{
	void *p = aligned_alloc(4096, (len + 4095) & ~4095ul);

	CHECK(p);
	return p;
}

void fill(void *buf, size_t len, unsigned int seed)
{
	uint8_t *to = buf;
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = seed * 31 + i * 7 + (i >> 8);
}

static uint32_t option(int fd, int level, int name)
{
	uint32_t value;
	socklen_t len = sizeof(value);

	CHECK(!getsockopt(fd, level, name, &value, &len));
	return value;
}

/* @pos: what was sent before. */
void window_map(struct window *w, int fd, uint64_t pos)
{
	w->fd = fd;
	w->pos = pos;
	w->record = option(fd, SOL_SOCKET, SO_TYPE) == SOCK_SEQPACKET;
	w->size = option(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE);
	w->rx_size = option(fd, SOL_SIVSHMEM, SIVSHMEM_RX_SIZE);
	w->base = mmap(NULL, 2 * w->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, SIV_MMAP_TX);
	if (w->base == MAP_FAILED)
		die("mmap of the transmit window: %s", strerror(errno));
	w->ro = mmap(NULL, SIV_PAGE_SIZE + 2 * w->rx_size, PROT_READ, MAP_SHARED, fd, SIV_MMAP_RO);
	if (w->ro == MAP_FAILED)
		die("mmap of the receive window: %s", strerror(errno));
}

uint8_t *window_at(const struct window *w)
{
	return w->base + (w->pos & (w->size - 1)) + (w->record ? sizeof(struct siv_record) : 0);
}

static uint64_t span(const struct window *w, size_t len)
{
	return w->record ? sizeof(struct siv_record) + ((len + 7) & ~7ul) : len;
}

void window_sent(struct window *w, size_t len)
{
	w->pos += span(w, len);
}

void window_await_room(const struct window *w, size_t len)
{
	struct siv_wait wait = {
		.space = w->pos + span(w, len) - w->size,
		.deadline_ns = -1,
		.what = SIV_WAIT_SPACE,
	};

	if ((int64_t)wait.space > 0)
		CHECK(!ioctl(w->fd, SIV_IOC_WAIT, &wait));
}

void window_unmap(struct window *w)
{
	CHECK(!munmap(w->base, 2 * w->size));
	CHECK(!munmap((void *)w->ro, SIV_PAGE_SIZE + 2 * w->rx_size));
}
