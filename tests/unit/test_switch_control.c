// SPDX-License-Identifier: BSD-2-Clause
/* What sivshmem-hostd sees of sivshmem-switch: links, epochs, memory, and its own restarts. */
#include "test_switch_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool exists(struct fixture *f, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return access(path, F_OK) == 0;
}

static void set_string(char *to, size_t size, const char *from)
{
	memset(to, 0, size);
	memcpy(to, from, strlen(from));
}

static int call_named(struct fixture *f, enum swp_type type, const char *name, union swp_msg *reply,
		      int *memfd)
{
	union swp_msg req = { 0 };

	snprintf(req.link_name.link, sizeof(req.link_name.link), "%s", name);
	return control_call(f, &req, type, reply, memfd);
}

static int call_state(struct fixture *f, uint32_t after, struct swp_link_state *state)
{
	union swp_msg req = { .state = { .after = after } }, reply;
	int err = control_call(f, &req, SWP_STATE, &reply, NULL);

	*state = reply.link_state;
	return err;
}

static void the_same_link_again_is_no_error_and_another_one_is(void **state)
{
	struct fixture *f = *state;
	union swp_msg req = link_request("l"), reply;
	uint32_t serial;

	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), 0);
	serial = reply.link_reply.serial;
	assert_int_equal(reply.link_reply.epoch, 1);
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), 0);
	assert_int_equal(reply.link_reply.serial, serial);
	assert_int_equal(f->sw.n_links, 1);

	for (int i = 0; i < 6; i++) {
		req = link_request("l");
		switch (i) {
		case 0:
			req.link_add.size *= 2;
			break;
		case 1:
			req.link_add.vectors++;
			break;
		case 2:
			set_string(req.link_add.end[0].vm, SWP_VM_LEN, "o");
			break;
		case 3:
			set_string(req.link_add.end[1].vm, SWP_VM_LEN, "o");
			break;
		case 4:
			set_string(req.link_add.end[1].socket, SWP_SOCKET_LEN, "o");
			break;
		case 5:
			req.link_add.end[0].uid = 12345;
			break;
		}
		assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), EEXIST);
	}
	assert_int_equal(f->sw.n_links, 1);
}

static void what_is_no_link_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad_sockets[] = {
		"", "/abs", "a/", "a//b", "../up", "a/../b", ".", "a/.hidden", "A", "sp ace", "-a",
	};
	static const char *const bad_names[] = { "", "-a", ".a", "A", "a b", "a/b", "\xc3\xa4" };
	union swp_msg req, reply;

#define EXPECT_INVALID(change) do { \
		req = link_request("l"); \
		change; \
		assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), EINVAL); \
	} while (0)

	EXPECT_INVALID(req.link_add.size = 0);
	EXPECT_INVALID(req.link_add.size = SWP_SIZE_MIN / 2);
	EXPECT_INVALID(req.link_add.size = SWP_SIZE_MAX * 2);
	EXPECT_INVALID(req.link_add.size = SWP_SIZE_MIN + 4096);
	EXPECT_INVALID(req.link_add.size = UINT64_MAX);
	EXPECT_INVALID(req.link_add.vectors = 0);
	EXPECT_INVALID(req.link_add.vectors = SWP_VECTORS_MAX + 1);
	EXPECT_INVALID(req.link_add.pad = 1);
	EXPECT_INVALID(memset(req.link_add.link, 'a', SWP_LINK_LEN));
	EXPECT_INVALID(req.link_add.link[SWP_LINK_LEN - 1] = 'a');
	EXPECT_INVALID(memset(req.link_add.end[0].vm, 'a', SWP_VM_LEN));
	EXPECT_INVALID(memset(req.link_add.end[1].socket, 'a', SWP_SOCKET_LEN));
	EXPECT_INVALID(strcpy(req.link_add.end[1].vm, req.link_add.end[0].vm));
	EXPECT_INVALID(strcpy(req.link_add.end[1].socket, req.link_add.end[0].socket));
	for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
		EXPECT_INVALID(set_string(req.link_add.link, SWP_LINK_LEN, bad_names[i]));
		EXPECT_INVALID(set_string(req.link_add.end[0].vm, SWP_VM_LEN, bad_names[i]));
		EXPECT_INVALID(set_string(req.link_add.end[1].vm, SWP_VM_LEN, bad_names[i]));
	}
	for (size_t i = 0; i < sizeof(bad_sockets) / sizeof(bad_sockets[0]); i++)
		EXPECT_INVALID(set_string(req.link_add.end[1].socket, SWP_SOCKET_LEN,
					  bad_sockets[i]));
	assert_int_equal(f->sw.n_links, 0);
#undef EXPECT_INVALID
}

static void a_socket_that_is_in_use_is_refused(void **state)
{
	struct fixture *f = *state;
	union swp_msg req = link_request("m"), reply;

	add_link(f, "l");
	strcpy(req.link_add.end[1].socket, "l-0.sock");
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), EADDRINUSE);
	strcpy(req.link_add.end[1].socket, SWP_CONTROL_SOCKET);
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), EADDRINUSE);
	assert_int_equal(f->sw.n_links, 1);
	assert_true(exists(f, SWP_CONTROL_SOCKET));
	assert_true(exists(f, "l-0.sock"));
}

static void a_link_that_cannot_be_made_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;
	union swp_msg req = link_request("l"), reply;
	unsigned int before = count_fds();

	strcpy(req.link_add.end[1].socket, "missing/l-1.sock");
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), ENOENT);
	assert_int_equal(f->sw.n_links, 0);
	assert_int_equal(count_fds(), before);
	assert_false(exists(f, "l-0.sock"));
}

static void a_folder_that_others_can_write_is_refused(void **state)
{
	struct fixture *f = *state;
	union swp_msg req = link_request("l"), reply;
	char folder[128];

	snprintf(folder, sizeof(folder), "%s/vm", f->dir);
	assert_int_equal(mkdir(folder, 0700), 0);
	strcpy(req.link_add.end[0].socket, "vm/l.sock");

	assert_int_equal(chmod(folder, 0722), 0);
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), EPERM);
	assert_int_equal(chmod(folder, 0720), 0);
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), EPERM);
	assert_int_equal(chmod(folder, 0711), 0);
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), 0);
	assert_true(exists(f, "vm/l.sock"));
}

static void a_stale_socket_is_replaced_and_nothing_else_is(void **state)
{
	struct fixture *f = *state;
	union swp_msg req = link_request("l"), reply;
	char path[128];

	snprintf(path, sizeof(path), "%s/l-1.sock", f->dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), EEXIST);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mknod(path, S_IFSOCK | 0600, 0), 0);
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), 0);
}

static void only_a_link_that_nobody_holds_is_deleted(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	unsigned int before = count_fds();
	struct qemu q = qemu_join(f, &link->end[1]);
	union swp_msg reply;

	assert_int_equal(call_named(f, SWP_LINK_DEL, "l", &reply, NULL), EBUSY);
	qemu_close(&q);
	pump(f);
	assert_int_equal(call_named(f, SWP_LINK_DEL, "l", &reply, NULL), EBUSY);
	qemu_kill(&q);
	pump(f);
	assert_int_equal(count_fds(), before);
	assert_int_equal(call_named(f, SWP_LINK_DEL, "l", &reply, NULL), 0);
	assert_int_equal(call_named(f, SWP_LINK_DEL, "l", &reply, NULL), ENOENT);
	assert_false(exists(f, "l-0.sock"));
	assert_false(exists(f, "l-1.sock"));
	assert_int_equal(count_fds(), before - 3); /* its memory and two sockets */
}

static void state_tells_all_links_and_who_is_on_them(void **state)
{
	struct fixture *f = *state;
	struct link *l = add_link(f, "l"), *m;
	struct qemu a, b;
	struct swp_link_state s;

	m = add_link(f, "m");
	a = qemu_join(f, &l->end[0]);
	b = qemu_join(f, &l->end[1]);
	qemu_close(&b);

	assert_int_equal(call_state(f, 0, &s), 0);
	assert_string_equal(s.link, "l");
	assert_int_equal(s.size, TEST_SIZE);
	assert_int_equal(s.vectors, TEST_VECTORS);
	assert_int_equal(s.serial, l->serial);
	assert_int_equal(s.epoch, 1);
	assert_string_equal(s.end[0].config.vm, "l-0");
	assert_string_equal(s.end[1].config.socket, "l-1.sock");
	assert_int_equal(s.end[0].state, SWP_END_JOINED);
	assert_int_equal(s.end[0].pid, a.pid);
	assert_int_equal(s.end[0].uid, geteuid());
	assert_int_equal(s.end[0].ivposition, l->end[0].id);
	assert_int_equal(s.end[1].state, SWP_END_LINGERING);
	assert_int_equal(s.end[1].pid, b.pid);

	assert_int_equal(call_state(f, s.serial, &s), 0);
	assert_string_equal(s.link, "m");
	assert_int_equal(s.end[0].state, SWP_END_EMPTY);
	assert_int_equal(s.end[0].pid, 0);
	assert_int_equal(s.end[0].ivposition, 0);
	assert_int_equal(call_state(f, m->serial, &s), ENOENT);

	qemu_kill(&a);
	qemu_kill(&b);
	pump(f);
	assert_int_equal(call_state(f, 0, &s), 0);
	assert_int_equal(s.epoch, 3);
	assert_int_equal(s.end[0].state, SWP_END_EMPTY);
	assert_int_equal(s.end[0].pid, 0);
}

static void mem_lends_the_memory_that_the_qemus_have(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu q = qemu_join(f, &link->end[0]);
	union swp_msg reply;
	int lent, given;
	uint64_t word = 0;

	expect_message(&q, 0);
	expect_message(&q, link->end[0].id);
	given = expect_message_fd(&q, -1);
	assert_int_equal(call_named(f, SWP_MEM, "l", &reply, &lent), 0);
	assert_int_equal(reply.mem_reply.size, TEST_SIZE);
	assert_int_equal(reply.mem_reply.serial, link->serial);
	assert_int_equal(fcntl(lent, F_GETFD), FD_CLOEXEC);
	assert_int_equal(pwrite(lent, "scrubbed", 8, TEST_SIZE - 8), 8);
	assert_int_equal(pread(given, &word, 8, TEST_SIZE - 8), 8);
	assert_memory_equal(&word, "scrubbed", 8);
	close(lent);
	close(given);
	assert_int_equal(call_named(f, SWP_MEM, "m", &reply, NULL), ENOENT);
	qemu_kill(&q);
}

static void an_epoch_counts_requests_and_exits(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	union swp_msg reply;
	struct qemu q;

	assert_int_equal(call_named(f, SWP_EPOCH_BUMP, "l", &reply, NULL), 0);
	assert_int_equal(reply.link_reply.epoch, 2);
	q = qemu_join(f, &link->end[0]);
	assert_int_equal(next_event(f).epoch, 2);
	qemu_kill(&q);
	assert_int_equal(next_event(f).epoch, 2); /* LINGERING or GONE */
	pump(f);
	assert_int_equal(link->epoch, 3);
	assert_int_equal(call_named(f, SWP_EPOCH_BUMP, "l", &reply, NULL), 0);
	assert_int_equal(reply.link_reply.epoch, 4);
	assert_int_equal(call_named(f, SWP_EPOCH_BUMP, "m", &reply, NULL), ENOENT);

	link->epoch = UINT32_MAX;
	assert_int_equal(call_named(f, SWP_EPOCH_BUMP, "l", &reply, NULL), 0);
	assert_int_equal(reply.link_reply.epoch, 1); /* 0 is "never set" */
}

static void links_outlive_the_control_client(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu a = qemu_join(f, &link->end[0]), b;
	struct swp_link_state s;

	control_close(f);
	b = qemu_join(f, &link->end[1]);
	assert_int_equal(link->end[1].state, SWP_END_JOINED);
	qemu_kill(&a);
	pump(f);

	f->n_events = 0;
	control_hello(f);
	assert_int_equal(next_event(f).hdr.type, 0);
	assert_int_equal(call_state(f, 0, &s), 0);
	assert_int_equal(s.epoch, 2);
	assert_int_equal(s.end[0].state, SWP_END_EMPTY);
	assert_int_equal(s.end[1].state, SWP_END_JOINED);
	assert_int_equal(s.end[1].pid, b.pid);
	qemu_close(&b);
	assert_int_equal(next_event(f).hdr.type, SWP_LINGERING);
	qemu_kill(&b);
	assert_int_equal(next_event(f).hdr.type, SWP_GONE);
}

/* The errno in a reply that is there now, and whether the connection ended after it. */
static int read_error(int sock, bool *closed)
{
	union swp_msg msg;
	int fd;
	int err = switch_recv(sock, &msg, &fd);

	if (err == -ECONNRESET) /* closed with packets unread: said once, before the reply */
		err = switch_recv(sock, &msg, &fd);
	assert_int_equal(err, 0);
	assert_true(msg.hdr.type & SWP_REPLY);
	err = msg.hdr.error;
	*closed = switch_recv(sock, &msg, &fd) == -ECONNRESET;
	return err;
}

static void a_second_client_is_refused_while_the_first_lives(void **state)
{
	struct fixture *f = *state;
	int second = control_open(f);
	bool closed;

	pump(f);
	assert_int_equal(read_error(second, &closed), EBUSY);
	assert_true(closed);
	close(second);
	add_link(f, "l"); /* the first one is still served */
}

static void a_dead_client_is_replaced_at_once(void **state)
{
	struct fixture *f = *state;
	union swp_msg req = { .hello = { .version = SWP_VERSION } }, reply;

	control_close(f);
	f->control = control_open(f);
	/* not the loop, which might serve the first one's end before */
	f->sw.control.listener.ready(&f->sw.control.listener, 0);
	assert_true(f->sw.control.client.fd >= 0);
	assert_false(f->sw.control.greeted);
	assert_int_equal(control_call(f, &req, SWP_HELLO, &reply, NULL), 0);
	add_link(f, "l");
}

static void a_client_that_does_not_read_is_dropped_and_can_resync(void **state)
{
	struct fixture *f = *state;
	struct link *link = add_link(f, "l");
	struct qemu q = qemu_join(f, &link->end[0]);
	struct swp_link_state s;
	int small = 1, events = 0;

	setsockopt(f->sw.control.client.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	while (f->sw.control.client.fd >= 0) {
		struct qemu r;

		link->end[1].joins.full_ns = 0;
		r = qemu_join(f, &link->end[1]);
		qemu_kill(&r);
		pump(f);
		assert_in_range(++events, 1, 100);
	}
	assert_int_equal(link->end[0].state, SWP_END_JOINED);
	control_close(f);
	control_hello(f);
	assert_int_equal(call_state(f, 0, &s), 0);
	assert_int_equal(s.epoch, 1 + events);
	assert_int_equal(s.end[0].pid, q.pid);
	qemu_kill(&q);
}

static void whoever_breaks_the_protocol_is_told_and_dropped(void **state)
{
	struct fixture *f = *state;
	const struct {
		struct swp_hdr hdr;
		uint32_t version;
		size_t len; /* of what is really sent */
		int error;
	} bad[] = {
		{ { SWP_HELLO, 24, 1, 0, 0 }, SWP_VERSION + 1, 24, EPROTONOSUPPORT },
		{ { SWP_HELLO, 24, 1, 0, 0 }, SWP_VERSION, 20, EBADMSG },
		{ { SWP_HELLO, 24, 1, 0, 0 }, SWP_VERSION, 8, EBADMSG },
		{ { SWP_HELLO, 1000, 1, 0, 0 }, SWP_VERSION, 1000, EBADMSG },
		{ { SWP_HELLO, 16, 1, 0, 0 }, SWP_VERSION, 16, EBADMSG },
		{ { SWP_HELLO, 24, 1, 0, 7 }, SWP_VERSION, 24, EBADMSG },
		{ { SWP_STATE, 24, 1, 0, 0 }, 0, 24, EPROTO },
		{ { 0, 16, 1, 0, 0 }, 0, 16, EOPNOTSUPP },
		{ { SWP_EPOCH_BUMP + 1, 16, 1, 0, 0 }, 0, 16, EOPNOTSUPP },
		{ { SWP_HELLO | SWP_REPLY, 32, 1, 0, 0 }, 1, 32, EOPNOTSUPP },
		{ { SWP_GONE, 104, 1, 0, 0 }, 0, 104, EOPNOTSUPP },
	};

	add_link(f, "l");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char packet[1024] = { 0 };
		bool closed;

		memcpy(packet, &bad[i].hdr, sizeof(bad[i].hdr));
		memcpy(packet + sizeof(bad[i].hdr), &bad[i].version, sizeof(bad[i].version));
		control_close(f);
		f->control = control_open(f);
		pump(f);
		assert_int_equal(send(f->control, packet, bad[i].len, 0), bad[i].len);
		pump(f);
		assert_int_equal(read_error(f->control, &closed), bad[i].error);
		assert_int_equal(closed, bad[i].error != EPROTONOSUPPORT);
	}
	control_close(f);
	control_hello(f);
	assert_int_equal(f->sw.n_links, 1);
}

static void descriptors_that_a_client_sends_are_not_kept(void **state)
{
	struct fixture *f = *state;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	union swp_msg req = { 0 }, reply;
	struct iovec iov = { &req, sizeof(req.state) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	unsigned int before = count_fds();
	int fd;

	req.hdr = (struct swp_hdr){ .type = SWP_STATE, .len = sizeof(req.state), .seq = 9 };
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &f->control, sizeof(int));
	assert_int_equal(sendmsg(f->control, &msg, 0), sizeof(req.state));
	pump(f);
	assert_int_equal(switch_recv(f->control, &reply, &fd), 0);
	assert_int_equal(reply.hdr.seq, 9);
	assert_int_equal(reply.hdr.error, ENOENT);
	assert_int_equal(count_fds(), before);
}

static void there_is_room_for_links_max_links(void **state)
{
	struct fixture *f = *state;
	union swp_msg req, reply;
	char name[16];

	for (int i = 0; i <= SWP_LINKS_MAX; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		req = link_request(name);
		assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL),
				 i < SWP_LINKS_MAX ? 0 : ENOSPC);
	}
	/* a deleted one makes room, and STATE still walks all of them once */
	assert_int_equal(call_named(f, SWP_LINK_DEL, "l100", &reply, NULL), 0);
	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), 0);
	for (uint32_t after = 0, n = 0;; n++) {
		struct swp_link_state s;

		if (call_state(f, after, &s)) {
			assert_int_equal(n, SWP_LINKS_MAX);
			break;
		}
		assert_true(s.serial > after);
		after = s.serial;
	}
}

#define SWITCH_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(the_same_link_again_is_no_error_and_another_one_is),
		SWITCH_TEST(what_is_no_link_is_refused),
		SWITCH_TEST(a_socket_that_is_in_use_is_refused),
		SWITCH_TEST(a_link_that_cannot_be_made_leaves_nothing_behind),
		SWITCH_TEST(a_folder_that_others_can_write_is_refused),
		SWITCH_TEST(a_stale_socket_is_replaced_and_nothing_else_is),
		SWITCH_TEST(only_a_link_that_nobody_holds_is_deleted),
		SWITCH_TEST(state_tells_all_links_and_who_is_on_them),
		SWITCH_TEST(mem_lends_the_memory_that_the_qemus_have),
		SWITCH_TEST(an_epoch_counts_requests_and_exits),
		SWITCH_TEST(links_outlive_the_control_client),
		SWITCH_TEST(a_second_client_is_refused_while_the_first_lives),
		SWITCH_TEST(a_dead_client_is_replaced_at_once),
		SWITCH_TEST(a_client_that_does_not_read_is_dropped_and_can_resync),
		SWITCH_TEST(whoever_breaks_the_protocol_is_told_and_dropped),
		SWITCH_TEST(descriptors_that_a_client_sends_are_not_kept),
		SWITCH_TEST(there_is_room_for_links_max_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
