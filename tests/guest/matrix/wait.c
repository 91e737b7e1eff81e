// SPDX-License-Identifier: BSD-2-Clause
/*
 * How the sides wait for each other, for their own threads and children, and for a thread to sleep.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

#define BLOCKED_MS 20000

static void control_put(struct side *s, char c)
{
	if (send(s->control, &c, 1, MSG_NOSIGNAL) != 1)
		t_fail(s, "the other side is gone");
}

static void control_await(struct side *s, char want)
{
	ssize_t n;
	char c;

	do
		n = recv(s->control, &c, 1, MSG_PEEK);
	while (n < 0 && errno == EINTR);
	/* its transcript, when it is somewhere else, is for the runner to read */
	if (n != 1 || c == CONTROL_TRANSCRIPT)
		t_fail(s, "the other side is gone");
	T_CHECK(s, recv(s->control, &c, 1, 0) == 1);
	if (c != want)
		t_fail(s, "the case is wrong: '%c' where '%c' should come", c, want);
}

void tell(struct side *s)
{
	control_put(s, 't');
}

void hear(struct side *s)
{
	control_await(s, 't');
}

void tell_number(struct side *s, uint64_t n)
{
	tell(s);
	T_CHECK(s, send(s->control, &n, sizeof(n), MSG_NOSIGNAL) == sizeof(n));
}

uint64_t hear_number(struct side *s)
{
	uint64_t n;

	hear(s);
	T_CHECK(s, recv(s->control, &n, sizeof(n), MSG_WAITALL) == sizeof(n));
	return n;
}

void meet(struct side *s)
{
	control_put(s, 'm');
	control_await(s, 'm');
}

void side_run(struct side *s, int limit)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };

	sigaction(SIGALRM, &sa, NULL);
	alarm(limit);
	counters_init();
	if (!(s->test->flags & RAW))
		side_connect(s);
	if (s->server ? !!s->test->server : !!s->test->client)
		(s->server ? s->test->server : s->test->client)(s);
	/* what is open stays open until the other side has seen what it wants to see */
	control_put(s, 'e');
	control_await(s, 'e');
	_exit(0);
}

/* Does a thread sleep in a system call, other than those of the C library on the way there? */
static bool sleeps(pid_t tid)
{
	char path[64], text[32] = "";
	int fd, nr;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", getpid(), tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0 || sscanf(text, "%d", &nr) != 1)
		return false;
	return nr >= 0 && nr != SYS_futex && nr != SYS_mmap && nr != SYS_munmap &&
	       nr != SYS_mprotect && nr != SYS_clone && nr != SYS_clone3;
}

void tid_blocked(struct side *s, pid_t tid)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	long end = now_ms() + BLOCKED_MS;

	while (!sleeps(tid)) {
		if (now_ms() > end)
			t_fail(s, "a call that should block does not");
		nanosleep(&ms, NULL);
	}
}

/* A line that is begun: the side is in a call, or about to be. */
static void in_call(const struct side *s)
{
	while (!__atomic_load_n(&s->t->open, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void *bg_main(void *arg)
{
	struct bg *b = arg;

	__atomic_store_n(&b->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	b->fn(&b->side, b->arg);
	return NULL;
}

static void bg_prepare(struct side *s, struct bg *b, void (*fn)(struct side *s, void *arg),
		       void *arg)
{
	b->side = *s;
	b->side.t = transcript_new();
	b->tid = 0;
	b->fn = fn;
	b->arg = arg;
}

void bg_start(struct side *s, struct bg *b, void (*fn)(struct side *s, void *arg), void *arg)
{
	bg_prepare(s, b, fn, arg);
	errno = pthread_create(&b->thread, NULL, bg_main, b);
	T_CHECK(s, !errno);
}

void bg_blocked(struct side *s, struct bg *b)
{
	pid_t tid;

	while (!(tid = __atomic_load_n(&b->tid, __ATOMIC_ACQUIRE)))
		sched_yield();
	in_call(&b->side);
	tid_blocked(s, tid);
}

void bg_join(struct side *s, struct bg *b)
{
	pthread_join(b->thread, NULL);
	transcript_append(s->t, "thread: ", b->side.t);
	s->sent = s->sent > b->side.sent ? s->sent : b->side.sent;
	s->got = s->got > b->side.got ? s->got : b->side.got;
}

pid_t child_start(struct side *s, struct bg *b, void (*fn)(struct side *s, void *arg), void *arg)
{
	bg_prepare(s, b, fn, arg);
	b->tid = fork();
	T_CHECK(s, b->tid >= 0);
	if (!b->tid) {
		fn(&b->side, arg);
		_exit(0);
	}
	return b->tid;
}

void child_join(struct side *s, struct bg *b)
{
	int status;

	while (waitpid(b->tid, &status, 0) < 0 && errno == EINTR)
		;
	transcript_append(s->t, "child: ", b->side.t);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		t_note(s, "child ended with status %#x", status);
}

static volatile sig_atomic_t usr1s;

static void on_usr1(int sig)
{
	(void)sig;
	usr1s++;
}

static void *poke_main(void *arg)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	struct poke *p = arg;

	in_call(p->side);
	tid_blocked(p->side, p->tid);
	syscall(SYS_tgkill, getpid(), p->tid, SIGUSR1);
	while (usr1s == p->before)
		nanosleep(&ms, NULL);
	if (p->then) {
		/* back to sleep, or out of the call */
		p->then(p->side);
	}
	return NULL;
}

void poke_start(struct side *s, struct poke *p, int sa_flags, void (*then)(struct side *s))
{
	struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = sa_flags };

	sigaction(SIGUSR1, &sa, NULL);
	*p = (struct poke){ .side = s, .tid = syscall(SYS_gettid), .then = then, .before = usr1s };
	errno = pthread_create(&p->thread, NULL, poke_main, p);
	T_CHECK(s, !errno);
}

void poke_join(struct side *s, struct poke *p)
{
	pthread_join(p->thread, NULL);
	t_note(s, "SIGUSR1 handled: %d", (int)usr1s - p->before);
}
