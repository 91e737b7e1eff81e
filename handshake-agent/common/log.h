/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages for people, on standard error, one line each: "program: level: text". Where systemd
 * listens (JOURNAL_STREAM names our stderr) a line starts with its priority "<N>" instead; in a
 * file, where nobody else notes it, with the time (UTC).
 */
#ifndef SIVSHMEM_LOG_H
#define SIVSHMEM_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_NONE = -1,
	LOG_LEVEL_ERROR,   /* somebody must act */
	LOG_LEVEL_WARNING, /* somebody should look */
	LOG_LEVEL_INFO,    /* a decision */
	LOG_LEVEL_DEBUG,   /* the rest */
};

/* @program is kept, not copied. Until it is called: "sivshmem", LOG_LEVEL_INFO. */
void log_init(const char *program, enum log_level most);

/* "error", "warning", "info", "debug"; false for anything else. */
bool log_level_parse(const char *name, enum log_level *level);

bool log_enabled(enum log_level level);

/* Leave errno as it was. Control characters in the text are written as '?'. */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
