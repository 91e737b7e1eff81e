// SPDX-License-Identifier: BSD-2-Clause
/* What waits and how that ends: cancelling, poll, connecting, shutting down, closing, resets. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>

#include "uring.h"

static int run_op(struct io_uring_sqe *sqe, struct op *op)
{
	op_is(sqe, op);
	return op_wait(op);
}

static void queue_recv(int fd, void *buf, size_t len, struct op *op)
{
	struct io_uring_sqe *sqe = sqe_new();

	io_uring_prep_recv(sqe, fd, buf, len, 0);
	op_is(sqe, op);
}

static void queue_poll(int fd, short events, struct op *op)
{
	struct io_uring_sqe *sqe = sqe_new();

	if (op->multi)
		io_uring_prep_poll_multishot(sqe, fd, events);
	else
		io_uring_prep_poll_add(sqe, fd, events);
	op_is(sqe, op);
}

/* Not by a worker: of a poll that one cancels or removes 6.1 loses the completion, on any file. */
static int run_inline(struct io_uring_sqe *sqe)
{
	struct op op = { 0 };

	op_is(sqe, &op);
	sqe->flags &= ~IOSQE_ASYNC;
	return op_wait(&op);
}

static int cancel(struct op *target)
{
	struct io_uring_sqe *sqe = sqe_new();

	io_uring_prep_cancel(sqe, target, 0);
	return run_inline(sqe);
}

static void echo_works(int fd)
{
	char c = 'e';

	write_all(fd, &c, 1);
	c = 0;
	read_all(fd, &c, 1);
	CHECK(c == 'e');
}

/* A pending receive and a pending poll are cancelled, and take nothing that comes later. */
static void case_cancel(const char *arg)
{
	int fd = order_at(MODE_ECHO, 0, 0), res, i;
	struct op got = { 0 }, seen = { 0 };
	char c;

	(void)arg;
	for (i = 0; i < 20; i++) {
		queue_recv(fd, &c, 1, &got);
		queue_poll(fd, POLLIN, &seen);
		ring_submit();
		if (!i)
			round_trip_elsewhere();
		op_quiet(&got);
		op_quiet(&seen);
		/*
		 * A worker in the middle of the call is interrupted, and "being tried" is EALREADY: if
		 * it was about to wait by a poll instead, nothing came of it, and it is asked again.
		 */
		do
			res = cancel(&got);
		while (ring_kind == RING_ASYNC && !got.n && (res == -ENOENT || res == -EALREADY));
		CHECK(!res || (ring_kind == RING_ASYNC && got.n));
		if (!got.n)
			op_wait(&got);
		CHECK(got.res[0] == -ECANCELED ||
		      (ring_kind == RING_ASYNC && got.res[0] == -EINTR));
		/* a poll that a worker has not armed yet is not there yet, or is "being tried" */
		do
			res = cancel(&seen);
		while (ring_kind == RING_ASYNC && !seen.n && (res == -ENOENT || res == -EALREADY));
		CHECK(!res || (ring_kind == RING_ASYNC && seen.n));
		if (!seen.n)
			op_wait(&seen);
		CHECK(seen.res[0] == -ECANCELED);
		echo_works(fd);
	}
	CHECK(cancel(&got) == -ENOENT);
	close(fd);
}

/* IORING_ASYNC_CANCEL_FD | ALL ends everything that waits for one socket, and nothing of another. */
static void case_cancel_all(const char *arg)
{
	int fd = order_at(MODE_ECHO, 0, 0), other = order_at(MODE_ECHO, 0, 0), i;
	struct op got[4] = { 0 }, kept = { 0 }, op = { 0 };
	struct io_uring_sqe *sqe;
	char buf[5];

	(void)arg;
	for (i = 0; i < 4; i++)
		queue_recv(fd, &buf[i], 1, &got[i]);
	queue_recv(other, &buf[4], 1, &kept);
	ring_submit();
	op_quiet(&got[0]);
	sqe = sqe_new();
	io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
	CHECK(run_op(sqe, &op) == 4);
	for (i = 0; i < 4; i++) {
		if (!got[i].n)
			op_wait(&got[i]);
		CHECK(got[i].res[0] == -ECANCELED);
	}
	op_quiet(&kept);
	echo_works(fd);
	write_all(other, "k", 1);
	CHECK(op_wait(&kept) == 1 && buf[4] == 'k');
	close(fd);
	close(other);
}

/* A multishot receive that is cancelled ends with one last completion. */
static void case_cancel_multishot(const char *arg)
{
	struct io_uring_buf_reg reg = { .ring_entries = 2, .bgid = 9 };
	struct io_uring_buf_ring *br = memory(4096);
	int fd = order_at(MODE_ECHO, 0, 0);
	struct op op = { .multi = true };
	struct io_uring_sqe *sqe;
	char buf[2][16];
	int i;

	(void)arg;
	reg.ring_addr = (uintptr_t)br;
	CHECK(!io_uring_register_buf_ring(&ring, &reg, 0));
	io_uring_buf_ring_init(br);
	for (i = 0; i < 2; i++)
		io_uring_buf_ring_add(br, buf[i], sizeof(buf[i]), i, 1, i);
	io_uring_buf_ring_advance(br, 2);
	sqe = sqe_new();
	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 9;
	op_is(sqe, &op);
	write_all(fd, "x", 1);
	CHECK(op_wait(&op) == 1 && !op_over(&op));
	CHECK(!cancel(&op));
	while (!op_over(&op))
		op_wait(&op);
	CHECK(op.n == 2 && op.res[1] == -ECANCELED);
	echo_works(fd);
	CHECK(!io_uring_unregister_buf_ring(&ring, 9));
	close(fd);
	free(br);
}

/* poll: what is there is told at once, what comes when it comes, the end with its bits. */
static void case_poll(const char *arg)
{
	int fd = order_at(MODE_ECHO, 0, 0), removed = order_at(MODE_ECHO, 0, 0);
	struct op in = { 0 }, out = { 0 }, end = { 0 };
	struct io_uring_sqe *sqe;
	char c = 'p';

	(void)arg;
	queue_poll(fd, POLLIN, &in);
	queue_poll(fd, POLLOUT, &out);
	queue_poll(fd, POLLRDHUP, &end);
	op_wait(&out);
	CHECK(out.res[0] & POLLOUT);
	op_quiet(&in);
	op_quiet(&end);
	write_all(fd, &c, 1);
	CHECK(op_wait(&in) & POLLIN);
	read_all(fd, &c, 1);
	op_quiet(&end);
	CHECK(!shutdown(fd, SHUT_WR));
	CHECK(op_wait(&end) & POLLRDHUP);
	/* both directions are over: told to those who ask for nothing */
	queue_poll(fd, 0, &end);
	CHECK(op_wait(&end) & POLLHUP);

	sqe = sqe_new(); /* inline, as its removal */
	io_uring_prep_poll_add(sqe, removed, POLLIN);
	op_is(sqe, &in);
	sqe->flags &= ~IOSQE_ASYNC;
	op_quiet(&in);
	sqe = sqe_new();
	io_uring_prep_poll_remove(sqe, (uintptr_t)&in);
	CHECK(!run_inline(sqe));
	if (!in.n)
		op_wait(&in);
	CHECK(in.res[0] == -ECANCELED);
	close(removed);
	close(fd);
}

/* A multishot poll tells of each arrival, and of the end. */
static void case_poll_multishot(const char *arg)
{
	int fd = order_at(MODE_ECHO, 0, 0), i;
	struct op op = { .multi = true };
	char c = 'm';

	(void)arg;
	queue_poll(fd, POLLIN | POLLRDHUP, &op);
	ring_submit();
	op_quiet(&op);
	for (i = 0; i < 30; i++) {
		write_all(fd, &c, 1);
		CHECK(op_wait(&op) & POLLIN && !op_over(&op));
		read_all(fd, &c, 1);
	}
	CHECK(!shutdown(fd, SHUT_WR));
	do
		op_wait(&op);
	while (!(op.res[op.n - 1] & POLLRDHUP));
	if (!op_over(&op)) {
		CHECK(!cancel(&op));
		while (!op_over(&op))
			op_wait(&op);
	}
	close(fd);
}

/* A socket's whole life on the ring: made, connected, used, shut down, closed. */
static void case_life(const char *arg)
{
	struct sockaddr_sivshmem addr;
	struct order o = { .mode = MODE_ECHO };
	struct io_uring_sqe *sqe;
	struct op op = { 0 };
	char out[700], in[700];
	int fd;

	(void)arg;
	CHECK(!siv_addr_parse(url, &addr));
	sqe = sqe_new();
	io_uring_prep_socket(sqe, siv_family(), SOCK_STREAM, 0, 0);
	fd = run_op(sqe, &op);
	CHECK(fd >= 0);
	sqe = sqe_new();
	io_uring_prep_connect(sqe, fd, (struct sockaddr *)&addr, sizeof(addr));
	CHECK(!run_op(sqe, &op));
	sqe = sqe_new();
	io_uring_prep_connect(sqe, fd, (struct sockaddr *)&addr, sizeof(addr));
	CHECK(run_op(sqe, &op) == -EISCONN);
	write_all(fd, &o, sizeof(o));
	fill(out, sizeof(out), 3);
	sqe = sqe_new();
	io_uring_prep_send(sqe, fd, out, sizeof(out), 0);
	CHECK(run_op(sqe, &op) == sizeof(out));
	sqe = sqe_new();
	io_uring_prep_recv(sqe, fd, in, sizeof(in), MSG_WAITALL);
	CHECK(run_op(sqe, &op) == sizeof(in) && !memcmp(in, out, sizeof(in)));
	sqe = sqe_new();
	io_uring_prep_shutdown(sqe, fd, SHUT_WR);
	CHECK(!run_op(sqe, &op));
	sqe = sqe_new();
	io_uring_prep_recv(sqe, fd, in, 1, 0);
	CHECK(!run_op(sqe, &op));
	sqe = sqe_new();
	io_uring_prep_close(sqe, fd);
	CHECK(!run_op(sqe, &op));
	CHECK_ERRNO(fcntl(fd, F_GETFD), EBADF);
}

/* connect() to a service that nobody is, and to a name that is none. */
static void case_connect_fails(const char *arg)
{
	struct sockaddr_sivshmem addr;
	struct io_uring_sqe *sqe;
	struct op op = { 0 };
	int fd = socket(siv_family(), SOCK_STREAM, 0);

	CHECK(fd >= 0 && arg);
	CHECK(!siv_addr_parse(url, &addr));
	strcpy(addr.ssiv_service, "-");
	sqe = sqe_new();
	io_uring_prep_connect(sqe, fd, (struct sockaddr *)&addr, sizeof(addr));
	CHECK(run_op(sqe, &op) == -EINVAL);
	CHECK(!siv_addr_parse(url, &addr));
	strcpy(addr.ssiv_service, "nobody-is-this");
	sqe = sqe_new();
	io_uring_prep_connect(sqe, fd, (struct sockaddr *)&addr, sizeof(addr));
	if (run_op(sqe, &op) != -atoi(arg))
		die("connect to nobody: %d, should be -%s", op.res[0], arg);
	close(fd);
}

/* A connect under way is cancelled; the socket closes, and the attempt with it. */
static void case_cancel_connect(const char *arg)
{
	struct sockaddr_sivshmem addr;
	struct op op = { 0 }, cancelled = { 0 };
	struct io_uring_sqe *sqe;
	int fd, i;

	(void)arg;
	CHECK(!siv_addr_parse(url, &addr));
	for (i = 0; i < 20; i++) {
		fd = socket(siv_family(), SOCK_STREAM, 0);
		CHECK(fd >= 0);
		sqe = sqe_new();
		io_uring_prep_connect(sqe, fd, (struct sockaddr *)&addr, sizeof(addr));
		op_is(sqe, &op);
		sqe = sqe_new();
		io_uring_prep_cancel(sqe, &op, 0);
		op_is(sqe, &cancelled);
		op_wait(&cancelled);
		if (!op.n)
			op_wait(&op);
		/* unless it was quicker, or an interrupted worker found it so */
		if (cancelled.res[0] == -ENOENT)
			CHECK(!op.res[0]);
		else if (cancelled.res[0] != -EALREADY)
			CHECK(!cancelled.res[0] && op.res[0] == -ECANCELED);
		close(fd);
	}
}

/* The peer closes with bytes unread: everything that waits ends, each with what is true of it. */
static void case_reset(const char *arg)
{
	int fd = order_at(MODE_ABORT, 0, 0), i;
	const size_t len = 1 << 20;
	uint8_t *buf = memory(len);
	struct op got = { 0 }, again = { 0 }, seen = { 0 }, sent = { 0 };
	struct io_uring_sqe *sqe;
	char c, d;

	(void)arg;
	fill(buf, len, 0);
	queue_poll(fd, 0, &seen);
	queue_recv(fd, &c, 1, &got);
	ring_submit();
	op_quiet(&got);
	op_quiet(&seen);
	sqe = sqe_new();
	io_uring_prep_send(sqe, fd, buf, len, MSG_WAITALL | MSG_NOSIGNAL);
	op_is(sqe, &sent);
	op_wait(&sent);
	if (!got.n)
		op_wait(&got);
	if (!seen.n)
		op_wait(&seen);
	CHECK(seen.res[0] & POLLHUP);
	/* told once: to whom comes first, then the end and EPIPE */
	CHECK(got.res[0] == -ECONNRESET || !got.res[0]);
	CHECK((sent.res[0] > 0 && sent.res[0] < (int)len) || sent.res[0] == -EPIPE ||
	      sent.res[0] == -ECONNRESET);
	for (i = 0; i < 2; i++) {
		queue_recv(fd, &d, 1, &again);
		op_wait(&again);
		CHECK(!again.res[0] || (again.res[0] == -ECONNRESET && !i && !got.res[0]));
	}
	sqe = sqe_new();
	io_uring_prep_send(sqe, fd, buf, 1, MSG_NOSIGNAL);
	CHECK(run_op(sqe, &sent) == -EPIPE);
	close(fd);
	free(buf);
}

struct crowd {
	int fd, event;
	atomic_bool stop;
};

static void *crowd_sends(void *arg)
{
	struct crowd *crowd = arg;
	char *buf = memory(65536);

	memset(buf, 0, 65536);
	while (!crowd->stop)
		write_all(crowd->fd, buf, 65536);
	free(buf);
	return NULL;
}

static void *crowd_events(void *arg)
{
	struct crowd *crowd = arg;

	while (!crowd->stop)
		CHECK(!eventfd_write(crowd->event, 1));
	return NULL;
}

/*
 * Completions that arrive while an operation waits for its turn on the socket do not interrupt it:
 * two threads send, and a third makes events for the ring of one of them all the time.
 */
static void case_crowd(const char *arg)
{
	const int rounds = arg ? atoi(arg) : 3000;
	struct crowd crowd = { .fd = order_at(MODE_REPLY, 0, 0), .event = eventfd(0, 0) };
	struct op events = { .multi = true }, sent = { 0 };
	char *buf = memory(65536);
	struct io_uring_sqe *sqe;
	pthread_t sender, noise;
	int i;

	memset(buf, 0, 65536);
	CHECK(crowd.event >= 0);
	queue_poll(crowd.event, POLLIN, &events);
	ring_submit();
	CHECK(!pthread_create(&sender, NULL, crowd_sends, &crowd));
	CHECK(!pthread_create(&noise, NULL, crowd_events, &crowd));
	for (i = 0; i < rounds; i++) {
		sqe = sqe_new();
		io_uring_prep_send(sqe, crowd.fd, buf, 65536, MSG_NOSIGNAL);
		op_is(sqe, &sent);
		while (!sent.n) {
			op_wait_any();
			if (op_over(&events)) /* io_uring may end it when too many come */
				queue_poll(crowd.event, POLLIN, &events);
			else
				events.n = 0; /* it goes on for longer than we keep */
		}
		if (sent.res[0] <= 0)
			die("send %d: %d", i, sent.res[0]);
	}
	crowd.stop = true;
	pthread_join(sender, NULL);
	pthread_join(noise, NULL);
	sqe = sqe_new();
	io_uring_prep_cancel(sqe, &events, 0);
	op_is(sqe, &sent);
	while (!sent.n || !op_over(&events)) {
		op_wait_any();
		if (!op_over(&events))
			events.n = 0;
	}
	CHECK(!shutdown(crowd.fd, SHUT_WR));
	expect_eof(crowd.fd);
	close(crowd.fd);
	close(crowd.event);
	free(buf);
}

/*
 * Reset from outside, of a peer that says nothing: prints "waiting", then what the operations say.
 * The suite ends the link meanwhile.
 */
static void case_link_lost(const char *arg)
{
	struct op got = { 0 }, seen = { 0 }, sent = { 0 }, op = { 0 };
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_STALL, seed, 1);
	const size_t len = 1 << 20;
	uint8_t *buf = memory(len);
	struct io_uring_sqe *sqe;
	struct window w;
	char c;

	(void)arg;
	fill(buf, len, 0);
	window_map(&w, fd, sizeof(struct order));
	sqe = sqe_new();
	io_uring_prep_send_zc(sqe, fd, window_at(&w), 100, MSG_NOSIGNAL, 0);
	op_is(sqe, &op);
	CHECK(op_wait(&op) == 100);
	queue_recv(fd, &c, 1, &got);
	queue_poll(fd, POLLIN, &seen);
	sqe = sqe_new();
	io_uring_prep_send(sqe, fd, buf, len, MSG_WAITALL | MSG_NOSIGNAL);
	op_is(sqe, &sent);
	ring_submit();
	op_quiet(&got);
	CHECK(!op.notifs);
	puts("waiting");
	if (!got.n)
		op_wait(&got);
	CHECK(got.res[0] == -ECONNRESET);
	if (!seen.n)
		op_wait(&seen);
	CHECK(seen.res[0] & POLLHUP);
	if (!sent.n)
		op_wait(&sent);
	CHECK((sent.res[0] > 0 && sent.res[0] < (int)len) || sent.res[0] == -ECONNRESET);
	op_wait_notif(&op);
	window_unmap(&w);
	close(fd);
	free(buf);
}

const struct uring_case end_cases[] = {
	{ "cancel", case_cancel, ALL_KINDS },
	{ "cancel-all", case_cancel_all, INLINE_KINDS },
	{ "cancel-multishot", case_cancel_multishot, INLINE_KINDS },
	{ "poll", case_poll, ALL_KINDS },
	{ "poll-multishot", case_poll_multishot, INLINE_KINDS },
	{ "life", case_life, ALL_KINDS },
	{ "connect-fails", case_connect_fails, ALL_KINDS },
	{ "cancel-connect", case_cancel_connect, ALL_KINDS },
	{ "reset", case_reset, ALL_KINDS },
	{ "crowd", case_crowd, INLINE_KINDS },
	{ "link-lost", case_link_lost, 1 << RING_DEFER },
	{ 0 },
};
