// SPDX-License-Identifier: BSD-2-Clause
/* hostd replaces its authority while it runs: whom it tells what, what ends it, what it survives. */
#include "hostd_fixture.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The digests of a list of certificates. */
struct trusted {
	unsigned int n;
	uint8_t digest[2][SHA256_DIGEST_LENGTH];
};

static struct trusted read_list(const struct sivp_msg *msg)
{
	const struct sivp_value *ca = &msg->attr[SIVP_A_CA];
	const unsigned char *p = ca->data, *from = p;
	struct trusted t = { 0 };

	assert_non_null(p);
	for (; p < ca->data + ca->len; from = p) {
		X509 *cert = d2i_X509(NULL, &p, ca->data + ca->len - p);

		assert_non_null(cert);
		assert_true(t.n < 2);
		SHA256(from, (size_t)(p - from), t.digest[t.n++]);
		X509_free(cert);
	}
	return t;
}

/* What that agent is told next: so many certificates. */
static struct trusted expect_trusted(struct daemon_fixture *d, unsigned int vm, unsigned int n)
{
	struct trusted t = read_list(fx_expect(&d->fx, vm, SIVP_CHANGED));

	assert_int_equal(t.n, n);
	return t;
}

/* The same as expect_trusted(), whatever links say before it. */
static void expect_trusted_among_links(struct daemon_fixture *d, unsigned int vm, unsigned int n)
{
	const struct sivp_msg *msg;

	do {
		msg = fx_expect_any(&d->fx, vm);
	} while (msg->type == SIVP_LINK);
	assert_int_equal(msg->type, SIVP_CHANGED);
	assert_int_equal(read_list(msg).n, n);
}

static void say_renewed(struct daemon_fixture *d, unsigned int vm, const uint8_t *digest)
{
	sivp_put_blob(fx_message(&d->fx, SIVP_RENEWED, 0), SIVP_A_DIGEST, digest,
		      SHA256_DIGEST_LENGTH);
	fx_send(&d->fx, vm);
}

/* @error: a part of what it must say, NULL: it must do it. */
static void ask_ca(struct daemon_fixture *d, const char *what, const char *error)
{
	json_t *reply = hostd_call(d, json_pack("{s:s, s:s}", "command", "ca", "what", what));
	const char *said = json_string_value(json_object_get(reply, "error")) ?: "(nothing)";

	if (json_is_true(json_object_get(reply, "ok")) == !!error ||
	    (error && !strstr(said, error)))
		fail_msg("ca %s: %s", what, said);
	json_decref(reply);
}

/* Agents that the host waits for; -1: it trusts no former authority. */
static int not_renewed(struct daemon_fixture *d)
{
	json_t *reply = hostd_ask(d, "status");
	json_t *former = json_object_get(reply, "former_authority");
	int n = former ? (int)json_integer_value(json_object_get(former, "not_renewed")) : -1;

	assert_true(json_object_get(reply, "authority"));
	json_decref(reply);
	return n;
}

static unsigned int count_audited(struct daemon_fixture *d, const char *a, const char *b)
{
	char path[128], line[4096];
	unsigned int n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/state/audit.log", d->folder);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, a) && strstr(line, b);
	fclose(file);
	return n;
}

static bool former_kept(const struct daemon_fixture *d)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/state/ca-former.crt", d->folder);
	return access(path, F_OK) == 0;
}

static void test_dropped_when_every_agent_has_renewed(void **state)
{
	struct daemon_fixture *d = *state;
	struct trusted a, b;

	hostd_bring_up(d);
	assert_int_equal(not_renewed(d), -1);
	ask_ca(d, "rotate", NULL);
	a = expect_trusted(d, A, 2);
	b = expect_trusted(d, B, 2);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(not_renewed(d), 2);
	assert_true(former_kept(d));
	ask_ca(d, "rotate", "the last rotation has not ended");
	say_renewed(d, A, a.digest[0]);
	hostd_barrier(d);
	assert_int_equal(not_renewed(d), 1);
	/* of the former one: no such thing */
	say_renewed(d, B, a.digest[1]);
	hostd_barrier(d);
	assert_int_equal(not_renewed(d), 1);
	fx_expect_nothing(&d->fx, A);
	say_renewed(d, B, a.digest[0]);
	for (unsigned int vm = A; vm <= B; vm++) {
		b = expect_trusted(d, vm, 1);
		assert_memory_equal(b.digest[0], a.digest[0], sizeof(b.digest[0]));
	}
	assert_int_equal(not_renewed(d), -1);
	assert_false(former_kept(d));
	assert_int_equal(count_audited(d, "\"event\":\"ca-rotate\"", "trusted on"), 1);
	assert_int_equal(count_audited(d, "\"event\":\"ca-drop\"", "every agent has renewed"), 1);
	assert_int_equal(hostd_count_channels(d), 1);
	fx_connected(&d->fx, 2, B, "srv");
	ask_ca(d, "drop", "there is no former authority");
	ask_ca(d, "frobnicate", "one of rotate, drop");
	ask_ca(d, "rotate", NULL); /* and again */
	b = expect_trusted(d, A, 2);
	assert_memory_equal(b.digest[1], a.digest[0], sizeof(b.digest[0]));
}

/* Who goes away is not waited for any more; its HELLO is answered with what holds then. */
static void test_dropped_when_the_last_that_had_not_is_gone(void **state)
{
	struct daemon_fixture *d = *state;
	struct trusted a;

	hostd_bring_up(d);
	ask_ca(d, "rotate", NULL);
	a = expect_trusted(d, A, 2);
	expect_trusted(d, B, 2);
	say_renewed(d, A, a.digest[0]);
	hostd_barrier(d);
	assert_int_equal(not_renewed(d), 1);
	fx_hang_up(&d->fx, B);
	expect_trusted_among_links(d, A, 1);
	assert_false(former_kept(d));
}

/* Another agent of that VM has said nothing yet. */
static void test_a_new_hello_has_not_renewed(void **state)
{
	struct daemon_fixture *d = *state;
	struct trusted a;

	hostd_bring_up(d);
	ask_ca(d, "rotate", NULL);
	a = expect_trusted(d, A, 2);
	say_renewed(d, A, a.digest[0]);
	hostd_barrier(d);
	assert_int_equal(not_renewed(d), 1);
	fx_hello(&d->fx, A);
	assert_int_equal(read_list(&d->fx.agent[A].msg).n, 2);
	assert_int_equal(not_renewed(d), 2);
}

static void test_dropped_at_once_on_demand(void **state)
{
	struct daemon_fixture *d = *state;

	hostd_bring_up(d);
	ask_ca(d, "rotate", NULL);
	ask_ca(d, "drop", NULL);
	for (unsigned int vm = A; vm <= B; vm++) {
		expect_trusted(d, vm, 2);
		expect_trusted(d, vm, 1);
	}
	assert_int_equal(count_audited(d, "\"event\":\"ca-drop\"", "by sivctl ca drop"), 1);
	assert_int_equal(hostd_count_channels(d), 1);
}

static struct trusted hello_again(struct daemon_fixture *d, unsigned int vm)
{
	hostd_connect_agent(d, vm);
	return read_list(&d->fx.agent[vm].msg);
}

/* Killed in the middle: both are trusted again, and it waits for all agents anew. */
static void test_a_rotation_survives_a_killed_hostd(void **state)
{
	struct daemon_fixture *d = *state;
	struct trusted before, a, b;

	hostd_bring_up(d);
	ask_ca(d, "rotate", NULL);
	before = expect_trusted(d, A, 2);
	say_renewed(d, A, before.digest[0]);
	hostd_barrier(d);
	hostd_kill(d, SIGKILL, 0);
	hostd_start(d);
	assert_int_equal(not_renewed(d), 0); /* nobody is here; that ends nothing */
	b = hello_again(d, B);
	assert_memory_equal(&b, &before, sizeof(b));
	a = hello_again(d, A);
	assert_memory_equal(&a, &before, sizeof(a));
	hostd_barrier(d);
	assert_int_equal(not_renewed(d), 2);
	say_renewed(d, A, a.digest[0]);
	hostd_barrier(d);
	assert_int_equal(not_renewed(d), 1);
	say_renewed(d, B, a.digest[0]);
	expect_trusted_among_links(d, A, 1);
	expect_trusted_among_links(d, B, 1);
	hostd_kill(d, SIGTERM, 0);
	hostd_start(d);
	b = hello_again(d, B);
	assert_int_equal(b.n, 1);
	assert_memory_equal(b.digest[0], a.digest[0], sizeof(b.digest[0]));
}

/* The former one is trusted for so many seconds more. */
static void write_end(const struct daemon_fixture *d, int seconds)
{
	char path[128], text[4096];
	FILE *file;
	size_t len;

	snprintf(path, sizeof(path), "%s/state/ca-former.crt", d->folder);
	file = fopen(path, "r+");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	rewind(file);
	fprintf(file, "trusted until %lld%s", (long long)time(NULL) + seconds, strchr(text, '\n'));
	fclose(file);
}

/* Nobody has to say anything: what the former one has issued ends by itself. */
static void test_dropped_when_all_it_issued_has_expired(void **state)
{
	struct daemon_fixture *d = *state;
	unsigned int n = 0;

	hostd_bring_up(d);
	/* On a slow machine it may be over before hostd has started again: then with more time. */
	for (int seconds = 2; n != 2; seconds *= 2) {
		if (not_renewed(d) < 0)
			ask_ca(d, "rotate", NULL);
		hostd_kill(d, SIGKILL, 0);
		write_end(d, seconds);
		hostd_start(d);
		n = hello_again(d, A).n;
	}
	expect_trusted_among_links(d, A, 1);
	assert_false(former_kept(d));
	assert_int_equal(count_audited(d, "\"event\":\"ca-drop\"", "has expired"), 1);
}

/* An authority of the operator's, in the fixture's folder. */
static void supply(const struct daemon_fixture *d)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
						"critical,CA:TRUE");
	X509 *cert = X509_new();
	char path[128];
	FILE *file;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -10);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)"operator's", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_set_pubkey(cert, key);
	X509_add_ext(cert, e, -1);
	assert_true(X509_sign(cert, key, EVP_sha256()));
	snprintf(path, sizeof(path), "%s/op.pem", d->folder);
	unlink(path);
	file = fopen(path, "w");
	fchmod(fileno(file), 0600);
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	PEM_write_X509(file, cert);
	fclose(file);
	X509_EXTENSION_free(e);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void write_config_with_ca(const struct daemon_fixture *d, const char *extra)
{
	FILE *file;

	hostd_write_config(d);
	file = fopen(d->config, "a");
	assert_non_null(file);
	fprintf(file, "ca { certificate = \"%s/op.pem\" key = \"%s/op.pem\" }\n%s", d->folder,
		d->folder, extra);
	fclose(file);
}

static void reload(struct daemon_fixture *d, const char *error)
{
	json_t *reply = hostd_call(d, json_pack("{s:s}", "command", "reload"));
	const char *said = json_string_value(json_object_get(reply, "error")) ?: "(nothing)";

	if (json_is_true(json_object_get(reply, "ok")) == !!error ||
	    (error && !strstr(said, error)))
		fail_msg("reload: %s", said);
	json_decref(reply);
}

/* Other files in host.conf: a reload rotates, or takes nothing; new files there: ca rotate. */
static void test_to_an_operators_authority(void **state)
{
	struct daemon_fixture *d = *state;
	struct trusted a;

	hostd_bring_up(d);
	write_config_with_ca(d, "");
	reload(d, "op.pem: not there");
	ask_ca(d, "drop", "there is no former authority");
	supply(d);
	write_config_with_ca(d, "link-timeout = \"3s\"\n");
	reload(d, "it holds after a restart");
	ask_ca(d, "drop", "there is no former authority");
	fx_expect_nothing(&d->fx, A);
	write_config_with_ca(d, "");
	reload(d, NULL);
	for (unsigned int vm = A; vm <= B; vm++) {
		a = expect_trusted(d, vm, 2);
		say_renewed(d, vm, a.digest[0]);
	}
	for (unsigned int vm = A; vm <= B; vm++)
		expect_trusted(d, vm, 1);
	assert_int_equal(count_audited(d, "\"event\":\"ca-rotate\"", "CN = operator's issues"), 1);
	reload(d, NULL); /* the same files */
	hostd_barrier(d);
	fx_expect_nothing(&d->fx, A);
	ask_ca(d, "rotate", "this is the authority that issues already");
	supply(d);
	ask_ca(d, "rotate", NULL);
	assert_memory_equal(expect_trusted(d, A, 2).digest[1], a.digest[0], sizeof(a.digest[0]));
	assert_int_equal(hostd_count_channels(d), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hostd_setup, hostd_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_dropped_when_every_agent_has_renewed),
		TEST(test_dropped_when_the_last_that_had_not_is_gone),
		TEST(test_a_new_hello_has_not_renewed),
		TEST(test_dropped_at_once_on_demand),
		TEST(test_a_rotation_survives_a_killed_hostd),
		TEST(test_dropped_when_all_it_issued_has_expired),
		TEST(test_to_an_operators_authority),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
