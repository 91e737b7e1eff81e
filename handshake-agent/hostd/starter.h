/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process that starts a switch when it is asked to, or connects to the one that runs, and can be
 * asked for nothing else: so that hostd itself, which reads what guests write, never runs a program
 * again, and may be another user than the switch.
 */
#ifndef SIVSHMEM_STARTER_H
#define SIVSHMEM_STARTER_H

/*
 * Forks it, before there is anything secret in memory. It ends when the descriptor that is returned
 * is closed; -errno on failure.
 */
int starter_open(const char *binary, const char *run_dir, const char *log_file);

/* As switch_start() says. -EPIPE: it is gone. */
int starter_start(int starter);

/* As switch_open() says. */
int starter_connect(int starter);

#endif
