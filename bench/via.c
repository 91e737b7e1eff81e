// SPDX-License-Identifier: BSD-2-Clause
/* The means by which a connected socket can be used, and how both sides agree on one. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mapped.h"
#include "tls.h"
#include "uring.h"
#include "uring_zc.h"
#include "via.h"

struct via {
	const char *name;
	struct stream *(*open)(int fd, int *err);
};

static const struct via table[] = {
	[VIA_SOCKET] = { "socket", socket_stream },
	[VIA_URING] = { "uring", uring_stream },
	[VIA_MAPPED] = { "mapped", mapped_stream },
	[VIA_URING_ZC] = { "uring-zc", uring_zc_stream },
};

enum { VIA_COUNT = sizeof(table) / sizeof(table[0]) };

int via_parse(const char *name)
{
	for (int i = 0; i < VIA_COUNT; i++)
		if (!strcmp(table[i].name, name))
			return i;
	return -EINVAL;
}

struct stream *via_take(struct stream *stream, uint32_t via, int *err)
{
	int fd = socket_take(stream);

	*err = -EPROTO;
	if (fd < 0 || via >= VIA_COUNT) {
		if (fd < 0)
			stream->ops->close(stream);
		else
			close(fd);
		return NULL;
	}
	stream = table[via].open(fd, err);
	if (!stream)
		close(fd);
	return stream;
}

static int ask(struct stream *stream, enum via_id via)
{
	struct stream_request req = { .op = STREAM_VIA, .size = via };
	uint64_t answer;
	ssize_t n;
	int err = stream->ops->send(stream, &req, sizeof(req));

	if (err)
		return err;
	n = stream->ops->recv(stream, &answer, sizeof(answer), sizeof(answer));
	return n < 0 ? n : n && !answer ? 0 : -ECONNRESET;
}

struct stream *via_connect(const struct endpoint *endpoint, enum via_id via, int *err)
{
	int fd = endpoint_connect(endpoint);
	struct stream *stream;

	*err = fd;
	if (fd < 0)
		return NULL;
	stream = endpoint->tls ? tls_stream(fd, false, err) : socket_stream(fd, err);
	if (!stream) {
		close(fd);
		return NULL;
	}
	if (via == VIA_SOCKET)
		return stream;
	*err = ask(stream, via);
	if (!*err)
		return via_take(stream, via, err);
	stream->ops->close(stream);
	return NULL;
}
