// SPDX-License-Identifier: BSD-2-Clause
/* `sivctl explain`: what policy says about one service connecting to another. */
#include "explain.h"

#include <stdio.h>
#include <string.h>

struct endpoint {
	char vm[SIV_VM_LEN];
	char service[SIV_SERVICE_LEN];
};

/* "VM/SERVICE"; the VM may be empty if @any_vm. */
static int parse(const char *text, bool any_vm, struct endpoint *out)
{
	const char *slash = strchr(text, '/');

	if (!slash || (size_t)(slash - text) >= sizeof(out->vm))
		return -1;
	snprintf(out->vm, sizeof(out->vm), "%.*s", (int)(slash - text), text);
	if (!sivp_name_ok(slash + 1, sizeof(out->service)))
		return -1;
	strcpy(out->service, slash + 1);
	if (!out->vm[0])
		return any_vm ? 0 : -1;
	return sivp_name_ok(out->vm, sizeof(out->vm)) ? 0 : -1;
}

int explain(const struct policy *policy, const char *from, const char *to, json_t *reply,
	    char error[EXPLAIN_ERROR_LEN])
{
	static const char scheme[] = "siv://";
	struct endpoint source, target;
	struct policy_verdict verdict;
	const char *error_name = NULL;
	int vm;

	if (parse(from, false, &source)) {
		snprintf(error, EXPLAIN_ERROR_LEN, "\"%.64s\": write VM/SERVICE", from);
		return -1;
	}
	if (strncmp(to, scheme, strlen(scheme)) != 0 || parse(to + strlen(scheme), true, &target)) {
		snprintf(error, EXPLAIN_ERROR_LEN, "\"%.64s\": write siv://VM/SERVICE", to);
		return -1;
	}
	vm = policy_find_vm(policy, source.vm);
	if (vm < 0) {
		snprintf(error, EXPLAIN_ERROR_LEN, "%s: no vm \"%s\"", policy->file, source.vm);
		return -1;
	}
	policy_decide(policy, (unsigned int)vm, source.service, target.vm, target.service,
		      &verdict);
	json_object_set_new(reply, "from", json_string(from));
	json_object_set_new(reply, "to", json_string(to));
	json_object_set_new(reply, "verdict",
			    json_string(verdict.reason == SIVP_R_NONE ? "allowed" : "refused"));
	json_object_set_new(reply, "reason", json_string(sivp_reason_name(verdict.reason)));
	if (verdict.reason != SIVP_R_NONE)
		error_name = strerrorname_np(sivp_reason_errno(verdict.reason));
	json_object_set_new(reply, "errno", error_name ? json_string(error_name) : json_null());
	if (verdict.reason == SIVP_R_NONE)
		json_object_set_new(reply, "sealed", json_boolean(verdict.sealed));
	json_object_set_new(reply, "text", json_string(verdict.text));
	json_object_set_new(reply, "file", json_string(policy->file));
	if (verdict.line)
		json_object_set_new(reply, "line", json_integer(verdict.line));
	if (verdict.vm >= 0)
		json_object_set_new(reply, "vm", json_string(policy->vms[verdict.vm].name));
	return 0;
}
