/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a daemon gives up: capabilities, core dumps, and system calls that it does not need.
 *
 * Each daemon has a list of its own beside main(); what all of them need is confine.c's. A call
 * that is on neither fails with EPERM and is logged by the kernel, so that a list which misses something
 * costs an operation and not the daemon. Calls that only an intruder would make (to run a program,
 * look into another process, load code into the kernel) end the process with SIGSYS.
 *
 * Once confined there is no way back, for this process and all its children.
 */
#ifndef SIVSHMEM_CONFINE_H
#define SIVSHMEM_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum confine_mode {
	CONFINE_OFF,
	CONFINE_LOG,     /* all calls are let through; the kernel logs those that are not listed */
	CONFINE_ENFORCE,
};

struct confine_calls {
	const char *const *names; /* NULL at the end; what a kernel does not know is left out */
	const int *families;      /* of socket() and socketpair(); 0 at the end */
};

/* "off", "log", "enforce"; false for anything else. */
bool confine_mode_parse(const char *name, enum confine_mode *mode);

/* No core dumps, and no look at this memory for processes of the same user. Logs what fails. */
void confine_memory(void);

/*
 * Keeps those capabilities of the mask (1 << CAP_x) that the process has, in its bounding set, too;
 * and gains none by exec(). 0 or -errno.
 */
int confine_capabilities(uint64_t keep);

/*
 * From here on @calls, and what every daemon needs. For processes of one thread. 0, or -errno with
 * nothing changed; a kernel without seccomp is 0 and a warning.
 */
int confine_calls(enum confine_mode mode, const struct confine_calls *calls);

/*
 * Both of these, as a daemon does once it is set up; logs what fails. 0, or -errno where system calls
 * could not be confined; capabilities that could not be dropped are a warning.
 */
int confine(enum confine_mode mode, uint64_t keep, const struct confine_calls *calls);

#endif
