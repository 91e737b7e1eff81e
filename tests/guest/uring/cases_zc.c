// SPDX-License-Identifier: BSD-2-Clause
/*
 * SEND_ZC and SENDMSG_ZC: what is copied completes at once, what is sent in place once the peer has
 * read it; each completes exactly once, and what arrives is what was sent.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>

#include "uring.h"

static void send_zc(struct op *op, int fd, const void *buf, size_t len, int flags)
{
	struct io_uring_sqe *sqe = sqe_new();

	io_uring_prep_send_zc(sqe, fd, buf, len, flags | MSG_NOSIGNAL, 0);
	op_is(sqe, op);
}

static void sendmsg_zc(struct op *op, int fd, struct msghdr *msg)
{
	struct io_uring_sqe *sqe = sqe_new();

	io_uring_prep_sendmsg_zc(sqe, fd, msg, MSG_NOSIGNAL);
	op_is(sqe, op);
}

/* From ordinary and from registered memory: the second completion waits for nobody. */
static void case_copied(const char *arg)
{
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_STALL, seed, 6000);
	struct stream *s = stream_new(seed);
	uint8_t *buf = memory(6000);
	struct iovec v[2] = { { buf + 1000, 1 }, { buf + 1001, 2999 } };
	struct msghdr msg = { .msg_iov = v, .msg_iovlen = 2 };
	struct iovec whole = { buf, 6000 };
	struct io_uring_sqe *sqe;
	struct op op[3] = { 0 };
	int i;

	(void)arg;
	stream_fill(s, buf, 6000);
	CHECK(!io_uring_register_buffers(&ring, &whole, 1));
	send_zc(&op[0], fd, buf, 1000, 0);
	CHECK(op_wait(&op[0]) == 1000);
	sendmsg_zc(&op[1], fd, &msg);
	CHECK(op_wait(&op[1]) == 3000);
	sqe = sqe_new();
	io_uring_prep_send_zc_fixed(sqe, fd, buf + 4000, 2000, 0, 0, 0);
	op_is(sqe, &op[2]);
	CHECK(op_wait(&op[2]) == 2000);
	for (i = 0; i < 3; i++)
		op_wait_notif(&op[i]); /* nobody has been told to read yet */
	go(seed);
	CHECK(!io_uring_unregister_buffers(&ring));
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
	free(buf);
	free(s);
}

/* Three pieces in place with one copied between them: nothing completes before the peer has read. */
static void case_in_place(const char *arg)
{
	enum { LEN = 2000 };
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_STALL, seed, 4 * LEN), i;
	struct stream *s = stream_new(seed);
	struct op op[3] = { 0 }, copied = { 0 };
	uint64_t end[3];
	struct window w;
	uint8_t buf[LEN];
	struct iovec v[2];
	struct msghdr msg = { .msg_iov = v, .msg_iovlen = 2 };

	(void)arg;
	window_map(&w, fd, sizeof(struct order));
	stream_fill(s, window_at(&w), LEN);
	send_zc(&op[0], fd, window_at(&w), LEN, 0);
	CHECK(op_wait(&op[0]) == LEN);
	window_sent(&w, LEN);
	end[0] = w.pos;

	stream_fill(s, buf, LEN);
	send_zc(&copied, fd, buf, LEN, 0);
	CHECK(op_wait(&copied) == LEN);
	window_sent(&w, LEN);

	/* in two pieces that touch */
	v[0] = (struct iovec){ window_at(&w), 700 };
	v[1] = (struct iovec){ window_at(&w) + 700, LEN - 700 };
	stream_fill(s, window_at(&w), LEN);
	sendmsg_zc(&op[1], fd, &msg);
	CHECK(op_wait(&op[1]) == LEN);
	window_sent(&w, LEN);
	end[1] = w.pos;

	stream_fill(s, window_at(&w), LEN);
	send_zc(&op[2], fd, window_at(&w), LEN, 0);
	CHECK(op_wait(&op[2]) == LEN);
	window_sent(&w, LEN);
	end[2] = w.pos;

	op_wait_notif(&copied);
	round_trip_elsewhere();
	ring_look();
	for (i = 0; i < 3; i++) {
		CHECK(op[i].flags[0] & IORING_CQE_F_MORE);
		CHECK(!op[i].notifs);
	}
	go(seed);
	for (i = 0; i < 3; i++)
		op_wait_read(&op[i], &w, end[i]);
	window_unmap(&w);
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
	free(s);
}

/* From elsewhere in the window, and partly from it: EINVAL, never a copy. */
static void case_elsewhere(const char *arg)
{
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_STALL, seed, 100), i;
	struct stream *s = stream_new(seed);
	char other[10] = { 0 };
	struct window w;
	struct iovec v[2];
	struct msghdr msg = { .msg_iov = v, .msg_iovlen = 2 };
	struct op op[5] = { 0 }, good = { 0 };

	(void)arg;
	window_map(&w, fd, sizeof(struct order));
	v[0] = (struct iovec){ window_at(&w), 10 };
	v[1] = (struct iovec){ other, 10 };
	send_zc(&op[0], fd, window_at(&w) + 8, 10, 0);
	send_zc(&op[1], fd, window_at(&w) - 1, 10, 0);
	send_zc(&op[2], fd, w.base + 2 * w.size - 5, 10, 0); /* and what lies behind it */
	send_zc(&op[3], fd, window_at(&w), w.size + 1, 0); /* more than there is room */
	sendmsg_zc(&op[4], fd, &msg);
	ring_submit();
	for (i = 0; i < 5; i++) {
		if (!op[i].n)
			op_wait(&op[i]);
		if (op[i].res[0] != -EINVAL)
			die("%d: %d, should be EINVAL", i, op[i].res[0]);
		if (op[i].flags[0] & IORING_CQE_F_MORE)
			op_wait_notif(&op[i]);
	}
	/* and the place is still good */
	stream_fill(s, window_at(&w), 100);
	send_zc(&good, fd, window_at(&w), 100, 0);
	CHECK(op_wait(&good) == 100);
	go(seed);
	op_wait_notif(&good);
	window_unmap(&w);
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
	free(s);
}

/* The 257th that would wait for the peer is ENOBUFS, sends nothing, and is taken once one is done. */
static void case_too_many(const char *arg)
{
	enum { MAX = 256 };
	struct op *op = calloc(MAX + 2, sizeof(*op));
	uint64_t seed = fresh_seed();
	int fd = order_at(MODE_STALL, seed, 8 * (MAX + 1)), i;
	struct stream *s = stream_new(seed);
	struct window w;

	(void)arg;
	window_map(&w, fd, sizeof(struct order));
	for (i = 0; i < MAX; i++) {
		stream_fill(s, window_at(&w), 8);
		send_zc(&op[i], fd, window_at(&w), 8, 0);
		CHECK(op_wait(&op[i]) == 8);
		window_sent(&w, 8);
	}
	stream_fill(s, window_at(&w), 8);
	send_zc(&op[MAX], fd, window_at(&w), 8, 0);
	CHECK(op_wait(&op[MAX]) == -ENOBUFS);
	if (op[MAX].flags[0] & IORING_CQE_F_MORE)
		op_wait_notif(&op[MAX]);
	for (i = 0; i < MAX; i++)
		CHECK(!op[i].notifs);
	go(seed);
	op_wait_notif(&op[0]);
	send_zc(&op[MAX + 1], fd, window_at(&w), 8, 0);
	CHECK(op_wait(&op[MAX + 1]) == 8);
	for (i = 0; i < MAX; i++)
		op_wait_read(&op[i], &w, sizeof(struct order) + 8 * (i + 1));
	op_wait_read(&op[MAX + 1], &w, w.pos + 8);
	window_unmap(&w);
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
	free(op);
	free(s);
}

struct mix {
	struct window w;
	struct stream *s;
	struct op op[64];
	uint8_t *copy;
	struct iovec iov[64][2];
	struct msghdr msg[64];
	uint64_t in_place, copied;
};

/* Queues one send of up to @len bytes as @op number @i says, which is free, and how long it is. */
static int mix_one(struct mix *m, int i, size_t len)
{
	struct io_uring_sqe *sqe;
	uint8_t *from = m->copy;
	const int how = rand() % 5;

	if (how >= 2) {
		from = window_at(&m->w);
		window_await_room(&m->w, len);
		m->in_place += len;
	} else {
		m->copied += len;
	}
	stream_fill(m->s, from, len);
	if (how == 4) {
		m->iov[i][0] = (struct iovec){ from, len / 2 };
		m->iov[i][1] = (struct iovec){ from + len / 2, len - len / 2 };
		m->msg[i] = (struct msghdr){ .msg_iov = m->iov[i], .msg_iovlen = 2 };
		sendmsg_zc(&m->op[i], m->w.fd, &m->msg[i]);
	} else if (how == 0 || how == 2) {
		sqe = sqe_new();
		io_uring_prep_send(sqe, m->w.fd, from, len, MSG_NOSIGNAL | MSG_WAITALL);
		op_is(sqe, &m->op[i]);
	} else {
		send_zc(&m->op[i], m->w.fd, from, len, MSG_WAITALL);
	}
	window_sent(&m->w, len);
	return len;
}

/* ARG MiB of copies and in-place sends of all kinds, in turns, on one socket. */
static void case_mixed(const char *arg)
{
	uint64_t bytes = (arg ? strtoull(arg, NULL, 0) : 8) << 20, seed = fresh_seed(), left, rnd;
	struct mix *m = calloc(1, sizeof(*m));
	int fd = order_at(MODE_STALL, seed, bytes), i;
	size_t len;

	CHECK(m);
	go(seed);
	srand(seed);
	rnd = seed | 1;
	m->s = stream_new(seed);
	window_map(&m->w, fd, sizeof(struct order));
	m->copy = memory(m->w.size);
	for (i = 0, left = bytes; left; left -= len, i = (i + 1) % 64) {
		while (m->op[i].n && !op_over(&m->op[i]))
			op_wait_notif(&m->op[i]);
		len = odd_size(&rnd, m->w.size);
		len = len < left ? len : left;
		mix_one(m, i, len);
		if (op_wait(&m->op[i]) != (int)len)
			die("%d of %zu bytes at %llu", m->op[i].res[0], len,
			    (unsigned long long)(bytes - left));
	}
	for (i = 0; i < 64; i++)
		while (m->op[i].n && !op_over(&m->op[i]))
			op_wait_notif(&m->op[i]);
	CHECK(m->in_place && m->copied);
	window_unmap(&m->w);
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
	free(m->copy);
	free(m->s);
	free(m);
}

/* Records in place come back as they were, their completions with them. */
static void case_records(const char *arg)
{
	int fd = siv_connect(url, SOCK_SEQPACKET), i;
	uint64_t rnd = 4711;
	uint8_t *buf = memory(RECORD_MAX);
	struct io_uring_sqe *sqe;
	struct op sent = { 0 }, got = { 0 };
	struct window w;

	(void)arg;
	CHECK(fd >= 0);
	window_map(&w, fd, 0);
	for (i = 0; i < 200; i++) {
		size_t len = odd_size(&rnd, 8000);

		window_await_room(&w, len);
		fill(window_at(&w), len, i);
		send_zc(&sent, fd, window_at(&w), len, i % 2 ? MSG_EOR : 0);
		CHECK(op_wait(&sent) == (int)len);
		window_sent(&w, len);
		sqe = sqe_new();
		io_uring_prep_recv(sqe, fd, buf, RECORD_MAX, 0);
		op_is(sqe, &got);
		if (op_wait(&got) != (int)len)
			die("record %d of %zu bytes came back with %d", i, len, got.res[0]);
		fill(buf + len, len, i);
		CHECK(!memcmp(buf, buf + len, len));
		op_wait_notif(&sent);
	}
	window_unmap(&w);
	close(fd);
	free(buf);
}

/* recv() without a buffer releases what was read in place. */
static void case_release(const char *arg)
{
	const uint64_t bytes = 3 << 20, seed = fresh_seed();
	int fd = order_at(MODE_SOURCE, seed, bytes);
	struct stream *s = stream_new(seed);
	struct siv_wait wait = { .deadline_ns = -1, .what = SIV_WAIT_DATA };
	struct io_uring_sqe *sqe;
	uint64_t pos = 0, rnd = seed | 1;
	struct window w;
	struct op op = { 0 };

	(void)arg;
	window_map(&w, fd, sizeof(struct order));
	while (pos < bytes) {
		const struct siv_chan_page *peer = (const void *)w.ro;
		uint64_t there = __atomic_load_n(&peer->tx_pos, __ATOMIC_ACQUIRE) - pos;
		size_t len;

		CHECK(there <= w.rx_size);
		if (!there) {
			wait.data = pos + 1;
			CHECK(!ioctl(fd, SIV_IOC_WAIT, &wait));
			continue;
		}
		len = odd_size(&rnd, there);
		stream_check(s, w.ro + SIV_PAGE_SIZE + (pos & (w.rx_size - 1)), len);
		sqe = sqe_new();
		io_uring_prep_recv(sqe, fd, NULL, len, MSG_TRUNC);
		op_is(sqe, &op);
		CHECK(op_wait(&op) == (int)len);
		pos += len;
	}
	expect_eof(fd);
	window_unmap(&w);
	close(fd);
	free(s);
}

const struct uring_case zc_cases[] = {
	{ "zc-copied", case_copied, ZC_KINDS },	      { "zc-in-place", case_in_place, ZC_KINDS },
	{ "zc-elsewhere", case_elsewhere, ZC_KINDS }, { "zc-too-many", case_too_many, ZC_KINDS },
	{ "zc-mixed", case_mixed, ZC_KINDS },	      { "zc-records", case_records, ZC_KINDS },
	{ "zc-release", case_release, ZC_KINDS },     { 0 },
};
