/* SPDX-License-Identifier: BSD-2-Clause */
/* Idle channels, for what they cost. */
#ifndef BENCH_HOLD_H
#define BENCH_HOLD_H

#include "socket.h"

/*
 * Connects @count times, several at once, prints "ready", and keeps the channels until it is killed.
 * Returns -errno when a connect did not work.
 */
int hold(const struct endpoint *endpoint, unsigned int count);

/* As many descriptors as this process may have. Returns 0 or -errno. */
int hold_raise_limit(void);

#endif
