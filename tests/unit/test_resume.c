// SPDX-License-Identifier: BSD-2-Clause
/* Handshakes that resume earlier ones: what must be resumed, and what must be verified anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "agent/tls.h"
#include "agent/x509.h"
#include "cert_maker.h"

#define NOW      1900000000ll
#define LIFE     100 /* seconds of the server's certificate; the client's has an hour */
#define CLIENT   "spiffe://car.example/vm/cockpit/service/dashboard"
#define CLIENT_2 "spiffe://car.example/vm/cockpit/service/radio"
#define SERVER   "spiffe://car.example/vm/adas/service/cache"
#define SERVER_2 "spiffe://car.example/vm/adas/service/fusion"

static EVP_PKEY *ca_key;
static X509 *ca;
static X509_STORE *trust;

/* Of one test: a context for each service, and what its end is told of the other. */
static SSL_CTX *client_context, *server_context;
static struct tls_peer to_server, to_client;
static struct tls client, server;
static enum tls_progress c, s;
static long hello_len; /* bytes of the client's first message */

static SSL_CTX *context(const char *san, int64_t not_after)
{
	struct cert_spec spec = leaf_spec(san, NOW);
	STACK_OF(X509) *chain = sk_X509_new_null();
	EVP_PKEY *key = x509_key_new();
	SSL_CTX *ctx;

	spec.not_after = not_after;
	sk_X509_push(chain, make_cert(&spec, key, ca, ca_key));
	ctx = tls_context_new(trust, key, chain);
	assert_non_null(ctx);
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(key);
	return ctx;
}

static int setup(void **state)
{
	struct cert_spec spec = ca_spec(NOW);
	STACK_OF(X509) *trusted = sk_X509_new_null();

	(void)state;
	ca_key = x509_key_new();
	ca = make_cert(&spec, ca_key, NULL, NULL);
	sk_X509_push(trusted, ca);
	trust = x509_trust_new(trusted);
	sk_X509_free(trusted);
	client_context = context("URI:" CLIENT, NOW + 36000);
	server_context = context("URI:" SERVER, NOW + LIFE);
	to_server = (struct tls_peer){ SERVER, 6, 7, 0, 1 };
	to_client = (struct tls_peer){ CLIENT, 7, 6, 1, 1 };
	return 0;
}

static void end(void)
{
	tls_end(&client);
	tls_end(&server);
}

static int teardown(void **state)
{
	(void)state;
	end();
	SSL_CTX_free(client_context);
	SSL_CTX_free(server_context);
	X509_STORE_free(trust);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	return 0;
}

/* Carries bytes until nothing moves; of the client's first message byte @at is flipped (-1: none). */
static void run(long at)
{
	uint8_t data[SIVP_TLS_MAX];
	bool first = true, moved = true;
	size_t len;

	s = TLS_MORE;
	c = tls_step(&client, NULL, 0);
	while (moved) {
		moved = false;
		while (s != TLS_FAILED && (len = tls_output(&client, data, sizeof(data)))) {
			if (first) {
				hello_len = len;
				if (at >= 0 && at < hello_len)
					data[at] ^= 1;
			}
			first = false;
			s = tls_step(&server, data, len);
			moved = true;
		}
		while (c != TLS_FAILED && (len = tls_output(&server, data, sizeof(data)))) {
			c = tls_step(&client, data, len);
			moved = true;
		}
	}
}

static void start(int64_t now)
{
	end();
	assert_true(tls_start(&client, client_context, false, now, &to_server));
	assert_true(tls_start(&server, server_context, true, now, &to_client));
}

/* A whole connect, as the agents make it. */
static void connect_at(int64_t now)
{
	start(now);
	run(-1);
	if (c == TLS_DONE && s == TLS_DONE) {
		tls_keep_tickets(&client, now);
		tls_keep_tickets(&server, now);
	}
}

static void good(bool resumed)
{
	if (c != TLS_DONE || s != TLS_DONE)
		fail_msg("client: %s; server: %s", client.why, server.why);
	assert_int_equal(client.resumed, resumed);
	assert_int_equal(server.resumed, resumed);
	assert_int_equal(SSL_session_reused(client.ssl), resumed);
	assert_int_equal(client.reason, SIVP_R_NONE);
	assert_int_equal(server.reason, SIVP_R_NONE);
}

static void kept(unsigned int at_client, unsigned int at_server)
{
	assert_int_equal(tickets_count(client_context, TICKET_CLIENT), at_client);
	assert_int_equal(tickets_count(server_context, TICKET_SERVER), at_server);
}

static void test_resumed_is_as_good_as_full(void **state)
{
	uint8_t full[SIVP_EXPORTER_LEN], a[SIVP_EXPORTER_LEN], b[SIVP_EXPORTER_LEN];
	uint8_t digest[SIV_DIGEST_LEN], peer_digest[SIV_DIGEST_LEN];

	(void)state;
	connect_at(NOW);
	good(false);
	kept(TICKETS_PER_HANDSHAKE, TICKETS_PER_HANDSHAKE);
	assert_true(tls_exporter(&client, (const uint8_t *)"ctx", 3, full));
	memcpy(digest, client.digest, sizeof(digest));
	memcpy(peer_digest, client.peer_digest, sizeof(peer_digest));
	for (int i = 0; i < 8; i++) {
		connect_at(NOW + i);
		good(true);
		/* one was used, and one came */
		kept(TICKETS_PER_HANDSHAKE, TICKETS_PER_HANDSHAKE);
		assert_memory_equal(client.digest, digest, sizeof(digest));
		assert_memory_equal(client.peer_digest, peer_digest, sizeof(peer_digest));
		assert_memory_equal(server.digest, peer_digest, sizeof(peer_digest));
		assert_memory_equal(server.peer_digest, digest, sizeof(digest));
		assert_int_equal(client.peer_not_after, NOW + LIFE);
		assert_int_equal(server.peer_not_after, NOW + 36000);
		assert_true(tls_exporter(&client, (const uint8_t *)"ctx", 3, a));
		assert_true(tls_exporter(&server, (const uint8_t *)"ctx", 3, b));
		assert_memory_equal(a, b, sizeof(a));
		assert_memory_not_equal(a, full, sizeof(a));
	}
	/* with fresh keys each time, not from the ticket alone */
	assert_int_equal(SSL_get_negotiated_group(client.ssl), NID_X25519);
}

static void test_nothing_is_kept_of_a_connect_that_failed(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		start(NOW);
		run(-1);
		good(false); /* and then the host or a kernel refuses it */
		end();
		kept(0, 0);
	}
	/* nor if it is called for one that is not done */
	to_client.id[9]++;
	start(NOW);
	run(-1);
	assert_int_equal(s, TLS_FAILED);
	tls_keep_tickets(&server, NOW);
	kept(0, 0);
}

static void test_several_at_once_have_each_their_own(void **state)
{
	struct tls more[TICKETS_PER_HANDSHAKE + 1];

	(void)state;
	connect_at(NOW);
	for (unsigned int i = 0; i <= TICKETS_PER_HANDSHAKE; i++) {
		assert_true(tls_start(&more[i], client_context, false, NOW, &to_server));
		assert_int_equal(!more[i].ticket, i == TICKETS_PER_HANDSHAKE);
		for (unsigned int j = 0; j < i && more[i].ticket; j++)
			assert_ptr_not_equal(more[i].ticket->session, more[j].ticket->session);
	}
	for (unsigned int i = 0; i <= TICKETS_PER_HANDSHAKE; i++)
		tls_end(&more[i]);
}

/* A client that keeps what it should not: its newest ticket a second time, valid for ever. */
static struct ticket *steal(const struct tls_peer *of)
{
	struct ticket *t = tickets_take_newest(client_context, of, NOW), *copy;

	assert_non_null(t);
	SSL_SESSION_up_ref(t->session);
	copy = ticket_new(t->session);
	copy->peer = t->peer;
	memcpy(copy->digest, t->digest, sizeof(t->digest));
	memcpy(copy->peer_digest, t->peer_digest, sizeof(t->peer_digest));
	copy->until = INT64_MAX;
	tickets_add(client_context, TICKET_CLIENT, t);
	return copy;
}

static void test_a_ticket_is_good_once(void **state)
{
	struct ticket *t;

	(void)state;
	connect_at(NOW);
	t = steal(&to_server);
	connect_at(NOW);
	good(true);
	tickets_add(client_context, TICKET_CLIENT, t);
	connect_at(NOW);
	good(false);
}

static void test_a_ticket_is_good_for_its_incarnation(void **state)
{
	static const struct tls_peer there[] = {
		{ SERVER, 6, 7, 0, 2 }, { SERVER, 6, 8, 0, 1 }, { SERVER, 9, 7, 0, 1 },
		{ SERVER, 6, 7, 1, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++) {
		struct ticket *t;

		to_server = (struct tls_peer){ SERVER, 6, 7, 0, 1 };
		to_client = (struct tls_peer){ CLIENT, 7, 6, 1, 1 };
		tickets_forget(client_context, NULL);
		connect_at(NOW);
		good(false);
		t = steal(&to_server);
		to_server = there[i];
		to_client.ivposition = there[i].peer_ivposition;
		to_client.peer_ivposition = there[i].ivposition;
		to_client.end = !there[i].end;
		to_client.epoch = there[i].epoch;
		/* the client does not offer it; and if it does, the server does not take it */
		assert_null(tickets_take_newest(client_context, &to_server, NOW));
		t->peer = to_server;
		tickets_add(client_context, TICKET_CLIENT, t);
		connect_at(NOW);
		good(false);
	}
}

static void test_a_ticket_of_another_service_is_not_taken(void **state)
{
	SSL_CTX *first = server_context, *other = context("URI:" SERVER_2, NOW + LIFE);
	struct ticket *t;

	(void)state;
	connect_at(NOW);
	t = steal(&to_server);
	server_context = other;
	strcpy(to_server.id, SERVER_2);
	t->peer = to_server;
	tickets_add(client_context, TICKET_CLIENT, t);
	connect_at(NOW);
	good(false);
	server_context = first;
	end();
	SSL_CTX_free(other);
}

static void test_a_ticket_of_another_client_is_not_taken(void **state)
{
	SSL_CTX *first = client_context, *other = context("URI:" CLIENT_2, NOW + LIFE);
	struct ticket *t;

	(void)state;
	connect_at(NOW);
	/* another service of that VM got at it: it is verified as what it is */
	t = steal(&to_server);
	client_context = other;
	strcpy(to_client.id, CLIENT_2);
	tickets_add(other, TICKET_CLIENT, t);
	connect_at(NOW);
	good(false);
	/* and one that only says that it is another, by a session that it has, is refused */
	client_context = first;
	connect_at(NOW);
	assert_int_equal(s, TLS_FAILED);
	assert_int_equal(server.reason, SIVP_R_CERTIFICATE);
	assert_false(server.resumed);
	end();
	SSL_CTX_free(other);
}

static void test_a_lineage_ends_with_its_certificates(void **state)
{
	struct ticket *t;

	(void)state;
	connect_at(NOW);
	good(false);
	connect_at(NOW + LIFE);
	good(true);
	/* renewing a ticket has not made it longer */
	t = steal(&to_server);
	connect_at(NOW + LIFE + 1);
	assert_int_equal(c, TLS_FAILED);
	assert_int_equal(client.reason, SIVP_R_EXPIRED);
	kept(0, 4);
	/* not for a client that does not care either: the server ends it too */
	tickets_add(client_context, TICKET_CLIENT, t);
	connect_at(NOW + LIFE + 1);
	assert_false(server.resumed);
	assert_false(SSL_session_reused(server.ssl));
	kept(0, 0);
}

static void test_a_ticket_ends_by_its_own_time(void **state)
{
	struct ticket *t;
	SSL_CTX *first = server_context;

	(void)state;
	server_context = context("URI:" SERVER, NOW + 36000);
	connect_at(NOW);
	connect_at(NOW + TICKETS_LIFE_S);
	good(true);
	connect_at(NOW + 2 * TICKETS_LIFE_S);
	good(true);
	t = steal(&to_server);
	connect_at(NOW + 3 * TICKETS_LIFE_S + 1);
	good(false);
	tickets_forget(client_context, NULL);
	connect_at(NOW + 3 * TICKETS_LIFE_S + 1);
	good(false);
	tickets_forget(client_context, NULL);
	tickets_add(client_context, TICKET_CLIENT, t);
	connect_at(NOW + 3 * TICKETS_LIFE_S + 1);
	good(false);
	end();
	SSL_CTX_free(server_context);
	server_context = first;
}

static void test_a_new_certificate_has_no_tickets(void **state)
{
	(void)state;
	connect_at(NOW);
	end();
	SSL_CTX_free(server_context);
	server_context = context("URI:" SERVER, NOW + LIFE);
	connect_at(NOW);
	good(false);
	connect_at(NOW);
	good(true);
	end();
	SSL_CTX_free(client_context);
	client_context = context("URI:" CLIENT, NOW + 36000);
	connect_at(NOW);
	good(false);
}

static void test_what_was_verified_is_compared(void **state)
{
	struct ticket *t;

	(void)state;
	for (int i = 0; i < 3; i++) {
		tickets_forget(client_context, NULL);
		tickets_forget(server_context, NULL);
		connect_at(NOW);
		good(false);
		t = tickets_take_newest(client_context, &to_server, NOW);
		if (i == 0)
			t->peer_digest[0] ^= 1;
		else if (i == 1)
			t->digest[0] ^= 1;
		tickets_add(client_context, TICKET_CLIENT, t);
		start(NOW);
		if (i == 2)
			client.peer.epoch++; /* the host names another after all */
		run(-1);
		assert_int_equal(c, TLS_FAILED);
		assert_int_equal(client.reason, SIVP_R_CERTIFICATE);
		assert_int_equal(tls_output(&client, (uint8_t[16]){ 0 }, 16), 0);
		assert_false(tls_exporter(&client, NULL, 0, (uint8_t[SIVP_EXPORTER_LEN]){ 0 }));
	}
}

static void test_a_garbled_ticket_is_a_full_handshake(void **state)
{
	const unsigned char *in;
	unsigned char *der, *p;
	const uint8_t *id;
	size_t len;
	struct ticket *t;

	(void)state;
	for (size_t at = 0; at < 32; at += 5) {
		tickets_forget(client_context, NULL);
		connect_at(NOW);
		t = tickets_take_newest(client_context, &to_server, NOW);
		/* OpenSSL has no call that changes a ticket: change it where it is stored. */
		SSL_SESSION_get0_ticket(t->session, &id, &len);
		assert_int_equal(len, 32);
		int der_len = i2d_SSL_SESSION(t->session, NULL);
		der = p = OPENSSL_malloc(der_len);
		i2d_SSL_SESSION(t->session, &p);
		p = memmem(der, der_len, id, len);
		assert_non_null(p);
		p[at] ^= 0x80;
		SSL_SESSION_free(t->session);
		in = der;
		t->session = d2i_SSL_SESSION(NULL, &in, der_len);
		assert_non_null(t->session);
		OPENSSL_free(der);
		tickets_add(client_context, TICKET_CLIENT, t);
		connect_at(NOW);
		good(false);
	}
}

/* Whoever carries the bytes cannot make two ends agree on what they did not say. */
static void test_a_changed_client_hello_never_ends_well(void **state)
{
	(void)state;
	for (long at = 0; at < 512; at++) {
		tickets_forget(client_context, NULL);
		tickets_forget(server_context, NULL);
		connect_at(NOW);
		start(NOW);
		assert_non_null(client.ticket);
		run(at);
		/* at 2: the record's minor version, which TLS 1.3 gives no meaning */
		if (at != 2 && at < hello_len)
			assert_false(c == TLS_DONE && s == TLS_DONE);
		else
			good(true);
	}
}

static struct ticket *dummy(const struct tls_peer *peer)
{
	struct ticket *t = ticket_new(SSL_SESSION_new());

	t->peer = *peer;
	t->until = NOW;
	return t;
}

static void test_the_store_is_bounded(void **state)
{
	struct tls_peer peer = to_server;
	struct ticket *oldest;

	(void)state;
	for (unsigned int i = 0; i < 2 * TICKETS_PER_PEER; i++)
		tickets_add(client_context, TICKET_CLIENT, dummy(&peer));
	kept(TICKETS_PER_PEER, 0);
	/* others do not push the newest of this one out until all places are taken */
	for (unsigned int i = 0; i < TICKETS_PER_SERVICE; i++) {
		peer.epoch++;
		tickets_add(client_context, TICKET_CLIENT, dummy(&peer));
		if (i == TICKETS_PER_SERVICE - 2) {
			oldest = tickets_take_newest(client_context, &to_server, NOW);
			assert_non_null(oldest);
			tickets_add(client_context, TICKET_CLIENT, oldest);
		}
	}
	kept(TICKETS_PER_SERVICE, 0);
	tickets_forget(client_context, SERVER_2);
	kept(TICKETS_PER_SERVICE, 0);
	tickets_forget(client_context, SERVER);
	kept(0, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_resumed_is_as_good_as_full),
		TEST(test_nothing_is_kept_of_a_connect_that_failed),
		TEST(test_several_at_once_have_each_their_own),
		TEST(test_a_ticket_is_good_once),
		TEST(test_a_ticket_is_good_for_its_incarnation),
		TEST(test_a_ticket_of_another_service_is_not_taken),
		TEST(test_a_ticket_of_another_client_is_not_taken),
		TEST(test_a_lineage_ends_with_its_certificates),
		TEST(test_a_ticket_ends_by_its_own_time),
		TEST(test_a_new_certificate_has_no_tickets),
		TEST(test_what_was_verified_is_compared),
		TEST(test_a_garbled_ticket_is_a_full_handshake),
		TEST(test_a_changed_client_hello_never_ends_well),
		TEST(test_the_store_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
