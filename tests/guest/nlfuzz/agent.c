// SPDX-License-Identifier: BSD-2-Clause
/*
 * Agents, who grant and answer and send what is almost right; blasters, who use their ports; and
 * the count of what the kernel said.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "nlfuzz.h"

#define ERRNOS 140
static atomic_ullong verdicts[SIV_CMD_MAX + 1][ERRNOS]; /* of agents, by errno */
static atomic_ullong granted[2], agents_left;

static void count(uint8_t cmd, int err)
{
	if (cmd <= SIV_CMD_MAX && -err < ERRNOS)
		verdicts[cmd][-err]++;
}

void agent_summary(void)
{
	printf("%llu messages, %llu refusals, %llu connects, %llu accepts, %llu agents left\n",
	       messages, refusals, connects, accepts, agents_left);
	for (unsigned int i = 0; i < sizeof(commands); i++) {
		uint8_t cmd = commands[i];

		printf("%s:", command_names[cmd]);
		for (int e = 0; e < ERRNOS; e++)
			if (verdicts[cmd][e])
				printf(" %s %llu", e ? strerrorname_np(e) : "ok", verdicts[cmd][e]);
		putchar('\n');
	}
	if (agents_missing())
		complain("%s never succeeded", agents_missing());
}

const char *agents_missing(void)
{
	for (unsigned int i = 0; i < sizeof(commands); i++)
		if (!verdicts[commands[i]][0])
			return command_names[commands[i]];
	return granted[0] && granted[1] && connects && accepts ? NULL : "a connection";
}

static int agent_call(struct agent *a, on_reply reply)
{
	uint8_t cmd = ((struct genlmsghdr *)(a->msg.bytes + NLMSG_HDRLEN))->cmd;
	int err = nl_call(a->fd, &a->msg, reply, a);

	count(cmd, err);
	return err;
}

static void begin(struct agent *a, uint8_t cmd)
{
	msg_begin(&a->msg, &a->rng, family, cmd, NLM_F_ACK | dump_flag(cmd));
}

void agent_open(struct agent *a)
{
	int size = 8 << 20, one = 1, fd = nl_open();

	/* room for what the blasters are told, too */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (one_in(&a->rng, 2))
		setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	if (one_in(&a->rng, 4))
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	pthread_rwlock_wrlock(&a->lock);
	if (a->fd >= 0) {
		close(a->fd);
		agents_left++;
	}
	a->fd = fd;
	pthread_rwlock_unlock(&a->lock);
}

static void link_known(const struct genlmsghdr *genl, int len, void *arg)
{
	const struct nlattr *a[SIV_A_MAX + 1], *l[SIV_LINK_A_MAX + 1];
	uint32_t end;

	(void)arg;
	parse((const uint8_t *)genl + GENL_HDRLEN, len - GENL_HDRLEN, a, SIV_A_MAX);
	if (!a[SIV_A_LINK])
		return;
	parse(a[SIV_A_LINK] + 1, a[SIV_A_LINK]->nla_len - NLA_HDRLEN, l, SIV_LINK_A_MAX);
	end = number(l[SIV_LINK_A_END]);
	if (number(l[SIV_LINK_A_KIND]) != SIV_LINK_LOCAL || end > 1)
		return;
	known.link_id[end] = number(l[SIV_LINK_A_ID]);
	known.epoch[end] = number(l[SIV_LINK_A_EPOCH]) ?: 1;
}

static uint32_t service_of(const struct nlattr *a)
{
	for (uint32_t i = 0; a && i < SERVICES; i++)
		if (!strncmp((const char *)(a + 1), service_name(i), a->nla_len - NLA_HDRLEN))
			return i;
	return 0;
}

static void pulled(const struct genlmsghdr *genl, int len, void *arg)
{
	const struct nlattr *a[SIV_A_MAX + 1], *u[SIV_UPCALL_A_MAX + 1];
	struct agent *agent = arg;

	parse((const uint8_t *)genl + GENL_HDRLEN, len - GENL_HDRLEN, a, SIV_A_MAX);
	if (!a[SIV_A_UPCALL])
		return;
	parse(a[SIV_A_UPCALL] + 1, a[SIV_A_UPCALL]->nla_len - NLA_HDRLEN, u, SIV_UPCALL_A_MAX);
	if (agent->n_jobs < JOBS)
		agent->jobs[agent->n_jobs++] = (struct job){
			.id = number(u[SIV_UPCALL_A_ID]),
			.kind = number(u[SIV_UPCALL_A_KIND]),
			.type = number(u[SIV_UPCALL_A_TYPE]),
			.service = service_of(u[SIV_UPCALL_A_SERVICE]),
		};
}

static void found(const struct genlmsghdr *genl, int len, void *arg)
{
	const struct nlattr *a[SIV_A_MAX + 1];
	uint64_t *cookie = arg;

	parse((const uint8_t *)genl + GENL_HDRLEN, len - GENL_HDRLEN, a, SIV_A_MAX);
	*cookie = number(a[SIV_A_COOKIE]);
}

int agent_register(struct agent *a)
{
	begin(a, SIV_CMD_REGISTER);
	put_register(&a->msg);
	return agent_call(a, NULL);
}

int agent_links(struct agent *a)
{
	begin(a, SIV_CMD_LINK_GET);
	return agent_call(a, link_known);
}

int agent_link_set(struct agent *a, uint32_t end, uint64_t size)
{
	begin(a, SIV_CMD_LINK_SET);
	put_link_set(&a->msg, end, known.epoch[end], size);
	return agent_call(a, NULL);
}

static int grant(struct agent *a, const struct job *job, uint64_t generation, bool server)
{
	int err;

	begin(a, SIV_CMD_GRANT);
	a->msg.dirt = one_in(&a->rng, 4) ? 12 : 0;
	put_grant(&a->msg, job, generation % SLOTS, generation, server);
	err = agent_call(a, NULL);
	if (!err)
		granted[server]++;
	return err;
}

static void serve(struct agent *a, const struct job *job)
{
	uint64_t generation, cookie = 0;
	int err;

	if (one_in(&a->rng, 16))
		return; /* never answered */
	if (job->kind == SIV_UPCALL_CONNECT) {
		begin(a, SIV_CMD_LISTENER);
		put_listener(&a->msg, job->service, job->type);
		err = nl_call(a->fd, &a->msg, found, &cookie);
		count(SIV_CMD_LISTENER, err);
		generation = ++known.generation;
		if (!err) {
			known.cookie[job->service] = cookie;
			err = grant(a, job, generation, true) ?: grant(a, job, generation, false);
		}
		/* and taken away again, the first ones certainly */
		if (!err && (!verdicts[SIV_CMD_RESET][0] || one_in(&a->rng, 8))) {
			begin(a, SIV_CMD_RESET);
			put_reset(&a->msg, generation % SLOTS, generation, one_in(&a->rng, 2));
			agent_call(a, NULL);
		}
		if (!err)
			return;
	} else if (job->kind != SIV_UPCALL_BIND) {
		return;
	}
	begin(a, SIV_CMD_ANSWER);
	put_answer(&a->msg, job->id, job->kind == SIV_UPCALL_BIND ? 0 : ECONNREFUSED, job->service);
	agent_call(a, NULL);
}

void agent_pull(struct agent *a)
{
	a->n_jobs = 0;
	begin(a, SIV_CMD_PULL);
	agent_call(a, pulled);
	for (unsigned int i = 0; i < a->n_jobs && !stop; i++)
		serve(a, &a->jobs[i]);
}

void *agent_run(void *arg)
{
	static const uint8_t rare[] = { SIV_CMD_LINK_DOWN, SIV_CMD_RESET, SIV_CMD_RESET,
					SIV_CMD_CHAN_GET };
	struct agent *a = arg;

	while (!stop) {
		if (one_in(&a->rng, 300))
			agent_open(a);
		if (one_in(&a->rng, 16)) {
			agent_register(a);
			agent_links(a);
			agent_link_set(a, 0, link_size);
			agent_link_set(a, 1, link_size);
		}
		agent_pull(a);
		if (one_in(&a->rng, 8)) {
			msg_command(&a->msg, &a->rng, PICK(&a->rng, rare), 0);
			agent_call(a, NULL);
		}
		for (unsigned int n = below(&a->rng, 8); n; n--) {
			msg_command(&a->msg, &a->rng, PICK(&a->rng, commands),
				    1 + below(&a->rng, 12));
			agent_call(a, NULL);
		}
	}
	return NULL;
}

void *blaster_run(void *arg)
{
	struct blaster *b = arg;

	while (!stop) {
		msg_any(&b->msg, &b->rng);
		pthread_rwlock_rdlock(&b->agent->lock);
		nl_send(b->agent->fd, &b->msg);
		pthread_rwlock_unlock(&b->agent->lock);
		if (one_in(&b->rng, 64))
			poll(NULL, 0,
			     1); /* the agent has to read what is said to this, and to do more */
	}
	return NULL;
}

void agent_tidy(struct agent *a)
{
	int err;

	agent_open(a);
	err = agent_register(a);
	if (err) {
		complain("nobody can register afterwards: %s", strerrorname_np(-err));
		return;
	}
	agent_links(a);
	for (uint32_t end = 0; end < 2; end++) {
		begin(a, SIV_CMD_LINK_DOWN);
		put_link_down(&a->msg, end, known.epoch[end]);
		err = agent_call(a, NULL);
		if (err)
			complain("LINK_DOWN afterwards: %s", strerrorname_np(-err));
	}
	do {
		a->n_jobs = 0;
		begin(a, SIV_CMD_PULL);
		err = agent_call(a, pulled);
		if (err)
			complain("PULL afterwards: %s", strerrorname_np(-err));
	} while (!err && a->n_jobs);
}
