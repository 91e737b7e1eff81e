/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where OpenSSL keeps what must not be found in a daemon's memory.
 *
 * Private keys lie in its secure heap: locked, between pages that fault. All else that it allocates
 * is cleansed when it is freed, because it makes copies that it does not cleanse itself: reading a
 * key leaves ten of them (OpenSSL 3.0's decoders). So are sessions with what resumes them, and the
 * secrets of a handshake.
 */
#ifndef SIVSHMEM_SECRETS_H
#define SIVSHMEM_SECRETS_H

/* Before anything else is asked of OpenSSL. Logs what cannot be had. */
void secrets_init(void);

#endif
