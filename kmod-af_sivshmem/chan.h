/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Channels: two rings and two control pages in a link's memory, seen from one side.
 *
 * The peer may write any shared byte at any time. Every shared word is read once into a local,
 * checked against what this side keeps privately, and only then used. A word that cannot be true is
 * a violation: it resets this channel and nothing else.
 *
 * References: the link's list holds one while the channel is attached, its socket (or the
 * listener's queue) another, and the CLOSED event one while it is queued.
 *
 * Waking. A wake word says "tell me when your position reaches this". Letters mark the barriers:
 *
 *	waiter:    W(wake); full barrier [A]; R(position); sleep if it is not there yet
 *	producer:  W(position), release; full barrier [B]; R(wake); notify iff old < wake <= new
 *
 * If the waiter does not see the new position, then its store to the wake word is before the
 * producer's load of it, and the producer notifies. A notification goes through the link's event
 * ring (barrier [C], see link.c) to siv_chan_event(), which wakes this side's wait queue.
 *
 * What a position [P] or a state [S] speaks of is stored before it, with release, and looked at
 * after it, with acquire: bytes are there before tx_pos, no longer read before rx_pos, and all of
 * them are published before SHUT_WR.
 */
#ifndef _SIV_CHAN_H
#define _SIV_CHAN_H

#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <sivshmem/abi.h>

#include "upcall.h"

struct inode;
struct iov_iter;
struct page;
struct siv_link;
struct sock;
struct siv_seal;
struct ubuf_info;

/* A wake word of this side. */
struct siv_wake {
	u64 word; /* what the shared one holds */
	bool due; /* somebody relies on it, and no notification has come since */
};

struct siv_zc_queue;

/* Whether spinning pays in one direction: sock_wait.c. */
struct siv_spin {
	u8 misses; /* how often it was in vain lately */
	u8 skip;   /* waits that sleep at once */
};

struct siv_chan {
	/* fixed at attach */
	struct siv_link *link;   /* held */
	u32 slot, epoch, type;
	u64 generation, offset;
	u64 len;                 /* bytes of the extent */
	bool server;
	struct siv_peer peer;
	char service[SIV_SERVICE_LEN]; /* own */
	struct siv_chan_page *own;
	const struct siv_chan_page *theirs; /* the peer writes it at any time */
	u8 *tx_data;
	const u8 *rx_data;
	u64 tx_size, rx_size;    /* powers of two */
	struct siv_seal *seal;   /* NULL: what goes through the rings is plain */

	struct mutex tx_lock ____cacheline_aligned_in_smp;
	u64 tx_pos;              /* bytes written; the shared word is only an output */
	u64 tx_seen;             /* the peer's rx_pos when last looked at */
	u64 tx_told;             /* up to here the peer's wake word was looked at */
	u64 tx_low;              /* free bytes at which the ring counts as writable */
	bool direct_tx;          /* a process moves tx_pos: tx_pos and tx_told lag behind its word */
	bool tx_later;           /* more_timer or more_work is under way, with a reference */
	struct siv_spin tx_spin;

	struct mutex rx_lock ____cacheline_aligned_in_smp;
	u64 rx_pos;              /* bytes read; the shared word is only an output */
	u64 rx_seen;             /* the peer's tx_pos when last looked at */
	bool direct_rx;          /* a process moves rx_pos */
	struct siv_spin rx_spin;
	unsigned long poll_news; /* siv_chan_news() when it was last read */

	spinlock_t wake_lock ____cacheline_aligned_in_smp;
	struct siv_wake wake_data, wake_space;
	u32 state;               /* SIV_STATE_* of this side, likewise */
	u32 peer_state;          /* bits of the peer's that were ever seen */
	bool dead;               /* no shared byte is touched any more; see siv_chan_detach() */

	struct rw_semaphore map_lock;
	struct inode *map_inode; /* held: whose mappings show the channel; NULL: none do */
	struct page *map_page;   /* what writable windows show when it is dead */
	bool mapped;             /* some window was mapped once */

	struct sock *sk;         /* whom events wake, under wake_lock; NULL until accept() */
	struct list_head node;   /* link->chans, under link->lock */
	bool attached;           /* link->lock */
	struct list_head accept_node; /* the listener's queue, under listeners_lock */
	struct siv_zc_queue *zc; /* made with the first; its entries under wake_lock */
	struct delayed_work zc_work; /* ends what the peer does not read; holds a reference */
	struct hrtimer more_timer; /* ends what MSG_MORE puts off */
	struct work_struct more_work;
	enum siv_closed_reason reason;
	struct siv_event ev_closed;
	struct kref ref;
	struct rcu_head rcu;
};

/* What GRANT says. */
struct siv_grant {
	u32 link_id, epoch, slot, type;
	u64 generation, offset;
	u32 c2s_order, s2c_order;
	bool server, sealed;
	u8 secrets[2][SIV_SEAL_SECRET]; /* client to server, server to client */
	struct siv_peer peer;
	char service[SIV_SERVICE_LEN];
};

struct siv_chan *siv_chan_attach(const struct siv_grant *grant);
void siv_chan_set_sock(struct siv_chan *chan, struct sock *sk);
void siv_chan_detach(struct siv_chan *chan, enum siv_closed_reason reason, bool report);
void siv_chan_detach_all(struct siv_link *link, enum siv_closed_reason reason);
int siv_chan_reset(u32 link_id, u32 epoch, u32 slot, u64 generation);
void siv_chan_put(struct siv_chan *chan);

void siv_chan_event(struct siv_chan *chan);
unsigned long siv_chan_news(void); /* changes with each siv_chan_event() of any channel */
void siv_chan_wake_sock(struct siv_chan *chan);

/* Both directions' limits, under the direction's mutex. -ECONNRESET: dead; -EPROTO: violation. */
int siv_chan_readable(struct siv_chan *chan, u64 *bytes);
int siv_chan_writable(struct siv_chan *chan, u64 *bytes);
void siv_chan_publish_tx(struct siv_chan *chan, u64 bytes, bool more);
void siv_chan_tell_tx(struct siv_chan *chan);
void siv_chan_publish_rx(struct siv_chan *chan, u64 bytes);
int siv_chan_end(struct siv_chan *chan);
void siv_chan_shut(struct siv_chan *chan, u32 bits);
int siv_chan_set_direct(struct siv_chan *chan, u32 bits);

/* Is the peer's position there, or the channel dead? Arms nothing: for who spins. */
bool siv_chan_data_there(struct siv_chan *chan, u64 want);
bool siv_chan_space_there(struct siv_chan *chan, u64 want);

/* Arms a wake word; true if there is nothing to wait for: the position is there, or dead. */
bool siv_chan_arm_data(struct siv_chan *chan, u64 want);
bool siv_chan_arm_space(struct siv_chan *chan, u64 want);

/* The same, under wake_lock. */
bool siv_chan_arm_space_locked(struct siv_chan *chan, u64 want);

/*
 * What poll() wants to know; arms what is not there. With @edge also data beyond what is there: who
 * watches edges is told of what comes, read or not.
 */
struct siv_chan_poll {
	bool readable, writable, dead;
	u32 peer_state;
};
void siv_chan_poll(struct siv_chan *chan, u64 lowat, bool edge, struct siv_chan_poll *out);
u32 siv_chan_peer_state(struct siv_chan *chan);

/*
 * Free bytes at which a transmit ring counts as writable again, as poll() and wake-ups have it: a
 * quarter, or what the last record that was refused with EAGAIN needs.
 */
static inline u64 siv_chan_space_low(const struct siv_chan *chan)
{
	return READ_ONCE(chan->tx_low);
}

/* chan_map.c */
void siv_chan_zap(struct siv_chan *chan);
void siv_chan_map_free(struct siv_chan *chan);
int siv_map_find(const struct siv_chan *chan, const struct iov_iter *iter, u64 *at);

/* chan_zc.c */
void siv_zc_init(struct siv_chan *chan);
int siv_zc_prepare(struct siv_chan *chan);
void siv_zc_add(struct siv_chan *chan, struct ubuf_info *uarg, u64 end);
void siv_zc_event(struct siv_chan *chan);
void siv_zc_look_again(struct siv_chan *chan);
void siv_zc_flush(struct siv_chan *chan);
void siv_zc_stop(struct siv_chan *chan);

/* chan_seal.c */
#define SIV_SEAL_ROOM 32u /* bytes of the ring in which a record of at least one byte goes */
/* Constant where the kernel has no AEADs, and then nothing else of it is called. */
static inline bool siv_sealed(const struct siv_chan *chan)
{
	return IS_ENABLED(CONFIG_CRYPTO_AEAD) && chan->seal;
}
int siv_seal_init(struct siv_chan *chan, const u8 secrets[2][SIV_SEAL_SECRET]);
void siv_seal_free(struct siv_chan *chan);
size_t siv_seal_copy_in(struct siv_chan *chan, size_t len, struct iov_iter *from);
s64 siv_seal_put(struct siv_chan *chan, u32 len, u32 flags);
int siv_seal_put_end(struct siv_chan *chan);
int siv_seal_get(struct siv_chan *chan, u32 *len, u32 *flags);
bool siv_seal_ended(const struct siv_chan *chan);
size_t siv_seal_copy_out(struct siv_chan *chan, size_t len, struct iov_iter *to);
void siv_seal_taken(struct siv_chan *chan, u32 len);

/* chan_copy.c: @pos is a position; both stop short at the first byte that faults. */
size_t siv_chan_copy_in(struct siv_chan *chan, u64 pos, size_t len, struct iov_iter *from);
size_t siv_chan_copy_out(struct siv_chan *chan, u64 pos, size_t len, struct iov_iter *to);
void siv_chan_put_record(struct siv_chan *chan, u32 len, u32 flags);
struct siv_record siv_chan_get_record(const struct siv_chan *chan, u64 pos);

#endif
