// SPDX-License-Identifier: BSD-2-Clause
/* The audit log: one line of JSON for each decision. */
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

#define NS_PER_S       1000000000ull
#define NS_PER_LINE    (NS_PER_S / AUDIT_PER_SECOND)
#define BUDGET_FULL_NS (AUDIT_BURST * NS_PER_LINE)

struct audit {
	int fd;
	int64_t (*wall_ms)(void);
	uint64_t counts[SIVP_R_MAX + 1];
	bool failing; /* said so; says so again after the next success */
};

static int64_t real_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct audit *audit_open(const char *path, int64_t (*wall_ms)(void))
{
	struct audit *audit = calloc(1, sizeof(*audit));

	if (!audit)
		return NULL;
	audit->wall_ms = wall_ms ? wall_ms : real_wall_ms;
	if (path)
		audit->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	else
		audit->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	if (audit->fd < 0) {
		free(audit);
		return NULL;
	}
	return audit;
}

void audit_close(struct audit *audit)
{
	if (!audit)
		return;
	close(audit->fd);
	free(audit);
}

uint64_t audit_count(const struct audit *audit, enum sivp_reason reason)
{
	return audit->counts[reason];
}

/* A bucket of time: lines cost NS_PER_LINE of it. */
static bool budget_spend(struct audit_budget *budget, uint64_t now_ns)
{
	if (!budget->started) {
		budget->started = true;
		budget->tokens_ns = BUDGET_FULL_NS;
	} else {
		uint64_t gained = now_ns - budget->last_ns;

		if (gained > BUDGET_FULL_NS - budget->tokens_ns)
			gained = BUDGET_FULL_NS - budget->tokens_ns;
		budget->tokens_ns += gained;
	}
	budget->last_ns = now_ns;
	if (budget->tokens_ns < NS_PER_LINE) {
		budget->dropped++;
		budget->dropped_total++;
		return false;
	}
	budget->tokens_ns -= NS_PER_LINE;
	return true;
}

static void put_string(json_t *line, const char *key, const char *value)
{
	/* json_string() refuses what is not UTF-8: then the key is left out, not the line. */
	if (value && value[0])
		json_object_set_new(line, key, json_string(value));
}

static void put_time(json_t *line, int64_t wall_ms)
{
	char text[64], whole[48];
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm))
		return;
	strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03dZ", whole, (int)(wall_ms % 1000));
	put_string(line, "time", text);
}

static json_t *build(const struct audit *audit, const struct audit_budget *budget,
		     const struct audit_event *event)
{
	json_t *line = json_object();

	if (!line)
		return NULL;
	put_time(line, audit->wall_ms());
	put_string(line, "event", event->event);
	put_string(line, "verdict", event->reason == SIVP_R_NONE ? "allowed" : "refused");
	put_string(line, "reason", sivp_reason_name(event->reason));
	put_string(line, "reported_by", event->reported_by);
	put_string(line, "vm", event->vm);
	put_string(line, "service", event->service);
	put_string(line, "peer_vm", event->peer_vm);
	put_string(line, "peer_service", event->peer_service);
	put_string(line, "spiffe_id", event->spiffe_id);
	put_string(line, "peer_spiffe_id", event->peer_spiffe_id);
	if (event->session)
		json_object_set_new(line, "session", json_integer((json_int_t)event->session));
	if (event->rule)
		json_object_set_new(line, "rule", json_integer(event->rule));
	if (event->resumed)
		json_object_set_new(line, "resumed", json_true());
	if (event->has_caller) {
		json_object_set_new(line, "uid", json_integer(event->uid));
		json_object_set_new(line, "pid", json_integer(event->pid));
	}
	if (budget && budget->dropped)
		json_object_set_new(line, "dropped", json_integer((json_int_t)budget->dropped));
	put_string(line, "text", event->text);
	return line;
}

/* The line with its newline; *@len bytes. NULL: no memory. */
static char *encode(json_t *line, size_t *len)
{
	size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER;
	char *text;

	*len = json_dumpb(line, NULL, 0, flags);
	if (*len >= AUDIT_LINE_MAX) {
		json_object_del(line, "text");
		*len = json_dumpb(line, NULL, 0, flags);
	}
	text = *len ? malloc(*len + 1) : NULL;
	if (!text || json_dumpb(line, text, *len, flags) != *len) {
		free(text);
		return NULL;
	}
	text[(*len)++] = '\n';
	return text;
}

void audit_write(struct audit *audit, struct audit_budget *budget, uint64_t now_ns,
		 const struct audit_event *event)
{
	char *text = NULL;
	json_t *line;
	ssize_t n = -1;
	size_t len;

	audit->counts[event->reason]++;
	if (budget && !budget_spend(budget, now_ns))
		return;
	errno = ENOMEM;
	line = build(audit, budget, event);
	if (line)
		text = encode(line, &len);
	if (text) {
		do {
			n = write(audit->fd, text, len);
		} while (n < 0 && errno == EINTR);
		if (n >= 0 && (size_t)n < len)
			errno = ENOSPC;
	}
	if (text && n == (ssize_t)len) {
		audit->failing = false;
		if (budget)
			budget->dropped = 0;
	} else {
		if (!audit->failing)
			log_error("audit log: a line was lost: %s", strerror(errno));
		audit->failing = true;
	}
	free(text);
	json_decref(line);
}
