// SPDX-License-Identifier: BSD-2-Clause
/*
 * The client's cases: what a connection carries, and how it ends. Each says what must hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <sivshmem.h>
#include <sivshmem/ring.h>

#include "cases.h"
#include "check.h"

const char *url;
struct sockaddr_sivshmem addr;

int order(uint32_t mode, uint64_t seed, uint64_t bytes)
{
	struct order o = { .mode = mode, .seed = seed, .bytes = bytes };
	int fd = siv_connect(url, 0);

	if (fd < 0)
		die("connect %s: %s", url, strerror(-fd));
	write_all(fd, &o, sizeof(o));
	return fd;
}

int order_to_echo(void)
{
	int fd = order(MODE_ECHO, 0, 0);
	char c = 0;

	write_all(fd, &c, 1);
	read_all(fd, &c, 1);
	return fd;
}

short poll_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

short poll_wait(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, 30000) != 1)
		die("poll for %#x: nothing within 30 s", events);
	return p.revents;
}

int new_socket(int flags)
{
	int fd = socket(siv_family(), SOCK_STREAM | flags, 0);

	CHECK(fd >= 0);
	return fd;
}

uint64_t fresh_seed(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)getpid() << 40 ^ (uint64_t)t.tv_sec << 20 ^ t.tv_nsec;
}

/* ARG MiB each way at once, in odd sizes from 1 byte to 1 MiB, are what was sent. */
static void case_duplex(const char *arg)
{
	uint64_t bytes = (arg ? strtoull(arg, NULL, 0) : 16) << 20;
	int fd = order(MODE_DUPLEX, 4711, bytes);

	duplex(fd, 4711, 4712, bytes, 1 << 20);
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
}

struct worker {
	pthread_t thread;
	int n;
};

static void *one_of_many(void *arg)
{
	struct worker *w = arg;
	uint64_t bytes = 300000 + 1001 * w->n;
	int fd = order(MODE_DUPLEX, w->n, bytes);

	duplex(fd, w->n, w->n + 1, bytes, 30000);
	shutdown(fd, SHUT_WR);
	expect_eof(fd);
	close(fd);
	return NULL;
}

/* ARG connections at once each carry their own bytes. */
static void case_many(const char *arg)
{
	int n = arg ? atoi(arg) : 64, i;
	struct worker *w = calloc(n, sizeof(*w));
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (i = 0; i < n; i++) {
		w[i].n = i;
		CHECK(!pthread_create(&w[i].thread, &attr, one_of_many, &w[i]));
	}
	for (i = 0; i < n; i++)
		pthread_join(w[i].thread, NULL);
	free(w);
}

/* ARG times connect, a few bytes, close. */
static void case_churn(const char *arg)
{
	int n = arg ? atoi(arg) : 300, i;
	char c = 'x';

	for (i = 0; i < n; i++) {
		int fd = order(MODE_ECHO, 0, 0);

		write_all(fd, &c, 1);
		read_all(fd, &c, 1);
		if (i % 2)
			shutdown(fd, SHUT_WR);
		close(fd);
	}
}

/* What was sent before close() is read before EOF. */
static void case_data_before_eof(const char *arg)
{
	struct stream *s = stream_new(12);
	char buf[3001];
	uint64_t got = 0;
	ssize_t n;
	int fd = order(MODE_SOURCE, 12, 20000);

	(void)arg;
	CHECK(poll_wait(fd, POLLRDHUP) & POLLRDHUP);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		stream_check(s, buf, n);
		got += n;
	}
	CHECK(n == 0);
	CHECK(got == 20000);
	expect_eof(fd);
	close(fd);
}

/* shutdown(SHUT_WR) ends one direction and leaves the other. */
static void case_half_close(const char *arg)
{
	struct stream *s = stream_new(9);
	static char buf[200000];
	int fd = order(MODE_REPLY, 9, sizeof(buf));
	char c = 1;

	(void)arg;
	write_all(fd, buf, 5000);
	CHECK(!shutdown(fd, SHUT_WR));
	CHECK_ERRNO(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
	read_all(fd, buf, sizeof(buf));
	stream_check(s, buf, sizeof(buf));
	expect_eof(fd);
	CHECK((poll_wait(fd, POLLIN) & (POLLIN | POLLHUP)) == (POLLIN | POLLHUP));
	close(fd);
}

/* A peer that does not read any more: EPIPE and, unless refused, SIGPIPE. */
static void case_peer_shut_rd(const char *arg)
{
	int fd = order(MODE_SHUT_RD, 0, 0), status;
	char c = 1;

	(void)arg;
	/* as on AF_UNIX the writer may write, and learns by trying */
	while (send(fd, &c, 1, MSG_NOSIGNAL) == 1)
		;
	CHECK(errno == EPIPE);
	if (!fork()) {
		signal(SIGPIPE, SIG_DFL);
		send(fd, &c, 1, 0);
		_exit(0);
	}
	CHECK(wait(&status) > 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
	shutdown(fd, SHUT_WR);
	close(fd);
}

/* The error was told: end of file, but where only a kernel's word makes one. */
static void expect_eof_after_reset(int fd)
{
	char c;

	if (is_sealed(fd))
		CHECK_ERRNO(recv(fd, &c, 1, 0), ECONNRESET);
	else
		expect_eof(fd);
}

/* A peer that closes with data unread: ECONNRESET once, then end of file. */
static void case_peer_abort(const char *arg)
{
	int fd = order(MODE_ABORT, 0, 0), err = 0;
	socklen_t len = sizeof(err);
	char c = 1;

	(void)arg;
	write_all(fd, "unread", 6);
	CHECK(poll_wait(fd, POLLIN) & POLLERR);
	CHECK_ERRNO(recv(fd, &c, 1, 0), ECONNRESET);
	expect_eof_after_reset(fd);
	CHECK_ERRNO(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
	close(fd);

	fd = order(MODE_ABORT, 0, 0);
	write_all(fd, "unread", 6);
	CHECK(poll_wait(fd, POLLIN) & POLLERR);
	CHECK(!getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) && err == ECONNRESET);
	expect_eof_after_reset(fd);
	close(fd);
}

/* A reader that stops: the writer gets EAGAIN, poll says not writable, then both go on. */
static void case_stalled_reader(const char *arg)
{
	uint64_t seed = fresh_seed(), bytes = 8 << 20, sent = 0;
	struct stream *s = stream_new(seed);
	static char buf[65536];
	int fd = order(MODE_STALL, seed, bytes), go;
	ssize_t n;

	(void)arg;
	for (;;) {
		stream_fill(s, buf, sizeof(buf));
		n = send(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			break;
		sent += n;
		s->pos -= sizeof(buf) - n;
		CHECK(sent < bytes);
	}
	CHECK(errno == EAGAIN);
	s->pos -= sizeof(buf);
	CHECK(!(poll_now(fd, POLLOUT) & POLLOUT));
	/* nobody wakes us by mistake */
	{
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		CHECK(poll(&p, 1, 300) == 0);
	}
	go = order(MODE_GO, seed, 0);
	close(go);
	CHECK(poll_wait(fd, POLLOUT) & POLLOUT);
	while (sent < bytes) {
		size_t want = bytes - sent < sizeof(buf) ? bytes - sent : sizeof(buf);

		stream_fill(s, buf, want);
		write_all(fd, buf, want);
		sent += want;
	}
	shutdown(fd, SHUT_WR);
	expect_eof(fd);
	close(fd);
}

struct closer {
	int fd;
	atomic_bool done;
};

static void *closer(void *arg)
{
	struct closer *c = arg;

	close(c->fd);
	c->done = true;
	return NULL;
}

/* close() with SO_LINGER returns when the peer has read everything, or when its time is up. */
static void case_linger(const char *arg)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 60 };
	struct timespec a, b;
	static char buf[5000];
	uint64_t seed = fresh_seed();
	struct closer c = { .fd = order(MODE_STALL, seed, sizeof(buf)) };
	pthread_t thread;

	(void)arg;
	stream_fill(stream_new(seed), buf, sizeof(buf));
	write_all(c.fd, buf, sizeof(buf));
	CHECK(!setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	CHECK(!pthread_create(&thread, NULL, closer, &c));
	usleep(300000); /* not waited for: only a close() that came back too early shows */
	CHECK(!c.done);
	close(order(MODE_GO, seed, 0));
	CHECK(!pthread_join(thread, NULL));

	c.fd = order(MODE_STALL, fresh_seed(), sizeof(buf));
	write_all(c.fd, buf, sizeof(buf));
	CHECK(!shutdown(c.fd, SHUT_WR)); /* changes nothing */
	linger.l_linger = 1;
	CHECK(!setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	clock_gettime(CLOCK_MONOTONIC, &a);
	close(c.fd);
	clock_gettime(CLOCK_MONOTONIC, &b);
	CHECK((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >= 900);
}

static void *waiter(void *arg)
{
	int fd = *(int *)arg;
	long got = 0;
	char buf[16];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		got += n;
	CHECK(n == 0);
	return (void *)got;
}

/* 16 threads wait on one socket: every byte reaches exactly one, and all see the end. */
static void case_many_waiters(const char *arg)
{
	const long bytes = 200000;
	pthread_t t[16];
	long sum = 0;
	void *got;
	int fd = order(MODE_ECHO, 0, 0), i;
	static char buf[1000];

	(void)arg;
	for (i = 0; i < 16; i++)
		CHECK(!pthread_create(&t[i], NULL, waiter, &fd));
	for (i = 0; i < bytes / 1000; i++)
		write_all(fd, buf, sizeof(buf));
	shutdown(fd, SHUT_WR);
	for (i = 0; i < 16; i++) {
		pthread_join(t[i], &got);
		sum += (long)got;
	}
	CHECK(sum == bytes);
	close(fd);
}

/*
 * Edge-triggered epoll under load for ARG seconds: each round writes a burst and waits by epoll
 * alone until all of it is back. A lost wake-up shows as a round that takes 10 s.
 */
static void case_epoll_edge(const char *arg)
{
	time_t end = time(NULL) + (arg ? atoi(arg) : 10);
	uint64_t rnd = 99, rounds = 0;
	static char buf[400000];
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	int fd = order(MODE_ECHO, 0, 0), ep = epoll_create1(0);
	size_t out, back, burst;
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	for (; time(NULL) < end; rounds++) {
		burst = odd_size(&rnd, sizeof(buf));
		for (out = back = 0; back < burst;) {
			while (out < burst && (n = send(fd, buf, burst - out, 0)) > 0)
				out += n;
			CHECK(out == burst || errno == EAGAIN);
			while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
				back += n;
			CHECK(n < 0 && errno == EAGAIN);
			if (back == burst)
				break;
			n = epoll_wait(ep, &ev, 1, 10000);
			if (n != 1)
				die("round %llu: %zu of %zu bytes written, %zu back, and no event in 10 s",
				    (unsigned long long)rounds, out, burst, back);
		}
	}
	printf("%llu rounds\n", (unsigned long long)rounds);
	close(fd);
	close(ep);
}

/* Of what was peeked in a ring full of sealed records: FIONREAD and recv() say the same. */
static void check_one_record(int fd, size_t peeked, const char *first)
{
	static char again[SIV_SEAL_DATA + 1];
	int n = -1;

	CHECK(peeked && peeked <= SIV_SEAL_DATA);
	CHECK(!ioctl(fd, FIONREAD, &n) && n == (int)peeked);
	CHECK(recv(fd, again, sizeof(again), MSG_PEEK) == (ssize_t)peeked);
	CHECK(!memcmp(again, first, peeked));
	CHECK(recv(fd, again, 1, 0) == 1 && again[0] == first[0]);
	CHECK(!ioctl(fd, FIONREAD, &n) && n == (int)peeked - 1);
	CHECK(recv(fd, again, sizeof(again), MSG_PEEK) == (ssize_t)peeked - 1);
}

/*
 * A peek that waits for more than the ring can hold returns what it holds; on a sealed channel, what
 * the first record does.
 */
static void peek_full_ring(int fd)
{
	static char out[4 << 20], in[4 << 20];
	socklen_t len = sizeof(__u32);
	size_t n, peeked, taken = 0;
	__u32 ring;
	pid_t child;

	CHECK(!getsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_RX_SIZE, &ring, &len) && ring < sizeof(in));
	child = fork();
	if (!child) {
		write_all(fd, out, 3 * ring);
		_exit(0);
	}
	peeked = recv(fd, in, sizeof(in), MSG_PEEK | MSG_WAITALL);
	if (is_sealed(fd)) {
		check_one_record(fd, peeked, in);
		taken = 1;
	} else {
		CHECK(peeked == ring);
	}
	for (n = taken; n < 3 * ring;)
		n += recv(fd, in, sizeof(in), 0);
	CHECK(n == 3 * ring);
	CHECK(waitpid(child, NULL, 0) == child);
}

/* Level-triggered poll and select tell the same; FIONREAD and SIOCOUTQ count. */
static void case_poll_bits(const char *arg)
{
	int fd = order(MODE_ECHO, 0, 0), n = -1;
	char buf[100];

	(void)arg;
	CHECK(poll_now(fd, POLLIN | POLLOUT) == POLLOUT);
	write_all(fd, buf, sizeof(buf));
	CHECK(poll_wait(fd, POLLIN) == POLLIN);
	do
		CHECK(!ioctl(fd, FIONREAD, &n));
	while (n < (int)sizeof(buf));
	CHECK(n == sizeof(buf));
	CHECK(recv(fd, buf, 10, MSG_PEEK) == 10);
	CHECK(recv(fd, buf, sizeof(buf), MSG_PEEK) == sizeof(buf));
	read_all(fd, buf, sizeof(buf));
	CHECK(!ioctl(fd, FIONREAD, &n) && n == 0);
	CHECK_ERRNO(recv(fd, buf, 1, MSG_DONTWAIT), EAGAIN);
	peek_full_ring(fd);
	CHECK(!ioctl(fd, SIOCOUTQ, &n) && n == 0);
	shutdown(fd, SHUT_WR);
	CHECK((poll_wait(fd, POLLRDHUP) & (POLLRDHUP | POLLHUP)) == (POLLRDHUP | POLLHUP));
	close(fd);
}

/* readv and writev of odd pieces; MSG_WAITALL across many sends; MSG_TRUNC throws away. */
static void case_vectors(const char *arg)
{
	struct stream *s = stream_new(5), *t = stream_new(5);
	static uint8_t a[1], b[4099], c[70000], all[74100];
	struct iovec v[3] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };
	int fd = order(MODE_ECHO, 0, 0);
	ssize_t n, m;

	(void)arg;
	stream_fill(s, a, sizeof(a));
	stream_fill(s, b, sizeof(b));
	stream_fill(s, c, sizeof(c));
	CHECK(writev(fd, v, 3) == sizeof(all));
	CHECK(recv(fd, all, sizeof(all), MSG_WAITALL) == sizeof(all));
	stream_check(t, all, sizeof(all));
	stream_fill(s, all, 1000);
	CHECK(write(fd, all, 1000) == 1000);
	CHECK(recv(fd, NULL, 400, MSG_TRUNC | MSG_WAITALL) == 400);
	t->pos += 400;
	for (n = 0; n < 600; n += m) {
		m = readv(fd, v, 3);
		CHECK(m > 0);
		stream_check(t, a, 1);
		stream_check(t, b, m - 1);
	}
	close(fd);
}

/* A bad pointer in the middle: what is before it goes, and nothing twice. */
static void case_efault(const char *arg)
{
	int fd = order(MODE_ECHO, 0, 0);
	char ok[10] = "123456789", back[10];
	void *volatile bad = (void *)8;
	struct iovec v[2] = { { ok, sizeof(ok) }, { bad, 100 } };

	(void)arg;
	CHECK(writev(fd, v, 2) == sizeof(ok));
	CHECK_ERRNO(write(fd, bad, 10), EFAULT);
	CHECK(poll_wait(fd, POLLIN) & POLLIN);
	CHECK_ERRNO(read(fd, bad, 10), EFAULT);
	read_all(fd, back, sizeof(back));
	CHECK(!memcmp(ok, back, sizeof(ok)));
	CHECK_ERRNO(recv(fd, back, 1, MSG_DONTWAIT), EAGAIN);
	close(fd);
}

/* Descriptors do not cross a machine boundary. */
static void case_no_scm_rights(const char *arg)
{
	char control[CMSG_SPACE(sizeof(int))] = "", c = 1;
	struct iovec v = { &c, 1 };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fd = order(MODE_ECHO, 0, 0);

	(void)arg;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	CHECK_ERRNO(sendmsg(fd, &msg, 0), EOPNOTSUPP);
	CHECK_ERRNO(send(fd, &c, 1, MSG_OOB), EOPNOTSUPP);
	close(fd);
}

/* A time-out ends a wait with EAGAIN. */
static void case_timeouts(const char *arg)
{
	struct timeval t = { .tv_usec = 50000 };
	int fd = order(MODE_ECHO, 0, 0);
	char c;

	(void)arg;
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	CHECK_ERRNO(recv(fd, &c, 1, 0), EAGAIN);
	close(fd);
}

/* ARG round trips; with SO_BUSY_POLL ("ARG spin") each answer is waited for without sleeping. */
void case_round_trips(const char *arg)
{
	int fd = order(MODE_ECHO, 0, 0), n = atoi(arg), usecs = 500000;
	char buf[64] = "";

	if (strstr(arg, "spin"))
		CHECK(!setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &usecs, sizeof(usecs)));
	while (n--) {
		write_all(fd, buf, sizeof(buf));
		CHECK(recv(fd, buf, sizeof(buf), MSG_WAITALL) == sizeof(buf));
	}
	close(fd);
}

/* After fork both processes use the connection; it ends with the last of them. */
static void case_fork(const char *arg)
{
	int fd = order(MODE_ECHO, 0, 0), status;
	char c = 'p';

	(void)arg;
	if (!fork()) {
		c = 'c';
		write_all(fd, &c, 1);
		read_all(fd, &c, 1);
		CHECK(c == 'c');
		exit(0);
	}
	CHECK(wait(&status) > 0 && !status);
	write_all(fd, &c, 1);
	read_all(fd, &c, 1);
	CHECK(c == 'p');
	close(fd);
}

/* A descriptor passed over AF_UNIX is the same connection. */
static void case_pass(const char *arg)
{
	char control[CMSG_SPACE(sizeof(int))] = "", c = 'x';
	struct iovec v = { &c, 1 };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fd = order(MODE_ECHO, 0, 0), pair[2], passed;

	(void)arg;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	CHECK(sendmsg(pair[0], &msg, 0) == 1);
	close(fd);
	CHECK(recvmsg(pair[1], &msg, 0) == 1);
	memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(passed));
	write_all(passed, &c, 1);
	read_all(passed, &c, 1);
	close(passed);
}

static const struct {
	const char *name;
	void (*run)(const char *arg);
} cases[] = {
	{ "map-rights", case_map_rights },
	{ "map-fork", case_map_fork },
	{ "map-in-place", case_map_in_place },
	{ "map-elsewhere", case_map_elsewhere },
	{ "map-direct", case_map_direct },
	{ "map-wait", case_map_wait },
	{ "map-violation", case_map_violation },
	{ "map-scribble", case_map_scribble },
	{ "map-reset", case_map_reset },
	{ "map-records", case_map_records },
	{ "map-held", case_map_held },
	{ "load-sockets", case_load_sockets },
	{ "load-pending", case_load_pending },
	{ "load-channels", case_load_channels },
	{ "records-held", case_records_held },
	{ "stream-held", case_stream_held },
	{ "seal-full-end", case_seal_full_end },
	{ "seal-keys-held", case_seal_keys_held },
	{ "sealed", case_sealed },
	{ "seal-rekey", case_seal_rekey },
	{ "duplex", case_duplex },
	{ "many", case_many },
	{ "churn", case_churn },
	{ "data-before-eof", case_data_before_eof },
	{ "half-close", case_half_close },
	{ "peer-shut-rd", case_peer_shut_rd },
	{ "peer-abort", case_peer_abort },
	{ "stalled-reader", case_stalled_reader },
	{ "linger", case_linger },
	{ "many-waiters", case_many_waiters },
	{ "epoll-edge", case_epoll_edge },
	{ "poll-bits", case_poll_bits },
	{ "vectors", case_vectors },
	{ "efault", case_efault },
	{ "names", case_names },
	{ "connect-nonblock", case_connect_nonblock },
	{ "connect-signal", case_connect_signal },
	{ "connect-abandon", case_connect_abandon },
	{ "refused", case_refused },
	{ "bad-address", case_bad_address },
	{ "no-scm-rights", case_no_scm_rights },
	{ "timeouts", case_timeouts },
	{ "round-trips", case_round_trips },
	{ "lowat-lowered", case_lowat_lowered },
	{ "poll-beside-reader", case_poll_beside_reader },
	{ "spin-ends", case_spin_ends },
	{ "spin-yields", case_spin_yields },
	{ "late-page", case_late_page },
	{ "fork", case_fork },
	{ "pass", case_pass },
	{ "connect-timeout", case_connect_timeout },
	{ "listener-closed", case_listener_closed },
	{ "herd", case_herd },
	{ "burst", case_burst },
	{ "autobind", case_autobind },
	{ "records", case_records },
	{ "record-held", case_record_held },
	{ "hold", case_hold },
	{ "ping", case_ping },
	{ "marker", case_marker },
	{ "reuseport", case_reuseport },
	{ "so-reuseport", case_so_reuseport },
	{ "no-memory", case_no_memory },
	{ "backlog", case_backlog },
	{ "connect-time", case_connect_time },
};

void list_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		puts(cases[i].name);
}

int run_case(const char *to, const char *name, const char *arg)
{
	int err = siv_addr_parse(to, &addr);

	if (err)
		die("%s: not an address", to);
	url = to;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (strcmp(cases[i].name, name))
			continue;
		cases[i].run(arg);
		return 0;
	}
	die("%s: no such case", name);
}
