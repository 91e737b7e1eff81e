// SPDX-License-Identifier: BSD-2-Clause
/*
 * What `sivctl revoke` and `unrevoke` do: first the file, then the memory that policy looks into,
 * then what is open. What fails on the way changes nothing that comes later.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/admin.h"
#include "common/log.h"
#include "common/suggest.h"
#include "hostd.h"
#include "revocations.h"

/* What is to be revoked. */
struct target {
	char vm[SIV_VM_LEN];
	char service[SIV_SERVICE_LEN]; /* "": the whole VM */
	char name[SIV_VM_LEN + SIV_SERVICE_LEN]; /* both, as they were given */
};

/* 0, or -1 and an error in @reply. */
static int parse_target(const char *what, const char *name, struct target *out, json_t *reply)
{
	const char *slash = strchr(name, '/');
	size_t len = slash ? (size_t)(slash - name) : strlen(name);
	bool service = strcmp(what, "service") == 0;

	if (service != !!slash || len >= sizeof(out->vm) || strlen(name) >= sizeof(out->name))
		return admin_error(reply, "%s: \"%.64s\": write %s", what, name,
				   service ? "VM/SERVICE" : "a VM's name");
	*out = (struct target){ 0 };
	memcpy(out->vm, name, len);
	strcpy(out->name, name);
	if (!sivp_name_ok(out->vm, sizeof(out->vm)) ||
	    (slash && !sivp_name_ok(slash + 1, sizeof(out->service))))
		return admin_error(reply, "%s: \"%.64s\": bad name", what, name);
	if (slash)
		strcpy(out->service, slash + 1);
	return 0;
}

static const char *suggest_of(const struct policy *policy, const char *vm, const char *service)
{
	int index = policy_find_vm(policy, vm);
	struct suggest suggest;

	suggest_init(&suggest, index < 0 ? vm : service);
	if (index < 0) {
		for (unsigned int i = 0; i < policy->n_vms; i++)
			suggest_offer(&suggest, policy->vms[i].name);
	} else {
		for (unsigned int i = 0; i < policy->vms[index].n_services; i++)
			suggest_offer(&suggest, policy->vms[index].services[i].name);
	}
	return suggest.best;
}

/* A revocation of a misspelt name would protect nobody. 0, or -1 and an error in @reply. */
static int check_known(const struct policy *policy, const struct target *target, json_t *reply)
{
	int vm = policy_find_vm(policy, target->vm);
	const char *best;

	if (vm >= 0 && (!target->service[0] ||
			policy_find_service(policy, (unsigned int)vm, target->service) >= 0))
		return 0;
	best = suggest_of(policy, target->vm, target->service);
	return admin_error(reply, "revoke: %s: no %s \"%s\"%s%s%s", policy->file,
			   vm < 0 ? "vm" : "such service", vm < 0 ? target->vm : target->service,
			   best ? "; did you mean \"" : "", best ?: "", best ? "\"?" : "");
}

static void audit_target(struct host_admin *admin, const char *what, enum sivp_reason reason,
			 const struct target *target, const char *text)
{
	const struct audit_event event = {
		.event = what,
		.reason = reason,
		.vm = target->vm,
		.service = target->service,
		.text = text,
	};

	audit_write(admin->audit, NULL, 0, &event);
	log_info("%s: %s: %s", what, target->name, text);
}

/* Saves the list that has (@add), or has not, that entry; then it is the one that holds. */
static int change(struct host_admin *admin, const struct target *target, bool add, json_t *reply)
{
	struct revocations *now = admin->revoked, next = { 0 };
	int err;

	if (now->n) {
		next.list = reallocarray(NULL, now->n, sizeof(*next.list));
		if (!next.list)
			return admin_error(reply, "out of memory");
		memcpy(next.list, now->list, now->n * sizeof(*next.list));
		next.n = now->n;
	}
	err = add ? revocations_add(&next, target->vm, target->service, (int64_t)time(NULL)) :
		    revocations_remove(&next, target->vm, target->service);
	if (!err)
		err = revocations_save(admin->config->own, &next);
	if (err) {
		revocations_free(&next);
		return admin_error(reply, "%s/" REVOCATIONS_FILE ": %s: nothing was changed",
				   admin->config->own, strerror(-err));
	}
	revocations_free(now);
	*now = next;
	return 0;
}

static int revoke_channel(struct host_admin *admin, const char *name, json_t *reply)
{
	const char *slash = strrchr(name, '/');
	char link[POLICY_LINK_LEN];
	unsigned long slot = 0;
	char *end = NULL;

	if (slash && slash != name && slash[1] >= '0' && slash[1] <= '9') {
		errno = 0;
		slot = strtoul(slash + 1, &end, 10);
	}
	if (!end || *end || errno || (size_t)(slash - name) >= sizeof(link))
		return admin_error(reply, "channel: \"%.64s\": write LINK/SLOT, or VM/SLOT for one "
				   "inside a VM, as sivctl channels lists them", name);
	snprintf(link, sizeof(link), "%.*s", (int)(slash - name), name);
	if (slot > UINT32_MAX || broker_revoke_channel(admin->broker, link, (uint32_t)slot, reply))
		return admin_error(reply, "channel: none is open in slot %lu of \"%s\": see "
				   "sivctl channels", slot, link);
	return 0;
}

static int revoke_target(struct host_admin *admin, const char *what, const char *name,
			 json_t *reply)
{
	const struct policy *policy = admin->config->policy;
	struct broker_enforced done;
	struct target target;
	char text[128];
	bool again;

	if (parse_target(what, name, &target, reply) || check_known(policy, &target, reply))
		return -1;
	again = revocations_find(admin->revoked, target.vm, target.service);
	if (!again && change(admin, &target, true, reply))
		return -1;
	broker_changed(admin->broker, policy_find_vm(policy, target.vm));
	broker_enforce(admin->broker, &done);
	snprintf(text, sizeof(text), "%u channels reset, %u connects rejected", done.channels,
		 done.connects);
	audit_target(admin, "revoke", SIVP_R_REVOKED, &target, text);
	json_object_set_new(reply, "again", json_boolean(again));
	json_object_set_new(reply, "channels", json_integer(done.channels));
	json_object_set_new(reply, "connects", json_integer(done.connects));
	return 0;
}

/* "what" and "name" of a request; false: they are not there. */
static bool read_request(const json_t *request, const char **what, const char **name)
{
	*what = json_string_value(json_object_get(request, "what"));
	*name = json_string_value(json_object_get(request, "name"));
	return *what && *name;
}

static bool is_target(const char *what)
{
	return strcmp(what, "service") == 0 || strcmp(what, "vm") == 0;
}

int run_revoke(void *arg, const json_t *request, json_t *reply)
{
	struct host_admin *admin = arg;
	const char *what, *name;

	if (!read_request(request, &what, &name))
		return admin_error(reply, "revoke: it needs \"what\" and \"name\"");
	if (is_target(what))
		return revoke_target(admin, what, name, reply);
	if (strcmp(what, "channel") == 0)
		return revoke_channel(admin, name, reply);
	return admin_error(reply, "revoke: \"%.64s\": one of service, vm, channel", what);
}

int run_unrevoke(void *arg, const json_t *request, json_t *reply)
{
	struct host_admin *admin = arg;
	const char *what, *name;
	struct target target;

	if (!read_request(request, &what, &name))
		return admin_error(reply, "unrevoke: it needs \"what\" and \"name\"");
	if (!is_target(what))
		return admin_error(reply, "unrevoke: \"%.64s\": one of service, vm", what);
	if (parse_target(what, name, &target, reply))
		return -1;
	if (!revocations_find(admin->revoked, target.vm, target.service))
		return admin_error(reply, "unrevoke: %s \"%s\" is not revoked: see "
				   "sivctl revocations", what, name);
	if (change(admin, &target, false, reply))
		return -1;
	audit_target(admin, "unrevoke", SIVP_R_NONE, &target, "policy decides again");
	/* Its services ask again for certificates; connects need nothing else. */
	broker_changed(admin->broker, policy_find_vm(admin->config->policy, target.vm));
	return 0;
}

int run_revocations(void *arg, const json_t *request, json_t *reply)
{
	struct host_admin *admin = arg;
	json_t *list = json_array();

	(void)request;
	for (unsigned int i = 0; i < admin->revoked->n; i++) {
		const struct revocation *r = &admin->revoked->list[i];
		json_t *entry = json_pack("{s:s, s:I}", "vm", r->vm, "since", (json_int_t)r->since);

		if (r->service[0])
			json_object_set_new(entry, "service", json_string(r->service));
		json_array_append_new(list, entry);
	}
	return json_object_set_new(reply, "revocations", list);
}
