// SPDX-License-Identifier: GPL-2.0-only
/*
 * splice() out of a socket: what recv() gives, into pages of the pipe's own. The ring's pages cannot be
 * given to a pipe: the peer may write them at any time, and they have no struct page. The kernel's
 * general code would do, but knows no SPLICE_F_NONBLOCK.
 */
#include <linux/bvec.h>
#include <linux/pipe_fs_i.h>
#include <linux/slab.h>
#include <linux/splice.h>
#include <linux/uio.h>
#include <net/sock.h>

#include "sock.h"

#define SIV_SPLICE_PAGES 16 /* moved by one call at most; splice() calls again */

static void spd_release(struct splice_pipe_desc *spd, unsigned int i)
{
	put_page(spd->pages[i]);
}

/* Under the pipe's lock, with room for at least one page. */
ssize_t siv_splice_read(struct socket *sock, loff_t *pos, struct pipe_inode_info *pipe, size_t len,
			unsigned int flags)
{
	unsigned int room = pipe->max_usage - pipe_occupancy(pipe->head, pipe->tail);
	struct page *pages[SIV_SPLICE_PAGES];
	struct partial_page partial[SIV_SPLICE_PAGES];
	struct bio_vec bvec[SIV_SPLICE_PAGES];
	struct splice_pipe_desc spd = {
		.pages = pages,
		.partial = partial,
		.nr_pages_max = SIV_SPLICE_PAGES,
		.ops = &nosteal_pipe_buf_ops,
		.spd_release = spd_release,
	};
	bool nonblock = flags & SPLICE_F_NONBLOCK || sock->file->f_flags & O_NONBLOCK;
	unsigned int want =
		min3((unsigned int)SIV_SPLICE_PAGES, room,
		     (unsigned int)min_t(size_t, DIV_ROUND_UP(len, PAGE_SIZE), INT_MAX));
	struct msghdr msg = {};
	unsigned int i, n;
	ssize_t got, left;

	for (n = 0; n < want; n++) {
		pages[n] = alloc_page(GFP_USER);
		if (!pages[n])
			break;
		bvec_set_page(&bvec[n], pages[n], PAGE_SIZE, 0);
	}
	if (!want)
		return -EAGAIN;
	/* of a record, what does not fit is lost: not for want of memory */
	if (!n || (n < want && sock->type == SOCK_SEQPACKET)) {
		release_pages(pages, n);
		return -ENOMEM;
	}
	len = min_t(size_t, len, n * PAGE_SIZE);
	iov_iter_bvec(&msg.msg_iter, ITER_DEST, bvec, n, len);
	got = sock->ops->recvmsg(sock, &msg, len, nonblock ? MSG_DONTWAIT : 0);
	for (i = 0, left = got; i < n; i++) {
		if (left <= 0) {
			put_page(pages[i]);
			continue;
		}
		partial[i] = (struct partial_page){ .len = min_t(size_t, left, PAGE_SIZE) };
		left -= partial[i].len;
		spd.nr_pages++;
	}
	return got > 0 ? splice_to_pipe(pipe, &spd) : got;
}
