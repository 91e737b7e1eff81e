// SPDX-License-Identifier: BSD-2-Clause
/* The bench's statistics: nearest-rank percentiles, and the line of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "samples.h"

static struct summary summary_of(const double *values, size_t n)
{
	struct samples samples;
	struct summary sum;

	assert_int_equal(samples_init(&samples, n), 0);
	for (size_t i = 0; i < n; i++)
		assert_true(samples_add(&samples, values[i]));
	assert_false(samples_add(&samples, 0));
	sum = samples_summarize(&samples);
	samples_free(&samples);
	return sum;
}

static void assert_summary(struct summary sum, double min, double median, double p99, double max)
{
	assert_true(sum.min == min);
	assert_true(sum.median == median);
	assert_true(sum.p99 == p99);
	assert_true(sum.max == max);
}

static void one_sample_is_all_of_them(void **state)
{
	(void)state;
	assert_summary(summary_of((double[]){ 7 }, 1), 7, 7, 7, 7);
}

static void the_median_of_an_even_number_is_the_lower_middle(void **state)
{
	(void)state;
	assert_summary(summary_of((double[]){ 4, 1, 3, 2 }, 4), 1, 2, 4, 4);
}

static void of_a_hundred_the_99th_and_of_101_the_100th(void **state)
{
	double values[101];

	(void)state;
	for (size_t i = 0; i < 101; i++)
		values[i] = (i * 37) % 101 + 1; /* 1 to 101, mixed */
	assert_summary(summary_of(values, 101), 1, 51, 100, 101);
	for (size_t i = 0; i < 100; i++)
		values[i] = 100 - i;
	assert_summary(summary_of(values, 100), 1, 50, 99, 100);
}

static void assert_printed(bool all, const char *expected)
{
	struct samples samples;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(samples_init(&samples, 2), 0);
	samples_add(&samples, 2.5);
	samples_add(&samples, 1.25);
	samples_print(out, "rtt/64/x/y", "us", &samples, all);
	fclose(out);
	assert_string_equal(text, expected);
	samples_free(&samples);
	free(text);
}

static void a_line_of_json_is_printed(void **state)
{
	(void)state;
	assert_printed(false, "{\"name\":\"rtt/64/x/y\",\"unit\":\"us\",\"median\":1.250,"
			      "\"p99\":2.500,\"min\":1.250,\"max\":2.500,\"n\":2}\n");
	assert_printed(true, "{\"name\":\"rtt/64/x/y\",\"unit\":\"us\",\"median\":1.250,"
			     "\"p99\":2.500,\"min\":1.250,\"max\":2.500,\"n\":2,"
			     "\"samples\":[1.250,2.500]}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_sample_is_all_of_them),
		cmocka_unit_test(the_median_of_an_even_number_is_the_lower_middle),
		cmocka_unit_test(of_a_hundred_the_99th_and_of_101_the_100th),
		cmocka_unit_test(a_line_of_json_is_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
