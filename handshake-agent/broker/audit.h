/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit log: one line of JSON for each decision, appended in one write(2).
 *
 *   time         RFC 3339, UTC, milliseconds
 *   event        "connect", "enrol", "violation", "incarnation", "listen", "guest", "reset",
 *                "revoke", "unrevoke", "reload", "ca-rotate", "ca-drop"; "dropped": a line that
 *                says only how many others are missing
 *   verdict      "allowed" or "refused"
 *   reason       sivp_reason_name(); "none" where allowed
 *   vm, service, peer_vm, peer_service, spiffe_id, peer_spiffe_id, session, uid, pid, rule, text
 *                where they are known
 *   reported_by  the VM that says so, where the host did not see it itself; such a line proves
 *                nothing about any other VM
 *   dropped      lines of that VM that its budget did not allow since its last one;
 *   dropped_by   the same by reason
 *   lost         lines, of whichever VM, that could not be written since the last that could
 *
 * Each VM has a budget of lines, so that none can fill the disk or push others' lines out. What it
 * did not allow is said by the next line that it does, or else by a line of its own, within
 * AUDIT_REPORT_MS and when the VM's part of the broker ends: no count is lost.
 */
#ifndef SIVSHMEM_AUDIT_H
#define SIVSHMEM_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/list.h"
#include "proto/proto.h"

#define AUDIT_BURST      200u /* lines of one VM at once ... */
#define AUDIT_PER_SECOND 20u  /* ... and in the long run */
#define AUDIT_REPORT_MS  10000u /* the longest that a count of dropped lines waits for a line */
#define AUDIT_LINE_MAX   4096u /* bytes; a longer line loses its text */

struct audit;
struct audit_journal;
struct loop;

/* Of a VM. All zero but its name is a new one; audit_budget_end() before its memory goes. */
struct audit_budget {
	const char *vm;
	uint64_t tokens_ns; /* time that has not been spent on lines */
	uint64_t last_ns;
	bool started;
	uint64_t dropped; /* since the last line, and */
	uint64_t dropped_total;
	uint64_t dropped_by[SIVP_R_MAX + 1]; /* as dropped */
	struct list node; /* of those whose drops were not told yet; while dropped is not 0 */
	/* Refusals so far, written or dropped: seen by the host, and as the VM says of itself. */
	uint64_t refused[SIVP_R_MAX + 1], reported[SIVP_R_MAX + 1];
};

struct audit_event {
	const char *event;
	enum sivp_reason reason; /* SIVP_R_NONE: allowed */
	const char *vm, *service, *peer_vm, *peer_service; /* NULL or "": unknown */
	const char *spiffe_id, *peer_spiffe_id;
	const char *reported_by;
	const char *text;
	uint64_t session; /* 0: none */
	int rule;         /* line of host.conf; 0: none */
	bool resumed;     /* an earlier handshake, as both agents say */
	bool has_caller;
	uint32_t uid, pid;
};

struct audit_counts {
	uint64_t written, lost, journal_lost;
};

/*
 * Appends to @path, made with mode 0640; NULL: to standard output. NULL and errno on failure.
 * @wall_ms: the clock, milliseconds since 1970; NULL: CLOCK_REALTIME.
 */
struct audit *audit_open(const char *path, int64_t (*wall_ms)(void));
void audit_close(struct audit *audit);

/* Sends each line to @journal as well, which is taken over. NULL: to none. */
void audit_set_journal(struct audit *audit, struct audit_journal *journal);

/* From here on dropped lines are counted in the log in time; until audit_detach(). */
void audit_attach(struct audit *audit, struct loop *loop);
void audit_detach(struct audit *audit);

/* @budget: of the VM that caused it; NULL: unlimited. @now_ns: loop time. */
void audit_write(struct audit *audit, struct audit_budget *budget, uint64_t now_ns,
		 const struct audit_event *event);

/* Writes what was dropped and not told yet. */
void audit_budget_end(struct audit *audit, struct audit_budget *budget);

/* Events so far with that reason, written or dropped. */
uint64_t audit_count(const struct audit *audit, enum sivp_reason reason);
struct audit_counts audit_counts(const struct audit *audit);

#endif
