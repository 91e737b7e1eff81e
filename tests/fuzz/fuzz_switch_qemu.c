// SPDX-License-Identifier: BSD-2-Clause
/*
 * QEMUs that come, go, send bytes and stop reading, in any order, against a real switch with two
 * links. Each byte of input is one step: the low 2 bits say which of the four ends, the rest what
 * happens there. After each step the ids and what QEMUs were told are checked against a model.
 */
#include <endian.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "remove_tree.h"
#include "switch.h"

enum { LINKS = 2, ENDS = LINKS * SWP_ENDS, VECTORS = 2 };

/* A QEMU as it sees itself. The switch watches an eventfd in place of its pidfd. */
static struct qemu {
	int sock, exit;      /* -1: none */
	uint16_t id;
	unsigned int setup;  /* messages of its start that it has seen: version, id, memory */
	struct id_set told;  /* every peer that it was ever told of */
	uint16_t peer;       /* the one it knows now, or ID_NONE */
	unsigned int vectors; /* of that peer, seen so far */
} qemus[ENDS];

static struct switchd sw;
static char run_dir[] = "/tmp/siv-fuzz-XXXXXX";

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void clean_up(void)
{
	switchd_exit(&sw);
	remove_tree(run_dir);
}

static void set_up(void)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	require(mkdtemp(run_dir) && !switchd_init(&sw, run_dir));
	atexit(clean_up);
	for (int l = 0; l < LINKS; l++) {
		struct swp_link_add req = { .size = SWP_SIZE_MIN, .vectors = VECTORS };
		struct link *link;

		snprintf(req.link, sizeof(req.link), "l%d", l);
		for (int e = 0; e < SWP_ENDS; e++) {
			snprintf(req.end[e].vm, sizeof(req.end[e].vm), "v%d", e);
			snprintf(req.end[e].socket, sizeof(req.end[e].socket), "l%d-%d", l, e);
			req.end[e].uid = SWP_UID_SWITCH;
		}
		require(!link_add(&sw, &req, &link));
	}
	for (int i = 0; i < ENDS; i++)
		qemus[i].sock = qemus[i].exit = -1;
}

static struct end *end_of(int i)
{
	return &sw.links[i / SWP_ENDS]->end[i % SWP_ENDS];
}

static void serve(void)
{
	while (loop_run_once(sw.loop, 0) > 0)
		;
}

/* What QEMU 7.2 does with a message, with its assumptions as checks. */
static void take_message(struct qemu *q, int64_t value, int fd)
{
	if (q->setup == 0) {
		require(value == 0 && fd < 0);
		q->setup = 1;
	} else if (q->setup == 1) {
		require(value >= ID_MIN && value <= ID_MAX && fd < 0);
		q->id = value;
		q->setup = 2;
	} else if (q->setup == 2) {
		require(value == -1 && fd >= 0);
		q->setup = 3;
	} else if (value == q->id) {
		require(fd >= 0);
	} else if (fd >= 0) {
		if (q->peer != value) {
			/* new doorbells only once the old peer has left, and never for an old id */
			require(q->peer == ID_NONE && !id_set_has(&q->told, value));
			id_set_add(&q->told, value);
			q->peer = value;
			q->vectors = 0;
		}
		require(++q->vectors <= VECTORS);
	} else {
		require(q->peer == value); /* a leave message for a peer that is there, once */
		q->peer = ID_NONE;
	}
}

static void read_messages(struct qemu *q)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	int64_t wire;
	struct iovec iov = { &wire, sizeof(wire) };

	for (;;) {
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		struct cmsghdr *cmsg;
		int fd = -1;
		ssize_t n = recvmsg(q->sock, &msg, MSG_DONTWAIT);

		if (n <= 0)
			return;
		require(n == sizeof(wire));
		cmsg = CMSG_FIRSTHDR(&msg);
		if (cmsg)
			memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
		take_message(q, le64toh(wire), fd);
		if (fd >= 0)
			close(fd);
	}
}

static void join(int i)
{
	struct qemu *q = &qemus[i];
	int pair[2];

	if (end_of(i)->state != SWP_END_EMPTY)
		return; /* ivshmem_accept() lets nobody get this far */
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	memset(q, 0, sizeof(*q));
	q->sock = pair[0];
	q->exit = eventfd(0, EFD_NONBLOCK);
	require(q->exit >= 0);
	require(!ivshmem_join(end_of(i), pair[1], dup(q->exit), 1000 + i, 0));
}

static void leave(struct qemu *q)
{
	if (q->sock >= 0)
		close(q->sock);
	q->sock = -1;
}

static void die(struct qemu *q)
{
	if (q->exit < 0)
		return;
	require(!eventfd_write(q->exit, 1));
	close(q->exit);
	q->exit = -1;
	leave(q);
}

static void step(uint8_t byte)
{
	int i = byte % ENDS, small = 1;
	struct qemu *q = &qemus[i];
	uint8_t action = byte / ENDS % 8;

	switch (action) {
	case 0:
		join(i);
		break;
	case 1:
		leave(q);
		break;
	case 2:
		die(q);
		break;
	case 3:
		if (q->sock >= 0)
			send(q->sock, &byte, 1, MSG_NOSIGNAL);
		break;
	case 4:
		if (q->sock >= 0)
			read_messages(q);
		break;
	case 5: /* from here on it has hardly any buffer */
		if (end_of(i)->client.fd >= 0)
			setsockopt(end_of(i)->client.fd, SOL_SOCKET, SO_SNDBUF, &small,
				   sizeof(small));
		break;
	case 6:
		sw.last_id = byte & 128 ? ID_MAX - 1 : ID_MIN - 1;
		break;
	case 7:
		return; /* several things at once: not served in between */
	}
	serve();
}

static void check(void)
{
	unsigned int held = 0, bits = 0;

	for (int i = 0; i < ENDS; i++) {
		struct end *end = end_of(i);

		require((end->state == SWP_END_JOINED) == (end->client.fd >= 0));
		require((end->state == SWP_END_EMPTY) == (end->process.fd < 0));
		require((end->state == SWP_END_EMPTY) == (end->id == ID_NONE));
		/* a doorbell is only ever held by a QEMU that can be told when it goes */
		require(!end->known || (end->state == SWP_END_JOINED &&
					end_opposite(end)->state == SWP_END_JOINED));
		if (end->id == ID_NONE)
			continue;
		held++;
		require(id_set_has(&sw.ids_held, end->id));
		for (int j = 0; j < i; j++)
			require(end_of(j)->id != end->id);
	}
	for (int w = 0; w < ID_BITMAP_WORDS; w++)
		bits += __builtin_popcountll(sw.ids_held.word[w]);
	require(bits == held);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int initialised;

	if (!initialised++)
		set_up();
	for (size_t i = 0; i < size; i++) {
		step(data[i]);
		check();
	}
	for (int i = 0; i < ENDS; i++) {
		if (qemus[i].sock >= 0)
			read_messages(&qemus[i]);
		die(&qemus[i]);
	}
	serve();
	for (int i = 0; i < ENDS; i++)
		require(end_of(i)->state == SWP_END_EMPTY);
	check();
	return 0;
}
