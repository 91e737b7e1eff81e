/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates for tests, good ones and bad ones. */
#ifndef SIVSHMEM_TEST_CERT_MAKER_H
#define SIVSHMEM_TEST_CERT_MAKER_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

struct cert_spec {
	int64_t not_before, not_after; /* seconds since 1970 */
	const char *san;   /* as openssl.cnf has it, "URI:..."; NULL: none */
	const char *raw_uri; /* instead: these bytes ... */
	int raw_uri_len;     /* ... as the one URI */
	const char *ku, *eku; /* as openssl.cnf has it; NULL: none */
	const char *bc;       /* basicConstraints; NULL: none */
};

/* A certificate for @key by the authority (@ca, @ca_key); @ca NULL: self-signed. */
X509 *make_cert(const struct cert_spec *spec, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key);

/* Signs it anew, whatever it says, as kinds of keys want it. False: OpenSSL cannot. */
bool sign_cert(X509 *cert, EVP_PKEY *key);

/* A good service certificate for @id, and a good CA. */
struct cert_spec leaf_spec(const char *san, int64_t now);
struct cert_spec ca_spec(int64_t now);

#endif
