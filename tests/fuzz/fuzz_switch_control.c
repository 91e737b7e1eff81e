// SPDX-License-Identifier: BSD-2-Clause
/*
 * The control protocol of sivshmem-switch under hostile packets. Input: packets, each a byte N and
 * then 2 * N bytes (the last one may be cut short). A real switch, a real SEQPACKET connection.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "remove_tree.h"
#include "switch.h"

static struct switchd sw;
static char run_dir[] = "/tmp/siv-fuzz-XXXXXX";

static void clean_up(void)
{
	switchd_exit(&sw);
	remove_tree(run_dir);
}

static void set_up(void)
{
	log_init("fuzz", LOG_LEVEL_NONE); /* refused links are logged as errors */
	if (!mkdtemp(run_dir) || switchd_init(&sw, run_dir))
		abort();
	atexit(clean_up);
}

static void attach(int pair[2])
{
	const struct swp_hello hello = {
		.hdr = { .type = SWP_HELLO, .len = sizeof(hello) },
		.version = SWP_VERSION,
	};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) ||
	    control_attach(&sw, pair[1], 1) || send(pair[0], &hello, sizeof(hello), 0) < 0)
		abort();
}

static void serve(int client)
{
	char buf[1024];

	while (loop_run_once(sw.loop, 0) > 0)
		;
	while (recv(client, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int initialised;
	int pair[2];

	if (!initialised++)
		set_up();
	attach(pair);
	serve(pair[0]);
	while (size) {
		size_t len = 2 * data[0];

		data++;
		size--;
		if (len > size)
			len = size;
		send(pair[0], data, len, MSG_NOSIGNAL);
		data += len;
		size -= len;
		serve(pair[0]);
		if (sw.control.client.fd < 0) {
			close(pair[0]);
			attach(pair);
			serve(pair[0]);
		}
	}
	close(pair[0]);
	serve(-1);
	if (sw.control.client.fd >= 0)
		abort();
	while (sw.n_links)
		if (link_del(sw.links[0]))
			abort();
	return 0;
}
