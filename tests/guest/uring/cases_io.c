// SPDX-License-Identifier: BSD-2-Clause
/* What operations carry: every form of sending and receiving, buffers of all kinds, chains. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <sivshmem.h>

#include "uring.h"

static int run_op(struct io_uring_sqe *sqe, struct op *op)
{
	op_is(sqe, op);
	return op_wait(op);
}

static int do_send(int fd, const void *buf, size_t len, int flags)
{
	struct io_uring_sqe *sqe = sqe_new();
	struct op op = { 0 };

	io_uring_prep_send(sqe, fd, buf, len, flags | MSG_NOSIGNAL);
	return run_op(sqe, &op);
}

static int do_recv(int fd, void *buf, size_t len, int flags)
{
	struct io_uring_sqe *sqe = sqe_new();
	struct op op = { 0 };

	io_uring_prep_recv(sqe, fd, buf, len, flags);
	return run_op(sqe, &op);
}

/* Each way to send and each way to receive, both ends of the pair in turn, through the echo. */
static void case_forms(const char *arg)
{
	enum { LEN = 3001, FORMS = 4 };
	int fd = order_at(MODE_ECHO, 0, 0), out, in, n, got;
	uint8_t *buf = memory(LEN), *back = memory(LEN);
	struct io_uring_sqe *sqe;
	struct op op = { 0 };

	(void)arg;
	for (out = 0; out < FORMS; out++)
		for (in = 0; in < FORMS; in++) {
			struct iovec v[2] = { { buf, 7 }, { buf + 7, LEN - 7 } };
			struct msghdr msg = { .msg_iov = v, .msg_iovlen = 2 };

			fill(buf, LEN, out * FORMS + in);
			sqe = sqe_new();
			if (out == 0)
				io_uring_prep_send(sqe, fd, buf, LEN, 0);
			else if (out == 1)
				io_uring_prep_sendmsg(sqe, fd, &msg, 0);
			else if (out == 2)
				io_uring_prep_write(sqe, fd, buf, LEN, 0);
			else
				io_uring_prep_writev(sqe, fd, v, 2, 0);
			CHECK(run_op(sqe, &op) == LEN);
			for (got = 0; got < LEN; got += n) {
				struct iovec w[2] = { { back + got, 1 },
						      { back + got + 1, LEN - got - 1 } };
				struct msghdr to = { .msg_iov = w, .msg_iovlen = 2 };

				sqe = sqe_new();
				if (in == 0)
					io_uring_prep_recv(sqe, fd, back + got, LEN - got, 0);
				else if (in == 1)
					io_uring_prep_recvmsg(sqe, fd, &to, 0);
				else if (in == 2)
					io_uring_prep_read(sqe, fd, back + got, LEN - got, 0);
				else
					io_uring_prep_readv(sqe, fd, w, 2, 0);
				n = run_op(sqe, &op);
				CHECK(n > 0);
			}
			CHECK(!memcmp(buf, back, LEN));
		}
	close(fd);
	free(buf);
	free(back);
}

/* MSG_WAITALL gathers until all is there, or the end is. */
static void case_waitall(const char *arg)
{
	const size_t len = 300000;
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_SOURCE, seed, len + 1000);
	struct stream *s = stream_new(seed);
	uint8_t *buf = memory(len);

	(void)arg;
	CHECK(do_recv(fd, buf, len, MSG_WAITALL) == (int)len);
	stream_check(s, buf, len);
	CHECK(do_recv(fd, buf, len, MSG_WAITALL) == 1000);
	stream_check(s, buf, 1000);
	CHECK(do_recv(fd, buf, len, MSG_WAITALL) == 0);
	close(fd);
	free(buf);
	free(s);
}

/* A send that is larger than the ring ends when the peer has read, with MSG_WAITALL all of it. */
static void case_send_waitall(const char *arg)
{
	const size_t len = 1 << 20;
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_STALL, seed, len);
	struct stream *s = stream_new(seed);
	uint8_t *buf = memory(len);
	struct io_uring_sqe *sqe = sqe_new();
	struct op op = { 0 };

	(void)arg;
	stream_fill(s, buf, len);
	io_uring_prep_send(sqe, fd, buf, len, MSG_WAITALL | MSG_NOSIGNAL);
	op_is(sqe, &op);
	ring_submit();
	round_trip_elsewhere();
	op_quiet(&op);
	go(seed);
	CHECK(op_wait(&op) == (int)len);
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
	free(buf);
	free(s);
}

/* Without MSG_WAITALL what fitted is sent, and none of it twice. */
static void case_send_partial(const char *arg)
{
	const size_t len = 1 << 20;
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_STALL, seed, len), n;
	struct stream *s = stream_new(seed);
	uint8_t *buf = memory(len);
	size_t sent;

	(void)arg;
	stream_fill(s, buf, len);
	n = do_send(fd, buf, len, 0);
	CHECK(n > 0 && n < (int)len);
	go(seed);
	for (sent = n; sent < len; sent += n) {
		n = do_send(fd, buf + sent, len - sent, 0);
		CHECK(n > 0);
	}
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
	free(buf);
	free(s);
}

/* MSG_DONTWAIT: what would wait is EAGAIN. */
static void case_dontwait(const char *arg)
{
	const size_t len = 1 << 20;
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_STALL, seed, 0), n;
	uint8_t *buf = memory(len);

	(void)arg;
	fill(buf, len, 1);
	CHECK(do_recv(fd, buf, 1, MSG_DONTWAIT) == -EAGAIN);
	n = do_send(fd, buf, len, MSG_DONTWAIT);
	CHECK(n > 0 && n < (int)len);
	CHECK(do_send(fd, buf, len, MSG_DONTWAIT) == -EAGAIN);
	go(seed);
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
	free(buf);
}

/* A ring of provided buffers. */
struct provided {
	struct io_uring_buf_ring *ring;
	uint8_t *base;
	unsigned int n, len;
};

static void provided_new(struct provided *p, unsigned int n, unsigned int len)
{
	struct io_uring_buf_reg reg = { .ring_entries = n, .bgid = 7 };
	unsigned int i;

	p->n = n;
	p->len = len;
	p->base = memory(n * len);
	p->ring = memory(n * sizeof(struct io_uring_buf));
	reg.ring_addr = (uintptr_t)p->ring;
	CHECK(!io_uring_register_buf_ring(&ring, &reg, 0));
	io_uring_buf_ring_init(p->ring);
	for (i = 0; i < n; i++)
		io_uring_buf_ring_add(p->ring, p->base + i * len, len, i, n - 1, i);
	io_uring_buf_ring_advance(p->ring, n);
}

static uint8_t *provided_of(const struct provided *p, unsigned int flags)
{
	CHECK(flags & IORING_CQE_F_BUFFER);
	return p->base + (flags >> IORING_CQE_BUFFER_SHIFT) * p->len;
}

static void provided_back(struct provided *p, unsigned int flags)
{
	unsigned int id = flags >> IORING_CQE_BUFFER_SHIFT;

	io_uring_buf_ring_add(p->ring, p->base + id * p->len, p->len, id, p->n - 1, 0);
	io_uring_buf_ring_advance(p->ring, 1);
}

static void provided_free(struct provided *p)
{
	CHECK(!io_uring_unregister_buf_ring(&ring, 7));
	free(p->ring);
	free(p->base);
}

static void queue_multishot(int fd, struct op *op)
{
	struct io_uring_sqe *sqe = sqe_new();

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 7;
	op->multi = true;
	op_is(sqe, op);
}

/* A buffer is chosen when there is something to receive; none left is ENOBUFS, and loses nothing. */
static void case_provided(const char *arg)
{
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_SOURCE, seed, 100), i;
	struct stream *s = stream_new(seed);
	struct io_uring_sqe *sqe;
	struct provided p;
	struct op op = { 0 };

	(void)arg;
	provided_new(&p, 2, 10);
	for (i = 0; i < 2; i++) {
		sqe = sqe_new();
		io_uring_prep_recv(sqe, fd, NULL, 10, MSG_WAITALL);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = 7;
		CHECK(run_op(sqe, &op) == 10);
		stream_check(s, provided_of(&p, op.flags[0]), 10);
	}
	sqe = sqe_new();
	io_uring_prep_recv(sqe, fd, NULL, 10, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 7;
	CHECK(run_op(sqe, &op) == -ENOBUFS);
	provided_back(&p, 0);
	sqe = sqe_new();
	io_uring_prep_recv(sqe, fd, NULL, 10, MSG_WAITALL);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 7;
	CHECK(run_op(sqe, &op) == 10);
	stream_check(s, provided_of(&p, op.flags[0]), 10);
	provided_free(&p);
	close(fd);
	free(s);
}

/*
 * One multishot receive brings a stream of 1 MiB, piece by piece, each in a buffer of its own; it is
 * queued again when the buffers had run out, and only then.
 */
static void case_multishot(const char *arg)
{
	const uint64_t bytes = 1 << 20, seed = fresh_seed();
	int fd = order_at(MODE_SOURCE, seed, bytes), i, empty = 0;
	struct stream *s = stream_new(seed);
	struct provided p;
	struct op op = { 0 };
	bool eof = false;

	(void)arg;
	provided_new(&p, 8, 4000);
	while (!eof) {
		queue_multishot(fd, &op);
		do
			op_wait(&op);
		while (!op_over(&op));
		for (i = 0; i < op.n; i++) {
			if (op.res[i] == -ENOBUFS) {
				CHECK(i == op.n - 1 && i == 8);
				empty++;
			} else if (!op.res[i]) {
				CHECK(i == op.n - 1);
				eof = true;
			} else {
				CHECK(op.res[i] > 0);
				stream_check(s, provided_of(&p, op.flags[i]), op.res[i]);
				provided_back(&p, op.flags[i]);
			}
		}
	}
	CHECK(s->pos == bytes && empty > 10);
	provided_free(&p);
	close(fd);
	free(s);
}

/* A multishot receive that sleeps is woken by each message, for as long as buffers come back. */
static void case_multishot_ping(const char *arg)
{
	int fd = order_at(MODE_ECHO, 0, 0), i, n, at;
	struct provided p;
	struct op op = { 0 };
	uint8_t buf[300];

	(void)arg;
	provided_new(&p, 4, 512);
	queue_multishot(fd, &op);
	for (i = 0; i < 500; i++) {
		fill(buf, sizeof(buf), i);
		write_all(fd, buf, sizeof(buf));
		for (at = 0; at < (int)sizeof(buf); at += n) {
			n = op_wait(&op);
			CHECK(n > 0 && !op_over(&op));
			CHECK(!memcmp(provided_of(&p, op.flags[op.n - 1]), buf + at, n));
			provided_back(&p, op.flags[op.n - 1]);
			op.n = 0; /* it goes on for longer than we keep */
		}
	}
	CHECK(!shutdown(fd, SHUT_WR));
	CHECK(!op_wait(&op) && op_over(&op));
	provided_free(&p);
	close(fd);
}

/* Each record is one completion, whatever lies behind it in the ring. */
static void case_records(const char *arg)
{
	int fd = siv_connect(url, SOCK_SEQPACKET), i, back = 0;
	static const int len[] = { 1, 500, 4000, 8, 7, 511, 64, 3 };
	enum { N = sizeof(len) / sizeof(len[0]) };
	struct io_uring_sqe *sqe;
	struct provided p;
	struct op op = { 0 }, sent[N] = { 0 };
	uint8_t buf[N][4000], check[4000];

	(void)arg;
	CHECK(fd >= 0);
	provided_new(&p, 16, 4096);
	queue_multishot(fd, &op);
	for (i = 0; i < N; i++) {
		fill(buf[i], len[i], i);
		sqe = sqe_new();
		io_uring_prep_send(sqe, fd, buf[i], len[i], 0);
		op_is(sqe, &sent[i]);
		CHECK(op_wait(&sent[i]) == len[i]);
	}
	while (op.n < N)
		op_wait(&op);
	for (back = 0; back < N; back++) {
		CHECK(op.res[back] == len[back]);
		fill(check, len[back], back);
		CHECK(!memcmp(provided_of(&p, op.flags[back]), check, len[back]));
	}
	CHECK(!shutdown(fd, SHUT_WR));
	CHECK(!op_wait(&op) && op_over(&op));
	provided_free(&p);
	close(fd);
}

/* A chain sends, receives the echo of it, sends that again; one that breaks takes the rest along. */
static void case_chain(const char *arg)
{
	int fd = order_at(MODE_ECHO, 0, 0);
	struct op op[4] = { 0 };
	struct io_uring_sqe *sqe;
	char buf[] = "chain!", one[8] = "", two[8] = "";

	(void)arg;
	sqe = sqe_new();
	io_uring_prep_send(sqe, fd, buf, 6, 0);
	op_is(sqe, &op[0]);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = sqe_new();
	io_uring_prep_recv(sqe, fd, one, 6, MSG_WAITALL);
	op_is(sqe, &op[1]);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = sqe_new();
	io_uring_prep_send(sqe, fd, one, 6, 0);
	op_is(sqe, &op[2]);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = sqe_new();
	io_uring_prep_recv(sqe, fd, two, 6, MSG_WAITALL);
	op_is(sqe, &op[3]);
	CHECK(op_wait(&op[3]) == 6);
	CHECK(op[0].res[0] == 6 && op[1].res[0] == 6 && op[2].res[0] == 6);
	CHECK(op[0].order < op[1].order && op[1].order < op[2].order);
	CHECK(!strcmp(two, buf));

	CHECK(!shutdown(fd, SHUT_WR));
	sqe = sqe_new();
	io_uring_prep_send(sqe, fd, buf, 6, MSG_NOSIGNAL);
	op_is(sqe, &op[0]);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = sqe_new();
	io_uring_prep_recv(sqe, fd, one, 6, 0);
	op_is(sqe, &op[1]);
	CHECK(op_wait(&op[1]) == -ECANCELED);
	CHECK(op[0].res[0] == -EPIPE);
	close(fd);
}

/* A receive whose linked time-out comes is cancelled, and takes nothing that comes later. */
static void case_link_timeout(const char *arg)
{
	struct __kernel_timespec ts = { .tv_nsec = 20000000 };
	int fd = order_at(MODE_ECHO, 0, 0), i;
	struct op got = { 0 }, timer = { 0 };
	struct io_uring_sqe *sqe;
	char c;

	(void)arg;
	for (i = 0; i < 5; i++) {
		sqe = sqe_new();
		io_uring_prep_recv(sqe, fd, &c, 1, 0);
		op_is(sqe, &got);
		sqe->flags |= IOSQE_IO_LINK;
		sqe = sqe_new();
		io_uring_prep_link_timeout(sqe, &ts, 0);
		op_is(sqe, &timer);
		sqe->flags &= ~IOSQE_ASYNC;
		op_wait(&got);
		/* a worker that sleeps in recvmsg() is interrupted */
		CHECK(got.res[0] == -ECANCELED ||
		      (ring_kind == RING_ASYNC && got.res[0] == -EINTR));
		if (!timer.n)
			op_wait(&timer);
		/* where the worker was quicker the timer was cancelled by its end */
		CHECK(timer.res[0] == -ETIME ||
		      (ring_kind == RING_ASYNC && timer.res[0] == -EALREADY));
		c = 'a' + i;
		CHECK(do_send(fd, &c, 1, 0) == 1);
		CHECK(do_recv(fd, &c, 1, 0) == 1 && c == 'a' + i);
	}
	/* and one that is quick enough cancels its time-out */
	CHECK(do_send(fd, &c, 1, 0) == 1);
	ts.tv_sec = 60;
	sqe = sqe_new();
	io_uring_prep_recv(sqe, fd, &c, 1, 0);
	op_is(sqe, &got);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = sqe_new();
	io_uring_prep_link_timeout(sqe, &ts, 0);
	op_is(sqe, &timer);
	sqe->flags &= ~IOSQE_ASYNC;
	CHECK(op_wait(&got) == 1);
	if (!timer.n)
		op_wait(&timer);
	CHECK(timer.res[0] == -ECANCELED);
	close(fd);
}

/* Registered descriptors stay when their number is closed, and the peer sees the end with them. */
static void case_registered(const char *arg)
{
	int fd = order_at(MODE_ECHO, 0, 0), none = -1;
	struct io_uring_sqe *sqe;
	struct op op = { 0 };
	char out[100], in[100];

	(void)arg;
	fill(out, sizeof(out), 5);
	CHECK(!io_uring_register_files(&ring, &fd, 1));
	close(fd);
	sqe = sqe_new();
	io_uring_prep_send(sqe, 0, out, sizeof(out), 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK(run_op(sqe, &op) == sizeof(out));
	sqe = sqe_new();
	io_uring_prep_recv(sqe, 0, in, sizeof(in), MSG_WAITALL);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK(run_op(sqe, &op) == sizeof(in) && !memcmp(in, out, sizeof(in)));
	sqe = sqe_new();
	io_uring_prep_shutdown(sqe, 0, SHUT_WR);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK(!run_op(sqe, &op));
	sqe = sqe_new();
	io_uring_prep_recv(sqe, 0, in, 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK(!run_op(sqe, &op));
	CHECK(io_uring_register_files_update(&ring, 0, &none, 1) == 1);
	sqe = sqe_new();
	io_uring_prep_send(sqe, 0, out, 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK(run_op(sqe, &op) == -EBADF);
	CHECK(!io_uring_unregister_files(&ring));
}

/* Socket to pipe and pipe to socket. */
static void case_splice(const char *arg)
{
	const uint64_t bytes = 200000, seed = fresh_seed(), seed_out = fresh_seed();
	int fd = order_at(MODE_SOURCE, seed, bytes), out = order_at(MODE_STALL, seed_out, 50000);
	struct stream *s = stream_new(seed), *so = stream_new(seed_out);
	struct io_uring_sqe *sqe;
	struct op op = { 0 };
	uint8_t *buf = memory(65536);
	size_t left;
	int p[2], n;

	(void)arg;
	CHECK(!pipe(p));
	for (;;) {
		sqe = sqe_new();
		io_uring_prep_splice(sqe, fd, -1, p[1], -1, 30000, 0);
		n = run_op(sqe, &op);
		CHECK(n >= 0);
		if (!n)
			break;
		CHECK(read(p[0], buf, 65536) == n);
		stream_check(s, buf, n);
	}
	CHECK(s->pos == bytes);
	go(seed_out);
	for (left = 50000; left;) {
		size_t put = left < 20000 ? left : 20000;

		stream_fill(so, buf, put);
		CHECK(write(p[1], buf, put) == (ssize_t)put);
		left -= put;
		while (put) {
			sqe = sqe_new();
			io_uring_prep_splice(sqe, p[0], -1, out, -1, put, 0);
			n = run_op(sqe, &op);
			CHECK(n > 0);
			put -= n;
		}
	}
	CHECK(!shutdown(out, SHUT_WR));
	expect_eof(out);
	close(out);
	close(fd);
	close(p[0]);
	close(p[1]);
	free(buf);
	free(s);
	free(so);
}

const struct uring_case io_cases[] = {
	{ "forms", case_forms, ALL_KINDS },
	{ "waitall", case_waitall, ALL_KINDS },
	{ "send-waitall", case_send_waitall, ALL_KINDS },
	{ "send-partial", case_send_partial, INLINE_KINDS },
	{ "dontwait", case_dontwait, ALL_KINDS },
	{ "provided", case_provided, ALL_KINDS },
	{ "multishot", case_multishot, INLINE_KINDS },
	{ "multishot-ping", case_multishot_ping, INLINE_KINDS },
	{ "records", case_records, INLINE_KINDS },
	{ "chain", case_chain, ALL_KINDS },
	{ "link-timeout", case_link_timeout, ALL_KINDS },
	{ "registered", case_registered, ALL_KINDS },
	{ "splice", case_splice, ALL_KINDS },
	{ 0 },
};
