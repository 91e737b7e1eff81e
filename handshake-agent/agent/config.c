// SPDX-License-Identifier: BSD-2-Clause
/* Reads agent.conf with libconfuse, and checks what a grammar cannot say. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config_parse.h"
#include "common/config_value.h"
#include "common/log.h"
#include "common/suggest.h"

#define LOCAL_SIZE_DEFAULT "64M"

static cfg_opt_t service_opts[] = {
	CFG_STR("user", NULL, CFGF_NODEFAULT),
	CFG_STR("group", NULL, CFGF_NODEFAULT),
	CFG_STR("executable", NULL, CFGF_NODEFAULT),
	CFG_STR("cgroup", NULL, CFGF_NODEFAULT),
	CFG_STR("unit", NULL, CFGF_NODEFAULT),
	CFG_END(),
};

static cfg_opt_t allow_opts[] = {
	CFG_STR("from", NULL, CFGF_NODEFAULT),
	CFG_STR("to", NULL, CFGF_NODEFAULT),
	CFG_END(),
};

static cfg_opt_t opts[] = {
	CFG_STR("control", AGENT_CONTROL, CFGF_NONE),
	CFG_STR("admin", AGENT_ADMIN, CFGF_NONE),
	CFG_SEC("service", service_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_STR("vm", "local", CFGF_NONE),
	CFG_STR("trust-domain", "standalone.invalid", CFGF_NONE),
	CFG_STR("size", LOCAL_SIZE_DEFAULT, CFGF_NONE),
	CFG_STR("state", AGENT_STATE, CFGF_NONE),
	CFG_STR("audit", NULL, CFGF_NODEFAULT),
	CFG_BOOL("audit-journal", cfg_true, CFGF_NONE),
	CFG_SEC("allow", allow_opts, CFGF_MULTI),
	CFG_END(),
};

/* What is being read into what. */
struct reader {
	struct agent_config *config;
	struct config_parse *parse;
};

static int line_of(const struct reader *r, cfg_t *section, const char *key)
{
	return config_line(r->parse, section, key);
}

static bool out_of_memory(const struct reader *r)
{
	config_error(r->parse, 0, "out of memory");
	return false;
}

static bool read_user(const struct reader *r, cfg_t *sec, struct agent_service *s)
{
	const char *user = cfg_getstr(sec, "user");
	struct passwd *pw;

	if (!user)
		return true;
	s->has_uid = true;
	if (config_id(user, &s->uid))
		return true;
	pw = getpwnam(user);
	if (!pw) {
		config_error(r->parse, line_of(r, sec, "user"),
			     "service \"%s\": user: no user \"%s\": create it, or give its number",
			     s->name, user);
		return false;
	}
	s->uid = pw->pw_uid;
	return true;
}

static bool read_group(const struct reader *r, cfg_t *sec, struct agent_service *s)
{
	const char *group = cfg_getstr(sec, "group");
	struct group *gr;

	if (!group)
		return true;
	s->has_gid = true;
	if (config_id(group, &s->gid))
		return true;
	gr = getgrnam(group);
	if (!gr) {
		config_error(r->parse, line_of(r, sec, "group"),
			     "service \"%s\": group: no group \"%s\": create it, or give its "
			     "number", s->name, group);
		return false;
	}
	s->gid = gr->gr_gid;
	return true;
}

static bool read_cgroup(const struct reader *r, cfg_t *sec, struct agent_service *s)
{
	const char *cgroup = cfg_getstr(sec, "cgroup"), *unit = cfg_getstr(sec, "unit");

	if (cgroup && unit) {
		config_error(r->parse, line_of(r, sec, "unit"),
			     "service \"%s\": cgroup and unit: give one of them", s->name);
		return false;
	}
	if (cgroup) {
		if (cgroup[0] != '/' || strstr(cgroup, "/..")) {
			config_error(r->parse, line_of(r, sec, "cgroup"),
				     "service \"%s\": cgroup: \"%s\" is no path: write it as "
				     "/proc/PID/cgroup has it, from \"/\"", s->name, cgroup);
			return false;
		}
		s->cgroup = strdup(cgroup);
		return s->cgroup || out_of_memory(r);
	}
	if (unit) {
		if (strchr(unit, '/') || !strchr(unit, '.')) {
			config_error(r->parse, line_of(r, sec, "unit"),
				     "service \"%s\": unit: \"%s\" is no unit of the system: "
				     "write its whole name, like \"redis-server.service\"",
				     s->name, unit);
			return false;
		}
		if (asprintf(&s->cgroup, "/system.slice/%s", unit) < 0) {
			s->cgroup = NULL;
			return out_of_memory(r);
		}
	}
	return true;
}

static bool read_service(const struct reader *r, cfg_t *sec, struct agent_service *s)
{
	const char *executable = cfg_getstr(sec, "executable");

	s->line = config_section_line(r->parse, sec);
	if (!sivp_name_ok(cfg_title(sec), sizeof(s->name))) {
		config_error(r->parse, s->line,
			     "service \"%s\": bad name: [a-z0-9._-], a letter or digit first, at "
			     "most %zu bytes", cfg_title(sec), sizeof(s->name) - 1);
		return false;
	}
	strcpy(s->name, cfg_title(sec));
	if (!read_user(r, sec, s) || !read_group(r, sec, s) || !read_cgroup(r, sec, s))
		return false;
	if (executable) {
		if (executable[0] != '/') {
			config_error(r->parse, line_of(r, sec, "executable"),
				     "service \"%s\": executable: \"%s\" is not absolute: write "
				     "its whole path", s->name, executable);
			return false;
		}
		s->executable = strdup(executable);
		if (!s->executable)
			return out_of_memory(r);
	}
	if (!s->has_uid && !s->has_gid && !s->cgroup) {
		config_error(r->parse, s->line,
			     "service \"%s\": nothing says whose it is: give user, group, cgroup "
			     "or unit (executable only narrows these)", s->name);
		return false;
	}
	return true;
}

static bool read_services(const struct reader *r)
{
	cfg_t *cfg = config_root(r->parse);
	struct agent_config *c = r->config;
	unsigned int n = cfg_size(cfg, "service");

	if (!n)
		return true; /* nobody may do anything: a VM that is being set up */
	if (n > AGENT_SERVICES_MAX) {
		config_error(r->parse, 0, "service: %u of them: have at most %u", n,
			     AGENT_SERVICES_MAX);
		return false;
	}
	c->services = calloc(n, sizeof(*c->services));
	if (!c->services)
		return out_of_memory(r);
	for (; c->nr_services < n; c->nr_services++) {
		struct agent_service *s = &c->services[c->nr_services];

		if (!read_service(r, cfg_getnsec(cfg, "service", c->nr_services), s)) {
			c->nr_services++; /* so that agent_config_free() sees what it has */
			return false;
		}
	}
	return true;
}

static bool read_allow_name(const struct reader *r, cfg_t *sec, const char *key,
			    char out[SIV_SERVICE_LEN])
{
	const struct agent_config *c = r->config;
	const char *name = cfg_getstr(sec, key);
	int line = line_of(r, sec, key);
	struct suggest s;

	if (!name) {
		config_error(r->parse, line,
			     "allow: %s is missing: name a service", key);
		return false;
	}
	if (agent_config_service(c, name)) {
		strcpy(out, name);
		return true;
	}
	suggest_init(&s, name);
	for (size_t i = 0; i < c->nr_services; i++)
		suggest_offer(&s, c->services[i].name);
	if (s.best)
		config_error(r->parse, line,
			     "allow.%s: no service \"%s\" in this file; did you mean \"%s\"?",
			     key, name, s.best);
	else
		config_error(r->parse, line,
			     "allow.%s: no service \"%s\" in this file: add it, or name another",
			     key, name);
	return false;
}

static bool read_allows(const struct reader *r)
{
	cfg_t *cfg = config_root(r->parse);
	struct agent_config *c = r->config;
	unsigned int n = cfg_size(cfg, "allow");

	if (!n)
		return true;
	if (n > AGENT_ALLOWS_MAX) {
		config_error(r->parse, 0, "allow: %u of them: have at most %u", n,
			     AGENT_ALLOWS_MAX);
		return false;
	}
	c->allows = calloc(n, sizeof(*c->allows));
	if (!c->allows)
		return out_of_memory(r);
	for (; c->nr_allows < n; c->nr_allows++) {
		struct agent_allow *a = &c->allows[c->nr_allows];
		cfg_t *sec = cfg_getnsec(cfg, "allow", c->nr_allows);

		a->line = config_section_line(r->parse, sec);
		if (!read_allow_name(r, sec, "from", a->from) ||
		    !read_allow_name(r, sec, "to", a->to))
			return false;
	}
	return true;
}

static bool read_path(const struct reader *r, const char *key, char **out)
{
	cfg_t *cfg = config_root(r->parse);
	const char *path = cfg_getstr(cfg, key);

	if (!path)
		return true;
	if (path[0] != '/') {
		config_error(r->parse, line_of(r, cfg, key),
			     "%s: \"%s\" is not absolute: write the whole path", key, path);
		return false;
	}
	*out = strdup(path);
	return *out || out_of_memory(r);
}

static bool read_name(const struct reader *r, const char *key, char *out, size_t size)
{
	cfg_t *cfg = config_root(r->parse);
	const char *name = cfg_getstr(cfg, key);

	if (!sivp_name_ok(name, size)) {
		config_error(r->parse, line_of(r, cfg, key),
			     "%s: bad name \"%s\": [a-z0-9._-], a letter or digit first, at most "
			     "%zu bytes", key, name, size - 1);
		return false;
	}
	strcpy(out, name);
	return true;
}

static bool read_top(const struct reader *r)
{
	cfg_t *cfg = config_root(r->parse);
	const char *size = cfg_getstr(cfg, "size");
	struct agent_config *c = r->config;

	if (!read_path(r, "control", &c->control) || !read_path(r, "admin", &c->admin) ||
	    !read_path(r, "state", &c->state) || !read_path(r, "audit", &c->audit) ||
	    !read_name(r, "vm", c->vm, sizeof(c->vm)) ||
	    !read_name(r, "trust-domain", c->domain, sizeof(c->domain)))
		return false;
	c->audit_journal = cfg_getbool(cfg, "audit-journal");
	if (!config_size(size, &c->size) || c->size < SIV_LINK_SIZE_MIN ||
	    c->size > SIV_LINK_SIZE_MAX || c->size % SIV_PAGE_SIZE) {
		config_error(r->parse, line_of(r, cfg, "size"),
			     "size: bad size \"%s\": whole pages, from 1M to 64G", size);
		return false;
	}
	return true;
}

static void report(void *ctx, const char *message)
{
	(void)ctx;
	log_error("%s", message);
}

bool agent_config_load(const char *path, struct agent_config *config)
{
	const struct config_source source = {
		.path = path,
		.opts = opts,
		.manual = "agent.conf(5)",
		.report = report,
	};
	struct agent_config c = { .path = strdup(path) };
	struct reader r = { .config = &c, .parse = config_parse(&source) };
	bool ok = r.parse && (c.path || out_of_memory(&r)) && read_top(&r) &&
		  read_services(&r) && read_allows(&r);

	config_parse_free(r.parse);
	if (ok)
		*config = c;
	else
		agent_config_free(&c);
	return ok;
}

void agent_config_free(struct agent_config *c)
{
	for (size_t i = 0; i < c->nr_services; i++) {
		free(c->services[i].executable);
		free(c->services[i].cgroup);
	}
	free(c->services);
	free(c->allows);
	free(c->control);
	free(c->admin);
	free(c->state);
	free(c->audit);
	free(c->path);
	memset(c, 0, sizeof(*c));
}

const struct agent_service *agent_config_service(const struct agent_config *c, const char *name)
{
	for (size_t i = 0; i < c->nr_services; i++)
		if (!strcmp(c->services[i].name, name))
			return &c->services[i];
	return NULL;
}
