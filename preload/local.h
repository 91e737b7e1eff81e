/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses that a peer must never be given as its alias. */
#ifndef _PRELOAD_LOCAL_H
#define _PRELOAD_LOCAL_H

#include <netinet/in.h>

/*
 * Why a service must not see @host (IPv4 as ::ffff:a.b.c.d) as the address of another VM, in words
 * that complete "ADDRESS is ...", or NULL if it may. Services trust loopback and their own
 * machine's addresses, so an alias may be neither. A doubt is a refusal.
 */
const char *local_reason(const struct in6_addr *host);

#endif
