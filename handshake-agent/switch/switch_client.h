/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The client's side of switch_proto.h, for sivshmem-hostd and tests: start a switch, connect,
 * exchange packets. No global state; one connection is for one thread.
 */
#ifndef SIVSHMEM_SWITCH_CLIENT_H
#define SIVSHMEM_SWITCH_CLIENT_H

#include "switch_proto.h"

enum {
	SWITCH_START_TIMEOUT_MS = 10000, /* for a switch to say that it is ready */
	SWITCH_CALL_TIMEOUT_MS = 5000,   /* for the reply to a request */
};

typedef void (*switch_event_fn)(const struct swp_event *event, void *data);

/*
 * Starts `binary --run-dir run_dir` in a session of its own, as nobody's child, with stdout and
 * stderr appended to log_file, and waits until it can be connected. No other descriptors of
 * the caller are passed on, and the switch sets its own signal mask. 0, -EIO (it ended: log_file
 * says why, one reason being that a switch runs there already), -ETIMEDOUT, or -errno.
 */
int switch_start(const char *binary, const char *run_dir, const char *log_file);

/*
 * Connects, for switch_greet() to go on with, in whichever process. A non-blocking, close-on-exec
 * descriptor for the caller to close, or -ENOENT or -ECONNREFUSED (no switch runs), or -errno.
 */
int switch_open(const char *run_dir);

/*
 * Says HELLO on such a descriptor, which stays open. 0, -EBUSY (the switch has a client),
 * -EPROTONOSUPPORT (it speaks another version), or -errno. hello may be NULL.
 */
int switch_greet(int fd, struct swp_hello_reply *hello);

/*
 * Both of these. A non-blocking, close-on-exec descriptor for the caller to close, or
 * -ENOENT or -ECONNREFUSED (no switch runs), -EBUSY (it has a client), -EPROTONOSUPPORT (it speaks
 * another version), or -errno. hello may be NULL.
 */
int switch_connect(const char *run_dir, struct swp_hello_reply *hello);

/*
 * Sends a request of this type: fills in req->hdr, the caller the rest. 0 or -errno; -EAGAIN when
 * requests that were never read fill the buffer.
 */
int switch_send(int fd, union swp_msg *req, enum swp_type type, uint32_t seq);

/*
 * Receives one packet, reply or event, without blocking. *memfd: the descriptor that came with it,
 * for the caller to close, or -1. 0, -EAGAIN, -ECONNRESET (the switch closed: connect again and
 * walk STATE), -EBADMSG (not a packet of this protocol), or -errno.
 */
int switch_recv(int fd, union swp_msg *msg, int *memfd);

/*
 * switch_send() and then the reply to it. Events that come before it go to on_event, or are lost if
 * that is NULL. *memfd as above, or NULL where none is expected. 0 or -errno, which may be the
 * switch's answer (reply->hdr.error), or -ETIMEDOUT.
 */
int switch_call(int fd, union swp_msg *req, enum swp_type type, union swp_msg *reply, int *memfd,
		switch_event_fn on_event, void *data);

#endif
