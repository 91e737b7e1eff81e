// SPDX-License-Identifier: BSD-2-Clause
/*
 * Where private keys and what a resumption needs lie in a daemon's memory: keys in the secure heap
 * and nowhere else while they are in use, and nothing anywhere once they are freed. The test looks
 * through all memory of its own process, freed memory included.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "agent/tickets.h"
#include "agent/x509.h"
#include "broker/ca.h"
#include "common/secrets.h"

#define NOW        1800000000
#define ID         "spiffe://car.example/vm/adas/service/cache"
#define NEEDLE_LEN 32            /* of a P-256 scalar */
#define PART       (1u << 20)    /* bytes that are looked through at once */
#define REGION_MAX (256ul << 20) /* larger ones are the sanitizer's own */

/* All bits inverted, so that the needle itself is not found. */
struct needle {
	uint8_t scalar[NEEDLE_LEN], words[NEEDLE_LEN]; /* big-endian, and as OpenSSL computes */
	uint8_t text[NEEDLE_LEN];                      /* of the PEM file */
};

static char folder[64], ca_path[96], crt_path[96];
static uint8_t *part; /* between guard pages, so that /proc has it as a line of its own to skip */

static void read_scalar(EVP_PKEY *key, struct needle *needle)
{
	BIGNUM *scalar = NULL;

	if (!key || !EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) ||
	    BN_bn2binpad(scalar, needle->scalar, NEEDLE_LEN) != NEEDLE_LEN ||
	    BN_bn2lebinpad(scalar, needle->words, NEEDLE_LEN) != NEEDLE_LEN)
		_exit(1);
}

static void read_needle(const char *path, struct needle *needle)
{
	FILE *file = fopen(path, "r");
	char line[128];

	if (!file)
		_exit(1);
	read_scalar(PEM_read_PrivateKey(file, NULL, NULL, NULL), needle);
	rewind(file);
	/* The second line of base64 has what follows byte 48: the scalar begins at byte 36. */
	for (int i = 0; i < 3; i++)
		if (!fgets(line, sizeof(line), file))
			_exit(1);
	memcpy(needle->text, line, NEEDLE_LEN);
}

/*
 * Of the key in @path that @make makes, or of @key: by a process of its own, which takes its memory
 * with it.
 */
static struct needle needle_of(const char *path, void (*make)(void), EVP_PKEY *key)
{
	struct needle needle = { 0 };
	int told[2], status;
	pid_t pid;

	assert_int_equal(pipe(told), 0);
	pid = fork();
	if (pid == 0) {
		if (make)
			make();
		if (key)
			read_scalar(key, &needle);
		else
			read_needle(path, &needle);
		for (size_t i = 0; i < sizeof(needle); i++)
			((uint8_t *)&needle)[i] ^= 0xff;
		_exit(write(told[1], &needle, sizeof(needle)) == sizeof(needle) ? 0 : 1);
	}
	close(told[1]);
	assert_int_equal(read(told[0], &needle, sizeof(needle)), sizeof(needle));
	close(told[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return needle;
}

static bool matches(const uint8_t *at, const uint8_t *inverted)
{
	for (unsigned int i = 0; i < NEEDLE_LEN; i++)
		if ((at[i] ^ inverted[i]) != 0xff)
			return false;
	return true;
}

struct found {
	unsigned int secure, elsewhere;
};

static void look_through(int mem, uintptr_t start, uintptr_t end, const uint8_t *inverted,
			 struct found *found)
{
	for (uintptr_t at = start; at + NEEDLE_LEN <= end; at += PART - NEEDLE_LEN + 1) {
		size_t want = end - at < PART ? end - at : PART;
		ssize_t n = pread(mem, part, want, (off_t)at);

		for (ssize_t i = 0; i + NEEDLE_LEN <= n; i++) {
			if (!matches(part + i, inverted))
				continue;
			if (CRYPTO_secure_allocated((void *)(at + (uintptr_t)i)))
				found->secure++;
			else
				found->elsewhere++;
		}
		if (want < PART)
			break;
	}
}

static struct found look_for(const uint8_t *inverted)
{
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	FILE *maps = fopen("/proc/self/maps", "r");
	struct found found = { 0 };
	char line[512], rights[8];
	unsigned long start, end;

	assert_true(mem >= 0 && maps);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 || rights[1] != 'w' ||
		    end - start > REGION_MAX || (uintptr_t)part == start)
			continue;
		look_through(mem, start, end, inverted, &found);
	}
	fclose(maps);
	close(mem);
	return found;
}

static void assert_only_secure(const struct needle *needle)
{
	struct found words = look_for(needle->words);

	/* The search itself works: the key in use is there. */
	assert_true(words.secure > 0);
	assert_int_equal(words.elsewhere, 0);
	assert_int_equal(look_for(needle->scalar).elsewhere, 0);
	if (needle->text[0] != 0xff) /* it has a file */
		assert_int_equal(look_for(needle->text).elsewhere, 0);
}

static void assert_nowhere(const struct needle *needle)
{
	const uint8_t *const all[] = { needle->words, needle->scalar, needle->text };

	for (unsigned int i = 0; i < 3; i++) {
		struct found found;

		if (all[i][0] == 0xff && all[i] == needle->text)
			continue;
		found = look_for(all[i]);
		assert_int_equal(found.secure, 0);
		assert_int_equal(found.elsewhere, 0);
	}
}

static struct ca *open_ca(void)
{
	struct ca_options options = { .domain = "car.example", .state = folder, .now = NOW };
	char error[CA_ERROR_LEN];
	struct ca *ca;

	if (ca_open(&options, &ca, error))
		fail_msg("%s", error);
	return ca;
}

static void make_ca(void)
{
	ca_close(open_ca());
}

static void issue_one(struct ca *ca)
{
	uint8_t csr[SIVP_CSR_MAX], chain[SIVP_CERTS_MAX];
	size_t len, chain_len = sizeof(chain);
	EVP_PKEY *key = x509_key_new();
	char error[CA_ERROR_LEN];
	int64_t not_after;

	len = x509_csr(key, csr, sizeof(csr));
	assert_true(len > 0);
	assert_int_equal(ca_issue(ca, csr, len, ID, NOW, chain, &chain_len, &not_after, error),
			 SIVP_R_NONE);
	EVP_PKEY_free(key);
}

static int setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/siv-secrets-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(ca_path, sizeof(ca_path), "%s/" CA_FILE, folder);
	snprintf(crt_path, sizeof(crt_path), "%s/" CA_CERT_FILE, folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(ca_path);
	unlink(crt_path);
	rmdir(folder);
	return 0;
}

static void test_an_authority_that_is_read_lies_in_the_secure_heap_alone(void **state)
{
	struct needle needle = needle_of(ca_path, make_ca, NULL);
	struct ca *ca = open_ca();

	(void)state;
	assert_only_secure(&needle);
	issue_one(ca);
	assert_only_secure(&needle);
	ca_close(ca);
	assert_nowhere(&needle);
}

static void test_an_authority_that_is_made_lies_in_the_secure_heap_alone(void **state)
{
	struct ca *ca = open_ca();
	struct needle needle = needle_of(ca_path, NULL, NULL);

	(void)state;
	assert_only_secure(&needle);
	issue_one(ca);
	assert_only_secure(&needle);
	ca_close(ca);
	assert_nowhere(&needle);
}

static void test_a_services_key_lies_in_the_secure_heap_alone(void **state)
{
	EVP_PKEY *key = x509_key_new();
	struct needle needle = needle_of(NULL, NULL, key);
	uint8_t csr[SIVP_CSR_MAX];

	(void)state;
	assert_true(x509_csr(key, csr, sizeof(csr)) > 0);
	assert_only_secure(&needle);
	EVP_PKEY_free(key);
	assert_nowhere(&needle);
}

/* What a later handshake with that peer would resume. */
static void test_a_forgotten_ticket_leaves_nothing(void **state)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	SSL_SESSION *session = SSL_SESSION_new();
	uint8_t inverted[SSL_MAX_MASTER_KEY_LENGTH], secret[SSL_MAX_MASTER_KEY_LENGTH];
	struct ticket *ticket;

	(void)state;
	assert_int_equal(getrandom(inverted, sizeof(inverted), 0), sizeof(inverted));
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = inverted[i] ^ 0xff;
	assert_true(SSL_SESSION_set1_master_key(session, secret, sizeof(secret)));
	OPENSSL_cleanse(secret, sizeof(secret));
	assert_true(tickets_init(context));
	ticket = ticket_new(session);
	assert_non_null(ticket);
	tickets_add(context, TICKET_CLIENT, ticket);
	assert_int_equal(look_for(inverted).elsewhere, 1);
	assert_int_equal(tickets_forget(context, NULL), 1);
	assert_int_equal(look_for(inverted).elsewhere, 0);
	SSL_CTX_free(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_an_authority_that_is_read_lies_in_the_secure_heap_alone, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_an_authority_that_is_made_lies_in_the_secure_heap_alone, setup,
			teardown),
		cmocka_unit_test(test_a_services_key_lies_in_the_secure_heap_alone),
		cmocka_unit_test(test_a_forgotten_ticket_leaves_nothing),
	};

	secrets_init();
	part = mmap(NULL, 3 * PART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (part == MAP_FAILED || mprotect(part + PART, PART, PROT_READ | PROT_WRITE))
		return 1;
	part += PART;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
