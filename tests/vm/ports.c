// SPDX-License-Identifier: BSD-2-Clause
// Named virtio-serial ports in a guest without udev.
#define _GNU_SOURCE
#include "vmexec.h"

#include <dirent.h>
#include <err.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char sysfs_dir[] = "/sys/class/virtio-ports";
static const char link_dir[] = "/dev/virtio-ports";

/* The name arrives some time after the port itself; until then there is no such attribute. */
static bool port_name(const char *port, char *name, size_t size)
{
	char path[300];
	FILE *file;
	bool found;

	snprintf(path, sizeof(path), "%s/%s/name", sysfs_dir, port);
	file = fopen(path, "re");
	if (!file)
		return false;
	found = fgets(name, size, file) != NULL;
	fclose(file);
	name[strcspn(name, "\n")] = 0;
	return found && *name && !strchr(name, '/');
}

/* Links every port that has a name; returns how many have. */
static int link_ports(void)
{
	struct dirent *entry;
	int named = 0;
	DIR *dir;

	mkdir(link_dir, 0755);
	dir = opendir(sysfs_dir);
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		char name[128], path[512], target[300];

		if (entry->d_name[0] == '.' || !port_name(entry->d_name, name, sizeof(name)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", link_dir, name);
		snprintf(target, sizeof(target), "../%s", entry->d_name);
		unlink(path);
		if (symlink(target, path))
			warn("vmexec: %s", path);
		named++;
	}
	closedir(dir);
	return named;
}

void ports_update(int uevents)
{
	char event[8192];

	while (recv(uevents, event, sizeof(event), MSG_DONTWAIT) > 0)
		;
	link_ports();
}

const char *ports_wait(const char *name, int expected, int *uevents)
{
	struct sockaddr_nl kernel_events = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	static char path[512];
	char event[8192];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (void *)&kernel_events, sizeof(kernel_events)))
		err(EXIT_TROUBLE, "vmexec: kernel events");
	/* subscribed before the first look, so nothing is missed between look and wait */
	while (link_ports() < expected)
		if (recv(fd, event, sizeof(event), 0) < 0)
			warn("vmexec: kernel events");
	snprintf(path, sizeof(path), "%s/%s", link_dir, name);
	*uevents = fd;
	return path;
}
