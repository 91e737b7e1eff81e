// SPDX-License-Identifier: BSD-2-Clause
/* UNIX stream sockets that have a path, and who is at their other end. */
#include "unix.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_path(struct sockaddr_un *addr, const char *path)
{
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	strcpy(addr->sun_path, path);
	return 0;
}

int unix_connect(const char *path)
{
	struct sockaddr_un addr;
	int fd, err;

	err = set_path(&addr, path);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* 0: the path is free now. */
static int clear_path(const char *path)
{
	struct stat st;
	bool taken_back;
	int fd;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	/*
	 * An earlier run has given it away: only its owner may connect, but for CAP_DAC_OVERRIDE,
	 * which opens every other file, too. CAP_CHOWN is there anyway.
	 */
	taken_back = st.st_uid != geteuid() && lchown(path, geteuid(), (gid_t)-1) == 0;
	fd = unix_connect(path);
	if (fd >= 0) {
		close(fd);
		if (taken_back && lchown(path, st.st_uid, (gid_t)-1) < 0)
			return -errno;
		return -EADDRINUSE;
	}
	if (fd != -ECONNREFUSED)
		return fd;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int unix_listen(struct unix_listener *listener, const char *path, mode_t mode, uid_t owner)
{
	struct sockaddr_un addr;
	struct stat st;
	int fd, err;

	err = set_path(&addr, path);
	if (!err)
		err = clear_path(path);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* The mode holds from the first moment on: bind() applies that of the descriptor. */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		err = -errno;
		goto err_close;
	}
	/* The mode first: afterwards it is another's, and changing it would need CAP_FOWNER. */
	if (chmod(path, mode) < 0 || (owner != (uid_t)-1 && lchown(path, owner, (gid_t)-1) < 0) ||
	    lstat(path, &st) < 0 || listen(fd, SOMAXCONN) < 0) {
		err = -errno;
		goto err_unlink;
	}
	listener->fd = fd;
	listener->dev = st.st_dev;
	listener->ino = st.st_ino;
	strcpy(listener->path, addr.sun_path);
	return 0;

err_unlink:
	unlink(path);
err_close:
	close(fd);
	return err;
}

void unix_unlisten(struct unix_listener *listener)
{
	struct stat st;

	if (lstat(listener->path, &st) == 0 && st.st_dev == listener->dev &&
	    st.st_ino == listener->ino)
		unlink(listener->path);
	close(listener->fd);
	listener->fd = -1;
}

int unix_accept(int listener, struct ucred *cred)
{
	socklen_t len = sizeof(*cred);
	int fd, err;

	do {
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, cred, &len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}
