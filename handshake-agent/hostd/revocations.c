// SPDX-License-Identifier: BSD-2-Clause
/* What is revoked, as a file. */
#include "revocations.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_parse.h"

static cfg_opt_t entry_opts[] = {
	CFG_INT("since", 0, CFGF_NODEFAULT),
	CFG_END(),
};

static cfg_opt_t opts[] = {
	CFG_SEC("revoked", entry_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_INT("entries", -1, CFGF_NONE),
	CFG_END(),
};

static void report(void *errors, const char *message)
{
	fprintf(errors, "%s\n", message);
}

static void read_entry(struct config_parse *parse, cfg_t *section, struct revocations *revoked)
{
	const char *title = cfg_title(section), *slash = strchr(title, '/');
	size_t len = slash ? (size_t)(slash - title) : strlen(title);
	char vm[SIV_VM_LEN] = "";
	int err = -EINVAL;

	/* "vm/" is no VM. */
	if (len < sizeof(vm) && (!slash || slash[1])) {
		memcpy(vm, title, len);
		err = revocations_add(revoked, vm, slash ? slash + 1 : "",
				      cfg_getint(section, "since"));
	}
	if (err)
		config_error(parse, config_section_line(parse, section), "revoked \"%s\": %s",
			     title, err == -EINVAL ? "neither \"VM\" nor \"VM/SERVICE\"" : strerror(-err));
}

static void read_all(struct config_parse *parse, struct revocations *revoked)
{
	cfg_t *cfg = config_root(parse);
	unsigned int n = cfg_size(cfg, "revoked");
	long entries = cfg_getint(cfg, "entries");

	if (entries != (long)n) {
		config_error(parse, config_line(parse, cfg, "entries"),
			     "entries: %ld, and there are %u: was the file cut off?", entries, n);
		return;
	}
	for (unsigned int i = 0; i < n; i++)
		read_entry(parse, cfg_getnsec(cfg, "revoked", i), revoked);
}

int revocations_load(const char *state, struct revocations *revoked, FILE *errors)
{
	char path[PATH_MAX];
	struct config_source source = {
		.path = path,
		.opts = opts,
		.manual = "sivshmem-hostd(8)",
		.report = report,
		.ctx = errors,
	};
	struct config_parse *parse;
	struct stat st;
	bool ok;

	if (snprintf(path, sizeof(path), "%s/" REVOCATIONS_FILE, state) >= (int)sizeof(path)) {
		fprintf(errors, "%s: %s\n", state, strerror(ENAMETOOLONG));
		return -1;
	}
	/* Anything but a clear "there is none" is read, and fails there. */
	if (lstat(path, &st) < 0 && errno == ENOENT)
		return 0;
	parse = config_parse(&source);
	if (parse)
		read_all(parse, revoked);
	ok = parse && !config_errors(parse);
	config_parse_free(parse);
	if (ok)
		return 0;
	fprintf(errors, "%s: what is revoked is not known, so nothing is allowed: mend the file, "
		"or remove it to revoke nothing\n", path);
	revocations_free(revoked);
	return -1;
}

static int write_all(FILE *file, const struct revocations *revoked)
{
	fputs("# Written by sivshmem-hostd: change it with sivctl revoke and sivctl unrevoke.\n",
	      file);
	for (unsigned int i = 0; i < revoked->n; i++) {
		const struct revocation *r = &revoked->list[i];

		fprintf(file, "revoked \"%s%s%s\" { since = %" PRId64 " }\n", r->vm,
			r->service[0] ? "/" : "", r->service, r->since);
	}
	fprintf(file, "entries = %u\n", revoked->n);
	return fflush(file) || ferror(file) || fsync(fileno(file)) ? -errno : 0;
}

static int sync_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = fsync(fd) ? -errno : 0;
	close(fd);
	return err;
}

int revocations_save(const char *state, const struct revocations *revoked)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	FILE *file;
	int fd, err;

	if (snprintf(path, sizeof(path), "%s/" REVOCATIONS_FILE, state) >= (int)sizeof(path) ||
	    snprintf(temporary, sizeof(temporary), "%s/" REVOCATIONS_FILE ".new", state) >=
		    (int)sizeof(temporary))
		return -ENAMETOOLONG;
	if (unlink(temporary) < 0 && errno != ENOENT)
		return -errno;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	file = fdopen(fd, "w");
	if (!file) {
		err = -errno;
		close(fd);
		goto err_unlink;
	}
	err = write_all(file, revoked);
	if (fclose(file) && !err)
		err = -errno;
	if (err)
		goto err_unlink;
	if (rename(temporary, path) < 0) {
		err = -errno;
		goto err_unlink;
	}
	return sync_folder(state);

err_unlink:
	unlink(temporary);
	return err;
}
