/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostd's part of a connect without VMs: the broker's own code, and at the other end of its one
 * stream a script that says what an agent says. Both are in this process and take turns, so that
 * what is measured is work and no waiting. The VM connects to itself, over its local link.
 */
#ifndef BENCH_HOST_WORLD_H
#define BENCH_HOST_WORLD_H

#include <stdbool.h>
#include <stdint.h>

struct world_options {
	const char *folder;       /* of the CA's key, the journal and the audit log */
	unsigned int rules;       /* of the policy; the one that allows the connect is the last */
	unsigned int revocations; /* of other services of that VM */
	bool journal;
	/* Time stands still: after AUDIT_BURST connects their lines are counted and not written. */
	bool audit_spent;
	bool confined; /* as hostd, from the end of world_open() on; cannot be taken back */
};

struct world;

/* Makes what all worlds of @folder share. Exits where anything fails, as all of these do. */
void world_prepare(const char *folder);
struct world *world_open(const struct world_options *options);

/*
 * One connect, and its end. Returns the nanoseconds from OPEN until the broker is through with the
 * second ATTACHED; closing and giving the channel back come after that.
 */
uint64_t world_connect(struct world *world);

#endif
