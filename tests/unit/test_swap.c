// SPDX-License-Identifier: BSD-2-Clause
/*
 * Another socket behind the same number after connect(): what goes along, what the program notices,
 * and that a call that fails leaves the program's own socket there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "swap_fixture.h"

static void a_connect_leads_to_the_service_under_the_same_number(void **state)
{
	unsigned int before;
	int fd, server;

	(void)state;
	fd = plain(0);
	before = open_descriptors();
	assert_int_equal(do_connect(fd), 0);
	assert_int_equal(open_descriptors(), before);
	assert_false(is_plain(fd));
	assert_string_equal(fake.target.ssiv_vm, "adas");
	assert_string_equal(fake.target.ssiv_service, "cache");
	server = accept(listener, NULL, NULL);
	check_bytes(fd, server);
	close(server);
	close(fd);
}

static void flags_go_along(void **state)
{
	static const int types[] = { 0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC };

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int fd = plain(types[i]);

		assert_int_equal(do_connect(fd), 0);
		assert_int_equal(!!(fcntl(fd, F_GETFL) & O_NONBLOCK), !!(types[i] & SOCK_NONBLOCK));
		assert_int_equal(!!(fcntl(fd, F_GETFD) & FD_CLOEXEC), !!(types[i] & SOCK_CLOEXEC));
		close(fd);
	}
}

static void options_go_along(void **state)
{
	struct timeval receive = { 3, 0 }, transmit = { 0, 250000 }, time;
	struct linger linger = { 1, 7 }, got;
	socklen_t len = sizeof(time);
	int fd = plain(0);

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof(receive));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &transmit, sizeof(transmit));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	set_int(fd, SOL_SOCKET, SO_PRIORITY, 5);
	set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* which this family does not have: no error */
	assert_int_equal(do_connect(fd), 0);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, &len), 0);
	assert_int_equal(time.tv_sec, 3);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, &len), 0);
	assert_int_equal(time.tv_sec, 0);
	assert_in_range(time.tv_usec, 240000, 260000); /* jiffies */
	len = sizeof(got);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &len), 0);
	assert_int_equal(got.l_onoff, 1);
	assert_int_equal(got.l_linger, 7);
	assert_int_equal(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(get_int(fd, SOL_SOCKET, SO_REUSEADDR), 1);
	assert_int_equal(get_int(fd, SOL_SOCKET, SO_PRIORITY), 5);
	assert_int_equal(get_int(fd, SOL_SOCKET, SO_OOBINLINE), 1);
	close(fd);
}

static void buffer_sizes_go_along_once_and_only_if_they_were_set(void **state)
{
	int fd = plain(0), fresh = socket(AF_UNIX, SOCK_STREAM, 0), sent;

	(void)state;
	set_int(fd, SOL_SOCKET, SO_SNDBUF, 40000);
	sent = get_int(fd, SOL_SOCKET, SO_SNDBUF);
	assert_int_equal(sent, 80000); /* the kernel doubles */
	assert_int_equal(do_connect(fd), 0);
	assert_int_equal(get_int(fd, SOL_SOCKET, SO_SNDBUF), sent);
	assert_int_equal(get_int(fd, SOL_SOCKET, SO_RCVBUF), get_int(fresh, SOL_SOCKET, SO_RCVBUF));
	close(fd);
	close(fresh);
}

static void the_receiver_of_signals_goes_along(void **state)
{
	struct f_owner_ex owner = { F_OWNER_PID, getpid() }, got;
	int fd = plain(0);

	(void)state;
	assert_int_equal(fcntl(fd, F_SETOWN_EX, &owner), 0);
	assert_int_equal(fcntl(fd, F_SETSIG, SIGUSR1), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK), 0);
	signal(SIGUSR1, SIG_IGN);
	assert_int_equal(do_connect(fd), 0);
	assert_int_equal(fcntl(fd, F_GETOWN_EX, &got), 0);
	assert_int_equal(got.pid, getpid());
	assert_int_equal(fcntl(fd, F_GETSIG), SIGUSR1);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_ASYNC | O_NONBLOCK), O_ASYNC | O_NONBLOCK);
	close(fd);
}

static void aliases_are_the_target_and_a_plausible_address_of_our_own(void **state)
{
	struct siv_alias alias;
	struct sockaddr_in self;
	int fd = plain(0), other = plain(0);
	in_port_t port;

	(void)state;
	assert_int_equal(do_connect(fd), 0);
	assert_int_equal(backend.get_alias(fd, &alias), 0);
	assert_int_equal(alias.peer.len, sizeof(tcp));
	assert_memory_equal(alias.peer.addr, &tcp, sizeof(tcp));
	assert_int_equal(alias.self.len, sizeof(self));
	memcpy(&self, alias.self.addr, sizeof(self));
	assert_int_equal(self.sin_family, AF_INET);
	assert_string_equal(inet_ntoa(self.sin_addr), "192.0.2.2");
	port = ntohs(self.sin_port);
	assert_in_range(port, 32768, 60999);

	assert_int_equal(do_connect(other), 0);
	assert_int_equal(backend.get_alias(other, &alias), 0);
	memcpy(&self, alias.self.addr, sizeof(self));
	assert_int_not_equal(ntohs(self.sin_port), port);
	close(fd);
	close(other);
}

static void a_bound_client_keeps_its_address(void **state)
{
	struct sockaddr_in self = { .sin_family = AF_INET }, got;
	socklen_t len = sizeof(self);
	struct siv_alias alias;
	int fd = plain(0);

	(void)state;
	self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&self, sizeof(self)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&self, &len), 0);
	assert_int_equal(do_connect(fd), 0);
	assert_int_equal(backend.get_alias(fd, &alias), 0);
	memcpy(&got, alias.self.addr, sizeof(got));
	assert_memory_equal(&got, &self, sizeof(got));
	close(fd);
}

static void ipv6_clients_have_ipv6_aliases(void **state)
{
	static const struct { const char *to, *self; } cases[] = {
		{ "fd00::2", "2001:db8::2" }, { "::ffff:10.0.0.2", "::ffff:192.0.2.2" },
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(6379) };
		struct sockaddr_in6 self;
		struct siv_alias alias;
		char text[INET6_ADDRSTRLEN];
		int fd = socket(AF_INET6, SOCK_STREAM, 0);

		if (fd < 0)
			skip();
		inet_pton(AF_INET6, cases[i].to, &to.sin6_addr);
		assert_int_equal(swap_connect(&rules, &rules.rule[0], fd, (struct sockaddr *)&to,
					      sizeof(to)), 0);
		assert_int_equal(backend.get_alias(fd, &alias), 0);
		assert_int_equal(alias.peer.len, sizeof(to));
		assert_memory_equal(alias.peer.addr, &to, sizeof(to));
		memcpy(&self, alias.self.addr, sizeof(self));
		inet_ntop(AF_INET6, &self.sin6_addr, text, sizeof(text));
		assert_string_equal(text, cases[i].self);
		close(fd);
	}
}

static void unix_clients_are_unnamed(void **state)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/nowhere" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct siv_alias alias;

	(void)state;
	parse("unix:/nowhere=siv://adas/cache");
	assert_int_equal(swap_connect(&rules, &rules.rule[0], fd, (struct sockaddr *)&to,
				      sizeof(to)), 0);
	assert_int_equal(backend.get_alias(fd, &alias), 0);
	assert_int_equal(alias.self.len, sizeof(sa_family_t));
	assert_int_equal(alias.peer.len, offsetof(struct sockaddr_un, sun_path) + 9);
	assert_string_equal(alias.peer.addr + offsetof(struct sockaddr_un, sun_path), "/nowhere");
	close(fd);
}

static void records_stay_records(void **state)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/nowhere" }, un;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	int peer = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	socklen_t len = fake_address("records", &un);

	(void)state;
	assert_int_equal(bind(peer, (struct sockaddr *)&un, len) || listen(peer, 1), 0);
	parse("unix:/nowhere=siv://adas/records");
	assert_int_equal(swap_connect(&rules, &rules.rule[0], fd, (struct sockaddr *)&to,
				      sizeof(to)), 0);
	assert_int_equal(get_int(fd, SOL_SOCKET, SO_TYPE), SOCK_SEQPACKET);
	close(fd);
	close(peer);
}

static void a_client_binds_to_the_service_that_as_names(void **state)
{
	int fd = plain(0);

	(void)state;
	assert_int_equal(do_connect(fd), 0);
	assert_string_equal(fake.bound.ssiv_service, "");
	close(fd);
	parse("tcp:*:6379=siv://adas/cache;as dashboard");
	fd = plain(0);
	assert_int_equal(do_connect(fd), 0);
	assert_string_equal(fake.bound.ssiv_service, "dashboard");
	assert_string_equal(fake.bound.ssiv_vm, "");
	close(fd);
}

/* What failed, and nothing else, is what the program learns; its socket is what it was. */
static void check_untouched(int fd, int ep, ino_t before, unsigned int descriptors)
{
	assert_true(is_plain(fd));
	assert_int_equal(inode(fd), before);
	assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(open_descriptors(), descriptors);
	wait_for(ep, EPOLLOUT | EPOLLHUP, 11);
	assert_int_equal(watch_fd(ep, EPOLL_CTL_MOD, fd, EPOLLOUT, 11), 0);
}

static void a_call_that_fails_leaves_the_socket_as_it_was(void **state)
{
	int ep = epoll_create1(0), fd = plain(SOCK_CLOEXEC);
	ino_t before = inode(fd);
	unsigned int descriptors;

	(void)state;
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	assert_int_equal(watch_fd(ep, EPOLL_CTL_ADD, fd, EPOLLOUT, 11), 0);
	descriptors = open_descriptors();

	fake.socket_error = -EAFNOSUPPORT;
	assert_int_equal(do_connect(fd), -EAFNOSUPPORT);
	check_untouched(fd, ep, before, descriptors);
	fake.socket_error = 0;

	fake.alias_error = -EINVAL;
	assert_int_equal(do_connect(fd), -EINVAL);
	check_untouched(fd, ep, before, descriptors);
	fake.alias_error = 0;

	parse("tcp:*:6379=siv://adas/cache;as dashboard");
	fake.bind_error = -EACCES;
	assert_int_equal(do_connect(fd), -EACCES);
	check_untouched(fd, ep, before, descriptors);
	fake.bind_error = 0;
	parse("tcp:*:6379=siv://adas/cache");

	fake.connect_error = -ECONNREFUSED;
	assert_int_equal(do_connect(fd), -ECONNREFUSED);
	assert_int_equal(fake.connects, 1);
	check_untouched(fd, ep, before, descriptors);
	fake.connect_error = 0;

	/* Descriptors that run out at each step. */
	for (int room = 0; room < 4; room++) {
		leave_descriptors(room);
		assert_int_equal(do_connect(fd), -EMFILE);
		check_untouched(fd, ep, before, descriptors);
	}
	leave_descriptors(4);
	assert_int_equal(do_connect(fd), 0);
	all_descriptors();
	close(fd);
	close(ep);
}

static void an_attempt_that_goes_on_keeps_the_new_socket_and_can_be_asked_again(void **state)
{
	static const int errs[] = { -EINPROGRESS, -EINTR };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		unsigned int sockets = fake.sockets;
		int fd = plain(0);

		fake.connect_error = errs[i];
		assert_int_equal(do_connect(fd), errs[i]);
		assert_false(is_plain(fd));
		fake.connect_error = -EALREADY;
		assert_int_equal(do_connect(fd), -EALREADY);
		assert_int_equal(fake.sockets, sockets + 1);
		assert_false(is_plain(fd));
		fake.connect_error = 0;
		close(fd);
	}
}

static void a_failed_attempt_can_be_made_again_elsewhere(void **state)
{
	struct sockaddr_in elsewhere = tcp;
	struct siv_alias alias;
	int fd = plain(SOCK_NONBLOCK);

	(void)state;
	fake.connect_error = -EINTR; /* swapped, not connected */
	assert_int_equal(do_connect(fd), -EINTR);
	assert_int_equal(backend.get_alias(fd, &alias), 0);
	assert_memory_equal(alias.peer.addr, &tcp, sizeof(tcp));
	fake.connect_error = 0;
	elsewhere.sin_addr.s_addr = htonl(0x0a000003);
	assert_int_equal(swap_connect(&rules, &rules.rule[0], fd, (struct sockaddr *)&elsewhere,
				      sizeof(elsewhere)), 0);
	assert_int_equal(backend.get_alias(fd, &alias), 0);
	assert_memory_equal(alias.peer.addr, &elsewhere, sizeof(elsewhere));
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
}

static void a_connected_socket_is_the_kernels_to_refuse(void **state)
{
	struct sockaddr_in elsewhere = tcp;
	unsigned int sockets;
	int fd = plain(0);

	(void)state;
	assert_int_equal(do_connect(fd), 0);
	sockets = fake.sockets;
	assert_int_equal(do_connect(fd), -EISCONN);
	elsewhere.sin_addr.s_addr = htonl(0x0a000003);
	assert_int_equal(swap_connect(&rules, &rules.rule[0], fd, (struct sockaddr *)&elsewhere,
				      sizeof(elsewhere)), -EISCONN);
	assert_int_equal(fake.sockets, sockets);
	close(fd);
}

static void close_the_number(int fd)
{
	assert_int_equal(dup2(STDERR_FILENO, fd), fd); /* as another thread would reuse it */
}

static void a_number_that_another_thread_reused_is_not_touched(void **state)
{
	int fd = plain(0);

	(void)state;
	fake.in_connect = close_the_number;
	fake.connect_error = -ECONNRESET;
	assert_int_equal(do_connect(fd), -ECONNRESET);
	assert_int_equal(inode(fd), inode(STDERR_FILENO));
	close(fd);
}

static int connect_path(int fd)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/nowhere" };

	return swap_connect(&rules, &rules.rule[0], fd, (struct sockaddr *)&un, sizeof(un));
}

static void sockets_that_a_rule_is_not_about_are_passed(void **state)
{
	struct sockaddr_in loopback = { .sin_family = AF_INET };
	socklen_t len = sizeof(loopback);
	int fd, server = plain(0), pair[2];

	(void)state;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(do_connect(fd), SWAP_PASS);
	close(fd);
	fd = socket(AF_INET6, SOCK_STREAM, 0); /* an AF_INET address is EAFNOSUPPORT there */
	if (fd >= 0) {
		assert_int_equal(do_connect(fd), SWAP_PASS);
		close(fd);
	}
	assert_int_equal(do_connect(-1), SWAP_PASS);
	fd = open("/dev/null", O_RDONLY);
	assert_int_equal(do_connect(fd), SWAP_PASS);
	close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(do_connect(pair[0]), SWAP_PASS);
	assert_int_equal(connect_path(pair[0]), SWAP_PASS); /* connected */
	close(pair[0]);
	close(pair[1]);
	fd = dup(listener);
	assert_int_equal(connect_path(fd), SWAP_PASS);
	close(fd);

	loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(server, (struct sockaddr *)&loopback, sizeof(loopback)), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&loopback, &len), 0);
	assert_int_equal(do_connect(server), SWAP_PASS); /* listens */
	fd = plain(0);
	assert_int_equal(connect(fd, (struct sockaddr *)&loopback, len), 0);
	assert_int_equal(do_connect(fd), SWAP_PASS); /* connected */
	assert_int_equal(swap_bind(&rules, &rules.rule[0], fd, TCP), SWAP_PASS);
	assert_int_equal(fake.sockets, 0);
	close(fd);
	close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(a_connect_leads_to_the_service_under_the_same_number),
		SWAP_TEST(flags_go_along),
		SWAP_TEST(options_go_along),
		SWAP_TEST(buffer_sizes_go_along_once_and_only_if_they_were_set),
		SWAP_TEST(the_receiver_of_signals_goes_along),
		SWAP_TEST(aliases_are_the_target_and_a_plausible_address_of_our_own),
		SWAP_TEST(a_bound_client_keeps_its_address),
		SWAP_TEST(ipv6_clients_have_ipv6_aliases),
		SWAP_TEST(unix_clients_are_unnamed),
		SWAP_TEST(records_stay_records),
		SWAP_TEST(a_client_binds_to_the_service_that_as_names),
		SWAP_TEST(a_call_that_fails_leaves_the_socket_as_it_was),
		SWAP_TEST(an_attempt_that_goes_on_keeps_the_new_socket_and_can_be_asked_again),
		SWAP_TEST(a_failed_attempt_can_be_made_again_elsewhere),
		SWAP_TEST(a_connected_socket_is_the_kernels_to_refuse),
		SWAP_TEST(a_number_that_another_thread_reused_is_not_touched),
		SWAP_TEST(sockets_that_a_rule_is_not_about_are_passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
