// SPDX-License-Identifier: BSD-2-Clause
/*
 * Channels: from their allocation until both kernels have closed them and their pages are zeroed.
 * There is no other way out; in particular, no time passes that would free pages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct channel *channel_new(struct link *link, unsigned int client_end, uint32_t type,
			    uint32_t c2s_order, uint32_t s2c_order, bool sealed,
			    const char *const service[2], int *err)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	*err = -ENOMEM;
	if (!channel)
		return NULL;
	*err = alloc_take(&link->alloc, &channel->extent, c2s_order, s2c_order);
	if (*err) {
		free(channel);
		return NULL;
	}
	channel->link = link;
	channel->epoch = link->epoch;
	channel->type = type;
	channel->client_end = client_end;
	channel->sealed = sealed;
	channel->since_ns = broker_now(link->broker);
	for (unsigned int end = 0; end < 2; end++) {
		channel->position[end] = link->end[end].ivposition;
		strcpy(channel->service[end], service[end]);
	}
	list_add_tail(&link->channels, &channel->node);
	limits_charge(channel);
	if (!record_channel(channel, JOURNAL_GRANT)) {
		channel_drop(channel);
		*err = -EIO;
		return NULL;
	}
	return channel;
}

int channel_restore(struct link *link, const struct journal_grant *grant)
{
	struct channel *channel;
	int err;

	if (grant->c2s_order > SIV_CHAN_ORDER_MAX || grant->s2c_order > SIV_CHAN_ORDER_MAX)
		return -ERANGE;
	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return -ENOMEM;
	channel->extent = (struct alloc_extent){
		.slot = grant->slot,
		.generation = grant->generation,
		.offset = grant->offset,
		.c2s_order = (uint8_t)grant->c2s_order,
		.s2c_order = (uint8_t)grant->s2c_order,
	};
	err = alloc_claim(&link->alloc, &channel->extent);
	if (err) {
		free(channel);
		return err;
	}
	channel->link = link;
	channel->epoch = grant->epoch;
	channel->type = grant->type;
	channel->client_end = grant->client_end;
	channel->sealed = grant->sealed;
	channel->since_ns = broker_now(link->broker);
	/* Who has it, the ends say. Until it is JOURNAL_DONE it is to be reset. */
	channel->granted[0] = channel->granted[1] = true;
	channel->reset = true;
	channel->reset_reason = SIVP_R_RESET;
	memcpy(channel->position, grant->position, sizeof(channel->position));
	memcpy(channel->service, grant->service, sizeof(channel->service));
	list_add_tail(&link->channels, &channel->node);
	limits_charge(channel);
	return 0;
}

struct channel *channel_find(const struct link *link, uint32_t epoch, uint32_t slot,
			     uint64_t generation)
{
	struct alloc_extent *extent = alloc_find(&link->alloc, slot, generation);
	struct channel *channel;

	if (!extent)
		return NULL;
	channel = container_of(extent, struct channel, extent);
	return channel->epoch == epoch ? channel : NULL;
}

static void channel_free(struct channel *channel)
{
	sessions_forget_channel(channel);
	limits_release(channel);
	list_del(&channel->node);
	free(channel);
}

void channel_drop(struct channel *channel)
{
	alloc_close(&channel->extent, 0);
	alloc_close(&channel->extent, 1);
	alloc_release(&channel->link->alloc, &channel->extent);
	channel_free(channel);
}

/* Zeroes the pages of a dirty channel and frees it. False: it stays, dirty. */
static bool channel_scrub(struct channel *channel)
{
	struct link *link = channel->link;
	const struct alloc_extent *extent = &channel->extent;
	int err = 0;

	/* A local link's memory is its kernel's, which zeroes it when the server attaches. */
	if (!link_is_local(link))
		err = link->ops->scrub(link->backend, extent->offset, extent->length);
	if (err) {
		log_error("link %s: %llu bytes at %llu cannot be zeroed and stay unused: %s",
			  link_name(link), (unsigned long long)extent->length,
			  (unsigned long long)extent->offset, strerror(-err));
		return false;
	}
	record_channel(channel, JOURNAL_FREE);
	alloc_release(&link->alloc, &channel->extent);
	channel_free(channel);
	log_debug("link %s: a channel is free again, %u are open", link_name(link),
		  link->alloc.n);
	return true;
}

void channel_end_closed(struct channel *channel, unsigned int end)
{
	if (alloc_close(&channel->extent, end) == 1)
		channel_scrub(channel);
}

void channels_reap(struct link *link)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &link->channels) {
		struct channel *channel = container_of(pos, struct channel, node);

		if (channel->extent.state == ALLOC_DIRTY && !channel_scrub(channel))
			return;
	}
}

void channels_forget(struct link *link)
{
	while (!list_empty(&link->channels))
		channel_free(container_of(link->channels.next, struct channel, node));
	alloc_init(&link->alloc, link->size, link->broker->first_generation);
}

void channel_put_name(struct sivp_builder *b, const struct channel *channel, unsigned int end)
{
	sivp_put_u32(b, SIVP_A_IVPOSITION, channel->link->end[end].ivposition);
	sivp_put_u32(b, SIVP_A_END, end);
	sivp_put_u32(b, SIVP_A_EPOCH, channel->epoch);
	sivp_put_u32(b, SIVP_A_SLOT, channel->extent.slot);
	sivp_put_u64(b, SIVP_A_GENERATION, channel->extent.generation);
}

void channel_send_close(struct channel *channel, unsigned int end)
{
	struct vm *vm = channel->link->end[end].vm;
	struct sivp_builder *b;

	if (vm->state != VM_READY || !vm_talks(vm))
		return; /* said when an agent has reported it */
	b = vm_message(vm, SIVP_CLOSE, 0);
	channel_put_name(b, channel, end);
	sivp_put_u32(b, SIVP_A_REASON, channel->reset_reason);
	vm_send(vm);
}

void channel_reset(struct channel *channel, enum sivp_reason reason)
{
	bool granted[2] = { channel->granted[0], channel->granted[1] };

	channel->reset = true;
	channel->reset_reason = reason;
	for (unsigned int end = 0; end < 2; end++) {
		if (granted[end] && !(channel->extent.closed & (1u << end)))
			channel_send_close(channel, end);
	}
	/* Last, since closing the second end frees it. */
	if (!granted[0] && !granted[1]) {
		alloc_close(&channel->extent, 0);
		channel_end_closed(channel, 1);
	} else if (!granted[0] || !granted[1]) {
		channel_end_closed(channel, granted[0] ? 1 : 0);
	}
}

struct link *channel_message_link(struct vm *vm, const struct sivp_msg *msg, unsigned int *end)
{
	struct link *link = link_find(vm, sivp_u32(msg, SIVP_A_IVPOSITION), end);

	if (!link)
		return NULL;
	if (link_is_local(link)) {
		*end = sivp_u32(msg, SIVP_A_END);
	} else if (*end != sivp_u32(msg, SIVP_A_END)) {
		vm_violation(vm, "%s: that is the other end of link %s", sivp_type_name(msg->type),
			     link_name(link));
		return NULL;
	}
	return link;
}

/*
 * A kernel will not touch a channel again. One that nobody knows is ignored: the agent may have
 * been restarted, and say what its predecessor's silence has said already.
 */
void channel_closed_message(struct vm *vm, const struct sivp_msg *msg)
{
	uint64_t generation = sivp_u64(msg, SIVP_A_GENERATION);
	uint32_t epoch = sivp_u32(msg, SIVP_A_EPOCH), slot = sivp_u32(msg, SIVP_A_SLOT);
	struct channel *channel;
	struct link *link;
	unsigned int end;

	link = channel_message_link(vm, msg, &end);
	if (!link)
		return;
	channel = channel_find(link, epoch, slot, generation);
	if (!channel || !channel->granted[end] || (channel->extent.closed & (1u << end))) {
		log_debug("vm %s: closed: slot %u of link %s is not open there", vm->policy->name,
			  slot, link_name(link));
		return;
	}
	sessions_end_closed(channel, end);
	/* The session may have freed it, having nobody else to wait for. */
	channel = channel_find(link, epoch, slot, generation);
	if (channel && !(channel->extent.closed & (1u << end)))
		channel_end_closed(channel, end);
}
