/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One direction of a mapped channel: both its halves in one process, each against the other, over a
 * memfd that is mapped as the kernel maps it. The kernel's calls are played by map_lane.c.
 */
#ifndef UNIT_MAP_LANE_H
#define UNIT_MAP_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include <sivshmem/map.h>

enum {
	SIZE = 4096, /* of the ring: the smallest */
	FD = 1000,   /* a descriptor that the played kernel knows */
	FOREVER = -1,
};

/* tx writes page[0] and data, rx writes page[1]. */
struct lane {
	struct siv_chan_page *page;
	uint8_t *data;
	uint8_t *file; /* the ring, once: the peer's view of it */
	size_t size;
	struct siv_tx tx;
	struct siv_rx rx;
};

/* What the kernel was asked. */
struct lane_kernel {
	unsigned int kicks, waits, inq, outq, sends, recvs;
	struct siv_wait wait;   /* the last */
	int wait_errno;         /* what it ends with; 0: returns 0 */
	void (*meanwhile)(struct lane *lane); /* what the peer does while it sleeps */
	struct lane *lane;
	int send_flags;
	uint64_t now_ns, step_ns; /* the clock, and how far it goes by being read */
	void (*tick)(struct lane *lane); /* what the peer does at each reading of the clock */
};
extern struct lane_kernel kernel;

/* Both sides' pages and the data twice in a row, as the kernel has it, with nothing around. */
void lane_map(struct lane *lane, size_t size);
void lane_unmap(struct lane *lane);

/* From @pos on, without a kernel. */
void lane_begin(struct lane *lane, int type, uint64_t pos);

/* With a kernel behind it, which the direction's positions belong to if @indirect. */
void lane_begin_fd(struct lane *lane, int type, bool indirect);

void lane_put(struct lane *lane, size_t len, uint8_t byte);

/* cmocka's: *state is a lane of a stream from 0 on. */
int lane_set_up(void **state);
int lane_tear_down(void **state);

#define MAP_TEST(name) cmocka_unit_test_setup_teardown(name, lane_set_up, lane_tear_down)

#endif
