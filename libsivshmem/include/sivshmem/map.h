/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mapped channels: a connected socket's rings, written and read in place.
 *
 *	siv_reserve(tx, len, &view)    room for len bytes; fill the view ...
 *	siv_commit(tx, len, flags)     ... and the peer has them
 *	siv_peek(rx, &view)            what the peer has sent; read it ...
 *	siv_release(rx, len, flags)    ... and the peer may write there again
 *
 * Nothing is copied, and where a direction is direct no system call is made unless the peer sleeps.
 *
 * What lies in a view can change at any time until it is released: the peer's VM can write it, and
 * the rules of a well-behaved peer bind nobody. Copy what decides anything, then validate the copy.
 * A view of a stream is contiguous, however it lies in the ring; one of records is one record.
 *
 * Lengths are bytes, ring sizes powers of two from 4 KiB to 64 MiB (SIVSHMEM_TX_SIZE, _RX_SIZE).
 * A deadline is absolute, in nanoseconds of CLOCK_MONOTONIC: negative is never, and one that has
 * passed (0 always has) means to look once and not to sleep.
 *
 * Threads: one at a time for the transmitting half, one for the receiving half, and these two need
 * no lock between them. siv_unmap() is for when neither is in use. Mappings are not inherited by
 * fork(): a child that touches a view gets SIGSEGV, and must not call anything here.
 *
 * Errors are returned negative, as everywhere in this library. When a channel ends (the peer's VM
 * died, access was revoked, the peer broke the ring's rules), no signal is raised: views show zeros
 * that nobody else sees, and calls return -ECONNRESET. siv_release() and siv_peek() say so before a
 * view that has turned to zeros can be taken for data: use what was copied only after siv_release()
 * has returned 0. siv_commit() may return 0 once more for bytes that nobody will read.
 *
 * The structs' members belong to the functions below.
 */
#ifndef _SIVSHMEM_MAP_H
#define _SIVSHMEM_MAP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <sivshmem/abi.h>
#include <sivshmem/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flags of siv_map(). */
enum {
	SIV_MAP_DIRECT_TX = SIV_DIRECT_TX,
	SIV_MAP_DIRECT_RX = SIV_DIRECT_RX,
};

/* Flags of siv_commit() and siv_release(). */
enum {
	SIV_MORE = 1 << 0, /* the peer need not be woken for this yet: see siv_flush() */
	SIV_EOR = 1 << 1,  /* of siv_commit(): marks the record as MSG_EOR does */
};

/*
 * How long a wait looks for itself before it sleeps, unless siv_set_spin() says otherwise. Each half
 * learns whether that pays, as the calls of a socket do (af_sivshmem(7)): after looking in vain n times
 * the next 2^(n-1) - 1 waits sleep at once, SIV_SPIN_MISSES bounds n, and finding something halves it.
 * A wait for data has SIV_LOOKS looks before that in any case, unless the time is 0.
 * How long sleeping took counts for nothing: waking up is in it, and where both sides sleep that of
 * both, so that neither would ever look again.
 * Who waits for more than 4 KiB has the time anew for each 4 KiB by which the peer comes nearer.
 */
#define SIV_SPIN_US     200u
#define SIV_SPIN_MISSES 6

#define SIV_LOOKS 512 /* at a position, between two at the clock: a microsecond or two */

struct siv_rx;

/* A wait's spinning. */
struct siv_spin {
	__u64 max_ns;
	__u8 misses; /* in a row, nearly */
	__u8 skip;   /* waits that sleep at once, before the next that looks */
};

/*
 * Threads of either half write on their own pair of cache lines: CPUs fetch lines in pairs.
 */
#define SIV_HALF_ALIGN 128
#ifdef __cplusplus
#define SIV_HALF_ALIGNED alignas(SIV_HALF_ALIGN)
#else
#define SIV_HALF_ALIGNED _Alignas(SIV_HALF_ALIGN)
#endif

/*
 * The transmitting half. Letters at barriers are those of the kernel's chan.h.
 *
 * The inline functions do all by themselves only where it is simplest: a direct stream, some bytes
 * and room that is known. One comparison finds that out: 0 < len <= fast - pos. For any other half
 * fast is always pos.
 */
struct siv_tx {
	SIV_HALF_ALIGNED __u64 pos; /* bytes committed */
	__u64 fast;  /* how far the inline functions may go: up to limit, and a share from told */
	__u64 mask;  /* the ring's size - 1 */
	__u8 *data;  /* the ring, twice in a row */
	struct siv_chan_page *own; /* NULL: not direct. Only written: the peer may write it, too */
	const struct siv_chan_page *theirs;
	__u64 told;  /* direct: up to here the wake word was looked at; else the kernel's pos */
	__u64 limit; /* how far pos may go, from the peer's position as it was last seen */
	/* not on the fast path */
	__u32 header;  /* SIV_RECORD_HEADER, or 0 for a stream */
	int fd;        /* -1: plain memory */
	int err;       /* what every call returns from now on */
	bool attached; /* the peer's page was seen set up */
	__u32 held_len, held_flags; /* a record that siv_commit() holds back, where not direct */
	struct siv_spin spin;
	struct siv_rx *with; /* the half that the same thread uses */
};

/* The receiving half. As above: 0 < len <= fast - pos. */
struct siv_rx {
	SIV_HALF_ALIGNED __u64 pos; /* bytes released */
	__u64 fast; /* how far the inline functions may go: seen, or pos */
	__u64 mask;
	const __u8 *data;
	struct siv_chan_page *own;
	const struct siv_chan_page *theirs;
	__u64 max;  /* bytes that they may find when they look: the ring's size, or 0 */
	__u64 seen; /* the peer's position as it was last seen */
	/* not on the fast path */
	__u64 told; /* direct: up to here the wake word was looked at; else the kernel's pos */
	__u32 header;
	int fd;
	__u64 span;          /* of the record that was peeked; 0: none */
	__u32 len, rec_flags; /* its header as it was read, once */
	int err;
	bool attached;
	bool over;           /* shut down on this side */
	struct siv_spin spin;
	struct siv_tx *with; /* the half that the same thread uses */
};

struct siv_map {
	struct siv_tx tx;
	struct siv_rx rx;
	int fd;
	void *ro, *tx_data, *control; /* windows; MAP_FAILED: none */
	size_t ro_len, tx_len;
};

/*
 * siv_map - map a connected socket's channel
 * @fd: a connected socket of the family, of either type. On success it belongs to the map; nobody
 *      else moves data through it (or a duplicate) any more. poll() of map->fd is allowed, and says
 *      what it says of any socket as long as that direction is not direct.
 * @flags: of SIV_MAP_DIRECT_TX and SIV_MAP_DIRECT_RX: that direction's positions are written by
 *         this process, and a commit or release is a store, with a system call only where the peer
 *         sleeps. Without it each is a system call, and the kernel has the positions.
 * @map: gets what siv_unmap() frees; unchanged on error
 *
 * What was sent and received through @fd before stays as it is: the views begin after it. All pages
 * are touched, so that later accesses do not fault; that takes about 1 us for each 4 KiB.
 *
 * Returns 0, or with everything as it was before
 *   -EINVAL       other flags; a 32-bit process
 *   -ENOTCONN     not connected yet
 *   -ECONNRESET   the channel has ended already
 *   -EOPNOTSUPP, -ENOPROTOOPT, -ENODEV   another family, or a module without mapped channels
 *   -EPROTO       module and library do not fit together
 *   -EBADF, -ENOTSOCK, -ENOMEM, -EAGAIN (locked memory), as of mmap(2).
 */
int siv_map(int fd, unsigned int flags, struct siv_map **map);

/*
 * siv_unmap - flush, shut down, unmap and close
 * @map: NULL is taken, and nothing happens
 *
 * As close() of any socket: the peer reads what was committed, then end of file; if something was
 * not released here, the peer gets ECONNRESET. Views become invalid.
 */
void siv_unmap(struct siv_map *map);

/*
 * siv_finish - no more commits: what was committed is flushed, and then the peer reads end of file
 *
 * For the transmitting thread. Later calls for @map->tx are -EPIPE. Returns 0, or -errno as
 * siv_flush() and shutdown(2) do.
 */
int siv_finish(struct siv_map *map);

/*
 * siv_set_spin - how long the waits of a half look before they sleep
 * @spin: &tx->spin or &rx->spin, by that half's thread
 * @us: microseconds, up to 1000000; 0 is: never
 *
 * By default SIV_SPIN_US, but 0 where the process may use one CPU alone and the peer is in this VM:
 * then it cannot do anything meanwhile. A peer in another VM has a CPU of its own.
 */
void siv_set_spin(struct siv_spin *spin, unsigned int us);

/*
 * siv_one_thread - both halves are used by one thread, or under one lock
 *
 * What SIV_MORE puts off in either half is then owed by both: a call of one half that finds nothing
 * to do flushes the other, too. A client that asks and waits for the answer commits its request with
 * SIV_MORE and calls siv_peek_wait(): if the answer comes at once, no barrier was needed, else the
 * request is flushed before anything else is waited for.
 */
static inline void siv_one_thread(struct siv_tx *tx, struct siv_rx *rx)
{
	tx->with = rx;
	rx->with = tx;
}

/*
 * siv_tx_init, siv_rx_init - a half over plain memory, for tests and benchmarks
 * @type: SOCK_STREAM or SOCK_SEQPACKET
 * @own, @theirs: two control pages, zeroed, with SIV_STATE_ATTACHED in both states
 * @data: the ring, twice in a row (mapped twice, or a view never longer than what is left)
 * @size: of the ring, a power of two
 * @pos: where positions begin; what both pages say
 *
 * There is no kernel behind it: both sides must poll. A wait spins until its deadline.
 */
void siv_tx_init(struct siv_tx *tx, int type, struct siv_chan_page *own,
		 const struct siv_chan_page *theirs, void *data, __u64 size, __u64 pos);
void siv_rx_init(struct siv_rx *rx, int type, struct siv_chan_page *own,
		 const struct siv_chan_page *theirs, const void *data, __u64 size, __u64 pos);

/* What the inline functions leave to map.c; not to be called. */
int siv_reserve_slow(struct siv_tx *tx, size_t len, void **view);
int siv_commit_slow(struct siv_tx *tx, size_t len, unsigned int flags);
int siv_flush_slow(struct siv_tx *tx);
ssize_t siv_peek_slow(struct siv_rx *rx, const void **view);
ssize_t siv_peek_wait_slow(struct siv_rx *rx, size_t min, __s64 deadline_ns, const void **view);
int siv_release_slow(struct siv_rx *rx, size_t len, unsigned int flags);
int siv_release_flush_slow(struct siv_rx *rx);
int siv_rx_is_reset(struct siv_rx *rx);
int siv_kick(int fd);

#define siv_likely(x)   __builtin_expect(!!(x), 1)
#define siv_unlikely(x) __builtin_expect(!!(x), 0)

/* Bytes of the ring that @len bytes take. */
static inline __u64 siv_tx_span(const struct siv_tx *tx, __u64 len)
{
	return tx->header ? siv_record_span(len) : len;
}

/* The longest that can ever be reserved at once: the ring, without its header for a record. */
static inline size_t siv_reserve_max(const struct siv_tx *tx)
{
	return tx->mask + 1 - tx->header;
}

/*
 * siv_reserve - room to write, if there is
 * @len: bytes
 * @view: gets where they go. Valid until the commit; filled in any order, and read back at one's
 *        own risk: the peer can write there.
 *
 * Reserving again before a commit gives the same place, and the longer or shorter @len counts.
 * Does not block and makes no system call (but to flush what was put off, when it finds no room).
 *
 * Returns 0, or
 *   -EAGAIN      no room for so much now
 *   -EMSGSIZE    longer than siv_reserve_max()
 *   -EPIPE       the peer does not read any more, or siv_finish() was called. It is noticed when
 *                the room that was known is used up, or at a commit that is not direct
 *   -ECONNRESET  the channel has ended
 */
static inline int siv_reserve(struct siv_tx *tx, size_t len, void **view)
{
	if (siv_unlikely(len - 1 >= tx->fast - tx->pos)) {
		void *slow = NULL; /* so that the caller's can be in a register */
		int err = siv_reserve_slow(tx, len, &slow);

		*view = slow;
		return err;
	}
	*view = tx->data + (tx->pos & tx->mask);
	return 0;
}

/*
 * siv_room - how much siv_reserve() would give
 * @want: looks at the peer's position only if less than this is known to be free
 *
 * Returns bytes, less than @want too, or -EPIPE or -ECONNRESET as siv_reserve().
 */
ssize_t siv_room(struct siv_tx *tx, size_t want);

/*
 * siv_reserve_wait - room to write, and wait for it
 * @deadline_ns: see above
 *
 * Flushes, spins (siv_set_spin()), then sleeps in the kernel. Returns what siv_reserve() returns,
 * but -ETIMEDOUT for -EAGAIN, and -EINTR when a signal handler without SA_RESTART ran meanwhile.
 */
int siv_reserve_wait(struct siv_tx *tx, size_t len, __s64 deadline_ns, void **view);

/* Looks at the peer's wake word, which it may owe for what was committed with SIV_MORE. Direct. */
static inline int siv_tell_tx(struct siv_tx *tx)
{
	__u64 old = tx->told, wake;

	tx->told = tx->pos;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* B, pairs with A in the kernel's chan_arm() */
	wake = __atomic_load_n(&tx->theirs->wake_data, __ATOMIC_RELAXED);
	if (siv_unlikely(siv_ring_passed(old, tx->told, wake)))
		return siv_kick(tx->fd);
	return 0;
}

/*
 * siv_flush - wakes the peer for what was committed with SIV_MORE
 *
 * A direct commit with SIV_MORE is there for a peer that looks, but wakes none that sleeps; where
 * the direction is not direct it may be not there yet at all, as one system call then serves all of
 * them. The flush is owed: by siv_flush(), a commit without SIV_MORE or with which more than a
 * quarter of the ring is put off, or a reserve that finds no room. A wait of the receiving half does
 * it after siv_one_thread() alone: it may be another thread.
 *
 * Returns 0, -EPIPE or -ECONNRESET.
 */
static inline int siv_flush(struct siv_tx *tx)
{
	if (tx->told == tx->pos)
		return 0;
	return tx->own ? siv_tell_tx(tx) : siv_flush_slow(tx);
}

/*
 * siv_commit - the first @len bytes of what was reserved are complete
 * @len: up to what was reserved. Of a stream, 0 does nothing; of records it is an empty one.
 * @flags: SIV_MORE, SIV_EOR
 *
 * Returns 0, -EINVAL for more than there is room for, -EPIPE, or -ECONNRESET.
 */
static inline int siv_commit(struct siv_tx *tx, size_t len, unsigned int flags)
{
	if (siv_unlikely(len - 1 >= tx->fast - tx->pos))
		return siv_commit_slow(tx, len, flags);
	tx->pos += len;
	__atomic_store_n(&tx->own->tx_pos, tx->pos, __ATOMIC_RELEASE); /* P: after the bytes */
	return flags & SIV_MORE ? 0 : siv_tell_tx(tx);
}

/*
 * siv_peek - what there is to read, if anything
 * @view: gets where it is, or NULL at the end of file
 *
 * Of a stream: all that was there when last looked for; it looks anew only when all that has been
 * released. Who needs more than it gave calls siv_peek_wait() for as much. Of records: the next
 * one, again and again until it is released; an empty one is 0 bytes with a @view that is not NULL.
 *
 * Does not block and makes no system call (but to flush what was put off, when there is nothing).
 *
 * Returns bytes, or
 *   0            with NULL in @view: end of file; the peer's last byte has been released
 *   -EAGAIN      nothing there now
 *   -ECONNRESET  the channel has ended, or the peer closed with our bytes unread
 */
static inline ssize_t siv_peek(struct siv_rx *rx, const void **view)
{
	const __u64 pos = rx->pos;
	__u64 tx, bytes = rx->fast - pos;

	if (!bytes) {
		tx = __atomic_load_n(&rx->theirs->tx_pos, __ATOMIC_ACQUIRE); /* P */
		if (!siv_ring_has(tx, pos, 1, rx->max)) {
			const void *slow = NULL; /* so that the caller's can be in a register */
			ssize_t n = siv_peek_slow(rx, &slow);

			*view = slow;
			return n;
		}
		rx->seen = rx->fast = tx;
		bytes = tx - pos;
	}
	*view = rx->data + (pos & rx->mask);
	return (ssize_t)bytes;
}

/*
 * Between two looks. Without it the CPU runs many loads ahead, and throws them all away when the
 * peer's store comes: a round trip of 0.16 us becomes 0.22. PAUSE does as well as this on a bare CPU,
 * but an emulated one leaves its loop on it.
 */
static inline void siv_look_again(void)
{
#ifdef __x86_64__
	__builtin_ia32_lfence();
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Nothing but looks at the peer's position @word, until siv_ring_has() is true of it. */
static inline bool siv_look_often(const __u64 *word, __u64 pos, __u64 min, __u64 size, __u64 *tx)
{
	for (int i = 0; i < SIV_LOOKS; i++) {
		siv_look_again();
		*tx = __atomic_load_n(word, __ATOMIC_ACQUIRE); /* P */
		if (siv_ring_has(*tx, pos, min, size))
			return true;
	}
	return false;
}

/*
 * siv_peek_wait - what there is to read, and wait for it
 * @min: bytes that are wanted, up to the ring's size; fewer are given at the end of file alone. Of
 *       records, 1 and 0 are the same: a record.
 * @deadline_ns: see above; 0 makes it a siv_peek() that looks anew when fewer than @min are known
 *
 * Looks for a microsecond or two, flushes releases, spins (siv_set_spin()), then sleeps in the kernel.
 * Returns what siv_peek() returns, but -ETIMEDOUT for -EAGAIN, -EINTR when a signal handler without
 * SA_RESTART ran meanwhile, and -EMSGSIZE for a @min that is longer than the ring.
 */
static inline ssize_t siv_peek_wait(struct siv_rx *rx, size_t min, __s64 deadline_ns,
				    const void **view)
{
	const __u64 pos = rx->pos;
	__u64 tx, bytes = rx->fast - pos;

	if (!bytes || bytes < min) {
		const __u64 *word = &rx->theirs->tx_pos;
		const __u64 max = rx->max;

		tx = __atomic_load_n(word, __ATOMIC_ACQUIRE); /* P */
		if (!siv_ring_has(tx, pos, min + !min, max) &&
		    !(deadline_ns && max && rx->spin.max_ns &&
		      siv_look_often(word, pos, min + !min, max, &tx))) {
			const void *slow = NULL; /* so that the caller's can be in a register */
			ssize_t n = siv_peek_wait_slow(rx, min, deadline_ns, &slow);

			*view = slow;
			return n;
		}
		rx->seen = rx->fast = tx;
		bytes = tx - pos;
	}
	*view = rx->data + (pos & rx->mask);
	return (ssize_t)bytes;
}

/* SIV_RECORD_* of the record that was peeked last: SIV_RECORD_EOR if it was sent with MSG_EOR. */
static inline unsigned int siv_record_flags(const struct siv_rx *rx)
{
	return rx->rec_flags & SIV_RECORD_EOR;
}

static inline int siv_tell_rx(struct siv_rx *rx)
{
	__u64 old = rx->told, wake;

	rx->told = rx->pos;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* B, pairs with A in the kernel's chan_arm() */
	wake = __atomic_load_n(&rx->theirs->wake_space, __ATOMIC_RELAXED);
	if (siv_unlikely(siv_ring_passed(old, rx->told, wake)))
		return siv_kick(rx->fd);
	return 0;
}

/*
 * siv_release_flush - wakes the peer for what was released with SIV_MORE
 *
 * As siv_flush(), and owed likewise: by siv_release_flush(), a release without SIV_MORE, or
 * siv_peek() or siv_peek_wait() that find nothing. Who will not call any of these for a while
 * flushes, or a peer that waits for room sleeps on.
 */
static inline int siv_release_flush(struct siv_rx *rx)
{
	if (rx->told == rx->pos)
		return 0;
	return rx->own ? siv_tell_rx(rx) : siv_release_flush_slow(rx);
}

/*
 * siv_release - the first @len bytes of what was peeked are not needed any more
 * @len: up to what was peeked. A record is released whole, and @len not looked at.
 * @flags: SIV_MORE
 *
 * Returns 0, -EINVAL for more than was peeked, or -ECONNRESET: then what was read from the view
 * may have been zeros.
 */
static inline int siv_release(struct siv_rx *rx, size_t len, unsigned int flags)
{
	/* The peer's page turns to zeros with the data: look at it after the caller has read. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (siv_unlikely(!__atomic_load_n(&rx->theirs->state, __ATOMIC_RELAXED)))
		return siv_rx_is_reset(rx);
	if (siv_unlikely(len - 1 >= rx->fast - rx->pos))
		return siv_release_slow(rx, len, flags);
	rx->pos += len;
	__atomic_store_n(&rx->own->rx_pos, rx->pos, __ATOMIC_RELEASE); /* P: after what was read */
	return flags & SIV_MORE ? 0 : siv_tell_rx(rx);
}

#ifdef __cplusplus
}
#endif

#endif
