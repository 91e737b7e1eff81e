// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes between user memory and a channel's data areas.
 *
 * Called under the direction's mutex with page faults disabled: a page that is not there ends the
 * copy early, and the caller faults it in outside the mutex. The bounds are this side's own, so the
 * unchecked copies serve; the checked ones would look every address up under a global lock, since
 * the BAR is neither slab nor page memory.
 */
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "chan.h"

size_t siv_chan_copy_in(struct siv_chan *chan, u64 pos, size_t len, struct iov_iter *from)
{
	size_t at = pos & (chan->tx_size - 1);
	size_t first = min_t(size_t, len, chan->tx_size - at);
	size_t done;

	pagefault_disable();
	done = _copy_from_iter(chan->tx_data + at, first, from);
	if (done == first && first < len)
		done += _copy_from_iter(chan->tx_data, len - first, from);
	pagefault_enable();
	return done;
}

size_t siv_chan_copy_out(struct siv_chan *chan, u64 pos, size_t len, struct iov_iter *to)
{
	size_t at = pos & (chan->rx_size - 1);
	size_t first = min_t(size_t, len, chan->rx_size - at);
	size_t done;

	pagefault_disable();
	done = _copy_to_iter(chan->rx_data + at, first, to);
	if (done == first && first < len)
		done += _copy_to_iter(chan->rx_data, len - first, to);
	pagefault_enable();
	return done;
}

/* The header of a record at the transmit position; it never wraps. Under tx_lock. */
void siv_chan_put_record(struct siv_chan *chan, u32 len, u32 flags)
{
	struct siv_record record = { .len = len, .flags = flags };

	lockdep_assert_held(&chan->tx_lock);
	memcpy(chan->tx_data + (chan->tx_pos & (chan->tx_size - 1)), &record, sizeof(record));
}

/* The header at @pos, as it was at one moment: the peer may write it at any time. */
struct siv_record siv_chan_get_record(const struct siv_chan *chan, u64 pos)
{
	const u8 *at = chan->rx_data + (pos & (chan->rx_size - 1));
	u64 word = READ_ONCE(*(const u64 *)at);
	struct siv_record record;

	lockdep_assert_held(&chan->rx_lock);
	memcpy(&record, &word, sizeof(record));
	return record;
}
