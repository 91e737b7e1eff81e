// SPDX-License-Identifier: BSD-2-Clause
/* "did you mean", by the Levenshtein distance. */
#include "suggest.h"

#include <string.h>

#define SUGGEST_NEAR 3 /* one letter in three may differ */

/* Single-letter changes, insertions and removals between two words; both up to SUGGEST_WORD_MAX. */
static size_t distance(const char *a, const char *b)
{
	size_t row[SUGGEST_WORD_MAX + 1];
	size_t len = strlen(b);

	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 1; *a; a++, i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= len; j++) {
			size_t change = diagonal + (*a != b[j - 1]);

			diagonal = row[j];
			row[j] = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			if (change < row[j])
				row[j] = change;
		}
	}
	return row[len];
}

void suggest_init(struct suggest *s, const char *word)
{
	s->word = word;
	s->best = NULL;
	s->distance = strlen(word) / SUGGEST_NEAR + 1;
}

void suggest_offer(struct suggest *s, const char *known)
{
	size_t d;

	if (strlen(s->word) > SUGGEST_WORD_MAX || strlen(known) > SUGGEST_WORD_MAX)
		return;
	d = distance(s->word, known);
	if (d <= s->distance && (!s->best || d < s->distance)) {
		s->best = known;
		s->distance = d;
	}
}
