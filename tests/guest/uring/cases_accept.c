// SPDX-License-Identifier: BSD-2-Clause
/* Listeners on a ring. The URL is that of a service that the case itself is: nobody else may be. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>

#include "uring.h"

static int listener;

static void listen_now(void)
{
	listener = siv_listen(url, 64, 0);
	if (listener < 0)
		die("listen %s: %s", url, strerror(-listener));
}

static void run_nop(void)
{
	struct io_uring_sqe *sqe = sqe_new();
	struct op op = { 0 };

	io_uring_prep_nop(sqe);
	op_is(sqe, &op);
	op_wait(&op);
}

/* A client's byte says which it is. */
static int client(char id)
{
	int fd = siv_connect(url, 0);

	if (fd < 0)
		die("connect: %s", strerror(-fd));
	write_all(fd, &id, 1);
	return fd;
}

static int cancel(struct op *target)
{
	struct io_uring_sqe *sqe = sqe_new();
	struct op op = { 0 };

	io_uring_prep_cancel(sqe, target, 0);
	op_is(sqe, &op);
	return op_wait(&op);
}

/* accept waits, gives the peer's address, and sets the flags that it is told. */
static void case_accept(const char *arg)
{
	struct sockaddr_sivshmem peer = { 0 };
	socklen_t len = sizeof(peer);
	struct io_uring_sqe *sqe;
	struct op op = { 0 };
	int fd;
	char c;

	(void)arg;
	listen_now();
	sqe = sqe_new();
	io_uring_prep_accept(sqe, listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
	op_is(sqe, &op);
	ring_submit();
	op_quiet(&op);
	fd = client('a');
	CHECK(op_wait(&op) >= 0);
	CHECK(len == sizeof(peer) && peer.ssiv_family == siv_family() && peer.ssiv_vm[0]);
	read_all(op.res[0], &c, 1);
	CHECK(c == 'a');
	close(op.res[0]);
	close(fd);
	close(listener);
}

/* One multishot accept takes many, each with a descriptor of its own, until it is cancelled. */
static void case_multishot(const char *arg)
{
	enum { N = 40 };
	struct op op = { .multi = true };
	struct io_uring_sqe *sqe;
	int fd[N], i;
	char c;

	(void)arg;
	listen_now();
	sqe = sqe_new();
	io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
	op_is(sqe, &op);
	ring_submit();
	op_quiet(&op);
	for (i = 0; i < N; i++) {
		fd[i] = client('A' + i);
		if (i % 3) /* some come one by one, some together */
			while (op.n <= i)
				op_wait(&op);
	}
	while (op.n < N)
		op_wait(&op);
	for (i = 0; i < N; i++) {
		CHECK(op.res[i] >= 0 && op.flags[i] & IORING_CQE_F_MORE);
		read_all(op.res[i], &c, 1);
		CHECK(c == 'A' + i);
		close(op.res[i]);
		close(fd[i]);
	}
	CHECK(!cancel(&op));
	while (!op_over(&op))
		op_wait(&op);
	CHECK(op.n == N + 1 && op.res[N] == -ECANCELED);
	close(listener);
}

/* Into the ring's own table: a connection that never has a number. */
static void case_direct(const char *arg)
{
	struct op op = { .multi = true }, io = { 0 };
	struct io_uring_sqe *sqe;
	int fd[3], i;
	char c;

	(void)arg;
	listen_now();
	CHECK(!io_uring_register_files_sparse(&ring, 3));
	sqe = sqe_new();
	io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
	op_is(sqe, &op);
	for (i = 0; i < 3; i++) {
		fd[i] = client('a' + i);
		CHECK(op_wait(&op) >= 0);
		sqe = sqe_new();
		io_uring_prep_recv(sqe, op.res[i], &c, 1, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
		op_is(sqe, &io);
		CHECK(op_wait(&io) == 1 && c == 'a' + i);
	}
	/* the table is full: the connection is lost, and the accept ends */
	i = siv_connect(url, 0);
	CHECK(i >= 0);
	CHECK(op_wait(&op) == -ENFILE && op_over(&op));
	close(i);
	for (i = 0; i < 3; i++) {
		sqe = sqe_new();
		io_uring_prep_close_direct(sqe, op.res[i]);
		op_is(sqe, &io);
		CHECK(!op_wait(&io));
		expect_eof(fd[i]); /* the last reference was the table's */
		close(fd[i]);
	}
	CHECK(!io_uring_unregister_files(&ring));
	close(listener);
}

/* A pending accept is cancelled and takes no connection; one that is there goes to the next. */
static void case_cancel(const char *arg)
{
	struct io_uring_sqe *sqe;
	struct op op = { 0 };
	int fd, res;
	char c;

	(void)arg;
	listen_now();
	sqe = sqe_new();
	io_uring_prep_accept(sqe, listener, NULL, NULL, 0);
	op_is(sqe, &op);
	ring_submit();
	run_nop();
	op_quiet(&op);
	res = cancel(&op);
	if (!op.n)
		op_wait(&op);
	CHECK(!res || (ring_kind == RING_ASYNC && res == -EALREADY));
	CHECK(op.res[0] == -ECANCELED || (ring_kind == RING_ASYNC && op.res[0] == -EINTR));
	fd = client('c');
	sqe = sqe_new();
	io_uring_prep_accept(sqe, listener, NULL, NULL, 0);
	op_is(sqe, &op);
	CHECK(op_wait(&op) >= 0);
	read_all(op.res[0], &c, 1);
	CHECK(c == 'c');
	close(op.res[0]);
	close(fd);
	close(listener);
}

/* shutdown() of the listener ends accepts that wait: one shot, and multishot. */
static void case_shutdown(const char *arg)
{
	struct op one = { 0 }, many = { .multi = true }, op = { 0 };
	struct io_uring_sqe *sqe;

	(void)arg;
	listen_now();
	sqe = sqe_new();
	io_uring_prep_accept(sqe, listener, NULL, NULL, 0);
	op_is(sqe, &one);
	if (ring_kind != RING_ASYNC) {
		sqe = sqe_new();
		io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
		op_is(sqe, &many);
	}
	ring_submit();
	op_quiet(&one);
	op_quiet(&many);
	sqe = sqe_new();
	io_uring_prep_shutdown(sqe, listener, SHUT_RD);
	op_is(sqe, &op);
	CHECK(!op_wait(&op));
	if (!one.n)
		op_wait(&one);
	CHECK(one.res[0] == -EINVAL);
	if (ring_kind != RING_ASYNC) {
		if (!many.n)
			op_wait(&many);
		CHECK(many.res[0] == -EINVAL && op_over(&many));
	}
	close(listener);
}

const struct uring_case accept_cases[] = {
	{ "accept", case_accept, ALL_KINDS },
	{ "accept-multishot", case_multishot, INLINE_KINDS },
	{ "accept-direct", case_direct, INLINE_KINDS },
	{ "accept-cancel", case_cancel, ALL_KINDS },
	{ "accept-shutdown", case_shutdown, ALL_KINDS },
	{ 0 },
};
