// SPDX-License-Identifier: BSD-2-Clause
/*
 * The server: one thread for each connection, which does what its order says. A connection that
 * breaks or carries wrong bytes ends its thread with a line on stderr, and the client notices.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>

#include "check.h"

#define SEEDS_MAX 64
#define DUPLEX_MAX (1u << 20)

static pthread_mutex_t go_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go_cond = PTHREAD_COND_INITIALIZER;
static uint64_t gone[SEEDS_MAX]; /* seeds that were told to go */
static unsigned int nr_gone;

static void go(uint64_t seed)
{
	pthread_mutex_lock(&go_lock);
	gone[nr_gone++ % SEEDS_MAX] = seed;
	pthread_cond_broadcast(&go_cond);
	pthread_mutex_unlock(&go_lock);
}

static void await_go(uint64_t seed)
{
	unsigned int i;

	pthread_mutex_lock(&go_lock);
	for (i = 0; i < SEEDS_MAX && gone[i] != seed;)
		if (++i == SEEDS_MAX) {
			pthread_cond_wait(&go_cond, &go_lock);
			i = 0;
		}
	pthread_mutex_unlock(&go_lock);
}

/* Until the peer is done; false if it did not go well. */
static bool drain(int fd, bool echo)
{
	char buf[65536];
	ssize_t n, m, done;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		for (done = 0; echo && done < n; done += m) {
			m = send(fd, buf + done, n - done, MSG_NOSIGNAL);
			if (m <= 0)
				return false;
		}
	return !n;
}

static void send_stream(int fd, uint64_t seed, uint64_t bytes)
{
	struct stream *s = stream_new(seed);
	char buf[10007];
	size_t n;

	for (; bytes; bytes -= n) {
		n = bytes < sizeof(buf) ? bytes : sizeof(buf);
		stream_fill(s, buf, n);
		if (send(fd, buf, n, MSG_NOSIGNAL) != (ssize_t)n)
			break;
	}
	free(s);
}

/* Sends nothing, so that only what is read can wake the writer. */
static void check_stream(int fd, uint64_t seed, uint64_t bytes)
{
	struct stream *s = stream_new(seed);
	char buf[10007];
	ssize_t n;

	for (; bytes; bytes -= n) {
		n = recv(fd, buf, bytes < sizeof(buf) ? bytes : sizeof(buf), 0);
		if (n <= 0)
			die("recv with %llu bytes to come", (unsigned long long)bytes);
		stream_check(s, buf, n);
	}
	free(s);
}

static __thread int current = -1;
static pthread_t acceptor;

/* One bad connection must not end the others. */
static void drop_connection(void)
{
	if (pthread_equal(pthread_self(), acceptor))
		return;
	if (current >= 0)
		shutdown(current, SHUT_RDWR);
	pthread_exit(NULL);
}

static void *connection(void *arg)
{
	int fd = (long)arg;
	struct order o;
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	current = fd;
	if (recv(fd, &o, sizeof(o), MSG_WAITALL) != sizeof(o))
		goto out;
	switch (o.mode) {
	case MODE_ECHO:
		if (!drain(fd, true))
			printf("echo: %s\n", strerrorname_np(errno));
		break;
	case MODE_STALL:
		await_go(o.seed);
		check_stream(fd, o.seed, o.bytes);
		drain(fd, false);
		break;
	case MODE_DUPLEX:
		duplex(fd, o.seed + 1, o.seed, o.bytes, DUPLEX_MAX);
		drain(fd, false);
		break;
	case MODE_SOURCE:
		send_stream(fd, o.seed, o.bytes);
		break;
	case MODE_REPLY:
		if (drain(fd, false))
			send_stream(fd, o.seed, o.bytes);
		break;
	case MODE_GO:
		go(o.seed);
		break;
	case MODE_ABORT:
		p.events = POLLIN;
		poll(&p, 1, -1);
		break;
	case MODE_DRIP:
		while (send(fd, "", 1, MSG_NOSIGNAL) == 1)
			;
		break;
	case MODE_STALL_ABORT:
		await_go(o.seed);
		break;
	case MODE_STALL_SHUT_RD:
		await_go(o.seed);
		/* fall through */
	case MODE_SHUT_RD:
		shutdown(fd, SHUT_RD);
		p.events = 0; /* POLLHUP: both directions */
		poll(&p, 1, -1);
		break;
	}
out:
	close(fd);
	return NULL;
}

/* Of SOCK_SEQPACKET: each record comes back as it was. */
static void *records(void *arg)
{
	char buf[RECORD_MAX];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1 };
	int fd = (long)arg;
	ssize_t n;

	current = fd;
	/* an empty record looks as the end does, but for its mark */
	while ((n = recvmsg(fd, &msg, 0)) > 0 || (!n && msg.msg_flags & MSG_EOR))
		if (send(fd, buf, n, MSG_NOSIGNAL | (msg.msg_flags & MSG_EOR)) != n)
			break;
	close(fd);
	return NULL;
}

static int listen_as(const char *url, int type)
{
	int fd = siv_listen(url, 128, type);

	if (fd < 0)
		die("listen %s: %s", url, strerror(-fd));
	return fd;
}

/* Streams do what they are ordered, records come back. */
int serve(const char *url)
{
	struct pollfd p[2] = {
		{ .fd = listen_as(url, SOCK_STREAM), .events = POLLIN },
		{ .fd = listen_as(url, SOCK_SEQPACKET), .events = POLLIN },
	};
	pthread_attr_t attr;
	pthread_t thread;
	int fd, i;

	acceptor = pthread_self();
	on_die = drop_connection;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	puts("listening");
	for (;;) {
		if (poll(p, 2, -1) < 0)
			die("poll: %s", strerror(errno));
		for (i = 0; i < 2; i++) {
			if (!p[i].revents)
				continue;
			fd = accept(p[i].fd, NULL, NULL);
			if (fd < 0)
				die("accept: %s", strerror(errno));
			if (pthread_create(&thread, &attr, i ? records : connection,
					   (void *)(long)fd))
				die("no thread");
		}
	}
}
