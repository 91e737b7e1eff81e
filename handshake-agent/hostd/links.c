// SPDX-License-Identifier: BSD-2-Clause
/*
 * The switch's client. At start, and after its connection was lost, everything is asked anew by
 * blocking calls (the switch answers at once, or something is badly wrong); between that, its
 * events and the answers to EPOCH_BUMP come through the loop.
 *
 * `instance` tells whether a switch that answers again is the one from before. If it is, what its
 * STATE differs in from what we knew is what we missed. If not, the old one's memory is lost to
 * everybody but the VMs that map it: they go on with each other, and have to be restarted to be
 * connected anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/list.h"
#include "common/log.h"
#include "hostd.h"
#include "starter.h"
#include "switch/switch_client.h"

#define RECONNECT_MS 1000u /* between attempts to reach a switch that is lost and does not start */

struct links_end {
	bool joined;
	uint32_t ivposition;
};

/* One link; the backend of a broker's link. */
struct links_link {
	struct links *links;
	unsigned int index;
	int memfd; /* -1: none */
	bool bump_sent;
	struct links_end end[SWP_ENDS]; /* as the broker was told */
};

struct links {
	struct loop *loop;
	const struct host_config *config;
	struct broker *broker;
	const char *switch_binary;
	int starter;
	int fd; /* -1: lost */
	struct loop_io io;
	struct loop_timer reconnect;
	uint64_t instance;
	unsigned int n_links;
	struct links_link *link;
};

static const char *name_of(const struct links_link *link)
{
	return link->links->config->policy->links[link->index].name;
}

static struct links_link *find_link(struct links *links, const char name[SWP_LINK_LEN])
{
	for (unsigned int i = 0; i < links->n_links; i++) {
		if (strncmp(name_of(&links->link[i]), name, SWP_LINK_LEN) == 0)
			return &links->link[i];
	}
	return NULL;
}

/* Losing the switch */

static void links_lost(struct links *links, const char *why)
{
	if (links->fd < 0)
		return;
	log_warning("switch: %s: connecting again", why);
	loop_remove(&links->io);
	close(links->fd);
	links->fd = -1;
	loop_timer_set(links->loop, &links->reconnect, 0);
}

/* The broker's side */

static int link_scrub(void *backend, uint64_t offset, uint64_t length)
{
	struct links_link *link = backend;

	/* A hole reads as zeros in both VMs, and gives the host its memory back. */
	if (fallocate(link->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)length) < 0)
		return -errno;
	return 0;
}

static void link_bump(void *backend)
{
	struct links_link *link = backend;
	struct links *links = link->links;
	union swp_msg msg = { 0 };
	int err;

	link->bump_sent = true; /* sent again with the next switch, if this one is lost */
	if (links->fd < 0)
		return;
	snprintf(msg.link_name.link, sizeof(msg.link_name.link), "%s", name_of(link));
	err = switch_send(links->fd, &msg, SWP_EPOCH_BUMP, link->index + 1);
	if (err)
		links_lost(links, strerror(-err));
}

static const struct broker_link_ops link_ops = {
	.scrub = link_scrub,
	.bump = link_bump,
};

/* What the switch says */

static void end_joined(struct links_link *link, unsigned int end, uint32_t ivposition)
{
	link->end[end] = (struct links_end){ .joined = true, .ivposition = ivposition };
	broker_link_joined(link->links->broker, link->index, end, ivposition);
}

static void end_gone(struct links_link *link, unsigned int end, uint32_t epoch)
{
	link->end[end] = (struct links_end){ 0 };
	broker_link_gone(link->links->broker, link->index, end, epoch);
}

static void got_event(const struct swp_event *event, void *data)
{
	struct links *links = data;
	struct links_link *link = find_link(links, event->link);

	if (!link || event->end >= SWP_ENDS)
		return; /* a link that an earlier configuration had */
	switch (event->hdr.type) {
	case SWP_JOINED:
		end_joined(link, event->end, event->ivposition);
		break;
	case SWP_LINGERING:
		/* It may still map the memory: joined until its process exits. */
		log_warning("link %s: QEMU %d closed its socket and lives on", name_of(link),
			    event->pid);
		break;
	case SWP_GONE:
		end_gone(link, event->end, event->epoch);
		break;
	}
}

static void got_reply(struct links *links, const union swp_msg *msg)
{
	struct links_link *link;

	if (msg->hdr.type != (SWP_EPOCH_BUMP | SWP_REPLY) || !msg->hdr.seq ||
	    msg->hdr.seq > links->n_links)
		return;
	link = &links->link[msg->hdr.seq - 1];
	if (msg->hdr.error) {
		log_error("link %s: the switch does not end its epoch: %s", name_of(link),
			  strerror((int)msg->hdr.error));
		return;
	}
	link->bump_sent = false;
	broker_link_epoch(links->broker, link->index, msg->link_reply.epoch);
}

static void links_ready(struct loop_io *io, uint32_t events)
{
	struct links *links = container_of(io, struct links, io);
	union swp_msg msg;
	int err, memfd;

	(void)events;
	while (links->fd >= 0) {
		err = switch_recv(links->fd, &msg, &memfd);
		if (memfd >= 0)
			close(memfd);
		if (err == -EAGAIN)
			return;
		if (err) {
			links_lost(links, err == -ECONNRESET ? "it closed the connection" :
							       strerror(-err));
			return;
		}
		if (msg.hdr.type & SWP_REPLY)
			got_reply(links, &msg);
		else
			got_event(&msg.event, links);
	}
}

/* Asking everything */

static int call(struct links *links, union swp_msg *request, enum swp_type type,
		union swp_msg *reply, int *memfd)
{
	return switch_call(links->fd, request, type, reply, memfd, got_event, links);
}

static int add_link(struct links_link *link, uint32_t *epoch)
{
	const struct host_config *config = link->links->config;
	const struct policy_link *policy = &config->policy->links[link->index];
	const struct host_link *host = &config->links[link->index];
	union swp_msg msg = { 0 }, reply;
	int err;

	snprintf(msg.link_add.link, sizeof(msg.link_add.link), "%s", policy->name);
	msg.link_add.size = policy->size;
	msg.link_add.vectors = host->vectors;
	for (unsigned int end = 0; end < SWP_ENDS; end++) {
		struct swp_end_config *to = &msg.link_add.end[end];
		uid_t uid = config->vms[policy->vm[end]].uid;

		snprintf(to->vm, sizeof(to->vm), "%s", config->policy->vms[policy->vm[end]].name);
		to->uid = uid == HOST_UID_OWN ? SWP_UID_SWITCH : uid;
		if (snprintf(to->socket, sizeof(to->socket), "%s", host->socket[end]) >=
		    (int)sizeof(to->socket))
			return -ENAMETOOLONG;
	}
	err = call(link->links, &msg, SWP_LINK_ADD, &reply, NULL);
	if (err == -EEXIST)
		log_error("%s:%d: link: the running switch has it with another size, vectors or "
			  "user: change it back, or stop its VMs and the switch", config->path,
			  policy->line);
	else if (err)
		log_error("%s:%d: link: the switch refuses it: %s", config->path, policy->line,
			  strerror(-err));
	else
		*epoch = reply.link_reply.epoch;
	return err;
}

/* Lends the memory of a link and starts it in the broker. */
static int start_link(struct links_link *link, uint64_t instance, uint32_t epoch)
{
	union swp_msg msg = { 0 }, reply;
	int err, memfd = -1;

	snprintf(msg.link_name.link, sizeof(msg.link_name.link), "%s", name_of(link));
	err = call(link->links, &msg, SWP_MEM, &reply, &memfd);
	if (err) {
		log_error("link %s: the switch does not lend its memory: %s", name_of(link),
			  strerror(-err));
		return err;
	}
	if (link->memfd >= 0)
		close(link->memfd);
	link->memfd = memfd;
	link->bump_sent = false;
	memset(link->end, 0, sizeof(link->end));
	broker_link_start(link->links->broker, link->index, &link_ops, link, instance,
			  reply.mem_reply.size, epoch);
	return 0;
}

/* Brings the broker's view of a link in line with the switch's. */
static void take_state(struct links_link *link, const struct swp_link_state *state)
{
	for (unsigned int end = 0; end < SWP_ENDS; end++) {
		const struct swp_end *now = &state->end[end];
		bool joined = now->state != SWP_END_EMPTY;
		struct links_end *known = &link->end[end];

		if (known->joined && (!joined || known->ivposition != now->ivposition))
			end_gone(link, end, state->epoch);
		if (joined)
			end_joined(link, end, now->ivposition);
	}
}

static void forget_link(struct links *links, const char *name)
{
	union swp_msg msg = { 0 }, reply;
	int err;

	snprintf(msg.link_name.link, sizeof(msg.link_name.link), "%s", name);
	err = call(links, &msg, SWP_LINK_DEL, &reply, NULL);
	if (err)
		log_warning("link %s: not in %s any more; the switch keeps it: %s", name,
			    links->config->path, strerror(-err));
}

static int walk_state(struct links *links)
{
	union swp_msg msg = { 0 }, reply;
	struct links_link *link;
	int err;

	for (;;) {
		err = call(links, &msg, SWP_STATE, &reply, NULL);
		if (err)
			return err == -ENOENT ? 0 : err;
		msg.state.after = reply.link_state.serial;
		link = find_link(links, reply.link_state.link);
		if (link)
			take_state(link, &reply.link_state);
		else
			forget_link(links, reply.link_state.link);
	}
}

static int sync_links(struct links *links, uint64_t instance)
{
	bool same_switch = links->instance == instance;
	uint32_t epoch = 0;
	int err;

	for (unsigned int i = 0; i < links->n_links; i++) {
		err = add_link(&links->link[i], &epoch);
		if (!err && !same_switch)
			err = start_link(&links->link[i], instance, epoch);
		if (err)
			return err;
	}
	err = walk_state(links);
	if (err) {
		log_error("switch: its state: %s", strerror(-err));
		return err;
	}
	for (unsigned int i = 0; i < links->n_links; i++) {
		if (!same_switch)
			broker_link_ready(links->broker, i);
		else if (links->link[i].bump_sent)
			link_bump(&links->link[i]);
	}
	return 0;
}

/* Connecting */

/* A switch that is greeted, by the starter: this user need not be the switch's. */
static int connect_to(struct links *links, struct swp_hello_reply *hello)
{
	int fd = starter_connect(links->starter), err;

	err = fd < 0 ? fd : switch_greet(fd, hello);
	if (err && fd >= 0)
		close(fd);
	return err ?: fd;
}

static int connect_or_start(struct links *links, struct swp_hello_reply *hello)
{
	int fd, err;

	fd = connect_to(links, hello);
	if (fd != -ENOENT && fd != -ECONNREFUSED)
		return fd;
	if (links->instance)
		log_error("switch: it is gone: VMs that run keep the links they have, and must be "
			  "restarted to get new ones");
	err = starter_start(links->starter);
	if (err) {
		log_error("%s: does not start: %s: see switch.log in %s", links->switch_binary,
			  strerror(-err), links->config->run);
		return err;
	}
	log_info("switch: started %s", links->switch_binary);
	return connect_to(links, hello);
}

static int links_connect(struct links *links)
{
	struct swp_hello_reply hello;
	int err;

	links->fd = connect_or_start(links, &hello);
	if (links->fd < 0) {
		err = links->fd;
		log_error("%s/" SWP_CONTROL_SOCKET ": %s", links->config->run,
			  err == -EBUSY ? "another daemon has this switch" : strerror(-err));
		links->fd = -1;
		return err;
	}
	err = sync_links(links, hello.instance);
	if (links->instance != hello.instance)
		links->instance = err ? 0 : hello.instance;
	if (!err && links->fd < 0)
		err = -ECONNRESET; /* lost meanwhile; the timer runs */
	if (!err)
		err = loop_add(links->loop, &links->io, links->fd, EPOLLIN);
	if (err && links->fd >= 0) {
		close(links->fd);
		links->fd = -1;
	}
	return err;
}

static void links_reconnect(struct loop_timer *timer)
{
	struct links *links = container_of(timer, struct links, reconnect);

	if (links->fd < 0 && links_connect(links))
		loop_timer_set(links->loop, timer, RECONNECT_MS * LOOP_NS_PER_MS);
}

struct links *links_open(struct loop *loop, const struct host_config *config, struct broker *broker,
			 const char *switch_binary, int starter)
{
	struct links *links = calloc(1, sizeof(*links));

	if (!links)
		goto err_memory;
	links->loop = loop;
	links->config = config;
	links->broker = broker;
	links->switch_binary = switch_binary;
	links->starter = starter;
	links->fd = -1;
	links->io.ready = links_ready;
	links->reconnect.due = links_reconnect;
	links->link = calloc(config->policy->n_links ?: 1, sizeof(*links->link));
	if (!links->link)
		goto err_memory;
	links->n_links = config->policy->n_links;
	for (unsigned int i = 0; i < links->n_links; i++)
		links->link[i] = (struct links_link){ .links = links, .index = i, .memfd = -1 };
	if (links->n_links && links_connect(links)) {
		links_close(links);
		return NULL;
	}
	return links;

err_memory:
	log_error("links: out of memory");
	links_close(links);
	return NULL;
}

void links_close(struct links *links)
{
	if (!links)
		return;
	loop_timer_cancel(&links->reconnect);
	loop_remove(&links->io);
	if (links->fd >= 0)
		close(links->fd);
	for (unsigned int i = 0; i < links->n_links; i++) {
		if (links->link[i].memfd >= 0)
			close(links->link[i].memfd);
	}
	free(links->link);
	free(links);
}
