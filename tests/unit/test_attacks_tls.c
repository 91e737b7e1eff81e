// SPDX-License-Identifier: BSD-2-Clause
/*
 * Attacks on the handshake between two agents by whoever carries its records, and by a peer that is
 * not one of ours: what must never end with both sides done.
 *
 *   client --- records ---> attack ---> server
 *          <-- records ---- attack <---
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/tls.h"
#include "agent/x509.h"
#include "cert_maker.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define NOW        1900000000ll /* the host's clock */
#define CLIENT_ID  "spiffe://car.example/vm/cockpit/service/dashboard"
#define SERVER_ID  "spiffe://car.example/vm/adas/service/cache"
#define RECORD_MAX (SIVP_TLS_MAX + 256)
#define RECORDS    32 /* more than a handshake has, attacked or not */

static EVP_PKEY *ca_key, *keys[2]; /* by side */
static X509 *ca;
static X509_STORE *trust;
static SSL_CTX *contexts[2];

enum { CLIENT, SERVER };

static const struct tls_peer to_server = { SERVER_ID, 6, 7, 0, 1 };
static const struct tls_peer to_client = { CLIENT_ID, 7, 6, 1, 1 };

static const char *id(int side)
{
	return side == SERVER ? "URI:" SERVER_ID : "URI:" CLIENT_ID;
}

static X509_STORE *trust_in(X509 *cert)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509_STORE *store;

	sk_X509_push(chain, cert);
	store = x509_trust_new(chain);
	sk_X509_free(chain);
	assert_non_null(store);
	return store;
}

/* Takes @leaf over; @more, if any, follow it in the chain. */
static SSL_CTX *context_of(X509 *leaf, EVP_PKEY *key, X509 *const more[], size_t n)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	SSL_CTX *ctx;

	sk_X509_push(chain, leaf);
	for (size_t i = 0; i < n; i++)
		sk_X509_push(chain, more[i]);
	ctx = tls_context_new(trust, key, chain);
	assert_non_null(ctx);
	sk_X509_free(chain);
	X509_free(leaf);
	return ctx;
}

static SSL_CTX *context(const struct cert_spec *spec, EVP_PKEY *key)
{
	return context_of(make_cert(spec, key, ca, ca_key), key, NULL, 0);
}

static int setup(void **state)
{
	struct cert_spec spec = ca_spec(NOW);

	(void)state;
	ca_key = x509_key_new();
	ca = make_cert(&spec, ca_key, NULL, NULL);
	trust = trust_in(ca);
	for (int side = 0; side < 2; side++) {
		keys[side] = x509_key_new();
		spec = leaf_spec(id(side), NOW);
		contexts[side] = context(&spec, keys[side]);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int side = 0; side < 2; side++) {
		SSL_CTX_free(contexts[side]);
		EVP_PKEY_free(keys[side]);
	}
	X509_STORE_free(trust);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	return 0;
}

/* A handshake, its records in the order in which they were said, and what is done to one. */

enum attack { NONE, DROP, REPEAT, SWAP, CUT, FLIP };

struct record {
	int from;
	size_t len;
	uint8_t data[RECORD_MAX];
};

static struct wire {
	struct tls tls[2];
	enum tls_progress progress[2];
	struct record record[RECORDS]; /* as they were said */
	unsigned int n;
	unsigned int n_server_done;    /* those before the server was done */
	enum attack attack;
	unsigned int at;               /* which record ... */
	size_t byte;                   /* ... and, of it, where */
} wire;

static void deliver(int to, const uint8_t *data, size_t len)
{
	if (wire.progress[to] == TLS_FAILED || !len)
		return;
	wire.progress[to] = tls_step(&wire.tls[to], data, len);
	if (to == SERVER && wire.progress[to] == TLS_DONE && !wire.n_server_done)
		wire.n_server_done = wire.n;
}

/* @r has just been said: delivers it, or what is made of it. */
static void carry(struct record *r)
{
	unsigned int index = r - wire.record;
	static struct record changed;
	int to = !r->from;

	if (wire.attack == SWAP && index == wire.at + 1) {
		deliver(to, r->data, r->len);
		deliver(to, wire.record[wire.at].data, wire.record[wire.at].len);
		return;
	}
	if (index != wire.at || wire.attack == NONE) {
		deliver(to, r->data, r->len);
		return;
	}
	switch (wire.attack) {
	case REPEAT:
		deliver(to, r->data, r->len);
		deliver(to, r->data, r->len);
		break;
	case CUT:
		deliver(to, r->data, wire.byte < r->len ? wire.byte : r->len - 1);
		break;
	case FLIP:
		changed = *r;
		changed.data[wire.byte % r->len] ^= 1 << wire.byte % 8;
		deliver(to, changed.data, r->len);
		break;
	default: /* DROP, and SWAP: with the next one */
		break;
	}
}

/* All that @side has to say now. False: nothing. */
static bool speak(int side)
{
	static uint8_t said[64 * 1024];
	size_t len = 0, n;

	while ((n = tls_output(&wire.tls[side], said + len, sizeof(said) - len)))
		len += n;
	for (size_t at = 0; at < len;) {
		struct record *r = &wire.record[wire.n++];

		assert_true(wire.n <= RECORDS && len - at >= 5);
		r->from = side;
		r->len = 5 + (said[at + 3] << 8 | said[at + 4]);
		assert_true(r->len <= len - at && r->len <= sizeof(r->data));
		memcpy(r->data, said + at, r->len);
		at += r->len;
		carry(r);
	}
	return len;
}

static void end(void)
{
	tls_end(&wire.tls[CLIENT]);
	tls_end(&wire.tls[SERVER]);
}

static void start(SSL_CTX *client, SSL_CTX *server)
{
	end();
	wire.n = wire.n_server_done = 0;
	wire.attack = NONE;
	assert_true(tls_start(&wire.tls[CLIENT], client, false, NOW, &to_server));
	assert_true(tls_start(&wire.tls[SERVER], server, true, NOW, &to_client));
	wire.progress[SERVER] = TLS_MORE;
}

static void run(void)
{
	wire.progress[CLIENT] = tls_step(&wire.tls[CLIENT], NULL, 0);
	while (speak(CLIENT) | speak(SERVER))
		;
}

static bool both_done(void)
{
	return wire.progress[CLIENT] == TLS_DONE && wire.progress[SERVER] == TLS_DONE;
}

/* A whole handshake with no attack: how many records it has, and how many of these end it. */
static unsigned int honest(unsigned int *n_server_done)
{
	start(contexts[CLIENT], contexts[SERVER]);
	run();
	if (!both_done())
		fail_msg("client: %s; server: %s", wire.tls[CLIENT].why, wire.tls[SERVER].why);
	*n_server_done = wire.n_server_done;
	return wire.n;
}

/* Records up to the @n_done-th each count; later ones (tickets) may get lost. */
static void attack(enum attack how, unsigned int at, size_t byte, unsigned int n_done)
{
	start(contexts[CLIENT], contexts[SERVER]);
	wire.attack = how;
	wire.at = at;
	wire.byte = byte;
	run();
	if (at >= n_done && how != REPEAT && (how != FLIP || byte < 5))
		return;
	if (both_done())
		fail_msg("attack %d on record %u, byte %zu: both are done", how, at, byte);
}

static void test_no_record_can_be_changed(void **state)
{
	static struct record said[RECORDS];
	unsigned int n_done, n = honest(&n_done);

	(void)state;
	memcpy(said, wire.record, sizeof(said));
	assert_true(n_done > 5 && n > n_done);
	for (unsigned int at = 0; at < n; at++) {
		attack(DROP, at, 0, n_done);
		attack(REPEAT, at, 0, n_done);
		if (at + 1 < n && said[at + 1].from == said[at].from)
			attack(SWAP, at, 0, n_done);
		for (size_t byte = 0; byte < said[at].len; byte += 41)
			attack(CUT, at, byte, n_done);
		attack(CUT, at, said[at].len - 1, n_done);
		for (size_t byte = 0; byte < said[at].len; byte += byte < 10 ? 1 : 3) {
			/* the record's version, which TLS 1.3 gives no meaning in the first ones */
			if (at < 2 && (byte == 1 || byte == 2))
				continue;
			attack(FLIP, at, byte, n_done);
		}
	}
	/* and the handshake itself is good */
	honest(&n_done);
	end();
}

/* Truncation: nobody is done before the last byte of what the other has to say for that. */
static void test_no_beginning_is_enough(void **state)
{
	bool more = true;
	uint8_t byte;

	(void)state;
	start(contexts[CLIENT], contexts[SERVER]);
	wire.progress[CLIENT] = tls_step(&wire.tls[CLIENT], NULL, 0);
	while (more) {
		more = false;
		for (int side = 0; side < 2; side++) {
			while (tls_output(&wire.tls[side], &byte, 1)) {
				bool was_done = wire.tls[!side].done;

				deliver(!side, &byte, 1);
				if (!was_done && BIO_pending(wire.tls[side].out))
					assert_false(wire.tls[!side].done);
				more = true;
			}
		}
	}
	assert_true(both_done());
	end();
}

/* All that one side said, to another other side. */
static void replay(int to, const struct record *said, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (said[i].from != to)
			deliver(to, said[i].data, said[i].len);
}

static void test_a_recorded_handshake_is_worth_nothing(void **state)
{
	static struct record said[RECORDS];
	unsigned int n_done, n = honest(&n_done);

	(void)state;
	for (int resumed = 0; resumed < 2; resumed++) {
		memcpy(said, wire.record, sizeof(said));
		assert_int_equal(wire.tls[SERVER].resumed, resumed);
		for (int to = 0; to < 2; to++) {
			start(contexts[CLIENT], contexts[SERVER]);
			wire.progress[CLIENT] = tls_step(&wire.tls[CLIENT], NULL, 0);
			replay(to, said, n);
			assert_int_not_equal(wire.progress[to], TLS_DONE);
			assert_false(wire.tls[to].done);
			/* reflection: what a side says itself */
			start(contexts[CLIENT], contexts[SERVER]);
			wire.progress[CLIENT] = tls_step(&wire.tls[CLIENT], NULL, 0);
			for (uint8_t byte; tls_output(&wire.tls[CLIENT], &byte, 1);)
				deliver(CLIENT, &byte, 1);
			assert_int_equal(wire.progress[CLIENT], TLS_FAILED);
		}
		/* Again with tickets: the client's first message alone would carry a PSK. */
		tls_end(&wire.tls[CLIENT]);
		honest(&n_done);
		tls_keep_tickets(&wire.tls[CLIENT], NOW);
		tls_keep_tickets(&wire.tls[SERVER], NOW);
		start(contexts[CLIENT], contexts[SERVER]);
		run();
		assert_true(both_done());
		n = wire.n;
	}
	end();
	tickets_forget(contexts[CLIENT], NULL);
	tickets_forget(contexts[SERVER], NULL);
}

/* What a side exports for the session that the host named to it. */
static void export_for(struct tls *tls, uint8_t nonce, uint8_t out[SIVP_EXPORTER_LEN])
{
	struct sivp_binding b = { .client_id = CLIENT_ID, .server_id = SERVER_ID,
				  .ivposition = { 6, 7 }, .epoch = 1, .type = 1,
				  .c2s_order = 16, .s2c_order = 16 };
	uint8_t context[SIVP_CONTEXT_MAX];

	memset(b.nonce, nonce, sizeof(b.nonce));
	assert_true(tls_exporter(tls, context, sivp_context(&b, context), out));
}

/* Two sessions of the same two services whose records were swapped from the first to the last. */
static void test_swapped_sessions_do_not_export_the_same(void **state)
{
	uint8_t out[2][2][SIVP_EXPORTER_LEN]; /* by session, as the host knows it, and side */

	(void)state;
	/* as the host named them: (client 1, server 1), (client 2, server 2) */
	for (int session = 0; session < 2; session++) {
		start(contexts[CLIENT], contexts[SERVER]);
		run();
		assert_true(both_done());
		export_for(&wire.tls[CLIENT], session, out[session][CLIENT]);
		export_for(&wire.tls[SERVER], !session, out[!session][SERVER]);
	}
	for (int session = 0; session < 2; session++)
		assert_memory_not_equal(out[session][CLIENT], out[session][SERVER],
					SIVP_EXPORTER_LEN);
	/* nor does one handshake that is claimed for two sessions */
	export_for(&wire.tls[CLIENT], 0, out[0][CLIENT]);
	export_for(&wire.tls[SERVER], 1, out[0][SERVER]);
	assert_memory_not_equal(out[0][CLIENT], out[0][SERVER], SIVP_EXPORTER_LEN);
	export_for(&wire.tls[SERVER], 0, out[0][SERVER]);
	assert_memory_equal(out[0][CLIENT], out[0][SERVER], SIVP_EXPORTER_LEN);
	end();
}

/* Peers that are not ours */

/* A handshake in which @peer plays @side, and the other side is ours. */
static void play(int side, SSL_CTX *peer)
{
	start(side == CLIENT ? peer : contexts[CLIENT], side == SERVER ? peer : contexts[SERVER]);
	run();
}

/* It must be refused. Takes @peer over. */
static void refused(const char *what, int side, SSL_CTX *peer)
{
	play(side, peer);
	SSL_CTX_free(peer);
	if (wire.progress[!side] == TLS_DONE && both_done())
		fail_msg("%s, as the %s: accepted", what, side ? "server" : "client");
	assert_false(wire.tls[SERVER].done && wire.tls[CLIENT].done);
}

static SSL_CTX *good(int side)
{
	struct cert_spec spec = leaf_spec(id(side), NOW);

	return context(&spec, keys[side]);
}

static void lists(SSL_CTX *ctx, const char *groups, const char *signatures, const char *suites)
{
	if (groups)
		assert_int_equal(SSL_CTX_set1_groups_list(ctx, groups), 1);
	if (signatures)
		assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, signatures), 1);
	if (suites)
		assert_int_equal(SSL_CTX_set_ciphersuites(ctx, suites), 1);
}

static void test_downgrades_are_refused(void **state)
{
	static const char *const groups[] = { "P-256", "P-384", "P-521", "X448", "ffdhe2048" };
	static const char *const suites[] = { "TLS_AES_128_CCM_SHA256",
					      "TLS_AES_128_CCM_8_SHA256" };
	static const char all[] = "ECDSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA256:ed25519:ed448";

	(void)state;
	for (int side = 0; side < 2; side++) {
		struct cert_spec spec = leaf_spec(id(side), NOW);
		EVP_PKEY *const odd[] = { EVP_EC_gen("P-384"), EVP_RSA_gen(2048),
					  EVP_PKEY_Q_keygen(NULL, NULL, "ED448") };
		SSL_CTX *peer = good(side);

		SSL_CTX_set_min_proto_version(peer, TLS1_2_VERSION);
		SSL_CTX_set_max_proto_version(peer, TLS1_2_VERSION);
		refused("TLS 1.2", side, peer);
		for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
			peer = good(side);
			lists(peer, groups[i], NULL, NULL);
			refused(groups[i], side, peer);
		}
		for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
			peer = good(side);
			lists(peer, NULL, NULL, suites[i]);
			refused(suites[i], side, peer);
		}
		for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
			peer = context(&spec, odd[i]);
			lists(peer, NULL, all, NULL);
			refused("a key of another kind", side, peer);
			EVP_PKEY_free(odd[i]);
		}
		/* It offers more than we take, and what we take: that is what is used. */
		peer = good(side);
		lists(peer, "P-256:X448:X25519", all,
		      "TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256");
		play(side, peer);
		assert_true(both_done());
		assert_int_equal(SSL_get_negotiated_group(wire.tls[side].ssl), NID_X25519);
		assert_string_equal(SSL_get_cipher_name(wire.tls[side].ssl),
				    "TLS_AES_128_GCM_SHA256");
		end();
		SSL_CTX_free(peer);
	}
}

static void test_ed25519_is_as_good(void **state)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	(void)state;
	for (int side = 0; side < 2; side++) {
		struct cert_spec spec = leaf_spec(id(side), NOW);
		SSL_CTX *peer = context(&spec, key);

		play(side, peer);
		assert_true(both_done());
		end();
		SSL_CTX_free(peer);
	}
	EVP_PKEY_free(key);
}

static void test_sha1_is_refused(void **state)
{
	(void)state;
	for (int side = 0; side < 2; side++) {
		struct cert_spec spec = leaf_spec(id(side), NOW);
		X509 *leaf = make_cert(&spec, keys[side], ca, ca_key);
		SSL_CTX *peer = good(side);

		/* A peer that has no level of its own. */
		SSL_CTX_set_security_level(peer, 0);
		assert_true(X509_sign(leaf, ca_key, EVP_sha1()));
		assert_int_equal(SSL_CTX_use_certificate(peer, leaf), 1);
		X509_free(leaf);
		refused("a certificate with SHA-1", side, peer);
		assert_int_equal(wire.tls[!side].reason, SIVP_R_CERTIFICATE);
	}
	end();
}

/* Early data is nowhere taken, and a client that sends some after all gets no further. */
static void test_early_data_is_refused(void **state)
{
	SSL_CTX *eager = good(CLIENT);
	unsigned int n_done;
	struct ticket *t;
	size_t written;

	(void)state;
	start(eager, contexts[SERVER]);
	run();
	assert_true(both_done());
	tls_keep_tickets(&wire.tls[CLIENT], NOW);
	tls_keep_tickets(&wire.tls[SERVER], NOW);
	t = tickets_take_newest(eager, &to_server, NOW);
	assert_non_null(t);
	assert_int_equal(SSL_SESSION_get_max_early_data(t->session), 0);
	assert_int_equal(SSL_SESSION_set_max_early_data(t->session, 1000), 1);
	tickets_add(eager, TICKET_CLIENT, t);
	start(eager, contexts[SERVER]);
	assert_int_equal(SSL_write_early_data(wire.tls[CLIENT].ssl, "early", 5, &written), 1);
	run();
	assert_int_not_equal(SSL_get_early_data_status(wire.tls[SERVER].ssl),
			     SSL_EARLY_DATA_ACCEPTED);
	assert_int_equal(wire.progress[SERVER], TLS_FAILED);
	end();
	SSL_CTX_free(eager);
	tickets_forget(contexts[SERVER], NULL);
	honest(&n_done);
	end();
}

/* Certificates */

static void test_whose_word_counts(void **state)
{
	struct cert_spec as_ca = ca_spec(NOW);
	EVP_PKEY *root_key = x509_key_new(), *mid_key[2] = { x509_key_new(), x509_key_new() };
	X509 *root = make_cert(&as_ca, root_key, NULL, NULL), *mid[2];
	X509_STORE *of_ca = trust;

	(void)state;
	/* Two intermediates of one root, of one name; ours is the first. */
	for (int i = 0; i < 2; i++)
		mid[i] = make_cert(&as_ca, mid_key[i], root, root_key);
	trust = trust_in(mid[0]);
	for (int side = 0; side < 2; side++) {
		struct cert_spec spec = leaf_spec(id(side), NOW);
		struct cert_spec own_spec = leaf_spec(id(!side), NOW);
		X509 *const chains[][2] = { { mid[1], root }, { mid[1], mid[0] },
					    { mid[0], mid[1] } };
		SSL_CTX *ours, *peer;
		X509 *leaf, *below;

		/* We are the other side, below the intermediate that is trusted. */
		leaf = make_cert(&own_spec, keys[!side], mid[0], mid_key[0]);
		ours = context_of(leaf, keys[!side], NULL, 0);
		for (size_t i = 0; i <= ARRAY_LEN(chains) + 2; i++) {
			leaf = make_cert(&spec, keys[side], mid[1], mid_key[1]);
			if (i < ARRAY_LEN(chains)) {
				peer = context_of(leaf, keys[side], chains[i], 2);
			} else if (i == ARRAY_LEN(chains)) {
				/* the root's own word */
				X509_free(leaf);
				leaf = make_cert(&spec, keys[side], root, root_key);
				peer = context_of(leaf, keys[side], &root, 1);
			} else if (i == ARRAY_LEN(chains) + 1) {
				/* a leaf of ours that plays the authority */
				X509_free(leaf);
				below = make_cert(&spec, keys[!side], mid[0], mid_key[0]);
				leaf = make_cert(&spec, keys[side], below, keys[!side]);
				peer = context_of(leaf, keys[side], &below, 1);
				X509_free(below);
			} else {
				/* and the good one */
				X509_free(leaf);
				leaf = make_cert(&spec, keys[side], mid[0], mid_key[0]);
				peer = context_of(leaf, keys[side], &mid[0], 1);
			}
			start(side == CLIENT ? peer : ours, side == SERVER ? peer : ours);
			run();
			if (i == ARRAY_LEN(chains) + 2) {
				assert_true(both_done());
			} else {
				assert_int_equal(wire.progress[!side], TLS_FAILED);
				assert_int_equal(wire.tls[!side].reason, SIVP_R_CERTIFICATE);
			}
			end();
			SSL_CTX_free(peer);
		}
		SSL_CTX_free(ours);
	}
	X509_STORE_free(trust);
	trust = of_ca;
	X509_free(root);
	EVP_PKEY_free(root_key);
	for (int i = 0; i < 2; i++) {
		X509_free(mid[i]);
		EVP_PKEY_free(mid_key[i]);
	}
}

static void test_whose_name_counts(void **state)
{
	static const char *const names[] = {
		"spiffe://car.example/vm/moon/service/cache",   /* the same service, another VM's */
		"spiffe://car.example/vm/moon/service/dashboard",
		"spiffe://car.example/vm/adas/service/fusion",  /* another service of that VM */
		"spiffe://car.example/vm/cockpit/service/radio",
		"spiffe://bus.example/vm/adas/service/cache",   /* another trust domain */
		"spiffe://car.example/vm/adas/service/cache/",
		"spiffe://car.example//vm/adas/service/cache",
		"spiffe://car.example/vm/adas/service/CACHE",
		"spiffe://car.example/vm/adas/service/%63ache",
		"spiffe://car.example/vm/cockpit/../adas/service/cache",
	};

	(void)state;
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < ARRAY_LEN(names) + 1; i++) {
			/* the last: whoever is asked shows the other's own name back */
			const char *name = i < ARRAY_LEN(names) ? names[i] : id(!side) + 4;
			struct cert_spec spec = leaf_spec(NULL, NOW);

			spec.raw_uri = name;
			spec.raw_uri_len = strlen(name);
			start(contexts[CLIENT], contexts[SERVER]);
			refused(name, side, context(&spec, keys[side]));
			assert_int_equal(wire.tls[!side].reason, SIVP_R_CERTIFICATE);
		}
	}
	end();
}

/* The right name, as the DER that it should be; with a byte behind it; with a length in another form. */
static void test_a_name_has_nothing_around_it(void **state)
{
	enum { EXACT, BEHIND, LONG_LENGTH, FORMS };

	(void)state;
	for (int side = 0; side < 2; side++) {
		for (int form = EXACT; form < FORMS; form++) {
			const char *name = id(side) + 4;
			const unsigned int len = (unsigned int)strlen(name);
			char san[1024];
			int n = form == LONG_LENGTH ?
				snprintf(san, sizeof(san), "DER:30:%02x:86:81:%02x", len + 3, len) :
				snprintf(san, sizeof(san), "DER:30:%02x:86:%02x", len + 2, len);
			struct cert_spec spec;
			SSL_CTX *peer;

			for (const char *c = name; *c; c++)
				n += snprintf(san + n, sizeof(san) - (size_t)n, ":%02x", *c);
			if (form == BEHIND)
				strcat(san, ":00");
			spec = leaf_spec(san, NOW);
			peer = context(&spec, keys[side]);
			if (form != EXACT) {
				refused("a name with something around it", side, peer);
				assert_int_equal(wire.tls[!side].reason, SIVP_R_CERTIFICATE);
				continue;
			}
			play(side, peer);
			assert_true(both_done());
			SSL_CTX_free(peer);
		}
	}
	end();
}

/* Work before a peer is known has a limit: bytes of its chain, and certificates in it. */
static void test_a_chain_has_limits(void **state)
{
	static char long_uri[4000];
	struct cert_spec as_ca = ca_spec(NOW);
	static const size_t lengths[] = { X509_CHAIN_MAX, X509_CHAIN_MAX + 2 };
	EVP_PKEY *step_key[X509_CHAIN_MAX + 2];
	X509 *step[X509_CHAIN_MAX + 2];

	(void)state;
	memset(long_uri, 'a', sizeof(long_uri));
	for (size_t i = 0; i < ARRAY_LEN(step); i++) {
		step_key[i] = x509_key_new();
		step[i] = make_cert(&as_ca, step_key[i], i ? step[i - 1] : ca,
				    i ? step_key[i - 1] : ca_key);
		/* each has a name of its own, or the chain could not be found */
		X509_NAME_add_entry_by_txt(X509_get_subject_name(step[i]), "OU", MBSTRING_ASC,
					   (const uint8_t *)"abcdefghijkl" + i, 1, -1,
					   0);
		assert_true(sign_cert(step[i], i ? step_key[i - 1] : ca_key));
	}
	for (int side = 0; side < 2; side++) {
		struct cert_spec spec = leaf_spec(id(side), NOW), fat = ca_spec(NOW);
		X509 *more[ARRAY_LEN(step)], *leaf;

		/* As many as there may be, and then more of them, each as good: leaf first. */
		for (size_t l = 0; l < ARRAY_LEN(lengths); l++) {
			size_t n = lengths[l];
			SSL_CTX *peer;

			leaf = make_cert(&spec, keys[side], step[n - 1], step_key[n - 1]);
			for (size_t i = 0; i < n; i++)
				more[i] = step[n - 1 - i];
			peer = context_of(leaf, keys[side], more, n);
			if (n > X509_CHAIN_MAX) {
				refused("a long chain", side, peer);
				assert_int_equal(wire.tls[!side].reason, SIVP_R_CERTIFICATE);
				continue;
			}
			play(side, peer);
			assert_true(both_done());
			end();
			SSL_CTX_free(peer);
		}
		/* Few certificates that are too large; the leaf itself is good. */
		fat.raw_uri = long_uri;
		fat.raw_uri_len = sizeof(long_uri);
		for (int i = 0; i < 2; i++)
			more[i] = make_cert(&fat, step_key[i], ca, ca_key);
		leaf = make_cert(&spec, keys[side], ca, ca_key);
		refused("a large chain", side, context_of(leaf, keys[side], more, 2));
		assert_int_equal(wire.progress[!side], TLS_FAILED);
		for (int i = 0; i < 2; i++)
			X509_free(more[i]);
	}
	end();
	for (size_t i = 0; i < ARRAY_LEN(step); i++) {
		X509_free(step[i]);
		EVP_PKEY_free(step_key[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_record_can_be_changed),
		cmocka_unit_test(test_no_beginning_is_enough),
		cmocka_unit_test(test_a_recorded_handshake_is_worth_nothing),
		cmocka_unit_test(test_swapped_sessions_do_not_export_the_same),
		cmocka_unit_test(test_downgrades_are_refused),
		cmocka_unit_test(test_ed25519_is_as_good),
		cmocka_unit_test(test_sha1_is_refused),
		cmocka_unit_test(test_early_data_is_refused),
		cmocka_unit_test(test_whose_word_counts),
		cmocka_unit_test(test_whose_name_counts),
		cmocka_unit_test(test_a_name_has_nothing_around_it),
		cmocka_unit_test(test_a_chain_has_limits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
