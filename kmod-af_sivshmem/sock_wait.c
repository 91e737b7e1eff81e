// SPDX-License-Identifier: GPL-2.0-only
/*
 * How calls wait for the peer: first they look for a bounded while, then they sleep.
 *
 * While a call looks, no wake word of its own is armed: the peer rings no doorbell, and what it
 * writes is found without an interrupt and without waking a halted CPU. It pays where the peer
 * answers sooner than a wake-up takes, and elsewhere it is CPU time for nothing. Each channel learns
 * for each direction alone: after looking in vain n times the next 2^(n-1) - 1 waits sleep at once,
 * SIV_SPIN_MISSES bounds n, and finding something halves it. So a socket whose peer takes long looks
 * in one wait of 32, for spin_us.
 *
 * The time is fixed, other than KVM's for halted virtual CPUs (halt_poll_ns), which grows by how
 * short the waits were: with both sides asleep all waits are long, because both are woken each time.
 * spin_us is meant to be longer than it takes to wake the peer. Then one side that looks is enough:
 * it finds the answer, answers at once, and the other, which looks now, finds that.
 *
 * Nothing else has to wait for it: it ends when the CPU has another task to run (which may be the
 * one that would answer), when the scheduler asks, at a signal and at the time-out. The peer on the
 * local link cannot run at all while the only CPU looks.
 */
#include <linux/moduleparam.h>
#include <linux/poll.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <net/busy_poll.h>
#include <net/sock.h>

#include "chan.h"
#include "link.h"
#include "sock.h"
#include "sock_io.h"

#define SIV_SPIN_US     200   /* default of spin_us */
#define SIV_SPIN_US_MAX 10000
#define SIV_SPIN_MISSES 6

static unsigned int spin_us = SIV_SPIN_US;

static int spin_us_set(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, SIV_SPIN_US_MAX);
}

static const struct kernel_param_ops spin_us_ops = {
	.set = spin_us_set,
	.get = param_get_uint,
};
module_param_cb(spin_us, &spin_us_ops, &spin_us, 0644);
MODULE_PARM_DESC(spin_us, "microseconds that recv() and send() look before they sleep; 0: none");

/* One direction of a socket, for who waits in it. */
struct io_wait {
	/* Is there nothing to wait for? Arms nothing. */
	bool (*over)(struct sock *sk, struct siv_chan *chan, u64 want);
	/* Arms, and is there something to wait for? */
	bool (*idle)(struct sock *sk, struct siv_chan *chan, u64 want);
};

/* What SO_BUSY_POLL (or net.core.busy_read) asks for; 0: nothing. */
static u64 busy_poll_ns(const struct sock *sk)
{
#ifdef CONFIG_NET_RX_BUSY_POLL
	return READ_ONCE(sk->sk_ll_usec) * (u64)NSEC_PER_USEC;
#else
	return 0;
#endif
}

static bool spin_useless(const struct siv_chan *chan)
{
	return chan->link->ops->kind == SIV_LINK_LOCAL && num_online_cpus() == 1;
}

/* Is this wait one of those that look? Several may ask at once: it is a guess anyway. */
static bool spin_due(struct siv_spin *spin)
{
	u8 skip = READ_ONCE(spin->skip);

	if (skip)
		WRITE_ONCE(spin->skip, skip - 1);
	return !skip;
}

static void spin_learn(struct siv_spin *spin, bool found)
{
	u8 misses = READ_ONCE(spin->misses);

	if (found) {
		if (misses)
			WRITE_ONCE(spin->misses, misses / 2);
	} else {
		misses = min(misses + 1, SIV_SPIN_MISSES);
		WRITE_ONCE(spin->misses, misses);
		WRITE_ONCE(spin->skip, (1 << (misses - 1)) - 1);
	}
}

static bool spin_allowed(void)
{
	return !need_resched() && !signal_pending(current) && single_task_running();
}

/*
 * Looks for @ns; true: there is nothing to wait for. The last look is after the clock said that it is
 * late: a host may have kept this CPU from running, and what came meanwhile is found.
 */
static bool io_spin(struct sock *sk, struct siv_chan *chan, const struct io_wait *how, u64 want,
		    u64 ns)
{
	u64 end = local_clock() + ns;
	bool late = false;

	while (!how->over(sk, chan, want)) {
		if (late || !spin_allowed())
			return false;
		late = (s64)(local_clock() - end) >= 0;
		cpu_relax();
	}
	return true;
}

/* Sleeps until @how says no more, a signal or the time-out. */
static int io_sleep(struct sock *sk, struct siv_chan *chan, const struct io_wait *how, u64 want,
		    long *timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int err = 0;

	add_wait_queue(sk_sleep(sk), &wait);
	while (how->idle(sk, chan, want)) {
		if (!*timeo)
			err = -EAGAIN;
		else if (signal_pending(current))
			err = sock_intr_errno(*timeo);
		if (err)
			break;
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return err;
}

/* How long this wait looks before it sleeps. */
static u64 spin_ns(const struct sock *sk, const struct siv_chan *chan, struct siv_spin *spin,
		   long timeo)
{
	u64 asked = busy_poll_ns(sk), most = READ_ONCE(spin_us) * (u64)NSEC_PER_USEC;
	u64 ns;

	if (!timeo || spin_useless(chan))
		return 0;
	ns = asked ?: most && spin_due(spin) ? most : 0;
	return timeo == MAX_SCHEDULE_TIMEOUT ? ns : min(ns, jiffies_to_nsecs(timeo));
}

static int io_wait(struct sock *sk, struct siv_chan *chan, const struct io_wait *how, u64 want,
		   struct siv_spin *spin, long *timeo)
{
	u64 ns = spin_ns(sk, chan, spin, *timeo), start;
	bool found;

	/* a peer that says yes, and then no, again and again must not keep who is killed */
	if (fatal_signal_pending(current))
		return -EINTR;
	if (ns) {
		start = local_clock();
		found = io_spin(sk, chan, how, want, ns);
		spin_learn(spin, found);
		if (found)
			return 0;
		if (*timeo != MAX_SCHEDULE_TIMEOUT)
			*timeo -= min_t(u64, *timeo, nsecs_to_jiffies(local_clock() - start));
	}
	return io_sleep(sk, chan, how, want, timeo);
}

static bool send_ended(struct sock *sk, struct siv_chan *chan)
{
	return siv_chan_peer_state(chan) & SIV_STATE_SHUT_RD ||
	       READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN;
}

static bool recv_ended(struct sock *sk, struct siv_chan *chan)
{
	return siv_chan_peer_state(chan) & SIV_STATE_SHUT_WR ||
	       READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN;
}

static bool send_over(struct sock *sk, struct siv_chan *chan, u64 want)
{
	return siv_chan_space_there(chan, want) || send_ended(sk, chan);
}

static bool recv_over(struct sock *sk, struct siv_chan *chan, u64 want)
{
	return siv_chan_data_there(chan, want) || recv_ended(sk, chan);
}

/* Arms first, then looks at the state: whichever changes later comes with a notification. */
static bool send_idle(struct sock *sk, struct siv_chan *chan, u64 want)
{
	return !siv_chan_arm_space(chan, want) && !send_ended(sk, chan);
}

static bool recv_idle(struct sock *sk, struct siv_chan *chan, u64 want)
{
	return !siv_chan_arm_data(chan, want) && !recv_ended(sk, chan);
}

static bool drain_idle(struct sock *sk, struct siv_chan *chan, u64 want)
{
	return !siv_chan_arm_space(chan, want) &&
	       !(siv_chan_peer_state(chan) & SIV_STATE_SHUT_RD);
}

static const struct io_wait send_wait = { .over = send_over, .idle = send_idle };
static const struct io_wait recv_wait = { .over = recv_over, .idle = recv_idle };
static const struct io_wait drain_wait = { .idle = drain_idle };

int siv_send_wait(struct sock *sk, struct siv_chan *chan, u64 room, long *timeo)
{
	u64 want = READ_ONCE(chan->tx_pos) + room - chan->tx_size;

	return io_wait(sk, chan, &send_wait, want, &chan->tx_spin, timeo);
}

int siv_send_drain(struct sock *sk, struct siv_chan *chan, long *timeo)
{
	u64 room;

	mutex_lock(&chan->tx_lock);
	siv_chan_writable(chan, &room); /* where a process moves it, finds out how far it is */
	mutex_unlock(&chan->tx_lock);
	return io_sleep(sk, chan, &drain_wait, READ_ONCE(chan->tx_pos), timeo);
}

int siv_recv_wait(struct sock *sk, struct siv_chan *chan, u64 want, long *timeo)
{
	return io_wait(sk, chan, &recv_wait, want, &chan->rx_spin, timeo);
}

/*
 * Who is told of a change once, and not asked again: edge-triggered epoll and io_uring, those that
 * share a socket by EPOLLEXCLUSIVE (one may be told and another have to go on), O_ASYNC. All others
 * poll again before they sleep, after each thing that they were told, and arm then.
 */
static bool told_once(const struct sock *sk)
{
	return test_bit(SIV_SOCK_EDGES, &siv_sk(sk)->flags) || sock_flag(sk, SOCK_FASYNC);
}

/*
 * Edge-triggered epoll is told of space once: a call that leaves the ring too full to count as
 * writable asks for the edge.
 */
void siv_send_arm(struct sock *sk, struct siv_chan *chan)
{
	u64 tx, want;

	if (!told_once(sk))
		return;
	tx = READ_ONCE(chan->tx_pos);
	want = tx + siv_chan_space_low(chan) - chan->tx_size;
	if (tx - READ_ONCE(chan->tx_seen) > chan->tx_size - siv_chan_space_low(chan) &&
	    siv_chan_arm_space(chan, want))
		siv_chan_wake_sock(chan);
}

/*
 * Who watches for edges is told of data that came after what was seen here: the wake word is armed
 * for the next byte while anybody is in the wait queue or wants SIGIO, and what came in between
 * wakes here.
 */
void siv_recv_arm(struct sock *sk, struct siv_chan *chan)
{
	if (busy_poll_ns(sk))
		WRITE_ONCE(chan->poll_news, siv_chan_news());
	if (told_once(sk) &&
	    (sock_flag(sk, SOCK_FASYNC) ||
	     wq_has_sleeper(&rcu_dereference_raw(sk->sk_wq)->wait)) &&
	    siv_chan_arm_data(chan, READ_ONCE(chan->rx_seen) + 1))
		siv_chan_wake_sock(chan);
}

/* Before a poll enters the wait queue: told_once() must not miss it. */
void siv_poll_note(struct sock *sk, const poll_table *wait)
{
	struct siv_sock *ss = siv_sk(sk);

	if (poll_requested_events(wait) & (EPOLLET | EPOLLEXCLUSIVE) &&
	    !test_bit(SIV_SOCK_EDGES, &ss->flags))
		set_bit(SIV_SOCK_EDGES, &ss->flags);
}

static bool poll_over(struct sock *sk, struct siv_chan *chan, u64 want)
{
	return recv_over(sk, chan, want) || siv_chan_news() != READ_ONCE(chan->poll_news);
}

static const struct io_wait poll_wait_data = { .over = poll_over };

/*
 * Looks, in poll(), select() and epoll_wait(), for who asks by SO_BUSY_POLL (or net.core.busy_read),
 * and otherwise never: for as long as that says, as often as it pays. A poll that has to enter a
 * wait queue does not look, unless the core says that it spins itself (net.core.busy_poll): it may
 * be an epoll_ctl(). Level-triggered epoll_wait() asks again, without one, about what it reported
 * last, and that is when it is looked. The others of the set have armed and ring. So this ends, or
 * does not begin, once any channel has had news since this one was read: there may be something else
 * to do.
 */
void siv_poll_spin(struct sock *sk, struct siv_chan *chan, const poll_table *wait, u64 lowat)
{
	u64 want = READ_ONCE(chan->rx_pos) + min(lowat, chan->rx_size);
	u64 room = READ_ONCE(chan->tx_pos) + siv_chan_space_low(chan) - chan->tx_size;
	__poll_t events = poll_requested_events(wait);
	u64 ns = busy_poll_ns(sk);

	if (!ns || !(events & EPOLLIN) || events & EPOLLET || spin_useless(chan) ||
	    (!poll_does_not_wait(wait) && !(events & POLL_BUSY_LOOP)) ||
	    (events & EPOLLOUT && siv_chan_space_there(chan, room)) ||
	    poll_over(sk, chan, want) || !spin_due(&chan->rx_spin))
		return;
	spin_learn(&chan->rx_spin, io_spin(sk, chan, &poll_wait_data, want, ns));
}
