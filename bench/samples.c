// SPDX-License-Identifier: BSD-2-Clause
/* Samples of a measurement and their summary. */
#include <errno.h>
#include <stdlib.h>

#include "samples.h"

int samples_init(struct samples *samples, size_t max)
{
	samples->values = calloc(max, sizeof(*samples->values));
	samples->n = 0;
	samples->max = max;
	return samples->values ? 0 : -ENOMEM;
}

void samples_free(struct samples *samples)
{
	free(samples->values);
	samples->values = NULL;
}

bool samples_add(struct samples *samples, double value)
{
	if (samples->n == samples->max)
		return false;
	samples->values[samples->n++] = value;
	return true;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Rank ceil(n * percent / 100), counted from 1. */
static double percentile(const struct samples *sorted, unsigned int percent)
{
	return sorted->values[(sorted->n * percent + 99) / 100 - 1];
}

struct summary samples_summarize(struct samples *samples)
{
	qsort(samples->values, samples->n, sizeof(*samples->values), compare);
	return (struct summary){
		.median = percentile(samples, 50),
		.p99 = percentile(samples, 99),
		.min = samples->values[0],
		.max = samples->values[samples->n - 1],
		.n = samples->n,
	};
}

void samples_print(FILE *out, const char *name, const char *unit, struct samples *samples,
		   bool all)
{
	struct summary sum = samples_summarize(samples);

	fprintf(out,
		"{\"name\":\"%s\",\"unit\":\"%s\",\"median\":%.3f,\"p99\":%.3f,\"min\":%.3f,"
		"\"max\":%.3f,\"n\":%zu",
		name, unit, sum.median, sum.p99, sum.min, sum.max, sum.n);
	for (size_t i = 0; all && i < samples->n; i++)
		fprintf(out, "%s%.3f", i ? "," : ",\"samples\":[", samples->values[i]);
	fputs(all ? "]}\n" : "}\n", out);
}
