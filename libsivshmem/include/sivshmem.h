/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The userspace API of AF_SIVSHMEM: addresses, connecting, listening, and who the peer is.
 *
 * What comes back is an ordinary socket: read, write, poll, shutdown and close are the kernel's.
 * Nothing here is needed to use the family; it saves the boilerplate and gives errors a text.
 *
 * Errors: a function that returns int returns 0 or more when it worked, and -errno when it did not;
 * the variable errno is left in an unspecified state. siv_strerror() has the text.
 *
 * Threads: there is no state behind this API, so every function may be called from any thread at
 * any time. siv_family(), siv_module_loaded(), siv_addr_parse() and siv_addr_format() are
 * async-signal-safe as well.
 *
 * Ownership: a returned descriptor belongs to the caller, who closes it. Strings and structs that
 * are passed in are not kept.
 */
#ifndef _SIVSHMEM_H
#define _SIVSHMEM_H

#include <stdbool.h>
#include <stddef.h>

#include <sivshmem/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that hold any address as text: "siv://" VM "/" SERVICE and the NUL. */
#define SIV_URL_LEN (6 + (SIV_VM_LEN - 1) + 1 + SIV_SERVICE_LEN)

/*
 * siv_family - the number of the address family, for socket() and ssiv_family
 *
 * It is what the loaded module says in /sys/module/af_sivshmem/parameters/family, and AF_SIVSHMEM
 * when the module is not loaded or /sys is not there. Always a number that socket() takes; whether
 * somebody answers is siv_module_loaded()'s question. Read anew at each call: the module may be
 * loaded again with another number.
 */
int siv_family(void);

/*
 * siv_module_loaded - does this kernel have the family?
 *
 * Returns 1 if it does, 0 if it does not, or -errno when that cannot be told (-ENOENT: no /sys).
 */
int siv_module_loaded(void);

/*
 * siv_name_valid - is this the name of a VM or a service?
 * @name: NUL-terminated
 * @size: bytes that it must fit in, the NUL included: SIV_VM_LEN or SIV_SERVICE_LEN
 *
 * Names are [a-z0-9._-] and start with a letter or a digit. Nothing is normalised.
 */
bool siv_name_valid(const char *name, size_t size);

/*
 * siv_addr_parse - make an address of its text
 * @url: "siv://VM/SERVICE", or "siv:///SERVICE": to connect, whichever VM the host says runs it;
 *       to listen, this VM
 * @addr: filled whole, family and trailing zeroes included; unchanged on error
 *
 * Returns 0, or -EINVAL when the text is anything else.
 */
int siv_addr_parse(const char *url, struct sockaddr_sivshmem *addr);

/*
 * siv_addr_format - make text of an address
 * @addr: the address; its family is not looked at
 * @buf: gets the text and a NUL; SIV_URL_LEN bytes are always enough
 * @size: bytes in @buf
 *
 * Returns the length without the NUL, -EINVAL for an address that breaks the rules for names,
 * flags or trailing bytes, or -ENOSPC. Nothing is written on error.
 */
int siv_addr_format(const struct sockaddr_sivshmem *addr, char *buf, size_t size);

/*
 * siv_connect - connect to a service
 * @url: as siv_addr_parse() takes it
 * @flags: 0, or SOCK_NONBLOCK and SOCK_CLOEXEC; and SOCK_SEQPACKET for records, else a stream
 *
 * Who we are is decided by the agent, from this process's uid, cgroup and executable. Blocks until
 * the handshake is done. With SOCK_NONBLOCK it returns at once, connected or not: wait for POLLOUT,
 * then read SO_ERROR; 0 is connected, anything else is an errno of the list below.
 *
 * Returns a descriptor, or
 *   -EINVAL        not an address, or other flags
 *   -EAFNOSUPPORT  the module is not loaded, or a sandbox forbids the family
 *   -ENETDOWN      no agent runs in this VM
 *   -EHOSTUNREACH  no such VM, or none (or several) that may be meant by siv:///SERVICE
 *   -EHOSTDOWN     that VM is not running
 *   -ECONNREFUSED  nobody listens there, or its backlog is full
 *   -EPROTOTYPE    it listens with the other type of socket
 *   -EACCES        this process is no service, or policy does not let it talk to that one
 *   -EKEYREJECTED, -EKEYEXPIRED, -EKEYREVOKED   the handshake failed, and why
 *   -ENOBUFS       no memory for another channel
 *   -ETIMEDOUT     no answer in time
 *   -EINTR         a signal handler without SA_RESTART ran; the attempt is given up
 *   or what socket(2) returns: -EMFILE, -ENFILE, -ENOMEM.
 */
int siv_connect(const char *url, int flags);

/*
 * siv_connect_as - connect to a service as a named one
 * @url, @flags: as for siv_connect()
 * @service: which of the services that this process may be; NULL lets the agent choose, which
 *           it does when exactly one matches
 *
 * Returns what siv_connect() returns. -EACCES is also: this process may not be @service.
 */
int siv_connect_as(const char *url, const char *service, int flags);

/*
 * siv_listen - listen as a service
 * @url: "siv:///SERVICE", or with this VM's own name
 * @backlog: how many connections may wait for siv_accept(), as for listen(2)
 * @flags: 0, or SOCK_NONBLOCK (for accepting) and SOCK_CLOEXEC; and SOCK_SEQPACKET
 *
 * Returns a descriptor, or
 *   -EINVAL         not an address, or other flags
 *   -EADDRNOTAVAIL  another VM's name, or no agent has said yet what this VM is called
 *   -EAFNOSUPPORT, -ENETDOWN   as for siv_connect()
 *   -EACCES         this process may not be that service
 *   -EADDRINUSE     another socket listens as that service
 *   or what socket(2) returns.
 */
int siv_listen(const char *url, int backlog, int flags);

/*
 * siv_accept - take the next connection
 * @listener: from siv_listen()
 * @peer: gets the authenticated peer; may be NULL
 * @flags: 0, or SOCK_NONBLOCK and SOCK_CLOEXEC for the new descriptor
 *
 * Returns a descriptor, or what accept4(2) returns: -EAGAIN with SOCK_NONBLOCK on the listener,
 * -EINTR, -EMFILE, -ENFILE, -EINVAL on a socket that does not listen. -ECONNABORTED: the peer was
 * gone again before it could be named.
 */
int siv_accept(int listener, struct siv_peer *peer, int flags);

/*
 * siv_peer - who is at the other end
 * @fd: a connected socket
 * @peer: filled: VM, service, SPIFFE ID, digest and expiry of the certificate. Its strings are
 *        checked to be NUL-terminated.
 *
 * It stays readable after the peer has closed. Returns 0, -ENOTCONN before the connection is made,
 * -ENOPROTOOPT or -EOPNOTSUPP for a socket of another family, -EBADF, -ENOTSOCK, or -EPROTO when
 * module and library do not fit together.
 */
int siv_peer(int fd, struct siv_peer *peer);

/*
 * siv_strerror - what an errno means on this family's sockets, and what to do about it
 * @err: an errno, positive or negative
 *
 * For numbers that mean nothing special here it is strerror's text. Never NULL, never freed.
 */
const char *siv_strerror(int err);

#ifdef __cplusplus
}
#endif

#endif
