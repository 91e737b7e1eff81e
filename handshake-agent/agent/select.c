// SPDX-License-Identifier: BSD-2-Clause
/* Selectors against what the kernel captured of a caller. */
#include "select.h"

#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* A cgroup's id is the inode of its folder. */
static bool in_cgroup(const char *root, const char *cgroup, uint64_t id)
{
	char path[PATH_MAX];
	struct stat st;
	int len = snprintf(path, sizeof(path), "%s%s", root, cgroup);

	if (len < 0 || (size_t)len >= sizeof(path) || stat(path, &st))
		return false;
	return S_ISDIR(st.st_mode) && id && st.st_ino == id;
}

static bool runs(const char *executable, const struct siv_caller *caller)
{
	struct stat st;

	if (stat(executable, &st))
		return false;
	return S_ISREG(st.st_mode) && caller->exe_ino && st.st_ino == caller->exe_ino &&
	       st.st_dev == caller->exe_dev;
}

static bool matches(const struct agent_service *s, const char *cgroup_root,
		    const struct siv_caller *caller)
{
	const __u32 initial = SIV_CALLER_INIT_NETNS | SIV_CALLER_INIT_MNTNS;

	if (s->has_uid && s->uid != caller->uid)
		return false;
	if (s->has_gid && s->gid != caller->gid)
		return false;
	if (s->cgroup) {
		if (!in_cgroup(cgroup_root, s->cgroup, caller->cgroup_id))
			return false;
	} else if ((caller->flags & initial) != initial) {
		/* A container's processes share uids with the rest: only its cgroup tells. */
		return false;
	}
	if (s->executable && !runs(s->executable, caller))
		return false;
	/* The configuration refuses such a service; a zeroed one must not match all the same. */
	return s->has_uid || s->has_gid || s->cgroup;
}

enum sivp_reason agent_select(const struct agent_config *config, const char *cgroup_root,
			      const struct siv_caller *caller, const char *bound,
			      const struct agent_service **service)
{
	const struct agent_service *found = NULL;

	*service = NULL;
	if (bound[0]) {
		found = agent_config_service(config, bound);
		if (!found || !matches(found, cgroup_root, caller))
			return SIVP_R_NO_SERVICE;
		*service = found;
		return SIVP_R_NONE;
	}
	for (size_t i = 0; i < config->nr_services; i++) {
		if (!matches(&config->services[i], cgroup_root, caller))
			continue;
		if (found)
			return SIVP_R_AMBIGUOUS;
		found = &config->services[i];
	}
	if (!found)
		return SIVP_R_NO_SERVICE;
	*service = found;
	return SIVP_R_NONE;
}

const char *agent_cgroup_root(void)
{
	struct statfs fs;

	if (!statfs("/sys/fs/cgroup/unified", &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
		return "/sys/fs/cgroup/unified";
	return "/sys/fs/cgroup";
}
