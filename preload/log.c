// SPDX-License-Identifier: BSD-2-Clause
/* One line to the system's log, from inside a hook. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syslog.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

enum { LINE_MAX_LEN = 512 };

static size_t append(char *line, size_t len, const char *text)
{
	size_t room = LINE_MAX_LEN - 1 - len, n = strnlen(text, room);

	memcpy(line + len, text, n);
	return len + n;
}

static int to_syslog(const char *line, size_t len)
{
	static const struct sockaddr_un log = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ssize_t sent;

	if (fd < 0)
		return -1;
	sent = sendto(fd, line, len, MSG_NOSIGNAL, (const struct sockaddr *)&log, sizeof(log));
	close(fd);
	return sent < 0 ? -1 : 0;
}

void log_warning(const char *part, ...)
{
	static const char priority[] = { '<', '0' + LOG_WARNING, '>' };
	char line[LINE_MAX_LEN];
	size_t len = 0;
	int saved = errno;
	va_list parts;

	memcpy(line, priority, sizeof(priority));
	len = append(line, sizeof(priority), program_invocation_short_name);
	len = append(line, len, ": sivshmem_preload: ");
	va_start(parts, part);
	for (; part; part = va_arg(parts, const char *))
		len = append(line, len, part);
	va_end(parts);
	if (to_syslog(line, len)) {
		line[len++] = '\n';
		/* If that fails as well, nobody is left to tell. */
		len = write(STDERR_FILENO, line + sizeof(priority), len - sizeof(priority));
	}
	errno = saved;
}
