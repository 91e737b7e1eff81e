/* SPDX-License-Identifier: BSD-2-Clause */
/* What a hostile kernel can touch of its link: memory, doorbell, and where channels lie. */
#ifndef REACH_H
#define REACH_H

#include <stdint.h>

#include <sivshmem/abi.h>

struct reach {
	uint8_t *mem;             /* the whole BAR */
	uint64_t size;
	volatile uint32_t *regs;
	uint32_t link_id, end, peer_ivposition;
	char name[32];            /* the device's address */
};

/* A channel, as this VM's kernel has it attached. */
struct target {
	uint32_t slot, type;
	struct siv_chan_page *own, *victim; /* what this side writes; what the other writes */
	uint8_t *tx, *rx;                   /* data to the victim, and from it */
	uint64_t tx_size, rx_size;
	uint8_t *extent;
	uint64_t len;
};

void reach_open(struct reach *r);
/* The channels of @service, up to @max. */
unsigned int reach_targets(const struct reach *r, const char *service, struct target *targets,
			   unsigned int max);
void reach_ring(const struct reach *r); /* the doorbell */

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
