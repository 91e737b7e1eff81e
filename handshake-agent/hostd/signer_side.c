// SPDX-License-Identifier: BSD-2-Clause
/* In the process that has the authority's key: what it does when it is asked. */
#include "signer_side.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"

void signer_options(const struct host_config *config, struct ca_options *options)
{
	*options = (struct ca_options){
		.domain = config->policy->domain,
		.state = config->state,
		.certificate = config->ca_certificate,
		.key = config->ca_key,
		.leaf_lifetime_s = config->certificate_lifetime_s,
		.now = time(NULL),
	};
}

/* Is that the name of a service which a VM of this host may hold? */
static bool listed(const struct policy *policy, const char *spiffe_id)
{
	char id[SIV_SPIFFE_LEN];

	for (unsigned int vm = 0; vm < policy->n_vms; vm++) {
		const struct policy_vm *is = &policy->vms[vm];

		for (unsigned int i = 0; i < is->n_services; i++) {
			if (sivp_spiffe_id(policy->domain, is->name, is->services[i].name, id,
					   sizeof(id)) && strcmp(id, spiffe_id) == 0)
				return true;
		}
	}
	return false;
}

static enum sivp_reason issue(struct signer_side *side, const struct signer_request *request,
			      struct signer_reply *reply)
{
	size_t len = sizeof(reply->chain);
	enum sivp_reason reason;

	if (!listed(side->config->policy, request->spiffe_id)) {
		snprintf(reply->error, sizeof(reply->error), "signer: %s lists no service %s",
			 side->config->path, request->spiffe_id);
		log_warning("%s", reply->error);
		return SIVP_R_NOT_HELD;
	}
	reason = ca_issue(side->ca, request->csr, request->csr_len, request->spiffe_id, time(NULL),
			  reply->chain, &len, &reply->not_after, reply->error);
	if (reason == SIVP_R_NONE)
		reply->chain_len = (uint32_t)len;
	return reason;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct host_config *read_again(const struct host_config *old, char error[CA_ERROR_LEN])
{
	struct host_config *new;
	FILE *errors;

	error[0] = '\0';
	errors = fmemopen(error, CA_ERROR_LEN, "w"); /* what does not fit is lost */
	if (!errors)
		return NULL;
	new = host_config_load(old->path, errors);
	fclose(errors);
	error[CA_ERROR_LEN - 1] = '\0';
	return new;
}

static bool reload(struct signer_side *side, char error[CA_ERROR_LEN])
{
	struct host_config *old = side->config, *new = read_again(old, error);
	struct ca_options options;

	if (!new)
		return false;
	signer_options(new, &options);
	options.state = old->state; /* another one holds after a restart */
	if ((!same_text(old->ca_certificate, new->ca_certificate) ||
	     !same_text(old->ca_key, new->ca_key)) && ca_rotate(side->ca, &options, error)) {
		host_config_free(new);
		return false;
	}
	ca_set_lifetime(side->ca, new->certificate_lifetime_s);
	side->config = new;
	host_config_free(old);
	return true;
}

static bool rotate(struct signer_side *side, char error[CA_ERROR_LEN])
{
	struct ca_options options;

	signer_options(side->config, &options);
	return !ca_rotate(side->ca, &options, error);
}

bool signer_answer(struct signer_side *side, const struct signer_request *request, size_t len,
		   struct signer_reply *reply)
{
	bool ok;

	memset(reply, 0, sizeof(*reply));
	if (len < SIGNER_REQUEST_MIN || request->csr_len > sizeof(request->csr) ||
	    len - SIGNER_REQUEST_MIN != request->csr_len ||
	    !memchr(request->spiffe_id, '\0', sizeof(request->spiffe_id)))
		return false;
	switch (request->op) {
	case SIGNER_ISSUE:
		reply->reason = issue(side, request, reply);
		break;
	case SIGNER_RELOAD:
	case SIGNER_ROTATE:
	case SIGNER_DROP:
		ok = request->op == SIGNER_RELOAD ? reload(side, reply->error) :
		     request->op == SIGNER_ROTATE ? rotate(side, reply->error) :
			      !ca_drop(side->ca, side->config->state, reply->error);
		reply->reason = ok ? SIVP_R_NONE : SIVP_R_CERTIFICATE;
		break;
	default:
		return false;
	}
	reply->view = *ca_view(side->ca);
	return true;
}
