// SPDX-License-Identifier: BSD-2-Clause
/* Handshakes between two ends in one process: whom each accepts, and whom it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "agent/tls.h"
#include "agent/x509.h"
#include "cert_maker.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define NOW       1900000000ll /* the host's clock; far from the machine's own */
#define CLIENT_ID "spiffe://car.example/vm/cockpit/service/dashboard"
#define SERVER_ID "spiffe://car.example/vm/adas/service/cache"

static EVP_PKEY *ca_key, *other_ca_key, *client_key, *server_key;
static X509 *ca, *other_ca;
static X509_STORE *trust;

static STACK_OF(X509) *chain_of(X509 *cert)
{
	STACK_OF(X509) *chain = sk_X509_new_null();

	sk_X509_push(chain, cert);
	return chain;
}

static X509_STORE *trust_in(X509 *cert)
{
	STACK_OF(X509) *chain = chain_of(cert);
	X509_STORE *store = x509_trust_new(chain);

	sk_X509_free(chain);
	assert_non_null(store);
	return store;
}

static int setup(void **state)
{
	struct cert_spec spec = ca_spec(NOW);

	(void)state;
	ca_key = x509_key_new();
	other_ca_key = x509_key_new();
	client_key = x509_key_new();
	server_key = x509_key_new();
	ca = make_cert(&spec, ca_key, NULL, NULL);
	other_ca = make_cert(&spec, other_ca_key, NULL, NULL);
	trust = trust_in(ca);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	X509_STORE_free(trust);
	X509_free(ca);
	X509_free(other_ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(other_ca_key);
	EVP_PKEY_free(client_key);
	EVP_PKEY_free(server_key);
	return 0;
}

/* A context for a certificate made by @spec; @issuer_key says whose. */
static SSL_CTX *context(const struct cert_spec *spec, bool server, EVP_PKEY *issuer_key,
			X509_STORE *trusted)
{
	EVP_PKEY *key = server ? server_key : client_key;
	X509 *cert = make_cert(spec, key, issuer_key == ca_key ? ca : other_ca, issuer_key);
	STACK_OF(X509) *chain = chain_of(cert);
	SSL_CTX *ctx = tls_context_new(trusted, key, chain);

	assert_non_null(ctx);
	sk_X509_pop_free(chain, X509_free);
	return ctx;
}

static SSL_CTX *good(bool server)
{
	struct cert_spec spec = leaf_spec(server ? "URI:" SERVER_ID : "URI:" CLIENT_ID, NOW);

	return context(&spec, server, ca_key, trust);
}

/* Carries bytes until nothing moves. @piece: at most so many at a time. */
static void run(struct tls *client, struct tls *server, size_t piece, enum tls_progress *c,
		enum tls_progress *s)
{
	uint8_t data[SIVP_TLS_MAX];
	size_t len;
	bool moved = true;

	*s = TLS_MORE;
	*c = tls_step(client, NULL, 0);
	while (moved) {
		moved = false;
		while (*s != TLS_FAILED && (len = tls_output(client, data, piece))) {
			*s = tls_step(server, data, len);
			moved = true;
		}
		while (*c != TLS_FAILED && (len = tls_output(server, data, piece))) {
			*c = tls_step(client, data, len);
			moved = true;
		}
	}
}

/* The ends of the link between the two, each as it is told to the other. */
static const struct tls_peer to_server = { SERVER_ID, 6, 7, 0, 1 };
static const struct tls_peer to_client = { CLIENT_ID, 7, 6, 1, 1 };

static void pair(SSL_CTX *cc, SSL_CTX *sc, struct tls *client, struct tls *server)
{
	assert_true(tls_start(client, cc, false, NOW, &to_server));
	assert_true(tls_start(server, sc, true, NOW, &to_client));
	SSL_CTX_free(cc);
	SSL_CTX_free(sc);
}

static void test_both_become_good_only_at_the_end(void **state)
{
	static const size_t pieces[] = { SIVP_TLS_MAX, 100, 1 };
	uint8_t a[SIVP_EXPORTER_LEN], b[SIVP_EXPORTER_LEN];
	struct tls client, server;
	enum tls_progress c, s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		pair(good(false), good(true), &client, &server);
		assert_int_equal(client.reason, SIVP_R_HANDSHAKE);
		assert_false(tls_exporter(&client, NULL, 0, a));
		run(&client, &server, pieces[i], &c, &s);
		assert_int_equal(c, TLS_DONE);
		assert_int_equal(s, TLS_DONE);
		assert_int_equal(client.reason, SIVP_R_NONE);
		assert_int_equal(server.reason, SIVP_R_NONE);
		assert_memory_equal(client.digest, server.peer_digest, SIV_DIGEST_LEN);
		assert_memory_equal(server.digest, client.peer_digest, SIV_DIGEST_LEN);
		assert_memory_not_equal(client.digest, server.digest, SIV_DIGEST_LEN);
		assert_int_equal(client.peer_not_after, NOW + 3600);
		/* The same context is the same exporter; another is another. */
		assert_true(tls_exporter(&client, (const uint8_t *)"ctx", 3, a));
		assert_true(tls_exporter(&server, (const uint8_t *)"ctx", 3, b));
		assert_memory_equal(a, b, sizeof(a));
		assert_true(tls_exporter(&server, (const uint8_t *)"ctX", 3, b));
		assert_memory_not_equal(a, b, sizeof(a));
		tls_end(&client);
		tls_end(&server);
	}
}

/* What a channel is sealed with, for that context alone; and it is not what the host is told. */
static void test_secrets_are_the_two_ends_alone(void **state)
{
	uint8_t a[2 * SIV_SEAL_SECRET], b[2 * SIV_SEAL_SECRET], told[SIVP_EXPORTER_LEN];
	struct tls client, server;
	enum tls_progress c, s;

	(void)state;
	pair(good(false), good(true), &client, &server);
	assert_false(tls_secrets(&client, (const uint8_t *)"ctx", 3, a));
	run(&client, &server, SIVP_TLS_MAX, &c, &s);
	assert_true(tls_secrets(&client, (const uint8_t *)"ctx", 3, a));
	assert_true(tls_secrets(&server, (const uint8_t *)"ctx", 3, b));
	assert_memory_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, a + SIV_SEAL_SECRET, SIV_SEAL_SECRET);
	assert_true(tls_exporter(&client, (const uint8_t *)"ctx", 3, told));
	assert_memory_not_equal(a, told, SIV_SEAL_SECRET);
	assert_true(tls_secrets(&server, (const uint8_t *)"ctX", 3, b));
	assert_memory_not_equal(a, b, SIV_SEAL_SECRET);
	assert_memory_not_equal(a + SIV_SEAL_SECRET, b + SIV_SEAL_SECRET, SIV_SEAL_SECRET);
	tls_end(&client);
	tls_end(&server);
}

/* @spec: of the peer of the end under test. */
static void refuses(const struct cert_spec *spec, bool peer_is_server, EVP_PKEY *issuer,
		    enum sivp_reason reason)
{
	SSL_CTX *bad = context(spec, peer_is_server, issuer, trust);
	struct tls client, server, *under_test;
	enum tls_progress c, s;

	pair(peer_is_server ? good(false) : bad, peer_is_server ? bad : good(true), &client, &server);
	run(&client, &server, SIVP_TLS_MAX, &c, &s);
	under_test = peer_is_server ? &client : &server;
	assert_int_equal(peer_is_server ? c : s, TLS_FAILED);
	if (under_test->reason != reason)
		fail_msg("%s: %s", sivp_reason_name(under_test->reason), under_test->why);
	assert_string_not_equal(under_test->why, "");
	assert_false(under_test->done);
	/* Nothing is said and nothing can be exported any more. */
	assert_int_equal(tls_output(under_test, (uint8_t[16]){ 0 }, 16), 0);
	assert_false(tls_exporter(under_test, NULL, 0, (uint8_t[SIVP_EXPORTER_LEN]){ 0 }));
	tls_end(&client);
	tls_end(&server);
}

static void test_whom_both_ends_refuse(void **state)
{
	static const char nul[] = SERVER_ID "\0.evil", nul_client[] = CLIENT_ID "\0.evil";

	(void)state;
	for (int server = 0; server < 2; server++) {
		const char *id = server ? "URI:" SERVER_ID : "URI:" CLIENT_ID;
		struct cert_spec ok = leaf_spec(id, NOW), spec;

		/* another CA, of the same name */
		refuses(&ok, server, other_ca_key, SIVP_R_CERTIFICATE);
		/* the host's clock decides */
		spec = ok, spec.not_after = NOW - 1;
		refuses(&spec, server, ca_key, SIVP_R_EXPIRED);
		spec = ok, spec.not_before = NOW + 10;
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		/* names */
		spec = ok, spec.san = "URI:spiffe://car.example/vm/adas/service/other";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.san = server ? "URI:" SERVER_ID "x" : "URI:" CLIENT_ID "x";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.san = "URI:spiffe://car.example/vm/adas/service/cach";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.san = "URI:SPIFFE://car.example/vm/adas/service/cache";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.san = NULL;
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.san = server ? "URI:" SERVER_ID ",URI:" SERVER_ID :
					       "URI:" CLIENT_ID ",URI:" CLIENT_ID;
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.san = server ? "URI:" SERVER_ID ",DNS:a" : "URI:" CLIENT_ID ",DNS:a";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.san = "DNS:car.example";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.raw_uri = server ? nul : nul_client;
		spec.raw_uri_len = server ? sizeof(nul) - 1 : sizeof(nul_client) - 1;
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		/* usage */
		spec = ok, spec.bc = "critical,CA:TRUE", spec.ku = "digitalSignature,keyCertSign";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.bc = "critical,CA:TRUE";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.ku = NULL;
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.ku = "digitalSignature,keyCertSign";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.ku = "digitalSignature,keyAgreement";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.eku = NULL;
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.eku = server ? "clientAuth" : "serverAuth";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		spec = ok, spec.eku = "codeSigning";
		refuses(&spec, server, ca_key, SIVP_R_CERTIFICATE);
		/* and the one that all of these differ from is good */
		spec = ok, spec.bc = NULL;
		{
			struct tls c, s;
			enum tls_progress pc, ps;
			SSL_CTX *ctx = context(&spec, server, ca_key, trust);

			pair(server ? good(false) : ctx, server ? ctx : good(true), &c, &s);
			run(&c, &s, SIVP_TLS_MAX, &pc, &ps);
			assert_true(pc == TLS_DONE && ps == TLS_DONE);
			tls_end(&c);
			tls_end(&s);
		}
	}
}

static void test_an_intermediate_is_trusted_without_its_root(void **state)
{
	struct cert_spec spec = ca_spec(NOW);
	EVP_PKEY *root_key = x509_key_new(), *mid_key = x509_key_new();
	X509 *root = make_cert(&spec, root_key, NULL, NULL), *mid, *leaf;
	struct tls client, server;
	enum tls_progress c, s;
	STACK_OF(X509) *chain;
	X509_STORE *store;
	SSL_CTX *ctx[2];

	(void)state;
	mid = make_cert(&spec, mid_key, root, root_key);
	store = trust_in(mid);
	for (int i = 0; i < 2; i++) {
		spec = leaf_spec(i ? "URI:" SERVER_ID : "URI:" CLIENT_ID, NOW);
		leaf = make_cert(&spec, i ? server_key : client_key, mid, mid_key);
		chain = chain_of(leaf);
		ctx[i] = tls_context_new(store, i ? server_key : client_key, chain);
		sk_X509_pop_free(chain, X509_free);
	}
	pair(ctx[0], ctx[1], &client, &server);
	run(&client, &server, SIVP_TLS_MAX, &c, &s);
	assert_true(c == TLS_DONE && s == TLS_DONE);
	tls_end(&client);
	tls_end(&server);
	X509_STORE_free(store);
	X509_free(root);
	X509_free(mid);
	EVP_PKEY_free(root_key);
	EVP_PKEY_free(mid_key);
}

static void test_a_client_without_certificate_is_refused(void **state)
{
	SSL_CTX *bare = SSL_CTX_new(TLS_method());
	uint8_t data[SIVP_TLS_MAX];
	struct tls client, server;
	enum tls_progress s = TLS_MORE;
	int len;

	(void)state;
	pair(bare, good(true), &client, &server);
	/* Driven by hand: this client sends whatever OpenSSL has, without our checks. */
	for (int i = 0; i < 3 && s == TLS_MORE; i++) {
		SSL_do_handshake(client.ssl);
		len = BIO_read(client.out, data, sizeof(data));
		if (len > 0)
			s = tls_step(&server, data, len);
		len = tls_output(&server, data, sizeof(data));
		BIO_write(client.in, data, len);
	}
	assert_int_equal(s, TLS_FAILED);
	assert_int_equal(server.reason, SIVP_R_HANDSHAKE);
	tls_end(&client);
	tls_end(&server);
}

static void test_tls_12_is_refused(void **state)
{
	struct tls client, server;
	enum tls_progress c, s;
	SSL_CTX *old = good(false);

	(void)state;
	SSL_CTX_set_min_proto_version(old, TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
	pair(old, good(true), &client, &server);
	run(&client, &server, SIVP_TLS_MAX, &c, &s);
	assert_int_equal(s, TLS_FAILED);
	assert_int_equal(server.reason, SIVP_R_HANDSHAKE);
	tls_end(&client);
	tls_end(&server);
}

static void test_data_after_the_handshake_is_a_violation(void **state)
{
	uint8_t data[SIVP_TLS_MAX];
	struct tls client, server;
	enum tls_progress c, s;
	size_t len;

	(void)state;
	pair(good(false), good(true), &client, &server);
	run(&client, &server, SIVP_TLS_MAX, &c, &s);
	assert_int_equal(SSL_write(client.ssl, "x", 1), 1);
	len = BIO_read(client.out, data, sizeof(data));
	assert_int_equal(tls_step(&server, data, len), TLS_FAILED);
	assert_int_equal(server.reason, SIVP_R_VIOLATION);
	tls_end(&client);
	tls_end(&server);
}

/* A peer that tells why it refuses: its alert names the reason. */
static void test_alerts_become_reasons(void **state)
{
	static const struct { int64_t not_after; EVP_PKEY **issuer; enum sivp_reason reason; } cases[] = {
		{ NOW - 1, &ca_key, SIVP_R_EXPIRED },
		{ NOW + 3600, &other_ca_key, SIVP_R_CERTIFICATE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cert_spec spec = leaf_spec("URI:" CLIENT_ID, NOW);
		uint8_t data[SIVP_TLS_MAX];
		struct tls client, server;
		enum tls_progress c, s;
		int len;

		spec.not_after = cases[i].not_after;
		pair(context(&spec, false, *cases[i].issuer, trust), good(true), &client, &server);
		run(&client, &server, SIVP_TLS_MAX, &c, &s);
		assert_int_equal(c, TLS_DONE); /* a TLS 1.3 client does not know better yet */
		assert_int_equal(s, TLS_FAILED);
		len = BIO_read(server.out, data, sizeof(data)); /* what tls_output() withholds */
		assert_true(len > 0);
		assert_int_equal(tls_step(&client, data, len), TLS_FAILED);
		assert_int_equal(client.reason, cases[i].reason);
		tls_end(&client);
		tls_end(&server);
	}
}

static void test_garbage_fails(void **state)
{
	uint8_t data[600];
	struct tls server;

	(void)state;
	for (size_t len = 1; len < sizeof(data); len += 37) {
		SSL_CTX *ctx = good(true);

		memset(data, len, sizeof(data));
		assert_true(tls_start(&server, ctx, true, NOW, &to_client));
		SSL_CTX_free(ctx);
		if (tls_step(&server, data, len) == TLS_FAILED)
			assert_int_equal(server.reason, SIVP_R_HANDSHAKE);
		assert_false(server.done);
		tls_end(&server);
	}
}

static void test_requests_and_chains(void **state)
{
	uint8_t csr[SIVP_CSR_MAX], der[SIVP_CERTS_MAX], *p = der;
	const uint8_t *in = csr;
	STACK_OF(X509) *chain;
	X509_REQ *req;
	EVP_PKEY *key;
	size_t len;

	(void)state;
	len = x509_csr(client_key, csr, sizeof(csr));
	assert_true(len > 0);
	req = d2i_X509_REQ(NULL, &in, len);
	assert_non_null(req);
	key = X509_REQ_get_pubkey(req);
	assert_int_equal(X509_REQ_verify(req, key), 1);
	assert_int_equal(EVP_PKEY_eq(key, client_key), 1);
	EVP_PKEY_free(key);
	X509_REQ_free(req);
	assert_int_equal(x509_csr(client_key, csr, 64), 0); /* a signature's length varies */

	for (int n = 1; n <= X509_CHAIN_MAX; n++) {
		i2d_X509(ca, &p);
		chain = x509_chain_parse(der, p - der);
		assert_non_null(chain);
		assert_int_equal(sk_X509_num(chain), n);
		sk_X509_pop_free(chain, X509_free);
		assert_null(x509_chain_parse(der, p - der - 1));
	}
	i2d_X509(ca, &p);
	assert_null(x509_chain_parse(der, p - der)); /* one too many */
	assert_null(x509_chain_parse(der, 0));
	assert_null(x509_chain_parse((const uint8_t *)"rubbish", 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_become_good_only_at_the_end),
		cmocka_unit_test(test_secrets_are_the_two_ends_alone),
		cmocka_unit_test(test_whom_both_ends_refuse),
		cmocka_unit_test(test_an_intermediate_is_trusted_without_its_root),
		cmocka_unit_test(test_a_client_without_certificate_is_refused),
		cmocka_unit_test(test_tls_12_is_refused),
		cmocka_unit_test(test_data_after_the_handshake_is_a_violation),
		cmocka_unit_test(test_alerts_become_reasons),
		cmocka_unit_test(test_garbage_fails),
		cmocka_unit_test(test_requests_and_chains),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
