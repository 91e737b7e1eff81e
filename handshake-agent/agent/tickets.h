/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an agent keeps so that a later handshake can be resumed (TLS 1.3, PSK with ECDHE).
 *
 * A ticket belongs to one certificate of an own service (its SSL_CTX, with which it ends), to one
 * role, and to one peer: its SPIFFE ID, and the link and epoch on which it was met, which are others
 * after either side has started anew. Each serves once. OpenSSL verifies nobody when a session is
 * resumed, so a ticket carries what was verified when its lineage began with a full handshake:
 * that, and nothing from the wire, says who the peer is. A lineage ends with the first of its two
 * certificates, however often its tickets were renewed.
 *
 * Nothing is kept of a handshake before its channel is attached: until then its tickets lie with it,
 * and end with it.
 */
#ifndef SIVSHMEM_AGENT_TICKETS_H
#define SIVSHMEM_AGENT_TICKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include <sivshmem/abi.h>

#include "common/list.h"

#define TICKETS_PER_HANDSHAKE 4u   /* new ones of a full handshake; a resumed one brings one */
#define TICKETS_PER_PEER      64u  /* kept for one service, role and peer; then the oldest goes */
#define TICKETS_PER_SERVICE   256u /* the same for all peers together; about 1 KiB each */
#define TICKETS_LIFE_S        3600 /* after this long without use */

enum { TICKET_CLIENT, TICKET_SERVER, TICKET_ROLES };

/* Who is met where, as the host said it. */
struct tls_peer {
	char id[SIV_SPIFFE_LEN];
	uint32_t ivposition, peer_ivposition, end, epoch; /* of the link */
};

bool tls_peer_equal(const struct tls_peer *a, const struct tls_peer *b);

struct ticket {
	struct list node;
	SSL_SESSION *session;
	struct tls_peer peer;
	uint8_t digest[SIV_DIGEST_LEN];      /* of the own leaf ... */
	uint8_t peer_digest[SIV_DIGEST_LEN]; /* ... and of the one that was verified */
	int64_t until; /* the last second; no later than either certificate's; host's clock */
};

/* @session is taken over. NULL: no memory, and @session is freed. */
struct ticket *ticket_new(SSL_SESSION *session);
void ticket_free(struct ticket *ticket); /* NULL: nothing happens */

/* Gives @context a store, which ends with it. Once. */
bool tickets_init(SSL_CTX *context);

/* Takes @ticket over; it is all filled in. */
void tickets_add(SSL_CTX *context, unsigned int role, struct ticket *ticket);

/* Take one out, which is the caller's then; NULL: there is none for that peer at that time. */
struct ticket *tickets_take_newest(SSL_CTX *context, const struct tls_peer *peer, int64_t now);
struct ticket *tickets_take_id(SSL_CTX *context, const uint8_t *id, size_t len,
			       const struct tls_peer *peer, int64_t now);

/* Whatever is kept for a peer of that name, in both roles; NULL: for all. How many that were. */
unsigned int tickets_forget(SSL_CTX *context, const char *peer_id);

unsigned int tickets_count(SSL_CTX *context, unsigned int role);

#endif
