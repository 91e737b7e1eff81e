// SPDX-License-Identifier: BSD-2-Clause
/*
 * The process that has the authority's key: what it signs and what it does not, whoever asks, and
 * what becomes of hostd's side when it is gone.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/x509v3.h>

#include "agent/x509.h"
#include "child_called.h"
#include "hostd/signer.h"
#include "hostd/signer_side.h"
#include "remove_tree.h"

#define GOOD_ID "spiffe://car.example/vm/adas/service/cache"

struct world {
	char folder[64], config[96];
	struct signer_side side;
	struct signer_request request;
	struct signer_reply reply;
};

static void write_config(const struct world *w, const char *services, const char *more)
{
	FILE *file = fopen(w->config, "w");

	assert_non_null(file);
	fprintf(file, "trust-domain = \"car.example\"\nrun = \"%s\"\nstate = \"%s/state\"\n%s\n"
		"vm \"adas\" { services = {%s} }\nvm \"ivi\" { services = {\"radio\"} }\n",
		w->folder, w->folder, more, services);
	fclose(file);
}

static void open_side(struct world *w)
{
	struct ca_options options;
	char error[CA_ERROR_LEN];

	w->side.config = host_config_load(w->config, stderr);
	assert_non_null(w->side.config);
	signer_options(w->side.config, &options);
	if (ca_open(&options, &w->side.ca, error))
		fail_msg("%s", error);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->folder, "/tmp/siv-signer-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	snprintf(w->config, sizeof(w->config), "%s/host.conf", w->folder);
	write_config(w, "\"cache\"", "");
	open_side(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	ca_close(w->side.ca);
	host_config_free(w->side.config);
	remove_tree(w->folder);
	free(w);
	return 0;
}

/* Of a key that is made for it. Bytes. */
static size_t fill_csr(uint8_t *csr, size_t room)
{
	EVP_PKEY *key = x509_key_new();
	size_t len = x509_csr(key, csr, room);

	assert_true(len > 0);
	EVP_PKEY_free(key);
	return len;
}

/* The bytes of the packet. */
static size_t request(struct world *w, enum signer_op op, const char *id)
{
	memset(&w->request, 0, sizeof(w->request));
	w->request.op = op;
	strcpy(w->request.spiffe_id, id);
	if (op == SIGNER_ISSUE)
		w->request.csr_len = (uint32_t)fill_csr(w->request.csr, sizeof(w->request.csr));
	return SIGNER_REQUEST_MIN + w->request.csr_len;
}

static enum sivp_reason ask(struct world *w, enum signer_op op, const char *id)
{
	assert_true(signer_answer(&w->side, &w->request, request(w, op, id), &w->reply));
	return w->reply.reason;
}

static void test_what_the_policy_lists_is_signed(void **state)
{
	struct world *w = *state;
	const unsigned char *p = w->reply.chain;
	int64_t before = time(NULL);
	GENERAL_NAMES *names;
	X509 *cert;

	assert_int_equal(ask(w, SIGNER_ISSUE, GOOD_ID), SIVP_R_NONE);
	cert = d2i_X509(NULL, &p, w->reply.chain_len);
	assert_non_null(cert);
	names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	assert_int_equal(sk_GENERAL_NAME_num(names), 1);
	assert_string_equal(ASN1_STRING_get0_data(
				    sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier),
			    GOOD_ID);
	GENERAL_NAMES_free(names);
	X509_free(cert);
	/* by its own clock: the request has none */
	assert_true(w->reply.not_after >= before + CA_LEAF_LIFETIME_S &&
		    w->reply.not_after <= time(NULL) + CA_LEAF_LIFETIME_S);
}

static void test_what_it_does_not_list_is_not(void **state)
{
	static const char *const ids[] = {
		"spiffe://car.example/vm/adas/service/radio", /* another VM's service */
		"spiffe://car.example/vm/adas/service/cach",
		"spiffe://car.example/vm/adas/service/cache2",
		"spiffe://car.example/vm/adas/service/",
		"spiffe://car.example/vm/none/service/cache",
		"spiffe://van.example/vm/adas/service/cache",
		"SPIFFE://car.example/vm/adas/service/cache",
		"spiffe://car.example/vm/adas/service/cache,URI:spiffe://x/y",
		"",
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		assert_int_equal(ask(w, SIGNER_ISSUE, ids[i]), SIVP_R_NOT_HELD);
		assert_int_equal(w->reply.chain_len, 0);
		assert_non_null(strstr(w->reply.error, w->config));
	}
}

static void test_its_own_copy_of_the_policy_decides(void **state)
{
	struct world *w = *state;

	write_config(w, "\"maps\"", "certificate-lifetime = \"100s\"");
	/* nobody has told it to read it */
	assert_int_equal(ask(w, SIGNER_ISSUE, GOOD_ID), SIVP_R_NONE);
	assert_int_equal(ask(w, SIGNER_RELOAD, ""), SIVP_R_NONE);
	assert_int_equal(ask(w, SIGNER_ISSUE, GOOD_ID), SIVP_R_NOT_HELD);
	assert_int_equal(ask(w, SIGNER_ISSUE, "spiffe://car.example/vm/adas/service/maps"),
			 SIVP_R_NONE);
	assert_true(w->reply.not_after <= time(NULL) + 100);
}

static void test_a_bad_file_changes_nothing(void **state)
{
	struct world *w = *state;

	write_config(w, "\"maps\"", "certificate-lifetime = \"a while\"");
	assert_int_not_equal(ask(w, SIGNER_RELOAD, ""), SIVP_R_NONE);
	assert_non_null(strstr(w->reply.error, "host.conf:4"));
	assert_int_equal(ask(w, SIGNER_ISSUE, GOOD_ID), SIVP_R_NONE);
	/* an authority that is not there, in a file that is good otherwise */
	write_config(w, "\"maps\"", "ca { certificate = \"/nowhere/c\" key = \"/nowhere/k\" }");
	assert_int_not_equal(ask(w, SIGNER_RELOAD, ""), SIVP_R_NONE);
	assert_non_null(strstr(w->reply.error, "/nowhere/k"));
	assert_int_equal(ask(w, SIGNER_ISSUE, GOOD_ID), SIVP_R_NONE);
}

static void test_every_answer_says_what_is_trusted(void **state)
{
	struct world *w = *state;
	uint8_t digest[SIV_DIGEST_LEN];

	assert_int_equal(ask(w, SIGNER_ISSUE, ""), SIVP_R_NOT_HELD);
	assert_false(w->reply.view.has_former);
	memcpy(digest, w->reply.view.now.digest, sizeof(digest));
	assert_int_not_equal(ask(w, SIGNER_DROP, ""), SIVP_R_NONE);
	assert_int_equal(ask(w, SIGNER_ROTATE, ""), SIVP_R_NONE);
	assert_true(w->reply.view.has_former);
	assert_memory_equal(w->reply.view.former.digest, digest, sizeof(digest));
	assert_memory_not_equal(w->reply.view.now.digest, digest, sizeof(digest));
	assert_int_not_equal(ask(w, SIGNER_ROTATE, ""), SIVP_R_NONE);
	assert_non_null(strstr(w->reply.error, "has not ended"));
	assert_int_equal(ask(w, SIGNER_DROP, ""), SIVP_R_NONE);
	assert_false(w->reply.view.has_former);
	assert_true(w->reply.view.trusted_len > 0);
}

static void test_what_is_no_request_is_not_answered(void **state)
{
	struct world *w = *state;
	size_t len = request(w, SIGNER_ISSUE, GOOD_ID);
	struct signer_request good = w->request;

	assert_false(signer_answer(&w->side, &w->request, len - 1, &w->reply));
	assert_false(signer_answer(&w->side, &w->request, len + 1, &w->reply));
	assert_false(signer_answer(&w->side, &w->request, 0, &w->reply));
	assert_false(signer_answer(&w->side, &w->request, SIGNER_REQUEST_MIN - 1, &w->reply));
	w->request.csr_len = UINT32_MAX;
	assert_false(signer_answer(&w->side, &w->request, len, &w->reply));
	w->request = good;
	w->request.csr_len = sizeof(w->request.csr) + 1;
	assert_false(signer_answer(&w->side, &w->request,
				   SIGNER_REQUEST_MIN + w->request.csr_len, &w->reply));
	w->request = good;
	w->request.op = 0;
	assert_false(signer_answer(&w->side, &w->request, len, &w->reply));
	w->request.op = SIGNER_DROP + 1;
	assert_false(signer_answer(&w->side, &w->request, len, &w->reply));
	w->request = good;
	memset(w->request.spiffe_id, 'x', sizeof(w->request.spiffe_id));
	assert_false(signer_answer(&w->side, &w->request, len, &w->reply));
	w->request = good;
	w->request.csr[len - SIGNER_REQUEST_MIN - 1] ^= 1; /* its signature */
	assert_true(signer_answer(&w->side, &w->request, len, &w->reply));
	assert_int_equal(w->reply.reason, SIVP_R_CERTIFICATE);
}

/* As a process */

static struct signer *open_signer(struct world *w)
{
	char error[CA_ERROR_LEN];
	struct signer *signer = signer_open(w->config, CONFINE_OFF, error);

	if (!signer)
		fail_msg("%s", error);
	return signer;
}

static enum sivp_reason issue(struct signer *signer, const char *id, size_t room)
{
	uint8_t csr[SIVP_CSR_MAX], chain[SIVP_CERTS_MAX];
	char error[CA_ERROR_LEN] = "";
	enum sivp_reason reason;
	int64_t not_after = 0;
	size_t len = room;

	reason = ca_issue(signer_ca(signer), csr, fill_csr(csr, sizeof(csr)), id, 0, chain, &len,
			  &not_after, error);
	if (reason == SIVP_R_NONE)
		assert_true(len > 0 && len <= room && not_after > time(NULL));
	else
		assert_true(error[0]);
	return reason;
}

static void test_the_broker_does_not_notice(void **state)
{
	struct world *w = *state;
	struct signer *signer = open_signer(w);
	struct ca *ca = signer_ca(signer);
	char error[CA_ERROR_LEN];
	const uint8_t *trusted;
	struct ca_info info;
	size_t len;

	assert_int_equal(issue(signer, GOOD_ID, SIVP_CERTS_MAX), SIVP_R_NONE);
	assert_int_equal(issue(signer, GOOD_ID, 16), SIVP_R_LIMIT);
	assert_int_equal(issue(signer, "spiffe://car.example/vm/ivi/service/cache",
			       SIVP_CERTS_MAX), SIVP_R_NOT_HELD);
	/* the same authority as in this process, of the same folder */
	assert_memory_equal(ca_digest(ca), ca_digest(w->side.ca), SIV_DIGEST_LEN);
	trusted = ca_trusted(ca, &len);
	assert_int_equal(len, ca_view(w->side.ca)->trusted_len);
	assert_memory_equal(trusted, ca_view(w->side.ca)->trusted, len);
	ca_describe(ca, &info);
	assert_non_null(strstr(info.name, "sivshmem CA"));
	assert_int_equal(signer_rotate(signer, error), 0);
	assert_true(ca_describe_former(ca, &info));
	assert_memory_equal(info.digest, ca_digest(w->side.ca), SIV_DIGEST_LEN);
	assert_int_equal(signer_rotate(signer, error), -1);
	assert_int_equal(signer_drop(signer, error), 0);
	assert_false(ca_has_former(ca));
	signer_close(signer);
}

static void test_no_authority_no_signer(void **state)
{
	struct world *w = *state;
	char error[CA_ERROR_LEN] = "";

	write_config(w, "\"cache\"", "ca { certificate = \"/nowhere/c\" key = \"/nowhere/k\" }");
	assert_null(signer_open(w->config, CONFINE_OFF, error));
	assert_non_null(strstr(error, "/nowhere/k"));
	assert_int_equal(unlink(w->config), 0);
	assert_null(signer_open(w->config, CONFINE_OFF, error));
	assert_non_null(strstr(error, w->config));
}

struct ended {
	struct loop *loop;
	unsigned int n;
};

static void note_end(void *arg)
{
	struct ended *e = arg;

	e->n++;
	loop_stop(e->loop);
}

static void test_a_signer_that_is_gone_is_noticed(void **state)
{
	struct world *w = *state;
	struct signer *signer = open_signer(w);
	struct loop *loop = loop_new();
	pid_t pid = child_called(getpid(), "siv-signer");
	struct ended e = { .loop = loop };

	assert_non_null(loop);
	assert_true(pid > 0);
	assert_int_equal(signer_watch(signer, loop, note_end, &e), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(e.n, 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* refused, and no signal */
	assert_int_equal(issue(signer, GOOD_ID, SIVP_CERTS_MAX), SIVP_R_LIMIT);
	signer_close(signer);
	loop_free(loop);
}

static void test_it_ends_with_hostd(void **state)
{
	struct world *w = *state;
	struct signer *signer = open_signer(w);
	pid_t pid = child_called(getpid(), "siv-signer");
	int status;

	assert_true(pid > 0);
	signer_close(signer);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_the_policy_lists_is_signed),
		TEST(test_what_it_does_not_list_is_not),
		TEST(test_its_own_copy_of_the_policy_decides),
		TEST(test_a_bad_file_changes_nothing),
		TEST(test_every_answer_says_what_is_trusted),
		TEST(test_what_is_no_request_is_not_answered),
		TEST(test_the_broker_does_not_notice),
		TEST(test_no_authority_no_signer),
		TEST(test_a_signer_that_is_gone_is_noticed),
		TEST(test_it_ends_with_hostd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
