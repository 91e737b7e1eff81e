/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Links: shared memory with one peer, a doorbell, and the channels in it.
 *
 * Lock order, outermost first:
 *
 *	lock_sock(sk)		never together with link->lock
 *	mmap_lock		a process's; never taken under any lock below but link->lock
 *	link->lock		mutex: configuration, the list of channels
 *	chan->map_lock		rwsem: whether pages of the channel may be mapped
 *	chan->tx_lock, rx_lock	mutexes: one direction each; both only by siv_chan_detach()
 *	listeners_lock		spinlock: the listeners and their queues
 *	chan->wake_lock		spinlock, irqs off: wake words, states, "dead"
 *	link->event_lock	spinlock, irqs off: the event ring that this end writes
 *	link->drain_lock	spinlock, irqs off: the event ring that this end reads
 *	upcall queue_lock	spinlock
 *
 * Shared memory is touched under tx_lock or rx_lock (data, positions), wake_lock (wake words,
 * states), event_lock or drain_lock (event rings), after a look at "dead" or "up" under that lock.
 * So whoever has set dead, and up to false, and has taken and dropped these locks knows that nobody
 * touches it any more.
 *
 * Two looks go without: who spins looks at a position, and who asks for the peer's state at that
 * word, inside rcu_read_lock() after a look at "dead". They may be late, and read what belongs to
 * nobody or to another channel by then; so nothing follows from them but another look under the
 * lock. The memory itself is there: siv_link_unregister() waits for them after dead was set.
 */
#ifndef _SIV_LINK_H
#define _SIV_LINK_H

#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <sivshmem/abi.h>

#include "upcall.h"

struct siv_chan;
struct siv_link;

#define SIV_LINK_NAME_LEN 32

/* What a kind of link has to provide. */
struct siv_link_ops {
	enum siv_link_kind kind;
	/*
	 * Tells the peer that its event ring has news. Any context, inside rcu_read_lock(), only
	 * while the link is up.
	 */
	void (*kick)(struct siv_link *link);
	/*
	 * Makes link->mem and link->mem_size valid for @size bytes, or refuses. Called before each
	 * epoch, under link->lock, while the link is down.
	 */
	int (*prepare)(struct siv_link *link, u64 size);
	/* The page frame of the byte at @offset of the memory, for mmap(); while the link is up. */
	unsigned long (*pfn)(const struct siv_link *link, u64 offset);
	bool fixed_end;     /* link->end is set at registration */
	bool heartbeat;     /* the peer can die silently */
	bool scrub;         /* nobody but us clears a channel's pages: the server's end does */
};

struct siv_link {
	const struct siv_link_ops *ops;
	refcount_t refs;        /* the registry's, and one for each channel */
	struct list_head node;  /* links_lock */
	u32 id;
	char name[SIV_LINK_NAME_LEN];
	u32 ivposition;         /* PCI alone */
	struct device *dev;     /* PCI alone; bound until siv_link_unregister() has returned */
	void *mem;              /* valid while up, and while the device is bound */
	u64 mem_size;

	struct mutex lock;      /* what follows, up to the blank line */
	u32 epoch;              /* of the last LINK_SET; 0: none yet */
	u32 end;
	u64 size;               /* bytes in use, at most mem_size */
	u32 timeout_ms;
	u32 peer_ivposition;
	char peer_vm[SIV_VM_LEN];
	bool gone;              /* unregistered */
	struct list_head chans; /* attached channels */
	u32 nr_chans;
	u64 violations;         /* channels that were reset because of what the peer wrote */
	u64 own_beat;           /* this side's heartbeat; the shared word is only an output */
	u64 peer_beat;          /* what the peer's heartbeat was when it last moved, and when */
	unsigned long peer_beat_at;
	struct delayed_work beat;

	bool up;                /* written under lock, event_lock and drain_lock */
	struct siv_chan __rcu **slots; /* SIV_LINK_SLOTS; written under lock, read under RCU */

	spinlock_t event_lock;
	u64 event_pos;          /* entries that this end has written */
	u64 *event_last;        /* for each slot: position after its newest entry, 0: none */

	spinlock_t drain_lock;
	u64 event_seen;         /* entries that this end has read */
	u64 events;             /* those of them that could be true; honest peers ring once for each */
	u64 bad_events;         /* positions and ids that could not be true */

	u64 floods;             /* how often the doorbell was masked; its kind of link counts */

	struct siv_event ev_new, ev_gone, ev_stalled;
};

static inline struct siv_link_page *siv_link_page(const struct siv_link *link, u32 end)
{
	return link->mem + SIV_LINK_PAGE(end);
}

struct siv_link *siv_link_alloc(const struct siv_link_ops *ops, const char *name);
void siv_link_put(struct siv_link *link);
void siv_link_register(struct siv_link *link);
void siv_link_unregister(struct siv_link *link);
struct siv_link *siv_link_get(u32 id);
struct siv_link *siv_link_next(u32 after);

/* What LINK_SET says. */
struct siv_link_config {
	u32 epoch;
	u32 end;
	u64 size;
	u32 timeout_ms;
	u32 peer_ivposition;
	char peer_vm[SIV_VM_LEN];
};
int siv_link_set(struct siv_link *link, const struct siv_link_config *cfg);
int siv_link_down(struct siv_link *link, u32 epoch);

void siv_link_notify(struct siv_link *link, u32 slot);

/* siv_link_drain() stopped because ... */
enum siv_drain { SIV_DRAINED, SIV_DRAIN_BUDGET };
enum siv_drain siv_link_drain(struct siv_link *link, unsigned int budget);

void siv_link_chan_added(struct siv_link *link);

int siv_link_local_init(void);
void siv_link_local_exit(void);
int siv_link_pci_init(void);
void siv_link_pci_exit(void);

#endif
