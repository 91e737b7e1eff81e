// SPDX-License-Identifier: BSD-2-Clause
/* Streams over mapped channels. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem/map.h>

#include "mapped.h"
#include "ring.h"

enum {
	NEVER = -1,
	FLUSH_BYTES = RING_BYTES / 8, /* of a release: the peer is told, if it sleeps */
	PIECE_BYTES = RING_BYTES / 8, /* of a long message: one side reads while the other writes */
};

/* Memory of two processes: what each side writes alone, then its data. */
struct memory_side {
	_Alignas(SIV_PAGE_SIZE) struct siv_chan_page page;
	_Alignas(SIV_PAGE_SIZE) _Atomic uint32_t session;
	_Alignas(SIV_PAGE_SIZE) uint8_t data[RING_BYTES];
};

struct mapped_stream {
	struct stream stream; /* first */
	struct siv_tx *tx;
	struct siv_rx *rx;
	struct siv_map *map; /* NULL: plain memory, and then */
	struct siv_tx own_tx; /* what tx and rx point to, */
	struct siv_rx own_rx;
	struct memory_side *sides; /* the mapping, */
	void *data[2]; /* and each side's data, twice in a row */
};

/* Room for some of @len bytes, when there is none for all of them: as much as there is. */
static int reserve_some(struct siv_tx *tx, size_t *len, void **view)
{
	ssize_t room = siv_room(tx, *len);

	if (room < 0)
		return room;
	*len = room ? min_size(*len, room) : 1;
	return siv_reserve_wait(tx, *len, NEVER, view);
}

/*
 * A peer that looks sees each message at once. One that sleeps is told by the next recv() or flush(),
 * and each quarter of a ring.
 */
static int mapped_send(struct stream *stream, const void *buf, size_t len)
{
	struct mapped_stream *mapped = (struct mapped_stream *)stream;
	struct siv_tx *tx = mapped->tx;

	while (len) {
		size_t n = min_size(len, PIECE_BYTES);
		void *view, *some;
		int err = siv_reserve(tx, n, &view);

		if (err == -EAGAIN) {
			err = reserve_some(tx, &n, &some);
			view = some;
		}
		if (err)
			return err;
		memcpy(view, buf, n);
		err = siv_commit(tx, n, SIV_MORE);
		if (err)
			return err;
		buf = (const char *)buf + n;
		len -= n;
	}
	return 0;
}

static int mapped_flush(struct stream *stream)
{
	return siv_flush(((struct mapped_stream *)stream)->tx);
}

/* Who releases little has nearly caught up, and tells the peer when it finds nothing any more. */
static int take(struct siv_rx *rx, void *buf, const void *view, size_t len)
{
	memcpy(buf, view, len);
	return siv_release(rx, len, len >= FLUSH_BYTES ? 0 : SIV_MORE);
}

/*
 * As mapped_recv(), where the first look did not find @min bytes, or the stream ended. Inlined, the
 * look would save registers for it.
 */
static __attribute__((noinline)) ssize_t recv_slowly(struct siv_rx *rx, void *buf, size_t min,
						     size_t max)
{
	size_t done = 0;

	while (done < min) {
		const void *view;
		ssize_t n = siv_peek_wait(rx, 1, NEVER, &view);
		int err;

		if (n < 0)
			return n;
		if (!n)
			return done ? -ECONNRESET : 0;
		n = min_size(n, max - done);
		err = take(rx, (char *)buf + done, view, n);
		if (err)
			return err;
		done += n;
	}
	return done;
}

static ssize_t mapped_recv(struct stream *stream, void *buf, size_t min, size_t max)
{
	struct siv_rx *rx = ((struct mapped_stream *)stream)->rx;
	const void *view;
	ssize_t n = siv_peek_wait(rx, 1, NEVER, &view);

	if (n < (ssize_t)min)
		return recv_slowly(rx, buf, min, max);
	n = min_size(n, max);
	return take(rx, buf, view, n) ?: n;
}

static void mapped_close(struct stream *stream)
{
	struct mapped_stream *mapped = (struct mapped_stream *)stream;

	siv_unmap(mapped->map);
	for (int i = 0; i < 2; i++)
		if (mapped->data[i])
			munmap(mapped->data[i], 2 * RING_BYTES);
	if (mapped->sides)
		munmap(mapped->sides, 2 * sizeof(*mapped->sides));
	free(mapped);
}

static const struct stream_ops mapped_ops = {
	.send = mapped_send,
	.flush = mapped_flush,
	.recv = mapped_recv,
	.close = mapped_close,
};

static struct mapped_stream *mapped_new(int *err)
{
	struct mapped_stream *mapped = aligned_alloc(SIV_HALF_ALIGN, sizeof(*mapped));

	*err = mapped ? 0 : -ENOMEM;
	if (!mapped)
		return NULL;
	memset(mapped, 0, sizeof(*mapped));
	mapped->stream.ops = &mapped_ops;
	return mapped;
}

struct stream *mapped_stream(int fd, int *err)
{
	struct mapped_stream *mapped = mapped_new(err);

	if (!mapped)
		return NULL;
	*err = siv_map(fd, SIV_MAP_DIRECT_TX | SIV_MAP_DIRECT_RX, &mapped->map);
	if (*err) {
		free(mapped);
		return NULL;
	}
	mapped->tx = &mapped->map->tx;
	mapped->rx = &mapped->map->rx;
	siv_one_thread(mapped->tx, mapped->rx);
	return &mapped->stream;
}

/* Maps a side's data twice in a row, so that a view never splits. */
static void *map_twice(int fd, unsigned int side)
{
	off_t at = side * sizeof(struct memory_side) + offsetof(struct memory_side, data);
	uint8_t *data = mmap(NULL, 2 * RING_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED)
		return NULL;
	for (int i = 0; i < 2; i++) {
		if (mmap(data + i * RING_BYTES, RING_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, at) == MAP_FAILED) {
			munmap(data, 2 * RING_BYTES);
			return NULL;
		}
	}
	return data;
}

/* Maps @fd as @side, with its page as a kernel sets it up. */
static struct mapped_stream *mapped_memory(int fd, unsigned int side, int *err)
{
	struct mapped_stream *mapped = mapped_new(err);
	struct memory_side *sides;

	if (!mapped)
		return NULL;
	*err = -ENOMEM;
	sides = mmap(NULL, 2 * sizeof(*sides), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sides == MAP_FAILED)
		goto close;
	mapped->sides = sides;
	for (unsigned int i = 0; i < 2; i++) {
		mapped->data[i] = map_twice(fd, i);
		if (!mapped->data[i])
			goto close;
	}
	memset(&sides[side].page, 0, sizeof(sides[side].page));
	sides[side].page.state = SIV_STATE_ATTACHED;
	mapped->tx = &mapped->own_tx;
	mapped->rx = &mapped->own_rx;
	siv_tx_init(mapped->tx, SOCK_STREAM, &sides[side].page, &sides[!side].page,
		    mapped->data[side], RING_BYTES, 0);
	siv_rx_init(mapped->rx, SOCK_STREAM, &sides[side].page, &sides[!side].page,
		    mapped->data[!side], RING_BYTES, 0);
	siv_one_thread(mapped->tx, mapped->rx);
	*err = 0;
	return mapped;

close:
	mapped_close(&mapped->stream);
	return NULL;
}

struct stream *mapped_open(const char *path, unsigned int side, uint32_t session, int *err)
{
	struct mapped_stream *mapped;
	int fd;

	*err = -EINVAL;
	if (side > 1 || !session)
		return NULL;
	fd = open(path, O_RDWR | O_CLOEXEC);
	*err = -errno;
	if (fd < 0)
		return NULL;
	mapped = mapped_memory(fd, side, err);
	close(fd);
	if (!mapped)
		return NULL;
	*err = ring_meet(&mapped->sides[side].session, &mapped->sides[!side].session, session);
	if (!*err)
		return &mapped->stream;
	mapped_close(&mapped->stream);
	return NULL;
}

int mapped_pair(struct stream *sides[2])
{
	int fd = memfd_create("siv-bench", MFD_CLOEXEC), err = fd < 0 ? -errno : 0;
	struct mapped_stream *mapped[2] = { NULL, NULL };

	if (!err && ftruncate(fd, 2 * sizeof(struct memory_side)))
		err = -errno;
	for (int i = 0; !err && i < 2; i++)
		mapped[i] = mapped_memory(fd, i, &err);
	if (fd >= 0)
		close(fd);
	if (err && mapped[0])
		mapped_close(&mapped[0]->stream);
	for (int i = 0; !err && i < 2; i++)
		sides[i] = &mapped[i]->stream;
	return err;
}
