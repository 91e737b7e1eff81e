// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: attach, positions, wake words, states, reset.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>
#include <sivshmem/ring.h>

#include "chan.h"
#include "link.h"
#include "sock.h"

#define SIV_STATE_KNOWN \
	(SIV_STATE_ATTACHED | SIV_STATE_SHUT_WR | SIV_STATE_SHUT_RD | SIV_STATE_ABORTED)
#define SIV_MORE_NS NSEC_PER_MSEC /* how long MSG_MORE puts a wake-up off */

static void chan_free(struct kref *ref)
{
	struct siv_chan *chan = container_of(ref, struct siv_chan, ref);

	if (siv_sealed(chan))
		siv_seal_free(chan);
	siv_chan_map_free(chan);
	kfree(chan->zc);
	siv_link_put(chan->link);
	kfree_rcu(chan, rcu);
}

void siv_chan_put(struct siv_chan *chan)
{
	kref_put(&chan->ref, chan_free);
}

static int chan_closed_fill(struct siv_event *ev, struct sk_buff *skb)
{
	struct siv_chan *chan = container_of(ev, struct siv_chan, ev_closed);

	if (nla_put_u32(skb, SIV_UPCALL_A_LINK_ID, chan->link->id) ||
	    nla_put_u32(skb, SIV_UPCALL_A_EPOCH, chan->epoch) ||
	    nla_put_u32(skb, SIV_UPCALL_A_SLOT, chan->slot) ||
	    nla_put_u64_64bit(skb, SIV_UPCALL_A_GENERATION, chan->generation, SIV_UPCALL_A_PAD) ||
	    nla_put_u32(skb, SIV_UPCALL_A_REASON, chan->reason))
		return -EMSGSIZE;
	return 0;
}

static void chan_closed_put(struct siv_event *ev)
{
	siv_chan_put(container_of(ev, struct siv_chan, ev_closed));
}

/* Is the extent inside the link and clear of every other channel? Under link->lock. */
static int chan_place(const struct siv_link *link, const struct siv_grant *g, u64 len)
{
	const struct siv_chan *other;

	lockdep_assert_held(&link->lock);
	if (g->slot >= SIV_LINK_SLOTS || g->offset % SIV_PAGE_SIZE ||
	    g->offset < SIV_LINK_CHANNELS || len > link->size || g->offset > link->size - len)
		return -ERANGE;
	list_for_each_entry(other, &link->chans, node)
		if (other->slot == g->slot ||
		    (g->offset < other->offset + other->len && other->offset < g->offset + len))
			return -EEXIST;
	return 0;
}

static void chan_layout(struct siv_chan *chan, const struct siv_grant *g)
{
	u8 *base = chan->link->mem + g->offset;
	u8 *c2s = base + SIV_CHAN_PAGES * SIV_PAGE_SIZE;
	u8 *s2c = c2s + (1ull << g->c2s_order);

	chan->own = (void *)(base + (g->server ? SIV_PAGE_SIZE : 0));
	chan->theirs = (void *)(base + (g->server ? 0 : SIV_PAGE_SIZE));
	chan->tx_data = g->server ? s2c : c2s;
	chan->rx_data = g->server ? c2s : s2c;
	chan->tx_size = 1ull << (g->server ? g->s2c_order : g->c2s_order);
	chan->rx_size = 1ull << (g->server ? g->c2s_order : g->s2c_order);
	chan->tx_low = chan->tx_size / 4;
}

/* Sets up the own page and nothing else; the rest is assumed to hold anything. */
static void chan_own_page(struct siv_chan *chan)
{
	if (chan->link->ops->scrub && chan->server)
		memset(chan->link->mem + chan->offset, 0, chan->len);
	else
		memset(chan->own, 0, sizeof(*chan->own));
	chan->state = SIV_STATE_ATTACHED;
	virt_store_release(&chan->own->state, chan->state); /* S: after the zeros */
}

static void chan_more_work(struct work_struct *work)
{
	struct siv_chan *chan = container_of(work, struct siv_chan, more_work);

	mutex_lock(&chan->tx_lock);
	chan->tx_later = false;
	if (!READ_ONCE(chan->dead))
		siv_chan_tell_tx(chan);
	mutex_unlock(&chan->tx_lock);
	siv_chan_put(chan);
}

/* tx_lock is a mutex, so the timer only passes on to a worker. */
static enum hrtimer_restart chan_more_timer(struct hrtimer *timer)
{
	queue_work(siv_wq, &container_of(timer, struct siv_chan, more_timer)->more_work);
	return HRTIMER_NORESTART;
}

/*
 * Attaches the channel that the host granted. The caller owns a reference and gives the channel to
 * a socket, or detaches it. Errors: -ENODEV no such link, -ESTALE another epoch or down, -ERANGE out
 * of bounds, -EEXIST slot or pages in use, -EOPNOTSUPP the type, or sealing, -ENOMEM.
 */
struct siv_chan *siv_chan_attach(const struct siv_grant *g)
{
	struct siv_link *link;
	struct siv_chan *chan;
	int err;

	if (g->type != SOCK_STREAM && g->type != SOCK_SEQPACKET)
		return ERR_PTR(-EOPNOTSUPP);
	if (g->c2s_order < SIV_CHAN_ORDER_MIN || g->c2s_order > SIV_CHAN_ORDER_MAX ||
	    g->s2c_order < SIV_CHAN_ORDER_MIN || g->s2c_order > SIV_CHAN_ORDER_MAX)
		return ERR_PTR(-ERANGE);
	link = siv_link_get(g->link_id);
	if (!link)
		return ERR_PTR(-ENODEV);
	chan = kzalloc(sizeof(*chan), GFP_KERNEL_ACCOUNT);
	if (!chan) {
		siv_link_put(link);
		return ERR_PTR(-ENOMEM);
	}
	chan->link = link;
	chan->slot = g->slot;
	chan->epoch = g->epoch;
	chan->type = g->type;
	chan->generation = g->generation;
	chan->offset = g->offset;
	chan->len = SIV_CHAN_PAGES * SIV_PAGE_SIZE + (1ull << g->c2s_order) + (1ull << g->s2c_order);
	chan->server = g->server;
	chan->peer = g->peer;
	strscpy(chan->service, g->service, sizeof(chan->service));
	mutex_init(&chan->tx_lock);
	mutex_init(&chan->rx_lock);
	init_rwsem(&chan->map_lock);
	spin_lock_init(&chan->wake_lock);
	INIT_LIST_HEAD(&chan->accept_node);
	hrtimer_init(&chan->more_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
	chan->more_timer.function = chan_more_timer;
	INIT_WORK(&chan->more_work, chan_more_work);
	siv_zc_init(chan);
	siv_event_init(&chan->ev_closed, SIV_UPCALL_CLOSED, chan_closed_fill, chan_closed_put);
	kref_init(&chan->ref);
	if (g->sealed) {
		err = IS_ENABLED(CONFIG_CRYPTO_AEAD) ? siv_seal_init(chan, g->secrets) : -EOPNOTSUPP;
		if (err)
			goto put;
	}

	mutex_lock(&link->lock);
	err = -ESTALE;
	if (link->gone || !link->up || link->epoch != g->epoch)
		goto unlock;
	err = chan_place(link, g, chan->len);
	if (err)
		goto unlock;
	chan_layout(chan, g);
	chan_own_page(chan);
	kref_get(&chan->ref);
	chan->attached = true;
	list_add(&chan->node, &link->chans);
	rcu_assign_pointer(link->slots[chan->slot], chan);
	siv_link_chan_added(link);
	mutex_unlock(&link->lock);
	return chan;
unlock:
	mutex_unlock(&link->lock);
put:
	siv_chan_put(chan);
	return ERR_PTR(err);
}

/*
 * From now on events wake @sk, or with NULL nobody: when this returns, no wake-up of the former is
 * under way.
 */
void siv_chan_set_sock(struct siv_chan *chan, struct sock *sk)
{
	unsigned long flags;

	spin_lock_irqsave(&chan->wake_lock, flags);
	WRITE_ONCE(chan->sk, sk);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
}

static void chan_wake(struct siv_chan *chan)
{
	struct sock *sk = chan->sk;
	struct socket_wq *wq;

	lockdep_assert_held(&chan->wake_lock);
	if (!sk)
		return;
	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	/* without a mask: io_uring takes one for what there is, and we do not know what came */
	if (skwq_has_sleeper(wq))
		wake_up_interruptible(&wq->wait);
	sk_wake_async(sk, SOCK_WAKE_WAITD, POLL_IN);
	sk_wake_async(sk, SOCK_WAKE_SPACE, POLL_OUT);
	rcu_read_unlock();
}

/* Wakes whoever waits on this side's socket. Any context. */
void siv_chan_wake_sock(struct siv_chan *chan)
{
	unsigned long flags;

	spin_lock_irqsave(&chan->wake_lock, flags);
	chan_wake(chan);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
}

static u32 chan_read_state(struct siv_chan *chan)
{
	u32 state;

	lockdep_assert_held(&chan->wake_lock);
	if (chan->dead)
		return chan->peer_state;
	/* bits are only ever added: what was seen once stays */
	state = virt_load_acquire(&chan->theirs->state) & SIV_STATE_KNOWN; /* S */
	if (state & SIV_STATE_ABORTED)
		state |= SIV_STATE_SHUT_WR | SIV_STATE_SHUT_RD;
	WRITE_ONCE(chan->peer_state, chan->peer_state | state);
	return chan->peer_state;
}

/*
 * The peer's state. Read it before a position: SHUT_WR is published after the last one. The lock is
 * taken for what was not seen before alone: this is asked for in every call.
 */
u32 siv_chan_peer_state(struct siv_chan *chan)
{
	u32 seen = READ_ONCE(chan->peer_state), state = seen;
	unsigned long flags;

	rcu_read_lock();
	if (!READ_ONCE(chan->dead))
		state |= virt_load_acquire(&chan->theirs->state) & SIV_STATE_KNOWN; /* S */
	rcu_read_unlock();
	if (state == seen)
		return seen;
	spin_lock_irqsave(&chan->wake_lock, flags);
	state = chan_read_state(chan);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
	return state;
}

static unsigned long chan_news;

unsigned long siv_chan_news(void)
{
	return READ_ONCE(chan_news);
}

/* The peer says that this channel has news. Any context, under RCU. */
void siv_chan_event(struct siv_chan *chan)
{
	unsigned long flags;

	/* of two at once one may be lost, and it has changed all the same */
	WRITE_ONCE(chan_news, READ_ONCE(chan_news) + 1);
	spin_lock_irqsave(&chan->wake_lock, flags);
	chan->wake_data.due = chan->wake_space.due = false; /* who waits is woken here */
	if (chan_read_state(chan) & SIV_STATE_ABORTED && chan->sk)
		siv_sock_aborted(chan->sk);
	chan_wake(chan);
	siv_zc_event(chan);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
}

/*
 * The own position @own and the peer's @theirs of a direct direction, as a pair that an honest process
 * and an honest peer can have shown: the reader's is not beyond the writer's, and the two are not
 * further apart than @size. Both move while they are read: the reader's is read first, so it can only
 * be too far back, and read again then; what it has gained meanwhile is cut off at the writer's.
 */
static void chan_load_pair(const u64 *reader, const u64 *writer, u64 size, u64 *rx, u64 *tx)
{
	*rx = virt_load_acquire(reader); /* P */
	*tx = virt_load_acquire(writer); /* P */
	if (*tx - *rx > size)
		*rx = virt_load_acquire(reader); /* P */
	if (siv_ring_reached(*rx, *tx))
		*rx = *tx;
}

/* Bytes that can be read. Under rx_lock. */
int siv_chan_readable(struct siv_chan *chan, u64 *bytes)
{
	u64 rx, tx;

	lockdep_assert_held(&chan->rx_lock);
	if (READ_ONCE(chan->dead))
		return -ECONNRESET;
	if (chan->direct_rx) {
		chan_load_pair(&chan->own->rx_pos, &chan->theirs->tx_pos, chan->rx_size, &rx, &tx);
		if (!siv_ring_moved(rx, chan->rx_pos, tx, chan->rx_seen, chan->rx_size))
			return -EPROTO;
		WRITE_ONCE(chan->rx_pos, rx);
		*bytes = tx - rx;
	} else {
		tx = virt_load_acquire(&chan->theirs->tx_pos); /* P */
		if (!siv_ring_readable(tx, chan->rx_seen, chan->rx_pos, chan->rx_size, bytes))
			return -EPROTO;
	}
	WRITE_ONCE(chan->rx_seen, tx);
	return 0;
}

/* Bytes that can be written. Under tx_lock. */
int siv_chan_writable(struct siv_chan *chan, u64 *bytes)
{
	u64 rx, tx;

	lockdep_assert_held(&chan->tx_lock);
	if (READ_ONCE(chan->dead))
		return -ECONNRESET;
	if (chan->direct_tx) {
		chan_load_pair(&chan->theirs->rx_pos, &chan->own->tx_pos, chan->tx_size, &rx, &tx);
		if (!siv_ring_moved(rx, chan->tx_seen, tx, chan->tx_pos, chan->tx_size))
			return -EPROTO;
		WRITE_ONCE(chan->tx_pos, tx);
		*bytes = chan->tx_size - (tx - rx);
	} else {
		rx = virt_load_acquire(&chan->theirs->rx_pos); /* P */
		if (!siv_ring_writable(rx, chan->tx_seen, chan->tx_pos, chan->tx_size, bytes))
			return -EPROTO;
	}
	WRITE_ONCE(chan->tx_seen, rx);
	return 0;
}

/* Notifies the peer of what was written since it was last told, if it waits. Under tx_lock, not dead. */
void siv_chan_tell_tx(struct siv_chan *chan)
{
	u64 old = chan->tx_told;

	lockdep_assert_held(&chan->tx_lock);
	chan->tx_told = chan->tx_pos;
	virt_mb(); /* B, pairs with A in chan_arm() of the peer */
	if (siv_ring_passed(old, chan->tx_told, READ_ONCE(chan->theirs->wake_data)))
		siv_link_notify(chan->link, chan->slot);
}

/*
 * @bytes more were written. With @more the peer sees them when it looks, and is only woken with what
 * follows, or after SIV_MORE_NS. Under tx_lock, not dead.
 */
void siv_chan_publish_tx(struct siv_chan *chan, u64 bytes, bool more)
{
	u64 new = chan->tx_pos + bytes;

	lockdep_assert_held(&chan->tx_lock);
	WRITE_ONCE(chan->tx_pos, new);
	virt_store_release(&chan->own->tx_pos, new); /* P: after the bytes */
	if (!more) {
		siv_chan_tell_tx(chan);
	} else if (!chan->tx_later) {
		chan->tx_later = true;
		kref_get(&chan->ref); /* more_work's, or chan_kill()'s */
		hrtimer_start(&chan->more_timer, ns_to_ktime(SIV_MORE_NS), HRTIMER_MODE_REL_SOFT);
	}
}

/* @bytes more were read. Under rx_lock, not dead. */
void siv_chan_publish_rx(struct siv_chan *chan, u64 bytes)
{
	u64 old = chan->rx_pos, new = old + bytes;

	lockdep_assert_held(&chan->rx_lock);
	WRITE_ONCE(chan->rx_pos, new);
	virt_store_release(&chan->own->rx_pos, new); /* P: after the copy */
	virt_mb(); /* B, pairs with A in chan_arm() of the peer */
	if (siv_ring_passed(old, new, READ_ONCE(chan->theirs->wake_space)))
		siv_link_notify(chan->link, chan->slot);
}

/*
 * Hands the directions of @bits to the process that maps the control window, and takes the others
 * back: from where they are, unless the process has left an impossible position. -ECONNRESET,
 * -EPROTO: as siv_chan_writable().
 */
int siv_chan_set_direct(struct siv_chan *chan, u32 bits)
{
	const bool tx = bits & SIV_DIRECT_TX, rx = bits & SIV_DIRECT_RX;
	u64 n;
	int err;

	mutex_lock(&chan->tx_lock);
	err = siv_chan_writable(chan, &n);
	if (!err && tx != chan->direct_tx) {
		siv_chan_tell_tx(chan);
		/* whoever has the window may have written there; P */
		virt_store_release(&chan->own->tx_pos, chan->tx_pos);
		WRITE_ONCE(chan->direct_tx, tx);
	}
	mutex_unlock(&chan->tx_lock);
	if (err)
		return err;
	mutex_lock(&chan->rx_lock);
	err = siv_chan_readable(chan, &n);
	if (!err && rx != chan->direct_rx) {
		virt_store_release(&chan->own->rx_pos, chan->rx_pos); /* P */
		WRITE_ONCE(chan->direct_rx, rx);
	}
	mutex_unlock(&chan->rx_lock);
	return err;
}

/*
 * What this side sends ends in order, and nobody begins to send any more: a send under way is over when
 * this returns, and a sealed channel has its end. Before siv_chan_shut() says so. -EPROTO: reset it.
 */
int siv_chan_end(struct siv_chan *chan)
{
	int err = 0;

	mutex_lock(&chan->tx_lock);
	if (siv_sealed(chan) && !READ_ONCE(chan->dead))
		err = siv_seal_put_end(chan);
	mutex_unlock(&chan->tx_lock);
	return err;
}

/*
 * Adds @bits to this side's state, and tells the peer. A reset is answered with one: the side that
 * resets tells the peer before it is through, and must not take what the peer's processes do then for
 * the end of what was sent.
 */
void siv_chan_shut(struct siv_chan *chan, u32 bits)
{
	unsigned long flags;
	bool news;

	spin_lock_irqsave(&chan->wake_lock, flags);
	bits |= chan->peer_state & SIV_STATE_ABORTED;
	news = !chan->dead && (chan->state & bits) != bits;
	if (news) {
		WRITE_ONCE(chan->state, chan->state | bits);
		virt_store_release(&chan->own->state, chan->state); /* S: after the positions */
	}
	spin_unlock_irqrestore(&chan->wake_lock, flags);
	virt_mb(); /* B: the peer reads the state after it armed */
	if (news)
		siv_link_notify(chan->link, chan->slot);
}

/* Whoever waits looks again, and arms again. */
static void chan_look_again(struct siv_chan *chan)
{
	chan_wake(chan);
	siv_zc_look_again(chan);
}

/*
 * Makes sure that the peer notifies when its position @theirs reaches @want, unless it is there. The
 * word @shared (of which @wake->word is a private copy) serves all waiters of this side: it holds the
 * least position that one of them wants and that has not been reached. Those who want a later one
 * are woken with the others and arm again.
 *
 * Who overwrites a word that others rely on (@due: and no notification has come since) may take it
 * from under a peer that has published its position and looks at the word next. Then nobody is told
 * of the old word; nor of the new one, if that was reached before it could be seen. In both cases
 * they are woken here. If neither is reached, the peer will see the new word in time, and it is the
 * lesser one. tests/spin/wake.pml has the proof.
 *
 * True: do not sleep. What the peer claims is not checked here, only in siv_chan_readable() and
 * siv_chan_writable(), where whoever does not sleep looks next.
 */
static bool chan_arm(struct siv_chan *chan, struct siv_wake *wake, u64 *shared, const u64 *theirs,
		     u64 want)
{
	u64 pos, old = wake->word;
	bool there;

	lockdep_assert_held(&chan->wake_lock);
	if (chan->dead)
		return true;
	pos = virt_load_acquire(theirs); /* P */
	if (siv_ring_reached(pos, want))
		return true;
	if (siv_ring_armed(old, pos, want)) {
		wake->due = true;
		return false;
	}
	wake->word = want;
	WRITE_ONCE(*shared, want);
	virt_mb(); /* A, pairs with B in siv_chan_publish_tx() and _rx() of the peer */
	pos = virt_load_acquire(theirs); /* P */
	there = siv_ring_reached(pos, want);
	if (wake->due && (there || siv_ring_reached(pos, old)))
		chan_look_again(chan);
	wake->due = !there;
	return there;
}

static bool chan_arm_data(struct siv_chan *chan, u64 want)
{
	return chan_arm(chan, &chan->wake_data, &chan->own->wake_data, &chan->theirs->tx_pos, want);
}

bool siv_chan_arm_space_locked(struct siv_chan *chan, u64 want)
{
	return chan_arm(chan, &chan->wake_space, &chan->own->wake_space, &chan->theirs->rx_pos,
			want);
}

/* Without a lock: who spins asks thousands of times, and an event must not wait for it. */
static bool chan_there(struct siv_chan *chan, const u64 *theirs, u64 want)
{
	bool there;

	rcu_read_lock();
	there = READ_ONCE(chan->dead) || siv_ring_reached(virt_load_acquire(theirs), want); /* P */
	rcu_read_unlock();
	return there;
}

bool siv_chan_data_there(struct siv_chan *chan, u64 want)
{
	return chan_there(chan, &chan->theirs->tx_pos, want);
}

bool siv_chan_space_there(struct siv_chan *chan, u64 want)
{
	return chan_there(chan, &chan->theirs->rx_pos, want);
}

bool siv_chan_arm_data(struct siv_chan *chan, u64 want)
{
	unsigned long flags;
	bool there;

	spin_lock_irqsave(&chan->wake_lock, flags);
	there = chan_arm_data(chan, want);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
	return there;
}

bool siv_chan_arm_space(struct siv_chan *chan, u64 want)
{
	unsigned long flags;
	bool there;

	spin_lock_irqsave(&chan->wake_lock, flags);
	there = siv_chan_arm_space_locked(chan, want);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
	return there;
}

/* This side's position, without its mutex. */
static u64 chan_own_pos(const struct siv_chan *chan, bool direct, const u64 *private,
			const u64 *shared)
{
	lockdep_assert_held(&chan->wake_lock);
	return direct && !chan->dead ? READ_ONCE(*shared) : READ_ONCE(*private);
}

/*
 * What a poll sees, without the mutexes: the positions may move meanwhile, so nothing is concluded
 * from one that seems impossible; it counts as ready and the call that follows finds out.
 */
void siv_chan_poll(struct siv_chan *chan, u64 lowat, bool edge, struct siv_chan_poll *out)
{
	unsigned long flags;
	u64 data, space;

	spin_lock_irqsave(&chan->wake_lock, flags);
	data = chan_own_pos(chan, READ_ONCE(chan->direct_rx), &chan->rx_pos, &chan->own->rx_pos) +
	       min(lowat, chan->rx_size);
	space = chan_own_pos(chan, READ_ONCE(chan->direct_tx), &chan->tx_pos, &chan->own->tx_pos) +
		siv_chan_space_low(chan) - chan->tx_size;
	out->readable = chan_arm_data(chan, data);
	if (edge && out->readable && !chan->dead &&
	    chan_arm_data(chan, virt_load_acquire(&chan->theirs->tx_pos) + 1)) /* P */
		chan_wake(chan); /* more came meanwhile: that is the edge */
	out->writable = siv_chan_arm_space_locked(chan, space);
	/* after arming: a bit that comes later comes with a notification */
	out->peer_state = chan_read_state(chan);
	/* it may be on its way: who sees the end sees the error */
	if (out->peer_state & SIV_STATE_ABORTED && chan->sk)
		siv_sock_aborted(chan->sk);
	out->dead = chan->dead;
	spin_unlock_irqrestore(&chan->wake_lock, flags);
}

/* The last word to the peer, and the end of this side's access; in the order of DESIGN's "Reset". */
static void chan_kill(struct siv_chan *chan, enum siv_closed_reason reason)
{
	u32 bits = SIV_STATE_SHUT_WR | SIV_STATE_SHUT_RD;
	unsigned long flags;
	u64 unread = 0;

	if (reason == SIV_CLOSED_LOCAL) {
		/* closed with data unread: the peer is told, as on TCP and AF_UNIX */
		mutex_lock(&chan->rx_lock);
		if (siv_chan_readable(chan, &unread))
			unread = 1;
		mutex_unlock(&chan->rx_lock);
	}
	if (reason != SIV_CLOSED_LOCAL || unread || READ_ONCE(chan->state) & SIV_STATE_ABORTED ||
	    siv_chan_end(chan))
		bits |= SIV_STATE_ABORTED;
	siv_chan_shut(chan, bits);

	down_write(&chan->map_lock);
	spin_lock_irqsave(&chan->wake_lock, flags);
	WRITE_ONCE(chan->dead, true);
	if (reason != SIV_CLOSED_LOCAL && chan->sk)
		siv_sock_aborted(chan->sk);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
	up_write(&chan->map_lock);
	siv_chan_zap(chan);
	/* after the zap: who is told of the end finds nothing any more in what it has mapped */
	siv_chan_wake_sock(chan);
	mutex_lock(&chan->tx_lock);
	mutex_unlock(&chan->tx_lock);
	mutex_lock(&chan->rx_lock);
	mutex_unlock(&chan->rx_lock);
	siv_zc_stop(chan);
	/* nobody starts it any more; if it has run, its work puts */
	if (hrtimer_cancel(&chan->more_timer))
		siv_chan_put(chan);
}

/* Under link->lock; false if it was detached before. */
static bool chan_detach_locked(struct siv_chan *chan, enum siv_closed_reason reason, bool report)
{
	struct siv_link *link = chan->link;

	lockdep_assert_held(&link->lock);
	if (!chan->attached)
		return false;
	chan->attached = false;
	chan_kill(chan, reason);
	RCU_INIT_POINTER(link->slots[chan->slot], NULL);
	list_del(&chan->node);
	link->nr_chans--;
	link->violations += reason == SIV_CLOSED_VIOLATION;
	chan->reason = reason;
	if (report) {
		kref_get(&chan->ref); /* the queue's */
		if (!siv_event_queue(&chan->ev_closed))
			siv_chan_put(chan);
	}
	return true;
}

/*
 * Ends this side of @chan: no shared byte of it is touched when this returns, and CLOSED is on its
 * way if @report. Once; later calls do nothing. Sleeps; not under tx_lock or rx_lock.
 */
void siv_chan_detach(struct siv_chan *chan, enum siv_closed_reason reason, bool report)
{
	struct siv_link *link = chan->link;
	bool first;

	mutex_lock(&link->lock);
	first = chan_detach_locked(chan, reason, report);
	mutex_unlock(&link->lock);
	if (first)
		siv_chan_put(chan); /* the list's */
}

/* All channels of @link; under link->lock. */
void siv_chan_detach_all(struct siv_link *link, enum siv_closed_reason reason)
{
	struct siv_chan *chan, *next;

	lockdep_assert_held(&link->lock);
	list_for_each_entry_safe(chan, next, &link->chans, node) {
		chan_detach_locked(chan, reason, true);
		siv_chan_put(chan); /* the list's; chan->link is held by our caller */
	}
}

/* Resets one channel for the agent. -ENOENT: it is not there (any more). */
int siv_chan_reset(u32 link_id, u32 epoch, u32 slot, u64 generation)
{
	struct siv_link *link = siv_link_get(link_id);
	struct siv_chan *chan;
	int err = -ENOENT;

	if (!link)
		return -ENODEV;
	mutex_lock(&link->lock);
	list_for_each_entry(chan, &link->chans, node) {
		if (chan->slot != slot || chan->epoch != epoch || chan->generation != generation)
			continue;
		chan_detach_locked(chan, SIV_CLOSED_RESET, true);
		siv_chan_put(chan);
		err = 0;
		break;
	}
	mutex_unlock(&link->lock);
	siv_link_put(link);
	return err;
}
