// SPDX-License-Identifier: BSD-2-Clause
/* epoll registrations, found in /proc and made again. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "watch.h"

static struct watches watches;

static int watch_fd(int epfd, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
}

static void the_kernels_lines_are_parsed(void **state)
{
	struct epoll_event event;
	int fd;

	(void)state;
	assert_true(watch_parse_line("tfd:        5 events:       19 data:                5  pos:0 "
				     "ino:a3f sdev:8", &fd, &event));
	assert_int_equal(fd, 5);
	assert_int_equal(event.events, 0x19);
	assert_int_equal(event.data.u64, 5);
	assert_true(watch_parse_line("tfd: 2147483647 events: ffffffff data: ffffffffffffffff",
				     &fd, &event));
	assert_int_equal(fd, 2147483647);
	assert_int_equal(event.events, UINT32_MAX);
	assert_true(event.data.u64 == UINT64_MAX);
}

static void other_lines_are_not_registrations(void **state)
{
	static const char *const lines[] = {
		"", "pos:\t0", "flags:\t02000002", "mnt_id:\t15", "tfd:", "tfd: 5", "tfd: x",
		"tfd: 5 events:", "tfd: 5 events: 1", "tfd: 5 events: 1 data:", "tfd: -1 events: 1 "
		"data: 1", "tfd: 2147483648 events: 1 data: 1", "tfd: 5 events: 100000000 data: 1",
		"tfd: 5 events: 1 data: 10000000000000000", "xtfd: 5 events: 1 data: 1",
		"tfd: 99999999999999999999999 events: 1 data: 1",
	};
	struct epoll_event event;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (watch_parse_line(lines[i], &fd, &event))
			fail_msg("\"%s\" was taken", lines[i]);
}

static void all_instances_are_found_with_events_and_data(void **state)
{
	int a = epoll_create1(0), b = epoll_create1(0), other = epoll_create1(0);
	int fd = eventfd(0, 0), other_fd = eventfd(0, 0);

	(void)state;
	assert_int_equal(watch_fd(a, fd, EPOLLIN | EPOLLET, 0x1122334455667788), 0);
	assert_int_equal(watch_fd(b, fd, EPOLLOUT | EPOLLONESHOT, 7), 0);
	assert_int_equal(watch_fd(other, other_fd, EPOLLIN, 9), 0);

	assert_int_equal(watches_find(fd, &watches), 0);
	assert_int_equal(watches.n, 2);
	for (unsigned int i = 0; i < 2; i++) {
		const struct watch *w = &watches.watch[i];

		/* The kernel adds these two to every registration. */
		assert_int_equal(w->event.events & (EPOLLERR | EPOLLHUP), EPOLLERR | EPOLLHUP);
		if (w->epfd == a) {
			assert_int_equal(w->event.events & ~(EPOLLERR | EPOLLHUP),
					 EPOLLIN | EPOLLET);
			assert_true(w->event.data.u64 == 0x1122334455667788);
		} else {
			assert_int_equal(w->epfd, b);
			assert_int_equal(w->event.events & ~(EPOLLERR | EPOLLHUP),
					 EPOLLOUT | EPOLLONESHOT);
		}
	}
	close(a);
	close(b);
	close(other);
	close(fd);
	close(other_fd);
}

static void a_duplicate_of_an_epoll_descriptor_counts_once(void **state)
{
	int ep = epoll_create1(0), copy = dup(ep), fd = eventfd(0, 0);

	(void)state;
	assert_int_equal(watch_fd(ep, fd, EPOLLIN, 1), 0);
	assert_int_equal(watches_find(fd, &watches), 0);
	assert_int_equal(watches.n, 2);
	watches_remove(fd, &watches);
	assert_int_equal(watches.n, 1);
	assert_int_equal(watches_add(fd, &watches), 0);
	assert_int_equal(watch_fd(copy, fd, EPOLLIN, 1), -1);
	assert_int_equal(errno, EEXIST);
	close(ep);
	close(copy);
	close(fd);
}

/* epoll goes on watching a file whose number was closed, if a duplicate keeps it open. */
static void a_file_that_had_the_number_before_is_left_alone(void **state)
{
	int ep = epoll_create1(0), fd = eventfd(0, 0), copy = dup(fd);
	struct epoll_event event;
	uint64_t one = 1;

	(void)state;
	assert_int_equal(watch_fd(ep, fd, EPOLLIN, 1), 0);
	assert_int_equal(dup2(ep, fd), fd); /* any other file */
	assert_int_equal(watches_find(fd, &watches), 0);
	assert_true(watches.n >= 1);
	watches_remove(fd, &watches);
	assert_int_equal(watches.n, 0);
	assert_int_equal(write(copy, &one, sizeof(one)), sizeof(one));
	assert_int_equal(epoll_wait(ep, &event, 1, 0), 1);
	close(ep);
	close(fd);
	close(copy);
}

static void an_instance_with_thousands_of_others_is_read_to_the_end(void **state)
{
	enum { OTHERS = 3000 };
	static int others[OTHERS];
	int ep = epoll_create1(0), fd;

	(void)state;
	for (int i = 0; i < OTHERS; i++) {
		others[i] = eventfd(0, 0);
		assert_true(others[i] >= 0);
		assert_int_equal(watch_fd(ep, others[i], EPOLLIN, i), 0);
	}
	fd = eventfd(0, 0);
	assert_int_equal(watch_fd(ep, fd, EPOLLIN, 42), 0);
	assert_int_equal(watches_find(fd, &watches), 0);
	assert_int_equal(watches.n, 1);
	assert_int_equal(watches.watch[0].event.data.u64, 42);
	assert_int_equal(watches_find(others[17], &watches), 0);
	assert_int_equal(watches.n, 1);
	assert_int_equal(watches.watch[0].event.data.u64, 17);
	for (int i = 0; i < OTHERS; i++)
		close(others[i]);
	close(ep);
	close(fd);
}

static void more_instances_than_the_limit_are_refused(void **state)
{
	int ep[WATCHES_MAX + 1], fd = eventfd(0, 0);

	(void)state;
	for (int i = 0; i <= WATCHES_MAX; i++) {
		ep[i] = epoll_create1(0);
		assert_int_equal(watch_fd(ep[i], fd, EPOLLIN, i), 0);
		if (i == WATCHES_MAX - 1)
			assert_int_equal(watches_find(fd, &watches), 0);
	}
	assert_int_equal(watches_find(fd, &watches), -ENOSPC);
	for (int i = 0; i <= WATCHES_MAX; i++)
		close(ep[i]);
	close(fd);
}

static unsigned int open_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void nothing_stays_open(void **state)
{
	int ep = epoll_create1(0), fd = eventfd(0, 0);
	unsigned int before = open_descriptors();

	(void)state;
	assert_int_equal(watch_fd(ep, fd, EPOLLIN, 1), 0);
	assert_int_equal(watches_find(fd, &watches), 0);
	assert_int_equal(open_descriptors(), before);
	close(ep);
	close(fd);
}

/* Leaves exactly @n numbers for new descriptors. */
static void leave_descriptors(int n)
{
	struct rlimit low;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &low), 0);
	for (low.rlim_cur = 0; n >= 0; low.rlim_cur++)
		n -= fcntl(low.rlim_cur, F_GETFD) < 0;
	low.rlim_cur--;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
}

static void without_a_free_descriptor_it_says_so(void **state)
{
	int ep = epoll_create1(0), fd = eventfd(0, 0);
	struct rlimit limit;

	(void)state;
	assert_int_equal(watch_fd(ep, fd, EPOLLIN, 1), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int room = 0; room < 2; room++) {
		leave_descriptors(room);
		assert_int_equal(watches_find(fd, &watches), -EMFILE);
	}
	leave_descriptors(2);
	assert_int_equal(watches_find(fd, &watches), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	close(ep);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernels_lines_are_parsed),
		cmocka_unit_test(other_lines_are_not_registrations),
		cmocka_unit_test(all_instances_are_found_with_events_and_data),
		cmocka_unit_test(a_duplicate_of_an_epoll_descriptor_counts_once),
		cmocka_unit_test(a_file_that_had_the_number_before_is_left_alone),
		cmocka_unit_test(an_instance_with_thousands_of_others_is_read_to_the_end),
		cmocka_unit_test(more_instances_than_the_limit_are_refused),
		cmocka_unit_test(nothing_stays_open),
		cmocka_unit_test(without_a_free_descriptor_it_says_so),
	};
	struct rlimit files;

	/* One test opens thousands. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
