// SPDX-License-Identifier: BSD-2-Clause
/* OpenSSL's memory: a secure heap for keys, and the rest cleansed. */
#include "secrets.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define SECURE_HEAP     (256 * 1024) /* bytes, a power of two; a P-256 key takes under 1 KiB */
#define SECURE_HEAP_MIN 32           /* bytes of its smallest block */

static void *plain_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return malloc(size);
}

static void cleansing_free(void *memory, const char *file, int line)
{
	(void)file;
	(void)line;
	if (memory)
		OPENSSL_cleanse(memory, malloc_usable_size(memory));
	free(memory);
}

/* Never in place: realloc() would leave the old bytes where it moves them from. */
static void *cleansing_realloc(void *memory, size_t size, const char *file, int line)
{
	size_t had = memory ? malloc_usable_size(memory) : 0;
	void *moved;

	if (memory && !size) {
		cleansing_free(memory, file, line);
		return NULL;
	}
	moved = malloc(size);
	if (!moved)
		return NULL;
	if (memory)
		memcpy(moved, memory, had < size ? had : size);
	cleansing_free(memory, file, line);
	return moved;
}

void secrets_init(void)
{
	int heap;

	if (!CRYPTO_set_mem_functions(plain_malloc, cleansing_realloc, cleansing_free))
		log_warning("OpenSSL's memory is not cleansed: it is in use already");
	heap = CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_HEAP_MIN);
	if (!heap)
		log_warning("keys lie in ordinary memory: OpenSSL has no secure heap for them");
	else if (heap != 1) /* all but the locking */
		log_warning("keys may be swapped out: raise the limit of locked memory");
}
