// SPDX-License-Identifier: BSD-2-Clause
/* sivshmem-switch: the ivshmem server for all links of a host. Start-up, signals, shutdown. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/log.h"
#include "switch.h"
#include "unix_socket.h"

#define LOCK_FILE "switch.lock"
#define DEFAULT_RUN_DIR "/run/sivshmem"

const char *argp_program_version = "sivshmem-switch 0.1.0";

struct args {
	const char *run_dir;
	int ready_fd;
	enum log_level level;
	enum confine_mode sandbox;
};

static const struct argp_option options[] = {
	{ "run-dir", 'r', "DIR", 0, "Folder of the control socket and the QEMUs' sockets ("
	  DEFAULT_RUN_DIR ")", 0 },
	{ "log-level", 'l', "LEVEL", 0, "error, warning, info (default) or debug", 0 },
	{ "ready-fd", 'f', "FD", 0, "Write a newline to this descriptor, and close it, once the "
	  "control socket can be connected", 0 },
	{ "sandbox", 's', "MODE", 0,
	  "system calls that it does not need: enforce (refused, the default), log or off", 0 },
	{ 0 }
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;
	char *end;
	long fd;

	switch (key) {
	case 'r':
		args->run_dir = arg;
		return 0;
	case 'l':
		if (!log_level_parse(arg, &args->level))
			argp_error(state, "--log-level: no level \"%s\"; use error, warning, info "
				   "or debug", arg);
		return 0;
	case 's':
		if (!confine_mode_parse(arg, &args->sandbox))
			argp_error(state, "--sandbox: no mode \"%s\"; use enforce, log or off",
				   arg);
		return 0;
	case 'f':
		errno = 0;
		fd = strtol(arg, &end, 10);
		if (errno || *end || end == arg || fd < 0 || fd > INT_MAX || fcntl(fd, F_GETFD) < 0)
			argp_error(state, "--ready-fd: \"%s\" is not an open descriptor", arg);
		args->ready_fd = fd;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "\"%s\": takes no arguments", arg);
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.doc = "The ivshmem server for all links between the VMs of a host.\v"
	       "Stays in the foreground and logs to stderr. sivshmem-hostd starts it when none "
	       "runs and tells it over DIR/" SWP_CONTROL_SOCKET " which links there are. It must "
	       "outlive hostd: a QEMU that loses it never gets another.",
};

static void got_signal(int signo, void *loop)
{
	if (signo == SIGHUP)
		return; /* the end of the session that started us is not ours */
	log_info("%s: stopping", strsignal(signo));
	loop_stop(loop);
}

/* Whoever started us may have blocked others. */
static int take_signals(struct loop *loop)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN); /* stderr may be a pipe whose reader is gone */
	return loop_signals(loop, &set, got_signal, loop);
}

/* Makes the run directory if it is missing, and writes its absolute path. 0 or -errno, logged. */
static int run_dir_open(const char *dir, char absolute[PATH_MAX])
{
	int fd, err;

	/* 0711: QEMUs that run as other users pass through it to their own socket */
	if (mkdir(dir, 0711) && errno != EEXIST) {
		err = -errno;
		log_error("--run-dir: %s: %s", dir, strerror(errno));
		return err;
	}
	if (!realpath(dir, absolute)) {
		err = -errno;
		log_error("--run-dir: %s: %s", dir, strerror(errno));
		return err;
	}
	fd = open(absolute, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		log_error("--run-dir: %s: %s", absolute, strerror(errno));
		return err;
	}
	err = unix_check_folder(fd);
	close(fd);
	if (err)
		log_error("--run-dir: %s: must belong to root or this user and be writable to "
			  "nobody else", absolute);
	return err;
}

/* Held for as long as the process lives; whoever has it may take stale sockets for its own. */
static int lock_take(const char *run_dir)
{
	char path[PATH_MAX + sizeof(LOCK_FILE)], pid[16] = "";
	int fd, err;

	snprintf(path, sizeof(path), "%s/" LOCK_FILE, run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		err = -errno;
		log_error("%s: %s", path, strerror(errno));
		return err;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = -errno;
		if (read(fd, pid, sizeof(pid) - 1) < 0)
			pid[0] = '\0';
		pid[strcspn(pid, "\n")] = '\0';
		if (err == -EWOULDBLOCK)
			log_error("%s: switch %s runs in this folder: use it, or another --run-dir",
				  path, pid);
		else
			log_error("%s: %s", path, strerror(-err));
		goto close_lock;
	}
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, pid, strlen(pid), 0) < 0) {
		err = -errno;
		log_error("%s: %s", path, strerror(errno));
		goto close_lock;
	}
	return fd;

close_lock:
	close(fd);
	return err;
}

/* Each link takes 3 descriptors, each QEMU 2 and one for each vector. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static unsigned int count_joined(const struct switchd *sw)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < sw->n_links; i++)
		for (int e = 0; e < SWP_ENDS; e++)
			n += sw->links[i]->end[e].state == SWP_END_JOINED;
	return n;
}

/* Keeps what gives sockets to the users of their QEMUs. */
static int give_up_rights(enum confine_mode mode)
{
	static const char *const names[] = { "memfd_create", "pidfd_open", NULL };
	static const int families[] = { AF_UNIX, 0 };
	const struct confine_calls calls = { .names = names, .families = families };

	return confine(mode, 1ull << CAP_CHOWN, &calls);
}

static int serve(struct switchd *sw, int ready_fd)
{
	int err = take_signals(sw->loop);

	if (err) {
		log_error("signals: %s", strerror(-err));
		return err;
	}
	log_info("ready in %s", sw->run_dir);
	if (ready_fd >= 0) {
		if (write(ready_fd, "\n", 1) != 1)
			log_warning("--ready-fd: %s", strerror(errno));
		close(ready_fd);
	}
	err = loop_run(sw->loop);
	if (err)
		log_error("epoll: %s", strerror(-err));
	if (count_joined(sw))
		log_warning("%u QEMUs lose their ivshmem server: restart their VMs",
			    count_joined(sw));
	return err;
}

int main(int argc, char **argv)
{
	struct args args = { .run_dir = DEFAULT_RUN_DIR, .ready_fd = -1, .level = LOG_LEVEL_INFO,
			     .sandbox = CONFINE_ENFORCE };
	char run_dir[PATH_MAX];
	struct switchd sw;
	int lock, err;

	argp_parse(&argp, argc, argv, 0, NULL, &args);
	log_init("sivshmem-switch", args.level);
	if (args.ready_fd >= 0)
		fcntl(args.ready_fd, F_SETFD, FD_CLOEXEC);
	raise_descriptor_limit();
	if (run_dir_open(args.run_dir, run_dir))
		return EXIT_FAILURE;
	lock = lock_take(run_dir);
	if (lock < 0)
		return EXIT_FAILURE;
	if (chdir("/")) /* keep no file system busy */
		log_warning("cannot change to /: %s", strerror(errno));
	err = switchd_init(&sw, run_dir);
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		goto unlock;
	}
	err = give_up_rights(args.sandbox);
	if (!err)
		err = serve(&sw, args.ready_fd);
	switchd_exit(&sw);
unlock:
	close(lock);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
