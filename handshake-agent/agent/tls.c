// SPDX-License-Identifier: BSD-2-Clause
/* TLS 1.3 handshakes through memory BIOs. */
#include "tls.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/tls1.h>

#include "x509.h"

#define TLS_PEER_CHAIN_MAX (8 * 1024) /* bytes of a peer's certificates */

/*
 * Both ends are agents, so there is nobody to be lenient with, and no line of openssl.cnf decides.
 * Signatures: P-256 or Ed25519, as the CA takes them. Suites: all of TLS 1.3 but CCM's.
 */
#define TLS_SIGNATURES "ECDSA+SHA256:ed25519"
#define TLS_SUITES     "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
#define TLS_LEVEL      2 /* OpenSSL's: 112 bits at least, no SHA-1, all along the chain */

/*
 * Key exchange: the hybrid where this OpenSSL has it (from 3.5; a star sends both shares at once,
 * so that a peer without it costs no round trip), or as providers bring it. A list with a name
 * that OpenSSL does not know is refused as a whole, and the next one is tried.
 */
static const char *const tls_groups[] = { "*X25519MLKEM768:*X25519", "X25519MLKEM768:X25519",
					  "X25519" };

#ifndef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION /* from 3.2: a peer nobody knows could send a bomb */
#define SSL_OP_NO_RX_CERTIFICATE_COMPRESSION 0
#endif

/* OpenSSL resumes no session of another application than this one. */
static const unsigned char session_context[] = "sivshmem";

/* A session that a later handshake could resume: it is @tls's until it is known to be good. */
static int new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *tls = SSL_get_app_data(ssl);
	struct ticket *ticket;

	if (tls->nr_fresh == TICKETS_PER_HANDSHAKE)
		return 0;
	SSL_SESSION_up_ref(session);
	ticket = ticket_new(session);
	if (!ticket)
		return 0;
	list_add_tail(&tls->fresh, &ticket->node);
	tls->nr_fresh++;
	return 0; /* we have a reference of our own */
}

/*
 * A client has presented a ticket. It is taken out of the store, so that it is good once, and only
 * if it was given to the peer that the host names now. NULL: then this is a full handshake.
 */
static SSL_SESSION *presented(SSL *ssl, const unsigned char *id, int len, int *copy)
{
	struct tls *tls = SSL_get_app_data(ssl);

	*copy = 1;
	ticket_free(tls->ticket);
	tls->ticket = tickets_take_id(SSL_get_SSL_CTX(ssl), id, len, &tls->peer, tls->now);
	return tls->ticket ? tls->ticket->session : NULL;
}

static bool set_groups(SSL_CTX *ctx)
{
	for (size_t i = 0; i < sizeof(tls_groups) / sizeof(tls_groups[0]); i++) {
		if (SSL_CTX_set1_groups_list(ctx, tls_groups[i]))
			return true;
		ERR_clear_error();
	}
	return false;
}

SSL_CTX *tls_context_new(X509_STORE *trust, EVP_PKEY *key, STACK_OF(X509) *chain)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_security_level(ctx, TLS_LEVEL);
	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) || !set_groups(ctx) ||
	    !SSL_CTX_set1_sigalgs_list(ctx, TLS_SIGNATURES) ||
	    !SSL_CTX_set_ciphersuites(ctx, TLS_SUITES) ||
	    !SSL_CTX_use_certificate(ctx, sk_X509_value(chain, 0)) ||
	    !SSL_CTX_use_PrivateKey(ctx, key) || !SSL_CTX_check_private_key(ctx))
		goto err;
	for (int i = 1; i < sk_X509_num(chain); i++)
		if (!SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)))
			goto err;
	SSL_CTX_set1_cert_store(ctx, trust);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_verify_depth(ctx, X509_CHAIN_MAX);
	SSL_CTX_set_max_cert_list(ctx, TLS_PEER_CHAIN_MAX);
	/* The chain is sent as the host gave it, not as the trust store would complete it. */
	SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS);
	/* NO_TICKET: a ticket is a random number, all that belongs to it stays in our memory. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
	/* There is no middlebox; its records would be the only ones that nothing authenticates. */
	SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, new_session);
	SSL_CTX_sess_set_get_cb(ctx, presented);
	SSL_CTX_set_timeout(ctx, TICKETS_LIFE_S);
	if (!SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context) - 1) ||
	    !SSL_CTX_set_num_tickets(ctx, TICKETS_PER_HANDSHAKE) ||
	    !SSL_CTX_set_max_early_data(ctx, 0) || !SSL_CTX_set_recv_max_early_data(ctx, 0) ||
	    !tickets_init(ctx))
		goto err;
	return ctx;
err:
	SSL_CTX_free(ctx);
	return NULL;
}

bool tls_start(struct tls *tls, SSL_CTX *context, bool server, int64_t now,
	       const struct tls_peer *peer)
{
	*tls = (struct tls){ .server = server, .now = now, .peer = *peer,
			     .reason = SIVP_R_HANDSHAKE };
	list_init(&tls->fresh);
	tls->ssl = SSL_new(context);
	if (!tls->ssl || !SSL_set_app_data(tls->ssl, tls))
		return false;
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->in || !tls->out) {
		BIO_free(tls->in);
		BIO_free(tls->out);
		tls->in = tls->out = NULL;
		return false;
	}
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	/* A guest may have no clock of its own. */
	X509_VERIFY_PARAM_set_time(SSL_get0_param(tls->ssl), now);
	if (server) {
		SSL_set_accept_state(tls->ssl);
		return true;
	}
	SSL_set_connect_state(tls->ssl);
	tls->ticket = tickets_take_newest(context, &tls->peer, now);
	/* Without it this is a full handshake. */
	if (tls->ticket && !SSL_set_session(tls->ssl, tls->ticket->session)) {
		ticket_free(tls->ticket);
		tls->ticket = NULL;
		ERR_clear_error();
	}
	return true;
}

static enum tls_progress fail(struct tls *tls, enum sivp_reason reason, const char *what,
			      const char *detail)
{
	tls->reason = reason;
	tls->done = false;
	snprintf(tls->why, sizeof(tls->why), "%s%s%s", what, detail[0] ? ": " : "", detail);
	ERR_clear_error();
	return TLS_FAILED;
}

/* What the peer's alert says about us, in our own terms. */
static enum sivp_reason alert_reason(int alert)
{
	switch (alert) {
	case SSL_AD_CERTIFICATE_EXPIRED:
		return SIVP_R_EXPIRED;
	case SSL_AD_CERTIFICATE_REVOKED:
		return SIVP_R_REVOKED;
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_CERTIFICATE_REQUIRED:
	case SSL_AD_DECRYPT_ERROR: /* a signature in the chain did not verify */
		return SIVP_R_CERTIFICATE;
	default:
		return SIVP_R_HANDSHAKE;
	}
}

static enum sivp_reason verify_reason(long result)
{
	switch (result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return SIVP_R_EXPIRED;
	case X509_V_ERR_CERT_REVOKED:
		return SIVP_R_REVOKED;
	default:
		return SIVP_R_CERTIFICATE;
	}
}

/* OpenSSL gave up. */
static enum tls_progress fail_ssl(struct tls *tls)
{
	unsigned long e = ERR_peek_last_error();
	long verified = SSL_get_verify_result(tls->ssl);
	const char *text = ERR_reason_error_string(e);
	int alert = ERR_GET_REASON(e) - SSL_AD_REASON_OFFSET;

	if (verified != X509_V_OK)
		return fail(tls, verify_reason(verified), "its certificate was not accepted",
			    X509_verify_cert_error_string(verified));
	if (ERR_GET_LIB(e) == ERR_LIB_SSL && alert >= 0 && alert <= 255)
		return fail(tls, alert_reason(alert), "the peer refused",
			    SSL_alert_desc_string_long(alert));
	return fail(tls, SIVP_R_HANDSHAKE, "TLS failed", text ? text : "no reason given");
}

/*
 * OpenSSL has checked that the peer has the session's secret, and nothing else. That it is still
 * whom we verified then, and that this still holds, comes from the ticket. NULL, or what is wrong.
 */
static const char *resumption_wrong(const struct tls *tls)
{
	const struct ticket *t = tls->ticket;

	if (!t)
		return "no ticket was offered";
	if (!tls_peer_equal(&t->peer, &tls->peer))
		return "its ticket is another peer's";
	if (t->until < tls->now)
		return "its ticket is too old";
	if (memcmp(t->digest, tls->digest, SIV_DIGEST_LEN))
		return "its ticket is of another certificate of ours";
	if (memcmp(t->peer_digest, tls->peer_digest, SIV_DIGEST_LEN))
		return "its ticket is of another certificate of its own";
	return NULL;
}

/* The last step: the handshake has completed, and by OpenSSL's lights the chain is good. */
static enum tls_progress finish(struct tls *tls)
{
	/* Of a resumed session: the one that was verified in full, as OpenSSL kept it. */
	X509 *peer = SSL_get0_peer_certificate(tls->ssl);
	X509 *own = SSL_get_certificate(tls->ssl);
	long verified = SSL_get_verify_result(tls->ssl);
	const char *wrong;

	if (SSL_version(tls->ssl) != TLS1_3_VERSION)
		return fail(tls, SIVP_R_HANDSHAKE, "not TLS 1.3", "");
	if (!peer || !own)
		return fail(tls, SIVP_R_CERTIFICATE, "the peer sent no certificate", "");
	if (verified != X509_V_OK)
		return fail(tls, verify_reason(verified), "its certificate was not accepted",
			    X509_verify_cert_error_string(verified));
	wrong = x509_leaf_wrong(peer, !tls->server, tls->peer.id);
	if (wrong)
		return fail(tls, SIVP_R_CERTIFICATE, "its certificate was not accepted", wrong);
	if (!x509_digest(peer, tls->peer_digest) || !x509_digest(own, tls->digest))
		return fail(tls, SIVP_R_HANDSHAKE, "no digest of a certificate", "");
	if (SSL_session_reused(tls->ssl)) {
		wrong = resumption_wrong(tls);
		if (wrong)
			return fail(tls, SIVP_R_CERTIFICATE, "it was not to be resumed", wrong);
		tls->resumed = true;
	}
	tls->peer_not_after = x509_not_after(peer);
	tls->done = true;
	tls->reason = SIVP_R_NONE;
	return TLS_DONE;
}

/* After the end nothing may come but an alert: a server refuses a client's certificate by one. */
static enum tls_progress step_done(struct tls *tls)
{
	uint8_t byte;
	int n = SSL_read(tls->ssl, &byte, 1);

	if (n > 0)
		return fail(tls, SIVP_R_VIOLATION, "data after the handshake", "");
	switch (SSL_get_error(tls->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		return TLS_DONE;
	case SSL_ERROR_ZERO_RETURN:
		return fail(tls, SIVP_R_HANDSHAKE, "the peer closed", "");
	default:
		return fail_ssl(tls);
	}
}

enum tls_progress tls_step(struct tls *tls, const uint8_t *data, size_t len)
{
	int n;

	if (!tls->ssl)
		return TLS_FAILED;
	ERR_clear_error();
	if (len && BIO_write(tls->in, data, len) != (int)len)
		return fail(tls, SIVP_R_HANDSHAKE, "out of memory", "");
	if (tls->done)
		return step_done(tls);
	n = SSL_do_handshake(tls->ssl);
	if (n == 1)
		return finish(tls);
	if (SSL_get_error(tls->ssl, n) == SSL_ERROR_WANT_READ)
		return TLS_MORE;
	return fail_ssl(tls);
}

size_t tls_output(struct tls *tls, uint8_t *data, size_t size)
{
	int n;

	if (!tls->out || (!tls->done && tls->why[0]))
		return 0;
	n = BIO_read(tls->out, data, size);
	return n > 0 ? n : 0;
}

static bool export_keys(struct tls *tls, const char *label, const uint8_t *context, size_t len,
			uint8_t *out, size_t out_len)
{
	return tls->done && SSL_export_keying_material(tls->ssl, out, out_len, label, strlen(label),
						       context, len, 1) == 1;
}

bool tls_exporter(struct tls *tls, const uint8_t *context, size_t len,
		  uint8_t out[SIVP_EXPORTER_LEN])
{
	return export_keys(tls, SIVP_EXPORTER_LABEL, context, len, out, SIVP_EXPORTER_LEN);
}

bool tls_secrets(struct tls *tls, const uint8_t *context, size_t len,
		 uint8_t out[2 * SIV_SEAL_SECRET])
{
	return export_keys(tls, SIVP_SEAL_LABEL, context, len, out, 2 * SIV_SEAL_SECRET);
}

bool tls_trust(struct tls *tls, X509_STORE *trust, STACK_OF(X509) *trusted)
{
	if (!tls->ssl)
		return true;
	/* OpenSSL takes the context's store when it verifies, not when the handshake starts. */
	SSL_CTX_set1_cert_store(SSL_get_SSL_CTX(tls->ssl), trust);
	tls->keep_nothing = true;
	return !tls->done || x509_issuer(trusted, SSL_get0_peer_certificate(tls->ssl));
}

bool tls_is_of(const struct tls *tls, const SSL_CTX *context)
{
	return !tls->ssl || SSL_get_SSL_CTX(tls->ssl) == context;
}

void tls_keep_tickets(struct tls *tls, int64_t now)
{
	int64_t until = now + TICKETS_LIFE_S, own_not_after;

	if (!tls->done || tls->keep_nothing)
		return;
	/* A resumed session still has both certificates of the first, and so its lineage ends. */
	own_not_after = x509_not_after(SSL_get_certificate(tls->ssl));
	if (until > own_not_after)
		until = own_not_after;
	if (until > tls->peer_not_after)
		until = tls->peer_not_after;
	while (!list_empty(&tls->fresh)) {
		struct ticket *t = container_of(tls->fresh.next, struct ticket, node);

		list_del(&t->node);
		t->peer = tls->peer;
		memcpy(t->digest, tls->digest, SIV_DIGEST_LEN);
		memcpy(t->peer_digest, tls->peer_digest, SIV_DIGEST_LEN);
		t->until = until;
		tickets_add(SSL_get_SSL_CTX(tls->ssl),
			    tls->server ? TICKET_SERVER : TICKET_CLIENT, t);
	}
}

void tls_end(struct tls *tls)
{
	if (tls->ssl) {
		while (!list_empty(&tls->fresh)) {
			struct ticket *t = container_of(tls->fresh.next, struct ticket, node);

			list_del(&t->node);
			ticket_free(t);
		}
		/* Nobody sends close_notify; OpenSSL would call the session bad for it. */
		SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	}
	SSL_free(tls->ssl);
	ticket_free(tls->ticket);
	memset(tls, 0, sizeof(*tls));
	tls->reason = SIVP_R_HANDSHAKE;
}
