// SPDX-License-Identifier: BSD-2-Clause
/* The control connection: sivshmem-hostd's requests and what it is told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "switch.h"
#include "unix_socket.h"

static void client_drop(struct switchd *sw, const char *why)
{
	log_info("control: client %d: %s", (int)sw->control.client_pid, why);
	loop_close(&sw->control.client);
}

/* The socket's buffer is the queue: a client that lets it fill is dropped and walks STATE again. */
static void client_send(struct switchd *sw, const struct swp_hdr *hdr, int fd)
{
	int err = unix_send(sw->control.client.fd, hdr, hdr->len, fd);

	if (err)
		client_drop(sw, err == -EAGAIN ? "dropped: does not read its events" :
						 "closed its socket");
}

static void send_error(int sock, uint16_t request, uint32_t seq, int error)
{
	struct swp_hdr hdr = {
		.type = request | SWP_REPLY,
		.len = sizeof(hdr),
		.seq = seq,
		.error = error,
	};

	unix_send(sock, &hdr, hdr.len, NO_FD);
}

void control_event(struct end *end, enum swp_type type)
{
	struct link *link = end->link;
	struct switchd *sw = link->sw;
	struct swp_event event = {
		.hdr = { .type = type, .len = sizeof(event) },
		.serial = link->serial,
		.epoch = link->epoch,
		.end = end->index,
		.ivposition = end->id,
		.pid = end->pid,
		.uid = end->uid,
	};

	if (sw->control.client.fd < 0 || !sw->control.greeted)
		return;
	memcpy(event.link, link->name, sizeof(event.link));
	client_send(sw, &event.hdr, NO_FD);
}

/* The link that a request names, or NULL. */
static struct link *named_link(struct switchd *sw, const struct swp_link_name *req)
{
	return memchr(req->link, '\0', sizeof(req->link)) ? link_find(sw, req->link) : NULL;
}

/*
 * Handlers: 0 and a filled body, or -errno. *fd: a descriptor to lend with the reply; stays ours.
 */

static int do_hello(struct switchd *sw, const union swp_msg *req, union swp_msg *reply, int *fd)
{
	(void)fd;
	if (req->hello.version != SWP_VERSION)
		return -EPROTONOSUPPORT;
	sw->control.greeted = true;
	reply->hello_reply.version = SWP_VERSION;
	reply->hello_reply.pid = getpid();
	reply->hello_reply.instance = sw->instance;
	return 0;
}

static void fill_link_reply(union swp_msg *reply, const struct link *link)
{
	reply->link_reply.serial = link->serial;
	reply->link_reply.epoch = link->epoch;
}

static int do_link_add(struct switchd *sw, const union swp_msg *req, union swp_msg *reply, int *fd)
{
	struct link *link;
	int err = link_add(sw, &req->link_add, &link);

	(void)fd;
	if (!err)
		fill_link_reply(reply, link);
	return err;
}

static int do_link_del(struct switchd *sw, const union swp_msg *req, union swp_msg *reply, int *fd)
{
	struct link *link = named_link(sw, &req->link_name);

	(void)fd;
	if (!link)
		return -ENOENT;
	fill_link_reply(reply, link);
	return link_del(link);
}

static int do_epoch_bump(struct switchd *sw, const union swp_msg *req, union swp_msg *reply,
			 int *fd)
{
	struct link *link = named_link(sw, &req->link_name);

	(void)fd;
	if (!link)
		return -ENOENT;
	link_bump_epoch(link);
	log_info("link %s: epoch is %u now, as asked", link->name, link->epoch);
	fill_link_reply(reply, link);
	return 0;
}

static int do_mem(struct switchd *sw, const union swp_msg *req, union swp_msg *reply, int *fd)
{
	struct link *link = named_link(sw, &req->link_name);

	if (!link)
		return -ENOENT;
	reply->mem_reply.serial = link->serial;
	reply->mem_reply.epoch = link->epoch;
	reply->mem_reply.size = link->size;
	*fd = link->memfd;
	return 0;
}

static int do_state(struct switchd *sw, const union swp_msg *req, union swp_msg *reply, int *fd)
{
	struct swp_link_state *state = &reply->link_state;
	struct link *link = link_next(sw, req->state.after);

	(void)fd;
	if (!link)
		return -ENOENT;
	memcpy(state->link, link->name, sizeof(state->link));
	state->size = link->size;
	state->vectors = link->vectors;
	state->serial = link->serial;
	state->epoch = link->epoch;
	for (int i = 0; i < SWP_ENDS; i++) {
		state->end[i].config = link->end[i].config;
		state->end[i].state = link->end[i].state;
		state->end[i].ivposition = link->end[i].id;
		state->end[i].pid = link->end[i].pid;
		state->end[i].uid = link->end[i].uid;
	}
	return 0;
}

static const struct request {
	size_t len; /* the only legal one */
	size_t reply_len;
	int (*handle)(struct switchd *sw, const union swp_msg *req, union swp_msg *reply, int *fd);
} requests[] = {
	[SWP_HELLO] = { sizeof(struct swp_hello), sizeof(struct swp_hello_reply), do_hello },
	[SWP_LINK_ADD] = { sizeof(struct swp_link_add), sizeof(struct swp_link_reply),
			   do_link_add },
	[SWP_LINK_DEL] = { sizeof(struct swp_link_name), sizeof(struct swp_link_reply),
			   do_link_del },
	[SWP_STATE] = { sizeof(struct swp_state), sizeof(struct swp_link_state), do_state },
	[SWP_MEM] = { sizeof(struct swp_link_name), sizeof(struct swp_mem_reply), do_mem },
	[SWP_EPOCH_BUMP] = { sizeof(struct swp_link_name), sizeof(struct swp_link_reply),
			     do_epoch_bump },
};

/* What is wrong with a packet of len bytes: 0, or the -errno that ends the connection. */
static int packet_error(const struct control *control, const union swp_msg *req, size_t len)
{
	uint16_t type = req->hdr.type;

	if (req->hdr.len != len || req->hdr.error || req->hdr.pad)
		return -EBADMSG;
	if (type >= sizeof(requests) / sizeof(requests[0]) || !requests[type].handle)
		return -EOPNOTSUPP;
	if (len != requests[type].len)
		return -EBADMSG;
	return control->greeted || type == SWP_HELLO ? 0 : -EPROTO;
}

static void client_ready(struct loop_io *io, uint32_t events)
{
	struct switchd *sw = container_of(io, struct switchd, control.client);
	union swp_msg req = { 0 }, reply = { 0 };
	int fd = NO_FD;
	ssize_t n;
	int err;

	(void)events;
	/* No room for descriptors: those that a client sends are closed by the kernel. */
	n = recv(io->fd, &req, sizeof(req), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_drop(sw, "closed its socket");
		return;
	}
	err = (size_t)n < sizeof(req.hdr) ? -EBADMSG : packet_error(&sw->control, &req, n);
	if (err) {
		send_error(io->fd, req.hdr.type, req.hdr.seq, -err);
		client_drop(sw, "dropped: broke the protocol");
		return;
	}
	err = requests[req.hdr.type].handle(sw, &req, &reply, &fd);
	reply.hdr.type = req.hdr.type | SWP_REPLY;
	reply.hdr.len = err ? sizeof(reply.hdr) : requests[req.hdr.type].reply_len;
	reply.hdr.seq = req.hdr.seq;
	reply.hdr.error = -err;
	client_send(sw, &reply.hdr, err ? NO_FD : fd);
}

int control_attach(struct switchd *sw, int fd, pid_t pid)
{
	int err;

	sw->control.client.ready = client_ready;
	err = loop_add(sw->loop, &sw->control.client, fd, EPOLLIN | EPOLLRDHUP);
	if (err) {
		close(fd);
		return err;
	}
	sw->control.client_pid = pid;
	sw->control.greeted = false;
	log_info("control: client %d connected", (int)pid);
	return 0;
}

/* The client has closed its end, and only the loop has not got to it yet. */
static bool client_dead(const struct control *control)
{
	char byte;

	return recv(control->client.fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Answers the HELLO that is coming, or has come. */
static void refuse(int fd, int error)
{
	send_error(fd, SWP_HELLO, 0, error);
	close(fd);
}

static void control_accept(struct loop_io *io, uint32_t events)
{
	struct switchd *sw = container_of(io, struct switchd, control.listener);
	struct control *control = &sw->control;
	struct ucred peer;
	int fd;

	(void)events;
	fd = switchd_accept(sw, io->fd, &peer, refuse);
	if (fd < 0) {
		if (fd != -EAGAIN)
			log_error("control: cannot accept: %s", strerror(-fd));
		return;
	}
	if (!unix_uid_trusted(peer.uid)) {
		log_warning("control: process %d refused: uid %u", (int)peer.pid, peer.uid);
		refuse(fd, EACCES);
		return;
	}
	if (control->client.fd >= 0 && client_dead(control))
		client_drop(sw, "closed its socket");
	if (control->client.fd >= 0) {
		log_warning("control: process %d refused: client %d is connected", (int)peer.pid,
			    (int)control->client_pid);
		refuse(fd, EBUSY);
		return;
	}
	control_attach(sw, fd, peer.pid);
}

int control_init(struct switchd *sw)
{
	char path[4096];
	int fd, err;

	sw->control.client.fd = -1;
	sw->control.listener = (struct loop_io){ .fd = -1, .ready = control_accept };
	snprintf(path, sizeof(path), "%s/" SWP_CONTROL_SOCKET, sw->run_dir);
	fd = unix_listen(path, SOCK_SEQPACKET, -1, CONTROL_BACKLOG);
	if (fd < 0) {
		log_error("control: cannot listen at %s: %s", path, strerror(-fd));
		return fd;
	}
	err = loop_add(sw->loop, &sw->control.listener, fd, EPOLLIN);
	if (err) {
		unlink(path);
		close(fd);
	}
	return err;
}

void control_exit(struct switchd *sw)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/" SWP_CONTROL_SOCKET, sw->run_dir);
	loop_close(&sw->control.client);
	loop_close(&sw->control.listener);
	unlink(path);
}
