// SPDX-License-Identifier: BSD-2-Clause
/* A single-threaded epoll loop. */
#include "loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

int loop_init(struct loop *loop)
{
	loop->stop = false;
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epfd < 0 ? -errno : 0;
}

void loop_exit(struct loop *loop)
{
	close(loop->epfd);
	loop->epfd = -1;
}

int loop_add(struct loop *loop, struct loop_source *source, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = source };

	if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, fd, &ev))
		return -errno;
	source->fd = fd;
	return 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	if (source->fd < 0)
		return;
	/* close() alone would not do it if another process had a copy of the descriptor */
	epoll_ctl(loop->epfd, EPOLL_CTL_DEL, source->fd, NULL);
	close(source->fd);
	source->fd = -1;
}

/*
 * One event for each call, since a handler may remove (and free) any other source: nothing that was
 * fetched before can be stale. The kernel serves level-triggered descriptors in turn, so a busy one
 * does not starve the rest.
 */
int loop_step(struct loop *loop, int timeout_ms)
{
	struct epoll_event ev;
	struct loop_source *source;
	int n = epoll_wait(loop->epfd, &ev, 1, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (!n)
		return 0;
	source = ev.data.ptr;
	source->ready(source, ev.events);
	return 1;
}

int loop_run(struct loop *loop)
{
	while (!loop->stop) {
		int err = loop_step(loop, -1);

		if (err < 0)
			return err;
	}
	return 0;
}
