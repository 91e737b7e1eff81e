// SPDX-License-Identifier: BSD-2-Clause
/* The epoll registrations of a descriptor, found in /proc. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "watch.h"

#define FD_DIR      "/proc/thread-self/fd" /* a thread may have a table of its own */
#define EPOLL_LINK  "anon_inode:[eventpoll]"
#define NUMBER_LEN  12                     /* a descriptor's number and a NUL */

/* No sscanf: it is not async-signal-safe. Moves @text behind the number; false if none is there. */
static bool take_number(const char **text, unsigned int base, uint64_t *value)
{
	const char *c = *text;
	uint64_t n = 0;
	unsigned int digit;
	bool any = false;

	while (*c == ' ')
		c++;
	for (;; c++, any = true) {
		if (*c >= '0' && *c <= '9')
			digit = *c - '0';
		else if (base == 16 && *c >= 'a' && *c <= 'f')
			digit = *c - 'a' + 10;
		else
			break;
		if (n > (UINT64_MAX - digit) / base)
			return false;
		n = n * base + digit;
	}
	*text = c;
	*value = n;
	return any;
}

static bool take_word(const char **text, const char *word)
{
	size_t len = strlen(word);

	while (**text == ' ')
		(*text)++;
	if (strncmp(*text, word, len))
		return false;
	*text += len;
	return true;
}

bool watch_parse_line(const char *line, int *fd, struct epoll_event *event)
{
	uint64_t number, events, data;

	if (!take_word(&line, "tfd:") || !take_number(&line, 10, &number) ||
	    !take_word(&line, "events:") || !take_number(&line, 16, &events) ||
	    !take_word(&line, "data:") || !take_number(&line, 16, &data) ||
	    number > INT_MAX || events > UINT32_MAX)
		return false;
	*fd = number;
	event->events = events;
	event->data.u64 = data;
	return true;
}

static int remember(struct watches *watches, int epfd, const struct epoll_event *event)
{
	if (watches->n == WATCHES_MAX)
		return -ENOSPC;
	watches->watch[watches->n++] = (struct watch){ .epfd = epfd, .event = *event };
	return 0;
}

/* Reads an epoll descriptor's fdinfo. Lines that do not fit are none of those that matter. */
static int scan_epoll(int info, int epfd, int fd, struct watches *watches)
{
	struct epoll_event event;
	char buf[512], line[128];
	size_t len = 0;
	ssize_t n;
	int err, tfd;

	while ((n = read(info, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] != '\n') {
				if (len < sizeof(line) - 1)
					line[len++] = buf[i];
				continue;
			}
			line[len] = '\0';
			len = 0;
			if (!watch_parse_line(line, &tfd, &event) || tfd != fd)
				continue;
			err = remember(watches, epfd, &event);
			if (err)
				return err;
		}
	}
	return n ? -errno : 0;
}

static bool is_epoll(int dir, const char *name)
{
	char target[sizeof(EPOLL_LINK)];
	ssize_t len = readlinkat(dir, name, target, sizeof(target));

	return len == sizeof(EPOLL_LINK) - 1 && !memcmp(target, EPOLL_LINK, len);
}

static int scan_descriptor(int dir, const char *name, int fd, struct watches *watches)
{
	char path[sizeof("../fdinfo/") + NUMBER_LEN];
	const char *digits = name;
	uint64_t epfd;
	int err, info;

	if (!take_number(&digits, 10, &epfd) || epfd > INT_MAX || strlen(name) >= NUMBER_LEN ||
	    !is_epoll(dir, name))
		return 0;
	strcpy(stpcpy(path, "../fdinfo/"), name);
	info = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return errno == ENOENT ? 0 : -errno; /* closed by another thread meanwhile */
	err = scan_epoll(info, epfd, fd, watches);
	close(info);
	return err;
}

int watches_find(int fd, struct watches *watches)
{
	/* opendir() would allocate. */
	char entries[1024] __attribute__((aligned(__alignof__(struct dirent64))));
	int dir, err = 0;
	ssize_t n;

	watches->n = 0;
	dir = open(FD_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	while ((n = getdents64(dir, entries, sizeof(entries))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry = (const void *)(entries + at);

			at += entry->d_reclen;
			err = scan_descriptor(dir, entry->d_name, fd, watches);
			if (err)
				goto close_dir;
		}
	}
	if (n < 0)
		err = -errno;
close_dir:
	close(dir);
	return err;
}

void watches_remove(int fd, struct watches *watches)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < watches->n; i++)
		if (!epoll_ctl(watches->watch[i].epfd, EPOLL_CTL_DEL, fd, NULL))
			watches->watch[kept++] = watches->watch[i];
	watches->n = kept;
}

int watches_add(int fd, const struct watches *watches)
{
	for (unsigned int i = 0; i < watches->n; i++) {
		struct epoll_event event = watches->watch[i].event;
		int err;

		if (!epoll_ctl(watches->watch[i].epfd, EPOLL_CTL_ADD, fd, &event))
			continue;
		err = -errno;
		while (i--)
			epoll_ctl(watches->watch[i].epfd, EPOLL_CTL_DEL, fd, NULL);
		return err;
	}
	return 0;
}
