// SPDX-License-Identifier: BSD-2-Clause
// Runs commands in a VM from the host, through a virtio-serial port that only the harness uses.
#include "vmexec.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

static const char doc[] =
	"Runs COMMAND in a VM and exits with its code, or 128 + its signal.\v"
	"SOCKET is the mux's client socket. Standard output and error arrive apart, as they are "
	"written. The command's process group is killed when this program goes away or times out; "
	"SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to it, SIGALRM as SIGKILL. A command that "
	"is given before the guest has booted waits for it.\n\n"
	"Exit codes of its own: 124 time-out, 125 trouble here, 126 the guest cannot run the "
	"command, 127 the guest does not have it, 255 the VM went away or rebooted.";

static const struct argp_option options[] = {
	{ "timeout", 't', "SECONDS", 0, "Kill the command after so long", 0 },
	{ "stdin", 'i', NULL, 0, "Pass standard input on (otherwise it is /dev/null)", 0 },
	{ "terminal", 'p', NULL, 0, "Give the command a terminal; implies -i", 0 },
	{ "serve", 's', "PORT", 0, "In the guest: run what comes through this port", 1 },
	{ "ports", 'n', "COUNT", 0, "With --serve: wait for so many named ports first", 1 },
	{ "vm", 'm', NULL, 0,
	  "On the host: COMMAND is QEMU; start it and serve SOCKET until it ends. Its chardev for "
	  "the guest's PORT is descriptor 3",
	  1 },
	{ 0 },
};

struct arguments {
	struct client_options client;
	const char *port;
	int ports;
	bool vm;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;
	char *end;

	switch (key) {
	case 't':
		args->client.timeout_s = strtod(arg, &end);
		if (end == arg || *end || args->client.timeout_s <= 0)
			argp_error(state, "--timeout: %s: give seconds, more than 0", arg);
		return 0;
	case 'i':
		args->client.with_stdin = true;
		return 0;
	case 'p':
		args->client.terminal = args->client.with_stdin = true;
		return 0;
	case 's':
		args->port = arg;
		return 0;
	case 'n':
		args->ports = atoi(arg);
		return 0;
	case 'm':
		args->vm = true;
		return 0;
	case ARGP_KEY_ARG:
		if (args->client.socket) {
			/* the command and all that follows belongs to the guest */
			args->client.argv = state->argv + state->next - 1;
			state->next = state->argc;
		} else {
			args->client.socket = arg;
		}
		return 0;
	case ARGP_KEY_END:
		if (!args->port && !args->client.argv)
			argp_usage(state);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

int main(int argc, char **argv)
{
	static const struct argp argp = { options, parse, "SOCKET COMMAND [ARGUMENT...]", doc, NULL,
					  NULL,	   NULL };
	struct arguments args = { .ports = 1 };

	argp_err_exit_status = EXIT_TROUBLE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &args);
	if (args.port)
		return serve(args.port, args.ports);
	if (args.vm)
		return mux(args.client.socket, args.client.argv);
	return client(&args.client);
}
