/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of swapping share: a service "cache" that listens, a rule for it, and a look at
 * descriptors. AF_UNIX plays AF_SIVSHMEM's part.
 */
#ifndef _SWAP_FIXTURE_H
#define _SWAP_FIXTURE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "backend.h"
#include "fake_backend.h"
#include "swap.h"

extern struct rules rules;     /* set_up(): tcp:*:6379=siv://adas/cache */
extern int listener;           /* of the service "cache" */
extern struct sockaddr_in tcp; /* 10.0.0.2:6379 */
#define TCP (const struct sockaddr *)&tcp, sizeof(tcp)

int set_up(void **state);
int tear_down(void **state);
#define SWAP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Replaces the rules; ';' separates them. */
void parse(const char *text);

/* A TCP socket, with SOCK_NONBLOCK or SOCK_CLOEXEC. */
int plain(int type);
bool is_plain(int fd);

/* swap_connect() to tcp by the first rule. */
int do_connect(int fd);

/* "ping" one way and "pong" the other. */
void check_bytes(int fd, int server);

int get_int(int fd, int level, int name);
void set_int(int fd, int level, int name, int value);
ino_t inode(int fd);

unsigned int open_descriptors(void);
void leave_descriptors(int n);
void all_descriptors(void);

int watch_fd(int epfd, int op, int fd, uint32_t events, uint64_t data);
/* The next event is exactly this; and: there is none. */
void wait_for(int epfd, uint32_t events, uint64_t data);
void nothing_more(int epfd);

#endif
