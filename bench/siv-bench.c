// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-bench: measures round trips, throughput and connect() over AF_SIVSHMEM and over what it is
 * compared with. bench/run drives it; docs/bench.md says what the figures mean.
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "hold.h"
#include "mapped.h"
#include "measure.h"
#include "ring.h"
#include "serve.h"
#include "tls.h"
#include "via.h"

enum {
	SAMPLES_MAX = 1 << 20,
	MILLISECONDS_MAX = 60000,
	ENDPOINTS_MAX = 8,
	SIZES_MAX = 16,
	NAME_MAX_BYTES = 128,
	CLIENT_SIDE = 0, /* of a ring */
	SERVER_SIDE = 1,
};

#define TRANSFER_MAX (1ul << 30)
#define MEMORY_FORMS ", or ring:/PATH or mapped:/PATH"

struct command;

struct options {
	const struct command *command;
	char *endpoints[ENDPOINTS_MAX];
	unsigned int n_endpoints;
	const char *name;
	unsigned long count;
	unsigned long milliseconds;
	unsigned long sizes[SIZES_MAX];
	unsigned int n_sizes;
	enum via_id via;
	unsigned long transfer;
	unsigned long session;
	unsigned long ring;
	bool exactly;
	bool samples;
};

struct command {
	const char *name;
	const char *help;
	const char *unit;
	unsigned int endpoints_max;
	unsigned long size; /* bytes of a message, unless told */
	int (*run)(const struct options *options);
	int (*measure)(struct stream *stream, const struct measure_limits *limits,
		       struct samples *samples);
};

static int run_serve(const struct options *options);
static int run_stream(const struct options *options);
static int run_connect(const struct options *options);
static int run_clock(const struct options *options);
static int run_hold(const struct options *options);
static int run_pass(const struct options *options);

static const struct command commands[] = {
	{ .name = "serve", .help = "answer at each ENDPOINT until killed; at a ring: one client",
	  .run = run_serve, .endpoints_max = ENDPOINTS_MAX },
	{ .name = "rtt", .help = "time of a message there and back", .unit = "us",
	  .run = run_stream, .measure = measure_rtt, .endpoints_max = 1, .size = 64 },
	{ .name = "throughput", .help = "one way, until all of a transfer is acknowledged",
	  .unit = "MB/s", .run = run_stream, .measure = measure_throughput, .endpoints_max = 1,
	  .size = 16384 },
	{ .name = "connect", .help = "time of connect(), each in a new process", .unit = "ms",
	  .run = run_connect, .endpoints_max = 1 },
	{ .name = "clock", .help = "time that reading the clock takes: no ENDPOINT", .unit = "ns",
	  .run = run_clock },
	{ .name = "hold", .help = "keep --count idle channels until killed", .run = run_hold,
	  .endpoints_max = 1 },
	{ .name = "pass", .help = "one thread passes --count messages through ring: and counts them",
	  .run = run_pass, .endpoints_max = 1, .size = 64 },
};

static const struct argp_option argp_options[] = {
	{ "name", 'N', "NAME", 0, "what the line of JSON calls it (the command); @ is the size", 0 },
	{ "count", 'n', "N", 0, "samples, at most (20000)", 0 },
	{ "milliseconds", 'm', "MS", 0, "for as long, at most, and one sample (1000)", 0 },
	{ "size", 's', "BYTES[,...]", 0, "of a message (rtt: 64, throughput: 16384); each in turn", 0 },
	{ "via", 'v', "MEANS", 0, "how both sides use the socket: " VIA_NAMES, 0 },
	{ "tls", 'T', "FOLDER", 0, "ca.pem, cert.pem and key.pem for tls:", 0 },
	{ "transfer", 't', "BYTES", 0, "throughput: one sample moves so many, at most (4194304)", 0 },
	{ "ring", 'r', "BYTES", 0, "of a channel's rings (what the kernel takes)", 0 },
	{ "session", 'S', "N", 0, "ring: a number that both sides give, another each time (1)", 0 },
	{ "exactly", 'x', NULL, 0, "no warming up: --count round trips, or one --transfer", 0 },
	{ "samples", 'a', NULL, 0, "print the samples too", 0 },
	{ 0 },
};

static unsigned long parse_number(const char *arg, unsigned long max, struct argp_state *state)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno || n < 1 || n > max)
		argp_error(state, "%s: not a number from 1 to %lu", arg, max);
	return n;
}

/* It goes into JSON as it is. */
static const char *parse_name(const char *arg, struct argp_state *state)
{
	if (!*arg || arg[strspn(arg, "abcdefghijklmnopqrstuvwxyz0123456789-/@")])
		argp_error(state, "%s: a name has a-z, 0-9, -, / and @", arg);
	return arg;
}

static void parse_sizes(char *arg, struct options *options, struct argp_state *state)
{
	char *size;

	options->n_sizes = 0;
	while ((size = strsep(&arg, ","))) {
		if (options->n_sizes == SIZES_MAX)
			argp_error(state, "%s: too many sizes", size);
		options->sizes[options->n_sizes++] = parse_number(size, STREAM_MESSAGE_MAX, state);
	}
}

static enum via_id parse_via(const char *arg, struct argp_state *state)
{
	int via = via_parse(arg);

	if (via < 0)
		argp_error(state, "%s: not " VIA_NAMES, arg);
	return via;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'N':
		options->name = parse_name(arg, state);
		return 0;
	case 'n':
		options->count = parse_number(arg, SAMPLES_MAX, state);
		return 0;
	case 'm':
		options->milliseconds = parse_number(arg, MILLISECONDS_MAX, state);
		return 0;
	case 's':
		parse_sizes(arg, options, state);
		return 0;
	case 'v':
		options->via = parse_via(arg, state);
		return 0;
	case 'T':
		return tls_setup(arg) ? EINVAL : 0;
	case 't':
		options->transfer = parse_number(arg, TRANSFER_MAX, state);
		return 0;
	case 'r':
		options->ring = parse_number(arg, TRANSFER_MAX, state);
		return 0;
	case 'S':
		options->session = parse_number(arg, UINT32_MAX, state);
		return 0;
	case 'x':
		options->exactly = true;
		return 0;
	case 'a':
		options->samples = true;
		return 0;
	case ARGP_KEY_ARG:
		if (options->n_endpoints == options->command->endpoints_max)
			argp_error(state, "%s: too many endpoints", arg);
		options->endpoints[options->n_endpoints++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (!options->n_endpoints && options->command->endpoints_max)
			argp_error(state, "no endpoint: write " ENDPOINT_FORMS MEMORY_FORMS);
		for (unsigned int i = 0; i < options->n_sizes; i++)
			if (options->transfer < options->sizes[i])
				argp_error(state, "a transfer is at least one message");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "siv-bench: %s: %s\n", what, siv_strerror(err));
	return EXIT_FAILURE;
}

/* Rings in memory that both sides map, without a socket; the path follows the prefix. */
struct memory {
	const char *prefix;
	struct stream *(*open)(const char *path, unsigned int side, uint32_t session, int *err);
	int (*pair)(struct stream *sides[2]);
};

static const struct memory memories[] = {
	{ "ring:", ring_open, ring_pair },
	{ "mapped:", mapped_open, mapped_pair },
};

/* NULL, and @path is left alone, where the endpoint is a socket's. */
static const struct memory *memory_of(const char *endpoint, const char **path)
{
	for (size_t i = 0; i < sizeof(memories) / sizeof(memories[0]); i++) {
		size_t len = strlen(memories[i].prefix);

		if (strncmp(endpoint, memories[i].prefix, len))
			continue;
		*path = endpoint + len;
		return &memories[i];
	}
	return NULL;
}

static int serve_memory(const struct memory *memory, const char *path,
			const struct options *options)
{
	struct stream *stream;
	int err;

	stream = memory->open(path, SERVER_SIDE, options->session, &err);
	if (stream)
		err = serve_stream(stream);
	return err ? fail(path, err) : EXIT_SUCCESS;
}

static int run_serve(const struct options *options)
{
	const struct memory *memory;
	const char *path;

	memory = memory_of(options->endpoints[0], &path);
	if (memory)
		return serve_memory(memory, path, options);
	return serve_endpoints((char **)options->endpoints, options->n_endpoints);
}

static int parse_endpoint(const struct options *options, struct endpoint *endpoint)
{
	int err = endpoint_parse(options->endpoints[0], endpoint);

	endpoint->ring = options->ring;
	return err;
}

static struct stream *open_stream(const struct options *options, int *err)
{
	const struct memory *memory;
	struct endpoint endpoint;
	const char *path;

	memory = memory_of(options->endpoints[0], &path);
	if (memory)
		return memory->open(path, CLIENT_SIDE, options->session, err);
	*err = parse_endpoint(options, &endpoint);
	return *err ? NULL : via_connect(&endpoint, options->via, err);
}

static struct measure_limits limits_of(const struct options *options, unsigned long size)
{
	return (struct measure_limits){
		.size = size,
		.transfer = options->transfer,
		.nanoseconds = options->milliseconds * 1000000ull,
		.exactly = options->exactly,
	};
}

static void report(const struct options *options, unsigned long size, struct samples *samples)
{
	const char *at = strchr(options->name, '@');
	char name[NAME_MAX_BYTES];

	if (at)
		snprintf(name, sizeof(name), "%.*s%lu%s", (int)(at - options->name), options->name,
			 size, at + 1);
	samples_print(stdout, at ? name : options->name, options->command->unit, samples,
		      options->samples);
}

static int measure_sizes(const struct options *options, struct stream *stream,
			 struct samples *samples)
{
	int err = 0;

	for (unsigned int i = 0; !err && i < options->n_sizes; i++) {
		struct measure_limits limits = limits_of(options, options->sizes[i]);

		samples->n = 0;
		err = options->command->measure(stream, &limits, samples);
		if (!err)
			report(options, options->sizes[i], samples);
	}
	return err;
}

static int run_stream(const struct options *options)
{
	struct samples samples;
	struct stream *stream;
	int err = samples_init(&samples, options->count);

	if (err)
		return fail("samples", err);
	stream = open_stream(options, &err);
	if (stream) {
		err = measure_sizes(options, stream, &samples);
		if (!err)
			err = measure_end(stream);
		stream->ops->close(stream);
	}
	samples_free(&samples);
	return err ? fail(options->endpoints[0], err) : EXIT_SUCCESS;
}

static int run_connect(const struct options *options)
{
	struct measure_limits limits = limits_of(options, 0);
	struct endpoint endpoint;
	struct samples samples;
	int err = samples_init(&samples, options->count);

	if (err)
		return fail("samples", err);
	err = parse_endpoint(options, &endpoint);
	if (!err)
		err = measure_connect(&endpoint, &limits, &samples);
	if (!err)
		report(options, 0, &samples);
	samples_free(&samples);
	return err ? fail(options->endpoints[0], err) : EXIT_SUCCESS;
}

static int run_clock(const struct options *options)
{
	struct measure_limits limits = limits_of(options, 0);
	struct samples samples;
	int err = samples_init(&samples, options->count);

	if (err)
		return fail("samples", err);
	measure_clock(&limits, &samples);
	report(options, 0, &samples);
	samples_free(&samples);
	return EXIT_SUCCESS;
}

static int run_hold(const struct options *options)
{
	struct endpoint endpoint;
	int err = parse_endpoint(options, &endpoint);

	return fail(options->endpoints[0], err ?: hold(&endpoint, options->count));
}

/*
 * For a counter of instructions: what --count messages cost beyond what fewer do is the ring's fast
 * path alone, sending and receiving, since nobody ever waits.
 */
static int run_pass(const struct options *options)
{
	static uint8_t message[STREAM_MESSAGE_MAX];
	const struct memory *memory;
	struct stream *sides[2];
	const char *path;
	int err = -EINVAL;

	memory = memory_of(options->endpoints[0], &path);
	if (memory && !*path)
		err = memory->pair(sides);
	if (err)
		return fail(options->endpoints[0], err);
	for (unsigned long i = 0; !err && i < options->count; i++) {
		ssize_t n;

		err = sides[0]->ops->send(sides[0], message, options->sizes[0]);
		n = sides[1]->ops->recv(sides[1], message, options->sizes[0], options->sizes[0]);
		err = err ?: n < 0 ? n : 0;
	}
	sides[0]->ops->close(sides[0]);
	sides[1]->ops->close(sides[1]);
	return err ? fail(options->endpoints[0], err) : EXIT_SUCCESS;
}

static void usage(FILE *out)
{
	fputs("usage: siv-bench COMMAND [OPTION...] [ENDPOINT...]\n\n", out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
	fputs("\nENDPOINT: " ENDPOINT_FORMS ";\n"
	      "ring:/PATH or mapped:/PATH, memory that both sides map. siv-bench COMMAND --help: its options.\n",
	      out);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options, .parser = parse_option, .args_doc = "ENDPOINT...",
		.doc = "Measures, and prints one line of JSON.\vENDPOINT: " ENDPOINT_FORMS
		       MEMORY_FORMS ".",
	};
	struct options options = {
		.count = 20000, .milliseconds = 1000, .transfer = 4ul << 20, .session = 1,
	};

	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			options.command = &commands[i];
	if (!options.command) {
		usage(argc > 1 && !strcmp(argv[1], "--help") ? stdout : stderr);
		return argc > 1 && !strcmp(argv[1], "--help") ? EXIT_SUCCESS : EX_USAGE;
	}
	options.name = options.command->name;
	options.sizes[0] = options.command->size;
	options.n_sizes = 1;
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets as to files */
	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc - 1, argv + 1, 0, NULL, &options);
	return options.command->run(&options);
}
