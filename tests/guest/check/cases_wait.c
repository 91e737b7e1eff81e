// SPDX-License-Identifier: BSD-2-Clause
/*
 * Cases about how calls wait: what ends one that spins, and that neither spinning nor a page that does
 * not come is in anybody's way. A spin of half an hour stands for one that does not end: what does not
 * end it runs into the time limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <linux/userfaultfd.h>

#include "cases.h"
#include "check.h"

#define FOR_EVER_US 1800000000 /* of SO_BUSY_POLL */

void spin_for_ever(int fd)
{
	int usecs = FOR_EVER_US;

	CHECK(!setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &usecs, sizeof(usecs)));
}

/* A connection whose peer says nothing. */
static int spinning(uint32_t mode, uint64_t seed)
{
	int fd = order(mode, seed, 0);

	spin_for_ever(fd);
	return fd;
}

/* Of what is there the peer has read the order, and reads no more. */
static void fill(int fd)
{
	static char buf[65536];
	int unread;

	do
		CHECK(!ioctl(fd, SIOCOUTQ, &unread));
	while (unread);
	while (send(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	CHECK(errno == EAGAIN);
}

static void on_alarm(int sig) { (void)sig; }

/* Again and again: one that comes before the call is no use. */
static void alarms(bool on)
{
	struct itimerval t = { { 0, on * 20000 }, { 0, on * 20000 } };
	struct sigaction act = { .sa_handler = on_alarm };

	CHECK(!sigaction(SIGALRM, &act, NULL));
	CHECK(!setitimer(ITIMER_REAL, &t, NULL));
}

static void *shut(void *arg)
{
	CHECK(!shutdown((long)arg, SHUT_RDWR));
	return NULL;
}

static void shut_meanwhile(int fd, pthread_t *thread)
{
	CHECK(!pthread_create(thread, NULL, shut, (void *)(long)fd));
}

/* A signal, a time-out, either side's shutdown and a reset end a spin as they end a sleep. */
void case_spin_ends(const char *arg)
{
	struct timeval t = { .tv_usec = 50000 };
	uint64_t seed = (uint64_t)getpid() << 32 | 1; /* nobody says go before us */
	int fd = spinning(MODE_STALL, seed), i;
	pthread_t thread;
	char c = 1;

	(void)arg;
	alarms(true);
	CHECK_ERRNO(recv(fd, &c, 1, 0), EINTR);
	fill(fd);
	CHECK_ERRNO(send(fd, &c, 1, 0), EINTR);
	alarms(false);

	CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	CHECK_ERRNO(recv(fd, &c, 1, 0), EAGAIN);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
	CHECK_ERRNO(send(fd, &c, 1, 0), EAGAIN);
	close(fd);

	/* before, at and after the call's beginning */
	for (i = 0; i < 20; i++) {
		fd = spinning(MODE_ECHO, 0);
		shut_meanwhile(fd, &thread);
		expect_eof(fd);
		pthread_join(thread, NULL);
		close(fd);
	}
	fd = spinning(MODE_STALL, seed);
	fill(fd);
	shut_meanwhile(fd, &thread);
	CHECK_ERRNO(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
	pthread_join(thread, NULL);
	close(fd);
	close(order(MODE_GO, seed, 0));

	fd = spinning(MODE_REPLY, 0);
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);

	fd = spinning(MODE_ABORT, 0);
	write_all(fd, "unread", 6);
	CHECK_ERRNO(recv(fd, &c, 1, 0), ECONNRESET);
	close(fd);
}

static void on_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set));
}

struct seen {
	char state;
	unsigned long switches; /* voluntary and not: a task that has not been switched has not run */
};

static struct seen look_at(pid_t pid)
{
	struct seen seen = { '?', 0 };
	char path[64], line[256];
	unsigned long n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &seen.state);
		if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n) == 1)
			seen.switches += n;
	}
	fclose(f);
	return seen;
}

/*
 * A reader that would spin for ever (ARG "asked") or for as long as the module says leaves the CPU to
 * whoever wants it, sleeps, and does not run again until something comes for it.
 */
void case_spin_yields(const char *arg)
{
	int fd = order(MODE_ECHO, 0, 0), ready[2], i, status;
	struct seen before, after;
	char c = 'x';
	pid_t pid;

	if (!strcmp(arg, "asked"))
		spin_for_ever(fd);
	on_one_cpu();
	CHECK(!pipe(ready));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK(write(ready[1], &c, 1) == 1);
		read_all(fd, &c, 1);
		_exit(c != 'y');
	}
	CHECK(read(ready[0], &c, 1) == 1);
	/* whoever asks is the other task */
	while (look_at(pid).state != 'S')
		sched_yield();
	before = look_at(pid);
	for (i = 0; i < 20; i++)
		case_round_trips("20");
	after = look_at(pid);
	if (after.state != 'S' || after.switches != before.switches)
		die("%c after %lu switches, %c after %lu: a reader with nothing to read ran",
		    before.state, before.switches, after.state, after.switches);
	write_all(fd, "y", 1);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	close(fd);
}

/* What is enough for a smaller SO_RCVLOWAT is reported, also to who waits since before. */
void case_lowat_lowered(const char *arg)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = order(MODE_ECHO, 0, 0), ep = epoll_create1(0), low = 100, queued = 0;

	(void)arg;
	CHECK(ep >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
	write_all(fd, "ten bytes.", 10);
	while (queued < 10)
		CHECK(!ioctl(fd, SIOCINQ, &queued));
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
	low = 10;
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
	CHECK(epoll_wait(ep, &ev, 1, 30000) == 1);
	close(ep);
	close(fd);
}

struct drinker {
	int fd;
	unsigned long rounds;
	atomic_bool over;
};

static void *poll_at_once(void *arg)
{
	struct drinker *d = arg;
	struct pollfd p = { .fd = d->fd, .events = POLLIN };

	while (!d->over)
		CHECK(poll(&p, 1, 0) >= 0);
	return NULL;
}

static struct drinker drinker;

static void sleeps(int sig)
{
	(void)sig;
	die("after %lu times a reader sleeps though all that it waits for is there",
	    drinker.rounds);
}

/*
 * A poll that asks for the next byte overwrites the wake word of a reader who waits for several, for
 * ARG seconds. The reader is woken all the same. A time-out of its own would not do: who wakes by
 * that finds what is there.
 */
void case_poll_beside_reader(const char *arg)
{
	struct drinker *d = &drinker;
	struct sigaction act = { .sa_handler = sleeps };
	time_t end = time(NULL) + atoi(arg);
	pthread_t thread;
	char buf[16];

	d->fd = order(MODE_DRIP, 0, 0);
	CHECK(!sigaction(SIGALRM, &act, NULL));
	CHECK(!pthread_create(&thread, NULL, poll_at_once, d));
	for (; time(NULL) < end; d->rounds++) {
		alarm(30);
		CHECK(recv(d->fd, buf, sizeof(buf), MSG_WAITALL) == sizeof(buf));
	}
	alarm(0);
	d->over = true;
	pthread_join(thread, NULL);
	close(d->fd);
	printf("%lu times\n", d->rounds);
}

/* A page of which this process is the pager, so that it can be as late as it likes. */
static char *late_page(int *pager)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *page = mmap(NULL, SIV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	CHECK(page != MAP_FAILED);
	*pager = syscall(SYS_userfaultfd, O_CLOEXEC);
	CHECK(*pager >= 0);
	CHECK(!ioctl(*pager, UFFDIO_API, &api));
	range.range.start = (uintptr_t)page;
	range.range.len = SIV_PAGE_SIZE;
	CHECK(!ioctl(*pager, UFFDIO_REGISTER, &range));
	return page;
}

/* Somebody waits for the page. */
static void await_fault(int pager)
{
	struct uffd_msg msg;

	CHECK(read(pager, &msg, sizeof(msg)) == sizeof(msg));
	CHECK(msg.event == UFFD_EVENT_PAGEFAULT);
}

static void give_page(int pager, char *page, const char *text)
{
	static _Alignas(SIV_PAGE_SIZE) char content[SIV_PAGE_SIZE];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)page, .src = (uintptr_t)content, .len = SIV_PAGE_SIZE,
	};

	strcpy(content, text);
	CHECK(!ioctl(pager, UFFDIO_COPY, &copy));
}

struct late {
	int fd;
	char *page;
};

static void *send_late(void *arg)
{
	const struct late *l = arg;

	CHECK(send(l->fd, l->page, 4, 0) == 4);
	return NULL;
}

static void *recv_late(void *arg)
{
	const struct late *l = arg;

	CHECK(recv(l->fd, l->page, 4, MSG_WAITALL) == 4);
	return NULL;
}

/*
 * Whoever copies from or to a page that does not come has nothing that others of the same socket
 * need, and has neither sent nor taken a byte. If he had the direction's mutex, they would wait for
 * it in a way that only a fatal signal ends.
 */
void case_late_page(const char *arg)
{
	struct late l = { .fd = order(MODE_ECHO, 0, 0) };
	pthread_t thread;
	char back[5] = "";
	int pager, unread;

	(void)arg;
	alarm(60);
	l.page = late_page(&pager);
	CHECK(!pthread_create(&thread, NULL, send_late, &l));
	await_fault(pager);
	CHECK(send(l.fd, "swift", 5, MSG_DONTWAIT) == 5);
	read_all(l.fd, back, 5);
	CHECK(!memcmp(back, "swift", 5));
	give_page(pager, l.page, "late");
	CHECK(!pthread_join(thread, NULL));
	read_all(l.fd, back, 4);
	CHECK(!memcmp(back, "late", 4));

	CHECK(!madvise(l.page, SIV_PAGE_SIZE, MADV_DONTNEED));
	CHECK(send(l.fd, "earlylate", 9, 0) == 9);
	do
		CHECK(!ioctl(l.fd, SIOCINQ, &unread));
	while (unread < 9);
	CHECK(!pthread_create(&thread, NULL, recv_late, &l));
	await_fault(pager);
	CHECK(recv(l.fd, back, 5, MSG_DONTWAIT) == 5);
	CHECK(!memcmp(back, "early", 5));
	give_page(pager, l.page, "none");
	CHECK(!pthread_join(thread, NULL));
	CHECK(!memcmp(l.page, "late", 4));
	close(pager);
	close(l.fd);
}
