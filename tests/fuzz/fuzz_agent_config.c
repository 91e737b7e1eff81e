// SPDX-License-Identifier: BSD-2-Clause
/*
 * agent.conf: any text is refused with messages that are one line each and name the file and, where
 * there is one, the line; or it gives services whose selectors say whose they are: a process that
 * matches none of them is no service.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/select.h"
#include "common/log.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fd;
static char path[64];
static long lines;          /* of the input */
static unsigned int errors; /* that it gave */

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fd = memfd_create("agent.conf", MFD_CLOEXEC);
	check(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return 0;
}

/* In place of common/log.c: "path: text" or "path:line: text", of one line and printable. */
void log_error(const char *fmt, ...)
{
	char message[4096], *at = message + strlen(path), *end;
	va_list args;

	va_start(args, fmt);
	check(vsnprintf(message, sizeof(message), fmt, args) < (int)sizeof(message));
	va_end(args);
	errors++;
	check(!strncmp(message, path, strlen(path)) && *at == ':');
	if (isdigit((unsigned char)at[1])) {
		long line = strtol(at + 1, &end, 10);

		check(line >= 1 && line <= lines);
		at = end;
	}
	check(at[0] == ':' && at[1] == ' ' && at[2]);
	for (at = message; *at; at++)
		check((unsigned char)*at >= ' ' && *at != 0x7f);
}

/* Of another uid and gid than any service has, in no cgroup that there is. */
static void check_stranger(const struct agent_config *c)
{
	struct siv_caller caller = { .uid = 4242, .gid = 4242, .cgroup_id = 1ull << 60,
				     .flags = SIV_CALLER_INIT_NETNS | SIV_CALLER_INIT_MNTNS |
					      SIV_CALLER_INIT_USERNS };
	const struct agent_service *found;

	for (size_t i = 0; i < c->nr_services; i++) {
		while (c->services[i].uid == caller.uid || c->services[i].gid == caller.gid) {
			caller.uid += 7;
			caller.gid += 7;
			i = 0;
		}
	}
	check(agent_select(c, "/", &caller, "", &found) == SIVP_R_NO_SERVICE && !found);
	for (size_t i = 0; i < c->nr_services; i++)
		check(agent_select(c, "/", &caller, c->services[i].name, &found) ==
		      SIVP_R_NO_SERVICE);
}

static void check_config(const struct agent_config *c)
{
	check(c->control[0] == '/' && c->admin[0] == '/' && c->state[0] == '/');
	check(!c->audit || c->audit[0] == '/');
	check(sivp_name_ok(c->vm, SIV_VM_LEN) && sivp_name_ok(c->domain, SIVP_DOMAIN_LEN));
	check(c->size >= SIV_LINK_SIZE_MIN && c->size <= SIV_LINK_SIZE_MAX &&
	      !(c->size % SIV_PAGE_SIZE));
	check(c->nr_services <= AGENT_SERVICES_MAX && c->nr_allows <= AGENT_ALLOWS_MAX);
	for (size_t i = 0; i < c->nr_services; i++) {
		const struct agent_service *s = &c->services[i];

		check(sivp_name_ok(s->name, SIV_SERVICE_LEN));
		check(agent_config_service(c, s->name) == s);
		check(s->line >= 1 && s->line <= lines);
		check(s->has_uid || s->has_gid || s->cgroup);
		check(!s->executable || s->executable[0] == '/');
		check(!s->cgroup || (s->cgroup[0] == '/' && !strstr(s->cgroup, "/../")));
	}
	for (size_t i = 0; i < c->nr_allows; i++) {
		check(agent_config_service(c, c->allows[i].from) &&
		      agent_config_service(c, c->allows[i].to));
		check(c->allows[i].line >= 1 && c->allows[i].line <= lines);
	}
	check_stranger(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent_config config = { 0 };

	errors = 0;
	lines = 1;
	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	check(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
	if (agent_config_load(path, &config)) {
		check(!errors);
		check_config(&config);
		agent_config_free(&config);
	} else {
		check(errors);
	}
	return 0;
}
