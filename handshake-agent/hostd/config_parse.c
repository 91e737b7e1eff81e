// SPDX-License-Identifier: BSD-2-Clause
/*
 * libconfuse, with what host.conf needs beyond it: the line of each option, for what is found wrong
 * only when the whole file is known; suggestions for unknown keys; and sections with two titles.
 */
#include "config_parse.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/suggest.h"
#include "config.h"

struct option_line {
	const cfg_opt_t *option; /* of one section: libconfuse copies them for each */
	int line;
};

struct config_parse {
	char *path;
	FILE *errors;
	unsigned int n_errors;
	cfg_t *cfg;
	struct option_line *lines;
	size_t n_lines;
};

/* libconfuse's callbacks have no argument of ours. */
static struct config_parse *parsing;

static void vconfig_error(struct config_parse *parse, int line, const char *fmt, va_list args)
{
	if (line)
		fprintf(parse->errors, "%s:%d: ", parse->path, line);
	else
		fprintf(parse->errors, "%s: ", parse->path);
	vfprintf(parse->errors, fmt, args);
	fputc('\n', parse->errors);
	parse->n_errors++;
}

void config_error(struct config_parse *parse, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vconfig_error(parse, line, fmt, args);
	va_end(args);
}

unsigned int config_errors(const struct config_parse *parse)
{
	return parse->n_errors;
}

cfg_t *config_root(struct config_parse *parse)
{
	return parse->cfg;
}

/* 0: it was not set. */
static int option_line(const struct config_parse *parse, const cfg_opt_t *option)
{
	for (size_t i = 0; i < parse->n_lines; i++) {
		if (parse->lines[i].option == option)
			return parse->lines[i].line;
	}
	return 0;
}

int config_section_line(const struct config_parse *parse, cfg_t *section)
{
	int first = section->line;

	for (const cfg_opt_t *option = section->opts; option->name; option++) {
		int line = option_line(parse, option);

		if (line && line < first)
			first = line;
	}
	return first;
}

int config_line(const struct config_parse *parse, cfg_t *section, const char *option)
{
	return option_line(parse, cfg_getopt(section, option)) ?:
	       config_section_line(parse, section);
}

/* Called by libconfuse for each value that it has just read. The first line of an option counts. */
static int note_line(cfg_t *cfg, cfg_opt_t *opt)
{
	struct option_line *lines;

	for (size_t i = 0; i < parsing->n_lines; i++) {
		if (parsing->lines[i].option == opt)
			return 0;
	}
	lines = reallocarray(parsing->lines, parsing->n_lines + 1, sizeof(*lines));
	if (!lines)
		return -1;
	lines[parsing->n_lines++] = (struct option_line){ .option = opt, .line = cfg->line };
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

/* libconfuse's own complaints: syntax and unknown keys. */
static void complain(cfg_t *cfg, const char *fmt, va_list args)
{
	static const char unknown[] = "no such option '";
	char text[256], word[SUGGEST_WORD_MAX + 1];
	struct suggest suggest;

	vsnprintf(text, sizeof(text), fmt, args);
	if (strncmp(text, unknown, strlen(unknown)) != 0) {
		config_error(parsing, cfg->line, "%s", text);
		return;
	}
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(text + strlen(unknown), "'"),
		 text + strlen(unknown));
	suggest_init(&suggest, word);
	for (const cfg_opt_t *opt = cfg->opts; opt->name; opt++)
		suggest_offer(&suggest, opt->name);
	if (suggest.best)
		config_error(parsing, cfg->line, "unknown key \"%s\"; did you mean \"%s\"?", word,
			     suggest.best);
	else
		config_error(parsing, cfg->line,
			     "unknown key \"%s\": see host.conf(5) for those there are", word);
}

/* Before libconfuse sees the text */

/* The end of a comment that starts at @p, or @p if none does. */
static char *skip_comment(char *p)
{
	char *end;

	if (p[0] == '#' || (p[0] == '/' && p[1] == '/'))
		return p + strcspn(p, "\n");
	if (p[0] != '/' || p[1] != '*')
		return p;
	end = strstr(p + 2, "*/");
	return end ? end + 2 : p + strlen(p);
}

/* The end of a string that starts at @p, or @p if none does. */
static char *skip_string(char *p)
{
	char quote = *p;

	if (quote != '"' && quote != '\'')
		return p;
	for (p++; *p && *p != quote; p++) {
		if (*p == '\\' && p[1])
			p++;
	}
	return *p ? p + 1 : p;
}

/* Comments become spaces: libconfuse 3.3 counts two lines too many for each. */
static void blank_comments(char *text)
{
	for (char *p = text; *p;) {
		char *end = skip_comment(p);

		for (char *c = p; c < end; c++) {
			if (*c != '\n')
				*c = ' ';
		}
		if (end == p)
			end = skip_string(p);
		p = end == p ? p + 1 : end;
	}
}

/* `"a" "b"` at @p becomes `"a   b"`: as many bytes, and the same lines. */
static void join_titles(char *p)
{
	char *second, *end;

	p += strspn(p, " \t\r\n");
	if (*p != '"')
		return;
	end = skip_string(p);
	second = end + strspn(end, " \t\r\n");
	if (*second != '"')
		return;
	end[-1] = ' ';
	*second = ' ';
}

/* In a text without comments. */
static void join_all_titles(char *text, const char *name)
{
	size_t len = strlen(name);
	bool word_starts = true;

	for (char *p = text; *p;) {
		char *end = skip_string(p);

		if (end == p) {
			if (word_starts && strncmp(p, name, len) == 0 &&
			    strchr(" \t\r\n\"", p[len]))
				join_titles(p + len);
			word_starts = !(isalnum((unsigned char)*p) || strchr("_-.", *p));
			end = p + 1;
		} else {
			word_starts = true;
		}
		p = end;
	}
}

/*
 * libconfuse takes the end of the file for that of a section: a file that was cut off, and with it
 * what it allows, must not pass for a whole one. In a text without comments.
 */
static bool check_braces(struct config_parse *parse, char *text)
{
	int depth = 0, line = 1, opened = 0;

	for (char *p = text; *p;) {
		char *end = skip_string(p);

		if (end != p) {
			for (; p < end; p++)
				line += *p == '\n';
			continue;
		}
		if (*p == '{' && depth++ == 0)
			opened = line;
		else if (*p == '}')
			depth--;
		line += *p++ == '\n';
	}
	if (depth > 0)
		config_error(parse, opened, "this '{' has no '}'");
	return depth <= 0;
}

/* The whole file with a NUL at its end; NULL: said so. */
static char *read_text(struct config_parse *parse)
{
	int fd = open(parse->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0) {
		config_error(parse, 0, "%s: give the configuration with --config", strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)HOST_CONFIG_MAX) {
		config_error(parse, 0, "no regular file of at most %u bytes", HOST_CONFIG_MAX);
		goto out;
	}
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text) {
		config_error(parse, 0, "out of memory");
		goto out;
	}
	n = pread(fd, text, (size_t)st.st_size, 0);
	if (n != st.st_size || memchr(text, 0, (size_t)n)) {
		config_error(parse, 0, n < 0 ? "cannot be read" : "is no text");
		free(text);
		text = NULL;
	}
out:
	if (fd >= 0)
		close(fd);
	return text;
}

static bool parse_text(struct config_parse *parse, char *text, cfg_opt_t *opts)
{
	FILE *file = NULL;
	bool ok = false;

	parse->cfg = cfg_init(opts, CFGF_NONE);
	if (!parse->cfg)
		goto out;
	cfg_set_error_function(parse->cfg, complain);
	note_all(parse->cfg, opts, "");
	if (!text[0]) {
		ok = true;
		goto out;
	}
	file = fmemopen(text, strlen(text), "r");
	if (!file)
		goto out;
	parsing = parse;
	ok = cfg_parse_fp(parse->cfg, file) == CFG_SUCCESS;
	parsing = NULL;
	if (!ok && !parse->n_errors)
		config_error(parse, parse->cfg->line, "syntax error");
out:
	if (!ok && !parse->n_errors)
		config_error(parse, 0, "%s", strerror(errno));
	if (file)
		fclose(file);
	return ok;
}

struct config_parse *config_parse(const char *path, cfg_opt_t *opts, const char *two_titles,
				  FILE *errors)
{
	struct config_parse *parse = calloc(1, sizeof(*parse));
	char *text = NULL;

	if (!parse)
		return NULL;
	parse->errors = errors;
	parse->path = strdup(path);
	if (!parse->path)
		goto err_free;
	text = read_text(parse);
	if (!text)
		goto err_free;
	blank_comments(text);
	join_all_titles(text, two_titles);
	if (!check_braces(parse, text) || !parse_text(parse, text, opts))
		goto err_free;
	free(text);
	return parse;

err_free:
	free(text);
	config_parse_free(parse);
	return NULL;
}

void config_parse_free(struct config_parse *parse)
{
	if (!parse)
		return;
	if (parse->cfg)
		cfg_free(parse->cfg);
	free(parse->lines);
	free(parse->path);
	free(parse);
}
