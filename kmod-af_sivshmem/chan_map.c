// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows: what a process maps of its own channel, and how that ends.
 *
 * A window is one vma with one set of rights, mapped whole: the kernel does not protect a pfn mapping
 * whose pages have different ones. Pages come by fault, each under map_lock and after a look at
 * "dead", which is set under map_lock too: so once the channel is dead and its inode's mappings are
 * zapped, no process has a page of it, and the faults that follow get memory that is private to this
 * socket. No fault fails, so nobody gets a signal.
 *
 * A mapping holds its file, the file the socket, and the socket its channel.
 */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/uio.h>
#include <net/sock.h>

#include "chan.h"
#include "compat.h"
#include "link.h"
#include "sock.h"

static_assert(PAGE_SIZE == SIV_PAGE_SIZE, "windows are made of pages");

enum window { WINDOW_RO, WINDOW_TX, WINDOW_CONTROL, WINDOW_NONE };

static enum window window_of(const struct vm_area_struct *vma)
{
	switch ((u64)vma->vm_pgoff << PAGE_SHIFT) {
	case SIV_MMAP_RO:
		return WINDOW_RO;
	case SIV_MMAP_TX:
		return WINDOW_TX;
	case SIV_MMAP_CONTROL:
		return WINDOW_CONTROL;
	default:
		return WINDOW_NONE;
	}
}

static u64 window_len(const struct siv_chan *chan, enum window window)
{
	switch (window) {
	case WINDOW_RO:
		return SIV_PAGE_SIZE + 2 * chan->rx_size;
	case WINDOW_TX:
		return 2 * chan->tx_size;
	default:
		return SIV_PAGE_SIZE;
	}
}

/* What lies @at bytes from the start of the window. */
static const void *window_byte(const struct siv_chan *chan, enum window window, u64 at)
{
	switch (window) {
	case WINDOW_RO:
		if (at < SIV_PAGE_SIZE)
			return chan->theirs;
		return chan->rx_data + ((at - SIV_PAGE_SIZE) & (chan->rx_size - 1));
	case WINDOW_TX:
		return chan->tx_data + (at & (chan->tx_size - 1));
	default:
		return chan->own;
	}
}

static vm_fault_t map_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct siv_chan *chan = vma->vm_private_data;
	struct siv_link *link = chan->link;
	enum window window = window_of(vma);
	vm_fault_t ret;
	const void *at;
	unsigned long pfn;

	down_read(&chan->map_lock);
	if (!chan->dead) {
		at = window_byte(chan, window, (vmf->address & PAGE_MASK) - vma->vm_start);
		pfn = link->ops->pfn(link, at - link->mem);
	} else {
		pfn = window == WINDOW_RO ? my_zero_pfn(vmf->address) : page_to_pfn(chan->map_page);
	}
	ret = vmf_insert_pfn(vma, vmf->address & PAGE_MASK, pfn);
	up_read(&chan->map_lock);
	return ret;
}

/* A window is whole, or gone: no part is unmapped, protected or moved by itself. */
static int map_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static const struct vm_operations_struct map_ops = {
	.fault = map_fault,
	.may_split = map_may_split,
};

static int map_check(const struct siv_chan *chan, enum window window,
		     const struct vm_area_struct *vma)
{
	if (window == WINDOW_NONE || !(vma->vm_flags & VM_SHARED) || in_compat_syscall() ||
	    vma->vm_end - vma->vm_start != window_len(chan, window))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC || (window == WINDOW_RO && vma->vm_flags & VM_WRITE))
		return -EACCES;
	if (window == WINDOW_CONTROL && !READ_ONCE(chan->direct_tx) && !READ_ONCE(chan->direct_rx))
		return -EACCES;
	return 0;
}

/* Whom siv_chan_zap() will have to find. Under map_lock. */
static int map_first(struct siv_chan *chan, struct socket *sock)
{
	lockdep_assert_held_write(&chan->map_lock);
	if (chan->dead)
		return -ECONNRESET;
	if (chan->map_inode)
		return 0;
	chan->map_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!chan->map_page)
		return -ENOMEM;
	chan->map_inode = SOCK_INODE(sock);
	ihold(chan->map_inode);
	WRITE_ONCE(chan->mapped, true);
	return 0;
}

/* mmap_lock is held for writing. Never lock_sock: others fault user pages in under it. */
int siv_mmap(struct file *file, struct socket *sock, struct vm_area_struct *vma)
{
	struct siv_chan *chan = siv_sock_chan(sock->sk);
	enum window window = window_of(vma);
	int err;

	if (!chan)
		return -ENOTCONN;
	if (siv_sealed(chan))
		return -EOPNOTSUPP;
	err = map_check(chan, window, vma);
	if (err)
		return err;
	down_write(&chan->map_lock);
	err = map_first(chan, sock);
	up_write(&chan->map_lock);
	if (err)
		return err;
	siv_compat_vm_flags(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY,
			    window == WINDOW_RO ? VM_MAYEXEC | VM_MAYWRITE : VM_MAYEXEC);
	vma->vm_private_data = chan;
	vma->vm_ops = &map_ops;
	return 0;
}

/*
 * Takes all mappings away. After "dead" was set under map_lock: what is mapped from now on is private.
 * The inode is not freed here: close() waits for link->lock, which our caller has.
 */
void siv_chan_zap(struct siv_chan *chan)
{
	struct inode *inode;

	lockdep_assert_held(&chan->link->lock);
	down_write(&chan->map_lock);
	inode = chan->map_inode;
	chan->map_inode = NULL;
	up_write(&chan->map_lock);
	if (!inode)
		return;
	/*
	 * The peer's control page first: who has read zeros in place of data then finds the state 0,
	 * too, and is not misled by an old one.
	 */
	unmap_mapping_range(inode->i_mapping, SIV_MMAP_RO, SIV_PAGE_SIZE, 1);
	unmap_mapping_range(inode->i_mapping, 0, 0, 1);
	iput(inode);
}

/* For chan_free(): no vma is left that could show it. */
void siv_chan_map_free(struct siv_chan *chan)
{
	if (chan->map_page)
		__free_page(chan->map_page);
}

static bool map_is_tx(const struct siv_chan *chan, const struct vm_area_struct *vma)
{
	return vma->vm_ops == &map_ops && vma->vm_private_data == chan &&
	       window_of(vma) == WINDOW_TX;
}

/*
 * Is [@addr, @addr + @len) in a transmit window of @chan? 1 and where in it, counted from the ring's
 * start; 0 none of it is; -EINVAL a part. Under mmap_lock.
 */
static int map_place(const struct siv_chan *chan, unsigned long addr, size_t len, u64 *at)
{
	unsigned long end = addr + len, from = addr;
	const struct vm_area_struct *vma;

	mmap_assert_locked(current->mm);
	while (from < end) {
		vma = find_vma(current->mm, from);
		if (!vma || vma->vm_start >= end)
			break;
		if (map_is_tx(chan, vma)) {
			*at = (addr - vma->vm_start) & (chan->tx_size - 1);
			return addr >= vma->vm_start && end <= vma->vm_end ? 1 : -EINVAL;
		}
		from = vma->vm_end;
	}
	return 0;
}

/*
 * Does the memory of @iter lie in a transmit window of @chan? The window is known by its vma, not by
 * an address that was remembered. 1: all of it, in one piece, and @at is where from the ring's start;
 * 0: none of it; -EINVAL: mixed, or in pieces.
 */
int siv_map_find(const struct siv_chan *chan, const struct iov_iter *iter, u64 *at)
{
	struct iov_iter rest = *iter;
	struct siv_segment seg;
	unsigned long next = 0;
	int all = -1, in;
	u64 where;

	if (!READ_ONCE(chan->mapped) || !user_backed_iter(iter) || !current->mm)
		return 0;
	mmap_read_lock(current->mm);
	while (iov_iter_count(&rest)) {
		seg = siv_compat_segment(&rest);
		iov_iter_advance(&rest, seg.len);
		if (!seg.len)
			continue;
		in = map_place(chan, seg.addr, seg.len, &where);
		if (in < 0 || (all >= 0 && in != all) || (all == 1 && seg.addr != next)) {
			all = -EINVAL;
			break;
		}
		if (all < 0)
			*at = where;
		all = in;
		next = seg.addr + seg.len;
	}
	mmap_read_unlock(current->mm);
	return all == -1 ? 0 : all;
}
