// SPDX-License-Identifier: BSD-2-Clause
/* Answers what measure.c asks: one thread for each listener, one for each connection. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "serve.h"
#include "socket.h"

static int acknowledge(struct stream *stream, uint64_t total)
{
	return stream->ops->send(stream, &total, sizeof(total));
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
	return err;
}

static int sink(struct stream *stream, const struct stream_request *req, void *buf)
{
	uint64_t total = req->size * req->count, done = 0;

	while (done < total) {
		uint64_t left = total - done;
		size_t max = left < STREAM_MESSAGE_MAX ? left : STREAM_MESSAGE_MAX;
		ssize_t n = stream->ops->recv(stream, buf, 1, max);

		if (n <= 0)
			return n ? n : -ECONNRESET;
		done += n;
	}
	return acknowledge(stream, total);
}

/* Returns 1 at the end of the stream. */
static int serve_request(struct stream *stream, void *buf)
{
	struct stream_request req;
	ssize_t n = stream->ops->recv(stream, &req, sizeof(req), sizeof(req));

	if (n <= 0)
		return n ? n : 1;
	if (req.op == STREAM_END)
		return acknowledge(stream, 0) ?: 1;
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
	void *buf = malloc(STREAM_MESSAGE_MAX);
	int err = buf ? 0 : -ENOMEM;

	while (!err)
		err = serve_request(stream, buf);
	free(buf);
	stream->ops->close(stream);
	return err < 0 ? err : 0;
}

static void *connection_thread(void *arg)
{
	int err = serve_stream(arg);

	if (err)
		fprintf(stderr, "siv-bench: connection: %s\n", siv_strerror(err));
	return NULL;
}

static int serve_connection(int fd)
{
	struct stream *stream = socket_stream(fd);
	pthread_t thread;
	int err;

	if (!stream) {
		close(fd);
		return -ENOMEM;
	}
	err = pthread_create(&thread, NULL, connection_thread, stream);
	if (err) {
		stream->ops->close(stream);
		return -err;
	}
	pthread_detach(thread);
	return 0;
}

/* Ends the program when the listener does: a bench without one of its paths is no bench. */
static void *listener_thread(void *arg)
{
	int listener = (intptr_t)arg, fd, err = 0;

	while (!err) {
		fd = endpoint_accept(listener);
		/* a client that went away before it was accepted is its own trouble */
		if (fd == -ECONNABORTED)
			continue;
		err = fd < 0 ? fd : serve_connection(fd);
	}
	fprintf(stderr, "siv-bench: accept: %s\n", siv_strerror(err));
	exit(EXIT_FAILURE);
}

int serve_endpoints(char **endpoints, unsigned int n)
{
	struct endpoint endpoint;
	pthread_t thread = 0;
	intptr_t fd;
	int err;

	for (unsigned int i = 0; i < n; i++) {
		err = endpoint_parse(endpoints[i], &endpoint);
		fd = err ?: endpoint_listen(&endpoint);
		err = fd;
		if (fd >= 0)
			err = -pthread_create(&thread, NULL, listener_thread, (void *)fd);
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
