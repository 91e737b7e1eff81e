/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy in memory: which VMs there are, which services each may hold, which pairs of VMs have
 * a link, and which service may connect to which. What is not allowed is refused.
 *
 * Built once by policy_add_*() from a configuration file (or, by sivshmem-agent --standalone, from
 * its own), then only read. Line numbers are those of the file that a rule came from, so that every
 * verdict can name the line that gave it.
 */
#ifndef SIVSHMEM_POLICY_H
#define SIVSHMEM_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sivshmem/abi.h>

#include "proto/proto.h"
#include "revoke.h"

#define POLICY_VMS_MAX      256u /* VMs of a host */
#define POLICY_SERVICES_MAX 64u  /* services of a VM */
#define POLICY_LINKS_MAX    256u /* links of a host, as a switch has them */
#define POLICY_ALLOWS_MAX   4096u
#define POLICY_LINK_LEN     (2 * SIV_VM_LEN + 2) /* "VM--VM" and the NUL */

/* What a VM, or a service of one, may take by connecting. 0: nothing is said about it. */
struct policy_limits {
	uint32_t opens_per_second;
	uint32_t opens_burst; /* opens at once, after a quiet time */
	uint32_t channels;
	uint64_t memory; /* bytes of links that its channels take */
};

struct policy_service {
	char name[SIV_SERVICE_LEN];
	struct policy_limits limits;
};

struct policy_vm {
	char name[SIV_VM_LEN];
	struct policy_service *services;
	unsigned int n_services;
	uint64_t local_size; /* bytes of the link inside the VM */
	struct policy_limits limits;
	int line;
};

struct policy_link {
	char name[POLICY_LINK_LEN];
	unsigned int vm[2]; /* indices into policy.vms; end 0 and end 1 */
	uint64_t size;      /* bytes */
	uint32_t timeout_ms; /* heartbeat; 0: none */
	int line;
};

struct policy_allow {
	unsigned int from_vm, to_vm;
	char from_service[SIV_SERVICE_LEN];
	char to_service[SIV_SERVICE_LEN];
	int line;
	bool sealed; /* its channels are; set by who has added it */
};

struct policy {
	char *file; /* for messages */
	char domain[SIVP_DOMAIN_LEN];
	struct policy_vm *vms;
	unsigned int n_vms;
	struct policy_link *links;
	unsigned int n_links;
	struct policy_allow *allows;
	unsigned int n_allows;
	const struct revocations *revoked; /* borrowed; refused whatever the rest says. NULL: none */
};

/* NULL: no memory. */
struct policy *policy_new(const char *file, const char *domain);
void policy_free(struct policy *policy);

/*
 * 0 and, where there is one, the index of what was added; else
 *   -EINVAL  a name is not [a-z0-9._-] with a letter or digit first, or too long
 *   -EEXIST  there is one already
 *   -ENOENT  no such VM
 *   -ENOKEY  that VM does not hold that service
 *   -ENOLINK policy_add_allow(): two VMs that no link connects
 *   -ELOOP   policy_add_link(): a VM with itself, which has its local link anyway
 *   -ENOSPC  beyond a limit above
 *   -ENOMEM
 */
int policy_add_vm(struct policy *policy, const char *name, uint64_t local_size, int line);
int policy_add_service(struct policy *policy, unsigned int vm, const char *service);
int policy_add_link(struct policy *policy, unsigned int vm0, unsigned int vm1, uint64_t size,
		    uint32_t timeout_ms, int line);
int policy_add_allow(struct policy *policy, unsigned int from_vm, const char *from_service,
		     unsigned int to_vm, const char *to_service, int line);

/* Of VM @vm's service @service; -1: of the VM itself, which is all of them together. */
void policy_set_limits(struct policy *policy, unsigned int vm, int service,
		       const struct policy_limits *limits);

/* Index, or -1. */
int policy_find_vm(const struct policy *policy, const char *name);
int policy_find_service(const struct policy *policy, unsigned int vm, const char *service);
int policy_find_link(const struct policy *policy, unsigned int vm_a, unsigned int vm_b);

/* Is there that rule, on the same terms? */
bool policy_allows(const struct policy *policy, const struct policy_allow *allow);

struct policy_verdict {
	enum sivp_reason reason; /* SIVP_R_NONE: allowed. Nothing else is. */
	int vm;                  /* the target's index, with "" resolved; -1: none */
	int link;                /* index; -1: the local link (vm is the caller), or refused */
	int line;                /* that decided; 0: no line did, which is a refusal */
	bool sealed;             /* allowed, if the channel is sealed */
	char text[256];          /* for people: "allowed by host.conf:12" */
};

/* May @service of VM @from connect to @to_service of the VM named @to_vm ("" : find it)? */
void policy_decide(const struct policy *policy, unsigned int from, const char *service,
		   const char *to_vm, const char *to_service, struct policy_verdict *verdict);

/* For what is open or under way: allowed on other terms is refused, and may come again on those. */
void policy_on_terms(struct policy_verdict *verdict, bool sealed);

#endif
