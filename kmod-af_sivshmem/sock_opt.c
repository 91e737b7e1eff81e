// SPDX-License-Identifier: GPL-2.0-only
/*
 * Socket options and names.
 *
 * A socket with an alias stands in for one of another family: getsockname() and getpeername() answer
 * with the alias, and options of TCP and IP that services set as a matter of course are taken and
 * remembered. They have no effect: nothing is delayed here, and a dead peer is noticed by the host.
 */
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <linux/un.h>
#include <net/ipv6.h>
#include <net/sock.h>

#include "chan.h"
#include "sock.h"
#include "sock_io.h"

/* Whom an accepted socket reports where no SIVSHMEM_ALIAS_PEER names its VM: TEST-NET-1. */
#define SIV_ALIAS_PEER_DEFAULT 0xc0000201 /* 192.0.2.1 */
#define SIV_ALIAS_PORT_MIN     32768      /* ports stand for channels, as ephemeral ones do */
#define SIV_ALIAS_PORTS        28232

/* What services set on TCP sockets, by their place in siv_sock.tcp_opts. */
static const struct {
	int level, name;
} stream_opts[SIV_TCP_OPTS] = {
	{ IPPROTO_TCP, TCP_NODELAY },	{ IPPROTO_TCP, TCP_KEEPIDLE },
	{ IPPROTO_TCP, TCP_KEEPINTVL }, { IPPROTO_TCP, TCP_KEEPCNT },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT }, { IPPROTO_TCP, TCP_CORK },
	{ IPPROTO_IP, IP_TOS },		{ IPPROTO_IPV6, IPV6_V6ONLY },
};

static int stream_opt(const struct siv_sock *ss, int level, int name)
{
	int i;

	if (!ss->alias || ss->alias->self.addr[0] == AF_UNIX)
		return -ENOPROTOOPT;
	for (i = 0; i < SIV_TCP_OPTS; i++)
		if (stream_opts[i].level == level && stream_opts[i].name == name)
			return i;
	return -ENOPROTOOPT;
}

static bool alias_family_ok(const struct siv_alias_addr *a)
{
	const struct sockaddr *addr = (const void *)a->addr;

	if (a->len < sizeof(sa_family_t) || a->len > SIV_ALIAS_LEN)
		return false;
	switch (addr->sa_family) {
	case AF_INET:
		return a->len == sizeof(struct sockaddr_in);
	case AF_INET6:
		return a->len == sizeof(struct sockaddr_in6);
	case AF_UNIX:
		return a->len <= sizeof(struct sockaddr_un);
	default:
		return false;
	}
}

static int alias_family(const struct siv_alias_addr *a)
{
	return ((const struct sockaddr *)a->addr)->sa_family;
}

/* Set once, before connect() or listen(); under lock_sock. */
static int alias_set(struct sock *sk, sockptr_t val, unsigned int len)
{
	struct siv_sock *ss = siv_sk(sk);
	struct siv_alias *alias;
	int err = -EINVAL;

	if (len != sizeof(*alias))
		return -EINVAL;
	if (ss->alias || sk->sk_state != TCP_CLOSE)
		return -EALREADY;
	alias = kzalloc(sizeof(*alias), GFP_KERNEL_ACCOUNT);
	if (!alias)
		return -ENOMEM;
	if (copy_from_sockptr(alias, val, sizeof(*alias))) {
		err = -EFAULT;
		goto free;
	}
	if (!alias_family_ok(&alias->self))
		goto free;
	if (alias->peer.len && (!alias_family_ok(&alias->peer) ||
				alias_family(&alias->peer) != alias_family(&alias->self)))
		goto free;
	ss->alias = alias;
	return 0;
free:
	kfree(alias);
	return err;
}

/* Loopback or unspecified: a service that trusts 127.0.0.1 would trust another VM. */
static bool alias_peer_local(const struct siv_alias_addr *a)
{
	const struct sockaddr_in *in = (const void *)a->addr;
	const struct sockaddr_in6 *in6 = (const void *)a->addr;

	switch (alias_family(a)) {
	case AF_INET:
		return ipv4_is_loopback(in->sin_addr.s_addr) ||
		       ipv4_is_zeronet(in->sin_addr.s_addr);
	case AF_INET6:
		if (ipv6_addr_v4mapped(&in6->sin6_addr))
			return ipv4_is_loopback(in6->sin6_addr.s6_addr32[3]) ||
			       ipv4_is_zeronet(in6->sin6_addr.s6_addr32[3]);
		return ipv6_addr_loopback(&in6->sin6_addr) || ipv6_addr_any(&in6->sin6_addr);
	default:
		return true; /* AF_UNIX peers are unnamed */
	}
}

static int alias_peer_add(struct sock *sk, sockptr_t val, unsigned int len)
{
	struct siv_sock *ss = siv_sk(sk);
	struct siv_alias_peer peer;

	if (len != sizeof(peer))
		return -EINVAL;
	if (copy_from_sockptr(&peer, val, sizeof(peer)))
		return -EFAULT;
	if (!siv_name_ok(peer.vm, sizeof(peer.vm)) || !alias_family_ok(&peer.addr) ||
	    alias_peer_local(&peer.addr))
		return -EINVAL;
	if (sk->sk_state != TCP_CLOSE)
		return -EALREADY;
	if (!ss->alias_peers)
		ss->alias_peers = kzalloc(sizeof(*ss->alias_peers), GFP_KERNEL_ACCOUNT);
	if (!ss->alias_peers)
		return -ENOMEM;
	if (ss->alias_peers->n == SIV_ALIAS_PEERS_MAX)
		return -ENOSPC;
	ss->alias_peers->peer[ss->alias_peers->n++] = peer;
	return 0;
}

/* An accepted socket gets its own copy of the listener's; before anybody knows it. */
int siv_alias_inherit(struct siv_sock *child, const struct siv_sock *listener)
{
	if (listener->alias) {
		child->alias = kmemdup(listener->alias, sizeof(*child->alias), GFP_KERNEL_ACCOUNT);
		if (!child->alias)
			return -ENOMEM;
		child->alias->peer.len = 0; /* each has its own, by its VM */
		if (alias_family(&listener->alias->self) != AF_UNIX) {
			/* as TCP has it, and AF_UNIX has not */
			child->sk.sk_rcvtimeo = READ_ONCE(listener->sk.sk_rcvtimeo);
			child->sk.sk_sndtimeo = READ_ONCE(listener->sk.sk_sndtimeo);
		}
	}
	if (listener->alias_peers) {
		child->alias_peers = kmemdup(listener->alias_peers, sizeof(*child->alias_peers),
					     GFP_KERNEL_ACCOUNT);
		if (!child->alias_peers)
			return -ENOMEM;
	}
	memcpy(child->tcp_opts, listener->tcp_opts, sizeof(child->tcp_opts));
	return 0;
}

static int ring_size_set(struct sock *sk, int name, sockptr_t val, unsigned int len)
{
	struct siv_sock *ss = siv_sk(sk);
	u32 size, order;

	if (len != sizeof(size))
		return -EINVAL;
	if (copy_from_sockptr(&size, val, sizeof(size)))
		return -EFAULT;
	if (!size || size > 1u << SIV_CHAN_ORDER_MAX)
		return -EINVAL;
	if (sk->sk_state != TCP_CLOSE)
		return -EISCONN;
	order = max_t(u32, order_base_2(size), SIV_CHAN_ORDER_MIN);
	if (name == SIVSHMEM_TX_SIZE)
		ss->tx_order = order;
	else
		ss->rx_order = order;
	return 0;
}

static int reuseport_set(struct sock *sk, sockptr_t val, unsigned int len)
{
	int on;

	if (len < sizeof(on))
		return -EINVAL;
	if (copy_from_sockptr(&on, val, sizeof(on)))
		return -EFAULT;
	sk->sk_reuseport = !!on;
	return 0;
}

static int direct_set(struct sock *sk, sockptr_t val, unsigned int len)
{
	struct siv_chan *chan = siv_sock_chan(sk);
	u32 bits;

	if (len != sizeof(bits))
		return -EINVAL;
	if (copy_from_sockptr(&bits, val, sizeof(bits)))
		return -EFAULT;
	if (bits & ~(SIV_DIRECT_TX | SIV_DIRECT_RX))
		return -EINVAL;
	if (!chan)
		return -ENOTCONN;
	if (siv_sealed(chan))
		return bits ? -EOPNOTSUPP : 0;
	return siv_io_failed(chan, siv_chan_set_direct(chan, bits));
}

/* SOL_SOCKET comes here where siv_compat_custom_sockopt() can make it. */
int siv_setsockopt(struct socket *sock, int level, int name, sockptr_t val, unsigned int len)
{
	struct sock *sk = sock->sk;
	int err = -ENOPROTOOPT, i, v;

	if (level == SOL_SOCKET && name != SO_REUSEPORT)
		return sock_setsockopt(sock, level, name, val, len);
	lock_sock(sk);
	if (level == SOL_SOCKET) {
		err = reuseport_set(sk, val, len);
		goto unlock;
	}
	if (level != SOL_SIVSHMEM) {
		i = stream_opt(siv_sk(sk), level, name);
		if (i < 0)
			err = i;
		else if (len < sizeof(v))
			err = -EINVAL;
		else if (copy_from_sockptr(&v, val, sizeof(v)))
			err = -EFAULT;
		else
			err = 0;
		if (!err)
			siv_sk(sk)->tcp_opts[i] = v;
		goto unlock;
	}
	switch (name) {
	case SIVSHMEM_ALIAS:
		err = alias_set(sk, val, len);
		break;
	case SIVSHMEM_ALIAS_PEER:
		err = alias_peer_add(sk, val, len);
		break;
	case SIVSHMEM_TX_SIZE:
	case SIVSHMEM_RX_SIZE:
		err = ring_size_set(sk, name, val, len);
		break;
	case SIVSHMEM_REUSEPORT:
		err = reuseport_set(sk, val, len);
		break;
	case SIVSHMEM_DIRECT:
		err = direct_set(sk, val, len);
		break;
	}
unlock:
	release_sock(sk);
	return err;
}

static int opt_put(const void *data, size_t size, char __user *val, int __user *len)
{
	int room;

	if (get_user(room, len))
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	size = min_t(size_t, size, room);
	if (copy_to_user(val, data, size) || put_user((int)size, len))
		return -EFAULT;
	return 0;
}

/* Under lock_sock. */
static int getsockopt_locked(struct sock *sk, int level, int name, char __user *val,
			     int __user *len)
{
	struct siv_sock *ss = siv_sk(sk);
	struct siv_chan *chan = siv_sock_chan(sk);
	int i;
	u32 n;

	if (level != SOL_SIVSHMEM) {
		i = stream_opt(ss, level, name);
		if (i < 0)
			return i;
		n = ss->tcp_opts[i]; /* usercopy does not copy out of the socket itself */
		return opt_put(&n, sizeof(n), val, len);
	}
	switch (name) {
	case SIVSHMEM_PEER:
		return chan ? opt_put(&chan->peer, sizeof(chan->peer), val, len) : -ENOTCONN;
	case SIVSHMEM_ALIAS:
		return ss->alias ? opt_put(ss->alias, sizeof(*ss->alias), val, len) : -ENODATA;
	case SIVSHMEM_TX_SIZE:
		n = chan ? chan->tx_size : ss->tx_order ? 1u << ss->tx_order : 0;
		return opt_put(&n, sizeof(n), val, len);
	case SIVSHMEM_RX_SIZE:
		n = chan ? chan->rx_size : ss->rx_order ? 1u << ss->rx_order : 0;
		return opt_put(&n, sizeof(n), val, len);
	case SIVSHMEM_DIRECT:
		if (!chan)
			return -ENOTCONN;
		n = (READ_ONCE(chan->direct_tx) ? SIV_DIRECT_TX : 0) |
		    (READ_ONCE(chan->direct_rx) ? SIV_DIRECT_RX : 0);
		return opt_put(&n, sizeof(n), val, len);
	case SIVSHMEM_REUSEPORT:
		n = sk->sk_reuseport;
		return opt_put(&n, sizeof(n), val, len);
	case SIVSHMEM_SEALED:
		if (!chan)
			return -ENOTCONN;
		n = siv_sealed(chan);
		return opt_put(&n, sizeof(n), val, len);
	default:
		return -ENOPROTOOPT;
	}
}

int siv_getsockopt(struct socket *sock, int level, int name, char __user *val, int __user *len)
{
	int err;

	lock_sock(sock->sk);
	err = getsockopt_locked(sock->sk, level, name, val, len);
	release_sock(sock->sk);
	return err;
}

static int name_alias(const struct siv_alias_addr *a, struct sockaddr *addr)
{
	memset(addr, 0, sizeof(struct sockaddr_storage));
	memcpy(addr, a->addr, a->len);
	return a->len;
}

/* The peer of an accepted socket, by its VM; the port stands for the channel. */
static int name_peer_of(const struct siv_sock *ss, const struct siv_chan *chan,
			struct sockaddr *addr)
{
	__be16 port = htons(SIV_ALIAS_PORT_MIN + chan->generation % SIV_ALIAS_PORTS);
	int family = alias_family(&ss->alias->self), len = 0;
	struct sockaddr_in6 *in6 = (void *)addr;
	struct sockaddr_in *in = (void *)addr;
	u32 i;

	memset(addr, 0, sizeof(struct sockaddr_storage));
	addr->sa_family = family;
	if (family == AF_UNIX)
		return sizeof(addr->sa_family);
	for (i = 0; ss->alias_peers && i < ss->alias_peers->n && !len; i++)
		if (!strcmp(ss->alias_peers->peer[i].vm, chan->peer.addr.ssiv_vm) &&
		    alias_family(&ss->alias_peers->peer[i].addr) == family)
			len = name_alias(&ss->alias_peers->peer[i].addr, addr);
	if (!len && family == AF_INET) {
		in->sin_addr.s_addr = htonl(SIV_ALIAS_PEER_DEFAULT);
		len = sizeof(*in);
	} else if (!len) {
		ipv6_addr_set_v4mapped(htonl(SIV_ALIAS_PEER_DEFAULT), &in6->sin6_addr);
		len = sizeof(*in6);
	}
	/* sin_port and sin6_port are at the same place */
	if (!in->sin_port)
		in->sin_port = port;
	return len;
}

/*
 * SO_RCVLOWAT. Who polls has armed for the former value; a lower one may be there, or be reached
 * without a notification.
 */
int siv_set_rcvlowat(struct sock *sk, int val)
{
	struct siv_chan *chan = siv_sock_chan(sk);

	WRITE_ONCE(sk->sk_rcvlowat, val ?: 1);
	if (chan)
		siv_chan_wake_sock(chan);
	return 0;
}

/* @peer as the kernel has it: 0 own name, else the peer's. @addr is a struct sockaddr_storage. */
int siv_getname(struct socket *sock, struct sockaddr *addr, int peer)
{
	struct sock *sk = sock->sk;
	struct siv_sock *ss = siv_sk(sk);
	struct siv_chan *chan = siv_sock_chan(sk);
	int len = sizeof(struct sockaddr_sivshmem);

	lock_sock(sk);
	if (peer && !chan)
		len = -ENOTCONN;
	else if (!peer && ss->alias)
		len = name_alias(&ss->alias->self, addr);
	else if (ss->alias)
		len = ss->alias->peer.len ? name_alias(&ss->alias->peer, addr) :
					    name_peer_of(ss, chan, addr);
	else
		memcpy(addr, peer ? &ss->remote : &ss->local, len);
	release_sock(sk);
	return len;
}
