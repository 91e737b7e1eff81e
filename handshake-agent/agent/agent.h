/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent: what its parts share. Each part has its own file; this is the order in which a start
 * goes through them:
 *
 *   agent.c     the module is there: LINK_GET
 *   host.c      HELLO; WELCOME brings this VM's name, the CA and the host's clock
 *   agent.c     REGISTER: from now on the kernel hands requests to us
 *   channels.c  reports the channels that are open, and whatever closes later
 *   links.c     LINK from the host becomes LINK_SET in the kernel, and LINK_ACK
 *   enrol.c     CSR and CERT for each service of agent.conf
 *   session.c   connects and accepts
 *
 * One thread, no blocking calls. All is owned by struct agent; what the kernel or the host still has
 * to answer refers to it by number, never by pointer.
 */
#ifndef SIVSHMEM_AGENT_AGENT_H
#define SIVSHMEM_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "common/id_hash.h"
#include "common/list.h"
#include "common/loop.h"
#include "config.h"
#include "host.h"
#include "kernel.h"
#include "tls.h"

#define AGENT_SESSIONS_MAX 2048u /* connects and accepts under way */
#define AGENT_INCOMING_MAX 1024u /* of which accepts: whatever a broker lets in */
#define AGENT_LINKS_MAX    (SIVP_LINKS_MAX + 1) /* the local link is two for the kernel */
#define AGENT_CLOSED_MAX   65536u /* closed channels to be told when the host is back */
#define AGENT_LISTENERS_MAX 4096u /* listeners known to the agent, for the host's status */
#define AGENT_AUDIT_BURST  64u   /* refusals reported at once ... */
#define AGENT_AUDIT_MS     100u  /* ... and one more for each of these; the rest is counted */

#define SESSION_TIMEOUT_MAX_MS   60000u /* from OPEN or INCOMING to GRANT, whatever others say */
#define SESSION_TLS_BYTES_MAX    (64u * 1024) /* from the peer, in one handshake */
#define SESSION_TLS_MESSAGES_MAX 64u          /* the same, in messages */

#define ENROL_RETRY_MS 30000u /* after a renewal that failed */

enum identity_state {
	IDENTITY_NONE,    /* nothing asked for yet */
	IDENTITY_ASKED,   /* CSR sent; an older certificate may still hold */
	IDENTITY_HELD,    /* has a certificate */
	IDENTITY_REFUSED, /* the host does not give one; see reason */
};

/* A service's key and certificate. Keys are made here and never leave this memory. */
struct identity {
	const struct agent_service *service;
	enum identity_state state;
	enum sivp_reason reason;
	uint64_t csr_session;      /* while ASKED */
	EVP_PKEY *next_key;        /* of the CSR, until its certificate is there */
	SSL_CTX *context;          /* NULL: no certificate */
	int64_t not_before, not_after; /* seconds since 1970, host's clock */
	uint8_t authority[SIV_DIGEST_LEN]; /* of who issued it; zeros: not trusted */
	char id[SIV_SPIFFE_LEN];
	struct loop_timer renew;
	struct agent *agent;
};

/* A link as the kernel has it, and what the host last said of it. */
struct agent_link {
	struct kernel_link link;
	bool gone;     /* the device is; kept for the CLOSED that still come */
	bool told;     /* by the host, since its WELCOME */
};

struct closed {
	struct list node;
	uint32_t ivposition, end, epoch, slot;
	uint64_t generation;
	enum sivp_reason reason;
};

struct listener {
	struct list node;
	uint64_t cookie;
	char service[SIV_SERVICE_LEN];
};

struct agent {
	struct loop *loop;
	const struct agent_config *config;
	struct kernel *kernel;
	const char *cgroup_root;
	bool standalone;
	int exit_code; /* of the process, once the loop has been stopped */

	/* Ready: registered, enrolled, links set. Once. */
	void (*ready)(struct agent *agent);
	bool was_ready;

	/* kernel */
	bool kernel_known;   /* its links are: a hello can be said */
	bool registered;
	bool pulling;
	uint64_t module_nonce;
	struct agent_link links[AGENT_LINKS_MAX];
	unsigned int nr_links;
	struct agent_link found[AGENT_LINKS_MAX]; /* while a LINK_GET is under way */
	unsigned int nr_found;
	unsigned int links_pending; /* LINK_SETs and LINK_DOWNs not answered */

	/* host */
	struct host host;
	char vm[SIV_VM_LEN];
	char domain[SIVP_DOMAIN_LEN];
	int64_t clock_offset; /* host's clock minus CLOCK_BOOTTIME, seconds */
	uint8_t *ca;          /* as in WELCOME */
	size_t ca_len;
	X509_STORE *trust;
	STACK_OF(X509) *trusted; /* the same; the first one issues, a second one is a former one */
	uint8_t authority[SIV_DIGEST_LEN]; /* of the first */
	bool renewed_told; /* RENEWED was said, or there is nothing to be said */

	struct identity *identities; /* one for each service of config */
	uint64_t last_session;       /* ids of CSRs and OPENs; never used again */

	struct list sessions[ID_HASH_BUCKETS];  /* by id */
	struct list by_serial[ID_HASH_BUCKETS]; /* the same */
	uint64_t id_key; /* of both */
	unsigned int nr_sessions, nr_incoming;
	uint64_t last_serial;

	struct list closed; /* not told to the host yet */
	unsigned int nr_closed;
	unsigned int reports_pending; /* lists of open channels; CLOSED wait until REPORTED */

	struct list listeners;
	unsigned int nr_listeners;

	/* audit budget */
	unsigned int audit_tokens;
	uint64_t audit_at_ns;
	uint64_t audit_dropped;

	/* counters for status */
	uint64_t connected, accepted, refused[SIVP_R_MAX + 1]; /* by reason */
	uint64_t resumed; /* of connected and accepted */
	uint64_t violations; /* channels reset because the ring's rules, or a seal, were broken */
};

/* Takes @kernel and @fd over, also on failure. @port: @fd is a virtio-serial port. 0 or -errno. */
int agent_start(struct agent *agent, struct loop *loop, const struct agent_config *config,
		struct kernel *kernel, int fd, bool port);
/* Ends everything; @agent's own memory is the caller's. */
void agent_stop(struct agent *agent);

/* Host's clock, seconds since 1970. */
int64_t agent_now(const struct agent *agent);
void agent_set_clock(struct agent *agent, uint64_t host_seconds);

/* Calls agent->ready once all is there. */
void agent_check_ready(struct agent *agent);

/* A refusal that this agent makes itself goes to the host's audit log. @caller may be NULL. */
void agent_audit(struct agent *agent, enum sivp_reason reason, const char *service, const char *vm,
		 const char *peer_service, const struct siv_caller *caller, const char *text);

/* Submits, and logs what cannot be. */
void agent_submit(struct agent *agent, const struct kernel_request *request);
void agent_answer(struct agent *agent, uint64_t id, int error, const char *service);

/* links.c */
void agent_links_refresh(struct agent *agent, void (*done)(void *ctx, uint64_t tag, int err,
						     const struct kernel_answer *answer));
bool agent_links_take_found(struct agent *agent); /* true: other links than before */
void agent_links_of_host(struct agent *agent, struct host_hello *hello);
void agent_links_from_host(struct agent *agent, const struct sivp_msg *msg);
void agent_links_stalled(struct agent *agent, const struct kernel_upcall *upcall);
const struct kernel_link *agent_links_by_id(const struct agent *agent, uint32_t id);
/* @ivposition of a message; @end tells the local link's two ends apart. */
const struct kernel_link *agent_links_by_position(const struct agent *agent, uint32_t ivposition,
					    uint32_t end);
uint32_t agent_link_position(const struct kernel_link *link); /* as the protocol has it */
bool agent_links_settled(const struct agent *agent);

/* channels.c */
void agent_channels_report(struct agent *agent);
void agent_channels_closed(struct agent *agent, const struct kernel_upcall *upcall);
void agent_channels_close(struct agent *agent, const struct sivp_msg *msg);
void agent_channels_forget(struct agent *agent);
void agent_listeners_add(struct agent *agent, const struct kernel_upcall *upcall);
void agent_listeners_remove(struct agent *agent, const struct kernel_upcall *upcall);
void agent_listeners_report(struct agent *agent);
void agent_listeners_forget(struct agent *agent);

/* enrol.c */
int agent_enrol_init(struct agent *agent);
void agent_enrol_exit(struct agent *agent);
/*
 * After each WELCOME, and when others are trusted than before. @renamed: name or domain are others,
 * and no certificate holds any more. Else those of an authority that is still trusted do, until
 * the one that issues has given another.
 */
void agent_enrol_start(struct agent *agent, bool renamed);
/* Says RENEWED, once that is true. */
void agent_enrol_tell_renewed(struct agent *agent);
/* Asks again for what the host has refused. */
void agent_enrol_again(struct agent *agent);
void agent_enrol_host_lost(struct agent *agent);
bool agent_enrol_cert(struct agent *agent, const struct sivp_msg *msg);
/* False: its session is no CSR's. */
bool agent_enrol_reject(struct agent *agent, const struct sivp_msg *msg);
/* The next connect with each peer verifies everything anew. How many tickets that were. */
unsigned int agent_enrol_forget_tickets(struct agent *agent);
bool agent_enrol_settled(const struct agent *agent);
struct identity *agent_enrol_identity(struct agent *agent, const struct agent_service *service);

/* session.c */
void agent_session_init(struct agent *agent);
void agent_session_connect(struct agent *agent, const struct kernel_upcall *upcall);
void agent_session_cancel(struct agent *agent, uint64_t request);
void agent_session_message(struct agent *agent, const struct sivp_msg *msg);
void agent_session_identity(struct agent *agent, struct identity *identity); /* held, or refused */
/* Others are trusted than before. */
void agent_session_trust(struct agent *agent);
/* Some handshake under way was started with a certificate that is not its service's any more. */
bool agent_session_uses_former(struct agent *agent);
void agent_session_host_lost(struct agent *agent);
void agent_session_drop_all(struct agent *agent); /* the kernel is gone, or the agent is */

/* status.c */
struct admin;
struct admin *agent_status_open(struct agent *agent);

#endif
