// SPDX-License-Identifier: BSD-2-Clause
/* Certificates for tests, good ones and bad ones. */
#include "cert_maker.h"

#include <assert.h>
#include <string.h>

#include <openssl/x509v3.h>

static void add(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	if (!value)
		return;
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert(ext && X509_add_ext(cert, ext, -1));
	X509_EXTENSION_free(ext);
}

static void add_raw_uri(X509 *cert, const char *uri, int len)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();

	assert(ASN1_STRING_set(s, uri, len));
	GENERAL_NAME_set0_value(name, GEN_URI, s);
	sk_GENERAL_NAME_push(names, name);
	assert(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1);
	GENERAL_NAMES_free(names);
}

bool sign_cert(X509 *cert, EVP_PKEY *key)
{
	return X509_sign(cert, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256());
}

X509 *make_cert(const struct cert_spec *spec, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key)
{
	static int serial;
	X509 *cert = X509_new();
	X509_NAME *name = X509_NAME_new();

	assert(cert && name);
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
	ASN1_TIME_set(X509_getm_notBefore(cert), spec->not_before);
	ASN1_TIME_set(X509_getm_notAfter(cert), spec->not_after);
	/* An authority has a name that is not its issuer's; leaves have none, as the broker's. */
	if (spec->bc && strstr(spec->bc, "CA:TRUE"))
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					   (const unsigned char *)(ca ? "intermediate" : "root"), -1,
					   -1, 0);
	X509_set_subject_name(cert, name);
	X509_set_issuer_name(cert, ca ? X509_get_subject_name(ca) : name);
	X509_NAME_free(name);
	X509_set_pubkey(cert, key);
	add(cert, ca ? ca : cert, NID_basic_constraints, spec->bc);
	add(cert, ca ? ca : cert, NID_key_usage, spec->ku);
	add(cert, ca ? ca : cert, NID_ext_key_usage, spec->eku);
	if (spec->raw_uri)
		add_raw_uri(cert, spec->raw_uri, spec->raw_uri_len);
	else
		add(cert, ca ? ca : cert, NID_subject_alt_name, spec->san);
	assert(sign_cert(cert, ca ? ca_key : key));
	return cert;
}

struct cert_spec leaf_spec(const char *san, int64_t now)
{
	return (struct cert_spec){ .not_before = now - 300, .not_after = now + 3600, .san = san,
				   .ku = "critical,digitalSignature",
				   .eku = "serverAuth,clientAuth", .bc = "critical,CA:FALSE" };
}

struct cert_spec ca_spec(int64_t now)
{
	return (struct cert_spec){ .not_before = now - 300, .not_after = now + 36000,
				   .ku = "critical,keyCertSign", .bc = "critical,CA:TRUE" };
}
