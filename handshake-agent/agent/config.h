/* SPDX-License-Identifier: BSD-2-Clause */
/* agent.conf: which processes of this machine may act as which service. */
#ifndef SIVSHMEM_AGENT_CONFIG_H
#define SIVSHMEM_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sivshmem/abi.h>

#include "proto/proto.h"

#define AGENT_CONFIG  "/etc/sivshmem/agent.conf"
#define AGENT_CONTROL "/dev/virtio-ports/org.sivshmem.0"
#define AGENT_ADMIN   "/run/sivshmem/agent.sock"
#define AGENT_STATE   "/var/lib/sivshmem/standalone"

#define AGENT_SERVICES_MAX 64u /* services of one agent.conf */
#define AGENT_ALLOWS_MAX   4096u /* allow rules of one agent.conf */

/* The selectors of a service: all that are there must match. */
struct agent_service {
	char name[SIV_SERVICE_LEN];
	bool has_uid, has_gid;
	uid_t uid; /* effective, initial user namespace */
	gid_t gid;
	char *executable; /* absolute path; NULL: any */
	char *cgroup;     /* below the cgroup file system's root, with its '/'; NULL: any */
	int line;
};

struct agent_allow {
	char from[SIV_SERVICE_LEN], to[SIV_SERVICE_LEN];
	int line;
};

struct agent_config {
	char *path;    /* of the file, for messages */
	char *control; /* the virtio-serial port */
	char *admin;   /* the admin socket */
	struct agent_service *services;
	size_t nr_services;

	/* For --standalone. */
	char *state;   /* folder of its CA */
	char *audit;   /* its audit log; NULL: standard output */
	bool audit_journal; /* with a file: and systemd's journal, where there is one */
	char vm[SIV_VM_LEN];
	char domain[SIVP_DOMAIN_LEN];
	uint64_t size;  /* bytes of the local link */
	struct agent_allow *allows;
	size_t nr_allows;
};

/*
 * Reads @path into @config. Errors go to the log as `path:line: what: what to do`, and the result is
 * false. True: to be freed by agent_config_free().
 */
bool agent_config_load(const char *path, struct agent_config *config);
void agent_config_free(struct agent_config *config);

/* The service of that name, or NULL. */
const struct agent_service *agent_config_service(const struct agent_config *config,
						 const char *name);

#endif
