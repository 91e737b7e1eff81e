// SPDX-License-Identifier: GPL-2.0-only
/*
 * Links: the registry, epochs, the event rings and the heartbeat.
 *
 * Which channel has news goes through a ring of channel slots for each direction, written by the
 * kernels only. Its capacity is the number of slots, and the producer has at most one entry
 * outstanding for each: it remembers where that entry is and adds another only once the consumer has
 * passed it, so the ring cannot overflow, and the cost of a message does not depend on the number
 * of channels.
 *
 *	producer: W(channel's position); full barrier [B]; R(event_seen): passed? enqueue, ring
 *	consumer: R(slot); W(event_seen), release; full barrier [C]; wake, R(channel's position)
 *
 * If the producer finds its last entry not passed, then the consumer has still to go through [C],
 * and will see the position. A peer that lies about either position hurts only itself: what it
 * claims to have seen decides what it is told, and a producer position beyond the capacity is
 * counted and means "look at all channels".
 */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <sivshmem/ring.h>

#include "chan.h"
#include "link.h"
#include "sock.h"

#define SIV_BEAT_INTERVAL HZ

static DEFINE_MUTEX(links_lock);
static LIST_HEAD(links);
static u32 last_id; /* links_lock; ids are not used again */

static int link_id_fill(struct sk_buff *skb, const struct siv_link *link)
{
	return nla_put_u32(skb, SIV_UPCALL_A_LINK_ID, link->id);
}

static int link_new_fill(struct siv_event *ev, struct sk_buff *skb)
{
	return link_id_fill(skb, container_of(ev, struct siv_link, ev_new));
}

static int link_gone_fill(struct siv_event *ev, struct sk_buff *skb)
{
	return link_id_fill(skb, container_of(ev, struct siv_link, ev_gone));
}

static int link_stalled_fill(struct siv_event *ev, struct sk_buff *skb)
{
	struct siv_link *link = container_of(ev, struct siv_link, ev_stalled);

	return link_id_fill(skb, link) ?:
	       nla_put_u32(skb, SIV_UPCALL_A_EPOCH, READ_ONCE(link->epoch));
}

static void link_new_put(struct siv_event *ev)
{
	siv_link_put(container_of(ev, struct siv_link, ev_new));
}

static void link_gone_put(struct siv_event *ev)
{
	siv_link_put(container_of(ev, struct siv_link, ev_gone));
}

static void link_stalled_put(struct siv_event *ev)
{
	siv_link_put(container_of(ev, struct siv_link, ev_stalled));
}

static void link_tell(struct siv_link *link, struct siv_event *ev)
{
	refcount_inc(&link->refs); /* the queue's */
	if (!siv_event_queue(ev))
		siv_link_put(link);
}

/* Marks the link usable or not, for those who touch its event rings. */
static void link_mark(struct siv_link *link, bool up)
{
	unsigned long flags;

	lockdep_assert_held(&link->lock);
	spin_lock_irqsave(&link->event_lock, flags);
	spin_lock(&link->drain_lock);
	WRITE_ONCE(link->up, up);
	spin_unlock(&link->drain_lock);
	spin_unlock_irqrestore(&link->event_lock, flags);
}

/*
 * Counts this side's heartbeat up while channels are open, and looks whether the peer's moves. An
 * ordinary timer rounded to whole seconds, not a deferrable one: those do not fire on an idle CPU,
 * and an idle VM would look dead.
 */
static void link_beat(struct work_struct *work)
{
	struct siv_link *link = container_of(to_delayed_work(work), struct siv_link, beat);
	struct siv_link_page *own;
	u64 beat;

	mutex_lock(&link->lock);
	if (!link->up || !link->nr_chans)
		goto unlock;
	own = siv_link_page(link, link->end);
	WRITE_ONCE(own->heartbeat, ++link->own_beat);
	beat = READ_ONCE(siv_link_page(link, !link->end)->heartbeat);
	if (beat != link->peer_beat || !link->timeout_ms) {
		link->peer_beat = beat;
		link->peer_beat_at = jiffies;
	} else if (time_after(jiffies, link->peer_beat_at + msecs_to_jiffies(link->timeout_ms))) {
		pr_warn("%s: no heartbeat from VM \"%s\" for %u ms, resetting %u channels\n",
			link->name, link->peer_vm, link->timeout_ms, link->nr_chans);
		siv_chan_detach_all(link, SIV_CLOSED_STALLED);
		link_mark(link, false);
		link_tell(link, &link->ev_stalled);
		goto unlock;
	}
	queue_delayed_work(siv_wq, &link->beat, round_jiffies_relative(SIV_BEAT_INTERVAL));
unlock:
	mutex_unlock(&link->lock);
}

/* A channel was attached. Under link->lock. */
void siv_link_chan_added(struct siv_link *link)
{
	lockdep_assert_held(&link->lock);
	if (link->nr_chans++ || !link->ops->heartbeat)
		return;
	link->peer_beat_at = jiffies;
	queue_delayed_work(siv_wq, &link->beat, 0);
}

/* A link that nobody knows yet, with one reference. NULL without memory. */
struct siv_link *siv_link_alloc(const struct siv_link_ops *ops, const char *name)
{
	struct siv_link *link = kzalloc(sizeof(*link), GFP_KERNEL);

	if (!link)
		return NULL;
	link->slots = kvcalloc(SIV_LINK_SLOTS, sizeof(*link->slots), GFP_KERNEL);
	link->event_last = kvcalloc(SIV_LINK_SLOTS, sizeof(*link->event_last), GFP_KERNEL);
	if (!link->slots || !link->event_last) {
		kvfree(link->event_last);
		kvfree(link->slots);
		kfree(link);
		return NULL;
	}
	link->ops = ops;
	strscpy(link->name, name, sizeof(link->name));
	refcount_set(&link->refs, 1);
	mutex_init(&link->lock);
	INIT_LIST_HEAD(&link->node);
	INIT_LIST_HEAD(&link->chans);
	INIT_DELAYED_WORK(&link->beat, link_beat);
	spin_lock_init(&link->event_lock);
	spin_lock_init(&link->drain_lock);
	siv_event_init(&link->ev_new, SIV_UPCALL_LINK_NEW, link_new_fill, link_new_put);
	siv_event_init(&link->ev_gone, SIV_UPCALL_LINK_GONE, link_gone_fill, link_gone_put);
	siv_event_init(&link->ev_stalled, SIV_UPCALL_LINK_STALLED, link_stalled_fill,
		       link_stalled_put);
	return link;
}

void siv_link_put(struct siv_link *link)
{
	if (!refcount_dec_and_test(&link->refs))
		return;
	kvfree(link->event_last);
	kvfree(link->slots);
	kfree(link);
}

/* Gives @link its id and tells the agent. The registry takes the caller's reference. */
void siv_link_register(struct siv_link *link)
{
	mutex_lock(&links_lock);
	link->id = ++last_id;
	list_add_tail(&link->node, &links);
	mutex_unlock(&links_lock);
	link_tell(link, &link->ev_new);
}

/*
 * Resets what is open, and takes the link away. When it returns nobody touches link->mem or calls
 * link->ops any more. The caller has the registry's reference again.
 */
void siv_link_unregister(struct siv_link *link)
{
	mutex_lock(&links_lock);
	list_del(&link->node);
	mutex_unlock(&links_lock);

	mutex_lock(&link->lock);
	link->gone = true;
	siv_chan_detach_all(link, SIV_CLOSED_GONE);
	link_mark(link, false);
	mutex_unlock(&link->lock);
	cancel_delayed_work_sync(&link->beat);
	synchronize_rcu(); /* siv_link_notify() may still be in ops->kick(), or who spins look */
	link_tell(link, &link->ev_gone);
}

/* The link with that id, with a reference, or NULL. */
struct siv_link *siv_link_get(u32 id)
{
	struct siv_link *link = siv_link_next(id - 1);

	if (link && link->id != id) {
		siv_link_put(link);
		link = NULL;
	}
	return link;
}

/* The first link with a greater id than @after, with a reference, or NULL. For dumps. */
struct siv_link *siv_link_next(u32 after)
{
	struct siv_link *link, *found = NULL;

	mutex_lock(&links_lock);
	list_for_each_entry(link, &links, node) {
		if (link->id > after) {
			refcount_inc(&link->refs);
			found = link;
			break;
		}
	}
	mutex_unlock(&links_lock);
	return found;
}

static bool link_config_same(const struct siv_link *link, const struct siv_link_config *cfg)
{
	return link->end == cfg->end && link->size == cfg->size &&
	       link->peer_ivposition == cfg->peer_ivposition && !strcmp(link->peer_vm, cfg->peer_vm);
}

/* Both event rings start at 0; the host grants nothing before both kernels have done this. */
static void link_start_rings(struct siv_link *link)
{
	unsigned long flags;

	spin_lock_irqsave(&link->event_lock, flags);
	spin_lock(&link->drain_lock);
	memset(siv_link_page(link, link->end), 0, SIV_PAGE_SIZE);
	memset(link->event_last, 0, SIV_LINK_SLOTS * sizeof(*link->event_last));
	link->event_pos = 0;
	link->event_seen = 0;
	link->up = true;
	spin_unlock(&link->drain_lock);
	spin_unlock_irqrestore(&link->event_lock, flags);
}

/*
 * Starts an epoch. What is open in an older one is reset first. The same epoch again is fine if
 * nothing else changed: an agent may restart. Errors: -ESTALE older epoch, -EINVAL what cannot be,
 * -EEXIST the same epoch with other values, -ENODEV the device is gone, -ENOMEM.
 */
int siv_link_set(struct siv_link *link, const struct siv_link_config *cfg)
{
	int err = 0;

	if (!cfg->epoch || cfg->end > 1 || cfg->size < SIV_LINK_SIZE_MIN ||
	    cfg->size > SIV_LINK_SIZE_MAX || cfg->size % SIV_PAGE_SIZE ||
	    (link->ops->fixed_end && cfg->end != link->end))
		return -EINVAL;
	mutex_lock(&link->lock);
	if (link->gone) {
		err = -ENODEV;
	} else if (cfg->epoch < link->epoch) {
		err = -ESTALE;
	} else if (cfg->epoch == link->epoch && link->up) {
		err = link_config_same(link, cfg) ? 0 : -EEXIST;
		if (!err)
			link->timeout_ms = cfg->timeout_ms;
	} else {
		siv_chan_detach_all(link, SIV_CLOSED_RESET);
		link_mark(link, false);
		err = link->ops->prepare(link, cfg->size);
		if (err)
			goto unlock;
		link->epoch = cfg->epoch;
		link->end = cfg->end;
		link->size = cfg->size;
		link->timeout_ms = cfg->timeout_ms;
		link->peer_ivposition = cfg->peer_ivposition;
		strscpy(link->peer_vm, cfg->peer_vm, sizeof(link->peer_vm));
		link->peer_beat = 0;
		link_start_rings(link);
	}
unlock:
	mutex_unlock(&link->lock);
	return err;
}

/* Resets what is open. No grant is taken until the next siv_link_set(). -ESTALE: older epoch. */
int siv_link_down(struct siv_link *link, u32 epoch)
{
	int err = 0;

	mutex_lock(&link->lock);
	if (epoch < link->epoch) {
		err = -ESTALE;
	} else {
		siv_chan_detach_all(link, SIV_CLOSED_RESET);
		link_mark(link, false);
	}
	mutex_unlock(&link->lock);
	return err;
}

/* Tells the peer that the channel in @slot has news, unless it was told and has not looked yet. */
void siv_link_notify(struct siv_link *link, u32 slot)
{
	const u64 *seen;
	unsigned long flags;
	u32 *ring;
	bool kick = false;

	rcu_read_lock();
	spin_lock_irqsave(&link->event_lock, flags);
	if (!link->up)
		goto unlock;
	seen = &siv_link_page(link, !link->end)->event_seen;
	if (!siv_ring_reached(READ_ONCE(*seen), link->event_last[slot]))
		goto unlock;
	ring = link->mem + SIV_EVENT_RING(link->end);
	WRITE_ONCE(ring[link->event_pos % SIV_LINK_SLOTS], slot);
	link->event_last[slot] = ++link->event_pos;
	/* E, pairs with link_next_event() of the peer: after the entry */
	virt_store_release(&siv_link_page(link, link->end)->event_pos, link->event_pos);
	kick = true;
unlock:
	spin_unlock_irqrestore(&link->event_lock, flags);
	if (kick)
		link->ops->kick(link);
	rcu_read_unlock();
}

static void link_wake_all(struct siv_link *link)
{
	struct siv_chan *chan;
	u32 slot;

	rcu_read_lock();
	for (slot = 0; slot < SIV_LINK_SLOTS; slot++) {
		chan = rcu_dereference(link->slots[slot]);
		if (chan)
			siv_chan_event(chan);
	}
	rcu_read_unlock();
}

enum next { NEXT_NONE, NEXT_SLOT, NEXT_ALL, NEXT_LATER };

/*
 * Takes one entry off the ring that the peer writes. To look at all channels takes as long as a full
 * ring does: it is left to who may do that (@all).
 */
static enum next link_next_event(struct siv_link *link, bool all, u32 *slot)
{
	enum next next = NEXT_NONE;
	unsigned long flags;
	const u32 *ring;
	bool possible;
	u64 pos, todo;

	spin_lock_irqsave(&link->drain_lock, flags);
	if (!link->up)
		goto unlock;
	/* E, pairs with siv_link_notify() of the peer: before the entry */
	pos = virt_load_acquire(&siv_link_page(link, !link->end)->event_pos);
	possible = siv_events_pending(pos, link->event_seen, SIV_LINK_SLOTS, &todo);
	if (!todo)
		goto unlock;
	if (!possible) {
		next = NEXT_LATER;
		if (!all)
			goto unlock;
		WRITE_ONCE(link->bad_events, link->bad_events + 1);
		link->event_seen = pos;
		next = NEXT_ALL;
	} else {
		ring = link->mem + SIV_EVENT_RING(!link->end);
		*slot = READ_ONCE(ring[link->event_seen % SIV_LINK_SLOTS]);
		if (*slot < SIV_LINK_SLOTS)
			WRITE_ONCE(link->events, link->events + 1);
		else
			WRITE_ONCE(link->bad_events, link->bad_events + 1);
		link->event_seen++;
		next = NEXT_SLOT;
	}
	/* the entry was read: the producer may write over it */
	virt_store_release(&siv_link_page(link, link->end)->event_seen, link->event_seen);
unlock:
	spin_unlock_irqrestore(&link->drain_lock, flags);
	virt_mb(); /* C: what the channel shows is read after event_seen was written */
	return next;
}

/*
 * Handles at most @budget events; a peer whose position cannot be true gets one look at all channels
 * for a budget of SIV_LINK_SLOTS, and none for less. Any context.
 */
enum siv_drain siv_link_drain(struct siv_link *link, unsigned int budget)
{
	const bool all = budget >= SIV_LINK_SLOTS;
	struct siv_chan *chan;
	u32 slot;

	for (; budget; budget--) {
		switch (link_next_event(link, all, &slot)) {
		case NEXT_NONE:
			return SIV_DRAINED;
		case NEXT_LATER:
			return SIV_DRAIN_BUDGET;
		case NEXT_ALL:
			link_wake_all(link);
			return SIV_DRAIN_BUDGET;
		case NEXT_SLOT:
			if (slot >= SIV_LINK_SLOTS)
				break;
			rcu_read_lock();
			chan = rcu_dereference(link->slots[array_index_nospec(slot, SIV_LINK_SLOTS)]);
			if (chan)
				siv_chan_event(chan);
			rcu_read_unlock();
			break;
		}
	}
	return SIV_DRAIN_BUDGET;
}
