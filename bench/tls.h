/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams of TLS 1.3 over connected sockets, both sides authenticated, as the agents authenticate
 * each other: the same key exchange and kind of certificate, no tickets and no resumption.
 */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <stdbool.h>

#include "stream.h"

/*
 * Reads ca.pem, cert.pem and key.pem of the folder once for the process: that takes longer than a
 * handshake. Returns 0 or -EINVAL, with the reason on stderr.
 */
int tls_setup(const char *folder);

/*
 * Shakes hands over @fd, which the stream owns once it is returned. NULL: *@err is -errno;
 * -EKEYREJECTED for all that OpenSSL says, -ENOENT without tls_setup().
 */
struct stream *tls_stream(int fd, bool server, int *err);

#endif
