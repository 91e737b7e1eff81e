// SPDX-License-Identifier: BSD-2-Clause
/*
 * sivshmem-agent with a wrong certificate, to see that it is refused: the agent itself, but for the
 * certificate that it presents, which is made here for its own key. Or with its own, and it tells what no
 * other does. From the environment:
 *
 *   SIV_LAB=other-ca    from a CA of its own
 *   SIV_LAB=expired     from the real CA, expired a day ago
 *   SIV_LAB=future      from the real CA, valid from tomorrow
 *   SIV_LAB=san=URI     from the real CA, for another identity
 *   SIV_LAB_CA=FILE     the real CA's key and certificate, PEM
 *   SIV_LAB=secrets     the agent as it is; a sealed channel's secrets are written to stderr: the client's,
 *                       the server's
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "agent/tls.h"
#include "agent/x509.h"
#include "cert_maker.h"

#define DAY (24 * 60 * 60)

SSL_CTX *__real_tls_context_new(X509_STORE *trust, EVP_PKEY *key, STACK_OF(X509) *chain);
SSL_CTX *__wrap_tls_context_new(X509_STORE *trust, EVP_PKEY *key, STACK_OF(X509) *chain);
bool __real_tls_secrets(struct tls *tls, const uint8_t *context, size_t len,
			uint8_t out[2 * SIV_SEAL_SECRET]);
bool __wrap_tls_secrets(struct tls *tls, const uint8_t *context, size_t len,
			uint8_t out[2 * SIV_SEAL_SECRET]);

static void die(const char *what)
{
	fprintf(stderr, "lab_agent: %s\n", what);
	exit(1);
}

static void real_ca(X509 **ca, EVP_PKEY **key)
{
	const char *path = getenv("SIV_LAB_CA");
	FILE *f = fopen(path ? path : "", "r");

	if (!f)
		die("SIV_LAB_CA: cannot be read");
	*key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	rewind(f);
	*ca = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	if (!*key || !*ca)
		die("SIV_LAB_CA: no CA in it");
}

static void own_ca(X509 **ca, EVP_PKEY **key)
{
	struct cert_spec spec = ca_spec(time(NULL));

	*key = x509_key_new();
	*ca = make_cert(&spec, *key, NULL, NULL);
}

/* The identity that the host's certificate has, as openssl.cnf writes it. */
static void own_san(X509 *leaf, char *san, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);

	if (!names || sk_GENERAL_NAME_num(names) != 1)
		die("the host's certificate has no identity");
	snprintf(san, size, "URI:%s",
		 (const char *)ASN1_STRING_get0_data(
			 sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier));
	GENERAL_NAMES_free(names);
}

SSL_CTX *__wrap_tls_context_new(X509_STORE *trust, EVP_PKEY *key, STACK_OF(X509) *chain)
{
	const char *lab = getenv("SIV_LAB");
	STACK_OF(X509) *wrong = sk_X509_new_null();
	time_t now = time(NULL);
	struct cert_spec spec;
	EVP_PKEY *ca_key;
	char san[512];
	SSL_CTX *context;
	X509 *ca;

	if (!lab || !wrong)
		die("SIV_LAB is not set");
	if (!strcmp(lab, "secrets")) {
		sk_X509_free(wrong);
		return __real_tls_context_new(trust, key, chain);
	}
	own_san(sk_X509_value(chain, 0), san, sizeof(san));
	spec = leaf_spec(san, now);
	if (!strcmp(lab, "other-ca")) {
		own_ca(&ca, &ca_key);
	} else {
		real_ca(&ca, &ca_key);
		if (!strcmp(lab, "expired")) {
			spec.not_before = now - 2 * DAY;
			spec.not_after = now - DAY;
		} else if (!strcmp(lab, "future")) {
			spec.not_before = now + DAY;
			spec.not_after = now + 2 * DAY;
		} else if (!strncmp(lab, "san=", 4)) {
			snprintf(san, sizeof(san), "URI:%s", lab + 4);
		} else {
			die("SIV_LAB is not known");
		}
	}
	sk_X509_push(wrong, make_cert(&spec, key, ca, ca_key));
	context = __real_tls_context_new(trust, key, wrong);
	sk_X509_pop_free(wrong, X509_free);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	return context;
}

bool __wrap_tls_secrets(struct tls *tls, const uint8_t *context, size_t len,
			uint8_t out[2 * SIV_SEAL_SECRET])
{
	bool ok = __real_tls_secrets(tls, context, len, out);

	fputs("lab_agent: secrets", stderr);
	for (size_t i = 0; i < 2 * SIV_SEAL_SECRET; i++)
		fprintf(stderr, "%s%02x", i % SIV_SEAL_SECRET ? "" : " ", out[i]);
	fputs("\n", stderr);
	return ok;
}
