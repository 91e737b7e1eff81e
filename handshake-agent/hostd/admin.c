// SPDX-License-Identifier: BSD-2-Clause
/* What sivctl asks the daemon. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/admin.h"
#include "explain.h"
#include "hostd.h"

static int run_status(void *arg, const json_t *request, json_t *reply)
{
	struct host_admin *admin = arg;

	(void)request;
	json_object_set_new(reply, "role", json_string("host"));
	json_object_set_new(reply, "pid", json_integer(getpid()));
	json_object_set_new(reply, "config", json_string(admin->config->path));
	host_ca_status(admin, reply);
	return broker_status(admin->broker, reply);
}

static int run_channels(void *arg, const json_t *request, json_t *reply)
{
	struct host_admin *admin = arg;

	(void)request;
	return broker_channels(admin->broker, reply);
}

static int run_explain(void *arg, const json_t *request, json_t *reply)
{
	struct host_admin *admin = arg;
	const char *from = json_string_value(json_object_get(request, "from"));
	const char *to = json_string_value(json_object_get(request, "to"));
	char error[EXPLAIN_ERROR_LEN];

	if (!from || !to)
		return admin_error(reply, "explain: it needs \"from\" and \"to\"");
	if (explain(admin->config->policy, from, to, reply, error))
		return admin_error(reply, "%s", error);
	return 0;
}

static int run_reload(void *arg, const json_t *request, json_t *reply)
{
	(void)request;
	return host_reload(arg, reply);
}

static const struct admin_command commands[] = {
	{ "status", run_status },
	{ "channels", run_channels },
	{ "explain", run_explain },
	{ "reload", run_reload },
	{ "ca", run_ca },
	{ "revoke", run_revoke },
	{ "unrevoke", run_unrevoke },
	{ "revocations", run_revocations },
	{ 0 },
};

int host_admin_open(struct host_admin *admin, struct loop *loop)
{
	char path[HOST_SUN_PATH + sizeof(HOST_ADMIN)];

	snprintf(path, sizeof(path), "%s/" HOST_ADMIN, admin->config->run);
	admin->loop = loop;
	admin->admin = admin_new(loop, path, commands, admin);
	if (!admin->admin)
		return -errno;
	host_ca_start(admin);
	return 0;
}

void host_admin_close(struct host_admin *admin)
{
	host_ca_stop(admin);
	admin_free(admin->admin);
	admin->admin = NULL;
}
