// SPDX-License-Identifier: BSD-2-Clause
/*
 * All threads of a storm: what each is doing, signals for them at random, and the watchdog, which ends
 * the program with all of that when a connection has not moved for too long.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "storm.h"

#define STALL_MS    20000
#define LOOK_MS	    500
#define PROGRESS_MS 10000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct worker *workers;
static struct side *sides;
static unsigned int nr_workers;
static uint64_t shots, connections;

void crew_side(struct side *side, bool add)
{
	struct side **at;

	pthread_mutex_lock(&lock);
	if (add) {
		side->seen_ms = now_ms();
		side->next = sides;
		sides = side;
		connections++;
	} else {
		for (at = &sides; *at != side; at = &(*at)->next)
			;
		*at = side->next;
	}
	pthread_mutex_unlock(&lock);
}

void crew_join(struct worker *w)
{
	w->thread = pthread_self();
	pthread_mutex_lock(&lock);
	w->next = workers;
	workers = w;
	nr_workers++;
	pthread_mutex_unlock(&lock);
}

void crew_leave(struct worker *w)
{
	struct worker **at;

	/* who is in the list is alive, and can be sent signals */
	pthread_mutex_lock(&lock);
	for (at = &workers; *at != w; at = &(*at)->next)
		;
	*at = w->next;
	nr_workers--;
	pthread_mutex_unlock(&lock);
}

void deed(struct worker *w, const char *call, long arg, int flags)
{
	w->at = (w->at + 1) % DEEDS;
	w->deeds[w->at] =
		(struct deed){ .call = call, .arg = arg, .flags = flags, .start_ms = now_ms() };
}

void deed_over(struct worker *w, ssize_t ret, int err)
{
	w->deeds[w->at].ret = ret;
	w->deeds[w->at].err = ret < 0 ? err : 0;
	w->deeds[w->at].over = true;
}

static void show_worker(const struct worker *w)
{
	uint64_t now = now_ms();
	unsigned int i;

	fprintf(stderr, "  %s %u:", w->role, w->number);
	for (i = 1; i <= DEEDS; i++) {
		const struct deed *d = &w->deeds[(w->at + i) % DEEDS];

		if (!d->call)
			continue;
		fprintf(stderr, " %s(%ld, %#x)", d->call, d->arg, d->flags);
		if (!d->over)
			fprintf(stderr, " for %llu ms", (unsigned long long)(now - d->start_ms));
		else if (d->ret < 0)
			fprintf(stderr, "=%s", strerrorname_np(d->err));
		else
			fprintf(stderr, "=%zd", d->ret);
	}
	fputc('\n', stderr);
}

/* The caller holds the lock, and nothing more happens. */
static void report(struct side *side)
{
	struct side *s;
	struct worker *w;

	fprintf(stderr, "the plan of connection %llu (%s):\n", (unsigned long long)side->number,
		type_name(side->type));
	plan_show(stderr, &side->plan);
	for (s = sides; s; s = s->next) {
		if (s->number != side->number || s->type != side->type)
			continue;
		fprintf(stderr, "end %d: sent %llu, received %llu, %s%s\n", s->e,
			(unsigned long long)s->sent, (unsigned long long)s->received,
			s->read_to_end ? "read to the end" : "not read to the end",
			s->broken ? ", cut off" : "");
		for (w = workers; w; w = w->next)
			if (w->side == s)
				show_worker(w);
	}
	fprintf(stderr, "%u threads; again:\n", nr_workers);
	print_replay(stderr, 0);
	_exit(1);
}

void storm_wrong(struct side *side, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&lock); /* for ever: the first is the one that is told */
	fprintf(stderr, "WRONG, connection %llu, end %d: ", (unsigned long long)side->number,
		side->e);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	report(side);
	abort();
}

static void look(void)
{
	uint64_t now = now_ms(), moved;
	struct side *s;

	pthread_mutex_lock(&lock);
	for (s = sides; s; s = s->next) {
		moved = s->sent + s->received + s->writing + s->reading;
		if (moved != s->seen) {
			s->seen = moved;
			s->seen_ms = now;
		} else if (now - s->seen_ms > STALL_MS * opt.slow) {
			fprintf(stderr,
				"WRONG, connection %llu, end %d: nothing has moved for %llu ms\n",
				(unsigned long long)s->number, s->e,
				(unsigned long long)(now - s->seen_ms));
			report(s);
		}
	}
	pthread_mutex_unlock(&lock);
}

static void on_signal(int sig)
{
	(void)sig;
}

/* A thread with signals in its plan gets one: SIGUSR1 restarts calls, SIGUSR2 does not. */
static void shoot(struct rng *r)
{
	struct worker *w;
	unsigned int n;

	pthread_mutex_lock(&lock);
	if (nr_workers) {
		n = rng_below(r, nr_workers);
		for (w = workers; n--; w = w->next)
			;
		if (w->side->plan.signals) {
			pthread_kill(w->thread, rng_percent(r, 50) ? SIGUSR1 : SIGUSR2);
			shots++;
		}
	}
	pthread_mutex_unlock(&lock);
}

void crew_start(void)
{
	struct sigaction restart = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct sigaction interrupt = { .sa_handler = on_signal };

	if (sigaction(SIGUSR1, &restart, NULL) || sigaction(SIGUSR2, &interrupt, NULL) ||
	    signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		die("sigaction: %s", strerror(errno));
}

void crew_watch(bool (*done)(void))
{
	uint64_t start = now_ms(), looked = start, shown = start, now;
	struct rng r = rng_at(opt.seed, ~0ull);
	struct timespec pause = { 0 };

	while (!done()) {
		/* the shooter's aim is to be at no particular time */
		pause.tv_nsec = 1000 * (200 + rng_below(&r, 4000));
		nanosleep(&pause, NULL);
		shoot(&r);
		now = now_ms();
		if (now - looked >= LOOK_MS) {
			looked = now;
			look();
		}
		if (now - shown >= PROGRESS_MS) {
			shown = now;
			printf("%llu s: %llu ends of connections, %u threads, %llu signals\n",
			       (unsigned long long)(now - start) / 1000,
			       (unsigned long long)connections, nr_workers,
			       (unsigned long long)shots);
		}
	}
	printf("right: %llu ends of connections, %llu signals\n", (unsigned long long)connections,
	       (unsigned long long)shots);
}
