/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control protocol of sivshmem-switch: what sivshmem-hostd asks of it and what it is told.
 *
 * A UNIX SOCK_SEQPACKET socket, RUNDIR/switch.sock; one packet is one struct from this file, in the
 * machine's own byte order, since both ends are on one machine. The peer has to be root or the
 * switch's own uid, and there is one client at a time: a second one gets HELLO's reply with EBUSY.
 *
 *   request (client)   reply (switch)      what it does
 *   HELLO              swp_hello_reply     first of all: protocol version, which switch this is
 *   LINK_ADD           swp_link_reply      makes a link; the same link again is no error
 *   LINK_DEL           swp_link_reply      forgets a link that no QEMU holds
 *   STATE              swp_link_state      the first link whose serial is above `after`, or ENOENT
 *   MEM                swp_mem_reply       the link's size, and its memfd by SCM_RIGHTS
 *   EPOCH_BUMP         swp_link_reply      epoch + 1
 *
 *   event (switch)
 *   JOINED             swp_event           a QEMU has joined an end of a link
 *   LINGERING          swp_event           it closed its socket, but its process lives
 *   GONE               swp_event           that process exited; epoch is already the next one
 *
 * Each request gets exactly one reply, in order, with the request's seq. A reply with error != 0 is
 * a bare header. Events have seq 0 and are in order with replies, so a client that walks STATE and
 * then applies events has missed nothing. The switch queues nothing: what does not fit the
 * socket's buffer ends the connection, and the client connects again and walks STATE.
 *
 * A client that breaks the protocol (no HELLO first, wrong length, not a request) gets an error and
 * loses its connection; links and the QEMUs on them are not touched by that.
 */
#ifndef SIVSHMEM_SWITCH_PROTO_H
#define SIVSHMEM_SWITCH_PROTO_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define SWP_CONTROL_SOCKET "switch.sock" /* in the run directory */

#define SWP_SIZE_MIN (UINT64_C(64) << 10) /* bytes of a link's memory; a power of two */
#define SWP_SIZE_MAX (UINT64_C(64) << 30)

#define SWP_UID_SWITCH UINT32_MAX /* in swp_end_config: root or the switch's own uid */

enum {
	SWP_VERSION = 1,
	SWP_ENDS = 2,        /* of a link */
	SWP_LINKS_MAX = 256, /* of a switch */
	SWP_VECTORS_MAX = 32, /* of an end; all of a join's messages must fit a socket's buffer */
	SWP_LINK_LEN = 64,   /* bytes of a link's name, the NUL included */
	SWP_VM_LEN = 28,     /* bytes of a VM's name, the NUL included */
	SWP_SOCKET_LEN = 96, /* bytes of a socket's path, the NUL included */
};

enum swp_type {
	SWP_HELLO = 1,
	SWP_LINK_ADD,
	SWP_LINK_DEL,
	SWP_STATE,
	SWP_MEM,
	SWP_EPOCH_BUMP,

	SWP_JOINED = 0x4001,
	SWP_LINGERING,
	SWP_GONE,

	SWP_REPLY = 0x8000, /* or-ed to a request's type */
};

enum swp_end_state {
	SWP_END_EMPTY,     /* a QEMU may join */
	SWP_END_JOINED,    /* a QEMU is connected */
	SWP_END_LINGERING, /* its socket is closed; it may still map the memory: nobody may join */
};

struct swp_hdr {
	uint16_t type;  /* enum swp_type */
	uint16_t len;   /* bytes of the whole packet */
	uint32_t seq;   /* request: the client's choice; reply: the same; event: 0 */
	uint32_t error; /* reply: an errno, 0 if it was done; otherwise 0 */
	uint32_t pad;   /* 0 */
};

struct swp_hello {
	struct swp_hdr hdr;
	uint32_t version; /* SWP_VERSION; another one is refused with EPROTONOSUPPORT */
	uint32_t pad;     /* 0 */
};

struct swp_hello_reply {
	struct swp_hdr hdr;
	uint32_t version;
	int32_t pid;       /* of the switch */
	uint64_t instance; /* random for each start: another one had other links and epochs */
};

/* Strings: a NUL, and only NULs after it. Names: [a-z0-9._-], first a letter or digit. */
struct swp_end_config {
	char vm[SWP_VM_LEN];
	uint32_t uid; /* of this VM's QEMU, or SWP_UID_SWITCH */
	/*
	 * Where this VM's QEMU connects, relative to the run directory: names with single slashes
	 * between them. Its folder must exist and be writable to root or the switch's uid only.
	 */
	char socket[SWP_SOCKET_LEN];
};

/*
 * Done also when such a link exists with all parameters equal; EEXIST when one differs, EADDRINUSE
 * when another link has that socket, ENOSPC at SWP_LINKS_MAX, EPERM for a folder that others can
 * write in or a uid that the switch may not give a socket to, else the errno of what failed.
 */
struct swp_link_add {
	struct swp_hdr hdr;
	char link[SWP_LINK_LEN];
	uint64_t size;    /* bytes, a power of two from SWP_SIZE_MIN to SWP_SIZE_MAX */
	uint32_t vectors; /* of each end, 1 to SWP_VECTORS_MAX; QEMU's `vectors=` is the same */
	uint32_t pad;     /* 0 */
	struct swp_end_config end[SWP_ENDS];
};

/* LINK_DEL (EBUSY: a QEMU holds an end), MEM, EPOCH_BUMP; each ENOENT without such a link. */
struct swp_link_name {
	struct swp_hdr hdr;
	char link[SWP_LINK_LEN];
};

/* LINK_ADD, LINK_DEL, EPOCH_BUMP */
struct swp_link_reply {
	struct swp_hdr hdr;
	uint32_t serial; /* of the link; from 1, not used again while this switch runs */
	uint32_t epoch;  /* from 1 */
};

/*
 * MEM. The memfd comes in the same packet. It can neither grow nor shrink; the two QEMUs map it, so
 * what is written here is written into both VMs, and a hole punched reads as zeros in both.
 */
struct swp_mem_reply {
	struct swp_hdr hdr;
	uint32_t serial;
	uint32_t epoch;
	uint64_t size; /* bytes */
};

struct swp_state {
	struct swp_hdr hdr;
	uint32_t after; /* a link's serial; 0 for the first link */
	uint32_t pad;   /* 0 */
};

struct swp_end {
	struct swp_end_config config;
	uint32_t state; /* enum swp_end_state; what follows is 0 while it is SWP_END_EMPTY */
	uint32_t ivposition;
	int32_t pid;  /* of the QEMU, as seen by the switch */
	uint32_t uid; /* of the QEMU when it connected */
};

struct swp_link_state {
	struct swp_hdr hdr;
	char link[SWP_LINK_LEN];
	uint64_t size;
	uint32_t vectors;
	uint32_t serial;
	uint32_t epoch;
	uint32_t pad;
	struct swp_end end[SWP_ENDS];
};

/*
 * LINGERING without JOINED before it: that QEMU was lost while it joined. GONE without LINGERING:
 * its exit was seen first. JOINED is always followed by GONE before the next JOINED of that end.
 */
struct swp_event {
	struct swp_hdr hdr;
	char link[SWP_LINK_LEN];
	uint32_t serial;
	uint32_t epoch; /* of the link now */
	uint32_t end;   /* 0 or 1, as in LINK_ADD */
	uint32_t ivposition;
	int32_t pid;
	uint32_t uid;
};

union swp_msg {
	struct swp_hdr hdr;
	struct swp_hello hello;
	struct swp_hello_reply hello_reply;
	struct swp_link_add link_add;
	struct swp_link_name link_name;
	struct swp_link_reply link_reply;
	struct swp_mem_reply mem_reply;
	struct swp_state state;
	struct swp_link_state link_state;
	struct swp_event event;
};

static_assert(sizeof(struct swp_hdr) == 16, "swp_hdr");
static_assert(sizeof(struct swp_hello) == 24, "swp_hello");
static_assert(sizeof(struct swp_hello_reply) == 32, "swp_hello_reply");
static_assert(sizeof(struct swp_end_config) == 128, "swp_end_config");
static_assert(sizeof(struct swp_link_add) == 16 + 64 + 16 + 2 * 128, "swp_link_add");
static_assert(offsetof(struct swp_link_add, size) == 80, "swp_link_add.size");
static_assert(offsetof(struct swp_link_add, end) == 96, "swp_link_add.end");
static_assert(sizeof(struct swp_link_name) == 80, "swp_link_name");
static_assert(sizeof(struct swp_link_reply) == 24, "swp_link_reply");
static_assert(sizeof(struct swp_mem_reply) == 32, "swp_mem_reply");
static_assert(sizeof(struct swp_state) == 24, "swp_state");
static_assert(sizeof(struct swp_end) == 144, "swp_end");
static_assert(offsetof(struct swp_link_state, size) == 80, "swp_link_state.size");
static_assert(offsetof(struct swp_link_state, end) == 104, "swp_link_state.end");
static_assert(sizeof(struct swp_link_state) == 104 + 2 * 144, "swp_link_state");
static_assert(sizeof(struct swp_event) == 104, "swp_event");

#endif
