// SPDX-License-Identifier: BSD-2-Clause
/*
 * How second completions end where the peer does not read: each of the ways, and processes that go
 * meanwhile. Exactly once each, and within zc_seconds whatever happens.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sivshmem.h>

#include "uring.h"

enum { PIECES = 3, LEN = 500 };

struct open_sends {
	struct window w;
	struct op op[PIECES];
	int fd;
	uint64_t seed;
};

/* A peer that does not read yet, and what was sent to it in place. */
static void open_sends(struct open_sends *o, uint32_t mode)
{
	struct io_uring_sqe *sqe;
	struct stream *s;
	int i;

	memset(o, 0, sizeof(*o));
	o->seed = fresh_seed();
	o->fd = order_at(mode, o->seed, PIECES * LEN);
	s = stream_new(o->seed);
	window_map(&o->w, o->fd, sizeof(struct order));
	for (i = 0; i < PIECES; i++) {
		stream_fill(s, window_at(&o->w), LEN);
		sqe = sqe_new();
		io_uring_prep_send_zc(sqe, o->fd, window_at(&o->w), LEN, MSG_NOSIGNAL, 0);
		op_is(sqe, &o->op[i]);
		CHECK(op_wait(&o->op[i]) == LEN);
		window_sent(&o->w, LEN);
	}
	round_trip_elsewhere();
	ring_look();
	for (i = 0; i < PIECES; i++)
		CHECK(!o->op[i].notifs);
	free(s);
}

static void all_end(struct open_sends *o)
{
	int i;

	for (i = 0; i < PIECES; i++)
		op_wait_notif(&o->op[i]);
}

static void close_sends(struct open_sends *o)
{
	window_unmap(&o->w);
	close(o->fd);
}

/* What shutdown() leaves in the ring is still read. */
static void case_shutdown(const char *arg)
{
	struct open_sends o;
	struct io_uring_sqe *sqe;
	struct op op = { 0 };

	(void)arg;
	open_sends(&o, MODE_STALL);
	sqe = sqe_new();
	io_uring_prep_shutdown(sqe, o.fd, SHUT_WR);
	op_is(sqe, &op);
	CHECK(!op_wait(&op));
	all_end(&o);
	go(o.seed);
	expect_eof(o.fd);
	close_sends(&o);
}

static void case_peer_shut_rd(const char *arg)
{
	struct io_uring_sqe *sqe;
	struct open_sends o;
	struct op op = { 0 };

	(void)arg;
	open_sends(&o, MODE_STALL_SHUT_RD);
	go(o.seed);
	all_end(&o);
	/* and a send that fails has both completions too */
	sqe = sqe_new();
	io_uring_prep_send_zc(sqe, o.fd, window_at(&o.w), LEN, MSG_NOSIGNAL, 0);
	op_is(sqe, &op);
	CHECK(op_wait(&op) == -EPIPE);
	if (op.flags[0] & IORING_CQE_F_MORE)
		op_wait_notif(&op);
	close_sends(&o);
}

/* The peer closes with everything unread. */
static void case_reset(const char *arg)
{
	struct io_uring_sqe *sqe;
	struct open_sends o;
	struct op got = { 0 };
	char c;

	(void)arg;
	open_sends(&o, MODE_STALL_ABORT);
	go(o.seed);
	all_end(&o);
	sqe = sqe_new();
	io_uring_prep_recv(sqe, o.fd, &c, 1, 0);
	op_is(sqe, &got);
	CHECK(op_wait(&got) == -ECONNRESET);
	close_sends(&o);
}

/* close() of the last descriptor, with the window unmapped. */
static void case_close(const char *arg)
{
	struct open_sends o;

	(void)arg;
	open_sends(&o, MODE_STALL);
	close_sends(&o);
	all_end(&o);
	go(o.seed);
}

/* The module's zc_seconds (the suite has set it) end what the peer does not read; it reads later. */
static void case_time_out(const char *arg)
{
	struct open_sends o;

	(void)arg;
	open_sends(&o, MODE_STALL);
	all_end(&o);
	go(o.seed);
	CHECK(!shutdown(o.fd, SHUT_WR));
	expect_eof(o.fd);
	close_sends(&o);
}

/* A send after shutdown(): EPIPE. */
static void case_epipe(const char *arg)
{
	int fd = order_at(MODE_ECHO, 0, 0);
	struct io_uring_sqe *sqe;
	struct window w;
	struct op op = { 0 };

	(void)arg;
	window_map(&w, fd, sizeof(struct order));
	CHECK(!shutdown(fd, SHUT_WR));
	sqe = sqe_new();
	io_uring_prep_send_zc(sqe, fd, window_at(&w), LEN, MSG_NOSIGNAL, 0);
	op_is(sqe, &op);
	CHECK(op_wait(&op) == -EPIPE);
	if (op.flags[0] & IORING_CQE_F_MORE)
		op_wait_notif(&op);
	expect_eof(fd);
	window_unmap(&w);
	close(fd);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/*
 * A child that goes while its sends are open, by @how, or by SIGKILL. Its
 * socket is inherited by nobody: the process must really end.
 */
static void child(void (*how)(void), bool abrupt)
{
	uint64_t seeds[2];
	struct open_sends o;
	int kind, status, p[2];
	double start;
	pid_t pid;

	for (kind = 0; kind < RING_KINDS; kind++) {
		CHECK(!pipe2(p, O_CLOEXEC));
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			ring_start(kind);
			open_sends(&o, MODE_STALL);
			CHECK(fcntl(o.fd, F_SETFD, FD_CLOEXEC) == 0);
			seeds[0] = o.seed;
			CHECK(write(p[1], seeds, sizeof(seeds[0])) == sizeof(seeds[0]));
			how();
			die("still here");
		}
		close(p[1]);
		CHECK(read(p[0], seeds, sizeof(seeds[0])) == sizeof(seeds[0]));
		start = seconds();
		if (abrupt)
			CHECK(!kill(pid, SIGKILL));
		CHECK(waitpid(pid, &status, 0) == pid);
		if (abrupt)
			CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		else
			CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
		printf("%s: %.1f s\n", ring_names[kind], seconds() - start);
		/* nobody has read: only zc_seconds, which is short here, can have ended it */
		CHECK(seconds() - start < 20);
		close(p[0]);
		go(seeds[0]);
	}
}

static void do_exec(void)
{
	execlp("true", "true", NULL);
}

static void do_exit(void)
{
	_exit(0);
}

static void do_pause(void)
{
	for (;;)
		pause();
}

static void case_exec(const char *arg)
{
	(void)arg;
	child(do_exec, false);
}

static void case_exit(const char *arg)
{
	(void)arg;
	child(do_exit, false);
}

static void case_killed(const char *arg)
{
	(void)arg;
	child(do_pause, true);
}

const struct uring_case zc_end_cases[] = {
	{ "zc-shutdown", case_shutdown, ZC_KINDS },
	{ "zc-peer-shut-rd", case_peer_shut_rd, ZC_KINDS },
	{ "zc-reset", case_reset, ZC_KINDS },
	{ "zc-close", case_close, ZC_KINDS },
	{ "zc-time-out", case_time_out, ZC_KINDS },
	{ "zc-epipe", case_epipe, ZC_KINDS },
	{ "zc-exec", case_exec, 0 },
	{ "zc-exit", case_exit, 0 },
	{ "zc-killed", case_killed, 0 },
	{ 0 },
};
