// SPDX-License-Identifier: BSD-2-Clause
/* sivctl: one table of subcommands, for dispatch and help. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/admin.h"
#include "hostd/explain.h"
#include "sivctl.h"

#define HOST_SOCKET  HOST_RUN "/" HOST_ADMIN
#define AGENT_SOCKET HOST_RUN "/agent.sock" /* where an agent listens in its guest */

#ifndef SIVSHMEM_VERSION
#define SIVSHMEM_VERSION "0.1.0"
#endif

const char *argp_program_version = "sivctl " SIVSHMEM_VERSION;

/* Where the answers come from */

/* The configuration; NULL: said why. */
static struct host_config *load_config(const struct sivctl *ctl)
{
	return host_config_load(ctl->config ? ctl->config : HOST_CONFIG, stderr);
}

/*
 * --socket; or the daemon of --config; or the host's daemon where there is one, else the guest's
 * agent. False: said why.
 */
static bool find_socket(const struct sivctl *ctl, char *path, size_t size)
{
	struct host_config *config;

	if (ctl->socket) {
		snprintf(path, size, "%s", ctl->socket);
	} else if (ctl->config) {
		config = load_config(ctl);
		if (!config)
			return false;
		snprintf(path, size, "%s/" HOST_ADMIN, config->run);
		host_config_free(config);
	} else {
		snprintf(path, size, "%s", access(HOST_SOCKET, F_OK) == 0 ? HOST_SOCKET :
									    AGENT_SOCKET);
	}
	return true;
}

/* The daemon's good answer to @request, whose reference is taken; NULL: said why. */
static json_t *ask(const struct sivctl *ctl, json_t *request)
{
	char path[2 * HOST_SUN_PATH], error[512];
	json_t *reply = NULL;

	if (!find_socket(ctl, path, sizeof(path)))
		goto out;
	reply = admin_call(path, request, error, sizeof(error));
	if (!reply) {
		fprintf(stderr, "sivctl: %s\n", error);
		goto out;
	}
	if (!json_is_true(json_object_get(reply, "ok"))) {
		fprintf(stderr, "sivctl: %s: %s\n", path,
			json_string_value(json_object_get(reply, "error")) ?: "refused");
		json_decref(reply);
		reply = NULL;
	}
out:
	json_decref(request);
	return reply;
}

static void show(const struct sivctl *ctl, const json_t *reply,
		 void (*print)(const json_t *reply, FILE *out))
{
	if (!ctl->json) {
		print(reply, stdout);
		return;
	}
	json_dumpf(reply, stdout, JSON_INDENT(2));
	putchar('\n');
}

/* Subcommands */

static int ask_and_show(const struct sivctl *ctl, const char *command,
			void (*print)(const json_t *reply, FILE *out))
{
	json_t *reply = ask(ctl, json_pack("{s:s}", "command", command));

	if (!reply)
		return SIVCTL_FAILED;
	show(ctl, reply, print);
	json_decref(reply);
	return SIVCTL_OK;
}

static int run_status(const struct sivctl *ctl)
{
	return ask_and_show(ctl, "status", print_status);
}

static int run_channels(const struct sivctl *ctl)
{
	return ask_and_show(ctl, "channels", print_channels);
}

static int run_forget(const struct sivctl *ctl)
{
	return ask_and_show(ctl, "forget", print_forget);
}

/* revoke and unrevoke: what kind of thing, and which. */
static int ask_about(const struct sivctl *ctl, const char *command,
		     void (*print)(const json_t *reply, FILE *out))
{
	json_t *reply = ask(ctl, json_pack("{s:s, s:s, s:s}", "command", command, "what",
					   ctl->args[0], "name", ctl->args[1]));

	if (!reply)
		return SIVCTL_FAILED;
	show(ctl, reply, print);
	json_decref(reply);
	return SIVCTL_OK;
}

static int run_revoke(const struct sivctl *ctl)
{
	return ask_about(ctl, "revoke", print_revoke);
}

static int run_unrevoke(const struct sivctl *ctl)
{
	return ask_about(ctl, "unrevoke", print_unrevoke);
}

static int run_reload(const struct sivctl *ctl)
{
	return ask_and_show(ctl, "reload", print_reload);
}

/* ca: only what is to be done. */
static int run_ca(const struct sivctl *ctl)
{
	json_t *reply = ask(ctl, json_pack("{s:s, s:s}", "command", "ca", "what", ctl->args[0]));

	if (!reply)
		return SIVCTL_FAILED;
	show(ctl, reply, print_ca);
	json_decref(reply);
	return SIVCTL_OK;
}

static int run_revocations(const struct sivctl *ctl)
{
	return ask_and_show(ctl, "revocations", print_revocations);
}

/* By the configuration alone, without a daemon. NULL: said why. */
static json_t *explain_by_config(const struct sivctl *ctl)
{
	struct host_config *config = load_config(ctl);
	json_t *reply = config ? json_object() : NULL;
	char error[EXPLAIN_ERROR_LEN];

	if (reply && explain(config->policy, ctl->args[0], ctl->args[1], reply, error)) {
		fprintf(stderr, "sivctl: explain: %s\n", error);
		json_decref(reply);
		reply = NULL;
	}
	host_config_free(config);
	return reply;
}

static int run_explain(const struct sivctl *ctl)
{
	json_t *reply;
	bool allowed;

	if (ctl->config && !ctl->socket)
		reply = explain_by_config(ctl);
	else
		reply = ask(ctl, json_pack("{s:s, s:s, s:s}", "command", "explain", "from",
					   ctl->args[0], "to", ctl->args[1]));
	if (!reply)
		return SIVCTL_FAILED;
	show(ctl, reply, print_explain);
	allowed = json_string_value(json_object_get(reply, "verdict")) &&
		  strcmp(json_string_value(json_object_get(reply, "verdict")), "allowed") == 0;
	json_decref(reply);
	return allowed ? SIVCTL_OK : SIVCTL_REFUSED;
}

/* As one word of a shell. */
static void print_quoted(const char *word)
{
	putchar('\'');
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*word);
	}
	putchar('\'');
}

static void print_args(const json_t *args, bool shell)
{
	const json_t *word;
	size_t i;

	json_array_foreach(args, i, word) {
		if (shell) {
			if (i)
				putchar(' ');
			print_quoted(json_string_value(word));
		} else {
			/* An option and its value on a line. */
			fputs(json_string_value(word), stdout);
			putchar(i % 2 ? '\n' : ' ');
		}
	}
	if (shell)
		putchar('\n');
}

static int run_qemu_args(const struct sivctl *ctl)
{
	struct host_config *config = load_config(ctl);
	int vm, status = SIVCTL_FAILED;
	json_t *args;

	if (!config)
		return SIVCTL_FAILED;
	vm = policy_find_vm(config->policy, ctl->args[0]);
	if (vm < 0) {
		fprintf(stderr, "sivctl: qemu-args: %s: no vm \"%s\"\n", config->path,
			ctl->args[0]);
		goto out;
	}
	args = qemu_args(config, (unsigned int)vm);
	if (!args)
		goto out;
	if (ctl->json) {
		json_dumpf(args, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_args(args, ctl->shell);
	}
	json_decref(args);
	status = SIVCTL_OK;
out:
	host_config_free(config);
	return status;
}

static const struct subcommand {
	const char *name, *args, *help;
	unsigned int n_args;
	int (*run)(const struct sivctl *ctl);
} subcommands[] = {
	{ "status", "", "what a daemon knows: VMs, services, links, counts", 0, run_status },
	{ "channels", "", "the channels: who talks to whom, and their state", 0, run_channels },
	{ "forget", "",
	  "an agent's: the next connect with each peer is a full handshake, not a resumed one", 0,
	  run_forget },
	{ "explain", "VM/SERVICE siv://VM/SERVICE",
	  "may the first connect to the second, and which line of policy says so", 2, run_explain },
	{ "reload", "", "the host's: reads its configuration again, for what is open too", 0,
	  run_reload },
	{ "ca", "rotate | drop",
	  "the host's: another authority issues, and the former one is trusted until all have "
	  "renewed; drop: it is trusted no more, at once", 1, run_ca },
	{ "revoke", "service VM/SERVICE | vm VM | channel LINK/SLOT",
	  "the host's: resets what it has open and refuses it from now on; a channel: resets it", 2,
	  run_revoke },
	{ "unrevoke", "service VM/SERVICE | vm VM", "the host's: policy decides about it again", 2,
	  run_unrevoke },
	{ "revocations", "", "what is revoked", 0, run_revocations },
	{ "qemu-args", "VM", "the options that the QEMU of that VM needs", 1, run_qemu_args },
	{ 0 },
};

/* Options */

enum { OPT_JSON = 256, OPT_SHELL };

static const struct argp_option options[] = {
	{ "json", OPT_JSON, NULL, 0, "JSON instead of text", 0 },
	{ "socket", 's', "PATH", 0,
	  "the daemon's admin socket (" HOST_SOCKET ", or else " AGENT_SOCKET ")", 0 },
	{ "config", 'c', "FILE", 0,
	  "the host's configuration (" HOST_CONFIG "); with explain: ask it, and no daemon", 0 },
	{ "shell", OPT_SHELL, NULL, 0, "qemu-args: one line, quoted for a shell", 0 },
	{ 0 },
};

#define ARGS_MAX 4u /* of any subcommand, its name included; one more than any takes */

struct parse {
	struct sivctl ctl;
	const char *words[ARGS_MAX];
	unsigned int n_words;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct parse *parse = state->input;

	switch (key) {
	case OPT_JSON:
		parse->ctl.json = true;
		return 0;
	case OPT_SHELL:
		parse->ctl.shell = true;
		return 0;
	case 's':
		parse->ctl.socket = arg;
		return 0;
	case 'c':
		parse->ctl.config = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (parse->n_words == ARGS_MAX)
			argp_error(state, "too many arguments");
		parse->words[parse->n_words++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The table, below the options. */
static char *help_filter(int key, const char *help, void *input)
{
	char *text = NULL;
	size_t size;
	FILE *out;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)help;
	out = open_memstream(&text, &size);
	if (!out)
		return (char *)help;
	fputs("Commands:\n", out);
	for (const struct subcommand *s = subcommands; s->name; s++)
		fprintf(out, "  %s %s\n      %s\n", s->name, s->args, s->help);
	fputs("\nExit status: 0 done (explain: allowed), 1 failed, 2 usage, 3 explain: refused.\n",
	      out);
	fclose(out);
	return text;
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "COMMAND [ARGUMENT...]",
	.doc = "Asks the daemons of sivshmem, on the host or in a guest.\v-",
	.help_filter = help_filter,
};

int main(int argc, char **argv)
{
	const struct subcommand *s = subcommands;
	struct parse parse = { 0 };

	argp_err_exit_status = SIVCTL_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &parse);
	if (!parse.n_words) {
		argp_help(&argp, stderr, ARGP_HELP_STD_USAGE, argv[0]);
		return SIVCTL_USAGE;
	}
	while (s->name && strcmp(s->name, parse.words[0]) != 0)
		s++;
	if (!s->name) {
		fprintf(stderr, "sivctl: no command \"%s\": see sivctl --help\n", parse.words[0]);
		return SIVCTL_USAGE;
	}
	parse.ctl.args = parse.words + 1;
	parse.ctl.n_args = parse.n_words - 1;
	if (parse.ctl.n_args != s->n_args) {
		fprintf(stderr, "sivctl: usage: sivctl %s %s\n", s->name, s->args);
		return SIVCTL_USAGE;
	}
	return s->run(&parse.ctl);
}
