/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sivshmem-switch from the inside.
 *
 * One thread, one epoll loop, no blocking call but the ones that set a link up. A switchd owns its
 * links and the control connection; a link owns its memory and two ends; an end owns its listening
 * socket and, while a QEMU holds it, that QEMU's connection, pidfd and eventfds:
 *
 *            join                       socket closed, or we dropped it
 *   EMPTY ----------> JOINED ------------------------------------------> LINGERING
 *     ^                  |                                                   |
 *     +------------------+------------- process exited (pidfd) --------------+   epoch + 1
 *
 * Layers, each calling only downwards, except that ends report what happens through
 * control_event(): control.c (requests) > ivshmem.c (QEMU's protocol) > link.c (what exists) >
 * unix_socket.c, common/loop.c. What an end, a link or the control connection watches is closed by
 * loop_close().
 */
#ifndef SIVSHMEM_SWITCH_H
#define SIVSHMEM_SWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/bucket.h"
#include "common/list.h"
#include "common/loop.h"

#include "switch_proto.h"

enum {
	/* IVPosition values: 16 bit; 0 and 65535 stay unused so that they can mean "none" */
	ID_NONE = 0,
	ID_MIN = 1,
	ID_MAX = 65534,
	ID_BITMAP_WORDS = 65536 / 64,

	/*
	 * Joins of one end: this many in a row, then one for each interval. A VM whose QEMU is
	 * restarted in a loop must neither use up the ids that its neighbour may be told nor keep
	 * hostd busy. More than that is refused: QEMU fails to start, its supervisor tries again.
	 */
	JOIN_BURST = 16,
	JOIN_INTERVAL_MS = 1000,
	/* Log lines about refused connections, for each end; the rest is counted. */
	REFUSAL_LOG_BURST = 8,
	REFUSAL_LOG_INTERVAL_MS = 10000,

	QEMU_BACKLOG = 4,    /* connections of QEMUs that wait for accept(), for each end */
	CONTROL_BACKLOG = 4, /* the same for control clients */
};

struct id_set {
	uint64_t word[ID_BITMAP_WORDS];
};

struct switchd;
struct link;

struct end {
	struct link *link;
	unsigned int index; /* in link->end */
	struct swp_end_config config;
	struct loop_io listener; /* always there */
	struct bucket joins;
	struct bucket refusals;
	uint32_t refusals_unlogged;

	/* From here on: while state is not SWP_END_EMPTY. */
	enum swp_end_state state;
	uint16_t id; /* the QEMU's IVPosition */
	pid_t pid;
	uid_t uid;
	struct loop_io client;  /* connection to the QEMU; only while SWP_END_JOINED */
	struct loop_io process; /* its pidfd: readable once the process has exited */
	int eventfd[SWP_VECTORS_MAX]; /* the doorbell towards this QEMU; new ones at each join */
	/*
	 * The QEMU at the opposite end holds these eventfds under this id. A leave message is sent
	 * once for that, never twice and never without: QEMU 7.2 frees on each and clears nothing.
	 */
	bool known;
	/*
	 * Every id that this QEMU has been told. It must not hear of one of them as of a newcomer:
	 * QEMU 7.2 keeps a dangling pointer for each peer that left. Cleared when it exits.
	 */
	struct id_set told;
};

struct link {
	struct switchd *sw;
	char name[SWP_LINK_LEN];
	uint64_t size; /* bytes */
	uint32_t vectors;
	uint32_t serial;
	uint32_t epoch;
	int memfd;
	struct end end[SWP_ENDS];
};

struct control {
	struct loop_io listener;
	struct loop_io client; /* the one client; fd is -1 when there is none */
	pid_t client_pid;
	bool greeted; /* HELLO was done */
};

struct switchd {
	struct loop *loop;
	char *run_dir; /* absolute */
	int spare_fd;  /* given up for a moment to refuse a connection when descriptors run out */
	uint64_t instance;
	uint32_t last_serial;
	uint16_t last_id;
	struct id_set ids_held; /* of all ends that are not empty */
	unsigned int n_links;
	struct link *links[SWP_LINKS_MAX]; /* by serial, ascending */
	struct control control;
};

static inline bool id_set_has(const struct id_set *set, uint16_t id)
{
	return set->word[id / 64] >> (id % 64) & 1;
}

static inline void id_set_add(struct id_set *set, uint16_t id)
{
	set->word[id / 64] |= UINT64_C(1) << (id % 64);
}

static inline void id_set_del(struct id_set *set, uint16_t id)
{
	set->word[id / 64] &= ~(UINT64_C(1) << (id % 64));
}

static inline struct end *end_opposite(struct end *end)
{
	return &end->link->end[1 - end->index];
}

/* switchd.c */

/*
 * Starts to serve in run_dir (absolute; its lock is held by the caller). 0 or -errno, with a log
 * line. switchd_exit() ends all links and takes the sockets away.
 */
int switchd_init(struct switchd *sw, const char *run_dir);
void switchd_exit(struct switchd *sw);
/*
 * Accepts a connection: non-blocking descriptor or -errno. With -EMFILE one connection was accepted
 * and given to refuse(), which owns it: it could otherwise be neither served nor refused, and the
 * loop would spin on it.
 */
int switchd_accept(struct switchd *sw, int listener, struct ucred *peer,
		   void (*refuse)(int fd, int error));

/* link.c */

struct link *link_find(struct switchd *sw, const char *name);
/* The link with the lowest serial above @after, or NULL. */
struct link *link_next(struct switchd *sw, uint32_t after);
/* Errors as for SWP_LINK_ADD, negative. The request may hold anything. */
int link_add(struct switchd *sw, const struct swp_link_add *req, struct link **out);
/* -EBUSY while a QEMU holds an end. */
int link_del(struct link *link);
/* Frees it whoever holds it. */
void link_free(struct link *link);
void link_bump_epoch(struct link *link);
/*
 * An IVPosition for a QEMU that joins: not held by any end of this switch, so different from all
 * that this VM has on other links, and never told to the QEMU at the opposite end. The end owns it
 * until end_put_id(). ID_NONE if there is none.
 */
uint16_t end_get_id(struct end *end);
void end_put_id(struct end *end);

/* ivshmem.c */

/* loop_io.ready of end->listener */
void ivshmem_accept(struct loop_io *io, uint32_t events);
/*
 * Lets a QEMU join an empty end; takes both descriptors over, whatever comes of it. pidfd: becomes
 * readable when the process has exited. 0 if the end is held from now on, or -errno.
 */
int ivshmem_join(struct end *end, int fd, int pidfd, pid_t pid, uid_t uid);
/* Gives up what a QEMU holds at this end, without telling anybody. For link_free(). */
void ivshmem_abandon(struct end *end);

/* control.c */

int control_init(struct switchd *sw);
void control_exit(struct switchd *sw);
/* Makes fd the control client; takes it over. 0 or -errno. */
int control_attach(struct switchd *sw, int fd, pid_t pid);
/* Tells the client, if there is one, what has happened at an end. */
void control_event(struct end *end, enum swp_type type);

#endif
