// SPDX-License-Identifier: BSD-2-Clause
/* A switch as a whole: its loop, its links, its control socket. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/log.h"
#include "switch.h"
#include "unix_socket.h"

int switchd_init(struct switchd *sw, const char *run_dir)
{
	int err;

	memset(sw, 0, sizeof(*sw));
	if (getrandom(&sw->instance, sizeof(sw->instance), 0) != sizeof(sw->instance))
		return -EIO;
	sw->run_dir = strdup(run_dir);
	if (!sw->run_dir)
		return -ENOMEM;
	sw->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (sw->spare_fd < 0) {
		err = -errno;
		goto free_dir;
	}
	sw->loop = loop_new();
	if (!sw->loop) {
		err = -errno;
		goto close_spare;
	}
	err = control_init(sw);
	if (err)
		goto exit_loop;
	return 0;

exit_loop:
	loop_free(sw->loop);
close_spare:
	close(sw->spare_fd);
free_dir:
	free(sw->run_dir);
	return err;
}

void switchd_exit(struct switchd *sw)
{
	control_exit(sw);
	while (sw->n_links)
		link_free(sw->links[sw->n_links - 1]);
	loop_free(sw->loop);
	close(sw->spare_fd);
	free(sw->run_dir);
}

int switchd_accept(struct switchd *sw, int listener, struct ucred *peer,
		   void (*refuse)(int fd, int error))
{
	int fd = unix_accept(listener, peer);

	if (fd != -EMFILE && fd != -ENFILE)
		return fd;
	close(sw->spare_fd);
	fd = unix_accept(listener, peer);
	if (fd >= 0)
		refuse(fd, EMFILE);
	sw->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return -EMFILE;
}
