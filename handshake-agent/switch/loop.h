/* SPDX-License-Identifier: BSD-2-Clause */
/* A single-threaded epoll loop: sources own their descriptor and are part of what they serve. */
#ifndef SIVSHMEM_SWITCH_LOOP_H
#define SIVSHMEM_SWITCH_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop {
	int epfd;
	bool stop; /* loop_run() returns after the handler that set it */
};

struct loop_source {
	int fd; /* -1 while not in the loop; closed by loop_remove() */
	void (*ready)(struct loop_source *source, uint32_t events); /* may remove any source */
};

int loop_init(struct loop *loop);
void loop_exit(struct loop *loop);

/* Takes fd over on success. @events: EPOLLIN etc., level-triggered. 0 or -errno. */
int loop_add(struct loop *loop, struct loop_source *source, int fd, uint32_t events);
/* Closes the descriptor; nothing happens if the source is not in the loop. */
void loop_remove(struct loop *loop, struct loop_source *source);

/* Serves one ready source: 1, or 0 after timeout_ms (-1: none) or a signal, or -errno. */
int loop_step(struct loop *loop, int timeout_ms);
/* Serves sources until loop->stop. 0 or -errno. */
int loop_run(struct loop *loop);

#endif
