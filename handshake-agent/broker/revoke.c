// SPDX-License-Identifier: BSD-2-Clause
/* What is revoked, in memory. */
#include "revoke.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"

void revocations_free(struct revocations *revoked)
{
	free(revoked->list);
	*revoked = (struct revocations){ 0 };
}

const struct revocation *revocations_find(const struct revocations *revoked, const char *vm,
					  const char *service)
{
	for (unsigned int i = 0; i < revoked->n; i++) {
		const struct revocation *r = &revoked->list[i];

		if (strcmp(r->vm, vm) == 0 && strcmp(r->service, service) == 0)
			return r;
	}
	return NULL;
}

bool revocations_cover(const struct revocations *revoked, const char *vm, const char *service)
{
	return revoked && (revocations_find(revoked, vm, "") ||
			   revocations_find(revoked, vm, service));
}

int revocations_add(struct revocations *revoked, const char *vm, const char *service,
		    int64_t since)
{
	struct revocation *list;

	if (!sivp_name_ok(vm, SIV_VM_LEN) ||
	    (service[0] && !sivp_name_ok(service, SIV_SERVICE_LEN)))
		return -EINVAL;
	if (revocations_find(revoked, vm, service))
		return -EEXIST;
	if (revoked->n == REVOCATIONS_MAX)
		return -ENOSPC;
	list = reallocarray(revoked->list, revoked->n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	revoked->list = list;
	list[revoked->n] = (struct revocation){ .since = since };
	strcpy(list[revoked->n].vm, vm);
	strcpy(list[revoked->n].service, service);
	revoked->n++;
	return 0;
}

int revocations_remove(struct revocations *revoked, const char *vm, const char *service)
{
	const struct revocation *found = revocations_find(revoked, vm, service);
	unsigned int i;

	if (!found)
		return -ENOENT;
	i = (unsigned int)(found - revoked->list);
	memmove(&revoked->list[i], &revoked->list[i + 1],
		(revoked->n - i - 1) * sizeof(revoked->list[0]));
	revoked->n--;
	return 0;
}
