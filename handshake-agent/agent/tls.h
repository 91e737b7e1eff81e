/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One TLS 1.3 handshake with mutual authentication, over bytes that others carry: a full one, or one
 * resumed with what tickets.h keeps of an earlier one. No early data, no application data.
 */
#ifndef SIVSHMEM_AGENT_TLS_H
#define SIVSHMEM_AGENT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include <sivshmem/abi.h>

#include "proto/proto.h"
#include "tickets.h"

/*
 * What handshakes of one service have in common: its key, chain, whom it trusts, and its tickets.
 * Built once for each certificate, since that takes long. @chain: leaf first. NULL: OpenSSL failed,
 * or the leaf is not of @key.
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
	bool keep_nothing;    /* no tickets of it */
	bool resumed;         /* once done: no certificate was sent, see @ticket */
	int64_t now;
	struct tls_peer peer; /* whom the host named */
	struct ticket *ticket; /* the one that was offered, or that the client has presented */
	struct list fresh;     /* tickets that came of this handshake, not filled in */
	unsigned int nr_fresh;

	/* Starts as SIVP_R_HANDSHAKE, and is SIVP_R_NONE only once all has been checked. */
	enum sivp_reason reason;
	char why[160]; /* for the log */

	/* Once done. */
	uint8_t digest[SIV_DIGEST_LEN];      /* own leaf */
	uint8_t peer_digest[SIV_DIGEST_LEN];
	int64_t peer_not_after;              /* seconds since 1970 */
};

/*
 * @now: the host's clock, seconds since 1970, by which certificates and tickets are judged. @peer:
 * whom the host named. @tls stays where it is until tls_end(). False: OpenSSL failed; tls_end() all
 * the same.
 */
bool tls_start(struct tls *tls, SSL_CTX *context, bool server, int64_t now,
	       const struct tls_peer *peer);

/* Takes @len bytes of the peer's (0 at a client's start) and goes as far as they allow. */
enum tls_progress tls_step(struct tls *tls, const uint8_t *data, size_t len);

/* Takes up to @size bytes for the peer out; 0: there are none. */
size_t tls_output(struct tls *tls, uint8_t *data, size_t size);

/* Keying material of a handshake that is done, bound to @context. */
bool tls_exporter(struct tls *tls, const uint8_t *context, size_t len,
		  uint8_t out[SIVP_EXPORTER_LEN]);

/* The two secrets of a sealed channel, likewise: the client's, and the server's. */
bool tls_secrets(struct tls *tls, const uint8_t *context, size_t len,
		 uint8_t out[2 * SIV_SEAL_SECRET]);

/*
 * Others are trusted from now on: what is still to be verified in this handshake is, by @trust, and
 * nothing of it is kept for later ones. False: it was verified by somebody whom @trusted does not
 * have any more.
 */
bool tls_trust(struct tls *tls, X509_STORE *trust, STACK_OF(X509) *trusted);

/* Whether it was started with that context. Never started: true. */
bool tls_is_of(const struct tls *tls, const SSL_CTX *context);

/*
 * The connection is made, by everybody's word: what came of this handshake may be used for later
 * ones. Without this nothing of it is.
 */
void tls_keep_tickets(struct tls *tls, int64_t now);

/* All zero (never started): nothing happens. */
void tls_end(struct tls *tls);

#endif
