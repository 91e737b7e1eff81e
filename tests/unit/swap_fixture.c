// SPDX-License-Identifier: BSD-2-Clause
/* What the tests of swapping share. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "swap_fixture.h"

struct rules rules;
int listener;
struct sockaddr_in tcp = { .sin_family = AF_INET };
static struct rlimit descriptor_limit;

void parse(const char *text)
{
	char error[RULES_ERROR_LEN];

	if (rules_parse(&rules, "test", text, strlen(text), ';', error))
		fail_msg("%s", error);
}

int set_up(void **state)
{
	char network[32];
	struct sockaddr_un un;
	socklen_t len;

	(void)state;
	snprintf(network, sizeof(network), "test_swap.%d", getpid());
	setenv("FAKE_NETWORK", network, 1);
	len = fake_address("cache", &un);
	getrlimit(RLIMIT_NOFILE, &descriptor_limit);
	fake_reset();
	tcp.sin_port = htons(6379);
	tcp.sin_addr.s_addr = htonl(0x0a000002);
	parse("tcp:*:6379=siv://adas/cache");
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(listener, (struct sockaddr *)&un, len) || listen(listener, 128);
}

int tear_down(void **state)
{
	(void)state;
	setrlimit(RLIMIT_NOFILE, &descriptor_limit);
	close(listener);
	return 0;
}

int plain(int type)
{
	int fd = socket(AF_INET, SOCK_STREAM | type, 0);

	assert_true(fd >= 0);
	return fd;
}

int get_int(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value;

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

void set_int(int fd, int level, int name, int value)
{
	assert_int_equal(setsockopt(fd, level, name, &value, sizeof(value)), 0);
}

bool is_plain(int fd)
{
	return get_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET;
}

ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

int do_connect(int fd)
{
	return swap_connect(&rules, &rules.rule[0], fd, TCP);
}

unsigned int open_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Leaves exactly @n numbers for new descriptors, until tear_down(). */
void leave_descriptors(int n)
{
	struct rlimit low = descriptor_limit;

	for (low.rlim_cur = 0; n >= 0; low.rlim_cur++)
		n -= fcntl(low.rlim_cur, F_GETFD) < 0;
	low.rlim_cur--;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
}

void all_descriptors(void)
{
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &descriptor_limit), 0);
}

void check_bytes(int fd, int server)
{
	char buf[4];

	assert_int_equal(send(fd, "ping", 4, 0), 4);
	assert_int_equal(recv(server, buf, 4, MSG_WAITALL), 4);
	assert_memory_equal(buf, "ping", 4);
	assert_int_equal(send(server, "pong", 4, 0), 4);
	assert_int_equal(recv(fd, buf, 4, MSG_WAITALL), 4);
	assert_memory_equal(buf, "pong", 4);
}

int watch_fd(int epfd, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	return epoll_ctl(epfd, op, fd, &event);
}

void wait_for(int epfd, uint32_t events, uint64_t data)
{
	struct epoll_event event;

	assert_int_equal(epoll_wait(epfd, &event, 1, 2000), 1);
	assert_int_equal(event.events, events);
	assert_true(event.data.u64 == data);
}

void nothing_more(int epfd)
{
	struct epoll_event event;

	assert_int_equal(epoll_wait(epfd, &event, 1, 0), 0);
}
