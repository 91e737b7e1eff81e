// SPDX-License-Identifier: BSD-2-Clause
/*
 * One agent and a host that is played by hand, message by message: how a conversation starts, what a
 * host may do wrong, and what an agent owes it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "agent/x509.h"
#include "cert_maker.h"
#include "common/log.h"
#include "fake_kernel.h"

#define CLOCK 1900000000ll /* the host's */

static struct {
	struct loop *loop;
	struct agent agent;
	struct fake_kernel kernel;
	struct agent_service service;
	struct agent_config config;
	int fd;                  /* the host's end */
	uint8_t in[65536];       /* what the agent has said */
	size_t len, at;
	uint8_t ca[SIVP_CERTS_MAX];
	size_t ca_len;
	uint8_t nonce[SIVP_NONCE_LEN]; /* of the last HELLO that was read */
} w;

static void pump(void)
{
	for (int i = 0; i < 6; i++) {
		ssize_t n;

		loop_advance(w.loop, 0);
		loop_run_once(w.loop, 0);
		while (fake_kernel_run(&w.kernel))
			;
		n = read(w.fd, w.in + w.len, sizeof(w.in) - w.len);
		if (n > 0)
			w.len += n;
	}
}

static int setup(void **state)
{
	struct cert_spec spec = ca_spec(CLOCK);
	EVP_PKEY *key = x509_key_new();
	X509 *ca = make_cert(&spec, key, NULL, NULL);
	uint8_t *p = w.ca;
	int pair[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	w.ca_len = i2d_X509(ca, &p);
	X509_free(ca);
	EVP_PKEY_free(key);
	w.loop = loop_new_manual();
	loop_advance(w.loop, LOOP_NS_PER_MS);
	w.service = (struct agent_service){ .name = "dashboard", .has_uid = true, .uid = 1001 };
	w.config.services = &w.service;
	w.config.nr_services = 1;
	fake_kernel_init(&w.kernel);
	fake_link_add(&w.kernel, SIV_LINK_PCI, 6, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	w.fd = pair[0];
	assert_int_equal(agent_start(&w.agent, w.loop, &w.config, &w.kernel.kernel, pair[1], false), 0);
	pump();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	agent_stop(&w.agent);
	loop_free(w.loop);
	close(w.fd);
	return 0;
}

/* The next message of that type; those before it are skipped. False: there is none. */
static bool next(enum sivp_type type, struct sivp_msg *m)
{
	size_t used;

	while (w.at < w.len) {
		if (w.len - w.at >= SIVP_MAGIC_LEN &&
		    !memcmp(w.in + w.at, SIVP_MAGIC, SIVP_MAGIC_LEN)) {
			w.at += SIVP_MAGIC_LEN;
			continue;
		}
		assert_int_equal(sivp_parse(SIVP_GUEST, w.in + w.at, w.len - w.at, m, &used), SIVP_OK);
		w.at += used;
		if (m->type == type)
			return true;
	}
	return false;
}

static bool read_hello(void)
{
	struct sivp_msg m;

	if (!next(SIVP_HELLO, &m))
		return false;
	memcpy(w.nonce, m.attr[SIVP_A_NONCE].data, sizeof(w.nonce));
	return true;
}

static void say(const void *data, size_t len)
{
	assert_int_equal(write(w.fd, data, len), len);
}

static void say_message(struct sivp_builder *b)
{
	size_t len = sivp_end(b);

	assert_int_not_equal(len, 0);
	say(b->buf, len);
}

static void say_welcome(const uint8_t nonce[SIVP_NONCE_LEN])
{
	static struct sivp_builder b;

	say(SIVP_MAGIC, SIVP_MAGIC_LEN);
	sivp_begin(&b, SIVP_HOST, SIVP_WELCOME, 0);
	sivp_put_u32(&b, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_blob(&b, SIVP_A_NONCE, nonce, SIVP_NONCE_LEN);
	sivp_put_blob(&b, SIVP_A_HOST_NONCE, nonce, SIVP_NONCE_LEN);
	sivp_put_u64(&b, SIVP_A_TIME, CLOCK);
	sivp_put_str(&b, SIVP_A_VM, "cockpit");
	sivp_put_str(&b, SIVP_A_DOMAIN, "car.example");
	sivp_put_blob(&b, SIVP_A_CA, w.ca, w.ca_len);
	say_message(&b);
	pump();
}

static void say_refused(const uint8_t nonce[SIVP_NONCE_LEN])
{
	static struct sivp_builder b;

	say(SIVP_MAGIC, SIVP_MAGIC_LEN);
	sivp_begin(&b, SIVP_HOST, SIVP_REFUSED, 0);
	sivp_put_blob(&b, SIVP_A_NONCE, nonce, SIVP_NONCE_LEN);
	sivp_put_str(&b, SIVP_A_TEXT, "no");
	say_message(&b);
	pump();
}

static void welcome(void)
{
	assert_true(read_hello());
	say_welcome(w.nonce);
	assert_true(host_up(&w.agent.host));
	assert_true(w.kernel.registered);
}

static void test_hello_says_what_the_kernel_has(void **state)
{
	struct sivp_msg m;

	(void)state;
	assert_memory_equal(w.in, SIVP_MAGIC, SIVP_MAGIC_LEN);
	assert_true(next(SIVP_HELLO, &m));
	assert_int_equal(sivp_u32(&m, SIVP_A_ABI), SIV_ABI_VERSION);
	assert_int_equal(sivp_u64(&m, SIVP_A_MODULE_NONCE), w.kernel.nonce);
	assert_memory_equal(m.attr[SIVP_A_LINKS].data, "\6\0\0\0", 4);
	assert_int_equal(m.attr[SIVP_A_LINKS].len, 4);
	/* Nothing happens before the answer: the VM's name is not known. */
	assert_false(w.kernel.registered);
}

static void test_what_older_conversations_left_is_dropped(void **state)
{
	static const uint8_t other[SIVP_NONCE_LEN] = "another's nonce";

	(void)state;
	assert_true(read_hello());
	say("some bytes \xff\xff\xff", 14);
	pump();
	assert_false(host_up(&w.agent.host));
	say_welcome(other);
	assert_false(host_up(&w.agent.host));
	say_refused(other);
	assert_false(host_up(&w.agent.host));
	/* one that was torn in the middle */
	say(SIVP_MAGIC "\x00\x10\x00\x00\x02\x00", SIVP_MAGIC_LEN + 6);
	pump();
	say_welcome(w.nonce);
	assert_true(host_up(&w.agent.host));
	assert_string_equal(w.kernel.vm, "cockpit");
}

static void test_a_broker_that_missed_the_hello_gets_another(void **state)
{
	static const uint8_t zeros[SIVP_NONCE_LEN];
	uint8_t first[SIVP_NONCE_LEN];

	(void)state;
	assert_true(read_hello());
	memcpy(first, w.nonce, sizeof(first));
	say_refused(zeros);
	assert_true(read_hello());
	assert_memory_not_equal(first, w.nonce, sizeof(first));
	say_welcome(first);
	assert_false(host_up(&w.agent.host));
	say_welcome(w.nonce);
	assert_true(host_up(&w.agent.host));
}

static void test_a_refusal_is_not_asked_again(void **state)
{
	(void)state;
	assert_true(read_hello());
	say_refused(w.nonce);
	loop_advance(w.loop, 60000 * LOOP_NS_PER_MS);
	pump();
	assert_false(read_hello());
	assert_false(host_up(&w.agent.host));
}

static void test_a_violation_starts_anew_after_a_pause(void **state)
{
	struct fake_process *p;

	(void)state;
	welcome();
	p = fake_connect(&w.kernel, 1001, "adas", "cache", "");
	pump();
	assert_true(p->waiting); /* for its certificate */
	say("\x04\0\0\0this is no frame", 20);
	pump();
	assert_false(host_up(&w.agent.host));
	assert_int_equal(p->error, ENETDOWN);
	assert_false(read_hello());
	loop_advance(w.loop, HOST_PAUSE_MS * LOOP_NS_PER_MS);
	pump();
	welcome();
}

/* Whose coming was missed, as by a process that was stopped meanwhile. */
static void test_another_broker_asks_for_a_hello(void **state)
{
	static const uint8_t zeros[SIVP_NONCE_LEN];
	struct fake_process *p;

	(void)state;
	welcome();
	p = fake_connect(&w.kernel, 1001, "adas", "cache", "");
	pump();
	assert_true(p->waiting);
	say_refused(zeros);
	assert_int_equal(p->error, ENETDOWN);
	welcome();
}

static void test_what_is_granted_to_nobody_is_given_back(void **state)
{
	static struct sivp_builder b;
	struct sivp_msg m;

	(void)state;
	welcome();
	sivp_begin(&b, SIVP_HOST, SIVP_GRANT, 4711);
	sivp_put_u32(&b, SIVP_A_IVPOSITION, 6);
	sivp_put_u32(&b, SIVP_A_END, 0);
	sivp_put_u32(&b, SIVP_A_EPOCH, 1);
	sivp_put_u32(&b, SIVP_A_SLOT, 0);
	sivp_put_u64(&b, SIVP_A_GENERATION, 1);
	sivp_put_u64(&b, SIVP_A_OFFSET, SIV_LINK_CHANNELS);
	sivp_put_u32(&b, SIVP_A_C2S_ORDER, 16);
	sivp_put_u32(&b, SIVP_A_S2C_ORDER, 16);
	say_message(&b);
	pump();
	assert_true(next(SIVP_ATTACHED, &m));
	assert_int_equal(m.session, 4711);
	assert_int_equal(sivp_u32(&m, SIVP_A_ERRNO), ENOENT);
	assert_int_equal(fake_channels(&w.kernel), 0);
}

/* Gives the agent a certificate as if the host had, so that its connects go on to OPEN. */
static void enrol(void)
{
	struct identity *identity = &w.agent.identities[0];
	struct cert_spec as_ca = ca_spec(CLOCK), leaf = leaf_spec("URI:spiffe://a/b", CLOCK);
	EVP_PKEY *ca_key = x509_key_new(), *key = x509_key_new();
	X509 *ca = make_cert(&as_ca, ca_key, NULL, NULL);
	STACK_OF(X509) *chain = sk_X509_new_null();

	sk_X509_push(chain, make_cert(&leaf, key, ca, ca_key));
	identity->context = tls_context_new(w.agent.trust, key, chain);
	identity->state = IDENTITY_HELD;
	sk_X509_pop_free(chain, X509_free);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

static void test_a_host_that_never_answers_an_open(void **state)
{
	struct fake_process *p;
	struct sivp_msg m;
	uint64_t session;

	(void)state;
	welcome();
	enrol();
	p = fake_connect(&w.kernel, 1001, "", "cache", "");
	pump();
	assert_true(next(SIVP_OPEN, &m));
	session = m.session;
	assert_string_equal(sivp_str(&m, SIVP_A_VM), "");
	assert_string_equal(sivp_str(&m, SIVP_A_SERVICE), "dashboard");
	assert_int_equal(sivp_u32(&m, SIVP_A_UID), 1001);
	assert_int_equal(sivp_u32(&m, SIVP_A_TIMEOUT_MS), 10000);
	loop_advance(w.loop, 9999 * LOOP_NS_PER_MS);
	pump();
	assert_true(p->waiting);
	loop_advance(w.loop, LOOP_NS_PER_MS);
	pump();
	assert_false(p->waiting);
	assert_int_equal(p->error, ETIMEDOUT);
	assert_true(next(SIVP_REJECT, &m));
	assert_int_equal(m.session, session);
	assert_int_equal(sivp_u32(&m, SIVP_A_REASON), SIVP_R_TIMEOUT);
	assert_int_equal(w.agent.nr_sessions, 0);
}

static void put_binding(struct sivp_builder *b, enum sivp_type type, uint64_t session,
			const char *vm, const char *service, const char *peer_service)
{
	static const uint8_t nonce[SIVP_NONCE_LEN];

	sivp_begin(b, SIVP_HOST, type, session);
	sivp_put_blob(b, SIVP_A_NONCE, nonce, sizeof(nonce));
	sivp_put_str(b, SIVP_A_VM, vm);
	sivp_put_str(b, SIVP_A_SERVICE, service);
	sivp_put_str(b, SIVP_A_PEER_SERVICE, peer_service);
	sivp_put_u32(b, SIVP_A_IVPOSITION, 6);
	sivp_put_u32(b, SIVP_A_PEER_IVPOSITION, 7);
	sivp_put_u32(b, SIVP_A_END, 0);
	sivp_put_u32(b, SIVP_A_EPOCH, 1);
	sivp_put_u32(b, SIVP_A_TYPE, SOCK_STREAM);
	sivp_put_u32(b, SIVP_A_C2S_ORDER, 16);
	sivp_put_u32(b, SIVP_A_S2C_ORDER, 17);
	sivp_put_u32(b, SIVP_A_SEALED, 0);
	sivp_put_u32(b, SIVP_A_TIMEOUT_MS, 1000);
}

static void test_an_answer_about_another_target_is_refused(void **state)
{
	static const struct { const char *vm, *service, *peer; } wrong[] = {
		{ "moon", "dashboard", "cache" }, { "adas", "radio", "cache" },
		{ "adas", "dashboard", "fusion" },
	};
	static struct sivp_builder b;
	struct sivp_msg m;

	(void)state;
	welcome();
	enrol();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct fake_process *p = fake_connect(&w.kernel, 1001, "adas", "cache", "");

		pump();
		assert_true(next(SIVP_OPEN, &m));
		put_binding(&b, SIVP_OPENED, m.session, wrong[i].vm, wrong[i].service,
			    wrong[i].peer);
		say_message(&b);
		pump();
		assert_int_equal(p->error, EPROTO);
		assert_true(next(SIVP_REJECT, &m));
		assert_int_equal(sivp_u32(&m, SIVP_A_REASON), SIVP_R_VIOLATION);
		assert_int_equal(w.agent.nr_sessions, 0);
	}
}

static void test_limits_of_one_handshake(void **state)
{
	static uint8_t hello[64] = { 22, 3, 1, 64, 0, 1, 0, 255, 255 }; /* a record that never ends */
	static struct sivp_builder b;
	struct sivp_msg m;
	unsigned int n = 0;

	(void)state;
	welcome();
	enrol();
	fake_listen(&w.kernel, "dashboard");
	put_binding(&b, SIVP_INCOMING, SIVP_SESSION_INCOMING | 1, "adas", "dashboard", "cache");
	say_message(&b);
	pump();
	assert_true(next(SIVP_ACCEPTING, &m));
	while (w.agent.nr_sessions && n < 2 * SESSION_TLS_MESSAGES_MAX) {
		sivp_begin(&b, SIVP_HOST, SIVP_TLS, SIVP_SESSION_INCOMING | 1);
		sivp_put_blob(&b, SIVP_A_TLS, hello, n ? 1 : sizeof(hello));
		say_message(&b);
		pump();
		n++;
	}
	assert_int_equal(n, SESSION_TLS_MESSAGES_MAX + 1);
	assert_true(next(SIVP_REJECT, &m));
	assert_int_equal(sivp_u32(&m, SIVP_A_REASON), SIVP_R_LIMIT);
}

/* What a host lets in is taken in, and takes no place from this VM's own connects. */
static void test_half_open_accepts_leave_room(void **state)
{
	static uint8_t hello[5] = { 22, 3, 1, 2, 0 }; /* of a record that never comes */
	static struct sivp_builder b;
	struct fake_process *p;
	struct sivp_msg m;

	(void)state;
	welcome();
	enrol();
	fake_listen(&w.kernel, "dashboard");
	for (unsigned int i = 1; i <= 1000; i++) {
		w.len = w.at = 0;
		put_binding(&b, SIVP_INCOMING, SIVP_SESSION_INCOMING | i, "moon", "dashboard",
			    "evil");
		say_message(&b);
		pump();
		assert_true(next(SIVP_ACCEPTING, &m));
		sivp_begin(&b, SIVP_HOST, SIVP_TLS, SIVP_SESSION_INCOMING | i);
		sivp_put_blob(&b, SIVP_A_TLS, hello, sizeof(hello));
		say_message(&b);
		pump();
	}
	assert_int_equal(w.agent.nr_incoming, 1000);
	put_binding(&b, SIVP_INCOMING, SIVP_SESSION_INCOMING | 4711, "adas", "dashboard", "cache");
	say_message(&b);
	pump();
	assert_true(next(SIVP_ACCEPTING, &m));
	assert_true(m.session == (SIVP_SESSION_INCOMING | 4711));
	p = fake_connect(&w.kernel, 1001, "adas", "cache", "");
	pump();
	assert_true(p->waiting);
	assert_true(next(SIVP_OPEN, &m));
	/* Each has its time-out, and then nothing is left of it. */
	w.len = w.at = 0;
	loop_advance(w.loop, 1000 * LOOP_NS_PER_MS);
	pump();
	assert_int_equal(w.agent.nr_incoming, 0);
	assert_int_equal(w.agent.nr_sessions, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hello_says_what_the_kernel_has),
		TEST(test_what_older_conversations_left_is_dropped),
		TEST(test_a_broker_that_missed_the_hello_gets_another),
		TEST(test_a_refusal_is_not_asked_again),
		TEST(test_a_violation_starts_anew_after_a_pause),
		TEST(test_another_broker_asks_for_a_hello),
		TEST(test_what_is_granted_to_nobody_is_given_back),
		TEST(test_a_host_that_never_answers_an_open),
		TEST(test_an_answer_about_another_target_is_refused),
		TEST(test_limits_of_one_handshake),
		TEST(test_half_open_accepts_leave_room),
	};

	log_init("test_agent_host", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
