/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The epoll registrations of a descriptor, found in /proc. An epoll instance watches a file, not a
 * number: when the shim puts another socket behind a number, it has to register that one again.
 *
 * All of it is async-signal-safe and allocates nothing.
 */
#ifndef _PRELOAD_WATCH_H
#define _PRELOAD_WATCH_H

#include <stdbool.h>
#include <sys/epoll.h>

#define WATCHES_MAX 32 /* registrations of one descriptor */

struct watch {
	int epfd;
	struct epoll_event event;
};

struct watches {
	unsigned int n;
	struct watch watch[WATCHES_MAX];
};

/*
 * watches_find - which epoll instances of this process watch @fd?
 *
 * Some of what it finds may be there twice (duplicates of an epoll descriptor) or be about a file
 * that was @fd once; watches_remove() sorts that out. Returns 0; -EMFILE or -ENFILE (it needs two
 * descriptors for a moment); -ENOSPC for more than WATCHES_MAX; or what opening /proc gave.
 */
int watches_find(int fd, struct watches *watches);

/* Takes @fd out of them, and forgets those in which it was not: what is left can be added again. */
void watches_remove(int fd, struct watches *watches);

/*
 * Puts what is @fd now into them, with the old events and data. epoll looks at the file at once, so
 * what happened to it before this call is reported too. All or nothing. Returns 0 or -errno.
 */
int watches_add(int fd, const struct watches *watches);

/* One line of an epoll descriptor's fdinfo. Returns whether it is a registration. */
bool watch_parse_line(const char *line, int *fd, struct epoll_event *event);

#endif
