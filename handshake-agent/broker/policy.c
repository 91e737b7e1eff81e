// SPDX-License-Identifier: BSD-2-Clause
/* The policy in memory, and its one decision: may this service connect to that one? */
#include "policy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct policy *policy_new(const char *file, const char *domain)
{
	struct policy *policy = calloc(1, sizeof(*policy));

	if (!policy)
		return NULL;
	policy->file = strdup(file);
	if (!policy->file || strlen(domain) >= sizeof(policy->domain)) {
		policy_free(policy);
		return NULL;
	}
	strcpy(policy->domain, domain);
	return policy;
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	for (unsigned int i = 0; i < policy->n_vms; i++)
		free(policy->vms[i].services);
	free(policy->vms);
	free(policy->links);
	free(policy->allows);
	free(policy->file);
	free(policy);
}

int policy_find_vm(const struct policy *policy, const char *name)
{
	for (unsigned int i = 0; i < policy->n_vms; i++) {
		if (strcmp(policy->vms[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

int policy_find_service(const struct policy *policy, unsigned int vm, const char *service)
{
	const struct policy_vm *v = &policy->vms[vm];

	for (unsigned int i = 0; i < v->n_services; i++) {
		if (strcmp(v->services[i].name, service) == 0)
			return (int)i;
	}
	return -1;
}

int policy_find_link(const struct policy *policy, unsigned int a, unsigned int b)
{
	for (unsigned int i = 0; i < policy->n_links; i++) {
		const unsigned int *vm = policy->links[i].vm;

		if ((vm[0] == a && vm[1] == b) || (vm[0] == b && vm[1] == a))
			return (int)i;
	}
	return -1;
}

/* One more element, zeroed, at the end of an array of @n. NULL: no memory. */
static void *append(void *array, unsigned int n, size_t size)
{
	char *bigger = realloc(array, (n + 1) * size);

	if (bigger)
		memset(bigger + n * size, 0, size);
	return bigger;
}

int policy_add_vm(struct policy *policy, const char *name, uint64_t local_size, int line)
{
	struct policy_vm *vms, *vm;

	if (!sivp_name_ok(name, SIV_VM_LEN))
		return -EINVAL;
	if (policy_find_vm(policy, name) >= 0)
		return -EEXIST;
	if (policy->n_vms == POLICY_VMS_MAX)
		return -ENOSPC;
	vms = append(policy->vms, policy->n_vms, sizeof(*vms));
	if (!vms)
		return -ENOMEM;
	policy->vms = vms;
	vm = &vms[policy->n_vms];
	strcpy(vm->name, name);
	vm->local_size = local_size;
	vm->line = line;
	return (int)policy->n_vms++;
}

int policy_add_service(struct policy *policy, unsigned int vm, const char *service)
{
	struct policy_vm *v = &policy->vms[vm];
	struct policy_service *services;

	if (!sivp_name_ok(service, SIV_SERVICE_LEN))
		return -EINVAL;
	if (policy_find_service(policy, vm, service) >= 0)
		return -EEXIST;
	if (v->n_services == POLICY_SERVICES_MAX)
		return -ENOSPC;
	services = append(v->services, v->n_services, sizeof(*services));
	if (!services)
		return -ENOMEM;
	v->services = services;
	strcpy(services[v->n_services++].name, service);
	return 0;
}

void policy_set_limits(struct policy *policy, unsigned int vm, int service,
		       const struct policy_limits *limits)
{
	struct policy_vm *v = &policy->vms[vm];

	if (service < 0)
		v->limits = *limits;
	else
		v->services[service].limits = *limits;
}

int policy_add_link(struct policy *policy, unsigned int vm0, unsigned int vm1, uint64_t size,
		    uint32_t timeout_ms, int line)
{
	struct policy_link *links, *link;

	if (vm0 >= policy->n_vms || vm1 >= policy->n_vms)
		return -ENOENT;
	if (vm0 == vm1)
		return -ELOOP;
	if (policy_find_link(policy, vm0, vm1) >= 0)
		return -EEXIST;
	if (policy->n_links == POLICY_LINKS_MAX)
		return -ENOSPC;
	links = append(policy->links, policy->n_links, sizeof(*links));
	if (!links)
		return -ENOMEM;
	policy->links = links;
	link = &links[policy->n_links];
	snprintf(link->name, sizeof(link->name), "%s--%s", policy->vms[vm0].name,
		 policy->vms[vm1].name);
	link->vm[0] = vm0;
	link->vm[1] = vm1;
	link->size = size;
	link->timeout_ms = timeout_ms;
	link->line = line;
	return (int)policy->n_links++;
}

static const struct policy_allow *find_allow(const struct policy *policy, unsigned int from,
					     const char *service, unsigned int to,
					     const char *to_service)
{
	for (unsigned int i = 0; i < policy->n_allows; i++) {
		const struct policy_allow *a = &policy->allows[i];

		if (a->from_vm == from && a->to_vm == to &&
		    strcmp(a->from_service, service) == 0 &&
		    strcmp(a->to_service, to_service) == 0)
			return a;
	}
	return NULL;
}

bool policy_allows(const struct policy *policy, const struct policy_allow *allow)
{
	const struct policy_allow *a = find_allow(policy, allow->from_vm, allow->from_service,
						  allow->to_vm, allow->to_service);

	return a && a->sealed == allow->sealed;
}

int policy_add_allow(struct policy *policy, unsigned int from, const char *service,
		     unsigned int to, const char *to_service, int line)
{
	struct policy_allow *allows, *allow;

	if (from >= policy->n_vms || to >= policy->n_vms)
		return -ENOENT;
	if (policy_find_service(policy, from, service) < 0 ||
	    policy_find_service(policy, to, to_service) < 0)
		return -ENOKEY;
	if (from != to && policy_find_link(policy, from, to) < 0)
		return -ENOLINK;
	if (find_allow(policy, from, service, to, to_service))
		return -EEXIST;
	if (policy->n_allows == POLICY_ALLOWS_MAX)
		return -ENOSPC;
	allows = append(policy->allows, policy->n_allows, sizeof(*allows));
	if (!allows)
		return -ENOMEM;
	policy->allows = allows;
	allow = &allows[policy->n_allows];
	allow->from_vm = from;
	allow->to_vm = to;
	strcpy(allow->from_service, service);
	strcpy(allow->to_service, to_service);
	allow->line = line;
	return (int)policy->n_allows++;
}

static void __attribute__((format(printf, 4, 5)))
set_verdict(struct policy_verdict *verdict, enum sivp_reason reason, int line, const char *fmt, ...)
{
	va_list args;

	verdict->reason = reason;
	verdict->line = line;
	va_start(args, fmt);
	vsnprintf(verdict->text, sizeof(verdict->text), fmt, args);
	va_end(args);
}

/*
 * The one VM that policy lets this caller reach that service in; -1: none or several. No two rules
 * are the same, so each that fits is of another VM.
 */
static int resolve(const struct policy *policy, unsigned int from, const char *service,
		   const char *to_service)
{
	int found = -1;

	for (unsigned int i = 0; i < policy->n_allows; i++) {
		const struct policy_allow *a = &policy->allows[i];

		if (a->from_vm != from || strcmp(a->from_service, service) != 0 ||
		    strcmp(a->to_service, to_service) != 0)
			continue;
		if (found >= 0)
			return -1;
		found = (int)a->to_vm;
	}
	return found;
}

/* False: one of the two is revoked. */
static bool unrevoked(const struct policy *policy, const char *vm, const char *service,
		      struct policy_verdict *verdict)
{
	if (!revocations_cover(policy->revoked, vm, service))
		return true;
	set_verdict(verdict, SIVP_R_REVOKED, 0, "%s/%s is revoked: see sivctl revocations", vm,
		    service);
	return false;
}

void policy_decide(const struct policy *policy, unsigned int from, const char *service,
		   const char *to_vm, const char *to_service, struct policy_verdict *verdict)
{
	const char *file = policy->file, *from_name = policy->vms[from].name;
	const struct policy_allow *allow;
	int vm, link = -1;

	verdict->vm = verdict->link = -1;
	verdict->sealed = false;
	if (policy_find_service(policy, from, service) < 0) {
		set_verdict(verdict, SIVP_R_NOT_HELD, policy->vms[from].line,
			    "vm \"%s\" may not hold \"%s\": %s:%d does not list it", from_name,
			    service, file, policy->vms[from].line);
		return;
	}
	vm = to_vm[0] ? policy_find_vm(policy, to_vm) : resolve(policy, from, service, to_service);
	if (vm < 0) {
		if (to_vm[0])
			set_verdict(verdict, SIVP_R_UNKNOWN_VM, 0, "%s has no vm \"%s\"", file,
				    to_vm);
		else
			set_verdict(verdict, SIVP_R_UNKNOWN_VM, 0,
				    "%s/%s may reach \"%s\" in none or several VMs: name one",
				    from_name, service, to_service);
		return;
	}
	verdict->vm = vm;
	allow = find_allow(policy, from, service, (unsigned int)vm, to_service);
	if (!allow) {
		set_verdict(verdict, SIVP_R_NOT_ALLOWED, 0,
			    "%s has no allow { from = \"%s/%s\" to = \"%s/%s\" }", file, from_name,
			    service, policy->vms[vm].name, to_service);
		return;
	}
	if ((unsigned int)vm != from) {
		link = policy_find_link(policy, from, (unsigned int)vm);
		if (link < 0) {
			set_verdict(verdict, SIVP_R_NO_LINK, 0, "%s has no link \"%s\" \"%s\"",
				    file, from_name, policy->vms[vm].name);
			return;
		}
	}
	if (!unrevoked(policy, from_name, service, verdict) ||
	    !unrevoked(policy, policy->vms[vm].name, to_service, verdict))
		return;
	verdict->link = link;
	verdict->sealed = allow->sealed;
	set_verdict(verdict, SIVP_R_NONE, allow->line, "allowed%s by %s:%d",
		    allow->sealed ? ", sealed," : "", file, allow->line);
}

void policy_on_terms(struct policy_verdict *verdict, bool sealed)
{
	if (verdict->reason == SIVP_R_NONE && verdict->sealed != sealed)
		set_verdict(verdict, SIVP_R_NOT_ALLOWED, verdict->line, "not %s: line %d of the policy",
			    sealed ? "sealed any more" : "without sealing any more", verdict->line);
}
