// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-mapped: a producer that writes into a mapped ring, and a consumer that reads from one.
 *
 * The producer fills each message in place, without a buffer of its own, and ends with a half-close.
 * The consumer copies what it looks at before it believes it, checks it, and at the end answers with
 * the number of bytes, in place too.
 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <sivshmem.h>
#include <sivshmem/map.h>

enum {
	SIZE_MAX_BYTES = 1 << 16, /* of a message: half of the ring that is asked for */
	RING_BYTES = 2 * SIZE_MAX_BYTES,
	FLUSH_EVERY = 16, /* messages that a producer without pauses commits between two flushes */
};

struct options {
	const char *url;
	bool listen, records, indirect;
	unsigned long count, size, pause_us, timeout_s;
};

static const struct argp_option argp_options[] = {
	{ "listen", 'l', NULL, 0, "be the consumer, of one producer", 0 },
	{ "records", 'r', NULL, 0, "records in place of a stream, on both sides", 0 },
	{ "indirect", 'i', NULL, 0, "leave the positions to the kernel: a system call for each step", 0 },
	{ "count", 'n', "N", 0, "producer: N messages (100000)", 0 },
	{ "size", 's', "BYTES", 0, "producer: of this size each (64)", 0 },
	{ "pause", 'p', "US", 0, "producer: microseconds between two messages (none)", 0 },
	{ "timeout", 't', "SECONDS", 0, "give up when the other side does nothing for so long", 0 },
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

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'l':
		options->listen = true;
		return 0;
	case 'r':
		options->records = true;
		return 0;
	case 'i':
		options->indirect = true;
		return 0;
	case 'n':
		options->count = parse_number(arg, INT_MAX, state);
		return 0;
	case 's':
		options->size = parse_number(arg, SIZE_MAX_BYTES, state);
		return 0;
	case 'p':
		options->pause_us = parse_number(arg, 999999, state);
		return 0;
	case 't':
		options->timeout_s = parse_number(arg, 3600, state);
		return 0;
	case ARGP_KEY_ARG:
		if (options->url)
			argp_error(state, "%s: one address only", arg);
		options->url = arg;
		return 0;
	case ARGP_KEY_END:
		if (!options->url)
			argp_error(state, "no address: write siv://VM/SERVICE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "siv-mapped: %s: %s\n", what, siv_strerror(err));
	return EXIT_FAILURE;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* Until when to wait for the other side's next step. */
static int64_t deadline(const struct options *options)
{
	return options->timeout_s ? now_ns() + (int64_t)options->timeout_s * 1000000000ll : -1;
}

/* What stands @at bytes from the start: 8 bytes never repeat nearby, and are cheap to make. */
static uint64_t pattern(uint64_t at)
{
	return at * 0x9E3779B97F4A7C15ull;
}

static void fill(uint8_t *view, size_t len, uint64_t at)
{
	for (size_t i = 0; i < len; i++)
		view[i] = pattern(at + i) >> 32;
}

static int open_map(const struct options *options, struct siv_map **map)
{
	const int type = options->records ? SOCK_SEQPACKET : SOCK_STREAM;
	struct sockaddr_sivshmem addr;
	__u32 size = RING_BYTES;
	int err, fd, listener;

	if (options->listen) {
		listener = siv_listen(options->url, 1, type | SOCK_CLOEXEC);
		if (listener < 0)
			return listener;
		puts("listening");
		fflush(stdout);
		fd = siv_accept(listener, NULL, SOCK_CLOEXEC);
		close(listener);
		if (fd < 0)
			return fd;
	} else {
		/* siv_connect() by hand: the ring's size is chosen before connect() */
		err = siv_addr_parse(options->url, &addr);
		if (err)
			return err;
		fd = socket(addr.ssiv_family, type | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		if (setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &size, sizeof(size)) ||
		    connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
			err = -errno;
			close(fd);
			return err;
		}
	}
	err = siv_map(fd, options->indirect ? 0 : SIV_MAP_DIRECT_TX | SIV_MAP_DIRECT_RX, map);
	if (err)
		close(fd);
	return err;
}

static int send_all(const struct options *options, struct siv_tx *tx)
{
	const struct timespec pause = { .tv_nsec = options->pause_us * 1000 };
	uint64_t at = 0;
	void *view;
	int err;

	for (unsigned long i = 0; i < options->count; i++) {
		err = siv_reserve_wait(tx, options->size, deadline(options), &view);
		if (err)
			return err;
		fill(view, options->size, at);
		at += options->size;
		/* who pauses wakes the consumer each time */
		err = siv_commit(tx, options->size,
				 options->pause_us || !(i % FLUSH_EVERY) ? 0 : SIV_MORE);
		if (err)
			return err;
		if (options->pause_us)
			clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return 0;
}

/* The consumer's answer: how many bytes came. */
static int receive_answer(const struct options *options, struct siv_rx *rx, uint64_t *answer)
{
	const void *view;
	ssize_t n = siv_peek_wait(rx, sizeof(*answer), deadline(options), &view);

	if (n < 0)
		return n;
	if (n != sizeof(*answer))
		return -ECONNRESET; /* the end came first */
	memcpy(answer, view, sizeof(*answer));
	return siv_release(rx, n, 0);
}

static int produce(const struct options *options, struct siv_map *map)
{
	const uint64_t total = (uint64_t)options->count * options->size;
	int64_t start = now_ns();
	uint64_t answer = 0;
	double us;
	int err = send_all(options, &map->tx);

	if (!err)
		err = siv_finish(map);
	if (!err)
		err = receive_answer(options, &map->rx, &answer);
	if (err)
		return err;
	if (answer != total)
		return -EBADMSG;
	us = (now_ns() - start) / 1e3;
	printf("%lu messages of %lu bytes in %.0f us, %.1f MB/s\n", options->count, options->size,
	       us, total / us);
	return 0;
}

/* Until the producer's end. Returns 0 or -errno; -EBADMSG: something else came than was sent. */
static int receive_all(const struct options *options, struct siv_rx *rx, uint64_t *got)
{
	uint8_t copy[1 << 12], expected[1 << 12];
	const uint8_t *view;
	size_t len;
	ssize_t n;
	int err;

	while ((n = siv_peek_wait(rx, 1, deadline(options), (const void **)&view)) > 0) {
		for (size_t done = 0; done < (size_t)n; done += len) {
			len = (size_t)n - done < sizeof(copy) ? (size_t)n - done : sizeof(copy);
			memcpy(copy, view + done, len);
			fill(expected, len, *got + done);
			if (memcmp(copy, expected, len))
				return -EBADMSG;
		}
		/* the next wait that finds nothing wakes the producer, if it is one that sleeps */
		err = siv_release(rx, n, SIV_MORE);
		if (err)
			return err;
		*got += n;
	}
	return n;
}

static int consume(const struct options *options, struct siv_map *map)
{
	uint64_t got = 0;
	void *view;
	int err = receive_all(options, &map->rx, &got);

	if (!err)
		err = siv_reserve_wait(&map->tx, sizeof(got), deadline(options), &view);
	if (err)
		return err;
	memcpy(view, &got, sizeof(got));
	err = siv_commit(&map->tx, sizeof(got), 0);
	if (!err)
		printf("%llu bytes came as they were sent\n", (unsigned long long)got);
	return err;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options, .parser = parse_option, .args_doc = "siv://VM/SERVICE",
		.doc = "Move bytes through a mapped channel, without a copy between program and "
		       "memory: a consumer with --listen, else a producer.",
	};
	struct options options = { .count = 100000, .size = 64 };
	struct siv_map *map;
	int err;

	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &options);

	err = open_map(&options, &map);
	if (err)
		return fail(options.url, err);
	puts("mapped");
	fflush(stdout);
	err = options.listen ? consume(&options, map) : produce(&options, map);
	siv_unmap(map);
	return err ? fail(options.url, err) : EXIT_SUCCESS;
}
