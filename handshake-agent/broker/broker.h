/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The broker: speaks the control protocol (proto/proto.h) with the agents of all VMs, decides by
 * policy, issues certificates, gives out channel memory and takes it back.
 *
 * sivshmem-hostd drives it with the links of a switch; sivshmem-agent --standalone with one VM and
 * no links, on one end of a socketpair whose other end its own agent holds. All of it runs in the
 * caller's loop; nothing blocks.
 *
 * Start everything refused: a connect is granted only at the end of session.c's one road, and
 * whatever leaves that road early is a refusal.
 *
 * What it keeps over a restart of its own: the CA's key; in the switch, epochs; and in its journal
 * (journal.c) what is open and who the VMs are. Agents' reports only confirm or close that, see
 * recover.c.
 */
#ifndef SIVSHMEM_BROKER_H
#define SIVSHMEM_BROKER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "audit.h"
#include "ca.h"
#include "common/loop.h"
#include "journal.h"
#include "policy.h"

/* What else may be asked of the broker at once, and a second, by a VM that has not proved anything. */
#define BROKER_CSRS_BURST        256u /* certificate requests of a VM: all services' four times */
#define BROKER_CSRS_PER_SECOND   16u  /* and in the long run */
#define BROKER_UPSETS_BURST      64u  /* HELLOs of a VM, and links that it says are stalled */
#define BROKER_UPSETS_PER_SECOND 1u

/* Limits of one VM unless they say otherwise; 0 in struct broker_limits is the default here. */
#define BROKER_SESSIONS_PER_VM   1024u         /* half-open connects from and to a VM */
#define BROKER_SESSIONS_PER_PAIR 512u          /* half-open connects between two VMs */
#define BROKER_OPENS_PER_SECOND  1000u         /* of a VM; of each of its services, half of it */
#define BROKER_SESSION_BYTES     (256u * 1024) /* TLS bytes of a session, both directions */
#define BROKER_SESSION_RECORDS   256u          /* TLS messages of a session, both directions */
#define BROKER_HANDSHAKE_MS      30000u        /* from OPEN to the first GRANT */
#define BROKER_QUEUE_BYTES       (1u << 20)    /* towards a VM, before its sessions are dropped */
#define BROKER_QUEUE_RESERVE     (1u << 20)    /* beyond that, for what is not a session's */

struct broker_limits {
	uint32_t sessions_per_vm;
	uint32_t sessions_per_pair;
	uint32_t opens_per_second; /* of a VM about which policy says nothing */
	uint32_t opens_burst;      /* 0: two seconds' opens */
	uint32_t session_bytes;
	uint32_t session_records;
	uint32_t handshake_ms;
	uint32_t queue_bytes;
};

struct broker_config {
	struct loop *loop;
	const struct policy *policy;
	struct ca *ca;
	struct audit *audit;
	/* Not loaded yet. NULL: what is open ends with the broker. */
	struct journal *journal;
	struct broker_limits limits;
	/*
	 * A stream that broker_add_vm_stream() took has ended, by whichever side: there may be a
	 * new one. Called at the end of a round. NULL is allowed.
	 */
	void (*stream_ended)(void *arg, unsigned int vm);
	/*
	 * While there is a former authority: an agent has said that it uses no certificate of it
	 * any more. Called while its message is handled, so it only notes that. NULL is allowed.
	 */
	void (*renewed)(void *arg);
	void *arg;
	/* Seconds since 1970; NULL: time(2). For tests. */
	int64_t (*wall_clock)(void);
};

struct broker;

/*
 * Policy, CA, audit log, journal and loop are borrowed and must outlive the broker. NULL: no memory,
 * or no random numbers.
 */
struct broker *broker_new(const struct broker_config *config);
/* Closes all streams. What the guests have open stays open. */
void broker_free(struct broker *broker);

/*
 * A control stream whose other end is VM @vm (index into the policy), which the caller has made
 * sure of. Takes @fd, also where it fails: -EBUSY (the VM has one), or -errno.
 */
int broker_add_vm_stream(struct broker *broker, unsigned int vm, int fd);
bool broker_vm_has_stream(const struct broker *broker, unsigned int vm);

/*
 * Links between VMs
 * =================
 *
 * Link @link is that of policy.links[@link]. It is unusable until broker_link_start(); the local
 * links inside VMs need no caller. After broker_link_start() and the broker_link_joined() of the
 * ends that are held already comes broker_link_ready(), once, and only then may agents be let in.
 */
struct broker_link_ops {
	/* Zeroes part of the link's memory. 0 or -errno. */
	int (*scrub)(void *backend, uint64_t offset, uint64_t length);
	/* Asks for the next epoch. It comes by broker_link_epoch(); until then the link is down. */
	void (*bump)(void *backend);
};

/*
 * The link's memory of @size bytes is there, in @epoch. With the @instance of a switch that the
 * journal has, it is the one from before. Else it is another one, whatever is still open lies
 * elsewhere and is forgotten. @instance is not 0.
 */
void broker_link_start(struct broker *broker, unsigned int link, const struct broker_link_ops *ops,
		       void *backend, uint64_t instance, uint64_t size, uint32_t epoch);
void broker_link_ready(struct broker *broker, unsigned int link);
/* A QEMU holds end @end and is known on that link as @ivposition. */
void broker_link_joined(struct broker *broker, unsigned int link, unsigned int end,
			uint32_t ivposition);
/* That process exited; the link's epoch is @epoch now, a new one. */
void broker_link_gone(struct broker *broker, unsigned int link, unsigned int end, uint32_t epoch);
/* Answer to bump(). */
void broker_link_epoch(struct broker *broker, unsigned int link, uint32_t epoch);

/*
 * Changes of mind
 * ===============
 *
 * Another policy in place of the one that there is, with the same VMs and links in the same order,
 * and other limits. It decides from now on; what is open is broker_enforce()'s.
 */
void broker_set_policy(struct broker *broker, const struct policy *policy,
		       const struct broker_limits *limits);

/*
 * Policy decides anew about all that is open and under way: what it refuses now is reset, or
 * rejected, with the reason. For callers that have changed what decides.
 */
struct broker_enforced {
	unsigned int channels; /* reset */
	unsigned int connects; /* under way, rejected */
};
void broker_enforce(struct broker *broker, struct broker_enforced *done);

/*
 * Tells agents that decisions may be others now: they forget what could be resumed, and ask again
 * for certificates that they were refused. @vm: that VM's agent and those that share a link with
 * it; -1: all.
 */
void broker_changed(struct broker *broker, int vm);

/*
 * The CA trusts other authorities than before: all agents are told, before anything else is said to
 * them. broker_not_renewed(): agents that are here and have not said yet that they use certificates
 * of the present authority alone. Who is away is not one of them: it enrols before it connects.
 */
void broker_trust_changed(struct broker *broker);
unsigned int broker_not_renewed(const struct broker *broker);

/*
 * Resets one channel: the one in slot @slot of link "a--b", or of the local link of VM "a". Puts
 * what it was into @reply as "channel". 0, or -ENOENT: none is open there.
 */
int broker_revoke_channel(struct broker *broker, const char *link, uint32_t slot, json_t *reply);

/*
 * For sivctl
 * ==========
 *
 * Objects to be merged into a reply: {"vms": [...], "links": [...], "refused": {...},
 * "audit": {...}} and {"channels": [...]}; explained in sivctl(8). 0, or -1 for no memory.
 */
int broker_status(const struct broker *broker, json_t *reply);
int broker_channels(const struct broker *broker, json_t *reply);

/* Sessions that are on their way, and channels that are not free: for tests of leaks. */
unsigned int broker_count_sessions(const struct broker *broker);
unsigned int broker_count_channels(const struct broker *broker);

#endif
