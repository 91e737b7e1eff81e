/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The certificate authority: short-lived leaf certificates for services, from a request's verified
 * public key alone. Everything else in a request is ignored: names come from the control socket and
 * from policy.
 *
 * The authority's own certificate is what agents trust by itself, so an intermediate of some larger
 * PKI does as well as the self-signed one that is made at first start.
 *
 * After a rotation there are two: the one that issues, and the former one, which is trusted until
 * it is dropped. That it is, and until when at most, is in the state folder, so that it outlives us.
 */
#ifndef SIVSHMEM_CA_H
#define SIVSHMEM_CA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sivshmem/abi.h>

#include "proto/proto.h"

#define CA_FILE           "ca.pem"           /* in the state folder: key and certificate, 0600 */
#define CA_CERT_FILE      "ca.crt"           /* the certificate alone, for everybody */
#define CA_FORMER_FILE    "ca-former.crt"    /* in the state folder, while one is trusted */
#define CA_LIFETIME_S     (3650u * 24 * 3600) /* of a self-made authority */
#define CA_LEAF_LIFETIME_S (24u * 3600)      /* default */
#define CA_LEAF_MIN_S     60u                /* shorter ones would expire between two renewals */
#define CA_LEAF_MAX_S     (30u * 24 * 3600)  /* "short-lived" ends here */
#define CA_BACKDATE_S     300u               /* notBefore lies that far back: clocks differ */
#define CA_ERROR_LEN      512u
#define CA_NAME_LEN       256u

struct ca;

/* What people are told about an authority. */
struct ca_info {
	char name[CA_NAME_LEN]; /* its certificate's subject */
	uint8_t digest[SIV_DIGEST_LEN]; /* SHA-256 of its certificate */
	int64_t not_after; /* its certificate's */
	/*
	 * Of a former one: what it has issued has expired by then. (What an earlier process issued
	 * for longer than certificates last now may not have: its service enrols anew then.)
	 */
	int64_t until;
};

/* All of an authority that is public. */
struct ca_view {
	struct ca_info now, former;
	bool has_former;
	size_t trusted_len;
	uint8_t trusted[SIVP_CERTS_MAX]; /* DER: what issues, then the former one if there is one */
};

struct ca_options {
	const char *domain;      /* trust domain; into the subject of a self-made authority */
	const char *state;       /* folder for CA_FILE; made with mode 0700 if it is not there */
	const char *certificate; /* PEM files of a supplied authority, or both NULL */
	const char *key;         /* must not be accessible to group and others */
	uint32_t leaf_lifetime_s; /* 0: the default */
	int64_t now;             /* seconds since 1970 */
};

/*
 * Loads the authority, or makes it if it has never been made. 0, or -1 with a text in @error. Two
 * that start at the same moment agree on one key: the file appears whole, or not at all.
 */
int ca_open(const struct ca_options *options, struct ca **ca, char error[CA_ERROR_LEN]);
void ca_close(struct ca *ca);

/* Of certificates that are issued from now on; 0: the default. */
void ca_set_lifetime(struct ca *ca, uint32_t leaf_lifetime_s);

/*
 * Another authority issues from now on, and the former one is trusted on: the supplied one of
 * @options, or one that is made anew. (Where the former one was supplied and @options have none, it
 * is the one of the state folder.) 0; or -1 with a text, and nothing has changed: it cannot be used,
 * it is the one that issues already, or an earlier rotation has not ended.
 */
int ca_rotate(struct ca *ca, const struct ca_options *options, char error[CA_ERROR_LEN]);

/* The former authority is trusted no more. 0, or -1 with a text, and nothing has changed. */
int ca_drop(struct ca *ca, const char *state, char error[CA_ERROR_LEN]);

void ca_describe(const struct ca *ca, struct ca_info *info);
/* False: there is no former authority. */
bool ca_describe_former(const struct ca *ca, struct ca_info *info);
bool ca_has_former(const struct ca *ca);
/* ca_info.digest of the authority that issues. */
const uint8_t *ca_digest(const struct ca *ca);
/* ca_view.trusted. Valid until the next of ca_rotate(), ca_drop(), ca_set_view() and ca_close(). */
const uint8_t *ca_trusted(const struct ca *ca, size_t *len);

/*
 * A certificate for @spiffe_id and the public key of the PKCS#10 request @csr (DER): its signature
 * must be good, its key P-256 or Ed25519. @chain gets DER, leaf first. SIVP_R_NONE, or
 *   SIVP_R_CERTIFICATE  the request is bad: see @error
 *   SIVP_R_EXPIRED      the authority's own certificate has expired
 *   SIVP_R_LIMIT        @chain is too small, or no memory
 */
enum sivp_reason ca_issue(struct ca *ca, const uint8_t *csr, size_t csr_len, const char *spiffe_id,
			  int64_t now, uint8_t *chain, size_t *chain_len, int64_t *not_after,
			  char error[CA_ERROR_LEN]);

/*
 * An authority whose key another process has: ca_issue() asks @issue, whose clock is that
 * process's, and what else there is to know is what ca_set_view() has said last. It can neither be
 * rotated nor dropped here. NULL: no memory.
 */
typedef enum sivp_reason ca_issue_fn(void *arg, const uint8_t *csr, size_t csr_len,
				     const char *spiffe_id, uint8_t *chain, size_t *chain_len,
				     int64_t *not_after, char error[CA_ERROR_LEN]);
struct ca *ca_new_remote(ca_issue_fn *issue, void *arg);
const struct ca_view *ca_view(const struct ca *ca);
void ca_set_view(struct ca *ca, const struct ca_view *view);

#endif
