/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sivshmem-hostd and sivshmem-switch as processes, with scripted agents, and processes that hold
 * the links' ends as a QEMU would. No VM is needed to see who survives whom.
 */
#ifndef HOSTD_FIXTURE_H
#define HOSTD_FIXTURE_H

#include "broker_fixture.h"

#include <jansson.h>
#include <sys/types.h>

#define PATIENCE_MS 20000 /* far beyond anything but a hang */

struct daemon_fixture {
	struct fixture fx; /* first; its broker is a process */
	char bin[256];     /* build/bin, beside build/unit */
	char folder[64], config[96], log[96];
	pid_t hostd;
	pid_t qemu[N_VMS]; /* 0: none */
	const char *user;        /* whom it becomes; NULL: it stays who it is */
	unsigned long long caps; /* that hostd is started with; 0: all */
};

/* Setup and teardown of each test: the daemons run, nobody is connected. */
int hostd_setup(void **state);
int hostd_teardown(void **state);

void hostd_write_config(const struct daemon_fixture *d);
/* Returns when it says that it is ready. */
void hostd_start(struct daemon_fixture *d);
void hostd_kill(struct daemon_fixture *d, int signo, int expected);
/* It has ended, and been waited for: so have the agents' streams. */
void hostd_lost(struct daemon_fixture *d);
/* It does not start: exit status 1. */
void hostd_expect_no_start(struct daemon_fixture *d);

/* A process that holds an end of a link, and the IVPosition that it was given. */
uint32_t hostd_start_qemu(struct daemon_fixture *d, unsigned int vm, const char *socket);
pid_t hostd_switch_pid(const struct daemon_fixture *d);
/* Kills the switch; another one has been started. */
void hostd_lose_switch(struct daemon_fixture *d);
void hostd_kill_qemu(struct daemon_fixture *d, unsigned int vm);

void hostd_connect_agent(struct daemon_fixture *d, unsigned int vm);
/* Both agents are there again, and their kernels have @channel. */
void hostd_report_channel(struct daemon_fixture *d, const struct fx_channel *channel);
/* LINK of that IVPosition, whatever other links say before it. */
const struct sivp_msg *hostd_expect_link(struct daemon_fixture *d, unsigned int vm,
					 uint32_t position, bool up);
/* A and B up and connected. */
struct fx_channel hostd_bring_up(struct daemon_fixture *d);

/* The reply to a request, whose reference is taken. */
json_t *hostd_call(struct daemon_fixture *d, json_t *request);
/* To a command without arguments, which must succeed. */
json_t *hostd_ask(struct daemon_fixture *d, const char *command);
size_t hostd_count_channels(struct daemon_fixture *d);
/* What was sent on any stream before this has been handled after it. */
void hostd_barrier(struct daemon_fixture *d);

#endif
