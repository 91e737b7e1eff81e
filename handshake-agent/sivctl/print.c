// SPDX-License-Identifier: BSD-2-Clause
/* Replies of the daemons, for people. What a reply does not have is shown as "-". */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "sivctl.h"

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value && value[0] ? value : "-";
}

static intmax_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *yes_no(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key)) ? "yes" : "no";
}

/* "64M", "8K", "100": a size that is a whole number of something, or bytes. */
static const char *size_text(intmax_t bytes, char out[32])
{
	static const char units[] = "KMGT";
	int unit = -1;

	while (bytes && bytes % 1024 == 0 && unit < 3) {
		bytes /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(out, 32, "%jd", bytes);
	else
		snprintf(out, 32, "%jd%c", bytes, units[unit]);
	return out;
}

/* Strings of an array with spaces between. */
static void print_words(const json_t *array, FILE *out)
{
	const json_t *word;
	size_t i;

	if (!json_array_size(array))
		fputs(" -", out);
	json_array_foreach(array, i, word)
		fprintf(out, " %s", json_string_value(word) ?: "-");
	fputc('\n', out);
}

/* " a 1, b 2" of {"a": 1, "b": 2}; nothing for what is empty. */
static void print_reasons(const char *what, const json_t *reasons, FILE *out)
{
	const json_t *count;
	const char *reason, *before = " ";

	if (!json_object_size(reasons))
		return;
	fputs(what, out);
	json_object_foreach((json_t *)reasons, reason, count) {
		fprintf(out, "%s%s %jd", before, reason, (intmax_t)json_integer_value(count));
		before = ", ";
	}
	fputc('\n', out);
}

/* As RFC 3339 has it, in UTC. */
static const char *time_text(intmax_t seconds, char out[64])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, 64, "%Y-%m-%dT%H:%M:%SZ", &tm))
		strcpy(out, "-");
	return out;
}

/* The host */

void print_ca(const json_t *reply, FILE *out)
{
	const json_t *now = json_object_get(reply, "authority");
	const json_t *former = json_object_get(reply, "former_authority");
	char when[64];

	fprintf(out, "authority: %s, sha256 %.16s, until %s\n", text(now, "name"),
		text(now, "sha256"), time_text(number(now, "not_after"), when));
	if (!former)
		return;
	fprintf(out, "former authority: %s, sha256 %.16s, trusted until %s at most\n"
		"    agents that have not renewed: %jd\n", text(former, "name"),
		text(former, "sha256"), time_text(number(former, "until"), when),
		number(former, "not_renewed"));
}

/* What a VM has connected: in all, and by service. */
static void print_opened(const json_t *opened, FILE *out)
{
	const json_t *services = json_object_get(opened, "services"), *taken;
	const char *service, *before = ":";
	char size[32];

	if (!number(opened, "channels"))
		return;
	fprintf(out, "    connected: %jd channels, %s", number(opened, "channels"),
		size_text(number(opened, "memory"), size));
	json_object_foreach((json_t *)services, service, taken) {
		fprintf(out, "%s %s %jd, %s", before, service, number(taken, "channels"),
			size_text(number(taken, "memory"), size));
		before = ";";
	}
	fputc('\n', out);
}

static void print_host_vm(const json_t *vm, FILE *out)
{
	fprintf(out, "vm %s: %s\n", text(vm, "vm"), text(vm, "state"));
	fputs("    services:", out);
	print_words(json_object_get(vm, "services"), out);
	fputs("    listening:", out);
	print_words(json_object_get(vm, "listening"), out);
	fprintf(out,
		"    connects: %jd asked, %jd granted, %jd refused, %jd on their way\n"
		"    certificates: %jd%s\n",
		number(vm, "opens"), number(vm, "granted"), number(vm, "refused"),
		number(vm, "sessions"), number(vm, "certificates"),
		!json_object_get(vm, "renewed") ? "" :
		json_is_true(json_object_get(vm, "renewed")) ?
			", all of the present authority" : ", not renewed yet");
	print_opened(json_object_get(vm, "opened"), out);
	print_reasons("    refused:", json_object_get(vm, "refusals"), out);
	print_reasons("    refused, as guests say:", json_object_get(vm, "reported"), out);
	if (number(vm, "violations") || number(vm, "audit_dropped"))
		fprintf(out, "    violations: %jd; lines not written to the audit log: %jd\n",
			number(vm, "violations"), number(vm, "audit_dropped"));
}

static void print_host_link(const json_t *link, FILE *out)
{
	char size[32], used[32];
	const json_t *end;
	size_t i;

	fprintf(out, "link %s: %s, epoch %jd, %jd channels, %s of %s used\n", text(link, "link"),
		text(link, "state"), number(link, "epoch"), number(link, "channels"),
		size_text(number(link, "used"), used), size_text(number(link, "size"), size));
	json_array_foreach(json_object_get(link, "ends"), i, end) {
		fprintf(out, "    end %zu: vm %s, QEMU %s, kernel %s, grants %s\n", i,
			text(end, "vm"), yes_no(end, "joined"), yes_no(end, "kernel"),
			yes_no(end, "acknowledged"));
	}
}

static void print_host_status(const json_t *status, FILE *out)
{
	const json_t *audit = json_object_get(status, "audit");
	const json_t *item;
	size_t i;

	fprintf(out, "sivshmem-hostd %jd: trust domain %s, %s\n", number(status, "pid"),
		text(status, "trust_domain"), text(status, "config"));
	print_ca(status, out);
	json_array_foreach(json_object_get(status, "vms"), i, item)
		print_host_vm(item, out);
	json_array_foreach(json_object_get(status, "links"), i, item)
		print_host_link(item, out);
	print_reasons("refused:", json_object_get(status, "refused"), out);
	fprintf(out, "audit log: %jd lines written, %jd lost", number(audit, "written"),
		number(audit, "lost"));
	if (number(audit, "journal_lost"))
		fprintf(out, ", %jd not taken by the journal", number(audit, "journal_lost"));
	fputc('\n', out);
}

/* A guest */

static void print_agent_status(const json_t *status, FILE *out)
{
	const json_t *item;
	char size[32];
	size_t i;

	fprintf(out, "sivshmem-agent: vm %s, trust domain %s, module %s, host %s\n",
		text(status, "vm"), text(status, "trust_domain"), yes_no(status, "module"),
		text(status, "host"));
	json_array_foreach(json_object_get(status, "services"), i, item) {
		fprintf(out, "service %s: %s, %jd listeners, %s", text(item, "name"),
			text(item, "state"), number(item, "listeners"), text(item, "spiffe_id"));
		if (json_object_get(item, "reason"))
			fprintf(out, ", %s", text(item, "reason"));
		fputc('\n', out);
	}
	json_array_foreach(json_object_get(status, "links"), i, item) {
		fprintf(out, "link %s: %s, %s, peer %s, epoch %jd, %s\n", text(item, "name"),
			text(item, "kind"),
			json_is_true(json_object_get(item, "up")) ? "up" : "down",
			text(item, "peer_vm"), number(item, "epoch"),
			size_text(number(item, "size"), size));
		if (number(item, "violations") || number(item, "bad_events") ||
		    number(item, "floods"))
			fprintf(out, "    its peer: %jd channels reset for what it wrote, "
				"%jd impossible events, %jd floods of doorbells\n",
				number(item, "violations"), number(item, "bad_events"),
				number(item, "floods"));
	}
	fprintf(out, "connects: %jd made, %jd accepted, %jd of them resumed, %jd refused, "
		"%jd on their way\n", number(status, "connected"), number(status, "accepted"),
		number(status, "resumed"), number(status, "refused"), number(status, "sessions"));
	print_reasons("refused:", json_object_get(status, "refusals"), out);
	if (number(status, "violations"))
		fprintf(out, "channels reset because the peer broke the rules: %jd\n",
			number(status, "violations"));
	if (number(status, "unreported"))
		fprintf(out, "refusals not reported to the host yet: %jd\n",
			number(status, "unreported"));
}

void print_forget(const json_t *reply, FILE *out)
{
	fprintf(out, "%jd tickets forgotten\n", number(reply, "forgotten"));
}

void print_status(const json_t *status, FILE *out)
{
	if (strcmp(text(status, "role"), "host") == 0)
		print_host_status(status, out);
	else
		print_agent_status(status, out);
}

/* Channels */

static void print_host_channel(const json_t *channel, FILE *out)
{
	const json_t *client = json_object_get(channel, "client");
	const json_t *server = json_object_get(channel, "server");
	char to_server[32], to_client[32];

	fprintf(out, "%s slot %jd: %s/%s -> %s/%s, %s, %s + %s, %jd s\n", text(channel, "link"),
		number(channel, "slot"), text(client, "vm"), text(client, "service"),
		text(server, "vm"), text(server, "service"), text(channel, "state"),
		size_text(number(channel, "to_server_bytes"), to_server),
		size_text(number(channel, "to_client_bytes"), to_client),
		number(channel, "age_ms") / 1000);
}

static void print_agent_channel(const json_t *channel, FILE *out)
{
	bool server = strcmp(text(channel, "role"), "server") == 0;

	fprintf(out, "%s slot %jd: %s %s %s/%s, %s%s, uid %jd, sent %jd, received %jd\n",
		text(channel, "link"), number(channel, "slot"), text(channel, "service"),
		server ? "<-" : "->", text(channel, "peer_vm"), text(channel, "peer_service"),
		text(channel, "state"),
		json_is_true(json_object_get(channel, "sealed")) ? ", sealed" : "",
		number(channel, "uid"), number(channel, "tx_bytes"), number(channel, "rx_bytes"));
}

void print_channels(const json_t *reply, FILE *out)
{
	const json_t *channels = json_object_get(reply, "channels"), *channel;
	size_t i;

	json_array_foreach(channels, i, channel) {
		if (json_object_get(channel, "client"))
			print_host_channel(channel, out);
		else
			print_agent_channel(channel, out);
	}
	if (!json_array_size(channels))
		fputs("no channels\n", out);
}

void print_reload(const json_t *reply, FILE *out)
{
	fprintf(out, "allow rules: %jd new, %jd gone\nservices: %jd new, %jd gone\n"
		"%jd channels reset, %jd connects rejected\n", number(reply, "allows_new"),
		number(reply, "allows_gone"), number(reply, "services_new"),
		number(reply, "services_gone"), number(reply, "channels"),
		number(reply, "connects"));
	if (json_object_get(reply, "former_authority"))
		print_ca(reply, out);
}

void print_revoke(const json_t *reply, FILE *out)
{
	const json_t *channel = json_object_get(reply, "channel");

	if (channel) {
		fputs("reset: ", out);
		print_host_channel(channel, out);
		return;
	}
	fprintf(out, "%s: %jd channels reset, %jd connects rejected\n",
		json_is_true(json_object_get(reply, "again")) ? "revoked before" : "revoked",
		number(reply, "channels"), number(reply, "connects"));
}

void print_unrevoke(const json_t *reply, FILE *out)
{
	(void)reply;
	fputs("not revoked any more: policy decides again\n", out);
}

void print_revocations(const json_t *reply, FILE *out)
{
	const json_t *list = json_object_get(reply, "revocations"), *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		const char *service = json_string_value(json_object_get(entry, "service"));
		char when[64];

		fprintf(out, "%s %s%s%s since %s\n", service ? "service" : "vm", text(entry, "vm"),
			service ? "/" : "", service ?: "",
			time_text(number(entry, "since"), when));
	}
	if (!json_array_size(list))
		fputs("nothing is revoked\n", out);
}

void print_explain(const json_t *reply, FILE *out)
{
	bool refused = strcmp(text(reply, "verdict"), "refused") == 0;

	fprintf(out, "%s -> %s: %s", text(reply, "from"), text(reply, "to"),
		text(reply, "verdict"));
	if (refused)
		fprintf(out, " (%s, %s)", text(reply, "reason"), text(reply, "errno"));
	fprintf(out, "\n    %s\n", text(reply, "text"));
}
