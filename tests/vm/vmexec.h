/* SPDX-License-Identifier: BSD-2-Clause */
/* The three roles of vmexec; each returns its exit code. */
#ifndef VM_VMEXEC_H
#define VM_VMEXEC_H

#include <stdbool.h>

enum {
	EXIT_TIMEOUT = 124, /* as timeout(1) */
	EXIT_TROUBLE = 125, /* vmexec itself failed */
	EXIT_CANNOT_RUN = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_LOST = 255, /* the VM went away, as ssh(1) */
};

struct client_options {
	const char *socket;
	double timeout_s; /* 0: none */
	bool with_stdin;
	bool terminal;
	char **argv; /* NULL-terminated command */
};

/* guest: runs commands that come through the virtio-serial port named so; never returns in order */
int serve(const char *port_name, int ports_expected);

/*
 * host: starts one VM and serves its clients at `path`; says so on standard output once they can
 * come. QEMU finds the channel's stream as descriptor QEMU_FD. Exits as QEMU does.
 */
enum { QEMU_FD = 3 };
int mux(const char *path, char **qemu_argv);

/* host: runs one command in a VM and exits as it does */
int client(const struct client_options *options);

/*
 * guest: waits until `expected` virtio-serial ports have their names, links each as
 * /dev/virtio-ports/NAME, as udev would, and returns the path of the one called `name`. Ports that
 * come later are linked by ports_update(), which is called when the descriptor is readable.
 */
const char *ports_wait(const char *name, int expected, int *uevents);
void ports_update(int uevents);

#endif
