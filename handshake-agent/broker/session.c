// SPDX-License-Identifier: BSD-2-Clause
/*
 * A connect on its way, from OPEN to both ATTACHED.
 *
 *            OPEN            ACCEPTING         both READY        ATTACHED 0      ATTACHED 0
 *   (policy) ----> INCOMING ----------> RELAY ------------> SERVER -------> CLIENT -------> (done)
 *                      |                  |    (compared)     |               |
 *                      +------------------+---------+---------+---------------+
 *                                                   v
 *                                   DEAD, while a kernel may still answer a GRANT; then freed
 *
 * One road leads to "done", and session_fail() is the one way off it: before the first GRANT that
 * means REJECT to whoever is left; after it, CLOSE to whoever may have the channel, whose pages
 * come back by CLOSED alone. The timer runs until the first GRANT and never after it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "internal.h"

static void session_expired(struct loop_timer *timer);

static unsigned int side_end(const struct session *session, unsigned int side)
{
	return side == CLIENT ? session->client_end : !session->client_end;
}

static unsigned int side_index(const struct session_side *side)
{
	return side == &side->session->side[SERVER] ? SERVER : CLIENT;
}

static struct list *side_bucket(struct vm *vm, uint64_t id)
{
	return &vm->sides[id_hash(id, vm->broker->id_key)];
}

static struct session_side *side_find(struct vm *vm, uint64_t id)
{
	struct list *pos;

	list_for_each(pos, side_bucket(vm, id)) {
		struct session_side *side = container_of(pos, struct session_side, node);

		if (side->id == id)
			return side;
	}
	return NULL;
}

static void side_attach(struct session *session, unsigned int index, struct vm *vm, uint64_t id)
{
	struct session_side *side = &session->side[index];

	side->session = session;
	side->vm = vm;
	side->id = id;
	list_add_tail(side_bucket(vm, id), &side->node);
	vm->n_sides++;
}

static void side_detach(struct session_side *side)
{
	if (!side->vm)
		return;
	list_del(&side->node);
	side->vm->n_sides--;
	side->vm = NULL;
	side->waits = false;
}

/* Frees the session if neither side has anything to wait for. */
static void session_put(struct session *session)
{
	if (session->side[CLIENT].vm || session->side[SERVER].vm)
		return;
	loop_timer_cancel(&session->timer);
	list_del(&session->node);
	session->broker->n_sessions--;
	free(session);
}

static const char *vm_name(const struct broker *broker, unsigned int index)
{
	return broker->config.policy->vms[index].name;
}

static void session_audit(struct session *session, enum sivp_reason reason, const char *text,
			  const char *reported_by)
{
	struct broker *broker = session->broker;
	struct audit_event event = {
		.event = "connect",
		.reason = reason,
		.vm = vm_name(broker, session->vm[CLIENT]),
		.service = session->service[CLIENT],
		.peer_vm = vm_name(broker, session->vm[SERVER]),
		.peer_service = session->service[SERVER],
		.spiffe_id = session->side[CLIENT].spiffe_id,
		.peer_spiffe_id = session->side[SERVER].spiffe_id,
		.reported_by = reported_by,
		.text = text,
		.session = session->number,
		.rule = session->rule,
		.resumed = session->side[CLIENT].resumed && reason == SIVP_R_NONE,
		.has_caller = session->has_caller,
		.uid = session->uid,
		.pid = session->pid,
	};
	struct vm *client = &broker->vms[session->vm[CLIENT]];

	audit_write(broker->config.audit, &client->budget, broker_now(broker), &event);
	if (reason == SIVP_R_NONE)
		client->count.granted++;
	else
		client->count.refused++;
}

/*
 * The way off the road. @origin: the side that has ended it itself and needs no message, or -1.
 * @reported_by: the VM whose word the reason is, or NULL for the host's own. Frees the session
 * unless it has to wait for an ATTACHED.
 */
static void session_fail(struct session *session, enum sivp_reason reason, const char *text,
			 int origin, const char *reported_by)
{
	struct channel *channel = session->channel;

	if (session->state == SESSION_DEAD)
		return;
	session_audit(session, reason, text, reported_by);
	session->state = SESSION_DEAD;
	session->link->n_half_open--;
	loop_timer_cancel(&session->timer);
	for (int i = 0; i < 2; i++) {
		struct session_side *side = &session->side[i];

		if (!side->vm || side->waits)
			continue;
		if (i != origin && !side->attached)
			vm_reject(side->vm, side->id, reason);
		side_detach(side);
	}
	session_put(session);
	/* May free the channel, and then ends the session too, if it still waits. */
	if (channel)
		channel_reset(channel, reason);
}

static void session_expired(struct loop_timer *timer)
{
	struct session *session = container_of(timer, struct session, timer);
	struct broker *broker = session->broker;

	session_fail(session, SIVP_R_TIMEOUT, "no end of the handshake in time", -1, NULL);
	broker_settle(broker);
}

/* OPEN */

static void open_refused(struct vm *vm, const struct sivp_msg *msg,
			 const struct policy_verdict *verdict)
{
	const char *target = verdict->vm >= 0 ? vm_name(vm->broker, (unsigned int)verdict->vm) :
						sivp_str(msg, SIVP_A_VM);
	struct audit_event event = {
		.event = "connect",
		.reason = verdict->reason,
		.vm = vm->policy->name,
		.service = sivp_str(msg, SIVP_A_SERVICE),
		.peer_vm = target,
		.peer_service = sivp_str(msg, SIVP_A_PEER_SERVICE),
		.text = verdict->text,
		.session = ++vm->broker->last_session,
		.rule = verdict->line,
		.has_caller = sivp_has(msg, SIVP_A_UID),
		.uid = sivp_u32(msg, SIVP_A_UID),
		.pid = sivp_u32(msg, SIVP_A_PID),
	};

	vm->count.refused++;
	audit_write(vm->broker->config.audit, &vm->budget, broker_now(vm->broker), &event);
	/* Whoever asks too often may not fill this log, either: the one above has a budget. */
	log_debug("vm %s: refused %s -> %s/%s: %s", vm->policy->name, event.service, target,
		  event.peer_service, verdict->text);
	/* Not the text: it names lines of the host's files, which are not the guest's business. */
	vm_reject(vm, msg->session, verdict->reason);
}

/* Not by policy: @verdict's reason is there, and its text is to be. */
static void open_refused_why(struct vm *vm, const struct sivp_msg *msg,
			     struct policy_verdict *verdict, const char *why)
{
	snprintf(verdict->text, sizeof(verdict->text), "%s", why);
	open_refused(vm, msg, verdict);
}

/* What policy has allowed and cannot be now. NULL: it can. */
static const char *open_impossible(struct vm *client, struct vm *server, struct link *link,
				   const struct sivp_msg *msg, enum sivp_reason *reason)
{
	const struct broker_limits *limits = &client->broker->config.limits;
	uint64_t length = alloc_length(sivp_u32(msg, SIVP_A_C2S_ORDER),
				       sivp_u32(msg, SIVP_A_S2C_ORDER));
	const char *why;

	*reason = SIVP_R_VM_DOWN;
	if (client->state != VM_READY)
		return "the client's agent has not reported its channels yet";
	if (server->state != VM_READY)
		return "the target's agent is not there";
	if (!link_grantable(link))
		return "the link is not up on both ends";
	*reason = SIVP_R_LIMIT;
	if (limits_full(client, link, 1 + (client == server)))
		return "too many connects on their way from or to the client's VM";
	if (limits_full(server, link, 1 + (client == server)))
		return "too many connects on their way from or to the target's VM";
	if (link->n_half_open >= limits->sessions_per_pair)
		return "too many connects on their way between the two VMs";
	*reason = SIVP_R_QUOTA;
	why = limits_exceeded(client, sivp_str(msg, SIVP_A_SERVICE), length);
	if (why)
		return why;
	*reason = SIVP_R_NO_MEMORY;
	if (link->size < SIV_LINK_CHANNELS || length > link->size - SIV_LINK_CHANNELS)
		return "the channel is larger than the link";
	return NULL;
}

static bool session_ids(struct session *session)
{
	const char *domain = session->broker->config.policy->domain;

	for (unsigned int i = 0; i < 2; i++) {
		if (!sivp_spiffe_id(domain, vm_name(session->broker, session->vm[i]),
				    session->service[i], session->side[i].spiffe_id,
				    sizeof(session->side[i].spiffe_id)))
			return false;
	}
	return true;
}

/* Both sides attached, half-open, its timer running. NULL: no memory. */
static struct session *session_new(struct vm *client, struct vm *server, struct link *link,
				   const struct sivp_msg *msg)
{
	struct broker *broker = client->broker;
	uint32_t timeout_ms = sivp_u32(msg, SIVP_A_TIMEOUT_MS);
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	if (!timeout_ms || timeout_ms > broker->config.limits.handshake_ms)
		timeout_ms = broker->config.limits.handshake_ms;
	session->timer.due = session_expired;
	if (loop_timer_set(broker->config.loop, &session->timer, timeout_ms * LOOP_NS_PER_MS)) {
		free(session);
		return NULL;
	}
	session->broker = broker;
	session->number = ++broker->last_session;
	session->state = SESSION_INCOMING;
	session->link = link;
	session->epoch = link->epoch;
	session->client_end = !link_is_local(link) && link->end[1].vm == client;
	session->type = sivp_u32(msg, SIVP_A_TYPE);
	session->c2s_order = sivp_u32(msg, SIVP_A_C2S_ORDER);
	session->s2c_order = sivp_u32(msg, SIVP_A_S2C_ORDER);
	session->vm[CLIENT] = client->index;
	session->vm[SERVER] = server->index;
	strcpy(session->service[CLIENT], sivp_str(msg, SIVP_A_SERVICE));
	strcpy(session->service[SERVER], sivp_str(msg, SIVP_A_PEER_SERVICE));
	session->has_caller = sivp_has(msg, SIVP_A_UID);
	session->uid = sivp_u32(msg, SIVP_A_UID);
	session->pid = sivp_u32(msg, SIVP_A_PID);
	broker_random(session->nonce, sizeof(session->nonce));
	side_attach(session, CLIENT, client, msg->session);
	side_attach(session, SERVER, server, SIVP_SESSION_INCOMING | ++server->last_session);
	list_add_tail(&broker->sessions, &session->node);
	broker->n_sessions++;
	link->n_half_open++;
	return session;
}

/* INCOMING and OPENED: what both ends put into the exporter's context, from the end it goes to. */
static bool send_binding(struct session *session, unsigned int side, enum sivp_type type)
{
	struct session_side *to = &session->side[side];
	struct link *link = session->link;
	unsigned int end = side_end(session, side);
	struct sivp_builder *b = vm_message(to->vm, type, to->id);
	uint64_t now = broker_now(session->broker), left = 0;

	if (session->timer.at_ns > now)
		left = (session->timer.at_ns - now) / LOOP_NS_PER_MS;
	sivp_put_blob(b, SIVP_A_NONCE, session->nonce, sizeof(session->nonce));
	sivp_put_str(b, SIVP_A_VM, vm_name(session->broker, session->vm[!side]));
	sivp_put_str(b, SIVP_A_SERVICE, session->service[side]);
	sivp_put_str(b, SIVP_A_PEER_SERVICE, session->service[!side]);
	sivp_put_u32(b, SIVP_A_IVPOSITION, link->end[end].ivposition);
	sivp_put_u32(b, SIVP_A_PEER_IVPOSITION, link->end[!end].ivposition);
	sivp_put_u32(b, SIVP_A_END, end);
	sivp_put_u32(b, SIVP_A_EPOCH, session->epoch);
	sivp_put_u32(b, SIVP_A_TYPE, session->type);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, session->c2s_order);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, session->s2c_order);
	sivp_put_u32(b, SIVP_A_SEALED, session->sealed);
	sivp_put_u32(b, SIVP_A_TIMEOUT_MS, (uint32_t)left);
	return vm_send_session(to->vm);
}

void session_open(struct vm *vm, const struct sivp_msg *msg)
{
	struct broker *broker = vm->broker;
	const struct policy *policy = broker->config.policy;
	struct policy_verdict verdict;
	struct session *session;
	const char *why;
	struct link *link;
	struct vm *server;

	if (side_find(vm, msg->session)) {
		vm_violation(vm, "open: that session exists");
		return;
	}
	vm->count.opens++;
	/* First of all: what comes next is work. */
	why = limits_take_open(vm, sivp_str(msg, SIVP_A_SERVICE));
	if (why) {
		verdict = (struct policy_verdict){ SIVP_R_RATE, .vm = -1, .link = -1 };
		open_refused_why(vm, msg, &verdict, why);
		return;
	}
	policy_decide(policy, vm->index, sivp_str(msg, SIVP_A_SERVICE), sivp_str(msg, SIVP_A_VM),
		      sivp_str(msg, SIVP_A_PEER_SERVICE), &verdict);
	if (verdict.reason != SIVP_R_NONE) {
		open_refused(vm, msg, &verdict);
		return;
	}
	server = &broker->vms[verdict.vm];
	link = verdict.link >= 0 ? &broker->links[verdict.link] : vm->local;
	why = open_impossible(vm, server, link, msg, &verdict.reason);
	if (why) {
		open_refused_why(vm, msg, &verdict, why);
		return;
	}
	session = session_new(vm, server, link, msg);
	if (!session) {
		verdict.reason = SIVP_R_LIMIT;
		open_refused(vm, msg, &verdict);
		return;
	}
	session->rule = verdict.line;
	session->sealed = verdict.sealed;
	if (!session_ids(session)) {
		session_fail(session, SIVP_R_CERTIFICATE, "its SPIFFE ID is too long", -1, NULL);
		return;
	}
	/* If it does not fit, the server's VM is doomed, and the session ends with the others. */
	send_binding(session, SERVER, SIVP_INCOMING);
}

/* What belongs to a session */

static void session_accepting(struct session *session, unsigned int side,
			      const struct sivp_msg *msg)
{
	struct vm *vm = session->side[side].vm;

	(void)msg;
	if (session->state == SESSION_DEAD)
		return;
	if (session->state != SESSION_INCOMING) {
		vm_violation(vm, "accepting: a second time");
		return;
	}
	session->state = SESSION_RELAY;
	send_binding(session, CLIENT, SIVP_OPENED);
}

static void session_tls(struct session *session, unsigned int side, const struct sivp_msg *msg)
{
	const struct broker_limits *limits = &session->broker->config.limits;
	const struct sivp_value *tls = &msg->attr[SIVP_A_TLS];
	struct session_side *to = &session->side[!side];
	struct sivp_builder *b;

	if (session->state == SESSION_INCOMING) {
		vm_violation(session->side[side].vm, "tls: before %s",
			     side == SERVER ? "accepting" : "opened");
		return;
	}
	/* After both are ready nothing more is wanted: tickets that come late are dropped. */
	if (session->state != SESSION_RELAY)
		return;
	session->bytes += tls->len;
	session->records++;
	if (session->bytes > limits->session_bytes || session->records > limits->session_records) {
		session_fail(session, SIVP_R_LIMIT, "too much TLS for one handshake", -1, NULL);
		return;
	}
	/*
	 * What is relayed may fill half of a queue; beyond that it costs the session that goes on
	 * talking. If it filled all of it, every session of that VM would go (vm_send_session()).
	 */
	if (stream_queued(&to->vm->stream) + tls->len > limits->queue_bytes / 2) {
		session_fail(session, SIVP_R_LIMIT, "its peer's VM does not read so fast", -1,
			     NULL);
		return;
	}
	session->side[side].vm->count.tls_bytes += tls->len;
	b = vm_message(to->vm, SIVP_TLS, to->id);
	sivp_put_blob(b, SIVP_A_TLS, tls->data, tls->len);
	vm_send_session(to->vm);
}

/* What the two READY say, compared in full; the first thing that does not fit, or NULL. */
static const char *ready_mismatch(const struct session *session)
{
	const struct session_side *client = &session->side[CLIENT];
	const struct session_side *server = &session->side[SERVER];

	if (strcmp(client->peer_id, server->spiffe_id) != 0)
		return "the client has verified another peer";
	if (strcmp(server->peer_id, client->spiffe_id) != 0)
		return "the server has verified another peer";
	if (CRYPTO_memcmp(client->peer_digest, server->digest, SIV_DIGEST_LEN) != 0)
		return "the client has seen another certificate than the server's";
	if (CRYPTO_memcmp(server->peer_digest, client->digest, SIV_DIGEST_LEN) != 0)
		return "the server has seen another certificate than the client's";
	if (CRYPTO_memcmp(client->exporter, server->exporter, SIVP_EXPORTER_LEN) != 0)
		return "the two exporters differ";
	if (client->resumed != server->resumed)
		return "only one side has resumed a session";
	return NULL;
}

/* @channel is granted to that side from when the message is queued on. */
static void send_grant(struct session *session, unsigned int side)
{
	struct session_side *to = &session->side[side];
	struct channel *channel = session->channel;
	unsigned int end = side_end(session, side);
	struct sivp_builder *b = vm_message(to->vm, SIVP_GRANT, to->id);

	channel_put_name(b, channel, end);
	sivp_put_u64(b, SIVP_A_OFFSET, channel->extent.offset);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, channel->extent.c2s_order);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, channel->extent.s2c_order);
	sivp_put_u32(b, SIVP_A_TYPE, channel->type);
	if (vm_send_session(to->vm)) {
		channel->granted[end] = true;
		to->waits = true;
	}
}

static void session_grant(struct session *session)
{
	struct vm *client = &session->broker->vms[session->vm[CLIENT]];
	struct link *link = session->link;
	const char *service[2]; /* by end */
	struct channel *channel;
	const char *exceeded;
	int err;

	if (!link_grantable(link) || session->epoch != link->epoch) {
		session_fail(session, SIVP_R_RESET, "the link is in another epoch now", -1, NULL);
		return;
	}
	if (!link_clean(link)) {
		session_fail(session, SIVP_R_NO_MEMORY, "the link cannot be zeroed", -1, NULL);
		return;
	}
	/* Again: others that were on their way with this one may have got theirs since its OPEN. */
	exceeded = limits_exceeded(client, session->service[CLIENT],
				   alloc_length(session->c2s_order, session->s2c_order));
	if (exceeded) {
		session_fail(session, SIVP_R_QUOTA, exceeded, -1, NULL);
		return;
	}
	for (unsigned int side = 0; side < 2; side++)
		service[side_end(session, side)] = session->service[side];
	channel = channel_new(link, session->client_end, session->type, session->c2s_order,
			      session->s2c_order, session->sealed, service, &err);
	if (!channel) {
		session_fail(session, SIVP_R_NO_MEMORY,
			     err == -EIO ? "the host's journal cannot be written" :
					   "no room in the link", -1, NULL);
		return;
	}
	loop_timer_cancel(&session->timer);
	session->channel = channel;
	session->state = SESSION_SERVER;
	send_grant(session, SERVER);
}

static void session_ready(struct session *session, unsigned int index, const struct sivp_msg *msg)
{
	struct session_side *side = &session->side[index];
	const char *why;

	if (session->state == SESSION_DEAD)
		return;
	if (session->state != SESSION_RELAY || side->ready) {
		vm_violation(side->vm, "ready: out of order");
		return;
	}
	side->ready = true;
	strcpy(side->peer_id, sivp_str(msg, SIVP_A_PEER_ID));
	memcpy(side->digest, msg->attr[SIVP_A_DIGEST].data, sizeof(side->digest));
	memcpy(side->peer_digest, msg->attr[SIVP_A_PEER_DIGEST].data, sizeof(side->peer_digest));
	memcpy(side->exporter, msg->attr[SIVP_A_EXPORTER].data, sizeof(side->exporter));
	side->resumed = sivp_u32(msg, SIVP_A_RESUMED);
	if (!session->side[!index].ready)
		return;
	why = ready_mismatch(session);
	if (why) {
		log_warning("%s -> %s: %s", session->side[CLIENT].spiffe_id,
			    session->side[SERVER].spiffe_id, why);
		session_fail(session, SIVP_R_MISMATCH, why, -1, NULL);
		return;
	}
	session_grant(session);
}

/* Both kernels have the channel: from here on there is no session. */
static void session_done(struct session *session)
{
	session_audit(session, SIVP_R_NONE, NULL, NULL);
	session->link->granted++;
	session->link->n_half_open--;
	session->channel->done = true;
	record_channel(session->channel, JOURNAL_DONE);
	session->channel = NULL;
	side_detach(&session->side[CLIENT]);
	side_detach(&session->side[SERVER]);
	session_put(session);
}

static enum sivp_reason attach_reason(const struct session *session, unsigned int index,
				      uint32_t error)
{
	if (session->sealed && error == EOPNOTSUPP)
		return SIVP_R_NO_SEALING;
	if (index == CLIENT)
		return error == ENOENT ? SIVP_R_CANCELLED : SIVP_R_ATTACH;
	switch (error) {
	case ECONNREFUSED:
		return SIVP_R_BACKLOG;
	case ENOENT:
		return SIVP_R_NOT_LISTENING;
	case EPROTOTYPE:
		return SIVP_R_SOCKET_TYPE;
	default:
		return SIVP_R_ATTACH;
	}
}

/* A kernel has answered a GRANT: it has the channel, or (@error) it does not and will not. */
static void side_answered(struct session_side *side, uint32_t error)
{
	struct session *session = side->session;
	unsigned int index = side_index(side), end = side_end(session, index);
	struct channel *channel = session->channel;
	const char *name = side->vm->policy->name;
	enum sivp_reason reason;

	side->waits = false;
	if (error)
		channel->granted[end] = false;
	if (session->state == SESSION_DEAD) {
		/* CLOSE has been sent; it will be answered by CLOSED if there is a channel. */
		side_detach(side);
		session_put(session);
		if (error)
			channel_end_closed(channel, end);
		return;
	}
	if (error) {
		reason = attach_reason(session, index, error);
		session_fail(session, reason, reason == SIVP_R_NO_SEALING ?
			     "its kernel has no gcm(aes) or no hmac(sha256)" : strerror((int)error),
			     (int)index, name);
		return;
	}
	side->attached = true;
	if (index == CLIENT) {
		session_done(session);
		return;
	}
	session->state = SESSION_CLIENT;
	send_grant(session, CLIENT);
}

static void session_attached(struct session *session, unsigned int index,
			     const struct sivp_msg *msg)
{
	struct session_side *side = &session->side[index];

	if (!side->waits) {
		vm_violation(side->vm, "attached: nothing was granted");
		return;
	}
	side_answered(side, sivp_u32(msg, SIVP_A_ERRNO));
}

static void session_reject(struct session *session, unsigned int index, const struct sivp_msg *msg)
{
	struct session_side *side = &session->side[index];
	enum sivp_reason reason = sivp_u32(msg, SIVP_A_REASON);

	if (reason == SIVP_R_NONE) {
		vm_violation(side->vm, "reject: without a reason");
		return;
	}
	/* It crossed a GRANT, which will be answered. */
	if (side->waits || side->attached || session->state == SESSION_DEAD)
		return;
	session_fail(session, reason, sivp_str(msg, SIVP_A_TEXT), (int)index,
		     side->vm->policy->name);
}

static const struct {
	void (*handle)(struct session *session, unsigned int side, const struct sivp_msg *msg);
	unsigned int sides; /* bit for each side that it may come from */
} handlers[SIVP_TYPE_MAX + 1] = {
	[SIVP_ACCEPTING] = { session_accepting, 1 << SERVER },
	[SIVP_TLS] = { session_tls, 1 << CLIENT | 1 << SERVER },
	[SIVP_READY] = { session_ready, 1 << CLIENT | 1 << SERVER },
	[SIVP_ATTACHED] = { session_attached, 1 << CLIENT | 1 << SERVER },
	[SIVP_REJECT] = { session_reject, 1 << CLIENT | 1 << SERVER },
};

void session_message(struct vm *vm, const struct sivp_msg *msg)
{
	struct session_side *side = side_find(vm, msg->session);
	uint64_t incoming = msg->session & ~SIVP_SESSION_INCOMING;

	if (!side) {
		/* Of those that we number, one that never was is no late message. */
		if (msg->session & SIVP_SESSION_INCOMING &&
		    (incoming == 0 || incoming > vm->last_session))
			vm_violation(vm, "%s: no such session", sivp_type_name(msg->type));
		return;
	}
	if (!(handlers[msg->type].sides & 1u << side_index(side))) {
		vm_violation(vm, "%s: not of a client", sivp_type_name(msg->type));
		return;
	}
	handlers[msg->type].handle(side->session, side_index(side), msg);
}

/* What ends sessions from outside */

void sessions_drop_vm(struct vm *vm, enum sivp_reason reason, const char *text, bool tell)
{
	if (tell) {
		struct list *pos, *tmp;
		struct broker *broker = vm->broker;

		/* A local session has two sides here, so a walk over these could lose its place. */
		list_for_each_safe(pos, tmp, &broker->sessions) {
			struct session *session = container_of(pos, struct session, node);

			if (session->side[CLIENT].vm == vm || session->side[SERVER].vm == vm)
				session_fail(session, reason, text, -1, NULL);
		}
		return;
	}
	for (unsigned int i = 0; i < ID_HASH_BUCKETS; i++) {
		while (!list_empty(&vm->sides[i])) {
			struct session_side *side =
				container_of(vm->sides[i].next, struct session_side, node);
			struct session *session = side->session;

			/* Whether its kernel has the channel is what the next agent reports. */
			side_detach(side);
			if (session->state == SESSION_DEAD)
				session_put(session);
			else
				session_fail(session, reason, text, -1, NULL);
		}
	}
}

void sessions_drop_link(struct link *link, enum sivp_reason reason, const char *text)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &link->broker->sessions) {
		struct session *session = container_of(pos, struct session, node);

		if (session->link == link)
			session_fail(session, reason, text, -1, NULL);
	}
}

void sessions_end_closed(struct channel *channel, unsigned int end)
{
	struct broker *broker = channel->link->broker;
	struct list *pos, *tmp;

	if (channel->done)
		return;
	list_for_each_safe(pos, tmp, &broker->sessions) {
		struct session *session = container_of(pos, struct session, node);

		if (session->channel != channel)
			continue;
		for (unsigned int i = 0; i < 2; i++) {
			if (side_end(session, i) == end && session->side[i].waits) {
				side_answered(&session->side[i], ECONNRESET);
				return;
			}
		}
	}
}

bool sessions_end_channel(struct channel *channel, enum sivp_reason reason, const char *text)
{
	struct broker *broker = channel->link->broker;
	struct list *pos, *tmp;

	if (channel->done)
		return false;
	list_for_each_safe(pos, tmp, &broker->sessions) {
		struct session *session = container_of(pos, struct session, node);

		if (session->channel == channel) {
			session_fail(session, reason, text, -1, NULL);
			return true;
		}
	}
	return false;
}

unsigned int sessions_enforce(struct broker *broker)
{
	const struct policy *policy = broker->config.policy;
	struct policy_verdict verdict;
	struct list *pos, *tmp;
	unsigned int n = 0;

	list_for_each_safe(pos, tmp, &broker->sessions) {
		struct session *session = container_of(pos, struct session, node);

		if (session->state == SESSION_DEAD)
			continue;
		policy_decide(policy, session->vm[CLIENT], session->service[CLIENT],
			      vm_name(broker, session->vm[SERVER]), session->service[SERVER],
			      &verdict);
		policy_on_terms(&verdict, session->sealed);
		if (verdict.reason == SIVP_R_NONE)
			continue;
		session_fail(session, verdict.reason, verdict.text, -1, NULL);
		n++;
	}
	return n;
}

void sessions_forget_channel(struct channel *channel)
{
	struct broker *broker = channel->link->broker;
	struct list *pos, *tmp;

	if (channel->done)
		return;
	list_for_each_safe(pos, tmp, &broker->sessions) {
		struct session *session = container_of(pos, struct session, node);

		if (session->channel != channel)
			continue;
		session->channel = NULL;
		for (unsigned int i = 0; i < 2; i++) {
			if (session->side[i].waits)
				side_detach(&session->side[i]);
		}
		if (session->state == SESSION_DEAD)
			session_put(session);
		else
			session_fail(session, SIVP_R_RESET, "its channel was closed", -1, NULL);
		return;
	}
}
