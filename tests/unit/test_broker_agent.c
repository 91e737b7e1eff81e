// SPDX-License-Identifier: BSD-2-Clause
/* What an agent may ask of a broker: its caps, what breaks the protocol, HELLO, certificates. */
#include "broker_fixture.h"

#include <errno.h>
#include <sys/socket.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#define ID_SRV "spiffe://test.example/vm/b/service/srv"

/* Caps */

static void test_sessions_of_a_pair_are_capped(void **state)
{
	struct fixture *fx = *state;

	fx->limits.sessions_per_pair = 3;
	fx_restart_broker(fx);
	fx_links_ready(fx);
	fx_up_all(fx);
	for (uint64_t id = 1; id <= 3; id++)
		fx_open_to(fx, id, B, "srv");
	fx_open(fx, A, 4, "cli", "b", "srv");
	fx_expect_reject(fx, A, 4, SIVP_R_LIMIT);
	fx_open_to(fx, 5, C, "srv2"); /* another pair */
}

static void test_sessions_of_a_vm_are_capped(void **state)
{
	struct fixture *fx = *state;

	fx->limits.sessions_per_vm = 3;
	fx_restart_broker(fx);
	fx_links_ready(fx);
	fx_up_all(fx);
	fx_open_to(fx, 1, B, "srv");
	fx_open_to(fx, 2, B, "srv");
	fx_open(fx, A, 3, "cli", "a", "loc"); /* takes two */
	fx_expect_reject(fx, A, 3, SIVP_R_LIMIT);
	fx_open_to(fx, 4, C, "srv2");
	fx_open(fx, A, 5, "cli", "c", "srv2");
	fx_expect_reject(fx, A, 5, SIVP_R_LIMIT);
}

static void test_bytes_of_a_session_are_capped(void **state)
{
	static const uint8_t records[SIVP_TLS_MAX];
	struct fixture *fx = *state;
	uint64_t incoming;
	unsigned int n = BROKER_SESSION_BYTES / SIVP_TLS_MAX;

	fx_up(fx);
	incoming = fx_open_to(fx, 1, B, "srv");
	for (unsigned int i = 0; i < n; i++) {
		sivp_put_blob(fx_message(fx, SIVP_TLS, 1), SIVP_A_TLS, records, sizeof(records));
		fx_send(fx, A);
		fx_expect(fx, B, SIVP_TLS);
	}
	sivp_put_blob(fx_message(fx, SIVP_TLS, incoming), SIVP_A_TLS, records, 1);
	fx_send(fx, B);
	fx_expect_reject(fx, A, 1, SIVP_R_LIMIT);
	fx_expect_reject(fx, B, incoming, SIVP_R_LIMIT);
}

static void test_records_of_a_session_are_capped(void **state)
{
	struct fixture *fx = *state;
	uint64_t incoming;

	fx_up(fx);
	incoming = fx_open_to(fx, 1, B, "srv");
	for (unsigned int i = 0; i < BROKER_SESSION_RECORDS; i++) {
		sivp_put_blob(fx_message(fx, SIVP_TLS, 1), SIVP_A_TLS, "t", 1);
		fx_send(fx, A);
		fx_expect(fx, B, SIVP_TLS);
	}
	sivp_put_blob(fx_message(fx, SIVP_TLS, 1), SIVP_A_TLS, "t", 1);
	fx_send(fx, A);
	fx_expect_reject(fx, A, 1, SIVP_R_LIMIT);
	fx_expect_reject(fx, B, incoming, SIVP_R_LIMIT);
}

/*
 * B stops reading, and A's processes connect to it and give up, until B's queue is full. B's sessions
 * go, and it can have others once it reads again; C's are not even delayed.
 */
static void test_full_queue_drops_that_vms_sessions_alone(void **state)
{
	struct fixture *fx = *state;
	struct sivp_builder *b;
	uint64_t incoming_c, id;

	fx->limits.queue_bytes = 64 << 10;
	fx->limits.opens_per_second = 100000;
	fx_restart_broker(fx);
	fx_links_ready(fx);
	fx_up_all(fx);
	fx_open_to(fx, 1, B, "srv");
	incoming_c = fx_open_to(fx, 2, C, "srv2");
	for (id = 10; broker_count_sessions(fx->broker) == 2; id++) {
		assert_true(id < 5000);
		fx_open(fx, A, id, "cli", "b", "srv");
		b = fx_message(fx, SIVP_REJECT, id);
		sivp_put_u32(b, SIVP_A_REASON, SIVP_R_CANCELLED);
		sivp_put_u32(b, SIVP_A_ERRNO, ECONNABORTED);
		fx_send(fx, A);
	}
	fx_expect_reject(fx, A, 1, SIVP_R_LIMIT);
	fx_expect_reject(fx, A, id - 1, SIVP_R_LIMIT);
	assert_true(broker_vm_has_stream(fx->broker, B));
	sivp_put_blob(fx_message(fx, SIVP_TLS, 2), SIVP_A_TLS, "t", 1);
	fx_send(fx, A);
	assert_int_equal(fx_expect(fx, C, SIVP_TLS)->session, incoming_c);
}

/* Violations */

struct violation {
	const char *name;
	void (*commit)(struct fixture *fx, uint64_t incoming);
	unsigned int vm;
};

static void say_garbage(struct fixture *fx, uint64_t incoming)
{
	static const uint8_t garbage[64] = { 16, 0, 0, 0, 200, 0 };

	(void)incoming;
	fx_send_bytes(fx, A, garbage, sizeof(garbage));
}

static void say_unknown_session(struct fixture *fx, uint64_t incoming)
{
	sivp_put_blob(fx_message(fx, SIVP_TLS, incoming + 1), SIVP_A_TLS, "t", 1);
	fx_send(fx, B);
}

static void say_first_incoming_session(struct fixture *fx, uint64_t incoming)
{
	(void)incoming;
	fx_message(fx, SIVP_ACCEPTING, SIVP_SESSION_INCOMING);
	fx_send(fx, B);
}

static void say_open_twice(struct fixture *fx, uint64_t incoming)
{
	(void)incoming;
	fx_open(fx, A, 1, "cli", "b", "srv");
}

static void say_accepting_twice(struct fixture *fx, uint64_t incoming)
{
	fx_message(fx, SIVP_ACCEPTING, incoming);
	fx_send(fx, B);
}

static void say_ready_twice(struct fixture *fx, uint64_t incoming)
{
	(void)incoming;
	fx_ready(fx, A, 1, ID_SRV, 'c', 's', 'x');
	fx_ready(fx, A, 1, ID_SRV, 'c', 's', 'x');
}

static void say_attached_ungranted(struct fixture *fx, uint64_t incoming)
{
	fx_attached(fx, B, incoming, 0);
}

static void say_reject_none(struct fixture *fx, uint64_t incoming)
{
	struct sivp_builder *b = fx_message(fx, SIVP_REJECT, incoming);

	sivp_put_u32(b, SIVP_A_REASON, SIVP_R_NONE);
	sivp_put_u32(b, SIVP_A_ERRNO, 0);
	fx_send(fx, B);
}

static void say_reported_twice(struct fixture *fx, uint64_t incoming)
{
	(void)incoming;
	fx_reported(fx, A);
}

static void say_hello_without_magic(struct fixture *fx, uint64_t incoming)
{
	struct sivp_builder *b = fx_message(fx, SIVP_HELLO, 0);
	uint8_t zeros[16] = { 0 };

	(void)incoming;
	sivp_put_u32(b, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(b, SIVP_A_ABI, SIV_ABI_VERSION);
	sivp_put_blob(b, SIVP_A_BOOT_ID, zeros, 16);
	sivp_put_u64(b, SIVP_A_MODULE_NONCE, 1);
	sivp_put_blob(b, SIVP_A_NONCE, zeros, 16);
	sivp_put_blob(b, SIVP_A_LINKS, zeros, 4);
	fx_send(fx, A);
}

static void say_magic_without_hello(struct fixture *fx, uint64_t incoming)
{
	(void)incoming;
	fx_send_bytes(fx, A, SIVP_MAGIC, SIVP_MAGIC_LEN);
	fx_reported(fx, A);
}

static void say_position_twice(struct fixture *fx, uint64_t incoming)
{
	(void)incoming;
	fx->agent[A].positions[2] = 10;
	fx_send_hello(fx, A);
}

static void say_audit_of_nothing(struct fixture *fx, uint64_t incoming)
{
	(void)incoming;
	sivp_put_u32(fx_message(fx, SIVP_AUDIT, 0), SIVP_A_REASON, SIVP_R_NONE);
	fx_send(fx, A);
}

static const struct violation violations[] = {
	{ "garbage", say_garbage, A },
	{ "a session that was never given", say_unknown_session, B },
	{ "session 0 of those we give", say_first_incoming_session, B },
	{ "open of an open session", say_open_twice, A },
	{ "accepting twice", say_accepting_twice, B },
	{ "ready twice", say_ready_twice, A },
	{ "attached without a grant", say_attached_ungranted, B },
	{ "reject without a reason", say_reject_none, B },
	{ "reported twice", say_reported_twice, A },
	{ "hello without magic", say_hello_without_magic, A },
	{ "magic without hello", say_magic_without_hello, A },
	{ "an IVPosition twice", say_position_twice, A },
	{ "audit of nothing", say_audit_of_nothing, A },
};

static void test_violation_costs_the_stream_and_nothing_else(void **state)
{
	for (unsigned int i = 0; i < sizeof(violations) / sizeof(violations[0]); i++) {
		const struct violation *v = &violations[i];
		struct fixture *fx = *state;
		uint64_t incoming;

		print_message("%s\n", v->name);
		fx_up_all(fx);
		fx_connected(fx, 99, B, "srv");
		incoming = fx_open_to(fx, 1, B, "srv");
		fx_open_to(fx, 2, C, "srv2");
		v->commit(fx, incoming);
		fx_expect_hang_up(fx, v->vm);
		/* The one on the other side of its session is told; a bystander notices nothing. */
		if (v->vm == A)
			fx_expect_reject(fx, B, incoming, SIVP_R_VM_DOWN);
		else
			fx_expect_reject(fx, A, 1, SIVP_R_VM_DOWN);
		assert_int_equal(broker_count_sessions(fx->broker), v->vm == A ? 0 : 1);
		assert_int_equal(broker_count_channels(fx->broker), 1);
		assert_true(fx->n_ended > 0);
		fx_teardown(state);
		fx_setup(state);
	}
}

/* HELLO */

static void test_what_comes_before_the_magic_is_dropped(void **state)
{
	struct fixture *fx = *state;
	static uint8_t junk[100000];

	memset(junk, 0x5a, sizeof(junk));
	memcpy(junk + 5000, SIVP_MAGIC, SIVP_MAGIC_LEN - 1);
	fx_connect(fx, B);
	fx_send_bytes(fx, B, junk, sizeof(junk));
	fx_expect_nothing(fx, B);
	fx_hello(fx, B);
}

static void test_other_versions_are_refused_in_plain_words(void **state)
{
	struct fixture *fx = *state;
	uint8_t zeros[16] = { 0 };
	struct sivp_builder *b;
	const struct sivp_msg *msg;

	fx_connect(fx, A);
	fx_send_bytes(fx, A, SIVP_MAGIC, SIVP_MAGIC_LEN);
	b = fx_message(fx, SIVP_HELLO, 0);
	sivp_put_u32(b, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(b, SIVP_A_ABI, SIV_ABI_VERSION + 1);
	sivp_put_blob(b, SIVP_A_BOOT_ID, zeros, 16);
	sivp_put_u64(b, SIVP_A_MODULE_NONCE, 1);
	sivp_put_blob(b, SIVP_A_NONCE, zeros, 16);
	sivp_put_blob(b, SIVP_A_LINKS, zeros, 4);
	fx_send(fx, A);
	msg = fx_expect(fx, A, SIVP_REFUSED);
	assert_non_null(strstr(sivp_str(msg, SIVP_A_TEXT), "install one version"));
	/* After an upgrade, on the same port. */
	fx_hello(fx, A);
}

/* It may go on with a conversation that is over: it is asked once, and not while it says hello. */
static void test_who_says_no_hello_is_asked_for_one(void **state)
{
	static const uint8_t zeros[SIVP_NONCE_LEN];
	struct fixture *fx = *state;
	const struct sivp_msg *msg;

	fx_connect(fx, A);
	fx_reported(fx, A); /* to the broker before this one */
	loop_advance(fx->loop, 999 * LOOP_NS_PER_MS);
	fx_expect_nothing(fx, A);
	loop_advance(fx->loop, LOOP_NS_PER_MS);
	fx_run(fx);
	msg = fx_expect(fx, A, SIVP_REFUSED);
	assert_memory_equal(msg->attr[SIVP_A_NONCE].data, zeros, sizeof(zeros));
	loop_advance(fx->loop, 100000 * LOOP_NS_PER_MS);
	fx_expect_nothing(fx, A);
	fx_hello(fx, A);
	fx_connect(fx, B);
	fx_hello(fx, B);
	fx_expect_link_up(fx, B, SIVP_LOCAL);
	loop_advance(fx->loop, 100000 * LOOP_NS_PER_MS);
	fx_expect_nothing(fx, B);
	/* and who goes before is not asked any more */
	fx_connect(fx, C);
	fx_hang_up(fx, C);
	loop_advance(fx->loop, 100000 * LOOP_NS_PER_MS);
	fx_run(fx);
}

/* Certificates */

static size_t make_csr(uint8_t *out)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *request = X509_REQ_new();
	int len;

	assert_non_null(key);
	assert_true(X509_REQ_set_pubkey(request, key));
	assert_true(X509_REQ_sign(request, key, EVP_sha256()) > 0);
	len = i2d_X509_REQ(request, &out);
	X509_REQ_free(request);
	EVP_PKEY_free(key);
	return (size_t)len;
}

static void test_certificates_for_held_services_alone(void **state)
{
	struct fixture *fx = *state;
	const struct sivp_msg *msg;
	struct sivp_builder *b;
	uint8_t csr[1024];
	size_t len = make_csr(csr);

	fx_up(fx);
	b = fx_message(fx, SIVP_CSR, 7);
	sivp_put_str(b, SIVP_A_SERVICE, "cli");
	sivp_put_blob(b, SIVP_A_CSR, csr, len);
	fx_send(fx, A);
	msg = fx_expect(fx, A, SIVP_CERT);
	assert_int_equal(msg->session, 7);
	assert_int_equal(sivp_u64(msg, SIVP_A_NOT_AFTER), FX_NOW + CA_LEAF_LIFETIME_S);
	b = fx_message(fx, SIVP_CSR, 8);
	sivp_put_str(b, SIVP_A_SERVICE, "srv"); /* B's */
	sivp_put_blob(b, SIVP_A_CSR, csr, len);
	fx_send(fx, A);
	fx_expect_reject(fx, A, 8, SIVP_R_NOT_HELD);
	csr[len - 1] ^= 1;
	b = fx_message(fx, SIVP_CSR, 9);
	sivp_put_str(b, SIVP_A_SERVICE, "cli");
	sivp_put_blob(b, SIVP_A_CSR, csr, len);
	fx_send(fx, A);
	fx_expect_reject(fx, A, 9, SIVP_R_CERTIFICATE);
}

static void test_no_certificate_for_what_is_revoked(void **state)
{
	static const char *const entries[] = { "cli", "" };
	struct revocations revoked = { 0 };
	struct fixture *fx = *state;
	struct sivp_builder *b;
	uint8_t csr[1024];
	size_t len = make_csr(csr);

	fx_up(fx);
	fx->policy->revoked = &revoked;
	for (uint64_t i = 0; i < 2; i++) {
		assert_int_equal(revocations_add(&revoked, "a", entries[i], FX_NOW), 0);
		b = fx_message(fx, SIVP_CSR, 10 + i);
		sivp_put_str(b, SIVP_A_SERVICE, "cli");
		sivp_put_blob(b, SIVP_A_CSR, csr, len);
		fx_send(fx, A);
		fx_expect_reject(fx, A, 10 + i, SIVP_R_REVOKED);
		assert_int_equal(revocations_remove(&revoked, "a", entries[i]), 0);
	}
	b = fx_message(fx, SIVP_CSR, 12);
	sivp_put_str(b, SIVP_A_SERVICE, "cli");
	sivp_put_blob(b, SIVP_A_CSR, csr, len);
	fx_send(fx, A);
	fx_expect(fx, A, SIVP_CERT);
	revocations_free(&revoked);
}

static void test_guests_refusals_are_counted(void **state)
{
	struct fixture *fx = *state;
	struct sivp_builder *b;

	fx_up(fx);
	b = fx_message(fx, SIVP_AUDIT, 0);
	sivp_put_u32(b, SIVP_A_REASON, SIVP_R_NO_SERVICE);
	sivp_put_u32(b, SIVP_A_UID, 1000);
	sivp_put_str(b, SIVP_A_VM, "b");
	fx_send(fx, A);
	assert_int_equal(audit_count(fx->audit, SIVP_R_NO_SERVICE), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sessions_of_a_pair_are_capped),
		TEST(test_sessions_of_a_vm_are_capped),
		TEST(test_bytes_of_a_session_are_capped),
		TEST(test_records_of_a_session_are_capped),
		TEST(test_full_queue_drops_that_vms_sessions_alone),
		TEST(test_violation_costs_the_stream_and_nothing_else),
		TEST(test_what_comes_before_the_magic_is_dropped),
		TEST(test_other_versions_are_refused_in_plain_words),
		TEST(test_who_says_no_hello_is_asked_for_one),
		TEST(test_certificates_for_held_services_alone),
		TEST(test_no_certificate_for_what_is_revoked),
		TEST(test_guests_refusals_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
