// SPDX-License-Identifier: BSD-2-Clause
/*
 * Descriptors: fork, dup, exec, passing, and what any descriptor can be asked.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "matrix.h"

static void child_sends(struct side *s, void *arg)
{
	(void)arg;
	t_send(s, s->fd, "from the child", 0);
}

static void c_fork(struct side *s)
{
	struct bg child;

	child_start(s, &child, child_sends, NULL);
	child_join(s, &child);
	tell(s);
	t_recv(s, s->fd, 32, 0);
	t_send(s, s->fd, "from the parent", 0);
}

static void s_fork(struct side *s)
{
	t_recv(s, s->fd, 32, 0);
	hear(s);
	/* the child's end closed nothing */
	t_recv(s, s->fd, 32, MSG_DONTWAIT);
	t_send(s, s->fd, "to whom?", 0);
	t_recv(s, s->fd, 32, 0);
}

static void c_fork_close(struct side *s)
{
	struct bg child;

	child_start(s, &child, child_sends, NULL);
	t_close(s, s->fd);
	child_join(s, &child);
}

static void s_until_end(struct side *s)
{
	await_poll(s, s->fd, POLLHUP);
	t_recv(s, s->fd, 32, 0);
	t_recv(s, s->fd, 32, 0);
}

static void child_shuts(struct side *s, void *arg)
{
	(void)arg;
	t_shutdown(s, s->fd, SHUT_WR);
}

static void c_fork_shutdown(struct side *s)
{
	struct bg child;

	child_start(s, &child, child_shuts, NULL);
	child_join(s, &child);
	t_send(s, s->fd, "x", MSG_NOSIGNAL);
	t_recv(s, s->fd, 16, 0);
}

static void s_fork_shutdown(struct side *s)
{
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "answer", 0);
}

static void child_reads(struct side *s, void *arg)
{
	(void)arg;
	t_recv(s, s->fd, 4, 0);
}

/* Each of two processes gets one of two, in the order in which they ask. */
static void s_fork_reads(struct side *s)
{
	struct bg child;

	t_recv(s, s->fd, 4, 0);
	child_start(s, &child, child_reads, NULL);
	child_join(s, &child);
	t_recv(s, s->fd, 4, 0);
}

static void c_fork_reads(struct side *s)
{
	t_send(s, s->fd, "one.", 0);
	t_send(s, s->fd, "two.", 0);
	t_send(s, s->fd, "tri.", 0);
}

static void c_dup(struct side *s)
{
	int copy = dup(s->fd), other = dup2(s->fd, 99), third = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);

	t_send(s, copy, "copy", 0);
	t_close(s, s->fd);
	t_send(s, other, "dup2", 0);
	t_close(s, copy);
	t_note(s, "O_NONBLOCK is shared");
	t_nonblock(s, other, true);
	t_recv(s, third, 1, 0);
	t_nonblock(s, third, false);
	t_close(s, other);
	t_send(s, third, "last", 0);
	t_close(s, third);
}

static void s_dup(struct side *s)
{
	t_recv(s, s->fd, 4, MSG_WAITALL);
	t_recv(s, s->fd, 4, MSG_WAITALL);
	t_recv(s, s->fd, 4, MSG_WAITALL);
	t_recv(s, s->fd, 4, MSG_WAITALL);
}

/* dup2 over a socket closes it. */
static void c_dup2_over(struct side *s)
{
	t_send(s, s->fd, "last", 0);
	T_CHECK(s, dup2(STDERR_FILENO, s->fd) == s->fd);
	t_send(s, s->fd, "x", 0);
}

static void pass_fd(struct side *s, int via, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec v = { "f", 1 };
	struct msghdr msg = { .msg_iov = &v,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	T_CHECK(s, sendmsg(via, &msg, 0) == 1);
}

static int take_fd(struct side *s, int via)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &v,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	int fd = -1;

	T_CHECK(s, recvmsg(via, &msg, MSG_CMSG_CLOEXEC) == 1);
	T_CHECK(s, CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void child_takes(struct side *s, void *arg)
{
	int fd = take_fd(s, *(int *)arg);

	t_send(s, fd, "passed on", 0);
	t_recv(s, fd, 16, 0);
	t_poll(s, fd, POLL_USUAL);
	t_getname(s, fd, true);
	t_shutdown(s, fd, SHUT_WR);
}

static void c_pass(struct side *s)
{
	struct bg child;
	int pair[2], fd = s->fd;

	T_CHECK(s, !socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	s->fd = -1;
	child_start(s, &child, child_takes, &pair[1]);
	pass_fd(s, pair[0], fd);
	t_close(s, fd);
	child_join(s, &child);
}

static void s_pass(struct side *s)
{
	t_recv(s, s->fd, 16, 0);
	t_send(s, s->fd, "to the other", 0);
	t_recv(s, s->fd, 16, 0);
	await_poll(s, s->fd, POLLHUP);
	t_send(s, s->fd, "x", MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A descriptor that is only in flight keeps the connection; when that goes, it ends. */
static void c_in_flight(struct side *s)
{
	int pair[2];

	T_CHECK(s, !socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pass_fd(s, pair[0], s->fd);
	t_close(s, s->fd);
	meet(s);
	meet(s);
	close(pair[0]);
	close(pair[1]);
}

static void s_in_flight(struct side *s)
{
	meet(s);
	t_poll(s, s->fd, POLL_USUAL);
	meet(s);
	t_await(s, s->fd, POLL_USUAL, POLLIN | POLLHUP);
	t_recv(s, s->fd, 1, 0);
}

static void child_execs(struct side *s, void *arg)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", *(int *)arg);
	execl("/proc/self/exe", "siv-matrix", "open", number, NULL);
	t_fail(s, "exec: %m");
}

static void c_exec(struct side *s)
{
	struct bg child;

	child_start(s, &child, child_execs, &s->fd);
	child_join(s, &child);
	T_CHECK(s, !fcntl(s->fd, F_SETFD, FD_CLOEXEC));
	child_start(s, &child, child_execs, &s->fd);
	child_join(s, &child);
	t_send(s, s->fd, "after exec", 0);
}

static void s_exec(struct side *s)
{
	t_recv(s, s->fd, 1, 0);
	t_recv(s, s->fd, 16, 0);
}

static void c_any(struct side *s)
{
	struct stat st;
	char link[64], path[32];
	ssize_t n;
	void *p;

	T_CHECK(s, !fstat(s->fd, &st));
	t_note(s, "a socket: %d", S_ISSOCK(st.st_mode));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
	n = readlink(path, link, sizeof(link));
	t_note(s, "its link is socket: %d", n > 7 && !memcmp(link, "socket:", 7));
	t_begin(s, "open(its link)");
	t_ok(s, open(path, O_RDWR));
	t_begin(s, "lseek()");
	t_ok(s, lseek(s->fd, 0, SEEK_CUR));
	t_begin(s, "pread()");
	t_ok(s, pread(s->fd, link, 1, 0));
	t_begin(s, "pwrite()");
	t_ok(s, pwrite(s->fd, link, 1, 0));
	t_begin(s, "ftruncate()");
	t_ok(s, ftruncate(s->fd, 0));
	t_begin(s, "fsync()");
	t_ok(s, fsync(s->fd));
	t_begin(s, "fchdir()");
	t_ok(s, fchdir(s->fd));
	t_begin(s, "mmap()");
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, s->fd, 0);
	t_ok(s, p == MAP_FAILED ? -1 : 0);
	t_note(s, "O_RDWR: %d", (fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_RDWR);
}

static volatile sig_atomic_t sigios;

static void on_sigio(int sig)
{
	(void)sig;
	sigios = 1;
}

static void s_sigio(struct side *s)
{
	struct sigaction sa = { .sa_handler = on_sigio };
	const struct timespec ms = { .tv_nsec = 1000000 };
	long end = now_ms() + 20000;

	sigaction(SIGIO, &sa, NULL);
	t_begin(s, "F_SETOWN");
	t_ok(s, fcntl(s->fd, F_SETOWN, getpid()));
	t_begin(s, "O_ASYNC");
	t_ok(s, fcntl(s->fd, F_SETFL, O_ASYNC));
	tell(s);
	while (!sigios && now_ms() < end)
		nanosleep(&ms, NULL);
	t_note(s, "SIGIO: %s", sigios ? "came" : "did not come");
	t_recv(s, s->fd, 16, 0);
}

static void c_sigio(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "signalled", 0);
}

/* Many threads send at once; all of it comes, and no piece of a send is torn. */
static void bg_writes(struct side *s, void *arg)
{
	char piece[64];
	int i;

	memset(piece, *(char *)arg, sizeof(piece));
	for (i = 0; i < 200; i++)
		T_CHECK(s, send(s->fd, piece, sizeof(piece), 0) == sizeof(piece));
}

static void c_writers(struct side *s)
{
	static char letters[] = "abcd";
	struct bg b[4];
	int i;

	for (i = 0; i < 4; i++)
		bg_start(s, &b[i], bg_writes, &letters[i]);
	for (i = 0; i < 4; i++)
		bg_join(s, &b[i]);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void s_writers(struct side *s)
{
	int count[4] = { 0 }, torn = 0;
	char piece[64];
	ssize_t n;
	size_t i;

	while ((n = recv(s->fd, piece, sizeof(piece), MSG_WAITALL)) == sizeof(piece)) {
		for (i = 1; i < sizeof(piece); i++)
			torn += piece[i] != piece[0];
		if (piece[0] >= 'a' && piece[0] <= 'd')
			count[piece[0] - 'a']++;
	}
	t_note(s, "%d %d %d %d, torn %d, end %zd", count[0], count[1], count[2], count[3], torn, n);
}

static const struct testcase cases[] = {
	{ "fork: both write, and the child's end closes nothing", BOTH, c_fork, s_fork },
	{ "fork: the last one closes", BOTH, c_fork_close, s_until_end },
	{ "fork: shutdown is for both", BOTH, c_fork_shutdown, s_fork_shutdown },
	{ "fork: each gets what it asks for", BOTH, c_fork_reads, s_fork_reads },
	{ "copies of a descriptor", BOTH, c_dup, s_dup },
	{ "dup2 over a socket closes it", BOTH, c_dup2_over, s_until_end },
	{ "a descriptor passed over AF_UNIX is the same connection", BOTH, c_pass, s_pass },
	{ "a descriptor in flight keeps the connection", BOTH, c_in_flight, s_in_flight },
	{ "exec keeps it, or closes it with FD_CLOEXEC", BOTH, c_exec, s_exec },
	{ "what any descriptor can be asked", BOTH, c_any, NULL,
	  .differences = { { "mmap() = ENODEV", "mmap() = EINVAL",
			     "a channel can be mapped, but not one page of it" } } },
	{ "SIGIO comes with data", BOTH, c_sigio, s_sigio },
	{ "many threads send at once, and nothing is torn or lost", BOTH, c_writers, s_writers },
};

const struct group group_process = { "process", cases, ARRAY_SIZE(cases) };
