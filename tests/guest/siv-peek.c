// SPDX-License-Identifier: BSD-2-Clause
/*
 * Tries to map what a process must not get, and says what came of it: "mapped" or an errno's name.
 *
 *   siv-peek FILE OFFSET     mmap of a page of FILE, shared, for reading and writing
 *   siv-peek socket          mmap of a socket of the family
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sivshmem.h>

static int result(const char *what, int ok)
{
	if (ok)
		puts("mapped");
	else
		printf("%s: %s\n", what, strerrorname_np(errno));
	return !ok;
}

int main(int argc, char **argv)
{
	void *p;
	int fd;

	if (argc == 2 && !strcmp(argv[1], "socket")) {
		fd = socket(siv_family(), SOCK_STREAM, 0);
	} else if (argc == 3) {
		fd = open(argv[1], O_RDWR | O_SYNC);
	} else {
		fprintf(stderr, "usage: siv-peek FILE OFFSET | socket\n");
		return 2;
	}
	if (fd < 0)
		return result("open", 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 argc == 3 ? strtoll(argv[2], NULL, 0) : 0);
	return result("mmap", p != MAP_FAILED);
}
