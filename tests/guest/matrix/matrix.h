/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The differential matrix: what a case is, and what its two functions may use.
 *
 * A case is a client and a server. Each call that matters goes through a wrapper below (t_*), which
 * does it and adds one line to this side's transcript: `recv(16, PEEK) = 5 "hello"`. A case runs
 * over the oracle and over the subject, and the transcripts must be equal. So a case has no
 * expectation in it, and nothing in a transcript may depend on time: where one side needs what the
 * other did, the two meet over a control connection, and what may come later is waited for.
 *
 * Wrappers return what the call did, with errno as it left it.
 */
#ifndef MATRIX_H
#define MATRIX_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum via { VIA_UNIX, VIA_TCP, VIA_VSOCK, VIA_SIV };
enum types { STREAM = 1, SEQPACKET = 2, BOTH = 3 };
enum case_flags {
	RAW = 1, /* the sides make their own sockets; otherwise each gets a connected one, s->fd */
	/* Cannot run between two VMs: the client listens, or one process is both sides, or several
	 * services are needed; policy gives the client's VM none of these. */
	LOCAL = 2,
	SMALL = 4, /* connected sockets with small buffers */
};

struct side;
struct transcript;

/* The oracle's line @oracle is @ours here. Both must be seen, or the case fails. */
struct difference {
	const char *oracle, *ours, *reason;
	enum types types; /* 0: all of the case's */
};

#define DIFFERENCES_MAX 8

struct testcase {
	const char *name; /* says what must hold */
	enum types types;
	void (*client)(struct side *s),
		(*server)(struct side *s); /* NULL: stays connected, no more */
	unsigned int flags;
	enum via oracle; /* VIA_UNIX unless said */
	const char *why; /* ... and why not AF_UNIX */
	struct difference differences[DIFFERENCES_MAX];
};

struct group {
	const char *name;
	const struct testcase *cases;
	size_t n;
};

extern const struct group group_connect, group_listen, group_stream, group_message, group_memory,
	group_seqpacket, group_poll, group_epoll, group_shutdown, group_close, group_options,
	group_process, group_splice;

struct side {
	const struct testcase *test;
	struct transcript *t;
	enum via via;
	int type; /* SOCK_STREAM, SOCK_SEQPACKET */
	bool server;
	unsigned int runner,
		number; /* of its process and of this run: they make addresses unique */
	const char *url; /* the subject's address; NULL over an oracle */
	bool exact; /* the subject's service is the URL's own: one listener at a time */
	int control;
	int fd; /* connected, unless RAW */
	uint64_t sent, got; /* positions of t_send_bytes() and t_recv_bytes() */
};

/* --- transcript ---------------------------------------------------------------------------- */

/* Begun before the call, so that one that never returns is seen, and ended after it. */
void t_begin(struct side *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void t_end(struct side *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
long t_ret(struct side *s, long ret); /* ends it with the number or the errno */
int t_ok(struct side *s, int ret); /* ends it with "ok" or the errno: for descriptors */
ssize_t t_data(struct side *s, ssize_t n, const void *data); /* ... with the number and the bytes */
void t_note(struct side *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ends this side: the case itself cannot go on. */
void t_fail(struct side *s, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));
#define T_CHECK(s, x) ((x) ? (void)0 : t_fail(s, "%s:%d: %s: %m", __FILE__, __LINE__, #x))
const char *text_of_msg_flags(int flags);
const char *text_of_poll(unsigned int bits);
const char *text_of_data(const void *data, size_t n);

/* --- rendezvous ---------------------------------------------------------------------------- */

void meet(struct side *s); /* both sides are here */
void tell(struct side *s),
	hear(struct side *s); /* the one that hears waits for the one that tells */
void tell_number(struct side *s, uint64_t n);
uint64_t hear_number(struct side *s);

/* --- sockets and names --------------------------------------------------------------------- */

/* Address @n of this run: 0 is where the server listens; others are free for the case (LOCAL). */
socklen_t address_of(struct side *s, int n, struct sockaddr_storage *addr, bool to_bind);
int via_family(const struct side *s);
int make_socket(struct side *s, int flags); /* not recorded */
int make_listener(struct side *s, int n, int backlog);
int make_connected(struct side *s, int n);
int t_socket(struct side *s, int flags);
int t_bind(struct side *s, int fd, int n);
int t_listen(struct side *s, int fd, int backlog);
int t_connect(struct side *s, int fd, int n);
int t_accept(struct side *s, int fd, int flags);
int t_close(struct side *s, int fd);
int t_shutdown(struct side *s, int fd, int how);
int t_getname(struct side *s, int fd, bool peer); /* the family alone */

/* --- data ---------------------------------------------------------------------------------- */

ssize_t t_send(struct side *s, int fd, const char *text, int flags);
ssize_t t_recv(struct side *s, int fd, size_t len, int flags);
ssize_t t_write(struct side *s, int fd, const char *text);
ssize_t t_read(struct side *s, int fd, size_t len);
/* Any memory, named in the transcript by @what; the bytes are not told. */
ssize_t t_send_from(struct side *s, int fd, const char *what, const void *from, size_t len,
		    int flags);
ssize_t t_recv_into(struct side *s, int fd, const char *what, void *to, size_t len, int flags);
/* Pieces, to be ended by NULL and -1. */
ssize_t t_sendv(struct side *s, int fd, int flags, ...);
ssize_t t_recvv(struct side *s, int fd, int flags, ...);
/* The next @len bytes of a pseudo-random stream, all of them, and whether they are what they should
 * be; what ends it early is told. How many calls it takes is not. */
bool t_send_bytes(struct side *s, int fd, size_t len, int flags);
bool t_recv_bytes(struct side *s, int fd, size_t len, int flags);
/* The same without the number of bytes, where it is each family's own. */
bool t_send_rest(struct side *s, int fd, size_t len);
bool t_recv_rest(struct side *s, int fd, size_t len);
void bytes_fill(uint64_t pos, void *buf, size_t len);
ssize_t bytes_wrong(uint64_t pos, const void *buf, size_t len); /* -1: none */
/* Sends without waiting until there is no more room for one byte; records what ended it. The bytes
 * sent. */
size_t t_fill(struct side *s, int fd, size_t piece);

/* --- readiness, options -------------------------------------------------------------------- */

#define POLL_USUAL (POLLIN | POLLOUT | POLLRDHUP | POLLPRI)
int t_poll(struct side *s, int fd, int events); /* the bits now */
int t_await(struct side *s, int fd, int events,
	    int want); /* the bits once all of @want are there */
void await_poll(struct side *s, int fd, int want); /* not recorded */
int t_setopt(struct side *s, int fd, int level, int name, const char *text, int value);
int t_getopt(struct side *s, int fd, int level, int name, const char *text, int *value);
#define T_SETOPT(s, fd, name, value) t_setopt(s, fd, SOL_SOCKET, name, #name, value)
#define T_GETOPT(s, fd, name)	     t_getopt(s, fd, SOL_SOCKET, name, #name, NULL)
int t_timeout(struct side *s, int fd, int name, const char *text, long ms);
#define T_TIMEOUT(s, fd, name, ms) t_timeout(s, fd, name, #name, ms)
int t_nonblock(struct side *s, int fd, bool on);
int t_ioctl(struct side *s, int fd, unsigned long request, const char *text);
#define T_IOCTL(s, fd, request) t_ioctl(s, fd, request, #request)
void t_sigpipes(struct side *s); /* SIGPIPEs since the last time */
long now_ms(void);
/* "after the time-out" or what is wrong with it. */
void t_took(struct side *s, long start, long at_least);

/* --- threads, processes, signals ----------------------------------------------------------- */

/* Another thread of this side, with a transcript of its own that bg_join() adds. */
struct bg {
	struct side side;
	pthread_t thread;
	pid_t tid;
	void (*fn)(struct side *s, void *arg);
	void *arg;
};
void bg_start(struct side *s, struct bg *b, void (*fn)(struct side *s, void *arg), void *arg);
void bg_blocked(struct side *s, struct bg *b); /* returns once it sleeps in a system call */
void bg_join(struct side *s, struct bg *b);
pid_t child_start(struct side *s, struct bg *b, void (*fn)(struct side *s, void *arg), void *arg);
void child_join(struct side *s, struct bg *b);
void tid_blocked(struct side *s, pid_t tid);

/* Sends SIGUSR1 to the calling thread once it sleeps in a system call; then calls @then. */
struct poke {
	struct side *side;
	pid_t tid;
	pthread_t thread;
	void (*then)(struct side *s);
	int before;
};
void poke_start(struct side *s, struct poke *p, int sa_flags, void (*then)(struct side *s));
void poke_join(struct side *s, struct poke *p);

#endif
