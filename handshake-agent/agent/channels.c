// SPDX-License-Identifier: BSD-2-Clause
/*
 * Channels that exist, for the host: the open ones are reported after each WELCOME, each that closes
 * is told once, also if the host was away then. And the listeners, for the host's status.
 *
 * Order matters: what closed before the kernel listed the open ones is told before that list, what
 * closes later after REPORTED, so the host never sees a channel close that it has yet to hear of.
 */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "common/log.h"

static void put_channel(struct sivp_builder *b, uint32_t ivposition, uint32_t end, uint32_t epoch,
			uint32_t slot, uint64_t generation)
{
	sivp_put_u32(b, SIVP_A_IVPOSITION, ivposition);
	sivp_put_u32(b, SIVP_A_END, end);
	sivp_put_u32(b, SIVP_A_EPOCH, epoch);
	sivp_put_u32(b, SIVP_A_SLOT, slot);
	sivp_put_u64(b, SIVP_A_GENERATION, generation);
}

static bool send_closed(struct agent *a, const struct closed *c)
{
	host_begin(&a->host, SIVP_CLOSED, 0);
	put_channel(&a->host.out, c->ivposition, c->end, c->epoch, c->slot, c->generation);
	if (c->reason)
		sivp_put_u32(&a->host.out, SIVP_A_REASON, c->reason);
	return host_send(&a->host);
}

static void closed_free(struct agent *a, struct closed *c)
{
	list_del(&c->node);
	a->nr_closed--;
	free(c);
}

static void flush_closed(struct agent *a)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &a->closed) {
		struct closed *c = container_of(pos, struct closed, node);

		if (!send_closed(a, c))
			return;
		closed_free(a, c);
	}
}

static enum sivp_reason closed_reason(uint32_t reason)
{
	switch (reason) {
	case SIV_CLOSED_VIOLATION:
		return SIVP_R_VIOLATION;
	case SIV_CLOSED_RESET:
	case SIV_CLOSED_STALLED:
	case SIV_CLOSED_GONE:
		return SIVP_R_RESET;
	default:
		return SIVP_R_NONE;
	}
}

void agent_channels_closed(struct agent *a, const struct kernel_upcall *u)
{
	const struct kernel_link *l = agent_links_by_id(a, u->link_id);
	struct closed *c;

	if (!l) {
		log_error("kernel: a channel closed on link %u, which nobody knows", u->link_id);
		return;
	}
	if (u->reason == SIV_CLOSED_VIOLATION) {
		a->violations++;
		log_warning("link %s: slot %u: VM \"%s\" broke the ring's rules: channel reset",
			    l->name, u->slot, l->peer_vm);
	}
	if (a->nr_closed == AGENT_CLOSED_MAX) {
		/* The report that follows the next WELCOME makes up for it. */
		log_warning("control: more than %u channels closed while the host was away",
			    AGENT_CLOSED_MAX);
		closed_free(a, container_of(a->closed.next, struct closed, node));
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		log_error("channels: out of memory: the host learns of a closed channel later");
		return;
	}
	c->ivposition = agent_link_position(l);
	c->end = l->end;
	c->epoch = u->epoch;
	c->slot = u->slot;
	c->generation = u->generation;
	c->reason = closed_reason(u->reason);
	list_add_tail(&a->closed, &c->node);
	a->nr_closed++;
	if (!a->reports_pending)
		flush_closed(a);
}

static void got_channel(void *ctx, const struct kernel_channel *ch)
{
	struct agent *a = ctx;
	const struct kernel_link *l = agent_links_by_id(a, ch->chan.link_id);
	struct sivp_builder *b = &a->host.out;

	if (a->reports_pending > 1 || !l || ch->state == SIV_CHAN_DEAD)
		return; /* asked for another conversation; or its CLOSED is on its way */
	host_begin(&a->host, SIVP_OPEN_CHANNEL, 0);
	put_channel(b, agent_link_position(l), l->end, ch->chan.epoch, ch->chan.slot,
		    ch->chan.generation);
	sivp_put_u64(b, SIVP_A_OFFSET, ch->chan.offset);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, ch->chan.c2s_order);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, ch->chan.s2c_order);
	sivp_put_u32(b, SIVP_A_TYPE, ch->chan.type);
	sivp_put_u32(b, SIVP_A_SERVER, ch->chan.server);
	sivp_put_u32(b, SIVP_A_SEALED, ch->sealed);
	sivp_put_str(b, SIVP_A_VM, ch->peer.addr.ssiv_vm);
	sivp_put_str(b, SIVP_A_SERVICE, ch->service);
	sivp_put_str(b, SIVP_A_PEER_SERVICE, ch->peer.addr.ssiv_service);
	host_send(&a->host);
}

static void reported(void *ctx, uint64_t tag, int err, const struct kernel_answer *answer)
{
	struct agent *a = ctx;

	(void)tag;
	(void)answer;
	if (--a->reports_pending || err)
		return; /* err: the module is gone, and with it the channels; another hello follows */
	host_begin(&a->host, SIVP_REPORTED, 0);
	host_send(&a->host);
	flush_closed(a);
	agent_check_ready(a);
}

void agent_channels_report(struct agent *a)
{
	const struct kernel_request r = { .cmd = SIV_CMD_CHAN_GET, .got_channel = got_channel,
					  .done = reported };

	flush_closed(a);
	a->reports_pending++;
	agent_submit(a, &r);
}

void agent_channels_close(struct agent *a, const struct sivp_msg *m)
{
	const struct kernel_link *l = agent_links_by_position(a, sivp_u32(m, SIVP_A_IVPOSITION),
							sivp_u32(m, SIVP_A_END));
	struct kernel_request r = { .cmd = SIV_CMD_RESET };

	if (sivp_u32(m, SIVP_A_REASON) == SIVP_R_REVOKED)
		agent_enrol_forget_tickets(a); /* whose, it does not say */
	if (!l)
		return; /* its CLOSED said so already, or will */
	r.chan.link_id = l->id;
	r.chan.epoch = sivp_u32(m, SIVP_A_EPOCH);
	r.chan.slot = sivp_u32(m, SIVP_A_SLOT);
	r.chan.generation = sivp_u64(m, SIVP_A_GENERATION);
	log_info("link %s: slot %u: the host closes this channel: %s", l->name, r.chan.slot,
		 sivp_reason_name(sivp_u32(m, SIVP_A_REASON)));
	agent_submit(a, &r);
}

void agent_channels_forget(struct agent *a)
{
	while (!list_empty(&a->closed))
		closed_free(a, container_of(a->closed.next, struct closed, node));
}

static void send_listening(struct agent *a, const char *service, bool up)
{
	host_begin(&a->host, SIVP_LISTENING, 0);
	sivp_put_str(&a->host.out, SIVP_A_SERVICE, service);
	sivp_put_u32(&a->host.out, SIVP_A_UP, up);
	host_send(&a->host);
}

/* How many listeners a service has: several may share it by SO_REUSEPORT. */
static unsigned int listeners_of(const struct agent *a, const char *service)
{
	unsigned int n = 0;
	struct list *pos;

	list_for_each(pos, &a->listeners)
		n += !strcmp(container_of(pos, struct listener, node)->service, service);
	return n;
}

void agent_listeners_add(struct agent *a, const struct kernel_upcall *u)
{
	struct listener *l;
	struct list *pos;

	list_for_each(pos, &a->listeners)
		if (container_of(pos, struct listener, node)->cookie == u->cookie)
			return;
	if (a->nr_listeners == AGENT_LISTENERS_MAX)
		return; /* only the host's status suffers */
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	l->cookie = u->cookie;
	strcpy(l->service, u->service);
	if (!listeners_of(a, l->service))
		send_listening(a, l->service, true);
	list_add_tail(&a->listeners, &l->node);
	a->nr_listeners++;
	log_info("service %s: listening", l->service);
}

static void listener_free(struct agent *a, struct listener *l)
{
	list_del(&l->node);
	a->nr_listeners--;
	free(l);
}

void agent_listeners_remove(struct agent *a, const struct kernel_upcall *u)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &a->listeners) {
		struct listener *l = container_of(pos, struct listener, node);

		if (l->cookie == u->cookie)
			listener_free(a, l);
	}
	if (!listeners_of(a, u->service)) {
		send_listening(a, u->service, false);
		log_info("service %s: not listening any more", u->service);
	}
}

void agent_listeners_report(struct agent *a)
{
	for (size_t i = 0; i < a->config->nr_services; i++)
		if (listeners_of(a, a->config->services[i].name))
			send_listening(a, a->config->services[i].name, true);
}

void agent_listeners_forget(struct agent *a)
{
	while (!list_empty(&a->listeners))
		listener_free(a, container_of(a->listeners.next, struct listener, node));
}
