// SPDX-License-Identifier: BSD-2-Clause
/* Answers what measure.c asks: one thread for each listener, one for each connection. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hold.h"
#include "serve.h"
#include "socket.h"
#include "tls.h"
#include "via.h"

enum {
	SINK_BYTES = 1 << 16,    /* that one receive of SINK takes, at most */
	STACK_BYTES = 128 << 10, /* of a connection's thread: there may be a thousand */
};

static int acknowledge(struct stream *stream, uint64_t total)
{
	return stream->ops->send(stream, &total, sizeof(total)) ?: stream_flush(stream);
}

static int echo(struct stream *stream, const struct stream_request *req, void *buf)
{
	int err = acknowledge(stream, req->size * req->count);

	for (uint64_t i = 0; !err && i < req->count; i++) {
		ssize_t n = stream->ops->recv(stream, buf, req->size, req->size);

		if (n <= 0)
			return n ? n : -ECONNRESET;
		err = stream->ops->send(stream, buf, n);
	}
	return err ?: stream_flush(stream);
}

static int sink(struct stream *stream, const struct stream_request *req, void *buf)
{
	uint64_t total = req->size * req->count, done = 0;

	if (stream->ops->drop)
		return stream->ops->drop(stream, total) ?: acknowledge(stream, total);
	while (done < total) {
		uint64_t left = total - done;
		size_t max = left < SINK_BYTES ? left : SINK_BYTES;
		ssize_t n = stream->ops->recv(stream, buf, 1, max);

		if (n <= 0)
			return n ? n : -ECONNRESET;
		done += n;
	}
	return acknowledge(stream, total);
}

/* Acknowledged by the old means, since the client changes when it has the answer. */
static int change(struct stream **stream, uint32_t via)
{
	int err = acknowledge(*stream, 0);

	if (err)
		return err;
	*stream = via_take(*stream, via, &err);
	return err;
}

/* Returns 1 at the end of the stream. It may change, and is NULL when that did not work. */
static int serve_request(struct stream **any, void *buf)
{
	struct stream *stream = *any;
	struct stream_request req;
	ssize_t n = stream->ops->recv(stream, &req, sizeof(req), sizeof(req));

	if (n <= 0)
		return n ? n : 1;
	if (req.op == STREAM_END)
		return acknowledge(stream, 0) ?: 1;
	if (req.op == STREAM_VIA)
		return change(any, req.size);
	if (!req.size || req.size > STREAM_MESSAGE_MAX || req.count > STREAM_COUNT_MAX)
		return -EPROTO;
	switch (req.op) {
	case STREAM_ECHO:
		return echo(stream, &req, buf);
	case STREAM_SINK:
		return sink(stream, &req, buf);
	default:
		return -EPROTO;
	}
}

int serve_stream(struct stream *stream)
{
	/* never touched beyond the largest message that comes */
	void *buf = malloc(STREAM_MESSAGE_MAX);
	int err = buf ? 0 : -ENOMEM;

	while (!err)
		err = serve_request(&stream, buf);
	free(buf);
	if (stream)
		stream->ops->close(stream);
	return err < 0 ? err : 0;
}

struct listener {
	struct endpoint endpoint;
	int fd;
};

struct connection {
	int fd;
	bool tls;
};

/* The handshake is the thread's too: a slow client delays no other. */
static void *connection_thread(void *arg)
{
	struct connection connection = *(struct connection *)arg;
	struct stream *stream;
	int err;

	free(arg);
	stream = connection.tls ? tls_stream(connection.fd, true, &err) :
				  socket_stream(connection.fd, &err);
	if (stream)
		err = serve_stream(stream);
	else
		close(connection.fd);
	if (err)
		fprintf(stderr, "siv-bench: connection: %s\n", siv_strerror(err));
	return NULL;
}

static int serve_connection(const struct listener *listener, int fd)
{
	struct connection *connection = malloc(sizeof(*connection));
	pthread_attr_t attr;
	pthread_t thread;
	int err = ENOMEM;

	if (connection) {
		*connection = (struct connection){ .fd = fd, .tls = listener->endpoint.tls };
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, STACK_BYTES);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		err = pthread_create(&thread, &attr, connection_thread, connection);
		pthread_attr_destroy(&attr);
	}
	if (err) {
		free(connection);
		close(fd);
	}
	return -err;
}

/* Ends the program when the listener does: a bench without one of its paths is no bench. */
static void *listener_thread(void *arg)
{
	const struct listener *listener = arg;
	int fd, err = 0;

	while (!err) {
		fd = endpoint_accept(listener->fd);
		/* a client that went away before it was accepted is its own trouble */
		if (fd == -ECONNABORTED)
			continue;
		err = fd < 0 ? fd : serve_connection(listener, fd);
	}
	fprintf(stderr, "siv-bench: accept: %s\n", siv_strerror(err));
	exit(EXIT_FAILURE);
}

int serve_endpoints(char **endpoints, unsigned int n)
{
	struct listener *listeners = calloc(n, sizeof(*listeners));
	pthread_t thread = 0;
	int err;

	if (!listeners || hold_raise_limit())
		return EXIT_FAILURE;
	for (unsigned int i = 0; i < n; i++) {
		struct listener *listener = &listeners[i];

		err = endpoint_parse(endpoints[i], &listener->endpoint);
		listener->fd = err ?: endpoint_listen(&listener->endpoint);
		err = listener->fd;
		if (err >= 0)
			err = -pthread_create(&thread, NULL, listener_thread, listener);
		if (err) {
			fprintf(stderr, "siv-bench: %s: %s\n", endpoints[i], siv_strerror(err));
			return EXIT_FAILURE;
		}
	}
	puts("ready");
	fflush(stdout);
	pthread_join(thread, NULL);
	return EXIT_FAILURE; /* listeners end by exit() only */
}
