// SPDX-License-Identifier: BSD-2-Clause
/* sivshmem-run: starts a program with the shim, or says why the shim would have no effect. */
#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <sivshmem.h>

#include "program.h"
#include "rules.h"

#define SHIM "libsivshmem_preload.so"

enum { EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct options {
	const char *library;
	const char *file; /* --rules */
	char *rules;      /* --rule, joined by ';' */
	bool check;
	char **program; /* and its arguments, NULL at the end */
};

static const char doc[] =
	"Start PROGRAM with " SHIM ", so that its endpoints that a rule names are "
	"sivshmem services.\v"
	"Rules:\n"
	"  [connect|listen] tcp:HOST:PORT=siv://VM/SERVICE [fallback]\n"
	"  [connect|listen] unix:/PATH=siv://VM/SERVICE [fallback]\n"
	"  as SERVICE\n"
	"  peer VM = ADDRESS\n"
	"one a line in a file (" RULES_FILE "), or separated by ';'. See "
	"libsivshmem_preload(7).\n\n"
	"Exits with PROGRAM's code, 64 for wrong usage, 78 for wrong rules, 126 if the shim would "
	"have no effect or PROGRAM cannot be run, 127 if it is not found.";

static const struct argp_option argp_options[] = {
	{ "rules", 'r', "FILE", 0, "read the rules from FILE", 0 },
	{ "rule", 'e', "RULE", 0, "use this rule, and no file; may be given several times", 0 },
	{ "check", 'c', NULL, 0, "check the rules, and PROGRAM if there is one; start nothing", 0 },
	{ "library", 'l', "FILE", 0, "preload FILE instead of " SHIM, 0 },
	{ 0 },
};

static int add_rule(struct options *options, const char *rule)
{
	char *joined;

	if (asprintf(&joined, "%s%s%s", options->rules ? options->rules : "",
		     options->rules ? ";" : "", rule) < 0)
		return ENOMEM;
	free(options->rules);
	options->rules = joined;
	return 0;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'r':
		options->file = arg;
		return 0;
	case 'e':
		return add_rule(options, arg);
	case 'c':
		options->check = true;
		return 0;
	case 'l':
		options->library = arg;
		return 0;
	case ARGP_KEY_ARG: /* the rest is the program's, options and all */
		options->program = &state->argv[state->next - 1];
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (!options->program && !options->check)
			argp_error(state, "no PROGRAM: name one, or use --check");
		if (options->file && options->rules)
			argp_error(state, "--rules and --rule: give one of them");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The program reads the rules itself; what was given here replaces what the environment said. */
static int pass_rules(const struct options *options)
{
	if (!options->file && !options->rules)
		return 0;
	if (unsetenv(RULES_ENV_FILE) || unsetenv(RULES_ENV_RULE))
		return -1;
	return options->file ? setenv(RULES_ENV_FILE, options->file, 1) :
			       setenv(RULES_ENV_RULE, options->rules, 1);
}

/* Beside this program, installed (bin and lib/sivshmem) or in the build tree (bin and lib). */
static const char *find_shim(void)
{
	static const char *const places[] = { "lib/sivshmem/" SHIM, "lib/" SHIM };
	static char path[PATH_MAX];
	char self[PATH_MAX], *slash;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return SHIM;
	self[len] = '\0';
	for (int up = 0; up < 2; up++) {
		slash = strrchr(self, '/');
		if (!slash)
			return SHIM;
		*slash = '\0';
	}
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (snprintf(path, sizeof(path), "%s/%s", self, places[i]) < (int)sizeof(path) &&
		    !access(path, R_OK))
			break;
	}
	return path;
}

static void print_host(const struct in6_addr *host)
{
	char text[INET6_ADDRSTRLEN];

	if (IN6_IS_ADDR_V4MAPPED(host))
		printf("%s", inet_ntop(AF_INET, &host->s6_addr[12], text, sizeof(text)));
	else
		printf("[%s]", inet_ntop(AF_INET6, host, text, sizeof(text)));
}

static void print_rules(const struct rules *rules)
{
	for (unsigned int i = 0; i < rules->n_rules; i++) {
		const struct rule *rule = &rules->rule[i];
		char url[SIV_URL_LEN];

		printf("%s:%u: %s%s%s ", rules->source, rule->line,
		       rule->uses & RULE_CONNECT ? "connect" : "",
		       rule->uses == (RULE_CONNECT | RULE_LISTEN) ? "+" : "",
		       rule->uses & RULE_LISTEN ? "listen" : "");
		if (rule->kind == RULE_UNIX) {
			printf("unix:%s", rule->path);
		} else {
			printf("tcp:");
			if (rule->any_host)
				printf("*");
			else
				print_host(&rule->host);
			printf(":%u", rule->port);
		}
		siv_addr_format(&rule->target, url, sizeof(url));
		printf(" = %s%s\n", url, rule->fallback ? " fallback" : "");
	}
	if (rules->as[0])
		printf("%s:%u: as %s\n", rules->source, rules->as_line, rules->as);
	for (unsigned int i = 0; i < rules->n_peers; i++) {
		printf("%s:%u: peer %s = ", rules->source, rules->peer[i].line, rules->peer[i].vm);
		print_host(&rules->peer[i].host);
		printf("\n");
	}
}

/* In front of what is preloaded already, so that our hooks are the first. */
static int set_preload(const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	char *value;
	int ret;

	if (!others || !*others)
		return setenv("LD_PRELOAD", library, 1);
	if (asprintf(&value, "%s:%s", library, others) < 0)
		return -1;
	ret = setenv("LD_PRELOAD", value, 1);
	free(value);
	return ret;
}

/* Finds the program and refuses it if the shim would have no effect. Returns an exit code. */
static int check_program(const char *name, const char *library, char path[PATH_MAX])
{
	char error[PROGRAM_ERROR_LEN];
	int err = program_find(name, path);

	if (err) {
		fprintf(stderr, "sivshmem-run: %s: %s\n", name, strerror(-err));
		return err == -ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
	}
	if (program_check(path, library, error)) {
		fprintf(stderr, "sivshmem-run: %s\n", error);
		return EXIT_CANNOT_RUN;
	}
	/* The dynamic linker splits LD_PRELOAD at both. */
	if (strpbrk(library, " :")) {
		fprintf(stderr, "sivshmem-run: %s: a path with a blank or a colon: install the "
			"shim elsewhere\n", library);
		return EXIT_CANNOT_RUN;
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options, .parser = parse_option, .args_doc = "PROGRAM [ARG...]",
		.doc = doc,
	};
	static struct rules rules;
	struct options options = { 0 };
	char error[RULES_ERROR_LEN], library[PATH_MAX], path[PATH_MAX];
	int code;

	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &options);
	if (pass_rules(&options)) {
		fprintf(stderr, "sivshmem-run: environment: %m\n");
		return EX_OSERR;
	}
	if (rules_load(&rules, error)) {
		fprintf(stderr, "sivshmem-run: %s\n", error);
		return EX_CONFIG;
	}
	if (options.program) {
		if (!realpath(options.library ? options.library : find_shim(), library)) {
			fprintf(stderr, "sivshmem-run: %s: %m: install the shim, or name it with "
				"--library\n", options.library ? options.library : SHIM);
			return EXIT_CANNOT_RUN;
		}
		code = check_program(options.program[0], library, path);
		if (code)
			return code;
	}
	if (options.check) {
		print_rules(&rules);
		return EXIT_SUCCESS;
	}
	if (set_preload(library)) {
		fprintf(stderr, "sivshmem-run: LD_PRELOAD: %m\n");
		return EX_OSERR;
	}
	execv(path, options.program);
	fprintf(stderr, "sivshmem-run: %s: %m\n", path);
	return EXIT_CANNOT_RUN;
}
