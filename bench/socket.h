/* SPDX-License-Identifier: BSD-2-Clause */
/* The paths that are sockets: how they are named, connected and listened on. */
#ifndef BENCH_SOCKET_H
#define BENCH_SOCKET_H

#include <netinet/in.h>
#include <sivshmem.h>
#include <stdbool.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

#include "stream.h"

/* What help says; "ring:" is not a socket and is known to siv-bench.c alone. */
#define ENDPOINT_FORMS "siv://VM/SERVICE, tcp:ADDRESS:PORT, tls:ADDRESS:PORT, unix:/PATH or " \
		       "vsock:PORT (in this VM)"

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_sivshmem siv;
		struct sockaddr_in in;
		struct sockaddr_un un;
		struct sockaddr_vm vm;
	};
	socklen_t len;
	uint32_t ring; /* bytes of a channel's rings, or 0 for what the kernel takes */
	bool tls; /* over it; what is here only carries it */
};

/* Returns 0, or -EINVAL when @text is none of the forms. */
int endpoint_parse(const char *text, struct endpoint *endpoint);

/* Return a descriptor or -errno. */
int endpoint_connect(const struct endpoint *endpoint);
int endpoint_listen(const struct endpoint *endpoint);
int endpoint_accept(int listener);

/* The stream over @fd, which it owns once it is returned. NULL: *@err is -errno. */
struct stream *socket_stream(int fd, int *err);

/* The descriptor of such a stream, which is gone then; -EINVAL, and it is not, for any other. */
int socket_take(struct stream *stream);

#endif
