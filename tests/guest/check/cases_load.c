// SPDX-License-Identifier: BSD-2-Clause
/*
 * The client's cases: a process that takes all that it can get, and is told so. Each prints how much
 * that was and what ended it, and holds on to it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>

#include "cases.h"
#include "check.h"

static void hold(unsigned int n, const char *what, int err)
{
	printf("%u %s, then %s\n", n, what, strerrorname_np(err));
	fflush(stdout);
	pause();
}

/* Sockets that are not connected. */
void case_load_sockets(const char *arg)
{
	unsigned int n = 0;

	(void)arg;
	while (socket(siv_family(), SOCK_STREAM, 0) >= 0)
		n++;
	hold(n, "sockets", errno);
}

/* Connects that nobody answers. */
void case_load_pending(const char *arg)
{
	unsigned int n = 0;
	int fd;

	(void)arg;
	for (;;) {
		fd = socket(siv_family(), SOCK_STREAM | SOCK_NONBLOCK, 0);
		CHECK(fd >= 0);
		CHECK(connect(fd, (void *)&addr, sizeof(addr)));
		if (errno != EINPROGRESS)
			break;
		n++;
	}
	hold(n, "connects", errno);
}

/* Channels. */
void case_load_channels(const char *arg)
{
	unsigned int n = 0;
	int fd;

	(void)arg;
	while ((fd = siv_connect(url, 0)) >= 0)
		n++;
	hold(n, "channels", -fd);
}
