// SPDX-License-Identifier: BSD-2-Clause
/*
 * libconfuse, with right line numbers. It forgets where an option was, and counts a comment as three
 * lines; so each option's line is noted when it is read, and comments are blanked before that.
 */
#include "config_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "suggest.h"

struct option_line {
	const cfg_opt_t *option; /* of one section: libconfuse copies them for each */
	int line;
};

struct config_text {
	const char *path; /* the caller's, while it is parsed */
	cfg_t *cfg;
	struct option_line *lines;
	size_t nr_lines;
	bool complained;
};

/* libconfuse's callbacks have no argument of ours. */
static struct config_text *parsing;

cfg_t *config_text_root(struct config_text *text)
{
	return text->cfg;
}

static int line_of(const struct config_text *text, const cfg_opt_t *option)
{
	for (size_t i = 0; i < text->nr_lines; i++)
		if (text->lines[i].option == option)
			return text->lines[i].line;
	return 0;
}

int config_text_line(const struct config_text *text, cfg_t *section, const char *key)
{
	int line = key ? line_of(text, cfg_getopt(section, key)) : 0, first = section->line;

	if (line)
		return line;
	for (const cfg_opt_t *opt = section->opts; opt->name; opt++) {
		line = line_of(text, opt);
		if (line && line < first)
			first = line;
	}
	return first;
}

/* Called by libconfuse for each value that it has just read. */
static int note_line(cfg_t *cfg, cfg_opt_t *opt)
{
	struct option_line *lines;

	if (line_of(parsing, opt))
		return 0;
	lines = reallocarray(parsing->lines, parsing->nr_lines + 1, sizeof(*lines));
	if (!lines)
		return -1;
	lines[parsing->nr_lines++] = (struct option_line){ .option = opt, .line = cfg->line };
	parsing->lines = lines;
	return 0;
}

static void note_all(cfg_t *cfg, const cfg_opt_t *opts, const char *section)
{
	char name[128];

	for (; opts->name; opts++) {
		snprintf(name, sizeof(name), "%s%s%s", section, section[0] ? "|" : "", opts->name);
		if (opts->type == CFGT_SEC)
			note_all(cfg, opts->subopts, name);
		else
			cfg_set_validate_func(cfg, name, note_line);
	}
}

/* libconfuse's own complaints: syntax, unknown keys, doubled titles. */
static void complain(cfg_t *cfg, const char *fmt, va_list args)
{
	static const char unknown[] = "no such option '";
	char text[512], word[SUGGEST_WORD_MAX + 1];
	struct suggest s;

	parsing->complained = true;
	vsnprintf(text, sizeof(text), fmt, args);
	if (strncmp(text, unknown, sizeof(unknown) - 1)) {
		log_error("%s:%d: %s", parsing->path, cfg->line, text);
		return;
	}
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(text + sizeof(unknown) - 1, "'"),
		 text + sizeof(unknown) - 1);
	suggest_init(&s, word);
	for (const cfg_opt_t *opt = cfg->opts; opt->name; opt++)
		suggest_offer(&s, opt->name);
	if (s.best)
		log_error("%s:%d: unknown key \"%s\"; did you mean \"%s\"?", parsing->path, cfg->line,
			  word, s.best);
	else
		log_error("%s:%d: unknown key \"%s\": see agent.conf(5) for those there are",
			  parsing->path, cfg->line, word);
}

/* Where the comment at @p ends; @p if there is none. */
static char *comment_end(char *p)
{
	char *end;

	if (p[0] == '#' || (p[0] == '/' && p[1] == '/'))
		return p + strcspn(p, "\n");
	if (p[0] == '/' && p[1] == '*') {
		end = strstr(p + 2, "*/");
		return end ? end + 2 : p;
	}
	return p;
}

static void blank_comments(char *p)
{
	while (*p) {
		char *end = comment_end(p), quote = *p;

		if (end != p) {
			for (; p < end; p++)
				if (*p != '\n')
					*p = ' ';
			continue;
		}
		p++;
		if (quote != '"' && quote != '\'')
			continue;
		while (*p && *p != quote)
			p += *p == '\\' && p[1] ? 2 : 1;
		if (*p)
			p++;
	}
}

/* The whole file, NUL-terminated; NULL: said why. */
static char *read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *data = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st)) {
		log_error("%s: %s: give the configuration with --config", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_TEXT_MAX) {
		log_error("%s: not a regular file of at most %u bytes", path, CONFIG_TEXT_MAX);
		goto out;
	}
	data = calloc(1, st.st_size + 1);
	if (!data) {
		log_error("%s: out of memory", path);
		goto out;
	}
	n = pread(fd, data, st.st_size, 0);
	if (n != st.st_size || memchr(data, 0, n)) {
		log_error("%s: %s", path, n == st.st_size ? "not a text" : "cannot be read");
		free(data);
		data = NULL;
	}
out:
	if (fd >= 0)
		close(fd);
	return data;
}

struct config_text *config_text_parse(const char *path, cfg_opt_t *opts)
{
	struct config_text *text = calloc(1, sizeof(*text));
	char *data = text ? read_file(path) : NULL;
	bool ok;

	if (!data)
		goto err_free;
	text->cfg = cfg_init(opts, CFGF_NONE);
	if (!text->cfg)
		goto err_free;
	blank_comments(data);
	text->path = path;
	parsing = text;
	cfg_set_error_function(text->cfg, complain);
	note_all(text->cfg, opts, "");
	ok = cfg_parse_buf(text->cfg, data) == CFG_SUCCESS;
	if (!ok && !text->complained)
		log_error("%s:%d: syntax error", path, text->cfg->line);
	parsing = NULL;
	text->path = NULL;
	if (!ok)
		goto err_free;
	free(data);
	return text;

err_free:
	free(data);
	config_text_free(text);
	return NULL;
}

void config_text_free(struct config_text *text)
{
	if (!text)
		return;
	if (text->cfg)
		cfg_free(text->cfg);
	free(text->lines);
	free(text);
}
