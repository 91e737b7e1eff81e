// SPDX-License-Identifier: BSD-2-Clause
/* Mapped channels: a socket's windows, and what a half needs to know to begin. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>
#include <sivshmem/map.h>

#include "internal.h"

static int get_u32(int fd, int option, __u32 *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(fd, SOL_SIVSHMEM, option, value, &len) ? -errno : 0;
}

static int set_direct(int fd, __u32 value)
{
	return setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_DIRECT, &value, sizeof(value)) ? -errno : 0;
}

static int get_ring(int fd, int option, __u64 *size)
{
	__u32 bytes;
	int err = get_u32(fd, option, &bytes);

	if (err)
		return err;
	if (!bytes)
		return -ENOTCONN;
	*size = bytes;
	/* all of this side's bounds hang on it */
	return bytes & (bytes - 1) || bytes < SIV_PAGE_SIZE ? -EPROTO : 0;
}

/* So that later accesses find every page there. */
static void touch(const void *window, size_t len)
{
	for (size_t at = 0; at < len; at += SIV_PAGE_SIZE)
		(void)*((const volatile __u8 *)window + at);
}

static int map_window(int fd, __u64 offset, size_t len, int prot, void **window)
{
	*window = mmap(NULL, len, prot, MAP_SHARED, fd, offset);
	if (*window == MAP_FAILED)
		return -errno;
	touch(*window, len);
	return 0;
}

static void unmap_window(void **window, size_t len)
{
	if (*window != MAP_FAILED)
		munmap(*window, len);
	*window = MAP_FAILED;
}

/* Does the peer need the CPU that we would spin on? */
static bool spinning_is_vain(int fd)
{
	struct sockaddr_sivshmem own;
	socklen_t len = sizeof(own);
	struct siv_peer peer;
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) || CPU_COUNT(&cpus) > 1)
		return false;
	/* a socket with an alias says something else, and is taken for one to another VM */
	return !siv_peer(fd, &peer) && !getsockname(fd, (struct sockaddr *)&own, &len) &&
	       len == sizeof(own) && own.ssiv_family == peer.addr.ssiv_family &&
	       !strncmp(own.ssiv_vm, peer.addr.ssiv_vm, sizeof(own.ssiv_vm));
}

/*
 * The kernel says in the own control page where this side is, and shows that page while a direction
 * is direct. If the peer has written there, this side is out of step with its kernel, which refuses
 * what comes of it; only where a view begins is decided by it, and never that it ends in the window.
 */
static int read_positions(struct siv_map *map, __u64 *tx_pos, __u64 *rx_pos)
{
	const struct siv_chan_page *own;
	int err = set_direct(map->fd, SIV_DIRECT_TX | SIV_DIRECT_RX);

	if (!err)
		err = map_window(map->fd, SIV_MMAP_CONTROL, SIV_PAGE_SIZE, PROT_READ | PROT_WRITE,
				 &map->control);
	if (err)
		return err;
	own = map->control;
	*tx_pos = __atomic_load_n(&own->tx_pos, __ATOMIC_RELAXED);
	*rx_pos = __atomic_load_n(&own->rx_pos, __ATOMIC_RELAXED);
	return 0;
}

static int map_halves(struct siv_map *map, unsigned int flags, int type)
{
	struct siv_chan_page *own;
	__u64 tx_size, rx_size, tx_pos, rx_pos;
	int err = get_ring(map->fd, SIVSHMEM_TX_SIZE, &tx_size);

	if (!err)
		err = get_ring(map->fd, SIVSHMEM_RX_SIZE, &rx_size);
	if (err)
		return err;
	map->ro_len = SIV_PAGE_SIZE + 2 * rx_size;
	map->tx_len = 2 * tx_size;
	err = map_window(map->fd, SIV_MMAP_RO, map->ro_len, PROT_READ, &map->ro);
	if (!err)
		err = map_window(map->fd, SIV_MMAP_TX, map->tx_len, PROT_READ | PROT_WRITE,
				 &map->tx_data);
	if (!err)
		err = read_positions(map, &tx_pos, &rx_pos);
	if (!err && type == SOCK_SEQPACKET && (tx_pos | rx_pos) % SIV_RECORD_HEADER)
		err = -ECONNRESET;
	if (err)
		return err;
	if (!flags)
		unmap_window(&map->control, SIV_PAGE_SIZE);
	own = map->control;
	siv_tx_init(&map->tx, type, flags & SIV_MAP_DIRECT_TX ? own : NULL, map->ro, map->tx_data,
		    tx_size, tx_pos);
	siv_rx_init(&map->rx, type, flags & SIV_MAP_DIRECT_RX ? own : NULL, map->ro,
		    (const __u8 *)map->ro + SIV_PAGE_SIZE, rx_size, rx_pos);
	map->tx.fd = map->rx.fd = map->fd;
	if (spinning_is_vain(map->fd)) {
		siv_set_spin(&map->tx.spin, 0);
		siv_set_spin(&map->rx.spin, 0);
	}
	return set_direct(map->fd, flags);
}

static void unmap_windows(struct siv_map *map)
{
	unmap_window(&map->ro, map->ro_len);
	unmap_window(&map->tx_data, map->tx_len);
	unmap_window(&map->control, SIV_PAGE_SIZE);
}

SIV_PUBLIC int siv_map(int fd, unsigned int flags, struct siv_map **out)
{
	socklen_t len = sizeof(int);
	struct siv_map *map;
	__u32 direct;
	int err, type;

	if (flags & ~(SIV_MAP_DIRECT_TX | SIV_MAP_DIRECT_RX))
		return -EINVAL;
	err = get_u32(fd, SIVSHMEM_DIRECT, &direct);
	if (!err && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		err = -errno;
	if (err)
		return err;
	map = aligned_alloc(SIV_HALF_ALIGN, sizeof(*map));
	if (!map)
		return -ENOMEM;
	memset(map, 0, sizeof(*map));
	map->fd = fd;
	map->ro = map->tx_data = map->control = MAP_FAILED;
	err = map_halves(map, flags, type);
	if (err) {
		unmap_windows(map);
		set_direct(fd, direct);
		free(map);
		return err;
	}
	*out = map;
	return 0;
}

SIV_PUBLIC int siv_finish(struct siv_map *map)
{
	int err = siv_flush(&map->tx);

	if (!err && shutdown(map->fd, SHUT_WR))
		err = -errno;
	siv_tx_end(&map->tx, -EPIPE);
	return err;
}

SIV_PUBLIC void siv_unmap(struct siv_map *map)
{
	if (!map)
		return;
	siv_release_flush(&map->rx);
	siv_flush(&map->tx);
	/* while the windows are there: what is direct is looked at once more */
	shutdown(map->fd, SHUT_RDWR);
	unmap_windows(map);
	close(map->fd);
	free(map);
}
