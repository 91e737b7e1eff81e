// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second completions of io_uring's SEND_ZC.
 *
 * What was copied completes as the call returns. What was sent in place completes when the peer has
 * read it, when this side is shut down or the peer reads no more, when the channel dies, or after
 * SIV_ZC_SECONDS, whichever comes first: a peer that never reads must not keep a ring of io_uring
 * from going away. A completion says nothing about the ring's space, which only the peer's position
 * frees; so a peer that lies about it completes too early what nobody needs.
 *
 * Positions only grow, so the queue of a channel is in their order, and its head is what the wake word
 * is armed for.
 */
#include <linux/module.h>
#include <linux/skbuff.h>
#include <linux/slab.h>

#include "chan.h"
#include "sock.h"

#define SIV_ZC_MAX     256 /* completions under way on one socket; more is ENOBUFS */
#define SIV_ZC_SECONDS 30

static unsigned int zc_seconds = SIV_ZC_SECONDS;
module_param(zc_seconds, uint, 0644);
MODULE_PARM_DESC(zc_seconds, "after how long SEND_ZC completes though the peer does not read (30)");

struct siv_zc {
	struct ubuf_info *uarg; /* held */
	u64 end;                /* position after its last byte */
	unsigned long until;    /* jiffies */
};

struct siv_zc_queue {
	u32 head, n;
	struct siv_zc entry[SIV_ZC_MAX];
};

static void zc_pop(struct siv_zc_queue *zc)
{
	net_zcopy_put(zc->entry[zc->head].uarg);
	zc->head = (zc->head + 1) % SIV_ZC_MAX;
	zc->n--;
}

/* What the peer has read; the word is armed for the next. Under wake_lock, in any context. */
void siv_zc_event(struct siv_chan *chan)
{
	struct siv_zc_queue *zc = chan->zc;

	lockdep_assert_held(&chan->wake_lock);
	if (!zc)
		return;
	while (zc->n && (chan->peer_state & SIV_STATE_SHUT_RD ||
			 siv_chan_arm_space_locked(chan, zc->entry[zc->head].end)))
		zc_pop(zc);
}

/* The queue's next time-out, if there is one. Under wake_lock, not dead. */
static void zc_schedule(struct siv_chan *chan)
{
	long left;

	lockdep_assert_held(&chan->wake_lock);
	if (!chan->zc->n)
		return;
	left = chan->zc->entry[chan->zc->head].until - jiffies;
	kref_get(&chan->ref);
	if (!queue_delayed_work(siv_wq, &chan->zc_work, max(left, 1l)))
		siv_chan_put(chan); /* not the last: our caller has one */
}

static void zc_work(struct work_struct *work)
{
	struct siv_chan *chan = container_of(to_delayed_work(work), struct siv_chan, zc_work);
	struct siv_zc_queue *zc = chan->zc;
	unsigned long flags;

	spin_lock_irqsave(&chan->wake_lock, flags);
	while (zc->n && time_after_eq(jiffies, zc->entry[zc->head].until))
		zc_pop(zc);
	siv_zc_event(chan);
	if (!chan->dead)
		zc_schedule(chan);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
	siv_chan_put(chan);
}

/* The word that the queue relies on was overwritten. Under wake_lock, not dead. */
void siv_zc_look_again(struct siv_chan *chan)
{
	lockdep_assert_held(&chan->wake_lock);
	if (!chan->zc || !chan->zc->n)
		return;
	kref_get(&chan->ref);
	if (mod_delayed_work(siv_wq, &chan->zc_work, 0))
		siv_chan_put(chan); /* it was under way with one of its own */
}

void siv_zc_init(struct siv_chan *chan)
{
	INIT_DELAYED_WORK(&chan->zc_work, zc_work);
}

/* Before an in-place send whose completion is wanted. -ENOBUFS: too many under way. Under tx_lock. */
int siv_zc_prepare(struct siv_chan *chan)
{
	struct siv_zc_queue *zc = chan->zc;
	unsigned long flags;
	int err;

	lockdep_assert_held(&chan->tx_lock);
	if (!zc) {
		zc = kzalloc(sizeof(*zc), GFP_KERNEL_ACCOUNT);
		if (!zc)
			return -ENOMEM;
		spin_lock_irqsave(&chan->wake_lock, flags);
		chan->zc = zc;
		spin_unlock_irqrestore(&chan->wake_lock, flags);
	}
	/* only adding makes it longer, under tx_lock */
	spin_lock_irqsave(&chan->wake_lock, flags);
	siv_zc_event(chan);
	err = zc->n == SIV_ZC_MAX ? -ENOBUFS : 0;
	spin_unlock_irqrestore(&chan->wake_lock, flags);
	return err;
}

/* After siv_zc_prepare(): @uarg completes when the peer has read up to @end. Under tx_lock. */
void siv_zc_add(struct siv_chan *chan, struct ubuf_info *uarg, u64 end)
{
	struct siv_zc_queue *zc = chan->zc;
	unsigned long flags;

	lockdep_assert_held(&chan->tx_lock);
	spin_lock_irqsave(&chan->wake_lock, flags);
	if (!chan->dead) {
		net_zcopy_get(uarg);
		zc->entry[(zc->head + zc->n++) % SIV_ZC_MAX] = (struct siv_zc){
			.uarg = uarg,
			.end = end,
			.until = jiffies + READ_ONCE(zc_seconds) * HZ,
		};
		siv_zc_event(chan);
		zc_schedule(chan);
	}
	spin_unlock_irqrestore(&chan->wake_lock, flags);
}

/* Completes everything: this side sends no more. */
void siv_zc_flush(struct siv_chan *chan)
{
	unsigned long flags;

	spin_lock_irqsave(&chan->wake_lock, flags);
	while (chan->zc && chan->zc->n)
		zc_pop(chan->zc);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
}

/* The channel is dead: nothing is added any more. */
void siv_zc_stop(struct siv_chan *chan)
{
	siv_zc_flush(chan);
	if (cancel_delayed_work(&chan->zc_work))
		siv_chan_put(chan); /* not the last: the link's list has one */
}
