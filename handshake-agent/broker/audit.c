// SPDX-License-Identifier: BSD-2-Clause
/* The audit log: one line of JSON for each decision. */
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit_journal.h"
#include "common/log.h"
#include "common/loop.h"

#define NS_PER_S       1000000000ull
#define NS_PER_LINE    (NS_PER_S / AUDIT_PER_SECOND)
#define BUDGET_FULL_NS (AUDIT_BURST * NS_PER_LINE)

struct audit {
	int fd;
	int64_t (*wall_ms)(void);
	struct audit_journal *journal; /* NULL: none */
	uint64_t counts[SIVP_R_MAX + 1];
	uint64_t written;
	uint64_t lost, lost_total; /* since the last line that could be written, and so far */
	bool torn; /* the file ends inside a line, for want of room */
	struct loop *loop; /* NULL: nobody tells of dropped lines in time */
	struct loop_timer report;
	struct list dropping; /* budgets with dropped lines that no line has told of */
};

static int64_t real_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void report_due(struct loop_timer *timer);

struct audit *audit_open(const char *path, int64_t (*wall_ms)(void))
{
	struct audit *audit = calloc(1, sizeof(*audit));

	if (!audit)
		return NULL;
	audit->wall_ms = wall_ms ? wall_ms : real_wall_ms;
	audit->report.due = report_due;
	list_init(&audit->dropping);
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
	audit_detach(audit);
	audit_journal_close(audit->journal);
	close(audit->fd);
	free(audit);
}

void audit_set_journal(struct audit *audit, struct audit_journal *journal)
{
	audit_journal_close(audit->journal);
	audit->journal = journal;
}

void audit_attach(struct audit *audit, struct loop *loop)
{
	audit->loop = loop;
}

void audit_detach(struct audit *audit)
{
	loop_timer_cancel(&audit->report);
	audit->loop = NULL;
}

uint64_t audit_count(const struct audit *audit, enum sivp_reason reason)
{
	return audit->counts[reason];
}

struct audit_counts audit_counts(const struct audit *audit)
{
	return (struct audit_counts){
		.written = audit->written,
		.lost = audit->lost_total,
		.journal_lost = audit->journal ? audit_journal_lost(audit->journal) : 0,
	};
}

/* Budgets */

static void report_set(struct audit *audit)
{
	if (audit->loop && !list_empty(&audit->dropping) && !loop_timer_armed(&audit->report))
		loop_timer_set(audit->loop, &audit->report, AUDIT_REPORT_MS * LOOP_NS_PER_MS);
}

static void drop(struct audit *audit, struct audit_budget *budget, enum sivp_reason reason)
{
	if (!budget->dropped++)
		list_add_tail(&audit->dropping, &budget->node);
	budget->dropped_total++;
	budget->dropped_by[reason]++;
	report_set(audit);
}

/* A line has told of them. */
static void drops_told(struct audit_budget *budget)
{
	if (!budget->dropped)
		return;
	list_del(&budget->node);
	budget->dropped = 0;
	memset(budget->dropped_by, 0, sizeof(budget->dropped_by));
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
	if (budget->tokens_ns < NS_PER_LINE)
		return false;
	budget->tokens_ns -= NS_PER_LINE;
	return true;
}

/* Lines */

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

static void put_dropped(json_t *line, const struct audit_budget *budget)
{
	json_t *by;

	if (!budget || !budget->dropped)
		return;
	json_object_set_new(line, "dropped", json_integer((json_int_t)budget->dropped));
	by = json_object();
	for (unsigned int reason = 0; reason <= SIVP_R_MAX; reason++)
		if (budget->dropped_by[reason])
			json_object_set_new(by, sivp_reason_name(reason),
					    json_integer((json_int_t)budget->dropped_by[reason]));
	json_object_set_new(line, "dropped_by", by);
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
	put_dropped(line, budget);
	put_string(line, "text", event->text);
	return line;
}

/* The line with its newline; *@len bytes. NULL: no memory. @torn: ends the one before, too. */
static char *encode(json_t *line, bool torn, size_t *len)
{
	size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER;
	char *text;

	*len = json_dumpb(line, NULL, 0, flags);
	if (*len >= AUDIT_LINE_MAX) {
		json_object_del(line, "text");
		*len = json_dumpb(line, NULL, 0, flags);
	}
	text = *len ? malloc(*len + 2) : NULL;
	if (!text || json_dumpb(line, text + torn, *len, flags) != *len) {
		free(text);
		return NULL;
	}
	if (torn)
		text[0] = '\n';
	*len += torn;
	text[(*len)++] = '\n';
	return text;
}

/* Takes @line, NULL for no memory, over. False: it is lost, and counted. */
static bool put(struct audit *audit, json_t *line)
{
	char *text = NULL;
	ssize_t n = -1;
	size_t len = 0;

	errno = ENOMEM;
	if (line && audit->lost)
		json_object_set_new(line, "lost", json_integer((json_int_t)audit->lost));
	if (line)
		text = encode(line, audit->torn, &len);
	if (text) {
		do {
			n = write(audit->fd, text, len);
		} while (n < 0 && errno == EINTR);
		if (n >= 0 && (size_t)n < len)
			errno = ENOSPC;
		if (n > 0)
			audit->torn = text[n - 1] != '\n';
	}
	if (text && n == (ssize_t)len) {
		audit->written++;
		audit->lost = 0;
	} else {
		/* Said once, and again after the next success. */
		if (!audit->lost++)
			log_error("audit log: a line was lost: %s", strerror(errno));
		audit->lost_total++;
	}
	if (text && audit->journal)
		audit_journal_send(audit->journal, line);
	free(text);
	json_decref(line);
	return !audit->lost;
}

void audit_write(struct audit *audit, struct audit_budget *budget, uint64_t now_ns,
		 const struct audit_event *event)
{
	audit->counts[event->reason]++;
	if (budget)
		(event->reported_by ? budget->reported : budget->refused)[event->reason]++;
	if (budget && !budget_spend(budget, now_ns)) {
		drop(audit, budget, event->reason);
		return;
	}
	if (put(audit, build(audit, budget, event)) && budget)
		drops_told(budget);
}

/* What was dropped of a VM that has no line of its own to come. */
static void report(struct audit *audit, struct audit_budget *budget)
{
	json_t *line = json_object();

	if (line) {
		put_time(line, audit->wall_ms());
		put_string(line, "event", "dropped");
		put_string(line, "vm", budget->vm);
		put_dropped(line, budget);
	}
	if (put(audit, line))
		drops_told(budget);
}

static void report_due(struct loop_timer *timer)
{
	struct audit *audit = container_of(timer, struct audit, report);
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &audit->dropping)
		report(audit, container_of(pos, struct audit_budget, node));
	report_set(audit); /* for those that could not be written */
}

void audit_budget_end(struct audit *audit, struct audit_budget *budget)
{
	if (budget->dropped)
		report(audit, budget);
	drops_told(budget);
}
