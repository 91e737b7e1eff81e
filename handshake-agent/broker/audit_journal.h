/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Audit lines for systemd's journal, by its native protocol: MESSAGE is the line as it is in the
 * file, and each of its keys is a field of its own, SIVSHMEM_VM for "vm" and so on.
 * Spoken here and not by libsystemd, which would be loaded, with what it needs, into each process
 * that holds keys.
 */
#ifndef SIVSHMEM_AUDIT_JOURNAL_H
#define SIVSHMEM_AUDIT_JOURNAL_H

#include <jansson.h>
#include <stdint.h>

#define AUDIT_JOURNAL_SOCKET "/run/systemd/journal/socket"
#define AUDIT_JOURNAL_NAME   "sivshmem-audit" /* SYSLOG_IDENTIFIER: journalctl -t */

struct audit_journal;

/* NULL and errno: no memory, or (ENOENT) there is no journal at @path. */
struct audit_journal *audit_journal_open(const char *path);
void audit_journal_close(struct audit_journal *journal);

/* Never waits: what the journal does not take at once is counted. */
void audit_journal_send(struct audit_journal *journal, const json_t *line);
uint64_t audit_journal_lost(const struct audit_journal *journal);

#endif
