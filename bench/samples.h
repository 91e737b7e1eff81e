/* SPDX-License-Identifier: BSD-2-Clause */
/* What a measurement collects, and how it is told: one line of JSON. */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Values of one unit, in the order they were measured until samples_summarize() sorts them. */
struct samples {
	double *values;
	size_t n, max;
};

struct summary {
	double median, p99, min, max;
	size_t n;
};

/* Room for @max values. Returns 0 or -ENOMEM; samples_free() takes it back. */
int samples_init(struct samples *samples, size_t max);
void samples_free(struct samples *samples);

/* False, and nothing is kept, once there are as many as there is room for. */
bool samples_add(struct samples *samples, double value);

/*
 * Sorts. Percentiles are nearest-rank: the smallest value that is no less than that share of all
 * values, so each is a value that was measured. bench/combine.jq does the same over several runs.
 * There must be a sample.
 */
struct summary samples_summarize(struct samples *samples);

/* One line; with @all also the values themselves, as "samples". @name and @unit need no escapes. */
void samples_print(FILE *out, const char *name, const char *unit, struct samples *samples,
		   bool all);

#endif
