/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a connection should be like: two queues of bytes or records, and how each has ended. Each call
 * first asks for what it may answer (struct want), is made, compared, and then changes the queues.
 *
 * AF_SIVSHMEM's rings are known to the byte, so that what is free in them is too. AF_UNIX's buffers
 * are not: there a send may be refused while anything is unread.
 */
#ifndef MODEL_H
#define MODEL_H

#include <poll.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "random.h"

#define DUPS_MAX    3
#define HISTORY	    30
#define RECORD_HEAD 8u /* in a ring, and data is padded to as much */

struct record {
	uint64_t at; /* its first byte's place in the pattern */
	uint32_t len;
	int eor; /* -1: not known */
};

/* One direction. */
struct way {
	uint64_t key;
	uint64_t wpos, rpos; /* bytes ever written and read */
	struct record *records; /* a ring of `room` */
	unsigned int first, count, room;
	uint64_t ring, used; /* bytes of the ring and in it; ring 0: AF_UNIX */
	uint64_t refused; /* room that the last refused record needs */
	bool shut_wr, shut_rd;
};

struct end {
	int fd[DUPS_MAX];
	unsigned int fds; /* 0: closed */
	bool reset; /* ECONNRESET is to be told, once */
	int lowat;
	int peek_off; /* SO_PEEK_OFF, -1: off */
	/* edge-triggered epoll: a call ran dry, and since then there was news */
	bool in_dry, in_due, out_dry, out_due;
};

struct conn {
	unsigned int index, generation;
	int type;
	struct end end[2];
	struct way way[2]; /* way[e] goes from end e to the other */
	char history[HISTORY][200];
	unsigned int history_at;
};

extern atomic_uint_fast64_t op_number;

/* steps.c: what comes next goes into the connection's history, and what is wrong ends the program. */
void note(struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void note_more(struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void wrong(struct conn *c, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* --- vec.c: pieces of memory, empty, odd, absent and forbidden ones --- */
#define PIECES_MAX 8
struct vec {
	struct iovec iov[PIECES_MAX];
	int n;
	size_t len;
	size_t good; /* bytes in front of the first that faults; len if none does */
	char text[80];
};
void vec_init(void);
/* @pieces 1: one piece. @fault: with a hole somewhere. */
void vec_make(struct vec *v, struct rng *r, size_t len, bool many, bool fault);
void vec_fill(const struct vec *v, uint64_t key, uint64_t pos);
void vec_blank(const struct vec *v);
/* The pages go; what is in them stays, and the next touch faults them in. */
void vec_drop_pages(void);
/* The first byte that is not the pattern's, or not blank after @n of them; @v->len if all are right. */
size_t vec_differs(const struct vec *v, uint64_t key, uint64_t pos, size_t n, bool rest_blank);

/* --- model.c --- */
struct want {
	ssize_t min, max; /* of what is returned; max < 0: it fails */
	int err[3]; /* or one of these */
};
bool want_met(const struct want *w, ssize_t ret, int err);
void want_text(const struct want *w, char *text, size_t size);

bool send_shut(const struct conn *c, int e);
bool recv_shut(const struct conn *c, int e);
uint64_t unread(const struct way *w); /* bytes of a stream */
uint64_t peek_skip(const struct conn *c, int e, int flags); /* bytes that a recv passes over */
bool anything_unread(const struct conn *c, const struct way *w);
const struct record *record_at(const struct way *w, unsigned int i);

/* What a send of @len bytes may answer, of which @good can be read. */
struct want want_send(struct conn *c, int e, size_t len, size_t good);
/* It answered that; @eor as in struct record. */
void did_send(struct conn *c, int e, size_t len, ssize_t ret, int err, int eor);
/* A recv: the same, and what of the result is payload. */
struct want want_recv(struct conn *c, int e, size_t len, size_t good, int flags);
void did_recv(struct conn *c, int e, size_t len, ssize_t ret, int err, int flags);
void did_close(struct conn *c, int e);
void did_shutdown(struct conn *c, int e, int how);
/* What poll() must and may say, of all bits. */
void want_poll(const struct conn *c, int e, short *must, short *may);

/* --- calls.c, watch.c, steps.c --- */
void call_send(struct conn *c, int e, struct rng *r);
void call_recv(struct conn *c, int e, struct rng *r);
void watch_init(void);
void watch_add(struct conn *c, int e);
void watch_poll(struct conn *c, int e, struct rng *r);
void watch_epoll(struct conn *conns, unsigned int n, struct conn *c, bool edge);
int some_fd(const struct conn *c, int e, struct rng *r);

#endif
