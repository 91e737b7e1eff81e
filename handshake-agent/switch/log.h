/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log lines on stderr: UTC time, level, message.
 * error: somebody must act; warning: somebody should look; info: a decision; debug: the rest.
 */
#ifndef SIVSHMEM_SWITCH_LOG_H
#define SIVSHMEM_SWITCH_LOG_H

enum log_level {
	LOG_LEVEL_NONE = -1,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

extern enum log_level log_level; /* lines above it are left out; LOG_LEVEL_INFO at start */

/* "error", "warning", "info" or "debug" to its level, or -1 */
int log_level_parse(const char *name);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
