// SPDX-License-Identifier: BSD-2-Clause
/*
 * Requests to the signer from a hostd that was taken over: whatever is asked, a certificate names a
 * service that the policy lists, and one alone; what is no request is not answered.
 *
 * Nobody guesses signatures: the first byte says whether the packet that follows gets a good request
 * for a certificate, and whose name. What changes the authority is left out: it takes no bytes, and
 * a disk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/x509v3.h>

#include "agent/x509.h"
#include "common/log.h"
#include "hostd/signer_side.h"

#define LISTED 2 /* ids[0 .. LISTED) */

enum { GOOD_CSR = 0x80, GOOD_LENGTH = 0x40, ID_MASK = 0x07 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const ids[] = {
	"spiffe://car.example/vm/adas/service/cache",
	"spiffe://car.example/vm/ivi/service/radio",
	"spiffe://car.example/vm/adas/service/radio",
	"spiffe://car.example/vm/ivi/service/cache",
	"spiffe://van.example/vm/adas/service/cache",
	"spiffe://car.example/vm/adas/service/cach",
	"spiffe://car.example/vm/adas/service/",
};

static struct signer_side side;
static uint8_t csr[SIVP_CSR_MAX];
static size_t csr_len;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void open_side(void)
{
	char folder[] = "/tmp/fuzz-signer-XXXXXX", path[96], error[CA_ERROR_LEN];
	static const char *const files[] = { "state/" CA_FILE, "state/" CA_CERT_FILE, "host.conf" };
	struct ca_options options;
	FILE *file;

	check(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/host.conf", folder);
	file = fopen(path, "w");
	check(file);
	fprintf(file, "trust-domain = \"car.example\" run = \"%s\" state = \"%s/state\"\n"
		"vm \"adas\" { services = {\"cache\"} }\nvm \"ivi\" { services = {\"radio\"} }\n",
		folder, folder);
	fclose(file);
	side.config = host_config_load(path, stderr);
	check(side.config);
	signer_options(side.config, &options);
	check(!ca_open(&options, &side.ca, error));
	for (unsigned int i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/state", folder);
	rmdir(path);
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	EVP_PKEY *key = x509_key_new();

	(void)argc;
	(void)argv;
	log_init("fuzz_signer", LOG_LEVEL_ERROR);
	open_side();
	csr_len = x509_csr(key, csr, sizeof(csr));
	check(csr_len > 0);
	EVP_PKEY_free(key);
	return 0;
}

/* The one name of the certificate is a service's that is listed. */
static void check_listed(const struct signer_reply *reply)
{
	const unsigned char *p = reply->chain;
	X509 *cert = d2i_X509(NULL, &p, reply->chain_len);
	GENERAL_NAMES *names;
	const char *name;
	bool listed = false;

	check(cert && p == reply->chain + reply->chain_len);
	names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	check(sk_GENERAL_NAME_num(names) == 1);
	name = (const char *)ASN1_STRING_get0_data(
		sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier);
	for (unsigned int i = 0; i < LISTED; i++)
		listed |= strcmp(name, ids[i]) == 0;
	check(listed);
	GENERAL_NAMES_free(names);
	X509_free(cert);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct signer_reply reply;
	struct signer_request *request;
	size_t len;
	bool answered;
	uint8_t how;

	if (!size)
		return 0;
	how = data[0];
	len = size - 1 < sizeof(*request) ? size - 1 : sizeof(*request);
	request = calloc(1, sizeof(*request));
	check(request);
	memcpy(request, data + 1, len);
	if ((how & ID_MASK) < sizeof(ids) / sizeof(ids[0]))
		strcpy(request->spiffe_id, ids[how & ID_MASK]);
	if (how & GOOD_CSR) {
		memcpy(request->csr, csr, csr_len);
		request->csr_len = (uint32_t)csr_len;
		request->op = SIGNER_ISSUE;
		request->spiffe_id[sizeof(request->spiffe_id) - 1] = '\0';
		len = SIGNER_REQUEST_MIN + csr_len;
	} else if (how & GOOD_LENGTH && len >= SIGNER_REQUEST_MIN) {
		request->csr_len = (uint32_t)(len - SIGNER_REQUEST_MIN);
		request->op = SIGNER_ISSUE;
	}
	if (request->op > SIGNER_ISSUE && request->op <= SIGNER_DROP)
		request->op = SIGNER_ISSUE;
	answered = signer_answer(&side, request, len, &reply);
	check(!(how & GOOD_CSR) || answered);
	if (answered) {
		check(len - SIGNER_REQUEST_MIN == request->csr_len);
		check(reply.view.trusted_len);
		if (reply.reason == SIVP_R_NONE)
			check_listed(&reply);
		else
			check(reply.error[0] && !reply.chain_len);
		check(!(how & GOOD_CSR) || (how & ID_MASK) >= LISTED ||
		      reply.reason == SIVP_R_NONE);
	}
	free(request);
	return 0;
}
