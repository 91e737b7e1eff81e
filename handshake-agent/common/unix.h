/* SPDX-License-Identifier: BSD-2-Clause */
/* UNIX stream sockets that have a path, and who is at their other end. */
#ifndef SIVSHMEM_UNIX_H
#define SIVSHMEM_UNIX_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct unix_listener {
	int fd;
	dev_t dev; /* the socket's file: only our own is removed */
	ino_t ino;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/*
 * Listens on @path with @mode and, unless it is (uid_t)-1, @owner. A socket there that nobody
 * listens on is replaced; any other file is left alone. Non-blocking, close-on-exec. 0, or -errno:
 * -EADDRINUSE (somebody listens), -EEXIST (no socket), -ENAMETOOLONG ...
 */
int unix_listen(struct unix_listener *listener, const char *path, mode_t mode, uid_t owner);
/* Closes, and removes the path if it is still this socket. */
void unix_unlisten(struct unix_listener *listener);

/* Non-blocking, close-on-exec, with the credentials of who connected. -errno; -EAGAIN: nobody. */
int unix_accept(int listener, struct ucred *cred);

/* Blocking, close-on-exec. -errno. */
int unix_connect(const char *path);

#endif
