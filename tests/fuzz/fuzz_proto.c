// SPDX-License-Identifier: BSD-2-Clause
/*
 * The control protocol's parser: any bytes are refused or accepted without harm, and what is
 * accepted, built again from its parts, is the same frame up to the order of its attributes.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"
#include "proto/tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void rebuild(enum sivp_from from, const struct sivp_msg *m, size_t len)
{
	static struct sivp_builder b;
	struct sivp_msg again;
	size_t used;

	sivp_begin(&b, from, m->type, m->session);
	for (int a = 1; a <= SIVP_A_MAX; a++) {
		if (!sivp_has(m, a))
			continue;
		switch (sivp_attributes[a].kind) {
		case SIVP_U32:
			sivp_put_u32(&b, a, sivp_u32(m, a));
			break;
		case SIVP_U64:
			sivp_put_u64(&b, a, sivp_u64(m, a));
			break;
		case SIVP_STRING:
		case SIVP_NAME:
			check(strlen(sivp_str(m, a)) == m->attr[a].len);
			sivp_put_str(&b, a, sivp_str(m, a));
			break;
		case SIVP_BLOB:
			sivp_put_blob(&b, a, m->attr[a].data, m->attr[a].len);
			break;
		}
	}
	check(sivp_end(&b) == len);
	check(sivp_parse(from, b.buf, len, &again, &used) == SIVP_OK && used == len);
	check(again.type == m->type && again.session == m->session);
	for (int a = 1; a <= SIVP_A_MAX; a++) {
		check(sivp_has(m, a) == sivp_has(&again, a));
		if (sivp_has(m, a))
			check(m->attr[a].len == again.attr[a].len &&
			      !memcmp(m->attr[a].data, again.attr[a].data, m->attr[a].len));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum sivp_from from;
	size_t at, keep;
	long magic;

	if (!size)
		return 0;
	from = data[0] & 1 ? SIVP_GUEST : SIVP_HOST;
	data++;
	size--;

	magic = sivp_find_magic(data, size, &keep);
	if (magic >= 0)
		check((size_t)magic + SIVP_MAGIC_LEN <= size);
	else
		check(keep < SIVP_MAGIC_LEN && keep <= size);

	for (at = 0; at < size;) {
		struct sivp_msg m;
		size_t used = 0;

		if (sivp_parse(from, data + at, size - at, &m, &used) != SIVP_OK)
			break;
		check(used >= SIVP_HEADER_LEN && used <= size - at);
		rebuild(from, &m, used);
		at += used;
	}
	return 0;
}
