/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables behind sivp_parse(): one row for each message and one for each attribute.
 */
#ifndef SIVSHMEM_PROTO_TABLES_H
#define SIVSHMEM_PROTO_TABLES_H

#include "proto.h"

/* Whose session ids a message carries; both kinds are never 0. */
enum sivp_session_kind {
	SIVP_SESSION_NONE, /* 0 */
	SIVP_SESSION_OWN,  /* of the agent's choosing: top bit 0 */
	SIVP_SESSION_THEIRS, /* of the broker's choosing: top bit 1 */
	SIVP_SESSION_ANY,
};

struct sivp_message_row {
	const char *name;
	uint8_t from; /* enum sivp_from, or both */
	enum sivp_session_kind session;
	uint64_t must; /* SIVP_BIT() of attributes that are there always ... */
	uint64_t may;  /* ... and of those that can be there */
	uint64_t empty; /* names that may be "" */
};

struct sivp_attr_row {
	const char *name;
	enum sivp_kind kind;
	uint16_t min, max; /* bytes of the value; strings and names: without the NUL */
	uint32_t lowest, highest; /* values of a SIVP_U32 */
};

#define SIVP_BIT(a) (1ull << (a))
_Static_assert(SIVP_A_MAX < 64, "a set of attributes is 64 bits");

extern const struct sivp_message_row sivp_messages[SIVP_TYPE_MAX + 1];
extern const struct sivp_attr_row sivp_attributes[SIVP_A_MAX + 1];

#endif
