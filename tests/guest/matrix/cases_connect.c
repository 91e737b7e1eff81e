// SPDX-License-Identifier: BSD-2-Clause
/*
 * Making sockets and connecting them.
 */
#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

#include "matrix.h"

#define WRONG_FAMILY "EAFNOSUPPORT is what POSIX and TCP say"

static int t_connect_to(struct side *s, int fd, const char *what, const void *addr, socklen_t len)
{
	t_begin(s, "connect(%s)", what);
	return t_ok(s, connect(fd, addr, len));
}

static int connect_now(struct side *s, int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, 0, &addr, false);

	return connect(fd, (void *)&addr, len);
}

static int t_any_socket(struct side *s, const char *what, int type, int protocol)
{
	int fd;

	t_begin(s, "socket(%s)", what);
	fd = t_ok(s, socket(via_family(s), type, protocol));
	if (fd >= 0)
		close(fd);
	return fd;
}

static void server_accepts(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	tell(s);
	s->fd = t_accept(s, listener, 0);
	meet(s);
}

static void c_plain(struct side *s)
{
	hear(s);
	s->fd = t_socket(s, 0);
	t_getname(s, s->fd, true);
	t_connect(s, s->fd, 0);
	t_getname(s, s->fd, false);
	t_getname(s, s->fd, true);
	t_poll(s, s->fd, POLL_USUAL);
	meet(s);
}

static void s_plain(struct side *s)
{
	server_accepts(s);
	t_getname(s, s->fd, false);
	t_poll(s, s->fd, POLL_USUAL);
}

static void c_nobody(struct side *s)
{
	int fd = t_socket(s, 0);

	t_connect(s, fd, 0);
	t_poll(s, fd, POLL_USUAL);
	T_GETOPT(s, fd, SO_ERROR);
	t_connect(s, fd, 0);
	t_send(s, fd, "x", MSG_NOSIGNAL);
	t_close(s, fd);
}

static void c_retry(struct side *s)
{
	int fd = t_socket(s, 0);

	t_connect(s, fd, 0);
	tell(s);
	hear(s);
	t_connect(s, fd, 0);
	t_send(s, fd, "hello", 0);
	meet(s);
}

static void s_retry(struct side *s)
{
	int listener;

	hear(s);
	listener = make_listener(s, 0, 4);
	tell(s);
	s->fd = t_accept(s, listener, 0);
	t_recv(s, s->fd, 16, 0);
	meet(s);
}

static void again(struct side *s)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, 0, &addr, false);

	t_connect_to(s, s->fd, "the same", &addr, len);
	t_send(s, s->fd, "still", 0);
	t_recv(s, s->fd, 16, 0);
	T_GETOPT(s, s->fd, SO_ERROR);
	meet(s);
}

static void c_again(struct side *s)
{
	hear(s);
	s->fd = make_connected(s, 0);
	again(s);
}

static void s_again(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	tell(s);
	s->fd = accept(listener, NULL, NULL);
	again(s);
}

static void s_connect_listener(struct side *s)
{
	int fd = make_listener(s, 0, 4);

	t_connect(s, fd, 0);
	T_GETOPT(s, fd, SO_ACCEPTCONN);
}

static void c_before_accept(struct side *s)
{
	meet(s);
	s->fd = t_socket(s, 0);
	t_connect(s, s->fd, 0);
	t_send(s, s->fd, "early", 0);
	t_poll(s, s->fd, POLL_USUAL);
	meet(s);
	t_recv(s, s->fd, 16, 0);
}

static void s_before_accept(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	meet(s);
	meet(s);
	s->fd = t_accept(s, listener, 0);
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "late", 0);
}

static void c_gone_before_accept(struct side *s)
{
	meet(s);
	s->fd = t_socket(s, 0);
	t_connect(s, s->fd, 0);
	t_send(s, s->fd, "last words", 0);
	t_close(s, s->fd);
	meet(s);
}

static void c_gone_silently(struct side *s)
{
	meet(s);
	s->fd = t_socket(s, 0);
	t_connect(s, s->fd, 0);
	t_close(s, s->fd);
	meet(s);
}

static void s_gone_before_accept(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	meet(s);
	meet(s);
	s->fd = t_accept(s, listener, 0);
	t_await(s, s->fd, POLL_USUAL, POLLIN | POLLHUP);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "x", 0);
	t_sigpipes(s);
}

static void c_half_before_accept(struct side *s)
{
	meet(s);
	s->fd = t_socket(s, 0);
	t_connect(s, s->fd, 0);
	t_send(s, s->fd, "all", 0);
	t_shutdown(s, s->fd, SHUT_WR);
	meet(s);
	t_recv(s, s->fd, 16, 0);
}

static void s_half_before_accept(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	meet(s);
	meet(s);
	s->fd = t_accept(s, listener, 0);
	t_await(s, s->fd, POLL_USUAL, POLLIN | POLLRDHUP);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "answer", 0);
}

/* Whether it is done at once depends on who is quicker; that it is done by POLLOUT does not. */
static void c_nonblock(struct side *s)
{
	int ret;

	hear(s);
	s->fd = t_socket(s, SOCK_NONBLOCK);
	t_begin(s, "connect()");
	ret = connect_now(s, s->fd);
	t_end(s, "%s", !ret || errno == EINPROGRESS ? "ok or EINPROGRESS" : strerrorname_np(errno));
	t_await(s, s->fd, POLL_USUAL, POLLOUT);
	T_GETOPT(s, s->fd, SO_ERROR);
	if (ret && connect_now(s, s->fd))
		t_fail(s, "connect, asked again: %m");
	t_connect(s, s->fd, 0);
	t_recv(s, s->fd, 1, 0);
	t_send(s, s->fd, "hello", 0);
	meet(s);
}

static void s_nonblock(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	tell(s);
	s->fd = t_accept(s, listener, 0);
	t_recv(s, s->fd, 16, 0);
	meet(s);
}

/* A non-blocking socket whose attempt is under way: the answer is rarely quicker than the call. */
static int refused_later(struct side *s)
{
	int fd, tries;

	for (tries = 0; tries < 200; tries++) {
		fd = make_socket(s, SOCK_NONBLOCK);
		if (connect_now(s, fd) && errno == EINPROGRESS)
			return fd;
		if (errno != ECONNREFUSED)
			t_fail(s, "connect: %m");
		close(fd);
	}
	t_fail(s, "never EINPROGRESS");
}

static void c_nonblock_nobody(struct side *s)
{
	int fd = refused_later(s);

	t_await(s, fd, POLL_USUAL, POLLERR);
	T_GETOPT(s, fd, SO_ERROR);
	T_GETOPT(s, fd, SO_ERROR);
	t_poll(s, fd, POLLPRI);
}

static void c_nonblock_nobody_again(struct side *s)
{
	int fd = refused_later(s);

	await_poll(s, fd, POLLERR);
	t_connect(s, fd, 0);
	T_GETOPT(s, fd, SO_ERROR);
}

static void c_wrong_family(struct side *s)
{
	struct sockaddr_storage addr = { .ss_family = AF_NETLINK };
	int fd = t_socket(s, 0);

	t_connect_to(s, fd, "another family", &addr, sizeof(struct sockaddr_un));
	T_GETOPT(s, fd, SO_ERROR);
}

static void c_unspec(struct side *s)
{
	struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };

	t_connect_to(s, s->fd, "AF_UNSPEC", &addr, sizeof(struct sockaddr_un));
	t_send(s, s->fd, "still", 0);
	meet(s);
}

static void s_unspec(struct side *s)
{
	t_recv(s, s->fd, 16, 0);
	meet(s);
}

static void c_short_address(struct side *s)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, 0, &addr, false);
	int fd = t_socket(s, 0);

	(void)len;
	t_connect_to(s, fd, "1 byte", &addr, 1);
	t_connect_to(s, fd, "0 bytes", &addr, 0);
	t_connect_to(s, fd, "-1 bytes", &addr, -1);
	t_connect_to(s, fd, "200 bytes", &addr, 200);
	t_connect_to(s, fd, "a bad pointer", (void *)16, sizeof(struct sockaddr_un));
}

static void c_types(struct side *s)
{
	t_any_socket(s, "SOCK_DGRAM", SOCK_DGRAM, 0);
	t_any_socket(s, "SOCK_RAW", SOCK_RAW, 0);
	t_any_socket(s, "SOCK_RDM", SOCK_RDM, 0);
	t_any_socket(s, "SOCK_DCCP", SOCK_DCCP, 0);
	t_any_socket(s, "type 0", 0, 0);
	t_any_socket(s, "type 15", 15, 0);
	t_any_socket(s, "type -1", -1, 0);
	t_any_socket(s, "an unknown flag", s->type | 0x10000, 0);
}

static void c_protocols(struct side *s)
{
	t_any_socket(s, "protocol 0", s->type, 0);
	t_any_socket(s, "protocol of the family", s->type, via_family(s));
	t_any_socket(s, "another protocol", s->type, 77);
	t_any_socket(s, "protocol -1", s->type, -1);
}

static void c_flags(struct side *s)
{
	int plain = t_socket(s, 0), nonblock = t_socket(s, SOCK_NONBLOCK);
	int cloexec = t_socket(s, SOCK_CLOEXEC);

	t_note(s, "O_NONBLOCK: %d %d", !!(fcntl(plain, F_GETFL) & O_NONBLOCK),
	       !!(fcntl(nonblock, F_GETFL) & O_NONBLOCK));
	t_note(s, "FD_CLOEXEC: %d %d", fcntl(plain, F_GETFD), fcntl(cloexec, F_GETFD));
	t_note(s, "O_RDWR: %d", (fcntl(plain, F_GETFL) & O_ACCMODE) == O_RDWR);
}

static void c_socketpair(struct side *s)
{
	int pair[2];

	t_begin(s, "socketpair()");
	t_ok(s, socketpair(via_family(s), s->type, 0, pair));
}

static void c_one_process(struct side *s)
{
	int listener = make_listener(s, 1, 4), fd = t_socket(s, 0), accepted;

	t_connect(s, fd, 1);
	accepted = t_accept(s, listener, 0);
	t_send(s, fd, "to myself", 0);
	t_recv(s, accepted, 16, 0);
	t_send(s, accepted, "and back", 0);
	t_recv(s, fd, 16, 0);
	t_close(s, fd);
	t_recv(s, accepted, 16, 0);
}

static const struct testcase cases[] = {
	{ "connect and accept, names of both ends, writable at once", BOTH, c_plain, s_plain, RAW },
	{ "connecting to a name that nobody listens as is refused each time", BOTH, c_nobody, NULL,
	  RAW },
	{ "a socket that was refused can connect later", BOTH, c_retry, s_retry, RAW },
	{ "connecting twice is EISCONN, on either side, and harms nothing", BOTH, c_again, s_again,
	  RAW },
	{ "a listener cannot connect", BOTH, NULL, s_connect_listener, RAW },
	{ "connect returns before accept, and what is sent waits", BOTH, c_before_accept,
	  s_before_accept, RAW },
	{ "accept gives a connection that was closed, with what it sent", BOTH,
	  c_gone_before_accept, s_gone_before_accept, RAW },
	{ "accept gives a connection that was closed in silence", BOTH, c_gone_silently,
	  s_gone_before_accept, RAW },
	{ "accept gives a connection that is half closed, and it is answered", BOTH,
	  c_half_before_accept, s_half_before_accept, RAW },
	{ "a non-blocking connect is done by POLLOUT, then EISCONN", BOTH, c_nonblock, s_nonblock,
	  RAW },
	{ "a non-blocking connect to nobody is POLLERR, and SO_ERROR tells why once", STREAM,
	  c_nonblock_nobody, NULL, RAW, VIA_TCP, "AF_UNIX connects at once" },
	{ "a non-blocking connect that failed tells why when asked again", STREAM,
	  c_nonblock_nobody_again, NULL, RAW, VIA_TCP, "AF_UNIX connects at once" },
	{ "an address of another family", BOTH, c_wrong_family, NULL, RAW,
	  .differences = { { "connect(another family) = EINVAL",
			     "connect(another family) = EAFNOSUPPORT", WRONG_FAMILY } } },
	{ "AF_UNSPEC does not end a connection", BOTH, c_unspec, s_unspec,
	  .differences = { { "connect(AF_UNSPEC) = EINVAL", "connect(AF_UNSPEC) = EAFNOSUPPORT",
			     WRONG_FAMILY } } },
	{ "addresses too short, too long or nowhere", BOTH, c_short_address, NULL, RAW },
	{ "types that are none", STREAM, c_types, NULL, RAW,
	  .differences = { { "socket(SOCK_DGRAM) = ok", "socket(SOCK_DGRAM) = ESOCKTNOSUPPORT",
			     "a datagram has no connection, and so no authenticated peer" },
			   { "socket(SOCK_RAW) = ok", "socket(SOCK_RAW) = ESOCKTNOSUPPORT",
			     "AF_UNIX takes it for SOCK_DGRAM" } } },
	{ "protocols: 0 and the family's own", BOTH, c_protocols, NULL, RAW },
	{ "SOCK_NONBLOCK and SOCK_CLOEXEC of socket()", BOTH, c_flags, NULL, RAW },
	{ "pairs of sockets", BOTH, c_socketpair, NULL, RAW,
	  .differences = { { "socketpair() = ok", "socketpair() = EOPNOTSUPP",
			     "both ends are in one process: there is no peer to authenticate" } } },
	{ "one process is both ends", BOTH, c_one_process, NULL, RAW | LOCAL },
};

const struct group group_connect = { "connect", cases, ARRAY_SIZE(cases) };
