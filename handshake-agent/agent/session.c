// SPDX-License-Identifier: BSD-2-Clause
/* Connects and accepts: from a process's request to an attached channel. */
#include "session.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>

#include "common/log.h"
#include "select.h"

/* Who is at the other end, for the log. */
static const char *peer_name(const struct agent_session *s, char out[SIV_VM_LEN + SIV_SERVICE_LEN])
{
	size_t len = strlen(s->vm);

	memcpy(out, s->vm, len);
	out[len] = '/';
	strcpy(out + len + 1, s->peer_service);
	return out;
}

static void log_end(const struct agent_session *s, enum sivp_reason reason, const char *text)
{
	char name[SIV_VM_LEN + SIV_SERVICE_LEN];

	log_info("%s %s %s: refused: %s%s%s", s->identity->service->name,
		 s->server ? "from" : "to", peer_name(s, name), sivp_reason_name(reason),
		 text[0] ? ": " : "", text);
}

static void send_reject(struct agent *a, uint64_t id, enum sivp_reason reason, int error,
			const char *text)
{
	host_begin(&a->host, SIVP_REJECT, id);
	sivp_put_u32(&a->host.out, SIVP_A_REASON, reason);
	sivp_put_u32(&a->host.out, SIVP_A_ERRNO, error);
	if (text[0])
		sivp_put_str(&a->host.out, SIVP_A_TEXT, text);
	host_send(&a->host);
}

/* After these the next connect to that peer verifies everything anew. */
static bool forgets(enum sivp_reason reason)
{
	return reason == SIVP_R_CERTIFICATE || reason == SIVP_R_EXPIRED ||
	       reason == SIVP_R_REVOKED || reason == SIVP_R_HANDSHAKE ||
	       reason == SIVP_R_MISMATCH || reason == SIVP_R_VIOLATION;
}

/*
 * Ends a session that is not GRANTING. @error: what the client's process gets, 0 for the reason's
 * own. @tell: the host does not know yet.
 */
static void session_end(struct agent_session *s, enum sivp_reason reason, int error, const char *text,
			bool tell)
{
	struct agent *a = s->agent;

	if (!error)
		error = sivp_reason_errno(reason);
	if (forgets(reason) && s->identity->context)
		tickets_forget(s->identity->context, s->peer.id);
	log_end(s, reason, text);
	a->refused[reason]++;
	if (tell && (s->server || s->state >= SESSION_OPENING))
		send_reject(a, s->id, reason, error, text);
	else if (tell)
		agent_audit(a, reason, s->identity->service->name, s->vm, s->peer_service,
			    s->server ? NULL : &s->caller, text);
	if (!s->server)
		agent_answer(a, s->request, error, "");
	agent_session_free(s);
}

static void session_fail(struct agent_session *s, enum sivp_reason reason, const char *text)
{
	session_end(s, reason, 0, text, true);
}

static void timer_due(struct loop_timer *timer)
{
	struct agent_session *s = container_of(timer, struct agent_session, timer);

	if (s->state == SESSION_GRANTING)
		return; /* the kernel will say */
	session_fail(s, SIVP_R_TIMEOUT,
		     s->state == SESSION_WAIT_CERT ? "its own certificate did not come" :
		     s->state == SESSION_OPENING   ? "the host did not answer" :
		     s->state == SESSION_HANDSHAKE ? "the peer did not answer" :
						     "no grant came");
}

static bool set_deadline(struct agent_session *s, uint32_t timeout_ms)
{
	uint64_t ns;

	if (!timeout_ms || timeout_ms > SESSION_TIMEOUT_MAX_MS)
		timeout_ms = SESSION_TIMEOUT_MAX_MS;
	ns = timeout_ms * LOOP_NS_PER_MS;
	s->timer.due = timer_due;
	s->deadline_ns = loop_now_ns(s->agent->loop) + ns;
	return !loop_timer_set(s->agent->loop, &s->timer, ns);
}

/* Client: the host is asked. */
static void send_open(struct agent_session *s)
{
	struct agent *a = s->agent;
	struct sivp_builder *b = &a->host.out;
	uint64_t now = loop_now_ns(a->loop);
	uint64_t left_ms = s->deadline_ns > now ? (s->deadline_ns - now) / LOOP_NS_PER_MS : 0;

	s->state = SESSION_OPENING;
	host_begin(&a->host, SIVP_OPEN, s->id);
	sivp_put_str(b, SIVP_A_VM, s->vm);
	sivp_put_str(b, SIVP_A_SERVICE, s->identity->service->name);
	sivp_put_str(b, SIVP_A_PEER_SERVICE, s->peer_service);
	sivp_put_u32(b, SIVP_A_TYPE, s->type);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, s->c2s_order);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, s->s2c_order);
	sivp_put_u32(b, SIVP_A_TIMEOUT_MS, left_ms ? left_ms : 1);
	sivp_put_u32(b, SIVP_A_UID, s->caller.uid);
	sivp_put_u32(b, SIVP_A_PID, s->caller.pid);
	if (!host_send(&a->host))
		session_end(s, SIVP_R_RESET, ENETDOWN, "the host is away", false);
}

static void listener_done(void *ctx, uint64_t tag, int err, const struct kernel_answer *answer);

/* Goes on once the own certificate is there, or is known not to come. */
static void after_cert(struct agent_session *s)
{
	struct kernel_request r = { .cmd = SIV_CMD_LISTENER, .done = listener_done,
				    .tag = s->serial };

	if (s->identity->state == IDENTITY_REFUSED) {
		session_fail(s, s->identity->reason, "the host gave no certificate for this service");
		return;
	}
	if (!s->identity->context)
		return; /* agent_session_identity() */
	if (!s->server) {
		send_open(s);
		return;
	}
	s->state = SESSION_LISTENER;
	strcpy(r.service, s->identity->service->name);
	r.type = s->type;
	agent_submit(s->agent, &r);
}

void agent_session_identity(struct agent *a, struct identity *identity)
{
	struct agent_session *s = agent_session_next(a, NULL);

	while (s) {
		struct agent_session *next = agent_session_next(a, s);

		if (s->identity == identity && s->state == SESSION_WAIT_CERT)
			after_cert(s);
		s = next;
	}
}

/* A process called connect(). */
void agent_session_connect(struct agent *a, const struct kernel_upcall *u)
{
	const struct agent_service *service;
	enum sivp_reason reason;
	struct agent_session *s;

	reason = agent_select(a->config, a->cgroup_root, &u->caller, u->own_service, &service);
	if (reason) {
		log_info("connect to %s/%s: uid %u, pid %u: refused: %s", u->vm, u->service,
			 u->caller.uid, u->caller.pid, sivp_reason_name(reason));
		agent_audit(a, reason, u->own_service, u->vm, u->service, &u->caller, "");
		a->refused[reason]++;
		agent_answer(a, u->id, sivp_reason_errno(reason), "");
		return;
	}
	if (!host_up(&a->host)) {
		agent_answer(a, u->id, ENETDOWN, "");
		return;
	}
	s = host_busy(&a->host) ? NULL : agent_session_new(a, false, ++a->last_session);
	if (!s) {
		agent_audit(a, SIVP_R_LIMIT, service->name, u->vm, u->service, &u->caller, "");
		agent_answer(a, u->id, ENOBUFS, "");
		return;
	}
	s->identity = agent_enrol_identity(a, service);
	s->request = u->id;
	s->caller = u->caller;
	strcpy(s->vm, u->vm);
	strcpy(s->peer_service, u->service);
	s->type = u->type;
	s->c2s_order = u->tx_order;
	s->s2c_order = u->rx_order;
	if (!set_deadline(s, u->timeout_ms)) {
		session_end(s, SIVP_R_LIMIT, 0, "out of memory", true);
		return;
	}
	after_cert(s);
}

/* The process gave up, or the kernel did because of the time. */
void agent_session_cancel(struct agent *a, uint64_t request)
{
	struct agent_session *s = agent_session_by_request(a, request);
	bool late;

	if (!s || s->state == SESSION_GRANTING)
		return;
	late = loop_now_ns(a->loop) + LOOP_NS_PER_MS >= s->deadline_ns;
	log_end(s, late ? SIVP_R_TIMEOUT : SIVP_R_CANCELLED, "");
	if (s->state >= SESSION_OPENING)
		send_reject(a, s->id, late ? SIVP_R_TIMEOUT : SIVP_R_CANCELLED,
			    sivp_reason_errno(late ? SIVP_R_TIMEOUT : SIVP_R_CANCELLED), "");
	agent_session_free(s);
}

/* What the host says of the connection, from OPENED or INCOMING. */
static void take_binding(struct agent_session *s, const struct sivp_msg *m)
{
	strcpy(s->vm, sivp_str(m, SIVP_A_VM));
	strcpy(s->peer_service, sivp_str(m, SIVP_A_PEER_SERVICE));
	s->type = sivp_u32(m, SIVP_A_TYPE);
	s->c2s_order = sivp_u32(m, SIVP_A_C2S_ORDER);
	s->s2c_order = sivp_u32(m, SIVP_A_S2C_ORDER);
	s->sealed = sivp_u32(m, SIVP_A_SEALED);
	s->peer.ivposition = sivp_u32(m, SIVP_A_IVPOSITION);
	s->peer.peer_ivposition = sivp_u32(m, SIVP_A_PEER_IVPOSITION);
	s->peer.end = sivp_u32(m, SIVP_A_END);
	s->peer.epoch = sivp_u32(m, SIVP_A_EPOCH);
	memcpy(s->nonce, m->attr[SIVP_A_NONCE].data, SIVP_NONCE_LEN);
}

/* Sends what TLS has for the peer. */
static bool flush_tls(struct agent_session *s)
{
	struct host *h = &s->agent->host;
	uint8_t data[SIVP_TLS_MAX];
	size_t len;

	while ((len = tls_output(&s->tls, data, sizeof(data)))) {
		host_begin(h, SIVP_TLS, s->id);
		sivp_put_blob(&h->out, SIVP_A_TLS, data, len);
		if (!host_send(h))
			return false;
	}
	return true;
}

/* What the exporter is bound to. 0: a name is too long. */
static size_t session_context(const struct agent_session *s, uint8_t context[SIVP_CONTEXT_MAX])
{
	struct sivp_binding b = {
		.client_id = s->server ? s->peer.id : s->identity->id,
		.server_id = s->server ? s->identity->id : s->peer.id,
		.epoch = s->peer.epoch, .type = s->type,
		.c2s_order = s->c2s_order, .s2c_order = s->s2c_order, .sealed = s->sealed,
	};

	b.ivposition[s->peer.end] = s->peer.ivposition;
	b.ivposition[!s->peer.end] = s->peer.peer_ivposition;
	memcpy(b.nonce, s->nonce, sizeof(b.nonce));
	return sivp_context(&b, context);
}

static bool send_ready(struct agent_session *s)
{
	uint8_t context[SIVP_CONTEXT_MAX], exporter[SIVP_EXPORTER_LEN];
	struct host *h = &s->agent->host;
	size_t len = session_context(s, context);

	if (!len || !tls_exporter(&s->tls, context, len, exporter))
		return false;
	host_begin(h, SIVP_READY, s->id);
	sivp_put_str(&h->out, SIVP_A_PEER_ID, s->peer.id);
	sivp_put_blob(&h->out, SIVP_A_DIGEST, s->tls.digest, SIV_DIGEST_LEN);
	sivp_put_blob(&h->out, SIVP_A_PEER_DIGEST, s->tls.peer_digest, SIV_DIGEST_LEN);
	sivp_put_blob(&h->out, SIVP_A_EXPORTER, exporter, sizeof(exporter));
	sivp_put_u64(&h->out, SIVP_A_NOT_AFTER, s->tls.peer_not_after);
	sivp_put_u32(&h->out, SIVP_A_RESUMED, s->tls.resumed);
	return host_send(h);
}

/* Gives TLS the peer's bytes, and goes as far as they allow. */
static void step_tls(struct agent_session *s, const uint8_t *data, size_t len)
{
	char name[SIV_VM_LEN + SIV_SERVICE_LEN];

	switch (tls_step(&s->tls, data, len)) {
	case TLS_FAILED:
		/* What it would tell the peer is dropped: REJECT says it better. */
		if (s->tls.reason != SIVP_R_HANDSHAKE)
			log_warning("%s %s %s: handshake: %s", s->identity->service->name,
				    s->server ? "from" : "to", peer_name(s, name), s->tls.why);
		session_fail(s, s->tls.reason, s->tls.why);
		return;
	case TLS_MORE:
		if (!flush_tls(s))
			session_end(s, SIVP_R_RESET, ENETDOWN, "the host is away", false);
		return;
	case TLS_DONE:
		if (s->state == SESSION_READY)
			return;
		s->state = SESSION_READY;
		if (!flush_tls(s) || !send_ready(s))
			session_end(s, SIVP_R_RESET, ENETDOWN, "the host is away", false);
		return;
	}
}

static void start_tls(struct agent_session *s)
{
	struct agent *a = s->agent;

	s->state = SESSION_HANDSHAKE;
	if (!sivp_spiffe_id(a->domain, s->vm, s->peer_service, s->peer.id, sizeof(s->peer.id)) ||
	    !tls_start(&s->tls, s->identity->context, s->server, agent_now(a), &s->peer)) {
		session_fail(s, SIVP_R_HANDSHAKE, "TLS could not be started");
		return;
	}
	if (!s->server)
		step_tls(s, NULL, 0);
}

static void opened(struct agent_session *s, const struct sivp_msg *m)
{
	if (s->state != SESSION_OPENING ||
	    strcmp(sivp_str(m, SIVP_A_SERVICE), s->identity->service->name) ||
	    strcmp(sivp_str(m, SIVP_A_PEER_SERVICE), s->peer_service) ||
	    (s->vm[0] && strcmp(sivp_str(m, SIVP_A_VM), s->vm)) ||
	    sivp_u32(m, SIVP_A_TYPE) != s->type) {
		session_fail(s, SIVP_R_VIOLATION, "OPENED does not fit OPEN");
		return;
	}
	take_binding(s, m);
	start_tls(s);
}

/* Somebody wants to talk to a service of this VM. */
static void incoming(struct agent *a, const struct sivp_msg *m)
{
	const struct agent_service *service =
		agent_config_service(a->config, sivp_str(m, SIVP_A_SERVICE));
	enum sivp_reason reason = SIVP_R_NONE;
	struct agent_session *s = NULL;

	if (agent_session_by_id(a, m->session))
		reason = SIVP_R_VIOLATION;
	else if (!a->registered)
		reason = SIVP_R_VM_DOWN;
	else if (!service)
		reason = SIVP_R_NOT_LISTENING;
	else if (host_busy(&a->host) || !(s = agent_session_new(a, true, m->session)))
		reason = SIVP_R_LIMIT;
	if (reason) {
		log_info("%s from %s/%s: refused: %s", sivp_str(m, SIVP_A_SERVICE),
			 sivp_str(m, SIVP_A_VM), sivp_str(m, SIVP_A_PEER_SERVICE),
			 sivp_reason_name(reason));
		a->refused[reason]++;
		send_reject(a, m->session, reason, sivp_reason_errno(reason), "");
		return;
	}
	s->identity = agent_enrol_identity(a, service);
	take_binding(s, m);
	if (!set_deadline(s, sivp_u32(m, SIVP_A_TIMEOUT_MS))) {
		session_fail(s, SIVP_R_LIMIT, "out of memory");
		return;
	}
	after_cert(s);
}

/* What the kernel's answer to LISTENER means for who wants to connect. */
static enum sivp_reason listener_reason(int err)
{
	switch (err) {
	case -ECONNREFUSED:
		return SIVP_R_NOT_LISTENING;
	case -EPROTOTYPE:
		return SIVP_R_SOCKET_TYPE;
	case -EAGAIN:
		return SIVP_R_BACKLOG;
	default:
		return SIVP_R_VM_DOWN;
	}
}

/* The kernel knows who listens, or that nobody does. */
static void listener_done(void *ctx, uint64_t tag, int err, const struct kernel_answer *answer)
{
	struct agent *a = ctx;
	struct agent_session *s = agent_session_by_serial(a, tag);

	if (!s)
		return;
	if (err) {
		session_fail(s, listener_reason(err), strerror(-err));
		return;
	}
	s->cookie = answer->cookie;
	host_begin(&a->host, SIVP_ACCEPTING, s->id);
	if (!host_send(&a->host)) {
		session_end(s, SIVP_R_RESET, 0, "the host is away", false);
		return;
	}
	start_tls(s);
}

static void tls_message(struct agent_session *s, const struct sivp_msg *m)
{
	const struct sivp_value *v = &m->attr[SIVP_A_TLS];

	if (s->state == SESSION_GRANTING)
		return; /* it is decided; nothing that the peer sends matters any more */
	if (s->state != SESSION_HANDSHAKE && s->state != SESSION_READY) {
		session_fail(s, SIVP_R_VIOLATION, "TLS before its time");
		return;
	}
	s->tls_bytes += v->len;
	s->tls_messages++;
	if (s->tls_bytes > SESSION_TLS_BYTES_MAX || s->tls_messages > SESSION_TLS_MESSAGES_MAX) {
		session_fail(s, SIVP_R_LIMIT, "the peer's handshake is too long");
		return;
	}
	step_tls(s, v->data, v->len);
}

static void send_attached(struct agent *a, uint64_t id, int error)
{
	host_begin(&a->host, SIVP_ATTACHED, id);
	sivp_put_u32(&a->host.out, SIVP_A_ERRNO, error);
	host_send(&a->host);
}

static void grant_failed(struct agent_session *s, int err)
{
	bool cannot_seal = s->sealed && err == -EOPNOTSUPP;
	char name[SIV_VM_LEN + SIV_SERVICE_LEN];

	if (cannot_seal)
		log_warning("%s %s %s: it is to be sealed, and this kernel has no gcm(aes) or no "
			    "hmac(sha256)", s->identity->service->name, s->server ? "from" : "to",
			    peer_name(s, name));
	else
		log_info("%s %s %s: the kernel did not attach it: %s", s->identity->service->name,
			 s->server ? "from" : "to", peer_name(s, name), strerror(-err));
	s->agent->refused[cannot_seal ? SIVP_R_NO_SEALING : SIVP_R_ATTACH]++;
	/* ENOENT: the process is not there any more. Otherwise it still waits. */
	if (!s->server && err != -ENOENT)
		agent_answer(s->agent, s->request, cannot_seal ? EOPNOTSUPP :
			     err == -ESTALE ? ECONNRESET : EPROTO, "");
}

/* The kernel attached the channel, or did not. @tag: the session's serial. */
static void grant_done(void *ctx, uint64_t tag, int err, const struct kernel_answer *answer)
{
	struct agent *a = ctx;
	struct agent_session *s = agent_session_by_serial(a, tag);
	char name[SIV_VM_LEN + SIV_SERVICE_LEN];

	(void)answer;
	if (!s)
		return;
	/* If its host went away meanwhile, the next one hears of the channel by the report. */
	if (!s->orphan)
		send_attached(a, s->id, -err);
	if (!err) {
		log_info("%s %s %s: connected%s%s", s->identity->service->name,
			 s->server ? "from" : "to", peer_name(s, name),
			 s->tls.resumed ? ", resumed" : "", s->sealed ? ", sealed" : "");
		a->accepted += s->server;
		a->connected += !s->server;
		a->resumed += s->tls.resumed;
		if (!s->orphan)
			tls_keep_tickets(&s->tls, agent_now(a));
	} else {
		grant_failed(s, err);
	}
	agent_session_free(s);
}

/* Whether the channel is the one that the handshake was about. */
static bool grant_fits(const struct agent_session *s, const struct sivp_msg *m)
{
	return s->state == SESSION_READY &&
	       sivp_u32(m, SIVP_A_IVPOSITION) == s->peer.ivposition &&
	       sivp_u32(m, SIVP_A_END) == s->peer.end &&
	       sivp_u32(m, SIVP_A_EPOCH) == s->peer.epoch &&
	       sivp_u32(m, SIVP_A_C2S_ORDER) == s->c2s_order &&
	       sivp_u32(m, SIVP_A_S2C_ORDER) == s->s2c_order;
}

/*
 * The secrets of a sealed channel, in the secure heap: both ends take them from their handshake, and
 * say them to nobody but their kernel. NULL: there are none.
 */
static uint8_t *take_secrets(struct agent_session *s)
{
	uint8_t context[SIVP_CONTEXT_MAX], *secrets = OPENSSL_secure_malloc(KERNEL_SECRETS);
	size_t len = session_context(s, context);

	if (secrets && len && tls_secrets(&s->tls, context, len, secrets))
		return secrets;
	OPENSSL_secure_clear_free(secrets, KERNEL_SECRETS);
	return NULL;
}

static void grant(struct agent_session *s, const struct sivp_msg *m)
{
	struct agent *a = s->agent;
	const struct kernel_link *l = agent_links_by_position(a, s->peer.ivposition, s->peer.end);
	struct kernel_request r = { .cmd = SIV_CMD_GRANT, .done = grant_done, .tag = s->serial };
	uint8_t *secrets = NULL;

	if (!l || !grant_fits(s, m)) {
		log_error("control: a grant that does not fit its session");
		send_attached(a, s->id, l ? EPROTO : ENODEV);
		session_end(s, l ? SIVP_R_VIOLATION : SIVP_R_RESET, 0, "", false);
		return;
	}
	if (s->sealed && !(secrets = take_secrets(s))) {
		send_attached(a, s->id, EPROTO);
		session_end(s, SIVP_R_HANDSHAKE, 0, "no keys came of the handshake", false);
		return;
	}
	r.id = s->server ? 0 : s->request;
	r.cookie = s->cookie;
	strcpy(r.service, s->identity->service->name);
	r.chan = (struct kernel_chan){
		.link_id = l->id, .epoch = s->peer.epoch, .slot = sivp_u32(m, SIVP_A_SLOT),
		.generation = sivp_u64(m, SIVP_A_GENERATION), .offset = sivp_u64(m, SIVP_A_OFFSET),
		.c2s_order = s->c2s_order, .s2c_order = s->s2c_order, .server = s->server,
		.type = s->type,
	};
	r.peer.addr.ssiv_family = AF_SIVSHMEM;
	strcpy(r.peer.addr.ssiv_vm, s->vm);
	strcpy(r.peer.addr.ssiv_service, s->peer_service);
	strcpy(r.peer.spiffe_id, s->peer.id);
	memcpy(r.peer.cert_digest, s->tls.peer_digest, SIV_DIGEST_LEN);
	r.peer.not_after = s->tls.peer_not_after;
	s->state = SESSION_GRANTING;
	loop_timer_cancel(&s->timer);
	r.secrets = secrets;
	agent_submit(a, &r);
	OPENSSL_secure_clear_free(secrets, KERNEL_SECRETS);
}

/* A session that is not there: it may just have ended on this side. */
static void unknown_session(struct agent *a, const struct sivp_msg *m)
{
	/* What was granted must be given back by name; all else the host learns by our REJECT. */
	if (m->type == SIVP_GRANT)
		send_attached(a, m->session, ENOENT);
}

void agent_session_message(struct agent *a, const struct sivp_msg *m)
{
	struct agent_session *s;
	int error;

	if (m->type == SIVP_INCOMING) {
		incoming(a, m);
		return;
	}
	s = agent_session_by_id(a, m->session);
	if (!s) {
		unknown_session(a, m);
		return;
	}
	switch (m->type) {
	case SIVP_OPENED:
		if (s->state != SESSION_GRANTING)
			opened(s, m);
		break;
	case SIVP_TLS:
		tls_message(s, m);
		break;
	case SIVP_GRANT:
		if (s->state != SESSION_GRANTING)
			grant(s, m);
		break;
	case SIVP_REJECT:
		error = sivp_u32(m, SIVP_A_ERRNO);
		if (s->state != SESSION_GRANTING)
			session_end(s, sivp_u32(m, SIVP_A_REASON), error, sivp_str(m, SIVP_A_TEXT),
				    false);
		break;
	default:
		break;
	}
}

void agent_session_trust(struct agent *a)
{
	struct agent_session *s = agent_session_next(a, NULL);

	while (s) {
		struct agent_session *next = agent_session_next(a, s);

		if (!tls_trust(&s->tls, a->trust, a->trusted) && s->state != SESSION_GRANTING)
			session_fail(s, SIVP_R_CERTIFICATE,
				     "its certificate's authority is trusted no more");
		s = next;
	}
}

bool agent_session_uses_former(struct agent *a)
{
	const struct agent_session *s = NULL;

	while ((s = agent_session_next(a, s)))
		if (!tls_is_of(&s->tls, s->identity->context))
			return true;
	return false;
}

void agent_session_host_lost(struct agent *a)
{
	struct agent_session *s = agent_session_next(a, NULL);

	while (s) {
		struct agent_session *next = agent_session_next(a, s);

		if (s->state != SESSION_GRANTING)
			session_end(s, SIVP_R_RESET, ENETDOWN, "the host went away", false);
		else
			s->orphan = true;
		s = next;
	}
}

void agent_session_drop_all(struct agent *a)
{
	struct agent_session *s;

	while ((s = agent_session_next(a, NULL)))
		agent_session_free(s);
}
