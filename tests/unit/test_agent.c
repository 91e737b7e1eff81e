// SPDX-License-Identifier: BSD-2-Clause
/*
 * Two agents and the broker, with real TLS between them:
 *
 *   fake kernel -- agent "cockpit" -- socketpair -- broker -- socketpair -- agent "adas" -- fake kernel
 *
 * In cockpit uid 1001 is "dashboard", which may talk to adas' "cache" (uid 2001); uid 1002 is
 * "radio", which may not; "rogue" (uid 1003) is in cockpit's agent.conf, but the host does not let
 * that VM hold it. Time stands still unless a test moves it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/pem.h>

#include "agent/agent.h"
#include "agent/x509.h"
#include "broker/audit.h"
#include "broker/broker.h"
#include "broker/ca.h"
#include "broker/policy.h"
#include "cert_maker.h"
#include "common/log.h"
#include "fake_kernel.h"

enum { COCKPIT, ADAS, NR_VMS };

#define LINK_SIZE (16u << 20)

static struct world {
	char dir[64];
	struct loop *loop;
	struct policy *policy;
	struct ca *ca;
	struct audit *audit;
	struct broker *broker;
	uint32_t epoch;
	struct agent_config config[NR_VMS];
	struct agent agent[NR_VMS];
	bool running[NR_VMS];
	struct fake_kernel kernel[NR_VMS];
	unsigned int nr_ready;
} w;

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

/* Runs everything until nothing happens any more. */
static void pump(void)
{
	for (int idle = 0; idle < 3;) {
		bool some = false;

		loop_advance(w.loop, 0);
		for (int i = 0; i < 4; i++)
			assert_int_equal(loop_run_once(w.loop, 0), 0);
		for (int i = 0; i < NR_VMS; i++)
			while (fake_kernel_run(&w.kernel[i]))
				some = true;
		idle = some ? 0 : idle + 1;
	}
}

static void advance_ms(unsigned int ms)
{
	pump();
	loop_advance(w.loop, ms * LOOP_NS_PER_MS);
	pump();
}

static void start_broker(void)
{
	struct broker_config config = { .loop = w.loop, .policy = w.policy, .ca = w.ca,
					.audit = w.audit };

	w.broker = broker_new(&config);
	assert_non_null(w.broker);
	broker_link_start(w.broker, 0, &link_ops, NULL, LINK_SIZE, w.epoch);
	for (int i = 0; i < NR_VMS; i++)
		broker_link_joined(w.broker, 0, i, w.kernel[i].links[0].ivposition);
	broker_link_ready(w.broker, 0);
}

/* The agent's end of a new control stream of that VM. */
static int new_stream(int vm)
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

static void start_agent(int vm)
{
	memset(&w.agent[vm], 0, sizeof(w.agent[vm]));
	w.agent[vm].ready = ready;
	assert_int_equal(agent_start(&w.agent[vm], w.loop, &w.config[vm], &w.kernel[vm].kernel,
				     new_stream(vm), false), 0);
	w.running[vm] = true;
}

static void stop_agent(int vm)
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

static int setup(void **state)
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

static int teardown(void **state)
{
	char command[128];

	(void)state;
	for (int i = 0; i < NR_VMS; i++) {
		if (w.running[i])
			stop_agent(i);
		agent_config_free(&w.config[i]);
	}
	broker_free(w.broker);
	audit_close(w.audit);
	ca_close(w.ca);
	policy_free(w.policy);
	loop_free(w.loop);
	snprintf(command, sizeof(command), "rm -r %s", w.dir);
	return system(command);
}

/* Whether a line of the audit log has both. */
static bool audited(const char *a, const char *b)
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

static void nothing_is_left(void)
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

static struct fake_process *connect_cache(void)
{
	struct fake_process *p = fake_connect(&w.kernel[COCKPIT], 1001, "adas", "cache", "");

	pump();
	return p;
}

static void connected(const struct fake_process *p)
{
	assert_false(p->waiting);
	assert_int_equal(p->error, 0);
	assert_string_equal(p->peer.addr.ssiv_vm, "adas");
	assert_string_equal(p->peer.addr.ssiv_service, "cache");
	assert_string_equal(p->peer.spiffe_id, "spiffe://car.example/vm/adas/service/cache");
}

static void refused(const struct fake_process *p, int error)
{
	assert_false(p->waiting);
	assert_int_equal(p->error, error);
	nothing_is_left();
}

static void test_both_agents_become_ready(void **state)
{
	(void)state;
	assert_int_equal(w.nr_ready, 2);
	assert_string_equal(w.kernel[COCKPIT].vm, "cockpit");
	assert_string_equal(w.kernel[ADAS].vm, "adas");
	assert_true(w.kernel[COCKPIT].links[0].up && w.kernel[ADAS].links[0].up);
	assert_string_equal(w.kernel[COCKPIT].links[0].peer_vm, "adas");
	assert_true(w.kernel[COCKPIT].links[1].up && w.kernel[COCKPIT].links[2].up);
	assert_int_equal(w.agent[COCKPIT].identities[0].state, IDENTITY_HELD);
	assert_int_equal(w.agent[COCKPIT].identities[2].state, IDENTITY_REFUSED);
	assert_true(audited("\"enrol\"", "not-held"));
}

static void test_a_connect_from_one_vm_to_the_other(void **state)
{
	const struct kernel_channel *s = &w.kernel[ADAS].channels[0];
	struct fake_process *p;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	p = connect_cache();
	connected(p);
	assert_int_equal(fake_channels(&w.kernel[ADAS]), 1);
	assert_int_equal(s->chan.slot, p->chan.slot);
	assert_true(s->chan.generation == p->chan.generation);
	assert_int_equal(s->chan.offset, p->chan.offset);
	assert_true(s->chan.server && !p->chan.server);
	assert_int_equal(s->chan.c2s_order, 16);
	assert_int_equal(s->chan.s2c_order, 17);
	assert_string_equal(s->peer.spiffe_id, "spiffe://car.example/vm/cockpit/service/dashboard");
	assert_string_equal(s->service, "cache");
	assert_true(p->peer.not_after > time(NULL));
	assert_true(audited("\"connect\"", "allowed"));
	assert_int_equal(broker_count_channels(w.broker), 1);
	/* Both kernels are done with it: its pages are free. */
	fake_close_channels(&w.kernel[COCKPIT]);
	pump();
	assert_int_equal(broker_count_channels(w.broker), 1);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
	nothing_is_left();
}

static void test_many_connects_at_once(void **state)
{
	struct fake_process *p[16];

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	for (int i = 0; i < 16; i++)
		p[i] = fake_connect(&w.kernel[COCKPIT], 1001, i % 2 ? "" : "adas", "cache",
				    i % 3 ? "" : "dashboard");
	pump();
	for (int i = 0; i < 16; i++)
		connected(p[i]);
	assert_int_equal(fake_channels(&w.kernel[ADAS]), 16);
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
	nothing_is_left();
}

static void test_a_connect_inside_one_vm(void **state)
{
	struct fake_process *p;

	(void)state;
	fake_listen(&w.kernel[COCKPIT], "dashboard");
	p = fake_connect(&w.kernel[COCKPIT], 1002, "cockpit", "dashboard", "");
	pump();
	assert_int_equal(p->error, 0);
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 2);
	assert_string_equal(p->peer.spiffe_id, "spiffe://car.example/vm/cockpit/service/dashboard");
	assert_int_not_equal(w.kernel[COCKPIT].channels[0].chan.link_id,
			     w.kernel[COCKPIT].channels[1].chan.link_id);
	fake_close_channels(&w.kernel[COCKPIT]);
	pump();
	nothing_is_left();
}

static void test_refusals_by_policy_and_selectors(void **state)
{
	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	/* a service that policy does not allow to talk to it */
	struct fake_process *p = fake_connect(&w.kernel[COCKPIT], 1002, "adas", "cache", "");
	pump();
	refused(p, EACCES);
	assert_true(audited("not-allowed", "radio"));
	/* a process that is no service; the guest's own word */
	p = fake_connect(&w.kernel[COCKPIT], 4711, "adas", "cache", "");
	pump();
	refused(p, EACCES);
	assert_true(audited("no-service", "\"reported_by\":\"cockpit\""));
	assert_true(audited("no-service", "4711"));
	/* one that claims to be another */
	p = fake_connect(&w.kernel[COCKPIT], 1002, "adas", "cache", "dashboard");
	pump();
	refused(p, EACCES);
	/* a service that the host does not let this VM hold */
	p = fake_connect(&w.kernel[COCKPIT], 1003, "adas", "cache", "");
	pump();
	refused(p, EACCES);
	/* no such VM */
	p = fake_connect(&w.kernel[COCKPIT], 1001, "moon", "cache", "");
	pump();
	refused(p, EHOSTUNREACH);
}

static void test_nobody_listens(void **state)
{
	(void)state;
	refused(connect_cache(), ECONNREFUSED);
	/* and no longer */
	uint64_t cookie = fake_listen(&w.kernel[ADAS], "cache");
	struct fake_process *p = connect_cache();
	connected(p);
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	fake_unlisten(&w.kernel[ADAS], cookie);
	pump();
	refused(connect_cache(), ECONNREFUSED);
}

static void test_bind_is_refused_unless_it_is_that_service(void **state)
{
	static const struct { uint32_t uid; const char *service; int error; } cases[] = {
		{ 2001, "cache", 0 }, { 2001, "", 0 }, { 2002, "cache", EACCES },
		{ 0, "cache", EACCES }, { 2001, "other", EACCES },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fake_process *p = fake_bind(&w.kernel[ADAS], cases[i].uid, cases[i].service);

		pump();
		assert_false(p->waiting);
		assert_int_equal(p->error, cases[i].error);
		assert_string_equal(p->service, cases[i].error ? "" : "cache");
	}
	assert_true(audited("no-service", "2002"));
	/* the host gives this VM no certificate for it */
	struct fake_process *p = fake_bind(&w.kernel[COCKPIT], 1003, "rogue");
	pump();
	refused(p, EACCES);
}

/* The CA's own key, to make what it would never issue. */
static void load_ca(EVP_PKEY **key, X509 **cert)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/" CA_FILE, w.dir);
	f = fopen(path, "r");
	assert_non_null(f);
	*key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	rewind(f);
	*cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(*key);
	assert_non_null(*cert);
}

/* Agent @vm shows a certificate of @spec from now on; @other_ca: not of the CA that is trusted. */
static void use_certificate(int vm, const struct cert_spec *spec, bool other_ca)
{
	struct identity *identity = &w.agent[vm].identities[0];
	struct cert_spec as_ca = ca_spec(time(NULL));
	EVP_PKEY *key = x509_key_new(), *ca_key;
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *ca;

	load_ca(&ca_key, &ca);
	if (other_ca) {
		X509_free(ca);
		EVP_PKEY_free(ca_key);
		ca_key = x509_key_new();
		ca = make_cert(&as_ca, ca_key, NULL, NULL);
	}
	sk_X509_push(chain, make_cert(spec, key, ca, ca_key));
	SSL_CTX_free(identity->context);
	identity->context = tls_context_new(w.agent[vm].trust, key, chain);
	assert_non_null(identity->context);
	sk_X509_pop_free(chain, X509_free);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

static void test_bad_certificates_on_either_side(void **state)
{
	static const char *const ids[] = { "URI:spiffe://car.example/vm/cockpit/service/dashboard",
					   "URI:spiffe://car.example/vm/adas/service/cache" };

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	for (int vm = 0; vm < NR_VMS; vm++) {
		struct identity *identity = &w.agent[vm].identities[0];
		struct cert_spec good = leaf_spec(ids[vm], time(NULL)), bad;
		SSL_CTX *own = identity->context;

		SSL_CTX_up_ref(own);
		use_certificate(vm, &good, true);
		refused(connect_cache(), EKEYREJECTED);
		assert_true(audited("\"connect\"", "\"certificate\""));

		bad = good, bad.not_after = time(NULL) - 10;
		use_certificate(vm, &bad, false);
		refused(connect_cache(), EKEYEXPIRED);
		assert_true(audited("\"connect\"", "\"expired\""));

		bad = good, bad.san = "URI:spiffe://car.example/vm/adas/service/fusion";
		use_certificate(vm, &bad, false);
		refused(connect_cache(), EKEYREJECTED);

		bad = good, bad.eku = "codeSigning";
		use_certificate(vm, &bad, false);
		refused(connect_cache(), EKEYREJECTED);

		/* one that is good, but not the CA's word to the host: TLS has nothing against it */
		use_certificate(vm, &good, false);
		struct fake_process *p = connect_cache();
		connected(p);
		fake_close_channels(&w.kernel[COCKPIT]);
		fake_close_channels(&w.kernel[ADAS]);
		pump();
		nothing_is_left();
		SSL_CTX_free(identity->context);
		identity->context = own;
	}
}

static void test_a_peer_that_never_answers(void **state)
{
	struct fake_process *p;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	w.kernel[ADAS].hold = 1u << SIV_CMD_LISTENER;
	p = connect_cache();
	assert_true(p->waiting);
	advance_ms(9000);
	assert_true(p->waiting);
	advance_ms(1001);
	refused(p, ETIMEDOUT);
	/* The answer that comes too late does no harm, and the next connect works. */
	w.kernel[ADAS].hold = 0;
	pump();
	connected(connect_cache());
}

static void test_a_host_that_never_answers(void **state)
{
	struct fake_process *p;

	(void)state;
	/* It takes bytes and says nothing. */
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	pump();
	assert_int_equal(host_attach(&w.agent[COCKPIT].host, w.loop, pair[1], false), 0);
	pump();
	p = connect_cache();
	/* no WELCOME on this stream: not a wait, but "not now" */
	assert_false(p->waiting);
	assert_int_equal(p->error, ENETDOWN);
	close(pair[0]);
}

static void test_cancel_in_every_state(void **state)
{
	unsigned int resets;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	/* before ACCEPTING */
	w.kernel[ADAS].hold = 1u << SIV_CMD_LISTENER;
	struct fake_process *p = connect_cache();
	fake_cancel(&w.kernel[COCKPIT], p);
	pump();
	assert_int_equal(w.agent[COCKPIT].nr_sessions, 0);
	w.kernel[ADAS].hold = 0;
	pump();
	nothing_is_left();
	assert_true(audited("\"connect\"", "cancelled"));

	/* while the server attaches */
	w.kernel[ADAS].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	fake_cancel(&w.kernel[COCKPIT], p);
	pump();
	w.kernel[ADAS].hold = 0;
	pump();
	nothing_is_left();

	/* while the client attaches: the kernel says ENOENT, and the server's end is taken back */
	resets = w.kernel[ADAS].nr_resets;
	w.kernel[COCKPIT].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	assert_int_equal(fake_channels(&w.kernel[ADAS]), 1);
	fake_cancel(&w.kernel[COCKPIT], p);
	pump();
	w.kernel[COCKPIT].hold = 0;
	pump();
	nothing_is_left();
	assert_int_equal(w.kernel[ADAS].nr_resets, resets + 1);

	connected(connect_cache());
}

static void test_the_listener_goes_during_the_handshake(void **state)
{
	uint64_t cookie;
	struct fake_process *p;

	(void)state;
	cookie = fake_listen(&w.kernel[ADAS], "cache");
	pump();
	w.kernel[ADAS].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	fake_unlisten(&w.kernel[ADAS], cookie);
	w.kernel[ADAS].hold = 0;
	pump();
	refused(p, ECONNREFUSED);
}

static void test_an_agent_restarts_with_open_channels(void **state)
{
	struct fake_process *p, *q;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	p = connect_cache();
	connected(p);
	stop_agent(COCKPIT);
	pump();
	/* the channel goes on, new connects do not */
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 1);
	q = connect_cache();
	assert_int_equal(q->error, ENETDOWN);
	/* something closes while nobody is there to tell it */
	start_agent(COCKPIT);
	pump();
	assert_int_equal(w.nr_ready, 3);
	assert_int_equal(broker_count_channels(w.broker), 1);
	assert_int_equal(fake_channels(&w.kernel[ADAS]), 1);
	connected(connect_cache());
	assert_int_equal(broker_count_channels(w.broker), 2);

	stop_agent(ADAS);
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
	start_agent(ADAS);
	pump();
	nothing_is_left();
}

static void test_a_broker_restarts_and_loses_nothing(void **state)
{
	struct fake_process *p[3];

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	for (int i = 0; i < 3; i++) {
		p[i] = connect_cache();
		connected(p[i]);
	}
	broker_free(w.broker);
	w.broker = NULL;
	pump();
	/* One closes on both sides meanwhile: the agents keep that for the next broker. */
	for (int vm = 0; vm < NR_VMS; vm++) {
		struct fake_kernel *k = &w.kernel[vm];
		struct kernel_upcall *u = &k->upcalls[k->nr_upcalls++];

		k->used[0] = false;
		*u = (struct kernel_upcall){ .kind = SIV_UPCALL_CLOSED, .link_id = 1,
					     .epoch = k->channels[0].chan.epoch,
					     .slot = k->channels[0].chan.slot,
					     .generation = k->channels[0].chan.generation,
					     .reason = SIV_CLOSED_LOCAL };
	}
	pump();
	assert_int_equal(w.agent[COCKPIT].nr_closed, 1);
	assert_int_equal(w.agent[ADAS].nr_closed, 1);
	/* and a process is told at once that nobody is there */
	assert_int_equal(connect_cache()->error, ENETDOWN);

	start_broker();
	for (int vm = 0; vm < NR_VMS; vm++)
		assert_int_equal(host_attach(&w.agent[vm].host, w.loop, new_stream(vm), false), 0);
	pump();
	assert_int_equal(w.agent[COCKPIT].nr_closed, 0);
	assert_int_equal(w.agent[ADAS].nr_closed, 0);
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 2);
	assert_int_equal(fake_channels(&w.kernel[ADAS]), 2);
	assert_int_equal(broker_count_channels(w.broker), 2);
	connected(connect_cache());
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
	nothing_is_left();
}

static void test_the_host_goes_in_the_middle_of_a_connect(void **state)
{
	struct fake_process *p;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	w.kernel[COCKPIT].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache(); /* the kernel attaches just now */
	w.kernel[ADAS].hold = 1u << SIV_CMD_LISTENER;
	struct fake_process *q = connect_cache();

	assert_true(p->waiting && q->waiting);
	broker_free(w.broker);
	w.broker = NULL;
	pump();
	assert_int_equal(w.agent[COCKPIT].nr_sessions, 1);
	w.kernel[COCKPIT].hold = w.kernel[ADAS].hold = 0;
	pump();
	assert_int_equal(q->error, ENETDOWN);
	connected(p);
	assert_int_equal(w.agent[COCKPIT].nr_sessions, 0);
	start_broker();
	for (int vm = 0; vm < NR_VMS; vm++)
		assert_int_equal(host_attach(&w.agent[vm].host, w.loop, new_stream(vm), false), 0);
	pump();
	/* A broker that stops takes back what is half granted: nobody has an end without the other. */
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), broker_count_channels(w.broker));
	assert_int_equal(fake_channels(&w.kernel[ADAS]), broker_count_channels(w.broker));
	connected(connect_cache());
}

static void test_the_module_is_loaded_anew(void **state)
{
	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	connected(connect_cache());
	fake_unload(&w.kernel[ADAS]);
	pump();
	fake_load(&w.kernel[ADAS]);
	pump();
	/* The other side was reset, in a new epoch. */
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 0);
	assert_int_equal(broker_count_channels(w.broker), 0);
	assert_true(w.kernel[COCKPIT].links[0].epoch > 1);
	assert_int_equal(w.kernel[COCKPIT].links[0].epoch, w.kernel[ADAS].links[0].epoch);
	fake_listen(&w.kernel[ADAS], "cache");
	connected(connect_cache());
}

static void test_a_link_comes_later(void **state)
{
	unsigned int before = w.kernel[ADAS].nr_link_sets;

	(void)state;
	/* ADAS had no local link: now it has. */
	fake_link_add(&w.kernel[ADAS], SIV_LINK_LOCAL, 0, 0);
	fake_link_add(&w.kernel[ADAS], SIV_LINK_LOCAL, 0, 1);
	pump();
	assert_true(w.kernel[ADAS].nr_link_sets >= before + 3);
	assert_true(w.kernel[ADAS].links[1].up && w.kernel[ADAS].links[2].up);
	fake_listen(&w.kernel[ADAS], "cache");
	connected(connect_cache());
}

static void test_a_connect_waits_for_enrolment(void **state)
{
	struct identity *identity = &w.agent[COCKPIT].identities[0];
	struct fake_process *p;

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	/* As if the certificate had not come yet. */
	SSL_CTX *context = identity->context;
	identity->context = NULL;
	identity->state = IDENTITY_ASKED;
	p = connect_cache();
	assert_true(p->waiting);
	identity->context = context;
	identity->state = IDENTITY_HELD;
	agent_session_identity(&w.agent[COCKPIT], identity);
	pump();
	connected(p);

	identity->context = NULL;
	identity->state = IDENTITY_ASKED;
	p = connect_cache();
	advance_ms(10001);
	assert_int_equal(p->error, ETIMEDOUT);
	identity->context = context;
	identity->state = IDENTITY_HELD;
}

static void test_certificates_are_renewed_in_time(void **state)
{
	struct identity *identity = &w.agent[COCKPIT].identities[0];
	SSL_CTX *first = identity->context;
	int64_t life = identity->not_after - identity->not_before;

	(void)state;
	assert_true(loop_timer_armed(&identity->renew));
	/* The clocks of the certificates are the machine's own: shift what it was issued at. */
	identity->not_before -= life * 2 / 3;
	identity->not_after -= life * 2 / 3;
	loop_advance(w.loop, 24ull * 3600 * 1000 * LOOP_NS_PER_MS);
	pump();
	assert_ptr_not_equal(identity->context, first);
	assert_int_equal(identity->state, IDENTITY_HELD);
	fake_listen(&w.kernel[ADAS], "cache");
	connected(connect_cache());
}

static void test_the_audit_budget(void **state)
{
	uint64_t before;

	(void)state;
	pump();
	before = audit_count(w.audit, SIVP_R_NO_SERVICE);
	for (int i = 0; i < 50; i++) {
		fake_connect(&w.kernel[COCKPIT], 4711, "adas", "cache", "");
		pump();
		w.kernel[COCKPIT].nr_processes = 0;
	}
	for (int i = 0; i < 50; i++) {
		fake_connect(&w.kernel[COCKPIT], 4711, "adas", "cache", "");
		pump();
		w.kernel[COCKPIT].nr_processes = 0;
	}
	assert_int_equal(audit_count(w.audit, SIVP_R_NO_SERVICE) - before, AGENT_AUDIT_BURST);
	assert_int_equal(w.agent[COCKPIT].audit_dropped, 100 - AGENT_AUDIT_BURST);
	advance_ms(AGENT_AUDIT_MS);
	fake_connect(&w.kernel[COCKPIT], 4711, "adas", "cache", "");
	pump();
	assert_true(audited("36 more were not reported", "no-service"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_both_agents_become_ready),
		TEST(test_a_connect_from_one_vm_to_the_other),
		TEST(test_many_connects_at_once),
		TEST(test_a_connect_inside_one_vm),
		TEST(test_refusals_by_policy_and_selectors),
		TEST(test_nobody_listens),
		TEST(test_bind_is_refused_unless_it_is_that_service),
		TEST(test_bad_certificates_on_either_side),
		TEST(test_a_peer_that_never_answers),
		TEST(test_a_host_that_never_answers),
		TEST(test_cancel_in_every_state),
		TEST(test_the_listener_goes_during_the_handshake),
		TEST(test_an_agent_restarts_with_open_channels),
		TEST(test_a_broker_restarts_and_loses_nothing),
		TEST(test_the_host_goes_in_the_middle_of_a_connect),
		TEST(test_the_module_is_loaded_anew),
		TEST(test_a_link_comes_later),
		TEST(test_a_connect_waits_for_enrolment),
		TEST(test_certificates_are_renewed_in_time),
		TEST(test_the_audit_budget),
	};

	log_init("test_agent", getenv("VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
