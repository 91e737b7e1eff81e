// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests and events for the agent: the queue, the table of requests, and who called.
 */
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "compat.h"
#include "sock.h"
#include "upcall.h"

static unsigned int upcall_timeout_ms = 30000;
module_param(upcall_timeout_ms, uint, 0644);
MODULE_PARM_DESC(upcall_timeout_ms, "connect() and bind() give up after this long (30000)");

static DEFINE_SPINLOCK(queue_lock);
static LIST_HEAD(queue);

static DEFINE_XARRAY(reqs); /* by id; holds a reference to each */
static atomic64_t next_id = ATOMIC64_INIT(0);
static atomic_t nr_reqs = ATOMIC_INIT(0);

void siv_event_init(struct siv_event *ev, enum siv_upcall_kind kind,
		    int (*fill)(struct siv_event *ev, struct sk_buff *skb),
		    void (*put)(struct siv_event *ev))
{
	INIT_LIST_HEAD(&ev->node);
	ev->kind = kind;
	ev->fill = fill;
	ev->put = put;
}

/* Takes @ev off the queue; true if it was there, and the queue's reference is the caller's now. */
static bool event_unqueue(struct siv_event *ev)
{
	bool queued;

	spin_lock(&queue_lock);
	queued = !list_empty(&ev->node);
	list_del_init(&ev->node);
	spin_unlock(&queue_lock);
	return queued;
}

/* News that only the agent of the time can use; a new one is told otherwise. */
static bool event_is_passing(const struct siv_event *ev)
{
	return ev->kind == SIV_UPCALL_LISTEN || ev->kind == SIV_UPCALL_UNLISTEN ||
	       ev->kind == SIV_UPCALL_CANCEL;
}

/*
 * Queues @ev and hints to the agent. The caller gives a reference to the owner of @ev to the queue,
 * and keeps it when this returns false: @ev was queued already, or there is nobody to pull it.
 */
bool siv_event_queue(struct siv_event *ev)
{
	bool queued, first;

	spin_lock(&queue_lock);
	first = list_empty(&queue);
	queued = list_empty(&ev->node);
	if (queued)
		list_add_tail(&ev->node, &queue);
	spin_unlock(&queue_lock);
	/* an agent that left in between did not find it in the queue, where it would hold its owner */
	if (queued && event_is_passing(ev) && !siv_agent_present() && event_unqueue(ev))
		return false;
	if (queued && first)
		siv_agent_hint();
	return queued;
}

/* Takes the oldest event, with the queue's reference to its owner; NULL if there is none. */
struct siv_event *siv_event_next(void)
{
	struct siv_event *ev;

	spin_lock(&queue_lock);
	ev = list_first_entry_or_null(&queue, struct siv_event, node);
	if (ev)
		list_del_init(&ev->node);
	spin_unlock(&queue_lock);
	return ev;
}

/* Puts back what siv_event_next() gave; it is the next one again. */
void siv_event_unget(struct siv_event *ev)
{
	bool queued;

	spin_lock(&queue_lock);
	queued = list_empty(&ev->node);
	if (queued)
		list_add(&ev->node, &queue);
	spin_unlock(&queue_lock);
	if (!queued)
		ev->put(ev);
}

static void caller_executable(struct siv_caller *c)
{
	struct file *exe;

	if (!current->mm)
		return;
	exe = siv_compat_exe_file(current->mm);
	if (!exe)
		return;
	c->exe_dev = new_encode_dev(file_inode(exe)->i_sb->s_dev);
	c->exe_ino = file_inode(exe)->i_ino;
	fput(exe);
}

/* Who calls now, in terms of the initial namespaces; what a process does later changes nothing. */
static void caller_capture(struct siv_caller *c)
{
	const struct cred *cred = current_cred();
	struct net *net = current->nsproxy->net_ns;

	c->pid = task_tgid_nr(current);
	c->uid = from_kuid(&init_user_ns, cred->euid);
	c->gid = from_kgid(&init_user_ns, cred->egid);
	if (net_eq(net, &init_net))
		c->flags |= SIV_CALLER_INIT_NETNS;
	if (current->nsproxy->mnt_ns == init_task.nsproxy->mnt_ns)
		c->flags |= SIV_CALLER_INIT_MNTNS;
	if (cred->user_ns == &init_user_ns)
		c->flags |= SIV_CALLER_INIT_USERNS;
	c->netns_ino = net->ns.inum;
	caller_executable(c);
#ifdef CONFIG_CGROUPS
	rcu_read_lock();
	c->cgroup_id = cgroup_id(task_dfl_cgroup(current));
	rcu_read_unlock();
#endif
}

static void req_free(struct kref *ref)
{
	struct siv_req *req = container_of(ref, struct siv_req, ref);

	if (req->sk)
		sock_put(req->sk);
	kfree(req);
}

void siv_req_put(struct siv_req *req)
{
	kref_put(&req->ref, req_free);
}

static void req_event_put(struct siv_event *ev)
{
	siv_req_put(container_of(ev, struct siv_req, ev));
}

static void req_cancel_put(struct siv_event *ev)
{
	siv_req_put(container_of(ev, struct siv_req, ev_cancel));
}

/* The agent pulls the request: it is TAKEN once it fits, unless somebody ended it before. */
static int req_fill(struct siv_event *ev, struct sk_buff *skb)
{
	struct siv_req *req = container_of(ev, struct siv_req, ev);

	if (atomic_read(&req->state) != SIV_REQ_NEW)
		return -ENOENT;
	if (nla_put_u64_64bit(skb, SIV_UPCALL_A_ID, req->id, SIV_UPCALL_A_PAD) ||
	    nla_put_string(skb, SIV_UPCALL_A_SERVICE, req->service) ||
	    nla_put(skb, SIV_UPCALL_A_CALLER, sizeof(req->caller), &req->caller) ||
	    nla_put_u32(skb, SIV_UPCALL_A_TIMEOUT_MS, req->timeout_ms))
		return -EMSGSIZE;
	if (req->kind == SIV_UPCALL_CONNECT &&
	    (nla_put_string(skb, SIV_UPCALL_A_VM, req->vm) ||
	     nla_put_string(skb, SIV_UPCALL_A_OWN_SERVICE, req->own_service) ||
	     nla_put_u32(skb, SIV_UPCALL_A_TX_ORDER, req->tx_order) ||
	     nla_put_u32(skb, SIV_UPCALL_A_RX_ORDER, req->rx_order) ||
	     nla_put_u32(skb, SIV_UPCALL_A_TYPE, req->type)))
		return -EMSGSIZE;
	if (atomic_cmpxchg(&req->state, SIV_REQ_NEW, SIV_REQ_TAKEN) != SIV_REQ_NEW)
		return -ENOENT;
	return 0;
}

static int req_cancel_fill(struct siv_event *ev, struct sk_buff *skb)
{
	struct siv_req *req = container_of(ev, struct siv_req, ev_cancel);

	return nla_put_u64_64bit(skb, SIV_UPCALL_A_ID, req->id, SIV_UPCALL_A_PAD);
}

static void req_timeout(struct work_struct *work)
{
	struct siv_req *req = container_of(to_delayed_work(work), struct siv_req, timer);

	/* the timer's reference */
	siv_req_fail(req, ETIMEDOUT);
	siv_req_put(req);
}

/* A request of the calling process, not yet known to anybody. Returns NULL without memory. */
struct siv_req *siv_req_alloc(enum siv_upcall_kind kind, gfp_t gfp)
{
	struct siv_req *req = kzalloc(sizeof(*req), gfp);

	if (!req)
		return NULL;
	kref_init(&req->ref);
	req->kind = kind;
	req->id = atomic64_inc_return(&next_id);
	req->timeout_ms = READ_ONCE(upcall_timeout_ms);
	init_completion(&req->done);
	INIT_DELAYED_WORK(&req->timer, req_timeout);
	siv_event_init(&req->ev, kind, req_fill, req_event_put);
	siv_event_init(&req->ev_cancel, SIV_UPCALL_CANCEL, req_cancel_fill, req_cancel_put);
	caller_capture(&req->caller);
	return req;
}

static bool uid_full(u32 uid)
{
	struct siv_req *req;
	unsigned long id;
	unsigned int n = 0;

	xa_lock(&reqs);
	xa_for_each(&reqs, id, req)
		n += req->caller.uid == uid;
	xa_unlock(&reqs);
	return n >= SIV_REQS_UID_MAX;
}

/*
 * Hands @req to the agent. Returns 0, -ENETDOWN without an agent, -ENOBUFS over a limit, -ENOMEM.
 * From then on it ends by GRANT or ANSWER, by time, with the agent, or by siv_req_cancel().
 */
int siv_req_submit(struct siv_req *req)
{
	int err;

	if (!siv_agent_present())
		return -ENETDOWN;
	if (atomic_inc_return(&nr_reqs) > SIV_REQS_MAX || uid_full(req->caller.uid)) {
		atomic_dec(&nr_reqs);
		return -ENOBUFS;
	}
	kref_get(&req->ref); /* the table's */
	err = xa_err(xa_store(&reqs, req->id, req, GFP_KERNEL));
	if (err) {
		atomic_dec(&nr_reqs);
		siv_req_put(req);
		return err;
	}
	kref_get(&req->ref); /* the timer's */
	queue_delayed_work(siv_wq, &req->timer, msecs_to_jiffies(req->timeout_ms));
	kref_get(&req->ref); /* the queue's */
	siv_event_queue(&req->ev);
	/* an agent that left in between did not find it in the table */
	if (!siv_agent_present())
		siv_req_fail(req, ENETDOWN);
	return 0;
}

/* The request with that id, with a reference, or NULL. */
struct siv_req *siv_req_find(u64 id)
{
	struct siv_req *req;

	xa_lock(&reqs);
	req = xa_load(&reqs, id);
	if (req)
		kref_get(&req->ref);
	xa_unlock(&reqs);
	return req;
}

/* True for the one caller that ends @req. */
bool siv_req_win(struct siv_req *req, enum siv_req_state to)
{
	int old = atomic_read(&req->state);

	while (old == SIV_REQ_NEW || old == SIV_REQ_TAKEN)
		if (atomic_try_cmpxchg(&req->state, &old, to))
			return true;
	return false;
}

/* Forgets @req; by whoever won it. True if the agent never saw it. */
bool siv_req_remove(struct siv_req *req)
{
	bool unseen = event_unqueue(&req->ev);

	if (unseen)
		siv_req_put(req);
	if (cancel_delayed_work(&req->timer))
		siv_req_put(req);
	if (xa_erase(&reqs, req->id)) {
		atomic_dec(&nr_reqs);
		siv_req_put(req);
	}
	return unseen;
}

static void req_tell_cancelled(struct siv_req *req)
{
	kref_get(&req->ref); /* the queue's */
	if (!siv_event_queue(&req->ev_cancel))
		siv_req_put(req);
}

/* The process does not want the answer any more. True if it had not come yet. */
bool siv_req_cancel(struct siv_req *req)
{
	if (!siv_req_win(req, SIV_REQ_CANCELLED))
		return false;
	if (!siv_req_remove(req))
		req_tell_cancelled(req);
	return true;
}

/* Ends @req with @err (positive errno), unless somebody was faster. May take lock_sock. */
void siv_req_fail(struct siv_req *req, int err)
{
	if (!siv_req_win(req, SIV_REQ_CANCELLED))
		return;
	if (!siv_req_remove(req) && err == ETIMEDOUT)
		req_tell_cancelled(req);
	if (req->kind == SIV_UPCALL_CONNECT) {
		siv_sock_connect_failed(req, err);
	} else {
		req->err = -err;
		complete(&req->done);
	}
}

/* The agent grants the BIND @req: it is @service, which the caller has checked. */
void siv_req_bound(struct siv_req *req, const char *service)
{
	if (!siv_req_win(req, SIV_REQ_DONE))
		return;
	siv_req_remove(req);
	strscpy(req->service, service, sizeof(req->service));
	complete(&req->done);
}

/* Takes what only the agent that has left could use. */
static struct siv_event *event_next_passing(void)
{
	struct siv_event *ev, *found = NULL;

	spin_lock(&queue_lock);
	list_for_each_entry(ev, &queue, node) {
		if (event_is_passing(ev)) {
			list_del_init(&ev->node);
			found = ev;
			break;
		}
	}
	spin_unlock(&queue_lock);
	return found;
}

/* The agent is gone: whatever waits for it fails. CLOSED and news of links wait for the next one. */
void siv_upcall_agent_gone(void)
{
	struct siv_event *ev;
	struct siv_req *req;
	unsigned long id;

	while ((ev = event_next_passing()))
		ev->put(ev);
	for (;;) {
		id = 0;
		xa_lock(&reqs);
		req = xa_find(&reqs, &id, ULONG_MAX, XA_PRESENT);
		if (req)
			kref_get(&req->ref);
		xa_unlock(&reqs);
		if (!req)
			return;
		siv_req_fail(req, ENETDOWN);
		siv_req_remove(req);
		siv_req_put(req);
	}
}

/* No socket, no channel and no agent is left; what nobody pulled goes. */
void siv_upcall_exit(void)
{
	struct siv_event *ev;

	while ((ev = siv_event_next()))
		ev->put(ev);
	WARN_ON_ONCE(!xa_empty(&reqs));
}
