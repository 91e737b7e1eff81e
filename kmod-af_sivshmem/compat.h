/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All differences between the kernel versions that this module builds for.
 */
#ifndef _SIV_COMPAT_H
#define _SIV_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mm_types.h>
#include <linux/net.h>
#include <linux/rcupdate.h>
#include <linux/uio.h>
#include <linux/version.h>

/* The executable of @mm with a reference, or NULL; get_mm_exe_file() is not exported. */
static inline struct file *siv_compat_exe_file(struct mm_struct *mm)
{
	struct file *exe;

	rcu_read_lock();
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	exe = get_file_rcu(&mm->exe_file);
#else
	exe = rcu_dereference(mm->exe_file);
	if (exe && !get_file_rcu(exe))
		exe = NULL;
#endif
	rcu_read_unlock();
	return exe;
}

/* In mmap(), before anybody sees @vma: 6.3 made vm_flags read-only. */
static inline void siv_compat_vm_flags(struct vm_area_struct *vma, unsigned long set,
				       unsigned long clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/* The first piece of user memory of @iter, which is user_backed_iter(); iter_iov() came with 6.4. */
struct siv_segment {
	unsigned long addr;
	size_t len;
};

static inline struct siv_segment siv_compat_segment(const struct iov_iter *iter)
{
	size_t left = iov_iter_count(iter);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	return (struct siv_segment){ (unsigned long)iter_iov_addr(iter),
				     min_t(size_t, left, iter_iov_len(iter)) };
#else
	struct iovec iov;

	if (iter_is_ubuf(iter))
		return (struct siv_segment){ (unsigned long)iter->ubuf + iter->iov_offset, left };
	iov = iov_iter_iovec(iter);
	return (struct siv_segment){ (unsigned long)iov.iov_base, iov.iov_len };
#endif
}

/*
 * Lets SOL_SOCKET options come to siv_setsockopt() first, which needs it for SO_REUSEPORT. Older
 * kernels handle them alone, and refuse that one: there SIVSHMEM_REUSEPORT serves.
 */
static inline void siv_compat_custom_sockopt(struct socket *sock)
{
#ifdef SOCK_CUSTOM_SOCKOPT
	set_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags);
#endif
}

/* proto_ops.accept: 6.10 put flags and kern into a struct. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define SIV_ACCEPT_ARGS struct proto_accept_arg *arg
#define SIV_ACCEPT_FLAGS (arg->flags)
#define SIV_ACCEPT_KERN  (arg->kern)
#else
#define SIV_ACCEPT_ARGS int flags, bool kern
#define SIV_ACCEPT_FLAGS (flags)
#define SIV_ACCEPT_KERN  (kern)
#endif

/* send() flags that say that more follows; sendfile() and splice() had one of their own until 6.5. */
#ifdef MSG_SENDPAGE_NOTLAST
#define SIV_MSG_MORE (MSG_MORE | MSG_SENDPAGE_NOTLAST)
#else
#define SIV_MSG_MORE MSG_MORE
#endif

/* proto_ops.splice_eof: since 6.5 the end of a sendfile() that said more would follow. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define SIV_SPLICE_EOF .splice_eof = siv_splice_eof,
#else
#define SIV_SPLICE_EOF
#endif

#endif
