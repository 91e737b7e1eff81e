// SPDX-License-Identifier: BSD-2-Clause
/*
 * Mends in the text what libconfuse 3.3 gets wrong or cannot do; no byte moves to another line. It
 * counts a comment as three lines, takes the end of the file for that of a comment or a section (a
 * file that was cut off, and with it what it allows, must not pass for a whole one), and knows one
 * title for a section.
 */
#include "config_text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int config_text_read(const char *path, char **text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err = 0;
	char *data = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		err = -errno;
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)CONFIG_TEXT_MAX) {
		err = -EFBIG;
		goto out;
	}
	data = calloc(1, (size_t)st.st_size + 1);
	if (!data) {
		err = -ENOMEM;
		goto out;
	}
	n = pread(fd, data, (size_t)st.st_size, 0);
	if (n != st.st_size)
		err = n < 0 ? -errno : -EIO;
	else if (memchr(data, 0, (size_t)n))
		err = -EILSEQ;
out:
	close(fd);
	if (err)
		free(data);
	else
		*text = data;
	return err;
}

/* The end of a comment that starts at @p; @p if none does, NULL if it has none. */
static char *skip_comment(char *p)
{
	char *end;

	if (p[0] == '#' || (p[0] == '/' && p[1] == '/'))
		return p + strcspn(p, "\n");
	if (p[0] != '/' || p[1] != '*')
		return p;
	end = strstr(p + 2, "*/");
	return end ? end + 2 : NULL;
}

/* Bytes of the string that starts at @p; 0: none does. libconfuse refuses one without an end. */
static size_t string_len(const char *p)
{
	size_t n = 1;

	if (p[0] != '"' && p[0] != '\'')
		return 0;
	while (p[n] && p[n] != p[0])
		n += p[n] == '\\' && p[n + 1] ? 2 : 1;
	return p[n] ? n + 1 : n;
}

/* Line ends from @p up to @end. */
static int count_lines(const char *p, const char *end)
{
	int lines = 0;

	while (p < end)
		lines += *p++ == '\n';
	return lines;
}

int config_text_blank_comments(char *text)
{
	for (char *p = text; *p;) {
		char *end = skip_comment(p);
		size_t string = string_len(p);

		if (!end)
			return 1 + count_lines(text, p);
		if (end == p) {
			p += string ? string : 1;
			continue;
		}
		for (; p < end; p++) {
			if (*p != '\n')
				*p = ' ';
		}
	}
	return 0;
}

/* The titles after @p, if there are two. */
static void join_titles(char *p)
{
	char *second, *end;

	p += strspn(p, " \t\r\n");
	if (*p != '"')
		return;
	end = p + string_len(p);
	second = end + strspn(end, " \t\r\n");
	if (*second != '"')
		return;
	end[-1] = ' ';
	*second = ' ';
}

void config_text_join_titles(char *text, const char *name)
{
	size_t len = strlen(name);
	bool word_starts = true;

	for (char *p = text; *p;) {
		size_t string = string_len(p);

		if (string) {
			word_starts = true;
			p += string;
			continue;
		}
		if (word_starts && strncmp(p, name, len) == 0 && p[len] &&
		    strchr(" \t\r\n\"", p[len]))
			join_titles(p + len);
		word_starts = !(isalnum((unsigned char)*p) || strchr("_-.", *p));
		p++;
	}
}

int config_text_check_braces(const char *text)
{
	const char *opened = text;
	int depth = 0;

	for (const char *p = text; *p;) {
		size_t string = string_len(p);

		if (*p == '{' && depth++ == 0)
			opened = p;
		else if (*p == '}')
			depth--;
		p += string ? string : 1;
	}
	return depth > 0 ? 1 + count_lines(text, opened) : 0;
}
