/* SPDX-License-Identifier: BSD-2-Clause */
/* One line to the system's log, from inside a hook. */
#ifndef _PRELOAD_LOG_H
#define _PRELOAD_LOG_H

/*
 * Sends the strings up to a NULL, one after the other, as a warning to /dev/log, or to stderr where
 * nobody reads that. Async-signal-safe, which syslog(3) is not; never waits; keeps errno.
 */
void log_warning(const char *part, ...) __attribute__((sentinel));

#endif
