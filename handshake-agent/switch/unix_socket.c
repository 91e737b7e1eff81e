// SPDX-License-Identifier: BSD-2-Clause
/* UNIX sockets: listening at a path that only daemons can write, and knowing who connected. */
#include "unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fd_pass.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5; not in Debian 12's headers */
#endif

bool unix_uid_trusted(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

int unix_check_folder(int dirfd)
{
	struct stat st;

	if (fstat(dirfd, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return unix_uid_trusted(st.st_uid) && !(st.st_mode & 022) ? 0 : -EPERM;
}

/* Makes way for a socket called name; -EEXIST if what is there is not one. */
static int remove_stale(int dirfd, const char *name)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	return unlinkat(dirfd, name, 0) ? -errno : 0;
}

int unix_listen(const char *path, int type, uid_t owner, int backlog)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *slash = strrchr(path, '/');
	char folder[sizeof(addr.sun_path)];
	int dirfd, fd, err;

	if (!slash)
		return -EINVAL;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	memcpy(folder, path, slash - path + 1);
	folder[slash - path + 1] = '\0';

	dirfd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	err = unix_check_folder(dirfd);
	if (!err)
		err = remove_stale(dirfd, slash + 1);
	if (err)
		goto close_dir;

	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		err = -errno;
		goto close_dir;
	}
	/* bind() gives the file the socket's mode: it is never there with a wider one */
	if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		err = -errno;
		goto close_socket;
	}
	if ((owner != (uid_t)-1 && owner != geteuid() &&
	     fchownat(dirfd, slash + 1, owner, -1, AT_SYMLINK_NOFOLLOW)) ||
	    listen(fd, backlog)) {
		err = -errno;
		goto unlink_socket;
	}
	close(dirfd);
	return fd;

unlink_socket:
	unlinkat(dirfd, slash + 1, 0);
close_socket:
	close(fd);
close_dir:
	close(dirfd);
	return err;
}

int unix_accept(int listener, struct ucred *peer)
{
	socklen_t len = sizeof(*peer);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int err;

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int unix_send(int sock, const void *data, size_t len, int fd)
{
	return fd_send(sock, data, len, fd, MSG_DONTWAIT);
}

static bool polls(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return poll(&pfd, 1, 0) == 1 && pfd.revents & events;
}

bool pidfd_exited(int pidfd)
{
	return polls(pidfd, POLLIN);
}

int unix_peer_pidfd(int fd, pid_t pid)
{
	int pidfd;
	socklen_t len = sizeof(pidfd);

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len))
		return pidfd;
	return errno == ENOPROTOOPT ? unix_peer_pidfd_by_pid(fd, pid) : -errno;
}

/*
 * Before Linux 6.5 there is only the number, which may be another process's by now. But a
 * connection that is still open afterwards shows that the one who made it lived when the pidfd was
 * opened, unless it has handed the descriptor on, which QEMU does not do: the number was its own.
 */
int unix_peer_pidfd_by_pid(int fd, pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);

	if (pidfd < 0)
		return -errno;
	if (polls(fd, POLLHUP) || pidfd_exited(pidfd)) {
		close(pidfd);
		return -ESRCH;
	}
	return pidfd;
}
