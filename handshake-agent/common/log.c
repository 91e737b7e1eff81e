// SPDX-License-Identifier: BSD-2-Clause
/* Messages for people, on standard error. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024u /* bytes; what is longer is cut */

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

/* syslog(3) priorities, as sd-daemon(3) reads them */
static const int level_priorities[] = {
	[LOG_LEVEL_ERROR] = 3,
	[LOG_LEVEL_WARNING] = 4,
	[LOG_LEVEL_INFO] = 6,
	[LOG_LEVEL_DEBUG] = 7,
};

static const char *program = "sivshmem";
static enum log_level most_shown = LOG_LEVEL_INFO;
static bool to_journal, to_file;

static void look_at_stderr(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	to_journal = to_file = false;
	if (fstat(STDERR_FILENO, &st))
		return;
	to_journal = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && st.st_dev == dev &&
		     st.st_ino == ino;
	to_file = S_ISREG(st.st_mode);
}

void log_init(const char *name, enum log_level most)
{
	program = name;
	most_shown = most;
	look_at_stderr();
}

bool log_level_parse(const char *name, enum log_level *level)
{
	for (unsigned int i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = i;
			return true;
		}
	}
	return false;
}

bool log_enabled(enum log_level level)
{
	return level <= most_shown;
}

/* What a line starts with; its length. */
static int line_start(enum log_level level, char *line, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t len = 0;

	if (to_journal)
		return snprintf(line, size, "<%d>", level_priorities[level]);
	if (to_file) {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
		len += (size_t)snprintf(line + len, size - len, ".%03ldZ ",
					now.tv_nsec / 1000000);
	}
	return (int)len + snprintf(line + len, size - len, "%s: %s: ", program, level_names[level]);
}

/* One write(2) for a line, so that lines of several processes do not mix. */
static void log_line(enum log_level level, const char *fmt, va_list args)
{
	char line[LOG_LINE_MAX];
	int saved_errno = errno;
	int len, text;

	if (!log_enabled(level))
		return;
	len = line_start(level, line, sizeof(line));
	text = vsnprintf(line + len, sizeof(line) - len, fmt, args);
	len = text < 0 ? len : len + text;
	if (len > (int)sizeof(line) - 1)
		len = sizeof(line) - 1;
	/* Some of the text may come from a guest: it shall not move a terminal's cursor. */
	for (int i = 0; i < len; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0) {
		/* nowhere left to say so */
	}
	errno = saved_errno;
}

void log_error(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_line(LOG_LEVEL_ERROR, fmt, args);
	va_end(args);
}

void log_warning(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_line(LOG_LEVEL_WARNING, fmt, args);
	va_end(args);
}

void log_info(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_line(LOG_LEVEL_INFO, fmt, args);
	va_end(args);
}

void log_debug(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_line(LOG_LEVEL_DEBUG, fmt, args);
	va_end(args);
}
