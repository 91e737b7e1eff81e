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

/*
 * ARG records there and back, and the end of both directions; prints "waiting", and after SIGUSR1 what
 * recv() gives of them, one by one.
 */
void case_records_held(const char *arg)
{
	int fd = siv_connect(url, SOCK_SEQPACKET), sig, records = atoi(arg);
	char buf[sizeof("record 0")];
	sigset_t set;
	ssize_t n;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	CHECK(fd >= 0);
	for (int i = 0; i < records; i++) {
		snprintf(buf, sizeof(buf), "record %d", i % 10);
		CHECK(send(fd, buf, 8, MSG_NOSIGNAL) == 8);
	}
	CHECK(!shutdown(fd, SHUT_WR));
	CHECK(poll_wait(fd, POLLRDHUP) & POLLRDHUP); /* all of them are there, then */
	puts("waiting");
	CHECK(!sigwait(&set, &sig));
	while ((n = recv(fd, buf, sizeof(buf), 0)) == 8)
		printf("recv: %.8s\n", buf);
	printf("recv: %s\n", n < 0 ? strerrorname_np(errno) : n ? "another length" : "the end");
	close(fd);
}

/* More records each way than one key is good for. */
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

	fd = order(MODE_REPLY, 0, 1);
	for (unsigned int i = 0; i < RECORDS; i++)
		CHECK(send(fd, "x", 1, 0) == 1);
	CHECK(!shutdown(fd, SHUT_WR));
	read_all(fd, buf, 1);
	expect_eof(fd);
	close(fd);
}
