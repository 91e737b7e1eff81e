/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * OpenSSL's secure heap: private keys lie there, locked, between pages that fault, and are cleansed
 * when they are freed. Not for what links no OpenSSL.
 */
#ifndef SIVSHMEM_SECURE_HEAP_H
#define SIVSHMEM_SECURE_HEAP_H

#include <openssl/crypto.h>

#include "log.h"

#define SECURE_HEAP_BYTES (256 * 1024) /* a power of two; a P-256 key takes under 1 KiB */
#define SECURE_HEAP_MIN   32           /* bytes of its smallest block */

/* Before the first key. */
static inline void secure_heap_open(void)
{
	int done = CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_MIN);

	if (done == 0)
		log_warning("keys lie in ordinary memory: OpenSSL has no secure heap for them");
	else if (done != 1) /* all but the locking */
		log_warning("keys may be swapped out: raise the limit of locked memory");
}

#endif
