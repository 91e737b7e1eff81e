/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A switch that runs in the test's own thread, and the parties that talk to it over real sockets:
 * QEMUs (child processes, since the switch looks at processes) and a control client.
 *
 *      test ── control client ──┐
 *        │                      ├── struct switchd, stepped by the test
 *        └── children: QEMUs ───┘
 *
 * Nothing here sleeps: pump() serves what is ready, pump_until() blocks for the next event.
 */
#ifndef SIVSHMEM_TEST_SWITCH_FIXTURE_H
#define SIVSHMEM_TEST_SWITCH_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#include <cmocka.h>

#include "switch.h"
#include "switch_client.h"

#define TEST_SIZE (UINT64_C(1) << 20) /* bytes of a test link */
#define NO_MESSAGE INT64_MIN

enum { TEST_VECTORS = 3, TEST_EVENTS_MAX = 64 };

struct fixture {
	char dir[64];
	struct switchd sw;
	int control; /* the control client, -1 when none */
	uint32_t seq;
	struct swp_event events[TEST_EVENTS_MAX]; /* not yet taken by next_event() */
	unsigned int n_events;
};

/* cmocka's set-up and tear-down: a switch without links, a control client that said HELLO. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void pump(struct fixture *f);
void pump_until(struct fixture *f, bool (*done)(struct fixture *f, void *arg), void *arg);

/* control client */
int control_open(struct fixture *f); /* a connected socket, nothing sent */
void control_hello(struct fixture *f); /* opens f->control and says HELLO */
void control_close(struct fixture *f);
/* The reply's errno; events that come first are kept. memfd may be NULL. */
int control_call(struct fixture *f, union swp_msg *req, enum swp_type type, union swp_msg *reply,
		 int *memfd);
/* The next event, or type 0 in it if there is none. */
struct swp_event next_event(struct fixture *f);
/* A link NAME between VMs NAME-0 and NAME-1, with sockets NAME-0.sock and NAME-1.sock */
union swp_msg link_request(const char *name);
struct link *add_link(struct fixture *f, const char *name);

/* QEMUs */
struct qemu {
	pid_t pid;
	int command; /* to the child; closing it ends the child */
	int sock;    /* the parent's copy of its connection */
};

struct message {
	int64_t value; /* NO_MESSAGE: none; end of file: eof */
	int fd;        /* for the reader to close, or -1 */
	bool eof;
};

struct qemu qemu_start(void);
/* Connects to this end; the switch has not been stepped yet. */
void qemu_connect(struct qemu *q, struct end *end);
/* qemu_start(), qemu_connect(), pump() */
struct qemu qemu_join(struct fixture *f, struct end *end);
struct message qemu_read(struct qemu *q);
/* Reads all that is there, closes what came with it, and says how many messages it was. */
unsigned int qemu_drain(struct qemu *q);
/* Closes the connection in both processes; the child lives on. */
void qemu_close(struct qemu *q);
/* SIGKILL; returns once it is dead and reaped. The switch has not been stepped yet. */
void qemu_kill(struct qemu *q);
void expect_message(struct qemu *q, int64_t value);     /* without a descriptor */
int expect_message_fd(struct qemu *q, int64_t value);   /* with one, returned */
void expect_fds(struct qemu *q, int64_t value, unsigned int n); /* n with one each, closed here */
void expect_nothing(struct qemu *q);
/* A refusal with this errno, and the end of the connection. */
void expect_refused(struct qemu *q, int error);

unsigned int count_fds(void);

#endif
