/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys, certificate requests, chains, and what a peer's certificate must be. */
#ifndef SIVSHMEM_AGENT_X509_H
#define SIVSHMEM_AGENT_X509_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <sivshmem/abi.h>

#define X509_CHAIN_MAX 8 /* certificates of one chain, and of all that are trusted */

/* A new P-256 key, on OpenSSL's secure heap if there is one. NULL: OpenSSL failed. */
EVP_PKEY *x509_key_new(void);

/*
 * A PKCS#10 request for @key, DER, into @out. It says nothing but the public key: the names come
 * from the socket and policy. Bytes, or 0 if OpenSSL failed or it does not fit.
 */
size_t x509_csr(EVP_PKEY *key, uint8_t *out, size_t size);

/* Certificates that lie one after the other, DER. NULL: not that, none, or too many. */
STACK_OF(X509) *x509_chain_parse(const uint8_t *der, size_t len);

/* A store that trusts each certificate of @chain by itself, whoever issued it. */
X509_STORE *x509_trust_new(STACK_OF(X509) *chain);

/* Which certificate of @trusted has issued @cert itself; NULL: none. It is @trusted's. */
X509 *x509_issuer(STACK_OF(X509) *trusted, X509 *cert);

bool x509_digest(const X509 *cert, uint8_t digest[SIV_DIGEST_LEN]);

/* Seconds since 1970; INT64_MIN if the certificate has no valid time there. */
int64_t x509_not_before(const X509 *cert);
int64_t x509_not_after(const X509 *cert);

/*
 * Checks of a leaf that OpenSSL's chain building leaves to us: no CA, digitalSignature, an extended
 * key usage for its role (@server: it is a server's), and exactly one subject alternative name, a
 * URI that equals @id byte by byte, with nothing around it. NULL: all hold; else which does not.
 */
const char *x509_leaf_wrong(X509 *cert, bool server, const char *id);

#endif
