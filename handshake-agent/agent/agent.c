// SPDX-License-Identifier: BSD-2-Clause
/* The agent's main flow: the kernel comes, the host welcomes, requests go to their parts. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "select.h"
#include "x509.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static int64_t boottime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec;
}

int64_t agent_now(const struct agent *a)
{
	return boottime() + a->clock_offset;
}

void agent_set_clock(struct agent *a, uint64_t host_seconds)
{
	a->clock_offset = (int64_t)host_seconds - boottime();
}

void agent_submit(struct agent *a, const struct kernel_request *request)
{
	static const struct kernel_answer none;
	int err = a->kernel->ops->submit(a->kernel, request);

	if (!err)
		return;
	log_error("kernel: %s: not asked: %s", kernel_cmd_name(request->cmd), strerror(-err));
	if (request->done)
		request->done(a, request->tag, err, &none);
}

void agent_answer(struct agent *a, uint64_t id, int error, const char *service)
{
	struct kernel_request r = { .cmd = SIV_CMD_ANSWER, .id = id, .error = error };

	strcpy(r.service, service);
	/* ENOENT, the process has gone, is no news: whoever asked for the answer has moved on. */
	a->kernel->ops->submit(a->kernel, &r);
}

void agent_check_ready(struct agent *a)
{
	if (a->was_ready || !a->registered || !host_up(&a->host) || a->reports_pending ||
	    !agent_enrol_settled(a) || !agent_links_settled(a))
		return;
	a->was_ready = true;
	log_info("ready: VM \"%s\", trust domain \"%s\"", a->vm, a->domain);
	if (a->ready)
		a->ready(a);
}

/* One token for each AGENT_AUDIT_MS, up to AGENT_AUDIT_BURST. */
static bool audit_token(struct agent *a)
{
	const uint64_t each = AGENT_AUDIT_MS * LOOP_NS_PER_MS;
	uint64_t now = loop_now_ns(a->loop), n = (now - a->audit_at_ns) / each;

	if (n) {
		a->audit_at_ns += n * each;
		n += a->audit_tokens;
		a->audit_tokens = n < AGENT_AUDIT_BURST ? n : AGENT_AUDIT_BURST;
	}
	if (!a->audit_tokens)
		return false;
	a->audit_tokens--;
	return true;
}

void agent_audit(struct agent *a, enum sivp_reason reason, const char *service, const char *vm,
		 const char *peer_service, const struct siv_caller *caller, const char *text)
{
	struct sivp_builder *b = &a->host.out;
	char whole[SIVP_TEXT_MAX + 1];

	if (!host_up(&a->host) || !audit_token(a)) {
		a->audit_dropped++;
		return;
	}
	host_begin(&a->host, SIVP_AUDIT, 0);
	sivp_put_u32(b, SIVP_A_REASON, reason);
	sivp_put_u32(b, SIVP_A_ERRNO, sivp_reason_errno(reason));
	sivp_put_str(b, SIVP_A_VM, vm);
	if (service[0])
		sivp_put_str(b, SIVP_A_SERVICE, service);
	if (peer_service[0])
		sivp_put_str(b, SIVP_A_PEER_SERVICE, peer_service);
	if (caller) {
		sivp_put_u32(b, SIVP_A_UID, caller->uid);
		sivp_put_u32(b, SIVP_A_PID, caller->pid);
	}
	if (a->audit_dropped) {
		/* First: what is too long is cut at its end. */
		snprintf(whole, sizeof(whole), "%llu more were not reported%s%s",
			 (unsigned long long)a->audit_dropped, text[0] ? "; " : "", text);
		text = whole;
		a->audit_dropped = 0;
	}
	if (text[0])
		sivp_put_str(b, SIVP_A_TEXT, text);
	host_send(&a->host);
}

/* A process called bind(): it may listen as that service only if it is it. */
static void bind_upcall(struct agent *a, const struct kernel_upcall *u)
{
	const struct agent_service *service;
	enum sivp_reason reason;

	reason = agent_select(a->config, a->cgroup_root, &u->caller, u->service, &service);
	if (!reason && agent_enrol_identity(a, service)->state == IDENTITY_REFUSED)
		reason = agent_enrol_identity(a, service)->reason;
	if (reason) {
		log_info("bind to \"%s\": uid %u, pid %u: refused: %s", u->service, u->caller.uid,
			 u->caller.pid, sivp_reason_name(reason));
		a->refused[reason]++;
		agent_audit(a, reason, u->service, "", "", &u->caller, "");
		agent_answer(a, u->id, sivp_reason_errno(reason), "");
		return;
	}
	agent_answer(a, u->id, 0, service->name);
}

static void say_hello(struct agent *a)
{
	struct host_hello hello = { .module_nonce = a->module_nonce };
	char text[64] = "";
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	const char *p = text;

	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = 0;
		close(fd);
	}
	for (size_t i = 0; i < sizeof(hello.boot_id); i++) {
		p += *p == '-';
		if (sscanf(p, "%2hhx", &hello.boot_id[i]) != 1) {
			log_error(BOOT_ID ": not a boot id: mount /proc");
			return;
		}
		p += 2;
	}
	agent_links_of_host(a, &hello);
	host_hello(&a->host, &hello);
}

/* When the module came, and whenever links came or went. */
static void links_listed(void *ctx, uint64_t tag, int err, const struct kernel_answer *answer)
{
	struct agent *a = ctx;
	bool changed, first = !a->kernel_known;

	(void)tag;
	(void)answer;
	if (err == -EPERM) {
		log_error("kernel: not permitted: start as root, in the initial network namespace");
		a->exit_code = 1;
		loop_stop(a->loop);
	}
	if (err)
		return; /* the module went; present() said so */
	changed = agent_links_take_found(a);
	a->kernel_known = true;
	if (a->standalone) {
		for (unsigned int i = 0; i < a->nr_links; i++) {
			if (a->links[i].gone || a->links[i].link.kind == SIV_LINK_LOCAL)
				continue;
			log_error("standalone: link %s: this machine is a VM with an ivshmem device: "
				  "its host decides; start without --standalone",
				  a->links[i].link.name);
			a->exit_code = 1;
			loop_stop(a->loop);
			return;
		}
	}
	if (first || changed)
		say_hello(a);
}

static void registered(void *ctx, uint64_t tag, int err, const struct kernel_answer *answer)
{
	struct agent *a = ctx;

	(void)tag;
	if (err == -ENODEV)
		return; /* the module went; present() said so */
	if (err || answer->abi != SIV_ABI_VERSION) {
		log_error("kernel: register: %s",
			  err == -EBUSY ? "another agent is registered: stop it first" :
			  err == -EPERM ? "not permitted: start as root, in the initial network "
					  "namespace" :
			  err && err != -EPROTONOSUPPORT ? strerror(-err) :
			  "the module has another ABI: install the same release of module and agent");
		a->exit_code = 1;
		loop_stop(a->loop);
		return;
	}
	a->registered = true;
	if (!a->pulling) {
		a->pulling = true;
		a->kernel->ops->pull(a->kernel);
	}
	agent_check_ready(a);
}

/* The module came or went. */
static void kernel_present(void *ctx, bool there, uint64_t nonce)
{
	struct agent *a = ctx;

	if (there) {
		a->module_nonce = nonce;
		agent_links_refresh(a, links_listed);
		return;
	}
	log_warning("kernel: the module is not there: modprobe af_sivshmem");
	agent_session_drop_all(a);
	agent_enrol_forget_tickets(a);
	agent_channels_forget(a);
	agent_listeners_forget(a);
	a->nr_links = 0;
	a->kernel_known = a->registered = a->pulling = false;
}

static void kernel_upcall(void *ctx, const struct kernel_upcall *u)
{
	struct agent *a = ctx;

	switch (u->kind) {
	case SIV_UPCALL_BIND:
		bind_upcall(a, u);
		break;
	case SIV_UPCALL_CONNECT:
		agent_session_connect(a, u);
		break;
	case SIV_UPCALL_CANCEL:
		agent_session_cancel(a, u->id);
		break;
	case SIV_UPCALL_LISTEN:
		agent_listeners_add(a, u);
		break;
	case SIV_UPCALL_UNLISTEN:
		agent_listeners_remove(a, u);
		break;
	case SIV_UPCALL_CLOSED:
		agent_channels_closed(a, u);
		break;
	case SIV_UPCALL_LINK_NEW:
	case SIV_UPCALL_LINK_GONE:
		agent_links_refresh(a, links_listed);
		break;
	case SIV_UPCALL_LINK_STALLED:
		agent_links_stalled(a, u);
		break;
	}
}

static void free_ca(struct agent *a)
{
	X509_STORE_free(a->trust);
	sk_X509_pop_free(a->trusted, X509_free);
	free(a->ca);
	a->trust = NULL;
	a->trusted = NULL;
	a->ca = NULL;
	a->ca_len = 0;
}

/* The CA's certificates of WELCOME or CHANGED. False: they cannot be used. */
static bool take_ca(struct agent *a, const struct sivp_value *ca)
{
	STACK_OF(X509) *chain = x509_chain_parse(ca->data, ca->len);
	X509_STORE *trust = chain ? x509_trust_new(chain) : NULL;
	uint8_t *copy = malloc(ca->len), authority[SIV_DIGEST_LEN];

	if (!trust || !copy || !x509_digest(sk_X509_value(chain, 0), authority)) {
		sk_X509_pop_free(chain, X509_free);
		X509_STORE_free(trust);
		free(copy);
		log_error("control: the host's CA certificates cannot be read");
		return false;
	}
	memcpy(copy, ca->data, ca->len);
	free_ca(a);
	memcpy(a->authority, authority, sizeof(a->authority));
	a->trust = trust;
	a->trusted = chain;
	a->ca = copy;
	a->ca_len = ca->len;
	agent_session_trust(a);
	return true;
}

static void welcome(struct agent *a, const struct sivp_msg *m)
{
	struct kernel_request r = { .cmd = SIV_CMD_REGISTER, .done = registered };
	const struct sivp_value *ca = &m->attr[SIVP_A_CA];
	bool renamed = strcmp(a->vm, sivp_str(m, SIVP_A_VM)) ||
		       strcmp(a->domain, sivp_str(m, SIVP_A_DOMAIN));

	if ((a->ca_len != ca->len || memcmp(a->ca, ca->data, ca->len)) && !take_ca(a, ca))
		return;
	strcpy(a->vm, sivp_str(m, SIVP_A_VM));
	strcpy(a->domain, sivp_str(m, SIVP_A_DOMAIN));
	agent_set_clock(a, sivp_u64(m, SIVP_A_TIME));
	log_info("control: the host welcomes VM \"%s\", trust domain \"%s\"", a->vm, a->domain);
	strcpy(r.vm, a->vm);
	agent_submit(a, &r);
	agent_channels_report(a);
	agent_listeners_report(a);
	agent_enrol_start(a, renamed);
}

static void changed(struct agent *a, const struct sivp_msg *m)
{
	log_info("control: the host decides anew");
	agent_enrol_forget_tickets(a);
	if (!sivp_has(m, SIVP_A_CA)) {
		agent_enrol_again(a);
	} else if (take_ca(a, &m->attr[SIVP_A_CA])) {
		log_info("control: the host trusts %d authorities", sk_X509_num(a->trusted));
		agent_enrol_start(a, false);
	}
}

static void host_connected(void *ctx)
{
	struct agent *a = ctx;

	if (a->kernel_known)
		say_hello(a);
}

static void host_lost(void *ctx)
{
	struct agent *a = ctx;

	log_warning("control: the host is gone: open channels go on, new connects fail");
	agent_session_host_lost(a);
	agent_enrol_host_lost(a);
	/* Whatever happens meanwhile, to policy or to peers, is not heard of. */
	agent_enrol_forget_tickets(a);
}

static void host_message(void *ctx, const struct sivp_msg *m)
{
	struct agent *a = ctx;

	switch (m->type) {
	case SIVP_WELCOME:
		welcome(a, m);
		break;
	case SIVP_LINK:
		agent_links_from_host(a, m);
		break;
	case SIVP_CLOSE:
		agent_channels_close(a, m);
		break;
	case SIVP_CERT:
		agent_enrol_cert(a, m);
		break;
	case SIVP_CHANGED:
		changed(a, m);
		break;
	case SIVP_REJECT:
		if (!agent_enrol_reject(a, m))
			agent_session_message(a, m);
		break;
	case SIVP_OPENED:
	case SIVP_INCOMING:
	case SIVP_TLS:
	case SIVP_GRANT:
		agent_session_message(a, m);
		break;
	default:
		log_warning("control: %s out of its place", sivp_type_name(m->type));
	}
}

int agent_start(struct agent *a, struct loop *loop, const struct agent_config *config,
		struct kernel *kernel, int fd, bool port)
{
	int err;

	a->loop = loop;
	a->config = config;
	a->kernel = kernel;
	if (!a->cgroup_root)
		a->cgroup_root = agent_cgroup_root();
	agent_session_init(a);
	list_init(&a->closed);
	list_init(&a->listeners);
	a->audit_tokens = AGENT_AUDIT_BURST;
	a->audit_at_ns = loop_now_ns(loop);
	kernel->ctx = a;
	kernel->upcall = kernel_upcall;
	kernel->present = kernel_present;
	a->host.ctx = a;
	a->host.connected = host_connected;
	a->host.lost = host_lost;
	a->host.message = host_message;
	err = agent_enrol_init(a);
	if (err) {
		close(fd);
		goto err_kernel;
	}
	err = host_attach(&a->host, loop, fd, port);
	if (err)
		goto err_enrol;
	return 0;

err_enrol:
	agent_enrol_exit(a);
err_kernel:
	kernel->ops->close(kernel);
	return err;
}

void agent_stop(struct agent *a)
{
	agent_session_drop_all(a);
	host_detach(&a->host);
	agent_enrol_exit(a);
	agent_channels_forget(a);
	agent_listeners_forget(a);
	a->kernel->ops->close(a->kernel);
	free_ca(a);
}
