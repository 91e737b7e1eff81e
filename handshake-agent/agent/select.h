/* SPDX-License-Identifier: BSD-2-Clause */
/* Which service a process is. */
#ifndef SIVSHMEM_AGENT_SELECT_H
#define SIVSHMEM_AGENT_SELECT_H

#include "config.h"

/*
 * Finds the service that @caller may act as: the one named @bound, or, if that is "", the only one
 * whose selectors match. SIVP_R_NONE: *@service is it; else SIVP_R_NO_SERVICE or SIVP_R_AMBIGUOUS.
 *
 * @cgroup_root: where cgroup v2 is mounted. Paths are looked up at each call: a unit that was
 * restarted has another cgroup, and a package's update another executable. The caller's side was
 * captured by the kernel inside its system call, so nothing that it does meanwhile matters.
 */
enum sivp_reason agent_select(const struct agent_config *config, const char *cgroup_root,
			      const struct siv_caller *caller, const char *bound,
			      const struct agent_service **service);

/* Where cgroup v2 is mounted: "/sys/fs/cgroup", or "/sys/fs/cgroup/unified" on hybrid systems. */
const char *agent_cgroup_root(void);

#endif
