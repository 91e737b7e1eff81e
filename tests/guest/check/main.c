// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-check serve URL | run URL CASE [ARG] | list
 * `serve` prints "listening" and goes on until it is killed.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if ((argc == 4 || argc == 5) && !strcmp(argv[1], "run"))
		return run_case(argv[2], argv[3], argc == 5 ? argv[4] : NULL);
	if (argc == 2 && !strcmp(argv[1], "list")) {
		list_cases();
		return 0;
	}
	fprintf(stderr, "usage: siv-check serve URL | run URL CASE [ARG] | list\n");
	return 2;
}
