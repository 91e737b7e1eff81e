// SPDX-License-Identifier: BSD-2-Clause
/*
 * The bench against itself: client and server over the rings in a file and over a socket
 * pair, by plain calls, by io_uring and with TLS, and the names of endpoints.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mapped.h"
#include "measure.h"
#include "ring.h"
#include "serve.h"
#include "tls.h"
#include "via.h"

enum { SESSION = 7, SAMPLES = 300 };

struct server {
	char path[64]; /* of a ring */
	struct stream *(*open)(const char *path, unsigned int side, uint32_t session, int *err);
	uint32_t session;
	struct stream *stream; /* or none: joins the ring */
	int result;
};

static void *server_thread(void *arg)
{
	struct server *server = arg;

	if (!server->stream)
		server->stream = server->open(server->path, 1, server->session, &server->result);
	if (server->stream)
		server->result = serve_stream(server->stream);
	return NULL;
}

/* Returns NULL when it served one connection well. */
static void *accept_thread(void *arg)
{
	struct stream *stream;
	int err;

	stream = socket_stream(endpoint_accept(*(int *)arg), &err);
	return stream && !serve_stream(stream) ? NULL : arg;
}

/* Odd sizes, so that messages lie across the ring's end. */
static void assert_measures(struct stream *stream, uint32_t size)
{
	const struct measure_limits limits = {
		.size = size, .transfer = 40 * RING_BYTES, .nanoseconds = 200 * 1000000,
	};
	struct samples samples;

	assert_int_equal(samples_init(&samples, SAMPLES), 0);
	assert_int_equal(measure_rtt(stream, &limits, &samples), 0);
	assert_in_range(samples.n, 1, SAMPLES);
	assert_true(samples_summarize(&samples).min > 0);
	samples.n = 0;
	assert_int_equal(measure_throughput(stream, &limits, &samples), 0);
	assert_in_range(samples.n, 1, SAMPLES);
	assert_true(samples_summarize(&samples).min > 0);
	samples_free(&samples);
}

static void finish(struct stream *stream, struct server *server, pthread_t thread)
{
	assert_int_equal(measure_end(stream), 0);
	stream->ops->close(stream);
	pthread_join(thread, NULL);
	assert_int_equal(server->result, 0);
}

static int ring_file(struct server *server)
{
	int fd = memfd_create("ring", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	snprintf(server->path, sizeof(server->path), "/proc/self/fd/%d", fd);
	return fd;
}

static void assert_serves_twice(struct stream *(*open)(const char *path, unsigned int side,
						       uint32_t session, int *err))
{
	struct server server = { .session = SESSION, .open = open };
	struct stream *stream;
	pthread_t thread;
	int err, fd;

	fd = ring_file(&server);
	for (int round = 0; round < 2; round++, server.session++, server.stream = NULL) {
		assert_int_equal(pthread_create(&thread, NULL, server_thread, &server), 0);
		stream = open(server.path, 0, server.session, &err);
		assert_non_null(stream);
		assert_measures(stream, round ? 16384 : 61);
		finish(stream, &server, thread);
	}
	close(fd);
}

static void a_ring_carries_both_measurements_and_serves_again(void **state)
{
	(void)state;
	assert_serves_twice(ring_open);
}

static void a_mapped_ring_does_so_too(void **state)
{
	(void)state;
	assert_serves_twice(mapped_open);
}

/* As `siv-bench pass` does it, far beyond what the ring holds. */
static void assert_passes(int (*pair)(struct stream *sides[2]))
{
	struct stream *sides[2];
	uint8_t message[61], answer[61];

	assert_int_equal(pair(sides), 0);
	for (unsigned int i = 0; i < 4 * RING_BYTES / sizeof(message); i++) {
		memset(message, i, sizeof(message));
		assert_int_equal(sides[0]->ops->send(sides[0], message, sizeof(message)), 0);
		assert_int_equal(sides[1]->ops->recv(sides[1], answer, sizeof(answer),
						     sizeof(answer)), sizeof(answer));
		assert_memory_equal(message, answer, sizeof(message));
	}
	sides[0]->ops->close(sides[0]);
	sides[1]->ops->close(sides[1]);
}

static void one_thread_passes_messages_through_either_ring(void **state)
{
	(void)state;
	assert_passes(ring_pair);
	assert_passes(mapped_pair);
}

static void a_socket_carries_both_measurements(void **state)
{
	struct server server = { 0 };
	struct stream *stream;
	pthread_t thread;
	int err, fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	stream = socket_stream(fds[0], &err);
	server.stream = socket_stream(fds[1], &err);
	assert_non_null(stream);
	assert_non_null(server.stream);
	assert_int_equal(pthread_create(&thread, NULL, server_thread, &server), 0);
	assert_measures(stream, 1000);
	finish(stream, &server, thread);
}

/* Messages of more than a batch holds in a socket's buffer, so that sends wait in their chain. */
static void both_sides_change_to_io_uring(void **state)
{
	static const char path[] = "unix:/tmp/siv-bench-unit.sock";
	struct endpoint endpoint;
	struct stream *stream;
	pthread_t thread;
	void *failed;
	int err, listener;

	(void)state;
	unlink(path + 5);
	assert_int_equal(endpoint_parse(path, &endpoint), 0);
	listener = endpoint_listen(&endpoint);
	assert_true(listener >= 0);
	assert_int_equal(pthread_create(&thread, NULL, accept_thread, &listener), 0);
	stream = via_connect(&endpoint, VIA_URING, &err);
	assert_non_null(stream);
	assert_measures(stream, 61);
	assert_measures(stream, 300000);
	assert_int_equal(measure_end(stream), 0);
	stream->ops->close(stream);
	pthread_join(thread, &failed);
	assert_null(failed);
	close(listener);
	unlink(path + 5);
}

struct handshake {
	int fd, err;
};

static void *tls_server_thread(void *arg)
{
	struct handshake *handshake = arg;
	struct stream *stream = tls_stream(handshake->fd, true, &handshake->err);

	if (stream)
		handshake->err = serve_stream(stream);
	return NULL;
}

/* A certificate that is its own authority. */
static void make_certificate(char *folder)
{
	char command[512];

	assert_non_null(mkdtemp(folder));
	snprintf(command, sizeof(command),
		 "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
		 "-days 1 -subj /CN=bench -keyout key.pem -out cert.pem 2>/dev/null && "
		 "cp cert.pem ca.pem", folder);
	assert_int_equal(system(command), 0);
}

static void remove_certificate(const char *folder)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

static char folder[] = "/tmp/siv-bench.XXXXXX"; /* of both tests below */

static void tls_carries_both_measurements(void **state)
{
	struct handshake server = { 0 };
	struct stream *stream;
	pthread_t thread;
	int err, fds[2];

	(void)state;
	assert_null(tls_stream(-1, false, &err));
	assert_int_equal(err, -ENOENT);
	make_certificate(folder);
	assert_int_equal(tls_setup(folder), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	server.fd = fds[1];
	assert_int_equal(pthread_create(&thread, NULL, tls_server_thread, &server), 0);
	stream = tls_stream(fds[0], false, &err);
	assert_non_null(stream);
	assert_measures(stream, 30000);
	assert_int_equal(measure_end(stream), 0);
	stream->ops->close(stream);
	pthread_join(thread, NULL);
	assert_int_equal(server.err, 0);
}

/* Takes the server's certificate, and has one itself that nobody vouches for. */
static int connect_as_stranger(int fd)
{
	char own[] = "/tmp/siv-bench.XXXXXX", command[128];
	int err;

	make_certificate(own);
	snprintf(command, sizeof(command), "cp %s/ca.pem %s/ca.pem", folder, own);
	assert_int_equal(system(command), 0);
	assert_int_equal(tls_setup(own), 0);
	remove_certificate(own);
	return tls_stream(fd, false, &err) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* In TLS 1.3 the client's handshake is over before the server has seen its certificate. */
static void a_tls_server_refuses_a_stranger(void **state)
{
	struct handshake server = { 0 };
	pthread_t thread;
	int fds[2], status;
	pid_t child;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	child = fork();
	if (!child)
		_exit(connect_as_stranger(fds[0]));
	close(fds[0]);
	server.fd = fds[1];
	assert_int_equal(pthread_create(&thread, NULL, tls_server_thread, &server), 0);
	pthread_join(thread, NULL);
	assert_int_equal(server.err, -EKEYREJECTED);
	close(fds[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	remove_certificate(folder);
}

static void a_server_refuses_what_it_cannot_answer(void **state)
{
	static const struct stream_request bad[] = {
		{ .op = STREAM_ECHO, .size = 0, .count = 1 },
		{ .op = STREAM_ECHO, .size = STREAM_MESSAGE_MAX + 1, .count = 1 },
		{ .op = STREAM_SINK, .size = 1, .count = STREAM_COUNT_MAX + 1 },
		{ .op = STREAM_VIA, .size = 99 },
		{ .op = 99, .size = 1, .count = 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct server server = { 0 };
		int err, fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_int_equal(write(fds[0], &bad[i], sizeof(bad[i])), sizeof(bad[i]));
		server.stream = socket_stream(fds[1], &err);
		assert_non_null(server.stream);
		server_thread(&server);
		assert_int_equal(server.result, -EPROTO);
		close(fds[0]);
	}
}

static void a_ring_is_refused_without_a_session(void **state)
{
	int err;

	(void)state;
	assert_null(ring_open("/dev/null", 0, 0, &err));
	assert_int_equal(err, -EINVAL);
	assert_null(ring_open("/nonexistent", 0, 1, &err));
	assert_int_equal(err, -ENOENT);
}

static void endpoints_are_parsed_or_refused(void **state)
{
	static const char *const bad[] = {
		"", "tcp:", "tcp:10.0.0.1", "tcp:10.0.0.1:", "tcp:10.0.0.1:0", "tcp:10.0.0.1:65536",
		"tcp:10.0.0.1:80x", "tcp:name:80", "tcp:1111.2222.3333.4444:80", "unix:",
		"unix:rel", "vsock:", "vsock:-1", "vsock:4294967296", "siv://", "http://adas/check",
	};
	struct endpoint endpoint;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(endpoint_parse(bad[i], &endpoint), -EINVAL);
	assert_int_equal(endpoint_parse("tcp:127.0.0.1:7000", &endpoint), 0);
	assert_int_equal(ntohs(endpoint.in.sin_port), 7000);
	assert_int_equal(endpoint_parse("unix:/tmp/x", &endpoint), 0);
	assert_string_equal(endpoint.un.sun_path, "/tmp/x");
	assert_int_equal(endpoint_parse("vsock:7000", &endpoint), 0);
	assert_int_equal(endpoint.vm.svm_cid, VMADDR_CID_LOCAL);
	assert_int_equal(endpoint_parse("siv://adas/bench", &endpoint), 0);
	assert_string_equal(endpoint.siv.ssiv_service, "bench");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_carries_both_measurements_and_serves_again),
		cmocka_unit_test(a_mapped_ring_does_so_too),
		cmocka_unit_test(one_thread_passes_messages_through_either_ring),
		cmocka_unit_test(a_socket_carries_both_measurements),
		cmocka_unit_test(both_sides_change_to_io_uring),
		cmocka_unit_test(tls_carries_both_measurements),
		cmocka_unit_test(a_tls_server_refuses_a_stranger),
		cmocka_unit_test(a_server_refuses_what_it_cannot_answer),
		cmocka_unit_test(a_ring_is_refused_without_a_session),
		cmocka_unit_test(endpoints_are_parsed_or_refused),
	};

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets as to files */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
