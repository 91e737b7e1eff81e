// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path of streams: sendmsg and recvmsg; and poll, shutdown and ioctl of all types.
 *
 * The mutex of a direction is held for one bounded chunk at a time, so only a fatal signal ends the
 * wait for it: what io_uring has completed counts as a signal too, and would interrupt calls that
 * never sleep. What was copied is published even if the copy stopped short at a fault: nothing is lost
 * and nothing is sent twice.
 */
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/sockios.h>
#include <asm/ioctls.h>
#include <linux/uio.h>
#include <net/sock.h>
#include <sivshmem/ring.h>

#include "chan.h"
#include "compat.h"
#include "sock.h"
#include "sock_io.h"

int siv_io_failed(struct siv_chan *chan, int err)
{
	if (err == -EPROTO) {
		pr_debug_ratelimited("af_sivshmem: %s: %s/%s broke the ring's rules\n",
				     chan->service, chan->peer.addr.ssiv_vm,
				     chan->peer.addr.ssiv_service);
		siv_chan_detach(chan, SIV_CLOSED_VIOLATION, true);
		err = -ECONNRESET;
	}
	return err;
}

int siv_io_fault_in(struct iov_iter *iter, size_t len, size_t need, bool write)
{
	size_t missing;

	if (!user_backed_iter(iter))
		return -EFAULT;
	if (fatal_signal_pending(current))
		return -EINTR;
	missing = write ? fault_in_iov_iter_writeable(iter, len) :
			  fault_in_iov_iter_readable(iter, len);
	return len - missing < need ? -EFAULT : 0;
}

int siv_send_refused(struct sock *sk, struct siv_chan *chan)
{
	if (READ_ONCE(chan->dead))
		return -ECONNRESET;
	if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN ||
	    siv_chan_peer_state(chan) & SIV_STATE_SHUT_RD)
		return -EPIPE;
	return 0;
}

/* Descriptors and credentials do not cross a machine boundary, and nothing else may ride along. */
int siv_send_check(const struct msghdr *msg)
{
	return msg->msg_flags & MSG_OOB || msg->msg_controllen ? -EOPNOTSUPP : 0;
}

int siv_recv_ended(struct sock *sk, struct siv_chan *chan, u32 state)
{
	int err = 0;

	if (state & SIV_STATE_ABORTED) {
		siv_sock_aborted(sk);
		err = sock_error(sk);
	}
	/* who was told the error may be another one than who reads */
	if (!err && state & SIV_STATE_SHUT_WR && siv_sealed(chan) && !siv_seal_ended(chan))
		err = -ECONNRESET;
	return err ?: state & SIV_STATE_SHUT_WR || READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN;
}

/* Of a stream: one record of the peer's is one chunk of ours. -EPROTO. */
static int send_step_sealed(struct siv_chan *chan, struct msghdr *msg, struct siv_step *step)
{
	size_t n = min_t(u64, msg_data_left(msg), step->ready);
	s64 bytes;

	step->moved = siv_seal_copy_in(chan, n, &msg->msg_iter);
	if (!step->moved)
		return 0;
	bytes = siv_seal_put(chan, step->moved, 0);
	if (bytes < 0)
		return bytes;
	siv_chan_publish_tx(chan, bytes, msg->msg_flags & SIV_MSG_MORE);
	return 0;
}

/* As much room as makes the ring writable again, if so much is wanted. */
static u64 send_want(const struct siv_chan *chan, struct msghdr *msg)
{
	u64 want = min_t(u64, msg_data_left(msg), siv_chan_space_low(chan));

	return siv_sealed(chan) ? max_t(u64, want, SIV_SEAL_ROOM) : want;
}

static int send_step(struct sock *sk, struct siv_chan *chan, struct msghdr *msg,
		     struct siv_step *step)
{
	size_t n;
	int err;

	step->moved = 0;
	if (mutex_lock_killable(&chan->tx_lock))
		return -EINTR;
	err = siv_chan_writable(chan, &step->ready);
	/* under the mutex: shutdown() takes it before it calls the position final */
	if (!err && READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
		err = -EPIPE;
	if (!err && chan->direct_tx)
		err = -EBUSY;
	if (!err && siv_sealed(chan)) {
		step->ready = siv_seal_payload(step->ready);
		if (step->ready)
			err = send_step_sealed(chan, msg, step);
		else
			siv_chan_tell_tx(chan);
	} else if (!err) {
		n = min3((u64)msg_data_left(msg), step->ready, (u64)SIV_COPY_CHUNK);
		if (n)
			step->moved = siv_chan_copy_in(chan, chan->tx_pos, n, &msg->msg_iter);
		if (step->moved)
			siv_chan_publish_tx(chan, step->moved, msg->msg_flags & SIV_MSG_MORE);
		else if (!step->ready)
			siv_chan_tell_tx(chan);
	}
	mutex_unlock(&chan->tx_lock);
	return siv_io_failed(chan, err);
}

int siv_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct siv_chan *chan = siv_sock_chan(sk);
	long timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	struct siv_step step;
	size_t sent = 0;
	int err = siv_send_check(msg);

	if (err)
		return err;
	if (msg->msg_namelen)
		return chan ? -EISCONN : -EOPNOTSUPP;
	if (!chan) {
		if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
			err = -EPIPE;
		else
			err = sock_error(sk) ?: -ENOTCONN;
		goto out;
	}
	err = siv_send_refused(sk, chan);
	if (!err)
		err = siv_send_in_place(sk, chan, msg, len);
	if (err > 0) {
		sent = err;
		err = 0;
	}
	while (!err && msg_data_left(msg)) {
		err = send_step(sk, chan, msg, &step);
		if (err)
			break;
		sent += step.moved;
		if (!step.ready)
			err = siv_send_wait(sk, chan, send_want(chan, msg), &timeo);
		else if (!step.moved)
			err = siv_io_fault_in(&msg->msg_iter,
					      min_t(u64, step.ready, SIV_COPY_CHUNK), 1, false);
		if (!err)
			err = siv_send_refused(sk, chan);
	}
	siv_send_arm(sk, chan);
out:
	if (sent)
		return sent;
	if (err == -EPIPE && !(msg->msg_flags & MSG_NOSIGNAL))
		send_sig(SIGPIPE, current, 0);
	return err;
}

/* The last piece of a sendfile() or splice() said that more would follow, and none does. */
void siv_splice_eof(struct socket *sock)
{
	struct siv_chan *chan = siv_sock_chan(sock->sk);

	if (!chan)
		return;
	mutex_lock(&chan->tx_lock);
	if (!READ_ONCE(chan->dead))
		siv_chan_tell_tx(chan);
	mutex_unlock(&chan->tx_lock);
}

/* Moves, or with @peek copies from @skip bytes on, or without a buffer (@drop) releases. */
struct recv {
	bool peek, drop;
	u64 skip;      /* bytes already peeked */
	size_t left;
};

/* From the open record: what is left of it after what was peeked. */
static int recv_step_sealed(struct siv_chan *chan, struct msghdr *msg, const struct recv *r,
			    struct siv_step *step)
{
	u32 left, flags;
	size_t n;
	int err = siv_seal_get(chan, &left, &flags);

	if (err < 0)
		return err;
	step->ready = r->skip ? 0 : left;
	n = min_t(u64, r->left, step->ready);
	if (r->drop)
		step->moved = n;
	else if (n)
		step->moved = siv_seal_copy_out(chan, n, &msg->msg_iter);
	if (step->moved && !r->peek)
		siv_seal_taken(chan, step->moved);
	return 0;
}

static int recv_step(struct siv_chan *chan, struct msghdr *msg, struct recv *r,
		     struct siv_step *step)
{
	size_t n;
	int err;

	step->moved = 0;
	if (mutex_lock_killable(&chan->rx_lock))
		return -EINTR;
	if (siv_sealed(chan)) {
		err = recv_step_sealed(chan, msg, r, step);
		goto unlock;
	}
	err = siv_chan_readable(chan, &step->ready);
	if (!err && chan->direct_rx)
		err = -EBUSY;
	if (!err) {
		step->ready -= min(step->ready, r->skip);
		n = min3((u64)r->left, step->ready, (u64)SIV_COPY_CHUNK);
		if (r->drop)
			step->moved = n;
		else if (n)
			step->moved = siv_chan_copy_out(chan, chan->rx_pos + r->skip, n,
							&msg->msg_iter);
		if (step->moved && !r->peek)
			siv_chan_publish_rx(chan, step->moved);
	}
unlock:
	mutex_unlock(&chan->rx_lock);
	return siv_io_failed(chan, err);
}

/* As on AF_UNIX, a call for no bytes waits for one all the same, and SO_PEEK_OFF is honoured. */
int siv_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	struct siv_chan *chan = siv_sock_chan(sk);
	long timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	struct recv r = { .peek = flags & MSG_PEEK, .drop = flags & MSG_TRUNC, .left = len };
	size_t target, got = 0;
	struct siv_step step;
	u64 more;
	u32 state;
	int err = 0;

	msg->msg_namelen = 0;
	if (flags & (MSG_OOB | MSG_ERRQUEUE))
		return -EOPNOTSUPP;
	if (!chan)
		return sock_error(sk) ?: -ENOTCONN;
	target = sock_rcvlowat(sk, flags & MSG_WAITALL, len);
	if (r.peek && siv_sealed(chan)) { /* what is left of one record, from its start */
		target = min_t(size_t, target, 1);
	} else if (r.peek) { /* what is peeked stays: more than the ring never comes */
		r.skip = min_t(u64, max(sk_peek_offset(sk, flags), 0), chan->rx_size);
		target = min_t(u64, target, max(chan->rx_size - r.skip, 1ull));
	}
	for (;;) {
		/* before the position: what was sent before the end is read before it */
		state = siv_chan_peer_state(chan);
		err = recv_step(chan, msg, &r, &step);
		if (err)
			break;
		got += step.moved;
		r.left -= step.moved;
		if (r.peek)
			r.skip += step.moved;
		if (step.ready && !r.left)
			break;
		if (step.moved)
			continue;
		if (step.ready) {
			err = siv_io_fault_in(&msg->msg_iter,
					      min_t(u64, step.ready, SIV_COPY_CHUNK), 1, true);
			if (err)
				break;
			continue;
		}
		if (got >= target)
			break;
		err = got && state & SIV_STATE_ABORTED ? 1 : siv_recv_ended(sk, chan, state);
		if (err)
			break;
		/*
		 * A ring holds no more than its size, however much is wanted. Where all of it has
		 * been peeked at, another reader must make room first.
		 */
		more = siv_sealed(chan) ? 1 :
				    clamp_t(u64, target - got, 1, max(chan->rx_size - r.skip, 1ull));
		err = siv_recv_wait(sk, chan, READ_ONCE(chan->rx_pos) + r.skip + more, &timeo);
		if (err)
			break;
	}
	if (r.peek)
		sk_peek_offset_fwd(sk, got);
	else
		sk_peek_offset_bwd(sk, got);
	siv_recv_arm(sk, chan);
	return got ?: min(err, 0);
}

static __poll_t poll_listener(struct siv_sock *ss)
{
	u8 shut = READ_ONCE(ss->sk.sk_shutdown);
	__poll_t mask = 0;

	if (!list_empty_careful(&ss->accept_q))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (shut & RCV_SHUTDOWN)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (shut == SHUTDOWN_MASK)
		mask |= EPOLLHUP;
	return mask;
}

__poll_t siv_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct sock *sk = sock->sk;
	struct siv_chan *chan;
	struct siv_chan_poll p;
	__poll_t mask = 0;
	u64 lowat;
	u8 shut;

	siv_poll_note(sk, wait);
	sock_poll_wait(file, sock, wait);
	chan = siv_sock_chan(sk);
	if (!chan) {
		int state = READ_ONCE(sk->sk_state);

		if (state == TCP_LISTEN)
			return poll_listener(siv_sk(sk));
		if (state == TCP_SYN_SENT)
			return 0;
		mask = EPOLLHUP | EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
		if (READ_ONCE(sk->sk_err))
			mask |= EPOLLERR | EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
		return mask;
	}
	/* what is sealed comes in records, streams too, and only opened shows how much it is */
	lowat = 1;
	if (sk->sk_type == SOCK_STREAM && !siv_sealed(chan))
		lowat = READ_ONCE(sk->sk_rcvlowat) ?: 1;
	siv_poll_spin(sk, chan, wait, lowat);
	siv_chan_poll(chan, lowat, poll_requested_events(wait) & EPOLLET, &p);
	shut = READ_ONCE(sk->sk_shutdown);
	if (p.dead)
		shut = SHUTDOWN_MASK;
	if (p.peer_state & SIV_STATE_SHUT_WR)
		shut |= RCV_SHUTDOWN;
	if (p.peer_state & SIV_STATE_SHUT_RD)
		shut |= SEND_SHUTDOWN;
	if (READ_ONCE(sk->sk_err))
		mask |= EPOLLERR;
	if (shut == SHUTDOWN_MASK)
		mask |= EPOLLHUP;
	if (shut & RCV_SHUTDOWN)
		mask |= EPOLLRDHUP;
	if (p.readable || shut & RCV_SHUTDOWN)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (p.writable || shut & SEND_SHUTDOWN)
		mask |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
	return mask;
}

int siv_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct siv_chan *chan;
	u32 bits = 0;
	int err;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	how++; /* RCV_SHUTDOWN | SEND_SHUTDOWN */
	lock_sock(sk);
	chan = siv_sock_chan(sk);
	if (!chan && sk->sk_state != TCP_LISTEN) {
		release_sock(sk);
		return -ENOTCONN;
	}
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | how);
	if (!chan && how & RCV_SHUTDOWN)
		siv_listener_shut(sk);
	release_sock(sk);
	if (!chan)
		return 0;
	if (how & SEND_SHUTDOWN) {
		bits |= SIV_STATE_SHUT_WR;
		/* a send under way ends before the position is called final */
		siv_chan_wake_sock(chan);
		err = siv_chan_end(chan);
		if (err)
			return siv_io_failed(chan, err);
		siv_zc_flush(chan);
	}
	if (how & RCV_SHUTDOWN)
		bits |= SIV_STATE_SHUT_RD;
	siv_chan_shut(chan, bits);
	siv_chan_wake_sock(chan);
	return 0;
}

/* As on AF_UNIX: nothing is queued on a socket that is not connected, and a listener has no bytes. */
static int ioctl_inq(struct sock *sk, struct siv_chan *chan, u64 *n)
{
	u32 left, flags;
	int err;

	if (!chan)
		return sk->sk_state == TCP_LISTEN ? -EINVAL : 0;
	if (sk->sk_type == SOCK_SEQPACKET) {
		err = siv_record_next(chan, n);
	} else {
		mutex_lock(&chan->rx_lock);
		if (siv_sealed(chan))
			err = min(siv_seal_get(chan, &left, &flags), 0);
		else
			err = siv_chan_readable(chan, n);
		mutex_unlock(&chan->rx_lock);
		if (siv_sealed(chan))
			*n = left;
	}
	if (err) {
		siv_io_failed(chan, err);
		*n = 0; /* nothing will come any more */
	}
	return 0;
}

static void ioctl_outq(struct siv_chan *chan, u64 *n)
{
	u64 room = 0;
	int err;

	if (!chan)
		return;
	mutex_lock(&chan->tx_lock);
	err = siv_chan_writable(chan, &room);
	*n = chan->tx_size - room;
	mutex_unlock(&chan->tx_lock);
	if (err) {
		siv_io_failed(chan, err);
		*n = 0; /* nothing will go any more */
	}
}

int siv_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct siv_chan *chan = siv_sock_chan(sock->sk);
	u64 n = 0;
	int err = 0;

	switch (cmd) {
	case SIV_IOC_WAIT:
	case SIV_IOC_KICK:
		return siv_map_ioctl(sock->sk, chan, cmd, arg);
	case SIOCINQ:
		err = ioctl_inq(sock->sk, chan, &n);
		break;
	case SIOCOUTQ:
		ioctl_outq(chan, &n);
		break;
	default:
		return -ENOIOCTLCMD;
	}
	return err ?: put_user((int)min_t(u64, n, INT_MAX), (int __user *)arg);
}
