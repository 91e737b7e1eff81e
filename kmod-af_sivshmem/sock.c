// SPDX-License-Identifier: GPL-2.0-only
/*
 * The family: create, bind, listen, accept, connect, close.
 *
 * Who a socket is and whom it may talk to is for the agent to say: bind() and connect() hand it a
 * request and wait; see upcall.h. A grant for a listener queues the channel, and accept() makes the
 * socket, in the acceptor's context and accounting.
 */
#include <linux/module.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "chan.h"
#include "compat.h"
#include "sock.h"
#include "sock_io.h"

static int family = AF_SIVSHMEM;
module_param(family, int, 0444);
MODULE_PARM_DESC(family, "address family number (18)");

static DEFINE_SPINLOCK(listeners_lock);
static LIST_HEAD(listeners);
static u64 last_cookie; /* listeners_lock; never used again */

static const struct proto_ops *siv_ops_of(int type);

static struct proto siv_proto = {
	.name = "SIVSHMEM",
	.owner = THIS_MODULE,
	.obj_size = sizeof(struct siv_sock),
};

/* [a-z0-9._-], first a letter or digit, zeros from the NUL to the end of @size bytes. */
bool siv_name_ok(const char *name, size_t size)
{
	size_t len = strnlen(name, size), i;

	if (!len || len == size || name[0] == '.' || name[0] == '_' || name[0] == '-')
		return false;
	for (i = 0; i < len; i++)
		if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') &&
		    name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	return !memchr_inv(name + len, 0, size - len);
}

/* Everything that an address can be wrong in, before anything else looks at it. */
static int addr_check(const struct sockaddr *uaddr, int len, bool bind)
{
	const struct sockaddr_sivshmem *addr = (const void *)uaddr;
	char vm[SIV_VM_LEN];

	if (len < (int)sizeof(addr->ssiv_family))
		return -EINVAL;
	if (addr->ssiv_family != family)
		return -EAFNOSUPPORT;
	if (len != sizeof(*addr) || addr->ssiv_flags)
		return -EINVAL;
	if (addr->ssiv_vm[0] ? !siv_name_ok(addr->ssiv_vm, SIV_VM_LEN) :
			       !!memchr_inv(addr->ssiv_vm, 0, SIV_VM_LEN))
		return -EINVAL;
	/* bind() to "" is to be what the agent says that the process is */
	if (bind && !addr->ssiv_service[0] ? !!memchr_inv(addr->ssiv_service, 0, SIV_SERVICE_LEN) :
					     !siv_name_ok(addr->ssiv_service, SIV_SERVICE_LEN))
		return -EINVAL;
	if (bind && addr->ssiv_vm[0]) {
		siv_agent_vm(vm);
		if (strcmp(addr->ssiv_vm, vm))
			return -EADDRNOTAVAIL;
	}
	return 0;
}

static void sock_destruct(struct sock *sk)
{
	struct siv_sock *ss = siv_sk(sk);

	WARN_ON_ONCE(ss->req || !list_empty(&ss->accept_q));
	kfree(ss->alias_peers);
	kfree(ss->alias);
	if (ss->chan)
		siv_chan_put(ss->chan);
}

static void listen_ev_put(struct siv_event *ev)
{
	sock_put(&container_of(ev, struct siv_sock, ev_listen)->sk);
}

static void unlisten_ev_put(struct siv_event *ev)
{
	sock_put(&container_of(ev, struct siv_sock, ev_unlisten)->sk);
}

static int listener_fill(struct sk_buff *skb, const struct siv_sock *ss)
{
	return nla_put_string(skb, SIV_UPCALL_A_SERVICE, ss->local.ssiv_service) ?:
	       nla_put_u64_64bit(skb, SIV_UPCALL_A_COOKIE, ss->cookie, SIV_UPCALL_A_PAD);
}

static int listen_ev_fill(struct siv_event *ev, struct sk_buff *skb)
{
	return listener_fill(skb, container_of(ev, struct siv_sock, ev_listen));
}

static int unlisten_ev_fill(struct siv_event *ev, struct sk_buff *skb)
{
	return listener_fill(skb, container_of(ev, struct siv_sock, ev_unlisten));
}

/* A new agent is told by siv_listeners_announce(); without one there is nobody to tell. */
static void listener_tell(struct siv_sock *ss, struct siv_event *ev)
{
	if (!siv_agent_present())
		return;
	sock_hold(&ss->sk); /* the queue's */
	if (!siv_event_queue(ev))
		sock_put(&ss->sk);
}

static struct sock *sock_new(struct net *net, struct socket *sock, int type, int kern)
{
	struct siv_sock *ss;
	struct sock *sk;

	sk = sk_alloc(net, family, GFP_KERNEL, &siv_proto, kern);
	if (!sk)
		return NULL;
	sock_init_data(sock, sk);
	sk->sk_type = type;
	sk->sk_destruct = sock_destruct;
	sk->sk_state = TCP_CLOSE;
	ss = siv_sk(sk);
	ss->uid = current_euid();
	ss->local.ssiv_family = family;
	ss->remote.ssiv_family = family;
	INIT_LIST_HEAD(&ss->listen_node);
	INIT_LIST_HEAD(&ss->accept_q);
	siv_event_init(&ss->ev_listen, SIV_UPCALL_LISTEN, listen_ev_fill, listen_ev_put);
	siv_event_init(&ss->ev_unlisten, SIV_UPCALL_UNLISTEN, unlisten_ev_fill, unlisten_ev_put);
	return sk;
}

static int siv_create(struct net *net, struct socket *sock, int protocol, int kern)
{
	if (protocol && protocol != family)
		return -EPROTONOSUPPORT;
	if (!siv_ops_of(sock->type))
		return -ESOCKTNOSUPPORT;
	sock->ops = siv_ops_of(sock->type);
	sock->state = SS_UNCONNECTED;
	siv_compat_custom_sockopt(sock);
	set_bit(SOCK_SUPPORT_ZC, &sock->flags);
	return sock_new(net, sock, sock->type, kern) ? 0 : -ENOMEM;
}

/* The ring that serves SO_SNDBUF or SO_RCVBUF of @buf bytes, as the kernel has doubled it. */
static u8 order_for(int buf)
{
	u32 want = max(buf / 2, 1);

	return clamp_t(u8, order_base_2(want), SIV_CHAN_ORDER_MIN, SIV_CHAN_ORDER_MAX);
}

/* Gives @sk its channel; under lock_sock, or before anybody knows the socket. */
static void siv_sock_graft(struct sock *sk, struct siv_chan *chan)
{
	struct siv_sock *ss = siv_sk(sk);

	memcpy(ss->local.ssiv_service, chan->service, SIV_SERVICE_LEN);
	ss->remote = chan->peer.addr;
	ss->remote.ssiv_family = family;
	/* what the rings really are, doubled as SO_SNDBUF is */
	WRITE_ONCE(sk->sk_sndbuf, 2 * chan->tx_size);
	WRITE_ONCE(sk->sk_rcvbuf, 2 * chan->rx_size);
	sk->sk_state = TCP_ESTABLISHED;
	siv_chan_set_sock(chan, sk);
	smp_store_release(&ss->chan, chan); /* pairs with siv_sock_chan() */
	/* O_ASYNC is set without our being told: the first byte is always announced */
	siv_chan_arm_data(chan, 1);
	/* what happened before events could find the socket */
	if (siv_chan_peer_state(chan) & SIV_STATE_ABORTED || READ_ONCE(chan->dead))
		siv_sock_aborted(sk);
}

/* The peer aborted, or the channel was reset: an error to be told once. Any context. */
void siv_sock_aborted(struct sock *sk)
{
	if (!test_and_set_bit(SIV_SOCK_ABORTED, &siv_sk(sk)->flags))
		WRITE_ONCE(sk->sk_err, ECONNRESET);
}

/*
 * Waits for the answer to a BIND, without lock_sock: it can take as long as the agent does. Only
 * bind() and close() look at ss->req meanwhile, and a second bind() finds it and is refused.
 */
static int bind_wait(struct siv_req *req)
{
	int err = siv_req_submit(req);

	if (err)
		return err;
	err = wait_for_completion_interruptible(&req->done);
	if (err && !siv_req_cancel(req)) {
		/* the answer came first: it counts */
		wait_for_completion(&req->done);
		err = 0;
	}
	return err ? -ERESTARTSYS : req->err;
}

static int siv_bind(struct socket *sock, struct sockaddr *uaddr, int len)
{
	const struct sockaddr_sivshmem *addr = (const void *)uaddr;
	struct sock *sk = sock->sk;
	struct siv_sock *ss = siv_sk(sk);
	struct siv_req *req;
	int err = addr_check(uaddr, len, true);

	if (err)
		return err;
	req = siv_req_alloc(SIV_UPCALL_BIND, GFP_KERNEL_ACCOUNT);
	if (!req)
		return -ENOMEM;
	memcpy(req->service, addr->ssiv_service, sizeof(req->service));

	lock_sock(sk);
	err = -EINVAL;
	if (ss->local.ssiv_service[0] || ss->req || sk->sk_state != TCP_CLOSE)
		goto unlock;
	ss->req = req;
	release_sock(sk);

	err = bind_wait(req);

	lock_sock(sk);
	ss->req = NULL;
	if (!err)
		memcpy(ss->local.ssiv_service, req->service, sizeof(ss->local.ssiv_service));
unlock:
	release_sock(sk);
	siv_req_put(req);
	return err;
}

/*
 * May @ss listen beside who does already? Another type is another listener; otherwise SO_REUSEPORT
 * (or SIVSHMEM_REUSEPORT) and the same user on both, or nobody.
 */
static int listener_fits(const struct siv_sock *ss)
{
	struct siv_sock *other;

	lockdep_assert_held(&listeners_lock);
	list_for_each_entry(other, &listeners, listen_node)
		if (!strcmp(other->local.ssiv_service, ss->local.ssiv_service) &&
		    other->sk.sk_type == ss->sk.sk_type &&
		    !(other->sk.sk_reuseport && ss->sk.sk_reuseport && uid_eq(other->uid, ss->uid)))
			return -EADDRINUSE;
	return 0;
}

static int siv_listen(struct socket *sock, int backlog)
{
	struct sock *sk = sock->sk;
	struct siv_sock *ss = siv_sk(sk);
	bool news = false;
	int err = -EINVAL;

	lock_sock(sk);
	if (!ss->local.ssiv_service[0] || sock->state != SS_UNCONNECTED)
		goto unlock;
	if (sk->sk_state != TCP_CLOSE && sk->sk_state != TCP_LISTEN)
		goto unlock;
	spin_lock(&listeners_lock);
	err = 0;
	if (sk->sk_state != TCP_LISTEN) {
		ss->uid = current_euid();
		err = listener_fits(ss);
		if (!err) {
			ss->cookie = ++last_cookie;
			list_add_tail(&ss->listen_node, &listeners);
			sk->sk_state = TCP_LISTEN;
			news = true;
		}
	}
	if (!err)
		WRITE_ONCE(sk->sk_max_ack_backlog, clamp(backlog, 1, SIV_BACKLOG_MAX));
	spin_unlock(&listeners_lock);
	if (news)
		listener_tell(ss, &ss->ev_listen);
unlock:
	release_sock(sk);
	return err;
}

/*
 * A listener of @type for @service with room in its backlog; they take turns. -ECONNREFUSED: nobody
 * listens; -EPROTOTYPE: only with another type; -EAGAIN: somebody does, but all backlogs are full.
 */
int siv_listener_find(const char *service, int type, u64 *cookie, kuid_t *uid)
{
	struct siv_sock *ss;
	int err = -ECONNREFUSED;

	spin_lock(&listeners_lock);
	list_for_each_entry(ss, &listeners, listen_node) {
		if (strcmp(ss->local.ssiv_service, service))
			continue;
		if (ss->sk.sk_type != type) {
			if (err == -ECONNREFUSED)
				err = -EPROTOTYPE;
			continue;
		}
		err = -EAGAIN;
		if (sk_acceptq_is_full(&ss->sk))
			continue;
		*cookie = ss->cookie;
		*uid = ss->uid;
		list_move_tail(&ss->listen_node, &listeners);
		err = 0;
		break;
	}
	spin_unlock(&listeners_lock);
	return err;
}

/*
 * Queues @chan for accept() of the listener @cookie, which takes over the caller's reference.
 * -ENOENT: it is gone, or is not @service; -EPROTOTYPE: another type; -ECONNREFUSED: its backlog is
 * full.
 */
int siv_listener_queue(u64 cookie, const char *service, struct siv_chan *chan)
{
	struct siv_sock *ss;
	int err = -ENOENT;

	spin_lock(&listeners_lock);
	list_for_each_entry(ss, &listeners, listen_node) {
		if (ss->cookie != cookie || strcmp(ss->local.ssiv_service, service))
			continue;
		err = -EPROTOTYPE;
		if (ss->sk.sk_type != chan->type)
			break;
		err = -ECONNREFUSED;
		/* sk_acceptq_is_full() lets one more in than listen() said */
		if (ss->sk.sk_ack_backlog >= READ_ONCE(ss->sk.sk_max_ack_backlog))
			break;
		list_add_tail(&chan->accept_node, &ss->accept_q);
		sk_acceptq_added(&ss->sk);
		/* under the lock: the listener cannot close meanwhile */
		ss->sk.sk_data_ready(&ss->sk);
		err = 0;
		break;
	}
	spin_unlock(&listeners_lock);
	return err;
}

/* Tells a new agent who listens. */
void siv_listeners_announce(void)
{
	struct siv_sock *ss;

	spin_lock(&listeners_lock);
	list_for_each_entry(ss, &listeners, listen_node)
		listener_tell(ss, &ss->ev_listen);
	spin_unlock(&listeners_lock);
}

static struct siv_chan *listener_dequeue(struct siv_sock *ss)
{
	struct siv_chan *chan;

	spin_lock(&listeners_lock);
	chan = list_first_entry_or_null(&ss->accept_q, struct siv_chan, accept_node);
	if (chan) {
		list_del_init(&chan->accept_node);
		sk_acceptq_removed(&ss->sk);
	}
	spin_unlock(&listeners_lock);
	return chan;
}

/* Waits for a channel in the queue, one waiter woken for each. */
static int accept_wait(struct sock *sk, long timeo, struct siv_chan **chan)
{
	DEFINE_WAIT(wait);
	int err = 0;

	for (;;) {
		prepare_to_wait_exclusive(sk_sleep(sk), &wait, TASK_INTERRUPTIBLE);
		*chan = sk->sk_state == TCP_LISTEN ? listener_dequeue(siv_sk(sk)) : NULL;
		if (*chan)
			break;
		if (sk->sk_state != TCP_LISTEN || READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN)
			err = -EINVAL;
		else if (!timeo)
			err = -EAGAIN;
		else if (signal_pending(current))
			err = sock_intr_errno(timeo);
		if (err)
			break;
		timeo = schedule_timeout(timeo);
	}
	finish_wait(sk_sleep(sk), &wait);
	return err;
}

static int siv_accept(struct socket *sock, struct socket *newsock, SIV_ACCEPT_ARGS)
{
	struct sock *sk = sock->sk, *newsk;
	struct siv_chan *chan;
	int err;

	/* first: what cannot be made must not cost a connection */
	newsk = sock_new(sock_net(sk), NULL, sk->sk_type, SIV_ACCEPT_KERN);
	if (!newsk)
		return -ENOMEM;
	lock_sock(sk);
	err = siv_alias_inherit(siv_sk(newsk), siv_sk(sk));
	release_sock(sk);
	if (err)
		goto put;
	err = accept_wait(sk, sock_rcvtimeo(sk, SIV_ACCEPT_FLAGS & O_NONBLOCK), &chan);
	if (err)
		goto put;
	siv_agent_vm(siv_sk(newsk)->local.ssiv_vm);
	lock_sock(newsk);
	sock_graft(newsk, newsock);
	siv_sock_graft(newsk, chan);
	newsock->ops = siv_ops_of(newsk->sk_type);
	siv_compat_custom_sockopt(newsock);
	set_bit(SOCK_SUPPORT_ZC, &newsock->flags);
	newsock->state = SS_CONNECTED;
	release_sock(newsk);
	return 0;
put:
	sock_set_flag(newsk, SOCK_DEAD);
	sock_put(newsk);
	return err;
}

/* The handshake failed: connect() and SO_ERROR tell why. Once, by whoever won @req. */
void siv_sock_connect_failed(struct siv_req *req, int err)
{
	struct sock *sk = req->sk;
	struct siv_sock *ss = siv_sk(sk);
	struct siv_req *mine = NULL;

	lock_sock(sk);
	if (ss->req == req) {
		mine = req;
		ss->req = NULL;
		WRITE_ONCE(sk->sk_err, err);
		sk->sk_state = TCP_CLOSE;
		sk->sk_state_change(sk);
	}
	release_sock(sk);
	if (mine)
		siv_req_put(mine);
}

/* The channel of @req is there. Takes over @chan, or -ENOENT: the socket was closed. */
int siv_sock_connected(struct siv_req *req, struct siv_chan *chan)
{
	struct sock *sk = req->sk;
	struct siv_sock *ss = siv_sk(sk);
	int err = -ENOENT;

	lock_sock(sk);
	if (ss->req == req) {
		ss->req = NULL;
		siv_agent_vm(ss->local.ssiv_vm);
		siv_sock_graft(sk, chan);
		sk->sk_state_change(sk);
		err = 0;
	}
	release_sock(sk);
	if (!err)
		siv_req_put(req);
	return err;
}

static int connect_start(struct sock *sk, const struct sockaddr_sivshmem *addr)
{
	struct siv_sock *ss = siv_sk(sk);
	struct siv_req *req = siv_req_alloc(SIV_UPCALL_CONNECT, GFP_KERNEL_ACCOUNT);
	int err;

	if (!req)
		return -ENOMEM;
	memcpy(req->vm, addr->ssiv_vm, sizeof(req->vm));
	memcpy(req->service, addr->ssiv_service, sizeof(req->service));
	memcpy(req->own_service, ss->local.ssiv_service, sizeof(req->own_service));
	req->type = sk->sk_type;
	req->tx_order = ss->tx_order ?: order_for(READ_ONCE(sk->sk_sndbuf));
	req->rx_order = ss->rx_order ?: order_for(READ_ONCE(sk->sk_rcvbuf));
	sock_hold(sk);
	req->sk = sk;
	ss->req = req; /* holds our reference */
	sk->sk_state = TCP_SYN_SENT;
	kref_get(&req->ref); /* while we look at it */
	/* without lock_sock: a failure that comes at once takes it */
	release_sock(sk);
	err = siv_req_submit(req);
	lock_sock(sk);
	if (err && ss->req == req) {
		ss->req = NULL;
		sk->sk_state = TCP_CLOSE;
		siv_req_put(req);
	}
	siv_req_put(req);
	return err;
}

static int connect_wait(struct sock *sk, long timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int err = 0;

	add_wait_queue(sk_sleep(sk), &wait);
	while (sk->sk_state == TCP_SYN_SENT) {
		if (!timeo)
			err = -EINPROGRESS;
		else if (signal_pending(current))
			err = sock_intr_errno(timeo);
		if (err)
			break;
		release_sock(sk);
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
		lock_sock(sk);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return err;
}

/* As on TCP: what goes on without us is waited for by the next call, and its result told once. */
static int siv_connect(struct socket *sock, struct sockaddr *uaddr, int len, int flags)
{
	struct sock *sk = sock->sk;
	struct siv_sock *ss = siv_sk(sk);
	bool asked_before;
	int err = addr_check(uaddr, len, false);

	if (err)
		return err;
	lock_sock(sk);
	asked_before = sock->state == SS_CONNECTING;
	err = -EINVAL;
	if (sk->sk_state == TCP_LISTEN)
		goto unlock;
	err = -EISCONN;
	if (sock->state == SS_CONNECTED)
		goto unlock;
	if (!asked_before) {
		err = -EALREADY; /* a bind() is under way */
		if (ss->req)
			goto unlock;
		sock->state = SS_CONNECTING;
		err = connect_start(sk, (const void *)uaddr);
		if (err) {
			sock->state = SS_UNCONNECTED;
			goto unlock;
		}
	}
	err = connect_wait(sk, sock_sndtimeo(sk, flags & O_NONBLOCK));
	if (err) {
		if (err == -EINPROGRESS && asked_before)
			err = -EALREADY;
		goto unlock;
	}
	if (sk->sk_state == TCP_ESTABLISHED) {
		sock->state = SS_CONNECTED;
	} else {
		sock->state = SS_UNCONNECTED;
		/* SO_ERROR may have told the reason already */
		err = sock_error(sk) ?: -ECONNABORTED;
	}
unlock:
	release_sock(sk);
	return err;
}

/* Takes the listener out of the registry: nothing is queued any more. */
static void listener_unlist(struct siv_sock *ss)
{
	bool listed;

	spin_lock(&listeners_lock);
	listed = !list_empty(&ss->listen_node);
	list_del_init(&ss->listen_node);
	spin_unlock(&listeners_lock);
	if (listed)
		listener_tell(ss, &ss->ev_unlisten);
}

/*
 * shutdown() for reading, under lock_sock: as on AF_UNIX and TCP, what is queued can still be
 * accepted, then accept() fails, and so do those that wait in it now.
 */
void siv_listener_shut(struct sock *sk)
{
	listener_unlist(siv_sk(sk));
	sk->sk_state_change(sk);
}

/* Takes the listener away, and refuses who waits in its queue. */
static void listener_close(struct siv_sock *ss)
{
	struct siv_chan *chan;

	listener_unlist(ss);
	while ((chan = listener_dequeue(ss))) {
		siv_chan_detach(chan, SIV_CLOSED_GONE, true);
		siv_chan_put(chan);
	}
}

/*
 * SO_LINGER, while the socket is still whole. With a time-out, close() waits for the peer to have
 * read everything: once its VM is gone, what it has not read is lost. With 0 the peer gets
 * ECONNRESET, as on TCP. A process that exits does not wait.
 */
static void sock_linger(struct sock *sk, struct siv_chan *chan)
{
	long timeo = sk->sk_lingertime;

	if (!timeo) {
		siv_chan_shut(chan, SIV_STATE_SHUT_WR | SIV_STATE_SHUT_RD | SIV_STATE_ABORTED);
		return;
	}
	if (current->flags & PF_EXITING)
		return;
	if (siv_io_failed(chan, siv_chan_end(chan)))
		return;
	siv_chan_shut(chan, SIV_STATE_SHUT_WR);
	siv_send_drain(sk, chan, &timeo);
}

static int siv_release(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct siv_sock *ss;
	struct siv_req *req;
	struct siv_chan *chan;
	bool listened;

	if (!sk)
		return 0;
	ss = siv_sk(sk);
	chan = siv_sock_chan(sk);
	if (chan && sock_flag(sk, SOCK_LINGER))
		sock_linger(sk, chan);
	lock_sock(sk);
	listened = sk->sk_state == TCP_LISTEN;
	sk->sk_state = TCP_CLOSE;
	req = ss->req;
	ss->req = NULL;
	chan = ss->chan;
	sock_orphan(sk);
	release_sock(sk);
	sock->sk = NULL;

	if (listened)
		listener_close(ss);
	if (req) {
		siv_req_cancel(req);
		siv_req_put(req);
	}
	if (chan) {
		siv_chan_set_sock(chan, NULL);
		siv_chan_detach(chan, SIV_CLOSED_LOCAL, true);
	}
	sock_put(sk);
	return 0;
}

static const struct proto_ops siv_stream_ops = {
	.owner = THIS_MODULE,
	.release = siv_release,
	.bind = siv_bind,
	.connect = siv_connect,
	.socketpair = sock_no_socketpair,
	.accept = siv_accept,
	.getname = siv_getname,
	.poll = siv_poll,
	.ioctl = siv_ioctl,
	.listen = siv_listen,
	.shutdown = siv_shutdown,
	.setsockopt = siv_setsockopt,
	.getsockopt = siv_getsockopt,
	.mmap = siv_mmap,
	.splice_read = siv_splice_read,
	.sendmsg = siv_sendmsg,
	.recvmsg = siv_recvmsg,
	.set_peek_off = sk_set_peek_off,
	.set_rcvlowat = siv_set_rcvlowat,
	SIV_SPLICE_EOF
};

static const struct proto_ops siv_seqpacket_ops = {
	.owner = THIS_MODULE,
	.release = siv_release,
	.bind = siv_bind,
	.connect = siv_connect,
	.socketpair = sock_no_socketpair,
	.accept = siv_accept,
	.getname = siv_getname,
	.poll = siv_poll,
	.ioctl = siv_ioctl,
	.listen = siv_listen,
	.shutdown = siv_shutdown,
	.setsockopt = siv_setsockopt,
	.getsockopt = siv_getsockopt,
	.mmap = siv_mmap,
	.splice_read = siv_splice_read,
	.sendmsg = siv_record_sendmsg,
	.recvmsg = siv_record_recvmsg,
	SIV_SPLICE_EOF
};

/* NULL: there is no such type. */
static const struct proto_ops *siv_ops_of(int type)
{
	switch (type) {
	case SOCK_STREAM:
		return &siv_stream_ops;
	case SOCK_SEQPACKET:
		return &siv_seqpacket_ops;
	default:
		return NULL;
	}
}

static struct net_proto_family siv_family_ops = {
	.create = siv_create,
	.owner = THIS_MODULE,
};

int siv_sock_init(void)
{
	int err = proto_register(&siv_proto, 1);

	if (err)
		return err;
	siv_family_ops.family = family;
	err = sock_register(&siv_family_ops);
	if (err) {
		pr_err("af_sivshmem: family %d is taken, choose another with the parameter `family`\n",
		       family);
		proto_unregister(&siv_proto);
	}
	return err;
}

void siv_sock_exit(void)
{
	sock_unregister(family);
	proto_unregister(&siv_proto);
}
