/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The ABI of AF_SIVSHMEM: addresses, socket options, the layout of shared memory and the generic
 * netlink protocol between the kernel module and its agent. The only home of these definitions;
 * the module, the agent, the library and the tests all include this file.
 */
#ifndef _SIVSHMEM_ABI_H
#define _SIVSHMEM_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/socket.h>
#include <linux/stddef.h>
#else
#include <sys/socket.h>
#include <linux/socket.h>
#include <stddef.h>
#ifdef __cplusplus
#define SIV_ASSERT(expr, msg) static_assert(expr, msg)
#else
#define SIV_ASSERT(expr, msg) _Static_assert(expr, msg)
#endif
#endif
#ifndef SIV_ASSERT
#define SIV_ASSERT(expr, msg) static_assert(expr, msg)
#endif

/* Bumped when anything below changes meaning; module and agent refuse each other if they differ. */
#define SIV_ABI_VERSION 1

/*
 * Addresses
 * =========
 *
 * A family number is fixed when a kernel is built, so an out-of-tree family borrows one that no
 * code in the kernel registers. 18 was AF_ASH. The module's parameter `family` overrides it where
 * it clashes; siv_family() of libsivshmem asks sysfs.
 */
#ifndef AF_SIVSHMEM
#define AF_SIVSHMEM 18
#define PF_SIVSHMEM AF_SIVSHMEM
#endif

#define SIV_VM_LEN      28 /* bytes for a VM's name, the NUL included */
#define SIV_SERVICE_LEN 64 /* bytes for a service's name, the NUL included */

/*
 * Names are [a-z0-9._-], start with a letter or digit and are compared byte by byte. All bytes
 * after the NUL, and ssiv_flags, are zero. Anything else is EINVAL.
 */
struct sockaddr_sivshmem {
	__kernel_sa_family_t ssiv_family;  /* AF_SIVSHMEM */
	__u16 ssiv_flags;                  /* 0 */
	char ssiv_vm[SIV_VM_LEN];          /* connect: "" is wherever the host says it runs */
	char ssiv_service[SIV_SERVICE_LEN];
};
SIV_ASSERT(sizeof(struct sockaddr_sivshmem) == 96, "sockaddr_sivshmem is 96 bytes");

/*
 * Socket options, level SOL_SIVSHMEM
 * ==================================
 */
#define SOL_SIVSHMEM 0x5349

enum {
	/* get: struct siv_peer. ENOTCONN before connect() or accept() have succeeded. */
	SIVSHMEM_PEER = 1,
	/*
	 * set: struct siv_alias, once, before connect() or listen(); get: the same.
	 * getsockname() and getpeername() then answer with these addresses. Accepted sockets
	 * inherit `self` from their listener.
	 */
	SIVSHMEM_ALIAS = 2,
	/*
	 * set: struct siv_alias_peer, up to SIV_ALIAS_PEERS_MAX times, before listen(): the address
	 * that sockets accepted from that VM report as their peer. A port of 0 is replaced by one
	 * that differs between channels. It never comes from the peer.
	 */
	SIVSHMEM_ALIAS_PEER = 3,
	/* set before connect(), get: bytes of the transmit and receive ring (__u32, power of two) */
	SIVSHMEM_TX_SIZE = 4,
	SIVSHMEM_RX_SIZE = 5,
	/* set, get: __u32 of SIV_DIRECT_*; ENOTCONN before connect() or accept() have succeeded */
	SIVSHMEM_DIRECT = 6,
	/*
	 * set, get: int. SO_REUSEPORT by another name: kernels before 6.8 refuse that one for
	 * families that they do not know. Listeners of one user that all have it share a service.
	 */
	SIVSHMEM_REUSEPORT = 7,
	/* get: u32. 1: what goes through the channel's memory is sealed; 0: plain. ENOTCONN. */
	SIVSHMEM_SEALED = 8,
};

/*
 * Who moves a direction's position. By default the kernel: send() and recv() do, and the shared word
 * is only an output. A direction that is set here belongs to the process that maps the control
 * window: the kernel reads the word as it reads the peer's (it may not go back, nor beyond the ring;
 * else the channel is reset), and calls that move data in that direction are EBUSY. A direction that
 * is cleared goes on from where the process left it.
 */
enum {
	SIV_DIRECT_TX = 1 << 0, /* tx_pos of the own control page */
	SIV_DIRECT_RX = 1 << 1, /* rx_pos */
};

#define SIV_SPIFFE_LEN 256 /* bytes for a SPIFFE ID, the NUL included */
#define SIV_DIGEST_LEN 32  /* SHA-256 of the peer's leaf certificate */

/* The authenticated peer of a connected socket. */
struct siv_peer {
	struct sockaddr_sivshmem addr; /* its VM and service */
	char spiffe_id[SIV_SPIFFE_LEN];
	__u8 cert_digest[SIV_DIGEST_LEN];
	__s64 not_after; /* expiry of its certificate, seconds since 1970, host's clock */
};
SIV_ASSERT(sizeof(struct siv_peer) == 96 + 256 + 32 + 8, "siv_peer has no padding");

#define SIV_ALIAS_LEN       112 /* sizeof(struct sockaddr_un) rounded up to 8 */
#define SIV_ALIAS_PEERS_MAX 32  /* peer aliases of one listener */

struct siv_alias_addr {
	__u16 len; /* bytes used of addr, 0: none */
	__u16 pad[3];
	__u8 addr[SIV_ALIAS_LEN]; /* struct sockaddr_in, _in6 or _un */
};

struct siv_alias {
	struct siv_alias_addr self;
	struct siv_alias_addr peer; /* len 0 for a listener */
};
SIV_ASSERT(sizeof(struct siv_alias) == 240, "siv_alias has no padding");

struct siv_alias_peer {
	char vm[SIV_VM_LEN];
	__u32 pad;
	struct siv_alias_addr addr;
};
SIV_ASSERT(sizeof(struct siv_alias_peer) == 152, "siv_alias_peer has no padding");

/*
 * A link's memory
 * ===============
 *
 *   page 0      link page of end 0, written by end 0 alone
 *   page 1      link page of end 1, written by end 1 alone
 *   pages 2-5   event ring 0 -> 1: 4096 channel slots, 32 bits each, written by end 0
 *   pages 6-9   event ring 1 -> 0, written by end 1
 *   pages 10-   channels, where the host puts them
 *
 * There is no header: sizes, offsets, epochs and peers come from the host over the control channel.
 * All words are little-endian and aligned. Each side reads a word that the other writes once, into
 * a local, and checks it before use.
 */
#define SIV_PAGE_SIZE   4096u
#define SIV_LINK_SLOTS  4096u /* channel slots of a link, and entries of an event ring */
#define SIV_LINK_PAGE(end)  ((end) * SIV_PAGE_SIZE)
#define SIV_EVENT_RING(end) ((2u + 4u * (end)) * SIV_PAGE_SIZE) /* the one that `end` writes */
#define SIV_LINK_CHANNELS   (10u * SIV_PAGE_SIZE) /* first byte that the host may give out */
#define SIV_LINK_SIZE_MIN   (1ull << 20)
#define SIV_LINK_SIZE_MAX   (1ull << 36)

struct siv_link_page {
	__u64 event_pos;  /* entries written to this end's event ring, free running */
	__u8 pad0[56];
	__u64 event_seen; /* entries read from the other end's event ring */
	__u8 pad1[56];
	__u64 heartbeat;  /* counted up once a second while channels are open */
	__u8 pad2[SIV_PAGE_SIZE - 136];
};
SIV_ASSERT(sizeof(struct siv_link_page) == SIV_PAGE_SIZE, "a link page is a page");
SIV_ASSERT(offsetof(struct siv_link_page, event_seen) == 64, "one cache line for each word");
SIV_ASSERT(offsetof(struct siv_link_page, heartbeat) == 128, "one cache line for each word");

/*
 * A channel's memory: one extent of a link, aligned to a page.
 *
 *   control page of the client     written by the client's side alone
 *   control page of the server     written by the server's side alone
 *   data client -> server          2^c2s_order bytes
 *   data server -> client          2^s2c_order bytes
 *
 * Positions are free-running 64-bit byte counts that start at 0 with the channel; `pos & (size - 1)`
 * is the offset in the data area. tx_pos - rx_pos is what is in flight, never more than the size.
 *
 * A wake word is a position too: "tell me when yours passes this", that is when it goes from below
 * the word to the word or beyond. It is never cleared, and 0 never matches.
 */
struct siv_chan_page {
	__u64 tx_pos;     /* bytes that this side has written */
	__u8 pad0[56];
	__u64 rx_pos;     /* bytes that this side has read */
	__u8 pad1[56];
	__u64 wake_data;  /* this side waits for the other's tx_pos to reach this */
	__u8 pad2[56];
	__u64 wake_space; /* this side waits for the other's rx_pos to reach this */
	__u8 pad3[56];
	__u32 state;      /* SIV_STATE_* of this side */
	__u8 pad4[4];
	__u8 end[16];     /* sealed channels: this side's SIV_RECORD_END, published before SHUT_WR */
	__u8 pad5[SIV_PAGE_SIZE - 280];
};
SIV_ASSERT(sizeof(struct siv_chan_page) == SIV_PAGE_SIZE, "a control page is a page");
SIV_ASSERT(offsetof(struct siv_chan_page, rx_pos) == 64, "one cache line for each word");
SIV_ASSERT(offsetof(struct siv_chan_page, wake_data) == 128, "one cache line for each word");
SIV_ASSERT(offsetof(struct siv_chan_page, wake_space) == 192, "one cache line for each word");
SIV_ASSERT(offsetof(struct siv_chan_page, state) == 256, "one cache line for each word");
SIV_ASSERT(offsetof(struct siv_chan_page, end) == 264, "in the line of what it belongs to");

/* Bits are only ever added. 0 is a page that was never attached, or the zero page after a reset. */
enum {
	SIV_STATE_ATTACHED = 1 << 0, /* this side has set up its page */
	SIV_STATE_SHUT_WR  = 1 << 1, /* tx_pos is final; published before this bit */
	SIV_STATE_SHUT_RD  = 1 << 2, /* this side will not read any more */
	SIV_STATE_ABORTED  = 1 << 3, /* closed with data unread, or reset: ECONNRESET */
};

#define SIV_CHAN_ORDER_MIN 12u /* a data area is 4 KiB ... */
#define SIV_CHAN_ORDER_MAX 26u /* ... to 64 MiB */
#define SIV_CHAN_PAGES     2u  /* control pages in front of the data areas */

/*
 * In front of each record of a SOCK_SEQPACKET channel, aligned to 8; data is padded to 8. Positions
 * move by whole records, so the longest is 8 bytes shorter than the ring.
 */
struct siv_record {
	__u32 len;   /* bytes of the record, without this header */
	__u32 flags; /* SIV_RECORD_* */
};
SIV_ASSERT(sizeof(struct siv_record) == 8, "a header never wraps: rings are multiples of 8");
enum { /* all other bits are ignored */
	SIV_RECORD_EOR = 1 << 0, /* sent with MSG_EOR */
	SIV_RECORD_END = 1 << 1, /* of sealed channels alone, and in no ring: see below */
};

/*
 * A sealed channel, whatever its type, has records in its rings whose data is AES-256-GCM's
 * ciphertext and tag, with the header as associated data; the module's chan_seal.c has the whole. The
 * record after the last is the end of the direction: without data, its header { tag's length,
 * SIV_RECORD_END } is not stored, and its tag is siv_chan_page.end. SHUT_WR without it is a violation,
 * ABORTED without it ECONNRESET for ever. Such a channel cannot be mapped.
 */
#define SIV_SEAL_SECRET 32u        /* bytes of a direction's secret */
#define SIV_SEAL_REKEY  (1u << 16) /* records of a direction between two keys */

/*
 * Mapped channels
 * ===============
 *
 * mmap() of a connected socket: the window is chosen by the offset, and mapped whole or not at all,
 * MAP_SHARED, never executable; only RO is refused to writers. A data area is mapped twice in a row,
 * so that what wraps is contiguous. Not inherited by fork(). After the channel has ended, all windows
 * show private memory that nobody else sees: zeros, but for what the process itself writes there.
 *
 * EACCES: writable RO, executable, or CONTROL without SIVSHMEM_DIRECT. EINVAL: not a window, not
 * whole, not MAP_SHARED, a 32-bit task. ENOTCONN, ECONNRESET: no channel (any more).
 */
#define SIV_MMAP_RO      0x000000000ull /* the peer's control page, then receive data, twice */
#define SIV_MMAP_TX      0x100000000ull /* transmit data, twice; writable */
#define SIV_MMAP_CONTROL 0x200000000ull /* own control page, writable */

/*
 * ioctl() of a connected socket. ENOTCONN before it is, ECONNRESET once the channel has ended.
 */

/*
 * Sleeps until one of the peer's positions in `what` is where it is wanted, or the direction is over:
 * shut down on either side. Arms the wake words; until then the peer rings no doorbell for them.
 * ETIMEDOUT: the deadline came first. EINTR. EINVAL: flags.
 */
struct siv_wait {
	__u64 data;        /* the peer's tx_pos reaches this */
	__u64 space;       /* the peer's rx_pos reaches this */
	__s64 deadline_ns; /* CLOCK_MONOTONIC; negative: none */
	__u32 what;        /* SIV_WAIT_*, at least one */
	__u32 flags;       /* 0 */
};
SIV_ASSERT(sizeof(struct siv_wait) == 32, "siv_wait has no padding");
enum { SIV_WAIT_DATA = 1 << 0, SIV_WAIT_SPACE = 1 << 1 };

#define SIV_IOC_TYPE 0xE9
#define SIV_IOC_WAIT _IOW(SIV_IOC_TYPE, 1, struct siv_wait)
/* A position of a direct direction passed the peer's wake word: notifies the peer. */
#define SIV_IOC_KICK _IO(SIV_IOC_TYPE, 2)

/*
 * Generic netlink, family "sivshmem", version SIV_ABI_VERSION
 * ===========================================================
 *
 * All commands need CAP_NET_ADMIN in the initial user namespace and come from the initial network
 * namespace. All but REGISTER, LINK_GET and CHAN_GET come from the registered agent's port only.
 *
 *   REGISTER   { ABI, VM }                          this port is the agent; EBUSY while another is
 *              answers { ABI, MODULE_NONCE }
 *   WORK       kernel -> agent                      a hint that PULL has something; may be lost
 *   PULL       dump of { UPCALL }                   takes what is queued; events are gone then
 *   ANSWER     { ID, ERROR [, SERVICE] }            ends a BIND (ERROR 0: granted, SERVICE is it)
 *                                                   or refuses a CONNECT (ERROR > 0: an errno)
 *   LISTENER   { SERVICE, TYPE }                    answers { COOKIE, UID }: a listener with room
 *                                                   in its backlog; or ECONNREFUSED: none listens;
 *                                                   EPROTOTYPE: only with another socket type;
 *                                                   EAGAIN: all backlogs are full
 *   GRANT      { CHAN, PEER, ID | COOKIE, SERVICE [, SEAL] }
 *                                                   attaches a channel: to the connect ID, which
 *                                                   then returns, or to the listener COOKIE
 *              ENOENT: that request or listener is gone; ECONNREFUSED: backlog full; ESTALE: wrong
 *              epoch; ERANGE: out of bounds; EEXIST: the slot or the pages are in use;
 *              EOPNOTSUPP: SEAL, and this kernel has no AES-GCM
 *   LINK_SET   { LINK }                             makes a link usable in a new epoch; what is
 *                                                   open in an older one is reset first
 *   LINK_DOWN  { LINK_ID, EPOCH }                   resets what is open; no grant until LINK_SET
 *   RESET      { LINK_ID, EPOCH, SLOT, GENERATION } resets one channel (revoked)
 *   LINK_GET   dump of { LINK }
 *   CHAN_GET   dump of { CHAN, PEER, SERVICE, UID, STATE, TX_BYTES, RX_BYTES, SEALED }
 */
#define SIV_GENL_NAME   "sivshmem"

enum {
	SIV_CMD_UNSPEC,
	SIV_CMD_REGISTER,
	SIV_CMD_WORK,
	SIV_CMD_PULL,
	SIV_CMD_ANSWER,
	SIV_CMD_LISTENER,
	SIV_CMD_GRANT,
	SIV_CMD_LINK_SET,
	SIV_CMD_LINK_DOWN,
	SIV_CMD_RESET,
	SIV_CMD_LINK_GET,
	SIV_CMD_CHAN_GET,
	__SIV_CMD_MAX,
	SIV_CMD_MAX = __SIV_CMD_MAX - 1
};

enum {
	SIV_A_UNSPEC,
	SIV_A_ABI,          /* u32 */
	SIV_A_VM,           /* string: name of this VM */
	SIV_A_MODULE_NONCE, /* u64: another at each load of the module */
	SIV_A_UPCALL,       /* nested SIV_UPCALL_A_* */
	SIV_A_ID,           /* u64: a request; never used again */
	SIV_A_ERROR,        /* u32: errno, positive */
	SIV_A_SERVICE,      /* string */
	SIV_A_COOKIE,       /* u64: a listener; never used again */
	SIV_A_UID,          /* u32, initial user namespace */
	SIV_A_CHAN,         /* nested SIV_CHAN_A_* */
	SIV_A_PEER,         /* binary: struct siv_peer */
	SIV_A_LINK,         /* nested SIV_LINK_A_* */
	SIV_A_LINK_ID,      /* u32 */
	SIV_A_EPOCH,        /* u32 */
	SIV_A_SLOT,         /* u32 */
	SIV_A_GENERATION,   /* u64 */
	SIV_A_STATE,        /* u32: enum siv_chan_state */
	SIV_A_TX_BYTES,     /* u64 */
	SIV_A_RX_BYTES,     /* u64 */
	SIV_A_TYPE,         /* u32: SOCK_STREAM or SOCK_SEQPACKET */
	SIV_A_SEAL,         /* binary: secrets client -> server, server -> client */
	SIV_A_SEALED,       /* u32: 1 if the channel is sealed */
	SIV_A_PAD,
	__SIV_A_MAX,
	SIV_A_MAX = __SIV_A_MAX - 1
};

enum siv_upcall_kind {
	SIV_UPCALL_BIND = 1,  /* ID, SERVICE ("" is: choose), caller; wants ANSWER */
	/* ID, VM, SERVICE, OWN_SERVICE ("" is: choose), orders, caller; wants GRANT or ANSWER */
	SIV_UPCALL_CONNECT,
	SIV_UPCALL_CANCEL,    /* ID: that CONNECT is gone (signal, close, time-out) */
	SIV_UPCALL_LISTEN,    /* SERVICE, COOKIE: somebody listens now */
	SIV_UPCALL_UNLISTEN,  /* SERVICE, COOKIE: and no longer */
	/* LINK_ID, EPOCH, SLOT, GENERATION, REASON: this kernel will not touch its pages again */
	SIV_UPCALL_CLOSED,
	SIV_UPCALL_LINK_NEW,  /* LINK_ID: a link appeared; see LINK_GET */
	SIV_UPCALL_LINK_GONE, /* LINK_ID: its device was unbound */
	SIV_UPCALL_LINK_STALLED, /* LINK_ID, EPOCH: no heartbeat; its channels were reset */
};

/* Why a channel ended, SIV_UPCALL_A_REASON */
enum siv_closed_reason {
	SIV_CLOSED_LOCAL = 1, /* the socket was closed */
	SIV_CLOSED_RESET,     /* RESET, LINK_DOWN or LINK_SET of a new epoch */
	SIV_CLOSED_VIOLATION, /* the peer broke the ring's rules */
	SIV_CLOSED_STALLED,   /* the link's heartbeat stopped */
	SIV_CLOSED_GONE,      /* the device was unbound, or the listener closed before accept() */
};

enum {
	SIV_UPCALL_A_UNSPEC,
	SIV_UPCALL_A_KIND,        /* u32: enum siv_upcall_kind */
	SIV_UPCALL_A_ID,          /* u64 */
	SIV_UPCALL_A_VM,          /* string: target, may be "" */
	SIV_UPCALL_A_SERVICE,     /* string */
	SIV_UPCALL_A_OWN_SERVICE, /* string: what the socket was bound to */
	SIV_UPCALL_A_TX_ORDER,    /* u32: log2 of the bytes wanted, caller -> target */
	SIV_UPCALL_A_RX_ORDER,    /* u32 */
	SIV_UPCALL_A_TYPE,        /* u32: SOCK_STREAM or SOCK_SEQPACKET */
	SIV_UPCALL_A_TIMEOUT_MS,  /* u32: when the kernel will give up */
	SIV_UPCALL_A_COOKIE,      /* u64 */
	SIV_UPCALL_A_LINK_ID,     /* u32 */
	SIV_UPCALL_A_EPOCH,       /* u32 */
	SIV_UPCALL_A_SLOT,        /* u32 */
	SIV_UPCALL_A_GENERATION,  /* u64 */
	SIV_UPCALL_A_REASON,      /* u32: enum siv_closed_reason */
	SIV_UPCALL_A_CALLER,      /* binary: struct siv_caller */
	SIV_UPCALL_A_PAD,
	__SIV_UPCALL_A_MAX,
	SIV_UPCALL_A_MAX = __SIV_UPCALL_A_MAX - 1
};

/*
 * Who called connect() or bind(), captured by the kernel inside the call, so that pid reuse and
 * exec cannot confuse anyone. Ids are of the initial namespaces.
 */
struct siv_caller {
	__u32 pid;       /* thread group; for the log alone */
	__u32 uid;       /* effective */
	__u32 gid;       /* effective */
	__u32 flags;     /* SIV_CALLER_* */
	__u64 exe_dev;   /* executable: device number as stat(2) has it, and inode; 0: none */
	__u64 exe_ino;
	__u64 cgroup_id; /* cgroup v2 id, the inode of its folder; 0: no cgroup v2 */
	__u64 netns_ino; /* inode of /proc/PID/ns/net */
};
SIV_ASSERT(sizeof(struct siv_caller) == 48, "siv_caller has no padding");

enum {
	SIV_CALLER_INIT_NETNS = 1 << 0, /* in the initial network namespace */
	SIV_CALLER_INIT_MNTNS = 1 << 1, /* in the initial mount namespace */
	SIV_CALLER_INIT_USERNS = 1 << 2, /* in the initial user namespace */
};

enum siv_link_kind {
	SIV_LINK_LOCAL = 1, /* kernel memory; two of them, each the other's peer */
	SIV_LINK_PCI,       /* an ivshmem-doorbell device */
};

enum {
	SIV_LINK_A_UNSPEC,
	SIV_LINK_A_ID,        /* u32: names it towards the kernel, until it is gone */
	SIV_LINK_A_KIND,      /* u32: enum siv_link_kind */
	SIV_LINK_A_IVPOSITION, /* u32: PCI alone */
	SIV_LINK_A_SIZE,      /* u64: bytes; LINK_SET may use less than the device has */
	SIV_LINK_A_END,       /* u32: 0 or 1; which link page is ours. Fixed for local links */
	SIV_LINK_A_PEER_VM,   /* string */
	SIV_LINK_A_PEER_IVPOSITION, /* u32: where our doorbell goes */
	SIV_LINK_A_EPOCH,     /* u32: 0 is: never set */
	SIV_LINK_A_TIMEOUT_MS, /* u32: link-timeout for the heartbeat, 0: none */
	SIV_LINK_A_UP,        /* u32: 1 if grants are taken */
	SIV_LINK_A_NAME,      /* string: PCI address, or "local" */
	SIV_LINK_A_CHANNELS,  /* u32: attached now */
	/* what the peer did that no honest kernel does, since the link appeared */
	SIV_LINK_A_VIOLATIONS, /* u64: channels that were reset because of a word that cannot be true */
	SIV_LINK_A_BAD_EVENTS, /* u64: positions of the event ring and slots in it that cannot be true */
	SIV_LINK_A_FLOODS,     /* u64: how often its doorbell was masked */
	SIV_LINK_A_PAD,
	__SIV_LINK_A_MAX,
	SIV_LINK_A_MAX = __SIV_LINK_A_MAX - 1
};

enum {
	SIV_CHAN_A_UNSPEC,
	SIV_CHAN_A_LINK_ID,    /* u32 */
	SIV_CHAN_A_EPOCH,      /* u32 */
	SIV_CHAN_A_SLOT,       /* u32: < SIV_LINK_SLOTS, the same on both ends */
	SIV_CHAN_A_GENERATION, /* u64: never used again on that link */
	SIV_CHAN_A_OFFSET,     /* u64: first byte of the extent in the link */
	SIV_CHAN_A_C2S_ORDER,  /* u32: log2 of the bytes of the area client -> server */
	SIV_CHAN_A_S2C_ORDER,  /* u32 */
	SIV_CHAN_A_SERVER,     /* u32: 1 if this side is the server */
	SIV_CHAN_A_TYPE,       /* u32: SOCK_STREAM or SOCK_SEQPACKET */
	SIV_CHAN_A_PAD,
	__SIV_CHAN_A_MAX,
	SIV_CHAN_A_MAX = __SIV_CHAN_A_MAX - 1
};

enum siv_chan_state {
	SIV_CHAN_QUEUED = 1, /* waits for accept() */
	SIV_CHAN_OPEN,
	SIV_CHAN_SHUT,       /* one direction or both were shut down */
	SIV_CHAN_DEAD,       /* reset; the socket is still open */
};

#endif
