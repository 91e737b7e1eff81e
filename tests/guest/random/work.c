// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the threads of a storm do. Each says what it is about to do before it can block.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "storm.h"

#define PIECES	    3
#define PEEK_MAX    4096
#define PEEK_BREAKS 3 /* pieces that a peek may have been taken in */

/* Who watches shall not keep those who work from working. */
static void breathe(struct worker *w)
{
	struct timespec pause = { .tv_nsec = 1000 * (100 + rng_below(&w->rng, 2000)) };

	nanosleep(&pause, NULL);
}

/* An edge-triggered set of this thread's own, or -1 for one that uses poll(). */
static int own_set(struct worker *w, uint32_t events)
{
	struct epoll_event ev = { .events = events | EPOLLET };
	int set;

	if (rng_percent(&w->rng, 50))
		return -1;
	set = epoll_create1(EPOLL_CLOEXEC);
	if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, w->side->fd, &ev))
		storm_wrong(w->side, "epoll: %s", strerror(errno));
	return set;
}

/* A call has said EAGAIN: until it would not, or a signal comes. */
static void await(struct worker *w, int set, short events)
{
	struct pollfd p = { .fd = w->side->fd, .events = events };
	struct epoll_event ev;
	int n;

	deed(w, set < 0 ? "poll" : "epoll_wait", events, 0);
	n = set < 0 ? poll(&p, 1, -1) : epoll_wait(set, &ev, 1, -1);
	deed_over(w, n, errno);
	if (n < 0 && errno != EINTR)
		storm_wrong(w->side, "%s: %s", set < 0 ? "poll" : "epoll_wait", strerror(errno));
}

static size_t pieces(struct worker *w, struct iovec *iov, void *buf, size_t len)
{
	size_t a = rng_below(&w->rng, len + 1), b = a + rng_below(&w->rng, len - a + 1);

	iov[0] = (struct iovec){ buf, a };
	iov[1] = (struct iovec){ (char *)buf + a, b - a };
	iov[2] = (struct iovec){ (char *)buf + b, len - b };
	return PIECES;
}

static int random_flags(struct worker *w)
{
	return rng_percent(&w->rng, w->side->plan.nonblock) ? MSG_DONTWAIT : 0;
}

/* Has enough gone through this end that it cuts the connection now? */
static void maybe_cut(struct worker *w)
{
	struct side *s = w->side;

	if (!s->plan.cut || s->plan.cut_end != s->e || s->sent + s->received < s->plan.cut_after ||
	    atomic_exchange(&s->stop, true))
		return;
	if (s->plan.cut != CUT_SHUTDOWN)
		return;
	deed(w, "shutdown", s->plan.cut_how, 0);
	if (shutdown(s->fd, s->plan.cut_how))
		storm_wrong(s, "shutdown: %s", strerror(errno));
	deed_over(w, 0, 0);
}

/* One side stops, and closes what it has not read. */
static bool stopped(const struct side *s)
{
	return s->plan.cut == CUT_CLOSE && s->stop;
}

/* An answer that is neither bytes nor an end that the plan has. True: try again. */
static bool again(struct worker *w, int set, short events, int flags, int err)
{
	struct side *s = w->side;

	if (err == EINTR && s->plan.signals)
		return true;
	if (err == EAGAIN && flags & MSG_DONTWAIT) {
		await(w, set, events);
		return true;
	}
	if (err == EAGAIN && s->plan.timeout_ms)
		return true;
	if ((err == EPIPE || err == ECONNRESET) && s->plan.cut) {
		s->broken = true;
		return false;
	}
	storm_wrong(s, "%s %u: %s", w->role, w->number, strerror(err));
}

static ssize_t send_some(struct worker *w, uint8_t *buf, size_t len, int flags)
{
	struct iovec iov[PIECES];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n;
	int kind = rng_below(&w->rng, flags & MSG_DONTWAIT ? 2 : 4), err;
	static const char *const names[] = { "send", "sendmsg", "write", "writev" };

	msg.msg_iovlen = pieces(w, iov, buf, len);
	deed(w, names[kind], len, flags);
	switch (kind) {
	case 0:
		n = send(w->side->fd, buf, len, flags);
		break;
	case 1:
		n = sendmsg(w->side->fd, &msg, flags);
		break;
	case 2:
		n = write(w->side->fd, buf, len);
		break;
	default:
		n = writev(w->side->fd, iov, PIECES);
	}
	err = errno;
	deed_over(w, n, err);
	errno = err;
	return n;
}

/* All of @buf. False: the plan's end came first. */
static bool send_whole(struct worker *w, int set, uint8_t *buf, size_t len)
{
	struct side *s = w->side;
	ssize_t n;

	for (; len; buf += n, len -= n) {
		int flags = random_flags(w) | (rng_percent(&w->rng, 10) ? MSG_MORE : 0);

		n = send_some(w, buf, len, flags);
		if (n < 0) {
			n = 0;
			if (!again(w, set, POLLOUT, flags, errno))
				return false;
			continue;
		}
		if (!n || (size_t)n > len || (s->type == SOCK_SEQPACKET && (size_t)n != len))
			storm_wrong(s, "a send of %zu bytes sent %zd", len, n);
		s->sent += n;
		maybe_cut(w);
		if (stopped(s))
			return false;
	}
	return true;
}

/* In the child: only what may be called after fork() in a program with threads. */
static void child_writes(struct side *s, uint64_t key, uint64_t to, uint8_t *buf)
{
	uint64_t pos, len, off;
	ssize_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* the other end may be in this process too, and must be closed when it is closed there */
	if (dup2(s->fd, 0) || close_range(3, ~0u, 0))
		_exit(5);
	for (pos = 0; pos < to; pos += len) {
		len = to - pos < 5000 ? to - pos : 5000;
		pattern_fill(key, pos, buf, len);
		for (off = 0; off<len; off += n> 0 ? n : 0) {
			n = send(0, buf + off, len - off, 0);
			if (n < 0 && errno != EINTR && errno != EAGAIN)
				_exit(errno == EPIPE || errno == ECONNRESET ? 3 : 4);
		}
	}
	_exit(0);
}

/* A child with its own descriptor writes the first half. */
static bool fork_first_half(struct worker *w, uint64_t key, uint64_t half, uint8_t *buf)
{
	struct side *s = w->side;
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		storm_wrong(s, "fork: %s", strerror(errno));
	if (!pid)
		child_writes(s, key, half, buf);
	deed(w, "waitpid", pid, 0);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			storm_wrong(s, "waitpid: %s", strerror(errno));
	deed_over(w, status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3 && s->plan.cut) {
		s->broken = true;
		return false;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		storm_wrong(s, "the child that writes ended with %#x", status);
	s->sent += half;
	return true;
}

static void write_stream(struct worker *w, int set, uint8_t *buf)
{
	struct side *s = w->side;
	const struct plan_way *way = &s->plan.way[s->e];
	uint64_t key = way->key + w->number, volume = way->writer[w->number].volume, pos = 0;
	size_t n;

	if (way->fork) {
		pos = volume / 2;
		if (!fork_first_half(w, key, pos, buf))
			return;
	}
	for (; pos < volume && !stopped(s); pos += n) {
		n = rng_size(&w->rng, way->writer[w->number].max);
		n = n < volume - pos ? n : volume - pos;
		pattern_fill(key, pos, buf, n);
		if (!send_whole(w, set, buf, n))
			return;
	}
}

static uint64_t record_place(uint32_t seq)
{
	return (uint64_t)seq * LEN_MAX;
}

static void write_records(struct worker *w, int set, uint8_t *buf)
{
	struct side *s = w->side;
	const struct plan_way *way = &s->plan.way[s->e];
	struct storm_record head = { .writer = w->number, .magic = STORM_RECORD_MAGIC };
	size_t max = way->writer[w->number].max, n;

	max = max < s->max ? max : s->max;
	for (; head.seq < way->writer[w->number].volume && !stopped(s); head.seq++) {
		n = rng_size(&w->rng, max);
		n = n < sizeof(head) ? sizeof(head) : n;
		head.len = n;
		memcpy(buf, &head, sizeof(head));
		pattern_fill(way->key + w->number, record_place(head.seq), buf + sizeof(head),
			     n - sizeof(head));
		if (!send_whole(w, set, buf, n))
			return;
	}
}

static uint8_t *buffer(struct side *s)
{
	uint8_t *buf = malloc(LEN_MAX);

	if (!buf)
		storm_wrong(s, "no memory");
	return buf;
}

void *work_write(void *arg)
{
	struct worker *w = arg;
	struct side *s = w->side;
	int set = own_set(w, EPOLLOUT);
	uint8_t *buf = buffer(s);

	crew_join(w);
	if (s->type == SOCK_STREAM)
		write_stream(w, set, buf);
	else
		write_records(w, set, buf);
	/* the last one ends the stream; who is going to close at once does not */
	if (atomic_fetch_sub(&s->writing, 1) == 1 && !stopped(s)) {
		deed(w, "shutdown", SHUT_WR, 0);
		if (shutdown(s->fd, SHUT_WR))
			storm_wrong(s, "shutdown: %s", strerror(errno));
		deed_over(w, 0, 0);
	}
	crew_leave(w);
	if (set >= 0)
		close(set);
	free(buf);
	return NULL;
}

static ssize_t recv_some(struct worker *w, uint8_t *buf, size_t len, int flags)
{
	struct iovec iov[PIECES];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n;
	int kind = rng_below(&w->rng, flags ? 2 : 4), err;
	static const char *const names[] = { "recv", "recvmsg", "read", "readv" };

	msg.msg_iovlen = pieces(w, iov, buf, len);
	deed(w, names[kind], len, flags);
	switch (kind) {
	case 0:
		n = recv(w->side->fd, buf, len, flags);
		break;
	case 1:
		n = recvmsg(w->side->fd, &msg, flags);
		break;
	case 2:
		n = read(w->side->fd, buf, len);
		break;
	default:
		n = readv(w->side->fd, iov, PIECES);
	}
	err = errno;
	deed_over(w, n, err);
	errno = err;
	return n;
}

/* A whole record that was sent, and never before. */
static void take_record(struct worker *w, const uint8_t *buf, size_t n, int64_t *last, bool peeked)
{
	struct side *s = w->side;
	const struct plan_way *way = &s->plan.way[!s->e];
	struct storm_record head;
	size_t bad;

	if (n < sizeof(head))
		storm_wrong(s, "a record of %zu bytes", n);
	memcpy(&head, buf, sizeof(head));
	if (head.magic != STORM_RECORD_MAGIC || head.writer >= way->writers || head.len != n ||
	    head.seq >= way->writer[head.writer].volume)
		storm_wrong(s,
			    "no record that was sent: magic %#x, writer %u, number %u, length %u, "
			    "received %zu",
			    head.magic, head.writer, head.seq, head.len, n);
	bad = pattern_differs(way->key + head.writer, record_place(head.seq), buf + sizeof(head),
			      n - sizeof(head));
	if (bad < n - sizeof(head))
		storm_wrong(s, "byte %zu of record %u of writer %u is wrong", bad + sizeof(head),
			    head.seq, head.writer);
	if (peeked)
		return;
	if (way->readers == 1 && head.seq <= last[head.writer])
		storm_wrong(s, "record %u of writer %u after %lld", head.seq, head.writer,
			    (long long)last[head.writer]);
	last[head.writer] = head.seq;
	pthread_mutex_lock(&s->lock);
	if (s->records[head.writer][head.seq]++) {
		pthread_mutex_unlock(&s->lock);
		storm_wrong(s, "record %u of writer %u came twice", head.seq, head.writer);
	}
	s->records_read++;
	pthread_mutex_unlock(&s->lock);
}

/* Until the end of the stream, or the plan's. */
static void read_all(struct worker *w, int set, uint8_t *buf)
{
	struct side *s = w->side;
	const struct plan_way *way = &s->plan.way[!s->e];
	bool ordered = s->type == SOCK_STREAM && way->writers == 1 && way->readers == 1;
	uint64_t count[256] = { 0 }, pos = 0;
	int64_t last[CROWD_MAX] = { -1, -1, -1 };
	size_t len, bad, i;
	ssize_t n;

	while (!stopped(s)) {
		int flags = random_flags(w);

		len = LEN_MAX;
		if (s->type == SOCK_STREAM) {
			len = rng_size(&w->rng, LEN_MAX);
			flags |= rng_percent(&w->rng, 15) ? MSG_WAITALL : 0;
		}
		s->asked += len;
		n = recv_some(w, buf, len, flags);
		if (n < 0) {
			int err = errno;

			s->asked -= len;
			if (!again(w, set, POLLIN, flags, err))
				break;
			continue;
		}
		if (!n)
			s->read_to_end = true;
		if (!n)
			break;
		if ((size_t)n > len)
			storm_wrong(s, "a recv of %zu bytes received %zd", len, n);
		if (s->type == SOCK_SEQPACKET) {
			take_record(w, buf, n, last, false);
		} else if (ordered) {
			bad = pattern_differs(way->key, pos, buf, n);
			if (bad < (size_t)n)
				storm_wrong(s, "byte %llu is wrong, in a recv of %zd at %llu",
					    (unsigned long long)(pos + bad), n,
					    (unsigned long long)pos);
			pos += n;
		} else {
			for (i = 0; i < (size_t)n; i++)
				count[buf[i]]++;
		}
		s->received += n;
		s->asked -= len - n;
		maybe_cut(w);
	}
	pthread_mutex_lock(&s->lock);
	for (i = 0; i < 256; i++)
		s->count[i] += count[i];
	pthread_mutex_unlock(&s->lock);
}

void *work_read(void *arg)
{
	struct worker *w = arg;
	struct side *s = w->side;
	int set = own_set(w, EPOLLIN | EPOLLRDHUP);
	uint8_t *buf = buffer(s);

	crew_join(w);
	read_all(w, set, buf);
	s->reading--;
	crew_leave(w);
	if (set >= 0)
		close(set);
	free(buf);
	return NULL;
}

/* The longest piece of @buf that is in the stream somewhere from *@from to @to; *@from is after it. */
static size_t found_in_stream(uint64_t key, uint64_t *from, uint64_t to, const uint8_t *buf,
			      size_t len)
{
	size_t best = 0, here;
	uint64_t pos, after = *from;

	for (pos = *from; pos <= to && best < len; pos++) {
		here = pattern_differs(key, pos, buf, len);
		if (here > best) {
			best = here;
			after = pos + here;
		}
	}
	*from = after;
	return best;
}

/*
 * What was peeked is somewhere between what the reader had taken before and what it can have taken
 * since; and in few pieces, since a peek is one look for each time that it takes the lock.
 */
static void check_peeked(struct worker *w, const uint8_t *buf, size_t len, uint64_t from,
			 uint64_t to)
{
	uint64_t key = w->side->plan.way[!w->side->e].key;
	size_t n, done;
	int breaks;

	for (breaks = done = 0; done < len; done += n, breaks++) {
		n = found_in_stream(key, &from, to + len, buf + done, len - done);
		if (!n || breaks > PEEK_BREAKS)
			storm_wrong(w->side,
				    "%zu bytes peeked, and from %zu on they are not in the "
				    "stream before %llu",
				    len, done, (unsigned long long)(to + len));
	}
}

void *work_peek(void *arg)
{
	struct worker *w = arg;
	struct side *s = w->side;
	const struct plan_way *way = &s->plan.way[!s->e];
	bool ordered = s->type == SOCK_STREAM && way->writers == 1 && way->readers == 1;
	uint8_t *buf = buffer(s);
	uint64_t before;
	size_t len;
	ssize_t n;
	int flags;

	crew_join(w);
	/* after a cut, what the readers have left is there for ever */
	while (s->reading) {
		len = s->type == SOCK_STREAM ? rng_size(&w->rng, PEEK_MAX) : LEN_MAX;
		flags = MSG_PEEK | random_flags(w);
		/* AF_UNIX wakes one waiter for a record, and the peeker leaves it to one who sleeps */
		if (s->type == SOCK_SEQPACKET && !opt.siv)
			flags |= MSG_DONTWAIT;
		before = s->received;
		n = recv_some(w, buf, len, flags);
		if (!n)
			break;
		if (n < 0) {
			if (errno == ECONNRESET && s->plan.cut)
				break;
			if (errno != EINTR && errno != EAGAIN)
				storm_wrong(s, "peek: %s", strerror(errno));
		} else if (s->type == SOCK_SEQPACKET) {
			take_record(w, buf, n, NULL, true);
		} else if (ordered) {
			check_peeked(w, buf, n, before, s->asked);
		}
		breathe(w);
	}
	crew_leave(w);
	free(buf);
	return NULL;
}

/* Waits for all there is to wait for, for ever, until the other side has ended its direction. */
void *work_poll(void *arg)
{
	struct worker *w = arg;
	static const short bits[] = { POLLIN | POLLRDHUP, POLLOUT, POLLRDHUP,
				      POLLIN | POLLOUT | POLLRDHUP };
	struct pollfd p = { .fd = w->side->fd };
	int n;

	crew_join(w);
	do {
		p.events = bits[rng_below(&w->rng, sizeof(bits) / sizeof(bits[0]))];
		deed(w, "poll", p.events, 0);
		n = poll(&p, 1, -1);
		deed_over(w, n < 0 ? n : p.revents, errno);
		if (n < 0 && errno != EINTR)
			storm_wrong(w->side, "poll: %s", strerror(errno));
		if (p.revents & (POLLERR | POLLNVAL) && !w->side->plan.cut)
			storm_wrong(w->side, "poll says %#x", p.revents);
		breathe(w);
	} while (n < 0 || !(p.revents & (POLLRDHUP | POLLHUP)));
	crew_leave(w);
	return NULL;
}
