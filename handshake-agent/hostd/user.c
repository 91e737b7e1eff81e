// SPDX-License-Identifier: BSD-2-Clause
/* hostd's own user. */
#include "user.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/log.h"

#define PASS 0011 /* through the state folder, to a folder of one's own in it */

static bool becomes(const struct host_config *config)
{
	return config->user && geteuid() == 0;
}

static bool failed(const char *path)
{
	log_error("%s: %s", path, strerror(errno));
	return false;
}

static bool make_folder(const char *path, mode_t mode, struct stat *st)
{
	if ((mkdir(path, mode) < 0 && errno != EEXIST) || lstat(path, st) < 0)
		return failed(path);
	if (S_ISDIR(st->st_mode))
		return true;
	errno = ENOTDIR;
	return failed(path);
}

/* Root alone could write in it: what is there is what we have put there. */
static bool give_away(const char *path, uid_t uid, gid_t gid)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	bool ok = folder;

	while (ok && (entry = readdir(folder))) {
		struct stat st;

		if (fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			ok = false;
		else if (S_ISREG(st.st_mode))
			ok = !fchownat(dirfd(folder), entry->d_name, uid, gid,
				       AT_SYMLINK_NOFOLLOW);
	}
	/* last: until then it is tried again */
	ok = ok && !fchown(dirfd(folder), uid, gid);
	if (!ok)
		failed(path);
	if (folder)
		closedir(folder);
	return ok;
}

bool user_make_folders(const struct host_config *config)
{
	struct stat st;

	if (!make_folder(config->state, 0700, &st))
		return false;
	if (becomes(config) && (st.st_mode & PASS) != PASS &&
	    chmod(config->state, (st.st_mode | PASS) & 07777) < 0)
		return failed(config->state);
	if (!make_folder(config->own, 0700, &st))
		return false;
	if (!becomes(config) || st.st_uid == config->uid)
		return true;
	if (st.st_uid == 0 && !(st.st_mode & 022))
		return give_away(config->own, config->uid, config->gid);
	log_error("%s: belongs to uid %u: chown -R %s it, with what is in it", config->own,
		  st.st_uid, config->user);
	return false;
}

bool user_acts(const struct host_config *config, bool own)
{
	uid_t uid = own ? config->uid : geteuid();

	if (!becomes(config))
		return true;
	setfsgid(own ? config->gid : getegid());
	setfsuid(uid);
	/* it says what was so before, and no more; of an id that cannot be it changes nothing */
	if ((uid_t)setfsuid((uid_t)-1) == uid)
		return true;
	log_error("user %s: cannot make files as it: CAP_SETUID is missing", config->user);
	return false;
}

bool user_become(const struct host_config *config)
{
	if (geteuid() != 0)
		return true;
	if (!config->user) {
		log_info("stays root: there is no user for it: see user in host.conf(5)");
		return true;
	}
	if (setgroups(0, NULL) || setresgid(config->gid, config->gid, config->gid) ||
	    setresuid(config->uid, config->uid, config->uid)) {
		log_error("user %s: cannot become it: %s", config->user, strerror(errno));
		return false;
	}
	confine_memory(); /* the change of user has undone it */
	if (access(config->path, R_OK) < 0)
		log_warning("%s: user %s cannot read it: a reload will fail", config->path,
			    config->user);
	return true;
}
