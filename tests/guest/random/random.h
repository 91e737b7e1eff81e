/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * siv-random: random calls on sockets against a model of what they may answer. Everything that is
 * random is a function of the seed, so that a run that failed can be run again.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#define LEN_MAX 65536u /* bytes of one call */

/* --- options (main.c) --- */
struct options {
	const char *mode; /* model, storm or serve */
	const char *url; /* serve: where; storm: to whom, NULL for this process itself */
	uint64_t seed, ops; /* ops 0: as many as the time allows */
	unsigned int seconds, sockets;
	bool stream, seqpacket; /* --type */
	bool siv; /* --path */
	double slow; /* stretches every bound on a wait */
};
extern struct options opt;

uint64_t now_ms(void);
/* Prints what is wrong and how to run this again, and exits with 1. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void print_replay(FILE *to, uint64_t ops); /* @ops 0: by time */
const char *type_name(int type);

/* --- random numbers and bytes (stream.c) --- */
struct rng {
	uint64_t x;
};
struct rng rng_at(uint64_t seed, uint64_t place);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);
bool rng_percent(struct rng *r, unsigned int percent);
/* From 1 to @max, as often between each two powers of two. */
size_t rng_size(struct rng *r, size_t max);

/* Bytes that depend on a key and the position alone. */
void pattern_fill(uint64_t key, uint64_t pos, void *buf, size_t len);
/* The first byte that is wrong, or @len. */
size_t pattern_differs(uint64_t key, uint64_t pos, const void *buf, size_t len);

/* --- connections (where.c) --- */
struct ring_wish { /* 0: what is usual */
	unsigned int tx, rx;
	bool by_bufs; /* by SO_SNDBUF and SO_RCVBUF */
};
int where_listen(int type, const char *url);
/* Errors end the program. @nonblock also connects without blocking. */
int where_connect(int type, const char *url, const struct ring_wish *wish, bool nonblock);
int where_accept(int listener);
/* Bytes of the ring that @fd sends into; 0: no ring. */
uint64_t where_ring(int fd);
bool where_sealed(int fd);

int run_model(void);
int run_storm(void);
int run_serve(void);

#endif
