// SPDX-License-Identifier: BSD-2-Clause
/*
 * Bytes that go through pipes and files: splice, tee, vmsplice, sendfile.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "matrix.h"

#define FULL_WHY "AF_UNIX of some kernels puts pages beyond its limit"

static void make_pipe(struct side *s, int pair[2])
{
	T_CHECK(s, !pipe2(pair, O_CLOEXEC));
}

static const char *text_of_splice(unsigned int flags)
{
	return flags == (SPLICE_F_NONBLOCK | SPLICE_F_MORE) ? "NONBLOCK|MORE" :
	       flags == SPLICE_F_NONBLOCK		    ? "NONBLOCK" :
	       flags == SPLICE_F_MORE			    ? "MORE" :
	       flags == SPLICE_F_MOVE			    ? "MOVE" :
							      "0";
}

static ssize_t t_splice(struct side *s, const char *what, int from, int to, size_t len,
			unsigned int flags)
{
	t_begin(s, "splice(%s, %zu, %s)", what, len, text_of_splice(flags));
	return t_ret(s, splice(from, NULL, to, NULL, len, flags));
}

static void t_pipe_read(struct side *s, int fd, size_t len)
{
	char buf[256];
	ssize_t n;

	t_begin(s, "read from the pipe(%zu)", len);
	n = read(fd, buf, len);
	t_data(s, n, buf);
}

static void c_to_socket(struct side *s)
{
	int p[2];

	make_pipe(s, p);
	T_CHECK(s, write(p[1], "through a pipe", 14) == 14);
	t_splice(s, "pipe to socket", p[0], s->fd, 7, 0);
	t_splice(s, "pipe to socket", p[0], s->fd, 100, 0);
	t_splice(s, "an empty pipe to socket", p[0], s->fd, 100, SPLICE_F_NONBLOCK);
	t_splice(s, "nothing to socket", p[0], s->fd, 0, 0);
	close(p[1]);
	t_splice(s, "a closed pipe to socket", p[0], s->fd, 100, 0);
}

static void s_recv_14(struct side *s)
{
	t_recv(s, s->fd, 14, MSG_WAITALL);
}

static void c_to_socket_more(struct side *s)
{
	int p[2];

	make_pipe(s, p);
	T_CHECK(s, write(p[1], "through a pipe", 14) == 14);
	t_splice(s, "pipe to socket", p[0], s->fd, 7, SPLICE_F_MORE);
	t_splice(s, "pipe to socket", p[0], s->fd, 7, SPLICE_F_MORE);
	meet(s);
}

static void s_recv_14_meet(struct side *s)
{
	t_recv(s, s->fd, 14, MSG_WAITALL);
	meet(s);
}

static void c_sends(struct side *s)
{
	t_send(s, s->fd, "into a pipe", 0);
	hear(s);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void s_from_socket(struct side *s)
{
	int p[2];

	make_pipe(s, p);
	await_poll(s, s->fd, POLLIN);
	t_splice(s, "socket to pipe", s->fd, p[1], 4, 0);
	t_pipe_read(s, p[0], 16);
	t_splice(s, "socket to pipe", s->fd, p[1], 100, 0);
	t_pipe_read(s, p[0], 16);
	t_splice(s, "an empty socket to pipe", s->fd, p[1], 100, SPLICE_F_NONBLOCK);
	t_nonblock(s, s->fd, true);
	t_splice(s, "an empty socket that does not block to pipe", s->fd, p[1], 100, 0);
	t_nonblock(s, s->fd, false);
	t_splice(s, "nothing to pipe", s->fd, p[1], 0, 0);
	tell(s);
	t_splice(s, "socket to pipe", s->fd, p[1], 100, 0);
}

static void bg_splice(struct side *s, void *arg)
{
	t_splice(s, "socket to pipe", s->fd, *(int *)arg, 100, 0);
}

static void s_from_socket_blocks(struct side *s)
{
	struct bg b;
	int p[2];

	make_pipe(s, p);
	bg_start(s, &b, bg_splice, &p[1]);
	bg_blocked(s, &b);
	tell(s);
	bg_join(s, &b);
	t_pipe_read(s, p[0], 100);
}

static void c_later(struct side *s)
{
	hear(s);
	t_send(s, s->fd, "into a pipe", 0);
}

static void s_from_reset(struct side *s)
{
	int p[2];

	make_pipe(s, p);
	t_send(s, s->fd, "unread", 0);
	await_poll(s, s->fd, POLLHUP | POLLERR);
	t_splice(s, "socket to pipe", s->fd, p[1], 100, 0);
	t_splice(s, "socket to pipe", s->fd, p[1], 100, 0);
	T_CHECK(s, write(p[1], "xyz", 3) == 3);
	t_splice(s, "pipe to socket", p[0], s->fd, 100, 0);
	t_sigpipes(s);
}

static void c_closes_unread(struct side *s)
{
	await_poll(s, s->fd, POLLIN);
	t_close(s, s->fd);
}

static void c_to_shut(struct side *s)
{
	int p[2];

	make_pipe(s, p);
	T_CHECK(s, write(p[1], "xyz", 3) == 3);
	t_shutdown(s, s->fd, SHUT_WR);
	t_splice(s, "pipe to socket", p[0], s->fd, 100, 0);
	t_sigpipes(s);
	t_begin(s, "still in the pipe");
	t_pipe_read(s, p[0], 100);
}

static void c_to_full(struct side *s)
{
	int p[2];

	make_pipe(s, p);
	T_CHECK(s, write(p[1], "xyz", 3) == 3);
	t_fill(s, s->fd, 500);
	t_nonblock(s, s->fd, true);
	t_splice(s, "pipe to a full socket that does not block", p[0], s->fd, 100, 0);
	t_pipe_read(s, p[0], 100);
}

/* Socket to pipe to socket, in one process, as a proxy does it. */
static void s_proxy(struct side *s)
{
	size_t moved = 0;
	ssize_t n, m;
	int p[2];

	make_pipe(s, p);
	t_begin(s, "back through a pipe");
	while ((n = splice(s->fd, NULL, p[1], NULL, 20000, SPLICE_F_MOVE)) > 0)
		for (; n; n -= m, moved += m) {
			m = splice(p[0], NULL, s->fd, NULL, n, SPLICE_F_MOVE | SPLICE_F_MORE);
			T_CHECK(s, m > 0);
		}
	t_end(s, "%zu, then %zd", moved, n);
	t_shutdown(s, s->fd, SHUT_WR);
}

static void bg_recv_all(struct side *s, void *arg)
{
	(void)arg;
	t_recv_bytes(s, s->fd, 120000, 0);
	t_recv(s, s->fd, 1, 0);
}

static void c_proxy(struct side *s)
{
	struct bg b;

	bg_start(s, &b, bg_recv_all, NULL);
	t_send_bytes(s, s->fd, 120000, 0);
	t_shutdown(s, s->fd, SHUT_WR);
	bg_join(s, &b);
}

static void c_tee(struct side *s)
{
	int p[2], q[2];

	make_pipe(s, p);
	make_pipe(s, q);
	T_CHECK(s, write(p[1], "twice..", 7) == 7);
	t_begin(s, "tee()");
	t_ret(s, tee(p[0], q[1], 7, 0));
	t_splice(s, "pipe to socket", p[0], s->fd, 7, 0);
	t_splice(s, "its copy to socket", q[0], s->fd, 7, 0);
}

/* A page that is given to a pipe and changed after it was sent does not change what was sent. */
static void c_vmsplice(struct side *s)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec v = { page, 4096 };
	int p[2];

	T_CHECK(s, page != MAP_FAILED);
	make_pipe(s, p);
	bytes_fill(0, page, 4096);
	t_begin(s, "vmsplice()");
	t_ret(s, vmsplice(p[1], &v, 1, 0));
	t_splice(s, "pipe to socket", p[0], s->fd, 4096, 0);
	meet(s);
}

static void s_vmsplice(struct side *s)
{
	t_recv_bytes(s, s->fd, 4096, MSG_WAITALL);
	meet(s);
}

static int make_file(struct side *s, size_t len)
{
	char *buf = malloc(len);
	int fd = memfd_create("file", MFD_CLOEXEC);

	T_CHECK(s, buf && fd >= 0);
	bytes_fill(0, buf, len);
	T_CHECK(s, write(fd, buf, len) == (ssize_t)len);
	free(buf);
	T_CHECK(s, !lseek(fd, 0, SEEK_SET));
	return fd;
}

static void t_sendfile(struct side *s, int to, int from, off_t *offset, size_t len)
{
	t_begin(s, "sendfile(%ld, %zu)", offset ? (long)*offset : -1, len);
	t_ret(s, sendfile(to, from, offset, len));
	if (offset)
		t_note(s, "offset %ld", (long)*offset);
}

static void c_sendfile(struct side *s)
{
	int fd = make_file(s, 10000);
	off_t offset = 1000, past = 20000;

	t_sendfile(s, s->fd, fd, NULL, 1000);
	t_note(s, "position %ld", (long)lseek(fd, 0, SEEK_CUR));
	t_sendfile(s, s->fd, fd, &offset, 3000);
	t_note(s, "position %ld", (long)lseek(fd, 0, SEEK_CUR));
	t_sendfile(s, s->fd, fd, &offset, 100000);
	t_sendfile(s, s->fd, fd, &past, 10);
	t_sendfile(s, s->fd, fd, &offset, 0);
	meet(s);
}

static void s_sendfile(struct side *s)
{
	t_recv_bytes(s, s->fd, 10000, 0);
	meet(s);
	t_recv(s, s->fd, 1, MSG_DONTWAIT);
}

static void c_sendfile_long(struct side *s)
{
	int fd = make_file(s, 200000);
	size_t left = 200000;
	ssize_t n;

	t_begin(s, "sendfile of 200000 bytes");
	for (; left; left -= n) {
		n = sendfile(s->fd, fd, NULL, left);
		T_CHECK(s, n > 0);
	}
	t_end(s, "all");
	t_shutdown(s, s->fd, SHUT_WR);
}

static void s_sendfile_long(struct side *s)
{
	t_recv_bytes(s, s->fd, 200000, 0);
	t_recv(s, s->fd, 1, 0);
}

static void c_sendfile_ends(struct side *s)
{
	int fd = make_file(s, 100);

	t_shutdown(s, s->fd, SHUT_WR);
	t_sendfile(s, s->fd, fd, NULL, 100);
	t_sigpipes(s);
	t_note(s, "position %ld", (long)lseek(fd, 0, SEEK_CUR));
}

static void c_sendfile_full(struct side *s)
{
	int fd = make_file(s, 100);

	t_fill(s, s->fd, 500);
	t_nonblock(s, s->fd, true);
	t_sendfile(s, s->fd, fd, NULL, 100);
	t_note(s, "position %ld", (long)lseek(fd, 0, SEEK_CUR));
}

static void c_sendfile_from_socket(struct side *s)
{
	int fd = make_file(s, 10);

	t_sendfile(s, fd, s->fd, NULL, 10);
}

static const struct testcase cases[] = {
	{ "splice from a pipe", STREAM, c_to_socket, s_recv_14 },
	{ "splice from a pipe with SPLICE_F_MORE: it comes all the same", STREAM, c_to_socket_more,
	  s_recv_14_meet, 0, VIA_TCP, "AF_UNIX ignores SPLICE_F_MORE" },
	{ "splice to a pipe, SPLICE_F_NONBLOCK and O_NONBLOCK, and the end", STREAM, c_sends,
	  s_from_socket },
	{ "splice to a pipe waits for data", STREAM, c_later, s_from_socket_blocks },
	{ "splice to and from a socket that was reset", STREAM, c_closes_unread, s_from_reset },
	{ "splice to a socket that is shut down", STREAM, c_to_shut, NULL },
	{ "splice to a socket that is full", STREAM, c_to_full, NULL, SMALL, VIA_TCP, FULL_WHY },
	{ "splice both ways loses nothing", STREAM, c_proxy, s_proxy, SMALL },
	{ "tee, then splice", STREAM, c_tee, s_recv_14 },
	{ "vmsplice, then splice", STREAM, c_vmsplice, s_vmsplice },
	{ "sendfile by position and by offset, to the end and past it", STREAM, c_sendfile,
	  s_sendfile },
	{ "sendfile of more than fits", STREAM, c_sendfile_long, s_sendfile_long, SMALL },
	{ "sendfile to a socket that is shut down", BOTH, c_sendfile_ends, NULL },
	{ "sendfile to a socket that is full", STREAM, c_sendfile_full, NULL, SMALL, VIA_TCP,
	  FULL_WHY },
	{ "sendfile from a socket", STREAM, c_sendfile_from_socket, NULL },
};

const struct group group_splice = { "splice", cases, ARRAY_SIZE(cases) };
