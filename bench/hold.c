// SPDX-License-Identifier: BSD-2-Clause
/* Opens many channels and keeps them idle. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "hold.h"

enum { AT_ONCE = 8 };

struct work {
	const struct endpoint *endpoint;
	atomic_int left;
	atomic_int err;
};

static void *connect_some(void *arg)
{
	struct work *work = arg;

	while (atomic_fetch_sub(&work->left, 1) > 0 && !work->err) {
		int fd = endpoint_connect(work->endpoint);

		if (fd < 0)
			work->err = fd;
	}
	return NULL;
}

int hold_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) ? -errno : 0;
}

int hold(const struct endpoint *endpoint, unsigned int count)
{
	struct work work = { .endpoint = endpoint, .left = count };
	pthread_t threads[AT_ONCE];
	int err = 0, started = 0;

	err = hold_raise_limit();
	while (!err && started < AT_ONCE) {
		err = -pthread_create(&threads[started], NULL, connect_some, &work);
		started += !err;
	}
	while (started)
		pthread_join(threads[--started], NULL);
	err = err ?: work.err;
	if (err)
		return err;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
