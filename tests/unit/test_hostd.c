// SPDX-License-Identifier: BSD-2-Clause
/* Who survives whom: hostd, the switch, VMs. */
#include "hostd_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/unix.h"

static void test_connect_through_the_daemons(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d);
	json_t *reply;

	reply = hostd_ask(d, "status");
	assert_int_equal(json_array_size(json_object_get(reply, "vms")), 3);
	json_decref(reply);
	assert_int_equal(hostd_count_channels(d), 1);
	fx_closed(&d->fx, A, &channel, 0);
	fx_closed(&d->fx, B, &channel, 1);
	hostd_barrier(d);
	assert_int_equal(hostd_count_channels(d), 0);
	fx_connected(&d->fx, 2, B, "srv");
	assert_int_equal(hostd_count_channels(d), 1);
}

static void test_vm_killed_resets_its_peer(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d);
	const struct sivp_msg *msg;

	hostd_kill_qemu(d, B);
	msg = hostd_expect_link(d, A, d->fx.agent[A].positions[0], false);
	assert_true(sivp_u32(msg, SIVP_A_EPOCH) > channel.epoch);
	fx_closed(&d->fx, A, &channel, 0);
	fx_open(&d->fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(&d->fx, A, 2, SIVP_R_VM_DOWN);
	assert_int_equal(hostd_count_channels(d), 0);
	/* and is back */
	close(d->fx.agent[B].fd);
	d->fx.agent[B].fd = -1;
	d->fx.agent[B].len = d->fx.agent[B].used = 0;
	d->fx.agent[B].positions[0] = hostd_start_qemu(d, B, "a--b.1.sock");
	d->fx.agent[B].boot_id[0]++;
	hostd_connect_agent(d, B);
	fx_reported(&d->fx, B);
	for (unsigned int vm = A; vm <= B; vm++) {
		msg = hostd_expect_link(d, vm, d->fx.agent[vm].positions[0], true);
		fx_ack(&d->fx, vm, d->fx.agent[vm].positions[0], sivp_u32(msg, SIVP_A_EPOCH));
	}
	hostd_barrier(d);
	fx_connected(&d->fx, 3, B, "srv");
}

/* Killed as hard as can be, hostd comes back to the same switch, and what is open stays open. */
static void restart_with_open_channel(struct daemon_fixture *d, int signo)
{
	struct fx_channel channel = hostd_bring_up(d), next;
	const struct sivp_msg *msg;

	hostd_kill(d, signo, 0);
	hostd_start(d);
	hostd_report_channel(d, &channel);
	for (unsigned int vm = A; vm <= B; vm++) {
		msg = hostd_expect_link(d, vm, d->fx.agent[vm].positions[0], true);
		assert_int_equal(sivp_u32(msg, SIVP_A_EPOCH), channel.epoch);
		fx_ack(&d->fx, vm, d->fx.agent[vm].positions[0], channel.epoch);
	}
	hostd_barrier(d);
	assert_int_equal(hostd_count_channels(d), 1);
	next = fx_connected(&d->fx, 2, B, "srv");
	assert_int_not_equal(next.offset, channel.offset);
	fx_closed(&d->fx, A, &channel, 0);
	fx_closed(&d->fx, B, &channel, 1);
	hostd_barrier(d);
	fx_connected(&d->fx, 3, B, "srv");
	assert_int_equal(hostd_count_channels(d), 2);
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
	struct fx_channel channel = hostd_bring_up(d);
	const struct sivp_msg *msg;

	hostd_kill(d, SIGKILL, 0);
	hostd_kill_qemu(d, B);
	hostd_start(d);
	hostd_connect_agent(d, A);
	fx_report(&d->fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(&d->fx, A);
	msg = hostd_expect_link(d, A, d->fx.agent[A].positions[0], false);
	assert_true(sivp_u32(msg, SIVP_A_EPOCH) > channel.epoch);
	assert_int_equal(hostd_count_channels(d), 1); /* A has it until it says otherwise */
	fx_closed(&d->fx, A, &channel, 0);
	hostd_barrier(d);
	assert_int_equal(hostd_count_channels(d), 0);
}

static void test_one_hostd_and_one_stream_for_each_vm(void **state)
{
	struct daemon_fixture *d = *state;
	char path[128];
	int second;

	hostd_expect_no_start(d);
	/* A second connection waits until the first one ends. */
	hostd_connect_agent(d, A);
	snprintf(path, sizeof(path), "%s/run/vm-a.sock", d->folder);
	second = unix_connect(path);
	assert_true(second >= 0);
	fx_reported(&d->fx, A);
	hostd_expect_link(d, A, SIVP_LOCAL, true);
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

	hostd_bring_up(d);
	for (unsigned int i = 0; i < flood; i++) {
		fx_open(&d->fx, A, 100 + i, "cli", "b", "nothing");
		fx_expect_reject(&d->fx, A, 100 + i, SIVP_R_NOT_ALLOWED);
	}
	fx_open(&d->fx, B, 1, "srv", "a", "cli");
	fx_expect_reject(&d->fx, B, 1, SIVP_R_NOT_ALLOWED);
	read_audit(d, "b", &n, &dropped);
	assert_int_equal(n, 1);
	assert_int_equal(dropped, 0);
	reply = hostd_ask(d, "status");
	vms = json_object_get(reply, "vms");
	refusals = json_object_get(json_array_get(vms, A), "refusals");
	assert_int_equal(json_integer_value(json_object_get(refusals, "not-allowed")), flood);
	refusals = json_object_get(json_array_get(vms, B), "refusals");
	assert_int_equal(json_integer_value(json_object_get(refusals, "not-allowed")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(reply, "refused"),
							    "not-allowed")), flood + 1);
	json_decref(reply);
	hostd_kill(d, SIGTERM, 0);
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

#define SECCOMP_FILTERED 2 /* proc(5) */

/* @bounding: what it could not even have got from a program, as it was started. */
static void assert_confined(pid_t pid, unsigned long long caps, unsigned long long bounding)
{
	assert_int_equal(proc_status(pid, "Seccomp", 10), SECCOMP_FILTERED);
	assert_int_equal(proc_status(pid, "NoNewPrivs", 10), 1);
	assert_int_equal(proc_status(pid, "CapInh", 16), 0);
	assert_int_equal(proc_status(pid, "CapAmb", 16), 0);
	assert_int_equal(proc_status(pid, "CapEff", 16) & ~caps, 0);
	assert_int_equal(proc_status(pid, "CapPrm", 16) & ~caps, 0);
	if (geteuid() == 0) {
		assert_int_equal(proc_status(pid, "CapEff", 16), caps);
		assert_int_equal(proc_status(pid, "CapBnd", 16), bounding);
	}
}

static void test_daemons_have_given_up_what_they_do_not_need(void **state)
{
	struct daemon_fixture *d = *state;

	hostd_bring_up(d);
	assert_confined(d->hostd, 0, 0);
	assert_confined(hostd_switch_pid(d), 1ull << CAP_CHOWN, 1ull << CAP_CHOWN);
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
	hostd_kill(d, SIGTERM, 0);
	snprintf(run, sizeof(run), "%s/run", d->folder);
	snprintf(control, sizeof(control), "%s/vm-b.sock", run);
	write_qemu_user_config(d->config, run, control);
	d->caps = 1ull << CAP_CHOWN; /* as the unit's bounding set has it */
	for (int round = 0; round < 3; round++) {
		hostd_start(d);
		assert_confined(d->hostd, 0, d->caps);
		assert_socket_of_qemu(d);
		if (round < 2)
			hostd_kill(d, SIGKILL, 0);
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

	hostd_bring_up(d);
	hostd_lose_switch(d);
	assert_int_equal(kill(hostd_switch_pid(d), 0), 0);
	assert_confined(hostd_switch_pid(d), 1ull << CAP_CHOWN, 1ull << CAP_CHOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hostd_setup, hostd_teardown)

int main(int argc, char **argv)
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
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
