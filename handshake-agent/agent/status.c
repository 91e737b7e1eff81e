// SPDX-License-Identifier: BSD-2-Clause
/* What the agent tells on its admin socket, for sivctl. */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "common/admin.h"
#include "common/log.h"

static const char *host_name(const struct host *h)
{
	if (host_up(h))
		return "up";
	return h->reachable ? "connecting" : "away";
}

static json_t *service_status(const struct agent *a, const struct identity *i)
{
	static const char *const states[] = {
		[IDENTITY_NONE] = "waiting", [IDENTITY_ASKED] = "enrolling",
		[IDENTITY_HELD] = "enrolled", [IDENTITY_REFUSED] = "refused",
	};
	json_t *o = json_pack("{s:s, s:s}", "name", i->service->name, "state", states[i->state]);
	struct list *pos;
	int listeners = 0;

	if (i->state == IDENTITY_REFUSED)
		json_object_set_new(o, "reason", json_string(sivp_reason_name(i->reason)));
	if (i->context) {
		json_object_set_new(o, "spiffe_id", json_string(i->id));
		json_object_set_new(o, "not_after", json_integer(i->not_after));
	}
	list_for_each(pos, &a->listeners)
		listeners += !strcmp(container_of(pos, struct listener, node)->service,
				     i->service->name);
	json_object_set_new(o, "listeners", json_integer(listeners));
	return o;
}

/* Its counts are the kernel's, of now: the rest is known here. */
struct link_counts {
	uint32_t id;
	json_t *to;
};

static void got_link(void *ctx, const struct kernel_link *link)
{
	const struct link_counts *counts = ctx;

	if (link->id != counts->id)
		return;
	json_object_set_new(counts->to, "violations", json_integer((json_int_t)link->violations));
	json_object_set_new(counts->to, "bad_events", json_integer((json_int_t)link->bad_events));
	json_object_set_new(counts->to, "floods", json_integer((json_int_t)link->floods));
}

static json_t *link_status(struct agent *a, const struct kernel_link *l)
{
	const struct kernel_request dump = { .cmd = SIV_CMD_LINK_GET, .got_link = got_link };
	json_t *o = json_pack("{s:s, s:s, s:b, s:i, s:s, s:I, s:I}", "name", l->name, "kind",
			      l->kind == SIV_LINK_LOCAL ? "local" : "pci", "up", l->up, "end",
			      (int)l->end, "peer_vm", l->peer_vm, "epoch", (json_int_t)l->epoch,
			      "size", (json_int_t)l->size);

	if (l->kind == SIV_LINK_PCI)
		json_object_set_new(o, "ivposition", json_integer(l->ivposition));
	a->kernel->ops->list(a->kernel, &dump, &(struct link_counts){ .id = l->id, .to = o });
	return o;
}

static int run_status(void *arg, const json_t *request, json_t *reply)
{
	struct agent *a = arg;
	json_t *services = json_array(), *links = json_array(), *refusals = json_object();
	uint64_t refused = 0;

	(void)request;
	json_object_set_new(reply, "role", json_string(a->standalone ? "standalone" : "agent"));
	json_object_set_new(reply, "vm", json_string(a->vm));
	json_object_set_new(reply, "trust_domain", json_string(a->domain));
	json_object_set_new(reply, "module", json_boolean(a->kernel_known));
	json_object_set_new(reply, "registered", json_boolean(a->registered));
	json_object_set_new(reply, "host", json_string(host_name(&a->host)));
	json_object_set_new(reply, "ready", json_boolean(a->was_ready && host_up(&a->host)));
	for (size_t i = 0; i < a->config->nr_services; i++)
		json_array_append_new(services, service_status(a, &a->identities[i]));
	json_object_set_new(reply, "services", services);
	for (unsigned int i = 0; i < a->nr_links; i++)
		if (!a->links[i].gone)
			json_array_append_new(links, link_status(a, &a->links[i].link));
	json_object_set_new(reply, "links", links);
	json_object_set_new(reply, "sessions", json_integer(a->nr_sessions));
	json_object_set_new(reply, "connected", json_integer(a->connected));
	json_object_set_new(reply, "accepted", json_integer(a->accepted));
	json_object_set_new(reply, "resumed", json_integer(a->resumed));
	json_object_set_new(reply, "violations", json_integer((json_int_t)a->violations));
	for (int reason = 0; reason <= SIVP_R_MAX; reason++) {
		refused += a->refused[reason];
		if (a->refused[reason])
			json_object_set_new(refusals, sivp_reason_name((enum sivp_reason)reason),
					    json_integer((json_int_t)a->refused[reason]));
	}
	json_object_set_new(reply, "refused", json_integer((json_int_t)refused));
	json_object_set_new(reply, "refusals", refusals);
	json_object_set_new(reply, "unreported", json_integer((json_int_t)a->audit_dropped));
	json_object_set_new(reply, "closed_untold", json_integer(a->nr_closed));
	return 0;
}

struct channel_list {
	const struct agent *agent;
	json_t *array;
};

static void got_channel(void *ctx, const struct kernel_channel *ch)
{
	static const char *const states[] = {
		[SIV_CHAN_QUEUED] = "queued", [SIV_CHAN_OPEN] = "open", [SIV_CHAN_SHUT] = "shut",
		[SIV_CHAN_DEAD] = "dead",
	};
	struct channel_list *list = ctx;
	const struct kernel_link *l = agent_links_by_id(list->agent, ch->chan.link_id);
	const char *state = ch->state <= SIV_CHAN_DEAD && states[ch->state] ? states[ch->state] : "?";
	char generation[24]; /* beyond what JSON's readers keep of a number */

	snprintf(generation, sizeof(generation), "%llu", (unsigned long long)ch->chan.generation);
	json_array_append_new(list->array,
		json_pack("{s:s, s:i, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b}",
			  "link", l ? l->name : "?", "end", l ? (int)l->end : 0, "slot",
			  (json_int_t)ch->chan.slot, "generation", generation,
			  "role", ch->chan.server ? "server" : "client", "state", state, "service",
			  ch->service, "peer_vm", ch->peer.addr.ssiv_vm, "peer_service",
			  ch->peer.addr.ssiv_service, "peer_spiffe_id", ch->peer.spiffe_id,
			  "not_after", (json_int_t)ch->peer.not_after, "uid", (json_int_t)ch->uid,
			  "tx_bytes", (json_int_t)ch->tx_bytes, "rx_bytes",
			  (json_int_t)ch->rx_bytes, "sealed", ch->sealed));
}

static int run_channels(void *arg, const json_t *request, json_t *reply)
{
	struct agent *a = arg;
	struct channel_list list = { .agent = a, .array = json_array() };
	const struct kernel_request dump = { .cmd = SIV_CMD_CHAN_GET, .got_channel = got_channel };
	int err;

	(void)request;
	err = a->kernel->ops->list(a->kernel, &dump, &list);
	if (err) {
		json_decref(list.array);
		return admin_error(reply, "channels: kernel: %s", strerror(-err));
	}
	json_object_set_new(reply, "vm", json_string(a->vm));
	json_object_set_new(reply, "channels", list.array);
	return 0;
}

static int run_forget(void *arg, const json_t *request, json_t *reply)
{
	(void)request;
	json_object_set_new(reply, "forgotten", json_integer(agent_enrol_forget_tickets(arg)));
	return 0;
}

static const struct admin_command commands[] = {
	{ "status", run_status },
	{ "channels", run_channels },
	{ "forget", run_forget },
	{ NULL, NULL },
};

struct admin *agent_status_open(struct agent *a)
{
	return admin_new(a->loop, a->config->admin, commands, a);
}
