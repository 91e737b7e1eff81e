// SPDX-License-Identifier: BSD-2-Clause
/* Links: which ones the kernel has, and what the host says that they are. */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "common/log.h"

uint32_t agent_link_position(const struct kernel_link *link)
{
	return link->kind == SIV_LINK_LOCAL ? SIVP_LOCAL : link->ivposition;
}

static void got_link(void *ctx, const struct kernel_link *link)
{
	struct agent *a = ctx;

	if (a->nr_found == AGENT_LINKS_MAX) {
		log_error("kernel: more than %u links: the rest is not used", AGENT_LINKS_MAX);
		return;
	}
	a->found[a->nr_found++] = (struct agent_link){ .link = *link };
}

void agent_links_refresh(struct agent *a, void (*done)(void *ctx, uint64_t tag, int err,
						 const struct kernel_answer *answer))
{
	const struct kernel_request r = { .cmd = SIV_CMD_LINK_GET, .got_link = got_link,
					  .done = done };

	a->nr_found = 0;
	agent_submit(a, &r);
}

static struct agent_link *find(struct agent *a, uint32_t id)
{
	for (unsigned int i = 0; i < a->nr_links; i++)
		if (a->links[i].link.id == id)
			return &a->links[i];
	return NULL;
}

const struct kernel_link *agent_links_by_id(const struct agent *a, uint32_t id)
{
	for (unsigned int i = 0; i < a->nr_links; i++)
		if (a->links[i].link.id == id)
			return &a->links[i].link;
	return NULL;
}

const struct kernel_link *agent_links_by_position(const struct agent *a, uint32_t ivposition,
					    uint32_t end)
{
	for (unsigned int i = 0; i < a->nr_links; i++) {
		const struct kernel_link *l = &a->links[i].link;

		if (!a->links[i].gone && agent_link_position(l) == ivposition && l->end == end)
			return l;
	}
	return NULL;
}

static bool is_found(const struct agent *a, uint32_t id)
{
	for (unsigned int i = 0; i < a->nr_found; i++)
		if (a->found[i].link.id == id)
			return true;
	return false;
}

/* A place for one more; if there is none, that of a link that has been gone for long. */
static struct agent_link *new_place(struct agent *a)
{
	if (a->nr_links < AGENT_LINKS_MAX)
		return &a->links[a->nr_links++];
	for (unsigned int i = 0; i < a->nr_links; i++)
		if (a->links[i].gone)
			return &a->links[i];
	return NULL;
}

bool agent_links_take_found(struct agent *a)
{
	bool changed = false;

	for (unsigned int i = 0; i < a->nr_links; i++) {
		struct agent_link *l = &a->links[i];

		if (!l->gone && !is_found(a, l->link.id)) {
			l->gone = true;
			changed = true;
		}
	}
	for (unsigned int i = 0; i < a->nr_found; i++) {
		struct agent_link *f = &a->found[i], *l = find(a, f->link.id);

		if (l && !l->gone && agent_link_position(&l->link) == agent_link_position(&f->link)) {
			/* What the host has said since is newer than what the kernel was asked. */
			if (!l->told)
				l->link = f->link;
			continue;
		}
		changed = true;
		if (!l)
			l = new_place(a);
		if (l)
			*l = *f;
	}
	return changed;
}

void agent_links_of_host(struct agent *a, struct host_hello *hello)
{
	bool local = false;

	hello->nr_links = 0;
	for (unsigned int i = 0; i < a->nr_links; i++) {
		uint32_t position = agent_link_position(&a->links[i].link);

		a->links[i].told = false;
		if (a->links[i].gone || (position == SIVP_LOCAL && local) ||
		    hello->nr_links == SIVP_LINKS_MAX)
			continue;
		local |= position == SIVP_LOCAL;
		hello->links[hello->nr_links++] = position;
	}
}

/*
 * The local link depends on nobody else, so whoever is told "ready" can use it. Of links to other VMs
 * only what the host has said so far counts: it may wait for those VMs.
 */
bool agent_links_settled(const struct agent *a)
{
	for (unsigned int i = 0; i < a->nr_links; i++)
		if (a->links[i].link.kind == SIV_LINK_LOCAL && !a->links[i].gone && !a->links[i].told)
			return false;
	return !a->links_pending;
}

static void send_ack(struct agent *a, uint32_t ivposition, uint32_t epoch, bool up, int err)
{
	host_begin(&a->host, SIVP_LINK_ACK, 0);
	sivp_put_u32(&a->host.out, SIVP_A_IVPOSITION, ivposition);
	sivp_put_u32(&a->host.out, SIVP_A_EPOCH, epoch);
	sivp_put_u32(&a->host.out, SIVP_A_UP, up);
	if (err)
		sivp_put_u32(&a->host.out, SIVP_A_ERRNO, err);
	host_send(&a->host);
}

/*
 * The answers of one LINK go by its tag: the link's id, and whether it came up. Its epoch is in the
 * table by then. The local link is acknowledged by the answer of its end 1, the later one.
 */
#define TAG_UP (1ull << 32)

static void link_done(void *ctx, uint64_t tag, int err, const struct kernel_answer *answer)
{
	struct agent *a = ctx;
	struct agent_link *l = find(a, (uint32_t)tag);

	(void)answer;
	a->links_pending--;
	if (!l || err == -ENODEV)
		return; /* the link or the whole module went meanwhile, of which we hear otherwise */
	if (err) {
		l->link.up = false;
		log_error("link %s: epoch %u: the kernel refused it: %s", l->link.name,
			  l->link.epoch, strerror(-err));
	}
	if (l->link.kind == SIV_LINK_LOCAL && l->link.end == 0 && !err)
		return;
	send_ack(a, agent_link_position(&l->link), l->link.epoch, tag & TAG_UP && !err, -err);
	agent_check_ready(a);
}

static void link_apply(struct agent *a, struct agent_link *l, const struct sivp_msg *m)
{
	bool up = sivp_u32(m, SIVP_A_UP);
	struct kernel_request r = { .cmd = up ? SIV_CMD_LINK_SET : SIV_CMD_LINK_DOWN,
				    .done = link_done,
				    .tag = l->link.id | (up ? TAG_UP : 0) };

	l->told = true;
	l->link.up = up;
	l->link.epoch = sivp_u32(m, SIVP_A_EPOCH);
	if (up) {
		l->link.size = sivp_u64(m, SIVP_A_SIZE);
		l->link.timeout_ms = sivp_u32(m, SIVP_A_TIMEOUT_MS);
		if (l->link.kind == SIV_LINK_LOCAL) {
			strcpy(l->link.peer_vm, a->vm);
		} else {
			l->link.end = sivp_u32(m, SIVP_A_END);
			l->link.peer_ivposition = sivp_u32(m, SIVP_A_PEER_IVPOSITION);
			strcpy(l->link.peer_vm, sivp_str(m, SIVP_A_VM));
		}
		log_info("link %s: up to %s, end %u, epoch %u, %llu bytes", l->link.name,
			 l->link.peer_vm, l->link.end, l->link.epoch,
			 (unsigned long long)l->link.size);
	} else {
		log_info("link %s: down, epoch %u", l->link.name, l->link.epoch);
	}
	r.link = l->link;
	a->links_pending++;
	agent_submit(a, &r);
}

void agent_links_from_host(struct agent *a, const struct sivp_msg *m)
{
	uint32_t ivposition = sivp_u32(m, SIVP_A_IVPOSITION);
	bool known = false;

	if (sivp_u32(m, SIVP_A_UP) &&
	    (!sivp_has(m, SIVP_A_SIZE) ||
	     (ivposition != SIVP_LOCAL &&
	      (!sivp_has(m, SIVP_A_VM) || !sivp_has(m, SIVP_A_PEER_IVPOSITION) ||
	       !sivp_has(m, SIVP_A_END))))) {
		log_error("control: the host named a link without size, peer or end");
		send_ack(a, ivposition, sivp_u32(m, SIVP_A_EPOCH), false, EPROTO);
		return;
	}
	/* Both ends of the local link in the order of their ends, as link_done() expects. */
	for (uint32_t end = 0; end < 2; end++) {
		for (unsigned int i = 0; i < a->nr_links; i++) {
			struct agent_link *l = &a->links[i];

			if (l->gone || agent_link_position(&l->link) != ivposition ||
			    (ivposition == SIVP_LOCAL ? l->link.end != end : end))
				continue;
			known = true;
			link_apply(a, l, m);
		}
	}
	if (!known) {
		log_warning("control: the host named a link with IVPosition %u, which is not here",
			    ivposition);
		send_ack(a, ivposition, sivp_u32(m, SIVP_A_EPOCH), false, ENODEV);
	}
}

void agent_links_stalled(struct agent *a, const struct kernel_upcall *u)
{
	const struct kernel_link *l = agent_links_by_id(a, u->link_id);

	if (!l)
		return;
	log_warning("link %s: no heartbeat from %s: its channels were reset", l->name, l->peer_vm);
	host_begin(&a->host, SIVP_LINK_STALLED, 0);
	sivp_put_u32(&a->host.out, SIVP_A_IVPOSITION, agent_link_position(l));
	sivp_put_u32(&a->host.out, SIVP_A_EPOCH, u->epoch);
	host_send(&a->host);
}
