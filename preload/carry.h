/* SPDX-License-Identifier: BSD-2-Clause */
/* Socket options that a program set before connect() or bind(), carried to the new socket. */
#ifndef _PRELOAD_CARRY_H
#define _PRELOAD_CARRY_H

/*
 * Sets on @to what differs on @from. Async-signal-safe. Returns 0, or -errno when an option would
 * be lost whose loss the program would notice: the table in carry.c says which.
 */
int carry_options(int from, int to);

/* The receiver of SIGIO, if @from has one. O_ASYNC itself, which sticks to a number, is not set. */
int carry_owner(int from, int to);

#endif
