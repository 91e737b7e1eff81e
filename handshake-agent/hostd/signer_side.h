/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the signer's process and hostd say to each other: packets of one program's two processes,
 * so in its own structs. Who asks may have been taken over; who answers has not.
 */
#ifndef SIVSHMEM_HOSTD_SIGNER_SIDE_H
#define SIVSHMEM_HOSTD_SIGNER_SIDE_H

#include <stddef.h>
#include <stdint.h>

#include "broker/ca.h"
#include "config.h"

enum signer_op {
	SIGNER_ISSUE = 1,
	SIGNER_RELOAD,
	SIGNER_ROTATE,
	SIGNER_DROP,
};

struct signer_request {
	uint32_t op; /* enum signer_op */
	uint32_t csr_len;
	char spiffe_id[SIV_SPIFFE_LEN]; /* of SIGNER_ISSUE */
	uint8_t csr[SIVP_CSR_MAX];      /* the packet ends after csr_len of them */
};
#define SIGNER_REQUEST_MIN offsetof(struct signer_request, csr)

struct signer_reply {
	uint32_t reason; /* enum sivp_reason; SIVP_R_NONE: done */
	char error[CA_ERROR_LEN];
	struct ca_view view; /* always */
	int64_t not_after;   /* of SIGNER_ISSUE, like what follows */
	uint32_t chain_len;
	uint8_t chain[SIVP_CERTS_MAX];
};

/* The signer's state. */
struct signer_side {
	struct host_config *config;
	struct ca *ca;
};

/* How an authority is opened that @config describes. */
void signer_options(const struct host_config *config, struct ca_options *options);

/*
 * Does what the @len bytes of @request ask for and fills @reply. False: this is no request, and
 * whoever sends such a thing gets no answer ever again.
 */
bool signer_answer(struct signer_side *side, const struct signer_request *request, size_t len,
		   struct signer_reply *reply);

#endif
