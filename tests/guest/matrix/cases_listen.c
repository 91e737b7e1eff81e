// SPDX-License-Identifier: BSD-2-Clause
/*
 * Names, listeners, backlogs and accept().
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "matrix.h"

#define LATE_NAME \
	"the agent says who a socket is; whether somebody else listens is known at listen()"

static int t_bind_to(struct side *s, int fd, const char *what, const void *addr, socklen_t len)
{
	t_begin(s, "bind(%s)", what);
	return t_ok(s, bind(fd, addr, len));
}

static void c_connects(struct side *s)
{
	hear(s);
	s->fd = make_connected(s, 0);
	meet(s);
}

static void s_listen_states(struct side *s)
{
	int fd = t_socket(s, 0);

	t_listen(s, fd, 1);
	t_accept(s, fd, 0);
	T_GETOPT(s, fd, SO_ACCEPTCONN);
	t_bind(s, fd, 0);
	t_accept(s, fd, SOCK_NONBLOCK);
	T_GETOPT(s, fd, SO_ACCEPTCONN);
	t_listen(s, fd, 1);
	T_GETOPT(s, fd, SO_ACCEPTCONN);
	t_listen(s, fd, 5);
	t_bind(s, fd, 0);
	t_getname(s, fd, false);
	t_getname(s, fd, true);
	t_nonblock(s, fd, true);
	t_accept(s, fd, 0);
	t_close(s, fd);
}

static void s_listen_connected(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	tell(s);
	s->fd = t_accept(s, listener, 0);
	t_listen(s, s->fd, 4);
	t_accept(s, s->fd, 0);
	t_bind(s, s->fd, 0);
	T_GETOPT(s, s->fd, SO_ACCEPTCONN);
	t_send(s, s->fd, "fine", 0);
	meet(s);
}

static void c_listen_connected(struct side *s)
{
	hear(s);
	s->fd = make_connected(s, 0);
	t_listen(s, s->fd, 4);
	t_accept(s, s->fd, 0);
	t_recv(s, s->fd, 16, 0);
	meet(s);
}

static void c_bind_connected(struct side *s)
{
	hear(s);
	s->fd = make_connected(s, 0);
	t_bind(s, s->fd, 1);
	meet(s);
}

static void s_accepts_quietly(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	tell(s);
	s->fd = accept(listener, NULL, NULL);
	meet(s);
}

static void s_bind_taken(struct side *s)
{
	int a = make_listener(s, 0, 4), b = t_socket(s, 0), c = t_socket(s, 0);

	t_bind(s, b, 0);
	t_listen(s, b, 4);
	T_GETOPT(s, b, SO_ACCEPTCONN);
	t_close(s, b);
	t_close(s, a);
	t_note(s, "when the other is closed:");
	T_CHECK(s, !t_bind(s, c, 0));
	t_listen(s, c, 5);
}

static void s_bind_bad(struct side *s)
{
	struct sockaddr_storage addr, other = { .ss_family = AF_NETLINK };
	int fd = t_socket(s, 0);

	address_of(s, 0, &addr, true);
	t_bind_to(s, fd, "another family", &other, sizeof(struct sockaddr_un));
	t_bind_to(s, fd, "1 byte", &addr, 1);
	t_bind_to(s, fd, "-1 bytes", &addr, -1);
	t_bind_to(s, fd, "200 bytes", &addr, 200);
	t_bind_to(s, fd, "a bad pointer", (void *)16, sizeof(struct sockaddr_un));
	t_bind(s, fd, 0);
	t_bind(s, fd, 1);
}

static void s_accept_flags(struct side *s)
{
	static const int flags[] = { 0, SOCK_NONBLOCK, SOCK_CLOEXEC };
	int listener = make_listener(s, 0, 8), fd;
	size_t i;

	tell(s);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		fd = t_accept(s, listener, flags[i]);
		t_note(s, "O_NONBLOCK %d, FD_CLOEXEC %d", !!(fcntl(fd, F_GETFL) & O_NONBLOCK),
		       fcntl(fd, F_GETFD));
	}
	meet(s);
	t_begin(s, "accept4(an unknown flag)");
	t_ok(s, accept4(listener, NULL, NULL, 0x10));
	/* a listener's own O_NONBLOCK is not handed on */
	t_nonblock(s, listener, true);
	await_poll(s, listener, POLLIN);
	fd = t_accept(s, listener, 0);
	t_note(s, "O_NONBLOCK %d", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	t_accept(s, listener, 0);
}

static void c_accept_flags(struct side *s)
{
	int i;

	hear(s);
	for (i = 0; i < 3; i++)
		make_connected(s, 0);
	meet(s);
	make_connected(s, 0);
}

static void s_accept_addresses(struct side *s)
{
	int listener = make_listener(s, 0, 8), fd, i;
	struct sockaddr_storage addr;
	socklen_t len;

	tell(s);
	len = 0;
	t_begin(s, "accept(no room for the address)");
	fd = t_ok(s, accept(listener, (void *)&addr, &len));
	t_note(s, "length told: %d", len > 0);
	len = sizeof(addr);
	t_begin(s, "accept(address)");
	fd = t_ok(s, accept(listener, (void *)&addr, &len));
	t_note(s, "%s", addr.ss_family == via_family(s) ? "own family" : "another family");
	len = -1;
	t_begin(s, "accept(length -1)");
	fd = t_ok(s, accept(listener, (void *)&addr, &len));
	len = sizeof(addr);
	t_begin(s, "accept(a bad pointer)");
	fd = t_ok(s, accept(listener, (void *)16, &len));
	t_begin(s, "accept(no length)");
	fd = t_ok(s, accept(listener, (void *)&addr, NULL));
	(void)fd;
	(void)i;
	meet(s);
	t_nonblock(s, listener, true);
	t_accept(s, listener, 0);
}

static void c_accept_addresses(struct side *s)
{
	int i;

	hear(s);
	for (i = 0; i < 5; i++)
		make_connected(s, 0);
	meet(s);
}

/* A process that has no descriptor left loses no connection. */
static void s_accept_emfile(struct side *s)
{
	int listener = make_listener(s, 0, 8);
	struct rlimit old, few;

	T_CHECK(s, !getrlimit(RLIMIT_NOFILE, &old));
	/* the lowest number that is free is the limit: none is left */
	few = old;
	few.rlim_cur = dup(listener);
	close(few.rlim_cur);
	meet(s);
	await_poll(s, listener, POLLIN);
	T_CHECK(s, !setrlimit(RLIMIT_NOFILE, &few));
	t_accept(s, listener, 0);
	T_CHECK(s, !setrlimit(RLIMIT_NOFILE, &old));
	s->fd = t_accept(s, listener, 0);
	t_recv(s, s->fd, 16, 0);
}

static void c_accept_emfile(struct side *s)
{
	meet(s);
	s->fd = make_connected(s, 0);
	t_send(s, s->fd, "patience", 0);
}

static void t_name_into(struct side *s, const char *what, int fd, bool peer, void *addr,
			socklen_t *len)
{
	t_begin(s, "%s(%s)", peer ? "getpeername" : "getsockname", what);
	t_ok(s, peer ? getpeername(fd, addr, len) : getsockname(fd, addr, len));
}

static void c_odd_names(struct side *s)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int peer;

	for (peer = 0; peer < 2; peer++) {
		len = -1;
		t_name_into(s, "length -1", s->fd, peer, &addr, &len);
		len = 0;
		t_name_into(s, "no room", s->fd, peer, &addr, &len);
		t_note(s, "told how much it needs: %d", len > 0);
		len = sizeof(addr);
		t_name_into(s, "nowhere", s->fd, peer, (void *)16, &len);
		t_name_into(s, "no length", s->fd, peer, &addr, NULL);
	}
}

static void s_accept_timeout(struct side *s)
{
	int listener = make_listener(s, 0, 4);
	long start;

	T_TIMEOUT(s, listener, SO_RCVTIMEO, 60);
	start = now_ms();
	t_accept(s, listener, 0);
	t_took(s, start, 60);
	tell(s);
	/* and it ends nothing but the wait */
	T_TIMEOUT(s, listener, SO_RCVTIMEO, 20000);
	s->fd = t_accept(s, listener, 0);
	t_send(s, s->fd, "fine", 0);
	meet(s);
}

static void s_accept_signal(struct side *s)
{
	int listener = make_listener(s, 0, 4);
	struct poke poke;

	poke_start(s, &poke, 0, NULL);
	t_accept(s, listener, 0);
	poke_join(s, &poke);
	/* with SA_RESTART it goes on */
	poke_start(s, &poke, SA_RESTART, tell);
	s->fd = t_accept(s, listener, 0);
	poke_join(s, &poke);
	meet(s);
}

static void s_accept_signal_timeout(struct side *s)
{
	int listener = make_listener(s, 0, 4);
	struct poke poke;

	T_TIMEOUT(s, listener, SO_RCVTIMEO, 20000);
	poke_start(s, &poke, SA_RESTART, NULL);
	t_accept(s, listener, 0);
	poke_join(s, &poke);
}

static void s_poll_listener(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	t_poll(s, listener, POLL_USUAL | POLLRDNORM | POLLWRNORM);
	tell(s);
	t_await(s, listener, POLL_USUAL | POLLRDNORM | POLLWRNORM, POLLIN);
	s->fd = t_accept(s, listener, 0);
	t_poll(s, listener, POLL_USUAL | POLLRDNORM | POLLWRNORM);
	meet(s);
}

static void s_io_on_listener(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	t_send(s, listener, "x", 0);
	t_sigpipes(s);
	t_recv(s, listener, 1, 0);
	t_recv(s, listener, 1, MSG_DONTWAIT);
	t_recv(s, listener, 0, 0);
	T_GETOPT(s, listener, SO_ERROR);
	tell(s);
	s->fd = t_accept(s, listener, 0);
	meet(s);
}

static void s_close_queued(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	meet(s);
	meet(s);
	t_close(s, listener);
	meet(s);
}

static void c_close_queued(struct side *s)
{
	int a, b;

	meet(s);
	a = t_socket(s, 0);
	t_connect(s, a, 0);
	t_send(s, a, "hello", 0);
	b = t_socket(s, 0);
	t_connect(s, b, 0);
	meet(s);
	meet(s);
	t_await(s, a, POLL_USUAL, POLLHUP | POLLERR);
	t_recv(s, a, 16, 0);
	t_recv(s, a, 16, 0);
	t_poll(s, a, POLL_USUAL);
	t_send(s, a, "x", 0);
	t_sigpipes(s);
	t_await(s, b, POLL_USUAL, POLLHUP | POLLERR);
	t_send(s, b, "x", 0);
	t_sigpipes(s);
	T_GETOPT(s, b, SO_ERROR);
	t_recv(s, b, 16, 0);
}

static void s_close_accepted(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	tell(s);
	s->fd = t_accept(s, listener, 0);
	t_close(s, listener);
	meet(s);
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "goes on", 0);
	meet(s);
}

static void c_close_accepted(struct side *s)
{
	int fd;

	hear(s);
	s->fd = make_connected(s, 0);
	meet(s);
	fd = t_socket(s, 0);
	t_connect(s, fd, 0);
	t_send(s, s->fd, "after the listener", 0);
	t_recv(s, s->fd, 16, 0);
	meet(s);
}

static void s_order(struct side *s)
{
	int listener = make_listener(s, 0, 8), i;

	meet(s);
	meet(s);
	for (i = 0; i < 4; i++)
		t_recv(s, t_accept(s, listener, 0), 16, 0);
}

static void c_order(struct side *s)
{
	static const char *const texts[] = { "first", "second", "third", "fourth" };
	int i;

	meet(s);
	for (i = 0; i < 4; i++)
		t_send(s, make_connected(s, 0), texts[i], 0);
	meet(s);
}

/* Without waiting for room in a backlog; a handshake takes as long as it takes. The errno, or 0. */
static int connect_now(struct side *s, int fd, const struct sockaddr_storage *addr, socklen_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int err = 0, flags = fcntl(fd, F_GETFL);
	socklen_t size = sizeof(err);

	T_CHECK(s, !fcntl(fd, F_SETFL, flags | O_NONBLOCK));
	if (connect(fd, (const void *)addr, len))
		err = errno;
	if (err == EINPROGRESS) {
		T_CHECK(s, poll(&p, 1, 30000) == 1);
		T_CHECK(s, !getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size));
		/* it can be tried again once connect() has said so, too */
		if (err)
			T_CHECK(s, connect(fd, (const void *)addr, len) && errno == ECONNABORTED);
	}
	T_CHECK(s, !fcntl(fd, F_SETFL, flags));
	return err;
}

/* How many go in before one is refused is each family's own; that all of them come out is not. */
static void c_backlog(struct side *s)
{
	struct sockaddr_storage addr;
	socklen_t len = address_of(s, 0, &addr, false);
	int fds[16], n, i, answered = 0, err = 0;
	char c;

	meet(s);
	t_begin(s, "connect until it fails");
	for (n = 0; n < 16; n++) {
		fds[n] = make_socket(s, 0);
		err = connect_now(s, fds[n], &addr, len);
		if (err)
			break;
	}
	t_end(s, "%s, then %s", n ? "some" : "none", err ? strerrorname_np(err) : "no error");
	meet(s);
	for (i = 0; i < n; i++)
		answered += recv(fds[i], &c, 1, 0) == 1;
	t_note(s, "those that were connected were accepted: %s", answered == n ? "all" : "not all");
	meet(s);
	/* the one that was refused has room now */
	t_connect(s, fds[n], 0);
	t_recv(s, fds[n], 16, 0);
}

static void s_backlog(struct side *s)
{
	int listener = make_listener(s, 0, 2), fd;

	meet(s);
	meet(s);
	T_CHECK(s, !fcntl(listener, F_SETFL, O_NONBLOCK));
	while ((fd = accept(listener, NULL, NULL)) >= 0)
		T_CHECK(s, send(fd, "x", 1, 0) == 1);
	T_CHECK(s, !fcntl(listener, F_SETFL, 0));
	meet(s);
	fd = t_accept(s, listener, 0);
	t_send(s, fd, "later", 0);
}

static void s_backlog_one(struct side *s)
{
	int listener = make_listener(s, 0, 0);

	tell(s);
	s->fd = t_accept(s, listener, 0);
	meet(s);
}

static void s_shut_listener(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	meet(s);
	meet(s);
	t_shutdown(s, listener, SHUT_RD);
	t_poll(s, listener, POLL_USUAL);
	meet(s);
	s->fd = t_accept(s, listener, 0);
	t_recv(s, s->fd, 16, 0);
	t_accept(s, listener, 0);
	t_poll(s, listener, POLL_USUAL);
	T_GETOPT(s, listener, SO_ACCEPTCONN);
	t_close(s, listener);
	t_send(s, s->fd, "fine", 0);
}

static void c_shut_listener(struct side *s)
{
	int fd;

	meet(s);
	s->fd = t_socket(s, 0);
	t_connect(s, s->fd, 0);
	t_send(s, s->fd, "queued", 0);
	meet(s);
	meet(s);
	fd = t_socket(s, 0);
	t_connect(s, fd, 0);
	t_recv(s, s->fd, 16, 0);
}

static void s_shut_both_listener(struct side *s)
{
	int listener = make_listener(s, 0, 4);

	t_shutdown(s, listener, SHUT_RDWR);
	t_poll(s, listener, POLL_USUAL);
	t_accept(s, listener, 0);
	t_accept(s, listener, SOCK_NONBLOCK);
}

static void bg_accept(struct side *s, void *arg)
{
	t_accept(s, *(int *)arg, 0);
}

static void s_shut_blocked_accept(struct side *s)
{
	int listener = make_listener(s, 0, 4);
	struct bg b;

	bg_start(s, &b, bg_accept, &listener);
	bg_blocked(s, &b);
	t_shutdown(s, listener, SHUT_RDWR);
	bg_join(s, &b);
}

static void s_two_acceptors(struct side *s)
{
	int listener = make_listener(s, 0, 4);
	struct bg a, b;

	bg_start(s, &a, bg_accept, &listener);
	bg_start(s, &b, bg_accept, &listener);
	bg_blocked(s, &a);
	bg_blocked(s, &b);
	meet(s);
	bg_join(s, &a);
	bg_join(s, &b);
	t_accept(s, listener, 0);
}

static void c_two_acceptors(struct side *s)
{
	meet(s);
	make_connected(s, 0);
	make_connected(s, 0);
	make_connected(s, 0);
}

static void child_accepts(struct side *s, void *arg)
{
	int fd = t_accept(s, *(int *)arg, 0);

	t_recv(s, fd, 16, 0);
	t_send(s, fd, "from the child", 0);
}

static void s_forked_acceptor(struct side *s)
{
	int listener = make_listener(s, 0, 4);
	struct bg child;

	child_start(s, &child, child_accepts, &listener);
	t_close(s, listener);
	tell(s);
	child_join(s, &child);
	meet(s);
}

static void c_forked_acceptor(struct side *s)
{
	int fd;

	hear(s);
	s->fd = make_connected(s, 0);
	t_send(s, s->fd, "to whom?", 0);
	t_recv(s, s->fd, 32, 0);
	meet(s);
	/* the last holder is gone */
	fd = t_socket(s, 0);
	t_connect(s, fd, 0);
	t_recv(s, s->fd, 32, 0);
}

static void s_relisten(struct side *s)
{
	int i, listener;

	for (i = 0; i < 3; i++) {
		listener = make_listener(s, 0, 4);
		meet(s);
		s->fd = t_accept(s, listener, 0);
		t_recv(s, s->fd, 8, 0);
		t_close(s, s->fd);
		t_close(s, listener);
		meet(s);
	}
}

static void c_relisten(struct side *s)
{
	int i;

	for (i = 0; i < 3; i++) {
		meet(s);
		s->fd = t_socket(s, 0);
		t_connect(s, s->fd, 0);
		t_send(s, s->fd, "again", 0);
		meet(s);
		t_close(s, s->fd);
	}
}

static const struct testcase cases[] = {
	{ "bind, listen and accept, each in its turn and not", BOTH, NULL, s_listen_states, RAW },
	{ "a connected socket cannot listen, accept or be bound", BOTH, c_listen_connected,
	  s_listen_connected, RAW },
	{ "binding after connecting", BOTH, c_bind_connected, s_accepts_quietly, RAW | LOCAL,
	  .differences = { { "bind(1) = ok", "bind(1) = EINVAL",
			     "who the client is was authenticated when it connected" } } },
	{ "a name that is taken", BOTH, NULL, s_bind_taken, RAW,
	  .differences = { { "bind(0) = EADDRINUSE", "bind(0) = ok", LATE_NAME },
			   { "listen(4) = EINVAL", "listen(4) = EADDRINUSE", LATE_NAME } } },
	{ "names that are none, and a second name", BOTH, NULL, s_bind_bad, RAW | LOCAL,
	  .differences = { { "bind(another family) = EINVAL", "bind(another family) = EAFNOSUPPORT",
			     "EAFNOSUPPORT is what POSIX and TCP say" } } },
	{ "accept4 takes SOCK_NONBLOCK and SOCK_CLOEXEC, and no other", BOTH, c_accept_flags,
	  s_accept_flags, RAW },
	{ "accept with odd addresses", BOTH, c_accept_addresses, s_accept_addresses, RAW },
	{ "accept without a descriptor left is EMFILE and loses nothing", BOTH, c_accept_emfile,
	  s_accept_emfile, RAW },
	{ "names into odd places", BOTH, c_odd_names, NULL },
	{ "SO_RCVTIMEO ends accept with EAGAIN", BOTH, c_connects, s_accept_timeout, RAW },
	{ "a signal ends accept with EINTR, or it goes on with SA_RESTART", BOTH, c_connects,
	  s_accept_signal, RAW },
	{ "with SO_RCVTIMEO accept is EINTR even with SA_RESTART", BOTH, NULL,
	  s_accept_signal_timeout, RAW },
	{ "poll of a listener: POLLIN while somebody waits, nothing else", BOTH, c_connects,
	  s_poll_listener, RAW },
	{ "sending and receiving on a listener", BOTH, c_connects, s_io_on_listener, RAW,
	  .differences = { { "recv(1, 0) = EINVAL", "recv(1, 0) = ENOTCONN",
			     "ENOTCONN is what POSIX and TCP say", STREAM },
			   { "recv(1, DONTWAIT) = EINVAL", "recv(1, DONTWAIT) = ENOTCONN",
			     "ENOTCONN is what POSIX and TCP say", STREAM },
			   { "recv(0, 0) = EINVAL", "recv(0, 0) = ENOTCONN",
			     "ENOTCONN is what POSIX and TCP say", STREAM } } },
	{ "closing a listener resets who waits in its queue", BOTH, c_close_queued, s_close_queued,
	  RAW },
	{ "closing a listener leaves what it accepted, and refuses who comes", BOTH,
	  c_close_accepted, s_close_accepted, RAW },
	{ "connections come out in the order in which they went in", BOTH, c_order, s_order, RAW },
	{ "a full backlog fails, loses none, and has room after accept", BOTH, c_backlog, s_backlog,
	  RAW,
	  .differences = { { "connect until it fails = some, then EAGAIN",
			     "connect until it fails = some, then ECONNREFUSED",
			     "AF_UNIX waits for room; another machine's backlog is not waited "
			     "for" } } },
	{ "a backlog of 0 takes one", BOTH, c_connects, s_backlog_one, RAW },
	{ "a listener that is shut down gives what waits, then EINVAL, and refuses", BOTH,
	  c_shut_listener, s_shut_listener, RAW },
	{ "a listener that is shut down both ways", BOTH, NULL, s_shut_both_listener, RAW },
	{ "shutdown ends a blocked accept with EINVAL", BOTH, NULL, s_shut_blocked_accept, RAW },
	{ "threads that accept at once get one connection each", BOTH, c_two_acceptors,
	  s_two_acceptors, RAW },
	{ "a listener lives as long as a child that has it", BOTH, c_forked_acceptor,
	  s_forked_acceptor, RAW },
	{ "a name is free again once its listener is closed", BOTH, c_relisten, s_relisten, RAW },
};

const struct group group_listen = { "listen", cases, ARRAY_SIZE(cases) };
