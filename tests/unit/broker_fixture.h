/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A broker with three VMs whose agents are scripts: each test says what they send and expects what
 * they get. TLS is opaque bytes here. Time stands still until loop_advance(). (test_hostd.c uses
 * the agents alone, with a broker that is a daemon.)
 *
 *   links a--b, a--c         a: cli, loc      b: srv, other      c: srv2
 *   allowed: a/cli -> b/srv, a/cli -> c/srv2, a/cli -> a/loc, b/srv -> a/loc
 */
#ifndef BROKER_FIXTURE_H
#define BROKER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/alloc.h"
#include "broker/broker.h"
#include "proto/proto.h"

enum { A, B, C, N_VMS };
enum { LINK_AB, LINK_AC, N_LINKS };

#define FX_LINK_SIZE  (2u << 20)
#define FX_LOCAL_SIZE (2u << 20)
#define FX_NOW        1800000000 /* seconds since 1970, when a test starts */
#define FX_MESSAGE    SIVP_FRAME_MAX

struct fx_agent {
	int fd; /* the agent's end of the control stream, -1: none */
	uint8_t in[1 << 17];
	size_t len, used;
	struct sivp_msg msg; /* the last one that was expected */
	uint8_t boot_id[16];
	uint64_t module_nonce;
	uint8_t nonce[SIVP_NONCE_LEN];
	uint32_t positions[4];
	unsigned int n_positions;
};

struct fx_link {
	struct fixture *fx;
	unsigned int index;
	uint32_t epoch;
	bool hold_bumps; /* bump() is not answered before fx_answer_bump(), else by fx_run() */
	bool bump_asked;
	unsigned int n_bumps, n_scrubs;
	int scrub_error;
	uint8_t *memory;
};

struct fixture {
	struct loop *loop;
	struct policy *policy;
	struct ca *ca;
	struct audit *audit;
	char state[32]; /* folder of the journal */
	struct journal *journal;
	uint64_t instance; /* of the switch */
	struct broker *broker;
	struct broker_limits limits;
	struct fx_agent agent[N_VMS];
	struct fx_link link[N_LINKS];
	unsigned int n_ended; /* streams */
	struct sivp_builder out;
};

/* A channel as an agent's GRANT names it. */
struct fx_channel {
	uint32_t position[2], end[2]; /* by side: client, server */
	uint32_t epoch, slot;
	uint64_t generation, offset;
	uint64_t session[2];
	bool sealed; /* as reports say */
};

/* Setup and teardown of each test. The links are started and ready, nobody is joined. */
int fx_setup(void **state);
int fx_teardown(void **state);
/* The agents alone; with fx->loop NULL the broker is a daemon, and messages are waited for. */
void fx_init_agents(struct fixture *fx);
/*
 * Another broker in place of the one that there was, with its journal; all streams are cut. The
 * links start, of the switch that there was.
 */
void fx_restart_broker(struct fixture *fx);
/* The same, killed: nothing that it does at its end gets into the journal. */
void fx_kill_broker(struct fixture *fx);
/* The parts of fx_restart_broker(). */
void fx_new_broker(struct fixture *fx);
void fx_free_broker(struct fixture *fx);
/* The journal's file, for who reads, breaks or removes it. */
void fx_journal_path(const struct fixture *fx, char path[64]);
void fx_start_links(struct fixture *fx);
/* The switch has told all there was. */
void fx_links_ready(struct fixture *fx);

/* Lets the broker do all that it can do now. */
void fx_run(struct fixture *fx);

/* Streams */
void fx_connect(struct fixture *fx, unsigned int vm);
void fx_hang_up(struct fixture *fx, unsigned int vm);
void fx_send_bytes(struct fixture *fx, unsigned int vm, const void *bytes, size_t len);
/* Begins a message of that VM's agent; fx_send() ends it and sends it. */
struct sivp_builder *fx_message(struct fixture *fx, enum sivp_type type, uint64_t session);
void fx_send(struct fixture *fx, unsigned int vm);
/* The next message that the agent got; it must be of that type. */
const struct sivp_msg *fx_expect(struct fixture *fx, unsigned int vm, enum sivp_type type);
const struct sivp_msg *fx_expect_any(struct fixture *fx, unsigned int vm);
/* It got nothing (more). */
void fx_expect_nothing(struct fixture *fx, unsigned int vm);
/* The broker has closed its stream. */
void fx_expect_hang_up(struct fixture *fx, unsigned int vm);
void fx_expect_reject(struct fixture *fx, unsigned int vm, uint64_t session,
		      enum sivp_reason reason);

/* Conversations */
void fx_send_hello(struct fixture *fx, unsigned int vm);
void fx_hello(struct fixture *fx, unsigned int vm); /* and WELCOME */
void fx_reported(struct fixture *fx, unsigned int vm);
void fx_ack(struct fixture *fx, unsigned int vm, uint32_t position, uint32_t epoch);
/* LINK arrives, and says so. */
const struct sivp_msg *fx_expect_link(struct fixture *fx, unsigned int vm, uint32_t position,
				      uint32_t epoch, bool up);
/* LINK UP = 1 arrives and is acknowledged. */
void fx_expect_link_up(struct fixture *fx, unsigned int vm, uint32_t position);
/* A and B (and C) joined, said hello, reported nothing, and took their links. */
void fx_up(struct fixture *fx);
void fx_up_all(struct fixture *fx);

void fx_open(struct fixture *fx, unsigned int vm, uint64_t session, const char *service,
	     const char *to_vm, const char *to_service);
/* OPEN up to OPENED; the server's session. @service of A, to @to_service of VM @server. */
uint64_t fx_open_to(struct fixture *fx, uint64_t session, unsigned int server,
		    const char *to_service);
void fx_ready(struct fixture *fx, unsigned int vm, uint64_t session, const char *peer_id,
	      uint8_t digest, uint8_t peer_digest, uint8_t exporter);
/* Both READY, fitting. */
void fx_ready_both(struct fixture *fx, uint64_t session, unsigned int server,
		   uint64_t server_session, const char *to_service);
/* GRANT arrives there. */
void fx_expect_grant(struct fixture *fx, unsigned int vm, unsigned int side, uint64_t session,
		     struct fx_channel *channel);
void fx_attached(struct fixture *fx, unsigned int vm, uint64_t session, uint32_t error);
/* From OPEN up to the server's GRANT; the server's session. */
uint64_t fx_granted(struct fixture *fx, uint64_t session, unsigned int server,
		    const char *to_service, struct fx_channel *channel);
/* All of it: A's cli is connected to @server's @to_service. */
struct fx_channel fx_connected(struct fixture *fx, uint64_t session, unsigned int server,
			       const char *to_service);
void fx_closed(struct fixture *fx, unsigned int vm, const struct fx_channel *channel,
	       unsigned int side);
void fx_expect_close(struct fixture *fx, unsigned int vm, const struct fx_channel *channel,
		     unsigned int side);
void fx_report(struct fixture *fx, unsigned int vm, const struct fx_channel *channel,
	       unsigned int side, const char *peer_vm, const char *service,
	       const char *peer_service);

/* Switch */
void fx_join(struct fixture *fx, unsigned int link, unsigned int end, uint32_t position);
void fx_gone(struct fixture *fx, unsigned int link, unsigned int end);
void fx_answer_bump(struct fixture *fx, unsigned int link);

#endif
