// SPDX-License-Identifier: BSD-2-Clause
/* host.conf: its keys, and what must hold between them. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/ca.h"
#include "common/config_parse.h"
#include "common/config_value.h"
#include "common/suggest.h"

#define MS_PER_S 1000ull

#define OPENS_MAX    1000000 /* a second, or at once: a bucket's interval is a whole number of ns */
#define CHANNELS_MAX 1000000
#define CHANNEL_MIN  (SIV_CHAN_PAGES * SIV_PAGE_SIZE + (2u << SIV_CHAN_ORDER_MIN)) /* bytes */

static cfg_opt_t vm_opts[] = {
	CFG_STR_LIST("services", "{}", CFGF_NONE),
	CFG_STR("user", NULL, CFGF_NODEFAULT),
	CFG_STR("control", NULL, CFGF_NODEFAULT),
	CFG_STR("local-size", "16M", CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t link_opts[] = {
	CFG_STR("size", "64M", CFGF_NONE),
	CFG_STR("link-timeout", NULL, CFGF_NODEFAULT),
	CFG_INT("vectors", HOST_VECTORS, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t allow_opts[] = {
	CFG_STR("from", NULL, CFGF_NODEFAULT),
	CFG_STR("to", NULL, CFGF_NODEFAULT),
	CFG_BOOL("sealed", cfg_false, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t limits_opts[] = {
	CFG_INT("opens-per-second", 0, CFGF_NODEFAULT),
	CFG_INT("opens-burst", 0, CFGF_NODEFAULT),
	CFG_INT("channels", 0, CFGF_NODEFAULT),
	CFG_STR("memory", NULL, CFGF_NODEFAULT),
	CFG_END(),
};

static cfg_opt_t ca_opts[] = {
	CFG_STR("certificate", NULL, CFGF_NODEFAULT),
	CFG_STR("key", NULL, CFGF_NODEFAULT),
	CFG_END(),
};

static cfg_opt_t opts[] = {
	CFG_STR("trust-domain", NULL, CFGF_NODEFAULT),
	CFG_STR("user", NULL, CFGF_NODEFAULT),
	CFG_STR("run", HOST_RUN, CFGF_NONE),
	CFG_STR("state", HOST_STATE, CFGF_NONE),
	CFG_STR("audit", NULL, CFGF_NODEFAULT),
	CFG_BOOL("audit-journal", cfg_true, CFGF_NONE),
	CFG_STR("certificate-lifetime", "24h", CFGF_NONE),
	CFG_STR("link-timeout", "10s", CFGF_NONE),
	CFG_STR("handshake-timeout", "30s", CFGF_NONE),
	CFG_INT("sessions-per-vm", BROKER_SESSIONS_PER_VM, CFGF_NONE),
	CFG_INT("sessions-per-pair", BROKER_SESSIONS_PER_PAIR, CFGF_NONE),
	CFG_INT("opens-per-second", BROKER_OPENS_PER_SECOND, CFGF_NONE),
	CFG_INT("opens-burst", 0, CFGF_NODEFAULT),
	CFG_SEC("ca", ca_opts, CFGF_NONE),
	CFG_SEC("vm", vm_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("link", link_opts, CFGF_MULTI | CFGF_TITLE),
	CFG_SEC("allow", allow_opts, CFGF_MULTI),
	CFG_SEC("limits", limits_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_END(),
};

/* What is being built, from what. */
struct build {
	struct config_parse *parse;
	struct host_config *config;
	struct policy *policy;
};

/* Values */

static uint64_t duration(struct build *b, cfg_t *section, const char *key, uint64_t min_ms,
			 uint64_t max_ms)
{
	const char *text = cfg_getstr(section, key);
	uint64_t ms;

	if (config_ms(text, &ms) && ms >= min_ms && ms <= max_ms)
		return ms;
	config_error(b->parse, config_line(b->parse, section, key),
		     "%s: \"%s\" is no duration from %llums to %llums: write \"500ms\", \"10s\", "
		     "\"5m\" or \"24h\"", key, text, (unsigned long long)min_ms,
		     (unsigned long long)max_ms);
	return 0;
}

static uint64_t link_size(struct build *b, cfg_t *section, const char *key)
{
	const char *text = cfg_getstr(section, key);
	uint64_t size;

	/* QEMU's BAR and a switch's memory are powers of two. */
	if (config_size(text, &size) && size >= SIV_LINK_SIZE_MIN && size <= SIV_LINK_SIZE_MAX &&
	    !(size & (size - 1)))
		return size;
	config_error(b->parse, config_line(b->parse, section, key),
		     "%s: \"%s\" is no power of two from 1M to 64G", key, text);
	return SIV_LINK_SIZE_MIN;
}

static uint32_t number(struct build *b, cfg_t *section, const char *key, long min, long max)
{
	long value = cfg_getint(section, key);

	if (value >= min && value <= max)
		return (uint32_t)value;
	config_error(b->parse, config_line(b->parse, section, key),
		     "%s: %ld is not from %ld to %ld", key, value, min, max);
	return (uint32_t)min;
}

/* A copy of an absolute path; NULL: said so. */
static char *absolute(struct build *b, cfg_t *section, const char *key, const char *path)
{
	char *copy;

	if (path[0] != '/') {
		config_error(b->parse, config_line(b->parse, section, key),
			     "%s: \"%s\" is not absolute: write the whole path", key, path);
		return NULL;
	}
	copy = strdup(path);
	if (!copy)
		config_error(b->parse, 0, "out of memory");
	return copy;
}

/* Names */

static void bad_name(struct build *b, int line, const char *what, const char *name, size_t size)
{
	config_error(b->parse, line,
		     "%s \"%s\": bad name: [a-z0-9._-], a letter or digit first, at most %zu bytes",
		     what, name, size - 1);
}

static const char *suggest_vm(const struct policy *policy, const char *name)
{
	struct suggest suggest;

	suggest_init(&suggest, name);
	for (unsigned int i = 0; i < policy->n_vms; i++)
		suggest_offer(&suggest, policy->vms[i].name);
	return suggest.best;
}

static const char *suggest_service(const struct policy *policy, unsigned int vm, const char *name)
{
	struct suggest suggest;

	suggest_init(&suggest, name);
	for (unsigned int i = 0; i < policy->vms[vm].n_services; i++)
		suggest_offer(&suggest, policy->vms[vm].services[i].name);
	return suggest.best;
}

/* Index of a VM, or -1: said so. */
static int find_vm(struct build *b, int line, const char *what, const char *name)
{
	int vm = policy_find_vm(b->policy, name);
	const char *best;

	if (vm >= 0)
		return vm;
	best = suggest_vm(b->policy, name);
	if (best)
		config_error(b->parse, line, "%s: no vm \"%s\"; did you mean \"%s\"?", what, name,
			     best);
	else
		config_error(b->parse, line, "%s: no vm \"%s\": add a section for it", what, name);
	return -1;
}

/* VMs */

static bool read_user(struct build *b, cfg_t *section, struct host_vm *vm)
{
	const char *user = cfg_getstr(section, "user");
	int line = config_line(b->parse, section, "user");
	struct passwd *pw;

	vm->uid = HOST_UID_OWN;
	if (!user)
		return true;
	if (config_id(user, &vm->uid))
		return true;
	if (isdigit((unsigned char)user[0])) {
		config_error(b->parse, line, "vm.user: \"%s\" is no user id", user);
		return false;
	}
	pw = getpwnam(user);
	if (!pw) {
		config_error(b->parse, line,
			     "vm.user: no user \"%s\": create it, or give its number", user);
		return false;
	}
	vm->uid = pw->pw_uid;
	return true;
}

static bool read_control(struct build *b, cfg_t *section, const char *name, struct host_vm *vm)
{
	const char *control = cfg_getstr(section, "control");
	int n;

	if (control && control[0] != '/') {
		config_error(b->parse, config_line(b->parse, section, "control"),
			     "vm.control: \"%s\" is not absolute: write the whole path", control);
		return false;
	}
	n = control ? snprintf(vm->control, sizeof(vm->control), "%s", control) :
		      snprintf(vm->control, sizeof(vm->control), "%s/vm-%s.sock", b->config->run,
			       name);
	if (n < (int)sizeof(vm->control))
		return true;
	config_error(b->parse, config_line(b->parse, section, "control"),
		     "vm \"%s\": its control socket's path is longer than %zu bytes: shorten "
		     "`run` or `control`", name, sizeof(vm->control) - 1);
	return false;
}

static void read_services(struct build *b, cfg_t *section, unsigned int vm)
{
	int line = config_line(b->parse, section, "services");

	for (unsigned int i = 0; i < cfg_size(section, "services"); i++) {
		const char *service = cfg_getnstr(section, "services", i);

		switch (policy_add_service(b->policy, vm, service)) {
		case 0:
			break;
		case -EINVAL:
			bad_name(b, line, "vm.services:", service, SIV_SERVICE_LEN);
			break;
		case -EEXIST:
			config_error(b->parse, line, "vm.services: \"%s\" is there twice", service);
			break;
		case -ENOSPC:
			config_error(b->parse, line, "vm.services: more than %u",
				     POLICY_SERVICES_MAX);
			return;
		default:
			config_error(b->parse, line, "out of memory");
			return;
		}
	}
}

static bool read_vm(struct build *b, cfg_t *section, struct host_vm *host_vm)
{
	const char *name = cfg_title(section);
	int line = config_section_line(b->parse, section);
	int vm = policy_add_vm(b->policy, name, link_size(b, section, "local-size"), line);

	/* "--" stands between the two names of a link. */
	if (vm == -EINVAL || strstr(name, "--")) {
		if (vm == -EINVAL)
			bad_name(b, line, "vm", name, SIV_VM_LEN);
		else
			config_error(b->parse, line, "vm \"%s\": bad name: no \"--\"", name);
		return false;
	}
	if (vm < 0) {
		config_error(b->parse, line, "vm \"%s\": %s", name, strerror(-vm));
		return false;
	}
	read_services(b, section, (unsigned int)vm);
	return read_user(b, section, host_vm) && read_control(b, section, name, host_vm);
}

static bool read_vms(struct build *b, cfg_t *cfg)
{
	unsigned int n = cfg_size(cfg, "vm");
	bool ok = true;

	if (!n || n > POLICY_VMS_MAX) {
		config_error(b->parse, 0, "vm: %u of them: have 1 to %u", n, POLICY_VMS_MAX);
		return false;
	}
	b->config->vms = calloc(n, sizeof(*b->config->vms));
	if (!b->config->vms) {
		config_error(b->parse, 0, "out of memory");
		return false;
	}
	/* All of them, wrong or not: what follows refers to them. */
	for (unsigned int i = 0; i < n; i++)
		ok = read_vm(b, cfg_getnsec(cfg, "vm", i), &b->config->vms[i]) && ok;
	return ok;
}

/* Links */

/* `"a   b"`, as config_parse() gives them. */
static bool split_titles(const char *title, char first[SIV_VM_LEN], char second[SIV_VM_LEN])
{
	char extra;

	return sscanf(title, "%27s %27s %c", first, second, &extra) == 2;
}

static bool link_sockets(struct build *b, cfg_t *section, const char *name, struct host_link *link)
{
	for (unsigned int end = 0; end < 2; end++) {
		int n = snprintf(link->socket[end], sizeof(link->socket[end]), "%s.%u.sock", name,
				 end);

		if (strlen(b->config->run) + 1 + (size_t)n >= HOST_SUN_PATH) {
			config_error(b->parse, config_section_line(b->parse, section),
				     "link \"%s\": its sockets' paths are longer than %zu bytes: "
				     "shorten `run`", name, HOST_SUN_PATH - 1);
			return false;
		}
	}
	return true;
}

static bool read_link(struct build *b, cfg_t *cfg, cfg_t *section, struct host_link *host_link)
{
	char first[SIV_VM_LEN], second[SIV_VM_LEN];
	bool own_timeout = cfg_getstr(section, "link-timeout");
	int line = config_section_line(b->parse, section);
	int vm0, vm1, link;
	uint64_t timeout_ms;

	_Static_assert(SIV_VM_LEN == 28, "the width in split_titles()");
	if (!split_titles(cfg_title(section), first, second)) {
		config_error(b->parse, line,
			     "link \"%s\": write link \"VM\" \"OTHER-VM\" { ... }",
			     cfg_title(section));
		return false;
	}
	vm0 = find_vm(b, line, "link", first);
	vm1 = find_vm(b, line, "link", second);
	timeout_ms = duration(b, own_timeout ? section : cfg, "link-timeout", 0, UINT32_MAX);
	host_link->vectors = number(b, section, "vectors", 1, HOST_VECTORS_MAX);
	if (vm0 < 0 || vm1 < 0)
		return false;
	link = policy_add_link(b->policy, (unsigned int)vm0, (unsigned int)vm1,
			       link_size(b, section, "size"), (uint32_t)timeout_ms, line);
	if (link == -ELOOP)
		config_error(b->parse, line,
			     "link: \"%s\" with itself: inside a VM there is a link already",
			     first);
	else if (link == -EEXIST)
		config_error(b->parse, line,
			     "link: \"%s\" and \"%s\" have one already, at line %d", first, second,
			     b->policy->links[policy_find_link(b->policy, (unsigned int)vm0,
							       (unsigned int)vm1)].line);
	else if (link < 0)
		config_error(b->parse, line, "link: %s", strerror(-link));
	return link >= 0 && link_sockets(b, section, b->policy->links[link].name, host_link);
}

static bool read_links(struct build *b, cfg_t *cfg)
{
	unsigned int n = cfg_size(cfg, "link");
	bool ok = true;

	if (n > POLICY_LINKS_MAX) {
		config_error(b->parse, 0, "link: %u of them: have at most %u", n, POLICY_LINKS_MAX);
		return false;
	}
	b->config->links = calloc(n ?: 1, sizeof(*b->config->links));
	if (!b->config->links) {
		config_error(b->parse, 0, "out of memory");
		return false;
	}
	for (unsigned int i = 0; i < n; i++)
		ok = read_link(b, cfg, cfg_getnsec(cfg, "link", i), &b->config->links[i]) && ok;
	return ok;
}

/* Rules */

struct endpoint {
	int vm;
	const char *service; /* the configuration's memory */
};

/* "vm/service"; false: said so. */
static bool find_endpoint(struct build *b, int line, const char *what, const char *text,
			  struct endpoint *out)
{
	const char *slash = strchr(text, '/'), *best;
	char vm[SIV_VM_LEN];

	if (!slash || slash == text || !slash[1] || strchr(slash + 1, '/') ||
	    slash - text >= (ptrdiff_t)sizeof(vm)) {
		config_error(b->parse, line, "%s: \"%s\" is no \"VM/SERVICE\"", what, text);
		return false;
	}
	snprintf(vm, sizeof(vm), "%.*s", (int)(slash - text), text);
	out->service = slash + 1;
	out->vm = find_vm(b, line, what, vm);
	if (out->vm < 0)
		return false;
	if (policy_find_service(b->policy, (unsigned int)out->vm, out->service) >= 0)
		return true;
	best = suggest_service(b->policy, (unsigned int)out->vm, out->service);
	if (best)
		config_error(b->parse, line,
			     "%s: no service \"%s\" in vm \"%s\"; did you mean \"%s\"?", what,
			     out->service, vm, best);
	else
		config_error(b->parse, line,
			     "%s: no service \"%s\" in vm \"%s\": add it to the vm's services",
			     what, out->service, vm);
	return false;
}

static bool read_endpoint(struct build *b, cfg_t *section, const char *key, struct endpoint *out)
{
	const char *text = cfg_getstr(section, key);
	int line = config_line(b->parse, section, key);
	char what[16];

	snprintf(what, sizeof(what), "allow.%s", key);
	if (text)
		return find_endpoint(b, line, what, text, out);
	config_error(b->parse, line, "%s is missing: write %s = \"VM/SERVICE\"", what, key);
	return false;
}

static bool read_allow(struct build *b, cfg_t *section)
{
	struct endpoint from, to;
	bool ok = read_endpoint(b, section, "from", &from);
	int line = config_section_line(b->parse, section);
	int allow;

	ok = read_endpoint(b, section, "to", &to) && ok;
	if (!ok)
		return false;
	allow = policy_add_allow(b->policy, (unsigned int)from.vm, from.service,
				 (unsigned int)to.vm, to.service, line);
	if (allow == -ENOLINK)
		config_error(b->parse, line,
			     "allow: no link connects vm \"%s\" and vm \"%s\": "
			     "add link \"%s\" \"%s\"",
			     b->policy->vms[from.vm].name, b->policy->vms[to.vm].name,
			     b->policy->vms[from.vm].name, b->policy->vms[to.vm].name);
	else if (allow == -EEXIST)
		config_error(b->parse, line, "allow: %s to %s is there already",
			     cfg_getstr(section, "from"), cfg_getstr(section, "to"));
	else if (allow < 0)
		config_error(b->parse, line, "allow: %s", strerror(-allow));
	else
		b->policy->allows[allow].sealed = cfg_getbool(section, "sealed");
	return allow >= 0;
}

/* Limits */

/* 0: the key is not there. */
static uint32_t number_if_set(struct build *b, cfg_t *section, const char *key, long max)
{
	return cfg_size(section, key) ? number(b, section, key, 1, max) : 0;
}

static uint64_t memory(struct build *b, cfg_t *section)
{
	const char *text = cfg_getstr(section, "memory");
	uint64_t size;

	if (!text)
		return 0;
	if (config_size(text, &size) && size >= CHANNEL_MIN)
		return size;
	config_error(b->parse, config_line(b->parse, section, "memory"),
		     "memory: \"%s\" is no size from %uK, a channel's least: write \"512K\", "
		     "\"64M\" or \"1G\"", text, CHANNEL_MIN >> 10);
	return 0;
}

static void read_limits(struct build *b, cfg_t *section)
{
	const char *who = cfg_title(section);
	int line = config_section_line(b->parse, section);
	const struct policy_limits limits = {
		.opens_per_second = number_if_set(b, section, "opens-per-second", OPENS_MAX),
		.opens_burst = number_if_set(b, section, "opens-burst", OPENS_MAX),
		.channels = number_if_set(b, section, "channels", CHANNELS_MAX),
		.memory = memory(b, section),
	};
	struct endpoint of;
	int service = -1;

	if (strchr(who, '/')) {
		if (!find_endpoint(b, line, "limits", who, &of))
			return;
		service = policy_find_service(b->policy, (unsigned int)of.vm, of.service);
	} else {
		of.vm = find_vm(b, line, "limits", who);
		if (of.vm < 0)
			return;
	}
	policy_set_limits(b->policy, (unsigned int)of.vm, service, &limits);
}

/* The top level */

/* Whom hostd becomes. By name, for a group and its privileges are looked up with it. */
static bool read_own_user(struct build *b, cfg_t *cfg)
{
	const char *name = cfg_getstr(cfg, "user");
	const struct passwd *pw = getpwnam(name ?: HOST_USER);

	if (!pw && name) {
		config_error(b->parse, config_line(b->parse, cfg, "user"),
			     "user: no user \"%s\": create it, or say user = \"root\"", name);
		return false;
	}
	if (!pw || pw->pw_uid == 0)
		return true;
	b->config->user = strdup(pw->pw_name);
	b->config->uid = pw->pw_uid;
	b->config->gid = pw->pw_gid;
	return b->config->user;
}

static bool read_top(struct build *b, cfg_t *cfg)
{
	const char *domain = cfg_getstr(cfg, "trust-domain"), *audit = cfg_getstr(cfg, "audit");
	struct host_config *config = b->config;

	if (!domain) {
		config_error(b->parse, 0,
			     "trust-domain is missing: write trust-domain = \"example.org\"");
		return false;
	}
	if (!sivp_name_ok(domain, SIVP_DOMAIN_LEN)) {
		bad_name(b, config_line(b->parse, cfg, "trust-domain"), "trust-domain:", domain,
			 SIVP_DOMAIN_LEN);
		return false;
	}
	config->policy = b->policy = policy_new(config->path, domain);
	config->run = absolute(b, cfg, "run", cfg_getstr(cfg, "run"));
	config->state = absolute(b, cfg, "state", cfg_getstr(cfg, "state"));
	if (!config->policy || !config->run || !config->state)
		return false;
	if (audit)
		config->audit = absolute(b, cfg, "audit", audit);
	else if (asprintf(&config->audit, "%s/audit.log", config->state) < 0)
		config->audit = NULL;
	config->audit_journal = cfg_getbool(cfg, "audit-journal");
	if (asprintf(&config->own, "%s/" HOST_OWN, config->state) < 0)
		config->own = NULL;
	if (!config->own || !read_own_user(b, cfg))
		return false;
	config->certificate_lifetime_s =
		(uint32_t)(duration(b, cfg, "certificate-lifetime", CA_LEAF_MIN_S * MS_PER_S,
				    CA_LEAF_MAX_S * MS_PER_S) / MS_PER_S);
	config->limits.handshake_ms =
		(uint32_t)duration(b, cfg, "handshake-timeout", 100, 600 * MS_PER_S);
	duration(b, cfg, "link-timeout", 0, UINT32_MAX);
	config->limits.sessions_per_vm = number(b, cfg, "sessions-per-vm", 1, 65536);
	config->limits.sessions_per_pair = number(b, cfg, "sessions-per-pair", 1, 65536);
	config->limits.opens_per_second = number(b, cfg, "opens-per-second", 1, OPENS_MAX);
	config->limits.opens_burst = number_if_set(b, cfg, "opens-burst", OPENS_MAX);
	return config->audit;
}

static bool read_ca(struct build *b, cfg_t *cfg)
{
	cfg_t *section = cfg_getsec(cfg, "ca");
	const char *certificate = cfg_getstr(section, "certificate");
	const char *key = cfg_getstr(section, "key");

	if (!certificate && !key)
		return true;
	if (!certificate || !key) {
		config_error(b->parse, config_section_line(b->parse, section),
			     "ca: %s is missing: give both, or neither",
			     certificate ? "key" : "certificate");
		return false;
	}
	b->config->ca_certificate = absolute(b, section, "certificate", certificate);
	b->config->ca_key = absolute(b, section, "key", key);
	return b->config->ca_certificate && b->config->ca_key;
}

static void read_all(struct build *b)
{
	cfg_t *cfg = config_root(b->parse);

	if (!read_top(b, cfg))
		return;
	read_ca(b, cfg);
	if (!read_vms(b, cfg) || !read_links(b, cfg))
		return;
	for (unsigned int i = 0; i < cfg_size(cfg, "allow"); i++)
		read_allow(b, cfg_getnsec(cfg, "allow", i));
	for (unsigned int i = 0; i < cfg_size(cfg, "limits"); i++)
		read_limits(b, cfg_getnsec(cfg, "limits", i));
}

static void report(void *errors, const char *message)
{
	fprintf(errors, "%s\n", message);
}

struct host_config *host_config_load(const char *path, FILE *errors)
{
	const struct config_source source = {
		.path = path,
		.opts = opts,
		.manual = "host.conf(5)",
		.two_titles = "link",
		.report = report,
		.ctx = errors,
	};
	struct build b = { .config = calloc(1, sizeof(*b.config)) };
	bool ok = false;

	if (!b.config)
		return NULL;
	b.config->path = strdup(path);
	if (b.config->path)
		b.parse = config_parse(&source);
	if (b.parse) {
		read_all(&b);
		ok = !config_errors(b.parse);
		config_parse_free(b.parse);
	}
	if (ok)
		return b.config;
	host_config_free(b.config);
	return NULL;
}

void host_config_free(struct host_config *config)
{
	if (!config)
		return;
	policy_free(config->policy);
	free(config->vms);
	free(config->links);
	free(config->run);
	free(config->state);
	free(config->own);
	free(config->user);
	free(config->audit);
	free(config->ca_certificate);
	free(config->ca_key);
	free(config->path);
	free(config);
}
