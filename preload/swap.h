/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Putting an AF_SIVSHMEM socket in the place of the one that a program passed in.
 *
 * The number stays, the file behind it changes: flags, options and epoll registrations go along,
 * and the addresses that the program expects are stored in the new socket. Nothing is remembered
 * here. When a call fails the program's own socket is behind the number, as it was.
 *
 * Async-signal-safe and thread-safe, as connect() and bind() are. They need up to four descriptors
 * for the time of the call, and /proc.
 */
#ifndef _PRELOAD_SWAP_H
#define _PRELOAD_SWAP_H

#include <sys/socket.h>

#include "rules.h"

/* Not a socket that the rule is about (datagram, connected, other protocol): call the original. */
#define SWAP_PASS 1

/*
 * swap_connect, swap_bind - what connect() and bind() do for an endpoint that @rule matches
 * @rules: for `as` and `peer`
 * @fd, @addr, @len: as the program passed them
 *
 * Return 0, SWAP_PASS, or -errno: the kernel module's (siv_strerror), of making a descriptor
 * (EMFILE, ENFILE, ENOMEM), of what cannot be carried over, or
 *   EOPNOTSUPP  connect: this socket was bound by a listening rule
 *   ENOSPC      more than WATCHES_MAX epoll registrations of @fd, or epoll's limit is reached
 *   ENOENT      /proc is not mounted, so that registrations would get lost
 */
int swap_connect(const struct rules *rules, const struct rule *rule, int fd,
		 const struct sockaddr *addr, socklen_t len);
int swap_bind(const struct rules *rules, const struct rule *rule, int fd,
	      const struct sockaddr *addr, socklen_t len);

#endif
