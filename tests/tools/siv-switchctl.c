// SPDX-License-Identifier: BSD-2-Clause
/* siv-switchctl: drives a sivshmem-switch by hand or from a test, in place of sivshmem-hostd. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "switch_client.h"

enum { DEFAULT_VECTORS = 4 };

static const char *run_dir = "/run/sivshmem";

__attribute__((noreturn))
static void die(const char *what, int err)
{
	fprintf(stderr, "siv-switchctl: %s: %s\n", what, strerror(-err));
	exit(EXIT_FAILURE);
}

/* A number with an optional K, M or G, the whole string; exits if it is not one. */
static uint64_t parse_size(const char *what, const char *text)
{
	char *end;
	uint64_t value;
	int shift = 0;

	errno = 0;
	value = strtoull(text, &end, 0);
	switch (*end) {
	case 'G':
		shift += 10; /* fall through */
	case 'M':
		shift += 10; /* fall through */
	case 'K':
		shift += 10;
		end++;
	}
	if (errno || end == text || *end || *text == '-' || value > UINT64_MAX >> shift)
		die(what, -EINVAL);
	return value << shift;
}

static void copy_name(char *to, size_t size, const char *from)
{
	if (strlen(from) >= size)
		die(from, -ENAMETOOLONG);
	strcpy(to, from);
}

static int connect_switch(struct swp_hello_reply *hello)
{
	int fd = switch_connect(run_dir, hello);

	if (fd < 0)
		die(run_dir, fd);
	return fd;
}

static const char *state_name(uint32_t state)
{
	static const char *const names[] = {
		[SWP_END_EMPTY] = "empty",
		[SWP_END_JOINED] = "joined",
		[SWP_END_LINGERING] = "lingering",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

static void print_event(const struct swp_event *event, void *data)
{
	const char *name = event->hdr.type == SWP_JOINED    ? "joined" :
			   event->hdr.type == SWP_LINGERING ? "lingering" :
							      "gone";

	(void)data;
	printf("%s link=%s end=%u ivposition=%u pid=%d uid=%u epoch=%u\n", name, event->link,
	       event->end, event->ivposition, event->pid, event->uid, event->epoch);
	fflush(stdout);
}

/* The switch that was built together with this program. */
static int cmd_start(char **args)
{
	char self[PATH_MAX], binary[PATH_MAX + 32];
	struct swp_hello_reply hello;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int err;

	if (n < 0)
		die("/proc/self/exe", -errno);
	self[n] = '\0';
	snprintf(binary, sizeof(binary), "%s/sivshmem-switch", dirname(self));
	err = switch_start(binary, run_dir, args[0]);
	if (err == -EIO) {
		fprintf(stderr, "siv-switchctl: the switch ended at once: see %s\n", args[0]);
		exit(EXIT_FAILURE);
	}
	if (err)
		die(binary, err);
	close(connect_switch(&hello));
	printf("%d\n", hello.pid);
	return EXIT_SUCCESS;
}

static int cmd_add(char **args)
{
	union swp_msg req = { 0 }, reply;
	struct swp_link_add *add = &req.link_add;
	int fd, err;

	copy_name(add->link, sizeof(add->link), args[0]);
	add->size = parse_size("size", args[3]);
	add->vectors = args[4] ? parse_size("vectors", args[4]) : DEFAULT_VECTORS;
	for (int i = 0; i < SWP_ENDS; i++) {
		struct swp_end_config *end = &add->end[i];
		int n = snprintf(end->socket, sizeof(end->socket), "%s-%s.sock", args[0],
				 args[1 + i]);

		if (n >= (int)sizeof(end->socket))
			die(args[0], -ENAMETOOLONG);
		copy_name(end->vm, sizeof(end->vm), args[1 + i]);
		end->uid = SWP_UID_SWITCH;
	}
	fd = connect_switch(NULL);
	err = switch_call(fd, &req, SWP_LINK_ADD, &reply, NULL, NULL, NULL);
	if (err)
		die(args[0], err);
	for (int i = 0; i < SWP_ENDS; i++)
		printf("%s/%s\n", run_dir, add->end[i].socket);
	return EXIT_SUCCESS;
}

static int call_named(const char *link, enum swp_type type, union swp_msg *reply, int *memfd)
{
	union swp_msg req = { 0 };
	int err;

	copy_name(req.link_name.link, sizeof(req.link_name.link), link);
	err = switch_call(connect_switch(NULL), &req, type, reply, memfd, NULL, NULL);
	if (err)
		die(link, err);
	return EXIT_SUCCESS;
}

static int cmd_del(char **args)
{
	union swp_msg reply;

	return call_named(args[0], SWP_LINK_DEL, &reply, NULL);
}

static int cmd_bump(char **args)
{
	union swp_msg reply;

	call_named(args[0], SWP_EPOCH_BUMP, &reply, NULL);
	printf("%u\n", reply.link_reply.epoch);
	return EXIT_SUCCESS;
}

static int cmd_state(char **args)
{
	union swp_msg req = { 0 }, reply = { 0 };
	int fd = connect_switch(NULL);
	int err;

	(void)args;
	for (;;) {
		const struct swp_link_state *link = &reply.link_state;

		err = switch_call(fd, &req, SWP_STATE, &reply, NULL, NULL, NULL);
		if (err)
			break;
		printf("link=%s serial=%u epoch=%u size=%" PRIu64 " vectors=%u\n", link->link,
		       link->serial, link->epoch, link->size, link->vectors);
		for (int i = 0; i < SWP_ENDS; i++)
			printf("  end=%d vm=%s state=%s ivposition=%u pid=%d uid=%u socket=%s/%s\n",
			       i, link->end[i].config.vm, state_name(link->end[i].state),
			       link->end[i].ivposition, link->end[i].pid, link->end[i].uid,
			       run_dir, link->end[i].config.socket);
		req.state.after = link->serial;
	}
	if (err != -ENOENT)
		die("state", err);
	return EXIT_SUCCESS;
}

static int cmd_pid(char **args)
{
	struct swp_hello_reply hello;

	(void)args;
	connect_switch(&hello);
	printf("%d\n", hello.pid);
	return EXIT_SUCCESS;
}

static int cmd_watch(char **args)
{
	struct pollfd pfd = { .fd = connect_switch(NULL), .events = POLLIN };
	union swp_msg msg;
	int memfd, err;

	(void)args;
	printf("watching\n");
	fflush(stdout);
	for (;;) {
		if (poll(&pfd, 1, -1) < 0 && errno != EINTR)
			die("poll", -errno);
		err = switch_recv(pfd.fd, &msg, &memfd);
		if (err && err != -EAGAIN)
			die(run_dir, err);
		if (!err)
			print_event(&msg.event, NULL);
	}
}

static int cmd_dump_mem(char **args)
{
	uint64_t offset = parse_size("offset", args[1]);
	uint64_t len = parse_size("length", args[2]);
	union swp_msg reply;
	const uint8_t *mem;
	int memfd;

	call_named(args[0], SWP_MEM, &reply, &memfd);
	if (offset > reply.mem_reply.size || len > reply.mem_reply.size - offset)
		die("offset and length are beyond the link's memory", -ERANGE);
	mem = mmap(NULL, reply.mem_reply.size, PROT_READ, MAP_SHARED, memfd, 0);
	if (mem == MAP_FAILED)
		die("mmap", -errno);
	for (uint64_t i = 0; i < len; i++)
		printf("%02x%s", mem[offset + i], i % 16 == 15 || i + 1 == len ? "\n" : " ");
	return EXIT_SUCCESS;
}

static const struct command {
	const char *name;
	const char *args;
	const char *help;
	int min_args, max_args;
	int (*run)(char **args); /* NULL after the last one */
} commands[] = {
	{ "start", "LOGFILE", "start a switch that outlives this program; prints its pid", 1, 1,
	  cmd_start },
	{ "add", "LINK VM0 VM1 SIZE [VECTORS]", "add a link; prints the sockets of both ends", 4, 5,
	  cmd_add },
	{ "del", "LINK", "delete a link that no QEMU holds", 1, 1, cmd_del },
	{ "pid", "", "print the process id of the switch", 0, 0, cmd_pid },
	{ "state", "", "print all links and their ends", 0, 0, cmd_state },
	{ "watch", "", "print \"watching\", then events, until the switch closes", 0, 0,
	  cmd_watch },
	{ "bump", "LINK", "epoch + 1; prints it", 1, 1, cmd_bump },
	{ "dump-mem", "LINK OFFSET LEN", "print bytes of a link's memory as hex", 3, 3,
	  cmd_dump_mem },
};

static const struct argp_option options[] = {
	{ "run-dir", 'r', "DIR", 0, "The switch's run directory (/run/sivshmem)", 0 },
	{ 0 }
};

struct invocation {
	const struct command *command;
	char *args[8];
	int n;
};

static void check_args(struct argp_state *state, const struct invocation *inv)
{
	if (!inv->command)
		argp_error(state, "no command");
	if (inv->n < inv->command->min_args)
		argp_error(state, "%s takes %s", inv->command->name, inv->command->args);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct invocation *inv = state->input;

	switch (key) {
	case 'r':
		run_dir = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (inv->command) {
			if (inv->n == inv->command->max_args)
				argp_error(state, "%s takes %s", inv->command->name,
					   inv->command->args);
			inv->args[inv->n++] = arg;
			return 0;
		}
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (!strcmp(arg, commands[i].name))
				inv->command = &commands[i];
		if (!inv->command)
			argp_error(state, "no command \"%s\"", arg);
		return 0;
	case ARGP_KEY_END:
		check_args(state, inv);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

/* argp asks for the text after the options: the table of commands. */
static char *help_filter(int key, const char *text, void *input)
{
	char *help = NULL;
	size_t size;
	FILE *out;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)text;
	out = open_memstream(&help, &size);
	if (!out)
		return (char *)text;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %s %s\n      %s\n", commands[i].name, commands[i].args,
			commands[i].help);
	fclose(out);
	return help;
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "COMMAND [ARGUMENT...]",
	.doc = "Drives a sivshmem-switch for tests.\v ",
	.help_filter = help_filter,
};

int main(int argc, char **argv)
{
	struct invocation inv = { 0 };

	argp_parse(&argp, argc, argv, 0, NULL, &inv);
	return inv.command->run(inv.args);
}
