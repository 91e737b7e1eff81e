/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * siv-check: a server that does what the first bytes of a connection tell it to, and a client with
 * one case for each thing that must hold. The two meet in connections only, so that the same cases
 * run inside one VM and between two.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mode {
	MODE_ECHO = 1, /* writes back what it reads, until EOF */
	MODE_DUPLEX,   /* checks `bytes` of stream `seed`, sends as many of `seed` + 1, then waits for EOF */
	MODE_SOURCE,   /* sends `bytes` of stream `seed` and closes at once */
	MODE_REPLY,    /* reads until EOF, then sends `bytes` of stream `seed`, then closes */
	MODE_STALL,    /* reads nothing until a MODE_GO with the same seed comes, then checks `bytes` of it */
	MODE_GO,
	MODE_ABORT,    /* closes with what comes after the order unread */
	MODE_SHUT_RD,  /* shutdown(SHUT_RD), waits for EOF by poll */
	MODE_STALL_SHUT_RD, /* MODE_SHUT_RD, once told as MODE_STALL is */
	MODE_STALL_ABORT,   /* closes with everything unread, once told as MODE_STALL is */
	MODE_DRIP,     /* sends byte by byte, until that fails */
};

struct order {
	uint32_t mode;
	uint32_t pad;
	uint64_t seed;
	uint64_t bytes;
};

/* A stream of bytes that depends on the seed and the position alone. */
#define STREAM_PERIOD 1048573u /* a prime: a piece at another place never looks right */
struct stream {
	uint8_t table[STREAM_PERIOD];
	uint64_t pos;
};
struct stream *stream_new(uint64_t seed);
void stream_fill(struct stream *s, void *buf, size_t len);
/* Exits with the offset of the first byte that is wrong. */
void stream_check(struct stream *s, const void *buf, size_t len);

/* An odd length between 1 and @max, often small, often large. */
size_t odd_size(uint64_t *state, size_t max);

/* Prints what is wrong and exits with 1; on_die() first, which need not return. */
extern void (*on_die)(void);
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
#define CHECK(x) ((x) ? (void)0 : die("%s:%d: %s does not hold (errno %d)", __FILE__, __LINE__, #x, errno))
#define CHECK_ERRNO(x, e) \
	((errno = 0, (x) < 0) && errno == (e) ? (void)0 : \
	 die("%s:%d: %s: errno is %d, should be %d", __FILE__, __LINE__, #x, errno, (int)(e)))

void write_all(int fd, const void *buf, size_t len);
void read_all(int fd, void *buf, size_t len);
void expect_eof(int fd);
/* Both directions at once, @bytes each, in odd sizes up to @max. */
void duplex(int fd, uint64_t seed_out, uint64_t seed_in, uint64_t bytes, size_t max);

#define RECORD_MAX 30000u /* of what the server's SOCK_SEQPACKET listener gives back */

/* Of a connection: SIVSHMEM_SEALED. */
bool is_sealed(int fd);

int serve(const char *url);
int run_case(const char *url, const char *name, const char *arg);
void list_cases(void);

#endif
