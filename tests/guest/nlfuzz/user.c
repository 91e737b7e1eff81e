// SPDX-License-Identifier: BSD-2-Clause
/*
 * Processes' sockets, so that there is something to grant, reset and lose.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "nlfuzz.h"

static struct sockaddr_sivshmem address(uint32_t service)
{
	struct sockaddr_sivshmem to = { .ssiv_family = AF_SIVSHMEM, .ssiv_vm = "lab" };

	strcpy(to.ssiv_service, service_name(service));
	return to;
}

static bool ready(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, ms) > 0;
}

/* A little of everything; what comes of it does not matter here. */
static void talk(struct rng *r, int fd)
{
	uint32_t direct = SIV_DIRECT_TX, n;
	char bytes[3000];
	void *window;

	memset(bytes, 'x', sizeof(bytes));
	for (n = below(r, 6); n; n--) {
		if (send(fd, bytes, 1 + below(r, sizeof(bytes)), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		ready(fd, POLLIN, below(r, 10));
		if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
			break;
	}
	if (one_in(r, 4)) {
		setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_DIRECT, &direct, sizeof(direct));
		window = mmap(NULL, SIV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			      SIV_MMAP_CONTROL);
		if (window != MAP_FAILED) {
			*(volatile uint64_t *)window = extreme(r);
			ready(fd, POLLIN, below(r, 20));
			munmap(window, SIV_PAGE_SIZE);
		}
	}
	if (one_in(r, 4))
		shutdown(fd, below(r, 3));
}

static void listen_once(struct rng *r, int type)
{
	int fd = socket(AF_SIVSHMEM, type | SOCK_NONBLOCK, 0), peer, one = 1;
	struct sockaddr_sivshmem self = address(below(r, SERVICES));

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SIVSHMEM, SIVSHMEM_REUSEPORT, &one, sizeof(one));
	if (!bind(fd, (void *)&self, sizeof(self)) && !listen(fd, 1 + below(r, 4))) {
		for (uint32_t n = 1 + below(r, 30); n && !stop; n--) {
			ready(fd, POLLIN, 50);
			peer = accept(fd, NULL, NULL);
			if (peer < 0)
				continue;
			accepts++;
			talk(r, peer);
			close(peer);
		}
	}
	close(fd);
}

static void connect_once(struct rng *r, int type)
{
	int fd = socket(AF_SIVSHMEM, type | SOCK_NONBLOCK, 0), err;
	struct sockaddr_sivshmem to = address(below(r, SERVICES));

	if (fd < 0)
		die("socket");
	if (one_in(r, 8)) {
		struct sockaddr_sivshmem self = address(below(r, SERVICES));

		bind(fd, (void *)&self, sizeof(self));
	}
	err = connect(fd, (void *)&to, sizeof(to));
	if (err && errno == EINPROGRESS && ready(fd, POLLOUT, below(r, 300)))
		err = connect(fd, (void *)&to, sizeof(to)) && errno != EISCONN;
	if (!err) {
		connects++;
		talk(r, fd);
	}
	close(fd);
}

void *user_run(void *arg)
{
	struct user *u = arg;

	while (!stop) {
		int type = one_in(&u->rng, 8) ? SOCK_SEQPACKET : SOCK_STREAM;

		if (u->listens)
			listen_once(&u->rng, type);
		else
			connect_once(&u->rng, type);
	}
	return NULL;
}
