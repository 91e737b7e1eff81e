/* SPDX-License-Identifier: BSD-2-Clause */
/* UNIX sockets: listening at a path that only daemons can write, and knowing who connected. */
#ifndef SIVSHMEM_SWITCH_UNIX_SOCKET_H
#define SIVSHMEM_SWITCH_UNIX_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

/* 0 if fd is a folder that nobody but root and this process's uid can write, -EPERM, or -errno. */
int unix_check_folder(int dirfd);

/*
 * A listening socket at path, mode 0600, owned by owner ((uid_t)-1: by us). A stale socket at that
 * path is replaced: the caller holds the lock that makes it stale. Descriptor or -errno: -EPERM for
 * a folder that others can write or an owner that we may not set, -EEXIST for something that is no
 * socket, -ENAMETOOLONG.
 */
int unix_listen(const char *path, int type, uid_t owner, int backlog);

/* An accepted, non-blocking connection and who made it; descriptor or -errno. */
int unix_accept(int listener, struct ucred *peer);

enum { NO_FD = -1 };

/* One message, and @fd beside it unless that is NO_FD. 0 or -errno; -EAGAIN: the buffer is full. */
int unix_send(int sock, const void *data, size_t len, int fd);

/* Root or this process's own uid. */
bool unix_uid_trusted(uid_t uid);

/*
 * A pidfd of the process that connected fd; descriptor or -errno (-ESRCH: it is gone). From
 * SO_PEERPIDFD where the kernel has it (6.5), else by unix_peer_pidfd_by_pid().
 */
int unix_peer_pidfd(int fd, pid_t pid);
int unix_peer_pidfd_by_pid(int fd, pid_t pid);
/* The process of this pidfd has exited (reaped or not): its mappings are gone. */
bool pidfd_exited(int pidfd);

#endif
