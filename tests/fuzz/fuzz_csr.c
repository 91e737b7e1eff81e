// SPDX-License-Identifier: BSD-2-Clause
/*
 * Certificate requests at the host's CA: whatever a request says, the certificate that comes of it
 * is the one that a plain request with the same key would have got. Only the serial number, the
 * key, its identifier and the signature may differ, and the key must be the verified one of the
 * request in its one plain encoding.
 *
 * Nobody guesses signatures: the first byte says whether the request is given a key of ours and
 * signed by it before, and how much room the certificate has.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "broker/ca.h"

#define NOW 1800000000
#define ID  "spiffe://car.example/vm/adas/service/cache"

enum { SIGN = 1, OWN_P256 = 2, OWN_ED25519 = 4, LITTLE_ROOM = 8 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The CA's refusals, which an uninstrumented OpenSSL makes: coverage too. */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t seen[64];

static EVP_PKEY *p256, *ed25519;
static struct ca *ca;
static X509 *plain; /* of a request with nothing in it */

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool sign(X509_REQ *request, EVP_PKEY *key)
{
	return X509_REQ_set_pubkey(request, key) &&
	       X509_REQ_sign(request, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256());
}

static void open_ca(void)
{
	char folder[] = "/tmp/fuzz-csr-XXXXXX", path[64], error[CA_ERROR_LEN];
	struct ca_options options = { .domain = "car.example", .now = NOW };
	static const char *const files[] = { CA_FILE, CA_CERT_FILE };

	check(mkdtemp(folder));
	options.state = folder;
	check(!ca_open(&options, &ca, error));
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		unlink(path);
	}
	rmdir(folder);
}

static X509 *issue(const uint8_t *der, size_t len, size_t room)
{
	uint8_t *chain = malloc(room ?: 1); /* exactly: ASan sees what goes beyond */
	char error[CA_ERROR_LEN] = "";
	const unsigned char *p = chain;
	enum sivp_reason reason;
	int64_t not_after;
	X509 *cert = NULL;

	check(chain);
	reason = ca_issue(ca, der, len, ID, NOW, chain, &room, &not_after, error);
	if (reason == SIVP_R_NONE) {
		cert = d2i_X509(NULL, &p, (long)room);
		check(cert && p == chain + room && not_after == NOW + CA_LEAF_LIFETIME_S);
	} else {
		check(reason == SIVP_R_CERTIFICATE || reason == SIVP_R_LIMIT);
		check(error[0] && strnlen(error, sizeof(error)) < sizeof(error));
		seen[strlen(error) % sizeof(seen)]++;
	}
	free(chain);
	return cert;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	X509_REQ *request = X509_REQ_new();
	uint8_t der[SIVP_CSR_MAX], *p = der;
	int len;

	(void)argc;
	(void)argv;
	open_ca();
	p256 = EVP_EC_gen("P-256");
	ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	check(sign(request, p256));
	len = i2d_X509_REQ(request, &p);
	plain = issue(der, (size_t)len, SIVP_CERTS_MAX);
	check(plain);
	X509_REQ_free(request);
	return 0;
}

/* The key as everybody encodes it: a named curve and an uncompressed point, or 32 bytes. */
static void check_key(X509 *cert, EVP_PKEY *requested)
{
	static const uint8_t of_p256[] = {
		0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
		0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
	};
	static const uint8_t of_ed25519[] = { 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
					      0x2b, 0x65, 0x70, 0x03, 0x21, 0x00 };
	uint8_t *der = NULL, digest[SHA_DIGEST_LENGTH];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(cert);
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(cert);

	check(EVP_PKEY_eq(X509_get0_pubkey(cert), requested) == 1);
	check((len == (int)sizeof(of_p256) + 64 && !memcmp(der, of_p256, sizeof(of_p256))) ||
	      (len == (int)sizeof(of_ed25519) + 32 &&
	       !memcmp(der, of_ed25519, sizeof(of_ed25519))));
	SHA1(ASN1_STRING_get0_data(bits), (size_t)ASN1_STRING_length(bits), digest);
	check(id && ASN1_STRING_length(id) == sizeof(digest) &&
	      !memcmp(ASN1_STRING_get0_data(id), digest, sizeof(digest)));
	OPENSSL_free(der);
}

static void check_like_plain(X509 *cert)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);

	check(X509_get_version(cert) == X509_VERSION_3);
	check(X509_NAME_entry_count(X509_get_subject_name(cert)) == 0);
	check(!X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_issuer_name(plain)));
	check(!ASN1_STRING_cmp(X509_get0_notBefore(cert), X509_get0_notBefore(plain)));
	check(!ASN1_STRING_cmp(X509_get0_notAfter(cert), X509_get0_notAfter(plain)));
	check(ASN1_STRING_length(serial) == 16);
	check(ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(plain)));
	check(X509_get_signature_nid(cert) == X509_get_signature_nid(plain));
	check(X509_get_ext_count(cert) == X509_get_ext_count(plain));
	for (int i = 0; i < X509_get_ext_count(plain); i++) {
		X509_EXTENSION *a = X509_get_ext(cert, i), *b = X509_get_ext(plain, i);

		check(!OBJ_cmp(X509_EXTENSION_get_object(a), X509_EXTENSION_get_object(b)));
		check(X509_EXTENSION_get_critical(a) == X509_EXTENSION_get_critical(b));
		if (OBJ_obj2nid(X509_EXTENSION_get_object(a)) != NID_subject_key_identifier)
			check(!ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(a),
						     X509_EXTENSION_get_data(b)));
	}
}

static void check_issued(X509 *cert, const uint8_t *der, size_t len)
{
	const unsigned char *p = der, *authority;
	X509_REQ *request = d2i_X509_REQ(NULL, &p, (long)len);
	EVP_PKEY *key = request ? X509_REQ_get_pubkey(request) : NULL;
	size_t authority_len;
	X509 *issuer;

	/* There was a request, all of it, and signed by that key. */
	check(key && p == der + len && X509_REQ_verify(request, key) == 1);
	check_key(cert, key);
	check_like_plain(cert);
	authority = ca_trusted(ca, &authority_len);
	issuer = d2i_X509(NULL, &authority, (long)authority_len);
	check(issuer && X509_verify(cert, X509_get0_pubkey(issuer)) == 1);
	X509_free(issuer);
	EVP_PKEY_free(key);
	X509_REQ_free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *der = NULL, how;
	X509_REQ *request;
	X509 *cert;
	int len;

	if (size < 2)
		return 0;
	how = data[0];
	data++;
	size--;
	if (how & (SIGN | OWN_P256 | OWN_ED25519)) {
		const unsigned char *p = data;

		request = d2i_X509_REQ(NULL, &p, (long)size);
		len = -1;
		if (request && sign(request, how & OWN_ED25519 ? ed25519 : p256))
			len = i2d_X509_REQ(request, &der);
		X509_REQ_free(request);
		ERR_clear_error();
		if (len <= 0)
			return 0;
		data = der;
		size = (size_t)len;
	}
	cert = issue(data, size, how & LITTLE_ROOM ? how : SIVP_CERTS_MAX);
	if (cert)
		check_issued(cert, data, size);
	X509_free(cert);
	OPENSSL_free(der);
	ERR_clear_error();
	return 0;
}
