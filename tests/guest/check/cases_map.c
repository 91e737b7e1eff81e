// SPDX-License-Identifier: BSD-2-Clause
/*
 * The client's cases: what a process may map of its channel, what it can do there, and how it ends.
 * They use the windows as the ABI has them, not the library: nothing here checks what is written.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <sivshmem.h>
#include <sivshmem/ring.h>

#include "cases.h"
#include "check.h"

struct windows {
	int fd;
	uint32_t tx_size, rx_size;
	struct siv_chan_page *theirs, *own; /* own: with DIRECT alone */
	uint8_t *rx, *tx;                   /* twice in a row */
	uint64_t tx_pos, rx_pos;
};

static uint32_t ring_size(int fd, int name)
{
	uint32_t size;
	socklen_t len = sizeof(size);

	CHECK(!getsockopt(fd, SOL_SIVSHMEM, name, &size, &len));
	return size;
}

static void set_direct(int fd, uint32_t bits)
{
	CHECK(!setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_DIRECT, &bits, sizeof(bits)));
}

static void *map(int fd, uint64_t window, size_t len, int prot)
{
	return mmap(NULL, len, prot, MAP_SHARED, fd, window);
}

static size_t ro_len(const struct windows *w) { return SIV_PAGE_SIZE + 2ul * w->rx_size; }
static size_t tx_len(const struct windows *w) { return 2ul * w->tx_size; }

/* Maps what a socket that sent @sent bytes shows. */
static struct windows open_windows(int fd, uint64_t sent, uint32_t direct)
{
	struct windows w = { .fd = fd, .tx_size = ring_size(fd, SIVSHMEM_TX_SIZE),
			     .rx_size = ring_size(fd, SIVSHMEM_RX_SIZE), .tx_pos = sent };

	w.theirs = map(fd, SIV_MMAP_RO, ro_len(&w), PROT_READ);
	CHECK((void *)w.theirs != MAP_FAILED);
	w.rx = (uint8_t *)w.theirs + SIV_PAGE_SIZE;
	w.tx = map(fd, SIV_MMAP_TX, tx_len(&w), PROT_READ | PROT_WRITE);
	CHECK(w.tx != MAP_FAILED);
	if (direct) {
		set_direct(fd, direct);
		w.own = map(fd, SIV_MMAP_CONTROL, SIV_PAGE_SIZE, PROT_READ | PROT_WRITE);
		CHECK((void *)w.own != MAP_FAILED);
	}
	return w;
}

static struct windows ordered_windows(uint32_t mode, uint64_t seed, uint64_t bytes, uint32_t direct)
{
	int fd = order(mode, seed, bytes);

	return open_windows(fd, sizeof(struct order), direct);
}

static uint64_t load(const __u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Waits for a position of the peer's, and gives the errno or 0. */
static int wait_for(const struct windows *w, uint32_t what, uint64_t pos)
{
	struct siv_wait want = { .data = pos, .space = pos, .deadline_ns = -1, .what = what };

	return ioctl(w->fd, SIV_IOC_WAIT, &want) ? errno : 0;
}

static uint64_t room(const struct windows *w)
{
	return w->tx_size - (w->tx_pos - load(&w->theirs->rx_pos));
}

static uint8_t *tx_at(const struct windows *w) { return w->tx + w->tx_pos % w->tx_size; }
static uint8_t *rx_at(const struct windows *w) { return w->rx + w->rx_pos % w->rx_size; }

static void refused_map(int fd, uint64_t window, size_t len, int prot, int flags, int err)
{
	void *at = mmap(NULL, len, prot, flags, fd, window);

	if (at != MAP_FAILED || errno != err)
		die("mmap(window %#llx, %zu bytes, prot %d, flags %#x): %s, should be %s",
		    (unsigned long long)window, len, prot, flags,
		    at == MAP_FAILED ? strerrorname_np(errno) : "mapped", strerrorname_np(err));
}

/* Only whole windows of this socket, each with its own rights, and no way to more. */
void case_map_rights(const char *arg)
{
	struct windows w = ordered_windows(MODE_ECHO, 1, 0, 0);
	const int rw = PROT_READ | PROT_WRITE, fd = w.fd;
	const size_t ro = ro_len(&w), tx = tx_len(&w);
	int fresh = new_socket(0);

	(void)arg;
	refused_map(fresh, SIV_MMAP_RO, ro, PROT_READ, MAP_SHARED, ENOTCONN);
	close(fresh);
	refused_map(fd, SIV_MMAP_RO, ro, rw, MAP_SHARED, EACCES);
	refused_map(fd, SIV_MMAP_RO, ro, PROT_READ | PROT_EXEC, MAP_SHARED, EACCES);
	refused_map(fd, SIV_MMAP_TX, tx, rw | PROT_EXEC, MAP_SHARED, EACCES);
	refused_map(fd, SIV_MMAP_RO, ro, PROT_READ, MAP_PRIVATE, EINVAL);
	refused_map(fd, SIV_MMAP_TX, tx, rw, MAP_PRIVATE, EINVAL);
	refused_map(fd, SIV_MMAP_RO, ro - SIV_PAGE_SIZE, PROT_READ, MAP_SHARED, EINVAL);
	refused_map(fd, SIV_MMAP_RO, ro + SIV_PAGE_SIZE, PROT_READ, MAP_SHARED, EINVAL);
	refused_map(fd, SIV_MMAP_TX, tx / 2, rw, MAP_SHARED, EINVAL);
	refused_map(fd, SIV_MMAP_TX, tx + SIV_PAGE_SIZE, rw, MAP_SHARED, EINVAL);
	refused_map(fd, SIV_MMAP_RO + SIV_PAGE_SIZE, ro - SIV_PAGE_SIZE, PROT_READ, MAP_SHARED,
		    EINVAL);
	refused_map(fd, SIV_MMAP_TX + SIV_PAGE_SIZE, tx, rw, MAP_SHARED, EINVAL);
	refused_map(fd, 3 * SIV_MMAP_TX, SIV_PAGE_SIZE, PROT_READ, MAP_SHARED, EINVAL);
	refused_map(fd, SIV_MMAP_CONTROL, SIV_PAGE_SIZE, rw, MAP_SHARED, EACCES);

	/* what was mapped gets no more rights, and is not taken apart */
	CHECK_ERRNO(mprotect(w.theirs, ro, rw), EACCES);
	CHECK_ERRNO(mprotect(w.theirs, ro, PROT_READ | PROT_EXEC), EACCES);
	CHECK_ERRNO(mprotect(w.tx, tx, rw | PROT_EXEC), EACCES);
	CHECK(mprotect(w.tx, SIV_PAGE_SIZE, PROT_READ) < 0);
	CHECK(munmap(w.tx, SIV_PAGE_SIZE) < 0);
	CHECK(munmap(w.tx + tx - SIV_PAGE_SIZE, SIV_PAGE_SIZE) < 0);
	CHECK(mremap(w.tx, tx, 2 * tx, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK(mremap(w.tx, tx, tx / 2, 0) == MAP_FAILED);
	CHECK(mremap(w.tx, 0, tx, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK_ERRNO(madvise(w.tx, tx, MADV_DOFORK), EINVAL);
	CHECK_ERRNO(madvise(w.tx, tx, MADV_DODUMP), EINVAL);

	/* moved whole it is the same window */
	w.tx[5] = 42;
	w.tx = mremap(w.tx, tx, tx, MREMAP_MAYMOVE | MREMAP_FIXED,
		      mmap(NULL, tx, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	CHECK(w.tx != MAP_FAILED && w.tx[5] == 42 && w.tx[5 + w.tx_size] == 42);
	w.tx[7 + w.tx_size] = 43;
	CHECK(w.tx[7] == 43);
	CHECK(!munmap(w.theirs, ro) && !munmap(w.tx, tx));
	close(fd);
}

/* A child has the socket, and maps for itself. */
void case_map_fork(const char *arg)
{
	struct windows w = ordered_windows(MODE_ECHO, 1, 0, 0), own;
	int status, pipes[2];
	pid_t pid;

	(void)arg;
	CHECK(!pipe(pipes));
	pid = fork();
	if (!pid) {
		if (write(pipes[1], w.tx, 1) >= 0 || errno != EFAULT)
			_exit(2);
		own = open_windows(w.fd, w.tx_pos, 0);
		_exit(own.tx[0] == *(uint8_t *)&(uint32_t){ MODE_ECHO } ? 0 : 3);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status)
		die("the child ended with %#x", status);
	close(w.fd);
}

/* All that can be read in place, at most @max. */
static size_t read_in_place(struct windows *w, struct stream *s, size_t max)
{
	uint64_t n = load(&w->theirs->tx_pos) - w->rx_pos;

	n = n < max ? n : max;
	stream_check(s, rx_at(w), n);
	return n;
}

/* Bytes written in place, and copied ones between them, are what the peer reads; and back. */
void case_map_in_place(const char *arg)
{
	const uint64_t total = (arg ? strtoull(arg, NULL, 0) : 8) << 20;
	struct windows w = ordered_windows(MODE_DUPLEX, 11, total, 0);
	struct stream *out = stream_new(11), *in = stream_new(12);
	uint64_t rnd = 5, to_send = total, to_read = total;
	uint8_t *copy = malloc(w.tx_size);
	size_t n;

	CHECK(copy);
	while (to_send || to_read) {
		n = room(&w);
		if (n > odd_size(&rnd, w.tx_size))
			n = odd_size(&rnd, n);
		n = n < to_send ? n : to_send;
		if (n) {
			uint8_t *from = rnd & 1 ? tx_at(&w) : copy;

			stream_fill(out, from, n);
			if (rnd & 2) {
				CHECK(send(w.fd, from, n, MSG_NOSIGNAL) == (ssize_t)n);
			} else { /* pieces that touch are one */
				struct iovec v[2] = { { from, n / 2 }, { from + n / 2, n - n / 2 } };

				CHECK(writev(w.fd, v, 2) == (ssize_t)n);
			}
			w.tx_pos += n;
			to_send -= n;
		}
		n = read_in_place(&w, in, odd_size(&rnd, w.rx_size));
		if (n) {
			CHECK(recv(w.fd, NULL, n, MSG_TRUNC) == (ssize_t)n);
			w.rx_pos += n;
			to_read -= n;
		} else if (!room(&w) || !to_send) {
			if (to_read)
				CHECK(!wait_for(&w, SIV_WAIT_DATA, w.rx_pos + 1));
		}
	}
	CHECK(!shutdown(w.fd, SHUT_WR));
	expect_eof(w.fd);
	free(copy);
	close(w.fd);
}

/* From elsewhere in the window nothing is sent; the position stays where it was. */
void case_map_elsewhere(const char *arg)
{
	struct windows w = ordered_windows(MODE_ECHO, 1, 0, 0);
	struct iovec v[2];
	char other[16] = "other", back[16];
	struct windows second;

	(void)arg;
	CHECK(!wait_for(&w, SIV_WAIT_SPACE, w.tx_pos)); /* all is free */
	CHECK_ERRNO(send(w.fd, tx_at(&w) + 1, 8, 0), EINVAL);
	CHECK_ERRNO(send(w.fd, tx_at(&w) - 1, 8, 0), EINVAL);
	CHECK_ERRNO(send(w.fd, tx_at(&w), w.tx_size + 1, 0), EINVAL);
	v[0] = (struct iovec){ tx_at(&w), 8 };
	v[1] = (struct iovec){ other, 8 };
	CHECK_ERRNO(writev(w.fd, v, 2), EINVAL);
	v[0] = (struct iovec){ other, 8 };
	v[1] = (struct iovec){ tx_at(&w) + 8, 8 };
	CHECK_ERRNO(writev(w.fd, v, 2), EINVAL);
	v[0] = (struct iovec){ tx_at(&w), 4 };
	v[1] = (struct iovec){ tx_at(&w) + 8, 4 };
	CHECK_ERRNO(writev(w.fd, v, 2), EINVAL);
	v[0] = (struct iovec){ tx_at(&w), 0 };
	CHECK_ERRNO(writev(w.fd, v, 2), EINVAL);

	/* a piece of it and what lies behind it in memory */
	CHECK_ERRNO(send(w.fd, w.tx + tx_len(&w) - 8, 16, 0), EINVAL);

	/* another socket's window is memory like any other, and so is what was received */
	second = ordered_windows(MODE_ECHO, 2, 0, 0);
	memcpy(second.tx + 100, "window", 7);
	CHECK(send(w.fd, second.tx + 100, 7, 0) == 7);
	read_all(w.fd, back, 7);
	CHECK(!memcmp(back, "window", 7));
	CHECK(send(w.fd, w.rx, 7, 0) == 7);
	read_all(w.fd, back, 7);
	CHECK(!memcmp(back, "window", 7));
	close(second.fd);
	close(w.fd);
}

static void publish(struct windows *w, __u64 *word, uint64_t pos, const __u64 *wake)
{
	uint64_t old = *word;

	__atomic_store_n(word, pos, __ATOMIC_RELEASE);
	atomic_thread_fence(memory_order_seq_cst); /* B */
	if (siv_ring_passed(old, pos, load(wake)))
		CHECK(!ioctl(w->fd, SIV_IOC_KICK));
}

/* A process moves both positions; ARG MiB each way. */
void case_map_direct(const char *arg)
{
	const uint64_t total = (arg ? strtoull(arg, NULL, 0) : 8) << 20;
	struct windows w = ordered_windows(MODE_DUPLEX, 21, total, SIV_DIRECT_TX | SIV_DIRECT_RX);
	struct stream *out = stream_new(21), *in = stream_new(22);
	uint64_t rnd = 9, to_send = total, to_read = total, half = total / 2;
	char c = 0;
	size_t n;

	CHECK(w.own->tx_pos == w.tx_pos && w.own->rx_pos == 0);
	CHECK_ERRNO(send(w.fd, &c, 1, MSG_NOSIGNAL), EBUSY);
	CHECK_ERRNO(send(w.fd, tx_at(&w), 1, MSG_NOSIGNAL), EBUSY);
	CHECK_ERRNO(recv(w.fd, &c, 1, MSG_DONTWAIT), EBUSY);
	while (to_send > half || to_read > half) {
		n = room(&w);
		n = n < to_send - half ? n : to_send - half;
		if (n)
			n = odd_size(&rnd, n);
		if (n) {
			stream_fill(out, tx_at(&w), n);
			w.tx_pos += n;
			to_send -= n;
			publish(&w, &w.own->tx_pos, w.tx_pos, &w.theirs->wake_data);
		}
		n = read_in_place(&w, in, to_read - half);
		if (n) {
			w.rx_pos += n;
			to_read -= n;
			publish(&w, &w.own->rx_pos, w.rx_pos, &w.theirs->wake_space);
		} else if (to_read > half && (!room(&w) || to_send == half)) {
			CHECK(!wait_for(&w, SIV_WAIT_DATA, w.rx_pos + 1));
		}
	}
	/* and the kernel goes on from there */
	set_direct(w.fd, 0);
	while (to_send || to_read) {
		uint8_t buf[4096];

		n = to_send < sizeof(buf) ? to_send : sizeof(buf);
		stream_fill(out, buf, n);
		write_all(w.fd, buf, n);
		to_send -= n;
		n = to_read < sizeof(buf) ? to_read : sizeof(buf);
		read_all(w.fd, buf, n);
		stream_check(in, buf, n);
		to_read -= n;
	}
	CHECK(!shutdown(w.fd, SHUT_WR));
	expect_eof(w.fd);
	close(w.fd);
}

/* Waits end: at the deadline, by a signal, by the peer's end, by the own shutdown. */
static void nothing(int sig) { (void)sig; }

void case_map_wait(const char *arg)
{
	struct windows w = ordered_windows(MODE_ECHO, 1, 0, SIV_DIRECT_TX | SIV_DIRECT_RX);
	struct siv_wait want = { .data = 1, .deadline_ns = 1, .what = SIV_WAIT_DATA };
	struct sigaction sa = { .sa_handler = nothing };
	struct timespec now;

	(void)arg;
	CHECK_ERRNO(ioctl(w.fd, SIV_IOC_WAIT, &want), ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &now);
	want.deadline_ns = now.tv_sec * 1000000000ll + now.tv_nsec + 20000000;
	CHECK_ERRNO(ioctl(w.fd, SIV_IOC_WAIT, &want), ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &now);
	CHECK(now.tv_sec * 1000000000ll + now.tv_nsec >= want.deadline_ns);
	want.what = 4;
	CHECK_ERRNO(ioctl(w.fd, SIV_IOC_WAIT, &want), EINVAL);
	want.what = 0;
	CHECK_ERRNO(ioctl(w.fd, SIV_IOC_WAIT, &want), EINVAL);
	want.what = SIV_WAIT_DATA;
	want.flags = 1;
	CHECK_ERRNO(ioctl(w.fd, SIV_IOC_WAIT, &want), EINVAL);
	CHECK_ERRNO(ioctl(w.fd, SIV_IOC_WAIT, NULL), EFAULT);
	sigaction(SIGALRM, &sa, NULL);
	ualarm(50000, 50000);
	CHECK(wait_for(&w, SIV_WAIT_DATA, 1) == EINTR);
	ualarm(0, 0);
	CHECK(!shutdown(w.fd, SHUT_WR)); /* the server closes at the end of file */
	CHECK(!wait_for(&w, SIV_WAIT_SPACE, w.tx_pos + 1));
	CHECK(!wait_for(&w, SIV_WAIT_DATA, 1));
	CHECK(load(&w.theirs->tx_pos) == 0 && w.theirs->state & SIV_STATE_SHUT_WR);
	close(w.fd);
}

/* Everything that is mapped reads as zeros, and can be touched: no signal comes. */
static void expect_zapped(const struct windows *w)
{
	size_t i;

	for (i = 0; i < ro_len(w); i += 8)
		CHECK(*(const uint64_t *)((const uint8_t *)w->theirs + i) == 0);
	for (i = 0; i < tx_len(w); i += 8)
		CHECK(*(const uint64_t *)(w->tx + i) == 0);
	if (w->own)
		for (i = 0; i < SIV_PAGE_SIZE; i += 8)
			CHECK(*(const uint64_t *)((const uint8_t *)w->own + i) == 0);
	memset(w->tx, 0x5a, tx_len(w)); /* private: it goes nowhere */
	CHECK(wait_for(w, SIV_WAIT_DATA, 1) == ECONNRESET);
	CHECK_ERRNO(ioctl(w->fd, SIV_IOC_KICK), ECONNRESET);
	CHECK(mmap(NULL, tx_len(w), PROT_READ, MAP_SHARED, w->fd, SIV_MMAP_TX) == MAP_FAILED &&
	      errno == ECONNRESET);
}

/* A process that breaks its own ring loses its channel, and nothing else happens. */
void case_map_violation(const char *arg)
{
	struct windows w = ordered_windows(MODE_ECHO, 1, 0, SIV_DIRECT_TX | SIV_DIRECT_RX);
	int n;

	(void)arg;
	memset(w.tx, 0xa5, tx_len(&w));
	__atomic_store_n(&w.own->tx_pos, w.tx_pos + 3ull * w.tx_size, __ATOMIC_RELEASE);
	CHECK(!ioctl(w.fd, SIOCOUTQ, &n)); /* the kernel looks */
	CHECK_ERRNO(recv(w.fd, &n, 1, MSG_DONTWAIT), ECONNRESET);
	expect_zapped(&w);
	close(w.fd);

	w = ordered_windows(MODE_ECHO, 1, 0, SIV_DIRECT_TX | SIV_DIRECT_RX);
	__atomic_store_n(&w.own->rx_pos, -1ull, __ATOMIC_RELEASE);
	CHECK(!ioctl(w.fd, SIOCINQ, &n));
	expect_zapped(&w);
	close(w.fd);
}

/* Random words over every page that may be written, and the peer's kernel only ends this channel. */
void case_map_scribble(const char *arg)
{
	unsigned int rounds = arg ? atoi(arg) : 20, i, k;
	uint64_t rnd = 88172645463325252ull;

	for (i = 0; i < rounds; i++) {
		struct windows w = ordered_windows(MODE_ECHO, 1, 0, SIV_DIRECT_TX | SIV_DIRECT_RX);
		uint64_t *own = (uint64_t *)w.own, *tx = (uint64_t *)w.tx;

		for (k = 0; k < 20000; k++) {
			odd_size(&rnd, 1);
			own[rnd % (SIV_PAGE_SIZE / 8)] = rnd & 64 ? rnd : rnd % 100000;
			tx[(rnd >> 20) % (tx_len(&w) / 8)] = rnd;
			own[(rnd & 7) * 8] = rnd >> 7; /* the words that mean something */
			if (!(k % 500))
				ioctl(w.fd, SIV_IOC_KICK);
			if (!(k % 4999)) {
				poll_now(w.fd, POLLIN | POLLOUT);
				ioctl(w.fd, SIOCINQ, &(int){ 0 });
			}
		}
		close(w.fd);
	}
}

/* Stays until the channel is reset from outside; then all is zapped. */
void case_map_reset(const char *arg)
{
	struct windows w = open_windows(order_to_echo(), sizeof(struct order) + 1,
					SIV_DIRECT_TX | SIV_DIRECT_RX);
	int err;

	w.rx_pos = 1;
	memset(w.tx + w.tx_pos, 0xa5, tx_len(&w) - w.tx_pos);
	puts("mapped");
	err = wait_for(&w, SIV_WAIT_DATA, w.rx_pos + 1);
	/* "both" sides are reset: the peer's end may be there to be looked at before our own is */
	while (!err && arg)
		err = wait_for(&w, SIV_WAIT_DATA, w.rx_pos + 1);
	CHECK(err == ECONNRESET);
	expect_zapped(&w);
	close(w.fd);
}

/* Records in place: the peer gives each back, and it is released with length 0. */
void case_map_records(const char *arg)
{
	unsigned int n = arg ? atoi(arg) : 500, i;
	uint64_t rnd = 3;
	struct windows w;
	int fd = siv_connect(url, SOCK_SEQPACKET);

	CHECK(fd >= 0);
	w = open_windows(fd, 0, 0);
	for (i = 0; i < n; i++) {
		size_t len = odd_size(&rnd, RECORD_MAX);
		uint8_t *at = w.tx + (w.tx_pos + SIV_RECORD_HEADER) % w.tx_size;
		const struct siv_record *back;

		if (room(&w) < siv_record_span(len))
			CHECK(!wait_for(&w, SIV_WAIT_SPACE,
					w.tx_pos + siv_record_span(len) - w.tx_size));
		memset(at, i, len);
		CHECK_ERRNO(send(fd, at + 8, len, 0), EINVAL);
		CHECK(send(fd, at, len, i & 1 ? MSG_EOR : 0) == (ssize_t)len);
		w.tx_pos += siv_record_span(len);
		CHECK(!wait_for(&w, SIV_WAIT_DATA, w.rx_pos + siv_record_span(len)));
		back = (const struct siv_record *)rx_at(&w);
		CHECK(back->len == len && back->flags == (i & 1 ? SIV_RECORD_EOR : 0));
		CHECK(rx_at(&w)[SIV_RECORD_HEADER] == (uint8_t)i &&
		      rx_at(&w)[SIV_RECORD_HEADER + len - 1] == (uint8_t)i);
		CHECK(recv(fd, NULL, 0, MSG_TRUNC) == (ssize_t)len);
		w.rx_pos += siv_record_span(len);
	}
	CHECK(!shutdown(fd, SHUT_WR));
	expect_eof(fd);
	close(fd);
}

static void expect_zeros(const uint8_t *at, size_t len, const char *what)
{
	for (size_t i = 0; i < len; i++) {
		if (at[i])
			die("%s: byte %zu is %#x: somebody else's", what, i, at[i]);
	}
}

/*
 * A new channel shows zeros but for what it carried itself. Then fills both rings with ARG, prints
 * "held PID FD NAME=ADDRESS..." of places in the heap and in both windows that have it, and holds on.
 */
void case_map_held(const char *arg)
{
	struct windows w = ordered_windows(MODE_ECHO, 0, 0, 0);
	const size_t len = strlen(arg), sent = sizeof(struct order), block = 4096 / len * len;
	char *heap = strdup(arg), *out = malloc(block), *back = malloc(block);

	CHECK(heap && out && back);
	expect_zeros(w.rx, w.rx_size, "the receive window");
	expect_zeros(w.tx + sent, w.tx_size - sent, "the transmit window");
	for (size_t i = 0; i < block; i++)
		out[i] = arg[i % len];
	for (size_t n = 0; n < w.tx_size || n < w.rx_size; n += block) {
		write_all(w.fd, out, block);
		read_all(w.fd, back, block);
		CHECK(!memcmp(back, out, block));
	}
	printf("held %d %d heap=%p receive=%p transmit=%p\n", getpid(), w.fd, heap,
	       memmem(w.rx, w.rx_size, arg, len), memmem(w.tx, w.tx_size, arg, len));
	fflush(stdout);
	pause();
}
