// SPDX-License-Identifier: BSD-2-Clause
/*
 * Hostile and careless speakers of the module's generic netlink, all at once, while sockets come and
 * go:
 *
 *	two agents    take turns at being registered; grant as siv-grantd does, and in between
 *	              send what is almost right: wrong values, and attributes that are missing,
 *	              doubled, nested, too long, too short or cut off. Close their port at any time
 *	two blasters  send such messages on the agents' sockets and read no answer
 *	an outsider   is privileged, but not the registered port
 *	intruders     an unprivileged process, with its own socket and with one of root's; root with
 *	              a socket opened without privilege; root of a user namespace; root of a
 *	              network namespace
 *	users         bind, listen, connect, accept, send, receive, map and close
 *
 *   siv-nlfuzz [--seed N] [--seconds N] [--messages N] [--size BYTES]
 *
 * Prints the seed first; threads' messages are the same again with it, their interleaving is not.
 * Goes on for up to PATIENCE seconds more until each command has succeeded and connections were
 * made, as before that little was tested. Fails if it never came to that, or if an intruder or the
 * outsider got anything but its refusal. --size is what the local link has. Afterwards the links are
 * down.
 *
 *   siv-nlfuzz refuse BYTES     only asks for a local link of that size, and prints the errno
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>

#include "nlfuzz.h"

uint16_t family;
uint64_t link_size = 64ull << 20;
atomic_bool stop, failed;
atomic_ullong messages, messages_max = ~0ull, connects, accepts, refusals;

void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("siv-nlfuzz: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	failed = true;
}

void die(const char *what)
{
	fprintf(stderr, "siv-nlfuzz: %s: %s\n", what, strerror(errno));
	exit(1);
}

#define AGENTS 2
#define USERS  6
#define PATIENCE 60
static struct agent agents[AGENTS];
static struct blaster blasters[AGENTS];
static struct rng outsider;
static struct user users[USERS];

void thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	if (pthread_create(thread, NULL, run, arg))
		die("thread");
}

static int fuzz(uint64_t seed, unsigned int seconds)
{
	pthread_t threads[2 * AGENTS + 1 + USERS];
	struct rng rng = { .state = seed };
	time_t until = time(NULL) + seconds;
	unsigned int n = 0, i;
	pid_t pids[INTRUDERS];
	int status;

	if (agent_links(&agents[0]) || !known.link_id[0] || !known.link_id[1]) {
		complain("there are no local links");
		return 1;
	}
	fflush(stdout);
	for (i = 0; i < INTRUDERS; i++)
		pids[i] = intruder_start(i, next(&rng), until);
	for (i = 0; i < AGENTS; i++) {
		blasters[i].agent = &agents[i];
		agents[i].rng.state = next(&rng);
		blasters[i].rng.state = next(&rng);
		thread_start(&threads[n++], agent_run, &agents[i]);
		thread_start(&threads[n++], blaster_run, &blasters[i]);
	}
	outsider.state = next(&rng);
	thread_start(&threads[n++], outsider_run, &outsider);
	for (i = 0; i < USERS; i++) {
		users[i] = (struct user){ .rng.state = next(&rng), .listens = i % 2 };
		thread_start(&threads[n++], user_run, &users[i]);
	}
	while (!stop && !failed &&
	       (time(NULL) < until || (agents_missing() && time(NULL) < until + PATIENCE)))
		poll(NULL, 0, 50);
	stop = true;
	for (i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < INTRUDERS; i++)
		if (waitpid(pids[i], &status, 0) < 0 || status)
			complain("%s was not refused", intruder_name(i));
	for (i = 1; i < AGENTS; i++)
		close(agents[i].fd);
	agent_tidy(&agents[0]);
	agent_summary();
	cover_summary();
	return failed;
}

/* Asks for a local link of @size bytes, and says what came of it. */
static int refuse(uint64_t size)
{
	struct agent *a = &agents[0];
	int err = agent_register(a) ?: agent_links(a) ?: agent_link_set(a, 0, size);

	puts(err ? strerrorname_np(-err) : "done");
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t seed = time(NULL) * 1000003ull + getpid();
	unsigned int seconds = 20;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned int i = 0; i < AGENTS; i++) {
		pthread_rwlock_init(&agents[i].lock, NULL);
		agents[i].fd = -1;
		agent_open(&agents[i]);
	}
	family = resolve(agents[0].fd, &agents[0].rng);
	if (!family) {
		complain("no family " SIV_GENL_NAME ": is the module loaded?");
		return 1;
	}
	if (argc == 3 && !strcmp(argv[1], "refuse"))
		return refuse(strtoull(argv[2], NULL, 0));
	for (int i = 1; i + 1 < argc; i += 2) {
		unsigned long long v = strtoull(argv[i + 1], NULL, 0);

		if (!strcmp(argv[i], "--seed"))
			seed = v;
		else if (!strcmp(argv[i], "--seconds"))
			seconds = v;
		else if (!strcmp(argv[i], "--messages"))
			messages_max = v;
		else if (!strcmp(argv[i], "--size"))
			link_size = v;
	}
	printf("siv-nlfuzz --seed %llu --seconds %u\n", (unsigned long long)seed, seconds);
	return fuzz(seed, seconds);
}
