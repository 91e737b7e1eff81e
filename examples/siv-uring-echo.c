// SPDX-License-Identifier: BSD-2-Clause
/*
 * siv-uring-echo: a server that sends everything back, all of it on one io_uring.
 *
 * One multishot accept brings the connections, one multishot receive for each what they send. Each
 * connection has a few buffers of its own, which the kernel fills and which go back when they have
 * been sent: so a client that does not read stops its own receive (ENOBUFS), and nobody else's.
 */
#include <argp.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <liburing.h>
#include <sivshmem.h>

enum {
	BACKLOG = 128,
	QUEUE_ENTRIES = 256,
	CONNECTIONS = 1024,
	BUFFERS = 8, /* of each connection; a power of two */
	BUFFER_BYTES = 8192,
};

/* What a completion is of: in the low bits of its user data, beside the connection. */
enum what { RECEIVE, SEND, ACCEPT };

struct piece {
	unsigned short buffer;
	unsigned int start, end; /* what of it is still to be sent */
};

struct connection {
	bool used;
	int fd;
	bool receiving, sending, ended;
	struct piece queue[BUFFERS]; /* received, in order */
	unsigned int head, n;
	struct io_uring_buf_ring *ring;
	uint8_t (*buffers)[BUFFER_BYTES];
};

static struct connection connections[CONNECTIONS];
static struct io_uring ring;

static int fail(const char *what, int err)
{
	fprintf(stderr, "siv-uring-echo: %s: %s\n", what, siv_strerror(err));
	return EXIT_FAILURE;
}

/* Room is made by submitting; the queue is longer than what one completion leads to. */
static struct io_uring_sqe *get_entry(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	return sqe;
}

static void set_user_data(struct io_uring_sqe *sqe, struct connection *c, enum what what)
{
	io_uring_sqe_set_data64(sqe, (uintptr_t)c | what);
}

static void queue_accept(int listener)
{
	struct io_uring_sqe *sqe = get_entry();

	io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
	set_user_data(sqe, NULL, ACCEPT);
}

static void queue_receive(struct connection *c)
{
	struct io_uring_sqe *sqe = get_entry();

	io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = c - connections;
	set_user_data(sqe, c, RECEIVE);
	c->receiving = true;
}

/* One send at a time, so that pieces stay in order. */
static void queue_send(struct connection *c)
{
	struct piece *piece = &c->queue[c->head];
	struct io_uring_sqe *sqe = get_entry();

	io_uring_prep_send(sqe, c->fd, c->buffers[piece->buffer] + piece->start,
			   piece->end - piece->start, MSG_WAITALL | MSG_NOSIGNAL);
	set_user_data(sqe, c, SEND);
	c->sending = true;
}

static void give_buffer(struct connection *c, unsigned short buffer)
{
	io_uring_buf_ring_add(c->ring, c->buffers[buffer], BUFFER_BYTES, buffer,
			      io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(c->ring, 1);
}

static void free_connection(struct connection *c)
{
	io_uring_unregister_buf_ring(&ring, c - connections);
	close(c->fd);
	free(c->ring);
	free(c->buffers);
	memset(c, 0, sizeof(*c));
}

/* Takes @fd, or returns -errno. */
static int new_connection(int fd)
{
	struct io_uring_buf_reg reg = { .ring_entries = BUFFERS };
	struct connection *c = connections;
	unsigned short i;
	int err;

	while (c->used)
		if (++c == connections + CONNECTIONS)
			return -EMFILE;
	c->ring = aligned_alloc(4096, 4096);
	c->buffers = malloc(BUFFERS * sizeof(*c->buffers));
	err = -ENOMEM;
	if (c->ring && c->buffers) {
		reg.ring_addr = (uintptr_t)c->ring;
		reg.bgid = c - connections;
		err = io_uring_register_buf_ring(&ring, &reg, 0);
	}
	if (err) {
		free(c->ring);
		free(c->buffers);
		return err;
	}
	c->used = true;
	c->fd = fd;
	io_uring_buf_ring_init(c->ring);
	for (i = 0; i < BUFFERS; i++)
		give_buffer(c, i);
	queue_receive(c);
	return 0;
}

static int accepted(int listener, const struct io_uring_cqe *cqe)
{
	struct siv_peer peer;
	int err;

	if (cqe->res >= 0) {
		if (!siv_peer(cqe->res, &peer))
			printf("connection from %s\n", peer.spiffe_id);
		fflush(stdout);
		err = new_connection(cqe->res);
		if (err) {
			fail("connection", err);
			close(cqe->res);
		}
	} else if (cqe->res != -ECONNABORTED && cqe->res != -EINTR) {
		return cqe->res;
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		queue_accept(listener);
	return 0;
}

static void received(struct connection *c, const struct io_uring_cqe *cqe)
{
	c->receiving = cqe->flags & IORING_CQE_F_MORE;
	if (cqe->res > 0) {
		c->queue[(c->head + c->n++) % BUFFERS] = (struct piece){
			.buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT,
			.end = cqe->res,
		};
	} else if (cqe->res != -ENOBUFS) {
		if (cqe->res)
			fail("connection", cqe->res);
		c->ended = true;
	}
}

static void sent(struct connection *c, const struct io_uring_cqe *cqe)
{
	struct piece *piece = &c->queue[c->head];

	c->sending = false;
	if (cqe->res <= 0) {
		fail("connection", cqe->res);
		c->ended = true;
		c->n = 0;
		shutdown(c->fd, SHUT_RDWR); /* ends the receive */
		return;
	}
	piece->start += cqe->res;
	if (piece->start < piece->end)
		return;
	give_buffer(c, piece->buffer);
	c->head = (c->head + 1) % BUFFERS;
	c->n--;
}

/* What a connection does next. */
static void go_on(struct connection *c)
{
	if (c->n && !c->sending)
		queue_send(c);
	if (!c->ended && !c->receiving && c->n < BUFFERS)
		queue_receive(c);
	if (c->ended && !c->receiving && !c->sending)
		free_connection(c);
}

static int serve(int listener)
{
	struct io_uring_cqe *cqe;
	struct connection *c;
	enum what what;
	int err;

	queue_accept(listener);
	for (;;) {
		err = io_uring_submit_and_wait(&ring, 1);
		if (err < 0 && err != -EINTR)
			return err;
		while (!io_uring_peek_cqe(&ring, &cqe)) {
			c = (void *)(uintptr_t)(io_uring_cqe_get_data64(cqe) & ~3ull);
			what = io_uring_cqe_get_data64(cqe) & 3;
			err = 0;
			if (what == ACCEPT)
				err = accepted(listener, cqe);
			else if (what == RECEIVE)
				received(c, cqe);
			else
				sent(c, cqe);
			if (c)
				go_on(c);
			io_uring_cqe_seen(&ring, cqe);
			if (err)
				return err;
		}
	}
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	const char **url = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (*url)
			argp_error(state, "%s: one address only", arg);
		*url = arg;
		return 0;
	case ARGP_KEY_END:
		if (!*url)
			argp_error(state, "no address: write siv://VM/SERVICE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_option,
		.args_doc = "siv://VM/SERVICE",
		.doc = "Echo server over sivshmem, on io_uring: multishot accept and receive with "
		       "provided buffers. siv-echo is a client.",
	};
	const char *url = NULL;
	int err, listener;

	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &url);

	err = io_uring_queue_init(QUEUE_ENTRIES, &ring,
				  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	if (err)
		return fail("io_uring", err);
	listener = siv_listen(url, BACKLOG, SOCK_CLOEXEC);
	if (listener < 0)
		return fail(url, listener);
	puts("listening");
	fflush(stdout);
	return fail(url, serve(listener));
}
