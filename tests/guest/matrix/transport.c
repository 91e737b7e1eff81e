// SPDX-License-Identifier: BSD-2-Clause
/*
 * Addresses and connections over each transport: what differs apart from what is compared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>
#include <sivshmem.h>

#include "run.h"

#define PORT_BASE    10000 /* below those that the kernel hands out */
#define PORT_RANGE   20000
#define PER_RUN	     4 /* addresses of one run */
#define SMALL_BUFFER 8192

const char *via_name(enum via via)
{
	static const char *const names[] = {
		[VIA_UNIX] = "AF_UNIX",
		[VIA_TCP] = "TCP",
		[VIA_VSOCK] = "AF_VSOCK",
		[VIA_SIV] = "AF_SIVSHMEM",
	};

	return names[via];
}

int via_family(const struct side *s)
{
	switch (s->via) {
	case VIA_UNIX:
		return AF_UNIX;
	case VIA_TCP:
		return AF_INET;
	case VIA_VSOCK:
		return AF_VSOCK;
	default:
		return siv_family();
	}
}

static socklen_t siv_address(struct side *s, int n, struct sockaddr_sivshmem *addr, bool to_bind)
{
	size_t len;

	if (siv_addr_parse(s->url, addr))
		t_fail(s, "%s: not an address", s->url);
	if (to_bind)
		memset(addr->ssiv_vm, 0, sizeof(addr->ssiv_vm));
	if (s->exact) {
		if (n)
			t_fail(s, "address %d: only the first can be had between two VMs", n);
		return sizeof(*addr);
	}
	len = strlen(addr->ssiv_service);
	snprintf(addr->ssiv_service + len, sizeof(addr->ssiv_service) - len, "-%u-%d", s->number,
		 n);
	return sizeof(*addr);
}

socklen_t address_of(struct side *s, int n, struct sockaddr_storage *addr, bool to_bind)
{
	unsigned int port = PORT_BASE + (s->number * PER_RUN + n) % PORT_RANGE;
	struct sockaddr_in *in = (void *)addr;
	struct sockaddr_un *un = (void *)addr;
	struct sockaddr_vm *vm = (void *)addr;

	memset(addr, 0, sizeof(*addr));
	switch (s->via) {
	case VIA_UNIX: /* abstract: nothing stays behind */
		un->sun_family = AF_UNIX;
		return offsetof(struct sockaddr_un, sun_path) + 1 +
		       sprintf(un->sun_path + 1, "siv-matrix/%u/%u/%d", s->runner, s->number, n);
	case VIA_TCP:
		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in->sin_port = htons(port);
		return sizeof(*in);
	case VIA_VSOCK:
		vm->svm_family = AF_VSOCK;
		vm->svm_cid = VMADDR_CID_LOCAL;
		vm->svm_port = port;
		return sizeof(*vm);
	default:
		return siv_address(s, n, (void *)addr, to_bind);
	}
}

/* What is no part of the comparison, but the transport needs. */
static void prepare(struct side *s, int fd)
{
	int on = 1, size = SMALL_BUFFER;

	if (fd < 0)
		return;
	if (s->via == VIA_TCP)
		T_CHECK(s, !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	if (s->test->flags & SMALL) {
		T_CHECK(s, !setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
		T_CHECK(s, !setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	}
}

int make_socket(struct side *s, int flags)
{
	int fd = socket(via_family(s), s->type | flags, 0);

	if (fd < 0)
		t_fail(s, "socket: %m");
	prepare(s, fd);
	return fd;
}

int make_listener(struct side *s, int n, int backlog)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, n, &addr, true);
	int fd = make_socket(s, 0);

	if (bind(fd, (void *)&addr, len))
		t_fail(s, "bind: %m");
	if (listen(fd, backlog))
		t_fail(s, "listen: %m");
	return fd;
}

int make_connected(struct side *s, int n)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, n, &addr, false);
	int fd = make_socket(s, 0);

	if (connect(fd, (void *)&addr, len))
		t_fail(s, "connect: %m");
	return fd;
}

/* The connection that a case begins with. */
void side_connect(struct side *s)
{
	int listener;

	if (!s->server) {
		hear(s);
		s->fd = make_connected(s, 0);
	} else {
		listener = make_listener(s, 0, 1);
		tell(s);
		s->fd = accept(listener, NULL, NULL);
		if (s->fd < 0)
			t_fail(s, "accept: %m");
		close(listener);
	}
	meet(s);
}

int t_socket(struct side *s, int flags)
{
	int fd;

	t_begin(s, "socket(%s%s)", flags & SOCK_NONBLOCK ? "NONBLOCK" : "",
		flags & SOCK_CLOEXEC ? "CLOEXEC" : "");
	fd = t_ok(s, socket(via_family(s), s->type | flags, 0));
	prepare(s, fd);
	return fd;
}

int t_bind(struct side *s, int fd, int n)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, n, &addr, true);

	t_begin(s, "bind(%d)", n);
	return t_ok(s, bind(fd, (void *)&addr, len));
}

int t_listen(struct side *s, int fd, int backlog)
{
	t_begin(s, "listen(%d)", backlog);
	return t_ok(s, listen(fd, backlog));
}

int t_connect(struct side *s, int fd, int n)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, n, &addr, false);

	t_begin(s, "connect(%d)", n);
	return t_ok(s, connect(fd, (void *)&addr, len));
}

int t_accept(struct side *s, int fd, int flags)
{
	t_begin(s, "accept4(%s%s)", flags & SOCK_NONBLOCK ? "NONBLOCK" : "",
		flags & SOCK_CLOEXEC ? "CLOEXEC" : "");
	return t_ok(s, accept4(fd, NULL, NULL, flags));
}

int t_close(struct side *s, int fd)
{
	t_begin(s, "close()");
	return t_ok(s, close(fd));
}

int t_shutdown(struct side *s, int fd, int how)
{
	static const char *const names[] = { "RD", "WR", "RDWR" };

	if (how >= SHUT_RD && how <= SHUT_RDWR)
		t_begin(s, "shutdown(%s)", names[how]);
	else
		t_begin(s, "shutdown(%d)", how);
	return t_ok(s, shutdown(fd, how));
}

int t_getname(struct side *s, int fd, bool peer)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);
	int ret;

	t_begin(s, "%s()", peer ? "getpeername" : "getsockname");
	ret = peer ? getpeername(fd, (void *)&addr, &len) : getsockname(fd, (void *)&addr, &len);
	if (ret)
		t_ok(s, ret);
	else
		t_end(s, "%s", addr.ss_family == via_family(s) ? "own family" : "another family");
	return ret;
}
