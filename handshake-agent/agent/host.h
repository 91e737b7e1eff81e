/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control stream: its start (see proto.h), framing, and what is queued towards the broker.
 *
 *   DOWN ---- host_hello() ---> SEEKING --- SIVP_MAGIC ---> FIRST --- WELCOME ---> UP
 *
 * Whatever goes wrong leads back to DOWN, by way of lost() if it was UP; connected() then asks for
 * the next hello, once the broker is there.
 */
#ifndef SIVSHMEM_AGENT_HOST_H
#define SIVSHMEM_AGENT_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/loop.h"
#include "common/stream.h"
#include "proto/proto.h"

#define HOST_IN_MAX     (64u * 1024)         /* bytes read and not parsed */
#define HOST_OUT_MAX    (16u * 1024 * 1024)  /* bytes queued; more starts the conversation anew */
#define HOST_OUT_BUSY   (256u * 1024)        /* queued bytes from which new handshakes must wait */
#define HOST_PAUSE_MS   1000u                /* before another hello, after a violation */

enum host_state {
	HOST_DOWN,    /* nothing was said yet, or nobody is there */
	HOST_SEEKING, /* hello sent, looking for SIVP_MAGIC */
	HOST_FIRST,   /* it is there: the next frame must be our WELCOME */
	HOST_UP,
};

struct host_hello {
	uint8_t boot_id[16];
	uint64_t module_nonce;
	uint32_t links[SIVP_LINKS_MAX]; /* IVPositions */
	unsigned int nr_links;
};

struct host {
	/* The agent's, set before host_attach(). */
	void *ctx;
	void (*connected)(void *ctx); /* the broker can be said hello to */
	void (*lost)(void *ctx);      /* it was UP, and is not any more */
	void (*message)(void *ctx, const struct sivp_msg *msg); /* WELCOME is the first */

	struct loop *loop;
	struct stream stream;
	enum host_state state;
	bool reachable; /* somebody is at the other end */
	uint8_t nonce[SIVP_NONCE_LEN]; /* of the last hello */
	struct loop_timer pause;
	struct sivp_builder out;
};

/*
 * Talks through @fd (taken over, also on failure) from now on; @port: it is a virtio-serial port.
 * connected() is called from the loop. 0 or -errno.
 */
int host_attach(struct host *host, struct loop *loop, int fd, bool port);
void host_detach(struct host *host);

/* Starts the conversation, or starts it anew. Nothing happens while nobody is there. */
void host_hello(struct host *host, const struct host_hello *hello);

static inline bool host_up(const struct host *host)
{
	return host->state == HOST_UP;
}

/*
 * Messages are built in host->out: host_begin(), sivp_put_*(&host->out, …), host_send(). False: not
 * UP, or there is no room, which ends the conversation (lost() comes from the loop).
 */
void host_begin(struct host *host, enum sivp_type type, uint64_t session);
bool host_send(struct host *host);

/* The broker reads more slowly than we write: no new sessions. */
bool host_busy(const struct host *host);

#endif
