// SPDX-License-Identifier: GPL-2.0-only
/*
 * Generic netlink: what the agent says and asks. The commands are described in <sivshmem/abi.h>.
 *
 * Commands run in parallel, need CAP_NET_ADMIN in the initial user namespace, and never wait for a
 * peer or a copy. One port is the agent; when it closes, what waits for it fails.
 */
#include <linux/errno.h>
#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/random.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "chan.h"
#include "link.h"
#include "sock.h"
#include "upcall.h"

/* For the preload shim: falling back to TCP is fine only while no agent has ever been there. */
static bool agent_seen;
module_param(agent_seen, bool, 0444);
MODULE_PARM_DESC(agent_seen, "an agent has registered since the module was loaded");

static DEFINE_MUTEX(agent_lock); /* who registers, and who leaves */
static DEFINE_SPINLOCK(agent_vm_lock);
static u32 agent_port; /* 0: none; written under agent_lock */
static char agent_vm[SIV_VM_LEN];

/* Tells one load of the module from the next; also for the agent, before it can register. */
static unsigned long long module_nonce;
module_param_named(nonce, module_nonce, ullong, 0444);
MODULE_PARM_DESC(nonce, "another number at each load (read only)");

static struct genl_family siv_genl;

bool siv_agent_present(void)
{
	return READ_ONCE(agent_port);
}

/* The name of this VM, as the agent had it from the host; "" before there was one. */
void siv_agent_vm(char vm[SIV_VM_LEN])
{
	spin_lock(&agent_vm_lock);
	memcpy(vm, agent_vm, SIV_VM_LEN);
	spin_unlock(&agent_vm_lock);
}

static bool hint_send(void)
{
	u32 port = READ_ONCE(agent_port);
	struct sk_buff *skb;
	void *hdr;

	if (!port)
		return true; /* it pulls when it registers */
	skb = genlmsg_new(0, GFP_ATOMIC);
	if (!skb)
		return false;
	hdr = genlmsg_put(skb, 0, 0, &siv_genl, 0, SIV_CMD_WORK);
	if (!hdr) {
		nlmsg_free(skb);
		return false;
	}
	genlmsg_end(skb, hdr);
	/* a full receive queue tells the agent ENOBUFS, and it pulls */
	genlmsg_unicast(&init_net, skb, port);
	return true;
}

static void hint_retry(struct work_struct *work);
static DECLARE_DELAYED_WORK(hint_work, hint_retry);

static void hint_retry(struct work_struct *work)
{
	siv_agent_hint();
}

/* The queue is not empty any more. Does not sleep. */
void siv_agent_hint(void)
{
	if (!hint_send())
		queue_delayed_work(siv_wq, &hint_work, HZ / 10); /* no memory just now */
}

/* beyond the 15 bits that a policy has room for */
static struct netlink_range_validation ivposition_range = { .max = U16_MAX };

static const struct nla_policy link_policy[SIV_LINK_A_MAX + 1] = {
	[SIV_LINK_A_ID] = { .type = NLA_U32 },
	[SIV_LINK_A_SIZE] = { .type = NLA_U64 },
	[SIV_LINK_A_END] = NLA_POLICY_MAX(NLA_U32, 1),
	[SIV_LINK_A_PEER_VM] = { .type = NLA_NUL_STRING, .len = SIV_VM_LEN - 1 },
	[SIV_LINK_A_PEER_IVPOSITION] = NLA_POLICY_FULL_RANGE(NLA_U32, &ivposition_range),
	[SIV_LINK_A_EPOCH] = { .type = NLA_U32 },
	[SIV_LINK_A_TIMEOUT_MS] = { .type = NLA_U32 },
};

static const struct nla_policy chan_policy[SIV_CHAN_A_MAX + 1] = {
	[SIV_CHAN_A_LINK_ID] = { .type = NLA_U32 },
	[SIV_CHAN_A_EPOCH] = { .type = NLA_U32 },
	[SIV_CHAN_A_SLOT] = NLA_POLICY_MAX(NLA_U32, SIV_LINK_SLOTS - 1),
	[SIV_CHAN_A_GENERATION] = { .type = NLA_U64 },
	[SIV_CHAN_A_OFFSET] = { .type = NLA_U64 },
	[SIV_CHAN_A_C2S_ORDER] = NLA_POLICY_RANGE(NLA_U32, SIV_CHAN_ORDER_MIN, SIV_CHAN_ORDER_MAX),
	[SIV_CHAN_A_S2C_ORDER] = NLA_POLICY_RANGE(NLA_U32, SIV_CHAN_ORDER_MIN, SIV_CHAN_ORDER_MAX),
	[SIV_CHAN_A_SERVER] = NLA_POLICY_MAX(NLA_U32, 1),
	[SIV_CHAN_A_TYPE] = { .type = NLA_U32 },
};

static const struct nla_policy siv_policy[SIV_A_MAX + 1] = {
	[SIV_A_ABI] = { .type = NLA_U32 },
	[SIV_A_VM] = { .type = NLA_NUL_STRING, .len = SIV_VM_LEN - 1 },
	[SIV_A_ID] = { .type = NLA_U64 },
	[SIV_A_ERROR] = NLA_POLICY_MAX(NLA_U32, MAX_ERRNO),
	[SIV_A_SERVICE] = { .type = NLA_NUL_STRING, .len = SIV_SERVICE_LEN - 1 },
	[SIV_A_COOKIE] = { .type = NLA_U64 },
	[SIV_A_CHAN] = NLA_POLICY_NESTED(chan_policy),
	[SIV_A_PEER] = NLA_POLICY_EXACT_LEN(sizeof(struct siv_peer)),
	[SIV_A_LINK] = NLA_POLICY_NESTED(link_policy),
	[SIV_A_LINK_ID] = { .type = NLA_U32 },
	[SIV_A_EPOCH] = { .type = NLA_U32 },
	[SIV_A_SLOT] = NLA_POLICY_MAX(NLA_U32, SIV_LINK_SLOTS - 1),
	[SIV_A_GENERATION] = { .type = NLA_U64 },
	[SIV_A_TYPE] = { .type = NLA_U32 },
	[SIV_A_SEAL] = NLA_POLICY_EXACT_LEN(2 * SIV_SEAL_SECRET),
};

static int missing(struct genl_info *info, int attr)
{
	NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[attr], "a required attribute is not there");
	return -EINVAL;
}

/* A name out of an attribute, padded with zeros to @size; "" if it is absent or no name. */
static bool name_get(const struct nlattr *attr, char *name, size_t size)
{
	memset(name, 0, size);
	if (attr)
		nla_strscpy(name, attr, size);
	return siv_name_ok(name, size);
}

static int agent_check(u32 port)
{
	return port == READ_ONCE(agent_port) ? 0 : -EPERM;
}

static struct sk_buff *reply_new(struct genl_info *info, u8 cmd, void **hdr)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);

	if (!skb)
		return NULL;
	*hdr = genlmsg_put_reply(skb, info, &siv_genl, 0, cmd);
	if (!*hdr) {
		nlmsg_free(skb);
		return NULL;
	}
	return skb;
}

static int cmd_register(struct sk_buff *in, struct genl_info *info)
{
	char vm[SIV_VM_LEN];
	struct sk_buff *skb;
	void *hdr;
	int err = 0;

	if (!info->attrs[SIV_A_ABI] || nla_get_u32(info->attrs[SIV_A_ABI]) != SIV_ABI_VERSION) {
		NL_SET_ERR_MSG(info->extack,
			       "agent and module have different ABI versions; install both from the same release");
		return -EPROTONOSUPPORT;
	}
	if (!name_get(info->attrs[SIV_A_VM], vm, sizeof(vm)))
		return missing(info, SIV_A_VM);
	skb = reply_new(info, SIV_CMD_REGISTER, &hdr);
	if (!skb)
		return -ENOMEM;
	if (nla_put_u32(skb, SIV_A_ABI, SIV_ABI_VERSION) ||
	    nla_put_u64_64bit(skb, SIV_A_MODULE_NONCE, module_nonce, SIV_A_PAD)) {
		nlmsg_free(skb);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);

	mutex_lock(&agent_lock);
	if (agent_port && agent_port != info->snd_portid) {
		NL_SET_ERR_MSG(info->extack, "another agent is registered");
		err = -EBUSY;
	} else {
		spin_lock(&agent_vm_lock);
		memcpy(agent_vm, vm, sizeof(agent_vm));
		spin_unlock(&agent_vm_lock);
		WRITE_ONCE(agent_port, info->snd_portid);
		agent_seen = true;
	}
	mutex_unlock(&agent_lock);
	if (err) {
		nlmsg_free(skb);
		return err;
	}
	siv_listeners_announce();
	return genlmsg_reply(skb, info);
}

static int cmd_answer(struct sk_buff *in, struct genl_info *info)
{
	char service[SIV_SERVICE_LEN];
	struct siv_req *req;
	int err = agent_check(info->snd_portid), code;

	if (err)
		return err;
	if (!info->attrs[SIV_A_ID])
		return missing(info, SIV_A_ID);
	if (!info->attrs[SIV_A_ERROR])
		return missing(info, SIV_A_ERROR);
	code = nla_get_u32(info->attrs[SIV_A_ERROR]);
	req = siv_req_find(nla_get_u64(info->attrs[SIV_A_ID]));
	if (!req)
		return -ENOENT;
	if (code)
		siv_req_fail(req, code);
	else if (req->kind != SIV_UPCALL_BIND)
		err = -EINVAL;
	else if (!name_get(info->attrs[SIV_A_SERVICE], service, sizeof(service)))
		err = missing(info, SIV_A_SERVICE);
	else
		siv_req_bound(req, service);
	siv_req_put(req);
	return err;
}

static int cmd_listener(struct sk_buff *in, struct genl_info *info)
{
	char service[SIV_SERVICE_LEN];
	struct sk_buff *skb;
	kuid_t uid;
	u64 cookie;
	void *hdr;
	int err = agent_check(info->snd_portid);

	if (err)
		return err;
	if (!name_get(info->attrs[SIV_A_SERVICE], service, sizeof(service)))
		return missing(info, SIV_A_SERVICE);
	if (!info->attrs[SIV_A_TYPE])
		return missing(info, SIV_A_TYPE);
	err = siv_listener_find(service, nla_get_u32(info->attrs[SIV_A_TYPE]), &cookie, &uid);
	if (err)
		return err;
	skb = reply_new(info, SIV_CMD_LISTENER, &hdr);
	if (!skb)
		return -ENOMEM;
	if (nla_put_u64_64bit(skb, SIV_A_COOKIE, cookie, SIV_A_PAD) ||
	    nla_put_u32(skb, SIV_A_UID, from_kuid(&init_user_ns, uid))) {
		nlmsg_free(skb);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return genlmsg_reply(skb, info);
}

static int grant_parse(struct genl_info *info, struct siv_grant *g)
{
	static const u8 needed[] = {
		SIV_CHAN_A_LINK_ID, SIV_CHAN_A_EPOCH, SIV_CHAN_A_SLOT, SIV_CHAN_A_GENERATION,
		SIV_CHAN_A_OFFSET, SIV_CHAN_A_C2S_ORDER, SIV_CHAN_A_S2C_ORDER, SIV_CHAN_A_SERVER,
		SIV_CHAN_A_TYPE,
	};
	struct nlattr *c[SIV_CHAN_A_MAX + 1];
	unsigned int i;
	int err;

	if (!info->attrs[SIV_A_CHAN])
		return missing(info, SIV_A_CHAN);
	err = nla_parse_nested(c, SIV_CHAN_A_MAX, info->attrs[SIV_A_CHAN], chan_policy,
			       info->extack);
	if (err)
		return err;
	for (i = 0; i < ARRAY_SIZE(needed); i++)
		if (!c[needed[i]])
			return missing(info, SIV_A_CHAN);
	if (!info->attrs[SIV_A_PEER])
		return missing(info, SIV_A_PEER);
	memset(g, 0, sizeof(*g));
	g->link_id = nla_get_u32(c[SIV_CHAN_A_LINK_ID]);
	g->epoch = nla_get_u32(c[SIV_CHAN_A_EPOCH]);
	g->slot = nla_get_u32(c[SIV_CHAN_A_SLOT]);
	g->generation = nla_get_u64(c[SIV_CHAN_A_GENERATION]);
	g->offset = nla_get_u64(c[SIV_CHAN_A_OFFSET]);
	g->c2s_order = nla_get_u32(c[SIV_CHAN_A_C2S_ORDER]);
	g->s2c_order = nla_get_u32(c[SIV_CHAN_A_S2C_ORDER]);
	g->server = nla_get_u32(c[SIV_CHAN_A_SERVER]);
	g->type = nla_get_u32(c[SIV_CHAN_A_TYPE]);
	nla_memcpy(&g->peer, info->attrs[SIV_A_PEER], sizeof(g->peer));
	if (!name_get(info->attrs[SIV_A_SERVICE], g->service, sizeof(g->service)))
		return missing(info, SIV_A_SERVICE);
	if (!siv_name_ok(g->peer.addr.ssiv_vm, SIV_VM_LEN) ||
	    !siv_name_ok(g->peer.addr.ssiv_service, SIV_SERVICE_LEN) ||
	    strnlen(g->peer.spiffe_id, SIV_SPIFFE_LEN) == SIV_SPIFFE_LEN) {
		NL_SET_ERR_MSG(info->extack, "the peer's names are not valid");
		return -EINVAL;
	}
	g->sealed = info->attrs[SIV_A_SEAL];
	if (g->sealed)
		memcpy(g->secrets, nla_data(info->attrs[SIV_A_SEAL]), sizeof(g->secrets));
	return 0;
}

/* The client's side: attached first, then whoever wins the request decides. */
static int grant_client(struct siv_req *req, const struct siv_grant *g)
{
	struct siv_chan *chan;
	int err;

	if (req->kind != SIV_UPCALL_CONNECT || g->server || req->type != g->type)
		return -EINVAL;
	chan = siv_chan_attach(g);
	if (IS_ERR(chan))
		return PTR_ERR(chan);
	if (!siv_req_win(req, SIV_REQ_DONE)) {
		siv_chan_detach(chan, SIV_CLOSED_GONE, false);
		siv_chan_put(chan);
		return -ENOENT;
	}
	siv_req_remove(req);
	err = siv_sock_connected(req, chan);
	if (err) {
		siv_chan_detach(chan, SIV_CLOSED_GONE, false);
		siv_chan_put(chan);
	}
	return err;
}

static int grant_server(u64 cookie, const struct siv_grant *g)
{
	struct siv_chan *chan;
	int err;

	if (!g->server)
		return -EINVAL;
	chan = siv_chan_attach(g);
	if (IS_ERR(chan))
		return PTR_ERR(chan);
	err = siv_listener_queue(cookie, g->service, chan);
	if (err) {
		siv_chan_detach(chan, SIV_CLOSED_GONE, false);
		siv_chan_put(chan);
	}
	return err;
}

static int grant_do(struct genl_info *info, const struct siv_grant *g)
{
	struct siv_req *req;
	int err;

	if (info->attrs[SIV_A_COOKIE])
		return grant_server(nla_get_u64(info->attrs[SIV_A_COOKIE]), g);
	if (!info->attrs[SIV_A_ID])
		return missing(info, SIV_A_ID);
	req = siv_req_find(nla_get_u64(info->attrs[SIV_A_ID]));
	if (!req)
		return -ENOENT;
	err = grant_client(req, g);
	siv_req_put(req);
	return err;
}

static int cmd_grant(struct sk_buff *in, struct genl_info *info)
{
	struct nlattr *seal = info->attrs[SIV_A_SEAL];
	struct siv_grant g = {};
	int err = agent_check(info->snd_portid) ?: grant_parse(info, &g);

	if (!err)
		err = grant_do(info, &g);
	/* also of the message, which somebody else's may reuse */
	memzero_explicit(g.secrets, sizeof(g.secrets));
	if (seal)
		memzero_explicit(nla_data(seal), nla_len(seal));
	return err;
}

static int cmd_link_set(struct sk_buff *in, struct genl_info *info)
{
	struct siv_link_config cfg = {};
	struct nlattr *l[SIV_LINK_A_MAX + 1];
	struct siv_link *link;
	int err = agent_check(info->snd_portid);

	if (err)
		return err;
	if (!info->attrs[SIV_A_LINK])
		return missing(info, SIV_A_LINK);
	err = nla_parse_nested(l, SIV_LINK_A_MAX, info->attrs[SIV_A_LINK], link_policy,
			       info->extack);
	if (err)
		return err;
	if (!l[SIV_LINK_A_ID] || !l[SIV_LINK_A_SIZE] || !l[SIV_LINK_A_END] ||
	    !l[SIV_LINK_A_EPOCH] ||
	    !name_get(l[SIV_LINK_A_PEER_VM], cfg.peer_vm, sizeof(cfg.peer_vm)))
		return missing(info, SIV_A_LINK);
	cfg.size = nla_get_u64(l[SIV_LINK_A_SIZE]);
	cfg.end = nla_get_u32(l[SIV_LINK_A_END]);
	cfg.epoch = nla_get_u32(l[SIV_LINK_A_EPOCH]);
	if (l[SIV_LINK_A_PEER_IVPOSITION])
		cfg.peer_ivposition = nla_get_u32(l[SIV_LINK_A_PEER_IVPOSITION]);
	if (l[SIV_LINK_A_TIMEOUT_MS])
		cfg.timeout_ms = nla_get_u32(l[SIV_LINK_A_TIMEOUT_MS]);
	link = siv_link_get(nla_get_u32(l[SIV_LINK_A_ID]));
	if (!link)
		return -ENODEV;
	err = siv_link_set(link, &cfg);
	siv_link_put(link);
	return err;
}

static int cmd_link_down(struct sk_buff *in, struct genl_info *info)
{
	struct siv_link *link;
	int err = agent_check(info->snd_portid);

	if (err)
		return err;
	if (!info->attrs[SIV_A_LINK_ID])
		return missing(info, SIV_A_LINK_ID);
	if (!info->attrs[SIV_A_EPOCH])
		return missing(info, SIV_A_EPOCH);
	link = siv_link_get(nla_get_u32(info->attrs[SIV_A_LINK_ID]));
	if (!link)
		return -ENODEV;
	err = siv_link_down(link, nla_get_u32(info->attrs[SIV_A_EPOCH]));
	siv_link_put(link);
	return err;
}

static int cmd_reset(struct sk_buff *in, struct genl_info *info)
{
	int err = agent_check(info->snd_portid);

	if (err)
		return err;
	if (!info->attrs[SIV_A_LINK_ID] || !info->attrs[SIV_A_EPOCH] || !info->attrs[SIV_A_SLOT] ||
	    !info->attrs[SIV_A_GENERATION])
		return missing(info, SIV_A_LINK_ID);
	return siv_chan_reset(nla_get_u32(info->attrs[SIV_A_LINK_ID]),
			      nla_get_u32(info->attrs[SIV_A_EPOCH]),
			      nla_get_u32(info->attrs[SIV_A_SLOT]),
			      nla_get_u64(info->attrs[SIV_A_GENERATION]));
}

static int pull_start(struct netlink_callback *cb)
{
	return agent_check(NETLINK_CB(cb->skb).portid);
}

/* One event as a message of its own. -ENOENT: there is nothing to say any more. */
static int pull_one(struct sk_buff *skb, struct netlink_callback *cb, struct siv_event *ev)
{
	struct nlattr *nest;
	int err = -EMSGSIZE;
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &siv_genl,
			  NLM_F_MULTI, SIV_CMD_PULL);
	if (!hdr)
		return err;
	nest = nla_nest_start(skb, SIV_A_UPCALL);
	if (nest && !nla_put_u32(skb, SIV_UPCALL_A_KIND, ev->kind))
		err = ev->fill(ev, skb);
	if (err) {
		genlmsg_cancel(skb, hdr);
		return err;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, hdr);
	return 0;
}

static int pull_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct siv_event *ev;

	while ((ev = siv_event_next())) {
		if (pull_one(skb, cb, ev) == -EMSGSIZE) {
			siv_event_unget(ev);
			break;
		}
		ev->put(ev);
	}
	return skb->len;
}

static int link_put(struct sk_buff *skb, const struct siv_link *link)
{
	return nla_put_u32(skb, SIV_LINK_A_ID, link->id) ||
	       nla_put_u32(skb, SIV_LINK_A_KIND, link->ops->kind) ||
	       nla_put_u32(skb, SIV_LINK_A_IVPOSITION, link->ivposition) ||
	       nla_put_u64_64bit(skb, SIV_LINK_A_SIZE, link->mem_size, SIV_LINK_A_PAD) ||
	       nla_put_u32(skb, SIV_LINK_A_END, link->end) ||
	       nla_put_string(skb, SIV_LINK_A_PEER_VM, link->peer_vm) ||
	       nla_put_u32(skb, SIV_LINK_A_PEER_IVPOSITION, link->peer_ivposition) ||
	       nla_put_u32(skb, SIV_LINK_A_EPOCH, link->epoch) ||
	       nla_put_u32(skb, SIV_LINK_A_TIMEOUT_MS, link->timeout_ms) ||
	       nla_put_u32(skb, SIV_LINK_A_UP, link->up) ||
	       nla_put_string(skb, SIV_LINK_A_NAME, link->name) ||
	       nla_put_u32(skb, SIV_LINK_A_CHANNELS, link->nr_chans) ||
	       nla_put_u64_64bit(skb, SIV_LINK_A_VIOLATIONS, link->violations, SIV_LINK_A_PAD) ||
	       nla_put_u64_64bit(skb, SIV_LINK_A_BAD_EVENTS, READ_ONCE(link->bad_events),
				 SIV_LINK_A_PAD) ||
	       nla_put_u64_64bit(skb, SIV_LINK_A_FLOODS, READ_ONCE(link->floods), SIV_LINK_A_PAD);
}

static int link_put_message(struct sk_buff *skb, struct netlink_callback *cb,
			    struct siv_link *link)
{
	struct nlattr *nest;
	void *hdr;
	int err;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &siv_genl,
			  NLM_F_MULTI, SIV_CMD_LINK_GET);
	if (!hdr)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, SIV_A_LINK);
	mutex_lock(&link->lock);
	err = !nest || link_put(skb, link);
	mutex_unlock(&link->lock);
	if (err) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, hdr);
	return 0;
}

/* cb->args[0]: id of the last link that went out */
static int link_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct siv_link *link;
	int err = 0;

	while (!err && (link = siv_link_next(cb->args[0]))) {
		err = link_put_message(skb, cb, link);
		if (!err)
			cb->args[0] = link->id;
		siv_link_put(link);
	}
	return skb->len;
}

static enum siv_chan_state chan_state(struct siv_chan *chan)
{
	const u32 shut = SIV_STATE_SHUT_WR | SIV_STATE_SHUT_RD;

	if (!READ_ONCE(chan->sk))
		return SIV_CHAN_QUEUED;
	if ((READ_ONCE(chan->state) | siv_chan_peer_state(chan)) & shut)
		return SIV_CHAN_SHUT;
	return SIV_CHAN_OPEN;
}

static int chan_put(struct sk_buff *skb, struct siv_chan *chan)
{
	struct nlattr *nest = nla_nest_start(skb, SIV_A_CHAN);
	u32 c2s = order_base_2(chan->server ? chan->rx_size : chan->tx_size);
	u32 s2c = order_base_2(chan->server ? chan->tx_size : chan->rx_size);
	kuid_t uid = INVALID_UID;
	unsigned long flags;

	if (!nest || nla_put_u32(skb, SIV_CHAN_A_LINK_ID, chan->link->id) ||
	    nla_put_u32(skb, SIV_CHAN_A_EPOCH, chan->epoch) ||
	    nla_put_u32(skb, SIV_CHAN_A_SLOT, chan->slot) ||
	    nla_put_u64_64bit(skb, SIV_CHAN_A_GENERATION, chan->generation, SIV_CHAN_A_PAD) ||
	    nla_put_u64_64bit(skb, SIV_CHAN_A_OFFSET, chan->offset, SIV_CHAN_A_PAD) ||
	    nla_put_u32(skb, SIV_CHAN_A_C2S_ORDER, c2s) ||
	    nla_put_u32(skb, SIV_CHAN_A_S2C_ORDER, s2c) ||
	    nla_put_u32(skb, SIV_CHAN_A_SERVER, chan->server) ||
	    nla_put_u32(skb, SIV_CHAN_A_TYPE, chan->type))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	spin_lock_irqsave(&chan->wake_lock, flags);
	if (chan->sk)
		uid = READ_ONCE(siv_sk(chan->sk)->uid);
	spin_unlock_irqrestore(&chan->wake_lock, flags);
	if (nla_put(skb, SIV_A_PEER, sizeof(chan->peer), &chan->peer) ||
	    nla_put_string(skb, SIV_A_SERVICE, chan->service) ||
	    nla_put_u32(skb, SIV_A_UID, from_kuid(&init_user_ns, uid)) ||
	    nla_put_u32(skb, SIV_A_STATE, chan_state(chan)) ||
	    nla_put_u64_64bit(skb, SIV_A_TX_BYTES, READ_ONCE(chan->tx_pos), SIV_A_PAD) ||
	    nla_put_u64_64bit(skb, SIV_A_RX_BYTES, READ_ONCE(chan->rx_pos), SIV_A_PAD) ||
	    nla_put_u32(skb, SIV_A_SEALED, siv_sealed(chan)))
		return -EMSGSIZE;
	return 0;
}

static int chan_put_message(struct sk_buff *skb, struct netlink_callback *cb,
			    struct siv_chan *chan)
{
	void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &siv_genl,
				NLM_F_MULTI, SIV_CMD_CHAN_GET);

	if (!hdr)
		return -EMSGSIZE;
	if (chan_put(skb, chan)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/* The channels of one link from slot cb->args[1] on. */
static int chan_dump_link(struct sk_buff *skb, struct netlink_callback *cb, struct siv_link *link)
{
	struct siv_chan *chan;
	int err = 0;
	long slot;

	mutex_lock(&link->lock);
	for (slot = cb->args[1]; slot < SIV_LINK_SLOTS; slot++) {
		chan = rcu_dereference_protected(link->slots[slot], lockdep_is_held(&link->lock));
		err = chan ? chan_put_message(skb, cb, chan) : 0;
		if (err)
			break;
	}
	mutex_unlock(&link->lock);
	cb->args[1] = err ? slot : 0;
	return err;
}

/* cb->args[0]: id of the last link that is done; args[1]: slot of the next one to start with */
static int chan_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct siv_link *link;
	int err = 0;

	while (!err && (link = siv_link_next(cb->args[0]))) {
		err = chan_dump_link(skb, cb, link);
		if (!err)
			cb->args[0] = link->id;
		siv_link_put(link);
	}
	return skb->len;
}

#define SIV_OP(c, fn) \
	{ .cmd = (c), .doit = (fn), .policy = siv_policy, .maxattr = SIV_A_MAX, \
	  .flags = GENL_ADMIN_PERM }

static const struct genl_ops siv_genl_ops[] = {
	SIV_OP(SIV_CMD_REGISTER, cmd_register),
	SIV_OP(SIV_CMD_ANSWER, cmd_answer),
	SIV_OP(SIV_CMD_LISTENER, cmd_listener),
	SIV_OP(SIV_CMD_GRANT, cmd_grant),
	SIV_OP(SIV_CMD_LINK_SET, cmd_link_set),
	SIV_OP(SIV_CMD_LINK_DOWN, cmd_link_down),
	SIV_OP(SIV_CMD_RESET, cmd_reset),
	{ .cmd = SIV_CMD_PULL, .start = pull_start, .dumpit = pull_dump, .flags = GENL_ADMIN_PERM },
	{ .cmd = SIV_CMD_LINK_GET, .dumpit = link_dump, .flags = GENL_ADMIN_PERM },
	{ .cmd = SIV_CMD_CHAN_GET, .dumpit = chan_dump, .flags = GENL_ADMIN_PERM },
};

static struct genl_family siv_genl __ro_after_init = {
	.name = SIV_GENL_NAME,
	.version = SIV_ABI_VERSION,
	.maxattr = SIV_A_MAX,
	.policy = siv_policy,
	.ops = siv_genl_ops,
	.n_ops = ARRAY_SIZE(siv_genl_ops),
	.resv_start_op = __SIV_CMD_MAX,
	.parallel_ops = true,
	.module = THIS_MODULE,
};

/* The agent's socket was closed, whatever the reason. */
static int agent_left(struct notifier_block *nb, unsigned long event, void *data)
{
	const struct netlink_notify *n = data;

	if (event != NETLINK_URELEASE || n->protocol != NETLINK_GENERIC ||
	    !net_eq(n->net, &init_net))
		return NOTIFY_DONE;
	mutex_lock(&agent_lock);
	if (agent_port && agent_port == n->portid) {
		WRITE_ONCE(agent_port, 0);
		/* under the lock: what the next agent is told must not go with this one */
		siv_upcall_agent_gone();
	}
	mutex_unlock(&agent_lock);
	return NOTIFY_DONE;
}

static struct notifier_block agent_notifier = { .notifier_call = agent_left };

int siv_netlink_init(void)
{
	int err;

	module_nonce = get_random_u64();
	err = genl_register_family(&siv_genl);
	if (err)
		return err;
	err = netlink_register_notifier(&agent_notifier);
	if (err)
		genl_unregister_family(&siv_genl);
	return err;
}

void siv_netlink_exit(void)
{
	netlink_unregister_notifier(&agent_notifier);
	WRITE_ONCE(agent_port, 0);
	genl_unregister_family(&siv_genl);
	cancel_delayed_work_sync(&hint_work);
}
