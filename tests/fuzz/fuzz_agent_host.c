// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the host sends an agent: any bytes before and after a real WELCOME. The agent may not crash,
 * and after the stream has ended nothing of a session may be left.
 *
 * The first input byte chooses what the agent is busy with, the next two how many of the bytes that
 * follow come before that; all go through a socketpair as they would. A WELCOME needs the agent's
 * nonce, which is put in where the input has the placeholder. Certificates are given directly: no
 * fuzzer guesses one for the agent's fresh key.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/x509.h"
#include "cert_maker.h"
#include "common/log.h"
#include "fake_kernel.h"

#define PLACEHOLDER "NONCENONCENONCEN" /* of SIVP_NONCE_LEN bytes */
#define ROUNDS      8                  /* enough for the longest chain of answers */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct agent_config config;
static SSL_CTX *context; /* of a certificate for whatever service */

static void make_context(void)
{
	struct cert_spec as_ca = ca_spec(1000000), leaf = leaf_spec("URI:spiffe://d/vm/v/service/cache",
								   1000000);
	EVP_PKEY *ca_key = x509_key_new(), *key = x509_key_new();
	STACK_OF(X509) *chain = sk_X509_new_null(), *trusted = sk_X509_new_null();
	X509 *ca = make_cert(&as_ca, ca_key, NULL, NULL);
	X509_STORE *trust;

	sk_X509_push(chain, make_cert(&leaf, key, ca, ca_key));
	sk_X509_push(trusted, ca);
	trust = x509_trust_new(trusted);
	context = tls_context_new(trust, key, chain);
	assert(context);
	X509_STORE_free(trust);
	sk_X509_pop_free(chain, X509_free);
	sk_X509_pop_free(trusted, X509_free);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct agent_service services[] = {
		{ .name = "aaaa", .has_uid = true, .uid = 1 },
		{ .name = "cache", .has_uid = true, .uid = 2 },
	};

	(void)argc;
	(void)argv;
	log_init("fuzz", LOG_LEVEL_NONE); /* input is refused loudly; crashes are of interest */
	config.services = services;
	config.nr_services = 2;
	make_context();
	config.path = config.control = config.admin = "/";
	return 0;
}

static void run(struct loop *loop, struct fake_kernel *kernel)
{
	for (int i = 0; i < ROUNDS; i++) {
		loop_advance(loop, LOOP_NS_PER_MS);
		loop_run_once(loop, 0);
		while (fake_kernel_run(kernel))
			;
	}
}

static void send_host(int fd, const struct agent *agent, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	memcpy(copy, data, size);
	for (size_t i = 0; i + SIVP_NONCE_LEN <= size; i++)
		if (!memcmp(copy + i, PLACEHOLDER, SIVP_NONCE_LEN))
			memcpy(copy + i, agent->host.nonce, SIVP_NONCE_LEN);
	if (size && write(fd, copy, size) < 0) {
		/* the agent closed it, or it does not all fit: so be it */
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct agent agent;
	static struct fake_kernel kernel;
	struct loop *loop;
	uint8_t busy;
	size_t first;
	int pair[2];

	if (size < 3 || size > 65536)
		return 0;
	busy = data[0];
	first = data[1] | data[2] << 8;
	data += 3;
	size -= 3;
	if (first > size)
		first = size;
	memset(&agent, 0, sizeof(agent));
	fake_kernel_init(&kernel);
	fake_link_add(&kernel, SIV_LINK_PCI, 6, 0);
	fake_link_add(&kernel, SIV_LINK_LOCAL, 0, 0);
	fake_link_add(&kernel, SIV_LINK_LOCAL, 0, 1);
	loop = loop_new_manual();
	assert(loop);
	loop_advance(loop, LOOP_NS_PER_MS);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		abort();
	if (agent_start(&agent, loop, &config, &kernel.kernel, pair[1], false))
		abort();
	run(loop, &kernel);
	send_host(pair[0], &agent, data, first);
	run(loop, &kernel);
	for (int i = 0; i < 2 && busy & 8; i++) {
		if (agent.identities[i].context)
			continue;
		SSL_CTX_up_ref(context);
		agent.identities[i].context = context;
		agent.identities[i].state = IDENTITY_HELD;
		agent_session_identity(&agent, &agent.identities[i]);
	}
	if (busy & 1)
		fake_connect(&kernel, 1, "", "cache", "");
	if (busy & 2)
		fake_listen(&kernel, "aaaa");
	if (busy & 4)
		kernel.hold = 1u << SIV_CMD_LISTENER;
	run(loop, &kernel);
	send_host(pair[0], &agent, data + first, size - first);
	run(loop, &kernel);
	kernel.hold = 0;
	close(pair[0]);
	run(loop, &kernel);
	assert(!agent.nr_sessions);
	agent_stop(&agent);
	loop_free(loop);
	return 0;
}
