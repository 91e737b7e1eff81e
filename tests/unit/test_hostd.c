// SPDX-License-Identifier: BSD-2-Clause
/*
 * sivshmem-hostd and sivshmem-switch as processes, with scripted agents, and processes that hold
 * the links' ends as a QEMU would. No VM is needed to see who survives whom.
 */
#include "broker_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/capability.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/admin.h"
#include "common/confine.h"
#include "common/unix.h"
#include "remove_tree.h"

#define PATIENCE_MS 20000 /* far beyond anything but a hang */

struct daemon_fixture {
	struct fixture fx; /* first; its broker is a process */
	char bin[256];     /* build/bin, beside build/unit */
	char folder[64], config[96], log[96];
	pid_t hostd;
	pid_t qemu[N_VMS]; /* 0: none */
	unsigned long long caps; /* that hostd is started with; 0: all */
};

static void write_config(const struct daemon_fixture *d)
{
	FILE *file = fopen(d->config, "w");

	assert_non_null(file);
	fprintf(file,
		"trust-domain = \"test.example\"\nrun = \"%s/run\"\nstate = \"%s/state\"\n"
		"audit-journal = no\n"
		"vm \"a\" { services = {\"cli\", \"loc\"} local-size = \"2M\" }\n"
		"vm \"b\" { services = {\"srv\"} }\n"
		"vm \"c\" { services = {\"srv2\"} }\n"
		"link \"a\" \"b\" { size = \"2M\" }\n"
		"link \"c\" \"a\" { size = \"2M\" }\n"
		"allow { from = \"a/cli\" to = \"b/srv\" }\n"
		"allow { from = \"a/cli\" to = \"a/loc\" }\n",
		d->folder, d->folder);
	fclose(file);
}

/* Returns when it says that it is ready. */
static void start_hostd(struct daemon_fixture *d)
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

static void kill_hostd(struct daemon_fixture *d, int signo, int expected)
{
	int status;

	kill(d->hostd, signo);
	assert_int_equal(waitpid(d->hostd, &status, 0), d->hostd);
	if (signo == SIGTERM)
		assert_int_equal(status, expected);
	d->hostd = 0;
	for (unsigned int vm = 0; vm < N_VMS; vm++) {
		if (d->fx.agent[vm].fd >= 0)
			close(d->fx.agent[vm].fd);
		d->fx.agent[vm].fd = -1;
		d->fx.agent[vm].len = d->fx.agent[vm].used = 0;
	}
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

/* A process that holds an end of a link, and the IVPosition that it was given. */
static uint32_t start_qemu(struct daemon_fixture *d, unsigned int vm, const char *socket)
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

static void kill_qemu(struct daemon_fixture *d, unsigned int vm)
{
	kill(d->qemu[vm], SIGKILL);
	waitpid(d->qemu[vm], NULL, 0);
	d->qemu[vm] = 0;
}

static void connect_agent(struct daemon_fixture *d, unsigned int vm)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/run/vm-%c.sock", d->folder, 'a' + (int)vm);
	d->fx.agent[vm].fd = unix_connect(path);
	assert_true(d->fx.agent[vm].fd >= 0);
	fx_hello(&d->fx, vm);
}

/* LINK of that IVPosition, whatever other links say before it. */
static const struct sivp_msg *expect_link(struct daemon_fixture *d, unsigned int vm,
					  uint32_t position, bool up)
{
	const struct sivp_msg *msg;

	do {
		msg = fx_expect(&d->fx, vm, SIVP_LINK);
	} while (sivp_u32(msg, SIVP_A_IVPOSITION) != position || sivp_u32(msg, SIVP_A_UP) != up);
	return msg;
}

static json_t *ask(struct daemon_fixture *d, const char *command)
{
	json_t *request = json_pack("{s:s}", "command", command), *reply;
	char path[128], error[256];

	snprintf(path, sizeof(path), "%s/run/hostd.sock", d->folder);
	reply = admin_call(path, request, error, sizeof(error));
	if (!reply)
		fail_msg("%s", error);
	json_decref(request);
	assert_true(json_is_true(json_object_get(reply, "ok")));
	return reply;
}

static size_t count_channels(struct daemon_fixture *d)
{
	json_t *reply = ask(d, "channels");
	size_t n = json_array_size(json_object_get(reply, "channels"));

	json_decref(reply);
	return n;
}

/*
 * What was sent on any stream before this has been handled after it. A round of the daemon's loop
 * takes ready streams in any order, so the first question may be served before them, but in their
 * round; the second one not.
 */
static void barrier(struct daemon_fixture *d)
{
	json_decref(ask(d, "status"));
	json_decref(ask(d, "status"));
}

/* A and B up and connected. */
static struct fx_channel bring_up(struct daemon_fixture *d)
{
	struct fixture *fx = &d->fx;
	uint32_t epoch;

	fx->agent[A].positions[0] = start_qemu(d, A, "a--b.0.sock");
	fx->agent[B].positions[0] = start_qemu(d, B, "a--b.1.sock");
	/* no links inside them: one less that speaks up in between */
	fx->agent[A].n_positions = fx->agent[B].n_positions = 1;
	for (unsigned int vm = A; vm <= B; vm++) {
		connect_agent(d, vm);
		fx_reported(fx, vm);
	}
	for (unsigned int vm = A; vm <= B; vm++) {
		epoch = sivp_u32(expect_link(d, vm, fx->agent[vm].positions[0], true),
				 SIVP_A_EPOCH);
		fx_ack(fx, vm, fx->agent[vm].positions[0], epoch);
	}
	barrier(d);
	return fx_connected(fx, 1, B, "srv");
}

static int setup(void **state)
{
	struct daemon_fixture *d = calloc(1, sizeof(*d));
	char self[256] = "";

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(d->bin, sizeof(d->bin), "%s/../bin", dirname(self));
	strcpy(d->folder, "/tmp/siv-hostd-XXXXXX");
	assert_non_null(mkdtemp(d->folder));
	snprintf(d->config, sizeof(d->config), "%s/host.conf", d->folder);
	snprintf(d->log, sizeof(d->log), "%s/log", d->folder);
	write_config(d);
	fx_init_agents(&d->fx);
	start_hostd(d);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct daemon_fixture *d = *state;

	if (d->hostd)
		kill_hostd(d, SIGTERM, 0);
	for (unsigned int vm = 0; vm < N_VMS; vm++) {
		if (d->qemu[vm])
			kill_qemu(d, vm);
	}
	kill_switch(d);
	remove_tree(d->folder);
	free(d);
	return 0;
}

static void test_connect_through_the_daemons(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = bring_up(d);
	json_t *reply;

	reply = ask(d, "status");
	assert_int_equal(json_array_size(json_object_get(reply, "vms")), 3);
	json_decref(reply);
	assert_int_equal(count_channels(d), 1);
	fx_closed(&d->fx, A, &channel, 0);
	fx_closed(&d->fx, B, &channel, 1);
	barrier(d);
	assert_int_equal(count_channels(d), 0);
	fx_connected(&d->fx, 2, B, "srv");
	assert_int_equal(count_channels(d), 1);
}

static void test_vm_killed_resets_its_peer(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = bring_up(d);
	const struct sivp_msg *msg;

	kill_qemu(d, B);
	msg = expect_link(d, A, d->fx.agent[A].positions[0], false);
	assert_true(sivp_u32(msg, SIVP_A_EPOCH) > channel.epoch);
	fx_closed(&d->fx, A, &channel, 0);
	fx_open(&d->fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(&d->fx, A, 2, SIVP_R_VM_DOWN);
	assert_int_equal(count_channels(d), 0);
	/* and is back */
	close(d->fx.agent[B].fd);
	d->fx.agent[B].fd = -1;
	d->fx.agent[B].len = d->fx.agent[B].used = 0;
	d->fx.agent[B].positions[0] = start_qemu(d, B, "a--b.1.sock");
	d->fx.agent[B].boot_id[0]++;
	connect_agent(d, B);
	fx_reported(&d->fx, B);
	for (unsigned int vm = A; vm <= B; vm++) {
		msg = expect_link(d, vm, d->fx.agent[vm].positions[0], true);
		fx_ack(&d->fx, vm, d->fx.agent[vm].positions[0], sivp_u32(msg, SIVP_A_EPOCH));
	}
	barrier(d);
	fx_connected(&d->fx, 3, B, "srv");
}

/* Killed as hard as can be, hostd comes back to the same switch, and what is open stays open. */
static void restart_with_open_channel(struct daemon_fixture *d, int signo)
{
	struct fx_channel channel = bring_up(d), next;
	const struct sivp_msg *msg;

	kill_hostd(d, signo, 0);
	start_hostd(d);
	connect_agent(d, A);
	fx_report(&d->fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(&d->fx, A);
	connect_agent(d, B);
	fx_report(&d->fx, B, &channel, 1, "a", "srv", "cli");
	fx_reported(&d->fx, B);
	for (unsigned int vm = A; vm <= B; vm++) {
		msg = expect_link(d, vm, d->fx.agent[vm].positions[0], true);
		assert_int_equal(sivp_u32(msg, SIVP_A_EPOCH), channel.epoch);
		fx_ack(&d->fx, vm, d->fx.agent[vm].positions[0], channel.epoch);
	}
	barrier(d);
	assert_int_equal(count_channels(d), 1);
	next = fx_connected(&d->fx, 2, B, "srv");
	assert_int_not_equal(next.offset, channel.offset);
	fx_closed(&d->fx, A, &channel, 0);
	fx_closed(&d->fx, B, &channel, 1);
	barrier(d);
	fx_connected(&d->fx, 3, B, "srv");
	assert_int_equal(count_channels(d), 2);
}

static void test_channels_survive_a_killed_hostd(void **state)
{
	restart_with_open_channel(*state, SIGKILL);
}

static void test_channels_survive_a_stopped_hostd(void **state)
{
	restart_with_open_channel(*state, SIGTERM);
}

static void test_vm_killed_while_no_hostd_looked(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = bring_up(d);
	const struct sivp_msg *msg;

	kill_hostd(d, SIGKILL, 0);
	kill_qemu(d, B);
	start_hostd(d);
	connect_agent(d, A);
	fx_report(&d->fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(&d->fx, A);
	msg = expect_link(d, A, d->fx.agent[A].positions[0], false);
	assert_true(sivp_u32(msg, SIVP_A_EPOCH) > channel.epoch);
	assert_int_equal(count_channels(d), 0);
}

static void test_one_hostd_and_one_stream_for_each_vm(void **state)
{
	struct daemon_fixture *d = *state;
	char program[300], path[128];
	int status, second;
	pid_t pid;

	snprintf(program, sizeof(program), "%s/sivshmem-hostd", d->bin);
	pid = fork();
	if (pid == 0) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		execl(program, program, "--config", d->config, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	/* A second connection waits until the first one ends. */
	connect_agent(d, A);
	snprintf(path, sizeof(path), "%s/run/vm-a.sock", d->folder);
	second = unix_connect(path);
	assert_true(second >= 0);
	fx_reported(&d->fx, A);
	expect_link(d, A, SIVP_LOCAL, true);
	close(d->fx.agent[A].fd);
	d->fx.agent[A].fd = second;
	d->fx.agent[A].len = d->fx.agent[A].used = 0;
	fx_hello(&d->fx, A);
}

/* Of the audit log's lines about refused connects of that VM: how many, and how many they count. */
static void read_audit(const struct daemon_fixture *d, const char *vm, unsigned int *n,
		       json_int_t *dropped)
{
	char path[128], *line = NULL;
	size_t room = 0;
	ssize_t len;
	FILE *file;

	*n = 0;
	*dropped = 0;
	snprintf(path, sizeof(path), "%s/state/audit.log", d->folder);
	file = fopen(path, "r");
	assert_non_null(file);
	while ((len = getline(&line, &room, file)) > 0) {
		json_t *object = json_loadb(line, (size_t)len, 0, NULL);
		const char *verdict = json_string_value(json_object_get(object, "verdict"));

		assert_non_null(object);
		if (strcmp(json_string_value(json_object_get(object, "vm")), vm) == 0) {
			*n += verdict && strcmp(verdict, "refused") == 0;
			*dropped += json_integer_value(json_object_get(object, "dropped"));
		}
		json_decref(object);
	}
	free(line);
	fclose(file);
}

static void test_a_flood_of_refusals_keeps_its_count_and_others_lines(void **state)
{
	struct daemon_fixture *d = *state;
	const unsigned int flood = 3000;
	json_t *reply, *vms, *refusals;
	json_int_t dropped;
	unsigned int n;

	bring_up(d);
	for (unsigned int i = 0; i < flood; i++) {
		fx_open(&d->fx, A, 100 + i, "cli", "b", "nothing");
		fx_expect_reject(&d->fx, A, 100 + i, SIVP_R_NOT_ALLOWED);
	}
	fx_open(&d->fx, B, 1, "srv", "a", "cli");
	fx_expect_reject(&d->fx, B, 1, SIVP_R_NOT_ALLOWED);
	read_audit(d, "b", &n, &dropped);
	assert_int_equal(n, 1);
	assert_int_equal(dropped, 0);
	reply = ask(d, "status");
	vms = json_object_get(reply, "vms");
	refusals = json_object_get(json_array_get(vms, A), "refusals");
	assert_int_equal(json_integer_value(json_object_get(refusals, "not-allowed")), flood);
	refusals = json_object_get(json_array_get(vms, B), "refusals");
	assert_int_equal(json_integer_value(json_object_get(refusals, "not-allowed")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(reply, "refused"),
							    "not-allowed")), flood + 1);
	json_decref(reply);
	kill_hostd(d, SIGTERM, 0);
	read_audit(d, "a", &n, &dropped);
	assert_true(n < flood / 2);
	assert_int_equal(n + dropped, flood);
}

/* The value of @key in /proc/PID/status. */
static unsigned long long proc_status(pid_t pid, const char *key, int base)
{
	char path[64], line[256];
	size_t len = strlen(key);
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, len) == 0 && line[len] == ':') {
			fclose(file);
			return strtoull(line + len + 1, NULL, base);
		}
	}
	fail_msg("%s has no %s", path, key);
	return 0;
}

static pid_t switch_pid(const struct daemon_fixture *d)
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

#define SECCOMP_FILTERED 2 /* proc(5) */

static void assert_confined(pid_t pid, unsigned long long caps)
{
	assert_int_equal(proc_status(pid, "Seccomp", 10), SECCOMP_FILTERED);
	assert_int_equal(proc_status(pid, "NoNewPrivs", 10), 1);
	assert_int_equal(proc_status(pid, "CapInh", 16), 0);
	assert_int_equal(proc_status(pid, "CapAmb", 16), 0);
	assert_int_equal(proc_status(pid, "CapEff", 16) & ~caps, 0);
	assert_int_equal(proc_status(pid, "CapPrm", 16) & ~caps, 0);
	if (geteuid() == 0) {
		assert_int_equal(proc_status(pid, "CapEff", 16), caps);
		assert_int_equal(proc_status(pid, "CapBnd", 16), caps);
	}
}

static void test_daemons_have_given_up_what_they_do_not_need(void **state)
{
	struct daemon_fixture *d = *state;

	bring_up(d);
	assert_confined(d->hostd, 1ull << CAP_CHOWN);
	assert_confined(switch_pid(d), 1ull << CAP_CHOWN);
}

/* The errno of a look into @pid's memory by a process with the same user and capabilities. */
static int look_into(pid_t pid, unsigned long long caps)
{
	char path[64];
	int status;
	pid_t looker = fork();

	if (looker == 0) {
		snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
		if (confine_capabilities(caps))
			_exit(255);
		_exit(open(path, O_RDONLY) < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(looker, &status, 0), looker);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* No core, no ptrace, no /proc/PID/mem: not for a process that could do this to another one. */
static void test_nobody_looks_into_hostd(void **state)
{
	struct daemon_fixture *d = *state;
	unsigned long long caps = proc_status(d->hostd, "CapPrm", 16);
	int told[2];
	pid_t other;
	char byte;

	assert_int_equal(pipe(told), 0);
	other = fork();
	if (other == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (confine_capabilities(caps) || write(told[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(told[1]);
	assert_int_equal(read(told[0], &byte, 1), 1);
	close(told[0]);
	assert_int_equal(look_into(other, caps), 0);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	assert_int_equal(look_into(d->hostd, caps), EACCES);
}

#define QEMU_USER 12345u

static void assert_socket_of_qemu(const struct daemon_fixture *d)
{
	struct stat st;
	char path[128];

	snprintf(path, sizeof(path), "%s/run/vm-b.sock", d->folder);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_uid, QEMU_USER);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void write_qemu_user_config(const char *config, const char *run, const char *control)
{
	FILE *file = fopen(config, "w");

	assert_non_null(file);
	fprintf(file,
		"trust-domain = \"test.example\"\nrun = \"%s\"\nstate = \"%s.state\"\n"
		"vm \"b\" { services = {\"srv\"} user = \"%u\" control = \"%s\" }\n",
		run, run, QEMU_USER, control);
	fclose(file);
}

/* Sockets that are another user's are made, found stale and made anew with CAP_CHOWN alone. */
static void test_sockets_of_other_users_need_one_capability(void **state)
{
	struct daemon_fixture *d = *state;
	char program[300], run[96], control[128], config[128];
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip(); /* cannot give anything away */
	kill_hostd(d, SIGTERM, 0);
	snprintf(run, sizeof(run), "%s/run", d->folder);
	snprintf(control, sizeof(control), "%s/vm-b.sock", run);
	write_qemu_user_config(d->config, run, control);
	d->caps = 1ull << CAP_CHOWN; /* as the unit's bounding set has it */
	for (int round = 0; round < 3; round++) {
		start_hostd(d);
		assert_confined(d->hostd, d->caps);
		assert_socket_of_qemu(d);
		if (round < 2)
			kill_hostd(d, SIGKILL, 0);
	}
	/* One that is in use is not taken from its owner. */
	snprintf(program, sizeof(program), "%s/sivshmem-hostd", d->bin);
	snprintf(run, sizeof(run), "%s/run2", d->folder);
	snprintf(config, sizeof(config), "%s/host2.conf", d->folder);
	write_qemu_user_config(config, run, control);
	pid = fork();
	if (pid == 0) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		if (confine_capabilities(d->caps) == 0)
			execl(program, program, "--config", config, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_socket_of_qemu(d);
}

/* Who reads what guests write runs no program; a switch that is lost is started all the same. */
static void test_a_lost_switch_is_started_again(void **state)
{
	struct daemon_fixture *d = *state;
	char path[128];
	struct pollfd changed = { .fd = inotify_init1(IN_CLOEXEC), .events = POLLIN };
	pid_t before;

	bring_up(d);
	before = switch_pid(d);
	snprintf(path, sizeof(path), "%s/run/switch.lock", d->folder);
	assert_true(inotify_add_watch(changed.fd, path, IN_MODIFY) >= 0);
	kill(before, SIGKILL);
	assert_int_equal(poll(&changed, 1, PATIENCE_MS), 1); /* the next one writes its pid there */
	close(changed.fd);
	barrier(d);
	assert_int_not_equal(switch_pid(d), before);
	assert_int_equal(kill(switch_pid(d), 0), 0);
	assert_confined(switch_pid(d), 1ull << CAP_CHOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connect_through_the_daemons),
		TEST(test_vm_killed_resets_its_peer),
		TEST(test_channels_survive_a_killed_hostd),
		TEST(test_channels_survive_a_stopped_hostd),
		TEST(test_vm_killed_while_no_hostd_looked),
		TEST(test_one_hostd_and_one_stream_for_each_vm),
		TEST(test_a_flood_of_refusals_keeps_its_count_and_others_lines),
		TEST(test_daemons_have_given_up_what_they_do_not_need),
		TEST(test_nobody_looks_into_hostd),
		TEST(test_a_lost_switch_is_started_again),
		TEST(test_sockets_of_other_users_need_one_capability),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
