// SPDX-License-Identifier: BSD-2-Clause
/* Who may connect and listen as what, from one VM to the other and inside one; certificates. */
#include "agent_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/pem.h>

#include "agent/x509.h"
#include "cert_maker.h"
#include "common/log.h"

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

/* Both kernels get the same secrets, another pair for each channel; a resumed handshake has its own. */
static void test_a_sealed_connect_has_its_own_secrets_on_both_sides(void **state)
{
	static const uint8_t none[SIV_SEAL_SECRET];
	uint8_t seen[3][SIV_SEAL_SECRET];
	struct fake_process *p;

	(void)state;
	w.policy->allows[0].sealed = true;
	fake_listen(&w.kernel[ADAS], "cache");
	for (int i = 0; i < 3; i++) {
		p = connect_cache();
		connected(p);
		assert_int_equal(w.agent[COCKPIT].resumed, i); /* all but the first */
		assert_true(p->sealed && w.kernel[ADAS].channels[i].sealed);
		assert_memory_equal(p->secrets, w.kernel[ADAS].secrets[i], sizeof(p->secrets));
		assert_memory_not_equal(p->secrets[0], p->secrets[1], SIV_SEAL_SECRET);
		assert_memory_not_equal(p->secrets[0], none, SIV_SEAL_SECRET);
		memcpy(seen[i], p->secrets[0], SIV_SEAL_SECRET);
		for (int k = 0; k < i; k++)
			assert_memory_not_equal(seen[i], seen[k], SIV_SEAL_SECRET);
	}
	w.policy->allows[0].sealed = false;
	p = connect_cache();
	connected(p);
	assert_false(p->sealed || w.kernel[ADAS].channels[3].sealed);
	assert_memory_equal(p->secrets[0], none, SIV_SEAL_SECRET);
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

static void test_what_a_listener_cannot_take_has_its_errno(void **state)
{
	static const struct {
		int kernel, connect;
	} cases[] = {
		{ -ECONNREFUSED, ECONNREFUSED },
		{ -EPROTOTYPE, EPROTOTYPE },
		{ -EAGAIN, ECONNREFUSED }, /* all backlogs are full */
		{ -ENODEV, EHOSTDOWN },
	};

	(void)state;
	fake_listen(&w.kernel[ADAS], "cache");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		w.kernel[ADAS].listener_error = cases[i].kernel;
		refused(connect_cache(), cases[i].connect);
		assert_int_equal(w.kernel[ADAS].listener_type, SOCK_STREAM);
	}
	w.kernel[ADAS].listener_error = 0;
	connected(connect_cache());
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

/* More requests than the host answers: the one that is too many is made again. */
static void test_a_request_too_many_is_made_again(void **state)
{
	struct identity *identity = &w.agent[COCKPIT].identities[0];

	(void)state;
	for (unsigned int i = 0; i < BROKER_CSRS_BURST; i++) {
		agent_enrol_start(&w.agent[COCKPIT], true);
		pump();
		if (identity->state == IDENTITY_REFUSED)
			break;
	}
	assert_int_equal(identity->state, IDENTITY_REFUSED);
	assert_int_equal(identity->reason, SIVP_R_RATE);
	advance_ms(ENROL_RETRY_MS);
	assert_int_equal(identity->state, IDENTITY_HELD);
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

static void test_what_was_revoked_is_enrolled_again(void **state)
{
	struct identity *identity;
	struct revocations revoked = { 0 };

	(void)state;
	w.policy->revoked = &revoked;
	assert_int_equal(revocations_add(&revoked, "adas", "cache", 1), 0);
	stop_agent(ADAS);
	pump();
	start_agent(ADAS);
	pump();
	identity = &w.agent[ADAS].identities[0];
	assert_int_equal(identity->state, IDENTITY_REFUSED);
	assert_int_equal(identity->reason, SIVP_R_REVOKED);
	struct fake_process *p = fake_bind(&w.kernel[ADAS], 2001, "cache");

	pump();
	refused(p, EKEYREVOKED);
	refused(connect_cache(), EKEYREVOKED);
	/* told for nothing, it asks for nothing more than that */
	broker_changed(w.broker, ADAS);
	pump();
	assert_int_equal(identity->state, IDENTITY_REFUSED);
	assert_int_equal(revocations_remove(&revoked, "adas", "cache"), 0);
	broker_changed(w.broker, ADAS);
	pump();
	assert_int_equal(identity->state, IDENTITY_HELD);
	fake_listen(&w.kernel[ADAS], "cache");
	connected(connect_cache());
	for (int vm = 0; vm < NR_VMS; vm++)
		fake_close_channels(&w.kernel[vm]);
	pump();
	/* the certificate that there is stays when a renewal is refused, and is renewed later */
	assert_int_equal(revocations_add(&revoked, "cockpit", "", 1), 0);
	identity = &w.agent[COCKPIT].identities[0];
	int64_t life = identity->not_after - identity->not_before;

	identity->not_before -= life * 2 / 3;
	identity->not_after -= life * 2 / 3;
	loop_advance(w.loop, 24ull * 3600 * 1000 * LOOP_NS_PER_MS);
	pump();
	assert_int_equal(identity->state, IDENTITY_HELD);
	assert_int_equal(identity->reason, SIVP_R_REVOKED);
	refused(connect_cache(), EKEYREVOKED);
	assert_int_equal(revocations_remove(&revoked, "cockpit", ""), 0);
	broker_changed(w.broker, COCKPIT);
	pump();
	assert_int_equal(identity->reason, SIVP_R_NONE);
	connected(connect_cache());
	w.policy->revoked = NULL;
	revocations_free(&revoked);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_both_agents_become_ready),
		TEST(test_a_connect_from_one_vm_to_the_other),
		TEST(test_a_sealed_connect_has_its_own_secrets_on_both_sides),
		TEST(test_many_connects_at_once),
		TEST(test_a_connect_inside_one_vm),
		TEST(test_refusals_by_policy_and_selectors),
		TEST(test_nobody_listens),
		TEST(test_what_a_listener_cannot_take_has_its_errno),
		TEST(test_bind_is_refused_unless_it_is_that_service),
		TEST(test_bad_certificates_on_either_side),
		TEST(test_a_connect_waits_for_enrolment),
		TEST(test_certificates_are_renewed_in_time),
		TEST(test_a_request_too_many_is_made_again),
		TEST(test_what_was_revoked_is_enrolled_again),
		TEST(test_the_audit_budget),
	};

	log_init("test_agent", getenv("VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
