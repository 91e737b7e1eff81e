// SPDX-License-Identifier: BSD-2-Clause
/* Event loop, streams and the admin socket. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/admin.h"
#include "common/list.h"
#include "common/stream.h"
#include "common/unix.h"

/* Timers */

struct tick {
	struct loop_timer timer;
	int *order, name;
	struct loop_timer *cancels;
};

static int order[64], n_order;

static void tick(struct loop_timer *timer)
{
	struct tick *t = container_of(timer, struct tick, timer);

	assert_false(loop_timer_armed(timer));
	order[n_order++] = t->name;
	if (t->cancels)
		loop_timer_cancel(t->cancels);
}

static void test_timers_come_in_order(void **state)
{
	static const unsigned int at[] = { 50, 10, 40, 10, 30, 20, 0, 60 };
	struct loop *loop = loop_new_manual();
	struct tick t[8] = { 0 };

	(void)state;
	n_order = 0;
	for (int i = 0; i < 8; i++) {
		t[i].timer.due = tick;
		t[i].name = (int)at[i];
		assert_int_equal(loop_timer_set(loop, &t[i].timer, at[i]), 0);
	}
	t[4].cancels = &t[2].timer; /* 30 cancels 40 */
	loop_timer_cancel(&t[7].timer);
	loop_advance(loop, 9);
	assert_int_equal(n_order, 1);
	loop_advance(loop, 1000);
	assert_int_equal(n_order, 6);
	for (int i = 1; i < n_order; i++)
		assert_true(order[i - 1] <= order[i]);
	loop_free(loop);
}

static void test_random_timers_against_a_list(void **state)
{
	enum { N = 200 };
	static struct tick t[N];
	struct loop *loop = loop_new_manual();
	unsigned int random = 1, left = 0;

	(void)state;
	memset(t, 0, sizeof(t));
	for (int step = 0; step < 20000; step++) {
		struct tick *one;

		random = random * 1664525 + 1013904223;
		one = &t[(random >> 8) % N];
		one->timer.due = tick;
		n_order = 0;
		if (random >> 31)
			loop_timer_set(loop, &one->timer, (random >> 16) % 1000);
		else if (random >> 30 & 1)
			loop_timer_cancel(&one->timer);
		else
			loop_advance(loop, (random >> 16) % 4);
		for (int i = 0; i < N; i++) {
			if (loop_timer_armed(&t[i].timer))
				assert_true(t[i].timer.at_ns >= loop_now_ns(loop));
		}
	}
	for (int i = 0; i < N; i++) {
		left += loop_timer_armed(&t[i].timer);
		loop_timer_cancel(&t[i].timer);
	}
	assert_true(left > 0);
	loop_free(loop);
}

static void stop_loop(struct loop_timer *timer)
{
	loop_stop((struct loop *)container_of(timer, struct tick, timer)->order);
}

static void test_real_time_passes(void **state)
{
	struct loop *loop = loop_new();
	struct tick t = { .timer.due = stop_loop, .order = (int *)loop };
	uint64_t before = loop_now_ns(loop);

	(void)state;
	assert_int_equal(loop_timer_set(loop, &t.timer, 5 * LOOP_NS_PER_MS), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_true(loop_now_ns(loop) - before >= 5 * LOOP_NS_PER_MS);
	loop_free(loop);
}

static int got_signo;

static void got_signal(int signo, void *arg)
{
	got_signo = signo;
	loop_stop(arg);
}

static void test_signals_come_as_calls(void **state)
{
	struct loop *loop = loop_new();
	sigset_t set, now;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	assert_int_equal(loop_signals(loop, &set, got_signal, loop), 0);
	raise(SIGUSR1);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(got_signo, SIGUSR1);
	loop_free(loop);
	sigprocmask(SIG_SETMASK, NULL, &now);
	assert_false(sigismember(&now, SIGUSR1));
}

/* Descriptors */

struct remover {
	struct loop_io io;
	struct loop_io *other;
	int calls;
};

static void remove_other(struct loop_io *io, uint32_t events)
{
	struct remover *r = container_of(io, struct remover, io);

	(void)events;
	r->calls++;
	loop_remove(r->other);
	loop_remove(io);
}

/* Both are ready in one batch, and whichever is first removes the other. */
static void test_removed_descriptor_is_not_called(void **state)
{
	struct loop *loop = loop_new_manual();
	struct remover a = { .io.ready = remove_other }, b = { .io.ready = remove_other };
	int pair[2][2];

	(void)state;
	a.other = &b.io;
	b.other = &a.io;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair[i]), 0);
		assert_int_equal(write(pair[i][1], "x", 1), 1);
	}
	assert_int_equal(loop_add(loop, &a.io, pair[0][0], EPOLLIN), 0);
	assert_int_equal(loop_add(loop, &b.io, pair[1][0], EPOLLIN), 0);
	assert_true(loop_run_once(loop, 0) > 0);
	assert_int_equal(a.calls + b.calls, 1);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(a.calls + b.calls, 1);
	loop_free(loop);
	for (int i = 0; i < 2; i++) {
		close(pair[i][0]);
		close(pair[i][1]);
	}
}

/* Streams */

struct peer {
	struct loop *loop;
	struct stream stream;
	int fd; /* the other end */
	unsigned int what; /* all events so far */
	bool close_at_in;
};

static void peer_event(struct stream *stream, unsigned int what)
{
	struct peer *peer = container_of(stream, struct peer, stream);

	peer->what |= what;
	if (peer->close_at_in && (what & STREAM_IN))
		stream_close(stream);
}

static struct peer *peer_new(size_t in_cap, size_t out_cap)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	int pair[2];

	peer->loop = loop_new_manual();
	peer->stream.event = peer_event;
	peer->stream.in_cap = in_cap;
	peer->stream.out_cap = out_cap;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(stream_open(&peer->stream, peer->loop, pair[0]), 0);
	peer->fd = pair[1];
	return peer;
}

static void peer_free(struct peer *peer)
{
	stream_close(&peer->stream);
	if (peer->fd >= 0)
		close(peer->fd);
	loop_free(peer->loop);
	free(peer);
}

static void peer_run(struct peer *peer)
{
	for (int i = 0; i < 20; i++)
		assert_true(loop_run_once(peer->loop, 0) >= 0);
}

static void test_stream_bounds_its_input(void **state)
{
	struct peer *peer = peer_new(1000, 1000);
	static char bytes[5000];
	const uint8_t *data;
	size_t len, total = 0;

	(void)state;
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7);
	assert_int_equal(write(peer->fd, bytes, sizeof(bytes)), sizeof(bytes));
	while (total < sizeof(bytes)) {
		peer_run(peer);
		data = stream_peek(&peer->stream, &len);
		assert_true(len > 0 && len <= 1000);
		if (len > 300)
			len = 300;
		assert_memory_equal(data, bytes + total, len);
		stream_consume(&peer->stream, len);
		total += len;
	}
	peer_free(peer);
}

static void test_stream_takes_all_or_nothing(void **state)
{
	static uint8_t bytes[1 << 20], seen[1 << 20];
	struct peer *peer = peer_new(1000, 1 << 20);
	size_t queued, got = 0;

	(void)state;
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i >> 8 ^ i);
	assert_int_equal(stream_write(&peer->stream, bytes, sizeof(bytes)), 0);
	queued = stream_queued(&peer->stream);
	assert_true(queued > 0 && queued < sizeof(bytes));
	assert_int_equal(stream_write(&peer->stream, bytes, sizeof(bytes)), -ENOBUFS);
	assert_int_equal(stream_queued(&peer->stream), queued);
	while (got < sizeof(bytes)) {
		ssize_t n = recv(peer->fd, seen + got, sizeof(seen) - got, MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		peer_run(peer);
	}
	assert_memory_equal(seen, bytes, sizeof(bytes));
	assert_true(peer->what & STREAM_OUT);
	assert_int_equal(stream_queued(&peer->stream), 0);
	peer_free(peer);
}

static void test_stream_gives_what_came_before_the_end(void **state)
{
	struct peer *peer = peer_new(1000, 1000);
	size_t len;

	(void)state;
	assert_int_equal(write(peer->fd, "last", 4), 4);
	close(peer->fd);
	peer->fd = -1;
	/* Writing to it fails without taking the input away. */
	stream_write(&peer->stream, "x", 1);
	peer_run(peer);
	assert_true(peer->what & STREAM_IN);
	assert_true(peer->what & STREAM_CLOSED);
	assert_memory_equal(stream_peek(&peer->stream, &len), "last", 4);
	assert_int_equal(len, 4);
	assert_int_equal(peer->stream.error, 0);
	assert_int_equal(stream_write(&peer->stream, "x", 1), -EPIPE);
	peer_free(peer);
}

static void test_stream_may_be_closed_in_its_callback(void **state)
{
	struct peer *peer = peer_new(1000, 1000);

	(void)state;
	peer->close_at_in = true;
	assert_int_equal(write(peer->fd, "x", 1), 1);
	peer_run(peer);
	assert_false(stream_is_open(&peer->stream));
	assert_int_equal(read(peer->fd, (char[1]){ 0 }, 1), 0);
	peer_free(peer);
}

/* The admin socket */

static int run_echo(void *arg, const json_t *request, json_t *reply)
{
	const char *text = json_string_value(json_object_get(request, "text"));

	(void)arg;
	if (!text)
		return admin_error(reply, "echo: what: say it");
	return json_object_set_new(reply, "text", json_string(text));
}

static int run_long(void *arg, const json_t *request, json_t *reply)
{
	char *text = calloc(1, 1 << 20);

	(void)arg;
	(void)request;
	memset(text, 'l', (1 << 20) - 1);
	json_object_set_new(reply, "text", json_string(text));
	free(text);
	return 0;
}

static int run_stop(void *arg, const json_t *request, json_t *reply)
{
	(void)request;
	(void)reply;
	loop_stop(arg);
	return 0;
}

static const struct admin_command commands[] = {
	{ "stop", run_stop },
	{ "echo", run_echo },
	{ "long", run_long },
	{ 0 },
};

static void *serve(void *arg)
{
	loop_run(arg);
	return NULL;
}

static const char *error_of(const json_t *reply)
{
	assert_true(json_is_false(json_object_get(reply, "ok")));
	return json_string_value(json_object_get(reply, "error"));
}

static void test_admin_socket(void **state)
{
	char folder[] = "/tmp/siv-admin-XXXXXX", path[64], error[256];
	struct loop *loop = loop_new();
	struct admin *admin;
	json_t *request, *reply;
	pthread_t server;
	struct stat st;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/admin.sock", folder);
	assert_null(admin_call(path, json_null(), error, sizeof(error)));
	assert_non_null(strstr(error, "is the daemon running?"));
	admin = admin_new(loop, path, commands, loop);
	assert_non_null(admin);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_null(admin_new(loop, path, commands, loop));
	assert_int_equal(errno, EADDRINUSE);
	assert_int_equal(pthread_create(&server, NULL, serve, loop), 0);

	request = json_pack("{s:s, s:s}", "command", "echo", "text", "\n\"x");
	reply = admin_call(path, request, error, sizeof(error));
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_string_equal(json_string_value(json_object_get(reply, "text")), "\n\"x");
	json_decref(reply);
	json_object_del(request, "text");
	reply = admin_call(path, request, error, sizeof(error));
	assert_string_equal(error_of(reply), "echo: what: say it");
	json_decref(reply);
	json_object_set_new(request, "command", json_string("nothing"));
	reply = admin_call(path, request, error, sizeof(error));
	assert_non_null(strstr(error_of(reply), "nothing: this daemon has no such command"));
	json_decref(reply);
	json_object_set_new(request, "command", json_string("long"));
	reply = admin_call(path, request, error, sizeof(error));
	assert_int_equal(json_string_length(json_object_get(reply, "text")), (1 << 20) - 1);
	json_decref(reply);
	json_decref(request);
	/* Nonsense gets an answer, too much of it the door. */
	fd = unix_connect(path);
	assert_int_equal(write(fd, "{]\n", 3), 3);
	assert_true(read(fd, error, sizeof(error)) > 10);
	close(fd);
	fd = unix_connect(path);
	for (unsigned int i = 0; i < ADMIN_REQUEST_MAX; i++)
		if (send(fd, "x", 1, MSG_NOSIGNAL) < 0)
			break;
	assert_true(read(fd, error, 1) <= 0);
	close(fd);

	request = json_pack("{s:s}", "command", "stop");
	reply = admin_call(path, request, error, sizeof(error));
	assert_true(json_is_true(json_object_get(reply, "ok")));
	json_decref(reply);
	json_decref(request);
	pthread_join(server, NULL);
	admin_free(admin);
	loop_free(loop);
	assert_int_equal(rmdir(folder), 0);
}

static void test_listener_replaces_only_a_dead_socket(void **state)
{
	char folder[] = "/tmp/siv-unix-XXXXXX", path[64];
	struct unix_listener first, second;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/s", folder);
	assert_int_equal(unix_listen(&first, path, 0600, (uid_t)-1), 0);
	assert_int_equal(unix_listen(&second, path, 0600, (uid_t)-1), -EADDRINUSE);
	close(first.fd); /* as if it had been killed */
	assert_int_equal(unix_listen(&second, path, 0600, (uid_t)-1), 0);
	unix_unlisten(&second);
	assert_int_equal(access(path, F_OK), -1);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(unix_listen(&first, path, 0600, (uid_t)-1), -EEXIST);
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers_come_in_order),
		cmocka_unit_test(test_random_timers_against_a_list),
		cmocka_unit_test(test_real_time_passes),
		cmocka_unit_test(test_signals_come_as_calls),
		cmocka_unit_test(test_removed_descriptor_is_not_called),
		cmocka_unit_test(test_stream_bounds_its_input),
		cmocka_unit_test(test_stream_takes_all_or_nothing),
		cmocka_unit_test(test_stream_gives_what_came_before_the_end),
		cmocka_unit_test(test_stream_may_be_closed_in_its_callback),
		cmocka_unit_test(test_admin_socket),
		cmocka_unit_test(test_listener_replaces_only_a_dead_socket),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
