// SPDX-License-Identifier: BSD-2-Clause
/* The embedded broker: same code as sivshmem-hostd's, one VM, no links but the local one. */
#include "standalone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/audit.h"
#include "broker/audit_journal.h"
#include "broker/broker.h"
#include "broker/ca.h"
#include "broker/policy.h"
#include "common/log.h"

struct standalone {
	struct policy *policy;
	struct ca *ca;
	struct audit *audit;
	struct journal *journal;
	struct broker *broker;
};

/* One VM that holds all services of the file. The file was checked: only memory can be missing. */
static struct policy *make_policy(const struct agent_config *c)
{
	struct policy *p = policy_new(c->path, c->domain);
	int vm, err = 0;

	if (!p)
		return NULL;
	vm = policy_add_vm(p, c->vm, c->size, 0);
	if (vm < 0) {
		err = vm;
		goto err_free;
	}
	for (size_t i = 0; i < c->nr_services; i++) {
		err = policy_add_service(p, vm, c->services[i].name);
		if (err < 0)
			goto err_free;
	}
	for (size_t i = 0; i < c->nr_allows; i++) {
		const struct agent_allow *a = &c->allows[i];

		err = policy_add_allow(p, vm, a->from, vm, a->to, a->line);
		if (err == -EEXIST) {
			log_warning("%s:%d: allow: \"%s\" to \"%s\" is there already", c->path,
				    a->line, a->from, a->to);
			err = 0;
		}
		if (err < 0)
			goto err_free;
	}
	return p;

err_free:
	log_error("standalone: policy: %s", strerror(-err));
	policy_free(p);
	return NULL;
}

struct standalone *standalone_open(struct loop *loop, const struct agent_config *c, int *fd)
{
	struct ca_options options = { .domain = c->domain, .state = c->state, .now = time(NULL) };
	struct standalone *s = calloc(1, sizeof(*s));
	struct broker_config broker = { .loop = loop };
	char error[CA_ERROR_LEN];
	int pair[2], err;

	if (!s)
		return NULL;
	s->policy = make_policy(c);
	if (!s->policy)
		goto err_close;
	if (ca_open(&options, &s->ca, error)) {
		log_error("standalone: %s", error);
		goto err_close;
	}
	s->audit = audit_open(c->audit, NULL);
	if (!s->audit) {
		log_error("%s: audit: %s: %s", c->path, c->audit ? c->audit : "standard output",
			  strerror(errno));
		goto err_close;
	}
	/* Standard output is the journal already, under systemd. */
	if (c->audit && c->audit_journal)
		audit_set_journal(s->audit, audit_journal_open(AUDIT_JOURNAL_SOCKET));
	s->journal = journal_open(c->state);
	if (!s->journal) {
		log_error("standalone: %s/" JOURNAL_FILE ": %s", c->state, strerror(errno));
		goto err_close;
	}
	broker.journal = s->journal;
	broker.policy = s->policy;
	broker.ca = s->ca;
	broker.audit = s->audit;
	s->broker = broker_new(&broker);
	if (!s->broker) {
		log_error("standalone: broker: %s", strerror(errno));
		goto err_close;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		log_error("standalone: socketpair: %s", strerror(errno));
		goto err_close;
	}
	err = broker_add_vm_stream(s->broker, 0, pair[0]);
	if (err) {
		log_error("standalone: broker: %s", strerror(-err));
		close(pair[1]);
		goto err_close;
	}
	*fd = pair[1];
	return s;

err_close:
	standalone_close(s);
	return NULL;
}

void standalone_close(struct standalone *s)
{
	if (!s)
		return;
	if (s->broker)
		broker_free(s->broker);
	journal_close(s->journal);
	if (s->audit)
		audit_close(s->audit);
	if (s->ca)
		ca_close(s->ca);
	if (s->policy)
		policy_free(s->policy);
	free(s);
}
