// SPDX-License-Identifier: BSD-2-Clause
/*
 * The authority is replaced while everything runs: `sivctl ca rotate`, or a reload with other files
 * in ca { }. The former one is trusted until no agent that is here uses a certificate of it any
 * more; until the last of them has expired, where an agent never says so; or until `sivctl ca drop`.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/admin.h"
#include "common/log.h"
#include "hostd.h"

#define LOOK_LATEST_S 3600 /* until the time is looked at again: the clock may be set meanwhile */

static void look_in(struct host_admin *admin, int64_t seconds)
{
	if (seconds > LOOK_LATEST_S)
		seconds = LOOK_LATEST_S;
	if (loop_timer_set(admin->loop, &admin->ca_timer,
			   (uint64_t)seconds * 1000 * LOOP_NS_PER_MS))
		log_error("ca: out of memory: end the rotation by sivctl ca drop");
}

static void audit_ca(struct host_admin *admin, const char *what, const char *text)
{
	const struct audit_event event = { .event = what, .text = text };

	audit_write(admin->audit, NULL, 0, &event);
	log_info("%s: %s", what, text);
}

/* 0, or -1 with a text. */
static int drop(struct host_admin *admin, const char *why, char error[CA_ERROR_LEN])
{
	char text[CA_NAME_LEN + 128];
	struct ca_info former = { 0 };

	ca_describe_former(admin->ca, &former);
	if (signer_drop(admin->signer, error))
		return -1;
	loop_timer_cancel(&admin->ca_timer);
	snprintf(text, sizeof(text), "%s is trusted no more: %s", former.name, why);
	audit_ca(admin, "ca-drop", text);
	broker_trust_changed(admin->broker);
	return 0;
}

static void ca_due(struct loop_timer *timer)
{
	struct host_admin *admin = container_of(timer, struct host_admin, ca_timer);
	char error[CA_ERROR_LEN];
	const char *why = NULL;
	struct ca_info former;
	int64_t left;

	if (!ca_describe_former(admin->ca, &former))
		return;
	left = former.until - (int64_t)time(NULL);
	if (left <= 0)
		why = "all that it had issued has expired";
	/* Of nobody's being here nothing follows: just after a start that is always so. */
	else if (admin->ca_renewed && !broker_not_renewed(admin->broker))
		why = "every agent has renewed its certificates";
	if (why && drop(admin, why, error)) {
		log_error("%s: the former authority is still trusted", error);
		left = LOOK_LATEST_S;
	}
	if (ca_has_former(admin->ca))
		look_in(admin, left);
}

void host_ca_look(struct host_admin *admin)
{
	if (admin->ca && ca_has_former(admin->ca))
		look_in(admin, 0);
}

void host_ca_renewed(struct host_admin *admin)
{
	admin->ca_renewed = true;
	host_ca_look(admin);
}

void host_ca_start(struct host_admin *admin)
{
	admin->ca_timer.due = ca_due;
	host_ca_look(admin);
}

void host_ca_stop(struct host_admin *admin)
{
	loop_timer_cancel(&admin->ca_timer);
}

void host_ca_rotated(struct host_admin *admin)
{
	char text[2 * CA_NAME_LEN + 64];
	struct ca_info now, former;

	ca_describe(admin->ca, &now);
	ca_describe_former(admin->ca, &former);
	snprintf(text, sizeof(text), "%s issues; trusted on: %s", now.name, former.name);
	audit_ca(admin, "ca-rotate", text);
	admin->ca_renewed = false;
	broker_trust_changed(admin->broker);
	host_ca_look(admin);
}

static json_t *info_json(const struct ca_info *info)
{
	char hex[2 * sizeof(info->digest) + 1];

	for (size_t i = 0; i < sizeof(info->digest); i++)
		snprintf(hex + 2 * i, 3, "%02x", info->digest[i]);
	return json_pack("{s:s, s:s, s:I}", "name", info->name, "sha256", hex, "not_after",
			 (json_int_t)info->not_after);
}

void host_ca_status(const struct host_admin *admin, json_t *reply)
{
	struct ca_info info;
	json_t *former;

	ca_describe(admin->ca, &info);
	json_object_set_new(reply, "authority", info_json(&info));
	if (!ca_describe_former(admin->ca, &info))
		return;
	former = info_json(&info);
	json_object_set_new(former, "until", json_integer(info.until));
	json_object_set_new(former, "not_renewed",
			    json_integer(broker_not_renewed(admin->broker)));
	json_object_set_new(reply, "former_authority", former);
}

int run_ca(void *arg, const json_t *request, json_t *reply)
{
	const char *what = json_string_value(json_object_get(request, "what")) ?: "";
	struct host_admin *admin = arg;
	char error[CA_ERROR_LEN];
	int err;

	if (strcmp(what, "rotate") == 0) {
		err = signer_rotate(admin->signer, error);
		if (!err)
			host_ca_rotated(admin);
	} else if (strcmp(what, "drop") == 0) {
		err = drop(admin, "by sivctl ca drop", error);
	} else {
		return admin_error(reply, "ca: \"%.64s\": one of rotate, drop", what);
	}
	if (err)
		return admin_error(reply, "%s", error);
	host_ca_status(admin, reply);
	return 0;
}
