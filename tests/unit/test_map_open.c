// SPDX-License-Identifier: BSD-2-Clause
/* siv_map(): what it refuses, with which error, and that all is then as it was. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <sivshmem/map.h>

enum { FD = 1000, SIZE = 4096 }; /* FD: a descriptor that the functions below know */

/* The kernel, and what it was asked. */
static struct {
	uint32_t tx_size, rx_size, direct;
	int type;
	uint64_t tx_pos, rx_pos;
	unsigned int fail_at; /* which call of those below fails, from 1; 0: none */
	int fail_errno;
	unsigned int calls, windows, closes;
} kernel;

static void connected(int type)
{
	memset(&kernel, 0, sizeof(kernel));
	kernel.tx_size = kernel.rx_size = SIZE;
	kernel.type = type;
}

static bool fails(void)
{
	errno = kernel.fail_errno;
	return ++kernel.calls == kernel.fail_at;
}

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t len);
int __real_close(int fd);

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	uint32_t answer = 0;

	if (fd != FD)
		return __real_getsockopt(fd, level, name, value, len);
	/* asked where the process has one CPU alone, and then nothing depends on it */
	if (level == SOL_SIVSHMEM && name == SIVSHMEM_PEER)
		return errno = ENOTCONN, -1;
	if (fails())
		return -1;
	if (level == SOL_SOCKET && name == SO_TYPE)
		answer = kernel.type;
	else if (level == SOL_SIVSHMEM && name == SIVSHMEM_DIRECT)
		answer = kernel.direct;
	else if (level == SOL_SIVSHMEM && name == SIVSHMEM_TX_SIZE)
		answer = kernel.tx_size;
	else if (level == SOL_SIVSHMEM && name == SIVSHMEM_RX_SIZE)
		answer = kernel.rx_size;
	else
		fail_msg("option %d of level %d", name, level);
	assert_int_equal(*len, sizeof(answer));
	memcpy(value, &answer, sizeof(answer));
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	assert_int_equal(fd, FD);
	assert_int_equal(level, SOL_SIVSHMEM);
	assert_int_equal(name, SIVSHMEM_DIRECT);
	assert_int_equal(len, sizeof(kernel.direct));
	if (fails())
		return -1;
	memcpy(&kernel.direct, value, len);
	return 0;
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	struct siv_chan_page *page;

	if (fd != FD)
		return __real_mmap(addr, len, prot, flags, fd, offset);
	assert_true(flags & MAP_SHARED);
	if (fails())
		return MAP_FAILED;
	page = __real_mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	kernel.windows++;
	if (offset == SIV_MMAP_CONTROL) {
		assert_int_equal(kernel.direct, SIV_DIRECT_TX | SIV_DIRECT_RX);
		page->tx_pos = kernel.tx_pos;
		page->rx_pos = kernel.rx_pos;
	}
	return page;
}

int __wrap_munmap(void *addr, size_t len)
{
	kernel.windows--;
	return __real_munmap(addr, len);
}

int __wrap_shutdown(int fd, int how)
{
	assert_int_equal(fd, FD);
	assert_int_equal(how, SHUT_RDWR);
	assert_true(kernel.windows >= 2); /* what is direct is looked at once more */
	return 0;
}

int __wrap_close(int fd)
{
	if (fd != FD)
		return __real_close(fd);
	kernel.closes++;
	return 0;
}

/* Nothing is mapped, nothing closed, and no direction is what it was not. */
static void refused(int fd, unsigned int flags, uint32_t direct, int err)
{
	struct siv_map *const untouched = (struct siv_map *)&kernel;
	struct siv_map *map = untouched;

	kernel.direct = direct;
	assert_int_equal(siv_map(fd, flags, &map), err);
	assert_ptr_equal(map, untouched);
	assert_int_equal(kernel.windows, 0);
	assert_int_equal(kernel.closes, 0);
	assert_int_equal(kernel.direct, direct);
}

static void flags_that_are_none_are_einval_before_anything_is_asked(void **state)
{
	static const unsigned int flags[] = { 4, 7, 1u << 31, ~0u, ~3u };

	(void)state;
	connected(SOCK_STREAM);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		refused(FD, flags[i], 0, -EINVAL);
	assert_int_equal(kernel.calls, 0);
}

static void what_is_no_socket_of_the_family_is_refused_as_getsockopt_says(void **state)
{
	int pair[2], pipes[2], tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t direct;
	socklen_t len = sizeof(direct);

	(void)state;
	connected(SOCK_STREAM);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe(pipes), 0);
	assert_true(tcp >= 0);
	refused(pair[0], 0, 0, -EOPNOTSUPP);
	/* the one or the other, by the kernel's version */
	assert_int_equal(getsockopt(tcp, SOL_SIVSHMEM, SIVSHMEM_DIRECT, &direct, &len), -1);
	assert_true(errno == ENOPROTOOPT || errno == EOPNOTSUPP);
	refused(tcp, SIV_MAP_DIRECT_TX, 0, -errno);
	refused(pipes[0], 0, 0, -ENOTSOCK);
	refused(-1, 0, 0, -EBADF);
	assert_int_equal(write(pair[1], "", 1), 1); /* still open */
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(pipes[i]);
	}
	close(tcp);
}

static void a_socket_without_rings_is_not_connected(void **state)
{
	(void)state;
	connected(SOCK_STREAM);
	kernel.tx_size = 0;
	refused(FD, 0, 0, -ENOTCONN);
	connected(SOCK_STREAM);
	kernel.rx_size = 0;
	refused(FD, SIV_MAP_DIRECT_TX | SIV_MAP_DIRECT_RX, 0, -ENOTCONN);
}

static void a_ring_that_is_no_power_of_two_of_pages_is_eproto(void **state)
{
	static const uint32_t sizes[] = { 1, 8, 2048, 4095, 4097, 3 * 4096, 0x80001000, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		connected(SOCK_STREAM);
		kernel.tx_size = sizes[i];
		refused(FD, 0, 0, -EPROTO);
		connected(SOCK_SEQPACKET);
		kernel.rx_size = sizes[i];
		refused(FD, 0, SIV_DIRECT_RX, -EPROTO);
	}
}

static void records_that_begin_askew_are_econnreset(void **state)
{
	(void)state;
	for (unsigned int off = 1; off < SIV_RECORD_HEADER; off++) {
		connected(SOCK_SEQPACKET);
		kernel.tx_pos = 64 + off;
		refused(FD, SIV_MAP_DIRECT_TX, 0, -ECONNRESET);
		connected(SOCK_SEQPACKET);
		kernel.rx_pos = 64 + off;
		refused(FD, 0, SIV_DIRECT_TX, -ECONNRESET);
	}
}

/* Whichever it is, and whatever it says. */
static void a_call_that_fails_leaves_all_as_it_was(void **state)
{
	static const int errors[] = { ENOTCONN, ECONNRESET, ENODEV, ENOPROTOOPT, ENOMEM, EAGAIN };
	struct siv_map *map;
	unsigned int calls;

	(void)state;
	for (unsigned int flags = 0; flags < 4; flags++) {
		connected(SOCK_STREAM);
		assert_int_equal(siv_map(FD, flags, &map), 0);
		calls = kernel.calls;
		assert_int_equal(kernel.direct, flags);
		assert_int_equal(kernel.windows, flags ? 3 : 2);
		siv_unmap(map);
		assert_int_equal(kernel.windows, 0);
		assert_int_equal(kernel.closes, 1);
		for (unsigned int i = 1; i <= calls; i++) {
			connected(SOCK_STREAM);
			kernel.fail_at = i;
			kernel.fail_errno = errors[i % (sizeof(errors) / sizeof(errors[0]))];
			refused(FD, flags, i % 4, -kernel.fail_errno);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_that_are_none_are_einval_before_anything_is_asked),
		cmocka_unit_test(what_is_no_socket_of_the_family_is_refused_as_getsockopt_says),
		cmocka_unit_test(a_socket_without_rings_is_not_connected),
		cmocka_unit_test(a_ring_that_is_no_power_of_two_of_pages_is_eproto),
		cmocka_unit_test(records_that_begin_askew_are_econnreset),
		cmocka_unit_test(a_call_that_fails_leaves_all_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
