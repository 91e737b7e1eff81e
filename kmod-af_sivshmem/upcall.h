/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel asks and tells the agent. Everything goes through one queue, which the agent
 * empties with PULL; WORK is only a hint that it is not empty.
 *
 * An event is embedded in what it is about, so that queueing it cannot fail; the queue holds a
 * reference to its owner, which put() drops.
 *
 * A request has one atomic state. Whoever wins the step out of NEW or TAKEN ends it:
 *
 *	NEW --- PULL ---> TAKEN --- GRANT, ANSWER ---> DONE
 *	  \________________/ \_____ signal, close, time-out, agent gone ---> CANCELLED
 */
#ifndef _SIV_UPCALL_H
#define _SIV_UPCALL_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/workqueue.h>
#include <sivshmem/abi.h>

struct sk_buff;
struct sock;

struct siv_event {
	struct list_head node;   /* queue_lock; empty while not queued */
	enum siv_upcall_kind kind;
	/* Adds attributes; -EMSGSIZE if they do not fit, -ENOENT if there is nothing to say. */
	int (*fill)(struct siv_event *ev, struct sk_buff *skb);
	void (*put)(struct siv_event *ev);
};

enum siv_req_state { SIV_REQ_NEW, SIV_REQ_TAKEN, SIV_REQ_DONE, SIV_REQ_CANCELLED };

#define SIV_REQS_MAX      4096 /* requests under way; more is ENOBUFS */
#define SIV_REQS_UID_MAX  512  /* of one uid */

struct siv_req {
	struct kref ref;         /* the creator's, the table's, and the queue's */
	u64 id;
	atomic_t state;
	enum siv_upcall_kind kind;
	struct siv_event ev, ev_cancel;
	struct delayed_work timer;
	struct sock *sk;         /* held; CONNECT alone */
	struct siv_caller caller;
	char vm[SIV_VM_LEN];
	char service[SIV_SERVICE_LEN];     /* BIND: wanted; CONNECT: the target's */
	char own_service[SIV_SERVICE_LEN]; /* CONNECT: bound to, or "" */
	u32 tx_order, rx_order, type;
	u32 timeout_ms;

	/* BIND alone: the answer */
	struct completion done;
	int err;
};

void siv_upcall_exit(void);

void siv_event_init(struct siv_event *ev, enum siv_upcall_kind kind,
		    int (*fill)(struct siv_event *ev, struct sk_buff *skb),
		    void (*put)(struct siv_event *ev));
bool siv_event_queue(struct siv_event *ev);
struct siv_event *siv_event_next(void);
void siv_event_unget(struct siv_event *ev);

struct siv_req *siv_req_alloc(enum siv_upcall_kind kind, gfp_t gfp);
int siv_req_submit(struct siv_req *req);
void siv_req_put(struct siv_req *req);
struct siv_req *siv_req_find(u64 id);
bool siv_req_win(struct siv_req *req, enum siv_req_state to);
bool siv_req_remove(struct siv_req *req);
bool siv_req_cancel(struct siv_req *req);
void siv_req_fail(struct siv_req *req, int err);
void siv_req_bound(struct siv_req *req, const char *service);
void siv_upcall_agent_gone(void);

/* netlink.c: the agent */
int siv_netlink_init(void);
void siv_netlink_exit(void);
bool siv_agent_present(void);
void siv_agent_vm(char vm[SIV_VM_LEN]);
void siv_agent_hint(void);

#endif
