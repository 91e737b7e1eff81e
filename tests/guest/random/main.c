// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-random model | storm [--to URL] | serve URL
 *
 * `model` calls everything from one thread and compares each answer with a model; a run is repeated
 * exactly by its seed. `storm` has many threads on each connection, with signals, forks and cuts, and
 * looks at what must hold all the same. `serve` is the other side of `storm --to`: it plays what the
 * first bytes of each connection say. The line that repeats a run is printed first.
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

struct options opt = {
	.seconds = 20,
	.sockets = 8,
	.stream = true,
	.slow = 1,
};

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

const char *type_name(int type)
{
	return type == SOCK_STREAM ? "stream" : "seqpacket";
}

void print_replay(FILE *to, uint64_t ops)
{
	char limit[40];

	snprintf(limit, sizeof(limit), ops ? "--ops %llu" : "--seconds %llu",
		 (unsigned long long)(ops ?: opt.seconds));
	fprintf(to, "siv-random %s%s%s --path %s --type %s --sockets %u --slow %g --seed %llu %s\n",
		opt.mode, opt.url ? " --to " : "", opt.url ?: "", opt.siv ? "siv" : "unix",
		!opt.seqpacket ? "stream" :
		opt.stream     ? "both" :
				 "seqpacket",
		opt.sockets, opt.slow, (unsigned long long)opt.seed, limit);
}

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	fprintf(stderr, "seed %llu\n", (unsigned long long)opt.seed);
	/* not exit(): other threads are in the middle of things */
	_exit(1);
}

enum { OPT_SEED = 256, OPT_SECONDS, OPT_OPS, OPT_SOCKETS, OPT_TYPE, OPT_PATH, OPT_TO, OPT_SLOW };

static const struct argp_option options[] = {
	{ "seed", OPT_SEED, "N", 0, "repeats the run that printed it (a new one)", 0 },
	{ "seconds", OPT_SECONDS, "S", 0, "how long (20)", 0 },
	{ "ops", OPT_OPS, "N", 0, "model: end after that many calls, whatever the time", 0 },
	{ "sockets", OPT_SOCKETS, "N", 0, "connections at a time (8)", 0 },
	{ "type", OPT_TYPE, "TYPE", 0, "stream, seqpacket or both (stream)", 0 },
	{ "path", OPT_PATH, "PATH", 0, "unix or siv (unix)", 0 },
	{ "to", OPT_TO, "URL", 0, "storm: against `siv-random serve URL`", 0 },
	{ "slow", OPT_SLOW, "FACTOR", 0, "stretches the bounds of waits (1)", 0 },
	{ 0 },
};

static uint64_t number(const char *arg, struct argp_state *state)
{
	uint64_t n;
	char *end;

	errno = 0;
	n = strtoull(arg, &end, 0);
	if (errno || !*arg || *end || *arg == '-')
		argp_error(state, "%s: not a number", arg);
	return n;
}

static bool seed_given;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case OPT_SEED:
		opt.seed = number(arg, state);
		seed_given = true;
		return 0;
	case OPT_SECONDS:
		opt.seconds = number(arg, state);
		return 0;
	case OPT_OPS:
		opt.ops = number(arg, state);
		return 0;
	case OPT_SOCKETS:
		opt.sockets = number(arg, state);
		if (!opt.sockets || opt.sockets > 64)
			argp_error(state, "%s: 1 to 64 sockets", arg);
		return 0;
	case OPT_TYPE:
		opt.stream = strcmp(arg, "seqpacket");
		opt.seqpacket = strcmp(arg, "stream");
		if (opt.stream && opt.seqpacket && strcmp(arg, "both"))
			argp_error(state, "%s: stream, seqpacket or both", arg);
		return 0;
	case OPT_PATH:
		opt.siv = !strcmp(arg, "siv");
		if (!opt.siv && strcmp(arg, "unix"))
			argp_error(state, "%s: unix or siv", arg);
		return 0;
	case OPT_TO:
		opt.url = arg;
		opt.siv = true;
		return 0;
	case OPT_SLOW:
		opt.slow = strtod(arg, NULL);
		if (opt.slow < 1)
			argp_error(state, "%s: a factor of 1 or more", arg);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num == 0) {
			opt.mode = arg;
		} else if (state->arg_num == 1 && !strcmp(opt.mode, "serve")) {
			opt.url = arg;
			opt.siv = true;
		} else {
			return ARGP_ERR_UNKNOWN;
		}
		return 0;
	case ARGP_KEY_END:
		if (!opt.mode || (!strcmp(opt.mode, "serve") && !opt.url))
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct {
	const char *name;
	int (*run)(void);
} modes[] = {
	{ "model", run_model },
	{ "storm", run_storm },
	{ "serve", run_serve },
};

int main(int argc, char **argv)
{
	static const struct argp argp = { options,
					  parse,
					  "model | storm | serve URL",
					  "Drives sockets with random calls.",
					  NULL,
					  NULL,
					  NULL };
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (!seed_given && getrandom(&opt.seed, sizeof(opt.seed), 0) != sizeof(opt.seed))
		die("getrandom: %s", strerror(errno));
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(opt.mode, modes[i].name))
			return modes[i].run();
	fprintf(stderr, "siv-random: %s: model, storm or serve\n", opt.mode);
	return 2;
}
