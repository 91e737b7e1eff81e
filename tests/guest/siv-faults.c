// SPDX-License-Identifier: BSD-2-Clause
/*
 * Calls of the family while the kernel's allocations fail, on a kernel with fault injection. A call
 * that fails does so with a clean errno, can be made again, and has lost and doubled nothing.
 *
 *   siv-faults calls VM [seqpacket]   each call, its first allocation failing, then its second, ...
 *   siv-faults connects VM N          connects while something else fails: an agent
 *   siv-faults storm VM SECONDS [agent]
 *                                     three processes whose allocations fail by chance, as
 *                                     /sys/kernel/debug/fail* say for tasks with make-it-fail;
 *                                     the agent's, too
 *   siv-faults settle VM              returns when the agent has seen all that was before
 *
 * VM is this VM's own name. A call that hangs is ended by SIGALRM.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>

#include <sivshmem.h>

#define CALL_SECONDS 60   /* connects give up after 30 */
#define BYTES        6000 /* more than a page, and not a multiple of anything */
#define PIECES       16   /* more than the kernel has room for on its stack */
#define POLLED       40   /* likewise */

static int type = SOCK_STREAM;
static const char *vm;
static int listener = -1, fd = -1, peer = -1, extra = -1;
static int pipe_ends[2];
static uint8_t pattern[BYTES], got[2 * BYTES];
static size_t moved; /* bytes that the call under test has sent or received so far */

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("siv-faults: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* --- sockets without faults ------------------------------------------------------------------- */

static void must(long rc, const char *what)
{
	if (rc < 0)
		die("%s: %s, without a fault", what, strerror(errno));
}

static struct sockaddr_sivshmem address(const char *service)
{
	struct sockaddr_sivshmem addr = { .ssiv_family = siv_family() };

	snprintf(addr.ssiv_vm, sizeof(addr.ssiv_vm), "%s", vm);
	snprintf(addr.ssiv_service, sizeof(addr.ssiv_service), "%s", service);
	return addr;
}

static int bind_to(int s, const char *service)
{
	struct sockaddr_sivshmem addr = address(service);

	return bind(s, (struct sockaddr *)&addr, sizeof(addr));
}

static int connect_to(int s, const char *service)
{
	struct sockaddr_sivshmem addr = address(service);

	return connect(s, (struct sockaddr *)&addr, sizeof(addr));
}

static void fresh(void)
{
	fd = socket(siv_family(), type, 0);
	must(fd, "socket");
}

/* A connection that waits in the listener's queue. */
static void pending(void)
{
	fresh();
	must(connect_to(fd, "faults"), "connect");
}

/* The agent grants to the listener first: what is connected is in its queue. */
static void take_pending(void)
{
	peer = accept(listener, NULL, NULL);
	must(peer, "accept");
}

static void connected(void)
{
	pending();
	take_pending();
	moved = 0;
}

static void close_all(void)
{
	int *all[] = { &fd, &peer, &extra };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		if (*all[i] >= 0)
			must(close(*all[i]), "close");
		*all[i] = -1;
	}
}

/* The queue of an O_NONBLOCK listener. A connection that its client was refused is there, reset. */
static void drop_pending(void)
{
	do {
		peer = accept(listener, NULL, NULL);
		if (peer >= 0)
			must(close(peer), "close");
	} while (peer >= 0 || errno != EAGAIN);
}

static void listen_at(const char *service)
{
	fresh();
	must(bind_to(fd, service), "bind");
	must(listen(fd, 64), "listen");
	must(fcntl(fd, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
	listener = fd;
	fd = -1;
}

static bool pass(int from, int to, char c)
{
	char there;

	return send(from, &c, 1, MSG_NOSIGNAL) == 1 && recv(to, &there, 1, 0) == 1 && there == c;
}

/* The connection carries a byte each way. */
static void exchange(void)
{
	if (!pass(fd, peer, 'a') || !pass(peer, fd, 'b'))
		die("the first bytes do not arrive: %s", strerror(errno));
}

/* --- one fault at a time ---------------------------------------------------------------------- */

static int fail_fd = -1; /* /proc/thread-self/fail-nth */

static void fail_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	/* switching it off may be what fails */
	while (pwrite(fail_fd, text, len, 0) != len)
		if (errno != EFAULT)
			die("fail-nth: %s", strerror(errno));
}

/* Whether it failed. Reading may be what fails; then the call under test did not. */
static bool failed_nth(void)
{
	char text[16] = "";

	return pread(fail_fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);
}

static int call_socket(void)
{
	return fd = socket(siv_family(), type | SOCK_CLOEXEC, 0);
}

static int call_bind(void) { return bind_to(fd, "faults-bind"); }
static int call_listen(void) { return listen(fd, 4); }
static int call_connect(void) { return connect_to(fd, "faults"); }
static int call_shutdown(void) { return shutdown(fd, SHUT_WR); }

/* 1: under way */
static int call_connect_nonblock(void)
{
	int rc;

	must(fcntl(fd, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
	rc = connect_to(fd, "faults");
	return rc < 0 && errno == EINPROGRESS ? 1 : rc;
}

static int call_accept(void)
{
	return peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static struct siv_alias_addr alias_addr(uint32_t ip)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(7),
				  .sin_addr.s_addr = htonl(ip) };
	struct siv_alias_addr a = { .len = sizeof(in) };

	memcpy(a.addr, &in, sizeof(in));
	return a;
}

static int call_set_alias(void)
{
	struct siv_alias alias = { .self = alias_addr(0x0a000001) };

	return setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_ALIAS, &alias, sizeof(alias));
}

static int call_set_alias_peer(void)
{
	struct siv_alias_peer p = { .addr = alias_addr(0x0a000002) };

	snprintf(p.vm, sizeof(p.vm), "%s", vm);
	return setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_ALIAS_PEER, &p, sizeof(p));
}

static int call_set_ring(void)
{
	uint32_t size = 8192;

	return setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &size, sizeof(size));
}

static int call_get_alias(void)
{
	struct siv_alias alias;
	socklen_t len = sizeof(alias);

	return getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_ALIAS, &alias, &len);
}

static int call_get_peer(void)
{
	struct siv_peer p;
	socklen_t len = sizeof(p);

	return getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_PEER, &p, &len);
}

static int call_getsockname(void)
{
	struct sockaddr_sivshmem addr;
	socklen_t len = sizeof(addr);

	return getsockname(fd, (struct sockaddr *)&addr, &len);
}

static int call_poll(void)
{
	struct pollfd p[POLLED];
	unsigned int i;

	for (i = 0; i < POLLED; i++)
		p[i] = (struct pollfd){ .fd = fd, .events = POLLOUT };
	return poll(p, POLLED, -1);
}

static int call_epoll(void)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET };

	if (extra < 0 && (extra = epoll_create1(EPOLL_CLOEXEC)) < 0)
		return -1;
	if (epoll_ctl(extra, EPOLL_CTL_ADD, fd, &ev) && errno != EEXIST)
		return -1;
	return epoll_wait(extra, &ev, 1, 0);
}

static int call_send(void)
{
	ssize_t n = send(fd, pattern + moved, BYTES - moved, MSG_NOSIGNAL);

	moved += n > 0 ? n : 0;
	return n;
}

static void pieces(struct iovec *iov, uint8_t *buf)
{
	size_t piece = (BYTES - moved) / PIECES;
	unsigned int i;

	for (i = 0; i < PIECES; i++)
		iov[i] = (struct iovec){ buf + moved + i * piece,
					 i < PIECES - 1 ? piece : BYTES - moved - i * piece };
}

static int call_sendmsg(void)
{
	struct iovec iov[PIECES];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = PIECES };
	ssize_t n;

	pieces(iov, pattern);
	n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	moved += n > 0 ? n : 0;
	return n;
}

static int call_recv(void)
{
	ssize_t n = recv(fd, got + moved, sizeof(got) - moved, 0);

	moved += n > 0 ? n : 0;
	return n;
}

static int call_recvmsg(void)
{
	struct iovec iov[PIECES];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = PIECES };
	ssize_t n;

	pieces(iov, got);
	n = recvmsg(fd, &msg, 0);
	moved += n > 0 ? n : 0;
	return n;
}

static int call_peek(void)
{
	ssize_t n = recv(fd, got, BYTES, MSG_PEEK);

	if (n > 0 && memcmp(got, pattern, n))
		die("peek: wrong bytes");
	return n;
}

static int call_sendfile(void)
{
	off_t from = moved;
	ssize_t n = sendfile(fd, extra, &from, BYTES - moved);

	moved += n > 0 ? n : 0;
	return n;
}

static int call_splice(void)
{
	ssize_t n = splice(fd, NULL, pipe_ends[1], NULL, BYTES - moved, 0);

	moved += n > 0 ? n : 0;
	return n;
}

static int call_inq(void)
{
	int n;

	return ioctl(fd, SIOCINQ, &n);
}

static int call_close(void)
{
	int s = fd;

	fd = -1;
	return close(s);
}

static void connected_data(void)
{
	connected();
	memset(got, 0, sizeof(got));
	if (send(peer, pattern, BYTES, MSG_NOSIGNAL) != BYTES)
		die("send: %s, without a fault", strerror(errno));
}

static void connected_pipe(void)
{
	connected_data();
	must(pipe(pipe_ends), "pipe");
}

static void connected_file(void)
{
	connected();
	extra = memfd_create("faults", MFD_CLOEXEC);
	if (extra < 0 || write(extra, pattern, BYTES) != BYTES)
		die("memfd: %s", strerror(errno));
}

static void fresh_other(void)
{
	fresh();
	must(bind_to(fd, "faults-other"), "bind");
}

static void fresh_alias(void)
{
	fresh();
	must(call_set_alias(), "SIVSHMEM_ALIAS");
}

/* Accepted sockets get a copy of what the listener has. */
static void pending_aliased(void)
{
	extra = listener;
	fresh();
	must(bind_to(fd, "faults-alias"), "bind");
	must(call_set_alias(), "SIVSHMEM_ALIAS");
	must(call_set_alias_peer(), "SIVSHMEM_ALIAS_PEER");
	must(listen(fd, 4), "listen");
	listener = fd;
	fresh();
	must(connect_to(fd, "faults-alias"), "connect");
}

static void then_exchange_aliased(void)
{
	int s = extra;

	exchange();
	extra = listener;
	listener = s;
}

static void then_listen(void)
{
	must(listen(fd, 1), "listen");
}

static void then_connect(void)
{
	extra = fd;
	fresh();
	must(connect_to(fd, "faults-other"), "connect");
	peer = accept(extra, NULL, NULL);
	must(peer, "accept");
	exchange();
}

static void then_accept(void)
{
	take_pending();
	exchange();
}

static void then_connected(void)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err;

	if (poll(&p, 1, -1) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) || err)
		die("a connect under way fails without a fault");
	must(fcntl(fd, F_SETFL, 0), "F_SETFL");
	then_accept();
}

static void then_connect_here(void)
{
	must(connect_to(fd, "faults"), "connect");
	then_accept();
}

/* The rest goes out, and the peer gets every byte once. */
static void then_peer_reads(void)
{
	size_t n = 0;
	ssize_t m;

	while (moved < BYTES)
		must(call_send(), "send");
	for (; n < BYTES; n += m) {
		m = recv(peer, got + n, sizeof(got) - n, 0);
		if (m <= 0)
			die("recv: %s, %zu bytes to come", m ? strerror(errno) : "end", BYTES - n);
	}
	if (n != BYTES || memcmp(got, pattern, BYTES) || recv(peer, got, 1, MSG_DONTWAIT) >= 0)
		die("the peer got other bytes than were sent");
}

static void then_read(void)
{
	while (moved < BYTES)
		must(call_recv(), "recv");
	if (moved != BYTES || memcmp(got, pattern, BYTES) || recv(fd, got, 1, MSG_DONTWAIT) >= 0)
		die("other bytes were read than the peer sent");
}

/* What went into the pipe comes before what is still in the socket. */
static void then_read_pipe(void)
{
	if (read(pipe_ends[0], got, BYTES) != (ssize_t)moved)
		die("the pipe has not what splice said");
	must(close(pipe_ends[0]), "close");
	must(close(pipe_ends[1]), "close");
	then_read();
}

static void then_end(void)
{
	char c;

	if (recv(peer, &c, 1, 0))
		die("the peer gets no end of file");
}

static const struct probe {
	const char *name;
	void (*before)(void);
	int (*call)(void);
	void (*after)(void);
	bool never_fails;
} probes[] = {
	{ "socket", NULL, call_socket, then_connect_here, false },
	{ "bind", fresh, call_bind, then_listen, false },
	{ "listen", fresh_other, call_listen, then_connect, false },
	{ "connect", fresh, call_connect, then_accept, false },
	{ "connect, O_NONBLOCK", fresh, call_connect_nonblock, then_connected, false },
	{ "accept4", pending, call_accept, exchange, false },
	{ "accept4 with aliases", pending_aliased, call_accept, then_exchange_aliased, false },
	{ "setsockopt SIVSHMEM_ALIAS", fresh, call_set_alias, then_connect_here, false },
	{ "setsockopt SIVSHMEM_ALIAS_PEER", fresh, call_set_alias_peer, then_connect_here, false },
	{ "setsockopt SIVSHMEM_TX_SIZE", fresh, call_set_ring, then_connect_here, false },
	{ "getsockopt SIVSHMEM_ALIAS", fresh_alias, call_get_alias, then_connect_here, false },
	{ "getsockopt SIVSHMEM_PEER", connected, call_get_peer, exchange, false },
	{ "getsockname", connected, call_getsockname, exchange, false },
	{ "poll", connected, call_poll, exchange, false },
	{ "epoll", connected, call_epoll, exchange, false },
	{ "send", connected, call_send, then_peer_reads, false },
	{ "sendmsg", connected, call_sendmsg, then_peer_reads, false },
	{ "sendfile", connected_file, call_sendfile, then_peer_reads, false },
	{ "recv", connected_data, call_recv, then_read, false },
	{ "recvmsg", connected_data, call_recvmsg, then_read, false },
	{ "recv MSG_PEEK", connected_data, call_peek, then_read, false },
	{ "splice", connected_pipe, call_splice, then_read_pipe, false },
	{ "ioctl SIOCINQ", connected, call_inq, exchange, false },
	{ "shutdown", connected, call_shutdown, then_end, true },
	{ "close", connected, call_close, then_end, true },
};

/* EFAULT: copying from or to the process was what failed. */
static bool clean_errno(int err)
{
	return err == ENOMEM || err == ENOBUFS || err == ENFILE || err == EFAULT;
}

/* True if there was a fault; *@refused: and the call failed. */
static bool probe_once(const struct probe *p, unsigned int n, bool *refused)
{
	bool fault;
	int rc, err;

	alarm(CALL_SECONDS);
	if (p->before)
		p->before();
	fail_nth(n);
	rc = p->call();
	err = errno;
	fault = failed_nth();
	fail_nth(0);
	*refused = rc < 0;
	if (rc < 0 && (!fault || p->never_fails || !clean_errno(err)))
		die("%s: fault %u%s: %s", p->name, n, fault ? "" : " (not reached)", strerror(err));
	if (rc < 0)
		must(p->call(), p->name);
	p->after();
	close_all();
	return fault;
}

static int calls(void)
{
	unsigned int i, n, failed;
	bool refused;

	fail_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_fd < 0)
		die("fail-nth: %s: a kernel with fault injection?", strerror(errno));
	for (i = 0; i < sizeof(probes) / sizeof(*probes); i++) {
		failed = 0;
		for (n = 1; probe_once(&probes[i], n, &refused); n++)
			failed += refused;
		printf("%s: %u faults, %u failed calls\n", probes[i].name, n - 1, failed);
	}
	return 0;
}

/* --- faults elsewhere ------------------------------------------------------------------------- */

/* What an agent in trouble may say. It may not be silent: that is ETIMEDOUT. */
static bool agent_errno(int err)
{
	return clean_errno(err) || err == ECONNREFUSED || err == ENETDOWN || err == ECONNRESET ||
	       err == EPROTO;
}

/*
 * The listener's end of what was connected; before it may be what was taken back. False: so was this
 * one, for the agent cannot know of a grant whose verdict was lost, and resets it.
 */
static bool find_pending(void)
{
	struct pollfd p[] = { { .fd = listener, .events = POLLIN }, { .fd = fd } };
	char c;

	errno = 0;
	if (send(fd, "!", 1, MSG_NOSIGNAL) < 0)
		return false;
	for (;;) {
		if (poll(p, 2, -1) < 1)
			die("poll: %s", strerror(errno));
		if (p[1].revents)
			return false;
		take_pending();
		if (recv(peer, &c, 1, 0) == 1)
			return pass(fd, peer, 'a') && pass(peer, fd, 'b');
		must(close(peer), "close");
		peer = -1;
	}
}

/* One whole life of a connection; false if it was refused. */
static bool life(void)
{
	bool ok;

	alarm(CALL_SECONDS);
	fresh();
	ok = !connect_to(fd, "faults");
	if (!ok && !agent_errno(errno))
		die("connect: %s", strerror(errno));
	if (ok && !find_pending()) {
		ok = false;
		if (errno && errno != EPIPE && errno != ECONNRESET)
			die("a connection that was taken back: %s", strerror(errno));
	}
	close_all();
	return ok;
}

static int connects(int n)
{
	int i, ok = 0;

	for (i = 0; i < n; i++)
		ok += life();
	drop_pending();
	printf("%d of %d connected\n", ok, n);
	return 0;
}

/* --- faults by chance ------------------------------------------------------------------------- */

static int make_fd = -1; /* /proc/self/make-it-fail */

static void make_it_fail(bool on)
{
	if (make_fd < 0)
		make_fd = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	if (make_fd < 0)
		die("make-it-fail: %s: a kernel with fault injection?", strerror(errno));
	/* switching it off may be what fails */
	while (pwrite(make_fd, on ? "1" : "0", 1, 0) != 1)
		if (on)
			die("make-it-fail: %s", strerror(errno));
}

static unsigned long tried, refused_calls;
static bool agent_fails;

/* A call's result: false if it failed, which is fine with a clean errno or @also. */
static bool worked(long rc, const char *what, int also)
{
	int err = errno;

	tried++;
	if (rc >= 0)
		return true;
	refused_calls++;
	if (!clean_errno(err) && err != also)
		die("%s: %s", what, strerror(err));
	return false;
}

static void storm_life(const char *service)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	ssize_t n = -1;

	alarm(CALL_SECONDS);
	fd = socket(siv_family(), type, 0);
	if (!worked(fd, "socket", 0))
		return;
	if (!worked(connect_to(fd, service), "connect", ECONNREFUSED)) {
		drop_pending();
		return;
	}
	if (poll(&p, 1, 0) == 0)
		die("a connection that is established is not in the listener's queue");
	while (peer < 0) {
		peer = accept(listener, NULL, NULL);
		worked(peer, "accept", 0);
	}
	while (n < 0) {
		n = send(fd, pattern, BYTES, MSG_NOSIGNAL);
		/* see find_pending() */
		if (n < 0 && agent_fails && (errno == EPIPE || errno == ECONNRESET))
			return;
		worked(n, "send", 0);
	}
	n = recv(peer, got, sizeof(got), 0);
	if (worked(n, "recv", agent_fails ? ECONNRESET : 0) && memcmp(got, pattern, n))
		die("storm: wrong bytes");
}

static int storm_worker(int number, int seconds)
{
	time_t end = time(NULL) + seconds;
	char service[32];

	snprintf(service, sizeof(service), "storm-%d", number);
	listen_at(service);
	make_it_fail(true);
	while (time(NULL) < end) {
		storm_life(service);
		close_all();
	}
	make_it_fail(false);
	if (!refused_calls)
		die("storm: no call failed: is failslab set up?");
	printf("%s: %lu of %lu calls failed\n", service, refused_calls, tried);
	return 0;
}

static int storm(int seconds)
{
	int i, status, failed = 0;

	alarm(seconds + CALL_SECONDS);
	for (i = 0; i < 3; i++) {
		pid_t pid = fork();

		must(pid, "fork");
		if (!pid)
			exit(storm_worker(i, seconds));
	}
	while (wait(&status) >= 0)
		failed |= status;
	return !!failed;
}

int main(int argc, char **argv)
{
	unsigned int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3) {
		fprintf(stderr, "usage: siv-faults calls VM [seqpacket] | connects VM N | "
				"storm VM SECONDS [agent] | settle VM\n");
		return 2;
	}
	vm = argv[2];
	for (i = 0; i < BYTES; i++)
		pattern[i] = i * 7 + i / 256;
	if (argc > 3 && !strcmp(argv[3], "seqpacket"))
		type = SOCK_SEQPACKET;
	alarm(CALL_SECONDS);
	if (!strcmp(argv[1], "settle")) {
		/* the agent answers in order */
		listen_at("settle");
		return 0;
	}
	agent_fails = argc > 4;
	if (!strcmp(argv[1], "storm") && argc > 3)
		return storm(atoi(argv[3]));
	listen_at("faults");
	if (!strcmp(argv[1], "connects") && argc > 3)
		return connects(atoi(argv[3]));
	if (!strcmp(argv[1], "calls"))
		return calls();
	die("%s: unknown", argv[1]);
	return 2;
}
