// SPDX-License-Identifier: BSD-2-Clause
/* A switch in the test's own thread, and the parties that talk to it. */
#include "test_switch_fixture.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "remove_tree.h"

enum { STEP_TIMEOUT_MS = 20000 /* far beyond anything but a hang */ };

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_init("switch", getenv("TEST_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_NONE);
	strcpy(f->dir, "/tmp/siv-switch-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(switchd_init(&f->sw, f->dir), 0);
	f->control = -1;
	control_hello(f);
	*state = f;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	control_close(f);
	switchd_exit(&f->sw);
	assert_int_equal(remove_tree(f->dir), 0);
	free(f);
	return 0;
}

void pump(struct fixture *f)
{
	int n;

	do {
		n = loop_run_once(f->sw.loop, 0);
		assert_true(n >= 0);
	} while (n > 0);
}

void pump_until(struct fixture *f, bool (*done)(struct fixture *f, void *arg), void *arg)
{
	while (!done(f, arg))
		assert_true(loop_run_once(f->sw.loop, STEP_TIMEOUT_MS) > 0);
}

int control_open(struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(sock >= 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" SWP_CONTROL_SOCKET, f->dir);
	assert_int_equal(connect(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return sock;
}

void control_hello(struct fixture *f)
{
	union swp_msg req = { .hello = { .version = SWP_VERSION } }, reply;

	f->control = control_open(f);
	assert_int_equal(control_call(f, &req, SWP_HELLO, &reply, NULL), 0);
	assert_int_equal(reply.hello_reply.version, SWP_VERSION);
	assert_int_equal(reply.hello_reply.pid, getpid());
}

void control_close(struct fixture *f)
{
	if (f->control >= 0)
		close(f->control);
	f->control = -1;
}

static void keep_event(struct fixture *f, const struct swp_event *event)
{
	assert_true(f->n_events < TEST_EVENTS_MAX);
	f->events[f->n_events++] = *event;
}

int control_call(struct fixture *f, union swp_msg *req, enum swp_type type, union swp_msg *reply,
		 int *memfd)
{
	uint32_t seq = ++f->seq;
	int fd;

	assert_int_equal(switch_send(f->control, req, type, seq), 0);
	pump(f);
	for (;;) {
		assert_int_equal(switch_recv(f->control, reply, &fd), 0);
		if (reply->hdr.type & SWP_REPLY)
			break;
		keep_event(f, &reply->event);
	}
	assert_int_equal(reply->hdr.type, type | SWP_REPLY);
	assert_int_equal(reply->hdr.seq, seq);
	if (memfd)
		*memfd = fd;
	else
		assert_int_equal(fd, -1);
	return reply->hdr.error;
}

struct swp_event next_event(struct fixture *f)
{
	struct swp_event event = { 0 };
	union swp_msg msg;
	int fd;

	pump(f);
	while (switch_recv(f->control, &msg, &fd) == 0)
		keep_event(f, &msg.event);
	if (!f->n_events)
		return event;
	event = f->events[0];
	memmove(&f->events[0], &f->events[1], --f->n_events * sizeof(f->events[0]));
	return event;
}

union swp_msg link_request(const char *name)
{
	union swp_msg req = { 0 };
	struct swp_link_add *add = &req.link_add;

	snprintf(add->link, sizeof(add->link), "%s", name);
	add->size = TEST_SIZE;
	add->vectors = TEST_VECTORS;
	for (unsigned int i = 0; i < SWP_ENDS; i++) {
		snprintf(add->end[i].vm, sizeof(add->end[i].vm), "%.15s-%u", name, i);
		snprintf(add->end[i].socket, sizeof(add->end[i].socket), "%.64s-%u.sock", name, i);
		add->end[i].uid = SWP_UID_SWITCH;
	}
	return req;
}

struct link *add_link(struct fixture *f, const char *name)
{
	union swp_msg req = link_request(name), reply;
	struct link *link;

	assert_int_equal(control_call(f, &req, SWP_LINK_ADD, &reply, NULL), 0);
	link = link_find(&f->sw, name);
	assert_non_null(link);
	assert_int_equal(reply.link_reply.epoch, link->epoch);
	return link;
}

/* --- QEMUs ----------------------------------------------------------------------------------- */

static void send_fd(int to, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	if (sendmsg(to, &msg, 0) != 1)
		abort();
}

/* One message of up to len bytes and the descriptor beside it; bytes read, 0 at end, or -errno. */
static ssize_t recv_fd(int from, void *data, size_t len, int *fd, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { data, len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg;
	ssize_t n = recvmsg(from, &msg, flags | MSG_CMSG_CLOEXEC);

	*fd = -1;
	if (n < 0)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg)
		memcpy(fd, CMSG_DATA(cmsg), sizeof(*fd));
	return n;
}

/*
 * The child. It is sent the path of a socket to connect to, and then sends the connection to the
 * parent; "-" is to close the connection. It has nothing else open, like a QEMU.
 */
__attribute__((noreturn))
static void qemu_main(int command)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = -1;
	char ack = 0;

	dup2(command, 3);
	close_range(4, ~0U, 0);
	for (;;) {
		memset(addr.sun_path, 0, sizeof(addr.sun_path));
		if (recv(3, addr.sun_path, sizeof(addr.sun_path) - 1, 0) <= 0)
			_exit(0);
		if (addr.sun_path[0] == '-') {
			close(sock);
			if (send(3, &ack, 1, 0) != 1)
				_exit(1);
			continue;
		}
		sock = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
			_exit(1);
		send_fd(3, sock);
	}
}

struct qemu qemu_start(void)
{
	struct qemu q = { .sock = -1 };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	q.pid = fork();
	assert_true(q.pid >= 0);
	if (!q.pid)
		qemu_main(pair[1]);
	close(pair[1]);
	q.command = pair[0];
	return q;
}

void qemu_connect(struct qemu *q, struct end *end)
{
	char path[128], byte;
	int n = snprintf(path, sizeof(path), "%s/%s", end->link->sw->run_dir, end->config.socket);

	assert_int_equal(send(q->command, path, n, 0), n);
	assert_int_equal(recv_fd(q->command, &byte, 1, &q->sock, 0), 1);
	assert_true(q->sock >= 0);
}

struct qemu qemu_join(struct fixture *f, struct end *end)
{
	struct qemu q = qemu_start();

	qemu_connect(&q, end);
	pump(f);
	return q;
}

struct message qemu_read(struct qemu *q)
{
	struct message m = { .value = NO_MESSAGE, .fd = -1 };
	int64_t wire;
	ssize_t n = recv_fd(q->sock, &wire, sizeof(wire), &m.fd, MSG_DONTWAIT);

	if (n == 0 || n == -ECONNRESET)
		m.eof = true;
	else if (n != -EAGAIN) {
		assert_int_equal(n, sizeof(wire));
		m.value = le64toh(wire);
	}
	return m;
}

unsigned int qemu_drain(struct qemu *q)
{
	unsigned int n = 0;

	for (;;) {
		struct message m = qemu_read(q);

		if (m.value == NO_MESSAGE)
			return n;
		if (m.fd >= 0)
			close(m.fd);
		n++;
	}
}

void qemu_close(struct qemu *q)
{
	char ack;

	close(q->sock);
	q->sock = -1;
	assert_int_equal(send(q->command, "-", 1, 0), 1);
	assert_int_equal(recv(q->command, &ack, 1, 0), 1);
}

void qemu_kill(struct qemu *q)
{
	if (q->sock >= 0)
		close(q->sock);
	q->sock = -1;
	close(q->command);
	kill(q->pid, SIGKILL);
	assert_int_equal(waitpid(q->pid, NULL, 0), q->pid);
}

void expect_message(struct qemu *q, int64_t value)
{
	struct message m = qemu_read(q);

	assert_int_equal(m.value, value);
	assert_int_equal(m.fd, -1);
}

int expect_message_fd(struct qemu *q, int64_t value)
{
	struct message m = qemu_read(q);

	assert_int_equal(m.value, value);
	assert_true(m.fd >= 0);
	return m.fd;
}

void expect_fds(struct qemu *q, int64_t value, unsigned int n)
{
	while (n--)
		close(expect_message_fd(q, value));
}

void expect_nothing(struct qemu *q)
{
	struct message m = qemu_read(q);

	assert_false(m.eof);
	assert_true(m.value == NO_MESSAGE);
}

void expect_refused(struct qemu *q, int error)
{
	expect_message(q, -error);
	assert_true(qemu_read(q).eof);
}

unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}
