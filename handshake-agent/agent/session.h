/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A session: one connect from this VM or one to it, from the request to ATTACHED.
 *
 *  client                                        server
 *  WAIT_CERT   enrolment is not finished yet     WAIT_CERT
 *  OPENING     OPEN sent                         LISTENER   the kernel is asked who listens
 *  HANDSHAKE   TLS                               HANDSHAKE  ACCEPTING sent, TLS
 *  READY       READY sent                        READY
 *  GRANTING    the kernel attaches               GRANTING
 *
 * In every state but GRANTING it may end by time, by REJECT from either side, by the client's CANCEL
 * or because the host goes away: then the client's process gets an errno, and the host a REJECT if
 * it knows the session. In GRANTING only the kernel's answer ends it: the channel is attached, or it
 * is not, and ATTACHED says which.
 */
#ifndef SIVSHMEM_AGENT_SESSION_H
#define SIVSHMEM_AGENT_SESSION_H

#include "agent.h"

enum session_state {
	SESSION_WAIT_CERT,
	SESSION_OPENING,
	SESSION_LISTENER,
	SESSION_HANDSHAKE,
	SESSION_READY,
	SESSION_GRANTING,
};

struct agent_session {
	struct list node;           /* by id */
	struct list by_serial;
	struct agent *agent;
	uint64_t id;     /* as the host knows it */
	uint64_t serial; /* as the kernel's answers know it: never used again */
	bool server;
	bool orphan;     /* GRANTING, and the host that knew it went away */
	enum session_state state;
	struct identity *identity; /* own service */
	struct loop_timer timer;
	uint64_t deadline_ns;

	uint64_t request; /* client: the kernel's id */
	uint64_t cookie;  /* server: the listener */
	struct siv_caller caller; /* client */

	/* Who and what. Client: as asked for, then as OPENED has it. */
	char vm[SIV_VM_LEN];
	char peer_service[SIV_SERVICE_LEN];
	uint32_t type, c2s_order, s2c_order;
	bool sealed;
	struct tls_peer peer; /* with the link */
	uint8_t nonce[SIVP_NONCE_LEN];

	struct tls tls;
	unsigned int tls_bytes, tls_messages; /* received */
};

/* session_table.c: finding them. None of them is there before agent_session_init(). */
struct agent_session *agent_session_new(struct agent *agent, bool server, uint64_t id);
void agent_session_free(struct agent_session *session);
struct agent_session *agent_session_by_id(struct agent *agent, uint64_t id);
struct agent_session *agent_session_by_serial(struct agent *agent, uint64_t serial);
struct agent_session *agent_session_by_request(struct agent *agent, uint64_t request);
/* The first one after @after (NULL: at all), in the table's order; @after may not be freed. */
struct agent_session *agent_session_next(struct agent *agent, const struct agent_session *after);

#endif
