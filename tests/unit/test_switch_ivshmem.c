// SPDX-License-Identifier: BSD-2-Clause
/* What QEMUs see of sivshmem-switch: the ivshmem protocol, ids, and who may join an end. */
#include "test_switch_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unix_socket.h"

/* A newcomer's three first messages; its id. */
static uint16_t expect_greeting(struct qemu *q)
{
	struct message m;

	expect_message(q, 0);
	m = qemu_read(q);
	assert_in_range(m.value, ID_MIN, ID_MAX);
	assert_int_equal(m.fd, -1);
	close(expect_message_fd(q, -1));
	return m.value;
}

static void refill_joins(struct end *end)
{
	end->joins.full_ns = 0;
}

static void a_newcomer_gets_version_id_memory_peer_vectors_own_vectors(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]), b;
	uint16_t id_a, id_b;

	id_a = expect_greeting(&a);
	expect_fds(&a, id_a, TEST_VECTORS);
	expect_nothing(&a);

	b = qemu_join(f, &link->end[1]);
	id_b = expect_greeting(&b);
	assert_int_not_equal(id_a, id_b);
	expect_fds(&b, id_a, TEST_VECTORS);
	expect_fds(&b, id_b, TEST_VECTORS);
	expect_nothing(&b);

	expect_fds(&a, id_b, TEST_VECTORS);
	expect_nothing(&a);
	qemu_kill(&a);
	qemu_kill(&b);
}

static void both_qemus_get_the_same_memory_and_cannot_resize_it(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu q[SWP_ENDS];
	struct stat st[SWP_ENDS];

	for (int i = 0; i < SWP_ENDS; i++) {
		int fd;

		q[i] = qemu_join(f, &link->end[i]);
		expect_message(&q[i], 0);
		expect_message(&q[i], link->end[i].id);
		fd = expect_message_fd(&q[i], -1);
		assert_int_equal(fstat(fd, &st[i]), 0);
		assert_int_equal(st[i].st_size, TEST_SIZE);
		assert_int_equal(ftruncate(fd, TEST_SIZE / 2), -1);
		assert_int_equal(errno, EPERM);
		assert_int_equal(ftruncate(fd, TEST_SIZE * 2), -1);
		assert_int_equal(errno, EPERM);
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
		assert_int_equal(errno, EPERM);
		close(fd);
	}
	assert_int_equal(st[0].st_ino, st[1].st_ino);
	for (int i = 0; i < SWP_ENDS; i++)
		qemu_kill(&q[i]);
}

static void each_vector_rings_the_same_vector_of_the_peer(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]), b;
	int own[TEST_VECTORS], peer[TEST_VECTORS];

	expect_greeting(&a);
	for (int v = 0; v < TEST_VECTORS; v++)
		own[v] = expect_message_fd(&a, link->end[0].id);
	b = qemu_join(f, &link->end[1]);
	expect_greeting(&b);
	for (int v = 0; v < TEST_VECTORS; v++)
		peer[v] = expect_message_fd(&b, link->end[0].id);
	for (int v = 0; v < TEST_VECTORS; v++) {
		eventfd_t count;

		assert_int_equal(eventfd_write(peer[v], v + 1), 0);
		for (int w = 0; w < TEST_VECTORS; w++) {
			struct pollfd pfd = { .fd = own[w], .events = POLLIN };

			assert_int_equal(poll(&pfd, 1, 0), v == w);
		}
		assert_int_equal(eventfd_read(own[v], &count), 0);
		assert_int_equal(count, v + 1);
	}
	for (int v = 0; v < TEST_VECTORS; v++) {
		close(own[v]);
		close(peer[v]);
	}
	qemu_kill(&a);
	qemu_kill(&b);
}

static void a_leaver_is_told_once_and_a_rejoiner_has_new_doorbells(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]), b = qemu_join(f, &link->end[1]);
	uint16_t id = link->end[1].id;

	qemu_drain(&a);
	qemu_close(&b);
	pump(f);
	expect_message(&a, id);
	qemu_kill(&b);
	pump(f);
	expect_nothing(&a);

	b = qemu_join(f, &link->end[1]);
	assert_int_not_equal(link->end[1].id, id);
	expect_fds(&a, link->end[1].id, TEST_VECTORS);
	expect_nothing(&a);
	qemu_kill(&b);
	qemu_kill(&a);
}

static void a_newcomer_hears_nothing_of_a_peer_that_only_lingers(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]), b;
	uint16_t id;

	qemu_close(&a);
	pump(f);
	b = qemu_join(f, &link->end[1]);
	id = expect_greeting(&b);
	expect_fds(&b, id, TEST_VECTORS);
	expect_nothing(&b);
	qemu_kill(&a);
	pump(f);
	expect_nothing(&b);
	qemu_kill(&b);
}

static void ids_differ_on_all_links_of_a_switch(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "l0", "l1", "l2" };
	struct qemu q[3][SWP_ENDS];
	struct id_set seen = { 0 };

	for (int l = 0; l < 3; l++) {
		struct link *link = add_link(f, names[l]);

		for (int e = 0; e < SWP_ENDS; e++) {
			/* as if all the others had been given out since, with the end in between */
			f->sw.last_id = ID_MAX - 2;
			q[l][e] = qemu_join(f, &link->end[e]);
			assert_in_range(link->end[e].id, ID_MIN, ID_MAX);
			assert_false(id_set_has(&seen, link->end[e].id));
			id_set_add(&seen, link->end[e].id);
		}
	}
	for (int l = 0; l < 3; l++)
		for (int e = 0; e < SWP_ENDS; e++)
			qemu_kill(&q[l][e]);
}

static void a_living_qemu_never_hears_of_an_id_again(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]);
	struct id_set seen = { 0 };

	for (int i = 0; i < 60; i++) {
		struct qemu b;

		/* as if all 65534 ids had been given out meanwhile */
		f->sw.last_id = ID_MAX;
		refill_joins(&link->end[1]);
		b = qemu_join(f, &link->end[1]);
		assert_int_equal(link->end[1].state, SWP_END_JOINED);
		assert_false(id_set_has(&seen, link->end[1].id));
		id_set_add(&seen, link->end[1].id);
		qemu_drain(&a);
		qemu_kill(&b);
		pump(f);
		assert_int_equal(link->end[1].state, SWP_END_EMPTY);
	}
	qemu_kill(&a);
	pump(f);

	/* A new QEMU at the other end knows nothing, so the ids are good again. */
	f->sw.last_id = ID_MAX;
	refill_joins(&link->end[1]);
	a = qemu_join(f, &link->end[1]);
	assert_int_equal(link->end[1].id, ID_MIN);
	qemu_kill(&a);
}

static void a_join_is_refused_when_the_peer_has_been_told_all_ids(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]);
	struct qemu b;

	memset(&link->end[0].told, 0xff, sizeof(link->end[0].told));
	b = qemu_join(f, &link->end[1]);
	expect_refused(&b, EADDRNOTAVAIL);
	assert_int_equal(link->end[1].state, SWP_END_EMPTY);
	qemu_kill(&b);
	qemu_kill(&a);
	pump(f);
	b = qemu_join(f, &link->end[1]);
	assert_int_equal(link->end[1].state, SWP_END_JOINED);
	qemu_kill(&b);
}

static void nobody_joins_an_end_before_its_process_has_exited(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu first = qemu_join(f, &link->end[0]);
	struct qemu second = qemu_join(f, &link->end[0]);

	expect_refused(&second, EBUSY);
	qemu_kill(&second);

	qemu_close(&first);
	pump(f);
	assert_int_equal(link->end[0].state, SWP_END_LINGERING);
	second = qemu_join(f, &link->end[0]);
	expect_refused(&second, EBUSY);
	qemu_kill(&second);

	/* the same process is no exception */
	qemu_connect(&first, &link->end[0]);
	pump(f);
	expect_refused(&first, EBUSY);

	qemu_kill(&first);
	second = qemu_join(f, &link->end[0]);
	assert_int_equal(link->end[0].state, SWP_END_JOINED);
	assert_int_equal(link->end[0].pid, second.pid);
	qemu_kill(&second);
}

static void a_successor_is_let_in_though_the_exit_was_not_served_yet(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu first = qemu_join(f, &link->end[0]);
	struct qemu second = qemu_start();

	qemu_kill(&first);
	qemu_connect(&second, &link->end[0]);
	/* not the loop, which might serve the exit first */
	link->end[0].listener.ready(&link->end[0].listener, 0);
	assert_int_equal(link->end[0].state, SWP_END_JOINED);
	assert_int_equal(link->end[0].pid, second.pid);
	assert_int_equal(link->epoch, 2);
	qemu_kill(&second);
}

static void gone_means_that_the_process_exited(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu q = qemu_join(f, &link->end[1]);
	uint16_t id = link->end[1].id;
	struct swp_event event = next_event(f);

	assert_int_equal(event.hdr.type, SWP_JOINED);
	assert_string_equal(event.link, "l");
	assert_int_equal(event.serial, link->serial);
	assert_int_equal(event.end, 1);
	assert_int_equal(event.ivposition, id);
	assert_int_equal(event.pid, q.pid);
	assert_int_equal(event.uid, geteuid());
	assert_int_equal(event.epoch, 1);

	qemu_close(&q);
	event = next_event(f);
	assert_int_equal(event.hdr.type, SWP_LINGERING);
	assert_int_equal(event.ivposition, id);
	assert_int_equal(event.epoch, 1);
	assert_int_equal(link->end[1].state, SWP_END_LINGERING);
	assert_int_equal(next_event(f).hdr.type, 0);

	qemu_kill(&q);
	event = next_event(f);
	assert_int_equal(event.hdr.type, SWP_GONE);
	assert_int_equal(event.ivposition, id);
	assert_int_equal(event.pid, q.pid);
	assert_int_equal(event.epoch, 2);
	assert_int_equal(link->end[1].state, SWP_END_EMPTY);
	assert_int_equal(next_event(f).hdr.type, 0);
}

static bool end_is_empty(struct fixture *f, void *arg)
{
	(void)f;
	return ((struct end *)arg)->state == SWP_END_EMPTY;
}

static void an_exit_is_seen_while_another_process_has_the_connection(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]), b = qemu_join(f, &link->end[1]);
	uint16_t id = link->end[1].id;
	int copy = b.sock;

	qemu_drain(&a);
	b.sock = -1;
	qemu_kill(&b);
	pump_until(f, end_is_empty, &link->end[1]);
	expect_message(&a, id);
	expect_nothing(&a);
	close(copy);
	qemu_kill(&a);
}

static void another_uid_is_refused(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu q;

	link->end[0].config.uid = geteuid() + 1;
	q = qemu_join(f, &link->end[0]);
	expect_refused(&q, EACCES);
	assert_int_equal(link->end[0].state, SWP_END_EMPTY);
	qemu_kill(&q);

	link->end[0].config.uid = geteuid();
	q = qemu_join(f, &link->end[0]);
	assert_int_equal(link->end[0].state, SWP_END_JOINED);
	qemu_kill(&q);
}

static void a_vms_socket_belongs_to_its_uid_or_there_is_no_link(void **state)
{
	struct fixture *f = *state;
	union swp_msg req = link_request("l"), reply;
	uid_t uid = geteuid() + 1;
	char path[128];
	struct stat st;

	req.link_add.end[0].uid = uid;
	if (geteuid()) {
		assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), EPERM);
		return;
	}
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), 0);
	snprintf(path, sizeof(path), "%s/l-0.sock", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_client_that_sends_a_byte_is_disconnected_and_still_holds_the_end(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]), b = qemu_join(f, &link->end[1]);
	uint16_t id = link->end[1].id;

	qemu_drain(&a);
	qemu_drain(&b);
	assert_int_equal(send(b.sock, "x", 1, 0), 1);
	pump(f);
	assert_true(qemu_read(&b).eof);
	assert_int_equal(link->end[1].state, SWP_END_LINGERING);
	expect_message(&a, id);
	assert_int_equal(link->end[0].state, SWP_END_JOINED);
	qemu_kill(&a);
	qemu_kill(&b);
}

static void a_qemu_that_does_not_read_is_dropped_and_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]);
	int one = 1;
	int rejoins = 0;

	assert_int_equal(setsockopt(link->end[0].client.fd, SOL_SOCKET, SO_SNDBUF, &one,
				    sizeof(one)), 0);
	while (link->end[0].state == SWP_END_JOINED) {
		struct qemu b;

		refill_joins(&link->end[1]);
		b = qemu_join(f, &link->end[1]);
		assert_int_equal(link->end[1].state, SWP_END_JOINED);
		qemu_kill(&b);
		pump(f);
		assert_in_range(++rejoins, 1, 100);
	}
	assert_int_equal(link->end[0].state, SWP_END_LINGERING);
	qemu_kill(&a);
}

/* A newcomer must not hear of a peer that was dropped in the middle of being told of it. */
static void when_telling_the_peer_fails_the_newcomer_learns_that_it_left(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]), b;
	uint16_t id_a = link->end[0].id;
	int64_t junk = 0;
	int one = 1;
	uint16_t id_b;

	setsockopt(link->end[0].client.fd, SOL_SOCKET, SO_SNDBUF, &one, sizeof(one));
	while (send(link->end[0].client.fd, &junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	b = qemu_join(f, &link->end[1]);
	assert_int_equal(link->end[0].state, SWP_END_LINGERING);
	assert_int_equal(link->end[1].state, SWP_END_JOINED);
	id_b = expect_greeting(&b);
	expect_fds(&b, id_a, TEST_VECTORS);
	expect_fds(&b, id_b, TEST_VECTORS);
	expect_message(&b, id_a);
	expect_nothing(&b);
	qemu_kill(&a);
	pump(f);
	expect_nothing(&b);
	qemu_kill(&b);
}

static void joins_of_an_end_are_rate_limited(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	const uint64_t hour_ns = UINT64_C(3600000000000);
	struct qemu q;

	/* a refill that cannot happen during this test */
	link->end[0].joins.interval_ns = hour_ns;
	for (int i = 0; i < JOIN_BURST; i++) {
		q = qemu_join(f, &link->end[0]);
		assert_int_equal(link->end[0].state, SWP_END_JOINED);
		qemu_kill(&q);
		pump(f);
	}
	q = qemu_join(f, &link->end[0]);
	expect_refused(&q, EAGAIN);
	qemu_kill(&q);
	q = qemu_join(f, &link->end[1]);
	assert_int_equal(link->end[1].state, SWP_END_JOINED);
	qemu_kill(&q);

	/* two intervals later: two more */
	link->end[0].joins.full_ns -= 2 * hour_ns;
	for (int i = 0; i < 3; i++) {
		q = qemu_join(f, &link->end[0]);
		assert_int_equal(link->end[0].state, i < 2 ? SWP_END_JOINED : SWP_END_EMPTY);
		qemu_kill(&q);
		pump(f);
	}
}

static void a_pid_of_a_process_that_is_gone_is_not_watched(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu q = qemu_start();
	struct ucred peer;
	int fd, pidfd;

	qemu_connect(&q, &link->end[0]);
	fd = unix_accept(link->end[0].listener.fd, &peer);
	assert_true(fd >= 0);
	assert_int_equal(peer.pid, q.pid);
	pidfd = unix_peer_pidfd_by_pid(fd, peer.pid);
	assert_true(pidfd >= 0);
	assert_false(pidfd_exited(pidfd));

	/* Its number may belong to another process now; say, this one. */
	qemu_kill(&q);
	assert_true(pidfd_exited(pidfd));
	assert_int_equal(unix_peer_pidfd_by_pid(fd, getpid()), -ESRCH);
	close(pidfd);
	close(fd);
}

static void joining_and_leaving_keeps_no_descriptor(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	unsigned int before = count_fds();

	for (int i = 0; i < 10; i++) {
		struct qemu a = qemu_join(f, &link->end[0]), b = qemu_join(f, &link->end[1]);

		qemu_kill(&a);
		pump(f);
		qemu_kill(&b);
		pump(f);
	}
	assert_int_equal(count_fds(), before);
}

static void without_descriptors_a_join_is_refused_and_the_switch_goes_on(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu q = qemu_start(), r = qemu_start();
	struct rlimit old, none;
	int highest, fill[64], n = 0;

	qemu_connect(&q, &link->end[0]);
	qemu_connect(&r, &link->end[1]);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	highest = dup(0);
	none = old;
	none.rlim_cur = highest + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	do {
		assert_in_range(n, 0, 63);
		fill[n] = dup(0);
	} while (fill[n++] >= 0);
	pump(f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	while (--n >= 0 && n < 64)
		if (fill[n] >= 0)
			close(fill[n]);
	close(highest);
	expect_refused(&q, EMFILE);
	expect_refused(&r, EMFILE);
	qemu_kill(&q);
	qemu_kill(&r);

	q = qemu_join(f, &link->end[0]);
	assert_int_equal(link->end[0].state, SWP_END_JOINED);
	qemu_kill(&q);
}

#define SWITCH_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(a_newcomer_gets_version_id_memory_peer_vectors_own_vectors),
		SWITCH_TEST(both_qemus_get_the_same_memory_and_cannot_resize_it),
		SWITCH_TEST(each_vector_rings_the_same_vector_of_the_peer),
		SWITCH_TEST(a_leaver_is_told_once_and_a_rejoiner_has_new_doorbells),
		SWITCH_TEST(a_newcomer_hears_nothing_of_a_peer_that_only_lingers),
		SWITCH_TEST(ids_differ_on_all_links_of_a_switch),
		SWITCH_TEST(a_living_qemu_never_hears_of_an_id_again),
		SWITCH_TEST(a_join_is_refused_when_the_peer_has_been_told_all_ids),
		SWITCH_TEST(nobody_joins_an_end_before_its_process_has_exited),
		SWITCH_TEST(a_successor_is_let_in_though_the_exit_was_not_served_yet),
		SWITCH_TEST(gone_means_that_the_process_exited),
		SWITCH_TEST(an_exit_is_seen_while_another_process_has_the_connection),
		SWITCH_TEST(another_uid_is_refused),
		SWITCH_TEST(a_vms_socket_belongs_to_its_uid_or_there_is_no_link),
		SWITCH_TEST(a_client_that_sends_a_byte_is_disconnected_and_still_holds_the_end),
		SWITCH_TEST(a_qemu_that_does_not_read_is_dropped_and_holds_up_nobody),
		SWITCH_TEST(when_telling_the_peer_fails_the_newcomer_learns_that_it_left),
		SWITCH_TEST(joins_of_an_end_are_rate_limited),
		SWITCH_TEST(a_pid_of_a_process_that_is_gone_is_not_watched),
		SWITCH_TEST(joining_and_leaving_keeps_no_descriptor),
		SWITCH_TEST(without_descriptors_a_join_is_refused_and_the_switch_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
