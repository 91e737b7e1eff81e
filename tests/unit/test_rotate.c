// SPDX-License-Identifier: BSD-2-Clause
/* Two agents and the broker while the authority is replaced: who is believed, and when. */
#include "agent_world.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/pem.h>

#include "agent/session.h"
#include "agent/x509.h"
#include "cert_maker.h"

static struct revocations revoked;

static int setup(void **state)
{
	int err = world_setup(state);

	fake_listen(&w.kernel[ADAS], "cache");
	pump();
	return err;
}

static int teardown(void **state)
{
	int err = world_teardown(state);

	revocations_free(&revoked);
	return err;
}

static struct identity *identity(int vm)
{
	return &w.agent[vm].identities[0]; /* dashboard, cache */
}

static void rotate_to(const char *certificate, const char *key)
{
	struct ca_options options = { .domain = "car.example", .state = w.dir, .now = time(NULL),
				      .certificate = certificate, .key = key };
	char error[CA_ERROR_LEN];

	if (ca_rotate(w.ca, &options, error))
		fail_msg("%s", error);
	broker_trust_changed(w.broker);
}

/* Without a pump: the agents have not heard of it yet. */
static void rotate(void)
{
	rotate_to(NULL, NULL);
}

static void drop(void)
{
	char error[CA_ERROR_LEN];

	if (ca_drop(w.ca, w.dir, error))
		fail_msg("%s", error);
	broker_trust_changed(w.broker);
}

static bool has_renewed(int vm)
{
	return !memcmp(identity(vm)->authority, ca_digest(w.ca), SIV_DIGEST_LEN);
}

static void close_all(void)
{
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
	nothing_is_left();
}

/* A connect by a whole handshake, or by a resumed one. */
static void connects(bool resumed)
{
	uint64_t before = w.agent[ADAS].resumed;

	connected(connect_cache());
	assert_int_equal(w.agent[ADAS].resumed - before, resumed);
	fake_close_channels(&w.kernel[COCKPIT]);
	fake_close_channels(&w.kernel[ADAS]);
	pump();
}

/* That VM's service is refused what it asks for, and keeps the certificate that it has. */
static void hold_back(int vm)
{
	if (vm == COCKPIT)
		assert_int_equal(revocations_add(&revoked, "cockpit", "dashboard", 1), 0);
	else
		assert_int_equal(revocations_add(&revoked, "adas", "cache", 1), 0);
	w.policy->revoked = &revoked;
}

static void let_go(void)
{
	w.policy->revoked = NULL;
	revocations_free(&revoked);
	memset(&revoked, 0, sizeof(revoked));
}

/* The key of the authority that issues. */
static EVP_PKEY *read_authority(X509 **cert)
{
	char path[128];
	EVP_PKEY *key;
	FILE *f;

	snprintf(path, sizeof(path), "%s/" CA_FILE, w.dir);
	f = fopen(path, "r");
	assert_non_null(f);
	key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	*cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(key);
	assert_non_null(*cert);
	return key;
}

/* That VM's agent presents a certificate for its own name by @ca, and perhaps @ca's own. */
static void pose(int vm, X509 *ca, EVP_PKEY *ca_key, bool send_ca)
{
	char san[SIV_SPIFFE_LEN + 8];
	STACK_OF(X509) *chain = sk_X509_new_null();
	EVP_PKEY *key = x509_key_new();
	struct cert_spec spec;

	snprintf(san, sizeof(san), "URI:%s", identity(vm)->id);
	spec = leaf_spec(san, time(NULL));
	sk_X509_push(chain, make_cert(&spec, key, ca, ca_key));
	if (send_ca) {
		X509_up_ref(ca);
		sk_X509_push(chain, ca);
	}
	SSL_CTX_free(identity(vm)->context);
	identity(vm)->context = tls_context_new(w.agent[vm].trust, key, chain);
	assert_non_null(identity(vm)->context);
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(key);
}

static void write_pem(const char *name, EVP_PKEY *key, X509 *cert, char path[PATH_MAX])
{
	FILE *f;

	snprintf(path, PATH_MAX, "%s/%s", w.dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fchmod(fileno(f), 0600), 0);
	if (key)
		PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	if (cert)
		PEM_write_X509(f, cert);
	fclose(f);
}

/* The whole of it: all renew, what is open goes on, and then the former one is dropped. */
static void test_everybody_renews_and_what_is_open_goes_on(void **state)
{
	uint8_t former[SIV_DIGEST_LEN];

	(void)state;
	memcpy(former, ca_digest(w.ca), sizeof(former));
	assert_true(has_renewed(COCKPIT) && has_renewed(ADAS));
	connected(connect_cache());
	rotate();
	assert_memory_not_equal(ca_digest(w.ca), former, sizeof(former));
	assert_int_equal(broker_not_renewed(w.broker), NR_VMS);
	pump();
	assert_true(has_renewed(COCKPIT) && has_renewed(ADAS));
	assert_int_equal(broker_not_renewed(w.broker), 0);
	assert_int_equal(sk_X509_num(w.agent[ADAS].trusted), 2);
	assert_int_equal(fake_channels(&w.kernel[COCKPIT]), 1);
	connected(connect_cache());
	drop();
	pump();
	for (int vm = 0; vm < NR_VMS; vm++) {
		assert_int_equal(sk_X509_num(w.agent[vm].trusted), 1);
		assert_int_equal(identity(vm)->state, IDENTITY_HELD);
		assert_int_equal(fake_channels(&w.kernel[vm]), 2);
	}
	connected(connect_cache());
	close_all();
	/* and once more */
	rotate();
	pump();
	drop();
	pump();
	connects(false);
}

/* One side has renewed, the other one has not: in both directions of a connect. */
static void test_between_renewed_and_not(void **state)
{
	(void)state;
	for (int late = 0; late < NR_VMS; late++) {
		hold_back(late);
		rotate();
		pump();
		let_go();
		assert_false(has_renewed(late));
		assert_true(has_renewed(!late));
		assert_int_equal(identity(late)->state, IDENTITY_HELD);
		connects(false);
		/* what the host had refused it is asked for again, and then all have renewed */
		broker_changed(w.broker, -1);
		pump();
		assert_true(has_renewed(late));
		connects(false);
		drop();
		pump();
		connects(false);
	}
}

/* Each step of a rotation, message by message, between which a connect begins. */
static void test_a_connect_at_each_moment(void **state)
{
	(void)state;
	for (int rounds = 0; rounds < 24; rounds++) {
		struct fake_process *before, *after;
		bool dropped = false;

		before = fake_connect(&w.kernel[COCKPIT], 1001, "adas", "cache", "");
		for (int i = 0; i < rounds; i++) {
			assert_true(loop_run_once(w.loop, 0) >= 0);
			fake_kernel_run(&w.kernel[i % NR_VMS]);
		}
		rotate();
		for (int i = 0; i < rounds; i++) {
			assert_true(loop_run_once(w.loop, 0) >= 0);
			fake_kernel_run(&w.kernel[i % NR_VMS]);
		}
		after = fake_connect(&w.kernel[COCKPIT], 1001, "adas", "cache", "");
		/* as the host does it: once nobody uses the former one any more */
		for (int i = 0; i < 500 && !dropped; i++) {
			assert_true(loop_run_once(w.loop, 0) >= 0);
			fake_kernel_run(&w.kernel[i % NR_VMS]);
			if (!broker_not_renewed(w.broker)) {
				drop();
				dropped = true;
			}
		}
		assert_true(dropped);
		pump();
		connected(before);
		connected(after);
		close_all();
	}
}

/* That VM's agent presents what it presented when it had @context. */
static void show_former(int vm, SSL_CTX *context)
{
	SSL_CTX_set1_cert_store(context, w.agent[vm].trust); /* whom it believes is not changed */
	SSL_CTX_up_ref(context);
	SSL_CTX_free(identity(vm)->context);
	identity(vm)->context = context;
}

/* A former leaf is good during the overlap and for nothing after it, whoever shows it. */
static void test_a_former_leaf_is_refused_after_the_drop(void **state)
{
	SSL_CTX *former[NR_VMS], *good;
	X509 *authority;

	(void)state;
	EVP_PKEY_free(read_authority(&authority));
	for (int vm = 0; vm < NR_VMS; vm++) {
		former[vm] = identity(vm)->context;
		SSL_CTX_up_ref(former[vm]);
	}
	rotate();
	pump();
	for (int vm = 0; vm < NR_VMS; vm++) {
		assert_ptr_not_equal(identity(vm)->context, former[vm]);
		good = identity(vm)->context;
		SSL_CTX_up_ref(good);
		show_former(vm, former[vm]);
		connects(false);
		show_former(vm, good);
		SSL_CTX_free(good);
	}
	drop();
	pump();
	for (int vm = 0; vm < NR_VMS; vm++) {
		assert_true(has_renewed(vm));
		connects(false);
		good = identity(vm)->context;
		SSL_CTX_up_ref(good);
		show_former(vm, former[vm]);
		refused(connect_cache(), EKEYREJECTED);
		assert_true(audited("\"connect\"", "\"reason\":\"certificate\""));
		/* its authority shown as well */
		assert_true(SSL_CTX_add1_chain_cert(former[vm], authority));
		refused(connect_cache(), EKEYREJECTED);
		show_former(vm, good);
		SSL_CTX_free(good);
		SSL_CTX_free(former[vm]);
		agent_enrol_forget_tickets(&w.agent[!vm]);
		agent_enrol_forget_tickets(&w.agent[vm]);
		connects(false);
		agent_enrol_forget_tickets(&w.agent[!vm]);
		agent_enrol_forget_tickets(&w.agent[vm]);
	}
	X509_free(authority);
}

/* Two intermediates with one name and no key identifiers: the wrong one would be tried. */
static void test_authorities_of_one_name(void **state)
{
	struct cert_spec spec = ca_spec(time(NULL));
	EVP_PKEY *root_key = x509_key_new();
	X509 *root = make_cert(&spec, root_key, NULL, NULL);
	char cert_path[PATH_MAX], key_path[PATH_MAX];

	(void)state;
	for (int i = 0; i < 3; i++) {
		EVP_PKEY *key = x509_key_new();
		X509 *cert = make_cert(&spec, key, root, root_key);

		write_pem("op.crt", NULL, cert, cert_path);
		write_pem("op.key", key, NULL, key_path);
		X509_free(cert);
		EVP_PKEY_free(key);
		hold_back(i % NR_VMS);
		rotate_to(cert_path, key_path);
		pump();
		let_go();
		assert_false(has_renewed(i % NR_VMS));
		connects(false);
		broker_changed(w.broker, -1);
		pump();
		connects(false);
		drop();
		pump();
		connects(false);
	}
	X509_free(root);
	EVP_PKEY_free(root_key);
}

/* To an operator's intermediate: its sisters are strangers at every moment. */
static void test_a_leaf_of_a_sister_is_refused_throughout(void **state)
{
	struct cert_spec spec = ca_spec(time(NULL));
	EVP_PKEY *root_key = x509_key_new(), *key[2] = { x509_key_new(), x509_key_new() };
	X509 *root = make_cert(&spec, root_key, NULL, NULL), *cert[2];
	char cert_path[PATH_MAX], key_path[PATH_MAX];

	(void)state;
	for (int i = 0; i < 2; i++)
		cert[i] = make_cert(&spec, key[i], root, root_key);
	write_pem("op.crt", NULL, cert[0], cert_path);
	write_pem("op.key", key[0], NULL, key_path);
	rotate_to(cert_path, key_path);
	pump();
	assert_int_equal(broker_not_renewed(w.broker), 0);
	for (int dropped = 0; dropped < 2; dropped++) {
		if (dropped)
			drop();
		pump();
		for (int vm = 0; vm < NR_VMS; vm++) {
			SSL_CTX *good = identity(vm)->context;

			connects(false);
			SSL_CTX_up_ref(good);
			pose(vm, cert[1], key[1], true);
			refused(connect_cache(), EKEYREJECTED);
			pose(vm, root, root_key, true);
			refused(connect_cache(), EKEYREJECTED);
			SSL_CTX_free(identity(vm)->context);
			identity(vm)->context = good;
			agent_enrol_forget_tickets(&w.agent[vm]);
		}
	}
	for (int i = 0; i < 2; i++) {
		X509_free(cert[i]);
		EVP_PKEY_free(key[i]);
	}
	X509_free(root);
	EVP_PKEY_free(root_key);
}

/* An agent whose handshake with a former leaf is under way has not renewed yet. */
static void test_a_handshake_under_way_keeps_the_former_one(void **state)
{
	struct fake_process *p;

	(void)state;
	w.kernel[ADAS].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	rotate();
	pump();
	assert_true(has_renewed(COCKPIT) && has_renewed(ADAS));
	assert_int_equal(broker_not_renewed(w.broker), NR_VMS);
	w.kernel[ADAS].hold = 0;
	pump();
	connected(p);
	assert_int_equal(broker_not_renewed(w.broker), 0);
	/* by a ticket of that handshake nobody gets in: it is of certificates that were replaced */
	connects(false);
}

/* Dropped at once, whoever has not renewed: what was verified by the former one is not granted. */
static void test_a_drop_at_once_ends_what_is_under_way(void **state)
{
	struct fake_process *p;

	(void)state;
	w.kernel[ADAS].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_int_equal(w.agent[COCKPIT].nr_sessions, 1);
	rotate();
	drop();
	pump();
	w.kernel[ADAS].hold = 0;
	pump();
	refused(p, EKEYREJECTED);
	assert_true(has_renewed(COCKPIT) && has_renewed(ADAS));
	connects(false);
}

/* The host's word of whom to trust, said to that VM's agent alone. */
static void tell(int vm)
{
	struct sivp_builder b;
	struct sivp_msg m;
	size_t used, len;
	const uint8_t *list = ca_trusted(w.ca, &len);

	sivp_begin(&b, SIVP_HOST, SIVP_CHANGED, 0);
	sivp_put_blob(&b, SIVP_A_CA, list, len);
	assert_true(sivp_end(&b));
	assert_int_equal(sivp_parse(SIVP_HOST, b.buf, b.len, &m, &used), SIVP_OK);
	w.agent[vm].host.message(&w.agent[vm], &m);
}

/* Dropped between a handshake's first message and its certificates: they are judged by what holds. */
static void test_a_drop_counts_in_the_middle_of_a_handshake(void **state)
{
	struct ca_options options = { .domain = "car.example", .state = w.dir, .now = time(NULL) };
	struct fake_process *p = fake_connect(&w.kernel[COCKPIT], 1001, "adas", "cache", "");
	struct agent_session *s = NULL;
	char error[CA_ERROR_LEN];

	(void)state;
	for (int i = 0; !s || s->state != SESSION_HANDSHAKE; i++) {
		assert_true(i < 500);
		assert_true(loop_run_once(w.loop, 0) >= 0);
		fake_kernel_run(&w.kernel[i % NR_VMS]);
		s = agent_session_next(&w.agent[COCKPIT], NULL);
	}
	assert_int_equal(ca_rotate(w.ca, &options, error), 0);
	assert_int_equal(ca_drop(w.ca, w.dir, error), 0);
	tell(COCKPIT); /* ADAS goes on with the former one */
	pump();
	refused(p, EKEYREJECTED);
	tell(ADAS);
	pump();
	connects(false);
}

/* Tickets end with the former authority: resumption verifies nobody. */
static void test_nothing_is_resumed_across_the_drop(void **state)
{
	(void)state;
	connects(false);
	connects(true);
	hold_back(ADAS);
	rotate();
	pump();
	let_go();
	connects(false); /* verified by the former one */
	connects(true);
	drop();
	pump();
	assert_int_equal(tickets_count(identity(COCKPIT)->context, TICKET_CLIENT), 0);
	connects(false);
}

/* Dropped while a kernel attaches what the former one vouched for: no ticket comes of it. */
static void test_no_ticket_comes_of_a_former_leaf(void **state)
{
	struct fake_process *p;

	(void)state;
	hold_back(ADAS);
	rotate();
	pump();
	let_go();
	w.kernel[COCKPIT].hold = 1u << SIV_CMD_GRANT;
	p = connect_cache();
	assert_true(p->waiting);
	drop();
	pump();
	w.kernel[COCKPIT].hold = 0;
	pump();
	connected(p);
	assert_int_equal(tickets_count(identity(COCKPIT)->context, TICKET_CLIENT), 0);
	connects(false);
}

/* Who is away is not waited for, and enrols with the authority that issues when it is back. */
static void test_an_agent_that_was_away(void **state)
{
	(void)state;
	stop_agent(ADAS);
	pump();
	rotate();
	assert_int_equal(broker_not_renewed(w.broker), 1);
	pump();
	assert_int_equal(broker_not_renewed(w.broker), 0);
	start_agent(ADAS);
	pump();
	assert_true(has_renewed(ADAS));
	assert_int_equal(broker_not_renewed(w.broker), 0);
	connects(false);
	/* over the drop */
	stop_agent(ADAS);
	pump();
	drop();
	start_agent(ADAS);
	pump();
	connects(false);
}

/* The host is restarted in the middle: agents renew what they had not, and say so again. */
static void test_a_host_restarted_in_the_middle(void **state)
{
	SSL_CTX *kept;

	(void)state;
	hold_back(ADAS);
	rotate();
	pump();
	let_go();
	assert_false(has_renewed(ADAS));
	kept = identity(COCKPIT)->context;
	stop_broker();
	start_broker();
	for (int vm = 0; vm < NR_VMS; vm++) {
		pump();
		assert_int_equal(host_attach(&w.agent[vm].host, w.loop, new_stream(vm), false), 0);
	}
	pump();
	assert_ptr_equal(identity(COCKPIT)->context, kept); /* it holds */
	assert_true(has_renewed(COCKPIT) && has_renewed(ADAS));
	assert_int_equal(broker_not_renewed(w.broker), 0);
	connects(false);
	drop();
	pump();
	connects(false);
}

/* The list of the host is not certificates: nothing of it is taken. */
static void test_who_is_trusted_is_taken_as_a_whole(void **state)
{
	X509 *before = sk_X509_value(w.agent[COCKPIT].trusted, 0);
	struct sivp_builder b;
	struct sivp_msg m;
	size_t used, len;
	uint8_t list[SIVP_CERTS_MAX];
	const uint8_t *trusted = ca_trusted(w.ca, &len);

	(void)state;
	memcpy(list, trusted, len);
	list[len] = 0x30;
	sivp_begin(&b, SIVP_HOST, SIVP_CHANGED, 0);
	sivp_put_blob(&b, SIVP_A_CA, list, len + 1);
	assert_true(sivp_end(&b));
	assert_int_equal(sivp_parse(SIVP_HOST, b.buf, b.len, &m, &used), SIVP_OK);
	w.agent[COCKPIT].host.message(&w.agent[COCKPIT], &m);
	assert_ptr_equal(sk_X509_value(w.agent[COCKPIT].trusted, 0), before);
	pump();
	connects(false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_everybody_renews_and_what_is_open_goes_on),
		TEST(test_between_renewed_and_not),
		TEST(test_a_connect_at_each_moment),
		TEST(test_a_former_leaf_is_refused_after_the_drop),
		TEST(test_authorities_of_one_name),
		TEST(test_a_leaf_of_a_sister_is_refused_throughout),
		TEST(test_a_handshake_under_way_keeps_the_former_one),
		TEST(test_a_drop_at_once_ends_what_is_under_way),
		TEST(test_a_drop_counts_in_the_middle_of_a_handshake),
		TEST(test_nothing_is_resumed_across_the_drop),
		TEST(test_no_ticket_comes_of_a_former_leaf),
		TEST(test_an_agent_that_was_away),
		TEST(test_a_host_restarted_in_the_middle),
		TEST(test_who_is_trusted_is_taken_as_a_whole),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
