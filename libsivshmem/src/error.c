// SPDX-License-Identifier: BSD-2-Clause
/* What errno means on AF_SIVSHMEM sockets, in words, with what to do. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sivshmem.h>

#include "internal.h"

static const struct {
	int err;
	const char *text;
} texts[] = {
	{ EAFNOSUPPORT, "the kernel has no AF_SIVSHMEM: modprobe af_sivshmem, or let the sandbox "
			"allow the family (systemd: RestrictAddressFamilies=AF_ASH)" },
	{ ENETDOWN, "no agent is registered in this VM: start sivshmem-agent" },
	{ EHOSTUNREACH, "no such VM, or not exactly one runs that service: see sivctl explain" },
	{ EHOSTDOWN, "that VM is not running: start it" },
	{ ECONNREFUSED, "nobody listens as that service there, or its backlog is full: start the "
			"service, or raise its backlog" },
	{ EPROTOTYPE, "that service listens with another socket type there: SOCK_STREAM and "
		      "SOCK_SEQPACKET do not fit together" },
	{ EACCES, "refused by policy: this process matches no service (or several, without bind), "
		  "or that service may not be reached: see sivctl explain and the host's audit "
		  "log" },
	{ EADDRINUSE, "another socket is this service already: stop it" },
	{ EKEYREJECTED, "the handshake failed, a certificate was not accepted: see the agents' "
			"logs on both sides" },
	{ EKEYEXPIRED, "a certificate has expired: see whether the agents reach the host to renew "
		       "theirs" },
	{ EKEYREVOKED, "a certificate was revoked: the host's audit log says when and why" },
	{ ENOBUFS, "no channel memory is left: close connections, or give the link more in the "
		   "host's configuration" },
	{ ETIMEDOUT, "no answer in time: see whether agent and sivshmem-hostd run" },
	{ ECONNRESET, "the peer's VM is gone, or the channel was reset: connect again" },
	{ ENOTCONN, "not connected" },
	{ EPROTO, "library and kernel module do not fit together: install the same version of "
		  "both" },
};

SIV_PUBLIC const char *siv_strerror(int err)
{
	const char *text;

	err = abs(err);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].err == err)
			return texts[i].text;
	text = strerrordesc_np(err);
	return text ? text : "unknown error";
}
