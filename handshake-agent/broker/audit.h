/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit log: one line of JSON for each decision, appended in one write(2).
 *
 *   time         RFC 3339, UTC, milliseconds
 *   event        "connect", "enrol", "violation", "incarnation", "listen", "guest"
 *   verdict      "allowed" or "refused"
 *   reason       sivp_reason_name(); "none" where allowed
 *   vm, service, peer_vm, peer_service, spiffe_id, peer_spiffe_id, session, uid, pid, rule, text
 *                where they are known
 *   reported_by  the VM that says so, where the host did not see it itself; such a line proves
 *                nothing about any other VM
 *   dropped      lines of that VM that its budget did not allow since its last one
 *
 * Each VM has a budget of lines, so that none can fill the disk or push others' lines out.
 */
#ifndef SIVSHMEM_AUDIT_H
#define SIVSHMEM_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/proto.h"

#define AUDIT_BURST      200u /* lines of one VM at once ... */
#define AUDIT_PER_SECOND 20u  /* ... and in the long run */
#define AUDIT_LINE_MAX   4096u /* bytes; a longer line loses its text */

struct audit;

struct audit_budget {
	uint64_t tokens_ns; /* time that has not been spent on lines */
	uint64_t last_ns;
	bool started;
	uint64_t dropped; /* since the last line, and */
	uint64_t dropped_total;
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

/*
 * Appends to @path, made with mode 0640; NULL: to standard output. NULL and errno on failure.
 * @wall_ms: the clock, milliseconds since 1970; NULL: CLOCK_REALTIME.
 */
struct audit *audit_open(const char *path, int64_t (*wall_ms)(void));
void audit_close(struct audit *audit);

/* @budget: of the VM that caused it; NULL: unlimited. @now_ns: loop time. */
void audit_write(struct audit *audit, struct audit_budget *budget, uint64_t now_ns,
		 const struct audit_event *event);

/* Events so far with that reason, written or dropped. */
uint64_t audit_count(const struct audit *audit, enum sivp_reason reason);

#endif
