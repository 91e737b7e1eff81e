/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The authority's key, in a process of its own. That process reads host.conf and the key by itself,
 * is confined, and can be asked for four things: a certificate, for a service that its own copy of
 * the policy lists for that VM; to read host.conf again; to rotate; to drop the former authority.
 * How long certificates last, and what time it is, it knows for itself. So who takes hostd over,
 * which reads what guests write, gets certificates of this host's services while he is there, and
 * no key to take away.
 *
 * Calls block until it has answered, SIGNER_TIMEOUT_S at most.
 */
#ifndef SIVSHMEM_HOSTD_SIGNER_H
#define SIVSHMEM_HOSTD_SIGNER_H

#include "broker/ca.h"
#include "common/confine.h"
#include "common/loop.h"

#define SIGNER_TIMEOUT_S 10 /* for an answer; it signs in milliseconds */

struct signer;

/*
 * Forks it; it reads the file @config, and opens the authority that is named there, or makes it.
 * NULL with a text. To be called before anything is read that a guest wrote.
 */
struct signer *signer_open(const char *config, enum confine_mode sandbox,
			   char error[CA_ERROR_LEN]);
/* It ends. */
void signer_close(struct signer *signer);

/* The authority without its key: for the broker. The signer's. */
struct ca *signer_ca(struct signer *signer);

/*
 * Calls @gone once if the process ends, or does not answer: nothing can be signed any more. 0 or
 * -errno.
 */
int signer_watch(struct signer *signer, struct loop *loop, void (*gone)(void *arg), void *arg);

/*
 * Each is 0, or -1 with a text and nothing has changed; signer_ca() knows what is so now.
 * signer_reload(): services, lifetime, and the authority's files, of which others are rotated to.
 */
int signer_reload(struct signer *signer, char error[CA_ERROR_LEN]);
int signer_rotate(struct signer *signer, char error[CA_ERROR_LEN]);
int signer_drop(struct signer *signer, char error[CA_ERROR_LEN]);

#endif
