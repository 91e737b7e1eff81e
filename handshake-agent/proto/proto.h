/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control protocol between a guest's agent and the broker on the host, over one virtio-serial
 * port (or, with --standalone, a socketpair) for each VM.
 *
 * Which VM speaks is known from the socket, never from anything in a message. Session ids are local
 * to one VM's stream: the agent chooses those of the connects it makes (top bit 0), the broker those
 * of the connects it brings (top bit 1, SIVP_SESSION_INCOMING). A session of another VM cannot be
 * named; one that is unknown is ignored where it may just have ended and a violation elsewhere.
 *
 * Frame:   { le32 length of what follows, le16 type, le16 0, le64 session, attributes }
 * Attribute: { le16 type, le16 length of the value, value, padding with zeros to 4 }
 *
 * Each message has a row in sivp_messages[]: who may send it, whether it has a session, which
 * attributes must be there and which may. Each attribute has a row in sivp_attributes[]: its kind
 * and the least and greatest length. sivp_parse() accepts exactly what these tables allow: an
 * attribute twice, one that the message does not have, a string without a NUL at its end or with
 * anything but printable ASCII before it, a session where there must be none, trailing bytes: all
 * are SIVP_E*. The tables are in tables.c, and read as the list of messages.
 *
 * A channel is named by { IVPOSITION, END, EPOCH, SLOT, GENERATION }: on the local link both ends
 * have the IVPosition SIVP_LOCAL, and END tells them apart.
 *
 * Stream start. The agent sends SIVP_MAGIC and HELLO { versions, boot id, module nonce, agent nonce,
 * its links' IVPositions }. The broker drops all bytes until it has seen SIVP_MAGIC, and answers
 * SIVP_MAGIC and WELCOME { the agent's nonce, a nonce of its own, ... }; the agent drops all bytes
 * until then, and a WELCOME with another nonce. So what an earlier agent, broker or boot left in
 * the port's buffers is never taken for part of this conversation. A second SIVP_MAGIC HELLO on a
 * stream (the agent restarted; the port stays connected) starts it anew: the broker looks for the
 * magic at frame boundaries, where its first four bytes are no valid length. A broker that finds
 * itself on a stream without a HELLO asks for one by SIVP_MAGIC REFUSED with a nonce of zeros: the
 * agent may not have been run while one broker went and another came.
 *
 *  agent (client)            broker                          agent (server)
 *      | OPEN ------------------>|                                  |
 *      |                         | policy, caps                     |
 *      |                         | INCOMING ----------------------->|
 *      |                         |<----------------------- ACCEPTING|  somebody listens
 *      |<--------------- OPENED  |                                  |
 *      |<====================== TLS, relayed ======================>|
 *      | READY ----------------->|<-------------------------- READY |
 *      |                         | compares both, allocates, scrubs |
 *      |                         | GRANT -------------------------->| its kernel attaches
 *      |                         |<----------------------- ATTACHED |
 *      |<----------------- GRANT |                                  |
 *      | ATTACHED -------------->|                                  |
 *      | CLOSED ---------------->|<------------------------- CLOSED |  pages are free again
 *
 * Until a session's GRANT either side may end it with REJECT { reason }; the broker passes it to the
 * other side. After it, memory is given back by CLOSED from both kernels alone.
 *
 * The authority is rotated with an overlap. CHANGED { CA: the new one, the former one } goes to all
 * agents before the new one issues anything, so that on each stream it lies before the first
 * TLS from a peer that has renewed. From then on an agent trusts both, and asks for certificates by
 * CSR; it says RENEWED when it has them and no handshake with an older one is under way. CHANGED
 * { CA: the new one } ends the overlap. WELCOME has the same list; an agent that finds two in it
 * does the same.
 */
#ifndef SIVSHMEM_PROTO_H
#define SIVSHMEM_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIVP_VERSION 1

#define SIVP_MAGIC     "\xff\xff\xff\xffSIVSHMEM-1\r\n" /* 16 bytes */
#define SIVP_MAGIC_LEN 16

#define SIVP_HEADER_LEN 16u
#define SIVP_FRAME_MAX  (20u * 1024) /* bytes of a frame, header included */
#define SIVP_TLS_MAX    (16u * 1024) /* bytes of TLS records in one message */
#define SIVP_CERTS_MAX  (8u * 1024)  /* bytes of a chain, and of all trusted certificates, DER */
#define SIVP_CSR_MAX    (2u * 1024)  /* bytes of a PKCS#10 request, DER */
#define SIVP_TEXT_MAX   256u         /* bytes of a text for people */
#define SIVP_DOMAIN_LEN 128u         /* bytes for a trust domain, the NUL included */
#define SIVP_LINKS_MAX  64u          /* links of one VM */
#define SIVP_NONCE_LEN  16u
#define SIVP_EXPORTER_LEN 32u
#define SIVP_SESSION_INCOMING (1ull << 63)

enum sivp_type {
	SIVP_HELLO = 1,   /* G->H  first on the stream */
	SIVP_WELCOME,     /* H->G  its answer */
	SIVP_REFUSED,     /* H->G  instead of WELCOME: versions do not fit, or VM unknown; TEXT says why */
	SIVP_LINK,        /* H->G  what a link is now: sent after WELCOME for each, and on each change */
	SIVP_LINK_ACK,    /* G->H  the kernel took that epoch (or has reset, for UP = 0) */
	SIVP_LINK_STALLED,/* G->H  the peer's heartbeat stopped; the kernel reset the link's channels */
	SIVP_CSR,         /* G->H  session; a service this VM wants a certificate for */
	SIVP_CERT,        /* H->G  session of the CSR; the chain, leaf first, DER, one after the other */
	SIVP_OPEN,        /* G->H  session; a process called connect() */
	SIVP_OPENED,      /* H->G  session; the peer is there, start TLS */
	SIVP_INCOMING,    /* H->G  session; somebody wants to talk to a service of this VM */
	SIVP_ACCEPTING,   /* G->H  session; that service listens */
	SIVP_TLS,         /* both  session; TLS records, opaque to the broker */
	SIVP_READY,       /* G->H  session; handshake completed, what this side verified */
	SIVP_GRANT,       /* H->G  session; the channel */
	SIVP_ATTACHED,    /* G->H  session; the kernel has it (ERRNO 0), or did not take it */
	SIVP_REJECT,      /* both  session; ends it before its GRANT: REASON, ERRNO, maybe TEXT */
	SIVP_CLOSED,      /* G->H  the kernel will not touch that channel's pages again */
	SIVP_CLOSE,       /* H->G  reset that channel: revoked, or the other side never attached */
	SIVP_OPEN_CHANNEL,/* G->H  after HELLO, for each channel that the kernel has; then REPORTED */
	SIVP_REPORTED,    /* G->H  that was all of them */
	SIVP_AUDIT,       /* G->H  a refusal that the guest made itself: REASON, SERVICE, UID ... */
	SIVP_LISTENING,   /* G->H  SERVICE, UP: for status and for resolving an empty VM */
	SIVP_CHANGED,     /* H->G  the host decides anew: forget tickets, ask for refused certificates */
	SIVP_RENEWED,     /* G->H  only certificates of the authority DIGEST are in use */
	SIVP_TYPE_MAX = SIVP_RENEWED
};

enum sivp_attr {
	SIVP_A_VERSION = 1,  /* u32 SIVP_VERSION */
	SIVP_A_ABI,          /* u32 SIV_ABI_VERSION */
	SIVP_A_BOOT_ID,      /* blob 16 */
	SIVP_A_MODULE_NONCE, /* u64 */
	SIVP_A_NONCE,        /* blob 16: the agent's in HELLO and WELCOME; the session's elsewhere */
	SIVP_A_HOST_NONCE,   /* blob 16 */
	SIVP_A_TIME,         /* u64 seconds since 1970, host's clock */
	SIVP_A_VM,           /* name; WELCOME: your own; OPEN: target's, may be ""; else the peer's */
	SIVP_A_SERVICE,      /* name; own service of whom the message is for or from */
	SIVP_A_PEER_SERVICE, /* name */
	SIVP_A_DOMAIN,       /* name, trust domain */
	SIVP_A_CA,           /* blob: trusted certificates, DER, one after the other; first who issues */
	SIVP_A_CHAIN,        /* blob: leaf, then intermediates, DER */
	SIVP_A_CSR,          /* blob: PKCS#10, DER */
	SIVP_A_LINKS,        /* blob: le32 IVPosition each; a local link is SIVP_LOCAL */
	SIVP_A_IVPOSITION,   /* u32: own; SIVP_LOCAL for the local link */
	SIVP_A_PEER_IVPOSITION, /* u32 */
	SIVP_A_END,          /* u32 0 or 1 */
	SIVP_A_SIZE,         /* u64 bytes */
	SIVP_A_EPOCH,        /* u32, from 1 */
	SIVP_A_UP,           /* u32 0 or 1 */
	SIVP_A_TIMEOUT_MS,   /* u32 */
	SIVP_A_TYPE,         /* u32 SOCK_STREAM or SOCK_SEQPACKET */
	SIVP_A_C2S_ORDER,    /* u32 log2 bytes */
	SIVP_A_S2C_ORDER,    /* u32 log2 bytes */
	SIVP_A_TLS,          /* blob */
	SIVP_A_PEER_ID,      /* string: verified SPIFFE ID of the peer */
	SIVP_A_DIGEST,       /* blob 32: SHA-256 of the own leaf; RENEWED: of the authority */
	SIVP_A_PEER_DIGEST,  /* blob 32: SHA-256 of the peer's leaf */
	SIVP_A_EXPORTER,     /* blob 32 */
	SIVP_A_NOT_AFTER,    /* u64 seconds since 1970 */
	SIVP_A_SLOT,         /* u32 */
	SIVP_A_GENERATION,   /* u64 */
	SIVP_A_OFFSET,       /* u64 */
	SIVP_A_ERRNO,        /* u32 Linux errno, positive; 0: none */
	SIVP_A_REASON,       /* u32 enum sivp_reason */
	SIVP_A_TEXT,         /* string for people, at most 256 bytes */
	SIVP_A_UID,          /* u32 */
	SIVP_A_PID,          /* u32 */
	SIVP_A_SERVER,       /* u32 0 or 1: the sender is this channel's server */
	SIVP_A_RESUMED,      /* u32 0 or 1: by an earlier handshake's ticket; absent: 0 */
	SIVP_A_SEALED,       /* u32 0 or 1: the channel is to be sealed */
	SIVP_A_MAX = SIVP_A_SEALED
};

#define SIVP_LOCAL 0xffffffffu /* in place of an IVPosition: the link inside the VM */

/* Why something was refused or ended. Names for the log are in sivp_reason_name(). */
enum sivp_reason {
	SIVP_R_NONE,
	SIVP_R_NO_SERVICE,     /* the process matches no service of agent.conf        EACCES */
	SIVP_R_AMBIGUOUS,      /* it matches several and did not bind()               EACCES */
	SIVP_R_NOT_HELD,       /* policy does not let that VM hold that service       EACCES */
	SIVP_R_NOT_ALLOWED,    /* no allow rule                                       EACCES */
	SIVP_R_UNKNOWN_VM,     /* no such VM, or "" does not resolve to exactly one   EHOSTUNREACH */
	SIVP_R_NO_LINK,        /* the two VMs have no link                            EHOSTUNREACH */
	SIVP_R_VM_DOWN,        /* its agent or its end of the link is not there       EHOSTDOWN */
	SIVP_R_NOT_LISTENING,  /*                                                     ECONNREFUSED */
	SIVP_R_BACKLOG,        /* the listener's backlog is full                      ECONNREFUSED */
	SIVP_R_CERTIFICATE,    /* no chain to the CA, wrong usage, wrong SAN ...      EKEYREJECTED */
	SIVP_R_EXPIRED,        /*                                                     EKEYEXPIRED */
	SIVP_R_REVOKED,        /*                                                     EKEYREVOKED */
	SIVP_R_HANDSHAKE,      /* TLS failed otherwise                                EKEYREJECTED */
	SIVP_R_MISMATCH,       /* the two READY do not fit together                   EKEYREJECTED */
	SIVP_R_NO_MEMORY,      /* no room for the channel in the link                 ENOBUFS */
	SIVP_R_LIMIT,          /* a cap of sessions or bytes                          ENOBUFS */
	SIVP_R_TIMEOUT,        /*                                                     ETIMEDOUT */
	SIVP_R_RESET,          /* the link or the peer went away meanwhile            ECONNRESET */
	SIVP_R_CANCELLED,      /* the client's process gave up                        ECONNABORTED */
	SIVP_R_ATTACH,         /* the peer's kernel did not take the channel          ECONNREFUSED */
	SIVP_R_NO_CERT,        /* no certificate enrolled for the service (yet)       EKEYREJECTED */
	SIVP_R_VIOLATION,      /* broke this protocol                                 EPROTO */
	SIVP_R_SOCKET_TYPE,    /* it listens with another socket type                 EPROTOTYPE */
	SIVP_R_RATE,           /* more connects, or requests, a second than it may    ENOBUFS */
	SIVP_R_QUOTA,          /* as many channels, or as much memory, as it may have ENOBUFS */
	SIVP_R_NO_SEALING,     /* a kernel cannot seal, and policy says that it must  EOPNOTSUPP */
	SIVP_R_MAX = SIVP_R_NO_SEALING
};

enum sivp_kind { SIVP_U32, SIVP_U64, SIVP_STRING, SIVP_NAME, SIVP_BLOB };
enum sivp_from { SIVP_GUEST = 1, SIVP_HOST = 2 };

enum sivp_error {
	SIVP_OK = 0,
	SIVP_MORE,          /* not all there yet */
	SIVP_E_LENGTH,      /* frame shorter than a header or longer than SIVP_FRAME_MAX */
	SIVP_E_TYPE,        /* unknown, or not for this sender */
	SIVP_E_SESSION,     /* a session where none belongs, or none where one does */
	SIVP_E_ATTRIBUTE,   /* unknown, twice, not of this message, wrong length or content */
	SIVP_E_MISSING,     /* one that must be there is not */
};

struct sivp_value {
	const uint8_t *data; /* into the frame; NULL: absent */
	uint16_t len;        /* bytes; for strings without the NUL */
};

/* A parsed message. Points into the frame it was parsed from. */
struct sivp_msg {
	enum sivp_type type;
	uint64_t session;
	struct sivp_value attr[SIVP_A_MAX + 1];
};

/*
 * Parses the frame at the start of @data. On SIVP_OK @used is its length and @msg is filled; on
 * SIVP_MORE nothing is; any other value is a violation, after which the stream is useless until the
 * next SIVP_MAGIC. Never reads beyond @len.
 */
enum sivp_error sivp_parse(enum sivp_from from, const uint8_t *data, size_t len,
			   struct sivp_msg *msg, size_t *used);

/*
 * Offset of the first SIVP_MAGIC in @data, or -1; then *@keep is how many bytes at the end of @data
 * may be the beginning of one, and the others can be dropped.
 */
long sivp_find_magic(const uint8_t *data, size_t len, size_t *keep);

static inline bool sivp_has(const struct sivp_msg *m, enum sivp_attr a)
{
	return m->attr[a].data;
}
uint32_t sivp_u32(const struct sivp_msg *m, enum sivp_attr a); /* 0 if absent */
uint64_t sivp_u64(const struct sivp_msg *m, enum sivp_attr a);
const char *sivp_str(const struct sivp_msg *m, enum sivp_attr a); /* "" if absent; NUL-terminated */

/*
 * Builds one frame in place. Errors stick: sivp_end() returns the frame's length, or 0 if something
 * did not fit or the message is not one that sivp_parse() would take. SIVP_A_TEXT alone is made to
 * fit: it is cut to SIVP_TEXT_MAX, and what is not printable ASCII becomes '?'.
 */
struct sivp_builder {
	uint8_t buf[SIVP_FRAME_MAX];
	size_t len;
	bool failed;
	enum sivp_from from;
};
void sivp_begin(struct sivp_builder *b, enum sivp_from from, enum sivp_type type, uint64_t session);
void sivp_put_u32(struct sivp_builder *b, enum sivp_attr a, uint32_t v);
void sivp_put_u64(struct sivp_builder *b, enum sivp_attr a, uint64_t v);
void sivp_put_str(struct sivp_builder *b, enum sivp_attr a, const char *s);
void sivp_put_blob(struct sivp_builder *b, enum sivp_attr a, const void *p, size_t len);
size_t sivp_end(struct sivp_builder *b);

const char *sivp_type_name(enum sivp_type t);
const char *sivp_attr_name(enum sivp_attr a);
const char *sivp_reason_name(enum sivp_reason r);   /* "not-allowed" ... as the audit log has it */
const char *sivp_error_name(enum sivp_error e);
int sivp_reason_errno(enum sivp_reason r);           /* the errno of the table above */

/* [a-z0-9._-], first a letter or digit, 1 to max - 1 bytes. */
bool sivp_name_ok(const char *s, size_t max);

/*
 * The exporter's context: what both ends must agree on besides the TLS transcript. Label
 * SIVP_EXPORTER_LABEL, SIVP_EXPORTER_LEN bytes. Serialised as: nonce, then client id and server id
 * each with a le16 length, then le32 IVPosition pair of (end 0, end 1), le32 epoch, le32 type,
 * le32 c2s order, le32 s2c order, le32 sealed.
 */
#define SIVP_EXPORTER_LABEL "EXPORTER-sivshmem-channel-1"
struct sivp_binding {
	uint8_t nonce[SIVP_NONCE_LEN];
	const char *client_id; /* SPIFFE IDs */
	const char *server_id;
	uint32_t ivposition[2];
	uint32_t epoch, type, c2s_order, s2c_order, sealed;
};
/* With the same context, two secrets of SIV_SEAL_SECRET bytes: of what the client sends, and the server. */
#define SIVP_SEAL_LABEL "EXPORTER-sivshmem-seal-1"
#define SIVP_CONTEXT_MAX 1024u
size_t sivp_context(const struct sivp_binding *b, uint8_t out[SIVP_CONTEXT_MAX]); /* 0: too long */

/* "spiffe://DOMAIN/vm/VM/service/SERVICE" into @out; false if it does not fit or a name is bad. */
bool sivp_spiffe_id(const char *domain, const char *vm, const char *service, char *out, size_t size);

#endif
