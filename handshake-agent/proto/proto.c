// SPDX-License-Identifier: BSD-2-Clause
/* Parses and builds the frames of the control protocol, as tables.c says they are. */
#include "proto.h"
#include "tables.h"

#include <errno.h>
#include <string.h>

#include <sivshmem/abi.h>

#define ATTR_HEADER_LEN 4u
#define LENGTH_LEN      4u /* of the frame's length, which does not count itself */

static uint16_t get16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v;
	p[1] = v >> 8;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v);
	put16(p + 2, v >> 16);
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, v);
	put32(p + 4, v >> 32);
}

static size_t pad4(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

static bool is_name_start(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_name(const uint8_t *s, size_t len)
{
	if (!len || !is_name_start(s[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_name_start(s[i]) && s[i] != '.' && s[i] != '_' && s[i] != '-')
			return false;
	return true;
}

static bool is_printable(uint8_t c)
{
	return c >= 0x20 && c < 0x7f;
}

/* Whether @data is a value that attribute @a may have; @empty: a name may be "" in this message. */
static bool value_ok(enum sivp_attr a, const uint8_t *data, size_t len, bool empty)
{
	const struct sivp_attr_row *row = &sivp_attributes[a];

	if (row->kind == SIVP_STRING || row->kind == SIVP_NAME) {
		if (!len || data[len - 1])
			return false;
		len--;
		if (!len && empty)
			return true;
	}
	if (len < row->min || len > row->max)
		return false;

	switch (row->kind) {
	case SIVP_U32:
		return get32(data) >= row->lowest && get32(data) <= row->highest;
	case SIVP_U64:
		return true;
	case SIVP_NAME:
		return is_name(data, len);
	case SIVP_STRING:
		for (size_t i = 0; i < len; i++)
			if (!is_printable(data[i]))
				return false;
		return true;
	case SIVP_BLOB:
		return a != SIVP_A_LINKS || len % 4 == 0;
	}
	return false;
}

static bool session_ok(enum sivp_session_kind kind, uint64_t session)
{
	switch (kind) {
	case SIVP_SESSION_NONE:
		return !session;
	case SIVP_SESSION_OWN:
		return session && !(session & SIVP_SESSION_INCOMING);
	case SIVP_SESSION_THEIRS:
		return session & SIVP_SESSION_INCOMING;
	case SIVP_SESSION_ANY:
		return session;
	}
	return false;
}

/* Takes the attribute at the start of @data into @msg. Returns its length with padding, or 0. */
static size_t parse_attr(const struct sivp_message_row *row, const uint8_t *data, size_t len,
			 struct sivp_msg *msg)
{
	bool text;
	uint16_t type, value_len;
	size_t size;

	if (len < ATTR_HEADER_LEN)
		return 0;
	type = get16(data);
	value_len = get16(data + 2);
	size = ATTR_HEADER_LEN + pad4(value_len);
	if (size > len)
		return 0;
	if (!type || type > SIVP_A_MAX || !((row->must | row->may) & SIVP_BIT(type)))
		return 0;
	if (msg->attr[type].data)
		return 0;
	for (size_t i = ATTR_HEADER_LEN + value_len; i < size; i++)
		if (data[i])
			return 0;
	data += ATTR_HEADER_LEN;
	if (!value_ok(type, data, value_len, row->empty & SIVP_BIT(type)))
		return 0;

	text = sivp_attributes[type].kind == SIVP_STRING || sivp_attributes[type].kind == SIVP_NAME;
	msg->attr[type] = (struct sivp_value){ .data = data, .len = value_len - text };
	return size;
}

enum sivp_error sivp_parse(enum sivp_from from, const uint8_t *data, size_t len,
			   struct sivp_msg *msg, size_t *used)
{
	const struct sivp_message_row *row;
	struct sivp_msg m = { 0 };
	uint64_t have = 0;
	size_t frame;
	uint16_t type;

	if (len < LENGTH_LEN)
		return SIVP_MORE;
	/* Checked before adding: the field may be 0xffffffff. */
	if (get32(data) < SIVP_HEADER_LEN - LENGTH_LEN ||
	    get32(data) > SIVP_FRAME_MAX - LENGTH_LEN)
		return SIVP_E_LENGTH;
	frame = LENGTH_LEN + get32(data);
	if (len < frame)
		return SIVP_MORE;

	type = get16(data + 4);
	if (!type || type > SIVP_TYPE_MAX || get16(data + 6))
		return SIVP_E_TYPE;
	row = &sivp_messages[type];
	if (!(row->from & from))
		return SIVP_E_TYPE;
	m.type = type;
	m.session = get64(data + 8);
	if (!session_ok(row->session, m.session))
		return SIVP_E_SESSION;

	for (size_t at = SIVP_HEADER_LEN; at < frame;) {
		size_t size = parse_attr(row, data + at, frame - at, &m);

		if (!size)
			return SIVP_E_ATTRIBUTE;
		at += size;
	}
	for (int a = 1; a <= SIVP_A_MAX; a++)
		if (m.attr[a].data)
			have |= SIVP_BIT(a);
	if (row->must & ~have)
		return SIVP_E_MISSING;

	*msg = m;
	*used = frame;
	return SIVP_OK;
}

long sivp_find_magic(const uint8_t *data, size_t len, size_t *keep)
{
	size_t part = len < SIVP_MAGIC_LEN - 1 ? len : SIVP_MAGIC_LEN - 1;

	*keep = 0;
	for (size_t i = 0; i + SIVP_MAGIC_LEN <= len; i++)
		if (!memcmp(data + i, SIVP_MAGIC, SIVP_MAGIC_LEN))
			return i;
	for (; part; part--) {
		if (!memcmp(data + len - part, SIVP_MAGIC, part)) {
			*keep = part;
			break;
		}
	}
	return -1;
}

uint32_t sivp_u32(const struct sivp_msg *m, enum sivp_attr a)
{
	return m->attr[a].len == 4 ? get32(m->attr[a].data) : 0;
}

uint64_t sivp_u64(const struct sivp_msg *m, enum sivp_attr a)
{
	return m->attr[a].len == 8 ? get64(m->attr[a].data) : 0;
}

const char *sivp_str(const struct sivp_msg *m, enum sivp_attr a)
{
	return m->attr[a].data ? (const char *)m->attr[a].data : "";
}

void sivp_begin(struct sivp_builder *b, enum sivp_from from, enum sivp_type type, uint64_t session)
{
	b->from = from;
	b->failed = false;
	b->len = SIVP_HEADER_LEN;
	put16(b->buf + 4, type);
	put16(b->buf + 6, 0);
	put64(b->buf + 8, session);
}

/* Room for a value of @len bytes, its padding zeroed; NULL, for good, if there is none. */
static uint8_t *put_attr(struct sivp_builder *b, enum sivp_attr a, size_t len)
{
	uint8_t *p = b->buf + b->len;

	if (b->failed || len > UINT16_MAX || ATTR_HEADER_LEN + pad4(len) > sizeof(b->buf) - b->len) {
		b->failed = true;
		return NULL;
	}
	put16(p, a);
	put16(p + 2, len);
	memset(p + ATTR_HEADER_LEN + len, 0, pad4(len) - len);
	b->len += ATTR_HEADER_LEN + pad4(len);
	return p + ATTR_HEADER_LEN;
}

void sivp_put_u32(struct sivp_builder *b, enum sivp_attr a, uint32_t v)
{
	uint8_t *p = put_attr(b, a, 4);

	if (p)
		put32(p, v);
}

void sivp_put_u64(struct sivp_builder *b, enum sivp_attr a, uint64_t v)
{
	uint8_t *p = put_attr(b, a, 8);

	if (p)
		put64(p, v);
}

void sivp_put_str(struct sivp_builder *b, enum sivp_attr a, const char *s)
{
	size_t len = a == SIVP_A_TEXT ? strnlen(s, SIVP_TEXT_MAX) : strlen(s);
	uint8_t *p = put_attr(b, a, len + 1);

	if (!p)
		return;
	memcpy(p, s, len);
	p[len] = 0;
	if (a != SIVP_A_TEXT)
		return;
	for (size_t i = 0; i < len; i++)
		if (!is_printable(p[i]))
			p[i] = '?';
}

void sivp_put_blob(struct sivp_builder *b, enum sivp_attr a, const void *data, size_t len)
{
	uint8_t *p = put_attr(b, a, len);

	if (p && len)
		memcpy(p, data, len);
}

size_t sivp_end(struct sivp_builder *b)
{
	struct sivp_msg msg;
	size_t used;

	if (b->failed)
		return 0;
	put32(b->buf, b->len - LENGTH_LEN);
	/* What is sent is held to the same rules as what is received. */
	if (sivp_parse(b->from, b->buf, b->len, &msg, &used) != SIVP_OK) {
		b->failed = true;
		return 0;
	}
	return b->len;
}

const char *sivp_type_name(enum sivp_type t)
{
	return t > 0 && t <= SIVP_TYPE_MAX ? sivp_messages[t].name : "unknown";
}

const char *sivp_attr_name(enum sivp_attr a)
{
	return a > 0 && a <= SIVP_A_MAX ? sivp_attributes[a].name : "unknown";
}

static const struct {
	const char *name;
	int err;
} reasons[SIVP_R_MAX + 1] = {
	[SIVP_R_NONE] = { "none", 0 },
	[SIVP_R_NO_SERVICE] = { "no-service", EACCES },
	[SIVP_R_AMBIGUOUS] = { "ambiguous", EACCES },
	[SIVP_R_NOT_HELD] = { "not-held", EACCES },
	[SIVP_R_NOT_ALLOWED] = { "not-allowed", EACCES },
	[SIVP_R_UNKNOWN_VM] = { "unknown-vm", EHOSTUNREACH },
	[SIVP_R_NO_LINK] = { "no-link", EHOSTUNREACH },
	[SIVP_R_VM_DOWN] = { "vm-down", EHOSTDOWN },
	[SIVP_R_NOT_LISTENING] = { "not-listening", ECONNREFUSED },
	[SIVP_R_BACKLOG] = { "backlog", ECONNREFUSED },
	[SIVP_R_CERTIFICATE] = { "certificate", EKEYREJECTED },
	[SIVP_R_EXPIRED] = { "expired", EKEYEXPIRED },
	[SIVP_R_REVOKED] = { "revoked", EKEYREVOKED },
	[SIVP_R_HANDSHAKE] = { "handshake", EKEYREJECTED },
	[SIVP_R_MISMATCH] = { "mismatch", EKEYREJECTED },
	[SIVP_R_NO_MEMORY] = { "no-memory", ENOBUFS },
	[SIVP_R_LIMIT] = { "limit", ENOBUFS },
	[SIVP_R_TIMEOUT] = { "timeout", ETIMEDOUT },
	[SIVP_R_RESET] = { "reset", ECONNRESET },
	[SIVP_R_CANCELLED] = { "cancelled", ECONNABORTED },
	[SIVP_R_ATTACH] = { "attach", ECONNREFUSED },
	[SIVP_R_NO_CERT] = { "no-cert", EKEYREJECTED },
	[SIVP_R_VIOLATION] = { "violation", EPROTO },
	[SIVP_R_SOCKET_TYPE] = { "socket-type", EPROTOTYPE },
	[SIVP_R_RATE] = { "rate", ENOBUFS },
	[SIVP_R_QUOTA] = { "quota", ENOBUFS },
	[SIVP_R_NO_SEALING] = { "no-sealing", EOPNOTSUPP },
};

const char *sivp_reason_name(enum sivp_reason r)
{
	return r >= 0 && r <= SIVP_R_MAX ? reasons[r].name : "unknown";
}

int sivp_reason_errno(enum sivp_reason r)
{
	return r >= 0 && r <= SIVP_R_MAX ? reasons[r].err : EPROTO;
}

const char *sivp_error_name(enum sivp_error e)
{
	switch (e) {
	case SIVP_OK:
		return "ok";
	case SIVP_MORE:
		return "incomplete";
	case SIVP_E_LENGTH:
		return "bad length";
	case SIVP_E_TYPE:
		return "unknown message, or not for this sender";
	case SIVP_E_SESSION:
		return "bad session id";
	case SIVP_E_ATTRIBUTE:
		return "bad attribute";
	case SIVP_E_MISSING:
		return "attribute missing";
	}
	return "unknown";
}

bool sivp_name_ok(const char *s, size_t max)
{
	size_t len = strnlen(s, max);

	return len < max && is_name((const uint8_t *)s, len);
}

size_t sivp_context(const struct sivp_binding *b, uint8_t out[SIVP_CONTEXT_MAX])
{
	const char *ids[] = { b->client_id, b->server_id };
	uint8_t *p = out;

	memcpy(p, b->nonce, SIVP_NONCE_LEN);
	p += SIVP_NONCE_LEN;
	for (int i = 0; i < 2; i++) {
		size_t len = strnlen(ids[i], SIV_SPIFFE_LEN);

		if (len == SIV_SPIFFE_LEN)
			return 0;
		put16(p, len);
		memcpy(p + 2, ids[i], len);
		p += 2 + len;
	}
	put32(p, b->ivposition[0]);
	put32(p + 4, b->ivposition[1]);
	put32(p + 8, b->epoch);
	put32(p + 12, b->type);
	put32(p + 16, b->c2s_order);
	put32(p + 20, b->s2c_order);
	put32(p + 24, b->sealed);
	return p + 28 - out;
}
_Static_assert(SIVP_NONCE_LEN + 2 * (2 + SIV_SPIFFE_LEN) + 28 <= SIVP_CONTEXT_MAX,
	       "an exporter context with the longest names fits");

bool sivp_spiffe_id(const char *domain, const char *vm, const char *service, char *out, size_t size)
{
	const char *parts[] = { "spiffe://", domain, "/vm/", vm, "/service/", service };
	size_t at = 0;

	if (!sivp_name_ok(domain, SIVP_DOMAIN_LEN) || !sivp_name_ok(vm, SIV_VM_LEN) ||
	    !sivp_name_ok(service, SIV_SERVICE_LEN))
		return false;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t len = strlen(parts[i]);

		if (len >= size - at)
			return false;
		memcpy(out + at, parts[i], len);
		at += len;
	}
	out[at] = 0;
	return true;
}
