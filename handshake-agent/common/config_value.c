// SPDX-License-Identifier: BSD-2-Clause
/* What a configuration file's strings mean. */
#include "config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS_PER_S 1000ull

struct unit {
	const char *name; /* NULL ends a list of them */
	uint64_t factor;
};

/* Digits and the name of one of @units. */
static bool parse_amount(const char *text, const struct unit *units, uint64_t max, uint64_t *out)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return false;
	for (; units->name; units++) {
		if (strcmp(end, units->name) != 0)
			continue;
		if (number > max / units->factor)
			return false;
		*out = number * units->factor;
		return true;
	}
	return false;
}

bool config_size(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = {
		{ "", 1 }, { "K", 1ull << 10 }, { "M", 1ull << 20 }, { "G", 1ull << 30 }, { 0 },
	};

	return parse_amount(text, units, UINT64_MAX, bytes);
}

bool config_ms(const char *text, uint64_t *ms)
{
	static const struct unit units[] = {
		{ "ms", 1 },
		{ "s", MS_PER_S },
		{ "m", 60 * MS_PER_S },
		{ "h", 3600 * MS_PER_S },
		{ "d", 24 * 3600 * MS_PER_S },
		{ 0 },
	};

	if (strcmp(text, "0") == 0) {
		*ms = 0;
		return true;
	}
	return parse_amount(text, units, UINT32_MAX, ms);
}

bool config_id(const char *text, uint32_t *id)
{
	static const struct unit units[] = { { "", 1 }, { 0 } };
	uint64_t number;

	if (!parse_amount(text, units, UINT32_MAX - 1, &number))
		return false;
	*id = (uint32_t)number;
	return true;
}
