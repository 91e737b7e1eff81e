// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a broker that was restarted knows, by its journal (journal.c), and what agents report.
 *
 * What the journal has open is claimed, as granted to both ends, and the VMs are what their last
 * HELLO said. From then on all is as in a broker that was there all the time and whose agents have
 * lost their connection:
 *   - a HELLO of another incarnation ends the epoch, and closes that VM's ends;
 *   - so does an end that is not held any more, or under another IVPosition;
 *   - a report confirms a channel, and one that is not in the reports is closed. A report opens
 *     nothing: what is not known is closed, and what differs from what was granted is reset;
 *   - pages stay claimed until both ends have closed them and they were zeroed.
 * Besides, a channel is reset that has not got as far as both ATTACHED, or that policy, which may
 * be another now, does not allow.
 *
 * A link that the journal does not know, or whose memory is another now, or all of them where there
 * is no journal, may have anything open: if somebody holds an end, its epoch is ended; nothing is
 * granted before both kernels have acknowledged the next one, and what is free was zeroed, which is
 * all of it. Only then the journal knows it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define LOCAL_PREFIX "local/"

/* Writing */

static void record_init(struct journal_record *record, enum journal_type type,
			const struct link *link)
{
	*record = (struct journal_record){ .type = type };
	snprintf(record->name, sizeof(record->name), "%s%s",
		 link_is_local(link) ? LOCAL_PREFIX : "",
		 link_is_local(link) ? link->end[0].vm->policy->name : link_name(link));
}

static void make_link(const struct link *link, enum journal_type type,
		      struct journal_record *record)
{
	record_init(record, type, link);
	if (type == JOURNAL_EPOCH)
		record->epoch = link->due_epoch;
	else
		record->link = (struct journal_link){ link->instance, link->size };
}

static void make_channel(const struct channel *channel, enum journal_type type,
			 struct journal_record *record)
{
	struct journal_grant *grant = &record->grant;

	record_init(record, type, channel->link);
	grant->slot = channel->extent.slot;
	grant->generation = channel->extent.generation;
	if (type != JOURNAL_GRANT)
		return;
	grant->offset = channel->extent.offset;
	grant->c2s_order = channel->extent.c2s_order;
	grant->s2c_order = channel->extent.s2c_order;
	grant->epoch = channel->epoch;
	grant->type = channel->type;
	grant->client_end = channel->client_end;
	grant->sealed = channel->sealed;
	memcpy(grant->position, channel->position, sizeof(grant->position));
	memcpy(grant->service, channel->service, sizeof(grant->service));
}

static void make_vm(const struct vm *vm, struct journal_record *record)
{
	*record = (struct journal_record){ .type = JOURNAL_VM };
	strcpy(record->name, vm->policy->name);
	memcpy(record->vm.boot_id, vm->boot_id, sizeof(vm->boot_id));
	record->vm.module_nonce = vm->module_nonce;
	memcpy(record->vm.positions, vm->positions, sizeof(vm->positions));
	record->vm.n_positions = vm->n_positions;
}

static bool append(const struct broker *broker, const struct journal_record *record)
{
	return !broker->config.journal || journal_append(broker->config.journal, record);
}

void record_link(const struct link *link, enum journal_type type)
{
	struct journal_record record;

	if (!link->known)
		return;
	make_link(link, type, &record);
	append(link->broker, &record);
}

bool record_channel(const struct channel *channel, enum journal_type type)
{
	struct journal_record record;

	make_channel(channel, type, &record);
	return append(channel->link->broker, &record);
}

void record_vm(const struct vm *vm)
{
	struct journal_record record;

	make_vm(vm, &record);
	append(vm->broker, &record);
}

static void dump_link(const struct link *link, FILE *out)
{
	struct journal_record record;
	const struct list *pos;

	make_link(link, JOURNAL_LINK, &record);
	journal_put(out, &record);
	make_link(link, JOURNAL_EPOCH, &record);
	journal_put(out, &record);
	list_for_each(pos, &link->channels) {
		const struct channel *channel = container_of(pos, struct channel, node);

		make_channel(channel, JOURNAL_GRANT, &record);
		journal_put(out, &record);
		if (!channel->done)
			continue;
		make_channel(channel, JOURNAL_DONE, &record);
		journal_put(out, &record);
	}
}

static void dump(void *arg, FILE *out)
{
	const struct broker *broker = arg;
	struct journal_record record;

	for (unsigned int i = 0; i < broker->config.policy->n_vms; i++) {
		if (!broker->vms[i].known)
			continue;
		make_vm(&broker->vms[i], &record);
		journal_put(out, &record);
	}
	for (unsigned int i = 0; i < broker->n_links; i++) {
		if (broker->links[i].known)
			dump_link(&broker->links[i], out);
	}
}

void broker_compact(struct broker *broker)
{
	struct journal *journal = broker->config.journal;

	if (journal && journal_wants_rewrite(journal, broker_now(broker)))
		journal_rewrite(journal, broker_now(broker), dump, broker);
}

/* Reading */

static struct link *find_link(struct broker *broker, const char *name)
{
	struct journal_record record;

	for (unsigned int i = 0; i < broker->n_links; i++) {
		record_init(&record, JOURNAL_LINK, &broker->links[i]);
		if (strcmp(record.name, name) == 0)
			return &broker->links[i];
	}
	return NULL;
}

static void apply_vm(struct broker *broker, const struct journal_record *record)
{
	for (unsigned int i = 0; i < broker->config.policy->n_vms; i++) {
		struct vm *vm = &broker->vms[i];

		if (strcmp(vm->policy->name, record->name) != 0)
			continue;
		vm->known = true;
		memcpy(vm->boot_id, record->vm.boot_id, sizeof(vm->boot_id));
		vm->module_nonce = record->vm.module_nonce;
		memcpy(vm->positions, record->vm.positions, sizeof(vm->positions));
		vm->n_positions = record->vm.n_positions;
	}
}

static void apply_link(struct link *link, const struct journal_record *record)
{
	link->size = record->link.size;
	link->instance = record->link.instance;
	link->due_epoch = 0;
	link->known = true;
	channels_forget(link);
}

static const char *apply_grant(struct link *link, const struct journal_grant *grant)
{
	if (!link->end[0].vm->known || !link->end[1].vm->known)
		return "a grant to a VM that is not known";
	switch (channel_restore(link, grant)) {
	case 0:
		return NULL;
	case -ERANGE:
		return "a channel that the link has no place for";
	case -EEXIST:
		return "a channel in a place of another";
	default:
		return "out of memory";
	}
}

static const char *apply_channel(struct link *link, const struct journal_record *record)
{
	struct alloc_extent *extent = alloc_find(&link->alloc, record->grant.slot,
						 record->grant.generation);
	struct channel *channel;

	if (!extent)
		return "a channel that is not there";
	channel = container_of(extent, struct channel, extent);
	if (record->type == JOURNAL_FREE) {
		channel_drop(channel);
	} else {
		channel->done = true;
		channel->reset = false;
	}
	return NULL;
}

static const char *apply(void *arg, const struct journal_record *record)
{
	struct broker *broker = arg;
	struct link *link;

	if (record->type == JOURNAL_VM) {
		apply_vm(broker, record);
		return NULL;
	}
	link = find_link(broker, record->name);
	if (!link)
		return NULL; /* of an earlier configuration */
	if (record->type == JOURNAL_LINK)
		apply_link(link, record);
	else if (!link->known)
		return "a link that is not known";
	else if (record->type == JOURNAL_EPOCH)
		link->due_epoch = record->epoch;
	else if (record->type == JOURNAL_GRANT)
		return apply_grant(link, &record->grant);
	else
		return apply_channel(link, record);
	return NULL;
}

static void forget(struct broker *broker)
{
	for (unsigned int i = 0; i < broker->config.policy->n_vms; i++)
		broker->vms[i].known = false;
	for (unsigned int i = 0; i < broker->n_links; i++) {
		broker->links[i].known = false;
		broker->links[i].due_epoch = 0;
		channels_forget(&broker->links[i]);
	}
}

/* Policy may be another since they were granted. */
static void check_channels(struct link *link)
{
	struct list *pos;

	list_for_each(pos, &link->channels) {
		struct channel *channel = container_of(pos, struct channel, node);
		enum sivp_reason reason;

		if (channel->reset)
			continue;
		reason = channel_check(channel, "open when the host's daemon was restarted, no "
				       "longer allowed, reset");
		/* Its ends are told when they have reported it. */
		channel->reset = reason != SIVP_R_NONE;
		channel->reset_reason = reason;
	}
}

/* Its memory is its kernel's: another size in the configuration holds from the next epoch on. */
static void recover_local(struct link *link)
{
	uint64_t size = link->end[0].vm->policy->local_size;

	if (link->known && link->size == size && link->due_epoch) {
		link->epoch = link->due_epoch;
		link->used = true;
		for (unsigned int end = 0; end < 2; end++)
			link->end[end].joined = link->end[end].seen =
				vm_lists(link->end[end].vm, SIVP_LOCAL);
		check_channels(link);
		return;
	}
	link->size = size;
	channels_forget(link);
	link->known = true;
	record_link(link, JOURNAL_LINK);
	link_next_local(link, link->due_epoch);
}

void broker_recover(struct broker *broker)
{
	struct journal *journal = broker->config.journal;

	if (!journal || !journal_load(journal, apply, broker))
		forget(broker);
	for (unsigned int i = 0; i < broker->n_links; i++) {
		if (link_is_local(&broker->links[i]))
			recover_local(&broker->links[i]);
	}
	broker_compact(broker);
}

void link_recover(struct link *link)
{
	bool joined = link->end[0].joined || link->end[1].joined, lost = false;
	struct list *pos, *tmp;

	link->used = true; /* by that broker */
	if (!link->known) {
		if (joined)
			link_bump(link, "what was open is not known");
		return;
	}
	check_channels(link);
	for (unsigned int end = 0; end < 2; end++) {
		const struct link_end *e = &link->end[end];

		list_for_each_safe(pos, tmp, &link->channels) {
			struct channel *channel = container_of(pos, struct channel, node);

			if (e->seen && e->ivposition == channel->position[end])
				continue;
			lost = lost || channel->epoch == link->epoch;
			channel_end_closed(channel, end);
		}
	}
	log_info("link %s: goes on with %u channels", link_name(link), link->alloc.n);
	if (lost || link->due_epoch > link->epoch)
		link_bump(link, "what ends it came while the host's daemon was away");
}

/* Reports */

static bool fits(const struct channel *channel, unsigned int end, const struct sivp_msg *msg)
{
	const struct alloc_extent *extent = &channel->extent;

	return extent->offset == sivp_u64(msg, SIVP_A_OFFSET) &&
	       extent->c2s_order == sivp_u32(msg, SIVP_A_C2S_ORDER) &&
	       extent->s2c_order == sivp_u32(msg, SIVP_A_S2C_ORDER) &&
	       channel->type == sivp_u32(msg, SIVP_A_TYPE) &&
	       channel->sealed == (sivp_u32(msg, SIVP_A_SEALED) != 0) &&
	       (channel->client_end != end) == (sivp_u32(msg, SIVP_A_SERVER) != 0) &&
	       strcmp(sivp_str(msg, SIVP_A_VM), channel->link->end[!end].vm->policy->name) == 0 &&
	       strcmp(sivp_str(msg, SIVP_A_SERVICE), channel->service[end]) == 0 &&
	       strcmp(sivp_str(msg, SIVP_A_PEER_SERVICE), channel->service[!end]) == 0;
}

static void close_unknown(struct vm *vm, unsigned int end, const struct sivp_msg *msg)
{
	struct sivp_builder *b = vm_message(vm, SIVP_CLOSE, 0);

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
	uint32_t epoch = sivp_u32(msg, SIVP_A_EPOCH), slot = sivp_u32(msg, SIVP_A_SLOT);
	struct channel *channel;
	struct link *link;
	unsigned int end;

	link = channel_message_link(vm, msg, &end);
	if (!link)
		return;
	channel = channel_find(link, epoch, slot, sivp_u64(msg, SIVP_A_GENERATION));
	if (channel && channel->granted[end] && !(channel->extent.closed & (1u << end))) {
		/* Its pages stay claimed in any case: it says that it has them. */
		channel->reported[end] = true;
		if (channel->reset || fits(channel, end, msg))
			return;
		log_warning("vm %s: its kernel has another channel in slot %u of link %s than was "
			    "granted", vm->policy->name, slot, link_name(link));
		channel_reset(channel, SIVP_R_VIOLATION);
		return;
	}
	if (epoch < link->epoch)
		return; /* its kernel resets it when it takes the present epoch */
	if (link_is_local(link) && epoch > link->epoch && epoch < UINT32_MAX) {
		/* The journal was lost, and the clock goes wrong. Nobody else is on that link. */
		link->epoch = epoch;
		link_bump(link, "its kernel has channels of a later one");
		return;
	}
	log_warning("vm %s: its kernel has a channel in slot %u of link %s that was not granted",
		    vm->policy->name, slot, link_name(link));
	close_unknown(vm, end, msg);
}
