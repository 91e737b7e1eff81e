// SPDX-License-Identifier: BSD-2-Clause
/*
 * host.conf: any text is refused with messages that are one line each and name the file and, where
 * there is one, the line; or it gives a policy that keeps every limit and allows what it says it
 * allows, and nothing else.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/ca.h"
#include "hostd/config.h"

#define REPORT_MAX (1u << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fd;
static char path[64];
static char *reports;

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fd = memfd_create("host.conf", MFD_CLOEXEC);
	check(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reports = malloc(REPORT_MAX);
	check(reports);
	return 0;
}

/* "path: text" or "path:line: text", of one line and printable. */
static void check_report(const char *report, size_t len, long lines)
{
	size_t at = strlen(path);
	char *end;

	check(len > at + 2 && !memcmp(report, path, at) && report[at] == ':');
	if (isdigit((unsigned char)report[at + 1])) {
		long line = strtol(report + at + 1, &end, 10);

		check(line >= 1 && line <= lines && end[0] == ':' && end[1] == ' ');
		at = (size_t)(end - report);
	} else {
		check(report[at + 1] == ' ');
	}
	check(len > at + 2);
	for (size_t i = 0; i < len; i++)
		check((unsigned char)report[i] >= ' ' && report[i] != 0x7f);
}

static void check_reports(size_t len, long lines)
{
	const char *at = reports, *end = reports + len;

	check(len);
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		if (!newline) {
			check(len == REPORT_MAX - 1); /* cut by this test's buffer */
			break;
		}
		check_report(at, (size_t)(newline - at), lines);
		at = newline + 1;
	}
}

static bool allowed(const struct policy *p, unsigned int from, const char *service, unsigned int to,
		    const char *to_service)
{
	for (unsigned int i = 0; i < p->n_allows; i++) {
		const struct policy_allow *a = &p->allows[i];

		if (a->from_vm == from && a->to_vm == to && !strcmp(a->from_service, service) &&
		    !strcmp(a->to_service, to_service))
			return true;
	}
	return false;
}

static void check_verdicts(const struct policy *p, long lines)
{
	struct policy_verdict v;
	unsigned int tries = 0;

	for (unsigned int from = 0; from < p->n_vms; from++) {
		for (unsigned int to = 0; to < p->n_vms; to++) {
			const struct policy_vm *f = &p->vms[from], *t = &p->vms[to];

			for (unsigned int i = 0; i < f->n_services; i++) {
				for (unsigned int j = 0; j < t->n_services && tries < 2000; j++) {
					bool ok = allowed(p, from, f->services[i].name, to,
							  t->services[j].name);

					tries++;
					policy_decide(p, from, f->services[i].name, t->name,
						      t->services[j].name, &v);
					check((v.reason == SIVP_R_NONE) == ok);
					check(!ok || (v.vm == (int)to && v.line >= 1 &&
						      v.line <= lines));
					check(!ok || (v.link >= 0) == (from != to));
				}
			}
			/* a service that a VM does not hold is nobody's */
			policy_decide(p, from, "\x01", t->name, "\x01", &v);
			check(v.reason != SIVP_R_NONE);
		}
	}
}

static void check_limits(const struct policy_limits *l)
{
	check(l->opens_per_second <= 1000000 && l->opens_burst <= 1000000);
	check(!l->memory || l->memory >= 16u << 10);
}

static void check_policy(const struct host_config *c, long lines)
{
	const struct policy *p = c->policy;

	check(sivp_name_ok(p->domain, SIVP_DOMAIN_LEN));
	check(p->n_vms >= 1 && p->n_vms <= POLICY_VMS_MAX && p->n_links <= POLICY_LINKS_MAX &&
	      p->n_allows <= POLICY_ALLOWS_MAX);
	check(c->run[0] == '/' && c->state[0] == '/' && c->audit[0] == '/');
	check(!c->ca_certificate == !c->ca_key);
	check(c->certificate_lifetime_s >= CA_LEAF_MIN_S &&
	      c->certificate_lifetime_s <= CA_LEAF_MAX_S);
	check(c->limits.sessions_per_vm && c->limits.sessions_per_pair && c->limits.handshake_ms);
	check(c->limits.opens_per_second >= 1 && c->limits.opens_per_second <= 1000000);
	check(c->limits.opens_burst <= 1000000);
	for (unsigned int i = 0; i < p->n_vms; i++) {
		const struct policy_vm *vm = &p->vms[i];

		check(sivp_name_ok(vm->name, SIV_VM_LEN) && vm->n_services <= POLICY_SERVICES_MAX);
		check(policy_find_vm(p, vm->name) == (int)i);
		check(vm->line >= 1 && vm->line <= lines);
		check(c->vms[i].control[0] == '/' &&
		      strnlen(c->vms[i].control, HOST_SUN_PATH) < HOST_SUN_PATH);
		check_limits(&vm->limits);
		for (unsigned int j = 0; j < vm->n_services; j++) {
			check_limits(&vm->services[j].limits);
			check(sivp_name_ok(vm->services[j].name, SIV_SERVICE_LEN));
			check(policy_find_service(p, i, vm->services[j].name) == (int)j);
		}
	}
	for (unsigned int i = 0; i < p->n_links; i++) {
		const struct policy_link *l = &p->links[i];

		check(l->vm[0] < p->n_vms && l->vm[1] < p->n_vms && l->vm[0] != l->vm[1]);
		check(policy_find_link(p, l->vm[1], l->vm[0]) == (int)i); /* the one of these two */
		check(l->size >= SIV_LINK_SIZE_MIN && l->size <= SIV_LINK_SIZE_MAX &&
		      !(l->size & (l->size - 1)));
		check(c->links[i].vectors >= 1 && c->links[i].vectors <= HOST_VECTORS_MAX);
		check(l->line >= 1 && l->line <= lines);
	}
	for (unsigned int i = 0; i < p->n_allows; i++) {
		const struct policy_allow *a = &p->allows[i];

		check(policy_find_service(p, a->from_vm, a->from_service) >= 0);
		check(policy_find_service(p, a->to_vm, a->to_service) >= 0);
		check(a->line >= 1 && a->line <= lines);
	}
	check_verdicts(p, lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *out = fmemopen(reports, REPORT_MAX - 1, "w");
	struct host_config *config;
	long lines = 1;
	long len;

	check(out);
	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	check(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
	config = host_config_load(path, out);
	len = ftell(out);
	fclose(out);
	if (config) {
		check(!len);
		check_policy(config, lines);
		host_config_free(config);
	} else {
		check_reports((size_t)len, lines);
	}
	return 0;
}
