// SPDX-License-Identifier: BSD-2-Clause
/* The certificate authority: short-lived leaf certificates from a request's public key alone. */
#include "ca.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ca_file.h"

#define SERIAL_BYTES 16 /* random; RFC 5280 allows 20, CAs use at least 8 */

struct ca {
	EVP_PKEY *key;
	X509 *cert;
	uint8_t *trusted; /* cert, DER; OpenSSL's memory */
	size_t trusted_len;
	int64_t not_after;
	uint32_t leaf_lifetime_s;
};

/* Parts that both kinds of certificate have */

static bool set_serial(X509 *cert)
{
	uint8_t bytes[SERIAL_BYTES];
	ASN1_INTEGER *serial;
	BIGNUM *number;
	bool ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and always as long */
	number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	serial = number ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
	ok = serial && X509_set_serialNumber(cert, serial);
	ASN1_INTEGER_free(serial);
	BN_free(number);
	return ok;
}

static bool set_times(X509 *cert, int64_t not_before, int64_t not_after)
{
	return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)not_before) &&
	       ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)not_after);
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = extension && X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
	return ok;
}

/*
 * The SPIFFE ID as the one subject alternative name. Built from the string itself: OpenSSL's
 * configuration syntax would give commas in it a meaning.
 */
static bool add_san(X509 *cert, const char *uri)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *string = ASN1_IA5STRING_new();
	bool ok = false;

	if (!names || !name || !string || !ASN1_STRING_set(string, uri, (int)strlen(uri)))
		goto out;
	GENERAL_NAME_set0_value(name, GEN_URI, string);
	string = NULL;
	if (!sk_GENERAL_NAME_push(names, name))
		goto out;
	name = NULL;
	/* critical, since the subject is empty (RFC 5280, 4.2.1.6) */
	ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) == 1;
out:
	ASN1_IA5STRING_free(string);
	GENERAL_NAME_free(name);
	GENERAL_NAMES_free(names);
	return ok;
}

static const EVP_MD *digest_for(const EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

/* P-256 or Ed25519. */
static bool leaf_key_ok(const EVP_PKEY *key)
{
	char group[32];
	size_t len;

	if (EVP_PKEY_is_a(key, "ED25519"))
		return true;
	return EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
	       strcmp(group, SN_X9_62_prime256v1) == 0;
}

/*
 * The same key as everybody writes it. OpenSSL takes P-256 with its parameters spelt out, and
 * points in other forms, for P-256, and would write them as it read them: a request's bytes would
 * get into the certificate. False: it cannot be.
 */
static bool make_plain(EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "ED25519") ||
	       (EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING,
					       OSSL_PKEY_EC_ENCODING_GROUP) &&
		EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
					       OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED));
}

/* The authority */

static X509 *make_authority(const struct ca_options *options, EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *subject;

	if (!cert)
		return NULL;
	subject = X509_get_subject_name(cert);
	if (!X509_set_version(cert, X509_VERSION_3) || !set_serial(cert) ||
	    !set_times(cert, options->now - CA_BACKDATE_S, options->now + CA_LIFETIME_S) ||
	    !X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
					(const unsigned char *)options->domain, -1, -1, 0) ||
	    !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
					(const unsigned char *)"sivshmem CA", -1, -1, 0) ||
	    !X509_set_issuer_name(cert, subject) || !X509_set_pubkey(cert, key) ||
	    !add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !add_extension(cert, cert, NID_subject_key_identifier, "hash") ||
	    !X509_sign(cert, key, EVP_sha256())) {
		X509_free(cert);
		return NULL;
	}
	return cert;
}

/* Makes the authority's file. 0 also if somebody else has just made it. */
static int create(const struct ca_options *options, const char *path, char error[CA_ERROR_LEN])
{
	EVP_PKEY *key = EVP_EC_gen(SN_X9_62_prime256v1);
	X509 *cert = key ? make_authority(options, key) : NULL;
	int err;

	err = cert ? ca_file_create(path, key, cert, error) :
		     ca_openssl_error(error, "CA: making a key and certificate");
	X509_free(cert);
	EVP_PKEY_free(key);
	return err == -EEXIST ? 0 : err;
}

static int state_file(const struct ca_options *options, const char *name, char path[PATH_MAX],
		      char error[CA_ERROR_LEN])
{
	if (snprintf(path, PATH_MAX, "%s/%s", options->state, name) < PATH_MAX)
		return 0;
	snprintf(error, CA_ERROR_LEN, "%s: path too long", options->state);
	return -1;
}

static int load_own(struct ca *ca, const struct ca_options *options, char error[CA_ERROR_LEN])
{
	char path[PATH_MAX], cert_path[PATH_MAX];
	int err;

	if (state_file(options, CA_FILE, path, error) ||
	    state_file(options, CA_CERT_FILE, cert_path, error))
		return -1;
	if (mkdir(options->state, 0700) < 0 && errno != EEXIST) {
		snprintf(error, CA_ERROR_LEN, "%s: %s", options->state, strerror(errno));
		return -1;
	}
	err = ca_file_load(path, path, &ca->key, &ca->cert, error);
	if (err == -ENOENT) {
		err = create(options, path, error);
		if (!err)
			err = ca_file_load(path, path, &ca->key, &ca->cert, error);
	}
	return err ? err : ca_file_write_cert(cert_path, ca->cert, error);
}

/* What a supplied authority must be; a self-made one is. NULL: it is. */
static const char *authority_wrong(const struct ca *ca, int64_t now)
{
	if (X509_check_private_key(ca->cert, ca->key) != 1)
		return "the key is not this certificate's";
	/*
	 * 1: basicConstraints says CA, and keyUsage, if it is there, keyCertSign. The other ways to
	 * be one are of the last century.
	 */
	if (X509_check_ca(ca->cert) != 1)
		return "this certificate may not issue others (basicConstraints, keyUsage)";
	if (!EVP_PKEY_is_a(ca->key, "EC") && !EVP_PKEY_is_a(ca->key, "ED25519"))
		return "its key is neither EC nor Ed25519";
	if (ca->not_after <= now)
		return "it has expired: supply a new one, or remove it from the state folder";
	return NULL;
}

static bool set_trusted(struct ca *ca)
{
	struct tm tm;
	int len = i2d_X509(ca->cert, &ca->trusted);

	if (len <= 0 || (size_t)len > SIVP_CERTS_MAX ||
	    !ASN1_TIME_to_tm(X509_get0_notAfter(ca->cert), &tm))
		return false;
	ca->trusted_len = (size_t)len;
	ca->not_after = timegm(&tm);
	return true;
}

void ca_set_lifetime(struct ca *ca, uint32_t leaf_lifetime_s)
{
	ca->leaf_lifetime_s = leaf_lifetime_s ?: CA_LEAF_LIFETIME_S;
}

int ca_open(const struct ca_options *options, struct ca **out, char error[CA_ERROR_LEN])
{
	struct ca *ca = calloc(1, sizeof(*ca));
	const char *wrong;
	int err = -1;

	if (!ca) {
		snprintf(error, CA_ERROR_LEN, "CA: no memory");
		return -1;
	}
	ca_set_lifetime(ca, options->leaf_lifetime_s);
	if (options->certificate) {
		err = ca_file_load(options->key, options->certificate, &ca->key, &ca->cert, error);
		if (err == -ENOENT)
			snprintf(error, CA_ERROR_LEN, "%s: not there", options->key);
	} else {
		err = load_own(ca, options, error);
	}
	if (err)
		goto err_close;
	if (!set_trusted(ca)) {
		ca_openssl_error(error, "CA: its certificate");
		goto err_close;
	}
	wrong = authority_wrong(ca, options->now);
	if (wrong) {
		snprintf(error, CA_ERROR_LEN, "%s%s%s: %s",
			 options->certificate ? options->certificate : options->state,
			 options->certificate ? "" : "/", options->certificate ? "" : CA_FILE,
			 wrong);
		goto err_close;
	}
	*out = ca;
	return 0;

err_close:
	ca_close(ca);
	return -1;
}

void ca_close(struct ca *ca)
{
	if (!ca)
		return;
	EVP_PKEY_free(ca->key);
	X509_free(ca->cert);
	OPENSSL_free(ca->trusted);
	free(ca);
}

const uint8_t *ca_trusted(const struct ca *ca, size_t *len)
{
	*len = ca->trusted_len;
	return ca->trusted;
}

/* Leaves */

/* The request's public key, if its owner has signed the request and we accept its kind. */
static EVP_PKEY *request_key(const uint8_t *der, size_t len, char error[CA_ERROR_LEN])
{
	const unsigned char *end = der;
	EVP_PKEY *key = NULL;
	X509_REQ *request;

	if (len > SIVP_CSR_MAX) {
		snprintf(error, CA_ERROR_LEN, "request: longer than %u bytes", SIVP_CSR_MAX);
		return NULL;
	}
	request = d2i_X509_REQ(NULL, &end, (long)len);
	if (!request || end != der + len) {
		snprintf(error, CA_ERROR_LEN, "request: no PKCS#10 in DER");
		goto out;
	}
	key = X509_REQ_get_pubkey(request);
	if (!key || !leaf_key_ok(key)) {
		snprintf(error, CA_ERROR_LEN, "request: its key is neither P-256 nor Ed25519");
		goto err_key;
	}
	if (X509_REQ_verify(request, key) != 1) {
		snprintf(error, CA_ERROR_LEN, "request: its signature is not by its key");
		goto err_key;
	}
	if (!make_plain(key)) {
		snprintf(error, CA_ERROR_LEN, "request: its key cannot be written plainly");
		goto err_key;
	}
	goto out;

err_key:
	EVP_PKEY_free(key);
	key = NULL;
out:
	X509_REQ_free(request);
	ERR_clear_error();
	return key;
}

static bool fill_leaf(struct ca *ca, X509 *cert, EVP_PKEY *key, const char *spiffe_id,
		      int64_t now, int64_t not_after)
{
	return X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
	       set_times(cert, now - CA_BACKDATE_S, not_after) &&
	       X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) &&
	       X509_set_pubkey(cert, key) &&
	       add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       add_extension(cert, ca->cert, NID_subject_key_identifier, "hash") &&
	       /* an authority that was supplied need not have a key identifier */
	       (!X509_get0_subject_key_id(ca->cert) ||
		add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid")) &&
	       add_san(cert, spiffe_id) && X509_sign(cert, ca->key, digest_for(ca->key));
}

enum sivp_reason ca_issue(struct ca *ca, const uint8_t *csr, size_t csr_len, const char *spiffe_id,
			  int64_t now, uint8_t *chain, size_t *chain_len, int64_t *not_after,
			  char error[CA_ERROR_LEN])
{
	enum sivp_reason reason = SIVP_R_LIMIT;
	X509 *cert = NULL;
	EVP_PKEY *key;
	uint8_t *out = chain;
	int len;

	if (ca->not_after <= now) {
		snprintf(error, CA_ERROR_LEN, "CA: its own certificate has expired");
		return SIVP_R_EXPIRED;
	}
	key = request_key(csr, csr_len, error);
	if (!key)
		return SIVP_R_CERTIFICATE;
	*not_after = now + ca->leaf_lifetime_s;
	if (*not_after > ca->not_after)
		*not_after = ca->not_after;
	cert = X509_new();
	if (!cert || !fill_leaf(ca, cert, key, spiffe_id, now, *not_after)) {
		ca_openssl_error(error, "CA: issuing");
		goto out;
	}
	len = i2d_X509(cert, NULL);
	if (len <= 0 || (size_t)len > *chain_len) {
		snprintf(error, CA_ERROR_LEN, "CA: the certificate does not fit");
		goto out;
	}
	*chain_len = (size_t)i2d_X509(cert, &out);
	reason = SIVP_R_NONE;
out:
	X509_free(cert);
	EVP_PKEY_free(key);
	return reason;
}
