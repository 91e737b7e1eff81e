// SPDX-License-Identifier: BSD-2-Clause
// Prints the rate of this machine's time-stamp counter in kHz, which an emulated guest sees too and
// cannot calibrate itself.
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

enum { MEASURE_NS = 200000000 };

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = MEASURE_NS };
	int64_t start_ns = now_ns(), ns;
	uint64_t start = __rdtsc(), ticks;

	nanosleep(&pause, NULL);
	ticks = __rdtsc() - start;
	ns = now_ns() - start_ns;
	printf("%.0f\n", ticks * 1e6 / ns);
	return 0;
}
