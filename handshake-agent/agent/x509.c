// SPDX-License-Identifier: BSD-2-Clause
/* Keys, certificate requests, chains, and what a peer's certificate must be. */
#include "x509.h"

#include <limits.h>
#include <string.h>
#include <time.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

EVP_PKEY *x509_key_new(void)
{
	return EVP_EC_gen("P-256");
}

size_t x509_csr(EVP_PKEY *key, uint8_t *out, size_t size)
{
	X509_REQ *req = X509_REQ_new();
	size_t len = 0;
	int n;

	if (!req)
		return 0;
	if (!X509_REQ_set_version(req, X509_REQ_VERSION_1) || !X509_REQ_set_pubkey(req, key) ||
	    !X509_REQ_sign(req, key, EVP_sha256()))
		goto out;
	n = i2d_X509_REQ(req, NULL);
	if (n <= 0 || (size_t)n > size)
		goto out;
	len = i2d_X509_REQ(req, &out);
out:
	X509_REQ_free(req);
	return len;
}

STACK_OF(X509) *x509_chain_parse(const uint8_t *der, size_t len)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	const uint8_t *p = der;

	if (!chain || !len || len > LONG_MAX)
		goto err;
	while (p < der + len) {
		X509 *cert = d2i_X509(NULL, &p, der + len - p);

		if (!cert)
			goto err;
		if (sk_X509_num(chain) == X509_CHAIN_MAX || !sk_X509_push(chain, cert)) {
			X509_free(cert);
			goto err;
		}
	}
	return chain;
err:
	sk_X509_pop_free(chain, X509_free);
	return NULL;
}

X509_STORE *x509_trust_new(STACK_OF(X509) *chain)
{
	X509_STORE *store = X509_STORE_new();

	if (!store)
		return NULL;
	/* The issuing CA may be an operator's intermediate: it is trusted itself, its root is not. */
	if (!X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN))
		goto err;
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (!X509_STORE_add_cert(store, sk_X509_value(chain, i)))
			goto err;
	return store;
err:
	X509_STORE_free(store);
	return NULL;
}

X509 *x509_issuer(STACK_OF(X509) *trusted, X509 *cert)
{
	X509 *issuer = NULL;

	for (int i = 0; !issuer && i < sk_X509_num(trusted); i++) {
		X509 *candidate = sk_X509_value(trusted, i);

		/* Self-made authorities of one domain have the same name: the signature decides. */
		if (X509_check_issued(candidate, cert) == X509_V_OK &&
		    X509_verify(cert, X509_get0_pubkey(candidate)) == 1)
			issuer = candidate;
	}
	ERR_clear_error();
	return issuer;
}

bool x509_digest(const X509 *cert, uint8_t digest[SIV_DIGEST_LEN])
{
	unsigned int len = SIV_DIGEST_LEN;

	return X509_digest(cert, EVP_sha256(), digest, &len) && len == SIV_DIGEST_LEN;
}

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;

	if (!t || !ASN1_TIME_to_tm(t, &tm))
		return INT64_MIN;
	return timegm(&tm);
}

int64_t x509_not_before(const X509 *cert)
{
	return seconds(X509_get0_notBefore(cert));
}

int64_t x509_not_after(const X509 *cert)
{
	return seconds(X509_get0_notAfter(cert));
}

/*
 * Is the extension what these names are as DER, and nothing else? OpenSSL passes over what is behind
 * them, and takes lengths in other forms.
 */
static bool nothing_but(const X509 *cert, GENERAL_NAMES *names)
{
	const ASN1_OCTET_STRING *is;
	unsigned char *der = NULL;
	int len = i2d_GENERAL_NAMES(names, &der);
	bool ok;

	is = X509_EXTENSION_get_data(X509_get_ext(cert, X509_get_ext_by_NID(cert,
							NID_subject_alt_name, -1)));
	ok = len > 0 && ASN1_STRING_length(is) == len &&
	     !memcmp(ASN1_STRING_get0_data(is), der, (size_t)len);
	OPENSSL_free(der);
	return ok;
}

/* Length and bytes are compared, so a NUL in the middle is a byte like any other. */
static bool only_name_is(X509 *cert, const char *id)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	const ASN1_IA5STRING *uri;
	const GENERAL_NAME *name;
	bool ok = false;

	if (!names || sk_GENERAL_NAME_num(names) != 1)
		goto out;
	name = sk_GENERAL_NAME_value(names, 0);
	if (name->type != GEN_URI)
		goto out;
	uri = name->d.uniformResourceIdentifier;
	ok = (size_t)ASN1_STRING_length(uri) == strlen(id) &&
	     !memcmp(ASN1_STRING_get0_data(uri), id, strlen(id)) && nothing_but(cert, names);
out:
	GENERAL_NAMES_free(names);
	return ok;
}

const char *x509_leaf_wrong(X509 *cert, bool server, const char *id)
{
	const uint32_t role = server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;
	/* Also fills in the cached extensions that the next three read. */
	int ca = X509_check_ca(cert);
	uint32_t flags = X509_get_extension_flags(cert);

	if (flags & EXFLAG_INVALID)
		return "an extension is malformed";
	if (ca || (flags & EXFLAG_CA))
		return "it is a CA's";
	if (!(flags & EXFLAG_KUSAGE) || X509_get_key_usage(cert) != KU_DIGITAL_SIGNATURE)
		return "its key usage is not digitalSignature alone";
	if (!(flags & EXFLAG_XKUSAGE) || !(X509_get_extended_key_usage(cert) & role))
		return server ? "its extended key usage lacks serverAuth" :
				"its extended key usage lacks clientAuth";
	if (!only_name_is(cert, id))
		return "its one name is not the peer that the host named";
	return NULL;
}
