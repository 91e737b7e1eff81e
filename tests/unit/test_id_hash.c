// SPDX-License-Identifier: BSD-2-Clause
/* Tables of ids: chosen ids do not end in one list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/id_hash.h"

enum {
	SESSIONS = 2048, /* as many as a table ever has: eight for each list */
	LONGEST = 40,    /* of all lists of all tables below; chance alone gives about 25 */
};

static const uint64_t keys[] = { 0x9d3779b97f4a7c15, 0x0123456789abcdef, 0xfedcba9876543210, 7 };

/* Of @SESSIONS ids that are @stride apart. */
static unsigned int longest_list(uint64_t stride, uint64_t key)
{
	unsigned int lists[ID_HASH_BUCKETS] = { 0 }, longest = 0;

	for (uint64_t i = 0; i < SESSIONS; i++) {
		unsigned int *list = &lists[id_hash(1ull << 63 | i * stride, key)];

		if (++*list > longest)
			longest = *list;
	}
	return longest;
}

/* Who keeps one of each 256 connects, or each 65536, and gives up the others. */
static void test_ids_that_were_chosen_spread(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
		for (unsigned int shift = 0; shift < 48; shift++)
			assert_in_range(longest_list(1ull << shift, keys[k]), 1, LONGEST);
}

/* What fills one list of a table spreads over another one: it has to be known to be used. */
static void test_another_key_is_another_table(void **state)
{
	unsigned int lists[ID_HASH_BUCKETS] = { 0 }, n = 0;

	(void)state;
	for (uint64_t id = 0; n < SESSIONS; id++) {
		if (id_hash(id, keys[0]))
			continue;
		n++;
		assert_in_range(++lists[id_hash(id, keys[1])], 1, LONGEST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids_that_were_chosen_spread),
		cmocka_unit_test(test_another_key_is_another_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
