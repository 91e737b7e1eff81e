// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-matrix: the same calls over AF_SIVSHMEM and over a family that is known to be right; see
 * matrix.h.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "run.h"

const struct group *const groups[] = {
	&group_connect, &group_listen, &group_stream,	 &group_message, &group_memory,
	&group_poll,	&group_epoll,  &group_shutdown,	 &group_close,	 &group_options,
	&group_process, &group_splice, &group_seqpacket,
};
const size_t n_groups = ARRAY_SIZE(groups);

static const char usage[] =
	"usage: siv-matrix run [--subject siv://VM/SERVICE|unix:] [--peer HOST:PORT] [--group "
	"NAME]\n"
	"                      [--repeat N] [--limit SECONDS] [--verbose] [CASE-REGEX]\n"
	"       siv-matrix serve --control PORT --subject siv:///SERVICE\n"
	"       siv-matrix list [--differences]\n";

static const char *types_of(enum types types)
{
	return types == BOTH ? "both" : types == STREAM ? "stream" : "seqpacket";
}

static void list_cases(void)
{
	const struct testcase *c;
	size_t g;

	for (g = 0; g < n_groups; g++)
		for (c = groups[g]->cases; c < groups[g]->cases + groups[g]->n; c++)
			printf("%s\t%s\t%s%s\t%s%s%s\n", groups[g]->name, c->name,
			       types_of(c->types), c->flags & LOCAL ? ", one VM" : "",
			       via_name(c->oracle), c->why ? ": " : "", c->why ? c->why : "");
}

static void list_differences(void)
{
	const struct difference *d;
	const struct testcase *c;
	size_t g;

	for (g = 0; g < n_groups; g++)
		for (c = groups[g]->cases; c < groups[g]->cases + groups[g]->n; c++)
			for (d = c->differences; d < c->differences + DIFFERENCES_MAX && d->oracle;
			     d++)
				printf("%s: %s (%s)\n\t%s: %s\n\tAF_SIVSHMEM: %s\n\t%s\n",
				       groups[g]->name, c->name,
				       types_of(d->types ? d->types : c->types),
				       via_name(c->oracle), d->oracle, d->ours, d->reason);
}

enum {
	OPT_SUBJECT = 1,
	OPT_PEER,
	OPT_GROUP,
	OPT_REPEAT,
	OPT_LIMIT,
	OPT_VERBOSE,
	OPT_CONTROL,
	OPT_DIFFERENCES
};

static const struct option long_options[] = {
	{ "subject", required_argument, NULL, OPT_SUBJECT },
	{ "peer", required_argument, NULL, OPT_PEER },
	{ "group", required_argument, NULL, OPT_GROUP },
	{ "repeat", required_argument, NULL, OPT_REPEAT },
	{ "limit", required_argument, NULL, OPT_LIMIT },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "differences", no_argument, NULL, OPT_DIFFERENCES },
	{ NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
	struct options o = { .subject = "unix:", .repeat = 1, .limit = 30 };
	const char *control = NULL, *command;
	bool differences = false;
	int opt;

	/* a case that is a program of its own: is this descriptor open? */
	if (argc == 3 && !strcmp(argv[1], "open"))
		return send(atoi(argv[2]), "x", 1, MSG_NOSIGNAL) == 1 ? 0 : errno;
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case OPT_SUBJECT:
			o.subject = optarg;
			break;
		case OPT_PEER:
			o.peer = optarg;
			break;
		case OPT_GROUP:
			o.group = optarg;
			break;
		case OPT_REPEAT:
			o.repeat = atoi(optarg);
			break;
		case OPT_LIMIT:
			o.limit = atoi(optarg);
			break;
		case OPT_VERBOSE:
			o.verbose = true;
			break;
		case OPT_CONTROL:
			control = optarg;
			break;
		case OPT_DIFFERENCES:
			differences = true;
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	command = optind < argc ? argv[optind++] : "";
	o.pattern = optind < argc ? argv[optind++] : NULL;
	if (optind == argc && !strcmp(command, "run"))
		return run_all(&o);
	if (optind == argc && !strcmp(command, "serve") && control && !o.pattern)
		return run_serve(control, &o);
	if (optind == argc && !strcmp(command, "list") && !o.pattern) {
		differences ? list_differences() : list_cases();
		return 0;
	}
	fputs(usage, stderr);
	return 2;
}
