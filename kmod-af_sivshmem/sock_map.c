// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls of processes that have mapped their channel: sends of what they have written into the ring
 * themselves, and for those that move positions too (SIVSHMEM_DIRECT), sleeping and notifying.
 */
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <net/sock.h>
#include <sivshmem/ring.h>

#include "chan.h"
#include "compat.h"
#include "link.h"
#include "sock.h"
#include "sock_io.h"

/*
 * Commits @len bytes at @at of the ring, under tx_lock. They must lie where the next byte goes (of a
 * record: behind its header) and in what is free: what lies further on, the peer may still read.
 */
static int in_place_commit(struct siv_chan *chan, const struct msghdr *msg, u64 at, size_t len)
{
	const bool record = chan->type == SOCK_SEQPACKET;
	const u64 span = record ? siv_record_span(len) : len;
	const u64 to = chan->tx_pos + (record ? SIV_RECORD_HEADER : 0);
	u64 room;
	int err;

	lockdep_assert_held(&chan->tx_lock);
	err = siv_chan_writable(chan, &room);
	if (err)
		return err;
	if (chan->direct_tx)
		return -EBUSY;
	if ((to & (chan->tx_size - 1)) != at || span > room)
		return -EINVAL;
	if (msg->msg_ubuf) {
		err = siv_zc_prepare(chan);
		if (err)
			return err;
	}
	if (record)
		siv_chan_put_record(chan, len, msg->msg_flags & MSG_EOR ? SIV_RECORD_EOR : 0);
	siv_chan_publish_tx(chan, span, msg->msg_flags & SIV_MSG_MORE);
	if (msg->msg_ubuf)
		siv_zc_add(chan, msg->msg_ubuf, chan->tx_pos);
	return 0;
}

int siv_send_in_place(struct sock *sk, struct siv_chan *chan, struct msghdr *msg, size_t len)
{
	u64 at;
	int err = siv_map_find(chan, &msg->msg_iter, &at);

	if (err <= 0)
		return err;
	if (len > INT_MAX)
		return -EINVAL;
	if (mutex_lock_killable(&chan->tx_lock))
		return -EINTR;
	/* under the mutex: shutdown() takes it before it calls the position final */
	err = READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN ? -EPIPE :
							   in_place_commit(chan, msg, at, len);
	mutex_unlock(&chan->tx_lock);
	if (err)
		return siv_io_failed(chan, err);
	iov_iter_advance(&msg->msg_iter, len);
	return len;
}

/* Arms, then looks: whichever changes later comes with a notification. */
static bool map_idle(struct sock *sk, struct siv_chan *chan, const struct siv_wait *want)
{
	u32 state;

	if ((want->what & SIV_WAIT_DATA && siv_chan_arm_data(chan, want->data)) ||
	    (want->what & SIV_WAIT_SPACE && siv_chan_arm_space(chan, want->space)))
		return false;
	state = siv_chan_peer_state(chan);
	if (want->what & SIV_WAIT_DATA &&
	    (state & SIV_STATE_SHUT_WR || READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN))
		return false;
	if (want->what & SIV_WAIT_SPACE &&
	    (state & SIV_STATE_SHUT_RD || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN))
		return false;
	return true;
}

static int map_wait(struct sock *sk, struct siv_chan *chan, const struct siv_wait *want)
{
	ktime_t deadline = ns_to_ktime(want->deadline_ns);
	DEFINE_WAIT(wait);
	bool late = false;
	int err = 0;

	for (;;) {
		prepare_to_wait(sk_sleep(sk), &wait, TASK_INTERRUPTIBLE);
		if (!map_idle(sk, chan, want))
			break;
		if (late)
			err = -ETIMEDOUT;
		else if (signal_pending(current))
			err = -ERESTARTSYS; /* the deadline is absolute: a call made again waits no longer */
		if (err)
			break;
		late = !schedule_hrtimeout(want->deadline_ns < 0 ? NULL : &deadline,
					   HRTIMER_MODE_ABS);
	}
	finish_wait(sk_sleep(sk), &wait);
	if (!READ_ONCE(chan->dead) && !(READ_ONCE(chan->state) & SIV_STATE_ABORTED))
		return err;
	/* the peer may know of a reset before it is through; when it is, all is zapped */
	mutex_lock(&chan->link->lock);
	mutex_unlock(&chan->link->lock);
	return -ECONNRESET;
}

int siv_map_ioctl(struct sock *sk, struct siv_chan *chan, unsigned int cmd, unsigned long arg)
{
	struct siv_wait want;

	if (!chan)
		return -ENOTCONN;
	if (READ_ONCE(chan->dead))
		return -ECONNRESET;
	if (cmd == SIV_IOC_KICK) {
		siv_link_notify(chan->link, chan->slot);
		return 0;
	}
	if (copy_from_user(&want, (void __user *)arg, sizeof(want)))
		return -EFAULT;
	if (want.flags || !want.what || want.what & ~(SIV_WAIT_DATA | SIV_WAIT_SPACE))
		return -EINVAL;
	return map_wait(sk, chan, &want);
}
