// SPDX-License-Identifier: BSD-2-Clause
/* libsivshmem's entries for in-place sends and releases (sivshmem/uring.h), over its mapped channels. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>
#include <sivshmem/map.h>
#include <sivshmem/uring.h>

#include "uring.h"

/* @len bytes there and back through the echo, both ways in place. */
static void echo_in_place(struct siv_map *map, size_t len, unsigned int n)
{
	struct op sent = { 0 }, released = { 0 };
	struct io_uring_sqe *sqe;
	const void *view;
	uint8_t want[4096];
	size_t got = 0;
	void *to;
	ssize_t there;

	fill(want, len, n);
	CHECK(!siv_reserve_wait(&map->tx, len, -1, &to));
	memcpy(to, want, len);
	sqe = sqe_new();
	CHECK(!siv_uring_send(&map->tx, sqe, len, 0));
	op_is(sqe, &sent);
	CHECK(op_wait(&sent) == (int)len);
	while (got < len) {
		there = siv_peek_wait(&map->rx, 1, -1, &view);
		CHECK(there > 0 && there <= (ssize_t)(len - got));
		CHECK(!memcmp(view, want + got, there));
		sqe = sqe_new();
		CHECK(!siv_uring_release(&map->rx, sqe, there));
		op_is(sqe, &released);
		CHECK(op_wait(&released) == there);
		got += there;
	}
	op_wait_notif(&sent);
}

static void case_echo(const char *arg)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	struct siv_map *map;
	unsigned int i, t;
	uint64_t rnd = 99;
	int fd;

	(void)arg;
	for (t = 0; t < 2; t++) {
		fd = types[t] == SOCK_STREAM ? order_at(MODE_ECHO, 0, 0) :
					       siv_connect(url, SOCK_SEQPACKET);
		CHECK(fd >= 0 && !siv_map(fd, 0, &map));
		for (i = 0; i < 200; i++)
			echo_in_place(map, odd_size(&rnd, 4096), i);
		siv_unmap(map);
	}
}

/* What the helpers refuse leaves entry and position as they were. */
static void case_refused(const char *arg)
{
	struct io_uring_sqe sqe = { .user_data = 1 };
	struct siv_map *map;
	const void *view;
	size_t size;
	void *to;

	(void)arg;
	CHECK(!siv_map(order_at(MODE_ECHO, 0, 0), SIV_MAP_DIRECT_TX | SIV_MAP_DIRECT_RX, &map));
	CHECK(!siv_reserve(&map->tx, 10, &to));
	CHECK(siv_uring_send(&map->tx, &sqe, 10, 0) == -EBUSY);
	CHECK(siv_uring_release(&map->rx, &sqe, 0) == -EBUSY);
	siv_unmap(map);

	CHECK(!siv_map(order_at(MODE_ECHO, 0, 0), 0, &map));
	size = siv_reserve_max(&map->tx);
	CHECK(siv_uring_send(&map->tx, &sqe, size + 1, 0) == -EINVAL);
	CHECK(siv_uring_release(&map->rx, &sqe, 1) == -EINVAL);
	CHECK(!siv_reserve_wait(&map->tx, 10, -1, &to));
	memcpy(to, "0123456789", 10);
	CHECK(!siv_commit(&map->tx, 4, SIV_MORE));
	CHECK(siv_uring_send(&map->tx, &sqe, 6, 0) == -EBUSY);
	CHECK(!siv_flush(&map->tx));
	CHECK(sqe.user_data == 1 && !sqe.addr);
	CHECK(siv_peek_wait(&map->rx, 4, -1, &view) == 4 && !memcmp(view, "0123", 4));
	CHECK(siv_uring_release(&map->rx, &sqe, 5) == -EINVAL);
	CHECK(!siv_release(&map->rx, 4, 0));
	/* no pages that could be pinned */
	CHECK(!siv_reserve_wait(&map->tx, 4096, -1, &to));
	CHECK(io_uring_register_buffers(&ring, &(struct iovec){ to, 4096 }, 1) == -EFAULT);
	siv_unmap(map);
}

const struct uring_case helper_cases[] = {
	{ "helper-echo", case_echo, ZC_KINDS },
	{ "helper-refused", case_refused, 1 << RING_PLAIN },
	{ 0 },
};
