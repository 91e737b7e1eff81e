// SPDX-License-Identifier: BSD-2-Clause
/* Putting an AF_SIVSHMEM socket in the place of the one that a program passed in. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "alias.h"
#include "backend.h"
#include "carry.h"
#include "swap.h"
#include "watch.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* One number whose file was changed, and how to change it back. */
struct swap {
	int fd;
	int old;       /* a duplicate of what was there */
	int fd_flags;  /* FD_CLOEXEC */
	int flags;     /* O_ASYNC is what matters */
	ino_t new_ino; /* what is there now */
	struct watches watches;
};

static int get_int(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value;

	return getsockopt(fd, level, name, &value, &len) ? -errno : value;
}

static bool is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return !getpeername(fd, (struct sockaddr *)&peer, &len);
}

/* A handshake that has begun (after a fallback) is the other family's business. */
static bool is_connecting(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) &&
	       info.tcpi_state != TCP_CLOSE;
}

/* What can be carried: streams, and AF_UNIX's records. */
static bool type_fits(int type, sa_family_t family)
{
	return type == SOCK_STREAM || (type == SOCK_SEQPACKET && family == AF_UNIX);
}

/* Such a socket of the family that the address is of, with nothing begun on it. */
static bool is_fresh(int fd, sa_family_t family)
{
	int protocol;

	if (family == AF_UNSPEC)
		family = AF_INET;
	if (get_int(fd, SOL_SOCKET, SO_DOMAIN) != family ||
	    !type_fits(get_int(fd, SOL_SOCKET, SO_TYPE), family) ||
	    get_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 0 || is_connected(fd))
		return false;
	if (family == AF_UNIX)
		return true;
	protocol = get_int(fd, SOL_SOCKET, SO_PROTOCOL);
	return (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP) && !is_connecting(fd);
}

static bool is_bound(int fd)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	if (getsockname(fd, (struct sockaddr *)&name, &len))
		return false;
	switch (name.ss_family) {
	case AF_INET:
		return ((struct sockaddr_in *)&name)->sin_port;
	case AF_INET6:
		return ((struct sockaddr_in6 *)&name)->sin6_port;
	default:
		return len > offsetof(struct sockaddr_un, sun_path);
	}
}

/* The change is made with signals blocked: a handler may jump away, or call connect() itself. */
static sigset_t block_signals(void)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	return before;
}

static void unblock_signals(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* O_ASYNC cannot move before: the kernel notes the descriptor's number with it. */
static void restore_async(const struct swap *s)
{
	if (s->flags & O_ASYNC)
		fcntl(s->fd, F_SETFL, s->flags);
}

/* Puts @file behind s->fd, for a file that is registered nowhere. */
static int put(const struct swap *s, int file)
{
	int err;

	if (dup3(file, s->fd, s->fd_flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
		return -errno;
	err = watches_add(s->fd, &s->watches);
	if (!err)
		restore_async(s);
	return err;
}

/* What was behind the number comes back. There is room for it: it was there a moment ago. */
static void put_back(const struct swap *s)
{
	put(s, s->old);
	close(s->old);
}

/* Puts @new behind @fd. s->old is to be closed when there is no way back any more. */
static int swap_in(struct swap *s, int fd, int new)
{
	sigset_t before;
	struct stat st;
	int err;

	if (fstat(new, &st))
		return -errno;
	*s = (struct swap){ .fd = fd, .new_ino = st.st_ino };
	s->fd_flags = fcntl(fd, F_GETFD);
	s->flags = fcntl(fd, F_GETFL);
	s->old = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (s->old < 0)
		return -errno;
	before = block_signals();
	err = watches_find(fd, &s->watches);
	if (err) {
		close(s->old);
	} else {
		watches_remove(fd, &s->watches);
		err = put(s, new);
		if (err)
			put_back(s);
	}
	unblock_signals(&before);
	return err;
}

/*
 * Undoes swap_in(), unless another thread has closed or reused the number meanwhile. Registrations
 * may have changed, too, so they are looked up again.
 */
static void swap_out(struct swap *s)
{
	sigset_t before = block_signals();
	struct watches now;
	struct stat st;

	if (!fstat(s->fd, &st) && st.st_ino == s->new_ino) {
		if (!watches_find(s->fd, &now))
			s->watches = now;
		watches_remove(s->fd, &s->watches);
		put_back(s);
	} else {
		close(s->old);
	}
	unblock_signals(&before);
}

/*
 * Makes @new like @fd. The aliases come before the options: that they are another family's is why
 * the module takes those of TCP.
 */
static int carry_over(int fd, const struct siv_alias *alias, int new)
{
	int err = backend.set_alias(new, alias);

	if (!err)
		err = carry_options(fd, new);
	if (!err)
		err = carry_owner(fd, new);
	return err;
}

static int new_socket(int fd)
{
	int flags = fcntl(fd, F_GETFL), type = get_int(fd, SOL_SOCKET, SO_TYPE);

	if (flags < 0)
		return -errno;
	if (type < 0)
		return type;
	flags = flags & O_NONBLOCK ? SOCK_NONBLOCK : 0;
	return backend.socket(type | SOCK_CLOEXEC | flags);
}

static int bind_as(int new, const char *service)
{
	struct sockaddr_sivshmem own = { 0 };

	if (!service[0])
		return 0;
	strcpy(own.ssiv_service, service);
	return backend.bind(new, &own);
}

/*
 * The one step that may take long, and the one in which the thread may be cancelled. On the
 * program's own number, so that another thread's shutdown() or close() ends it.
 */
static int wait_connected(int fd, const struct sockaddr_sivshmem *target, int cancel_state)
{
	int err;

	pthread_setcancelstate(cancel_state, NULL);
	err = backend.connect(fd, target);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return err;
}

static void close_cancelled(void *fd)
{
	close(*(int *)fd);
}

static int connect_fresh(const struct rules *rules, const struct rule *rule, int fd,
			 struct siv_alias *alias, int cancel_state)
{
	struct swap swap;
	int err, new;

	new = new_socket(fd);
	if (new < 0)
		return new;
	err = alias_self(&alias->self, fd, new, &alias->peer);
	if (!err)
		err = carry_over(fd, alias, new);
	if (!err)
		err = bind_as(new, rules->as);
	if (!err)
		err = swap_in(&swap, fd, new);
	close(new);
	if (err)
		return err;

	pthread_cleanup_push(close_cancelled, &swap.old);
	err = wait_connected(fd, &rule->target, cancel_state);
	pthread_cleanup_pop(0);
	switch (err) {
	case 0:
	case -EINPROGRESS:
	case -EALREADY:
	case -EINTR: /* goes on without us; the next connect() waits for it */
		close(swap.old);
		break;
	default:
		swap_out(&swap);
	}
	return err;
}

static int do_connect(const struct rules *rules, const struct rule *rule, int fd,
		      const struct sockaddr *addr, socklen_t len, int cancel_state)
{
	struct siv_alias alias = { 0 }, current;

	alias_set(&alias.peer, addr, len);
	if (backend.get_alias(fd, &current)) {
		if (!is_fresh(fd, addr->sa_family))
			return SWAP_PASS;
	} else {
		/* Of the family already: asked again, or for another endpoint, or not ours. */
		if (!current.self.len && !current.peer.len)
			return SWAP_PASS;
		if (!current.peer.len)
			return -EOPNOTSUPP;
		if (!memcmp(&current.peer, &alias.peer, sizeof(alias.peer)) || is_connected(fd))
			return wait_connected(fd, &rule->target, cancel_state);
	}
	return connect_fresh(rules, rule, fd, &alias, cancel_state);
}

int swap_connect(const struct rules *rules, const struct rule *rule, int fd,
		 const struct sockaddr *addr, socklen_t len)
{
	int err, state;

	/* open() and close() are cancellation points; connect() is meant to be the only one. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	err = do_connect(rules, rule, fd, addr, len, state);
	pthread_setcancelstate(state, NULL);
	return err;
}

/*
 * Programs unlink, chmod and stat the path that they bind. So there is a socket at it, which nobody
 * listens on: who comes without a rule gets ECONNREFUSED, and a path that exists is EADDRINUSE. Its
 * mode comes from umask and from an fchmod() before bind(), as the program's own would have; but it
 * guards nothing. Called directly: the shim's bind() has a rule for this path.
 */
static int bind_placeholder(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct stat st;
	int err = 0, placeholder;

	placeholder = socket(AF_UNIX, get_int(fd, SOL_SOCKET, SO_TYPE) | SOCK_CLOEXEC, 0);
	if (placeholder < 0)
		return -errno;
	if (fstat(fd, &st) || fchmod(placeholder, st.st_mode & 07777) ||
	    syscall(SYS_bind, placeholder, addr, len))
		err = -errno;
	close(placeholder);
	return err;
}

static int add_peers(const struct rules *rules, sa_family_t family, int new)
{
	struct siv_alias_peer alias;

	for (unsigned int i = 0; i < rules->n_peers; i++) {
		int err;

		if (!alias_peer(&alias, &rules->peer[i], family))
			continue;
		err = backend.add_alias_peer(new, &alias);
		if (err)
			return err;
	}
	return 0;
}

static int bind_fresh(const struct rules *rules, const struct rule *rule, int fd,
		      const struct sockaddr *addr, socklen_t len)
{
	struct siv_alias alias = { 0 };
	struct swap swap;
	sa_family_t family;
	int err, new;

	new = new_socket(fd);
	if (new < 0)
		return new;
	alias_set(&alias.self, addr, len);
	memcpy(&family, alias.self.addr, sizeof(family));
	err = carry_over(fd, &alias, new);
	if (!err)
		err = add_peers(rules, family, new);
	if (!err)
		err = backend.bind(new, &rule->target);
	if (!err && family == AF_UNIX)
		err = bind_placeholder(fd, addr, len);
	if (!err) {
		err = swap_in(&swap, fd, new);
		if (!err)
			close(swap.old);
		else if (family == AF_UNIX)
			unlink(rule->path);
	}
	close(new);
	return err;
}

static int do_bind(const struct rules *rules, const struct rule *rule, int fd,
		   const struct sockaddr *addr, socklen_t len)
{
	struct siv_alias current;

	if (!backend.get_alias(fd, &current))
		return -EINVAL; /* bound already, or of the family and given another's address */
	if (!is_fresh(fd, addr->sa_family) || is_bound(fd))
		return SWAP_PASS;
	return bind_fresh(rules, rule, fd, addr, len);
}

int swap_bind(const struct rules *rules, const struct rule *rule, int fd,
	      const struct sockaddr *addr, socklen_t len)
{
	int err, state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	err = do_bind(rules, rule, fd, addr, len);
	pthread_setcancelstate(state, NULL);
	return err;
}
