// SPDX-License-Identifier: BSD-2-Clause
/*
 * The victim of siv-mallory: processes that use connections to it in all the ways that there are, each
 * until its connection ends, and then the next. What they read is garbage, and nothing is said of it;
 * what they must never be is broken, or beyond the reach of a signal.
 *
 *   siv-prey URL       until SIGTERM: then all are killed, and what was seen is printed
 *   siv-prey ticks     counts ticks of 10 ms until SIGTERM, and the longest time without one
 *   siv-prey interrupts TIMES N    the link's interrupt N times at once, by siv_lab.ko, with one jiffy at
 *                      least between two of these; prints how many jiffies a second has
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <sivshmem.h>
#include <sivshmem/map.h>

#define KILL_SECONDS 30
#define BUFFER       40000
#define LAB_INTERRUPT _IO('L', 1) /* as siv_lab.c has it */

/* What all processes count, in memory that they share. */
static struct {
	_Atomic unsigned long connections, resets, ends, calls, bytes;
} *seen;

static char buffer[BUFFER];
static uint64_t turn;

static void __attribute__((noreturn)) fail(const char *what, int err)
{
	fprintf(stderr, "siv-prey: %s: %s\n", what, strerror(err));
	exit(1);
}

/* What a call returned. False: the connection is over. An errno that no peer may cause ends all. */
static bool goes_on(const char *what, long n)
{
	seen->calls++;
	if (n > 0)
		seen->bytes += n;
	if (n >= 0)
		return true;
	switch (errno) {
	case EAGAIN:
	case EINTR:
	case ETIMEDOUT:
	case EMSGSIZE:
		return true;
	case ECONNRESET:
		seen->resets++;
		return false;
	case EPIPE:
		seen->ends++;
		return false;
	default:
		fail(what, errno);
	}
}

static size_t some(void)
{
	turn = turn * 6364136223846793005ull + 1442695040888963407ull;
	return 1 + (turn >> 33) % (BUFFER - 1);
}

static void limit(int fd)
{
	const struct timeval t = { .tv_usec = 50000 };

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)))
		fail("setsockopt", errno);
}

/* Garbage is read, or end of file: is there still something to do? */
static bool asks(int fd)
{
	int n;

	return goes_on("FIONREAD", ioctl(fd, SIOCINQ, &n) ? -1 : 0) &&
	       goes_on("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &n) ? -1 : 0);
}

/* True: recv() says end of file; a stream without end then only sends. */
static bool read_some(int fd, int flags, bool *on)
{
	ssize_t n = recv(fd, buffer, some(), flags);

	*on = goes_on("recv", n);
	return !n;
}

static void use_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };
	bool on = true;

	while (on && goes_on("poll", poll(&p, 1, 100) < 0 ? -1 : 0)) {
		if (read_some(fd, MSG_DONTWAIT, &on) || !on)
			break;
		on = goes_on("send", send(fd, buffer, some(), MSG_DONTWAIT | MSG_NOSIGNAL)) &&
		     asks(fd);
	}
}

static void use_epoll(int fd)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	bool on = true;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
		fail("epoll", errno);
	while (on) {
		if (epoll_wait(ep, &e, 1, 100) < 0 && errno != EINTR)
			fail("epoll_wait", errno);
		if (read_some(fd, MSG_DONTWAIT, &on) || !on)
			break;
		on = goes_on("send", send(fd, buffer, some(), MSG_DONTWAIT | MSG_NOSIGNAL));
	}
	close(ep);
}

/* Waits in recv() and send(), for a while. */
static void use_blocking(int fd)
{
	bool on = true;

	limit(fd);
	while (on && !read_some(fd, turn & 32 ? MSG_WAITALL : turn & 64 ? MSG_PEEK : 0, &on) && on)
		on = goes_on("send", send(fd, buffer, some(),
					  MSG_NOSIGNAL | (turn & 128 ? MSG_MORE : 0)));
}

/* Waits in recv() for ever: only the end of the connection ends it, or a signal. */
static void use_for_ever(int fd)
{
	bool on = true;

	while (on && !read_some(fd, 0, &on) && on)
		;
}

static void use_splice(int fd)
{
	int pipes[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ssize_t n;

	limit(fd);
	if (null < 0 || pipe2(pipes, O_CLOEXEC))
		fail("pipe", errno);
	for (;;) {
		n = splice(fd, NULL, pipes[1], NULL, some(), SPLICE_F_NONBLOCK);
		if (!n || !goes_on("splice", n))
			break;
		if (n > 0 && splice(pipes[0], NULL, null, NULL, n, 0) < 0)
			fail("splice out", errno);
		if (!goes_on("send", send(fd, buffer, some(), MSG_NOSIGNAL)))
			break;
	}
	close(pipes[0]);
	close(pipes[1]);
	close(null);
}

static void use_records(int fd)
{
	bool on = true;

	limit(fd);
	while (on) {
		if (read_some(fd, turn & 32 ? MSG_PEEK : turn & 64 ? MSG_TRUNC : 0, &on) && !on)
			break;
		on = on && goes_on("send", send(fd, buffer, some(),
						MSG_NOSIGNAL | (turn & 128 ? MSG_EOR : 0))) &&
		     asks(fd);
	}
}

static __s64 soon(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec + 20000000;
}

/* The library's rules, in place of the kernel's, where the positions are the process's own. */
static bool use_map(int fd, unsigned int flags)
{
	struct siv_map *map;
	const void *in;
	void *out;
	ssize_t n;
	int err = siv_map(fd, flags, &map);

	if (err) {
		errno = -err;
		goes_on("siv_map", -1);
		return false;
	}
	for (;;) {
		n = siv_peek_wait(&map->rx, 1, soon(), &in);
		if (n > 0) {
			memcpy(buffer, in, n < BUFFER ? n : BUFFER);
			n = siv_release(&map->rx, n, turn & 32 ? SIV_MORE : 0);
		} else if (!n && !in) {
			break;
		}
		errno = n < 0 ? -n : 0;
		if (!goes_on("siv_peek or siv_release", n < 0 ? -1 : n))
			break;
		n = some();
		err = siv_reserve_wait(&map->tx, n, soon(), &out);
		if (!err) {
			memcpy(out, buffer, n);
			err = siv_commit(&map->tx, n, turn & 64 ? SIV_MORE : 0);
		}
		errno = -err;
		if (!goes_on("siv_reserve or siv_commit", err ? -1 : n))
			break;
	}
	siv_unmap(map);
	return true;
}

static void use_mapped(int fd)
{
	if (!use_map(fd, 0))
		close(fd);
}

static void use_direct(int fd)
{
	if (!use_map(fd, SIV_MAP_DIRECT_TX | SIV_MAP_DIRECT_RX))
		close(fd);
}

static const struct style {
	const char *name;
	int flags; /* of siv_connect() */
	void (*use)(int fd);
	bool closes;
} styles[] = {
	{ "poll", 0, use_poll, false },
	{ "epoll", 0, use_epoll, false },
	{ "blocking", 0, use_blocking, false },
	{ "for ever", 0, use_for_ever, false },
	{ "splice", 0, use_splice, false },
	{ "records", SOCK_SEQPACKET, use_records, false },
	{ "records with poll", SOCK_SEQPACKET, use_poll, false },
	{ "mapped", 0, use_mapped, true },
	{ "mapped, direct", 0, use_direct, true },
	{ "mapped records", SOCK_SEQPACKET, use_mapped, true },
	{ "mapped records, direct", SOCK_SEQPACKET, use_direct, true },
};
#define STYLES (sizeof(styles) / sizeof(*styles))

static void __attribute__((noreturn)) hunt(const char *url, const struct style *style)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	int fd;

	turn = style - styles;
	for (;;) {
		fd = siv_connect(url, SOCK_CLOEXEC | style->flags);
		if (fd < 0) {
			/* the peer's agent is stopped, or its backlog is full: later */
			nanosleep(&pause, NULL);
			continue;
		}
		seen->connections++;
		style->use(fd);
		if (!style->closes)
			close(fd);
	}
}

static volatile sig_atomic_t told;

static void on_term(int signal)
{
	(void)signal;
	told = 1;
}

static void on_alarm(int signal)
{
	static const char text[] = "siv-prey: a process cannot be killed\n";

	(void)signal;
	_exit(write(STDERR_FILENO, text, sizeof(text) - 1) < 0 ? 2 : 1);
}

static int run_prey(const char *url)
{
	pid_t pids[STYLES];
	int status, failed = 0;
	unsigned int i;

	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED)
		fail("mmap", errno);
	for (i = 0; i < STYLES; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			fail("fork", errno);
		if (!pids[i]) {
			signal(SIGTERM, SIG_IGN); /* a job's signal goes to all of it */
			hunt(url, &styles[i]);
		}
	}
	puts("running");
	/* one that ends by itself found what must not be */
	while (!told) {
		pid_t pid = wait(&status);

		if (pid < 0)
			continue; /* the signal */
		for (i = 0; i < STYLES && pids[i] != pid; i++)
			;
		fprintf(stderr, "siv-prey: %s: ended with status %#x\n",
			i < STYLES ? styles[i].name : "?", status);
		failed = 1;
		break;
	}
	signal(SIGALRM, on_alarm);
	alarm(KILL_SECONDS);
	for (i = 0; i < STYLES; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	printf("%lu connections, %lu resets, %lu other ends, %lu calls, %lu bytes\n",
	       seen->connections, seen->resets, seen->ends, seen->calls, seen->bytes);
	return failed;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

static int run_ticks(void)
{
	const struct timespec tick = { .tv_nsec = 10000000 };
	uint64_t ticks = 0, longest = 0, last, now;

	puts("running");
	for (last = now_us(); !told; last = now) {
		nanosleep(&tick, NULL);
		now = now_us();
		if (now - last > longest)
			longest = now - last;
		ticks++;
	}
	printf("%llu ticks, longest %llu us\n", (unsigned long long)ticks,
	       (unsigned long long)longest);
	return 0;
}

/* The clock of jiffies: its resolution is one of them. */
static uint64_t jiffy_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static int run_interrupts(unsigned long times, unsigned long n)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	int fd = open("/dev/siv_lab", O_RDWR | O_CLOEXEC);
	struct timespec jiffy;
	uint64_t last;

	if (fd < 0)
		fail("/dev/siv_lab (is siv_lab.ko loaded?)", errno);
	while (times--) {
		for (last = jiffy_ns(); jiffy_ns() == last;)
			nanosleep(&nap, NULL);
		if (ioctl(fd, LAB_INTERRUPT, n))
			fail("LAB_INTERRUPT", errno);
	}
	clock_getres(CLOCK_MONOTONIC_COARSE, &jiffy);
	printf("%ld\n", 1000000000 / jiffy.tv_nsec);
	return 0;
}

int main(int argc, char **argv)
{
	const struct sigaction term = { .sa_handler = on_term };

	if (argc == 4 && !strcmp(argv[1], "interrupts"))
		return run_interrupts(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	if (argc != 2) {
		fprintf(stderr, "usage: siv-prey URL | ticks | interrupts TIMES N\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGTERM, &term, NULL);
	return !strcmp(argv[1], "ticks") ? run_ticks() : run_prey(argv[1]);
}
