// SPDX-License-Identifier: BSD-2-Clause
/*
 * A bare polled ring in shared memory.
 *
 * Positions are free-running byte counts. A side keeps a copy of the peer's position and looks at
 * the shared one only when the copy says full or empty, so a cache line moves between the CPUs once
 * for each batch and not for each message.
 *
 * Waiting is a plain spin. PAUSE would be kind to a sibling hyperthread, but an emulated CPU leaves
 * its loop on it, and the baseline is to be as fast as it can.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

enum {
	CACHE_LINE = 64,
	PATIENCE_S = 10,         /* how long the other side may be silent */
	SPINS_PER_CLOCK = 1 << 16, /* the clock is only read so often while waiting */
};

/* What one side alone writes. */
struct ring_side {
	_Alignas(CACHE_LINE) _Atomic uint64_t tx; /* bytes written to data */
	_Alignas(CACHE_LINE) _Atomic uint64_t rx; /* bytes read from the peer's data */
	_Alignas(CACHE_LINE) _Atomic uint32_t session;
	_Alignas(CACHE_LINE) uint8_t data[RING_BYTES];
};

struct ring {
	struct stream stream; /* first */
	struct ring_side *own, *peer;
	struct ring_side *sides; /* the mapping */
	uint64_t tx, rx;         /* our positions */
	uint64_t peer_tx, peer_rx; /* the peer's, as last seen */
};

/* Counts the rounds of a wait. False once it has lasted PATIENCE_S. */
struct patience {
	unsigned int spins;
	time_t until;
};

static bool wait_on(struct patience *patience)
{
	struct timespec now;

	if (++patience->spins % SPINS_PER_CLOCK)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!patience->until)
		patience->until = now.tv_sec + PATIENCE_S;
	return now.tv_sec < patience->until;
}

static int ring_send(struct stream *stream, const void *buf, size_t len)
{
	struct ring *ring = (struct ring *)stream;
	struct patience patience = { 0 };

	while (len) {
		size_t space = RING_BYTES - (ring->tx - ring->peer_rx);
		size_t at = ring->tx % RING_BYTES, n;

		if (!space) {
			/* A, pairs with B: what we write over has been read */
			ring->peer_rx = atomic_load_explicit(&ring->peer->rx, memory_order_acquire);
			if (ring->tx - ring->peer_rx == RING_BYTES && !wait_on(&patience))
				return -ETIMEDOUT;
			continue;
		}
		n = min_size(min_size(len, space), RING_BYTES - at);
		memcpy(ring->own->data + at, buf, n);
		ring->tx += n;
		/* C, pairs with D: the bytes are there before the position says so */
		atomic_store_explicit(&ring->own->tx, ring->tx, memory_order_release);
		buf = (const char *)buf + n;
		len -= n;
	}
	return 0;
}

static ssize_t ring_recv(struct stream *stream, void *buf, size_t min, size_t max)
{
	struct ring *ring = (struct ring *)stream;
	struct patience patience = { 0 };
	size_t done = 0;

	while (done < min) {
		size_t there = ring->peer_tx - ring->rx;
		size_t at = ring->rx % RING_BYTES, n;

		if (!there) {
			/* D, pairs with C */
			ring->peer_tx = atomic_load_explicit(&ring->peer->tx, memory_order_acquire);
			if (ring->peer_tx == ring->rx && !wait_on(&patience))
				return -ETIMEDOUT;
			continue;
		}
		n = min_size(min_size(max - done, there), RING_BYTES - at);
		memcpy((char *)buf + done, ring->peer->data + at, n);
		ring->rx += n;
		/* B, pairs with A */
		atomic_store_explicit(&ring->own->rx, ring->rx, memory_order_release);
		done += n;
	}
	return done;
}

static void ring_close(struct stream *stream)
{
	struct ring *ring = (struct ring *)stream;

	munmap(ring->sides, 2 * sizeof(*ring->sides));
	free(ring);
}

static const struct stream_ops ring_ops = {
	.send = ring_send,
	.recv = ring_recv,
	.close = ring_close,
};

int ring_meet(_Atomic uint32_t *own, const _Atomic uint32_t *peer, uint32_t session)
{
	struct patience patience = { 0 };

	atomic_store_explicit(own, session, memory_order_release);
	while (atomic_load_explicit(peer, memory_order_acquire) != session)
		if (!wait_on(&patience))
			return -ETIMEDOUT;
	return 0;
}

/* Our positions are 0 before the peer can see our session, and the peer's before we see its. */
static int ring_join(struct ring *ring, uint32_t session)
{
	atomic_store_explicit(&ring->own->tx, 0, memory_order_relaxed);
	atomic_store_explicit(&ring->own->rx, 0, memory_order_relaxed);
	return ring_meet(&ring->own->session, &ring->peer->session, session);
}

/* Maps @fd as @side; *@err is -errno where NULL is returned. */
static struct ring *ring_map(int fd, unsigned int side, int *err)
{
	struct ring *ring = calloc(1, sizeof(*ring));

	*err = -ENOMEM;
	if (!ring)
		return NULL;
	ring->stream.ops = &ring_ops;
	ring->sides = mmap(NULL, 2 * sizeof(*ring->sides), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			   0);
	*err = ring->sides == MAP_FAILED ? -errno : 0;
	if (*err) {
		free(ring);
		return NULL;
	}
	ring->own = &ring->sides[side];
	ring->peer = &ring->sides[!side];
	return ring;
}

struct stream *ring_open(const char *path, unsigned int side, uint32_t session, int *err)
{
	struct ring *ring;
	int fd;

	*err = -EINVAL;
	if (side > 1 || !session)
		return NULL;
	fd = open(path, O_RDWR | O_CLOEXEC);
	*err = -errno;
	if (fd < 0)
		return NULL;
	ring = ring_map(fd, side, err);
	close(fd);
	if (!ring)
		return NULL;
	*err = ring_join(ring, session);
	if (!*err)
		return &ring->stream;
	ring_close(&ring->stream);
	return NULL;
}

int ring_pair(struct stream *sides[2])
{
	int fd = memfd_create("siv-bench", MFD_CLOEXEC), err = fd < 0 ? -errno : 0;
	struct ring *rings[2] = { NULL, NULL };

	if (!err && ftruncate(fd, 2 * sizeof(struct ring_side)))
		err = -errno;
	for (int i = 0; !err && i < 2; i++)
		rings[i] = ring_map(fd, i, &err);
	if (fd >= 0)
		close(fd);
	if (err && rings[0])
		ring_close(&rings[0]->stream);
	for (int i = 0; !err && i < 2; i++)
		sides[i] = &rings[i]->stream;
	return err;
}
