// SPDX-License-Identifier: BSD-2-Clause
/* Round trips, throughput, and the time that connect() takes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"
#include "tls.h"

enum {
	ECHO_BATCH = 256,   /* round trips for each request, at most */
	BATCH_NS = 4000000, /* how long a request's should last */
	TRANSFER_FIRST = 1 << 18, /* bytes of the first */
	TRANSFER_NS = 40000000, /* a transfer that lasts so long is long enough */
	WARM_UP_SHARE = 8,  /* of the time, one part goes before the samples */
	CLOCK_BATCH = 1000, /* readings of the clock for a sample */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

void measure_clock(const struct measure_limits *limits, struct samples *samples)
{
	uint64_t start = now_ns(), until = start + limits->nanoseconds, end = start;

	while (samples->n < samples->max && end < until) {
		for (unsigned int i = 0; i < CLOCK_BATCH; i++)
			end = now_ns();
		samples_add(samples, (double)(end - start) / CLOCK_BATCH);
		start = end;
	}
}

static int recv_all(struct stream *stream, void *buf, size_t len)
{
	ssize_t n = stream->ops->recv(stream, buf, len, len);

	return n < 0 ? n : n ? 0 : -ECONNRESET;
}

static int request(struct stream *stream, enum stream_op op, uint32_t size, uint64_t count)
{
	struct stream_request req = { .op = op, .size = size, .count = count };

	return stream->ops->send(stream, &req, sizeof(req)) ?: stream_flush(stream);
}

static int acknowledged(struct stream *stream, uint64_t total)
{
	uint64_t answer;
	int err = recv_all(stream, &answer, sizeof(answer));

	return err ?: answer == total ? 0 : -EBADMSG;
}

int measure_end(struct stream *stream)
{
	return request(stream, STREAM_END, 0, 0) ?: acknowledged(stream, 0);
}

/* One message there and back; a message that comes back changed is an error, not a sample. */
static int round_trip(struct stream *stream, uint8_t *message, uint8_t *answer, uint32_t size,
		      uint64_t *ns)
{
	uint64_t start = now_ns();
	int err = stream->ops->send(stream, message, size) ?: recv_all(stream, answer, size);

	*ns = now_ns() - start;
	if (!err && memcmp(message, answer, size))
		return -EBADMSG;
	message[0]++; /* the next is another one */
	return err;
}

static int echo_batch(struct stream *stream, const struct measure_limits *limits, uint8_t *message,
		      unsigned int count, struct samples *samples)
{
	int err = request(stream, STREAM_ECHO, limits->size, count);
	uint64_t ns;

	if (!err)
		err = acknowledged(stream, (uint64_t)limits->size * count);
	for (unsigned int i = 0; !err && i < count; i++) {
		err = round_trip(stream, message, message + limits->size, limits->size, &ns);
		if (!err && samples)
			samples_add(samples, ns / 1e3);
	}
	return err;
}

/* Batches grow until one lasts long enough: a large message over a slow path is a batch by itself. */
static int echo_batches(struct stream *stream, const struct measure_limits *limits,
			uint8_t *message, unsigned int *count, uint64_t until,
			struct samples *samples)
{
	uint64_t start, now = now_ns();
	int err;

	do {
		start = now;
		err = echo_batch(stream, limits, message, *count, samples);
		now = now_ns();
		if (now - start < BATCH_NS && *count < ECHO_BATCH)
			*count *= 2;
	} while (!err && now < until && (!samples || samples->n < samples->max));
	return err;
}

int measure_rtt(struct stream *stream, const struct measure_limits *limits,
		struct samples *samples)
{
	uint8_t *message = calloc(2, limits->size);
	unsigned int count = 1;
	int err;

	if (!message)
		return -ENOMEM;
	for (uint32_t i = 0; i < limits->size; i++)
		message[i] = i * 7;
	if (limits->exactly)
		err = echo_batch(stream, limits, message, samples->max, samples);
	else
		err = echo_batches(stream, limits, message, &count,
				   now_ns() + limits->nanoseconds / WARM_UP_SHARE, NULL);
	if (!err && !limits->exactly)
		err = echo_batches(stream, limits, message, &count,
				   now_ns() + limits->nanoseconds, samples);
	free(message);
	return err;
}

static int transfer(struct stream *stream, uint32_t size, uint64_t count, const void *message,
		    uint64_t *ns)
{
	uint64_t start = now_ns();
	int err = request(stream, STREAM_SINK, size, count);

	for (uint64_t i = 0; !err && i < count; i++)
		err = stream->ops->send(stream, message, size);
	if (!err)
		err = acknowledged(stream, count * size);
	*ns = now_ns() - start;
	return err;
}

/*
 * Transfers double until one takes so long that its start and its end do not matter, or is as large
 * as it may be; that warms up TCP's window and everybody's pages too.
 */
static int warm_up_transfers(struct stream *stream, const struct measure_limits *limits,
			     const void *message, uint64_t *count)
{
	uint64_t max = limits->transfer / limits->size, ns = 0;
	int err = 0;

	if (limits->exactly) {
		*count = max;
		return 0;
	}
	for (*count = TRANSFER_FIRST / limits->size ?: 1; !err; *count *= 2) {
		if (*count > max)
			*count = max;
		err = transfer(stream, limits->size, *count, message, &ns);
		if (ns >= TRANSFER_NS || *count == max)
			break;
	}
	return err;
}

int measure_throughput(struct stream *stream, const struct measure_limits *limits,
		       struct samples *samples)
{
	void *message = calloc(1, limits->size);
	uint64_t count, ns, until;
	int err;

	if (!message)
		return -ENOMEM;
	err = warm_up_transfers(stream, limits, message, &count);
	until = now_ns() + limits->nanoseconds;
	do {
		if (!err)
			err = transfer(stream, limits->size, count, message, &ns);
		if (!err)
			samples_add(samples, count * limits->size * 1e3 / ns);
	} while (!err && !limits->exactly && samples->n < samples->max && now_ns() < until);
	free(message);
	return err;
}

/* In the child: connects once and writes how long it took, or -errno. */
static void connect_once(const struct endpoint *endpoint, int out)
{
	uint64_t start = now_ns();
	int err, fd = endpoint_connect(endpoint);
	struct stream *stream;
	int64_t result;

	err = fd < 0 ? fd : 0;
	if (!err && endpoint->tls) {
		/* only the server's answer says that it took the client's certificate */
		stream = tls_stream(fd, false, &err);
		if (stream)
			err = measure_end(stream);
	}
	result = err ?: (int64_t)(now_ns() - start);

	_exit(write(out, &result, sizeof(result)) == sizeof(result) ? EXIT_SUCCESS : EXIT_FAILURE);
}

static int connect_in_child(const struct endpoint *endpoint, int64_t *ns)
{
	int err = 0, pipe_fds[2], status;
	pid_t pid;

	if (pipe(pipe_fds))
		return -errno;
	pid = fork();
	if (pid < 0)
		err = -errno;
	if (!pid)
		connect_once(endpoint, pipe_fds[1]);
	close(pipe_fds[1]);
	if (!err && read(pipe_fds[0], ns, sizeof(*ns)) != sizeof(*ns))
		err = -ECHILD;
	close(pipe_fds[0]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	return err ?: *ns < 0 ? (int)*ns : 0;
}

int measure_connect(const struct endpoint *endpoint, const struct measure_limits *limits,
		    struct samples *samples)
{
	uint64_t until = now_ns() + limits->nanoseconds;
	int64_t ns;
	int err = 0;

	while (!err && samples->n < samples->max && (!samples->n || now_ns() < until)) {
		err = connect_in_child(endpoint, &ns);
		if (!err)
			samples_add(samples, ns / 1e6);
	}
	return err;
}
