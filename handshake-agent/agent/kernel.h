/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's view of the kernel module: requests with answers, and upcalls. nl.c speaks generic
 * netlink to the module; the unit tests have a kernel of their own.
 *
 * Requests are carried out one after the other, in the order in which they were submitted. Each is
 * answered by exactly one call of done(), never from inside submit(); if the module goes away, by
 * done() with -ENODEV. What the callbacks are given is valid during the call.
 */
#ifndef SIVSHMEM_AGENT_KERNEL_H
#define SIVSHMEM_AGENT_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include <sivshmem/abi.h>

struct kernel_link {
	uint32_t id;
	uint32_t kind; /* enum siv_link_kind */
	uint32_t ivposition;
	uint64_t size;
	uint32_t end;
	char peer_vm[SIV_VM_LEN];
	uint32_t peer_ivposition;
	uint32_t epoch;
	uint32_t timeout_ms;
	bool up;
	char name[32];
	uint32_t channels;
	uint64_t violations, bad_events, floods; /* what the peer did that no honest kernel does */
};

struct kernel_chan {
	uint32_t link_id, epoch, slot;
	uint64_t generation, offset;
	uint32_t c2s_order, s2c_order;
	bool server;
	uint32_t type;
};

struct kernel_channel {
	struct kernel_chan chan;
	struct siv_peer peer;
	char service[SIV_SERVICE_LEN];
	uint32_t uid;
	uint32_t state; /* enum siv_chan_state */
	uint64_t tx_bytes, rx_bytes;
	bool sealed;
};

/* Of a sealed channel: what the client seals with, and then the server. */
#define KERNEL_SECRETS (2 * SIV_SEAL_SECRET)

/* Which members have a meaning depends on @kind; see abi.h. */
struct kernel_upcall {
	enum siv_upcall_kind kind;
	uint64_t id;
	char vm[SIV_VM_LEN], service[SIV_SERVICE_LEN], own_service[SIV_SERVICE_LEN];
	uint32_t tx_order, rx_order, type, timeout_ms;
	uint64_t cookie;
	uint32_t link_id, epoch, slot;
	uint64_t generation;
	uint32_t reason; /* enum siv_closed_reason */
	struct siv_caller caller;
};

struct kernel_answer {
	uint32_t abi;    /* REGISTER */
	uint64_t cookie; /* LISTENER */
	uint32_t uid;    /* LISTENER */
};

struct kernel_request {
	int cmd; /* SIV_CMD_* */

	char vm[SIV_VM_LEN];           /* REGISTER */
	uint64_t id;                   /* ANSWER; GRANT to a connect, else 0 */
	uint64_t cookie;               /* GRANT to a listener */
	int error;                     /* ANSWER: positive errno, or 0 */
	char service[SIV_SERVICE_LEN]; /* ANSWER, LISTENER, GRANT */
	uint32_t type;                 /* LISTENER: SOCK_STREAM or SOCK_SEQPACKET */
	struct kernel_chan chan;       /* GRANT; RESET: its first three and generation */
	struct siv_peer peer;          /* GRANT */
	const uint8_t *secrets;        /* GRANT of a sealed channel: KERNEL_SECRETS bytes; NULL */
	struct kernel_link link;       /* LINK_SET; LINK_DOWN: id and epoch */

	/* @err: 0 or -errno. NULL: the answer does not matter (a failure is logged). */
	void (*done)(void *ctx, uint64_t tag, int err, const struct kernel_answer *answer);
	/* For each entry of a dump, before done(). */
	void (*got_link)(void *ctx, const struct kernel_link *link);
	void (*got_channel)(void *ctx, const struct kernel_channel *channel);
	uint64_t tag; /* the caller's own */
};

struct kernel;

struct kernel_ops {
	/* Copies @request, secrets into the secure heap. 0 or -ENOMEM; -ENODEV: the module is not there. */
	int (*submit)(struct kernel *kernel, const struct kernel_request *request);
	/* Requests that are submitted and not done. */
	unsigned int (*pending)(const struct kernel *kernel);
	/* Starts the upcalls; once registered. */
	void (*pull)(struct kernel *kernel);
	/* LINK_GET or CHAN_GET at once, for the admin socket; its got_ has @ctx. 0 or -errno. */
	int (*list)(struct kernel *kernel, const struct kernel_request *dump, void *ctx);
	void (*close)(struct kernel *kernel);
};

struct kernel {
	const struct kernel_ops *ops;
	/* The agent's, set before the loop runs. */
	void *ctx;
	void (*upcall)(void *ctx, const struct kernel_upcall *upcall);
	/*
	 * The module came or went; at the start: whether it is there. @nonce: another one for each
	 * load of the module in this boot.
	 */
	void (*present)(void *ctx, bool there, uint64_t nonce);
};

struct loop;

/* Speaks to the module of this machine. NULL and errno. */
struct kernel *kernel_netlink_open(struct loop *loop);

/* "connect", "closed" ... for the log. */
const char *kernel_cmd_name(int cmd);

#endif
