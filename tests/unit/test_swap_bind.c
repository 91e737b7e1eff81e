// SPDX-License-Identifier: BSD-2-Clause
/*
 * Another socket behind the same number after bind(): listeners, their peers' addresses, and the
 * path of an AF_UNIX one.
 */
#include <arpa/inet.h>
#include <errno.h>
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

static char folder[] = "/tmp/test_swap.XXXXXX", path[64];

static void a_listener_accepts_under_its_number(void **state)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(6379) };
	int fd = plain(SOCK_NONBLOCK | SOCK_CLOEXEC), ep = epoll_create1(0), client, server;
	struct siv_alias alias;

	(void)state;
	parse("tcp:*:6379=siv:///server;peer cockpit = 198.51.100.7;peer adas = 2001:db8::7");
	assert_int_equal(watch_fd(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 9), 0);
	assert_int_equal(swap_bind(&rules, &rules.rule[0], fd, (struct sockaddr *)&any,
				   sizeof(any)), 0);
	assert_string_equal(fake.bound.ssiv_service, "server");
	assert_int_equal(backend.get_alias(fd, &alias), 0);
	assert_int_equal(alias.self.len, sizeof(any));
	assert_memory_equal(alias.self.addr, &any, sizeof(any));
	assert_int_equal(alias.peer.len, 0);
	assert_int_equal(fake.n_peers, 1); /* the other cannot be expressed in IPv4 */
	assert_string_equal(fake.peer[0].vm, "cockpit");
	assert_string_equal(inet_ntoa(((struct sockaddr_in *)fake.peer[0].addr.addr)->sin_addr),
			    "198.51.100.7");
	assert_int_equal(((struct sockaddr_in *)fake.peer[0].addr.addr)->sin_port, 0);

	assert_int_equal(listen(fd, 5), 0);
	client = plain(0);
	parse("tcp:*:6379=siv://adas/server");
	assert_int_equal(do_connect(client), 0);
	wait_for(ep, EPOLLIN, 9);
	server = accept(fd, NULL, NULL);
	check_bytes(client, server);

	assert_int_equal(do_connect(fd), -EOPNOTSUPP);
	assert_int_equal(swap_bind(&rules, &rules.rule[0], fd, TCP), -EINVAL);
	close(client);
	close(server);
	close(fd);
	close(ep);
}

static void an_ipv6_listener_has_ipv6_peers(void **state)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(6379) };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	char text[INET6_ADDRSTRLEN];

	(void)state;
	if (fd < 0)
		skip();
	parse("tcp:*:6379=siv:///server;peer cockpit = 198.51.100.7;peer adas = 2001:db8::7");
	assert_int_equal(swap_bind(&rules, &rules.rule[0], fd, (struct sockaddr *)&any,
				   sizeof(any)), 0);
	assert_int_equal(fake.n_peers, 2);
	for (int i = 0; i < 2; i++) {
		struct sockaddr_in6 peer;

		assert_int_equal(fake.peer[i].addr.len, sizeof(peer));
		memcpy(&peer, fake.peer[i].addr.addr, sizeof(peer));
		inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof(text));
		assert_string_equal(text, i ? "2001:db8::7" : "::ffff:198.51.100.7");
	}
	close(fd);
}

static void a_refused_bind_leaves_the_socket_as_it_was(void **state)
{
	int fd = plain(0);
	ino_t before = inode(fd);

	(void)state;
	fake.bind_error = -EACCES;
	assert_int_equal(swap_bind(&rules, &rules.rule[0], fd, TCP), -EACCES);
	assert_int_equal(inode(fd), before);
	close(fd);
}

static int bind_path(int fd)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	strcpy(un.sun_path, path);
	return swap_bind(&rules, &rules.rule[0], fd, (struct sockaddr *)&un,
			 offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

static void a_unix_listener_leaves_a_socket_that_nobody_answers_at_the_path(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);
	char line[128];
	struct stat st;
	mode_t mask = umask(027);

	(void)state;
	snprintf(line, sizeof(line), "unix:%s=siv:///server", path);
	parse(line);
	assert_int_equal(bind_path(fd), 0);
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0750);
	assert_int_equal(listen(fd, 1), 0);

	strcpy(un.sun_path, path);
	assert_int_equal(connect(other, (struct sockaddr *)&un, sizeof(un)), -1);
	assert_int_equal(errno, ECONNREFUSED);

	/* The mode that the program gave its socket before is the path's. */
	close(fd);
	assert_int_equal(unlink(path), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(bind_path(fd), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);

	/* The path is taken, as it would be without the shim; and it is free after an unlink. */
	assert_int_equal(bind_path(other), -EADDRINUSE);
	close(fd);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(bind_path(other), 0);
	close(other);
	assert_int_equal(unlink(path), 0);
}

static void a_refused_unix_listener_leaves_nothing_at_the_path(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char line[128];

	(void)state;
	snprintf(line, sizeof(line), "unix:%s=siv:///server", path);
	parse(line);
	fake.bind_error = -EACCES;
	assert_int_equal(bind_path(fd), -EACCES);
	assert_int_equal(access(path, F_OK), -1);
	fake.bind_error = 0;

	/* A failure after the path was made: no descriptor left to look for registrations. */
	leave_descriptors(2);
	assert_int_equal(bind_path(fd), -EMFILE);
	all_descriptors();
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(bind_path(fd), 0);
	close(fd);
	unlink(path);
}

static void a_bound_socket_is_the_kernels_to_refuse(void **state)
{
	struct sockaddr_in loopback = { .sin_family = AF_INET };
	int fd = plain(0);

	(void)state;
	loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)), 0);
	assert_int_equal(swap_bind(&rules, &rules.rule[0], fd, TCP), SWAP_PASS);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(a_listener_accepts_under_its_number),
		SWAP_TEST(an_ipv6_listener_has_ipv6_peers),
		SWAP_TEST(a_refused_bind_leaves_the_socket_as_it_was),
		SWAP_TEST(a_unix_listener_leaves_a_socket_that_nobody_answers_at_the_path),
		SWAP_TEST(a_refused_unix_listener_leaves_nothing_at_the_path),
		SWAP_TEST(a_bound_socket_is_the_kernels_to_refuse),
	};
	int failed;

	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/sock", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
