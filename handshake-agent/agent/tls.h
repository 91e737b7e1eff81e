/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One TLS 1.3 handshake with mutual authentication, over bytes that others carry. No early data, no
 * tickets (resumption will have its place here), no application data.
 */
#ifndef SIVSHMEM_AGENT_TLS_H
#define SIVSHMEM_AGENT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include <sivshmem/abi.h>

#include "proto/proto.h"

#define TLS_GROUPS "X25519:P-256"

/*
 * What handshakes of one service have in common: its key, chain, and whom it trusts. Built once for
 * each certificate, since that takes long. @chain: leaf first. NULL: OpenSSL failed, or the leaf is
 * not of @key.
 */
SSL_CTX *tls_context_new(X509_STORE *trust, EVP_PKEY *key, STACK_OF(X509) *chain);

enum tls_progress {
	TLS_MORE,   /* needs the peer's next bytes */
	TLS_DONE,   /* completed, and the peer is who it must be */
	TLS_FAILED, /* see @reason and @why; nothing more may be sent */
};

struct tls {
	SSL *ssl;
	BIO *in, *out; /* @ssl's */
	bool server;
	bool done;
	char peer_id[SIV_SPIFFE_LEN];

	/* Starts as SIVP_R_HANDSHAKE, and is SIVP_R_NONE only once all has been checked. */
	enum sivp_reason reason;
	char why[160]; /* for the log */

	/* Once done. */
	uint8_t digest[SIV_DIGEST_LEN];      /* own leaf */
	uint8_t peer_digest[SIV_DIGEST_LEN];
	int64_t peer_not_after;              /* seconds since 1970 */
};

/*
 * @now: the host's clock, seconds since 1970, by which certificates are judged. @peer_id: whom the
 * host named. False: OpenSSL failed; tls_end() all the same.
 */
bool tls_start(struct tls *tls, SSL_CTX *context, bool server, int64_t now, const char *peer_id);

/* Takes @len bytes of the peer's (0 at a client's start) and goes as far as they allow. */
enum tls_progress tls_step(struct tls *tls, const uint8_t *data, size_t len);

/* Takes up to @size bytes for the peer out; 0: there are none. */
size_t tls_output(struct tls *tls, uint8_t *data, size_t size);

/* Keying material of a handshake that is done, bound to @context. */
bool tls_exporter(struct tls *tls, const uint8_t *context, size_t len,
		  uint8_t out[SIVP_EXPORTER_LEN]);

/* All zero (never started): nothing happens. */
void tls_end(struct tls *tls);

#endif
