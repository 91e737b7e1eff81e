// SPDX-License-Identifier: BSD-2-Clause
/* Every message and every attribute of the control protocol, and the names of both. */
#include "tables.h"

#include <sivshmem/abi.h>
#include <sys/socket.h>

#define SIVP_ERRNO_MAX 4095 /* as the kernel has it */

#define A(x) SIVP_BIT(SIVP_A_##x)

/* What names a channel. */
#define CHANNEL (A(IVPOSITION) | A(END) | A(EPOCH) | A(SLOT) | A(GENERATION))
/* What both ends are told about a connection before TLS starts: the exporter's context, in parts. */
#define BINDING                                                                                    \
	(A(NONCE) | A(VM) | A(SERVICE) | A(PEER_SERVICE) | A(IVPOSITION) | A(PEER_IVPOSITION) |    \
	 A(END) | A(EPOCH) | A(TYPE) | A(C2S_ORDER) | A(S2C_ORDER) | A(SEALED) | A(TIMEOUT_MS))

const struct sivp_message_row sivp_messages[SIVP_TYPE_MAX + 1] = {
	[SIVP_HELLO] = { "hello", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = A(VERSION) | A(ABI) | A(BOOT_ID) | A(MODULE_NONCE) | A(NONCE) | A(LINKS) },
	[SIVP_WELCOME] = { "welcome", SIVP_HOST, SIVP_SESSION_NONE,
		.must = A(VERSION) | A(NONCE) | A(HOST_NONCE) | A(TIME) | A(VM) | A(DOMAIN) | A(CA),
		.may = A(ABI) },
	[SIVP_REFUSED] = { "refused", SIVP_HOST, SIVP_SESSION_NONE,
		.must = A(NONCE) | A(TEXT), .may = A(VERSION) | A(ABI) | A(REASON) },

	/* UP = 1 has all of `may` but, perhaps, TIMEOUT_MS; the local link has no peer and no END. */
	[SIVP_LINK] = { "link", SIVP_HOST, SIVP_SESSION_NONE,
		.must = A(IVPOSITION) | A(EPOCH) | A(UP),
		.may = A(VM) | A(PEER_IVPOSITION) | A(END) | A(SIZE) | A(TIMEOUT_MS) },
	/* ERRNO: the kernel refused; such a link is not up, whatever UP says. */
	[SIVP_LINK_ACK] = { "link-ack", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = A(IVPOSITION) | A(EPOCH) | A(UP), .may = A(ERRNO) },
	[SIVP_LINK_STALLED] = { "link-stalled", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = A(IVPOSITION) | A(EPOCH) },

	/* A refused CSR is answered by REJECT with its session. */
	[SIVP_CSR] = { "csr", SIVP_GUEST, SIVP_SESSION_OWN, .must = A(SERVICE) | A(CSR) },
	[SIVP_CERT] = { "cert", SIVP_HOST, SIVP_SESSION_OWN,
		.must = A(CHAIN), .may = A(SERVICE) | A(NOT_AFTER) | A(TIME) },

	[SIVP_OPEN] = { "open", SIVP_GUEST, SIVP_SESSION_OWN,
		.must = A(VM) | A(SERVICE) | A(PEER_SERVICE) | A(TYPE) | A(C2S_ORDER) |
			A(S2C_ORDER) | A(TIMEOUT_MS),
		.may = A(UID) | A(PID), .empty = A(VM) },
	[SIVP_OPENED] = { "opened", SIVP_HOST, SIVP_SESSION_OWN, .must = BINDING },
	[SIVP_INCOMING] = { "incoming", SIVP_HOST, SIVP_SESSION_THEIRS, .must = BINDING },
	[SIVP_ACCEPTING] = { "accepting", SIVP_GUEST, SIVP_SESSION_THEIRS,
		.must = 0 },
	[SIVP_TLS] = { "tls", SIVP_GUEST | SIVP_HOST, SIVP_SESSION_ANY, .must = A(TLS) },
	[SIVP_READY] = { "ready", SIVP_GUEST, SIVP_SESSION_ANY,
		.must = A(PEER_ID) | A(DIGEST) | A(PEER_DIGEST) | A(EXPORTER),
		.may = A(NOT_AFTER) | A(RESUMED) },
	[SIVP_GRANT] = { "grant", SIVP_HOST, SIVP_SESSION_ANY,
		.must = CHANNEL | A(OFFSET) | A(C2S_ORDER) | A(S2C_ORDER), .may = A(TYPE) },
	[SIVP_ATTACHED] = { "attached", SIVP_GUEST, SIVP_SESSION_ANY, .must = A(ERRNO) },
	[SIVP_REJECT] = { "reject", SIVP_GUEST | SIVP_HOST, SIVP_SESSION_ANY,
		.must = A(REASON) | A(ERRNO), .may = A(TEXT) },

	[SIVP_CLOSED] = { "closed", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = CHANNEL, .may = A(REASON) },
	[SIVP_CLOSE] = { "close", SIVP_HOST, SIVP_SESSION_NONE, .must = CHANNEL, .may = A(REASON) },
	[SIVP_OPEN_CHANNEL] = { "open-channel", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = CHANNEL | A(OFFSET) | A(C2S_ORDER) | A(S2C_ORDER) | A(TYPE) | A(SERVER) |
			A(SEALED) | A(VM) | A(SERVICE) | A(PEER_SERVICE) },
	[SIVP_REPORTED] = { "reported", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = 0 },
	[SIVP_AUDIT] = { "audit", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = A(REASON),
		.may = A(ERRNO) | A(VM) | A(SERVICE) | A(PEER_SERVICE) | A(PEER_ID) | A(UID) |
		       A(PID) | A(TEXT),
		.empty = A(VM) },
	[SIVP_LISTENING] = { "listening", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = A(SERVICE) | A(UP) },
	/* CA: other authorities are trusted from now on. */
	[SIVP_CHANGED] = { "changed", SIVP_HOST, SIVP_SESSION_NONE,
		.must = 0, .may = A(CA) },
	[SIVP_RENEWED] = { "renewed", SIVP_GUEST, SIVP_SESSION_NONE,
		.must = A(DIGEST) },
};

#define RANGE(low, high) SIVP_U32, 4, 4, (low), (high)
#define U32              RANGE(0, UINT32_MAX)
#define U64              SIVP_U64, 8, 8, 0, 0
#define BLOB(min, max)   SIVP_BLOB, (min), (max), 0, 0
#define STRING(max)      SIVP_STRING, 1, (max), 0, 0
#define NAME(size)       SIVP_NAME, 1, (size) - 1, 0, 0 /* bytes with the NUL, as in abi.h */

const struct sivp_attr_row sivp_attributes[SIVP_A_MAX + 1] = {
	[SIVP_A_VERSION] = { "version", U32 },
	[SIVP_A_ABI] = { "abi", U32 },
	[SIVP_A_BOOT_ID] = { "boot-id", BLOB(16, 16) },
	[SIVP_A_MODULE_NONCE] = { "module-nonce", U64 },
	[SIVP_A_NONCE] = { "nonce", BLOB(SIVP_NONCE_LEN, SIVP_NONCE_LEN) },
	[SIVP_A_HOST_NONCE] = { "host-nonce", BLOB(SIVP_NONCE_LEN, SIVP_NONCE_LEN) },
	[SIVP_A_TIME] = { "time", U64 },
	[SIVP_A_VM] = { "vm", NAME(SIV_VM_LEN) },
	[SIVP_A_SERVICE] = { "service", NAME(SIV_SERVICE_LEN) },
	[SIVP_A_PEER_SERVICE] = { "peer-service", NAME(SIV_SERVICE_LEN) },
	[SIVP_A_DOMAIN] = { "domain", NAME(SIVP_DOMAIN_LEN) },
	[SIVP_A_CA] = { "ca", BLOB(1, SIVP_CERTS_MAX) },
	[SIVP_A_CHAIN] = { "chain", BLOB(1, SIVP_CERTS_MAX) },
	[SIVP_A_CSR] = { "csr", BLOB(1, SIVP_CSR_MAX) },
	[SIVP_A_LINKS] = { "links", BLOB(0, 4 * SIVP_LINKS_MAX) }, /* and a multiple of 4 */
	[SIVP_A_IVPOSITION] = { "ivposition", U32 },
	[SIVP_A_PEER_IVPOSITION] = { "peer-ivposition", U32 },
	[SIVP_A_END] = { "end", RANGE(0, 1) },
	[SIVP_A_SIZE] = { "size", U64 },
	[SIVP_A_EPOCH] = { "epoch", U32 },
	[SIVP_A_UP] = { "up", RANGE(0, 1) },
	[SIVP_A_TIMEOUT_MS] = { "timeout-ms", U32 },
	[SIVP_A_TYPE] = { "type", RANGE(SOCK_STREAM, SOCK_SEQPACKET) },
	[SIVP_A_C2S_ORDER] = { "c2s-order", RANGE(SIV_CHAN_ORDER_MIN, SIV_CHAN_ORDER_MAX) },
	[SIVP_A_S2C_ORDER] = { "s2c-order", RANGE(SIV_CHAN_ORDER_MIN, SIV_CHAN_ORDER_MAX) },
	[SIVP_A_TLS] = { "tls", BLOB(1, SIVP_TLS_MAX) },
	[SIVP_A_PEER_ID] = { "peer-id", STRING(SIV_SPIFFE_LEN - 1) },
	[SIVP_A_DIGEST] = { "digest", BLOB(SIV_DIGEST_LEN, SIV_DIGEST_LEN) },
	[SIVP_A_PEER_DIGEST] = { "peer-digest", BLOB(SIV_DIGEST_LEN, SIV_DIGEST_LEN) },
	[SIVP_A_EXPORTER] = { "exporter", BLOB(SIVP_EXPORTER_LEN, SIVP_EXPORTER_LEN) },
	[SIVP_A_NOT_AFTER] = { "not-after", U64 },
	[SIVP_A_SLOT] = { "slot", RANGE(0, SIV_LINK_SLOTS - 1) },
	[SIVP_A_GENERATION] = { "generation", U64 },
	[SIVP_A_OFFSET] = { "offset", U64 },
	[SIVP_A_ERRNO] = { "errno", RANGE(0, SIVP_ERRNO_MAX) },
	[SIVP_A_REASON] = { "reason", RANGE(0, SIVP_R_MAX) },
	[SIVP_A_TEXT] = { "text", STRING(SIVP_TEXT_MAX) },
	[SIVP_A_UID] = { "uid", U32 },
	[SIVP_A_PID] = { "pid", U32 },
	[SIVP_A_SERVER] = { "server", RANGE(0, 1) },
	[SIVP_A_RESUMED] = { "resumed", RANGE(0, 1) },
	[SIVP_A_SEALED] = { "sealed", RANGE(0, 1) },
};
