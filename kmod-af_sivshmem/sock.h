/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sockets of the family.
 *
 * sk_state is TCP_CLOSE, TCP_SYN_SENT (the agent works on it), TCP_ESTABLISHED or TCP_LISTEN, and
 * changes under lock_sock. The data path never takes lock_sock: a socket gets its channel once, and
 * keeps it until close(), which no other call on the socket can overlap.
 */
#ifndef _SIV_SOCK_H
#define _SIV_SOCK_H

#include <linux/net.h>
#include <linux/poll.h>
#include <net/sock.h>
#include <sivshmem/abi.h>

#include "upcall.h"

struct pipe_inode_info;
struct siv_chan;

extern struct workqueue_struct *siv_wq;

#define SIV_TCP_OPTS 8 /* TCP options that aliased sockets remember, see sock_opt.c */
#define SIV_BACKLOG_MAX 4096 /* channels that wait for accept(), of one listener */

struct siv_alias_peers {
	u32 n;
	struct siv_alias_peer peer[SIV_ALIAS_PEERS_MAX];
};

enum {
	SIV_SOCK_ABORTED,
	SIV_SOCK_EDGES, /* somebody who polled it is told of a change once, and not asked again */
};

struct siv_sock {
	struct sock sk;                  /* first */

	/* under lock_sock */
	struct sockaddr_sivshmem local;  /* service "" while not bound */
	struct sockaddr_sivshmem remote;
	struct siv_req *req;             /* of the connect or bind under way */
	u8 tx_order, rx_order;           /* asked for by SIVSHMEM_TX_SIZE, RX_SIZE; 0: by SO_SNDBUF */
	struct siv_alias *alias;         /* set once, before connect or listen */
	struct siv_alias_peers *alias_peers; /* listener */
	int tcp_opts[SIV_TCP_OPTS];      /* what was set, for getsockopt; aliased sockets */

	kuid_t uid;                      /* who made it; a listener: who called listen() */
	struct siv_chan *chan;           /* set once, with release; held */
	unsigned long flags;             /* SIV_SOCK_* */

	/* listener, under listeners_lock */
	struct list_head listen_node;
	struct list_head accept_q;       /* channels */
	u64 cookie;
	struct siv_event ev_listen, ev_unlisten;
};

static inline struct siv_sock *siv_sk(const struct sock *sk)
{
	return (struct siv_sock *)sk;
}

static inline struct siv_chan *siv_sock_chan(const struct sock *sk)
{
	return smp_load_acquire(&siv_sk(sk)->chan); /* pairs with siv_sock_graft() */
}

/* sock.c */
int siv_sock_init(void);
void siv_sock_exit(void);
void siv_sock_connect_failed(struct siv_req *req, int err);
int siv_sock_connected(struct siv_req *req, struct siv_chan *chan);
void siv_sock_aborted(struct sock *sk);
bool siv_name_ok(const char *name, size_t size);

/* listeners, for the agent */
int siv_listener_find(const char *service, int type, u64 *cookie, kuid_t *uid);
int siv_listener_queue(u64 cookie, const char *service, struct siv_chan *chan);
void siv_listeners_announce(void);
void siv_listener_shut(struct sock *sk);

/* sock_io.c */
int siv_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
int siv_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags);
__poll_t siv_poll(struct file *file, struct socket *sock, poll_table *wait);
int siv_shutdown(struct socket *sock, int how);
int siv_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg);
void siv_splice_eof(struct socket *sock);

/* sock_record.c */
int siv_record_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
int siv_record_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags);
int siv_record_next(struct siv_chan *chan, u64 *bytes);

/* chan_map.c */
int siv_mmap(struct file *file, struct socket *sock, struct vm_area_struct *vma);

/* sock_splice.c */
ssize_t siv_splice_read(struct socket *sock, loff_t *pos, struct pipe_inode_info *pipe, size_t len,
			unsigned int flags);

/* sock_opt.c */
int siv_setsockopt(struct socket *sock, int level, int name, sockptr_t val, unsigned int len);
int siv_getsockopt(struct socket *sock, int level, int name, char __user *val, int __user *len);
int siv_set_rcvlowat(struct sock *sk, int val);
int siv_getname(struct socket *sock, struct sockaddr *addr, int peer);
int siv_alias_inherit(struct siv_sock *child, const struct siv_sock *listener);

#endif
