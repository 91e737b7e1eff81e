// SPDX-License-Identifier: BSD-2-Clause
/* The attributes of the module's netlink messages. */
#include "nl_attr.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <string.h>

#include <netlink/attr.h>
#include <netlink/genl/genl.h>

/* libnl counts the NUL of a string, and insists on it. */
static struct nla_policy top_policy[SIV_A_MAX + 1] = {
	[SIV_A_ABI] = { .type = NLA_U32 },
	[SIV_A_VM] = { .type = NLA_STRING, .maxlen = SIV_VM_LEN },
	[SIV_A_MODULE_NONCE] = { .type = NLA_U64 },
	[SIV_A_UPCALL] = { .type = NLA_NESTED },
	[SIV_A_ID] = { .type = NLA_U64 },
	[SIV_A_ERROR] = { .type = NLA_U32 },
	[SIV_A_SERVICE] = { .type = NLA_STRING, .maxlen = SIV_SERVICE_LEN },
	[SIV_A_COOKIE] = { .type = NLA_U64 },
	[SIV_A_UID] = { .type = NLA_U32 },
	[SIV_A_CHAN] = { .type = NLA_NESTED },
	[SIV_A_PEER] = { .minlen = sizeof(struct siv_peer), .maxlen = sizeof(struct siv_peer) },
	[SIV_A_LINK] = { .type = NLA_NESTED },
	[SIV_A_LINK_ID] = { .type = NLA_U32 },
	[SIV_A_EPOCH] = { .type = NLA_U32 },
	[SIV_A_SLOT] = { .type = NLA_U32 },
	[SIV_A_GENERATION] = { .type = NLA_U64 },
	[SIV_A_STATE] = { .type = NLA_U32 },
	[SIV_A_TX_BYTES] = { .type = NLA_U64 },
	[SIV_A_RX_BYTES] = { .type = NLA_U64 },
	[SIV_A_SEALED] = { .type = NLA_U32 },
};

static struct nla_policy upcall_policy[SIV_UPCALL_A_MAX + 1] = {
	[SIV_UPCALL_A_KIND] = { .type = NLA_U32 },
	[SIV_UPCALL_A_ID] = { .type = NLA_U64 },
	[SIV_UPCALL_A_VM] = { .type = NLA_STRING, .maxlen = SIV_VM_LEN },
	[SIV_UPCALL_A_SERVICE] = { .type = NLA_STRING, .maxlen = SIV_SERVICE_LEN },
	[SIV_UPCALL_A_OWN_SERVICE] = { .type = NLA_STRING, .maxlen = SIV_SERVICE_LEN },
	[SIV_UPCALL_A_TX_ORDER] = { .type = NLA_U32 },
	[SIV_UPCALL_A_RX_ORDER] = { .type = NLA_U32 },
	[SIV_UPCALL_A_TYPE] = { .type = NLA_U32 },
	[SIV_UPCALL_A_TIMEOUT_MS] = { .type = NLA_U32 },
	[SIV_UPCALL_A_COOKIE] = { .type = NLA_U64 },
	[SIV_UPCALL_A_LINK_ID] = { .type = NLA_U32 },
	[SIV_UPCALL_A_EPOCH] = { .type = NLA_U32 },
	[SIV_UPCALL_A_SLOT] = { .type = NLA_U32 },
	[SIV_UPCALL_A_GENERATION] = { .type = NLA_U64 },
	[SIV_UPCALL_A_REASON] = { .type = NLA_U32 },
	[SIV_UPCALL_A_CALLER] = { .minlen = sizeof(struct siv_caller),
				  .maxlen = sizeof(struct siv_caller) },
};

static struct nla_policy link_policy[SIV_LINK_A_MAX + 1] = {
	[SIV_LINK_A_ID] = { .type = NLA_U32 },
	[SIV_LINK_A_KIND] = { .type = NLA_U32 },
	[SIV_LINK_A_IVPOSITION] = { .type = NLA_U32 },
	[SIV_LINK_A_SIZE] = { .type = NLA_U64 },
	[SIV_LINK_A_END] = { .type = NLA_U32 },
	[SIV_LINK_A_PEER_VM] = { .type = NLA_STRING, .maxlen = SIV_VM_LEN },
	[SIV_LINK_A_PEER_IVPOSITION] = { .type = NLA_U32 },
	[SIV_LINK_A_EPOCH] = { .type = NLA_U32 },
	[SIV_LINK_A_TIMEOUT_MS] = { .type = NLA_U32 },
	[SIV_LINK_A_UP] = { .type = NLA_U32 },
	[SIV_LINK_A_NAME] = { .type = NLA_STRING },
	[SIV_LINK_A_CHANNELS] = { .type = NLA_U32 },
	[SIV_LINK_A_VIOLATIONS] = { .type = NLA_U64 },
	[SIV_LINK_A_BAD_EVENTS] = { .type = NLA_U64 },
	[SIV_LINK_A_FLOODS] = { .type = NLA_U64 },
};

static struct nla_policy chan_policy[SIV_CHAN_A_MAX + 1] = {
	[SIV_CHAN_A_LINK_ID] = { .type = NLA_U32 },
	[SIV_CHAN_A_EPOCH] = { .type = NLA_U32 },
	[SIV_CHAN_A_SLOT] = { .type = NLA_U32 },
	[SIV_CHAN_A_GENERATION] = { .type = NLA_U64 },
	[SIV_CHAN_A_OFFSET] = { .type = NLA_U64 },
	[SIV_CHAN_A_C2S_ORDER] = { .type = NLA_U32 },
	[SIV_CHAN_A_S2C_ORDER] = { .type = NLA_U32 },
	[SIV_CHAN_A_SERVER] = { .type = NLA_U32 },
	[SIV_CHAN_A_TYPE] = { .type = NLA_U32 },
};

static uint32_t u32(struct nlattr *a)
{
	return a ? nla_get_u32(a) : 0;
}

static uint64_t u64(struct nlattr *a)
{
	return a ? nla_get_u64(a) : 0;
}

static void string(char *out, size_t size, struct nlattr *a)
{
	memset(out, 0, size);
	if (a)
		nla_strlcpy(out, a, size);
}

static int put_chan(struct nl_msg *msg, const struct kernel_chan *c)
{
	struct nlattr *nest = nla_nest_start(msg, SIV_A_CHAN | NLA_F_NESTED);

	if (!nest || nla_put_u32(msg, SIV_CHAN_A_LINK_ID, c->link_id) ||
	    nla_put_u32(msg, SIV_CHAN_A_EPOCH, c->epoch) ||
	    nla_put_u32(msg, SIV_CHAN_A_SLOT, c->slot) ||
	    nla_put_u64(msg, SIV_CHAN_A_GENERATION, c->generation) ||
	    nla_put_u64(msg, SIV_CHAN_A_OFFSET, c->offset) ||
	    nla_put_u32(msg, SIV_CHAN_A_C2S_ORDER, c->c2s_order) ||
	    nla_put_u32(msg, SIV_CHAN_A_S2C_ORDER, c->s2c_order) ||
	    nla_put_u32(msg, SIV_CHAN_A_SERVER, c->server) ||
	    nla_put_u32(msg, SIV_CHAN_A_TYPE, c->type))
		return -ENOMEM;
	nla_nest_end(msg, nest);
	return 0;
}

static int put_link(struct nl_msg *msg, const struct kernel_link *l)
{
	struct nlattr *nest = nla_nest_start(msg, SIV_A_LINK | NLA_F_NESTED);

	if (!nest || nla_put_u32(msg, SIV_LINK_A_ID, l->id) ||
	    nla_put_u64(msg, SIV_LINK_A_SIZE, l->size) ||
	    nla_put_u32(msg, SIV_LINK_A_END, l->end) ||
	    nla_put_string(msg, SIV_LINK_A_PEER_VM, l->peer_vm) ||
	    nla_put_u32(msg, SIV_LINK_A_PEER_IVPOSITION, l->peer_ivposition) ||
	    nla_put_u32(msg, SIV_LINK_A_EPOCH, l->epoch) ||
	    nla_put_u32(msg, SIV_LINK_A_TIMEOUT_MS, l->timeout_ms))
		return -ENOMEM;
	nla_nest_end(msg, nest);
	return 0;
}

int nl_attr_put(struct nl_msg *msg, const struct kernel_request *r)
{
	bool failed = false;

	switch (r->cmd) {
	case SIV_CMD_REGISTER:
		failed = nla_put_u32(msg, SIV_A_ABI, SIV_ABI_VERSION) ||
			 nla_put_string(msg, SIV_A_VM, r->vm);
		break;
	case SIV_CMD_ANSWER:
		failed = nla_put_u64(msg, SIV_A_ID, r->id) ||
			 nla_put_u32(msg, SIV_A_ERROR, r->error) ||
			 (r->service[0] && nla_put_string(msg, SIV_A_SERVICE, r->service));
		break;
	case SIV_CMD_LISTENER:
		failed = nla_put_string(msg, SIV_A_SERVICE, r->service) ||
			 nla_put_u32(msg, SIV_A_TYPE, r->type);
		break;
	case SIV_CMD_GRANT:
		failed = put_chan(msg, &r->chan) ||
			 nla_put(msg, SIV_A_PEER, sizeof(r->peer), &r->peer) ||
			 nla_put_string(msg, SIV_A_SERVICE, r->service) ||
			 (r->secrets && nla_put(msg, SIV_A_SEAL, KERNEL_SECRETS, r->secrets)) ||
			 (r->id ? nla_put_u64(msg, SIV_A_ID, r->id) :
				  nla_put_u64(msg, SIV_A_COOKIE, r->cookie));
		break;
	case SIV_CMD_LINK_SET:
		failed = put_link(msg, &r->link);
		break;
	case SIV_CMD_LINK_DOWN:
		failed = nla_put_u32(msg, SIV_A_LINK_ID, r->link.id) ||
			 nla_put_u32(msg, SIV_A_EPOCH, r->link.epoch);
		break;
	case SIV_CMD_RESET:
		failed = nla_put_u32(msg, SIV_A_LINK_ID, r->chan.link_id) ||
			 nla_put_u32(msg, SIV_A_EPOCH, r->chan.epoch) ||
			 nla_put_u32(msg, SIV_A_SLOT, r->chan.slot) ||
			 nla_put_u64(msg, SIV_A_GENERATION, r->chan.generation);
		break;
	}
	return failed ? -ENOMEM : 0;
}

bool nl_attr_answer(struct nlmsghdr *nlh, struct kernel_answer *answer)
{
	struct nlattr *a[SIV_A_MAX + 1];

	if (genlmsg_parse(nlh, 0, a, SIV_A_MAX, top_policy))
		return false;
	answer->abi = u32(a[SIV_A_ABI]);
	answer->cookie = u64(a[SIV_A_COOKIE]);
	answer->uid = u32(a[SIV_A_UID]);
	return true;
}

bool nl_attr_link(struct nlmsghdr *nlh, struct kernel_link *link)
{
	struct nlattr *top[SIV_A_MAX + 1], *a[SIV_LINK_A_MAX + 1];

	if (genlmsg_parse(nlh, 0, top, SIV_A_MAX, top_policy) || !top[SIV_A_LINK] ||
	    nla_parse_nested(a, SIV_LINK_A_MAX, top[SIV_A_LINK], link_policy) ||
	    !a[SIV_LINK_A_ID] || !a[SIV_LINK_A_KIND])
		return false;
	*link = (struct kernel_link){
		.id = u32(a[SIV_LINK_A_ID]),
		.kind = u32(a[SIV_LINK_A_KIND]),
		.ivposition = u32(a[SIV_LINK_A_IVPOSITION]),
		.size = u64(a[SIV_LINK_A_SIZE]),
		.end = u32(a[SIV_LINK_A_END]) & 1,
		.peer_ivposition = u32(a[SIV_LINK_A_PEER_IVPOSITION]),
		.epoch = u32(a[SIV_LINK_A_EPOCH]),
		.timeout_ms = u32(a[SIV_LINK_A_TIMEOUT_MS]),
		.up = u32(a[SIV_LINK_A_UP]),
		.channels = u32(a[SIV_LINK_A_CHANNELS]),
		.violations = u64(a[SIV_LINK_A_VIOLATIONS]),
		.bad_events = u64(a[SIV_LINK_A_BAD_EVENTS]),
		.floods = u64(a[SIV_LINK_A_FLOODS]),
	};
	string(link->peer_vm, sizeof(link->peer_vm), a[SIV_LINK_A_PEER_VM]);
	string(link->name, sizeof(link->name), a[SIV_LINK_A_NAME]);
	return true;
}

bool nl_attr_channel(struct nlmsghdr *nlh, struct kernel_channel *channel)
{
	struct nlattr *top[SIV_A_MAX + 1], *a[SIV_CHAN_A_MAX + 1];

	if (genlmsg_parse(nlh, 0, top, SIV_A_MAX, top_policy) || !top[SIV_A_CHAN] ||
	    !top[SIV_A_PEER] ||
	    nla_parse_nested(a, SIV_CHAN_A_MAX, top[SIV_A_CHAN], chan_policy))
		return false;
	*channel = (struct kernel_channel){
		.chan = {
			.link_id = u32(a[SIV_CHAN_A_LINK_ID]),
			.epoch = u32(a[SIV_CHAN_A_EPOCH]),
			.slot = u32(a[SIV_CHAN_A_SLOT]),
			.generation = u64(a[SIV_CHAN_A_GENERATION]),
			.offset = u64(a[SIV_CHAN_A_OFFSET]),
			.c2s_order = u32(a[SIV_CHAN_A_C2S_ORDER]),
			.s2c_order = u32(a[SIV_CHAN_A_S2C_ORDER]),
			.server = u32(a[SIV_CHAN_A_SERVER]),
			.type = u32(a[SIV_CHAN_A_TYPE]),
		},
		.uid = u32(top[SIV_A_UID]),
		.state = u32(top[SIV_A_STATE]),
		.tx_bytes = u64(top[SIV_A_TX_BYTES]),
		.rx_bytes = u64(top[SIV_A_RX_BYTES]),
		.sealed = u32(top[SIV_A_SEALED]),
	};
	memcpy(&channel->peer, nla_data(top[SIV_A_PEER]), sizeof(channel->peer));
	string(channel->service, sizeof(channel->service), top[SIV_A_SERVICE]);
	return true;
}

bool nl_attr_upcall(struct nlmsghdr *nlh, struct kernel_upcall *upcall)
{
	struct nlattr *top[SIV_A_MAX + 1], *a[SIV_UPCALL_A_MAX + 1];

	if (genlmsg_parse(nlh, 0, top, SIV_A_MAX, top_policy) || !top[SIV_A_UPCALL] ||
	    nla_parse_nested(a, SIV_UPCALL_A_MAX, top[SIV_A_UPCALL], upcall_policy) ||
	    !a[SIV_UPCALL_A_KIND])
		return false;
	*upcall = (struct kernel_upcall){
		.kind = u32(a[SIV_UPCALL_A_KIND]),
		.id = u64(a[SIV_UPCALL_A_ID]),
		.tx_order = u32(a[SIV_UPCALL_A_TX_ORDER]),
		.rx_order = u32(a[SIV_UPCALL_A_RX_ORDER]),
		.type = u32(a[SIV_UPCALL_A_TYPE]),
		.timeout_ms = u32(a[SIV_UPCALL_A_TIMEOUT_MS]),
		.cookie = u64(a[SIV_UPCALL_A_COOKIE]),
		.link_id = u32(a[SIV_UPCALL_A_LINK_ID]),
		.epoch = u32(a[SIV_UPCALL_A_EPOCH]),
		.slot = u32(a[SIV_UPCALL_A_SLOT]),
		.generation = u64(a[SIV_UPCALL_A_GENERATION]),
		.reason = u32(a[SIV_UPCALL_A_REASON]),
	};
	string(upcall->vm, sizeof(upcall->vm), a[SIV_UPCALL_A_VM]);
	string(upcall->service, sizeof(upcall->service), a[SIV_UPCALL_A_SERVICE]);
	string(upcall->own_service, sizeof(upcall->own_service), a[SIV_UPCALL_A_OWN_SERVICE]);
	if (a[SIV_UPCALL_A_CALLER])
		memcpy(&upcall->caller, nla_data(a[SIV_UPCALL_A_CALLER]), sizeof(upcall->caller));
	return true;
}

bool nl_attr_family(struct nlmsghdr *nlh, char name[GENL_NAMSIZ], uint16_t *family)
{
	static struct nla_policy policy[CTRL_ATTR_MAX + 1] = {
		[CTRL_ATTR_FAMILY_ID] = { .type = NLA_U16 },
		[CTRL_ATTR_FAMILY_NAME] = { .type = NLA_STRING, .maxlen = GENL_NAMSIZ },
	};
	struct nlattr *a[CTRL_ATTR_MAX + 1];

	if (genlmsg_parse(nlh, 0, a, CTRL_ATTR_MAX, policy) || !a[CTRL_ATTR_FAMILY_ID] ||
	    !a[CTRL_ATTR_FAMILY_NAME])
		return false;
	string(name, GENL_NAMSIZ, a[CTRL_ATTR_FAMILY_NAME]);
	*family = nla_get_u16(a[CTRL_ATTR_FAMILY_ID]);
	return true;
}
