// SPDX-License-Identifier: BSD-2-Clause
/*
 * How much of the module the messages reach, on a kernel with KCOV (the debug kernels; nothing else
 * in them is instrumented). Each thread that sends has its own trace.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <linux/kcov.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "nlfuzz.h"

#define TRACE_WORDS (64u << 10)
#define PLACES	    (1u << 24) /* more than a module has bytes of code */

static atomic_uchar reached[PLACES];
static _Thread_local unsigned long *trace;
static _Thread_local bool tried;

static void cover_start(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	tried = true;
	if (fd < 0)
		return;
	if (!ioctl(fd, KCOV_INIT_TRACE, TRACE_WORDS)) {
		trace = mmap(NULL, TRACE_WORDS * sizeof(*trace), PROT_READ | PROT_WRITE, MAP_SHARED,
			     fd, 0);
		if (trace == MAP_FAILED || ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
			trace = NULL;
	}
	/* the descriptor stays open: tracing ends with it */
}

void cover_begin(void)
{
	if (!tried)
		cover_start();
	if (trace)
		__atomic_store_n(trace, 0, __ATOMIC_RELAXED);
}

void cover_end(void)
{
	unsigned long n;

	if (!trace)
		return;
	n = __atomic_load_n(trace, __ATOMIC_RELAXED);
	for (unsigned long i = 1; i <= n && i < TRACE_WORDS; i++)
		reached[trace[i] % PLACES] = 1;
}

void cover_none(void)
{
	tried = true;
	trace = NULL;
}

void cover_summary(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < PLACES; i++)
		n += reached[i];
	if (n)
		printf("%u places of the module reached\n", n);
}
