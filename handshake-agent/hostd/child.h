/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes that hostd forks at its start, to be asked for one thing each: what they may do, or
 * know, is then not in the process that reads what guests write.
 */
#ifndef SIVSHMEM_HOSTD_CHILD_H
#define SIVSHMEM_HOSTD_CHILD_H

/*
 * Forks a process called @name, which has stderr and one descriptor of all that we have open, calls
 * @serve with that and ends when it returns. The other end: a SOCK_SEQPACKET socket, whose closing
 * @serve is to take for its end; or -errno.
 */
int child_fork(const char *name, void (*serve)(int fd, void *arg), void *arg);

#endif
