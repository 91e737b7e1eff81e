/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses of other families, with which a swapped socket answers getsockname and getpeername. */
#ifndef _PRELOAD_ALIAS_H
#define _PRELOAD_ALIAS_H

#include <stdbool.h>
#include <sys/socket.h>

#include <sivshmem/abi.h>

#include "rules.h"

/*
 * What clients that were not bound report as their own address: documentation addresses (RFC 5737,
 * RFC 3849), which are never anybody's. Peers without an alias get 192.0.2.1 from the kernel.
 */
#define ALIAS_SELF_IPV4 0xc0000202u /* 192.0.2.2 */
#define ALIAS_SELF_IPV6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" /* 2001:db8::2 */

/* An endpoint that a rule matched, in the length in which the kernel reports such addresses. */
void alias_set(struct siv_alias_addr *alias, const struct sockaddr *addr, socklen_t len);

/*
 * alias_self - a client's own address
 * @fd: the program's socket, which may be bound
 * @new: the socket that takes its place; its inode makes the port differ between sockets
 * @peer: what it connects to
 */
int alias_self(struct siv_alias_addr *alias, int fd, int new, const struct siv_alias_addr *peer);

/*
 * alias_peer - what a listener of @family reports for connections from a VM
 * Returns false if that family cannot express it (an IPv6 address on an IPv4 socket).
 */
bool alias_peer(struct siv_alias_peer *alias, const struct rules_peer *peer, sa_family_t family);

#endif
