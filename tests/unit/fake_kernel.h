/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel module for the agent's tests, without sockets: what processes would do are calls here.
 * Nothing happens inside a call; fake_kernel_run() answers requests and delivers upcalls.
 */
#ifndef SIVSHMEM_TEST_FAKE_KERNEL_H
#define SIVSHMEM_TEST_FAKE_KERNEL_H

#include "agent/kernel.h"

#define FAKE_MAX 64 /* of each: links, listeners, channels, processes' requests, upcalls */

/* A process inside connect() or bind(). */
struct fake_process {
	uint64_t id;
	bool bind;
	bool waiting; /* for the agent */
	int error;    /* once it is not: 0 or errno */
	char service[SIV_SERVICE_LEN]; /* what bind() was answered */
	struct kernel_chan chan;       /* what connect() got */
	struct siv_peer peer;
	bool sealed;
	uint8_t secrets[2][SIV_SEAL_SECRET];
};

struct fake_listener {
	uint64_t cookie; /* 0: free */
	char service[SIV_SERVICE_LEN];
};

struct fake_kernel {
	struct kernel kernel;
	bool absent;     /* the module is not loaded */
	uint64_t nonce;
	bool announced;  /* present() was called for this agent */
	bool registered;
	int listener_error; /* what LISTENER is answered, if not 0 */
	uint32_t listener_type; /* what the last LISTENER asked for */
	char vm[SIV_VM_LEN];
	unsigned int hold; /* bit 1 << SIV_CMD_*: requests that stay unanswered */

	struct kernel_link links[FAKE_MAX];
	unsigned int nr_links;
	struct fake_listener listeners[FAKE_MAX];
	struct kernel_channel channels[FAKE_MAX];
	uint8_t secrets[FAKE_MAX][2][SIV_SEAL_SECRET]; /* of those that are sealed */
	uint8_t submitted_secrets[FAKE_MAX][KERNEL_SECRETS]; /* of requests, in turn */
	unsigned int nr_submitted_secrets;
	bool used[FAKE_MAX]; /* of channels */
	struct fake_process processes[FAKE_MAX];
	unsigned int nr_processes;
	uint64_t last_id;

	struct kernel_request requests[FAKE_MAX];
	unsigned int nr_requests;
	struct kernel_upcall upcalls[FAKE_MAX];
	unsigned int nr_upcalls;
	bool pulling;

	unsigned int nr_resets, nr_link_sets;
};

/* All zero but its operations; the caller's memory. */
void fake_kernel_init(struct fake_kernel *k);
/* True if something was done. */
bool fake_kernel_run(struct fake_kernel *k);

struct kernel_link *fake_link_add(struct fake_kernel *k, enum siv_link_kind kind,
				  uint32_t ivposition, uint32_t end);
struct fake_process *fake_connect(struct fake_kernel *k, uint32_t uid, const char *vm,
				  const char *service, const char *own_service);
struct fake_process *fake_bind(struct fake_kernel *k, uint32_t uid, const char *service);
void fake_cancel(struct fake_kernel *k, struct fake_process *p);
uint64_t fake_listen(struct fake_kernel *k, const char *service);
void fake_unlisten(struct fake_kernel *k, uint64_t cookie);
unsigned int fake_channels(const struct fake_kernel *k);
/* All of them: the sockets are closed. */
void fake_close_channels(struct fake_kernel *k);
/* The module is unloaded, and loaded again as another. */
void fake_unload(struct fake_kernel *k);
void fake_load(struct fake_kernel *k);

#endif
