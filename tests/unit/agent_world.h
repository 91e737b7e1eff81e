/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two agents and the broker, with real TLS between them:
 *
 *   fake kernel -- agent "cockpit" -- socketpair -- broker -- socketpair -- agent "adas" -- fake kernel
 *
 * In cockpit uid 1001 is "dashboard", which may talk to adas' "cache" (uid 2001); uid 1002 is
 * "radio", which may not; "rogue" (uid 1003) is in cockpit's agent.conf, but the host does not let
 * that VM hold it. Time stands still unless a test moves it.
 */
#ifndef SIVSHMEM_TEST_AGENT_WORLD_H
#define SIVSHMEM_TEST_AGENT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "broker/audit.h"
#include "broker/broker.h"
#include "broker/ca.h"
#include "broker/policy.h"
#include "fake_kernel.h"

enum { COCKPIT, ADAS, NR_VMS };

extern struct world {
	char dir[64];
	struct loop *loop;
	struct policy *policy;
	struct ca *ca;
	struct audit *audit;
	struct journal *journal; /* of that broker */
	struct broker *broker;
	uint32_t epoch;
	struct agent_config config[NR_VMS];
	struct agent agent[NR_VMS];
	bool running[NR_VMS];
	struct fake_kernel kernel[NR_VMS];
	unsigned int nr_ready;
} w;

/* Setup and teardown of each test: both agents are ready, nobody listens. */
int world_setup(void **state);
int world_teardown(void **state);

/* Runs everything until nothing happens any more. */
void pump(void);
void advance_ms(unsigned int ms);

/* Parts that a test takes away and brings back. */
void start_broker(void);
void stop_broker(void);
void start_agent(int vm);
void stop_agent(int vm);
/* The agent's end of a new control stream of that VM. */
int new_stream(int vm);

/* A process of uid 1001 calls connect(), until nothing happens any more; what it must have got. */
struct fake_process *connect_cache(void);
void connected(const struct fake_process *p);
void refused(const struct fake_process *p, int error); /* and nothing_is_left() */

/* Whether a line of the audit log has both. */
bool audited(const char *a, const char *b);
/* No sessions or channels, on any side. */
void nothing_is_left(void);

#endif
