// SPDX-License-Identifier: BSD-2-Clause
/*
 * The client's cases: names, listening and connecting, and connections that are only held.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <sivshmem.h>
#include <sivshmem/ring.h>

#include "cases.h"
#include "check.h"

/* Names of both sides, and the authenticated peer. */
void case_names(const char *arg)
{
	struct sockaddr_sivshmem name;
	socklen_t len = sizeof(name);
	struct siv_peer peer;
	struct ucred cred;
	int fd = order(MODE_ECHO, 0, 0);

	(void)arg;
	CHECK(!getpeername(fd, (void *)&name, &len) && len == sizeof(name));
	CHECK(name.ssiv_family == siv_family() && !strcmp(name.ssiv_service, addr.ssiv_service));
	CHECK(name.ssiv_vm[0]);
	CHECK(!getsockname(fd, (void *)&name, &len) && len == sizeof(name));
	CHECK(name.ssiv_service[0]);
	CHECK(!siv_peer(fd, &peer));
	CHECK(!strncmp(peer.spiffe_id, "spiffe://", 9));
	CHECK(!strcmp(peer.addr.ssiv_service, addr.ssiv_service));
	printf("%s\n", peer.spiffe_id);
	len = sizeof(cred);
	CHECK(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len));
	CHECK(cred.pid == 0 && cred.uid == (uid_t)-1 && cred.gid == (gid_t)-1);
	close(fd);
	fd = new_socket(0);
	CHECK_ERRNO(getpeername(fd, (void *)&name, &len), ENOTCONN);
	CHECK(siv_peer(fd, &peer) == -ENOTCONN);
	close(fd);
}

/*
 * A non-blocking connect is done at once, or EINPROGRESS: then poll says when, and asking again
 * EISCONN. Prints how many of 10 were in progress: on a local link the agent may be that fast.
 */
void case_connect_nonblock(const char *arg)
{
	struct order o = { .mode = MODE_ECHO };
	int fd, err, i, in_progress = 0;
	socklen_t len = sizeof(err);

	(void)arg;
	for (i = 0; i < 10; i++) {
		fd = new_socket(SOCK_NONBLOCK);
		if (connect(fd, (void *)&addr, sizeof(addr))) {
			CHECK(errno == EINPROGRESS);
			in_progress++;
			CHECK(poll_wait(fd, POLLOUT) == POLLOUT);
			CHECK(!getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) && !err);
			CHECK(!connect(fd, (void *)&addr, sizeof(addr)) || errno == EISCONN);
		}
		CHECK_ERRNO(connect(fd, (void *)&addr, sizeof(addr)), EISCONN);
		write_all(fd, &o, sizeof(o));
		close(fd);
	}
	printf("%d in progress\n", in_progress);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* A signal ends the wait, not the connect: asking again waits on and succeeds. */
void case_connect_signal(const char *arg)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct order o = { .mode = MODE_ECHO };
	int fd, interrupted = 0, i;

	(void)arg;
	sigaction(SIGALRM, &act, NULL);
	for (i = 0; i < 200; i++) {
		fd = new_socket(0);
		ualarm(1 + i * 7 % 300, 0);
		if (connect(fd, (void *)&addr, sizeof(addr)) < 0) {
			CHECK(errno == EINTR);
			interrupted++;
			while (connect(fd, (void *)&addr, sizeof(addr)) < 0 && errno != EISCONN)
				CHECK(errno == EINTR || errno == EALREADY);
		}
		ualarm(0, 0);
		write_all(fd, &o, sizeof(o));
		close(fd);
	}
	printf("%d of %d interrupted\n", interrupted, i);
	CHECK(interrupted);
}

/*
 * SO_SNDTIMEO ends the wait, not the connect: EINPROGRESS, then EALREADY as often as it is asked
 * again, and at last it is connected. Prints how many of 20 were not done in 2 ms.
 */
void case_connect_timeout(const char *arg)
{
	struct timeval t = { .tv_usec = 2000 };
	struct order o = { .mode = MODE_ECHO };
	int fd, i, late = 0;

	(void)arg;
	for (i = 0; i < 20; i++) {
		fd = new_socket(0);
		CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
		if (connect(fd, (void *)&addr, sizeof(addr))) {
			CHECK(errno == EINPROGRESS);
			late++;
			while (connect(fd, (void *)&addr, sizeof(addr)) && errno != EISCONN)
				CHECK(errno == EALREADY);
		}
		write_all(fd, &o, sizeof(o));
		close(fd);
	}
	printf("%d late\n", late);
}

/*
 * A listener that closes while handshakes are under way: each connect is refused, or connected and
 * then reset; none hangs, and the service can listen again.
 */
void case_listener_closed(const char *arg)
{
	int listener, fd[8], round, i, err, refused = 0, reset = 0;
	struct sockaddr_sivshmem a = addr;
	socklen_t len = sizeof(err);
	char c;

	(void)arg;
	memset(a.ssiv_vm, 0, sizeof(a.ssiv_vm));
	memset(a.ssiv_service, 0, sizeof(a.ssiv_service));
	strcpy(a.ssiv_service, "fleeting");
	for (round = 0; round < 50; round++) {
		listener = new_socket(0);
		CHECK(!bind(listener, (void *)&a, sizeof(a)) && !listen(listener, 8));
		for (i = 0; i < 8; i++) {
			fd[i] = new_socket(SOCK_NONBLOCK);
			if (connect(fd[i], (void *)&a, sizeof(a)) && errno != EINPROGRESS) {
				CHECK(errno == ECONNREFUSED); /* the agent was that fast */
				close(fd[i]);
				fd[i] = -1;
				refused++;
			}
			if (i == round % 8)
				close(listener);
		}
		for (i = 0; i < 8; i++) {
			if (fd[i] < 0)
				continue;
			CHECK(poll_wait(fd[i], POLLIN) & POLLIN);
			CHECK(!getsockopt(fd[i], SOL_SOCKET, SO_ERROR, &err, &len));
			CHECK(err == ECONNREFUSED || err == ECONNRESET);
			refused += err == ECONNREFUSED;
			reset += err == ECONNRESET;
			CHECK(recv(fd[i], &c, 1, 0) <= 0);
			close(fd[i]);
		}
	}
	printf("%d refused, %d reset\n", refused, reset);
}

/* Closing in the middle of a connect leaves nothing behind. */
void case_connect_abandon(const char *arg)
{
	int i, fd;

	(void)arg;
	for (i = 0; i < 50; i++) {
		fd = new_socket(SOCK_NONBLOCK);
		CHECK(!connect(fd, (void *)&addr, sizeof(addr)) || errno == EINPROGRESS);
		close(fd);
	}
	fd = order(MODE_ECHO, 0, 0);
	close(fd);
}

/* connect() fails with the errno ARG, at once and by poll, and the socket can try again. */
void case_refused(const char *arg)
{
	int want = atoi(arg), fd = new_socket(0), err = 0;
	socklen_t len = sizeof(err);

	CHECK_ERRNO(connect(fd, (void *)&addr, sizeof(addr)), want);
	CHECK_ERRNO(connect(fd, (void *)&addr, sizeof(addr)), want);
	close(fd);
	fd = new_socket(SOCK_NONBLOCK);
	if (connect(fd, (void *)&addr, sizeof(addr)) < 0 && errno == EINPROGRESS) {
		CHECK(poll_wait(fd, POLLOUT) & POLLERR);
		CHECK(!getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	} else {
		err = errno;
	}
	if (err != want)
		die("errno is %d, should be %d", err, want);
	close(fd);
}

/* Addresses that are none: refused before anybody is asked. */
void case_bad_address(const char *arg)
{
	struct sockaddr_sivshmem a = addr;
	int fd = new_socket(0);

	(void)arg;
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a) - 1), EINVAL);
	a.ssiv_flags = 1;
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a)), EINVAL);
	a = addr;
	a.ssiv_service[SIV_SERVICE_LEN - 1] = 'x';
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a)), EINVAL);
	a = addr;
	a.ssiv_service[0] = 'A';
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a)), EINVAL);
	a = addr;
	memset(a.ssiv_service, 'a', sizeof(a.ssiv_service));
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a)), EINVAL);
	a = addr;
	a.ssiv_service[0] = 0;
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a)), EINVAL);
	a = addr;
	a.ssiv_family = AF_INET;
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a)), EAFNOSUPPORT);
	CHECK_ERRNO(listen(fd, 1), EINVAL);
	CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
	close(fd);
	CHECK_ERRNO(socket(siv_family(), SOCK_DGRAM, 0), ESOCKTNOSUPPORT);
	CHECK_ERRNO(socket(siv_family(), SOCK_STREAM, 6), EPROTONOSUPPORT);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* ARG times from connect() to connected; prints the median, least and greatest milliseconds. */
void case_connect_time(const char *arg)
{
	int n = arg ? atoi(arg) : 9, i, fd;
	double *ms = calloc(n, sizeof(*ms));
	struct timespec a, b;

	for (i = 0; i < n; i++) {
		fd = new_socket(0);
		clock_gettime(CLOCK_MONOTONIC, &a);
		CHECK(!connect(fd, (void *)&addr, sizeof(addr)));
		clock_gettime(CLOCK_MONOTONIC, &b);
		ms[i] = (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6;
		close(fd);
	}
	qsort(ms, n, sizeof(*ms), by_value);
	printf("%.1f %.1f %.1f\n", ms[n / 2], ms[0], ms[n - 1]);
	free(ms);
}

#define BURST_RING  (16u << 10) /* bytes; 256 of these in each direction fit every link of ours */
#define BURST_BYTES 3000u       /* of each connection, there and back */
#define PULSE_BYTES 512u        /* of the open channel, at a time */
#define PULSE_GAP   32          /* connects that may complete between two of its answers */

/* A connection that has been open before, and goes on meanwhile: one message always on its way. */
struct pulse {
	int fd;
	struct stream *out, *in;
	size_t pending; /* bytes of the message that have not come back */
	unsigned long answers;
};

static void pulse_send(struct pulse *p)
{
	uint8_t buf[PULSE_BYTES];

	stream_fill(p->out, buf, sizeof(buf));
	write_all(p->fd, buf, sizeof(buf));
	p->pending = sizeof(buf);
}

/* Takes what has come back; at the end of a message the next one leaves. */
static void pulse_take(struct pulse *p)
{
	uint8_t buf[PULSE_BYTES];
	ssize_t n = recv(p->fd, buf, p->pending, MSG_DONTWAIT);

	CHECK(n > 0 || (n < 0 && errno == EAGAIN));
	if (n <= 0)
		return;
	stream_check(p->in, buf, n);
	p->pending -= n;
	if (p->pending)
		return;
	p->answers++;
	pulse_send(p);
}

static int burst_start(void)
{
	__u32 ring = BURST_RING;
	int fd = new_socket(SOCK_NONBLOCK);

	CHECK(!setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &ring, sizeof(ring)));
	CHECK(!setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_RX_SIZE, &ring, sizeof(ring)));
	CHECK(!connect(fd, (void *)&addr, sizeof(addr)) || errno == EINPROGRESS);
	return fd;
}

/* Each has its own bytes, and gets these back. */
static void burst_check(int fd, uint64_t seed, struct stream *s)
{
	struct order o = { .mode = MODE_ECHO };
	uint8_t buf[BURST_BYTES];

	CHECK(!fcntl(fd, F_SETFL, 0));
	s->pos = seed;
	stream_fill(s, buf, sizeof(buf));
	write_all(fd, &o, sizeof(o));
	write_all(fd, buf, sizeof(buf));
	read_all(fd, buf, sizeof(buf));
	s->pos = seed;
	stream_check(s, buf, sizeof(buf));
}

/*
 * ARG connects at once, by one process that polls: all complete, and carry their bytes. A channel
 * that was open goes on: at no time do PULSE_GAP connects complete while it waits for one answer.
 */
void case_burst(const char *arg)
{
	int n = arg ? atoi(arg) : 256, left = n, since = 0, err;
	struct pulse pulse = { .fd = order(MODE_ECHO, 0, 0), .out = stream_new(1),
			       .in = stream_new(1) };
	struct pollfd *p = calloc(n + 1, sizeof(*p));
	struct stream *s = stream_new(2);
	unsigned long before;
	socklen_t len;

	pulse_send(&pulse);
	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){ .fd = burst_start(), .events = POLLOUT };
	p[n] = (struct pollfd){ .fd = pulse.fd, .events = POLLIN };
	while (left) {
		CHECK(poll(p, n + 1, 60000) > 0);
		before = pulse.answers;
		if (p[n].revents)
			pulse_take(&pulse);
		if (pulse.answers != before)
			since = 0;
		for (int i = 0; i < n; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			len = sizeof(err);
			CHECK(!getsockopt(p[i].fd, SOL_SOCKET, SO_ERROR, &err, &len));
			if (err)
				die("connect %d of %d, %d to come: %s", i, n, left, strerror(err));
			p[i].fd = ~p[i].fd; /* poll passes it by */
			left--;
			since++;
		}
		if (since > PULSE_GAP)
			die("%d connects and no answer on the open channel", since);
	}
	for (int i = 0; i < n; i++) {
		burst_check(~p[i].fd, i * 7, s);
		pulse_take(&pulse);
	}
	printf("%d connects, %lu answers meanwhile\n", n, pulse.answers);
	for (int i = 0; i < n; i++)
		close(~p[i].fd);
	close(pulse.fd);
	free(p);
	free(s);
	free(pulse.in);
	free(pulse.out);
}

/* Rings that no link has room for: ENOBUFS, and the socket can ask for less. */
void case_no_memory(const char *arg)
{
	__u32 large = 1 << SIV_CHAN_ORDER_MAX, small = 1 << SIV_CHAN_ORDER_MIN, got;
	socklen_t len = sizeof(got);
	int fd = new_socket(0);

	(void)arg;
	CHECK(!setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &large, sizeof(large)));
	CHECK(!setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_RX_SIZE, &large, sizeof(large)));
	CHECK_ERRNO(connect(fd, (void *)&addr, sizeof(addr)), ENOBUFS);
	CHECK(!setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &small, sizeof(small)));
	CHECK(!setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_RX_SIZE, &small, sizeof(small)));
	CHECK(!connect(fd, (void *)&addr, sizeof(addr)));
	CHECK(!getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &got, &len) && got == small);
	close(fd);
}

/* A listener takes as many as its backlog says; the next is ECONNREFUSED, until one is accepted. */
void case_backlog(const char *arg)
{
	struct sockaddr_sivshmem a = addr;
	int listener = new_socket(0), fd[3], i;

	(void)arg;
	memset(a.ssiv_vm, 0, sizeof(a.ssiv_vm));
	memset(a.ssiv_service, 0, sizeof(a.ssiv_service));
	strcpy(a.ssiv_service, "backlog");
	CHECK(!bind(listener, (void *)&a, sizeof(a)) && !listen(listener, 2));
	for (i = 0; i < 3; i++)
		fd[i] = new_socket(0);
	CHECK(!connect(fd[0], (void *)&a, sizeof(a)));
	CHECK(!connect(fd[1], (void *)&a, sizeof(a)));
	CHECK_ERRNO(connect(fd[2], (void *)&a, sizeof(a)), ECONNREFUSED);
	close(accept(listener, NULL, NULL));
	CHECK(!connect(fd[2], (void *)&a, sizeof(a)));
	for (i = 0; i < 3; i++)
		close(fd[i]);
	close(listener);
}

/* With the option on both, two listeners share a service and take turns; without it EADDRINUSE. */
static void share(int level, int option)
{
	struct sockaddr_sivshmem a = addr;
	int one = 1, fd[3], i;
	struct pollfd p[2];

	memset(a.ssiv_vm, 0, sizeof(a.ssiv_vm));
	snprintf(a.ssiv_service, sizeof(a.ssiv_service), "shared");
	for (i = 0; i < 3; i++) {
		fd[i] = new_socket(0);
		if (i < 2)
			CHECK(!setsockopt(fd[i], level, option, &one, sizeof(one)));
		CHECK(!bind(fd[i], (void *)&a, sizeof(a)));
	}
	CHECK(!listen(fd[0], 5) && !listen(fd[1], 5));
	CHECK_ERRNO(listen(fd[2], 5), EADDRINUSE);
	close(fd[2]);
	for (i = 0; i < 2; i++) {
		fd[2] = new_socket(0);
		CHECK(!connect(fd[2], (void *)&a, sizeof(a)));
		p[i] = (struct pollfd){ .fd = fd[i], .events = POLLIN };
	}
	CHECK(poll(p, 2, 0) == 2);
	close(fd[0]);
	close(fd[1]);
}

void case_reuseport(const char *arg)
{
	(void)arg;
	share(SOL_SIVSHMEM, SIVSHMEM_REUSEPORT);
}

/* The family is asked for SO_REUSEPORT since 6.8; before, the core refuses what it does not know. */
void case_so_reuseport(const char *arg)
{
	int major, minor, on = 1, fd = new_socket(0);
	socklen_t len = sizeof(on);
	struct utsname kernel;

	(void)arg;
	CHECK(!uname(&kernel) && sscanf(kernel.release, "%d.%d", &major, &minor) == 2);
	if (major < 6 || (major == 6 && minor < 8)) {
		CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), EOPNOTSUPP);
		CHECK(!getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &len) && !on);
	} else {
		CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
		CHECK(!getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &len) && on);
		share(SOL_SOCKET, SO_REUSEPORT);
	}
	close(fd);
}

#define WORKERS 8

/* One of those that share a listener: tells of each wake-up whether there was anything to accept. */
static void worker(int listener, int tell)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	int ep = epoll_create1(0), fd;

	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev));
	write_all(tell, "r", 1);
	for (;;) {
		CHECK(epoll_wait(ep, &ev, 1, -1) == 1);
		fd = accept(listener, NULL, NULL);
		CHECK(fd >= 0 || errno == EAGAIN);
		write_all(tell, fd < 0 ? "s" : "a", 1);
		close(fd);
	}
}

/* Workers that share a listener by EPOLLEXCLUSIVE: a connection wakes one of them, not the herd. */
void case_herd(const char *arg)
{
	struct sockaddr_sivshmem a = addr;
	int listener = new_socket(SOCK_NONBLOCK), pair[2], i, fd, spurious = 0;
	pid_t pids[WORKERS];
	char c;

	(void)arg;
	memset(a.ssiv_vm, 0, sizeof(a.ssiv_vm));
	memset(a.ssiv_service, 0, sizeof(a.ssiv_service));
	strcpy(a.ssiv_service, "herd");
	CHECK(!bind(listener, (void *)&a, sizeof(a)) && !listen(listener, 64));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	for (i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (!pids[i])
			worker(listener, pair[1]);
		read_all(pair[0], &c, 1);
		CHECK(pids[i] > 0 && c == 'r');
	}
	for (i = 0; i < 4 * WORKERS; i++) {
		fd = new_socket(0);
		CHECK(!connect(fd, (void *)&a, sizeof(a)));
		for (c = 0; c != 'a'; spurious += c == 's')
			read_all(pair[0], &c, 1);
		close(fd);
	}
	for (i = 0; i < WORKERS; i++)
		CHECK(!kill(pids[i], SIGKILL) && waitpid(pids[i], NULL, 0) == pids[i]);
	while (recv(pair[0], &c, 1, MSG_DONTWAIT) == 1)
		spurious += c == 's';
	printf("%d connections, %d wake-ups for nothing\n", i * 4, spurious);
	CHECK(spurious <= WORKERS);
	close(listener);
}

/* bind() to no service: the agent says which one this process is, and that is ARG. */
void case_autobind(const char *arg)
{
	struct sockaddr_sivshmem a = { .ssiv_family = siv_family() };
	socklen_t len = sizeof(a);
	int fd = new_socket(0);

	if (bind(fd, (void *)&a, sizeof(a)))
		die("bind to no service: %s", strerror(errno));
	CHECK(!getsockname(fd, (void *)&a, &len) && !strcmp(a.ssiv_service, arg));
	CHECK(!listen(fd, 1));
	close(fd);
}

static int connect_records(void)
{
	int fd = siv_connect(url, SOCK_SEQPACKET);

	if (fd < 0)
		die("connect %s for records: %s", url, strerror(-fd));
	return fd;
}

/* ARG records of odd lengths, the empty one among them, come back as they were sent. */
void case_records(const char *arg)
{
	int fd = connect_records(), n = arg ? atoi(arg) : 1000;
	struct stream *out = stream_new(31), *in = stream_new(31);
	static char buf[RECORD_MAX];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1 };
	size_t len, max = is_sealed(fd) ? SIV_SEAL_DATA : RECORD_MAX;
	uint64_t rnd = 5;

	while (n--) {
		len = odd_size(&rnd, max + 1) - 1;
		stream_fill(out, buf, len);
		CHECK(send(fd, buf, len, MSG_NOSIGNAL | MSG_EOR) == (ssize_t)len);
		CHECK(recvmsg(fd, &msg, 0) == (ssize_t)len);
		CHECK(msg.msg_flags == MSG_EOR);
		stream_check(in, buf, len);
	}
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
}

/* Sends ARG there and back as a record, prints "waiting", and after SIGUSR1 what recv() says. */
void case_record_held(const char *arg)
{
	int fd = connect_records(), sig;
	char buf[256];
	sigset_t set;
	ssize_t n;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	CHECK(send(fd, arg, strlen(arg), MSG_NOSIGNAL) == (ssize_t)strlen(arg));
	CHECK(poll_wait(fd, POLLIN) & POLLIN);
	puts("waiting");
	CHECK(!sigwait(&set, &sig));
	n = recv(fd, buf, sizeof(buf), 0);
	printf("recv: %s\n", n < 0 ? strerrorname_np(errno) : "a record");
	close(fd);
}

/*
 * Holds a connection until the peer resets it: prints "connected", then what recv and send say. With
 * any ARG recv spins.
 */
void case_hold(const char *arg)
{
	int fd = order_to_echo();
	char c;
	ssize_t n;

	if (arg)
		spin_for_ever(fd);
	puts("connected");
	n = recv(fd, &c, 1, 0);
	printf("recv: %s\n", n < 0 ? strerrorname_np(errno) : "no error");
	n = send(fd, &c, 1, MSG_NOSIGNAL);
	printf("send: %s\n", n < 0 ? strerrorname_np(errno) : "no error");
	close(fd);
}

/* Holds a connection until SIGTERM, answering itself through the peer each time it gets SIGUSR1. */
void case_ping(const char *arg)
{
	int fd = order(MODE_ECHO, 0, 0), sig, n = 0;
	sigset_t set;
	char c = 'p';

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("connected");
	while (!sigwait(&set, &sig) && sig == SIGUSR1) {
		write_all(fd, &c, 1);
		read_all(fd, &c, 1);
		printf("pong %d\n", ++n);
	}
	close(fd);
}

/* Sends ARG there and back, prints "written", and holds the connection. */
void case_marker(const char *arg)
{
	int fd = order(MODE_ECHO, 0, 0);
	char back[256];
	size_t len = strlen(arg);

	CHECK(len < sizeof(back));
	write_all(fd, arg, len);
	read_all(fd, back, len);
	puts("written");
	pause();
}
