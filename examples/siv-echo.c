// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-echo: a server that sends everything back, and a client that checks that it does.
 *
 * The server serves each connection in a thread of its own and says who it is from.
 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
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

enum { BACKLOG = 64, SIZE_MAX_BYTES = 1 << 26 };

struct options {
	const char *url;
	bool listen;
	unsigned long count; /* of messages */
	unsigned long size;  /* bytes of each */
};

static const struct argp_option argp_options[] = {
	{ "listen", 'l', NULL, 0, "be the server", 0 },
	{ "count", 'n', "N", 0, "client: send N messages, one after the other (1000)", 0 },
	{ "size", 's', "BYTES", 0, "client: of this size each (64)", 0 },
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
	case 'n':
		options->count = parse_number(arg, INT_MAX, state);
		return 0;
	case 's':
		options->size = parse_number(arg, SIZE_MAX_BYTES, state);
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
	fprintf(stderr, "siv-echo: %s: %s\n", what, siv_strerror(err));
	return EXIT_FAILURE;
}

/* Sends all of it, without the SIGPIPE that write() may raise. Returns 0 or -errno. */
static int send_all(int fd, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			buf += n;
			len -= n;
		}
	}
	return 0;
}

static int receive_all(int fd, uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, buf, len, 0);

		if (!n)
			return -ECONNRESET; /* closed before all had come back */
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			buf += n;
			len -= n;
		}
	}
	return 0;
}

static void *serve(void *arg)
{
	uint8_t buf[1 << 14];
	int err = 0, fd = (intptr_t)arg;
	ssize_t n;

	while (!err && (n = recv(fd, buf, sizeof(buf), 0)) != 0) {
		if (n > 0)
			err = send_all(fd, buf, n);
		else if (errno != EINTR)
			err = -errno;
	}
	if (err)
		fail("connection", err);
	close(fd);
	return NULL;
}

static int server(const struct options *options)
{
	int err, fd, listener;
	struct siv_peer peer;
	pthread_t thread;

	listener = siv_listen(options->url, BACKLOG, SOCK_CLOEXEC);
	if (listener < 0)
		return fail(options->url, listener);
	for (;;) {
		fd = siv_accept(listener, &peer, SOCK_CLOEXEC);
		if (fd == -EINTR || fd == -ECONNABORTED)
			continue;
		if (fd < 0)
			break;
		printf("connection from %s\n", peer.spiffe_id);
		fflush(stdout);
		err = pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		if (err) {
			fail("thread", err);
			close(fd);
			continue;
		}
		pthread_detach(thread);
	}
	close(listener);
	return fail(options->url, fd);
}

static double elapsed_us(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1e6 + (now.tv_nsec - start->tv_nsec) / 1e3;
}

/*
 * One message there and back. It is sent in pieces that are read back before the next, so that a
 * message larger than the channel does not leave both sides waiting for the other to read.
 */
static int round_trip(int fd, const uint8_t *message, uint8_t *answer, size_t len)
{
	const size_t piece_max = 1 << 11; /* less than the smallest channel holds */

	for (size_t at = 0; at < len; at += piece_max) {
		size_t piece = len - at < piece_max ? len - at : piece_max;
		int err = send_all(fd, message + at, piece);

		if (!err)
			err = receive_all(fd, answer + at, piece);
		if (err)
			return err;
	}
	return memcmp(message, answer, len) ? -EBADMSG : 0;
}

static int client(const struct options *options)
{
	uint8_t *message = malloc(options->size), *answer = malloc(options->size);
	struct timespec start;
	int err = -ENOMEM, fd;

	if (!message || !answer)
		goto free_buffers;
	clock_gettime(CLOCK_MONOTONIC, &start);
	fd = siv_connect(options->url, SOCK_CLOEXEC);
	if (fd < 0) {
		err = fd;
		goto free_buffers;
	}
	printf("connected in %.0f us\n", elapsed_us(&start));

	clock_gettime(CLOCK_MONOTONIC, &start);
	err = 0;
	for (unsigned long i = 0; !err && i < options->count; i++) {
		for (size_t j = 0; j < options->size; j++)
			message[j] = i * 131 + j * 7;
		err = round_trip(fd, message, answer, options->size);
	}
	if (!err)
		printf("%lu messages of %lu bytes came back, %.1f us each\n", options->count,
		       options->size, elapsed_us(&start) / options->count);
	close(fd);
free_buffers:
	free(message);
	free(answer);
	return err ? fail(options->url, err) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options, .parser = parse_option, .args_doc = "siv://VM/SERVICE",
		.doc = "Echo over sivshmem: a server with --listen, else a client that checks what "
		       "comes back.",
	};
	struct options options = { .count = 1000, .size = 64 };

	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &options);
	return options.listen ? server(&options) : client(&options);
}
