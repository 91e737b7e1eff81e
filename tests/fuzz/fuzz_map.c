// SPDX-License-Identifier: BSD-2-Clause
/*
 * The two halves of a mapped channel where the peer is the fuzzer: its control page, both data areas,
 * and the own control page too, which it may write as well. Whatever is there: no view reaches
 * outside the window (ASan's redzones are around it), what is kept privately fits together, nothing is
 * written but where this side writes, and an error that ends the channel ends it for good.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <sivshmem/map.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE = 256, LONG_AGO_NS = 1 };

enum op { OP_CLAIM_TX, OP_CLAIM_RX, OP_STATE, OP_DATA, OP_OWN, OP_PEEK, OP_PEEK_WAIT, OP_RELEASE,
	  OP_RESERVE, OP_COMMIT, OP_FLUSH, OP_RESET, OPS };

struct world {
	struct siv_tx tx;
	struct siv_rx rx;
	struct siv_chan_page *own, *theirs;
	uint8_t *tx_data, *rx_data;
	ssize_t peeked;    /* bytes of the last view; -1: none */
	const void *view;
	size_t reserved;
	bool tx_ended, rx_ended;
	uint8_t sum;       /* keeps the reads */
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void *zeroed(size_t size)
{
	void *p = calloc(1, size);

	check(p);
	return p;
}

static void rx_result(struct world *w, ssize_t n, const void *view)
{
	const uint8_t *bytes = view;

	check(!w->rx_ended || n == -ECONNRESET);
	w->rx_ended |= n == -ECONNRESET;
	w->peeked = n > 0 || (!n && view) ? n : -1;
	if (w->peeked < 0)
		return;
	w->view = view;
	check(bytes >= w->rx_data && bytes + n <= w->rx_data + 2 * SIZE && n <= SIZE);
	for (ssize_t i = 0; i < n; i++)
		w->sum ^= bytes[i];
}

static void peek(struct world *w)
{
	const ssize_t before = w->peeked;
	const void *view = NULL, *old = w->view;
	ssize_t n = siv_peek(&w->rx, &view);

	/* what was shown stays until it is released; of a stream more may have come to be known */
	check(before <= 0 || w->rx_ended ||
	      (view == old && (w->rx.header ? n == before : n >= before)));
	rx_result(w, n, view);
}

static void peek_wait(struct world *w, size_t min, bool now)
{
	const void *view = NULL;
	ssize_t n = siv_peek_wait(&w->rx, min, now ? 0 : LONG_AGO_NS, &view);

	if (n == -EMSGSIZE || n == -ETIMEDOUT) {
		check(n == -EMSGSIZE ? min > SIZE : !w->rx_ended);
		return;
	}
	check(n != -EAGAIN && n != -EINTR);
	rx_result(w, n, view);
}

static void release(struct world *w, size_t len, unsigned int flags)
{
	int err = siv_release(&w->rx, len, flags);

	check(!w->rx_ended || err == -ECONNRESET);
	w->rx_ended |= err == -ECONNRESET;
	if (!err)
		w->peeked = -1;
}

static void reserve(struct world *w, size_t len, bool wait)
{
	void *view = NULL;
	int err = wait ? siv_reserve_wait(&w->tx, len, LONG_AGO_NS, &view) :
			 siv_reserve(&w->tx, len, &view);

	check(!w->tx_ended || err);
	w->tx_ended |= err == -ECONNRESET || err == -EPIPE;
	w->reserved = 0;
	if (err)
		return;
	w->reserved = len;
	memset(view, 0x55, len); /* under ASan */
	check((uint8_t *)view >= w->tx_data && (uint8_t *)view + len <= w->tx_data + 2 * SIZE);
}

static void step(struct world *w, enum op op, uint64_t arg)
{
	switch (op) {
	case OP_CLAIM_TX:
		/* a small step from where it is, or anything */
		w->theirs->tx_pos = arg & 1 ? arg : w->rx.pos + (arg >> 8) % (SIZE + 16);
		break;
	case OP_CLAIM_RX:
		w->theirs->rx_pos = arg & 1 ? arg : w->tx.pos - (arg >> 8) % (SIZE + 16);
		break;
	case OP_STATE:
		w->theirs->state = arg;
		w->theirs->wake_data = w->theirs->wake_space = arg >> 8;
		break;
	case OP_DATA:
		memcpy(w->rx_data + (arg >> 40) % (2 * SIZE - 4), &arg, 4);
		/* where a header may be, a length that may be */
		if (arg >> 56 & 1)
			w->rx_data[w->rx.pos & (SIZE - 1)] = arg;
		break;
	case OP_OWN:
		memset(w->own, arg, sizeof(*w->own));
		memset(w->tx_data, arg >> 8, 2 * SIZE);
		break;
	case OP_PEEK:
		peek(w);
		break;
	case OP_PEEK_WAIT:
		peek_wait(w, arg >> 8 & 0x1ff, arg & 1);
		break;
	case OP_RELEASE:
		release(w, arg & 2 ? arg : w->peeked < 0 ? 0 : w->peeked, arg & 1 ? SIV_MORE : 0);
		break;
	case OP_RESERVE:
		reserve(w, arg & 2 ? arg : (arg >> 8) % (SIZE + 16), arg & 1);
		break;
	case OP_COMMIT:
		siv_commit(&w->tx, arg & 2 ? arg : w->reserved, arg & 1 ? SIV_MORE | SIV_EOR : 0);
		check(siv_room(&w->tx, arg >> 8 & 0xff) <= SIZE);
		break;
	case OP_FLUSH:
		siv_flush(&w->tx);
		siv_release_flush(&w->rx);
		break;
	case OP_RESET:
		memset(w->theirs, 0, sizeof(*w->theirs));
		memset(w->rx_data, 0, 2 * SIZE);
		break;
	default:
		break;
	}
}

/* Of the peer's memory nothing is written; the private words allow no more than the ring. */
static void step_checked(struct world *w, enum op op, uint64_t arg)
{
	const bool peers = op == OP_CLAIM_TX || op == OP_CLAIM_RX || op == OP_STATE || op == OP_DATA ||
			   op == OP_RESET;
	struct siv_chan_page theirs = *w->theirs;
	uint8_t rx_data[2 * SIZE];

	memcpy(rx_data, w->rx_data, sizeof(rx_data));
	step(w, op, arg);
	check(peers || !memcmp(&theirs, w->theirs, sizeof(theirs)));
	check(peers || !memcmp(rx_data, w->rx_data, sizeof(rx_data)));
	check(w->rx.seen - w->rx.pos <= SIZE && w->tx.limit - w->tx.pos <= SIZE);
	/* the inline functions go as far, and with records nowhere */
	check(w->rx.fast - w->rx.pos <= (w->rx.header ? 0 : w->rx.seen - w->rx.pos));
	check(w->tx.fast - w->tx.pos <= (w->tx.header ? 0 : w->tx.limit - w->tx.pos));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .own = zeroed(sizeof(*w.own)), .theirs = zeroed(sizeof(*w.theirs)),
			   .tx_data = zeroed(2 * SIZE), .rx_data = zeroed(2 * SIZE), .peeked = -1 };
	uint64_t arg, pos = 0;
	int type = SOCK_STREAM;

	if (size > 9) {
		type = data[0] & 1 ? SOCK_SEQPACKET : SOCK_STREAM;
		memcpy(&pos, data + 1, sizeof(pos));
		pos &= ~7ull; /* as siv_map() sees to */
		data += 9;
		size -= 9;
	}
	w.theirs->tx_pos = w.theirs->rx_pos = pos;
	w.theirs->state = SIV_STATE_ATTACHED;
	siv_tx_init(&w.tx, type, w.own, w.theirs, w.tx_data, SIZE, pos);
	siv_rx_init(&w.rx, type, w.own, w.theirs, w.rx_data, SIZE, pos);
	siv_set_spin(&w.tx.spin, 0);
	siv_set_spin(&w.rx.spin, 0);
	for (; size >= 9; data += 9, size -= 9) {
		memcpy(&arg, data + 1, sizeof(arg));
		step_checked(&w, data[0] % OPS, arg);
	}
	free(w.own);
	free(w.theirs);
	free(w.tx_data);
	free(w.rx_data);
	return 0;
}
