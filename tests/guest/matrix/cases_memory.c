// SPDX-License-Identifier: BSD-2-Clause
/*
 * User memory that is not there: nothing is lost, and nothing is sent twice.
 */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "matrix.h"

#define PAGE ((size_t)4096)

static char *pages(struct side *s, int n)
{
	char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	T_CHECK(s, p != MAP_FAILED);
	return p;
}

static void bad_page(struct side *s, char *p)
{
	T_CHECK(s, !mprotect(p, PAGE, PROT_NONE));
}

static void good_page(struct side *s, char *p)
{
	T_CHECK(s, !mprotect(p, PAGE, PROT_READ | PROT_WRITE));
}

static void c_bad_first(struct side *s)
{
	char *p = pages(s, 2);

	bad_page(s, p);
	t_send_from(s, s->fd, "a bad page", p, 100, 0);
	t_send_from(s, s->fd, "a bad page, then a good one", p, 2 * PAGE, 0);
	t_send_from(s, s->fd, "the kernel's memory", (void *)0xffff888000000000, 100, 0);
	t_send_from(s, s->fd, "NULL", NULL, 1, 0);
	t_send(s, s->fd, "good", 0);
}

static void s_only_good(struct side *s)
{
	t_recv(s, s->fd, 16, 0);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
}

/* What was sent before the fault is told; the rest is sent again from there. */
static void c_bad_middle(struct side *s)
{
	char *p = pages(s, 4);
	size_t done = 0;
	ssize_t n;
	int tries;

	bytes_fill(0, p, 4 * PAGE);
	bad_page(s, p + 2 * PAGE);
	t_begin(s, "send(a bad page in the middle)");
	for (tries = 0; tries < 4; tries++) {
		n = send(s->fd, p + done, 4 * PAGE - done, 0);
		if (n < 0)
			break;
		done += n;
	}
	t_end(s, "in the end %s", n < 0 ? strerrorname_np(errno) : "no error");
	if (done > 2 * PAGE)
		t_note(s, "more was sent than there is");
	good_page(s, p + 2 * PAGE);
	s->sent = done;
	t_send_rest(s, s->fd, 4 * PAGE - done + 1);
}

static void s_all(struct side *s)
{
	t_recv_bytes(s, s->fd, 4 * PAGE + 1, 0);
	t_recv(s, s->fd, 1, MSG_DONTWAIT);
}

static void s_bad_first(struct side *s)
{
	char *p = pages(s, 2);

	await_poll(s, s->fd, POLLIN);
	bad_page(s, p);
	t_recv_into(s, s->fd, "a bad page", p, 8, 0);
	t_recv_into(s, s->fd, "a bad page", p, 8, MSG_PEEK);
	t_recv_into(s, s->fd, "NULL", NULL, 8, 0);
	t_recv_into(s, s->fd, "the kernel's memory", (void *)0xffff888000000000, 8, 0);
	t_recv_into(s, s->fd, "a bad page, waiting", p, 8, MSG_WAITALL);
	T_IOCTL(s, s->fd, FIONREAD);
	t_recv(s, s->fd, 16, 0);
}

static void c_ten(struct side *s)
{
	t_send(s, s->fd, "0123456789", 0);
}

/* Bytes into two good pages, then a bad one: however much is told, the rest follows. */
static void s_bad_middle(struct side *s)
{
	char *p = pages(s, 4);
	size_t done = 0, take;
	ssize_t n;
	int tries;

	await_poll(s, s->fd, POLLIN);
	hear(s);
	bad_page(s, p + 2 * PAGE);
	t_begin(s, "recv(a bad page in the middle)");
	for (tries = 0; tries < 8; tries++) {
		n = recv(s->fd, p + done, 4 * PAGE - done, 0);
		if (n <= 0)
			break;
		done += n;
	}
	t_end(s, "in the end %s", n < 0 ? strerrorname_np(errno) : "no error");
	take = done < 2 * PAGE ? done : 2 * PAGE;
	t_note(s, "right so far: %s",
	       bytes_wrong(0, p, take) < 0 && done <= 2 * PAGE ? "yes" : "no");
	s->got = done;
	t_recv_rest(s, s->fd, 4 * PAGE - done);
	t_recv(s, s->fd, 1, MSG_DONTWAIT);
}

static void c_four_pages(struct side *s)
{
	t_send_bytes(s, s->fd, 4 * PAGE, 0);
	tell(s);
}

/* Pages that are good, but not there yet. */
static void s_fresh_pages(struct side *s)
{
	char *p = pages(s, 4);
	ssize_t n;

	t_begin(s, "recv(fresh pages)");
	n = recv(s->fd, p, 4 * PAGE, MSG_WAITALL);
	t_end(s, "%zd, wrong at %zd", n, bytes_wrong(0, p, n < 0 ? 0 : n));
	hear(s);
}

static void c_dropped_pages(struct side *s)
{
	char *p = pages(s, 4);

	t_note(s, "zeros from pages that were dropped");
	memset(p, 'x', 4 * PAGE);
	T_CHECK(s, !madvise(p, 4 * PAGE, MADV_DONTNEED));
	t_send_from(s, s->fd, "dropped pages", p, 4 * PAGE, 0);
}

static void s_dropped_pages(struct side *s)
{
	static char buf[4 * PAGE];
	ssize_t n = recv(s->fd, buf, sizeof(buf), MSG_WAITALL);
	size_t i, set = 0;

	for (i = 0; i < sizeof(buf); i++)
		set += !!buf[i];
	t_note(s, "%zd bytes, %zu of them not zero", n, set);
}

static void c_vector_fault(struct side *s)
{
	char good[] = "good";
	struct iovec v[3] = { { good, 4 }, { (void *)16, 4 }, { good, 4 } };
	ssize_t n;

	t_begin(s, "writev(a bad piece in the middle)");
	n = writev(s->fd, v, 3);
	t_end(s, "%s", n == 4 || (n < 0 && errno == EFAULT) ? "4 or EFAULT" : "something else");
	if (n < 0)
		T_CHECK(s, send(s->fd, "good", 4, 0) == 4);
	t_send(s, s->fd, ", and more", 0);
}

static void s_vector_fault(struct side *s)
{
	t_recv(s, s->fd, 14, MSG_WAITALL);
	t_recv(s, s->fd, 16, MSG_DONTWAIT);
}

static void s_readonly(struct side *s)
{
	static const char readonly[PAGE] __attribute__((aligned(4096))) = "constant";

	await_poll(s, s->fd, POLLIN);
	t_recv_into(s, s->fd, "memory that is read-only", (void *)readonly, 8, 0);
	t_recv(s, s->fd, 16, 0);
}

static void c_record_fault(struct side *s)
{
	char *p = pages(s, 2);

	bad_page(s, p + PAGE);
	t_send_from(s, s->fd, "a record that ends in a bad page", p + PAGE - 10, 20, 0);
	t_send_from(s, s->fd, "a record from nowhere", NULL, 5, 0);
	t_send(s, s->fd, "whole", 0);
}

#define STAYS "a record whose reader faults is still there: nothing is lost"

static void s_record_fault(struct side *s)
{
	char *p = pages(s, 2);

	await_poll(s, s->fd, POLLIN);
	hear(s);
	bad_page(s, p + PAGE);
	t_recv_into(s, s->fd, "nowhere", NULL, 16, 0);
	t_recv_into(s, s->fd, "half a page that is there", p + PAGE - 4, 16, 0);
	t_recv(s, s->fd, 21, MSG_DONTWAIT);
	t_recv(s, s->fd, 22, MSG_DONTWAIT);
	t_recv(s, s->fd, 23, MSG_DONTWAIT);
}

static void c_three_records(struct side *s)
{
	t_send(s, s->fd, "record one", 0);
	t_send(s, s->fd, "record two", 0);
	t_send(s, s->fd, "record three", 0);
	tell(s);
}

static void s_record_peek_fault(struct side *s)
{
	await_poll(s, s->fd, POLLIN);
	t_recv_into(s, s->fd, "nowhere", NULL, 16, MSG_PEEK);
	t_recv(s, s->fd, 16, 0);
}

static const struct testcase cases[] = {
	{ "a bad pointer sends nothing", BOTH, c_bad_first, s_only_good },
	{ "a bad page in the middle of a send: the rest follows once, in order", STREAM,
	  c_bad_middle, s_all },
	{ "a bad pointer receives nothing and loses nothing", STREAM, c_ten, s_bad_first },
	{ "a bad page in the middle of a receive: the rest is still there", STREAM, c_four_pages,
	  s_bad_middle },
	{ "pages that are not there yet receive", STREAM, c_four_pages, s_fresh_pages },
	{ "pages that were dropped send zeros", STREAM, c_dropped_pages, s_dropped_pages },
	{ "a bad piece in the middle of a vector", STREAM, c_vector_fault, s_vector_fault },
	{ "memory that is read-only receives nothing", STREAM, c_ten, s_readonly },
	{ "a record from memory that is not there is not sent", SEQPACKET, c_record_fault,
	  s_only_good },
	{ "a record into memory that is not there", SEQPACKET, c_three_records, s_record_fault,
	  .differences = { { "recv(21, DONTWAIT) = 12 \"record three\"",
			     "recv(21, DONTWAIT) = 10 \"record one\"", STAYS },
			   { "recv(22, DONTWAIT) = EAGAIN",
			     "recv(22, DONTWAIT) = 10 \"record two\"", STAYS },
			   { "recv(23, DONTWAIT) = EAGAIN",
			     "recv(23, DONTWAIT) = 12 \"record three\"", STAYS } } },
	{ "a peek at a record into memory that is not there", SEQPACKET, c_ten,
	  s_record_peek_fault },
};

const struct group group_memory = { "memory", cases, ARRAY_SIZE(cases) };
