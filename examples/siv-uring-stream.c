// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-uring-stream: a file to a service, without a copy of it in this process.
 *
 * Reads of the file land in the transmit ring that the peer maps, each linked to the send that
 * commits it in place; a batch of such pairs is one chain and one system call. The reads are
 * buffered: O_DIRECT cannot be, for the ring's memory has no pages that could be pinned.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <liburing.h>
#include <sivshmem.h>
#include <sivshmem/map.h>
#include <sivshmem/uring.h>

enum { BATCH = 8, PIECE_MAX = 1 << 17 };

/* Which half of a pair, in the low bit of the user data; the rest is its length. */
enum what { READ, SEND };

struct options {
	const char *url, *file;
};

struct stream {
	struct io_uring ring;
	struct siv_map *map;
	int file;
	uint64_t at, size; /* of the file: queued, and all */
	unsigned int pending; /* first completions */
	unsigned int unread; /* second ones: pieces that the peer has not read yet */
	int err;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "siv-uring-stream: %s: %s\n", what, siv_strerror(err));
	return EXIT_FAILURE;
}

/* The longest piece: of a small ring a quarter, so that the peer reads one while we fill the next. */
static size_t piece_len(const struct stream *s)
{
	const size_t quarter = (s->map->tx.mask + 1) / 4;
	const uint64_t left = s->size - s->at;
	size_t len = quarter < PIECE_MAX ? quarter : PIECE_MAX;

	return left < len ? left : len;
}

/* A read and the send of it. Where the read fails or falls short, the chain ends: nothing is sent. */
static int queue_pair(struct stream *s, void *view, size_t len)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
	int err;

	io_uring_prep_read(sqe, s->file, view, len, s->at);
	sqe->flags |= IOSQE_IO_LINK;
	io_uring_sqe_set_data64(sqe, (uint64_t)len << 1 | READ);
	sqe = io_uring_get_sqe(&s->ring);
	err = siv_uring_send(&s->map->tx, sqe, len, 0);
	if (err)
		return err;
	sqe->flags |= IOSQE_IO_LINK; /* to the next pair, if there is one in this submission */
	io_uring_sqe_set_data64(sqe, (uint64_t)len << 1 | SEND);
	s->at += len;
	s->pending += 2;
	return 0;
}

/* Queues what there is room for, and waits for room for the first. */
static int queue_batch(struct stream *s)
{
	void *view;
	int err, i;

	for (i = 0; i < BATCH && s->at < s->size; i++) {
		const size_t len = piece_len(s);

		err = i ? siv_reserve(&s->map->tx, len, &view) :
			  siv_reserve_wait(&s->map->tx, len, -1, &view);
		if (err == -EAGAIN)
			break;
		if (!err)
			err = queue_pair(s, view, len);
		if (err)
			return err;
	}
	err = io_uring_submit(&s->ring);
	return err < 0 ? err : 0;
}

static void completed(struct stream *s, const struct io_uring_cqe *cqe)
{
	const uint64_t data = io_uring_cqe_get_data64(cqe);

	if (cqe->flags & IORING_CQE_F_NOTIF) {
		s->unread--;
		return;
	}
	s->pending--;
	if (cqe->flags & IORING_CQE_F_MORE)
		s->unread++;
	if (s->err || cqe->res == (int)(data >> 1))
		return;
	if (cqe->res < 0)
		s->err = cqe->res;
	else
		s->err = (data & 1) == READ ? -ESTALE : -EPIPE; /* the file became shorter */
}

/* Until so few completions are to come. */
static int wait_for(struct stream *s, const unsigned int *count)
{
	struct io_uring_cqe *cqe;
	int err;

	while (*count) {
		err = io_uring_wait_cqe(&s->ring, &cqe);
		if (err == -EINTR)
			continue;
		if (err)
			return err;
		completed(s, cqe);
		io_uring_cqe_seen(&s->ring, cqe);
	}
	return s->err;
}

static int stream_file(struct stream *s)
{
	int err = 0;

	while (!err && s->at < s->size) {
		err = queue_batch(s);
		if (!err)
			err = wait_for(s, &s->pending);
	}
	/* the peer has read all of it, or does not hurry and gets it all the same */
	if (!err)
		err = wait_for(s, &s->unread);
	return err ?: siv_finish(s->map);
}

static int open_file(struct stream *s, const char *path)
{
	struct stat st;

	s->file = open(path, O_RDONLY | O_CLOEXEC);
	if (s->file < 0 || fstat(s->file, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL; /* its length must be known: a read that falls short ends a chain */
	s->size = st.st_size;
	return 0;
}

static int connect_and_stream(struct stream *s, const char *url)
{
	int err, fd = siv_connect(url, SOCK_CLOEXEC);

	if (fd < 0)
		return fd;
	err = siv_map(fd, 0, &s->map);
	if (err) {
		close(fd);
		return err;
	}
	err = io_uring_queue_init(2 * BATCH, &s->ring, 0);
	if (!err) {
		err = stream_file(s);
		io_uring_queue_exit(&s->ring);
	}
	siv_unmap(s->map);
	return err;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (options->file)
			argp_error(state, "%s: one address and one file only", arg);
		*(options->url ? &options->file : &options->url) = arg;
		return 0;
	case ARGP_KEY_END:
		if (!options->file)
			argp_error(state, "write siv://VM/SERVICE FILE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_option,
		.args_doc = "siv://VM/SERVICE FILE",
		.doc = "Send a file to a sivshmem service: read straight into the channel by "
		       "io_uring, "
		       "and sent in place. siv-cat --listen is a receiver.",
	};
	static struct stream s;
	struct options options = { 0 };
	int err;

	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &options);

	signal(SIGPIPE, SIG_IGN); /* EPIPE has a text */
	err = open_file(&s, options.file);
	if (err)
		return fail(options.file, err);
	err = connect_and_stream(&s, options.url);
	close(s.file);
	if (err)
		return fail(options.url, err);
	printf("%llu bytes\n", (unsigned long long)s.size);
	return EXIT_SUCCESS;
}
