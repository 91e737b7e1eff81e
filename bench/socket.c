// SPDX-License-Identifier: BSD-2-Clause
/* Streams over sockets of any family. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket.h"

enum { BACKLOG = 64 };

struct socket_stream {
	struct stream stream; /* first */
	int fd;
};

static int parse_port(const char *text, unsigned long max, unsigned long *port)
{
	char *end;

	errno = 0;
	*port = strtoul(text, &end, 10);
	return *text < '0' || *text > '9' || *end || errno || !*port || *port > max ? -EINVAL : 0;
}

static int parse_tcp(const char *text, struct endpoint *endpoint)
{
	const char *colon = strrchr(text, ':');
	char host[INET_ADDRSTRLEN];
	unsigned long port;

	if (!colon || (size_t)(colon - text) >= sizeof(host) ||
	    parse_port(colon + 1, UINT16_MAX, &port))
		return -EINVAL;
	memcpy(host, text, colon - text);
	host[colon - text] = '\0';
	endpoint->in.sin_family = AF_INET;
	endpoint->in.sin_port = htons(port);
	endpoint->len = sizeof(endpoint->in);
	return inet_pton(AF_INET, host, &endpoint->in.sin_addr) == 1 ? 0 : -EINVAL;
}

static int parse_unix(const char *path, struct endpoint *endpoint)
{
	if (*path != '/' || strlen(path) >= sizeof(endpoint->un.sun_path))
		return -EINVAL;
	endpoint->un.sun_family = AF_UNIX;
	strcpy(endpoint->un.sun_path, path);
	endpoint->len = sizeof(endpoint->un);
	return 0;
}

static int parse_vsock(const char *text, struct endpoint *endpoint)
{
	unsigned long port;

	if (parse_port(text, UINT32_MAX, &port))
		return -EINVAL;
	endpoint->vm.svm_family = AF_VSOCK;
	endpoint->vm.svm_cid = VMADDR_CID_LOCAL;
	endpoint->vm.svm_port = port;
	endpoint->len = sizeof(endpoint->vm);
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *endpoint)
{
	memset(endpoint, 0, sizeof(*endpoint));
	if (!strncmp(text, "tcp:", 4))
		return parse_tcp(text + 4, endpoint);
	endpoint->tls = !strncmp(text, "tls:", 4);
	if (endpoint->tls)
		return parse_tcp(text + 4, endpoint);
	if (!strncmp(text, "unix:", 5))
		return parse_unix(text + 5, endpoint);
	if (!strncmp(text, "vsock:", 6))
		return parse_vsock(text + 6, endpoint);
	endpoint->len = sizeof(endpoint->siv);
	return siv_addr_parse(text, &endpoint->siv);
}

/* Small messages leave at once, as a client that waits for the answer wants it. */
static int tune(int fd, int family)
{
	const int one = 1;

	if (family != AF_INET)
		return 0;
	return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ? -errno : 0;
}

static int endpoint_socket(const struct endpoint *endpoint)
{
	int fd = socket(endpoint->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int set_rings(int fd, uint32_t bytes)
{
	if (!bytes)
		return 0;
	if (setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_TX_SIZE, &bytes, sizeof(bytes)) ||
	    setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_RX_SIZE, &bytes, sizeof(bytes)))
		return -errno;
	return 0;
}

int endpoint_connect(const struct endpoint *endpoint)
{
	int err, fd = endpoint_socket(endpoint);

	if (fd < 0)
		return fd;
	err = set_rings(fd, endpoint->ring);
	if (!err && connect(fd, &endpoint->any, endpoint->len))
		err = -errno;
	if (!err)
		err = tune(fd, endpoint->any.sa_family);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int endpoint_listen(const struct endpoint *endpoint)
{
	int err = 0, fd = endpoint_socket(endpoint);
	const int one = 1;

	if (fd < 0)
		return fd;
	if (endpoint->any.sa_family == AF_INET)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &endpoint->any, endpoint->len) || listen(fd, BACKLOG))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

int endpoint_accept(int listener)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int err, fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	err = tune(fd, peer.ss_family);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int socket_send(struct stream *stream, const void *buf, size_t len)
{
	int fd = ((struct socket_stream *)stream)->fd;

	while (len) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		buf = (const char *)buf + n;
		len -= n;
	}
	return 0;
}

static ssize_t socket_recv(struct stream *stream, void *buf, size_t min, size_t max)
{
	int fd = ((struct socket_stream *)stream)->fd;
	size_t done = 0;

	while (done < min) {
		ssize_t n = recv(fd, (char *)buf + done, max - done, 0);

		if (n < 0)
			return -errno;
		if (!n)
			return done ? -ECONNRESET : 0;
		done += n;
	}
	return done;
}

static void socket_close(struct stream *stream)
{
	close(((struct socket_stream *)stream)->fd);
	free(stream);
}

static const struct stream_ops socket_ops = {
	.send = socket_send,
	.recv = socket_recv,
	.close = socket_close,
};

struct stream *socket_stream(int fd, int *err)
{
	struct socket_stream *sock = malloc(sizeof(*sock));

	*err = sock ? 0 : -ENOMEM;
	if (!sock)
		return NULL;
	sock->stream.ops = &socket_ops;
	sock->fd = fd;
	return &sock->stream;
}

int socket_take(struct stream *stream)
{
	int fd;

	if (stream->ops != &socket_ops)
		return -EINVAL;
	fd = ((struct socket_stream *)stream)->fd;
	free(stream);
	return fd;
}
