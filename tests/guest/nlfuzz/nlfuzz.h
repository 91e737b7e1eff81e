/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * siv-nlfuzz: what its parts share. message.c makes messages, netlink.c sends them and reads
 * verdicts, agent.c is the agents and blasters, intruder.c who is refused, user.c the sockets, main.c
 * all of it.
 */
#ifndef NLFUZZ_H
#define NLFUZZ_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <linux/genetlink.h>
#include <sys/socket.h>
#include <sivshmem/abi.h>

#define SLOTS	      64 /* of each link that are granted */
#define EXTENT	      (64u << 10) /* bytes of a slot: two areas of at most 2^14, two pages */
#define SERVICES      4
#define JOBS	      64 /* that are served after one PULL */
#define MSG_MAX_BYTES (70u << 10) /* more than an attribute can be long */

extern uint16_t family;
extern uint64_t link_size;
extern atomic_bool stop, failed;
extern atomic_ullong messages, messages_max, connects, accepts, refusals;

/* Fails the run. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void die(const char *what) __attribute__((noreturn));
void thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

/* Chance: splitmix64, one state for each thread. */
struct rng {
	uint64_t state;
};

uint64_t next(struct rng *r);
uint32_t below(struct rng *r, uint32_t n);
bool one_in(struct rng *r, uint32_t n);
#define PICK(r, array) ((array)[below((r), sizeof(array) / sizeof((array)[0]))])

/* An uncommon number, or one near it. */
uint64_t extreme(struct rng *r);

/* What is known of the kernel. Threads write it as they learn; an old value is as good as any. */
struct known {
	_Atomic uint32_t link_id[2], epoch[2];
	_Atomic uint64_t cookie[SERVICES], generation;
};
extern struct known known;

/* An upcall that wants something. */
struct job {
	uint64_t id;
	uint32_t kind, type, service;
};

struct msg {
	struct rng *r;
	unsigned int dirt; /* one attribute in so many is spoilt; 0: none */
	uint32_t len;
	_Alignas(8) uint8_t bytes[2 * MSG_MAX_BYTES];
};

/* All commands that the module takes. */
extern const uint8_t commands[10];
extern const char *const command_names[SIV_CMD_MAX + 1];

const char *service_name(uint32_t n);
void msg_begin(struct msg *m, struct rng *r, uint16_t type, uint8_t cmd, uint16_t flags);
void msg_str(struct msg *m, uint16_t type, const char *s);
uint16_t dump_flag(uint8_t cmd);
void put_register(struct msg *m);
void put_answer(struct msg *m, uint64_t id, uint32_t error, uint32_t service);
void put_listener(struct msg *m, uint32_t service, uint32_t type);
void put_grant(struct msg *m, const struct job *job, uint32_t slot, uint64_t generation,
	       bool server);
void put_link_set(struct msg *m, uint32_t end, uint32_t epoch, uint64_t size);
void put_link_down(struct msg *m, uint32_t end, uint32_t epoch);
void put_reset(struct msg *m, uint32_t slot, uint64_t generation, bool server);
/* The command @cmd, which would be right at some time, with one attribute in @dirt spoilt. */
void msg_command(struct msg *m, struct rng *r, uint8_t cmd, unsigned int dirt);
/* Any message at all, of our family. */
void msg_any(struct msg *m, struct rng *r);

/* Around a call, on kernels with KCOV: what of the module it reaches. */
void cover_begin(void);
void cover_end(void);
void cover_summary(void);
void cover_none(void); /* not of a process that was forked */

typedef void (*on_reply)(const struct genlmsghdr *genl, int len, void *arg);

int nl_open(void);
int nl_send(int fd, struct msg *m);
/* Sends, and reads until the verdict: 0 or -errno; -ETIME: none came. */
int nl_call(int fd, struct msg *m, on_reply reply, void *arg);
/* The family's number, or 0: there is none in this network namespace. */
uint16_t resolve(int fd, struct rng *r);
/* The attributes of @len bytes at @at, by number; the last of each counts. */
void parse(const void *at, int len, const struct nlattr **attrs, unsigned int max);
uint64_t number(const struct nlattr *a);

struct agent {
	struct rng rng;
	pthread_rwlock_t lock; /* of fd, which blasters use: written by the agent itself */
	int fd;
	struct msg msg;
	struct job jobs[JOBS];
	unsigned int n_jobs;
};

/* Opens a port, in place of the one that it has. */
void agent_open(struct agent *a);
int agent_register(struct agent *a);
/* Learns which links there are. */
int agent_links(struct agent *a);
int agent_link_set(struct agent *a, uint32_t end, uint64_t size);
/* The only agent now: takes what is queued, and leaves the links down in the epoch they are in. */
void agent_tidy(struct agent *a);
/* What is queued for the registered agent: serves it, and leaves it in jobs. */
void agent_pull(struct agent *a);
void agent_summary(void);
/* What never succeeded so far, a command's name or what else; NULL: everything did. */
const char *agents_missing(void);
void *agent_run(void *agent);

struct blaster {
	struct rng rng;
	struct agent *agent;
	struct msg msg;
};
void *blaster_run(void *blaster);

#define INTRUDERS 5
/* A process that is number @n of them, or never returns from being it. */
pid_t intruder_start(unsigned int n, uint64_t seed, time_t until);
const char *intruder_name(unsigned int n);
/* Another port of root's. */
void *outsider_run(void *rng);

struct user {
	struct rng rng;
	bool listens;
};
void *user_run(void *user);

#endif
