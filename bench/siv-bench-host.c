// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-bench-host: what protections of the host and the agent cost, without VMs. bench/run drives
 * it; docs/bench.md says what the figures mean.
 *
 * Variants of a thing take turns, each turn in a process of its own: none finds what another left.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "agent/select.h"
#include "broker/alloc.h"
#include "broker/audit.h"
#include "broker/policy.h"
#include "host_world.h"
#include "samples.h"

enum {
	TURNS = 2,
	WARM_UP = AUDIT_BURST + 50, /* connects: beyond what is written when time stands still */
	CONNECTS = 150, /* of a turn; a pipe takes them before anybody reads */
	SCRUBS = 20,    /* of a turn */
	EPOCHS = 1,     /* of a turn */
	SELECTS = 50,   /* of a turn */
	SELECT_BATCH = 100, /* calls of a sample */
	SAMPLES_OF_ALL = TURNS * CONNECTS,
	LINK_BYTES = 64 << 20,
};

struct variant {
	const char *name;
	void (*run)(const struct variant *variant, struct samples *samples); /* in a child */
	struct world_options world;
	unsigned int order; /* log2 of the bytes of each ring of a channel; 0: all of a link */
	bool punched;
	unsigned int services;
};

static const char *folder;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void run_connects(const struct variant *variant, struct samples *samples)
{
	struct world_options options = variant->world;
	struct world *world;

	options.folder = folder;
	world = world_open(&options);
	for (unsigned int i = 0; i < WARM_UP; i++)
		world_connect(world);
	for (unsigned int i = 0; i < CONNECTS; i++)
		samples_add(samples, world_connect(world) / 1e3);
}

/*
 * What was written over is written over again, by whoever has it next. In between hostd punches a
 * hole, as links.c does, so that the next one finds zeros, and the pages are to be had anew.
 */
static void run_scrubs(const struct variant *variant, struct samples *samples)
{
	uint64_t bytes = variant->order ? alloc_length(variant->order, variant->order) : LINK_BYTES;
	unsigned int n = variant->order ? SCRUBS : EPOCHS;
	int fd = memfd_create("link", MFD_CLOEXEC);
	uint8_t *memory;

	if (fd < 0 || ftruncate(fd, LINK_BYTES))
		err(EXIT_FAILURE, "memfd");
	memory = mmap(NULL, LINK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
	memset(memory, 1, bytes);
	for (unsigned int i = 0; i < n; i++) {
		uint64_t start = now_ns();

		if (variant->punched && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						  0, (off_t)bytes))
			err(EXIT_FAILURE, "fallocate");
		memset(memory, 1, bytes);
		samples_add(samples, (now_ns() - start) / 1e3);
	}
}

/*
 * Which service is this process? All services are of its user; each has an executable that is
 * looked up, and but for the last it is another one.
 */
static void run_selects(const struct variant *variant, struct samples *samples)
{
	struct agent_service services[AGENT_SERVICES_MAX] = { 0 };
	struct agent_config config = { .services = services, .nr_services = variant->services };
	struct siv_caller caller = { .uid = 1000, .flags = SIV_CALLER_INIT_NETNS |
							   SIV_CALLER_INIT_MNTNS };
	char own[] = "/proc/self/exe", other[] = "/bin/sh";
	const struct agent_service *found;
	struct stat st;

	if (stat("/proc/self/exe", &st))
		err(EXIT_FAILURE, "/proc/self/exe");
	caller.exe_dev = st.st_dev;
	caller.exe_ino = st.st_ino;
	for (unsigned int i = 0; i < variant->services; i++) {
		snprintf(services[i].name, sizeof(services[i].name), "s%u", i);
		services[i].has_uid = true;
		services[i].uid = caller.uid;
		services[i].executable = i + 1 < variant->services ? other : own;
	}
	for (unsigned int i = 0; i < SELECTS; i++) {
		uint64_t start = now_ns();

		for (unsigned int j = 0; j < SELECT_BATCH; j++)
			if (agent_select(&config, "", &caller, "", &found) || !found)
				errx(EXIT_FAILURE, "no service was selected");
		samples_add(samples, (now_ns() - start) / 1e3 / SELECT_BATCH);
	}
}

#define CONNECT(variant_name, ...)								\
	{ .name = "host-connect/1/" variant_name "/native", .run = run_connects,		\
	  .world = { __VA_ARGS__ } }
#define SCRUB(name_and_bytes, ...)								\
	{ .name = name_and_bytes "/kept/native", .run = run_scrubs, __VA_ARGS__ },		\
	{ .name = name_and_bytes "/punched/native", .run = run_scrubs, .punched = true,		\
	  __VA_ARGS__ }

static const struct variant variants[] = {
	CONNECT("plain", .rules = 1, .journal = true),
	CONNECT("confined", .rules = 1, .journal = true, .confined = true),
	CONNECT("rules", .rules = POLICY_ALLOWS_MAX, .journal = true),
	CONNECT("revocations", .rules = 1, .journal = true, .revocations = REVOCATIONS_MAX),
	CONNECT("no-journal", .rules = 1),
	CONNECT("no-audit", .rules = 1, .journal = true, .audit_spent = true),
	SCRUB("scrub/131072", .order = 17),
	SCRUB("scrub/1048576", .order = 20),
	SCRUB("scrub-link/67108864", .order = 0),
	{ .name = "select/1/executable/native", .run = run_selects, .services = 1 },
	{ .name = "select/64/executable/native", .run = run_selects,
	  .services = AGENT_SERVICES_MAX },
};

enum { N_VARIANTS = sizeof(variants) / sizeof(variants[0]) };

static void init_samples(struct samples *samples, size_t max)
{
	if (samples_init(samples, max))
		errx(EXIT_FAILURE, "no memory for samples");
}

static void turn_in_child(const struct variant *variant, int out)
{
	struct samples samples;
	size_t bytes;

	init_samples(&samples, CONNECTS);
	variant->run(variant, &samples);
	bytes = samples.n * sizeof(samples.values[0]);
	_exit(write(out, samples.values, bytes) == (ssize_t)bytes ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void take_turn(const struct variant *variant, struct samples *samples)
{
	int pipe_fds[2], status;
	double value;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC))
		err(EXIT_FAILURE, "pipe");
	pid = fork();
	if (pid < 0)
		err(EXIT_FAILURE, "fork");
	if (!pid)
		turn_in_child(variant, pipe_fds[1]);
	close(pipe_fds[1]);
	while (read(pipe_fds[0], &value, sizeof(value)) == sizeof(value))
		samples_add(samples, value);
	close(pipe_fds[0]);
	if (waitpid(pid, &status, 0) != pid || status)
		errx(EXIT_FAILURE, "%s: its process failed", variant->name);
}

int main(int argc, char **argv)
{
	struct samples samples[N_VARIANTS];

	if (argc != 2 || argv[1][0] == '-') {
		fputs("usage: siv-bench-host FOLDER\n"
		      "Measures, with FOLDER for a key, a journal and an audit log, and prints a\n"
		      "line of JSON for each variant.\n", stderr);
		return EX_USAGE;
	}
	folder = argv[1];
	world_prepare(folder);
	for (unsigned int i = 0; i < N_VARIANTS; i++)
		init_samples(&samples[i], SAMPLES_OF_ALL);
	for (unsigned int turn = 0; turn < TURNS; turn++)
		for (unsigned int i = 0; i < N_VARIANTS; i++)
			take_turn(&variants[i], &samples[i]);
	for (unsigned int i = 0; i < N_VARIANTS; i++) {
		samples_print(stdout, variants[i].name, "us", &samples[i], true);
		samples_free(&samples[i]);
	}
	return EXIT_SUCCESS;
}
