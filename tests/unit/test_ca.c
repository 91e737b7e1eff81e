// SPDX-License-Identifier: BSD-2-Clause
/* The CA: what its certificates say, what it takes from a request, and its files. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "broker/ca.h"

#define NOW 1800000000
#define ID  "spiffe://car.example/vm/adas/service/cache"

struct files {
	char folder[64], ca[96], crt[96], former[96], key[96], cert[96];
};

static int setup(void **state)
{
	struct files *f = calloc(1, sizeof(*f));

	strcpy(f->folder, "/tmp/siv-ca-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->ca, sizeof(f->ca), "%s/ca.pem", f->folder);
	snprintf(f->crt, sizeof(f->crt), "%s/ca.crt", f->folder);
	snprintf(f->former, sizeof(f->former), "%s/ca-former.crt", f->folder);
	snprintf(f->key, sizeof(f->key), "%s/key.pem", f->folder);
	snprintf(f->cert, sizeof(f->cert), "%s/cert.pem", f->folder);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct files *f = *state;

	unlink(f->ca);
	unlink(f->crt);
	unlink(f->former);
	unlink(f->key);
	unlink(f->cert);
	assert_int_equal(rmdir(f->folder), 0); /* and nothing was left behind */
	free(f);
	return 0;
}

static struct ca *open_own(const struct files *f)
{
	struct ca_options options = { .domain = "car.example", .state = f->folder, .now = NOW };
	char error[CA_ERROR_LEN];
	struct ca *ca = NULL;

	if (ca_open(&options, &ca, error))
		fail_msg("%s", error);
	return ca;
}

/* A request, with all that a hostile guest can put into one if @hostile. */
static size_t make_csr(EVP_PKEY *key, bool hostile, uint8_t *der)
{
	static const struct {
		int nid;
		const char *value;
	} wishes[] = {
		{ NID_basic_constraints, "critical,CA:TRUE" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" },
		{ NID_subject_alt_name, "URI:spiffe://car.example/vm/cockpit/service/dashboard" },
		{ NID_ext_key_usage, "codeSigning" },
	};
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	X509_REQ *request = X509_REQ_new();
	const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
	int len;

	assert_true(X509_REQ_set_pubkey(request, key));
	if (hostile) {
		X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_ASC,
					   (const unsigned char *)"root", -1, -1, 0);
		for (unsigned int i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++)
			sk_X509_EXTENSION_push(extensions,
					       X509V3_EXT_conf_nid(NULL, NULL, wishes[i].nid,
								   wishes[i].value));
		assert_true(X509_REQ_add_extensions(request, extensions));
	}
	assert_true(X509_REQ_sign(request, key, md) > 0);
	len = i2d_X509_REQ(request, &der);
	assert_true(len > 0 && len < (int)SIVP_CSR_MAX);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(request);
	return (size_t)len;
}

static enum sivp_reason issue(struct ca *ca, const uint8_t *csr, size_t len, int64_t now,
			      X509 **cert, int64_t *not_after)
{
	uint8_t chain[SIVP_CERTS_MAX];
	const unsigned char *p = chain;
	size_t chain_len = sizeof(chain);
	char error[CA_ERROR_LEN] = "";
	enum sivp_reason reason;

	reason = ca_issue(ca, csr, len, ID, now, chain, &chain_len, not_after, error);
	if (reason != SIVP_R_NONE) {
		assert_true(error[0]);
		return reason;
	}
	*cert = d2i_X509(NULL, &p, (long)chain_len);
	assert_non_null(*cert);
	assert_ptr_equal(p, chain + chain_len);
	return reason;
}

static X509 *parse_trusted(struct ca *ca)
{
	size_t len;
	const unsigned char *p = ca_trusted(ca, &len), *start = p;
	X509 *cert = d2i_X509(NULL, &p, (long)len);

	assert_non_null(cert);
	assert_ptr_equal(p, start + len);
	return cert;
}

static void check_leaf(X509 *cert, X509 *authority, EVP_PKEY *key)
{
	EVP_PKEY *issuer_key = X509_get0_pubkey(authority);
	GENERAL_NAMES *names;
	int critical;

	assert_int_equal(X509_verify(cert, issuer_key), 1);
	assert_int_equal(X509_check_issued(authority, cert), X509_V_OK);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), key), 1);
	assert_int_equal(X509_get_version(cert), X509_VERSION_3);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(cert)), 0);
	names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
	assert_non_null(names); /* one extension, no second one */
	assert_int_equal(critical, 1);
	assert_int_equal(sk_GENERAL_NAME_num(names), 1);
	assert_int_equal(sk_GENERAL_NAME_value(names, 0)->type, GEN_URI);
	assert_int_equal(ASN1_STRING_length(sk_GENERAL_NAME_value(names, 0)->d.ia5), strlen(ID));
	assert_memory_equal(ASN1_STRING_get0_data(sk_GENERAL_NAME_value(names, 0)->d.ia5), ID,
			    strlen(ID));
	GENERAL_NAMES_free(names);
	assert_int_equal(X509_check_ca(cert), 0);
	assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(X509_get_ext_count(cert), 6);
	assert_true(ASN1_STRING_length(X509_get0_serialNumber(cert)) >= 8);
}

static time_t time_of(const ASN1_TIME *time)
{
	struct tm tm;

	assert_true(ASN1_TIME_to_tm(time, &tm));
	return timegm(&tm);
}

static void test_leaf_says_what_policy_says(void **state)
{
	static const char *const kinds[] = { "P-256", "ED25519" };
	struct ca *ca = open_own(*state);
	X509 *authority = parse_trusted(ca);

	for (unsigned int i = 0; i < 4; i++) {
		EVP_PKEY *key = i / 2 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") :
					EVP_EC_gen(kinds[0]);
		uint8_t csr[SIVP_CSR_MAX];
		size_t len = make_csr(key, i % 2, csr);
		int64_t not_after;
		X509 *cert;

		assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_NONE);
		check_leaf(cert, authority, key);
		assert_int_equal(not_after, NOW + CA_LEAF_LIFETIME_S);
		assert_int_equal(time_of(X509_get0_notAfter(cert)), not_after);
		assert_int_equal(time_of(X509_get0_notBefore(cert)), NOW - CA_BACKDATE_S);
		X509_free(cert);
		EVP_PKEY_free(key);
	}
	X509_free(authority);
	ca_close(ca);
}

/* However a request writes its key, and whatever its name and wishes hold. */
static void test_nothing_else_of_a_request_gets_in(void **state)
{
	static const struct {
		const char *parameter, *value;
	} spellings[] = { { "encoding", "explicit" }, { "point-format", "compressed" },
			  { "point-format", "hybrid" } };
	static const uint8_t nul[] = "URI:spiffe://car.example/vm/adas/service/cache\0.evil";
	struct ca *ca = open_own(*state);
	X509 *authority = parse_trusted(ca), *cert;
	EVP_PKEY *plain = EVP_EC_gen("P-256");
	uint8_t csr[SIVP_CSR_MAX], *p = csr;
	int64_t not_after;
	size_t len;

	for (unsigned int i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		EVP_PKEY *key = EVP_EC_gen("P-256");

		assert_true(EVP_PKEY_set_utf8_string_param(key, spellings[i].parameter,
							   spellings[i].value));
		len = make_csr(key, true, csr);
		assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_NONE);
		check_leaf(cert, authority, key);
		/* a named curve and an uncompressed point: nothing else has this length */
		assert_int_equal(i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), NULL), 91);
		X509_free(cert);
		EVP_PKEY_free(key);
	}
	/* NULs in its name, an attribute that is no list of extensions, and two of those */
	X509_REQ *request = X509_REQ_new();

	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_ASC, nul,
				   sizeof(nul) - 1, -1, 0);
	for (int i = 0; i < 2; i++)
		X509_REQ_add1_attr_by_NID(request, i ? NID_ext_req : NID_ms_ext_req,
					  V_ASN1_OCTET_STRING, nul, sizeof(nul) - 1);
	assert_true(X509_REQ_set_pubkey(request, plain));
	assert_true(X509_REQ_sign(request, plain, EVP_sha256()) > 0);
	len = (size_t)i2d_X509_REQ(request, &p);
	assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_NONE);
	check_leaf(cert, authority, plain);
	X509_free(cert);
	X509_REQ_free(request);
	EVP_PKEY_free(plain);
	X509_free(authority);
	ca_close(ca);
}

static void test_serials_differ(void **state)
{
	struct ca *ca = open_own(*state);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t csr[SIVP_CSR_MAX];
	size_t len = make_csr(key, false, csr);
	int64_t not_after;
	X509 *a, *b;

	assert_int_equal(issue(ca, csr, len, NOW, &a, &not_after), SIVP_R_NONE);
	assert_int_equal(issue(ca, csr, len, NOW, &b, &not_after), SIVP_R_NONE);
	assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(a),
					      X509_get0_serialNumber(b)), 0);
	X509_free(a);
	X509_free(b);
	EVP_PKEY_free(key);
	ca_close(ca);
}

static void test_bad_requests(void **state)
{
	struct ca *ca = open_own(*state);
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-384");
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	uint8_t csr[2 * SIVP_CSR_MAX] = { 0 };
	size_t len = make_csr(key, false, csr);
	int64_t not_after;
	X509 *cert;

	assert_int_equal(issue(ca, csr, len + 1, NOW, &cert, &not_after), SIVP_R_CERTIFICATE);
	assert_int_equal(issue(ca, csr, sizeof(csr), NOW, &cert, &not_after), SIVP_R_CERTIFICATE);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(issue(ca, csr, n, NOW, &cert, &not_after), SIVP_R_CERTIFICATE);
	/* Each byte is signed, or part of the signature, or of the encoding. */
	for (size_t n = 0; n < len; n++) {
		csr[n] ^= 1;
		assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_CERTIFICATE);
		csr[n] ^= 1;
	}
	assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_NONE);
	X509_free(cert);
	len = make_csr(other, false, csr);
	assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_CERTIFICATE);
	len = make_csr(rsa, false, csr);
	assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_CERTIFICATE);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	EVP_PKEY_free(rsa);
	ca_close(ca);
}

static void test_leaf_ends_with_its_authority(void **state)
{
	struct ca *ca = open_own(*state);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t csr[SIVP_CSR_MAX];
	size_t len = make_csr(key, false, csr);
	int64_t end = (int64_t)NOW + CA_LIFETIME_S, not_after;
	X509 *cert;

	assert_int_equal(issue(ca, csr, len, end - 100, &cert, &not_after), SIVP_R_NONE);
	assert_int_equal(not_after, end);
	X509_free(cert);
	assert_int_equal(issue(ca, csr, len, end, &cert, &not_after), SIVP_R_EXPIRED);
	EVP_PKEY_free(key);
	ca_close(ca);
}

/* Files */

static void test_authority_is_made_once_and_kept_closed(void **state)
{
	struct files *f = *state;
	struct ca *ca = open_own(f), *again;
	const uint8_t *a, *b;
	size_t a_len, b_len;
	struct stat st;
	X509 *cert;

	assert_int_equal(stat(f->ca, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(f->crt, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	again = open_own(f);
	a = ca_trusted(ca, &a_len);
	b = ca_trusted(again, &b_len);
	assert_int_equal(a_len, b_len);
	assert_memory_equal(a, b, a_len);
	cert = parse_trusted(ca);
	assert_int_equal(X509_check_ca(cert), 1);
	assert_int_equal(X509_get_pathlen(cert), 0);
	assert_int_equal(X509_get_key_usage(cert), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	X509_free(cert);
	ca_close(ca);
	ca_close(again);
}

static void test_two_at_once_agree(void **state)
{
	struct files *f = *state;
	const uint8_t *mine;
	uint8_t theirs[4][2048];
	int ends[4][2], status;
	struct ca *ca;
	size_t len;

	for (int i = 0; i < 4; i++) {
		assert_int_equal(pipe(ends[i]), 0);
		if (fork() == 0) {
			ca = open_own(f);
			mine = ca_trusted(ca, &len);
			_exit(write(ends[i][1], mine, len) != (ssize_t)len);
		}
	}
	for (int i = 0; i < 4; i++)
		assert_true(wait(&status) > 0 && status == 0);
	ca = open_own(f);
	mine = ca_trusted(ca, &len);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(read(ends[i][0], theirs[i], sizeof(theirs[i])), len);
		assert_memory_equal(theirs[i], mine, len);
		close(ends[i][0]);
		close(ends[i][1]);
	}
	ca_close(ca);
}

static void expect_open_fails(const struct ca_options *options, const char *text)
{
	char error[CA_ERROR_LEN];
	struct ca *ca;

	if (ca_open(options, &ca, error) == 0)
		fail_msg("accepted, expected: %s", text);
	if (!strstr(error, text))
		fail_msg("expected %s\ngot      %s", text, error);
}

static void test_key_that_others_can_read_is_refused(void **state)
{
	struct files *f = *state;
	struct ca_options options = { .domain = "x", .state = f->folder, .now = NOW };

	ca_close(open_own(f));
	assert_int_equal(chmod(f->ca, 0640), 0);
	expect_open_fails(&options, "others can reach this key");
	assert_int_equal(chmod(f->ca, 0600), 0);
	options.now = (int64_t)NOW + CA_LIFETIME_S;
	expect_open_fails(&options, "it has expired");
	assert_int_equal(truncate(f->ca, 100), 0);
	options.now = NOW;
	expect_open_fails(&options, "ca.pem");
}

/* An authority as an operator may supply it, with @extensions in pairs of nid and value. */
static void supply(const struct files *f, EVP_PKEY *key, EVP_PKEY *cert_key,
		   const char *const extensions[])
{
	X509 *cert = X509_new();
	FILE *file;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	ASN1_TIME_set(X509_getm_notBefore(cert), NOW - 10);
	ASN1_TIME_set(X509_getm_notAfter(cert), NOW + 1000);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)"intermediate", -1, -1, 0);
	X509_NAME_add_entry_by_txt(X509_get_issuer_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)"root", -1, -1, 0);
	X509_set_pubkey(cert, cert_key);
	for (; *extensions; extensions += 2) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, OBJ_sn2nid(extensions[0]),
							extensions[1]);

		assert_non_null(e);
		X509_add_ext(cert, e, -1);
		X509_EXTENSION_free(e);
	}
	assert_true(X509_sign(cert, cert_key, EVP_sha256()));
	file = fopen(f->cert, "w");
	PEM_write_X509(file, cert);
	fclose(file);
	unlink(f->key);
	file = fopen(f->key, "w");
	fchmod(fileno(file), 0600);
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	X509_free(cert);
}

static void test_supplied_authority(void **state)
{
	static const char *const good[] = { "basicConstraints", "critical,CA:TRUE", "keyUsage",
					    "critical,keyCertSign", NULL };
	static const char *const no_ca[] = { "basicConstraints", "CA:FALSE", NULL };
	static const char *const no_sign[] = { "basicConstraints", "critical,CA:TRUE", "keyUsage",
					       "critical,digitalSignature", NULL };
	struct files *f = *state;
	struct ca_options options = {
		.domain = "x", .state = f->folder, .certificate = f->cert, .key = f->key,
		.now = NOW, .leaf_lifetime_s = 600,
	};
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	uint8_t csr[SIVP_CSR_MAX];
	char error[CA_ERROR_LEN];
	int64_t not_after;
	struct ca *ca;
	X509 *cert;
	size_t len;

	supply(f, key, key, good);
	assert_int_equal(ca_open(&options, &ca, error), 0);
	len = make_csr(other, false, csr);
	assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_NONE);
	assert_int_equal(not_after, NOW + 600);
	X509_free(cert);
	assert_int_equal(issue(ca, csr, len, NOW + 500, &cert, &not_after), SIVP_R_NONE);
	assert_int_equal(not_after, NOW + 1000); /* no longer than its issuer */
	X509_free(cert);
	ca_close(ca);
	supply(f, other, key, good);
	expect_open_fails(&options, "the key is not this certificate's");
	supply(f, key, key, no_ca);
	expect_open_fails(&options, "may not issue others");
	supply(f, key, key, no_sign);
	expect_open_fails(&options, "this certificate may not issue others");
	supply(f, rsa, rsa, good);
	expect_open_fails(&options, "neither EC nor Ed25519");
	supply(f, key, key, good);
	options.now = NOW + 1000;
	expect_open_fails(&options, "expired");
	options.now = NOW;
	unlink(f->key);
	expect_open_fails(&options, "not there");
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	EVP_PKEY_free(rsa);
}

/* Rotation */

/* The trusted certificates, in order. */
static unsigned int trusted(struct ca *ca, X509 *certs[2])
{
	size_t len;
	const unsigned char *p = ca_trusted(ca, &len), *end = p + len;
	unsigned int n = 0;

	while (p < end) {
		assert_true(n < 2);
		certs[n] = d2i_X509(NULL, &p, end - p);
		assert_non_null(certs[n++]);
	}
	assert_ptr_equal(p, end);
	assert_int_equal(n == 2, ca_has_former(ca));
	return n;
}

static void expect_issued_by(struct ca *ca, X509 *authority)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t csr[SIVP_CSR_MAX];
	size_t len = make_csr(key, false, csr);
	int64_t not_after;
	X509 *cert;

	assert_int_equal(issue(ca, csr, len, NOW, &cert, &not_after), SIVP_R_NONE);
	check_leaf(cert, authority, key);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void rotate(struct ca *ca, const struct ca_options *options)
{
	char error[CA_ERROR_LEN];

	if (ca_rotate(ca, options, error))
		fail_msg("%s", error);
}

static void expect_rotate_fails(struct ca *ca, const struct ca_options *options, const char *text)
{
	char error[CA_ERROR_LEN] = "";
	uint8_t digest[SIV_DIGEST_LEN];
	bool had_former = ca_has_former(ca);

	memcpy(digest, ca_digest(ca), sizeof(digest));
	assert_int_equal(ca_rotate(ca, options, error), -1);
	if (!strstr(error, text))
		fail_msg("expected %s\ngot      %s", text, error);
	assert_memory_equal(digest, ca_digest(ca), sizeof(digest));
	assert_int_equal(ca_has_former(ca), had_former);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void test_a_rotation_makes_another_authority(void **state)
{
	struct files *f = *state;
	struct ca_options options = { .domain = "car.example", .state = f->folder, .now = NOW };
	struct ca *ca = open_own(f);
	X509 *before[2], *during[2], *again[2], *after[2];
	char error[CA_ERROR_LEN];
	struct ca_info info;
	struct stat st;

	assert_int_equal(trusted(ca, before), 1);
	assert_int_equal(ca_drop(ca, f->folder, error), -1);
	assert_false(ca_describe_former(ca, &info));
	rotate(ca, &options);
	assert_int_equal(trusted(ca, during), 2);
	assert_int_equal(X509_cmp(during[1], before[0]), 0);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(during[0]), X509_get0_pubkey(before[0])), 0);
	expect_issued_by(ca, during[0]);
	assert_int_equal(stat(f->ca, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	expect_rotate_fails(ca, &options, "the last rotation has not ended");
	/* it outlives the process */
	ca_close(ca);
	ca = open_own(f);
	assert_int_equal(trusted(ca, again), 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(X509_cmp(again[i], during[i]), 0);
	assert_true(ca_describe_former(ca, &info));
	assert_int_equal(info.until, NOW + CA_LEAF_LIFETIME_S);
	assert_string_equal(info.name, "O = car.example, CN = sivshmem CA");
	assert_int_equal(ca_drop(ca, f->folder, error), 0);
	assert_false(exists(f->former));
	assert_int_equal(trusted(ca, after), 1);
	assert_int_equal(X509_cmp(after[0], during[0]), 0);
	expect_issued_by(ca, after[0]);
	ca_close(ca);
	for (int i = 0; i < 2; i++) {
		X509_free(during[i]);
		X509_free(again[i]);
	}
	X509_free(before[0]);
	X509_free(after[0]);
}

/* Until all that it has issued has expired, whatever the lifetime is by then, or it has itself. */
static void test_a_former_authority_has_an_end(void **state)
{
	struct files *f = *state;
	struct ca_options options = { .domain = "car.example", .state = f->folder, .now = NOW };
	struct ca *ca = open_own(f);
	char error[CA_ERROR_LEN];
	struct ca_info info;
	X509 *certs[2];

	ca_set_lifetime(ca, 5000);
	assert_int_equal(trusted(ca, certs), 1);
	expect_issued_by(ca, certs[0]);
	X509_free(certs[0]);
	ca_set_lifetime(ca, 100);
	rotate(ca, &options);
	assert_true(ca_describe_former(ca, &info));
	assert_int_equal(info.until, NOW + 5000);
	ca_close(ca);
	options.now = NOW + 4999;
	assert_int_equal(ca_open(&options, &ca, error), 0);
	assert_true(ca_has_former(ca));
	ca_close(ca);
	options.now = NOW + 5000;
	assert_int_equal(ca_open(&options, &ca, error), 0);
	assert_false(ca_has_former(ca));
	assert_false(exists(f->former));
	/* the one that issues ends soon */
	options.now = (int64_t)NOW + CA_LIFETIME_S - 10;
	rotate(ca, &options);
	assert_true(ca_describe_former(ca, &info));
	assert_int_equal(info.until, NOW + CA_LIFETIME_S);
	ca_close(ca);
}

/* What a process leaves that dies in the middle. */
static void test_beginnings_of_a_rotation(void **state)
{
	struct files *f = *state;
	struct ca_options options = { .domain = "car.example", .state = f->folder, .now = NOW };
	struct ca *ca = open_own(f);
	char command[512], error[CA_ERROR_LEN];
	uint8_t digest[SIV_DIGEST_LEN];

	memcpy(digest, ca_digest(ca), sizeof(digest));
	ca_close(ca);
	/* the former one's certificate is there, the new one's key is not */
	snprintf(command, sizeof(command), "{ echo 'trusted until %d'; cat %s; } >%s", NOW + 100,
		 f->crt, f->former);
	assert_int_equal(system(command), 0);
	ca = open_own(f);
	assert_false(ca_has_former(ca));
	assert_memory_equal(digest, ca_digest(ca), sizeof(digest));
	assert_false(exists(f->former));
	/* the key is, ca.crt is the former one's */
	snprintf(command, sizeof(command), "cp %s %s.kept", f->crt, f->crt);
	assert_int_equal(system(command), 0);
	rotate(ca, &options);
	memcpy(digest, ca_digest(ca), sizeof(digest));
	ca_close(ca);
	snprintf(command, sizeof(command), "mv %s.kept %s", f->crt, f->crt);
	assert_int_equal(system(command), 0);
	ca = open_own(f);
	assert_true(ca_has_former(ca));
	assert_memory_equal(digest, ca_digest(ca), sizeof(digest));
	ca_close(ca);
	/* what nobody understands trusts nobody, and says so */
	snprintf(command, sizeof(command), "echo 'trusted until' >%s", f->former);
	assert_int_equal(system(command), 0);
	assert_int_equal(ca_open(&options, &ca, error), -1);
	assert_non_null(strstr(error, "ca-former.crt: no certificate of a former authority"));
	snprintf(command, sizeof(command), "cat %s >%s", f->crt, f->former);
	assert_int_equal(system(command), 0);
	assert_int_equal(ca_open(&options, &ca, error), -1);
}

static void test_a_rotation_that_cannot_be_kept_is_none(void **state)
{
	struct files *f = *state;
	struct ca_options options = { .domain = "car.example", .state = f->folder, .now = NOW };
	struct ca *ca = open_own(f);

	assert_int_equal(mkdir(f->former, 0700), 0); /* nothing takes its place */
	expect_rotate_fails(ca, &options, "ca-former.crt");
	assert_int_equal(rmdir(f->former), 0);
	assert_int_equal(unlink(f->ca), 0);
	assert_int_equal(mkdir(f->ca, 0700), 0);
	expect_rotate_fails(ca, &options, "ca.pem");
	assert_false(exists(f->former));
	assert_int_equal(rmdir(f->ca), 0);
	rotate(ca, &options);
	ca_close(ca);
}

static void test_rotation_to_and_among_supplied_authorities(void **state)
{
	static const char *const good[] = { "basicConstraints", "critical,CA:TRUE", "keyUsage",
					    "critical,keyCertSign", NULL };
	static const char *const no_ca[] = { "basicConstraints", "CA:FALSE", NULL };
	struct files *f = *state;
	struct ca_options own = { .domain = "car.example", .state = f->folder, .now = NOW };
	struct ca_options supplied = own;
	EVP_PKEY *key[2] = { EVP_EC_gen("P-256"), EVP_EC_gen("P-256") };
	struct ca *ca = open_own(f);
	char error[CA_ERROR_LEN];
	X509 *first[2], *now[2];

	supplied.certificate = f->cert;
	supplied.key = f->key;
	assert_int_equal(trusted(ca, first), 1);
	supply(f, key[0], key[1], good);
	expect_rotate_fails(ca, &supplied, "the key is not this certificate's");
	supply(f, key[0], key[0], no_ca);
	expect_rotate_fails(ca, &supplied, "may not issue others");
	assert_false(exists(f->former));
	for (int i = 0; i < 2; i++) {
		supply(f, key[i], key[i], good);
		rotate(ca, &supplied);
		assert_int_equal(trusted(ca, now), 2);
		assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(now[0]), key[i]), 1);
		expect_issued_by(ca, now[0]);
		X509_free(now[0]);
		X509_free(now[1]);
		ca_close(ca);
		assert_int_equal(ca_open(&supplied, &ca, error), 0);
		assert_true(ca_has_former(ca));
		assert_int_equal(ca_drop(ca, f->folder, error), 0);
		expect_rotate_fails(ca, &supplied, "issues already");
	}
	/* back to the own one, which is still in the state folder */
	rotate(ca, &own);
	assert_int_equal(trusted(ca, now), 2);
	assert_int_equal(X509_cmp(now[0], first[0]), 0);
	X509_free(first[0]);
	for (int i = 0; i < 2; i++) {
		X509_free(now[i]);
		EVP_PKEY_free(key[i]);
	}
	ca_close(ca);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_leaf_says_what_policy_says),
		TEST(test_nothing_else_of_a_request_gets_in),
		TEST(test_serials_differ),
		TEST(test_bad_requests),
		TEST(test_leaf_ends_with_its_authority),
		TEST(test_authority_is_made_once_and_kept_closed),
		TEST(test_two_at_once_agree),
		TEST(test_key_that_others_can_read_is_refused),
		TEST(test_supplied_authority),
		TEST(test_a_rotation_makes_another_authority),
		TEST(test_a_former_authority_has_an_end),
		TEST(test_beginnings_of_a_rotation),
		TEST(test_a_rotation_that_cannot_be_kept_is_none),
		TEST(test_rotation_to_and_among_supplied_authorities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
