/* SPDX-License-Identifier: BSD-2-Clause */
/* "did you mean": the known word that is nearest to one that is not known. */
#ifndef SIVSHMEM_SUGGEST_H
#define SIVSHMEM_SUGGEST_H

#include <stddef.h>

#define SUGGEST_WORD_MAX 64u /* bytes of a word, longer ones are never suggested */

struct suggest {
	const char *word; /* what was written */
	const char *best; /* NULL as long as nothing is near enough */
	size_t distance;
};

void suggest_init(struct suggest *s, const char *word);
/* @known is kept, not copied. */
void suggest_offer(struct suggest *s, const char *known);

#endif
