/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is revoked: services of VMs, and VMs with all their services. The policy consults it in each
 * decision (policy_decide()); the daemon keeps it in a file (hostd/revocations.h).
 *
 * Names, not indices: what is revoked stays so when the configuration loses that VM and gets it
 * back.
 */
#ifndef SIVSHMEM_REVOKE_H
#define SIVSHMEM_REVOKE_H

#include <stdbool.h>
#include <stdint.h>

#include <sivshmem/abi.h>

#define REVOCATIONS_MAX 1024u

struct revocation {
	char vm[SIV_VM_LEN];
	char service[SIV_SERVICE_LEN]; /* "": the whole VM */
	int64_t since;                 /* seconds since 1970 */
};

struct revocations {
	struct revocation *list;
	unsigned int n;
};

void revocations_free(struct revocations *revoked);

/* That very entry, or NULL. @service "": the one of the whole VM. */
const struct revocation *revocations_find(const struct revocations *revoked, const char *vm,
					  const char *service);

/* May that service of that VM be nobody's? @revoked NULL: nothing is revoked. */
bool revocations_cover(const struct revocations *revoked, const char *vm, const char *service);

/* 0, -EINVAL (a bad name), -EEXIST, -ENOSPC (REVOCATIONS_MAX of them), or -ENOMEM. */
int revocations_add(struct revocations *revoked, const char *vm, const char *service,
		    int64_t since);
/* 0 or -ENOENT. */
int revocations_remove(struct revocations *revoked, const char *vm, const char *service);

#endif
