// SPDX-License-Identifier: BSD-2-Clause
/*
 * Tries to map what a process must not get, and says what came of it: "mapped" or an errno's name.
 *
 *   siv-peek FILE OFFSET     mmap of a page of FILE, shared, for reading and writing
 *   siv-peek socket          mmap of a socket of the family
 *   siv-peek FILE mark TEXT  maps all of FILE and writes TEXT into its middle
 *   siv-peek FILE find TEXT  maps all of FILE and says how often TEXT is in it
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

static int count(const char *in, size_t size, const char *text)
{
	const char *end = in + size, *at = in;
	int n = 0;

	while ((at = memmem(at, end - at, text, strlen(text)))) {
		at++;
		n++;
	}
	return n;
}

static int whole(const char *file, const char *what, const char *text)
{
	int fd = open(file, O_RDWR | O_CLOEXEC);
	struct stat st;
	char *p;

	if (fd < 0 || fstat(fd, &st))
		return result("open", 0);
	p = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return result("mmap", 0);
	if (strcmp(what, "mark") == 0)
		memcpy(p + st.st_size / 2, text, strlen(text));
	printf("%d in %lld bytes\n", count(p, st.st_size, text), (long long)st.st_size);
	return 0;
}

int main(int argc, char **argv)
{
	void *p;
	int fd;

	if (argc == 4 && (!strcmp(argv[2], "mark") || !strcmp(argv[2], "find"))) {
		return whole(argv[1], argv[2], argv[3]);
	} else if (argc == 2 && !strcmp(argv[1], "socket")) {
		fd = socket(siv_family(), SOCK_STREAM, 0);
	} else if (argc == 3) {
		fd = open(argv[1], O_RDWR | O_SYNC);
	} else {
		fprintf(stderr, "usage: siv-peek FILE OFFSET | socket | FILE mark|find TEXT\n");
		return 2;
	}
	if (fd < 0)
		return result("open", 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 argc == 3 ? strtoll(argv[2], NULL, 0) : 0);
	return result("mmap", p != MAP_FAILED);
}
