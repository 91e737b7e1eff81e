// SPDX-License-Identifier: BSD-2-Clause
/* A lane: two halves of a mapped channel over a memfd, and the kernel that they believe in. */
#include <errno.h>
#include <linux/sockios.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "map_lane.h"

enum {
	BEGIN_S = 1000,
};
#define NS_PER_S 1000000000ull

struct lane_kernel kernel;

int __real_ioctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	if (fd != FD)
		return __real_ioctl(fd, request, arg);
	switch (request) {
	case SIV_IOC_KICK:
		kernel.kicks++;
		return 0;
	case SIV_IOC_WAIT:
		kernel.waits++;
		kernel.wait = *(struct siv_wait *)arg;
		if (kernel.meanwhile)
			kernel.meanwhile(kernel.lane);
		errno = kernel.wait_errno;
		return errno ? -1 : 0;
	case SIOCINQ:
		kernel.inq++;
		return 0;
	case SIOCOUTQ:
		kernel.outq++;
		return 0;
	default:
		fail_msg("ioctl %#lx", request);
		return -1;
	}
}

/* In place at the kernel's position, or nothing. */
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	struct lane *lane = kernel.lane;
	uint64_t pos = lane->page[0].tx_pos;

	assert_int_equal(fd, FD);
	assert_ptr_equal(buf, lane->data + pos % lane->size + lane->tx.header);
	assert_true(flags & MSG_NOSIGNAL && flags & MSG_DONTWAIT);
	kernel.sends++;
	kernel.send_flags = flags;
	if (lane->tx.header) {
		struct siv_record record = { .len = len,
					     .flags = flags & MSG_EOR ? SIV_RECORD_EOR : 0 };

		memcpy(lane->data + pos % lane->size, &record, sizeof(record));
		lane->page[0].tx_pos += siv_record_span(len);
		return len;
	}
	/* a short count is no end */
	len = len > 1000 ? 1000 : len;
	lane->page[0].tx_pos += len;
	return len;
}

/* A clock that only the test moves. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	assert_int_equal(clock, CLOCK_MONOTONIC);
	kernel.now_ns += kernel.step_ns;
	if (kernel.tick)
		kernel.tick(kernel.lane);
	*now = (struct timespec){ .tv_sec = kernel.now_ns / NS_PER_S,
				  .tv_nsec = kernel.now_ns % NS_PER_S };
	return 0;
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
	struct lane *lane = kernel.lane;
	struct siv_record record;

	assert_int_equal(fd, FD);
	assert_null(buf);
	assert_true(flags & MSG_TRUNC && flags & MSG_DONTWAIT);
	kernel.recvs++;
	if (lane->rx.header) {
		assert_int_equal(len, 0);
		memcpy(&record, lane->data + lane->page[1].rx_pos % lane->size, sizeof(record));
		lane->page[1].rx_pos += siv_record_span(record.len);
		return record.len;
	}
	len = len > 1000 ? 1000 : len;
	lane->page[1].rx_pos += len;
	return len;
}

void lane_map(struct lane *lane, size_t size)
{
	const size_t pages = 2 * SIV_PAGE_SIZE;
	int fd = memfd_create("lane", MFD_CLOEXEC);
	uint8_t *at;

	lane->size = size;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, pages + size), 0);
	/* the hole before and after: what goes there faults */
	at = mmap(NULL, 4 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	lane->data = at + size;
	for (int i = 0; i < 2; i++)
		assert_ptr_not_equal(mmap(lane->data + i * size, size, PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_FIXED, fd, pages), MAP_FAILED);
	lane->page = mmap(NULL, pages + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(lane->page, MAP_FAILED);
	lane->file = (uint8_t *)lane->page + pages;
	close(fd);
}

void lane_unmap(struct lane *lane)
{
	munmap(lane->data - lane->size, 4 * lane->size);
	munmap(lane->page, 2 * SIV_PAGE_SIZE + lane->size);
}

static void lane_begin_as(struct lane *lane, int type, uint64_t pos, bool indirect)
{
	memset(lane->page, 0, 2 * SIV_PAGE_SIZE);
	for (int i = 0; i < 2; i++)
		lane->page[i] = (struct siv_chan_page){ .tx_pos = pos, .rx_pos = pos,
							.state = SIV_STATE_ATTACHED };
	siv_tx_init(&lane->tx, type, indirect ? NULL : &lane->page[0], &lane->page[1], lane->data,
		    lane->size, pos);
	siv_rx_init(&lane->rx, type, indirect ? NULL : &lane->page[1], &lane->page[0], lane->data,
		    lane->size, pos);
	memset(&kernel, 0, sizeof(kernel));
	kernel.lane = lane;
	kernel.now_ns = BEGIN_S * NS_PER_S;
}

void lane_begin(struct lane *lane, int type, uint64_t pos)
{
	lane_begin_as(lane, type, pos, false);
}

void lane_begin_fd(struct lane *lane, int type, bool indirect)
{
	lane_begin_as(lane, type, 0, indirect);
	lane->tx.fd = lane->rx.fd = FD;
	siv_set_spin(&lane->tx.spin, 0);
	siv_set_spin(&lane->rx.spin, 0);
}

int lane_set_up(void **state)
{
	/* the halves want their alignment */
	struct lane *lane = aligned_alloc(SIV_HALF_ALIGN, sizeof(*lane));

	assert_non_null(lane);
	lane_map(lane, SIZE);
	lane_begin(lane, SOCK_STREAM, 0);
	*state = lane;
	return 0;
}

int lane_tear_down(void **state)
{
	lane_unmap(*state);
	free(*state);
	return 0;
}

void lane_put(struct lane *lane, size_t len, uint8_t byte)
{
	void *view;

	assert_int_equal(siv_reserve(&lane->tx, len, &view), 0);
	memset(view, byte, len);
	assert_int_equal(siv_commit(&lane->tx, len, 0), 0);
}
