// SPDX-License-Identifier: BSD-2-Clause
/*
 * Enrolment: each service of agent.conf gets a key, made here, and a certificate from the host, when
 * the agent starts and again when two thirds of its life are over; never inside connect().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "common/log.h"
#include "x509.h"

#define RENEW_NUMERATOR   2 /* renewed after 2/3 of the life of a certificate */
#define RENEW_DENOMINATOR 3
#define RENEW_LATEST_S    (24 * 3600) /* timers are set for a day at most, then looked at again */

static void refused(struct identity *i, enum sivp_reason reason)
{
	i->csr_session = 0;
	EVP_PKEY_free(i->next_key);
	i->next_key = NULL;
	i->reason = reason;
	/* A renewal that failed leaves the certificate that there is. */
	i->state = i->context ? IDENTITY_HELD : IDENTITY_REFUSED;
	/* And there is a next time, also where this was one request too many. */
	if (i->context || reason == SIVP_R_RATE)
		loop_timer_set(i->agent->loop, &i->renew, ENROL_RETRY_MS * LOOP_NS_PER_MS);
	agent_session_identity(i->agent, i);
	agent_enrol_tell_renewed(i->agent);
	agent_check_ready(i->agent);
}

static void ask(struct identity *i)
{
	struct agent *a = i->agent;
	uint8_t csr[SIVP_CSR_MAX];
	size_t len = 0;

	loop_timer_cancel(&i->renew);
	EVP_PKEY_free(i->next_key);
	i->next_key = x509_key_new();
	if (i->next_key)
		len = x509_csr(i->next_key, csr, sizeof(csr));
	if (!len) {
		log_error("service %s: no key or certificate request: see to OpenSSL's set-up",
			  i->service->name);
		refused(i, SIVP_R_NO_CERT);
		return;
	}
	i->state = IDENTITY_ASKED;
	i->csr_session = ++a->last_session;
	host_begin(&a->host, SIVP_CSR, i->csr_session);
	sivp_put_str(&a->host.out, SIVP_A_SERVICE, i->service->name);
	sivp_put_blob(&a->host.out, SIVP_A_CSR, csr, len);
	host_send(&a->host);
}

/* Seconds until the certificate is to be renewed; not positive: now. */
static int64_t renew_in(const struct identity *i)
{
	int64_t life = i->not_after - i->not_before;

	return i->not_before + life / RENEW_DENOMINATOR * RENEW_NUMERATOR - agent_now(i->agent);
}

static void set_renewal(struct identity *i)
{
	int64_t in = renew_in(i);

	if (in < 1)
		in = 1;
	if (in > RENEW_LATEST_S)
		in = RENEW_LATEST_S;
	loop_timer_set(i->agent->loop, &i->renew, in * 1000 * LOOP_NS_PER_MS);
}

static void renew_due(struct loop_timer *timer)
{
	struct identity *i = container_of(timer, struct identity, renew);

	if (!host_up(&i->agent->host))
		return; /* agent_enrol_start() will look */
	if (i->context && renew_in(i) > 0) {
		set_renewal(i);
		return;
	}
	log_debug("service %s: renewing its certificate", i->service->name);
	ask(i);
}

int agent_enrol_init(struct agent *a)
{
	a->identities = calloc(a->config->nr_services + 1, sizeof(*a->identities)); /* never empty */
	if (!a->identities)
		return -ENOMEM;
	for (size_t n = 0; n < a->config->nr_services; n++) {
		a->identities[n].service = &a->config->services[n];
		a->identities[n].agent = a;
		a->identities[n].renew.due = renew_due;
	}
	return 0;
}

static void drop(struct identity *i)
{
	loop_timer_cancel(&i->renew);
	SSL_CTX_free(i->context);
	EVP_PKEY_free(i->next_key);
	i->context = NULL;
	i->next_key = NULL;
	i->csr_session = 0;
	i->state = IDENTITY_NONE;
	i->id[0] = 0;
}

void agent_enrol_exit(struct agent *a)
{
	if (!a->identities)
		return;
	for (size_t n = 0; n < a->config->nr_services; n++)
		drop(&a->identities[n]);
	free(a->identities);
	a->identities = NULL;
}

/* Its certificate is of the authority that issues now. */
static bool is_current(const struct identity *i)
{
	return i->context && !memcmp(i->authority, i->agent->authority, sizeof(i->authority));
}

static bool is_trusted(const struct identity *i)
{
	STACK_OF(X509) *trusted = i->agent->trusted;
	uint8_t digest[SIV_DIGEST_LEN];

	for (int n = 0; n < sk_X509_num(trusted); n++)
		if (x509_digest(sk_X509_value(trusted, n), digest) &&
		    !memcmp(i->authority, digest, sizeof(digest)))
			return true;
	return false;
}

/* Drops a certificate that does not hold any more. False: its name cannot be. */
static bool settle(struct identity *i, bool renamed)
{
	struct agent *a = i->agent;

	if (i->context && !renamed && is_trusted(i)) {
		SSL_CTX_set1_cert_store(i->context, a->trust);
		return true;
	}
	if (!i->context && !renamed)
		return true;
	drop(i);
	if (sivp_spiffe_id(a->domain, a->vm, i->service->name, i->id, sizeof(i->id)))
		return true;
	log_error("service %s: its SPIFFE ID would be longer than %zu bytes: shorten the trust "
		  "domain", i->service->name, sizeof(i->id) - 1);
	refused(i, SIVP_R_NO_CERT);
	return false;
}

void agent_enrol_start(struct agent *a, bool renamed)
{
	/* By one authority alone nobody waits for us. */
	a->renewed_told = sk_X509_num(a->trusted) < 2;
	for (size_t n = 0; n < a->config->nr_services; n++) {
		struct identity *i = &a->identities[n];

		if (!settle(i, renamed))
			continue;
		if (is_current(i) && renew_in(i) > 0) {
			i->state = IDENTITY_HELD;
			set_renewal(i);
		} else {
			ask(i);
		}
	}
	agent_enrol_tell_renewed(a);
}

void agent_enrol_tell_renewed(struct agent *a)
{
	if (a->renewed_told || !host_up(&a->host))
		return;
	for (size_t n = 0; n < a->config->nr_services; n++) {
		const struct identity *i = &a->identities[n];

		if (i->csr_session)
			return;
		/* What the host does not renew it does not wait for. */
		if (i->context && i->reason == SIVP_R_NONE && !is_current(i))
			return;
	}
	/* The peer has yet to verify it, perhaps. */
	if (agent_session_uses_former(a))
		return;
	host_begin(&a->host, SIVP_RENEWED, 0);
	sivp_put_blob(&a->host.out, SIVP_A_DIGEST, a->authority, sizeof(a->authority));
	a->renewed_told = host_send(&a->host);
}

void agent_enrol_again(struct agent *a)
{
	for (size_t n = 0; n < a->config->nr_services; n++) {
		struct identity *i = &a->identities[n];

		if (i->reason != SIVP_R_NONE && i->id[0] && !i->csr_session)
			ask(i);
	}
}

void agent_enrol_host_lost(struct agent *a)
{
	for (size_t n = 0; n < a->config->nr_services; n++) {
		struct identity *i = &a->identities[n];

		i->csr_session = 0;
		if (i->state == IDENTITY_ASKED)
			i->state = i->context ? IDENTITY_HELD : IDENTITY_NONE;
	}
}

unsigned int agent_enrol_forget_tickets(struct agent *a)
{
	unsigned int forgotten = 0;

	for (size_t n = 0; n < a->config->nr_services; n++)
		if (a->identities[n].context)
			forgotten += tickets_forget(a->identities[n].context, NULL);
	return forgotten;
}

struct identity *agent_enrol_identity(struct agent *a, const struct agent_service *service)
{
	return &a->identities[service - a->config->services];
}

static struct identity *by_session(struct agent *a, uint64_t session)
{
	for (size_t n = 0; n < a->config->nr_services; n++)
		if (a->identities[n].csr_session == session)
			return &a->identities[n];
	return NULL;
}

/* Takes the chain into use. NULL, or what is wrong with it. */
static const char *take(struct identity *i, const struct sivp_msg *m)
{
	const struct sivp_value *der = &m->attr[SIVP_A_CHAIN];
	STACK_OF(X509) *chain = x509_chain_parse(der->data, der->len);
	const char *wrong = NULL;
	SSL_CTX *context;
	X509 *leaf, *issuer;

	if (!chain)
		return "not a chain of certificates";
	leaf = sk_X509_value(chain, 0);
	/* Whoever verifies it will see the same; better to hear of it here. */
	wrong = x509_leaf_wrong(leaf, true, i->id);
	if (!wrong)
		wrong = x509_leaf_wrong(leaf, false, i->id);
	if (wrong)
		goto out;
	context = tls_context_new(i->agent->trust, i->next_key, chain);
	if (!context) {
		wrong = "not of the key that it was asked for";
		goto out;
	}
	issuer = x509_issuer(i->agent->trusted, leaf);
	memset(i->authority, 0, sizeof(i->authority));
	if (issuer)
		x509_digest(issuer, i->authority);
	SSL_CTX_free(i->context);
	i->context = context;
	i->not_before = x509_not_before(leaf);
	i->not_after = x509_not_after(leaf);
out:
	sk_X509_pop_free(chain, X509_free);
	return wrong;
}

bool agent_enrol_cert(struct agent *a, const struct sivp_msg *m)
{
	struct identity *i = by_session(a, m->session);
	const char *wrong;

	if (!i)
		return false;
	if (sivp_has(m, SIVP_A_TIME))
		agent_set_clock(a, sivp_u64(m, SIVP_A_TIME));
	wrong = take(i, m);
	if (wrong) {
		log_error("service %s: the certificate from the host cannot be used: %s",
			  i->service->name, wrong);
		refused(i, SIVP_R_CERTIFICATE);
		return true;
	}
	i->csr_session = 0;
	EVP_PKEY_free(i->next_key); /* the context has it */
	i->next_key = NULL;
	i->state = IDENTITY_HELD;
	i->reason = SIVP_R_NONE;
	set_renewal(i);
	log_info("service %s: certificate for %s, %lld s", i->service->name, i->id,
		 (long long)(i->not_after - agent_now(a)));
	agent_session_identity(a, i);
	agent_enrol_tell_renewed(a);
	agent_check_ready(a);
	return true;
}

bool agent_enrol_reject(struct agent *a, const struct sivp_msg *m)
{
	struct identity *i = by_session(a, m->session);

	if (!i)
		return false;
	log_error("service %s: the host gives no certificate: %s: %s", i->service->name,
		  sivp_reason_name(sivp_u32(m, SIVP_A_REASON)),
		  sivp_u32(m, SIVP_A_REASON) == SIVP_R_REVOKED ?
		  "until it is unrevoked on the host" :
		  sivp_u32(m, SIVP_A_REASON) == SIVP_R_RATE ?
		  "it is asked again later" :
		  "list the service in this VM's section of host.conf, or take it out of "
		  "agent.conf");
	refused(i, sivp_u32(m, SIVP_A_REASON));
	return true;
}

bool agent_enrol_settled(const struct agent *a)
{
	for (size_t n = 0; n < a->config->nr_services; n++)
		if (a->identities[n].state != IDENTITY_HELD &&
		    a->identities[n].state != IDENTITY_REFUSED)
			return false;
	return true;
}
