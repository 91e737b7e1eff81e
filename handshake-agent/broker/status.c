// SPDX-License-Identifier: BSD-2-Clause
/* What the broker knows, as JSON for sivctl. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const vm_states[] = {
	[VM_AWAY] = "away",
	[VM_SILENT] = "connected",
	[VM_REPORTING] = "reporting",
	[VM_READY] = "ready",
};

/* {"REASON": n, ...} of what is not 0. */
static json_t *reasons_json(const uint64_t counts[SIVP_R_MAX + 1])
{
	json_t *reasons = json_object();

	for (int reason = SIVP_R_NONE + 1; reason <= SIVP_R_MAX; reason++)
		if (counts[reason])
			json_object_set_new(reasons, sivp_reason_name((enum sivp_reason)reason),
					    json_integer((json_int_t)counts[reason]));
	return reasons;
}

static json_t *taken_json(const struct taken *taken)
{
	return json_pack("{s:I, s:I}", "channels", (json_int_t)taken->channels, "memory",
			 (json_int_t)taken->memory);
}

/* What the VM has connected, and by service where that is anything. */
static json_t *opened_json(const struct vm *vm)
{
	json_t *opened = taken_json(&vm->taken), *services = json_object();

	for (unsigned int i = 0; i < vm->policy->n_services; i++)
		if (vm->services[i].channels)
			json_object_set_new(services, vm->policy->services[i].name,
					    taken_json(&vm->services[i]));
	json_object_set_new(opened, "services", services);
	return opened;
}

static json_t *vm_json(const struct vm *vm)
{
	json_t *services = json_array(), *listening = json_array(), *json;

	for (unsigned int i = 0; i < vm->policy->n_services; i++) {
		json_array_append_new(services, json_string(vm->policy->services[i].name));
		if (vm->listening[i])
			json_array_append_new(listening, json_string(vm->policy->services[i].name));
	}
	json = json_pack("{s:s, s:s, s:o, s:o, s:i, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I, "
			 "s:I}",
			 "vm", vm->policy->name,
			 "state", vm_states[vm->state],
			 "services", services,
			 "listening", listening,
			 "sessions", (int)vm->n_sides,
			 "opens", (json_int_t)vm->count.opens,
			 "granted", (json_int_t)vm->count.granted,
			 "refused", (json_int_t)vm->count.refused,
			 "opened", opened_json(vm),
			 "refusals", reasons_json(vm->budget.refused),
			 "reported", reasons_json(vm->budget.reported),
			 "certificates", (json_int_t)vm->count.certificates,
			 "violations", (json_int_t)vm->count.violations,
			 "tls_bytes", (json_int_t)vm->count.tls_bytes,
			 "audit_dropped", (json_int_t)vm->budget.dropped_total);
	/* Of who is away nothing is known, and nothing is waited for. */
	if (ca_has_former(vm->broker->config.ca) && vm_talks(vm))
		json_object_set_new(json, "renewed", json_boolean(vm->renewed));
	return json;
}

static const char *link_state(const struct link *link)
{
	if (link->phase == LINK_OFF)
		return "no-switch";
	if (link->phase == LINK_START)
		return "starting";
	if (link->bumping)
		return "resetting";
	return link_grantable(link) ? "up" : "down";
}

static json_t *link_json(const struct link *link)
{
	json_t *ends = json_array();

	for (unsigned int i = 0; i < 2; i++) {
		const struct link_end *e = &link->end[i];
		json_t *end = json_pack("{s:s, s:b, s:b, s:b}", "vm", e->vm->policy->name,
					"joined", e->joined, "kernel", e->seen, "acknowledged",
					e->acked_epoch && e->acked_epoch == link->epoch);

		if (e->joined && !link_is_local(link))
			json_object_set_new(end, "ivposition", json_integer(e->ivposition));
		json_array_append_new(ends, end);
	}
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:I, s:o}",
			 "link", link_name(link),
			 "state", link_state(link),
			 "epoch", (json_int_t)link->epoch,
			 "size", (json_int_t)link->size,
			 "used", (json_int_t)link->alloc.used,
			 "channels", (int)link->alloc.n,
			 "half_open", (int)link->n_half_open,
			 "granted", (json_int_t)link->granted,
			 "ends", ends);
}

static json_t *audit_json(const struct audit *audit)
{
	struct audit_counts counts = audit_counts(audit);

	return json_pack("{s:I, s:I, s:I}", "written", (json_int_t)counts.written, "lost",
			 (json_int_t)counts.lost, "journal_lost", (json_int_t)counts.journal_lost);
}

int broker_status(const struct broker *broker, json_t *reply)
{
	json_t *vms = json_array(), *links = json_array();
	uint64_t refused[SIVP_R_MAX + 1];

	for (unsigned int i = 0; i < broker->config.policy->n_vms; i++)
		json_array_append_new(vms, vm_json(&broker->vms[i]));
	for (unsigned int i = 0; i < broker->n_links; i++) {
		/* Of local links only those that some kernel has. */
		if (broker->links[i].policy || broker->links[i].end[0].joined)
			json_array_append_new(links, link_json(&broker->links[i]));
	}
	for (int reason = 0; reason <= SIVP_R_MAX; reason++)
		refused[reason] = audit_count(broker->config.audit, (enum sivp_reason)reason);
	if (json_object_set_new(reply, "trust_domain",
				json_string(broker->config.policy->domain)) ||
	    json_object_set_new(reply, "vms", vms) || json_object_set_new(reply, "links", links) ||
	    json_object_set_new(reply, "refused", reasons_json(refused)) ||
	    json_object_set_new(reply, "audit", audit_json(broker->config.audit)))
		return -1;
	return 0;
}

json_t *channel_json(const struct channel *channel)
{
	static const char *const states[] = {
		[ALLOC_FREE] = "free",
		[ALLOC_GRANTED] = "open",
		[ALLOC_CLOSING] = "closing",
		[ALLOC_DIRTY] = "dirty",
	};
	const struct link *link = channel->link;
	unsigned int client = channel->client_end;
	uint64_t age_ns = broker_now(link->broker) - channel->since_ns;
	char generation[24]; /* beyond what JSON's readers keep of a number */

	snprintf(generation, sizeof(generation), "%" PRIu64, channel->extent.generation);
	return json_pack("{s:s, s:I, s:i, s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s}, "
			 "s:I, s:I, s:I, s:I}",
			 "link", link_name(link),
			 "epoch", (json_int_t)channel->epoch,
			 "slot", (int)channel->extent.slot,
			 "generation", generation,
			 "state", channel->reset ? "resetting" : states[channel->extent.state],
			 "client", "vm", link->end[client].vm->policy->name,
			 "service", channel->service[client],
			 "server", "vm", link->end[!client].vm->policy->name,
			 "service", channel->service[!client],
			 "offset", (json_int_t)channel->extent.offset,
			 "to_server_bytes", (json_int_t)1 << channel->extent.c2s_order,
			 "to_client_bytes", (json_int_t)1 << channel->extent.s2c_order,
			 "age_ms", (json_int_t)(age_ns / LOOP_NS_PER_MS));
}

int broker_channels(const struct broker *broker, json_t *reply)
{
	json_t *channels = json_array();
	const struct list *pos;

	for (unsigned int i = 0; i < broker->n_links; i++) {
		list_for_each(pos, &broker->links[i].channels) {
			const struct channel *channel = container_of(pos, struct channel, node);

			json_array_append_new(channels, channel_json(channel));
		}
	}
	return json_object_set_new(reply, "channels", channels);
}
