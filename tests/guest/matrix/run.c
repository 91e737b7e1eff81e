// SPDX-License-Identifier: BSD-2-Clause
/*
 * Runs cases: forks the sides, here or with the server's at the peer, gathers their transcripts,
 * and prints TAP.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

#define GRACE_MS 1000 /* for a side whose other side failed */

enum { CLIENT, SERVER };
static const char *const side_names[2] = { "client", "server" };

static void die(const char *what)
{
	fprintf(stderr, "siv-matrix: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* One case over one transport. */
struct run {
	const struct testcase *test;
	int type;
	enum via via;
	const char *url;
	bool exact;
	unsigned int runner, number;
	int limit;
	struct transcript *t[2];
	bool failed;
	pid_t pid[2];
	int pidfd[2];
};

static void start_side(struct run *r, int which, int control, int other)
{
	struct side s = {
		.test = r->test,
		.t = r->t[which],
		.via = r->via,
		.type = r->type,
		.server = which == SERVER,
		.number = r->number,
		.runner = r->runner,
		.url = r->url,
		.exact = r->exact,
		.control = control,
		.fd = -1,
	};

	fflush(stdout);
	r->pid[which] = fork();
	if (r->pid[which] < 0)
		die("fork");
	if (!r->pid[which]) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		if (other >= 0)
			close(other);
		side_run(&s, r->limit);
	}
	setpgid(r->pid[which], r->pid[which]);
	r->pidfd[which] = syscall(SYS_pidfd_open, r->pid[which], 0);
	if (r->pidfd[which] < 0)
		die("pidfd_open");
}

/* Its end, and that of every process that it has left behind. */
static void reap(struct run *r, int which)
{
	struct transcript *t = r->t[which];
	char end[80] = "";
	int status;

	kill(-r->pid[which], SIGKILL);
	if (waitpid(r->pid[which], &status, 0) != r->pid[which])
		die("waitpid");
	close(r->pidfd[which]);
	r->pidfd[which] = -1;
	if (t->open)
		strcat(end, " = (it did not return)\n");
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		sprintf(end + strlen(end), "(not ended after %d s)\n", r->limit);
	else if (WIFSIGNALED(status))
		sprintf(end + strlen(end), "(killed by signal %d)\n", WTERMSIG(status));
	else if (WEXITSTATUS(status) && !t->failed)
		sprintf(end + strlen(end), "(exit status %d)\n", WEXITSTATUS(status));
	if (status)
		r->failed = true;
	if (t->len + strlen(end) < sizeof(t->text))
		strcpy(t->text + t->len, end);
}

/* Waits for the sides that run here; @control, if any, says when the other side has failed. */
static void await_sides(struct run *r, int control)
{
	struct pollfd p[3];
	int which, n;

	for (;;) {
		p[CLIENT] = (struct pollfd){ .fd = r->pidfd[CLIENT], .events = POLLIN };
		p[SERVER] = (struct pollfd){ .fd = r->pidfd[SERVER], .events = POLLIN };
		p[2] = (struct pollfd){ .fd = control, .events = POLLRDHUP };
		if (p[CLIENT].fd < 0 && p[SERVER].fd < 0)
			return;
		n = poll(p, 3, r->failed ? GRACE_MS : -1);
		if (n < 0)
			die("poll");
		for (which = CLIENT; which <= SERVER; which++)
			if (r->pidfd[which] >= 0 && (p[which].revents || !n)) {
				if (!p[which].revents)
					kill(-r->pid[which], SIGKILL);
				reap(r, which);
			}
		if (p[2].revents) {
			r->failed = true;
			control = -1;
		}
	}
}

static void run_here(struct run *r)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	start_side(r, SERVER, pair[1], pair[0]);
	start_side(r, CLIENT, pair[0], pair[1]);
	close(pair[0]);
	close(pair[1]);
	await_sides(r, -1);
}

/* --- the server's side elsewhere ----------------------------------------------------------- */

static int peer_connect(const char *peer)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_family = AF_INET }, *info;
	char *host = strdup(peer), *port = host ? strrchr(host, ':') : NULL;
	int fd, err, on = 1;

	if (!port) {
		errno = EINVAL;
		die(peer);
	}
	*port++ = 0;
	err = getaddrinfo(host, port, &hints, &info);
	if (err) {
		fprintf(stderr, "siv-matrix: %s: %s\n", peer, gai_strerror(err));
		exit(2);
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, info->ai_addr, info->ai_addrlen))
		die(peer);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	freeaddrinfo(info);
	free(host);
	return fd;
}

static bool read_all(int fd, void *buf, size_t len)
{
	ssize_t n;

	for (; len; len -= n, buf = (char *)buf + n) {
		n = recv(fd, buf, len, 0);
		if (n <= 0)
			return false;
	}
	return true;
}

static bool write_all(int fd, const void *buf, size_t len)
{
	ssize_t n;

	for (; len; len -= n, buf = (const char *)buf + n) {
		n = send(fd, buf, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	return true;
}

/* What is sent to the peer for each run, and what comes back after it. */
struct order {
	uint32_t group, test, type, number, limit;
	char name[108]; /* so that two programs that differ are seen */
};

struct result {
	uint32_t len, failed;
};

static void order_for(const struct run *r, struct order *o)
{
	size_t g;

	memset(o, 0, sizeof(*o));
	o->type = r->type;
	o->number = r->number;
	o->limit = r->limit;
	snprintf(o->name, sizeof(o->name), "%s", r->test->name);
	for (g = 0; g < n_groups; g++)
		if (r->test >= groups[g]->cases && r->test < groups[g]->cases + groups[g]->n) {
			o->group = g;
			o->test = r->test - groups[g]->cases;
		}
}

static void take_result(struct run *r, int fd)
{
	struct transcript *t = r->t[SERVER];
	struct result result;
	char c;

	do
		if (!read_all(fd, &c, 1))
			goto lost;
	while (c != CONTROL_TRANSCRIPT);
	if (!read_all(fd, &result, sizeof(result)) || result.len >= sizeof(t->text) ||
	    !read_all(fd, t->text, result.len))
		goto lost;
	if (result.failed)
		r->failed = true;
	return;
lost:
	strcpy(t->text, "(the peer sent no transcript)\n");
	r->failed = true;
}

static void run_with_peer(struct run *r, const char *peer)
{
	int fd = peer_connect(peer);
	struct order o;

	order_for(r, &o);
	if (!write_all(fd, &o, sizeof(o)))
		die(peer);
	start_side(r, CLIENT, fd, -1);
	await_sides(r, -1);
	/* it learns of a client that failed by the end of this; else it ends by itself */
	if (r->failed)
		shutdown(fd, SHUT_WR);
	take_result(r, fd);
	close(fd);
}

static void serve_one(int fd, const struct options *o)
{
	struct transcript *t = transcript_new();
	struct run r = { .via = VIA_SIV,
			 .url = o->subject,
			 .exact = true,
			 .t = { NULL, t },
			 .pidfd = { -1, -1 } };
	struct result result;
	struct order order;
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!read_all(fd, &order, sizeof(order)) || order.group >= n_groups ||
	    order.test >= groups[order.group]->n)
		return;
	r.test = &groups[order.group]->cases[order.test];
	if (strcmp(order.name, r.test->name)) {
		fprintf(stderr, "siv-matrix: the other side is another program\n");
		return;
	}
	r.type = order.type;
	r.number = order.number;
	r.limit = order.limit;
	start_side(&r, SERVER, fd, -1);
	await_sides(&r, fd);
	result.len = strlen(t->text);
	result.failed = r.failed;
	if (write_all(fd, (char[]){ CONTROL_TRANSCRIPT }, 1) &&
	    write_all(fd, &result, sizeof(result)))
		write_all(fd, t->text, result.len);
}

int run_serve(const char *port, const struct options *o)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, on = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (void *)&addr, sizeof(addr)) || listen(listener, 4))
		die(port);
	puts("listening");
	fflush(stdout);
	for (;;) {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			die("accept");
		serve_one(fd, o); /* one after the other: there is one service to listen as */
		close(fd);
	}
}

/* --- a test -------------------------------------------------------------------------------- */

static void run_init(struct run *r, const struct testcase *c, int type, enum via via,
		     unsigned int number, const struct options *o)
{
	int i;

	*r = (struct run){ .test = c,
			   .type = type,
			   .via = via,
			   .runner = getpid(),
			   .number = number,
			   .limit = o->limit,
			   .pidfd = { -1, -1 } };
	for (i = 0; i < 2; i++)
		r->t[i] = transcript_new();
}

static void run_free(struct run *r)
{
	transcript_free(r->t[0]);
	transcript_free(r->t[1]);
}

static bool test_once(const struct testcase *c, int type, unsigned int number,
		      const struct options *o)
{
	bool itself = !strcmp(o->subject, "unix:"), good;
	struct expected e;
	struct run oracle, ours;
	int i;

	run_init(&oracle, c, type, c->oracle, number, o);
	run_here(&oracle);
	run_init(&ours, c, type, itself ? c->oracle : VIA_SIV, number + 1, o);
	ours.url = itself ? NULL : o->subject;
	ours.exact = o->peer && !itself;
	if (ours.exact)
		run_with_peer(&ours, o->peer);
	else
		run_here(&ours);

	good = expect(c, type, (char *[]){ oracle.t[0]->text, oracle.t[1]->text }, itself, &e);
	for (i = 0; i < 2; i++) {
		if (print_diff(side_names[i], e.text[i], ours.t[i]->text))
			good = false;
		else if (oracle.failed || o->verbose)
			printf("# %s:\n", side_names[i]), print_lines(oracle.t[i]->text);
		free(e.text[i]);
	}
	if (oracle.failed)
		printf("# the oracle, %s, fails itself\n", via_name(c->oracle));
	good = good && !oracle.failed && !ours.failed;
	run_free(&oracle);
	run_free(&ours);
	return good;
}

static bool wanted(const struct group *g, const struct testcase *c, int type,
		   const struct options *o, const regex_t *re, char *name, size_t size)
{
	snprintf(name, size, "%s: %s (%s)", g->name, c->name,
		 type == SOCK_STREAM ? "stream" : "seqpacket");
	if (!(c->types & (type == SOCK_STREAM ? STREAM : SEQPACKET)))
		return false;
	if (o->group && strcmp(o->group, g->name))
		return false;
	if (o->peer && c->flags & LOCAL)
		return false;
	return !o->pattern || !regexec(re, name, 0, NULL, 0);
}

int run_all(const struct options *o)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	int plan = 0, n = 0, failed = 0, i, t, counting;
	unsigned int number = 0;
	const struct testcase *c;
	char name[200];
	bool good;
	regex_t re;
	long start;
	size_t g;

	if (o->pattern && regcomp(&re, o->pattern, REG_EXTENDED | REG_NOSUB)) {
		errno = EINVAL;
		die(o->pattern);
	}
	for (counting = 1; counting >= 0; counting--) {
		for (g = 0; g < n_groups; g++)
			for (c = groups[g]->cases; c < groups[g]->cases + groups[g]->n; c++)
				for (t = 0; t < 2; t++) {
					if (!wanted(groups[g], c, types[t], o, &re, name,
						    sizeof(name)))
						continue;
					if (counting) {
						plan++;
						continue;
					}
					start = now_ms();
					for (i = 0, good = true; good && i < o->repeat;
					     i++, number += 2)
						good = test_once(c, types[t], number, o);
					failed += !good;
					printf("%sok %d - %s\n", good ? "" : "not ", ++n, name);
					if (o->verbose)
						printf("# took %ld ms\n", now_ms() - start);
					fflush(stdout);
				}
		if (counting)
			printf("1..%d\n", plan);
	}
	printf("# %d of %d agree\n", n - failed, plan);
	return failed || !plan;
}
