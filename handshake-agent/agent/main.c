// SPDX-License-Identifier: BSD-2-Clause
/* sivshmem-agent: options, privileges, and the loop. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "common/admin.h"
#include "common/confine.h"
#include "common/log.h"
#include "common/secrets.h"
#include "standalone.h"

#ifndef SIVSHMEM_VERSION
#define SIVSHMEM_VERSION "0.1.0"
#endif

const char *argp_program_version = "sivshmem-agent " SIVSHMEM_VERSION;

enum { OPT_READY_FD = 256, OPT_LOG_LEVEL, OPT_CHECK, OPT_SANDBOX };

static const struct argp_option options[] = {
	{ "config", 'c', "FILE", 0, "configuration (" AGENT_CONFIG ")", 0 },
	{ "check-config", OPT_CHECK, NULL, 0,
	  "say whether the configuration is good, and do nothing", 0 },
	{ "standalone", 's', NULL, 0,
	  "no host: only this machine's services, with a CA of their own", 0 },
	{ "log-level", OPT_LOG_LEVEL, "LEVEL", 0, "error, warning, info (default) or debug", 0 },
	{ "ready-fd", OPT_READY_FD, "N", 0,
	  "write a line to descriptor N once processes can connect", 0 },
	{ "sandbox", OPT_SANDBOX, "MODE", 0,
	  "system calls that it does not need: enforce (refused, the default), log or off", 0 },
	{ 0 },
};

struct args {
	const char *config;
	bool check, standalone;
	enum log_level level;
	enum confine_mode sandbox;
	int ready_fd;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;
	char *end;

	switch (key) {
	case 'c':
		a->config = arg;
		return 0;
	case OPT_CHECK:
		a->check = true;
		return 0;
	case 's':
		a->standalone = true;
		return 0;
	case OPT_LOG_LEVEL:
		if (!log_level_parse(arg, &a->level))
			argp_error(state, "--log-level: \"%s\": error, warning, info or debug", arg);
		return 0;
	case OPT_SANDBOX:
		if (!confine_mode_parse(arg, &a->sandbox))
			argp_error(state, "--sandbox: \"%s\": enforce, log or off", arg);
		return 0;
	case OPT_READY_FD:
		a->ready_fd = strtol(arg, &end, 10);
		if (!arg[0] || *end || a->ready_fd < 0 || fcntl(a->ready_fd, F_GETFD) < 0)
			argp_error(state, "--ready-fd: \"%s\": not an open descriptor", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Decides which processes may use AF_SIVSHMEM as which service, and authenticates them "
	       "to the services of other VMs.\vSee sivshmem-agent(8) and agent.conf(5).",
};

static struct args args = {
	.config = AGENT_CONFIG, .level = LOG_LEVEL_INFO, .ready_fd = -1, .sandbox = CONFINE_ENFORCE,
};

static void ready(struct agent *agent)
{
	static const char line[] = "ready\n";

	(void)agent;
	if (args.ready_fd < 0)
		return;
	if (write(args.ready_fd, line, sizeof(line) - 1) < 0)
		log_warning("--ready-fd: %s", strerror(errno));
	if (args.ready_fd > STDERR_FILENO)
		close(args.ready_fd);
	args.ready_fd = -1;
}

static void got_signal(int signo, void *arg)
{
	struct agent *agent = arg;

	log_info("%s: stopping", strsignal(signo));
	loop_stop(agent->loop);
}

/* The folder of the admin socket: /run is empty after a boot. */
static void make_folder(const char *path)
{
	char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (slash && slash != folder) {
		*slash = 0;
		mkdir(folder, 0755); /* whether it is there shows when the socket is made */
	}
	free(folder);
}

/*
 * Keeps CAP_NET_ADMIN, which the module's netlink asks for, and no other capability. Files are read
 * as root's from then on; nothing is opened later that root's rights alone do not cover.
 */
static bool give_up_rights(void)
{
	static const int families[] = { AF_UNIX, AF_NETLINK, 0 };
	static const char *const none[] = { NULL };
	const struct confine_calls calls = { .names = none, .families = families };

	return !confine(args.sandbox, 1ull << CAP_NET_ADMIN, &calls);
}

static int open_control(const struct agent_config *config)
{
	int fd = open(config->control, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		log_error("control: %s: %s: %s", config->control, strerror(errno),
			  errno == EBUSY ? "another agent has it" :
					   "give the VM its virtio-serial port, or name it in "
					   "agent.conf");
	return fd;
}

static int serve(struct loop *loop, const struct agent_config *config)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	struct standalone *standalone = NULL;
	struct admin *admin = NULL;
	struct kernel *kernel;
	int fd = -1, err, code = 1;
	sigset_t set;

	if (!agent)
		return 1;
	agent->standalone = args.standalone;
	agent->ready = ready;
	if (args.standalone)
		standalone = standalone_open(loop, config, &fd);
	else
		fd = open_control(config);
	if (fd < 0)
		goto out_free;
	kernel = kernel_netlink_open(loop);
	if (!kernel) {
		log_error("kernel: netlink: %s", strerror(errno));
		close(fd);
		goto out_standalone;
	}
	err = agent_start(agent, loop, config, kernel, fd, !args.standalone);
	if (err) {
		log_error("control: %s: %s", config->control, strerror(-err));
		goto out_standalone;
	}
	make_folder(config->admin);
	admin = agent_status_open(agent);
	if (!admin) {
		log_error("%s: admin: %s: %s: stop who has it, or name another", config->path,
			  config->admin, strerror(errno));
		goto out_agent;
	}
	if (!give_up_rights())
		goto out_admin;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	err = loop_signals(loop, &set, got_signal, agent);
	if (!err)
		err = loop_run(loop);
	if (err)
		log_error("loop: %s", strerror(-err));
	code = err ? 1 : agent->exit_code;

out_admin:
	admin_free(admin);
out_agent:
	agent_stop(agent);
out_standalone:
	standalone_close(standalone);
out_free:
	free(agent);
	return code;
}

int main(int argc, char **argv)
{
	struct agent_config config;
	struct loop *loop;
	int code;

	log_init("sivshmem-agent", LOG_LEVEL_INFO);
	argp_parse(&argp, argc, argv, 0, NULL, &args);
	log_init("sivshmem-agent", args.level);
	if (!agent_config_load(args.config, &config))
		return 1;
	if (args.check) {
		agent_config_free(&config);
		return 0;
	}
	signal(SIGPIPE, SIG_IGN);
	confine_memory();
	secrets_init();
	loop = loop_new();
	if (!loop) {
		log_error("loop: %s", strerror(errno));
		agent_config_free(&config);
		return 1;
	}
	code = serve(loop, &config);
	loop_free(loop);
	agent_config_free(&config);
	return code;
}
