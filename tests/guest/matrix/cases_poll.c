// SPDX-License-Identifier: BSD-2-Clause
/*
 * What poll() and select() say in each state, and what ends their waiting.
 */
#include <signal.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "matrix.h"

#define ALL (POLL_USUAL | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND)

static void c_unconnected(struct side *s)
{
	int fd = t_socket(s, 0);

	t_poll(s, fd, ALL);
	t_poll(s, fd, 0);
}

static void c_bound(struct side *s)
{
	int fd = t_socket(s, 0);

	t_bind(s, fd, 1);
	t_poll(s, fd, ALL);
}

static void c_refused(struct side *s)
{
	int fd = t_socket(s, 0);

	t_connect(s, fd, 0);
	t_poll(s, fd, ALL);
}

static void polls(struct side *s)
{
	t_poll(s, s->fd, ALL);
	t_poll(s, s->fd, 0);
	t_poll(s, s->fd, POLLIN);
	t_poll(s, s->fd, POLLOUT);
	t_poll(s, s->fd, POLLRDHUP);
	t_poll(s, s->fd, POLLPRI);
}

static void c_data(struct side *s)
{
	t_send(s, s->fd, "data", 0);
	meet(s);
	meet(s);
	t_poll(s, s->fd, ALL);
}

static void s_data(struct side *s)
{
	meet(s);
	t_await(s, s->fd, ALL, POLLIN);
	t_poll(s, s->fd, POLLOUT);
	t_recv(s, s->fd, 4, MSG_PEEK);
	t_poll(s, s->fd, ALL);
	t_recv(s, s->fd, 4, 0);
	t_poll(s, s->fd, ALL);
	meet(s);
}

/* One side does something to the connection; the other's bits before and after it has read all. */
static void watch(struct side *s, int want)
{
	meet(s);
	t_await(s, s->fd, ALL, want);
	t_poll(s, s->fd, 0);
	t_poll(s, s->fd, POLLPRI);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	t_poll(s, s->fd, ALL);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
	t_poll(s, s->fd, ALL);
	meet(s);
}

static void s_watch_rdhup(struct side *s)
{
	watch(s, POLLIN | POLLRDHUP);
}

static void s_watch_hup(struct side *s)
{
	watch(s, POLLIN | POLLHUP);
}

static void s_watch_err(struct side *s)
{
	watch(s, POLLIN | POLLHUP | POLLERR);
}

static void s_watch_out(struct side *s)
{
	watch(s, POLLOUT);
}

static void c_shut(struct side *s, const char *data, int how)
{
	if (data)
		t_send(s, s->fd, data, 0);
	t_shutdown(s, s->fd, how);
	t_poll(s, s->fd, ALL);
	t_poll(s, s->fd, 0);
	meet(s);
	meet(s);
	t_poll(s, s->fd, ALL);
}

static void c_shut_wr(struct side *s)
{
	c_shut(s, NULL, SHUT_WR);
}

static void c_shut_wr_data(struct side *s)
{
	c_shut(s, "data", SHUT_WR);
}

static void c_shut_rd(struct side *s)
{
	c_shut(s, NULL, SHUT_RD);
}

static void c_shut_both(struct side *s)
{
	c_shut(s, NULL, SHUT_RDWR);
}

static void c_shut_both_data(struct side *s)
{
	c_shut(s, "data", SHUT_RDWR);
}

static void c_shut_wr_too(struct side *s)
{
	t_shutdown(s, s->fd, SHUT_WR);
	await_poll(s, s->fd, POLLHUP);
	meet(s);
	polls(s);
}

static void s_shut_wr_too(struct side *s)
{
	t_shutdown(s, s->fd, SHUT_WR);
	await_poll(s, s->fd, POLLHUP);
	meet(s);
	polls(s);
}

static void c_closes(struct side *s)
{
	t_close(s, s->fd);
	meet(s);
	meet(s);
}

static void c_closes_data(struct side *s)
{
	t_send(s, s->fd, "data", 0);
	t_close(s, s->fd);
	meet(s);
	meet(s);
}

static void c_closes_unread(struct side *s)
{
	hear(s);
	await_poll(s, s->fd, POLLIN);
	t_close(s, s->fd);
	meet(s);
	meet(s);
}

static void s_watch_reset(struct side *s)
{
	t_send(s, s->fd, "never read", 0);
	tell(s);
	s_watch_err(s);
}

static void s_reset_so_error(struct side *s)
{
	t_send(s, s->fd, "never read", 0);
	tell(s);
	meet(s);
	t_await(s, s->fd, ALL, POLLIN | POLLHUP | POLLERR);
	T_GETOPT(s, s->fd, SO_ERROR);
	t_poll(s, s->fd, ALL);
	T_GETOPT(s, s->fd, SO_ERROR);
	t_recv(s, s->fd, 16, 0);
	meet(s);
}

static void s_shut_rd_data(struct side *s)
{
	await_poll(s, s->fd, POLLIN);
	t_shutdown(s, s->fd, SHUT_RD);
	t_poll(s, s->fd, ALL);
	t_recv(s, s->fd, 16, 0);
	t_poll(s, s->fd, ALL);
	t_recv(s, s->fd, 16, 0);
	meet(s);
}

static void c_sends(struct side *s)
{
	t_send(s, s->fd, "data", 0);
	meet(s);
	t_poll(s, s->fd, ALL);
}

static void c_full(struct side *s)
{
	t_fill(s, s->fd, 1000);
	polls(s);
	tell(s);
	t_await(s, s->fd, ALL, POLLOUT);
	t_send(s, s->fd, "x", MSG_DONTWAIT);
}

static void s_full(struct side *s)
{
	char buf[4096];
	ssize_t n;

	hear(s);
	do
		n = recv(s->fd, buf, sizeof(buf), 0);
	while (n > 0 && buf[n - 1] != 'x');
	t_note(s, "the last is %c", n > 0 ? buf[n - 1] : '-');
}

static void c_full_peer_closes(struct side *s)
{
	t_fill(s, s->fd, 1000);
	tell(s);
	t_await(s, s->fd, ALL, POLLHUP | POLLOUT | POLLERR);
	t_send(s, s->fd, "x", MSG_NOSIGNAL);
	t_poll(s, s->fd, ALL);
}

static void s_full_peer_closes(struct side *s)
{
	hear(s);
	t_close(s, s->fd);
}

static void c_full_peer_shuts(struct side *s)
{
	t_fill(s, s->fd, 1000);
	meet(s);
	meet(s);
	t_poll(s, s->fd, ALL);
	t_send(s, s->fd, "x", MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void s_full_peer_shuts(struct side *s)
{
	meet(s);
	t_shutdown(s, s->fd, SHUT_RD);
	meet(s);
}

static void c_closed_descriptor(struct side *s)
{
	int fd = t_socket(s, 0);

	t_close(s, fd);
	t_poll(s, fd, ALL);
	t_poll(s, fd, 0);
}

/* --- select -------------------------------------------------------------------------------- */

static void t_select(struct side *s, int fd)
{
	struct timeval none = { 0 };
	fd_set r, w, x;
	int n;

	FD_ZERO(&r);
	FD_SET(fd, &r);
	w = x = r;
	t_begin(s, "select()");
	n = select(fd + 1, &r, &w, &x, &none);
	t_end(s, "%d%s%s%s", n, FD_ISSET(fd, &r) ? " r" : "", FD_ISSET(fd, &w) ? " w" : "",
	      FD_ISSET(fd, &x) ? " x" : "");
}

static void s_select(struct side *s)
{
	int fd = make_socket(s, 0);

	t_select(s, fd);
	t_select(s, s->fd);
	tell(s);
	await_poll(s, s->fd, POLLIN);
	t_select(s, s->fd);
	t_recv(s, s->fd, 16, 0);
	t_select(s, s->fd);
	tell(s);
	await_poll(s, s->fd, POLLRDHUP);
	t_select(s, s->fd);
	tell(s);
	await_poll(s, s->fd, POLLHUP);
	t_select(s, s->fd);
}

static void c_select(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "x", 0);
	hear(s);
	t_shutdown(s, s->fd, SHUT_WR);
	hear(s);
	t_close(s, s->fd);
}

/* --- waiting ------------------------------------------------------------------------------- */

static void bg_poll(struct side *s, void *arg)
{
	struct pollfd p = { .fd = s->fd, .events = *(short *)arg };
	int n;

	t_begin(s, "poll(%s, blocking)", text_of_poll(p.events));
	n = poll(&p, 1, 20000);
	t_end(s, "%d %s", n, text_of_poll(p.revents));
}

static void wait_for(struct side *s, short events)
{
	struct bg b;

	bg_start(s, &b, bg_poll, &events);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &b);
}

static void s_wait_in(struct side *s)
{
	wait_for(s, POLLIN);
}

static void s_wait_rdhup(struct side *s)
{
	wait_for(s, POLLRDHUP);
}

static void s_wait_hup(struct side *s)
{
	wait_for(s, 0);
}

static void c_then_sends(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "x", 0);
}

static void c_then_shuts(struct side *s)
{
	hear(s);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void c_then_closes(struct side *s)
{
	hear(s);
	t_close(s, s->fd);
}

static void s_wait_own_shutdown(struct side *s)
{
	short events = POLLIN | POLLRDHUP;
	struct bg b;

	bg_start(s, &b, bg_poll, &events);
	bg_blocked(s, &b);
	t_shutdown(s, s->fd, SHUT_RD);
	bg_join(s, &b);
}

static void s_wait_own_shutdown_both(struct side *s)
{
	short events = 0;
	struct bg b;

	bg_start(s, &b, bg_poll, &events);
	bg_blocked(s, &b);
	t_shutdown(s, s->fd, SHUT_RDWR);
	bg_join(s, &b);
}

static void s_wait_two(struct side *s)
{
	short events = POLLIN;
	struct bg a, b;

	bg_start(s, &a, bg_poll, &events);
	bg_start(s, &b, bg_poll, &events);
	bg_blocked(s, &a);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &a);
	bg_join(s, &b);
}

static void s_wait_ends(struct side *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	struct timespec ts = { .tv_nsec = 50000000 };
	struct poke poke;
	sigset_t usr1, old;
	long start = now_ms();

	t_begin(s, "poll(50 ms)");
	t_ret(s, poll(&p, 1, 50));
	t_took(s, start, 50);
	start = now_ms();
	t_begin(s, "ppoll(50 ms)");
	t_ret(s, ppoll(&p, 1, &ts, NULL));
	t_took(s, start, 50);
	poke_start(s, &poke, SA_RESTART, NULL);
	t_begin(s, "poll(a signal)");
	t_ret(s, poll(&p, 1, -1));
	poke_join(s, &poke);
	/* a signal that is pending and let in by ppoll alone */
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, &old);
	pthread_kill(pthread_self(), SIGUSR1);
	t_begin(s, "ppoll(a signal)");
	t_ret(s, ppoll(&p, 1, NULL, &old));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static const struct testcase cases[] = {
	{ "unconnected", BOTH, c_unconnected, NULL, RAW },
	{ "bound", BOTH, c_bound, NULL, RAW | LOCAL },
	{ "after a connect that was refused", BOTH, c_refused, NULL, RAW },
	{ "connected", BOTH, polls, polls },
	{ "with data to read, partly and wholly read", BOTH, c_data, s_data },
	{ "half closed by the peer", BOTH, c_shut_wr, s_watch_rdhup },
	{ "half closed by the peer, with data to read", BOTH, c_shut_wr_data, s_watch_rdhup },
	{ "the peer reads no more", BOTH, c_shut_rd, s_watch_out },
	{ "shut down both ways by the peer", BOTH, c_shut_both, s_watch_hup },
	{ "shut down both ways by the peer, with data to read", BOTH, c_shut_both_data,
	  s_watch_hup },
	{ "half closed by both", BOTH, c_shut_wr_too, s_shut_wr_too },
	{ "closed by the peer", BOTH, c_closes, s_watch_hup },
	{ "closed by the peer, with data to read", BOTH, c_closes_data, s_watch_hup },
	{ "reset by the peer, until the error is received", BOTH, c_closes_unread, s_watch_reset },
	{ "reset by the peer, until SO_ERROR has told it", BOTH, c_closes_unread,
	  s_reset_so_error },
	{ "reading no more, with data to read", BOTH, c_sends, s_shut_rd_data },
	{ "full, until the peer reads", STREAM, c_full, s_full, SMALL },
	{ "full, and closed by the peer", BOTH, c_full_peer_closes, s_full_peer_closes, SMALL },
	{ "full, and the peer reads no more", BOTH, c_full_peer_shuts, s_full_peer_shuts, SMALL,
	  .differences = { { "poll(IN|PRI|OUT|RDNORM|RDBAND|WRNORM|WRBAND|RDHUP) = 0",
			     "poll(IN|PRI|OUT|RDNORM|RDBAND|WRNORM|WRBAND|RDHUP) = "
			     "OUT|WRNORM|WRBAND",
			     "who waits for room learns that nobody reads; AF_UNIX lets it "
			     "wait" } } },
	{ "a descriptor that is closed", BOTH, c_closed_descriptor, NULL, RAW },
	{ "select in each state", BOTH, c_select, s_select },
	{ "data ends a wait for POLLIN", BOTH, c_then_sends, s_wait_in },
	{ "the peer's shutdown ends a wait for POLLIN", BOTH, c_then_shuts, s_wait_in },
	{ "the peer's shutdown ends a wait for POLLRDHUP", BOTH, c_then_shuts, s_wait_rdhup },
	{ "the peer's close ends a wait for POLLIN", BOTH, c_then_closes, s_wait_in },
	{ "the peer's close ends a wait for nothing by POLLHUP", BOTH, c_then_closes, s_wait_hup },
	{ "shutdown by another thread ends a wait", BOTH, NULL, s_wait_own_shutdown },
	{ "shutdown both ways by another thread ends a wait for nothing", BOTH, NULL,
	  s_wait_own_shutdown_both },
	{ "data ends the waits of two threads", BOTH, c_then_sends, s_wait_two },
	{ "time and signals end a wait", BOTH, NULL, s_wait_ends },
};

const struct group group_poll = { "poll", cases, ARRAY_SIZE(cases) };
