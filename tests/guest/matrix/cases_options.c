// SPDX-License-Identifier: BSD-2-Clause
/*
 * Socket options and ioctls.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "matrix.h"

#define SOL_NONE 4711

static void t_getopt_raw(struct side *s, int fd, const char *what, int level, int name, void *val,
			 socklen_t *len)
{
	socklen_t before = len ? *len : 0;

	t_begin(s, "getsockopt(%s)", what);
	if (t_ok(s, getsockopt(fd, level, name, val, len)) == 0 && len)
		t_note(s, "length %d of %d", (int)*len, (int)before);
}

static void t_setopt_raw(struct side *s, int fd, const char *what, int level, int name,
			 const void *val, socklen_t len)
{
	t_begin(s, "setsockopt(%s)", what);
	t_ok(s, setsockopt(fd, level, name, val, len));
}

static void identity(struct side *s, int fd)
{
	socklen_t len = sizeof(int);
	int domain = -1;

	T_GETOPT(s, fd, SO_TYPE);
	T_GETOPT(s, fd, SO_PROTOCOL);
	T_GETOPT(s, fd, SO_ACCEPTCONN);
	T_GETOPT(s, fd, SO_ERROR);
	T_CHECK(s, !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len));
	t_note(s, "SO_DOMAIN: %s", domain == via_family(s) ? "own family" : "another");
}

static void c_identity(struct side *s)
{
	int fd = t_socket(s, 0);

	identity(s, fd);
	identity(s, s->fd);
}

static void s_identity(struct side *s)
{
	identity(s, s->fd);
}

static void c_usual(struct side *s)
{
	int fd = make_socket(s, 0);

	T_GETOPT(s, fd, SO_REUSEADDR);
	T_SETOPT(s, fd, SO_REUSEADDR, 1);
	T_GETOPT(s, fd, SO_REUSEADDR);
	T_GETOPT(s, fd, SO_KEEPALIVE);
	T_SETOPT(s, fd, SO_KEEPALIVE, 1);
	T_GETOPT(s, fd, SO_KEEPALIVE);
	T_SETOPT(s, fd, SO_KEEPALIVE, 0);
	T_GETOPT(s, fd, SO_BROADCAST);
	T_SETOPT(s, fd, SO_BROADCAST, 1);
	T_GETOPT(s, fd, SO_OOBINLINE);
	T_SETOPT(s, fd, SO_OOBINLINE, 1);
	T_GETOPT(s, fd, SO_OOBINLINE);
	T_SETOPT(s, fd, SO_PRIORITY, 3);
	T_GETOPT(s, fd, SO_PRIORITY);
	T_SETOPT(s, fd, SO_DONTROUTE, 1);
	T_GETOPT(s, fd, SO_DONTROUTE);
	T_SETOPT(s, fd, SO_TIMESTAMP, 1);
	T_GETOPT(s, fd, SO_TIMESTAMP);
	T_GETOPT(s, fd, SO_RCVLOWAT);
	T_GETOPT(s, fd, SO_SNDLOWAT);
	T_SETOPT(s, fd, SO_SNDLOWAT, 10);
	T_SETOPT(s, fd, SO_TYPE, SOCK_STREAM);
	T_SETOPT(s, fd, SO_ERROR, 0);
	T_SETOPT(s, fd, SO_ACCEPTCONN, 0);
	T_SETOPT(s, fd, SO_ZEROCOPY, 1);
}

static void c_linger(struct side *s)
{
	struct linger l = { 1, 7 };
	socklen_t len = sizeof(l);

	t_setopt_raw(s, s->fd, "SO_LINGER", SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	memset(&l, 0, sizeof(l));
	t_getopt_raw(s, s->fd, "SO_LINGER", SOL_SOCKET, SO_LINGER, &l, &len);
	t_note(s, "{%d, %d}", l.l_onoff, l.l_linger);
	t_setopt_raw(s, s->fd, "SO_LINGER, 4 bytes", SOL_SOCKET, SO_LINGER, &l, 4);
}

static void c_timeouts(struct side *s)
{
	struct timeval t = { .tv_sec = 5, .tv_usec = 500000 }, bad = { .tv_usec = 2000000 };
	struct timeval past = { .tv_sec = -1 }, got;
	socklen_t len = sizeof(got);

	t_setopt_raw(s, s->fd, "SO_RCVTIMEO", SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	t_getopt_raw(s, s->fd, "SO_RCVTIMEO", SOL_SOCKET, SO_RCVTIMEO, &got, &len);
	t_note(s, "%ld.%06ld", got.tv_sec, got.tv_usec);
	t_setopt_raw(s, s->fd, "SO_SNDTIMEO", SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	t_getopt_raw(s, s->fd, "SO_SNDTIMEO", SOL_SOCKET, SO_SNDTIMEO, &got, &len);
	t_note(s, "%ld.%06ld", got.tv_sec, got.tv_usec);
	t_setopt_raw(s, s->fd, "SO_RCVTIMEO, 4 bytes", SOL_SOCKET, SO_RCVTIMEO, &t, 4);
	t_setopt_raw(s, s->fd, "SO_RCVTIMEO, 2000000 us", SOL_SOCKET, SO_RCVTIMEO, &bad,
		     sizeof(bad));
	/* a time that has passed does not wait */
	t_setopt_raw(s, s->fd, "SO_RCVTIMEO, -1 s", SOL_SOCKET, SO_RCVTIMEO, &past, sizeof(past));
	t_recv(s, s->fd, 1, 0);
}

static void c_wrong(struct side *s)
{
	socklen_t len = sizeof(int);
	int v = 1;

	t_getopt_raw(s, s->fd, "an unknown option", SOL_SOCKET, 4711, &v, &len);
	t_setopt_raw(s, s->fd, "an unknown option", SOL_SOCKET, 4711, &v, sizeof(v));
	t_getopt_raw(s, s->fd, "an unknown level", SOL_NONE, 1, &v, &len);
	t_setopt_raw(s, s->fd, "an unknown level", SOL_NONE, 1, &v, sizeof(v));
	t_getopt_raw(s, s->fd, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, &v, &len);
	t_setopt_raw(s, s->fd, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, &v, sizeof(v));
}

static void c_wrong_lengths(struct side *s)
{
	socklen_t len = 2;
	int v = 1;

	t_setopt_raw(s, s->fd, "2 bytes", SOL_SOCKET, SO_KEEPALIVE, &v, 2);
	t_setopt_raw(s, s->fd, "0 bytes", SOL_SOCKET, SO_KEEPALIVE, &v, 0);
	t_setopt_raw(s, s->fd, "-1 bytes", SOL_SOCKET, SO_KEEPALIVE, &v, -1);
	t_setopt_raw(s, s->fd, "from nowhere", SOL_SOCKET, SO_KEEPALIVE, (void *)16, sizeof(v));
	t_getopt_raw(s, s->fd, "into 2 bytes", SOL_SOCKET, SO_TYPE, &v, &len);
	len = 0;
	t_getopt_raw(s, s->fd, "into 0 bytes", SOL_SOCKET, SO_TYPE, &v, &len);
	len = -1;
	t_getopt_raw(s, s->fd, "into -1 bytes", SOL_SOCKET, SO_TYPE, &v, &len);
	len = 64;
	t_getopt_raw(s, s->fd, "into 64 bytes", SOL_SOCKET, SO_TYPE, (char[64]){ 0 }, &len);
	len = sizeof(v);
	t_getopt_raw(s, s->fd, "to nowhere", SOL_SOCKET, SO_TYPE, (void *)16, &len);
	t_getopt_raw(s, s->fd, "without a length", SOL_SOCKET, SO_TYPE, &v, NULL);
}

/* Numbers are each family's own; that more asked for is not less got is not. */
static void c_buffers(struct side *s)
{
	static const int sizes[] = { 1, 10000, 50000, 100000 };
	static const int names[] = { SO_SNDBUF, SO_RCVBUF };
	int fd = make_socket(s, 0), last, v;
	socklen_t len = sizeof(v);
	size_t i, j;

	for (j = 0; j < ARRAY_SIZE(names); j++) {
		for (i = 0, last = 0; i < ARRAY_SIZE(sizes); i++) {
			t_begin(s, "%s of %d", j ? "SO_RCVBUF" : "SO_SNDBUF", sizes[i]);
			T_CHECK(s, !setsockopt(fd, SOL_SOCKET, names[j], &sizes[i], sizeof(int)));
			T_CHECK(s, !getsockopt(fd, SOL_SOCKET, names[j], &v, &len));
			t_end(s, "%s, %s",
			      v >= 2 * sizes[i] ? "at least twice that" : "less than that",
			      v >= last ? "no less than before" : "less than before");
			last = v;
		}
	}
	t_setopt_raw(s, fd, "SO_SNDBUF, 2 bytes", SOL_SOCKET, SO_SNDBUF, &v, 2);
}

static void c_buffers_connected(struct side *s)
{
	int v, size = 1 << 30;
	socklen_t len = sizeof(v);

	T_CHECK(s, !getsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &v, &len));
	t_note(s, "SO_SNDBUF: %s", v > 0 ? "some" : "none");
	T_CHECK(s, !getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &v, &len));
	t_note(s, "SO_RCVBUF: %s", v > 0 ? "some" : "none");
	t_begin(s, "SO_SNDBUF of 1 GiB");
	t_ok(s, setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	t_begin(s, "SO_RCVBUF of 1 GiB");
	t_ok(s, setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	t_send(s, s->fd, "still works", 0);
	meet(s);
}

static void s_buffers_connected(struct side *s)
{
	t_recv(s, s->fd, 32, 0);
	meet(s);
}

static void c_accepted(struct side *s)
{
	hear(s);
	s->fd = make_connected(s, 0);
	meet(s);
}

static void s_accepted(struct side *s)
{
	int listener = make_listener(s, 0, 4);
	socklen_t len = sizeof(struct timeval);
	struct timeval t;

	T_TIMEOUT(s, listener, SO_RCVTIMEO, 15000);
	T_TIMEOUT(s, listener, SO_SNDTIMEO, 16000);
	T_SETOPT(s, listener, SO_KEEPALIVE, 1);
	T_SETOPT(s, listener, SO_RCVLOWAT, 5);
	T_SETOPT(s, listener, SO_PRIORITY, 2);
	tell(s);
	s->fd = t_accept(s, listener, 0);
	T_CHECK(s, !getsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &t, &len));
	t_note(s, "SO_RCVTIMEO of the accepted: %ld s", t.tv_sec);
	T_CHECK(s, !getsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &t, &len));
	t_note(s, "SO_SNDTIMEO of the accepted: %ld s", t.tv_sec);
	T_GETOPT(s, s->fd, SO_KEEPALIVE);
	T_GETOPT(s, s->fd, SO_RCVLOWAT);
	T_GETOPT(s, s->fd, SO_PRIORITY);
	meet(s);
}

static void s_rcvlowat_poll(struct side *s)
{
	T_SETOPT(s, s->fd, SO_RCVLOWAT, 5);
	T_GETOPT(s, s->fd, SO_RCVLOWAT);
	hear(s);
	t_recv(s, s->fd, 3, MSG_PEEK | MSG_WAITALL);
	t_poll(s, s->fd, POLL_USUAL);
	tell(s);
	t_await(s, s->fd, POLL_USUAL, POLLIN);
	t_recv(s, s->fd, 16, 0);
	t_poll(s, s->fd, POLL_USUAL);
	tell(s);
	/* the end is told however little there is */
	t_await(s, s->fd, POLL_USUAL, POLLIN | POLLRDHUP);
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, 0);
}

static void c_rcvlowat_poll(struct side *s)
{
	t_send(s, s->fd, "abc", 0);
	tell(s);
	hear(s);
	t_send(s, s->fd, "de", 0);
	hear(s);
	t_send(s, s->fd, "f", 0);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void bg_recv(struct side *s, void *arg)
{
	(void)arg;
	t_recv(s, s->fd, 16, 0);
}

static void s_rcvlowat_recv(struct side *s)
{
	struct bg b;

	T_SETOPT(s, s->fd, SO_RCVLOWAT, 5);
	hear(s);
	bg_start(s, &b, bg_recv, NULL);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &b);
	tell(s);
	t_recv(s, s->fd, 2, 0);
	/* what is there is given to who does not wait */
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	T_SETOPT(s, s->fd, SO_RCVLOWAT, 5);
	T_TIMEOUT(s, s->fd, SO_RCVTIMEO, 50);
	tell(s);
	await_poll(s, s->fd, POLLIN);
	t_recv(s, s->fd, 16, 0);
	T_SETOPT(s, s->fd, SO_RCVLOWAT, 0);
	T_GETOPT(s, s->fd, SO_RCVLOWAT);
	T_SETOPT(s, s->fd, SO_RCVLOWAT, -1);
	T_GETOPT(s, s->fd, SO_RCVLOWAT);
}

static void c_rcvlowat_recv(struct side *s)
{
	t_send(s, s->fd, "abc", 0);
	tell(s);
	hear(s);
	t_send(s, s->fd, "de", 0);
	hear(s);
	t_send(s, s->fd, "1234", 0);
	hear(s);
	t_send(s, s->fd, "yz", 0);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void c_peek_off(struct side *s)
{
	t_send(s, s->fd, "0123456789", 0);
	hear(s);
	t_send(s, s->fd, "abc", 0);
	tell(s);
}

static void s_peek_off(struct side *s)
{
	T_GETOPT(s, s->fd, SO_PEEK_OFF);
	await_poll(s, s->fd, POLLIN);
	T_SETOPT(s, s->fd, SO_PEEK_OFF, 2);
	T_GETOPT(s, s->fd, SO_PEEK_OFF);
	t_recv(s, s->fd, 3, MSG_PEEK);
	T_GETOPT(s, s->fd, SO_PEEK_OFF);
	t_recv(s, s->fd, 2, MSG_PEEK);
	T_GETOPT(s, s->fd, SO_PEEK_OFF);
	/* reading moves it back */
	t_recv(s, s->fd, 3, 0);
	T_GETOPT(s, s->fd, SO_PEEK_OFF);
	t_recv(s, s->fd, 16, MSG_PEEK);
	T_GETOPT(s, s->fd, SO_PEEK_OFF);
	t_recv(s, s->fd, 16, MSG_PEEK | MSG_DONTWAIT);
	tell(s);
	hear(s);
	t_recv(s, s->fd, 16, MSG_PEEK | MSG_DONTWAIT);
	T_SETOPT(s, s->fd, SO_PEEK_OFF, -1);
	t_recv(s, s->fd, 4, MSG_PEEK);
	t_recv(s, s->fd, 20, 0);
	T_SETOPT(s, s->fd, SO_PEEK_OFF, 0);
	t_recv(s, s->fd, 4, MSG_PEEK | MSG_DONTWAIT);
	T_GETOPT(s, s->fd, SO_PEEK_OFF);
}

static void c_peercred(struct side *s)
{
	struct ucred c = { .pid = 4711 };
	socklen_t len = sizeof(c);

	t_begin(s, "SO_PEERCRED");
	if (getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &c, &len))
		t_ok(s, -1);
	else
		t_end(s, "%s",
		      c.pid == 0 && c.uid == (uid_t)-1 && c.gid == (gid_t)-1 ? "{0, -1, -1}" :
		      c.uid == getuid() && c.gid == getgid() && c.pid > 0    ? "the peer" :
									       "something else");
}

static void c_peercred_unconnected(struct side *s)
{
	s->fd = t_socket(s, 0);
	c_peercred(s);
}

static void ioctls(struct side *s, int fd)
{
	T_IOCTL(s, fd, FIONREAD);
	T_IOCTL(s, fd, SIOCOUTQ);
}

static void c_ioctl_states(struct side *s)
{
	int fd = t_socket(s, 0);

	ioctls(s, fd);
	ioctls(s, s->fd);
	hear(s);
	await_poll(s, s->fd, POLLHUP);
	ioctls(s, s->fd);
}

static void s_ioctl_states(struct side *s)
{
	t_close(s, s->fd);
	tell(s);
}

static void s_ioctl_listener(struct side *s)
{
	int fd = make_listener(s, 0, 4);

	ioctls(s, fd);
}

static void c_ioctl_unknown(struct side *s)
{
	int on = 1;

	T_IOCTL(s, s->fd, TIOCGWINSZ);
	T_IOCTL(s, s->fd, 0x4711);
	t_begin(s, "ioctl(FIONREAD, nowhere)");
	t_ok(s, ioctl(s->fd, FIONREAD, 16));
	t_begin(s, "ioctl(SIOCOUTQ, nowhere)");
	t_ok(s, ioctl(s->fd, SIOCOUTQ, 16));
	t_begin(s, "ioctl(FIONBIO, nowhere)");
	t_ok(s, ioctl(s->fd, FIONBIO, 16));
	t_begin(s, "ioctl(FIOASYNC)");
	t_ok(s, ioctl(s->fd, FIOASYNC, &on));
}

#define TCP_ERRNO "ENOPROTOOPT is what TCP says; AF_UNIX has no options of its own"
#define LOWAT_WHY "poll() of AF_UNIX ignores SO_RCVLOWAT"

static const struct testcase cases[] = {
	{ "type, protocol, domain and the rest of who it is", BOTH, c_identity, s_identity },
	{ "the usual ones are taken and told", BOTH, c_usual, NULL },
	{ "SO_LINGER is taken and told", BOTH, c_linger, NULL },
	{ "time-outs are taken and told, and checked", BOTH, c_timeouts, NULL },
	{ "options and levels that are none", BOTH, c_wrong, NULL,
	  .differences = { { "getsockopt(an unknown level) = EOPNOTSUPP",
			     "getsockopt(an unknown level) = ENOPROTOOPT", TCP_ERRNO },
			   { "setsockopt(an unknown level) = EOPNOTSUPP",
			     "setsockopt(an unknown level) = ENOPROTOOPT", TCP_ERRNO },
			   { "getsockopt(TCP_NODELAY) = EOPNOTSUPP",
			     "getsockopt(TCP_NODELAY) = ENOPROTOOPT", TCP_ERRNO },
			   { "setsockopt(TCP_NODELAY) = EOPNOTSUPP",
			     "setsockopt(TCP_NODELAY) = ENOPROTOOPT", TCP_ERRNO } } },
	{ "lengths that are wrong", BOTH, c_wrong_lengths, NULL },
	{ "SO_SNDBUF and SO_RCVBUF: more is not less", BOTH, c_buffers, NULL },
	{ "SO_SNDBUF and SO_RCVBUF of a connection", BOTH, c_buffers_connected,
	  s_buffers_connected },
	{ "what an accepted socket has from its listener", BOTH, c_accepted, s_accepted, RAW },
	{ "SO_RCVLOWAT holds back POLLIN, but not the end", STREAM, c_rcvlowat_poll,
	  s_rcvlowat_poll, 0, VIA_TCP, LOWAT_WHY },
	{ "SO_RCVLOWAT is what recv waits for", STREAM, c_rcvlowat_recv, s_rcvlowat_recv },
	{ "SO_PEEK_OFF moves with peeks and reads", STREAM, c_peek_off, s_peek_off },
	{ "SO_PEERCRED names nobody", BOTH, c_peercred, c_peercred,
	  .differences = { { "SO_PEERCRED = the peer", "SO_PEERCRED = {0, -1, -1}",
			     "a process id means nothing in another kernel; SIVSHMEM_PEER "
			     "tells" } } },
	{ "SO_PEERCRED of an unconnected socket", BOTH, c_peercred_unconnected, NULL, RAW },
	{ "FIONREAD and SIOCOUTQ in each state", BOTH, c_ioctl_states, s_ioctl_states },
	{ "FIONREAD and SIOCOUTQ of a listener", BOTH, NULL, s_ioctl_listener, RAW },
	{ "ioctls that are none", BOTH, c_ioctl_unknown, NULL },
};

const struct group group_options = { "options", cases, ARRAY_SIZE(cases) };
