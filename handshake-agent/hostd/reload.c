// SPDX-License-Identifier: BSD-2-Clause
/*
 * host.conf read again. It is taken as a whole or not at all: what is wrong in it, or can hold only
 * after a restart, leaves everything as it was.
 *
 * VMs and links are what sockets, memory and the broker's tables were made of at the start, so they
 * must be the same; who may hold and do what is looked up each time, and may be anything.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/admin.h"
#include "common/log.h"
#include "hostd.h"

#define ADVICE "it holds after a restart of sivshmem-hostd; nothing was changed"

/* Says which key cannot be changed like this, and returns false. Line 0: none is known. */
static bool __attribute__((format(printf, 4, 5)))
needs_restart(const struct host_config *config, FILE *errors, int line, const char *fmt, ...)
{
	va_list args;

	fprintf(errors, line ? "%s:%d: " : "%s: ", config->path, line);
	va_start(args, fmt);
	vfprintf(errors, fmt, args);
	va_end(args);
	fprintf(errors, ": " ADVICE "\n");
	return false;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool top_stays(const struct host_config *old, const struct host_config *new, FILE *errors)
{
	const struct { const char *key, *old, *new; } texts[] = {
		{ "trust-domain", old->policy->domain, new->policy->domain },
		{ "run", old->run, new->run },
		{ "state", old->state, new->state },
		{ "audit", old->audit, new->audit },
		{ "user", old->user, new->user },
	};
	bool ok = true;

	if (old->audit_journal != new->audit_journal)
		ok = needs_restart(new, errors, 0, "audit-journal: is another");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (!same_text(texts[i].old, texts[i].new))
			ok = needs_restart(new, errors, 0, "%s: is another", texts[i].key);
	}
	return ok;
}

static bool vms_stay(const struct host_config *old, const struct host_config *new, FILE *errors)
{
	unsigned int n = old->policy->n_vms;
	bool ok = true;

	for (unsigned int i = 0; i < n || i < new->policy->n_vms; i++) {
		const struct policy_vm *was = &old->policy->vms[i], *is = &new->policy->vms[i];
		const struct host_vm *host_was = &old->vms[i], *host_is = &new->vms[i];

		if (i >= new->policy->n_vms)
			return needs_restart(new, errors, 0, "vm \"%s\": is not there", was->name);
		if (i >= n || strcmp(was->name, is->name) != 0)
			return needs_restart(new, errors, is->line, "vm \"%s\": is new, or in "
					     "another place", is->name);
		if (was->local_size != is->local_size)
			ok = needs_restart(new, errors, is->line, "vm.local-size: is another");
		if (host_was->uid != host_is->uid)
			ok = needs_restart(new, errors, is->line, "vm.user: is another");
		if (strcmp(host_was->control, host_is->control) != 0)
			ok = needs_restart(new, errors, is->line, "vm.control: is another");
	}
	return ok;
}

static bool links_stay(const struct host_config *old, const struct host_config *new, FILE *errors)
{
	unsigned int n = old->policy->n_links;
	bool ok = true;

	for (unsigned int i = 0; i < n || i < new->policy->n_links; i++) {
		const struct policy_link *was = &old->policy->links[i];
		const struct policy_link *is = &new->policy->links[i];

		if (i >= new->policy->n_links)
			return needs_restart(new, errors, 0, "link \"%s\": is not there", was->name);
		/* The name has both VMs, in order. */
		if (i >= n || strcmp(was->name, is->name) != 0)
			return needs_restart(new, errors, is->line, "link \"%s\": is new, or in "
					     "another place", is->name);
		if (was->size != is->size)
			ok = needs_restart(new, errors, is->line, "link.size: is another");
		if (was->timeout_ms != is->timeout_ms)
			ok = needs_restart(new, errors, is->line, "link-timeout: is another");
		if (old->links[i].vectors != new->links[i].vectors)
			ok = needs_restart(new, errors, is->line, "link.vectors: is another");
	}
	return ok;
}

/* What one policy allows, and the other does not. Their VMs are the same. */
struct difference {
	unsigned int services, allows;
};

static struct difference what_only(const struct policy *one, const struct policy *other)
{
	struct difference d = { 0 };

	for (unsigned int vm = 0; vm < one->n_vms; vm++) {
		for (unsigned int i = 0; i < one->vms[vm].n_services; i++)
			d.services += policy_find_service(other, vm,
							  one->vms[vm].services[i].name) < 0;
	}
	for (unsigned int i = 0; i < one->n_allows; i++) {
		d.allows += !policy_allows(other, &one->allows[i]);
	}
	return d;
}

/*
 * The signer reads the file for itself. Other files of the authority are another authority, which it
 * rotates to or not at all.
 */
static bool signer_taken(struct host_admin *admin, const struct host_config *new, FILE *errors)
{
	uint8_t digest[SIV_DIGEST_LEN];
	char error[CA_ERROR_LEN];

	memcpy(digest, ca_digest(admin->ca), sizeof(digest));
	if (signer_reload(admin->signer, error)) {
		fprintf(errors, "%s: ca: %s\n", new->path, error);
		return false;
	}
	if (memcmp(digest, ca_digest(admin->ca), sizeof(digest)) != 0)
		host_ca_rotated(admin);
	return true;
}

/* The new configuration if it can be taken; NULL: @errors says why not. */
static struct host_config *read_again(struct host_admin *admin, FILE *errors)
{
	const struct host_config *old = admin->config;
	struct host_config *new = host_config_load(old->path, errors);
	bool ok;

	if (!new)
		return NULL;
	ok = top_stays(old, new, errors);
	ok = vms_stay(old, new, errors) && ok;
	ok = ok && links_stay(old, new, errors);
	ok = ok && signer_taken(admin, new, errors); /* last: it is done, all else is only looked at */
	if (ok)
		return new;
	host_config_free(new);
	return NULL;
}

/* The new one takes the old one's place, in which everybody looks. */
static void swap_configs(struct host_config *a, struct host_config *b)
{
	struct host_config was = *a;

	*a = *b;
	*b = was;
}

static void log_lines(char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		log_error("%s", line);
}

/* Takes it over; returns what has changed. */
static json_t *take(struct host_admin *admin, struct host_config *new)
{
	struct host_config *config = admin->config;
	struct difference gone = what_only(config->policy, new->policy);
	struct difference come = what_only(new->policy, config->policy);
	struct broker_enforced done;
	struct audit_event event = { .event = "reload" };
	char text[256];

	new->policy->revoked = admin->revoked;
	broker_set_policy(admin->broker, new->policy, &new->limits);
	swap_configs(config, new);
	/* Nobody's connects are to be whole handshakes for a file that was only touched. */
	if (gone.services || gone.allows || come.services || come.allows)
		broker_changed(admin->broker, -1);
	broker_enforce(admin->broker, &done);
	snprintf(text, sizeof(text), "allow rules: %u new, %u gone; services: %u new, %u gone; "
		 "%u channels reset, %u connects rejected", come.allows, gone.allows,
		 come.services, gone.services, done.channels, done.connects);
	event.text = text;
	audit_write(admin->audit, NULL, 0, &event);
	log_info("%s: read again: %s", config->path, text);
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "allows_new", come.allows,
			 "allows_gone", gone.allows, "services_new", come.services,
			 "services_gone", gone.services, "channels", done.channels,
			 "connects", done.connects);
}

int host_reload(struct host_admin *admin, json_t *reply)
{
	struct host_config *new;
	json_t *changes;
	char *text = NULL;
	size_t size = 0;
	FILE *errors = open_memstream(&text, &size);

	if (!errors)
		return admin_error(reply, "out of memory");
	new = read_again(admin, errors);
	fclose(errors);
	if (!new) {
		if (size && text[size - 1] == '\n')
			text[size - 1] = '\0';
		/* All of it, which may be long: one line for each thing that is wrong. */
		json_object_set_new(reply, "error", json_string(text));
		log_lines(text);
		log_error("%s: not read again: all is as it was", admin->config->path);
		free(text);
		return -1;
	}
	changes = take(admin, new);
	json_object_update(reply, changes);
	if (ca_has_former(admin->ca))
		host_ca_status(admin, reply);
	json_decref(changes);
	host_config_free(new); /* the old one's contents */
	free(text);
	return 0;
}
