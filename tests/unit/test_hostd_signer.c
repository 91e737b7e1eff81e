// SPDX-License-Identifier: BSD-2-Clause
/* hostd and the process that has the authority's key: where the key lies, and who survives whom. */
#include "hostd_fixture.h"

#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child_called.h"

#define KEY_LEN 32 /* of a P-256 scalar */

static pid_t signer_of(const struct daemon_fixture *d)
{
	pid_t pid = child_called(d->hostd, "siv-signer");

	assert_true(pid > 0);
	return pid;
}

/* As OpenSSL computes with it: little-endian words. */
static void read_key(const struct daemon_fixture *d, uint8_t key[KEY_LEN])
{
	BIGNUM *scalar = NULL;
	EVP_PKEY *pkey;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/state/ca.pem", d->folder);
	file = fopen(path, "r");
	assert_non_null(file);
	pkey = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	assert_true(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &scalar));
	assert_int_equal(BN_bn2lebinpad(scalar, key, KEY_LEN), KEY_LEN);
	BN_free(scalar);
	EVP_PKEY_free(pkey);
}

static unsigned int count(int mem, unsigned long start, unsigned long end, const uint8_t *key)
{
	uint8_t *bytes = malloc(end - start);
	ssize_t n = pread(mem, bytes, end - start, (off_t)start);
	unsigned int found = 0;

	assert_non_null(bytes);
	for (uint8_t *p = bytes; n >= KEY_LEN && (p = memmem(p, (size_t)(bytes + n - p), key,
							     KEY_LEN)); p++)
		found++;
	free(bytes);
	return found;
}

/* How often the key lies in what @pid can write. */
static unsigned int look_for(pid_t pid, const uint8_t *key)
{
	char path[64], line[512], rights[8];
	unsigned long start, end;
	unsigned int found = 0, regions = 0;
	FILE *maps;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "r");
	assert_true(mem >= 0 && maps);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 || rights[1] != 'w')
			continue;
		regions++;
		found += count(mem, start, end, key);
	}
	assert_true(regions > 3);
	fclose(maps);
	close(mem);
	return found;
}

static void test_the_key_is_in_the_signer_alone(void **state)
{
	struct daemon_fixture *d = *state;
	uint8_t key[KEY_LEN];

	if (geteuid() != 0)
		skip(); /* nobody may look into them */
	hostd_bring_up(d);
	read_key(d, key);
	assert_true(look_for(signer_of(d), key) > 0);
	assert_int_equal(look_for(d->hostd, key), 0);
}

/* What is open does not need it, and the next hostd takes it over. */
static void test_hostd_does_not_go_on_without_its_signer(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d);
	struct pollfd end = { .fd = pidfd_open(d->hostd, 0), .events = POLLIN };
	int status;

	assert_true(end.fd >= 0);
	assert_int_equal(kill(signer_of(d), SIGKILL), 0);
	assert_int_equal(poll(&end, 1, PATIENCE_MS), 1);
	close(end.fd);
	assert_int_equal(waitpid(d->hostd, &status, 0), d->hostd);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	hostd_lost(d);
	hostd_start(d);
	hostd_report_channel(d, &channel);
	hostd_barrier(d);
	assert_int_equal(hostd_count_channels(d), 1);
}

static void test_the_signer_ends_with_hostd(void **state)
{
	static const int signals[] = { SIGTERM, SIGKILL };
	struct daemon_fixture *d = *state;

	for (unsigned int i = 0; i < 2; i++) {
		struct pollfd end = { .fd = pidfd_open(signer_of(d), 0), .events = POLLIN };

		assert_true(end.fd >= 0);
		hostd_kill(d, signals[i], 0);
		assert_int_equal(poll(&end, 1, PATIENCE_MS), 1);
		close(end.fd);
		hostd_start(d);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hostd_setup, hostd_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_key_is_in_the_signer_alone),
		TEST(test_hostd_does_not_go_on_without_its_signer),
		TEST(test_the_signer_ends_with_hostd),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
