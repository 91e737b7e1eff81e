// SPDX-License-Identifier: BSD-2-Clause
/* What the loaded module says about itself in sysfs. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sivshmem.h>

#include "internal.h"

int siv_read_line(const char *path, char *buf, unsigned int size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;
	int i;

	if (fd < 0)
		return -errno;
	len = read(fd, buf, size - 1);
	if (len < 0) {
		len = -errno;
		close(fd);
		return len;
	}
	close(fd);
	for (i = 0; i < len && buf[i] != '\n'; i++)
		;
	buf[i] = '\0';
	return i;
}

SIV_PUBLIC int siv_family(void)
{
	char line[8];
	int family = 0;

	if (siv_read_line(SIV_SYSFS_FAMILY, line, sizeof(line)) <= 0)
		return AF_SIVSHMEM;
	for (const char *c = line; *c; c++) {
		if (*c < '0' || *c > '9')
			return AF_SIVSHMEM;
		family = family * 10 + (*c - '0');
	}
	return family > 0 && family < AF_MAX ? family : AF_SIVSHMEM;
}

SIV_PUBLIC int siv_module_loaded(void)
{
	if (!access(SIV_SYSFS_MODULE, F_OK))
		return 1;
	if (errno != ENOENT)
		return -errno;
	/* Not there because it is not loaded, or because nothing is? */
	return access(SIV_SYSFS_MODULES, F_OK) ? -errno : 0;
}
