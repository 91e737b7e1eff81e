// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-cat: standard input to a service, and what the service sends to standard output.
 *
 * Connects, or with --listen takes one connection. A socket of this family is an ordinary
 * descriptor: all that is special is in siv_connect(), siv_listen() and siv_accept().
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <sivshmem.h>

struct options {
	const char *url;
	const char *as;
	bool listen;
	bool verbose;
};

/* One direction: what was read from one descriptor and not yet written to the other. */
struct pump {
	int from, to;
	size_t start, end; /* of what buf holds */
	bool eof;          /* nothing more comes */
	char buf[1 << 16];
};

static const struct argp_option argp_options[] = {
	{ "listen", 'l', NULL, 0, "listen as the service, and take one connection", 0 },
	{ "as", 'a', "SERVICE", 0, "connect as this service", 0 },
	{ "verbose", 'v', NULL, 0, "say who the peer is", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'l':
		options->listen = true;
		return 0;
	case 'a':
		options->as = arg;
		return 0;
	case 'v':
		options->verbose = true;
		return 0;
	case ARGP_KEY_ARG:
		if (options->url)
			argp_error(state, "%s: one address only", arg);
		options->url = arg;
		return 0;
	case ARGP_KEY_END:
		if (!options->url)
			argp_error(state, "no address: write siv://VM/SERVICE");
		if (options->listen && options->as)
			argp_error(state, "--as: a listener is the service that it listens as");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "siv-cat: %s: %s\n", what, siv_strerror(err));
	return EXIT_FAILURE;
}

static int open_connection(const struct options *options)
{
	int fd, listener;

	if (!options->listen)
		return siv_connect_as(options->url, options->as, SOCK_CLOEXEC);
	listener = siv_listen(options->url, 1, SOCK_CLOEXEC);
	if (listener < 0)
		return listener;
	fd = siv_accept(listener, NULL, SOCK_CLOEXEC);
	close(listener);
	return fd;
}

static int print_peer(int fd)
{
	char url[SIV_URL_LEN], date[32];
	struct siv_peer peer;
	struct tm tm;
	time_t expiry;
	int err;

	err = siv_peer(fd, &peer);
	if (err)
		return err;
	err = siv_addr_format(&peer.addr, url, sizeof(url));
	if (err < 0)
		return err;
	expiry = peer.not_after;
	if (!gmtime_r(&expiry, &tm))
		return -EOVERFLOW;
	strftime(date, sizeof(date), "%FT%TZ", &tm);
	fprintf(stderr, "peer %s\nspiffe-id %s\nexpires %s\ncertificate ", url, peer.spiffe_id,
		date);
	for (size_t i = 0; i < sizeof(peer.cert_digest); i++)
		fprintf(stderr, "%02x", peer.cert_digest[i]);
	fputc('\n', stderr);
	return 0;
}

/* Which events this direction waits for at each end. Full: only writing; empty: only reading. */
static short wants_read(const struct pump *p)
{
	return !p->eof && p->start == p->end ? POLLIN : 0;
}

static short wants_write(const struct pump *p)
{
	return p->start < p->end ? POLLOUT : 0;
}

/* Reads or writes once. Returns 0 or -errno; -EAGAIN is not an error. */
static int pump_once(struct pump *p, short from_events, short to_events)
{
	ssize_t n = 0;

	if (wants_read(p) && (from_events & (POLLIN | POLLHUP | POLLERR))) {
		n = read(p->from, p->buf, sizeof(p->buf));
		if (n >= 0) {
			p->start = 0;
			p->end = n;
			p->eof = n == 0;
		}
	} else if (wants_write(p) && (to_events & (POLLOUT | POLLHUP | POLLERR))) {
		n = write(p->to, p->buf + p->start, p->end - p->start);
		if (n >= 0)
			p->start += n;
	}
	return n < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
}

/*
 * Until the service sends no more. The end of standard input is passed on as a half-close. The
 * socket does not block, or each side could wait for the other to read.
 */
static int pump_both(int fd)
{
	static struct pump out, in;
	bool shut = false;
	int err = 0;

	out.from = STDIN_FILENO;
	out.to = in.from = fd;
	in.to = STDOUT_FILENO;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
		return -errno;
	while (!err && (!in.eof || wants_write(&in))) {
		struct pollfd p[] = {
			{ .fd = wants_read(&out) ? STDIN_FILENO : -1, .events = POLLIN },
			{ .fd = fd, .events = wants_read(&in) | wants_write(&out) },
			{ .fd = wants_write(&in) ? STDOUT_FILENO : -1, .events = POLLOUT },
		};

		if (!p[1].events)
			p[1].fd = -1;
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return -errno;
		err = pump_once(&out, p[0].revents, p[1].revents);
		if (!err)
			err = pump_once(&in, p[1].revents, p[2].revents);
		if (!err && out.eof && !shut) {
			shut = true;
			if (shutdown(fd, SHUT_WR))
				err = -errno;
		}
	}
	return err;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options, .parser = parse_option, .args_doc = "siv://VM/SERVICE",
		.doc = "Copy standard input to a sivshmem service, and what it sends to standard "
		       "output. siv:///SERVICE is the service in whichever VM runs it.",
	};
	struct options options = { 0 };
	int err, fd;

	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &options);

	signal(SIGPIPE, SIG_IGN); /* EPIPE has a text */
	fd = open_connection(&options);
	if (fd < 0)
		return fail(options.url, fd);
	err = options.verbose ? print_peer(fd) : 0;
	if (!err)
		err = pump_both(fd);
	if (err)
		fail(options.url, err);
	close(fd);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
