// SPDX-License-Identifier: BSD-2-Clause
/* One VM: its control stream, what it says first, and who handles what it says then. */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define NS_PER_S     1000000000ull
#define VM_SILENT_MS 1000u /* from when a stream is there until its agent is asked for a HELLO */
#define VM_IN_CAP (4u * SIVP_FRAME_MAX) /* a frame always fits, whatever lies before it */

static void vm_event(struct stream *stream, unsigned int what);
static void silent_due(struct loop_timer *timer);

void vm_init(struct vm *vm, struct broker *broker, unsigned int index)
{
	vm->broker = broker;
	vm->index = index;
	vm->policy = &broker->config.policy->vms[index];
	vm->budget.vm = vm->policy->name;
	vm->stream.event = vm_event;
	vm->silent.due = silent_due;
	vm->stream.in_cap = VM_IN_CAP;
	vm->stream.out_cap = broker->config.limits.queue_bytes + BROKER_QUEUE_RESERVE;
	bucket_set(&vm->csrs, BROKER_CSRS_BURST, NS_PER_S / BROKER_CSRS_PER_SECOND);
	bucket_set(&vm->upsets, BROKER_UPSETS_BURST, NS_PER_S / BROKER_UPSETS_PER_SECOND);
	for (unsigned int i = 0; i < ID_HASH_BUCKETS; i++)
		list_init(&vm->sides[i]);
}

bool vm_may_upset(struct vm *vm)
{
	return bucket_take(&vm->upsets, broker_now(vm->broker));
}

void vm_exit(struct vm *vm)
{
	sessions_drop_vm(vm, SIVP_R_VM_DOWN, "the host's daemon ends", false);
	stream_close(&vm->stream);
	loop_timer_cancel(&vm->silent);
	vm->state = VM_AWAY;
	audit_budget_end(vm->broker->config.audit, &vm->budget);
}

void vm_connected(struct vm *vm)
{
	vm->state = VM_SILENT;
	vm->doom = VM_FINE;
	vm->want_hello = false;
	if (loop_timer_set(vm->broker->config.loop, &vm->silent, VM_SILENT_MS * LOOP_NS_PER_MS))
		log_error("vm %s: out of memory", vm->policy->name);
	log_debug("vm %s: control channel connected", vm->policy->name);
}

void vm_doom(struct vm *vm, enum vm_doom doom)
{
	if (vm->state != VM_AWAY && doom > vm->doom)
		vm->doom = doom;
}

void vm_close_stream(struct vm *vm)
{
	struct broker *broker = vm->broker;

	if (vm->state == VM_AWAY)
		return;
	vm->doom = VM_FINE;
	vm->state = VM_AWAY;
	loop_timer_cancel(&vm->silent);
	memset(vm->listening, 0, sizeof(vm->listening));
	sessions_drop_vm(vm, SIVP_R_VM_DOWN, "its agent is gone", false);
	stream_close(&vm->stream);
	log_debug("vm %s: control channel closed", vm->policy->name);
	if (broker->config.stream_ended)
		broker->config.stream_ended(broker->config.arg, vm->index);
}

void vm_violation(struct vm *vm, const char *fmt, ...)
{
	struct audit_event event = { .event = "violation", .reason = SIVP_R_VIOLATION };
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	vm->count.violations++;
	event.vm = vm->policy->name;
	event.text = text;
	audit_write(vm->broker->config.audit, &vm->budget, broker_now(vm->broker), &event);
	log_debug("vm %s: broke the control protocol: %s", vm->policy->name, text);
	vm_doom(vm, VM_LOSES_STREAM);
}

/* Sending */

struct sivp_builder *vm_message(struct vm *vm, enum sivp_type type, uint64_t session)
{
	struct sivp_builder *b = &vm->broker->builder;

	sivp_begin(b, SIVP_HOST, type, session);
	return b;
}

/* Queues the message. False: dropped, and the VM is doomed if it should not have been. */
static bool send_message(struct vm *vm, size_t cap)
{
	struct sivp_builder *b = &vm->broker->builder;
	size_t len = sivp_end(b);

	if (!len) {
		/* Ours is the fault: each message of ours is tested with its longest attributes. */
		log_error("vm %s: a message could not be built", vm->policy->name);
		vm_doom(vm, VM_LOSES_STREAM);
		return false;
	}
	if (!vm_talks(vm))
		return false; /* who comes next on this stream is told all that matters then */
	if (stream_queued(&vm->stream) + len > cap) {
		vm_doom(vm, cap == vm->stream.out_cap ? VM_LOSES_STREAM : VM_LOSES_SESSIONS);
		return false;
	}
	if (stream_write(&vm->stream, b->buf, len)) {
		vm_doom(vm, VM_LOSES_STREAM);
		return false;
	}
	return true;
}

bool vm_send_session(struct vm *vm)
{
	return send_message(vm, vm->broker->config.limits.queue_bytes);
}

void vm_send(struct vm *vm)
{
	send_message(vm, vm->stream.out_cap);
}

void vm_reject(struct vm *vm, uint64_t session, enum sivp_reason reason)
{
	struct sivp_builder *b = vm_message(vm, SIVP_REJECT, session);

	sivp_put_u32(b, SIVP_A_REASON, reason);
	sivp_put_u32(b, SIVP_A_ERRNO, (uint32_t)sivp_reason_errno(reason));
	vm_send(vm);
}

/* HELLO */

static void send_refused(struct vm *vm, const uint8_t nonce[SIVP_NONCE_LEN], const char *text)
{
	struct sivp_builder *b = vm_message(vm, SIVP_REFUSED, 0);
	size_t len;

	sivp_put_blob(b, SIVP_A_NONCE, nonce, SIVP_NONCE_LEN);
	sivp_put_str(b, SIVP_A_TEXT, text);
	sivp_put_u32(b, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(b, SIVP_A_ABI, SIV_ABI_VERSION);
	len = sivp_end(b);
	if (stream_write(&vm->stream, SIVP_MAGIC, SIVP_MAGIC_LEN) ||
	    stream_write(&vm->stream, b->buf, len))
		vm_doom(vm, VM_LOSES_STREAM);
}

/*
 * Nobody has said HELLO: there is no agent yet; or one that was not run while another broker went and
 * we came (a paused VM, a stopped process), which goes on with a conversation that is over.
 */
static void silent_due(struct loop_timer *timer)
{
	static const uint8_t nobody[SIVP_NONCE_LEN];
	struct vm *vm = container_of(timer, struct vm, silent);

	if (vm->state == VM_SILENT && !vm->want_hello)
		send_refused(vm, nobody, "another daemon is here: say hello");
	broker_settle(vm->broker);
}

static void send_welcome(struct vm *vm)
{
	struct broker *broker = vm->broker;
	struct sivp_builder *b;
	const uint8_t *ca;
	size_t ca_len;

	if (stream_write(&vm->stream, SIVP_MAGIC, SIVP_MAGIC_LEN)) {
		vm_doom(vm, VM_LOSES_STREAM);
		return;
	}
	ca = ca_trusted(broker->config.ca, &ca_len);
	b = vm_message(vm, SIVP_WELCOME, 0);
	sivp_put_u32(b, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(b, SIVP_A_ABI, SIV_ABI_VERSION);
	sivp_put_blob(b, SIVP_A_NONCE, vm->agent_nonce, SIVP_NONCE_LEN);
	sivp_put_blob(b, SIVP_A_HOST_NONCE, broker->nonce, SIVP_NONCE_LEN);
	sivp_put_u64(b, SIVP_A_TIME, (uint64_t)broker_wall(broker));
	sivp_put_str(b, SIVP_A_VM, vm->policy->name);
	sivp_put_str(b, SIVP_A_DOMAIN, broker->config.policy->domain);
	sivp_put_blob(b, SIVP_A_CA, ca, ca_len);
	vm_send(vm);
}

/* The IVPositions of HELLO. False: one is there twice. */
static bool parse_positions(const struct sivp_value *value, uint32_t positions[SIVP_LINKS_MAX],
			    unsigned int *n)
{
	*n = value->len / 4;
	for (unsigned int i = 0; i < *n; i++) {
		uint32_t le;

		memcpy(&le, value->data + 4 * i, sizeof(le));
		positions[i] = le32toh(le);
		for (unsigned int j = 0; j < i; j++) {
			if (positions[j] == positions[i])
				return false;
		}
	}
	return true;
}

static void audit_incarnation(struct vm *vm, const char *text)
{
	struct audit_event event = {
		.event = "incarnation", .vm = vm->policy->name, .text = text,
	};

	audit_write(vm->broker->config.audit, &vm->budget, broker_now(vm->broker), &event);
	log_info("vm %s: %s", vm->policy->name, text);
}

/*
 * An agent introduces itself: the first one, one that was restarted, or one of another boot. What
 * the last one had on its way ends; what its kernel has open is settled by the reports to come.
 */
static void vm_hello(struct vm *vm, const struct sivp_msg *msg)
{
	uint32_t positions[SIVP_LINKS_MAX];
	uint64_t module_nonce = sivp_u64(msg, SIVP_A_MODULE_NONCE);
	const uint8_t *boot_id = msg->attr[SIVP_A_BOOT_ID].data;
	char text[128];
	unsigned int n;
	bool reborn, same;

	if (!vm_may_upset(vm)) {
		vm_violation(vm, "hello: too often");
		return;
	}
	if (!parse_positions(&msg->attr[SIVP_A_LINKS], positions, &n)) {
		vm_violation(vm, "hello: an IVPosition twice");
		return;
	}
	vm->state = VM_SILENT;
	sessions_drop_vm(vm, SIVP_R_VM_DOWN, "its agent was restarted", false);
	memset(vm->listening, 0, sizeof(vm->listening));
	if (sivp_u32(msg, SIVP_A_VERSION) != SIVP_VERSION ||
	    sivp_u32(msg, SIVP_A_ABI) != SIV_ABI_VERSION) {
		snprintf(text, sizeof(text),
			 "agent has protocol %u and ABI %u, the host %u and %u: "
			 "install one version",
			 sivp_u32(msg, SIVP_A_VERSION), sivp_u32(msg, SIVP_A_ABI), SIVP_VERSION,
			 SIV_ABI_VERSION);
		log_warning("vm %s: refused its agent: %s", vm->policy->name, text);
		send_refused(vm, msg->attr[SIVP_A_NONCE].data, text);
		return;
	}
	reborn = vm->known && (module_nonce != vm->module_nonce ||
			       memcmp(boot_id, vm->boot_id, sizeof(vm->boot_id)) != 0);
	if (reborn)
		audit_incarnation(vm, module_nonce != vm->module_nonce &&
					      !memcmp(boot_id, vm->boot_id, sizeof(vm->boot_id)) ?
					      "its module was loaded anew" : "it was booted anew");
	else if (!vm->known)
		audit_incarnation(vm, "its agent is here");
	else
		log_info("vm %s: its agent is back", vm->policy->name);
	same = vm->known && !reborn && n == vm->n_positions &&
	       memcmp(positions, vm->positions, n * sizeof(positions[0])) == 0;
	vm->known = true;
	vm->module_nonce = module_nonce;
	memcpy(vm->boot_id, boot_id, sizeof(vm->boot_id));
	memcpy(vm->agent_nonce, msg->attr[SIVP_A_NONCE].data, sizeof(vm->agent_nonce));
	memcpy(vm->positions, positions, sizeof(positions));
	vm->n_positions = n;
	vm->renewed = false;
	vm->state = VM_REPORTING;
	send_welcome(vm);
	links_hello(vm, reborn);
	if (!same)
		record_vm(vm); /* after the ends of epochs: see journal.c */
}

static void vm_reported(struct vm *vm, const struct sivp_msg *msg)
{
	(void)msg;
	vm->state = VM_READY;
	links_reported(vm);
}

/* Certificates */

static enum sivp_reason issue(struct vm *vm, const struct sivp_msg *msg, const char *service,
			      char id[SIV_SPIFFE_LEN], char error[CA_ERROR_LEN])
{
	const struct policy *policy = vm->broker->config.policy;
	const struct sivp_value *csr = &msg->attr[SIVP_A_CSR];
	uint8_t chain[SIVP_CERTS_MAX];
	size_t chain_len = sizeof(chain);
	struct sivp_builder *b;
	enum sivp_reason reason;
	int64_t not_after;

	/* First of all: what comes next is work. */
	if (!bucket_take(&vm->csrs, broker_now(vm->broker))) {
		snprintf(error, CA_ERROR_LEN, "its VM asks for more certificates a second than it may");
		return SIVP_R_RATE;
	}
	if (policy_find_service(policy, vm->index, service) < 0 ||
	    !sivp_spiffe_id(policy->domain, vm->policy->name, service, id, SIV_SPIFFE_LEN)) {
		snprintf(error, CA_ERROR_LEN, "%s:%d does not list that service", policy->file,
			 vm->policy->line);
		return SIVP_R_NOT_HELD;
	}
	if (revocations_cover(policy->revoked, vm->policy->name, service)) {
		snprintf(error, CA_ERROR_LEN, "it is revoked: see sivctl revocations");
		return SIVP_R_REVOKED;
	}
	reason = ca_issue(vm->broker->config.ca, csr->data, csr->len, id, broker_wall(vm->broker),
			  chain, &chain_len, &not_after, error);
	if (reason != SIVP_R_NONE)
		return reason;
	b = vm_message(vm, SIVP_CERT, msg->session);
	sivp_put_blob(b, SIVP_A_CHAIN, chain, chain_len);
	sivp_put_str(b, SIVP_A_SERVICE, service);
	sivp_put_u64(b, SIVP_A_NOT_AFTER, (uint64_t)not_after);
	sivp_put_u64(b, SIVP_A_TIME, (uint64_t)broker_wall(vm->broker));
	vm_send(vm);
	vm->count.certificates++;
	return SIVP_R_NONE;
}

static void vm_csr(struct vm *vm, const struct sivp_msg *msg)
{
	const char *service = sivp_str(msg, SIVP_A_SERVICE);
	struct audit_event event = { .event = "enrol", .vm = vm->policy->name, .service = service };
	char id[SIV_SPIFFE_LEN] = "", error[CA_ERROR_LEN] = "";

	event.reason = issue(vm, msg, service, id, error);
	event.spiffe_id = id;
	event.text = error;
	audit_write(vm->broker->config.audit, &vm->budget, broker_now(vm->broker), &event);
	if (event.reason != SIVP_R_NONE) {
		log_info("vm %s: no certificate for \"%s\": %s", vm->policy->name, service, error);
		vm_reject(vm, msg->session, event.reason);
	}
}

/* Its word alone, and it can only harm itself by it: others never take what it does not renew. */
static void vm_renewed(struct vm *vm, const struct sivp_msg *msg)
{
	const struct broker_config *config = &vm->broker->config;

	/* Of an authority that was the present one when the agent said so: it will say it again. */
	if (vm->renewed ||
	    memcmp(msg->attr[SIVP_A_DIGEST].data, ca_digest(config->ca), SIV_DIGEST_LEN) != 0)
		return;
	vm->renewed = true;
	log_info("vm %s: certificates renewed", vm->policy->name);
	if (config->renewed && ca_has_former(config->ca))
		config->renewed(config->arg);
}

/* What a guest says about itself */

static void vm_audit(struct vm *vm, const struct sivp_msg *msg)
{
	const char *peer = sivp_str(msg, SIVP_A_VM);
	struct audit_event event = {
		.event = "guest",
		.reason = sivp_u32(msg, SIVP_A_REASON),
		.reported_by = vm->policy->name,
		.vm = vm->policy->name,
		.service = sivp_str(msg, SIVP_A_SERVICE),
		.peer_vm = peer,
		.peer_service = sivp_str(msg, SIVP_A_PEER_SERVICE),
		.peer_spiffe_id = sivp_str(msg, SIVP_A_PEER_ID),
		.text = sivp_str(msg, SIVP_A_TEXT),
		.has_caller = sivp_has(msg, SIVP_A_UID),
		.uid = sivp_u32(msg, SIVP_A_UID),
		.pid = sivp_u32(msg, SIVP_A_PID),
	};

	if (event.reason == SIVP_R_NONE) {
		vm_violation(vm, "audit: a refusal without a reason");
		return;
	}
	audit_write(vm->broker->config.audit, &vm->budget, broker_now(vm->broker), &event);
}

static void vm_listening(struct vm *vm, const struct sivp_msg *msg)
{
	const char *service = sivp_str(msg, SIVP_A_SERVICE);
	int index = policy_find_service(vm->broker->config.policy, vm->index, service);
	struct audit_event event = {
		.event = "listen", .reason = SIVP_R_NOT_HELD, .vm = vm->policy->name,
		.service = service,
	};

	if (index >= 0)
		vm->listening[index] = sivp_u32(msg, SIVP_A_UP);
	else if (sivp_u32(msg, SIVP_A_UP))
		audit_write(vm->broker->config.audit, &vm->budget, broker_now(vm->broker), &event);
}

/* Receiving */

static const struct {
	void (*handle)(struct vm *vm, const struct sivp_msg *msg);
	enum vm_state from, to; /* in which states of the VM it may come */
} handlers[SIVP_TYPE_MAX + 1] = {
	[SIVP_HELLO] = { vm_hello, VM_SILENT, VM_READY },
	[SIVP_LINK_ACK] = { link_ack, VM_REPORTING, VM_READY },
	[SIVP_LINK_STALLED] = { link_stalled, VM_REPORTING, VM_READY },
	[SIVP_CSR] = { vm_csr, VM_REPORTING, VM_READY },
	[SIVP_OPEN] = { session_open, VM_REPORTING, VM_READY },
	[SIVP_ACCEPTING] = { session_message, VM_READY, VM_READY },
	[SIVP_TLS] = { session_message, VM_REPORTING, VM_READY },
	[SIVP_READY] = { session_message, VM_REPORTING, VM_READY },
	[SIVP_ATTACHED] = { session_message, VM_REPORTING, VM_READY },
	[SIVP_REJECT] = { session_message, VM_REPORTING, VM_READY },
	[SIVP_CLOSED] = { channel_closed_message, VM_REPORTING, VM_READY },
	[SIVP_OPEN_CHANNEL] = { report_open_channel, VM_REPORTING, VM_REPORTING },
	[SIVP_REPORTED] = { vm_reported, VM_REPORTING, VM_REPORTING },
	[SIVP_AUDIT] = { vm_audit, VM_REPORTING, VM_READY },
	[SIVP_LISTENING] = { vm_listening, VM_REPORTING, VM_READY },
	[SIVP_RENEWED] = { vm_renewed, VM_REPORTING, VM_READY },
};

static void vm_handle(struct vm *vm, const struct sivp_msg *msg)
{
	if (vm->want_hello != (msg->type == SIVP_HELLO) || !handlers[msg->type].handle ||
	    vm->state < handlers[msg->type].from || vm->state > handlers[msg->type].to) {
		vm_violation(vm, "%s: out of order", sivp_type_name(msg->type));
		return;
	}
	vm->want_hello = false;
	handlers[msg->type].handle(vm, msg);
}

/* Bytes used of @data; 0: more are needed. */
static size_t vm_parse(struct vm *vm, const uint8_t *data, size_t len)
{
	size_t used, n = len < SIVP_MAGIC_LEN ? len : SIVP_MAGIC_LEN;
	struct sivp_msg msg;
	enum sivp_error err;

	/* Before the first HELLO, and after one that was refused. */
	if (vm->state == VM_SILENT && !vm->want_hello) {
		size_t keep = 0;
		long at = sivp_find_magic(data, len, &keep);

		if (at < 0)
			return len - keep;
		vm->want_hello = true;
		return (size_t)at + SIVP_MAGIC_LEN;
	}
	if (memcmp(data, SIVP_MAGIC, n) == 0) {
		if (n < SIVP_MAGIC_LEN)
			return 0;
		vm->want_hello = true;
		return SIVP_MAGIC_LEN;
	}
	err = sivp_parse(SIVP_GUEST, data, len, &msg, &used);
	if (err == SIVP_MORE)
		return 0;
	if (err != SIVP_OK) {
		vm_violation(vm, "%s", sivp_error_name(err));
		return 0;
	}
	vm_handle(vm, &msg);
	return used;
}

static void vm_event(struct stream *stream, unsigned int what)
{
	struct vm *vm = container_of(stream, struct vm, stream);
	const uint8_t *data;
	size_t len, used, done = 0;

	data = stream_peek(stream, &len);
	while (done < len && vm->doom != VM_LOSES_STREAM) {
		used = vm_parse(vm, data + done, len - done);
		if (!used)
			break;
		done += used;
	}
	stream_consume(stream, done);
	if (what & STREAM_CLOSED)
		vm_doom(vm, VM_LOSES_STREAM);
	broker_settle(vm->broker);
}
