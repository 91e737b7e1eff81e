/* SPDX-License-Identifier: BSD-2-Clause */
/* host.conf: VMs, their services and links, and who may connect to whom. See host.conf(5). */
#ifndef SIVSHMEM_HOSTD_CONFIG_H
#define SIVSHMEM_HOSTD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/un.h>

#include "broker/broker.h"
#include "broker/policy.h"

#define HOST_CONFIG      "/etc/sivshmem/host.conf"
#define HOST_RUN         "/run/sivshmem"     /* default of `run` */
#define HOST_STATE       "/var/lib/sivshmem" /* default of `state` */
#define HOST_VECTORS     4u         /* default of `vectors` */
#define HOST_VECTORS_MAX 32u        /* as a switch has them */
#define HOST_UID_OWN     ((uid_t)-1)
#define HOST_USER        "sivshmem"          /* default of `user`, if there is one */
#define HOST_OWN         "hostd"             /* in the state folder: what hostd itself writes */
#define HOST_ADMIN       "hostd.sock" /* the admin socket, in the run folder */
#define HOST_SUN_PATH    sizeof(((struct sockaddr_un *)0)->sun_path)

struct host_vm {
	uid_t uid;                   /* of its QEMU; HOST_UID_OWN: root, or who started us */
	char control[HOST_SUN_PATH]; /* where its QEMU connects the control channel */
};

struct host_link {
	uint32_t vectors;          /* QEMU's vectors= must be the same */
	char socket[2][HOST_SUN_PATH]; /* by end: where that QEMU connects, below the run folder */
};

struct host_config {
	char *path;
	struct policy *policy;
	struct host_vm *vms;     /* as policy->vms */
	struct host_link *links; /* as policy->links */
	char *run, *state;       /* folders, absolute */
	char *own;               /* HOST_OWN of state */
	char *user;              /* whom hostd becomes where it was root; NULL: it stays that */
	uid_t uid;               /* its */
	gid_t gid;
	char *audit;             /* file */
	bool audit_journal;      /* and systemd's journal, where there is one */
	char *ca_certificate, *ca_key; /* both or neither */
	uint32_t certificate_lifetime_s;
	struct broker_limits limits;
};

/*
 * Reads @path. What is wrong goes to @errors as `path:line: what: what to do`, one line each, and
 * the result is NULL. Looks at nothing but that file.
 */
struct host_config *host_config_load(const char *path, FILE *errors);
void host_config_free(struct host_config *config);

#endif
