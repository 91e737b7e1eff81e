// SPDX-License-Identifier: BSD-2-Clause
/*
 * A client whose socket is used by the process that connected it, by its child, and by a program
 * that the child executes: preload_fork ENDPOINT
 * Each prints the names that it sees, and echoes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload_net.h"

int main(int argc, char **argv)
{
	struct endpoint ep;
	char number[16];
	int fd, status;
	pid_t child;

	if (argc == 3 && !strcmp(argv[1], "--inherited")) {
		fd = atoi(argv[2]);
		net_print_names("exec", fd);
		net_echo(fd, "from the program that was executed");
		return EXIT_SUCCESS;
	}
	if (argc != 2) {
		printf("usage: %s ENDPOINT\n", argv[0]);
		return 2;
	}
	ep = net_parse(argv[1]);
	fd = net_socket(&ep, 0);
	if (connect(fd, &ep.any, ep.len))
		net_fail("connect");
	net_print_names("parent", fd);
	net_echo(fd, "from the parent");

	child = fork();
	if (child < 0)
		net_fail("fork");
	if (!child) {
		net_print_names("child", fd);
		net_echo(fd, "from the child");
		snprintf(number, sizeof(number), "%d", fd);
		execl("/proc/self/exe", argv[0], "--inherited", number, NULL);
		net_fail("exec");
	}
	if (waitpid(child, &status, 0) != child)
		net_fail("waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		printf("child: failed\n");
		return EXIT_FAILURE;
	}
	net_echo(fd, "from the parent again");
	printf("done\n");
	return EXIT_SUCCESS;
}
