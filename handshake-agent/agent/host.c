// SPDX-License-Identifier: BSD-2-Clause
/* The control stream to the broker. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include <sivshmem/abi.h>

#include "common/list.h"
#include "common/log.h"

static void host_reset(struct host *h)
{
	bool was_up = h->state == HOST_UP;

	h->state = HOST_DOWN;
	if (was_up)
		h->lost(h->ctx);
}

static void pause_due(struct loop_timer *timer)
{
	struct host *h = container_of(timer, struct host, pause);

	host_reset(h);
	if (h->reachable)
		h->connected(h->ctx);
}

/*
 * The conversation cannot go on. Another is begun from the loop, after a pause: a broker that breaks
 * the protocol each time is not to be asked in a circle.
 */
static void host_give_up(struct host *h, unsigned int pause_ms)
{
	if (loop_timer_set(h->loop, &h->pause, pause_ms * LOOP_NS_PER_MS))
		log_error("control: out of memory: restart the agent");
}

static bool is_nonce(const struct sivp_msg *m, const uint8_t nonce[SIVP_NONCE_LEN])
{
	return !memcmp(m->attr[SIVP_A_NONCE].data, nonce, SIVP_NONCE_LEN);
}

/* The frame after SIVP_MAGIC. */
static void first_message(struct host *h, const struct sivp_msg *m)
{
	static const uint8_t nobody[SIVP_NONCE_LEN];

	switch (m->type) {
	case SIVP_WELCOME:
		if (!is_nonce(m, h->nonce))
			break;
		if (sivp_u32(m, SIVP_A_VERSION) != SIVP_VERSION) {
			log_error("control: the host speaks version %u, this agent %u: install the "
				  "same release on both", sivp_u32(m, SIVP_A_VERSION), SIVP_VERSION);
			break;
		}
		h->state = HOST_UP;
		h->message(h->ctx, m);
		return;
	case SIVP_REFUSED:
		/* A broker that has just come, and may have missed our hello, asks for it so. */
		if (is_nonce(m, nobody)) {
			host_give_up(h, 0);
			return;
		}
		if (is_nonce(m, h->nonce))
			log_error("control: the host refuses this VM: %s", sivp_str(m, SIVP_A_TEXT));
		break;
	default:
		break;
	}
	/* An answer to somebody else's hello: ours is still to come, behind a magic of its own. */
	h->state = HOST_SEEKING;
}

static bool is_magic(const uint8_t *data, size_t len)
{
	return len >= SIVP_MAGIC_LEN && !memcmp(data, SIVP_MAGIC, SIVP_MAGIC_LEN);
}

/* Takes one step through the input. False: nothing more can be done with it now. */
static bool host_step(struct host *h)
{
	struct sivp_msg msg;
	enum sivp_error error;
	const uint8_t *data;
	size_t len, used, keep;
	long at;

	data = stream_peek(&h->stream, &len);
	if (!len)
		return false;
	switch (h->state) {
	case HOST_DOWN:
		stream_consume(&h->stream, len);
		return false;
	case HOST_SEEKING:
		at = sivp_find_magic(data, len, &keep);
		if (at < 0) {
			stream_consume(&h->stream, len - keep);
			return false;
		}
		stream_consume(&h->stream, at + SIVP_MAGIC_LEN);
		h->state = HOST_FIRST;
		return true;
	case HOST_UP:
		if (!is_magic(data, len))
			break;
		/* In place of a frame: another broker, whose coming we have missed. */
		log_warning("control: the host has begun anew");
		h->state = HOST_SEEKING;
		h->lost(h->ctx);
		return true;
	case HOST_FIRST:
		break;
	}

	error = sivp_parse(SIVP_HOST, data, len, &msg, &used);
	if (error == SIVP_MORE && h->state == HOST_FIRST) {
		/* The torn end of an older conversation does not wait for bytes of this one. */
		at = sivp_find_magic(data, len, &keep);
		if (at >= 0)
			h->state = HOST_SEEKING;
		return at >= 0;
	}
	if (error == SIVP_MORE)
		return false;
	if (error && h->state == HOST_FIRST) {
		h->state = HOST_SEEKING;
		return true;
	}
	if (error) {
		log_error("control: the host broke the protocol: %s", sivp_error_name(error));
		h->state = HOST_SEEKING;
		h->lost(h->ctx);
		host_give_up(h, HOST_PAUSE_MS);
		return false;
	}
	if (h->state == HOST_FIRST)
		first_message(h, &msg);
	else
		h->message(h->ctx, &msg);
	/* The message lies in the stream's buffer: it is dropped when it has been served. */
	if (stream_is_open(&h->stream))
		stream_consume(&h->stream, used);
	return true;
}

static void host_event(struct stream *stream, unsigned int what)
{
	struct host *h = container_of(stream, struct host, stream);

	if (what & STREAM_DOWN) {
		log_info("control: the host is away");
		loop_timer_cancel(&h->pause);
		h->reachable = false;
		host_reset(h);
	}
	if (what & STREAM_UP) {
		h->reachable = true;
		h->connected(h->ctx);
	}
	if (what & STREAM_IN)
		while (host_step(h))
			;
	if (what & STREAM_CLOSED && stream_is_open(stream)) {
		log_error("control: closed: %s",
			  stream->error ? strerror(stream->error) : "end of file");
		host_detach(h);
		host_reset(h);
	}
}

int host_attach(struct host *h, struct loop *loop, int fd, bool port)
{
	int err;

	host_detach(h);
	h->loop = loop;
	h->state = HOST_DOWN;
	h->pause.due = pause_due;
	h->stream.event = host_event;
	h->stream.in_cap = HOST_IN_MAX;
	h->stream.out_cap = HOST_OUT_MAX;
	h->stream.flags = port ? STREAM_PORT : 0;
	err = stream_open(&h->stream, loop, fd);
	if (err)
		return err;
	h->reachable = !port;
	if (!port)
		host_give_up(h, 0);
	return 0;
}

void host_detach(struct host *h)
{
	h->reachable = false;
	loop_timer_cancel(&h->pause);
	stream_close(&h->stream);
}

void host_hello(struct host *h, const struct host_hello *hello)
{
	uint8_t links[4 * SIVP_LINKS_MAX], start[SIVP_MAGIC_LEN + 1024];
	size_t len;

	if (!h->reachable)
		return;
	loop_timer_cancel(&h->pause);
	host_reset(h);
	for (unsigned int i = 0; i < hello->nr_links; i++)
		for (int byte = 0; byte < 4; byte++)
			links[4 * i + byte] = hello->links[i] >> 8 * byte;
	if (RAND_bytes(h->nonce, sizeof(h->nonce)) != 1) {
		log_error("control: no random numbers: see to the machine's entropy");
		return;
	}
	sivp_begin(&h->out, SIVP_GUEST, SIVP_HELLO, 0);
	sivp_put_u32(&h->out, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(&h->out, SIVP_A_ABI, SIV_ABI_VERSION);
	sivp_put_blob(&h->out, SIVP_A_BOOT_ID, hello->boot_id, sizeof(hello->boot_id));
	sivp_put_u64(&h->out, SIVP_A_MODULE_NONCE, hello->module_nonce);
	sivp_put_blob(&h->out, SIVP_A_NONCE, h->nonce, sizeof(h->nonce));
	sivp_put_blob(&h->out, SIVP_A_LINKS, links, 4 * hello->nr_links);
	len = sivp_end(&h->out);
	/* In one piece: a broker never sees half a start. */
	memcpy(start, SIVP_MAGIC, SIVP_MAGIC_LEN);
	if (!len || len > sizeof(start) - SIVP_MAGIC_LEN)
		abort();
	memcpy(start + SIVP_MAGIC_LEN, h->out.buf, len);
	if (stream_write(&h->stream, start, SIVP_MAGIC_LEN + len)) {
		/* The queue is full: it empties, or the port goes down. */
		host_give_up(h, HOST_PAUSE_MS);
		return;
	}
	h->state = HOST_SEEKING;
	log_debug("control: hello, %u links", hello->nr_links);
}

void host_begin(struct host *h, enum sivp_type type, uint64_t session)
{
	sivp_begin(&h->out, SIVP_GUEST, type, session);
}

bool host_send(struct host *h)
{
	size_t len = sivp_end(&h->out);

	if (h->state != HOST_UP)
		return false;
	if (!len) {
		log_error("control: a message that does not fit the protocol was not sent");
		return false;
	}
	if (stream_write(&h->stream, h->out.buf, len)) {
		if (!loop_timer_armed(&h->pause))
			log_error("control: the host does not read: starting anew");
		host_give_up(h, HOST_PAUSE_MS);
		return false;
	}
	return true;
}

bool host_busy(const struct host *h)
{
	return stream_queued(&h->stream) > HOST_OUT_BUSY;
}
