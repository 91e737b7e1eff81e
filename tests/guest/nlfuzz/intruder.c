// SPDX-License-Identifier: BSD-2-Clause
/*
 * Those who may not: each of them is refused, whatever it says.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nlfuzz.h"

#define NOBODY 65534

/* What anybody privileged may read is answered, and nothing else. */
void *outsider_run(void *arg)
{
	struct msg *m = malloc(sizeof(*m));
	struct rng *r = arg;
	int fd = nl_open(), err;

	while (!stop) {
		uint8_t cmd = PICK(r, commands);

		if (cmd == SIV_CMD_REGISTER) /* it could be the agent then */
			continue;
		msg_command(m, r, cmd, below(r, 2) ? 1 + below(r, 12) : 0);
		err = nl_call(fd, m, NULL, NULL);
		if (cmd == SIV_CMD_LINK_GET || cmd == SIV_CMD_CHAN_GET)
			continue;
		if (err != -EPERM && (err != -EINVAL && err != -ERANGE))
			complain("%s of a port that is not registered: %s", command_names[cmd],
				 err ? strerrorname_np(-err) : "done");
		else if (!m->dirt && err != -EPERM)
			complain("%s of a port that is not registered, well formed: %s",
				 command_names[cmd], strerrorname_np(-err));
		else
			refusals++;
	}
	close(fd);
	free(m);
	return NULL;
}

/* Whatever the kernel says on @fd is a refusal. */
static void only_refusals(const char *who, int fd)
{
	_Alignas(8) uint8_t buf[32768];
	int n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, (uint32_t)n);
		     h = NLMSG_NEXT(h, n))
			if (h->nlmsg_type != NLMSG_ERROR ||
			    !((struct nlmsgerr *)NLMSG_DATA(h))->error)
				complain("%s got an answer that is no refusal", who);
}

static int open_as_nobody(void)
{
	int fd;

	if (seteuid(NOBODY))
		die("seteuid");
	fd = nl_open();
	if (seteuid(0))
		die("seteuid");
	return fd;
}

/* How an intruder gets its socket and loses its rights; -1: the kernel has no such thing. */
static int intrude_nobody(void)
{
	if (setresuid(NOBODY, NOBODY, NOBODY))
		die("setresuid");
	return nl_open();
}

static int intrude_inherited(void)
{
	int fd = nl_open();

	if (setresuid(NOBODY, NOBODY, NOBODY))
		die("setresuid");
	return fd;
}

static int intrude_userns(void)
{
	return unshare(CLONE_NEWUSER) ? -1 : nl_open();
}

static int intrude_netns(void)
{
	return unshare(CLONE_NEWNET) ? -1 : nl_open();
}

static const struct intruder {
	const char *who;
	int (*open)(void);
	int refusal;
	bool resolves;
} intruders[INTRUDERS] = {
	{ "an unprivileged process", intrude_nobody, -EPERM, true },
	{ "an unprivileged process with a socket of root's", intrude_inherited, -EPERM, true },
	{ "root with an unprivileged socket", open_as_nobody, -EPERM, true },
	{ "root of a user namespace", intrude_userns, -EPERM, true },
	{ "root of a network namespace", intrude_netns, -ENOENT, false },
};

/* In a process of its own. */
static void __attribute__((noreturn))
intruder_run(const struct intruder *i, uint64_t seed, time_t until)
{
	struct rng rng = { .state = seed };
	struct msg *m = malloc(sizeof(*m));
	unsigned long long refused = 0;
	int fd = i->open(), err;

	if (nice(10) < 0) /* agents and users are what there is to be lost */
		die("nice");
	if (fd < 0) {
		printf("%s: the kernel has none\n", i->who);
		exit(0);
	}
	if (!!resolve(fd, &rng) != i->resolves)
		complain("%s: the family is%s there", i->who, i->resolves ? " not" : "");
	while (time(NULL) < until && !failed) {
		uint8_t cmd = PICK(&rng, commands);

		msg_command(m, &rng, cmd, below(&rng, 2) ? 1 + below(&rng, 12) : 0);
		err = nl_call(fd, m, NULL, NULL);
		if (err != i->refusal)
			complain("%s of %s: %s", command_names[cmd], i->who,
				 err ? strerrorname_np(-err) : "done");
		refused++;
		msg_any(m, &rng);
		nl_send(fd, m);
		only_refusals(i->who, fd);
	}
	printf("%s: refused %llu times\n", i->who, refused);
	fflush(stdout);
	_exit(failed || !refused);
}

pid_t intruder_start(unsigned int n, uint64_t seed, time_t until)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		cover_none();
		close_range(3, ~0u, 0); /* the agents' ports end when they close them */
		intruder_run(&intruders[n], seed, until);
	}
	return pid;
}

const char *intruder_name(unsigned int n)
{
	return intruders[n].who;
}
