// SPDX-License-Identifier: BSD-2-Clause
// Frames of a VM's command channel: byte queues, encoding for a stream, messages on a socket.
#define _GNU_SOURCE
#include "frame.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { CRC_BYTES = 4, COBS_RUN_MAX = 254 };

void bytes_append(struct bytes *queue, const void *data, size_t len)
{
	size_t used = (size_t)(queue->at - queue->memory) * (queue->memory != NULL);

	if (used + queue->len + len > queue->capacity) {
		size_t capacity = 2 * (queue->len + len);
		uint8_t *memory = malloc(capacity);

		if (!memory)
			err(125, "vmexec: %zu bytes of queue", capacity);
		if (queue->len)
			memcpy(memory, queue->at, queue->len);
		free(queue->memory);
		queue->memory = queue->at = memory;
		queue->capacity = capacity;
	}
	if (len)
		memcpy(queue->at + queue->len, data, len);
	queue->len += len;
}

void bytes_take(struct bytes *queue, size_t len)
{
	queue->at += len;
	queue->len -= len;
	if (!queue->len)
		queue->at = queue->memory;
}

void bytes_free(struct bytes *queue)
{
	free(queue->memory);
	memset(queue, 0, sizeof(*queue));
}

/* CRC-32 as in IEEE 802.3. */
static uint32_t crc32(const uint8_t *data, size_t len)
{
	static uint32_t table[256];
	uint32_t crc = ~0u;

	if (!table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (int bit = 0; bit < 8; bit++)
				c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
			table[i] = c;
		}
	}
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *data++) & 0xff];
	return ~crc;
}

/* Returns the encoded length, at most len + len / 254 + 1. */
static size_t cobs_encode(const uint8_t *data, size_t len, uint8_t *out)
{
	uint8_t *code = out++, *start = code;
	uint8_t run = 1;

	for (size_t i = 0; i < len; i++) {
		if (data[i]) {
			*out++ = data[i];
			run++;
		}
		if (!data[i] || run == COBS_RUN_MAX + 1) {
			*code = run;
			code = out++;
			run = 1;
		}
	}
	*code = run;
	return out - start;
}

/* Decodes in place, which only ever shrinks; returns the length, 0 if it is not well-formed. */
static size_t cobs_decode(uint8_t *data, size_t len)
{
	size_t in = 0, out = 0;

	while (in < len) {
		uint8_t code = data[in++];

		if (!code || code - 1u > len - in)
			return 0;
		memmove(data + out, data + in, code - 1);
		in += code - 1;
		out += code - 1;
		if (code <= COBS_RUN_MAX && in < len)
			data[out++] = 0;
	}
	return out;
}

void frame_write(struct bytes *queue, const struct frame *frame)
{
	uint8_t raw[sizeof(*frame) + CRC_BYTES], wire[FRAME_WIRE_MAX_BYTES + 2];
	size_t len = FRAME_HEADER_BYTES + frame->len;
	uint32_t crc;

	memcpy(raw, frame, len);
	crc = crc32(raw, len);
	memcpy(raw + len, &crc, sizeof(crc));
	wire[0] = 0;
	len = 1 + cobs_encode(raw, len + CRC_BYTES, wire + 1);
	wire[len++] = 0;
	bytes_append(queue, wire, len);
}

static bool frame_decode(struct frame_reader *reader, struct frame *frame)
{
	size_t len = cobs_decode(reader->wire, reader->len);
	uint32_t crc;

	if (len < FRAME_HEADER_BYTES + CRC_BYTES || len > sizeof(*frame) + CRC_BYTES)
		return false;
	len -= CRC_BYTES;
	memcpy(&crc, reader->wire + len, sizeof(crc));
	if (crc != crc32(reader->wire, len))
		return false;
	memcpy(frame, reader->wire, len);
	return frame->len == len - FRAME_HEADER_BYTES && frame->type && frame->type < FRAME_TYPES &&
	       frame->stream <= 2;
}

bool frame_read(struct frame_reader *reader, const uint8_t **data, size_t *len, struct frame *frame)
{
	while (*len) {
		const uint8_t *zero = memchr(*data, 0, *len);
		size_t take = zero ? (size_t)(zero - *data) : *len;
		bool good;

		if (take > sizeof(reader->wire) - reader->len)
			reader->overlong = true;
		if (!reader->overlong) {
			memcpy(reader->wire + reader->len, *data, take);
			reader->len += take;
		}
		*data += take + !!zero;
		*len -= take + !!zero;
		if (!zero)
			return false;
		good = !reader->overlong && frame_decode(reader, frame);
		reader->overlong = false;
		reader->len = 0;
		if (good)
			return true;
	}
	return false;
}

void frame_set(struct frame *frame, enum frame_type type, uint32_t session, uint8_t stream,
	       const void *data, size_t len)
{
	frame->session = session;
	frame->type = type;
	frame->stream = stream;
	frame->len = len;
	if (len)
		memcpy(frame->data, data, len);
}

int frame_send(int socket, const struct frame *frame)
{
	return send(socket, frame, FRAME_HEADER_BYTES + frame->len, MSG_NOSIGNAL) < 0 ? -errno : 1;
}

int frame_receive(int socket, struct frame *frame)
{
	ssize_t len = recv(socket, frame, sizeof(*frame), 0);

	if (len <= 0)
		return len ? -errno : 0;
	if (len < FRAME_HEADER_BYTES || len != FRAME_HEADER_BYTES + frame->len || !frame->type ||
	    frame->type >= FRAME_TYPES || frame->stream > 2)
		return -EBADMSG;
	return 1;
}
