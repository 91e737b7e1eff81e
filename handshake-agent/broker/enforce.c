// SPDX-License-Identifier: BSD-2-Clause
/*
 * What was allowed once and is not any more: after a revocation, and after policy was read again,
 * connects under way are rejected and open channels reset.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

static void audit_channel(const struct channel *channel, const char *what, enum sivp_reason reason,
			  const char *text)
{
	const struct link *link = channel->link;
	struct audit_event event = {
		.event = what,
		.reason = reason,
		.vm = link->end[channel->client_end].vm->policy->name,
		.service = channel->service[channel->client_end],
		.peer_vm = link->end[!channel->client_end].vm->policy->name,
		.peer_service = channel->service[!channel->client_end],
		.text = text,
	};

	/* The host's own doing: no VM's budget of lines pays for it. */
	audit_write(link->broker->config.audit, NULL, broker_now(link->broker), &event);
	log_info("link %s: slot %u: %s/%s -> %s/%s: %s: %s", link_name(link), channel->extent.slot,
		 event.vm, event.service, event.peer_vm, event.peer_service, what,
		 sivp_reason_name(reason));
}

enum sivp_reason channel_check(const struct channel *channel, const char *text)
{
	const struct link *link = channel->link;
	const struct vm *client = link->end[channel->client_end].vm;
	const struct vm *server = link->end[!channel->client_end].vm;
	struct policy_verdict verdict;

	policy_decide(link->broker->config.policy, client->index,
		      channel->service[channel->client_end], server->policy->name,
		      channel->service[!channel->client_end], &verdict);
	policy_on_terms(&verdict, channel->sealed);
	if (verdict.reason != SIVP_R_NONE)
		audit_channel(channel, "reset", verdict.reason, text ?: verdict.text);
	return verdict.reason;
}

/* It is on its way out already: told so, or closed by both kernels. */
static bool ends_anyway(const struct channel *channel)
{
	return channel->reset || channel->extent.state == ALLOC_DIRTY;
}

void broker_enforce(struct broker *broker, struct broker_enforced *done)
{
	struct list *pos, *tmp;

	*done = (struct broker_enforced){ .connects = sessions_enforce(broker) };
	for (unsigned int i = 0; i < broker->n_links; i++) {
		list_for_each_safe(pos, tmp, &broker->links[i].channels) {
			struct channel *channel = container_of(pos, struct channel, node);
			enum sivp_reason reason;

			if (ends_anyway(channel))
				continue;
			reason = channel_check(channel, NULL);
			if (reason == SIVP_R_NONE)
				continue;
			channel_reset(channel, reason);
			done->channels++;
		}
	}
	broker_settle(broker);
}

void broker_changed(struct broker *broker, int of)
{
	const struct policy *policy = broker->config.policy;

	for (unsigned int i = 0; i < policy->n_vms; i++) {
		if (of >= 0 && (unsigned int)of != i &&
		    policy_find_link(policy, (unsigned int)of, i) < 0)
			continue;
		vm_message(&broker->vms[i], SIVP_CHANGED, 0);
		vm_send(&broker->vms[i]);
	}
	broker_settle(broker);
}

void broker_trust_changed(struct broker *broker)
{
	size_t len;
	const uint8_t *trusted = ca_trusted(broker->config.ca, &len);

	for (unsigned int i = 0; i < broker->config.policy->n_vms; i++) {
		struct vm *vm = &broker->vms[i];

		vm->renewed = false;
		sivp_put_blob(vm_message(vm, SIVP_CHANGED, 0), SIVP_A_CA, trusted, len);
		vm_send(vm);
	}
	broker_settle(broker);
}

unsigned int broker_not_renewed(const struct broker *broker)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < broker->config.policy->n_vms; i++)
		n += vm_talks(&broker->vms[i]) && !broker->vms[i].renewed;
	return n;
}

static struct channel *find_channel(struct broker *broker, const char *name, uint32_t slot)
{
	for (unsigned int i = 0; slot < SIV_LINK_SLOTS && i < broker->n_links; i++) {
		struct link *link = &broker->links[i];
		const char *own = link_is_local(link) ? link->end[0].vm->policy->name :
							link_name(link);
		struct alloc_extent *extent = link->alloc.by_slot[slot];

		if (extent && strcmp(own, name) == 0)
			return container_of(extent, struct channel, extent);
	}
	return NULL;
}

int broker_revoke_channel(struct broker *broker, const char *link, uint32_t slot, json_t *reply)
{
	static const char text[] = "this channel alone";
	struct channel *channel = find_channel(broker, link, slot);

	if (!channel || ends_anyway(channel))
		return -ENOENT;
	json_object_set_new(reply, "channel", channel_json(channel));
	audit_channel(channel, "revoke", SIVP_R_REVOKED, text);
	if (!sessions_end_channel(channel, SIVP_R_REVOKED, text))
		channel_reset(channel, SIVP_R_REVOKED);
	broker_settle(broker);
	return 0;
}
