// SPDX-License-Identifier: BSD-2-Clause
/*
 * Mapped channels: the ways on which a call is made, something is waited for or something is wrong.
 * Setting up and taking down is in map_open.c.
 *
 * The peer may write every shared word at any time. Each is read once into a local and checked with
 * ring.h against what this side keeps for itself; the own control page is never read back.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <sivshmem/map.h>

#include "internal.h"

enum {
	SPIN_WORTH = 4096,     /* bytes that are worth a new SIV_SPIN_US, for who waits for more */
	/* At most this share of a ring is put off: the other works meanwhile. */
	PUT_OFF_SHARE = 4,
};

static __u64 load(const __u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE); /* P */
}

/* Read before a position: SHUT_WR is published after the last one. */
static __u32 load_state(const struct siv_chan_page *theirs)
{
	__u32 state = __atomic_load_n(&theirs->state, __ATOMIC_ACQUIRE); /* S */

	return state & SIV_STATE_ABORTED ? state | SIV_STATE_SHUT_WR | SIV_STATE_SHUT_RD : state;
}

static __s64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

SIV_PUBLIC int siv_kick(int fd)
{
	/* nobody is there to be told any more: whoever calls next finds out */
	return ioctl(fd, SIV_IOC_KICK) && errno == ECONNRESET ? -ECONNRESET : 0;
}

/* Waiting -------------------------------------------------------------------------------------- */

struct wait {
	const __u64 *word;   /* the peer's position */
	__u64 want;
	__u64 last;          /* where it was when spinning began, or began anew */
	const __u32 *state;
	__u32 over;          /* bits of it that end the wait */
	bool attached;       /* 0 in it does, too: a peer that has not come yet is waited for */
	struct siv_wait how; /* for the kernel */
	struct siv_spin *spin;
	int fd;
};

/*
 * True: there is something to look at. What is there, the caller checks. @pos: gets the position,
 * of which nothing is known.
 */
static bool look_often(const struct wait *w, __u64 *pos)
{
	__u32 state;

	for (int i = 0; i < SIV_LOOKS; i++) {
		*pos = load(w->word);
		if (siv_ring_reached(*pos, w->want))
			return true;
		siv_look_again();
	}
	state = __atomic_load_n(w->state, __ATOMIC_RELAXED);
	return state ? state & (w->over | SIV_STATE_ABORTED) : w->attached;
}

/* Is this wait one of those that look? */
static bool spin_due(struct siv_spin *spin)
{
	if (spin->skip) {
		spin->skip--;
		return false;
	}
	return spin->max_ns;
}

static void spin_learn(struct siv_spin *spin, bool found)
{
	if (found) {
		spin->misses /= 2;
		return;
	}
	if (spin->misses < SIV_SPIN_MISSES)
		spin->misses++;
	spin->skip = (1 << (spin->misses - 1)) - 1;
}

/*
 * Has the peer come on far enough since @w->last for spinning to go on? Its position is not to be
 * trusted, but it gains no more by lying here than by working slowly: a claim counts once, and
 * after (want - last) / SPIN_WORTH of them the wait ends.
 */
static bool comes_on(struct wait *w, __u64 pos)
{
	if (!siv_ring_reached(pos, w->last + SPIN_WORTH))
		return false;
	w->last = pos;
	return true;
}

/* 0: look again. -ETIMEDOUT: the deadline is over. 1: nothing came while this wait looked. */
static int spin(struct wait *w)
{
	const __s64 deadline = w->how.deadline_ns;
	/* without a kernel there is no sleep */
	const __s64 ns = w->fd < 0 ? INT64_MAX : spin_due(w->spin) ? w->spin->max_ns : 0;
	__s64 start = 0, now;
	__u64 pos = w->last;

	do {
		if (ns && look_often(w, &pos)) {
			spin_learn(w->spin, true);
			return 0;
		}
		now = now_ns();
		if (deadline >= 0 && now >= deadline)
			return -ETIMEDOUT;
		if (!start || comes_on(w, pos))
			start = now;
	} while (now - start < ns);
	if (ns)
		spin_learn(w->spin, false);
	return 1;
}

/* 0: look again. 1: the kernel says that there is something. -ETIMEDOUT, -EINTR, -ECONNRESET. */
static int wait_for(struct wait *w)
{
	int err = w->how.deadline_ns ? spin(w) : -ETIMEDOUT;

	if (err != 1)
		return err;
	return ioctl(w->fd, SIV_IOC_WAIT, &w->how) ? -errno : 1;
}

/*
 * The peer's page is zero. It is so before its kernel has set it up, too, as long as ours says that
 * the channel lives: @look is a wait without sleeping.
 */
static bool is_reset(int fd, bool attached, const struct siv_wait *look)
{
	return attached || (fd >= 0 && ioctl(fd, SIV_IOC_WAIT, look) && errno == ECONNRESET);
}

/* Transmitting --------------------------------------------------------------------------------- */

/* From now on, whatever the peer writes. */
static int tx_fail(struct siv_tx *tx, int err)
{
	tx->err = err;
	tx->fast = tx->limit = tx->told = tx->pos;
	return err;
}

static __u64 put_off_max(__u64 mask)
{
	return (mask + 1) / PUT_OFF_SHARE;
}

/* After each change of pos, limit or told that the inline functions did not make. */
static void tx_set_fast(struct siv_tx *tx)
{
	const __u64 room = tx->limit - tx->pos;
	const __u64 more = tx->told + put_off_max(tx->mask) - tx->pos; /* that may be put off */

	tx->fast = tx->pos;
	if (tx->own && !tx->header)
		tx->fast += room < more ? room : more;
}

void siv_tx_end(struct siv_tx *tx, int err)
{
	if (!tx->err)
		tx_fail(tx, err);
}

/* The peer broke the rules: the kernel looks for itself, and resets the channel. */
static int tx_violation(struct siv_tx *tx)
{
	int bytes;

	if (tx->fd >= 0)
		ioctl(tx->fd, SIOCOUTQ, &bytes);
	return tx_fail(tx, -ECONNRESET);
}

/* Looks at the peer's position. 0, or an error that stays. */
static int tx_look(struct siv_tx *tx)
{
	const __u64 size = tx->mask + 1, seen = tx->limit - size;
	const struct siv_wait alive = { .space = seen + 1, .what = SIV_WAIT_SPACE };
	__u64 rx, bytes;
	__u32 state;

	state = load_state(tx->theirs);
	rx = load(&tx->theirs->rx_pos);
	if (!state && is_reset(tx->fd, tx->attached, &alive))
		return tx_fail(tx, -ECONNRESET);
	if (!siv_ring_writable(rx, seen, tx->pos, size, &bytes))
		return tx_violation(tx);
	tx->limit = rx + size;
	tx_set_fast(tx);
	tx->attached |= !!state;
	if (state & SIV_STATE_ABORTED)
		return tx_fail(tx, -ECONNRESET);
	if (state & SIV_STATE_SHUT_RD)
		return tx_fail(tx, -EPIPE);
	return 0;
}

/* Who finds no room may wait for the peer, here or elsewhere: nothing is put off any more. */
static int tx_idle(struct siv_tx *tx)
{
	if (tx->with && !tx->with->err)
		siv_release_flush(tx->with); /* its error is told to who uses that half */
	return siv_flush(tx) ?: -EAGAIN;
}

/* 0, -EAGAIN, or an error that stays. */
static int tx_room(struct siv_tx *tx, __u64 span)
{
	int err;

	if (span <= tx->limit - tx->pos)
		return 0;
	err = tx_look(tx);
	if (err || span <= tx->limit - tx->pos)
		return err;
	return tx_idle(tx);
}

SIV_PUBLIC int siv_reserve_slow(struct siv_tx *tx, size_t len, void **view)
{
	int err;

	if (tx->err)
		return tx->err;
	if (len > siv_reserve_max(tx))
		return -EMSGSIZE;
	err = tx_room(tx, siv_tx_span(tx, len));
	if (!err)
		*view = tx->data + (tx->pos & tx->mask) + tx->header;
	return err;
}

SIV_PUBLIC ssize_t siv_room(struct siv_tx *tx, size_t want)
{
	const size_t max = siv_reserve_max(tx);
	__u64 room;
	int err = tx->err ?: tx_room(tx, siv_tx_span(tx, want < max ? want : max));

	if (err && err != -EAGAIN)
		return err;
	/* a record's data is padded: of what is free, whole headers count */
	room = tx->limit - tx->pos;
	return room < tx->header ? 0 : room - tx->header;
}

SIV_PUBLIC int siv_reserve_wait(struct siv_tx *tx, size_t len, __s64 deadline_ns, void **view)
{
	struct wait w = {
		.word = &tx->theirs->rx_pos,
		.state = &tx->theirs->state,
		.over = SIV_STATE_SHUT_RD,
		.how = { .deadline_ns = deadline_ns, .what = SIV_WAIT_SPACE },
		.spin = &tx->spin,
		.fd = tx->fd,
	};
	int err, woken = 0;

	for (;;) {
		err = siv_reserve(tx, len, view);
		if (err != -EAGAIN)
			return err;
		/* the kernel saw an end where none is to be seen: it is this side's */
		if (woken)
			return tx_fail(tx, -EPIPE);
		w.attached = tx->attached;
		w.want = w.how.space = tx->pos + siv_tx_span(tx, len) - (tx->mask + 1);
		w.last = tx->limit - (tx->mask + 1);
		woken = wait_for(&w);
		if (woken < 0)
			return woken == -ECONNRESET ? tx_fail(tx, woken) : woken;
	}
}

/* All of [told, end), or the one record there, from where it lies. */
static int tx_send(struct siv_tx *tx, __u64 at, size_t len, int flags)
{
	const __u8 *view = tx->data + (at & tx->mask);
	ssize_t n;

	do {
		n = send(tx->fd, view, len, flags | MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EINTR)
			return tx_fail(tx, -errno);
		if (n > 0) {
			view += n;
			len -= n;
		}
	} while (n < 0 || len);
	return 0;
}

static int tx_send_held(struct siv_tx *tx, int flags)
{
	int err = tx_send(tx, tx->told + tx->header, tx->held_len,
			  flags | (tx->held_flags & SIV_EOR ? MSG_EOR : 0));

	if (!err)
		tx->told += siv_record_span(tx->held_len);
	return err;
}

SIV_PUBLIC int siv_flush_slow(struct siv_tx *tx)
{
	int err;

	if (tx->header)
		return tx_send_held(tx, 0);
	err = tx_send(tx, tx->told, tx->pos - tx->told, 0);
	if (!err)
		tx->told = tx->pos;
	return err;
}

static void put_record(struct siv_tx *tx, __u32 len, unsigned int flags)
{
	struct siv_record record = { .len = len, .flags = flags & SIV_EOR ? SIV_RECORD_EOR : 0 };

	memcpy(tx->data + (tx->pos & tx->mask), &record, sizeof(record));
}

static void tx_publish(struct siv_tx *tx, __u32 len, unsigned int flags)
{
	if (tx->header)
		put_record(tx, len, flags);
	tx->pos += siv_tx_span(tx, len);
	__atomic_store_n(&tx->own->tx_pos, tx->pos, __ATOMIC_RELEASE); /* P */
}

/* Sends the record that is held, and holds this one, so that a flush has something to send. */
static int tx_hold(struct siv_tx *tx, __u32 len, unsigned int flags)
{
	int err = tx->told == tx->pos ? 0 : tx_send_held(tx, MSG_MORE);

	if (err)
		return err;
	tx->held_len = len;
	tx->held_flags = flags;
	return 0;
}

/* What the inline function leaves: records, positions that the kernel has, and all that is rare. */
SIV_PUBLIC int siv_commit_slow(struct siv_tx *tx, size_t len, unsigned int flags)
{
	int err = 0;

	if (tx->err)
		return tx->err;
	if (len > siv_reserve_max(tx) || siv_tx_span(tx, len) > tx->limit - tx->pos)
		return -EINVAL;
	if (tx->own) {
		tx_publish(tx, len, flags);
	} else {
		if (tx->header)
			err = tx_hold(tx, len, flags);
		if (err)
			return err;
		tx->pos += siv_tx_span(tx, len);
	}
	if (!(flags & SIV_MORE) || tx->pos - tx->told > put_off_max(tx->mask))
		err = siv_flush(tx);
	if (!tx->err)
		tx_set_fast(tx);
	return err;
}

/* Receiving ------------------------------------------------------------------------------------ */

static int rx_fail(struct siv_rx *rx, int err)
{
	rx->err = err;
	rx->max = 0;
	rx->fast = rx->seen = rx->told = rx->pos;
	return err;
}

static int rx_violation(struct siv_rx *rx)
{
	int bytes;

	if (rx->fd >= 0)
		ioctl(rx->fd, SIOCINQ, &bytes);
	return rx_fail(rx, -ECONNRESET);
}

SIV_PUBLIC int siv_rx_is_reset(struct siv_rx *rx)
{
	return rx->err ?: rx_fail(rx, -ECONNRESET);
}

static void rx_set_seen(struct siv_rx *rx, __u64 seen)
{
	rx->seen = seen;
	rx->fast = rx->max ? seen : rx->pos;
}

/* Looks at the peer's position, and state. 0, or an error that stays. */
static int rx_look(struct siv_rx *rx, __u32 *state)
{
	const struct siv_wait alive = { .data = rx->pos + 1, .what = SIV_WAIT_DATA };
	__u64 tx, bytes;

	*state = load_state(rx->theirs);
	tx = load(&rx->theirs->tx_pos);
	if (!*state && is_reset(rx->fd, rx->attached, &alive))
		return rx_fail(rx, -ECONNRESET);
	if (!siv_ring_readable(tx, rx->seen, rx->pos, rx->mask + 1, &bytes))
		return rx_violation(rx);
	rx_set_seen(rx, tx);
	rx->attached |= !!*state;
	return 0;
}

/* The record at the read position, of which something is there. Its header is read once. */
static int rx_record(struct siv_rx *rx)
{
	const __u64 bytes = rx->seen - rx->pos;
	union {
		__u64 word;
		struct siv_record record;
	} header;

	/* what is less than a header is in the window all the same, and impossible */
	header.word = __atomic_load_n((const __u64 *)(rx->data + (rx->pos & rx->mask)),
				      __ATOMIC_RELAXED);
	if (!siv_record_possible(header.record.len, bytes))
		return rx_violation(rx);
	rx->len = header.record.len;
	rx->rec_flags = header.record.flags;
	rx->span = siv_record_span(rx->len);
	return 0;
}

static int rx_idle(struct siv_rx *rx)
{
	if (rx->with && !rx->with->err)
		siv_flush(rx->with);
	return siv_release_flush(rx) ?: -EAGAIN;
}

/* Nothing is left: the end of file, ECONNRESET, or not yet. */
static ssize_t rx_nothing(struct siv_rx *rx, __u32 state, const void **view)
{
	if (state & SIV_STATE_ABORTED)
		return rx_fail(rx, -ECONNRESET);
	if (rx->over || state & SIV_STATE_SHUT_WR) {
		*view = NULL;
		return 0;
	}
	return rx_idle(rx);
}

/* @min bytes, a record, or what is left at the end. */
static ssize_t rx_take(struct siv_rx *rx, __u64 min, const void **view)
{
	__u32 state = SIV_STATE_ATTACHED;
	__u64 bytes = rx->seen - rx->pos;
	int err;

	if (rx->err)
		return rx->err;
	if (!rx->span && bytes < min) {
		err = rx_look(rx, &state);
		if (err)
			return err;
		bytes = rx->seen - rx->pos;
	}
	if (!bytes)
		return rx_nothing(rx, state, view);
	if (rx->header && !rx->span) {
		err = rx_record(rx);
		if (err)
			return err;
	}
	if (!rx->header && bytes < min && !rx->over && !(state & SIV_STATE_SHUT_WR))
		return rx_idle(rx);
	*view = rx->data + (rx->pos & rx->mask) + rx->header;
	return rx->header ? rx->len : bytes;
}

SIV_PUBLIC ssize_t siv_peek_slow(struct siv_rx *rx, const void **view)
{
	return rx_take(rx, 1, view);
}

/*
 * All that siv_peek_wait() does beyond looking: flushes, spins, sleeps. Inlined, it would save
 * registers for those who only look.
 */
static __attribute__((noinline)) ssize_t rx_wait(struct siv_rx *rx, size_t min, __s64 deadline_ns,
						 const void **view)
{
	struct wait w = {
		.word = &rx->theirs->tx_pos,
		.state = &rx->theirs->state,
		.over = SIV_STATE_SHUT_WR,
		.how = { .deadline_ns = deadline_ns, .what = SIV_WAIT_DATA },
		.spin = &rx->spin,
		.fd = rx->fd,
	};
	int woken = 0;
	ssize_t n;

	if (min > rx->mask + 1)
		return rx->err ?: -EMSGSIZE;
	if (rx->header)
		min = 1;
	for (;;) {
		n = rx_take(rx, min, view);
		if (n != -EAGAIN)
			return n;
		/* the kernel saw an end where none is to be seen: it is this side's */
		if (woken) {
			rx->over = true;
			continue;
		}
		w.attached = rx->attached;
		w.want = w.how.data = rx->pos + min;
		w.last = rx->seen;
		woken = wait_for(&w);
		if (woken < 0)
			return woken == -ECONNRESET ? rx_fail(rx, woken) : woken;
	}
}

/* Where the kernel has the position of a stream, nobody has looked yet but once. */
SIV_PUBLIC ssize_t siv_peek_wait_slow(struct siv_rx *rx, size_t min, __s64 deadline_ns,
				      const void **view)
{
	const __u64 pos = rx->pos;
	__u64 tx;

	min += !min;
	if (!rx->max && !rx->header && !rx->err && rx->spin.max_ns && deadline_ns &&
	    siv_look_often(&rx->theirs->tx_pos, pos, min, rx->mask + 1, &tx)) {
		rx_set_seen(rx, tx);
		*view = rx->data + (pos & rx->mask);
		return tx - pos;
	}
	return rx_wait(rx, min, deadline_ns, view);
}

/* Releases up to @end. A record goes with length 0, its rest and padding with it. */
static int rx_recv(struct siv_rx *rx, __u64 end)
{
	ssize_t n;

	while (rx->told != end) {
		n = recv(rx->fd, NULL, rx->header ? 0 : end - rx->told, MSG_TRUNC | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return rx_fail(rx, errno == EPROTO ? -ECONNRESET : -errno);
		/* of a record the kernel has read the header again, and the peer may have written it */
		if (rx->header ? n != rx->len : !n)
			return rx_violation(rx);
		rx->told = rx->header ? end : rx->told + n;
	}
	return 0;
}

SIV_PUBLIC int siv_release_flush_slow(struct siv_rx *rx)
{
	return rx_recv(rx, rx->pos);
}

/* As siv_commit_slow(). */
SIV_PUBLIC int siv_release_slow(struct siv_rx *rx, size_t len, unsigned int flags)
{
	const __u64 bytes = rx->header ? rx->span : len;

	if (rx->err)
		return rx->err;
	if ((rx->header && !rx->span) || bytes > rx->seen - rx->pos)
		return -EINVAL;
	rx->span = 0;
	rx->pos += bytes;
	rx_set_seen(rx, rx->seen);
	if (rx->own) {
		__atomic_store_n(&rx->own->rx_pos, rx->pos, __ATOMIC_RELEASE); /* P */
		return flags & SIV_MORE ? 0 : siv_tell_rx(rx);
	}
	if (flags & SIV_MORE && !rx->header && rx->pos - rx->told <= put_off_max(rx->mask))
		return 0;
	return siv_release_flush(rx);
}

/* Halves --------------------------------------------------------------------------------------- */

SIV_PUBLIC void siv_set_spin(struct siv_spin *spin, unsigned int us)
{
	*spin = (struct siv_spin){ .max_ns = us * 1000ull };
}

SIV_PUBLIC void siv_tx_init(struct siv_tx *tx, int type, struct siv_chan_page *own,
			    const struct siv_chan_page *theirs, void *data, __u64 size, __u64 pos)
{
	*tx = (struct siv_tx){
		.pos = pos,
		.fast = pos, /* nothing, before the first look */
		.limit = pos,
		.told = pos,
		.mask = size - 1,
		.data = data,
		.own = own,
		.theirs = theirs,
		.header = type == SOCK_SEQPACKET ? SIV_RECORD_HEADER : 0,
		.fd = -1,
	};
	siv_set_spin(&tx->spin, SIV_SPIN_US);
}

SIV_PUBLIC void siv_rx_init(struct siv_rx *rx, int type, struct siv_chan_page *own,
			    const struct siv_chan_page *theirs, const void *data, __u64 size,
			    __u64 pos)
{
	*rx = (struct siv_rx){
		.pos = pos,
		.fast = pos,
		.max = own && type == SOCK_STREAM ? size : 0,
		.seen = pos,
		.told = pos,
		.mask = size - 1,
		.data = data,
		.own = own,
		.theirs = theirs,
		.header = type == SOCK_SEQPACKET ? SIV_RECORD_HEADER : 0,
		.fd = -1,
	};
	siv_set_spin(&rx->spin, SIV_SPIN_US);
}
