// SPDX-License-Identifier: BSD-2-Clause
/*
 * The ivshmem client-server protocol, as QEMU's ivshmem-doorbell device speaks it.
 *
 * Messages are 8 bytes, little-endian and signed, from the switch to QEMU only, some of them with a
 * descriptor beside them (docs/specs/ivshmem-spec.txt in QEMU's source):
 *
 *   to a QEMU that joins         0              protocol version
 *                                ID             its IVPosition
 *                                -1    + memfd  the memory
 *                                PEER  + eventfd, once for each vector of the QEMU opposite
 *                                ID    + eventfd, once for each vector of its own
 *   to the QEMU opposite         ID    + eventfd, once for each vector of the newcomer
 *   later, when that one left    ID             without a descriptor
 *
 * QEMU reads the first three while it starts and blocks until it has them; if the connection ends
 * before that, QEMU 7.2 spins for ever. So a refusal is a message, too: a version that it does not
 * know, -errno, which it prints ("server sent version -16") before it exits.
 *
 * QEMU sends nothing, ever: a byte from it is a violation, and the connection ends. A connection
 * whose buffer is full ends, too: a QEMU that does not read must not hold up the others. Nothing
 * can be told to it later, since a QEMU connects once in its life.
 */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "switch.h"
#include "unix_socket.h"

enum {
	IVSHMEM_VERSION = 0,
	IVSHMEM_MEMORY = -1,  /* the message that brings the memory */
	IVSHMEM_INVALID = -2, /* no message: QEMU gives up if it is still starting */
};

/* 0 or -errno; -EAGAIN: the buffer is full. */
static int send_msg(int sock, int64_t value, int fd)
{
	int64_t wire = htole64(value);

	return unix_send(sock, &wire, sizeof(wire), fd);
}

/* Tells the QEMU at `to` the doorbells of the one at `of`, which may be itself. */
static int send_vectors(struct end *to, struct end *of)
{
	int err = 0;

	/* Before sending: it may hold some of them when a later one does not fit. */
	if (to != of) {
		id_set_add(&to->told, of->id);
		of->known = true;
	}
	for (uint32_t v = 0; v < of->link->vectors && !err; v++)
		err = send_msg(to->client.fd, of->id, of->eventfd[v]);
	return err;
}

static void end_drop(struct end *end, const char *why);

/*
 * Ends the connection to a QEMU, which goes on to hold the end. The other QEMU learns that its
 * doorbells lead nowhere.
 */
static void end_disconnect(struct end *end)
{
	struct end *other = end_opposite(end);

	loop_close(&end->client);
	end->state = SWP_END_LINGERING;
	other->known = false; /* whoever comes next at this end has not heard of it */
	if (end->known && other->state == SWP_END_JOINED &&
	    send_msg(other->client.fd, end->id, NO_FD))
		end_drop(other, "does not read its messages");
	end->known = false;
}

static void end_drop(struct end *end, const char *why)
{
	log_info("link %s: VM %s, IVPosition %u: %s; the end is held until process %d exits",
		 end->link->name, end->config.vm, end->id, why, (int)end->pid);
	end_disconnect(end);
	control_event(end, SWP_LINGERING);
}

static void eventfds_close(struct end *end)
{
	for (uint32_t v = 0; v < end->link->vectors; v++) {
		if (end->eventfd[v] >= 0)
			close(end->eventfd[v]);
		end->eventfd[v] = -1;
	}
}

static int eventfds_open(struct end *end)
{
	int err;

	for (uint32_t v = 0; v < end->link->vectors; v++) {
		end->eventfd[v] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (end->eventfd[v] < 0) {
			err = -errno;
			eventfds_close(end);
			return err;
		}
	}
	return 0;
}

void ivshmem_abandon(struct end *end)
{
	if (end->state == SWP_END_EMPTY)
		return;
	loop_close(&end->client);
	loop_close(&end->process);
	eventfds_close(end);
	end_put_id(end);
	memset(&end->told, 0, sizeof(end->told));
	end->state = SWP_END_EMPTY;
	end->pid = 0;
	end->uid = 0;
}

/* The process exited: its mappings are gone, the end is free, what it knew does not matter. */
static void end_gone(struct end *end)
{
	if (end->state == SWP_END_JOINED)
		end_disconnect(end);
	link_bump_epoch(end->link);
	log_info("link %s: VM %s, IVPosition %u: process %d is gone, epoch is %u now",
		 end->link->name, end->config.vm, end->id, (int)end->pid, end->link->epoch);
	control_event(end, SWP_GONE);
	ivshmem_abandon(end);
}

static void process_ready(struct loop_io *io, uint32_t events)
{
	(void)events;
	end_gone(container_of(io, struct end, process));
}

static void client_ready(struct loop_io *io, uint32_t events)
{
	struct end *end = container_of(io, struct end, client);
	char byte;
	ssize_t n = recv(io->fd, &byte, sizeof(byte), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* An exiting QEMU closes its descriptors first; only then is its pidfd readable. */
	end_drop(end, n > 0 ? "sent data, which QEMU never does" : "closed its socket");
}

/* All that a newcomer and the QEMU opposite are told. Whoever cannot be told is dropped. */
static void introduce(struct end *end)
{
	struct end *other = end_opposite(end);
	int sock = end->client.fd;
	int err;

	err = send_msg(sock, IVSHMEM_VERSION, NO_FD);
	if (!err)
		err = send_msg(sock, end->id, NO_FD);
	if (!err)
		err = send_msg(sock, IVSHMEM_MEMORY, end->link->memfd);
	if (!err && other->state == SWP_END_JOINED)
		err = send_vectors(end, other);
	if (!err)
		err = send_vectors(end, end);
	if (err) {
		send_msg(sock, IVSHMEM_INVALID, NO_FD);
		end_drop(end, "was lost while it joined");
		return;
	}
	log_info("link %s: VM %s joined: IVPosition %u, process %d, uid %u, epoch %u",
		 end->link->name, end->config.vm, end->id, (int)end->pid, end->uid,
		 end->link->epoch);
	control_event(end, SWP_JOINED);
	if (other->state == SWP_END_JOINED && send_vectors(other, end))
		end_drop(other, "does not read its messages");
}

static void refuse(int fd, int error)
{
	send_msg(fd, -error, NO_FD);
	close(fd);
}

int ivshmem_join(struct end *end, int fd, int pidfd, pid_t pid, uid_t uid)
{
	struct loop *loop = end->link->sw->loop;
	int err = -EADDRNOTAVAIL;

	if (end_get_id(end) == ID_NONE)
		goto close_fds;
	err = eventfds_open(end);
	if (err)
		goto put_id;
	end->process.ready = process_ready;
	err = loop_add(loop, &end->process, pidfd, EPOLLIN);
	if (err)
		goto close_eventfds;
	pidfd = NO_FD; /* the end's from here on */
	end->client.ready = client_ready;
	err = loop_add(loop, &end->client, fd, EPOLLIN | EPOLLRDHUP);
	if (err)
		goto remove_process;
	end->state = SWP_END_JOINED;
	end->pid = pid;
	end->uid = uid;
	end->known = false;
	introduce(end);
	return 0;

remove_process:
	loop_close(&end->process);
close_eventfds:
	eventfds_close(end);
put_id:
	end_put_id(end);
close_fds:
	if (pidfd != NO_FD)
		close(pidfd);
	refuse(fd, -err);
	return err;
}

static bool uid_may_join(const struct end *end, uid_t uid)
{
	if (end->config.uid == SWP_UID_SWITCH)
		return unix_uid_trusted(uid);
	return uid == end->config.uid;
}

__attribute__((format(printf, 2, 3)))
static void log_refusal(struct end *end, const char *fmt, ...)
{
	char why[160];
	va_list args;

	if (!bucket_take(&end->refusals, loop_now_ns(end->link->sw->loop))) {
		end->refusals_unlogged++;
		return;
	}
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	log_warning("link %s: VM %s: connection refused: %s (%u more since the last such line)",
		    end->link->name, end->config.vm, why, end->refusals_unlogged);
	end->refusals_unlogged = 0;
}

void ivshmem_accept(struct loop_io *io, uint32_t events)
{
	struct end *end = container_of(io, struct end, listener);
	struct ucred peer;
	int fd, pidfd, err;

	(void)events;
	fd = switchd_accept(end->link->sw, io->fd, &peer, refuse);
	if (fd == -EMFILE)
		log_refusal(end, "no file descriptors left: raise the switch's RLIMIT_NOFILE");
	if (fd < 0)
		return; /* or it has gone again meanwhile */

	if (!uid_may_join(end, peer.uid)) {
		log_refusal(end, "uid %u is not this VM's", peer.uid);
		refuse(fd, EACCES);
		return;
	}
	/* The exit of the one before may be waiting in the same epoll set: it counts first. */
	if (end->state != SWP_END_EMPTY && pidfd_exited(end->process.fd))
		end_gone(end);
	if (end->state != SWP_END_EMPTY) {
		log_refusal(end, "process %d holds this end until it exits", (int)end->pid);
		refuse(fd, EBUSY);
		return;
	}
	if (!bucket_take(&end->joins, loop_now_ns(end->link->sw->loop))) {
		log_refusal(end, "more than %d joins, then one in %d ms", JOIN_BURST,
			    JOIN_INTERVAL_MS);
		refuse(fd, EAGAIN);
		return;
	}
	pidfd = unix_peer_pidfd(fd, peer.pid);
	if (pidfd < 0) {
		log_refusal(end, "cannot watch process %d: %s: QEMU must be visible in the "
			    "switch's PID namespace", (int)peer.pid, strerror(-pidfd));
		refuse(fd, -pidfd);
		return;
	}
	err = ivshmem_join(end, fd, pidfd, peer.pid, peer.uid);
	if (err)
		log_refusal(end, "%s", err == -EADDRNOTAVAIL ?
			    "the QEMU opposite has been told all ids: restart it" : strerror(-err));
}
