// SPDX-License-Identifier: BSD-2-Clause
/* The daemons as processes. */
#include "hostd_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/admin.h"
#include "common/confine.h"
#include "common/unix.h"
#include "remove_tree.h"

void hostd_write_config(const struct daemon_fixture *d)
{
	FILE *file = fopen(d->config, "w");

	assert_non_null(file);
	fprintf(file,
		"trust-domain = \"test.example\"\nrun = \"%s/run\"\nstate = \"%s/state\"\n"
		"user = \"%s\" audit-journal = no opens-per-second = 100000\n" /* for floods of other things */
		"vm \"a\" { services = {\"cli\", \"loc\"} local-size = \"2M\" }\n"
		"vm \"b\" { services = {\"srv\"} }\n"
		"vm \"c\" { services = {\"srv2\"} }\n"
		"link \"a\" \"b\" { size = \"2M\" }\n"
		"link \"c\" \"a\" { size = \"2M\" }\n"
		"allow { from = \"a/cli\" to = \"b/srv\" }\n"
		"allow { from = \"a/cli\" to = \"a/loc\" }\n",
		d->folder, d->folder, d->user ?: "root");
	fclose(file);
}

void hostd_start(struct daemon_fixture *d)
{
	char program[300], line[16];
	struct pollfd pfd;
	int ready[2];

	snprintf(program, sizeof(program), "%s/sivshmem-hostd", d->bin);
	assert_int_equal(pipe(ready), 0);
	d->hostd = fork();
	assert_true(d->hostd >= 0);
	if (d->hostd == 0) {
		int log = open(d->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(log, STDERR_FILENO);
		dup2(log, STDOUT_FILENO);
		dup2(ready[1], 5);
		if (d->caps && confine_capabilities(d->caps))
			_exit(126);
		execl(program, program, "--config", d->config, "--ready-fd", "5", "--log-level",
		      "debug", NULL);
		_exit(127);
	}
	close(ready[1]);
	pfd = (struct pollfd){ .fd = ready[0], .events = POLLIN };
	assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
	if (read(ready[0], line, sizeof(line)) != 6)
		fail_msg("sivshmem-hostd does not start: see %s", d->log);
	assert_memory_equal(line, "ready\n", 6);
	close(ready[0]);
}

void hostd_expect_no_start(struct daemon_fixture *d)
{
	char program[300];
	struct pollfd end;
	int status;
	pid_t pid;

	snprintf(program, sizeof(program), "%s/sivshmem-hostd", d->bin);
	pid = fork();
	if (pid == 0) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		if (d->caps && confine_capabilities(d->caps))
			_exit(126);
		execl(program, program, "--config", d->config, NULL);
		_exit(127);
	}
	end = (struct pollfd){ .fd = pidfd_open(pid, 0), .events = POLLIN };
	assert_true(end.fd >= 0);
	if (poll(&end, 1, PATIENCE_MS) != 1)
		kill(pid, SIGKILL);
	close(end.fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

void hostd_lost(struct daemon_fixture *d)
{
	d->hostd = 0;
	for (unsigned int vm = 0; vm < N_VMS; vm++) {
		if (d->fx.agent[vm].fd >= 0)
			close(d->fx.agent[vm].fd);
		d->fx.agent[vm].fd = -1;
		d->fx.agent[vm].len = d->fx.agent[vm].used = 0;
	}
}

void hostd_kill(struct daemon_fixture *d, int signo, int expected)
{
	int status;

	kill(d->hostd, signo);
	assert_int_equal(waitpid(d->hostd, &status, 0), d->hostd);
	if (signo == SIGTERM)
		assert_int_equal(status, expected);
	hostd_lost(d);
}

pid_t hostd_switch_pid(const struct daemon_fixture *d)
{
	char path[128];
	FILE *file;
	int pid;

	snprintf(path, sizeof(path), "%s/run/switch.lock", d->folder);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &pid), 1);
	fclose(file);
	return pid;
}

void hostd_lose_switch(struct daemon_fixture *d)
{
	struct pollfd changed = { .fd = inotify_init1(IN_CLOEXEC), .events = POLLIN };
	pid_t before = hostd_switch_pid(d);
	char path[128];

	snprintf(path, sizeof(path), "%s/run/switch.lock", d->folder);
	assert_true(inotify_add_watch(changed.fd, path, IN_MODIFY) >= 0);
	kill(before, SIGKILL);
	assert_int_equal(poll(&changed, 1, PATIENCE_MS), 1); /* the next one writes its pid there */
	close(changed.fd);
	hostd_barrier(d);
	assert_int_not_equal(hostd_switch_pid(d), before);
}

static void kill_switch(const struct daemon_fixture *d)
{
	char path[128], pid[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/run/switch.lock", d->folder);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return;
	if (read(fd, pid, sizeof(pid) - 1) > 0 && atoi(pid) > 1)
		kill(atoi(pid), SIGKILL);
	close(fd);
}

uint32_t hostd_start_qemu(struct daemon_fixture *d, unsigned int vm, const char *socket)
{
	uint32_t position = 0;
	int told[2];
	char path[128];

	snprintf(path, sizeof(path), "%s/run/%s", d->folder, socket);
	assert_int_equal(pipe(told), 0);
	d->qemu[vm] = fork();
	if (d->qemu[vm] == 0) {
		int64_t hello[2]; /* version 0, own number; little-endian as QEMU has it */
		int fd = unix_connect(path);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd < 0 || recv(fd, &hello[0], 8, MSG_WAITALL) != 8 ||
		    recv(fd, &hello[1], 8, MSG_WAITALL) != 8 || hello[0] != 0)
			_exit(1);
		position = (uint32_t)hello[1];
		if (write(told[1], &position, sizeof(position)) != sizeof(position))
			_exit(1);
		for (;;)
			pause();
	}
	close(told[1]);
	assert_int_equal(read(told[0], &position, sizeof(position)), sizeof(position));
	close(told[0]);
	return position;
}

void hostd_kill_qemu(struct daemon_fixture *d, unsigned int vm)
{
	kill(d->qemu[vm], SIGKILL);
	waitpid(d->qemu[vm], NULL, 0);
	d->qemu[vm] = 0;
}

void hostd_connect_agent(struct daemon_fixture *d, unsigned int vm)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/run/vm-%c.sock", d->folder, 'a' + (int)vm);
	d->fx.agent[vm].fd = unix_connect(path);
	assert_true(d->fx.agent[vm].fd >= 0);
	fx_hello(&d->fx, vm);
}

void hostd_report_channel(struct daemon_fixture *d, const struct fx_channel *channel)
{
	hostd_connect_agent(d, A);
	fx_report(&d->fx, A, channel, 0, "b", "cli", "srv");
	fx_reported(&d->fx, A);
	hostd_connect_agent(d, B);
	fx_report(&d->fx, B, channel, 1, "a", "srv", "cli");
	fx_reported(&d->fx, B);
}

const struct sivp_msg *hostd_expect_link(struct daemon_fixture *d, unsigned int vm,
					  uint32_t position, bool up)
{
	const struct sivp_msg *msg;

	do {
		msg = fx_expect(&d->fx, vm, SIVP_LINK);
	} while (sivp_u32(msg, SIVP_A_IVPOSITION) != position || sivp_u32(msg, SIVP_A_UP) != up);
	return msg;
}

json_t *hostd_call(struct daemon_fixture *d, json_t *request)
{
	char path[128], error[256];
	json_t *reply;

	snprintf(path, sizeof(path), "%s/run/hostd.sock", d->folder);
	reply = admin_call(path, request, error, sizeof(error));
	if (!reply)
		fail_msg("%s", error);
	json_decref(request);
	return reply;
}

json_t *hostd_ask(struct daemon_fixture *d, const char *command)
{
	json_t *reply = hostd_call(d, json_pack("{s:s}", "command", command));

	assert_true(json_is_true(json_object_get(reply, "ok")));
	return reply;
}

size_t hostd_count_channels(struct daemon_fixture *d)
{
	json_t *reply = hostd_ask(d, "channels");
	size_t n = json_array_size(json_object_get(reply, "channels"));

	json_decref(reply);
	return n;
}

/*
 * What was sent on any stream before this has been handled after it. A round of the daemon's loop
 * takes ready streams in any order, so the first question may be served before them, but in their
 * round; the second one not.
 */
void hostd_barrier(struct daemon_fixture *d)
{
	json_decref(hostd_ask(d, "status"));
	json_decref(hostd_ask(d, "status"));
}

struct fx_channel hostd_bring_up(struct daemon_fixture *d)
{
	struct fixture *fx = &d->fx;
	struct fx_channel channel;
	uint32_t epoch;

	fx->agent[A].positions[0] = hostd_start_qemu(d, A, "a--b.0.sock");
	fx->agent[B].positions[0] = hostd_start_qemu(d, B, "a--b.1.sock");
	/* no links inside them: one less that speaks up in between */
	fx->agent[A].n_positions = fx->agent[B].n_positions = 1;
	for (unsigned int vm = A; vm <= B; vm++) {
		hostd_connect_agent(d, vm);
		fx_reported(fx, vm);
	}
	for (unsigned int vm = A; vm <= B; vm++) {
		epoch = sivp_u32(hostd_expect_link(d, vm, fx->agent[vm].positions[0], true),
				 SIVP_A_EPOCH);
		fx_ack(fx, vm, fx->agent[vm].positions[0], epoch);
	}
	hostd_barrier(d);
	channel = fx_connected(fx, 1, B, "srv");
	hostd_barrier(d); /* it has heard that both have attached */
	return channel;
}

int hostd_setup(void **state)
{
	struct daemon_fixture *d = calloc(1, sizeof(*d));
	char self[256] = "";

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(d->bin, sizeof(d->bin), "%s/../bin", dirname(self));
	strcpy(d->folder, "/tmp/siv-hostd-XXXXXX");
	assert_non_null(mkdtemp(d->folder));
	snprintf(d->config, sizeof(d->config), "%s/host.conf", d->folder);
	snprintf(d->log, sizeof(d->log), "%s/log", d->folder);
	hostd_write_config(d);
	fx_init_agents(&d->fx);
	hostd_start(d);
	*state = d;
	return 0;
}

int hostd_teardown(void **state)
{
	struct daemon_fixture *d = *state;

	if (d->hostd)
		hostd_kill(d, SIGTERM, 0);
	for (unsigned int vm = 0; vm < N_VMS; vm++) {
		if (d->qemu[vm])
			hostd_kill_qemu(d, vm);
	}
	kill_switch(d);
	remove_tree(d->folder);
	free(d);
	return 0;
}
