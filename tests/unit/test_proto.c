// SPDX-License-Identifier: BSD-2-Clause
/* The control protocol's codec: every row of its tables, every limit, every truncation. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sivshmem/abi.h>

#include "proto/proto.h"
#include "proto/tables.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void le16(uint8_t *p, uint16_t v)
{
	p[0] = v;
	p[1] = v >> 8;
}

static void le32(uint8_t *p, uint32_t v)
{
	le16(p, v);
	le16(p + 2, v >> 16);
}

static enum sivp_from sender(enum sivp_type t)
{
	return sivp_messages[t].from & SIVP_GUEST ? SIVP_GUEST : SIVP_HOST;
}

static uint64_t a_session(enum sivp_type t)
{
	switch (sivp_messages[t].session) {
	case SIVP_SESSION_NONE:
		return 0;
	case SIVP_SESSION_THEIRS:
		return SIVP_SESSION_INCOMING | 7;
	default:
		return 7;
	}
}

/* A value of the least or greatest length and size that the attribute's row allows. */
static void put_value(struct sivp_builder *b, enum sivp_attr a, bool most)
{
	const struct sivp_attr_row *row = &sivp_attributes[a];
	size_t len = most ? row->max : row->min;
	char *s;

	switch (row->kind) {
	case SIVP_U32:
		sivp_put_u32(b, a, most ? row->highest : row->lowest);
		return;
	case SIVP_U64:
		sivp_put_u64(b, a, most ? UINT64_MAX : 0);
		return;
	default:
		s = malloc(len + 1);
		memset(s, 'a', len);
		s[len] = 0;
		if (row->kind == SIVP_BLOB)
			sivp_put_blob(b, a, s, len);
		else
			sivp_put_str(b, a, s);
		free(s);
	}
}

static size_t build(struct sivp_builder *b, enum sivp_type t, uint64_t attrs, bool most)
{
	sivp_begin(b, sender(t), t, a_session(t));
	for (int a = 1; a <= SIVP_A_MAX; a++)
		if (attrs & SIVP_BIT(a))
			put_value(b, a, most);
	return sivp_end(b);
}

/* As sivp_end() writes it, without its check: to make what must be refused. */
static enum sivp_error parse_raw(struct sivp_builder *b)
{
	struct sivp_msg m;
	size_t used;

	assert_false(b->failed);
	le32(b->buf, b->len - 4);
	return sivp_parse(b->from, b->buf, b->len, &m, &used);
}

static void test_every_message_with_least_and_most(void **state)
{
	static struct sivp_builder b;
	struct sivp_msg m;
	size_t used, len;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];
		const uint64_t sets[] = { row->must, row->must | row->may };

		assert_non_null(row->name);
		assert_int_equal(row->must & row->may, 0);
		assert_int_equal(row->empty & ~(row->must | row->may), 0);
		assert_true(row->from);
		for (int i = 0; i < 4; i++) {
			len = build(&b, t, sets[i / 2], i % 2);
			if (!len)
				fail_msg("%s does not build", row->name);
			assert_int_equal(sivp_parse(sender(t), b.buf, len, &m, &used), SIVP_OK);
			assert_int_equal(used, len);
			assert_int_equal(m.type, t);
			assert_int_equal(m.session, a_session(t));
			for (int a = 1; a <= SIVP_A_MAX; a++)
				assert_int_equal(sivp_has(&m, a), !!(sets[i / 2] & SIVP_BIT(a)));
		}
	}
}

static void test_a_missing_attribute_is_refused(void **state)
{
	static struct sivp_builder b;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];

		for (int a = 1; a <= SIVP_A_MAX; a++) {
			if (!(row->must & SIVP_BIT(a)))
				continue;
			assert_int_equal(build(&b, t, row->must & ~SIVP_BIT(a), false), 0);
			b.failed = false;
			assert_int_equal(parse_raw(&b), SIVP_E_MISSING);
		}
	}
}

static void test_a_foreign_attribute_is_refused(void **state)
{
	static struct sivp_builder b;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];

		for (int a = 1; a <= SIVP_A_MAX; a++) {
			if ((row->must | row->may) & SIVP_BIT(a))
				continue;
			assert_int_equal(build(&b, t, row->must | SIVP_BIT(a), false), 0);
			b.failed = false;
			assert_int_equal(parse_raw(&b), SIVP_E_ATTRIBUTE);
		}
	}
}

static void test_an_attribute_twice_is_refused(void **state)
{
	static struct sivp_builder b;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];

		for (int a = 1; a <= SIVP_A_MAX; a++) {
			if (!((row->must | row->may) & SIVP_BIT(a)))
				continue;
			assert_int_not_equal(build(&b, t, row->must | SIVP_BIT(a), false), 0);
			put_value(&b, a, false);
			assert_int_equal(parse_raw(&b), SIVP_E_ATTRIBUTE);
		}
	}
}

static void test_an_unknown_attribute_is_refused(void **state)
{
	static const uint16_t types[] = { 0, SIVP_A_MAX + 1, 63, 64, 0x7fff, 0xffff };
	static struct sivp_builder b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		assert_int_not_equal(build(&b, SIVP_REPORTED, 0, false), 0);
		sivp_put_u32(&b, types[i], 0);
		assert_int_equal(parse_raw(&b), SIVP_E_ATTRIBUTE);
	}
}

static void test_values_beyond_their_row_are_refused(void **state)
{
	static struct sivp_builder b;
	static char big[70000];

	(void)state;
	memset(big, 'a', sizeof(big));
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];

		for (int a = 1; a <= SIVP_A_MAX; a++) {
			const struct sivp_attr_row *ar = &sivp_attributes[a];
			uint64_t others = (row->must | row->may) & ~SIVP_BIT(a);

			if (!((row->must | row->may) & SIVP_BIT(a)))
				continue;
			assert_non_null(ar->name);
			for (int more = 0; more < 2; more++) {
				size_t len = more ? ar->max + 1u : ar->min - 1u;

				if (!more && !ar->min)
					continue;
				build(&b, t, others, false);
				b.failed = false;
				if (ar->kind == SIVP_STRING || ar->kind == SIVP_NAME) {
					if (!len && (row->empty & SIVP_BIT(a)))
						continue;
					big[len] = 0;
					sivp_put_blob(&b, a, big, len + 1);
					big[len] = 'a';
				} else {
					sivp_put_blob(&b, a, big, len);
				}
				assert_int_equal(parse_raw(&b), SIVP_E_ATTRIBUTE);
			}
			if (ar->kind != SIVP_U32)
				continue;
			for (int more = 0; more < 2; more++) {
				uint32_t v = more ? ar->highest + 1 : ar->lowest - 1;

				if (more ? ar->highest == UINT32_MAX : !ar->lowest)
					continue;
				build(&b, t, others, false);
				b.failed = false;
				sivp_put_u32(&b, a, v);
				assert_int_equal(parse_raw(&b), SIVP_E_ATTRIBUTE);
			}
		}
	}
}

static void test_links_are_whole_words(void **state)
{
	static struct sivp_builder b;

	(void)state;
	build(&b, SIVP_HELLO, sivp_messages[SIVP_HELLO].must & ~SIVP_BIT(SIVP_A_LINKS), false);
	b.failed = false;
	sivp_put_blob(&b, SIVP_A_LINKS, "12345", 5);
	assert_int_equal(parse_raw(&b), SIVP_E_ATTRIBUTE);
}

static void test_strings_and_names_by_content(void **state)
{
	static const struct {
		const char *value;
		size_t len; /* with its NUL */
		bool ok, text_ok;
	} cases[] = {
		{ "a", 2, true, true },
		{ "0.a-b_c", 8, true, true },
		{ "", 1, false, false },
		{ "a", 1, false, false },          /* no NUL */
		{ "a\0b", 4, false, false },       /* one inside */
		{ "a\0", 3, false, false },        /* two at the end */
		{ "A", 2, false, true },
		{ "-a", 3, false, true },
		{ ".a", 3, false, true },
		{ "_a", 3, false, true },
		{ "a b", 4, false, true },
		{ "a/b", 4, false, true },
		{ "a\n", 3, false, false },
		{ "a\x1b[m", 5, false, false },
		{ "a\x7f", 3, false, false },
		{ "\xc3\xa4", 3, false, false },
	};
	static struct sivp_builder b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		sivp_begin(&b, SIVP_GUEST, SIVP_LISTENING, 0);
		sivp_put_u32(&b, SIVP_A_UP, 1);
		sivp_put_blob(&b, SIVP_A_SERVICE, cases[i].value, cases[i].len);
		assert_int_equal(parse_raw(&b), cases[i].ok ? SIVP_OK : SIVP_E_ATTRIBUTE);

		sivp_begin(&b, SIVP_GUEST, SIVP_REJECT, 1);
		sivp_put_u32(&b, SIVP_A_REASON, 1);
		sivp_put_u32(&b, SIVP_A_ERRNO, EACCES);
		sivp_put_blob(&b, SIVP_A_TEXT, cases[i].value, cases[i].len);
		assert_int_equal(parse_raw(&b), cases[i].text_ok ? SIVP_OK : SIVP_E_ATTRIBUTE);
	}
}

static void test_only_open_may_leave_the_vm_empty(void **state)
{
	static struct sivp_builder b;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];
		bool ok = t == SIVP_OPEN || t == SIVP_AUDIT;

		if (!((row->must | row->may) & SIVP_BIT(SIVP_A_VM)))
			continue;
		build(&b, t, row->must & ~SIVP_BIT(SIVP_A_VM), false);
		b.failed = false;
		sivp_put_str(&b, SIVP_A_VM, "");
		assert_int_equal(parse_raw(&b), ok ? SIVP_OK : SIVP_E_ATTRIBUTE);
	}
}

static void test_sessions_are_as_the_message_wants(void **state)
{
	static const uint64_t sessions[] = { 0, 1, SIVP_SESSION_INCOMING | 1, SIVP_SESSION_INCOMING };
	static const bool ok[][4] = {
		[SIVP_SESSION_NONE] = { true, false, false, false },
		[SIVP_SESSION_OWN] = { false, true, false, false },
		[SIVP_SESSION_THEIRS] = { false, false, true, true },
		[SIVP_SESSION_ANY] = { false, true, true, true },
	};
	static struct sivp_builder b;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];

		for (size_t i = 0; i < ARRAY_LEN(sessions); i++) {
			sivp_begin(&b, sender(t), t, sessions[i]);
			for (int a = 1; a <= SIVP_A_MAX; a++)
				if (row->must & SIVP_BIT(a))
					put_value(&b, a, false);
			assert_int_equal(parse_raw(&b), ok[row->session][i] ? SIVP_OK :
								SIVP_E_SESSION);
		}
	}
}

static void test_the_wrong_sender_is_refused(void **state)
{
	static struct sivp_builder b;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		uint8_t from = sivp_messages[t].from;

		assert_int_not_equal(build(&b, t, sivp_messages[t].must, false), 0);
		b.from = SIVP_GUEST;
		assert_int_equal(parse_raw(&b), from & SIVP_GUEST ? SIVP_OK : SIVP_E_TYPE);
		b.from = SIVP_HOST;
		assert_int_equal(parse_raw(&b), from & SIVP_HOST ? SIVP_OK : SIVP_E_TYPE);
	}
}

static void test_unknown_types_are_refused(void **state)
{
	static const uint16_t types[] = { 0, SIVP_TYPE_MAX + 1, 0xff, 0x100, 0xffff };
	static struct sivp_builder b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		sivp_begin(&b, SIVP_GUEST, types[i], 0);
		assert_int_equal(parse_raw(&b), SIVP_E_TYPE);
	}
	sivp_begin(&b, SIVP_GUEST, SIVP_REPORTED, 0);
	b.buf[6] = 1; /* the reserved field */
	assert_int_equal(parse_raw(&b), SIVP_E_TYPE);
}

/* Each prefix lies in a heap block of its own size, so that ASan sees a read past its end. */
static void test_every_prefix_wants_more(void **state)
{
	static struct sivp_builder b;
	struct sivp_msg m;
	size_t used;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];
		size_t len = build(&b, t, row->must | row->may, false);

		for (size_t n = 0; n < len; n++) {
			uint8_t *p = malloc(n ? n : 1);

			memcpy(p, b.buf, n);
			assert_int_equal(sivp_parse(sender(t), p, n, &m, &used), SIVP_MORE);
			free(p);
		}
	}
}

/* The same prefixes, but with a length field that says that they are whole. */
static void test_every_cut_frame_is_refused(void **state)
{
	static struct sivp_builder b;
	struct sivp_msg m;
	size_t used;

	(void)state;
	for (int t = 1; t <= SIVP_TYPE_MAX; t++) {
		const struct sivp_message_row *row = &sivp_messages[t];
		size_t len = build(&b, t, row->must, false);

		for (size_t n = SIVP_HEADER_LEN; n < len; n++) {
			uint8_t *p = malloc(n);
			enum sivp_error e;

			memcpy(p, b.buf, n);
			le32(p, n - 4);
			e = sivp_parse(sender(t), p, n, &m, &used);
			assert_true(e == SIVP_E_ATTRIBUTE || e == SIVP_E_MISSING);
			free(p);
		}
	}
}

static void test_lengths_of_frames(void **state)
{
	static const struct {
		uint32_t length;
		enum sivp_error error;
	} cases[] = {
		{ 0, SIVP_E_LENGTH },
		{ SIVP_HEADER_LEN - 5, SIVP_E_LENGTH },
		{ SIVP_HEADER_LEN - 4, SIVP_MORE },
		{ SIVP_FRAME_MAX - 4, SIVP_MORE },
		{ SIVP_FRAME_MAX - 3, SIVP_E_LENGTH },
		{ 0x7fffffff, SIVP_E_LENGTH },
		{ 0xffffffff, SIVP_E_LENGTH }, /* also how SIVP_MAGIC begins */
		{ 0xfffffffc, SIVP_E_LENGTH },
	};
	struct sivp_msg m;
	uint8_t p[4];
	size_t used;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		le32(p, cases[i].length);
		assert_int_equal(sivp_parse(SIVP_GUEST, p, 4, &m, &used), cases[i].error);
	}
	assert_int_equal(sivp_parse(SIVP_HOST, (const uint8_t *)SIVP_MAGIC, SIVP_MAGIC_LEN, &m,
				    &used), SIVP_E_LENGTH);
}

static void test_a_frame_ends_where_it_says(void **state)
{
	static struct sivp_builder b;
	uint8_t two[256];
	struct sivp_msg m;
	size_t used, len;

	(void)state;
	len = build(&b, SIVP_LISTENING, sivp_messages[SIVP_LISTENING].must, false);
	memcpy(two, b.buf, len);
	memcpy(two + len, b.buf, len);
	assert_int_equal(sivp_parse(SIVP_GUEST, two, 2 * len, &m, &used), SIVP_OK);
	assert_int_equal(used, len);
	/* Both as one frame: the second's header is no attribute. */
	le32(two, 2 * len - 4);
	assert_int_equal(sivp_parse(SIVP_GUEST, two, 2 * len, &m, &used), SIVP_E_ATTRIBUTE);
	/* Bytes after the last attribute, even zeros. */
	memset(two + len, 0, 4);
	for (int extra = 1; extra <= 4; extra++) {
		le32(two, len + extra - 4);
		assert_int_equal(sivp_parse(SIVP_GUEST, two, len + extra, &m, &used),
				 SIVP_E_ATTRIBUTE);
	}
}

static void test_padding_is_zero(void **state)
{
	static struct sivp_builder b;

	(void)state;
	sivp_begin(&b, SIVP_GUEST, SIVP_LISTENING, 0);
	sivp_put_u32(&b, SIVP_A_UP, 1);
	sivp_put_str(&b, SIVP_A_SERVICE, "a");
	assert_int_equal(parse_raw(&b), SIVP_OK);
	for (int i = 1; i <= 2; i++) {
		b.buf[b.len - i] = 1;
		assert_int_equal(parse_raw(&b), SIVP_E_ATTRIBUTE);
		b.buf[b.len - i] = 0;
	}
}

static void test_the_largest_frame_and_one_more(void **state)
{
	static struct sivp_builder b;
	static uint8_t data[SIVP_FRAME_MAX];

	(void)state;
	sivp_begin(&b, SIVP_HOST, SIVP_TLS, 1);
	sivp_put_blob(&b, SIVP_A_TLS, data, SIVP_TLS_MAX);
	assert_int_equal(sivp_end(&b), SIVP_HEADER_LEN + 4 + SIVP_TLS_MAX);

	sivp_begin(&b, SIVP_HOST, SIVP_TLS, 1);
	sivp_put_blob(&b, SIVP_A_TLS, data, SIVP_TLS_MAX + 1);
	assert_int_equal(sivp_end(&b), 0);

	/* What does not fit fails, and stays failed whatever comes after. */
	sivp_begin(&b, SIVP_HOST, SIVP_TLS, 1);
	sivp_put_blob(&b, SIVP_A_TLS, data, SIVP_FRAME_MAX - SIVP_HEADER_LEN - 3);
	assert_true(b.failed);
	sivp_put_blob(&b, SIVP_A_TLS, data, 1);
	assert_int_equal(sivp_end(&b), 0);
	sivp_begin(&b, SIVP_HOST, SIVP_TLS, 1);
	sivp_put_blob(&b, SIVP_A_TLS, data, SIZE_MAX);
	assert_int_equal(sivp_end(&b), 0);
}

static void test_values_come_back(void **state)
{
	static struct sivp_builder b;
	struct sivp_msg m;
	size_t used, len;

	(void)state;
	sivp_begin(&b, SIVP_GUEST, SIVP_OPEN_CHANNEL, 0);
	sivp_put_u32(&b, SIVP_A_IVPOSITION, SIVP_LOCAL);
	sivp_put_u32(&b, SIVP_A_END, 1);
	sivp_put_u32(&b, SIVP_A_EPOCH, 0x01020304);
	sivp_put_u32(&b, SIVP_A_SLOT, 4095);
	sivp_put_u64(&b, SIVP_A_GENERATION, 0x0102030405060708);
	sivp_put_u64(&b, SIVP_A_OFFSET, 0xfffffffffffff000);
	sivp_put_u32(&b, SIVP_A_C2S_ORDER, 16);
	sivp_put_u32(&b, SIVP_A_S2C_ORDER, 17);
	sivp_put_u32(&b, SIVP_A_TYPE, 1);
	sivp_put_u32(&b, SIVP_A_SERVER, 1);
	sivp_put_u32(&b, SIVP_A_SEALED, 1);
	sivp_put_str(&b, SIVP_A_VM, "adas");
	sivp_put_str(&b, SIVP_A_SERVICE, "cache");
	sivp_put_str(&b, SIVP_A_PEER_SERVICE, "dashboard");
	len = sivp_end(&b);
	assert_int_not_equal(len, 0);
	assert_int_equal(sivp_parse(SIVP_GUEST, b.buf, len, &m, &used), SIVP_OK);
	assert_int_equal(sivp_u32(&m, SIVP_A_IVPOSITION), SIVP_LOCAL);
	assert_int_equal(sivp_u32(&m, SIVP_A_EPOCH), 0x01020304);
	assert_true(sivp_u64(&m, SIVP_A_GENERATION) == 0x0102030405060708);
	assert_true(sivp_u64(&m, SIVP_A_OFFSET) == 0xfffffffffffff000);
	assert_string_equal(sivp_str(&m, SIVP_A_VM), "adas");
	assert_string_equal(sivp_str(&m, SIVP_A_PEER_SERVICE), "dashboard");
	assert_int_equal(m.attr[SIVP_A_SERVICE].len, 5);
	/* What is absent is 0 and "". */
	assert_int_equal(sivp_u32(&m, SIVP_A_UID), 0);
	assert_true(sivp_u64(&m, SIVP_A_TIME) == 0);
	assert_string_equal(sivp_str(&m, SIVP_A_TEXT), "");
	/* Little-endian, whatever the machine is. */
	assert_memory_equal(b.buf + 4, ((uint8_t[]){ SIVP_OPEN_CHANNEL, 0, 0, 0 }), 4);
}

static void test_texts_are_made_to_fit(void **state)
{
	static struct sivp_builder b;
	char text[400];
	struct sivp_msg m;
	size_t used, len;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[3] = '\n';
	text[4] = '\xff';
	text[sizeof(text) - 1] = 0;
	sivp_begin(&b, SIVP_HOST, SIVP_REJECT, 1);
	sivp_put_u32(&b, SIVP_A_REASON, SIVP_R_LIMIT);
	sivp_put_u32(&b, SIVP_A_ERRNO, ENOBUFS);
	sivp_put_str(&b, SIVP_A_TEXT, text);
	len = sivp_end(&b);
	assert_int_equal(sivp_parse(SIVP_HOST, b.buf, len, &m, &used), SIVP_OK);
	assert_int_equal(m.attr[SIVP_A_TEXT].len, SIVP_TEXT_MAX);
	assert_memory_equal(sivp_str(&m, SIVP_A_TEXT), "xxx??x", 6);
}

static void test_magic_is_found_anywhere(void **state)
{
	uint8_t buf[64];
	size_t keep;

	(void)state;
	for (size_t at = 0; at + SIVP_MAGIC_LEN <= sizeof(buf); at++) {
		memset(buf, 0xff, sizeof(buf)); /* its own first byte, the worst case */
		memcpy(buf + at, SIVP_MAGIC, SIVP_MAGIC_LEN);
		assert_int_equal(sivp_find_magic(buf, sizeof(buf), &keep), at);
		for (size_t part = 0; part < SIVP_MAGIC_LEN; part++) {
			assert_int_equal(sivp_find_magic(buf, at + part, &keep), -1);
			/* Of 0xff bytes up to four may begin one. */
			assert_int_equal(keep, part > 4 ? part : at + part < 4 ? at + part : 4);
		}
	}
	memset(buf, 0, sizeof(buf));
	assert_int_equal(sivp_find_magic(buf, sizeof(buf), &keep), -1);
	assert_int_equal(keep, 0);
	assert_int_equal(sivp_find_magic(buf, 0, &keep), -1);
	assert_int_equal(keep, 0);
}

static void test_names(void **state)
{
	char s[SIV_VM_LEN + 1];

	(void)state;
	assert_true(sivp_name_ok("adas", SIV_VM_LEN));
	assert_true(sivp_name_ok("0", SIV_VM_LEN));
	assert_false(sivp_name_ok("", SIV_VM_LEN));
	assert_false(sivp_name_ok("Adas", SIV_VM_LEN));
	assert_false(sivp_name_ok("a b", SIV_VM_LEN));
	memset(s, 'a', sizeof(s));
	s[SIV_VM_LEN - 1] = 0;
	assert_true(sivp_name_ok(s, SIV_VM_LEN));
	s[SIV_VM_LEN - 1] = 'a';
	s[SIV_VM_LEN] = 0;
	assert_false(sivp_name_ok(s, SIV_VM_LEN));
}

static void test_every_reason_has_name_and_errno(void **state)
{
	(void)state;
	for (int r = 0; r <= SIVP_R_MAX; r++) {
		assert_string_not_equal(sivp_reason_name(r), "unknown");
		assert_int_equal(sivp_reason_errno(r) != 0, r != SIVP_R_NONE);
		for (int q = 0; q < r; q++)
			assert_string_not_equal(sivp_reason_name(q), sivp_reason_name(r));
	}
	assert_string_equal(sivp_reason_name(SIVP_R_MAX + 1), "unknown");
	assert_int_equal(sivp_reason_errno(SIVP_R_MAX + 1), EPROTO);
	assert_int_equal(sivp_reason_errno(SIVP_R_NOT_ALLOWED), EACCES);
}

static void test_spiffe_ids(void **state)
{
	char id[SIV_SPIFFE_LEN], domain[SIVP_DOMAIN_LEN + 1], vm[SIV_VM_LEN], service[SIV_SERVICE_LEN];

	(void)state;
	assert_true(sivp_spiffe_id("car.example", "adas", "cache", id, sizeof(id)));
	assert_string_equal(id, "spiffe://car.example/vm/adas/service/cache");
	assert_false(sivp_spiffe_id("car.example/x", "adas", "cache", id, sizeof(id)));
	assert_false(sivp_spiffe_id("car.example", "adas/service/x", "cache", id, sizeof(id)));
	assert_false(sivp_spiffe_id("car.example", "", "cache", id, sizeof(id)));
	assert_false(sivp_spiffe_id("car.example", "adas", "CACHE", id, sizeof(id)));
	assert_false(sivp_spiffe_id("car.example", "adas", "cache", id, 42));
	assert_true(sivp_spiffe_id("car.example", "adas", "cache", id, 43));
	assert_false(sivp_spiffe_id("car.example", "adas", "cache", id, 0));

	memset(domain, 'a', sizeof(domain));
	memset(vm, 'b', sizeof(vm));
	memset(service, 'c', sizeof(service));
	domain[SIVP_DOMAIN_LEN] = vm[SIV_VM_LEN - 1] = service[SIV_SERVICE_LEN - 1] = 0;
	assert_false(sivp_spiffe_id(domain, vm, service, id, sizeof(id)));
	domain[SIVP_DOMAIN_LEN - 1] = 0;
	assert_true(sivp_spiffe_id(domain, vm, service, id, sizeof(id)));
}

static void test_every_part_of_the_context_counts(void **state)
{
	struct sivp_binding b = { .client_id = "spiffe://d/vm/a/service/x",
				  .server_id = "spiffe://d/vm/b/service/y",
				  .ivposition = { 3, 4 }, .epoch = 5, .type = 1,
				  .c2s_order = 16, .s2c_order = 17 };
	uint8_t first[SIVP_CONTEXT_MAX], other[SIVP_CONTEXT_MAX];
	static char long_id[SIV_SPIFFE_LEN + 1];
	size_t len, n;

	(void)state;
	len = sivp_context(&b, first);
	assert_int_equal(len, 16 + 2 + 25 + 2 + 25 + 28);
	assert_memory_equal(first + 16, "\x19\0spiffe://d/vm/a", 17);
	assert_memory_equal(first + len - 28,
			    "\3\0\0\0\4\0\0\0\5\0\0\0\1\0\0\0\x10\0\0\0\x11\0\0\0\0\0\0\0", 28);

	uint32_t *words[] = { &b.ivposition[0], &b.ivposition[1], &b.epoch, &b.type, &b.c2s_order,
			      &b.s2c_order, &b.sealed };
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		*words[i] += 1;
		assert_int_equal(sivp_context(&b, other), len);
		assert_memory_not_equal(first, other, len);
		*words[i] -= 1;
	}
	b.nonce[15] = 1;
	sivp_context(&b, other);
	assert_memory_not_equal(first, other, len);
	b.nonce[15] = 0;
	/* Moving a byte from one name to the other is another context. */
	b.client_id = "spiffe://d/vm/a/service/xs";
	b.server_id = "piffe://d/vm/b/service/y";
	n = sivp_context(&b, other);
	assert_int_equal(n, len);
	assert_memory_not_equal(first, other, len);
	memset(long_id, 'a', SIV_SPIFFE_LEN);
	b.client_id = long_id;
	assert_int_equal(sivp_context(&b, other), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_message_with_least_and_most),
		cmocka_unit_test(test_a_missing_attribute_is_refused),
		cmocka_unit_test(test_a_foreign_attribute_is_refused),
		cmocka_unit_test(test_an_attribute_twice_is_refused),
		cmocka_unit_test(test_an_unknown_attribute_is_refused),
		cmocka_unit_test(test_values_beyond_their_row_are_refused),
		cmocka_unit_test(test_links_are_whole_words),
		cmocka_unit_test(test_strings_and_names_by_content),
		cmocka_unit_test(test_only_open_may_leave_the_vm_empty),
		cmocka_unit_test(test_sessions_are_as_the_message_wants),
		cmocka_unit_test(test_the_wrong_sender_is_refused),
		cmocka_unit_test(test_unknown_types_are_refused),
		cmocka_unit_test(test_every_prefix_wants_more),
		cmocka_unit_test(test_every_cut_frame_is_refused),
		cmocka_unit_test(test_lengths_of_frames),
		cmocka_unit_test(test_a_frame_ends_where_it_says),
		cmocka_unit_test(test_padding_is_zero),
		cmocka_unit_test(test_the_largest_frame_and_one_more),
		cmocka_unit_test(test_values_come_back),
		cmocka_unit_test(test_texts_are_made_to_fit),
		cmocka_unit_test(test_magic_is_found_anywhere),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_reason_has_name_and_errno),
		cmocka_unit_test(test_spiffe_ids),
		cmocka_unit_test(test_every_part_of_the_context_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
