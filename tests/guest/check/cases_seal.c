// SPDX-License-Identifier: BSD-2-Clause
/* The client's cases: what is different on a sealed channel. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>
#include <sivshmem/ring.h>

#include "cases.h"
#include "check.h"

static uint32_t get_u32(int fd, int name)
{
	uint32_t value;
	socklen_t len = sizeof(value);

	CHECK(!getsockopt(fd, SOL_SIVSHMEM, name, &value, &len) && len == sizeof(value));
	return value;
}

static void refuse_map(int fd, uint64_t window, size_t len, int prot)
{
	void *p = mmap(NULL, len, prot, MAP_SHARED, fd, window);

	CHECK(p == MAP_FAILED && errno == EOPNOTSUPP);
}

/* It says so, its memory is nobody's, and it works. A record has a limit of its own. */
void case_sealed(const char *arg)
{
	static char record[SIV_SEAL_DATA + 1], back[SIV_SEAL_DATA + 1];
	uint32_t direct = SIV_DIRECT_TX;
	int fd = order(MODE_ECHO, 0, 0);
	char buf[6];

	(void)arg;
	CHECK(get_u32(fd, SIVSHMEM_SEALED) == 1);
	refuse_map(fd, SIV_MMAP_RO, SIV_PAGE_SIZE + 2ul * get_u32(fd, SIVSHMEM_RX_SIZE), PROT_READ);
	refuse_map(fd, SIV_MMAP_TX, 2ul * get_u32(fd, SIVSHMEM_TX_SIZE), PROT_READ | PROT_WRITE);
	refuse_map(fd, SIV_MMAP_CONTROL, SIV_PAGE_SIZE, PROT_READ | PROT_WRITE);
	CHECK_ERRNO(setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_DIRECT, &direct, sizeof(direct)), EOPNOTSUPP);
	write_all(fd, "sealed", 6);
	read_all(fd, buf, 6);
	CHECK(!memcmp(buf, "sealed", 6));
	close(fd);

	fd = siv_connect(url, SOCK_SEQPACKET);
	CHECK(fd >= 0 && get_u32(fd, SIVSHMEM_SEALED) == 1);
	CHECK_ERRNO(send(fd, record, sizeof(record), 0), EMSGSIZE);
	memset(record, 'r', sizeof(record));
	CHECK(send(fd, record, SIV_SEAL_DATA, 0) == SIV_SEAL_DATA);
	CHECK(recv(fd, back, sizeof(back), 0) == SIV_SEAL_DATA);
	CHECK(!memcmp(record, back, SIV_SEAL_DATA));
	close(fd);
}

static sigset_t block_usr1(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

/* What has come to its end stays there, and after an error there is no end of file. */
static void print_end(int fd, ssize_t n)
{
	char c;

	if (n < 0) {
		printf("recv: %s\n", strerrorname_np(errno));
		CHECK_ERRNO(recv(fd, &c, 1, 0), ECONNRESET);
	} else {
		CHECK(!n);
		expect_eof(fd);
		puts("recv: the end");
	}
}

/*
 * ARG records there and back, and the end of both directions; prints "waiting", and after SIGUSR1 what
 * recv() gives of them, one by one. "2e": the second is empty. "1o": nothing is ended, and one is there.
 * Of the latter it also prints whether poll() tells of an error. "1a": after SIGUSR1 again what it gives
 * behind the end.
 */
void case_records_held(const char *arg)
{
	int fd = siv_connect(url, SOCK_SEQPACKET), sig, records = atoi(arg);
	const bool open = strchr(arg, 'o'), empty = strchr(arg, 'e');
	int times = strchr(arg, 'a') ? 2 : 1;
	char buf[sizeof("record 0")];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1 };
	sigset_t set = block_usr1();
	short event = open ? POLLIN : POLLRDHUP; /* with the latter all of them are there */
	ssize_t n;

	CHECK(fd >= 0);
	for (int i = 0; i < records; i++) {
		size_t len = empty && i == records - 1 ? 0 : 8;

		snprintf(buf, sizeof(buf), "record %d", i % 10);
		CHECK(send(fd, buf, len, MSG_NOSIGNAL | MSG_EOR) == (ssize_t)len);
	}
	CHECK(open || !shutdown(fd, SHUT_WR));
	CHECK(poll_wait(fd, event) & event);
	puts("waiting");
	while (times--) {
		CHECK(!sigwait(&set, &sig));
		if (open)
			printf("poll: %s\n", poll_wait(fd, POLLIN) & POLLERR ? "an error" : "none");
		while ((n = recvmsg(fd, &msg, 0)) == 8 || (!n && msg.msg_flags & MSG_EOR))
			printf("recv: %.*s\n", n ? 8 : 5, n ? buf : "empty");
		print_end(fd, n);
	}
	close(fd);
}

/* ARG bytes of a stream and its end; prints "waiting", and after SIGUSR1 how many of them recv() gives. */
void case_stream_held(const char *arg)
{
	int fd = order(MODE_SOURCE, 5, atoi(arg)), sig;
	sigset_t set = block_usr1();
	size_t got = 0;
	char buf[4096];
	ssize_t n;

	CHECK(poll_wait(fd, POLLRDHUP) & POLLRDHUP);
	puts("waiting");
	CHECK(!sigwait(&set, &sig));
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		got += n;
	printf("recv: %zu bytes\n", got);
	print_end(fd, n);
	close(fd);
}

/* The end has room where no byte has: the peer reads a full ring, and it, and closes in order. */
void case_seal_full_end(const char *arg)
{
	const uint64_t seed = fresh_seed();
	char buf[2048];
	int fd = order(MODE_STALL, seed, sizeof(buf));

	(void)arg;
	stream_fill(stream_new(seed), buf, sizeof(buf));
	write_all(fd, buf, sizeof(buf));
	while (send(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	CHECK(errno == EAGAIN);
	CHECK(!shutdown(fd, SHUT_WR));
	close(order(MODE_GO, seed, 0));
	expect_eof(fd);
	close(fd);
}

/* As many @records, the order's counted, and the end. Not read yet: what the peer says when it has all. */
static int send_records(unsigned int records)
{
	int fd = order(MODE_REPLY, 0, 1);

	for (unsigned int i = 1; i < records; i++)
		CHECK(send(fd, "x", 1, 0) == 1);
	CHECK(!shutdown(fd, SHUT_WR));
	return fd;
}

static void end_after(unsigned int records)
{
	int fd = send_records(records);
	char c;

	read_all(fd, &c, 1);
	expect_eof(fd);
	close(fd);
}

/* As many records as one key is good for, one of the next, and the end; "waiting", until SIGUSR1. */
void case_seal_keys_held(const char *arg)
{
	int fd = send_records(SIV_SEAL_REKEY + 1), sig;
	sigset_t set = block_usr1();

	(void)arg;
	CHECK(poll_wait(fd, POLLRDHUP) & POLLRDHUP);
	puts("waiting");
	CHECK(!sigwait(&set, &sig));
	puts("recv: the end"); /* of what was held, as others say */
	close(fd);
}

/* More records than one key is good for, and ends on both sides of a change of keys. */
void case_seal_rekey(const char *arg)
{
	enum { RECORDS = 2 * SIV_SEAL_REKEY + 100 };
	int fd = order(MODE_DRIP, 0, 0);
	unsigned int got = 0;
	char buf[4096];
	ssize_t n;

	(void)arg;
	for (; got < RECORDS; got += n) {
		n = recv(fd, buf, sizeof(buf), 0);
		CHECK(n > 0);
	}
	close(fd);
	end_after(SIV_SEAL_REKEY - 1);
	end_after(SIV_SEAL_REKEY);
}
