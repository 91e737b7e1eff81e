// SPDX-License-Identifier: BSD-2-Clause
/* The broker's life, and what keeps its parts in order. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

int64_t broker_wall(const struct broker *broker)
{
	return broker->config.wall_clock ? broker->config.wall_clock() : (int64_t)time(NULL);
}

uint64_t broker_now(const struct broker *broker)
{
	return loop_now_ns(broker->config.loop);
}

/* Nonces must not repeat: without random numbers there is nothing sensible left to do. */
void broker_random(void *out, size_t len)
{
	if (getrandom(out, len, 0) != (ssize_t)len) {
		log_error("getrandom: failed");
		abort();
	}
}

static void set_defaults(struct broker_limits *limits)
{
	limits->sessions_per_vm = limits->sessions_per_vm ?: BROKER_SESSIONS_PER_VM;
	limits->sessions_per_pair = limits->sessions_per_pair ?: BROKER_SESSIONS_PER_PAIR;
	limits->opens_per_second = limits->opens_per_second ?: BROKER_OPENS_PER_SECOND;
	limits->opens_burst = limits->opens_burst ?: 2 * limits->opens_per_second;
	limits->session_bytes = limits->session_bytes ?: BROKER_SESSION_BYTES;
	limits->session_records = limits->session_records ?: BROKER_SESSION_RECORDS;
	limits->handshake_ms = limits->handshake_ms ?: BROKER_HANDSHAKE_MS;
	limits->queue_bytes = limits->queue_bytes ?: BROKER_QUEUE_BYTES;
}

struct broker *broker_new(const struct broker_config *config)
{
	const struct policy *policy = config->policy;
	struct broker *broker = calloc(1, sizeof(*broker));

	if (!broker)
		return NULL;
	broker->config = *config;
	set_defaults(&broker->config.limits);
	list_init(&broker->sessions);
	broker->n_links = policy->n_links + policy->n_vms;
	broker->vms = calloc(policy->n_vms ?: 1, sizeof(*broker->vms));
	broker->links = calloc(broker->n_links ?: 1, sizeof(*broker->links));
	if (!broker->vms || !broker->links)
		goto err_free;
	audit_attach(config->audit, config->loop);
	broker_random(broker->nonce, sizeof(broker->nonce));
	broker_random(&broker->id_key, sizeof(broker->id_key));
	/*
	 * Generations must differ from all that an earlier broker gave out, which the journal does
	 * not have any more: 62 random bits are far from them.
	 */
	broker_random(&broker->first_generation, sizeof(broker->first_generation));
	broker->first_generation >>= 2;
	for (unsigned int i = 0; i < policy->n_vms; i++)
		vm_init(&broker->vms[i], broker, i);
	for (unsigned int i = 0; i < policy->n_links; i++)
		link_init_pair(&broker->links[i], broker, i);
	for (unsigned int i = 0; i < policy->n_vms; i++)
		link_init_local(&broker->links[policy->n_links + i], broker, &broker->vms[i]);
	limits_apply(broker);
	broker_recover(broker);
	return broker;

err_free:
	free(broker->links);
	free(broker->vms);
	free(broker);
	return NULL;
}

void broker_free(struct broker *broker)
{
	if (!broker)
		return;
	broker->settling = true; /* nothing is left to settle */
	for (unsigned int i = 0; i < broker->config.policy->n_vms; i++)
		vm_exit(&broker->vms[i]);
	audit_detach(broker->config.audit);
	assert(list_empty(&broker->sessions));
	for (unsigned int i = 0; i < broker->n_links; i++)
		link_exit(&broker->links[i]);
	free(broker->links);
	free(broker->vms);
	free(broker);
}

/*
 * Does what vm_doom() has marked, until nothing is marked any more: each turn takes a VM's stream
 * or all its sessions away, so it ends.
 */
void broker_settle(struct broker *broker)
{
	unsigned int n_vms = broker->config.policy->n_vms;
	bool again = true;

	if (broker->settling)
		return;
	broker->settling = true;
	while (again) {
		again = false;
		for (unsigned int i = 0; i < n_vms; i++) {
			struct vm *vm = &broker->vms[i];
			enum vm_doom doom = vm->doom;

			if (doom == VM_FINE)
				continue;
			again = true;
			if (doom == VM_LOSES_STREAM) {
				vm_close_stream(vm);
				continue;
			}
			vm->doom = VM_FINE;
			log_warning("vm %s: %zu bytes are queued towards it: dropping its sessions",
				    vm->policy->name, stream_queued(&vm->stream));
			sessions_drop_vm(vm, SIVP_R_LIMIT, "its control channel is full", true);
		}
	}
	broker->settling = false;
	broker_compact(broker);
}

/* Who listens and has taken what, by the places that services have in the new policy. */
static void move_services(struct vm *vm, const struct policy *old, const struct policy *new)
{
	const struct policy_vm *services = &new->vms[vm->index];
	struct taken taken[POLICY_SERVICES_MAX] = { 0 };
	bool listening[POLICY_SERVICES_MAX] = { 0 };

	for (unsigned int i = 0; i < services->n_services; i++) {
		int was = policy_find_service(old, vm->index, services->services[i].name);

		if (was < 0)
			continue;
		listening[i] = vm->listening[was];
		taken[i] = vm->services[was];
	}
	memcpy(vm->services, taken, sizeof(taken));
	memcpy(vm->listening, listening, sizeof(listening));
}

void broker_set_policy(struct broker *broker, const struct policy *policy,
		       const struct broker_limits *limits)
{
	const struct policy *old = broker->config.policy;

	assert(policy->n_vms == old->n_vms && policy->n_links == old->n_links);
	for (unsigned int i = 0; i < policy->n_vms; i++) {
		move_services(&broker->vms[i], old, policy);
		broker->vms[i].policy = &policy->vms[i];
		broker->vms[i].budget.vm = policy->vms[i].name;
	}
	for (unsigned int i = 0; i < policy->n_links; i++)
		broker->links[i].policy = &policy->links[i];
	broker->config.policy = policy;
	broker->config.limits = *limits;
	set_defaults(&broker->config.limits);
	limits_apply(broker);
}

int broker_add_vm_stream(struct broker *broker, unsigned int index, int fd)
{
	struct vm *vm = &broker->vms[index];
	int err;

	if (vm->state != VM_AWAY) {
		close(fd);
		return -EBUSY;
	}
	err = stream_open(&vm->stream, broker->config.loop, fd);
	if (err)
		return err;
	vm_connected(vm);
	return 0;
}

bool broker_vm_has_stream(const struct broker *broker, unsigned int vm)
{
	return broker->vms[vm].state != VM_AWAY;
}

unsigned int broker_count_sessions(const struct broker *broker)
{
	return broker->n_sessions;
}

unsigned int broker_count_channels(const struct broker *broker)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < broker->n_links; i++)
		n += broker->links[i].alloc.n;
	return n;
}
