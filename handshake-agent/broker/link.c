// SPDX-License-Identifier: BSD-2-Clause
/*
 * Links: who is at their ends, in which epoch, and what the agents are told about that.
 *
 * An end is *joined* when the switch says that a QEMU holds it, and *seen* when that VM's HELLO
 * lists the IVPosition: then there is a kernel behind it. Both ends seen is a link that is up. An
 * end that is lost (its QEMU exited, its kernel is another) ends the epoch, if anything can have
 * been open in it. A grant needs both kernels' LINK_ACK for the present epoch.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

const char *link_name(const struct link *link)
{
	return link->policy ? link->policy->name : "local";
}

static void link_init(struct link *link, struct broker *broker, struct vm *vm0, struct vm *vm1)
{
	link->broker = broker;
	link->end[0].vm = vm0;
	link->end[1].vm = vm1;
	list_init(&link->channels);
}

void link_init_pair(struct link *link, struct broker *broker, unsigned int index)
{
	const struct policy_link *policy = &broker->config.policy->links[index];

	link_init(link, broker, &broker->vms[policy->vm[0]], &broker->vms[policy->vm[1]]);
	link->policy = policy;
	link->index = index;
	link->phase = LINK_OFF;
}

/* broker_recover() does the rest. */
void link_init_local(struct link *link, struct broker *broker, struct vm *vm)
{
	link_init(link, broker, vm, vm);
	vm->local = link;
	link->phase = LINK_RUN;
	for (unsigned int end = 0; end < 2; end++)
		link->end[end].ivposition = SIVP_LOCAL;
}

void link_exit(struct link *link)
{
	channels_forget(link);
}

struct link *link_find(struct vm *vm, uint32_t ivposition, unsigned int *end)
{
	struct broker *broker = vm->broker;

	*end = 0;
	if (ivposition == SIVP_LOCAL)
		return vm->local->end[0].seen ? vm->local : NULL;
	for (unsigned int i = 0; i < broker->config.policy->n_links; i++) {
		struct link *link = &broker->links[i];

		for (*end = 0; *end < 2; ++*end) {
			struct link_end *e = &link->end[*end];

			if (e->vm == vm && e->seen && e->ivposition == ivposition)
				return link;
		}
	}
	return NULL;
}

bool vm_lists(const struct vm *vm, uint32_t ivposition)
{
	for (unsigned int i = 0; vm->known && i < vm->n_positions; i++) {
		if (vm->positions[i] == ivposition)
			return true;
	}
	return false;
}

/* Epochs */

static void link_set_epoch(struct link *link, uint32_t epoch)
{
	if (epoch > link->epoch)
		link->epoch = epoch;
	link->used = false;
	/* a kernel can have written where it had no channel, and the next one would find it there */
	link->unclean = true;
	link->end[0].acked_epoch = link->end[1].acked_epoch = 0;
}

/*
 * From the clock, so that it is later than any that was given by a broker that left no journal; the
 * journal has it before its kernel does.
 */
void link_next_local(struct link *link, uint32_t epoch)
{
	uint32_t now = (uint32_t)broker_wall(link->broker);

	link->due_epoch = now > epoch ? now : epoch + 1;
	record_link(link, JOURNAL_EPOCH);
	link_set_epoch(link, link->due_epoch);
}

void link_bump(struct link *link, const char *why)
{
	if (link->bumping)
		return;
	log_info("link %s: %s: epoch %u ends", link_name(link), why, link->epoch);
	sessions_drop_link(link, SIVP_R_RESET, "the link was reset");
	link->end[0].acked_epoch = link->end[1].acked_epoch = 0;
	if (link_is_local(link)) {
		link_next_local(link, link->epoch);
		link_update(link);
		return;
	}
	link->bumping = true;
	link->due_epoch = link->epoch + 1;
	record_link(link, JOURNAL_EPOCH);
	link->ops->bump(link->backend);
}

/*
 * The kernel behind an end is gone, or another: it will not touch any channel again. The epoch
 * ends, unless nothing can have been open in it or (@ended) it has ended already.
 */
static void link_end_lost(struct link *link, unsigned int end, const char *why, bool ended)
{
	struct list *pos, *tmp;
	bool used = link->used;

	link->end[end].seen = false;
	link->end[end].sent_epoch = link->end[end].acked_epoch = 0;
	sessions_drop_link(link, SIVP_R_RESET, why);
	list_for_each_safe(pos, tmp, &link->channels)
		channel_end_closed(container_of(pos, struct channel, node), end);
	if (used && !ended && link->phase == LINK_RUN)
		link_bump(link, why);
}

/* What agents are told */

static void send_link(struct link *link, unsigned int end, bool up)
{
	struct link_end *e = &link->end[end], *peer = &link->end[!end];
	struct sivp_builder *b = vm_message(e->vm, SIVP_LINK, 0);

	sivp_put_u32(b, SIVP_A_IVPOSITION, e->ivposition);
	sivp_put_u32(b, SIVP_A_EPOCH, link->epoch);
	sivp_put_u32(b, SIVP_A_UP, up);
	sivp_put_u64(b, SIVP_A_SIZE, link->size);
	if (!link_is_local(link)) {
		sivp_put_str(b, SIVP_A_VM, peer->vm->policy->name);
		sivp_put_u32(b, SIVP_A_END, end);
		sivp_put_u32(b, SIVP_A_TIMEOUT_MS, link->policy->timeout_ms);
		if (up)
			sivp_put_u32(b, SIVP_A_PEER_IVPOSITION, peer->ivposition);
	}
	e->sent_epoch = link->epoch;
	e->sent_up = up;
	e->sent_peer = peer->ivposition;
	if (up)
		link->used = true;
	else
		e->acked_epoch = 0;
	vm_send(e->vm);
}

void link_update(struct link *link)
{
	bool up = link->end[0].seen && link->end[1].seen;
	unsigned int n_ends = link_is_local(link) ? 1 : 2; /* one message for a local link */

	if (link->phase != LINK_RUN || link->bumping)
		return;
	for (unsigned int i = 0; i < n_ends; i++) {
		struct link_end *e = &link->end[i], *peer = &link->end[!i];

		if (!e->seen || !vm_talks(e->vm))
			continue;
		if (e->sent_epoch != link->epoch || e->sent_up != up ||
		    (up && e->sent_peer != peer->ivposition))
			send_link(link, i, up);
	}
}

/* What agents say */

void link_ack(struct vm *vm, const struct sivp_msg *msg)
{
	uint32_t error = sivp_u32(msg, SIVP_A_ERRNO);
	unsigned int end;
	struct link *link = link_find(vm, sivp_u32(msg, SIVP_A_IVPOSITION), &end);
	struct link_end *e;

	if (!link)
		return;
	e = &link->end[end];
	if (error)
		log_warning("vm %s: its kernel refused link %s, epoch %u: %s", vm->policy->name,
			    link_name(link), sivp_u32(msg, SIVP_A_EPOCH), strerror((int)error));
	if (error || !sivp_u32(msg, SIVP_A_UP) || !e->sent_up || link->bumping ||
	    e->sent_epoch != link->epoch || sivp_u32(msg, SIVP_A_EPOCH) != link->epoch)
		return;
	e->acked_epoch = link->epoch;
	if (link_is_local(link))
		link->end[1].acked_epoch = link->epoch;
	if (link_grantable(link))
		log_info("link %s%s%s: up in epoch %u", link_name(link),
			 link_is_local(link) ? " of " : "",
			 link_is_local(link) ? vm->policy->name : "", link->epoch);
}

/* A peer's heartbeat stopped: its kernel is dead inside a QEMU that lives, or its VM is paused. */
void link_stalled(struct vm *vm, const struct sivp_msg *msg)
{
	unsigned int end;
	struct link *link = link_find(vm, sivp_u32(msg, SIVP_A_IVPOSITION), &end);

	if (!link || link_is_local(link) || link->phase != LINK_RUN ||
	    sivp_u32(msg, SIVP_A_EPOCH) != link->epoch || !vm_may_upset(vm))
		return;
	log_warning("link %s: vm %s sees no heartbeat of vm %s", link_name(link), vm->policy->name,
		    link->end[!end].vm->policy->name);
	link_bump(link, "no heartbeat");
}

/* Grants */

bool link_grantable(const struct link *link)
{
	if (link->phase != LINK_RUN || link->bumping)
		return false;
	for (unsigned int i = 0; i < 2; i++) {
		const struct link_end *e = &link->end[i];

		if (!e->seen || e->acked_epoch != link->epoch || !vm_talks(e->vm))
			return false;
	}
	return true;
}

static int scrub_gap(void *arg, uint64_t offset, uint64_t length)
{
	struct link *link = arg;

	return link->ops->scrub(link->backend, offset, length);
}

/*
 * Only of a link that link_grantable() says may be granted on: both kernels have then left all
 * older epochs, so that nobody uses memory that no channel has.
 */
bool link_clean(struct link *link)
{
	int err;

	channels_reap(link);
	if (!link->unclean || link_is_local(link))
		return true;
	err = alloc_gaps(&link->alloc, scrub_gap, link);
	if (err) {
		log_error("link %s: its memory cannot be zeroed: %s: nothing is granted on it",
			  link_name(link), strerror(-err));
		return false;
	}
	link->unclean = false;
	if (!link->known) {
		link->known = true;
		record_link(link, JOURNAL_LINK);
	}
	return true;
}

/* HELLO and REPORTED */

static void link_end_hello(struct link *link, unsigned int end, bool reborn)
{
	struct link_end *e = &link->end[end];
	struct list *pos;
	bool seen;

	if (link_is_local(link)) {
		e->joined = vm_lists(e->vm, SIVP_LOCAL);
	}
	seen = e->joined && vm_lists(e->vm, e->ivposition);
	if (e->seen && (reborn || !seen))
		link_end_lost(link, end, reborn ? "a kernel was booted or its module loaded anew" :
						  "its device is gone", false);
	e->seen = seen;
	e->sent_epoch = e->acked_epoch = 0;
	list_for_each(pos, &link->channels)
		container_of(pos, struct channel, node)->reported[end] = false;
}

void links_hello(struct vm *vm, bool reborn)
{
	struct broker *broker = vm->broker;

	for (unsigned int i = 0; i < broker->n_links; i++) {
		struct link *link = &broker->links[i];

		for (unsigned int end = 0; end < 2; end++) {
			if (link->end[end].vm == vm)
				link_end_hello(link, end, reborn);
		}
		if (link->end[0].vm == vm || link->end[1].vm == vm)
			link_update(link);
	}
}

/* What the kernel had and its agent has not named is closed: an earlier agent was told so. */
static void link_end_reported(struct link *link, unsigned int end)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &link->channels) {
		struct channel *channel = container_of(pos, struct channel, node);

		if (!channel->granted[end])
			continue;
		if (!channel->reported[end])
			channel_end_closed(channel, end);
		else if (channel->reset)
			channel_send_close(channel, end);
	}
}

void links_reported(struct vm *vm)
{
	struct broker *broker = vm->broker;

	for (unsigned int i = 0; i < broker->n_links; i++) {
		struct link *link = &broker->links[i];

		for (unsigned int end = 0; end < 2; end++) {
			if (link->end[end].vm == vm && link->phase == LINK_RUN)
				link_end_reported(link, end);
		}
	}
}

/* What the switch says */

/* Is that the memory, and the time, that the journal tells of? */
static bool link_goes_on(const struct link *link, uint64_t instance, uint64_t size, uint32_t epoch)
{
	const struct list *pos;

	if (!link->known || link->instance != instance || link->size != size)
		return false;
	list_for_each(pos, &link->channels) {
		if (container_of(pos, struct channel, node)->epoch > epoch)
			return false;
	}
	return true;
}

void broker_link_start(struct broker *broker, unsigned int index, const struct broker_link_ops *ops,
		       void *backend, uint64_t instance, uint64_t size, uint32_t epoch)
{
	struct link *link = &broker->links[index];

	sessions_drop_link(link, SIVP_R_RESET, "the link was made anew");
	link->known = link_goes_on(link, instance, size, epoch);
	link->instance = instance;
	link->size = size;
	if (!link->known) {
		link->due_epoch = 0;
		channels_forget(link);
	}
	for (unsigned int end = 0; end < 2; end++)
		link->end[end] = (struct link_end){ .vm = link->end[end].vm };
	link->ops = ops;
	link->backend = backend;
	link->epoch = epoch;
	link->phase = LINK_START;
	link->bumping = link->used = false;
	link->unclean = true;
	broker_settle(broker);
}

void broker_link_ready(struct broker *broker, unsigned int index)
{
	struct link *link = &broker->links[index];

	link->phase = LINK_RUN;
	link_recover(link);
	link_update(link);
	broker_settle(broker);
}

void broker_link_joined(struct broker *broker, unsigned int index, unsigned int end,
			uint32_t ivposition)
{
	struct link *link = &broker->links[index];
	struct link_end *e = &link->end[end];

	if (e->joined && e->ivposition == ivposition)
		return;
	log_info("link %s: vm %s joined as %u", link_name(link), e->vm->policy->name, ivposition);
	e->joined = true;
	e->ivposition = ivposition;
	e->seen = vm_lists(e->vm, ivposition);
	e->sent_epoch = e->acked_epoch = 0;
	link_update(link);
	broker_settle(broker);
}

void broker_link_gone(struct broker *broker, unsigned int index, unsigned int end, uint32_t epoch)
{
	struct link *link = &broker->links[index];
	struct link_end *e = &link->end[end];

	if (e->joined) {
		log_info("link %s: vm %s is gone", link_name(link), e->vm->policy->name);
		link_end_lost(link, end, "the VM is gone", true);
		e->joined = false;
	}
	link_set_epoch(link, epoch);
	link_update(link);
	broker_settle(broker);
}

void broker_link_epoch(struct broker *broker, unsigned int index, uint32_t epoch)
{
	struct link *link = &broker->links[index];

	link->bumping = false;
	link_set_epoch(link, epoch);
	link_update(link);
	broker_settle(broker);
}
