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

struct authority {
	EVP_PKEY *key; /* NULL: of a former one */
	X509 *cert;    /* NULL: there is none */
	bool supplied; /* by the operator; else ours, in the state folder */
	int64_t not_after;
	uint8_t digest[SIV_DIGEST_LEN];
};

struct ca {
	struct ca_view view;
	ca_issue_fn *remote; /* NULL: the key is here, and what follows is in use */
	void *remote_arg;
	struct authority now, former;
	int64_t former_until;
	int64_t issued_until; /* the latest notAfter of a leaf that we have issued by it */
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

static void authority_free(struct authority *authority)
{
	EVP_PKEY_free(authority->key);
	X509_free(authority->cert);
	*authority = (struct authority){ 0 };
}

/* A key and its certificate, in memory. */
static int generate(struct authority *authority, const struct ca_options *options,
		    char error[CA_ERROR_LEN])
{
	authority->key = EVP_EC_gen(SN_X9_62_prime256v1);
	authority->cert = authority->key ? make_authority(options, authority->key) : NULL;
	return authority->cert ? 0 : ca_openssl_error(error, "CA: making a key and certificate");
}

/* Makes the authority's file. 0 also if somebody else has just made it. */
static int create(const struct ca_options *options, const char *path, char error[CA_ERROR_LEN])
{
	struct authority made = { 0 };
	int err = generate(&made, options, error);

	if (!err)
		err = ca_file_create(path, made.key, made.cert, error);
	authority_free(&made);
	return err == -EEXIST ? 0 : err;
}

static int state_file(const char *state, const char *name, char path[PATH_MAX],
		      char error[CA_ERROR_LEN])
{
	if (snprintf(path, PATH_MAX, "%s/%s", state, name) < PATH_MAX)
		return 0;
	snprintf(error, CA_ERROR_LEN, "%s: path too long", state);
	return -1;
}

static int make_state_folder(const struct ca_options *options, char error[CA_ERROR_LEN])
{
	if (mkdir(options->state, 0700) == 0 || errno == EEXIST)
		return 0;
	snprintf(error, CA_ERROR_LEN, "%s: %s", options->state, strerror(errno));
	return -1;
}

static int load_own(struct authority *authority, const struct ca_options *options,
		    char error[CA_ERROR_LEN])
{
	char path[PATH_MAX], cert_path[PATH_MAX];
	int err;

	if (state_file(options->state, CA_FILE, path, error) ||
	    state_file(options->state, CA_CERT_FILE, cert_path, error) ||
	    make_state_folder(options, error))
		return -1;
	err = ca_file_load(path, path, &authority->key, &authority->cert, error);
	if (err == -ENOENT) {
		err = create(options, path, error);
		if (!err)
			err = ca_file_load(path, path, &authority->key, &authority->cert, error);
	}
	return err ? err : ca_file_write_cert(cert_path, authority->cert, error);
}

static int load_supplied(struct authority *authority, const struct ca_options *options,
			 char error[CA_ERROR_LEN])
{
	int err = ca_file_load(options->key, options->certificate, &authority->key,
			       &authority->cert, error);

	if (err == -ENOENT)
		snprintf(error, CA_ERROR_LEN, "%s: not there", options->key);
	return err;
}

/* What a supplied authority must be; a self-made one is. NULL: it is. */
static const char *authority_wrong(const struct authority *authority, int64_t now)
{
	if (X509_check_private_key(authority->cert, authority->key) != 1)
		return "the key is not this certificate's";
	/*
	 * 1: basicConstraints says CA, and keyUsage, if it is there, keyCertSign. The other ways to
	 * be one are of the last century.
	 */
	if (X509_check_ca(authority->cert) != 1)
		return "this certificate may not issue others (basicConstraints, keyUsage)";
	if (!EVP_PKEY_is_a(authority->key, "EC") && !EVP_PKEY_is_a(authority->key, "ED25519"))
		return "its key is neither EC nor Ed25519";
	if (authority->not_after <= now)
		return "it has expired: supply a new one, or remove it from the state folder";
	return NULL;
}

/* What the certificate says, for later. */
static int read_certificate(struct authority *authority, char error[CA_ERROR_LEN])
{
	unsigned int len = sizeof(authority->digest);
	struct tm tm;

	if (!ASN1_TIME_to_tm(X509_get0_notAfter(authority->cert), &tm) ||
	    !X509_digest(authority->cert, EVP_sha256(), authority->digest, &len))
		return ca_openssl_error(error, "CA: its certificate");
	authority->not_after = timegm(&tm);
	return 0;
}

/* @err: from whoever filled it in; fails if it is not fit to issue. */
static int check_authority(struct authority *authority, const struct ca_options *options, int err,
			   char error[CA_ERROR_LEN])
{
	const char *wrong;

	authority->supplied = options->certificate;
	if (err || read_certificate(authority, error))
		return -1;
	wrong = authority_wrong(authority, options->now);
	if (!wrong)
		return 0;
	snprintf(error, CA_ERROR_LEN, "%s%s%s: %s",
		 options->certificate ? options->certificate : options->state,
		 options->certificate ? "" : "/", options->certificate ? "" : CA_FILE, wrong);
	return -1;
}

/* The certificates of both, DER, into @out. Bytes; 0: they do not fit. */
static size_t both_trusted(const struct authority *now, const struct authority *former,
			   uint8_t out[SIVP_CERTS_MAX])
{
	X509 *const certs[] = { now->cert, former->cert };
	size_t used = 0;

	for (unsigned int i = 0; i < 2 && certs[i]; i++) {
		int len = i2d_X509(certs[i], NULL);
		unsigned char *p = out + used;

		if (len <= 0 || (size_t)len > SIVP_CERTS_MAX - used)
			return 0;
		used += (size_t)i2d_X509(certs[i], &p);
	}
	return used;
}

static void describe(const struct authority *authority, int64_t until, struct ca_info *info)
{
	BIO *out = BIO_new(BIO_s_mem());
	int len = -1;

	*info = (struct ca_info){ .not_after = authority->not_after, .until = until };
	memcpy(info->digest, authority->digest, sizeof(info->digest));
	if (out && X509_NAME_print_ex(out, X509_get_subject_name(authority->cert), 0,
				      XN_FLAG_ONELINE) >= 0)
		len = BIO_read(out, info->name, sizeof(info->name) - 1);
	if (len < 0)
		info->name[0] = '\0';
	BIO_free(out);
	ERR_clear_error();
}

/* Says what the authority is now. */
static int set_view(struct ca *ca, char error[CA_ERROR_LEN])
{
	struct ca_view *view = &ca->view;

	*view = (struct ca_view){ .has_former = ca->former.cert };
	describe(&ca->now, 0, &view->now);
	if (view->has_former)
		describe(&ca->former, ca->former_until, &view->former);
	view->trusted_len = both_trusted(&ca->now, &ca->former, view->trusted);
	return view->trusted_len ? 0 : ca_openssl_error(error, "CA: its certificate");
}

void ca_set_lifetime(struct ca *ca, uint32_t leaf_lifetime_s)
{
	ca->leaf_lifetime_s = leaf_lifetime_s ?: CA_LEAF_LIFETIME_S;
}

/* The former authority, if a rotation had not ended when an earlier process did. */
static int open_former(struct ca *ca, const struct ca_options *options, char error[CA_ERROR_LEN])
{
	struct authority *former = &ca->former;
	char path[PATH_MAX];
	int err;

	if (state_file(options->state, CA_FORMER_FILE, path, error))
		return -1;
	err = ca_file_read_former(path, &former->cert, &ca->former_until, error);
	if (err)
		return err == -ENOENT ? 0 : -1;
	if (read_certificate(former, error))
		return -1;
	/* The same: that process ended before the rotation had begun. */
	if (ca->former_until > options->now &&
	    memcmp(former->digest, ca->now.digest, sizeof(former->digest)) != 0)
		return 0;
	authority_free(former);
	return ca_file_remove_former(path, error);
}

int ca_open(const struct ca_options *options, struct ca **out, char error[CA_ERROR_LEN])
{
	struct ca *ca = calloc(1, sizeof(*ca));
	int err;

	if (!ca) {
		snprintf(error, CA_ERROR_LEN, "CA: no memory");
		return -1;
	}
	ca_set_lifetime(ca, options->leaf_lifetime_s);
	err = options->certificate ? load_supplied(&ca->now, options, error) :
				     load_own(&ca->now, options, error);
	if (check_authority(&ca->now, options, err, error) || open_former(ca, options, error) ||
	    set_view(ca, error)) {
		ca_close(ca);
		return -1;
	}
	*out = ca;
	return 0;
}

void ca_close(struct ca *ca)
{
	if (!ca)
		return;
	authority_free(&ca->now);
	authority_free(&ca->former);
	free(ca);
}

/* Rotation */

/* By when all that the present authority has issued has expired. */
static int64_t last_expiry(const struct ca *ca, int64_t now)
{
	int64_t until = now + ca->leaf_lifetime_s;

	if (until < ca->issued_until)
		until = ca->issued_until;
	return until < ca->now.not_after ? until : ca->now.not_after;
}

/*
 * Onto the disk, in an order of which each beginning is a good state: the former one's certificate
 * alone is nothing yet (open_former()), and with our own key's file the new one issues.
 */
static int keep_rotation(const struct ca *ca, const struct authority *next, bool made,
			 const struct ca_options *options, int64_t until, char error[CA_ERROR_LEN])
{
	char former[PATH_MAX], path[PATH_MAX], cert_path[PATH_MAX], ignored[CA_ERROR_LEN];

	if (state_file(options->state, CA_FORMER_FILE, former, error) ||
	    state_file(options->state, CA_FILE, path, error) ||
	    state_file(options->state, CA_CERT_FILE, cert_path, error) ||
	    make_state_folder(options, error) ||
	    ca_file_write_former(former, ca->now.cert, until, error))
		return -1;
	if (!made)
		return 0;
	if (ca_file_replace(path, next->key, next->cert, error)) {
		ca_file_remove_former(former, ignored);
		return -1;
	}
	/* For people only; the next start writes it again. */
	ca_file_write_cert(cert_path, next->cert, ignored);
	return 0;
}

int ca_rotate(struct ca *ca, const struct ca_options *options, char error[CA_ERROR_LEN])
{
	bool made = !options->certificate && !ca->now.supplied;
	struct authority next = { 0 };
	uint8_t trusted[SIVP_CERTS_MAX];
	int64_t until = last_expiry(ca, options->now);
	int err;

	if (ca->former.cert) {
		snprintf(error, CA_ERROR_LEN, "CA: the last rotation has not ended: see sivctl "
			 "status, and sivctl ca drop to end it at once");
		return -1;
	}
	err = made ? generate(&next, options, error) :
	      options->certificate ? load_supplied(&next, options, error) :
				     load_own(&next, options, error);
	if (check_authority(&next, options, err, error))
		goto err_free;
	if (memcmp(next.digest, ca->now.digest, sizeof(next.digest)) == 0) {
		snprintf(error, CA_ERROR_LEN, "%s: this is the authority that issues already: put "
			 "the new one there first", options->certificate ?: options->state);
		goto err_free;
	}
	if (!both_trusted(&next, &ca->now, trusted)) {
		snprintf(error, CA_ERROR_LEN, "CA: both certificates have more than %u bytes",
			 SIVP_CERTS_MAX);
		goto err_free;
	}
	if (keep_rotation(ca, &next, made, options, until, error))
		goto err_free;
	ca->former = ca->now;
	ca->former_until = until;
	EVP_PKEY_free(ca->former.key); /* it signs nothing any more */
	ca->former.key = NULL;
	ca->now = next;
	ca->issued_until = 0;
	return set_view(ca, error);

err_free:
	authority_free(&next);
	return -1;
}

int ca_drop(struct ca *ca, const char *state, char error[CA_ERROR_LEN])
{
	char path[PATH_MAX];

	if (!ca->former.cert) {
		snprintf(error, CA_ERROR_LEN, "CA: there is no former authority");
		return -1;
	}
	if (state_file(state, CA_FORMER_FILE, path, error) || ca_file_remove_former(path, error))
		return -1;
	authority_free(&ca->former);
	return set_view(ca, error);
}

void ca_describe(const struct ca *ca, struct ca_info *info)
{
	*info = ca->view.now;
}

bool ca_describe_former(const struct ca *ca, struct ca_info *info)
{
	*info = ca->view.former;
	return ca->view.has_former;
}

bool ca_has_former(const struct ca *ca)
{
	return ca->view.has_former;
}

const uint8_t *ca_digest(const struct ca *ca)
{
	return ca->view.now.digest;
}

const uint8_t *ca_trusted(const struct ca *ca, size_t *len)
{
	*len = ca->view.trusted_len;
	return ca->view.trusted;
}

/* An authority elsewhere */

struct ca *ca_new_remote(ca_issue_fn *issue, void *arg)
{
	struct ca *ca = calloc(1, sizeof(*ca));

	if (ca) {
		ca->remote = issue;
		ca->remote_arg = arg;
	}
	return ca;
}

const struct ca_view *ca_view(const struct ca *ca)
{
	return &ca->view;
}

void ca_set_view(struct ca *ca, const struct ca_view *view)
{
	ca->view = *view;
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
	       X509_set_issuer_name(cert, X509_get_subject_name(ca->now.cert)) &&
	       X509_set_pubkey(cert, key) &&
	       add_extension(cert, ca->now.cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, ca->now.cert, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(cert, ca->now.cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       add_extension(cert, ca->now.cert, NID_subject_key_identifier, "hash") &&
	       /*
		* Of two authorities with one name this says which. One that was supplied need not
		* have a key identifier.
		*/
	       add_extension(cert, ca->now.cert, NID_authority_key_identifier,
			     X509_get0_subject_key_id(ca->now.cert) ? "keyid" : "issuer:always") &&
	       add_san(cert, spiffe_id) && X509_sign(cert, ca->now.key, digest_for(ca->now.key));
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

	if (ca->remote)
		return ca->remote(ca->remote_arg, csr, csr_len, spiffe_id, chain, chain_len,
				  not_after, error);
	if (ca->now.not_after <= now) {
		snprintf(error, CA_ERROR_LEN, "CA: its own certificate has expired");
		return SIVP_R_EXPIRED;
	}
	key = request_key(csr, csr_len, error);
	if (!key)
		return SIVP_R_CERTIFICATE;
	*not_after = now + ca->leaf_lifetime_s;
	if (*not_after > ca->now.not_after)
		*not_after = ca->now.not_after;
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
	if (ca->issued_until < *not_after)
		ca->issued_until = *not_after;
	reason = SIVP_R_NONE;
out:
	X509_free(cert);
	EVP_PKEY_free(key);
	return reason;
}
