// SPDX-License-Identifier: BSD-2-Clause
/*
 * Descriptors that were registered with epoll before connect() are so afterwards, and no event of
 * the new socket is lost.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "swap_fixture.h"
#include "watch.h"

static void registrations_with_epoll_go_along(void **state)
{
	int a = epoll_create1(0), b = epoll_create1(0), copy = dup(a), fd = plain(SOCK_NONBLOCK);
	int server;

	(void)state;
	assert_int_equal(watch_fd(a, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, 0xabcdef0123456789), 0);
	assert_int_equal(watch_fd(b, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 2), 0);
	assert_int_equal(do_connect(fd), 0);
	server = accept(listener, NULL, NULL);

	wait_for(a, EPOLLOUT, 0xabcdef0123456789);
	wait_for(copy, EPOLLOUT, 0xabcdef0123456789);
	nothing_more(b);
	assert_int_equal(send(server, "x", 1, 0), 1);
	wait_for(a, EPOLLIN | EPOLLOUT, 0xabcdef0123456789);
	wait_for(b, EPOLLIN, 2);
	nothing_more(b); /* an edge */

	/* The program goes on using the number. */
	assert_int_equal(watch_fd(a, EPOLL_CTL_MOD, fd, EPOLLIN, 5), 0);
	wait_for(a, EPOLLIN, 5);
	assert_int_equal(watch_fd(b, EPOLL_CTL_DEL, fd, 0, 0), 0);
	close(fd);
	nothing_more(a); /* closing ends it: no other reference was left behind */
	close(server);
	close(a);
	close(b);
	close(copy);
}

static void one_shot_registrations_fire_once(void **state)
{
	int ep = epoll_create1(0), fd = plain(SOCK_NONBLOCK), server;

	(void)state;
	assert_int_equal(watch_fd(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 7), 0);
	assert_int_equal(do_connect(fd), 0);
	server = accept(listener, NULL, NULL);
	assert_int_equal(send(server, "x", 1, 0), 1);
	wait_for(ep, EPOLLIN, 7);
	assert_int_equal(send(server, "x", 1, 0), 1);
	nothing_more(ep);
	assert_int_equal(watch_fd(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 8), 0);
	wait_for(ep, EPOLLIN, 8);
	close(fd);
	close(server);
	close(ep);
}

/* A duplicate of the old socket must not go on sending events with the program's data. */
static void the_old_socket_is_not_watched_any_more(void **state)
{
	int ep = epoll_create1(0), fd = plain(SOCK_NONBLOCK), copy = dup(fd);

	(void)state;
	/* An unconnected TCP socket is always ready in these. */
	assert_int_equal(watch_fd(ep, EPOLL_CTL_ADD, fd, EPOLLHUP, 1), 0);
	assert_int_equal(do_connect(fd), 0);
	nothing_more(ep);
	close(copy);
	close(fd);
	close(ep);
}

static void an_event_before_the_call_returns_is_reported(void **state)
{
	int ep = epoll_create1(0), fd = plain(SOCK_NONBLOCK);

	(void)state;
	assert_int_equal(watch_fd(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLET, 3), 0);
	fake.connect_error = -EINPROGRESS;
	assert_int_equal(do_connect(fd), -EINPROGRESS);
	wait_for(ep, EPOLLOUT, 3);
	close(fd);
	close(ep);
}

static void too_many_registrations_are_refused_and_kept(void **state)
{
	int ep[WATCHES_MAX + 1], fd = plain(0);

	(void)state;
	for (int i = 0; i <= WATCHES_MAX; i++) {
		ep[i] = epoll_create1(0);
		assert_int_equal(watch_fd(ep[i], EPOLL_CTL_ADD, fd, EPOLLOUT, i), 0);
	}
	assert_int_equal(do_connect(fd), -ENOSPC);
	assert_true(is_plain(fd));
	for (int i = 0; i <= WATCHES_MAX; i++) {
		wait_for(ep[i], EPOLLOUT | EPOLLHUP, i);
		close(ep[i]);
	}
	close(fd);
}

/* Level- and edge-triggered waiting while sockets are swapped in another thread. */
enum { ROUNDS = 500 };

static void *connect_many(void *arg)
{
	int ep = *(int *)arg;

	for (int i = 0; i < ROUNDS; i++) {
		int fd = plain(i % 2 ? SOCK_NONBLOCK : 0);

		assert_int_equal(watch_fd(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, fd), 0);
		assert_int_equal(do_connect(fd), 0);
	}
	return NULL;
}

static void no_event_is_lost_while_another_thread_waits(void **state)
{
	int ep = epoll_create1(0), seen = 0, spurious = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, connect_many, &ep), 0);
	for (int i = 0; i < ROUNDS; i++) {
		int server = accept(listener, NULL, NULL);

		assert_true(server >= 0);
		assert_int_equal(send(server, "x", 1, 0), 1);
		shutdown(server, SHUT_WR);
		close(server);
	}
	while (seen < ROUNDS) {
		struct epoll_event event;
		char buf[2];

		/* Before the swap the unconnected socket hangs up: as it does without the shim. */
		assert_int_equal(epoll_wait(ep, &event, 1, 10000), 1);
		if (recv(event.data.fd, buf, sizeof(buf), MSG_DONTWAIT) == 1) {
			seen++;
			close(event.data.fd);
		} else {
			spurious++;
		}
	}
	pthread_join(thread, NULL);
	assert_in_range(spurious, 0, 4 * ROUNDS);
	close(ep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(registrations_with_epoll_go_along),
		SWAP_TEST(one_shot_registrations_fire_once),
		SWAP_TEST(the_old_socket_is_not_watched_any_more),
		SWAP_TEST(an_event_before_the_call_returns_is_reported),
		SWAP_TEST(too_many_registrations_are_refused_and_kept),
		SWAP_TEST(no_event_is_lost_while_another_thread_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
