// SPDX-License-Identifier: BSD-2-Clause
/* Two agents, the broker and what is around them, in one thread. */
#include "agent_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "remove_tree.h"

#define LINK_SIZE (16u << 20)
#define SWITCH_INSTANCE 77

struct world w;

static const char *const vm_names[] = { "cockpit", "adas" };

static int scrub(void *backend, uint64_t offset, uint64_t length)
{
	(void)backend;
	assert_true(offset >= SIV_LINK_CHANNELS && offset + length <= LINK_SIZE);
	return 0;
}

static void bump(void *backend)
{
	(void)backend;
	broker_link_epoch(w.broker, 0, ++w.epoch);
}

static const struct broker_link_ops link_ops = { .scrub = scrub, .bump = bump };

void pump(void)
{
	for (int idle = 0; idle < 3;) {
		bool some = false;

		loop_advance(w.loop, 0);
		for (int i = 0; i < 4; i++)
			assert_true(loop_run_once(w.loop, 0) >= 0);
		for (int i = 0; i < NR_VMS; i++)
			while (fake_kernel_run(&w.kernel[i]))
				some = true;
		idle = some ? 0 : idle + 1;
	}
}

void advance_ms(unsigned int ms)
{
	pump();
	loop_advance(w.loop, ms * LOOP_NS_PER_MS);
	pump();
}

void start_broker(void)
{
	struct broker_config config = { .loop = w.loop, .policy = w.policy, .ca = w.ca,
					.audit = w.audit, .journal = journal_open(w.dir) };

	assert_non_null(config.journal);
	w.journal = config.journal;
	w.broker = broker_new(&config);
	assert_non_null(w.broker);
	broker_link_start(w.broker, 0, &link_ops, NULL, SWITCH_INSTANCE, LINK_SIZE, w.epoch);
	for (int i = 0; i < NR_VMS; i++)
		broker_link_joined(w.broker, 0, i, w.kernel[i].links[0].ivposition);
	broker_link_ready(w.broker, 0);
}

void stop_broker(void)
{
	broker_free(w.broker);
	journal_close(w.journal);
}

int new_stream(int vm)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(broker_add_vm_stream(w.broker, vm, pair[0]), 0);
	return pair[1];
}

static void ready(struct agent *agent)
{
	(void)agent;
	w.nr_ready++;
}

void start_agent(int vm)
{
	memset(&w.agent[vm], 0, sizeof(w.agent[vm]));
	w.agent[vm].ready = ready;
	assert_int_equal(agent_start(&w.agent[vm], w.loop, &w.config[vm], &w.kernel[vm].kernel,
				     new_stream(vm), false), 0);
	w.running[vm] = true;
}

void stop_agent(int vm)
{
	agent_stop(&w.agent[vm]);
	w.kernel[vm].kernel.ctx = NULL;
	w.running[vm] = false;
}

static void write_config(int vm, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.conf", w.dir, vm_names[vm]);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_true(agent_config_load(path, &w.config[vm]));
}

int world_setup(void **state)
{
	struct ca_options options = { .domain = "car.example", .now = time(NULL) };
	char audit[128], error[CA_ERROR_LEN];

	(void)state;
	memset(&w, 0, sizeof(w));
	strcpy(w.dir, "/tmp/test_agent.XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	options.state = w.dir;
	w.loop = loop_new_manual();
	loop_advance(w.loop, LOOP_NS_PER_MS); /* not at 0, where a timer for "now" is not due yet */
	w.policy = policy_new("host.conf", "car.example");
	assert_int_equal(policy_add_vm(w.policy, "cockpit", 1 << 24, 1), COCKPIT);
	assert_int_equal(policy_add_vm(w.policy, "adas", 1 << 24, 2), ADAS);
	policy_add_service(w.policy, COCKPIT, "dashboard");
	policy_add_service(w.policy, COCKPIT, "radio");
	policy_add_service(w.policy, ADAS, "cache");
	assert_int_equal(policy_add_link(w.policy, COCKPIT, ADAS, LINK_SIZE, 0, 3), 0);
	assert_true(policy_add_allow(w.policy, COCKPIT, "dashboard", ADAS, "cache", 4) >= 0);
	assert_true(policy_add_allow(w.policy, COCKPIT, "radio", COCKPIT, "dashboard", 5) >= 0);
	if (ca_open(&options, &w.ca, error))
		fail_msg("%s", error);
	snprintf(audit, sizeof(audit), "%s/audit.log", w.dir);
	w.audit = audit_open(audit, NULL);
	assert_non_null(w.audit);
	w.epoch = 1;
	for (int i = 0; i < NR_VMS; i++) {
		fake_kernel_init(&w.kernel[i]);
		fake_link_add(&w.kernel[i], SIV_LINK_PCI, 6 + i, 0);
	}
	fake_link_add(&w.kernel[COCKPIT], SIV_LINK_LOCAL, 0, 0);
	fake_link_add(&w.kernel[COCKPIT], SIV_LINK_LOCAL, 0, 1);
	write_config(COCKPIT, "service \"dashboard\" { user = \"1001\" }\n"
			      "service \"radio\" { user = \"1002\" }\n"
			      "service \"rogue\" { user = \"1003\" }\n");
	write_config(ADAS, "service \"cache\" { user = \"2001\" }\n");
	start_broker();
	start_agent(COCKPIT);
	start_agent(ADAS);
	pump();
	return 0;
}

int world_teardown(void **state)
{
	(void)state;
	for (int i = 0; i < NR_VMS; i++) {
		if (w.running[i])
			stop_agent(i);
		agent_config_free(&w.config[i]);
	}
	stop_broker();
	audit_close(w.audit);
	ca_close(w.ca);
	policy_free(w.policy);
	loop_free(w.loop);
	return remove_tree(w.dir);
}

bool audited(const char *a, const char *b)
{
	char path[128], line[AUDIT_LINE_MAX];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/audit.log", w.dir);
	f = fopen(path, "r");
	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, a) && strstr(line, b);
	fclose(f);
	return found;
}

void nothing_is_left(void)
{
	assert_int_equal(broker_count_sessions(w.broker), 0);
	assert_int_equal(broker_count_channels(w.broker), 0);
	for (int i = 0; i < NR_VMS; i++) {
		assert_int_equal(w.agent[i].nr_sessions, 0);
		assert_int_equal(w.agent[i].nr_incoming, 0);
		assert_int_equal(w.agent[i].nr_closed, 0);
		assert_int_equal(fake_channels(&w.kernel[i]), 0);
	}
}

struct fake_process *connect_cache(void)
{
	struct fake_process *p = fake_connect(&w.kernel[COCKPIT], 1001, "adas", "cache", "");

	pump();
	return p;
}

void connected(const struct fake_process *p)
{
	assert_false(p->waiting);
	assert_int_equal(p->error, 0);
	assert_string_equal(p->peer.addr.ssiv_vm, "adas");
	assert_string_equal(p->peer.addr.ssiv_service, "cache");
	assert_string_equal(p->peer.spiffe_id, "spiffe://car.example/vm/adas/service/cache");
}

void refused(const struct fake_process *p, int error)
{
	assert_false(p->waiting);
	assert_int_equal(p->error, error);
	nothing_is_left();
}
