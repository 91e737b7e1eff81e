/* SPDX-License-Identifier: BSD-2-Clause */
/* The frames of a VM's command channel, and how they travel through a byte stream. */
#ifndef VM_FRAME_H
#define VM_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FRAME_DATA_MAX_BYTES = 16384,
	/* what one stream of one command may have under way, unacknowledged, in either direction */
	FRAME_WINDOW_BYTES = 262144,
	FRAME_NONCE_BYTES = 16,
	FRAME_SESSIONS_MAX = 64,
};

/*
 * A session is one command in the guest; ids are given out by the mux and never used twice. Who
 * sends what:
 *
 *   guest  READY    nonce: a (re)booted guest is there; every earlier session is over
 *   host   WELCOME  the same nonce: what came before it on the wire was for an earlier boot
 *   host   RUN      struct frame_run, then the arguments, each with its NUL
 *   both   DATA     bytes of `stream`; none at all means end of file (stdin only)
 *   both   ACK      uint32_t: so many bytes of `stream` were written to where they go
 *   host   SIGNAL   uint8_t: signal for the command's process group
 *   host   RESIZE   struct frame_run: the terminal's new size
 *   host   DROP     the client is gone: kill the process group
 *   guest  EXIT     uint8_t: exit code, or 128 + signal. The session's last frame.
 *   mux    LOST     text for the client: the VM went away. The session's last frame.
 */
enum frame_type {
	FRAME_READY = 1,
	FRAME_WELCOME,
	FRAME_RUN,
	FRAME_DATA,
	FRAME_ACK,
	FRAME_SIGNAL,
	FRAME_RESIZE,
	FRAME_DROP,
	FRAME_EXIT,
	FRAME_LOST,
	FRAME_TYPES,
};

struct frame {
	uint32_t session;
	uint8_t type;
	uint8_t stream; /* 0, 1, 2 as the descriptors */
	uint16_t len;
	uint8_t data[FRAME_DATA_MAX_BYTES];
};

enum { FRAME_HEADER_BYTES = offsetof(struct frame, data) };

enum { RUN_TERMINAL = 1, RUN_STDIN = 2 };

struct frame_run {
	uint8_t flags;
	uint8_t pad;
	uint16_t rows, columns;
};

/* A queue of bytes: appended at the end, taken from the front. Starts as all zero. */
struct bytes {
	uint8_t *at; /* first byte that was not taken */
	size_t len;
	uint8_t *memory;
	size_t capacity;
};

void bytes_append(struct bytes *queue, const void *data, size_t len);
void bytes_take(struct bytes *queue, size_t len);
void bytes_free(struct bytes *queue);

/*
 * On a stream each frame stands between two zero bytes, COBS-encoded (Cheshire and Baker, 1999) so
 * that no other zero occurs, and ends in a CRC-32. A reader that lost its place, because a writer
 * died or rebooted in the middle of a frame, is back at the next zero and loses that frame only.
 */
void frame_write(struct bytes *queue, const struct frame *frame);

enum { FRAME_WIRE_MAX_BYTES = sizeof(struct frame) + 4 + sizeof(struct frame) / 254 + 2 };

struct frame_reader {
	uint8_t wire[FRAME_WIRE_MAX_BYTES];
	size_t len;
	bool overlong; /* drop everything up to the next zero */
};

/*
 * Takes bytes from *data until a frame is complete; true when it is. Call again with what is left.
 * The frame's type is known, its length matches; session and contents are the caller's to judge.
 */
bool frame_read(struct frame_reader *reader, const uint8_t **data, size_t *len,
		struct frame *frame);

/* A frame without contents beyond its header, or with `len` bytes of them. */
void frame_set(struct frame *frame, enum frame_type type, uint32_t session, uint8_t stream,
	       const void *data, size_t len);

/* One frame is one message on a SOCK_SEQPACKET socket: 1, 0 at end of file, or -errno. */
int frame_send(int socket, const struct frame *frame);
int frame_receive(int socket, struct frame *frame);

#endif
