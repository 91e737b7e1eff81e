/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the data paths of streams (sock_io.c) and records (sock_record.c) share, and how they wait
 * (sock_wait.c).
 *
 * One mutex for each direction, never lock_sock, held for one step over the ring and neither while
 * waiting for the peer nor while faulting user pages in.
 */
#ifndef _SIV_SOCK_IO_H
#define _SIV_SOCK_IO_H

#include <linux/poll.h>
#include <linux/types.h>

struct iov_iter;
struct msghdr;
struct siv_chan;
struct sock;

#define SIV_COPY_CHUNK (64u << 10) /* bytes of a stream that are copied before they are published */

/* What one step over the ring came to. */
struct siv_step {
	u64 ready; /* bytes that could have been moved */
	size_t moved;
};

/*
 * The caller's errno for what a step over the ring came to: -EPROTO resets the channel and is
 * -ECONNRESET, everything else is passed on. Not under the mutexes.
 */
int siv_io_failed(struct siv_chan *chan, int err);

/*
 * After a copy that stopped short: gets the pages of the next @len bytes in. 0: try again; -EFAULT:
 * fewer than @need of them (at least one) can be had.
 */
int siv_io_fault_in(struct iov_iter *iter, size_t len, size_t need, bool write);

/*
 * sock_map.c: commits @len bytes that were written into the transmit window. @len; 0: the memory is
 * not of the window, copy it; or -errno: -EINVAL where it lies elsewhere in the window than at the
 * transmit position, or only partly in it.
 */
int siv_send_in_place(struct sock *sk, struct siv_chan *chan, struct msghdr *msg, size_t len);
int siv_map_ioctl(struct sock *sk, struct siv_chan *chan, unsigned int cmd, unsigned long arg);

/* 0, or why nothing can be sent (any more): -ECONNRESET, -EPIPE. */
int siv_send_refused(struct sock *sk, struct siv_chan *chan);

/* Checks what sendmsg() refuses on every type of socket. */
int siv_send_check(const struct msghdr *msg);

/*
 * Waits until @room bytes can be written, the direction is over, a signal (-ERESTARTSYS or -EINTR)
 * or the time-out (-EAGAIN): sock_wait.c, as all that follows here.
 */
int siv_send_wait(struct sock *sk, struct siv_chan *chan, u64 room, long *timeo);

/* Until the peer has read everything, or reads no more; also after shutdown(). */
int siv_send_drain(struct sock *sk, struct siv_chan *chan, long *timeo);

/* As siv_send_wait() until the peer's position reaches @want. */
int siv_recv_wait(struct sock *sk, struct siv_chan *chan, u64 want, long *timeo);

/* Before a call returns: asks for the edge that edge-triggered epoll would otherwise miss. */
void siv_send_arm(struct sock *sk, struct siv_chan *chan);
void siv_recv_arm(struct sock *sk, struct siv_chan *chan);

/* Of siv_poll(): before it enters the wait queue, and before it arms. */
void siv_poll_note(struct sock *sk, const poll_table *wait);
void siv_poll_spin(struct sock *sk, struct siv_chan *chan, const poll_table *wait, u64 lowat);

/* sock_io.c again. Nothing is there, and @state was read before that was found: 1 end of file, -errno, 0 wait. */
int siv_recv_ended(struct sock *sk, struct siv_chan *chan, u32 state);

#endif
