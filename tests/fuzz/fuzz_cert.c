// SPDX-License-Identifier: BSD-2-Clause
/*
 * A peer's certificates, verified as an agent does: chain and usage by OpenSSL with the trust
 * store, depth, level and clock of tls.c, then x509_leaf_wrong(). What is accepted must have each
 * property that this file checks by itself.
 *
 * Nobody guesses signatures, so the first byte says what is made good before: the leaf's signature,
 * its key. Bytes after it are the chain, DER, or (RECIPE) extensions for a leaf that has none.
 * Where the key is ours now and then a real handshake must say the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "agent/tls.h"
#include "agent/x509.h"
#include "cert_maker.h"

#define NOW      1900000000ll
#define ID       "spiffe://car.example/vm/adas/service/cache"
#define OTHER_ID "spiffe://car.example/vm/adas/service/cachf"
#define LEVEL    2 /* TLS_LEVEL */
#define ONE_IN   64 /* of those that are refused, handshakes that are tried */

enum { PEER_IS_SERVER = 1, SIGN = 2, OWN_KEY = 4, RECIPE = 8, SIGN_BY_SECOND = 16 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* OpenSSL is not instrumented: which of its refusals have been seen is coverage too. */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t seen[256];

static EVP_PKEY *ca_key, *leaf_key;
static X509 *ca, *bare; /* @bare: a leaf without extensions */
static X509_STORE *trust;
static SSL_CTX *honest[2]; /* who verifies, by side: 1 is the server */

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* Keys that are the same in each run: seeds are signed by them. */
static EVP_PKEY *fixed_key(char byte)
{
	uint8_t seed[32];

	memset(seed, byte, sizeof(seed));
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
}

static SSL_CTX *honest_context(const char *san)
{
	struct cert_spec spec = leaf_spec(san, NOW);
	EVP_PKEY *key = x509_key_new();
	STACK_OF(X509) *chain = sk_X509_new_null();
	SSL_CTX *ctx;

	sk_X509_push(chain, make_cert(&spec, key, ca, ca_key));
	ctx = tls_context_new(trust, key, chain);
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(key);
	return ctx;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct cert_spec as_ca = ca_spec(NOW), spec = leaf_spec(NULL, NOW);
	STACK_OF(X509) *trusted = sk_X509_new_null();

	(void)argc;
	(void)argv;
	ca_key = fixed_key('C');
	leaf_key = fixed_key('L');
	ca = make_cert(&as_ca, ca_key, NULL, NULL);
	spec.ku = spec.eku = spec.bc = NULL;
	bare = make_cert(&spec, leaf_key, ca, ca_key);
	sk_X509_push(trusted, ca);
	trust = x509_trust_new(trusted);
	sk_X509_free(trusted);
	for (int side = 0; side < 2; side++)
		check(honest[side] = honest_context("URI:" ID));
	return 0;
}

/* { which, critical, length, value } ... */
static X509 *cook(const uint8_t *data, size_t size)
{
	static const int nids[] = { NID_subject_alt_name, NID_basic_constraints, NID_key_usage,
				    NID_ext_key_usage, NID_name_constraints, NID_issuer_alt_name,
				    NID_certificate_policies, NID_netscape_cert_type,
				    NID_private_key_usage_period, NID_inhibit_any_policy,
				    NID_policy_constraints, NID_subject_key_identifier,
				    NID_authority_key_identifier, NID_proxyCertInfo,
				    NID_tlsfeature, NID_commonName };
	X509 *cert = X509_dup(bare);

	while (size >= 3) {
		ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
		size_t len = data[2] < size - 3 ? data[2] : size - 3;
		X509_EXTENSION *e;

		ASN1_OCTET_STRING_set(value, data + 3, (int)len);
		e = X509_EXTENSION_create_by_NID(NULL, nids[data[0] % 16], data[1] & 1, value);
		X509_add_ext(cert, e, -1);
		X509_EXTENSION_free(e);
		ASN1_OCTET_STRING_free(value);
		data += 3 + len;
		size -= 3 + len;
	}
	return cert;
}

/* As tls.c has OpenSSL do it. */
static bool accepts(STACK_OF(X509) *chain, bool peer_is_server, const char *id)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *leaf = sk_X509_value(chain, 0);
	X509_VERIFY_PARAM *param;
	const char *wrong;
	bool ok;

	check(X509_STORE_CTX_init(ctx, trust, leaf, chain));
	X509_STORE_CTX_set_default(ctx, peer_is_server ? "ssl_server" : "ssl_client");
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_depth(param, X509_CHAIN_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, LEVEL);
	X509_VERIFY_PARAM_set_time(param, NOW);
	ok = X509_verify_cert(ctx) == 1;
	seen[X509_STORE_CTX_get_error(ctx) & 127]++;
	X509_STORE_CTX_free(ctx);
	wrong = x509_leaf_wrong(leaf, peer_is_server, id);
	if (ok && wrong)
		seen[128 + (wrong[strlen(wrong) / 2] & 127)]++;
	return ok && !wrong;
}

/* Properties, by other ways than those of the code */

/* Header of the DER at @p: its content's length, or -1. BER's long lengths are allowed. */
static long content(const uint8_t **p, const uint8_t *end, uint8_t tag)
{
	unsigned long len = 0;
	unsigned int n;

	if (end - *p < 2 || **p != tag)
		return -1;
	n = (*p)[1];
	*p += 2;
	if (n < 128)
		return (long)n;
	for (n &= 127; n && *p < end; n--)
		len = len << 8 | *(*p)++;
	return (long)len;
}

static void check_name(const X509 *leaf)
{
	int at = X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1);
	const ASN1_OCTET_STRING *value;
	const uint8_t *p, *end;
	long len;

	check(at >= 0 && X509_get_ext_by_NID(leaf, NID_subject_alt_name, at) < 0);
	value = X509_EXTENSION_get_data(X509_get_ext(leaf, at));
	p = ASN1_STRING_get0_data(value);
	end = p + ASN1_STRING_length(value);
	len = content(&p, end, 0x30);
	check(len >= 0 && p + len == end);
	len = content(&p, end, 0x86); /* [6] URI */
	check(len == (long)strlen(ID) && p + len == end && !memcmp(p, ID, strlen(ID)));
}

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;

	check(ASN1_TIME_to_tm(t, &tm));
	return timegm(&tm);
}

static void check_validity(const X509 *cert)
{
	check(seconds(X509_get0_notBefore(cert)) <= NOW);
	check(seconds(X509_get0_notAfter(cert)) >= NOW);
}

static void check_extensions(X509 *leaf, bool peer_is_server)
{
	BASIC_CONSTRAINTS *bc = X509_get_ext_d2i(leaf, NID_basic_constraints, NULL, NULL);
	ASN1_BIT_STRING *usage = X509_get_ext_d2i(leaf, NID_key_usage, NULL, NULL);
	EXTENDED_KEY_USAGE *eku = X509_get_ext_d2i(leaf, NID_ext_key_usage, NULL, NULL);
	int want = peer_is_server ? NID_server_auth : NID_client_auth;
	bool found = false;

	check(!bc || !bc->ca);
	/* bit 0 is digitalSignature, 8 (decipherOnly) the last that means anything */
	check(usage);
	for (int bit = 0; bit <= 8; bit++)
		check(ASN1_BIT_STRING_get_bit(usage, bit) == !bit);
	for (int i = 0; i < sk_ASN1_OBJECT_num(eku); i++)
		found |= OBJ_obj2nid(sk_ASN1_OBJECT_value(eku, i)) == want;
	check(found);
	for (int i = 0; i < X509_get_ext_count(leaf); i++) {
		X509_EXTENSION *e = X509_get_ext(leaf, i);

		check(!X509_EXTENSION_get_critical(e) || X509_supported_extension(e));
	}
	BASIC_CONSTRAINTS_free(bc);
	ASN1_BIT_STRING_free(usage);
	EXTENDED_KEY_USAGE_free(eku);
}

/* A road of signatures from the leaf to the trusted CA, over CAs that are valid now. */
static void check_road(STACK_OF(X509) *chain)
{
	X509 *at = sk_X509_value(chain, 0);

	for (int step = 0; step <= X509_CHAIN_MAX; step++) {
		X509 *next = NULL;

		check_validity(at);
		if (X509_verify(at, ca_key) == 1)
			return;
		for (int i = 1; i < sk_X509_num(chain) && !next; i++) {
			X509 *c = sk_X509_value(chain, i);
			EVP_PKEY *key = X509_get0_pubkey(c);

			if (c != at && key && X509_check_ca(c) == 1 && X509_verify(at, key) == 1)
				next = c;
		}
		check(next);
		at = next;
	}
	abort();
}

/* What a real handshake says of that chain, whose leaf's key we have. */
static bool handshake(STACK_OF(X509) *chain, bool peer_is_server)
{
	const struct tls_peer named = { ID, 6, 7, 0, 1 };
	SSL_CTX *peer = tls_context_new(trust, leaf_key, chain);
	SSL_CTX *sides[2] = { peer_is_server ? honest[0] : peer,
			      peer_is_server ? peer : honest[1] };
	enum tls_progress at[2] = { TLS_MORE, TLS_MORE };
	uint8_t data[SIVP_TLS_MAX];
	struct tls tls[2];
	bool more = true;
	size_t len;

	if (!peer) {
		ERR_clear_error();
		return false;
	}
	for (int side = 0; side < 2; side++)
		check(tls_start(&tls[side], sides[side], side, NOW, &named));
	at[0] = tls_step(&tls[0], NULL, 0);
	while (more) {
		more = false;
		for (int side = 0; side < 2; side++) {
			while (at[!side] != TLS_FAILED &&
			       (len = tls_output(&tls[side], data, sizeof(data)))) {
				at[!side] = tls_step(&tls[!side], data, len);
				more = true;
			}
		}
	}
	more = tls[!peer_is_server].done; /* who has to verify the chain */
	for (int side = 0; side < 2; side++)
		tls_end(&tls[side]);
	SSL_CTX_free(peer);
	return more;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	STACK_OF(X509) *chain;
	bool server, accepted;
	uint32_t hash = 0;
	X509 *leaf;
	uint8_t how;

	if (size < 2 || size > SIVP_CERTS_MAX)
		return 0;
	how = data[0];
	server = how & PEER_IS_SERVER;
	for (size_t i = 0; i < size; i++)
		hash = hash * 31 + data[i];
	if (how & RECIPE) {
		chain = sk_X509_new_null();
		sk_X509_push(chain, cook(data + 1, size - 1));
	} else {
		chain = x509_chain_parse(data + 1, size - 1);
	}
	if (!chain)
		goto out;
	check(sk_X509_num(chain) >= 1 && sk_X509_num(chain) <= X509_CHAIN_MAX);
	leaf = sk_X509_value(chain, 0);
	if (how & OWN_KEY)
		X509_set_pubkey(leaf, leaf_key);
	if (how & SIGN_BY_SECOND && sk_X509_num(chain) > 1) {
		/* the second is one whose key the peer has, as the CA made it */
		X509_set_pubkey(sk_X509_value(chain, 1), leaf_key);
		sign_cert(sk_X509_value(chain, 1), ca_key);
		sign_cert(leaf, leaf_key);
	} else if (how & (SIGN | RECIPE)) {
		sign_cert(leaf, ca_key);
	}
	accepted = accepts(chain, server, ID);
	if (accepted) {
		check_name(leaf);
		check_extensions(leaf, server);
		check_road(chain);
		check(!accepts(chain, server, OTHER_ID));
	}
	if (how & (OWN_KEY | RECIPE) && (accepted || hash % ONE_IN == 0))
		check(handshake(chain, server) == accepted);
	sk_X509_pop_free(chain, X509_free);
out:
	ERR_clear_error();
	return 0;
}
