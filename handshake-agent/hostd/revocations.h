/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is revoked, as a file in the state folder: a text in the syntax of host.conf(5), which only
 * sivshmem-hostd writes. It is replaced as a whole, and its last line counts the entries, so that
 * one that was cut off does not pass for a whole one.
 */
#ifndef SIVSHMEM_HOSTD_REVOCATIONS_H
#define SIVSHMEM_HOSTD_REVOCATIONS_H

#include <stdio.h>

#include "broker/revoke.h"

#define REVOCATIONS_FILE "revocations" /* in the state folder */

/*
 * Reads the file of folder @state into @revoked, which is empty; a file that is not there has
 * nothing. 0, or -1 and `path:line: what: what to do` in @errors: then nothing is known, and nothing
 * may be allowed.
 */
int revocations_load(const char *state, struct revocations *revoked, FILE *errors);

/*
 * Replaces the file; it is on the disk when this returns. 0, or -errno: the old one stays, or (if
 * the folder alone could not be synced) either may be there after a power cut.
 */
int revocations_save(const char *state, const struct revocations *revoked);

#endif
