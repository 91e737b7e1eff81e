/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The broker's own structures.
 *
 *   broker ─┬─ vm[]      one for each VM: its stream, what HELLO said, its sessions      vm.c
 *           ├─ link[]    two ends (a VM each; both the same VM on a local link), the
 *           │            allocator and the channels that are not free                     link.c
 *           └─ session   a connect on its way: two sides (client, server); ends with both
 *                        ATTACHED, from when on there is only the channel                 session.c
 *
 * Who frees what: a session is freed when neither side has anything to wait for; a channel when
 * both ends are closed and its pages were scrubbed. A session points to its channel, never the
 * other way round, so that a channel outlives any session.
 *
 * Nothing here is freed while a message is being handled but sessions, by their last side. A VM
 * that must lose its stream or its sessions is only marked (vm_doom()), and broker_settle() does it
 * at the end of each call from outside.
 */
#ifndef SIVSHMEM_BROKER_INTERNAL_H
#define SIVSHMEM_BROKER_INTERNAL_H

#include "alloc.h"
#include "broker.h"
#include "common/bucket.h"
#include "common/id_hash.h"
#include "common/list.h"
#include "common/log.h"
#include "common/stream.h"
#include "journal.h"

enum { CLIENT, SERVER }; /* sides of a session */

struct broker;
struct link;
struct session;

enum vm_state {
	VM_AWAY,      /* no stream */
	VM_SILENT,    /* a stream, and no HELLO on it yet */
	VM_REPORTING, /* HELLO was answered; its open channels are being reported */
	VM_READY,     /* REPORTED */
};

enum vm_doom {
	VM_FINE,
	VM_LOSES_SESSIONS, /* its queue is full */
	VM_LOSES_STREAM,   /* it broke the protocol, or even its queue's reserve is full */
};

/* What a VM, or a service of one, has by connecting: its opens, and the channels they led to. */
struct taken {
	struct bucket opens;
	unsigned int channels; /* that are not free */
	uint64_t memory;       /* bytes of these, control pages included */
};

struct vm {
	struct broker *broker;
	const struct policy_vm *policy;
	unsigned int index;
	struct stream stream;
	enum vm_state state;
	enum vm_doom doom;
	bool want_hello; /* the magic was seen: HELLO is next */
	struct loop_timer silent; /* VM_SILENT: an agent that is there is asked for its HELLO */
	bool renewed;    /* it uses certificates of the authority that issues alone, as it says */

	/* The incarnation: what the last HELLO said. Outlives the stream. */
	bool known;
	uint8_t boot_id[16];
	uint64_t module_nonce;
	uint8_t agent_nonce[SIVP_NONCE_LEN];
	uint32_t positions[SIVP_LINKS_MAX];
	unsigned int n_positions;

	struct link *local;
	struct list sides[ID_HASH_BUCKETS]; /* struct session_side, by id */
	unsigned int n_sides;
	uint64_t last_session; /* of those brought to this VM, without SIVP_SESSION_INCOMING */
	bool listening[POLICY_SERVICES_MAX];
	struct taken taken;
	struct taken services[POLICY_SERVICES_MAX];
	struct bucket csrs;   /* each costs two signatures */
	struct bucket upsets; /* each may end epochs, and so have links zeroed and agents busy */

	struct audit_budget budget;
	struct { uint64_t opens, granted, refused, certificates, violations, tls_bytes; } count;
};

struct link_end {
	struct vm *vm;
	bool joined; /* a QEMU holds it, under that IVPosition */
	uint32_t ivposition;
	bool seen;   /* joined, and the VM's HELLO lists it: there is a kernel behind it */

	/* What the agent was told last on this stream; sent_epoch 0: nothing. */
	uint32_t sent_epoch, sent_peer;
	bool sent_up;
	uint32_t acked_epoch; /* its kernel takes grants in that epoch; 0: in none */
};

enum link_phase {
	LINK_OFF,   /* no memory */
	LINK_START, /* the switch is telling who holds its ends */
	LINK_RUN,
};

struct link {
	struct broker *broker;
	const struct policy_link *policy; /* NULL: a local link */
	unsigned int index;               /* in policy.links */
	const struct broker_link_ops *ops;
	void *backend;
	enum link_phase phase;
	bool bumping;       /* waits for broker_link_epoch() */
	bool used;          /* UP = 1 was sent in this epoch */
	bool known;         /* what is open is known, and the journal has it */
	bool unclean;       /* what no channel has may hold data: scrub before the next grant */
	uint32_t epoch;
	uint32_t due_epoch; /* if it is later: asked for, or to be */
	uint64_t instance;  /* of the switch that has the memory; 0: a local link */
	uint64_t size;
	struct link_end end[2];
	struct alloc alloc;
	struct list channels;
	unsigned int n_half_open;
	uint64_t granted; /* channels so far */
};

struct channel {
	struct list node; /* of the link */
	struct alloc_extent extent;
	struct link *link;
	uint32_t epoch;
	uint32_t type;
	unsigned int client_end;
	bool reset;       /* CLOSE was sent, or is to be when an agent is back that can take it */
	enum sivp_reason reset_reason;
	bool done;        /* both have attached: no session has it any more */
	bool granted[2];  /* by end: GRANT was sent to it, so its kernel may have it until CLOSED */
	uint32_t position[2]; /* by end: its IVPosition when it was granted */
	bool reported[2]; /* by end: the agent has named it since its HELLO */
	char service[2][SIV_SERVICE_LEN]; /* by end */
	bool sealed;
	uint64_t since_ns;
};

enum session_state {
	SESSION_INCOMING, /* waits for ACCEPTING */
	SESSION_RELAY,    /* TLS and READY */
	SESSION_SERVER,   /* waits for the server's ATTACHED */
	SESSION_CLIENT,   /* waits for the client's ATTACHED */
	SESSION_DEAD,     /* failed; waits for the ATTACHED of an end that was granted to */
};

struct session_side {
	struct session *session;
	struct vm *vm; /* NULL: this side has ended */
	struct list node; /* of the VM's sides */
	uint64_t id;
	bool waits;    /* GRANT was sent, ATTACHED is not here */
	bool attached; /* ATTACHED 0 is */
	bool ready;
	char spiffe_id[SIV_SPIFFE_LEN]; /* what the host knows this side to be */
	char peer_id[SIV_SPIFFE_LEN];   /* READY: what it verified of the other */
	uint8_t digest[SIV_DIGEST_LEN], peer_digest[SIV_DIGEST_LEN];
	uint8_t exporter[SIVP_EXPORTER_LEN];
	bool resumed;
};

struct session {
	struct broker *broker;
	struct list node; /* of the broker */
	uint64_t number;  /* in the audit log */
	enum session_state state;
	struct session_side side[2];
	struct link *link;
	struct channel *channel;
	uint32_t epoch;
	unsigned int client_end;
	uint8_t nonce[SIVP_NONCE_LEN];
	uint32_t type, c2s_order, s2c_order;
	bool sealed;
	uint32_t bytes, records; /* relayed */
	struct loop_timer timer;
	char service[2][SIV_SERVICE_LEN]; /* by side */
	unsigned int vm[2];               /* by side; outlive the sides for the log */
	int rule;
	bool has_caller;
	uint32_t uid, pid;
};

struct broker {
	struct broker_config config;
	struct vm *vms;
	struct link *links; /* those of the policy, then a local one for each VM */
	unsigned int n_links;
	struct list sessions;
	unsigned int n_sessions;
	uint64_t last_session;
	uint64_t first_generation;
	uint8_t nonce[SIVP_NONCE_LEN];
	uint64_t id_key; /* of all tables of ids */
	struct sivp_builder builder; /* one message at a time */
	bool settling;
};

/* broker.c */
void broker_settle(struct broker *broker);
int64_t broker_wall(const struct broker *broker);
uint64_t broker_now(const struct broker *broker);
void broker_random(void *out, size_t len);

/* vm.c */
void vm_init(struct vm *vm, struct broker *broker, unsigned int index);
/* A stream was opened. */
void vm_connected(struct vm *vm);
void vm_exit(struct vm *vm);
/* Takes a token of @vm's upsets. */
bool vm_may_upset(struct vm *vm);
/* Marks; broker_settle() acts. The worse doom wins. */
void vm_doom(struct vm *vm, enum vm_doom doom);
/* Logs, counts and dooms. What was parsed is void. */
void vm_violation(struct vm *vm, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vm_close_stream(struct vm *vm);
/* A message of the broker's to be filled and sent. No other may be begun before vm_send(). */
struct sivp_builder *vm_message(struct vm *vm, enum sivp_type type, uint64_t session);
/* A session's message: false if it was not queued and the VM's sessions are doomed. */
bool vm_send_session(struct vm *vm);
/* Any other: may use the reserve of the queue. */
void vm_send(struct vm *vm);
void vm_reject(struct vm *vm, uint64_t session, enum sivp_reason reason);
static inline bool vm_talks(const struct vm *vm)
{
	return vm->state >= VM_REPORTING && vm->doom != VM_LOSES_STREAM;
}

/* session.c */
void session_open(struct vm *vm, const struct sivp_msg *msg);
void session_message(struct vm *vm, const struct sivp_msg *msg);
/* All sessions of that VM end. @tell: its agent is there, and is told so. */
void sessions_drop_vm(struct vm *vm, enum sivp_reason reason, const char *text, bool tell);
/* All sessions that count on that link's present epoch end. */
void sessions_drop_link(struct link *link, enum sivp_reason reason, const char *text);
/* End @end has closed a channel; if a session waits for its ATTACHED, there will be none. */
void sessions_end_closed(struct channel *channel, unsigned int end);
/* The channel is about to be freed. */
void sessions_forget_channel(struct channel *channel);
/* The session that is about to get that channel ends. False: there is none. */
bool sessions_end_channel(struct channel *channel, enum sivp_reason reason, const char *text);
/* Those that policy does not allow (any more) end. How many did. */
unsigned int sessions_enforce(struct broker *broker);

/* link.c */
void link_init_pair(struct link *link, struct broker *broker, unsigned int index);
void link_init_local(struct link *link, struct broker *broker, struct vm *vm);
/* The next epoch of a local link: not before the clock, and after @epoch, all that there were. */
void link_next_local(struct link *link, uint32_t epoch);
/* Did the last HELLO of that VM list it? */
bool vm_lists(const struct vm *vm, uint32_t ivposition);
void link_exit(struct link *link);
static inline bool link_is_local(const struct link *link)
{
	return !link->policy;
}
const char *link_name(const struct link *link);
/*
 * The link that VM @vm knows as @ivposition, and which end of it that is (0 for a local link, where
 * both are). NULL: no such link, or no kernel is known to be behind it.
 */
struct link *link_find(struct vm *vm, uint32_t ivposition, unsigned int *end);
/* A HELLO has come: which ends have a kernel behind them? @reborn: another than before. */
void links_hello(struct vm *vm, bool reborn);
/* An agent has said all that its kernel has. */
void links_reported(struct vm *vm);
/* Tells both ends what has changed for them, asks for a new epoch if that is needed. */
void link_update(struct link *link);
void link_bump(struct link *link, const char *why);
bool link_grantable(const struct link *link);
/* Zeroes what no channel has, if that may hold data. False: nothing may be granted. */
bool link_clean(struct link *link);
void link_ack(struct vm *vm, const struct sivp_msg *msg);
void link_stalled(struct vm *vm, const struct sivp_msg *msg);

/* channel.c */
/*
 * Takes pages for what is to be between the two services (by end), and writes that down. NULL and
 * *@err: -ENOBUFS, -EINVAL or -ENOMEM; -EIO: the journal does not take it.
 */
struct channel *channel_new(struct link *link, unsigned int client_end, uint32_t type,
			    uint32_t c2s_order, uint32_t s2c_order, bool sealed,
			    const char *const service[2], int *err);
/* Out of the journal: what channel_new() wrote. -ERANGE or -EEXIST as alloc_claim(), -ENOMEM. */
int channel_restore(struct link *link, const struct journal_grant *grant);
/* Nobody can touch it, and its pages are zeroed or nobody's. */
void channel_drop(struct channel *channel);
struct channel *channel_find(const struct link *link, uint32_t epoch, uint32_t slot,
			     uint64_t generation);
/* End @end will not touch it any more. Frees it (after scrubbing) if it was the last. */
void channel_end_closed(struct channel *channel, unsigned int end);
/* Asks each end that may have it to reset it, and says why. May free it. */
void channel_reset(struct channel *channel, enum sivp_reason reason);
/* CLOSE to the agent of that end, if it is there. */
void channel_send_close(struct channel *channel, unsigned int end);
/* The link and end that a message about a channel means; NULL: unknown, or a violation. */
struct link *channel_message_link(struct vm *vm, const struct sivp_msg *msg, unsigned int *end);
void channel_put_name(struct sivp_builder *b, const struct channel *channel, unsigned int end);
/* Scrubs and frees what is dirty; again after a scrub had failed. */
void channels_reap(struct link *link);
/* Nobody can touch any channel of the link: forgets them all. */
void channels_forget(struct link *link);
void channel_closed_message(struct vm *vm, const struct sivp_msg *msg);

/* enforce.c */
/* What policy says now about a channel that is open; logs it with @text if that is a refusal. */
enum sivp_reason channel_check(const struct channel *channel, const char *text);

/* limits.c */
/* Policy or limits are others, or new: takes over the rates, and counts anew whose channels are. */
void limits_apply(struct broker *broker);
/* Takes a token for an open of that VM's service. NULL: there was one; else why not. */
const char *limits_take_open(struct vm *vm, const char *service);
/* No place for @more sides of a session on @link, one of that VM's? */
bool limits_full(const struct vm *vm, const struct link *link, unsigned int more);
/* One more channel of @length bytes would be too much: says for whom. NULL: it would not. */
const char *limits_exceeded(struct vm *vm, const char *service, uint64_t length);
/* From when its services are known until it is freed, a channel counts as its client's. */
void limits_charge(const struct channel *channel);
void limits_release(const struct channel *channel);

/* status.c */
json_t *channel_json(const struct channel *channel);

/* recover.c */
/* Takes over what the journal has. A link that it does not know stays so. */
void broker_recover(struct broker *broker);
/* All of the state that the journal has, if that is due. Only where the state is consistent. */
void broker_compact(struct broker *broker);
/* The ends of a link that the journal knew are known: what an earlier broker left behind it. */
void link_recover(struct link *link);
void report_open_channel(struct vm *vm, const struct sivp_msg *msg);
/* Into the journal, if there is one, and it knows the link. As journal_append(). */
void record_link(const struct link *link, enum journal_type type);
bool record_channel(const struct channel *channel, enum journal_type type);
void record_vm(const struct vm *vm);

#endif
