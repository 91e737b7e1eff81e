// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a broker that was restarted makes of what the agents report.
 *
 * It has no journal: which channels are open, it knows from the guests alone, and either may lie.
 * So a link's state is rebuilt only where what both ends say fits together; where anything does
 * not, the whole link is reset, which is always safe: epoch + 1, and no grant before both kernels
 * have acknowledged that. What fits together is:
 *
 *   - each end has named at least one channel of the present epoch, open or closed. That proves
 *     that its kernel is the one of this epoch and was not booted anew while nobody looked;
 *   - a channel that both name, open, is the same in all that both say;
 *   - a channel that one end has and the other has not: the other has closed it. If it is the
 *     client that is missing and has not said CLOSED, it may never have attached; then the server's
 *     end is closed too;
 *   - policy, which may have changed, still allows it, or that channel is closed;
 *   - all channels lie within the link, and no two in the same slot or page.
 *
 * Channels of older epochs are not counted: the kernels reset them when they take the present one,
 * and nothing is granted before they have. Then everything that is no channel's is zeroed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void link_drop_reports(struct link *link)
{
	for (unsigned int end = 0; end < 2; end++) {
		free(link->end[end].reports);
		link->end[end].reports = NULL;
		link->end[end].n_reports = 0;
	}
}

/* What this end has said about that channel, or a new report. NULL: too many, or no memory. */
static struct report *report_for(struct vm *vm, struct link_end *e, uint32_t epoch, uint32_t slot,
				 uint64_t generation)
{
	struct report *report;

	for (unsigned int i = 0; i < e->n_reports; i++) {
		report = &e->reports[i];
		if (report->slot == slot && report->generation == generation &&
		    report->epoch == epoch)
			return report;
	}
	/* Open ones have a slot each; as many again may have closed meanwhile. */
	if (e->n_reports == 2 * SIV_LINK_SLOTS) {
		vm_violation(vm, "more channels than a link has slots");
		return NULL;
	}
	if (!(e->n_reports & (e->n_reports - 1))) {
		size_t room = e->n_reports ? 2 * e->n_reports : 1;

		report = realloc(e->reports, room * sizeof(*report));
		if (!report) {
			vm_doom(vm, VM_LOSES_STREAM); /* it will report again */
			return NULL;
		}
		e->reports = report;
	}
	report = &e->reports[e->n_reports++];
	*report = (struct report){ .epoch = epoch, .slot = slot, .generation = generation };
	return report;
}

void report_closed(struct vm *vm, struct link *link, unsigned int end, uint32_t epoch,
		   uint32_t slot, uint64_t generation)
{
	struct report *report = report_for(vm, &link->end[end], epoch, slot, generation);

	if (report)
		report->closed = true;
}

/* The broker was here all the time: it knows what is open, and an agent only confirms it. */
static void confirm(struct vm *vm, struct link *link, unsigned int end, const struct sivp_msg *msg)
{
	struct channel *channel = channel_find(link, sivp_u32(msg, SIVP_A_EPOCH),
					       sivp_u32(msg, SIVP_A_SLOT),
					       sivp_u64(msg, SIVP_A_GENERATION));
	struct sivp_builder *b;

	if (channel && channel->granted[end] && !(channel->extent.closed & (1u << end)) &&
	    channel->extent.offset == sivp_u64(msg, SIVP_A_OFFSET)) {
		channel->reported[end] = true;
		return;
	}
	if (sivp_u32(msg, SIVP_A_EPOCH) < link->epoch)
		return; /* its kernel resets it when it takes the present epoch */
	log_warning("vm %s: its kernel has a channel in slot %u of link %s that was not granted",
		    vm->policy->name, sivp_u32(msg, SIVP_A_SLOT), link_name(link));
	b = vm_message(vm, SIVP_CLOSE, 0);
	sivp_put_u32(b, SIVP_A_IVPOSITION, sivp_u32(msg, SIVP_A_IVPOSITION));
	sivp_put_u32(b, SIVP_A_END, end);
	sivp_put_u32(b, SIVP_A_EPOCH, sivp_u32(msg, SIVP_A_EPOCH));
	sivp_put_u32(b, SIVP_A_SLOT, sivp_u32(msg, SIVP_A_SLOT));
	sivp_put_u64(b, SIVP_A_GENERATION, sivp_u64(msg, SIVP_A_GENERATION));
	sivp_put_u32(b, SIVP_A_REASON, SIVP_R_VIOLATION);
	vm_send(vm);
}

void report_open_channel(struct vm *vm, const struct sivp_msg *msg)
{
	struct report *report;
	struct link *link;
	unsigned int end;

	link = channel_message_link(vm, msg, &end);
	if (!link)
		return;
	if (link->phase != LINK_RECOVER) {
		confirm(vm, link, end, msg);
		return;
	}
	report = report_for(vm, &link->end[end], sivp_u32(msg, SIVP_A_EPOCH),
			    sivp_u32(msg, SIVP_A_SLOT), sivp_u64(msg, SIVP_A_GENERATION));
	if (!report)
		return;
	report->offset = sivp_u64(msg, SIVP_A_OFFSET);
	report->type = sivp_u32(msg, SIVP_A_TYPE);
	report->c2s_order = (uint8_t)sivp_u32(msg, SIVP_A_C2S_ORDER);
	report->s2c_order = (uint8_t)sivp_u32(msg, SIVP_A_S2C_ORDER);
	report->server = sivp_u32(msg, SIVP_A_SERVER);
	report->sealed = sivp_u32(msg, SIVP_A_SEALED);
	strcpy(report->service, sivp_str(msg, SIVP_A_SERVICE));
	strcpy(report->peer_service, sivp_str(msg, SIVP_A_PEER_SERVICE));
	strcpy(report->peer_vm, sivp_str(msg, SIVP_A_VM));
}

/* Rebuilding */

static struct report *find_other(struct link_end *e, const struct report *report)
{
	for (unsigned int i = 0; i < e->n_reports; i++) {
		struct report *other = &e->reports[i];

		if (!other->matched && other->slot == report->slot &&
		    other->generation == report->generation && other->epoch == report->epoch)
			return other;
	}
	return NULL;
}

static bool same_channel(const struct report *a, const struct report *b)
{
	return a->offset == b->offset && a->type == b->type && a->c2s_order == b->c2s_order &&
	       a->s2c_order == b->s2c_order && a->server != b->server && a->sealed == b->sealed &&
	       strcmp(a->service, b->peer_service) == 0 && strcmp(a->peer_service, b->service) == 0;
}

/* Takes over a channel that end @end has open. False: it cannot be. */
static bool adopt(struct link *link, unsigned int end, struct report *report)
{
	struct link_end *e = &link->end[end], *peer = &link->end[!end];
	struct report *other = find_other(peer, report);
	struct channel *channel;
	enum sivp_reason reset = SIVP_R_NONE;

	if (strcmp(report->peer_vm, peer->vm->policy->name) != 0 ||
	    policy_find_service(link->broker->config.policy, e->vm->index, report->service) < 0)
		return false;
	if (other && !other->closed && !same_channel(report, other))
		return false;
	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return false;
	channel->extent = (struct alloc_extent){
		.slot = report->slot,
		.generation = report->generation,
		.offset = report->offset,
		.c2s_order = report->c2s_order,
		.s2c_order = report->s2c_order,
	};
	if (alloc_claim(&link->alloc, &channel->extent)) {
		free(channel);
		return false;
	}
	channel->link = link;
	channel->epoch = report->epoch;
	channel->type = report->type;
	channel->client_end = report->server ? !end : end;
	channel->sealed = report->sealed;
	channel->granted[end] = true;
	strcpy(channel->service[end], report->service);
	strcpy(channel->service[!end], report->peer_service);
	channel->since_ns = broker_now(link->broker);
	list_add_tail(&link->channels, &channel->node);
	limits_charge(channel);
	report->matched = true;
	if (other)
		other->matched = true;
	if (other && !other->closed)
		channel->granted[!end] = true;
	else if (other || !report->server)
		alloc_close(&channel->extent, !end);
	else
		reset = SIVP_R_RESET; /* its client may never have come */
	/* Policy may be another since the restart. */
	if (!reset)
		reset = channel_check(channel, "open when the host's daemon was restarted, no "
				      "longer allowed, reset");
	if (reset)
		channel_reset(channel, reset);
	return true;
}

/* Has the kernel behind that end been in the present epoch? */
static bool proves(const struct link *link, unsigned int end)
{
	for (unsigned int i = 0; i < link->end[end].n_reports; i++) {
		if (link->end[end].reports[i].epoch == link->epoch)
			return true;
	}
	return false;
}

static bool rebuild(struct link *link)
{
	if (!proves(link, 0) || !proves(link, 1))
		return false;
	for (unsigned int end = 0; end < 2; end++) {
		for (unsigned int i = 0; i < link->end[end].n_reports; i++) {
			struct report *report = &link->end[end].reports[i];

			if (report->epoch > link->epoch)
				return false;
			if (report->epoch < link->epoch || report->closed || report->matched)
				continue;
			if (!adopt(link, end, report))
				return false;
		}
	}
	return true;
}

/* A local link's epoch is that of its channels: nobody else has kept it. */
static void adopt_epoch(struct link *link)
{
	uint32_t epoch = 0;

	for (unsigned int end = 0; end < 2; end++) {
		for (unsigned int i = 0; i < link->end[end].n_reports; i++) {
			const struct report *report = &link->end[end].reports[i];

			if (report->epoch > epoch)
				epoch = report->epoch;
		}
	}
	if (epoch)
		link->epoch = epoch;
}

void link_recover(struct link *link)
{
	unsigned int joined = 0;
	bool kept;

	if (link->phase != LINK_RECOVER || !link->attended)
		return;
	for (unsigned int end = 0; end < 2; end++) {
		if (!link->end[end].joined)
			continue;
		if (link->end[end].vm->state != VM_READY)
			return;
		joined++;
	}
	if (link_is_local(link)) {
		if (!joined)
			return;
		adopt_epoch(link);
	}
	kept = rebuild(link);
	link->phase = LINK_RUN;
	link->unclean = true;
	if (kept) {
		log_info("link %s: went on with %u open channels", link_name(link), link->alloc.n);
		link->used = true;
		link_update(link);
	} else {
		channels_forget(link);
		if (joined)
			link_bump(link, "what was open is not known");
	}
	link_drop_reports(link);
}
