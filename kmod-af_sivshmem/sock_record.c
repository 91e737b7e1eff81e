// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path of SOCK_SEQPACKET: whole records, or nothing.
 *
 * A record is a header and its data, padded to the header's alignment; the position moves by whole
 * records, so the peer never sees half of one. If a user page is missing in the middle, nothing is
 * published, the page is faulted in without the mutex, and the copy starts over: the record stays
 * where it is, and is neither lost nor sent twice. The mutex is held for a whole record, whose size
 * the ring bounds.
 */
#include <linux/uio.h>
#include <net/sock.h>
#include <sivshmem/ring.h>

#include "chan.h"
#include "compat.h"
#include "sock.h"
#include "sock_io.h"

/* Bytes that a record of @len takes in the ring. */
static u64 record_span(const struct siv_chan *chan, size_t len)
{
	return siv_record_span(siv_sealed(chan) ? len + SIV_SEAL_TAG : len);
}

static size_t record_max(const struct siv_chan *chan)
{
	u64 max = chan->tx_size - SIV_RECORD_HEADER;

	return siv_sealed(chan) ? min_t(u64, max - SIV_SEAL_TAG, SIV_SEAL_DATA) : max;
}

/* Where there is room for it. -EPROTO; the bytes that moved are @len, or a page was missing. */
static int record_put(struct siv_chan *chan, struct msghdr *msg, size_t len, size_t *moved)
{
	const u32 flags = msg->msg_flags & MSG_EOR ? SIV_RECORD_EOR : 0;
	s64 bytes = siv_record_span(len);

	*moved = siv_sealed(chan) ? siv_seal_copy_in(chan, len, &msg->msg_iter) :
			      siv_chan_copy_in(chan, chan->tx_pos + SIV_RECORD_HEADER, len,
					       &msg->msg_iter);
	if (*moved < len) {
		iov_iter_revert(&msg->msg_iter, *moved);
		return 0;
	}
	if (siv_sealed(chan))
		bytes = siv_seal_put(chan, len, flags);
	else
		siv_chan_put_record(chan, len, flags);
	if (bytes < 0)
		return bytes;
	siv_chan_publish_tx(chan, bytes, msg->msg_flags & SIV_MSG_MORE);
	return 0;
}

static int record_send_step(struct sock *sk, struct siv_chan *chan, struct msghdr *msg, size_t len,
			    struct siv_step *step)
{
	const u64 span = record_span(chan, len);
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
	if (err)
		goto unlock;
	if (step->ready < span) {
		/* poll() says writable when this one fits, or who asks again would spin */
		WRITE_ONCE(chan->tx_low, max(span, chan->tx_size / 4));
		siv_chan_tell_tx(chan);
		goto unlock;
	}
	err = record_put(chan, msg, len, &step->moved);
	if (step->moved == len && chan->tx_low != chan->tx_size / 4) {
		/* a shorter one fitted: what counts as writable may be so all at once */
		WRITE_ONCE(chan->tx_low, chan->tx_size / 4);
		siv_chan_wake_sock(chan);
	}
unlock:
	mutex_unlock(&chan->tx_lock);
	return siv_io_failed(chan, err);
}

/* As AF_UNIX has it: an error of the socket is told first, and EPIPE comes without SIGPIPE. */
int siv_record_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct siv_chan *chan = siv_sock_chan(sk);
	long timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	struct siv_step step;
	int err;

	if (chan && siv_chan_peer_state(chan) & SIV_STATE_ABORTED)
		siv_sock_aborted(sk);
	err = sock_error(sk);
	if (!err)
		err = chan ? siv_send_check(msg) : -ENOTCONN;
	if (err)
		return err;
	if (len > record_max(chan))
		return -EMSGSIZE;
	err = siv_send_refused(sk, chan);
	if (!err)
		err = siv_send_in_place(sk, chan, msg, len);
	while (!err) {
		err = siv_send_refused(sk, chan);
		if (!err)
			err = record_send_step(sk, chan, msg, len, &step);
		if (err)
			break;
		if (step.ready < record_span(chan, len))
			err = siv_send_wait(sk, chan, record_span(chan, len), &timeo);
		else if (step.moved < len)
			err = siv_io_fault_in(&msg->msg_iter, len, len, false);
		else
			break;
	}
	siv_send_arm(sk, chan);
	return err ?: len;
}

/* What record_recv_step() did with the record at the read position. */
struct record {
	struct siv_record header; /* as it was read, once */
	size_t copied; /* bytes of it that went to the caller */
	bool there, done;
};

static int record_recv_sealed(struct siv_chan *chan, struct msghdr *msg, size_t len, bool peek,
			      struct record *r)
{
	size_t n;
	int err = siv_seal_get(chan, &r->header.len, &r->header.flags);

	if (err <= 0)
		return err;
	r->there = true;
	n = min_t(size_t, len, r->header.len);
	r->copied = siv_seal_copy_out(chan, n, &msg->msg_iter);
	r->done = r->copied == n;
	if (!r->done)
		iov_iter_revert(&msg->msg_iter, r->copied);
	else if (!peek)
		siv_seal_taken(chan, r->header.len);
	return 0;
}

static int record_recv_step(struct siv_chan *chan, struct msghdr *msg, size_t len, bool peek,
			    struct record *r)
{
	size_t n;
	u64 ready;
	int err;

	*r = (struct record){};
	if (mutex_lock_killable(&chan->rx_lock))
		return -EINTR;
	if (siv_sealed(chan)) {
		err = record_recv_sealed(chan, msg, len, peek, r);
		goto unlock;
	}
	err = siv_chan_readable(chan, &ready);
	if (!err && chan->direct_rx)
		err = -EBUSY;
	if (err || !ready)
		goto unlock;
	err = -EPROTO;
	if (ready < SIV_RECORD_HEADER)
		goto unlock;
	r->header = siv_chan_get_record(chan, chan->rx_pos);
	if (!siv_record_possible(r->header.len, ready))
		goto unlock;
	err = 0;
	r->there = true;
	n = min_t(size_t, len, r->header.len);
	r->copied = siv_chan_copy_out(chan, chan->rx_pos + SIV_RECORD_HEADER, n, &msg->msg_iter);
	r->done = r->copied == n;
	if (!r->done)
		iov_iter_revert(&msg->msg_iter, r->copied);
	else if (!peek)
		siv_chan_publish_rx(chan, siv_record_span(r->header.len));
unlock:
	mutex_unlock(&chan->rx_lock);
	return siv_io_failed(chan, err);
}

/* A record's buffer is filled whole, or the record stays. */
static int record_fault_in(struct msghdr *msg, size_t len)
{
	return siv_io_fault_in(&msg->msg_iter, len, len, true);
}

int siv_record_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	struct siv_chan *chan = siv_sock_chan(sk);
	long timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	struct record r = {};
	u32 state;
	int err;

	msg->msg_namelen = 0;
	if (!chan)
		return sock_error(sk) ?: -ENOTCONN;
	if (flags & (MSG_OOB | MSG_ERRQUEUE))
		return -EOPNOTSUPP;
	for (;;) {
		/* before the position: what was sent before the end is read before it */
		state = siv_chan_peer_state(chan);
		err = record_recv_step(chan, msg, len, flags & MSG_PEEK, &r);
		if (err || r.done)
			break;
		if (r.there)
			err = record_fault_in(msg, min_t(size_t, len, r.header.len));
		else
			err = siv_recv_ended(sk, chan, state) ?:
				      siv_recv_wait(sk, chan, READ_ONCE(chan->rx_pos) + 1, &timeo);
		if (err)
			break;
	}
	siv_recv_arm(sk, chan);
	if (err)
		return min(err, 0);
	if (r.header.flags & SIV_RECORD_EOR)
		msg->msg_flags |= MSG_EOR;
	if (r.header.len > len)
		msg->msg_flags |= MSG_TRUNC;
	return flags & MSG_TRUNC ? r.header.len : r.copied;
}

/* Bytes of the next record, as FIONREAD tells; 0 if there is none. -ECONNRESET, -EPROTO. */
int siv_record_next(struct siv_chan *chan, u64 *bytes)
{
	struct siv_record header;
	u64 ready;
	int err;

	mutex_lock(&chan->rx_lock);
	*bytes = 0;
	if (siv_sealed(chan)) {
		err = min(siv_seal_get(chan, &header.len, &header.flags), 0);
		*bytes = header.len;
		goto unlock;
	}
	err = siv_chan_readable(chan, &ready);
	if (!err && ready) {
		if (ready >= SIV_RECORD_HEADER)
			header = siv_chan_get_record(chan, chan->rx_pos);
		if (ready < SIV_RECORD_HEADER || !siv_record_possible(header.len, ready))
			err = -EPROTO;
		else
			*bytes = header.len;
	}
unlock:
	mutex_unlock(&chan->rx_lock);
	return err;
}
