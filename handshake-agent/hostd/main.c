// SPDX-License-Identifier: BSD-2-Clause
/* sivshmem-hostd: options, folders, lock, and start and stop in order. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/audit_journal.h"
#include "common/confine.h"
#include "common/log.h"
#include "hostd.h"
#include "revocations.h"
#include "starter.h"
#include "user.h"

#define LOCK_FILE     "hostd.lock" /* in the run folder */
#define SWITCH_BINARY "sivshmem-switch"
#define SWITCH_LOG    "switch.log" /* in the run folder */

#ifndef SIVSHMEM_VERSION
#define SIVSHMEM_VERSION "0.1.0"
#endif

const char *argp_program_version = "sivshmem-hostd " SIVSHMEM_VERSION;

enum {
	OPT_CHECK = 256, OPT_LOG_LEVEL, OPT_READY_FD, OPT_SWITCH, OPT_PID_FILE, OPT_FOREGROUND,
	OPT_SANDBOX,
};

static const struct argp_option options[] = {
	{ "config", 'c', "FILE", 0, "configuration (" HOST_CONFIG ")", 0 },
	{ "check-config", OPT_CHECK, NULL, 0,
	  "say whether the configuration is good, and do nothing", 0 },
	{ "switch", OPT_SWITCH, "FILE", 0,
	  "the switch to start if none runs (" SWITCH_BINARY ", beside this program or in PATH)",
	  0 },
	{ "ready-fd", OPT_READY_FD, "N", 0,
	  "write a line to descriptor N, and close it, once VMs can connect", 0 },
	{ "pid-file", OPT_PID_FILE, "FILE", 0,
	  "write the process id there, remove it at the end", 0 },
	{ "log-level", OPT_LOG_LEVEL, "LEVEL", 0, "error, warning, info (default) or debug", 0 },
	{ "foreground", OPT_FOREGROUND, NULL, 0,
	  "stay in the foreground, which it does anyway", 0 },
	{ "sandbox", OPT_SANDBOX, "MODE", 0,
	  "system calls that it does not need: enforce (refused, the default), log or off", 0 },
	{ 0 },
};

struct args {
	const char *config;
	const char *switch_binary; /* NULL: to be found */
	const char *pid_file;
	bool check;
	enum log_level level;
	enum confine_mode sandbox;
	int ready_fd;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;
	char *end;
	long fd;

	switch (key) {
	case 'c':
		args->config = arg;
		return 0;
	case OPT_CHECK:
		args->check = true;
		return 0;
	case OPT_SWITCH:
		args->switch_binary = arg;
		return 0;
	case OPT_PID_FILE:
		args->pid_file = arg;
		return 0;
	case OPT_FOREGROUND:
		return 0;
	case OPT_SANDBOX:
		if (!confine_mode_parse(arg, &args->sandbox))
			argp_error(state, "--sandbox: \"%s\": one of enforce, log, off", arg);
		return 0;
	case OPT_LOG_LEVEL:
		if (!log_level_parse(arg, &args->level))
			argp_error(state, "--log-level: \"%s\": one of error, warning, info, debug",
				   arg);
		return 0;
	case OPT_READY_FD:
		errno = 0;
		fd = strtol(arg, &end, 10);
		if (errno || !arg[0] || *end || fd < 0 || fd > INT_MAX ||
		    fcntl((int)fd, F_GETFD) < 0)
			argp_error(state, "--ready-fd: \"%s\": not an open descriptor", arg);
		args->ready_fd = (int)fd;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "\"%s\": takes no arguments", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.doc = "Decides which services of which VMs may talk to each other, issues their "
	       "certificates and gives out the memory between them.\v"
	       "See sivshmem-hostd(8) and host.conf(5).",
};

/* Everything that start() makes and stop() undoes, in reverse. */
struct hostd {
	struct args args;
	struct host_config *config;
	char switch_binary[PATH_MAX];
	int starter; /* -1: none */
	int lock_fd; /* -1: none */
	int pid_fd;  /* -1: none */
	struct loop *loop;
	struct signer *signer;
	bool failed; /* it stops because it cannot go on */
	struct audit *audit;
	struct revocations revoked;
	struct journal *journal;
	struct broker *broker;
	struct links *links;
	struct control *control;
	struct host_admin admin;
};

/* 0711: QEMUs that run as other users pass through it to their own sockets. */
static bool make_run_folder(const char *path)
{
	struct stat st;

	if (mkdir(path, 0711) < 0 && errno != EEXIST) {
		log_error("%s: %s", path, strerror(errno));
		return false;
	}
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode) || (st.st_mode & 022) ||
	    (st.st_uid != 0 && st.st_uid != geteuid())) {
		log_error("%s: must be a folder of root or this user that nobody else can write in",
			  path);
		return false;
	}
	return true;
}

/* Held as long as the process lives: whoever has it may take stale sockets for its own. */
static int take_lock(const char *run)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/" LOCK_FILE, run);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		log_error("%s: %s", path, strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			log_error("%s: another sivshmem-hostd runs in this folder", path);
		else
			log_error("%s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

/* --switch, or the one beside this program, or the first in PATH. */
static bool find_switch(const struct args *args, char out[PATH_MAX])
{
	const char *path = getenv("PATH") ?: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - sizeof(SWITCH_BINARY));
	char *slash;

	if (args->switch_binary)
		return snprintf(out, PATH_MAX, "%s", args->switch_binary) < PATH_MAX;
	if (n > 0) {
		out[n] = '\0';
		slash = strrchr(out, '/');
		strcpy(slash + 1, SWITCH_BINARY);
		if (access(out, X_OK) == 0)
			return true;
	}
	while (*path) {
		size_t len = strcspn(path, ":");

		if (snprintf(out, PATH_MAX, "%.*s/" SWITCH_BINARY, (int)len, path) < PATH_MAX &&
		    access(out, X_OK) == 0)
			return true;
		path += len + (path[len] == ':');
	}
	snprintf(out, PATH_MAX, SWITCH_BINARY); /* said when it is needed and does not start */
	return true;
}

/* Each VM takes a listener and a connection, each link its memory. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void got_signal(int signo, void *arg)
{
	struct hostd *hostd = arg;

	if (signo == SIGHUP) {
		json_t *reply = json_object();

		host_reload(&hostd->admin, reply);
		json_decref(reply);
		return;
	}
	log_info("%s: stopping", strsignal(signo));
	loop_stop(hostd->loop);
}

static void stream_ended(void *arg, unsigned int vm)
{
	struct hostd *hostd = arg;

	if (hostd->control)
		control_stream_ended(hostd->control, vm);
	if (hostd->admin.admin)
		host_ca_look(&hostd->admin);
}

static void renewed(void *arg)
{
	struct hostd *hostd = arg;

	if (hostd->admin.admin)
		host_ca_renewed(&hostd->admin);
}

static bool write_pid_file(struct hostd *hostd)
{
	const char *path = hostd->args.pid_file;

	hostd->pid_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (hostd->pid_fd >= 0 && dprintf(hostd->pid_fd, "%d\n", (int)getpid()) > 0)
		return true;
	log_error("%s: %s", path, strerror(errno));
	return false;
}

/* Its own user may not remove it from where root put it; without a number it is as good as gone. */
static void remove_pid_file(struct hostd *hostd)
{
	if (hostd->pid_fd < 0)
		return;
	if (unlink(hostd->args.pid_file) < 0 && ftruncate(hostd->pid_fd, 0) < 0)
		log_warning("%s: stays: %s", hostd->args.pid_file, strerror(errno));
	close(hostd->pid_fd);
}

/* Before anything of a guest's is in memory. */
static bool open_starter(struct hostd *hostd)
{
	char log_file[PATH_MAX];

	snprintf(log_file, sizeof(log_file), "%s/" SWITCH_LOG, hostd->config->run);
	hostd->starter = starter_open(hostd->switch_binary, hostd->config->run, log_file);
	if (hostd->starter < 0)
		log_error("starter of the switch: %s", strerror(-hostd->starter));
	return hostd->starter >= 0;
}

static bool open_signer(struct hostd *hostd)
{
	char error[CA_ERROR_LEN];

	hostd->signer = signer_open(hostd->args.config, hostd->args.sandbox, error);
	if (!hostd->signer)
		log_error("%s", error);
	return hostd->signer;
}

/*
 * A new one would need rights that are given up. What is open does not need hostd, and goes on
 * when the next one is there.
 */
static void signer_gone(void *arg)
{
	struct hostd *hostd = arg;

	log_error("the signer is gone: stopping, for certificates can be issued only after a "
		  "restart; what is open goes on");
	hostd->failed = true;
	loop_stop(hostd->loop);
}

/* No capability: what is another user's has been given away. */
static bool give_up_rights(enum confine_mode mode)
{
	static const int families[] = { AF_UNIX, 0 };
	static const char *const none[] = { NULL };
	const struct confine_calls calls = { .names = none, .families = families };

	return !confine(mode, 0, &calls);
}

static bool open_audit(struct hostd *hostd)
{
	const struct host_config *config = hostd->config;

	hostd->audit = audit_open(config->audit, NULL);
	if (!hostd->audit) {
		log_error("%s: %s", config->audit, strerror(errno));
		return false;
	}
	if (config->audit_journal)
		audit_set_journal(hostd->audit, audit_journal_open(AUDIT_JOURNAL_SOCKET));
	return true;
}

static bool open_broker(struct hostd *hostd)
{
	const struct host_config *config = hostd->config;
	struct broker_config broker = {
		.loop = hostd->loop,
		.policy = config->policy,
		.limits = config->limits,
		.stream_ended = stream_ended,
		.renewed = renewed,
		.arg = hostd,
	};

	/* Without it nothing may start: what is revoked would not be. */
	if (revocations_load(config->own, &hostd->revoked, stderr))
		return false;
	config->policy->revoked = &hostd->revoked;
	hostd->journal = journal_open(config->own);
	if (!hostd->journal) {
		log_error("%s/" JOURNAL_FILE ": %s", config->own, strerror(errno));
		return false;
	}
	broker.journal = hostd->journal;
	broker.ca = signer_ca(hostd->signer);
	broker.audit = hostd->audit;
	hostd->broker = broker_new(&broker);
	if (!hostd->broker)
		log_error("broker: out of memory");
	return hostd->broker;
}

static bool start(struct hostd *hostd)
{
	sigset_t signals;
	int err;

	if (!make_run_folder(hostd->config->run))
		return false;
	hostd->lock_fd = take_lock(hostd->config->run);
	if (hostd->lock_fd < 0)
		return false;
	hostd->loop = loop_new();
	if (!hostd->loop) {
		log_error("event loop: %s", strerror(errno));
		return false;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	err = loop_signals(hostd->loop, &signals, got_signal, hostd);
	if (err) {
		log_error("signals: %s", strerror(-err));
		return false;
	}
	if (!user_make_folders(hostd->config) || !open_starter(hostd) || !open_signer(hostd))
		return false;
	confine_memory();
	err = signer_watch(hostd->signer, hostd->loop, signer_gone, hostd);
	if (err) {
		log_error("signer: %s", strerror(-err));
		return false;
	}
	if (!open_audit(hostd))
		return false;
	if (!user_acts(hostd->config, true) || !open_broker(hostd))
		return false;
	/* Links before agents: what an agent reports is about links that are known. */
	hostd->links = links_open(hostd->loop, hostd->config, hostd->broker, hostd->switch_binary,
				  hostd->starter);
	if (!hostd->links || !user_acts(hostd->config, false))
		return false;
	hostd->control = control_open(hostd->loop, hostd->config, hostd->broker);
	if (!hostd->control)
		return false;
	hostd->admin.config = hostd->config;
	hostd->admin.broker = hostd->broker;
	hostd->admin.signer = hostd->signer;
	hostd->admin.ca = signer_ca(hostd->signer);
	hostd->admin.audit = hostd->audit;
	hostd->admin.revoked = &hostd->revoked;
	err = host_admin_open(&hostd->admin, hostd->loop);
	if (err) {
		log_error("%s/" HOST_ADMIN ": %s", hostd->config->run, strerror(-err));
		return false;
	}
	if (hostd->args.pid_file && !write_pid_file(hostd))
		return false;
	return user_become(hostd->config) && give_up_rights(hostd->args.sandbox);
}

/* Of what start() has made, whatever that is. The switch stays, and what the VMs have open. */
static void stop(struct hostd *hostd)
{
	remove_pid_file(hostd);
	host_admin_close(&hostd->admin);
	/* First its streams; then nobody asks control for the next ones any more. */
	broker_free(hostd->broker);
	control_close(hostd->control);
	links_close(hostd->links);
	journal_close(hostd->journal);
	revocations_free(&hostd->revoked);
	audit_close(hostd->audit);
	signer_close(hostd->signer);
	loop_free(hostd->loop);
	if (hostd->starter >= 0)
		close(hostd->starter);
	if (hostd->lock_fd >= 0)
		close(hostd->lock_fd);
}

static void say_ready(int fd)
{
	static const char line[] = "ready\n";

	if (fd < 0)
		return;
	if (write(fd, line, sizeof(line) - 1) < 0)
		log_warning("--ready-fd: %s", strerror(errno));
	close(fd);
}

int main(int argc, char **argv)
{
	struct hostd hostd = {
		.args = { .config = HOST_CONFIG, .level = LOG_LEVEL_INFO, .ready_fd = -1,
			  .sandbox = CONFINE_ENFORCE },
		.starter = -1,
		.lock_fd = -1,
		.pid_fd = -1,
	};
	int status = EXIT_FAILURE;

	argp_parse(&argp, argc, argv, 0, NULL, &hostd.args);
	log_init("sivshmem-hostd", hostd.args.level);
	hostd.config = host_config_load(hostd.args.config, stderr);
	if (!hostd.config)
		return EXIT_FAILURE;
	if (hostd.args.check) {
		printf("%s: good\n", hostd.args.config);
		host_config_free(hostd.config);
		return EXIT_SUCCESS;
	}
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	raise_descriptor_limit();
	if (find_switch(&hostd.args, hostd.switch_binary) && start(&hostd)) {
		log_info("ready: %u vms, %u links", hostd.config->policy->n_vms,
			 hostd.config->policy->n_links);
		say_ready(hostd.args.ready_fd);
		if (loop_run(hostd.loop) == 0 && !hostd.failed)
			status = EXIT_SUCCESS;
	}
	stop(&hostd);
	host_config_free(hostd.config);
	return status;
}
