// SPDX-License-Identifier: BSD-2-Clause
/* siv-uring run URL CASE [ARG] | list: the table of all cases, and each ring a case runs on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uring.h"

const char *url;

static const struct uring_case *const tables[] = { io_cases, end_cases,	   accept_cases,
						   zc_cases, zc_end_cases, helper_cases };
#define NR_TABLES (sizeof(tables) / sizeof(tables[0]))

static int run(const struct uring_case *c, const char *arg)
{
	int kind;

	if (!c->kinds)
		c->run(arg);
	for (kind = 0; kind < RING_KINDS; kind++) {
		if (!(c->kinds & 1 << kind))
			continue;
		fprintf(stderr, "%s ring\n", ring_names[kind]); /* which one it was if it fails */
		ring_start(kind);
		c->run(arg);
		ring_stop();
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct uring_case *c;
	unsigned int i;

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "list")) {
		for (i = 0; i < NR_TABLES; i++)
			for (c = tables[i]; c->name; c++)
				puts(c->name);
		return 0;
	}
	if ((argc != 4 && argc != 5) || strcmp(argv[1], "run")) {
		fprintf(stderr, "usage: siv-uring run URL CASE [ARG] | list\n");
		return 2;
	}
	url = argv[2];
	for (i = 0; i < NR_TABLES; i++)
		for (c = tables[i]; c->name; c++)
			if (!strcmp(c->name, argv[3]))
				return run(c, argc == 5 ? argv[4] : NULL);
	fprintf(stderr, "siv-uring: %s: no such case\n", argv[3]);
	return 2;
}
