// SPDX-License-Identifier: BSD-2-Clause
/* libconfuse around the text that config_text.c has prepared: lines, complaints, suggestions. */
#include "config_parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_text.h"
#include "suggest.h"

#define MESSAGE_MAX 1024u /* bytes of a report; what is longer is cut */

struct option_line {
	const cfg_opt_t *option; /* of one section: libconfuse copies them for each */
	int line;
};

struct config_parse {
	const struct config_source *source;
	unsigned int n_errors;
	cfg_t *cfg;
	struct option_line *lines;
	size_t n_lines;
};

/* libconfuse's callbacks have no argument of ours. */
static struct config_parse *parsing;

void config_error(struct config_parse *parse, int line, const char *fmt, ...)
{
	const struct config_source *source = parse->source;
	char message[MESSAGE_MAX];
	va_list args;
	int n;

	if (line)
		n = snprintf(message, sizeof(message), "%s:%d: ", source->path, line);
	else
		n = snprintf(message, sizeof(message), "%s: ", source->path);
	if (n < (int)sizeof(message)) {
		va_start(args, fmt);
		vsnprintf(message + n, sizeof(message) - (size_t)n, fmt, args);
		va_end(args);
	}
	/* What the file says is quoted, and a message is one line that moves no cursor. */
	for (char *p = message; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
	parse->n_errors++;
	source->report(source->ctx, message);
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

	if (option_line(parsing, opt))
		return 0;
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

/* libconfuse's own complaints: syntax, unknown keys, doubled titles. */
static void complain(cfg_t *cfg, const char *fmt, va_list args)
{
	static const char unknown[] = "no such option '";
	char text[512], word[SUGGEST_WORD_MAX + 1];
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
		config_error(parsing, cfg->line, "unknown key \"%s\": see %s for those there are",
			     word, parsing->source->manual);
}

/* The file as libconfuse may see it; NULL: said why not. */
static char *prepare_text(struct config_parse *parse)
{
	const struct config_source *source = parse->source;
	char *text;
	int err = config_text_read(source->path, &text), line;

	if (err) {
		if (err == -EFBIG)
			config_error(parse, 0, "no regular file of at most %u bytes: give the "
				     "configuration with --config", CONFIG_TEXT_MAX);
		else if (err == -EILSEQ)
			config_error(parse, 0, "has a NUL byte: it must be a text");
		else
			config_error(parse, 0, "%s: give the configuration with --config",
				     strerror(-err));
		return NULL;
	}
	line = config_text_blank_comments(text);
	if (line) {
		config_error(parse, line, "this comment has no \"*/\": was the file cut off?");
		goto err_free;
	}
	line = config_text_check_braces(text);
	if (line) {
		config_error(parse, line, "this '{' has no '}': was the file cut off?");
		goto err_free;
	}
	if (source->two_titles)
		config_text_join_titles(text, source->two_titles);
	return text;

err_free:
	free(text);
	return NULL;
}

static bool parse_text(struct config_parse *parse, const char *text)
{
	int result;

	parse->cfg = cfg_init(parse->source->opts, CFGF_NONE);
	if (!parse->cfg) {
		config_error(parse, 0, "%s", strerror(errno));
		return false;
	}
	cfg_set_error_function(parse->cfg, complain);
	note_all(parse->cfg, parse->source->opts, "");
	parsing = parse;
	result = cfg_parse_buf(parse->cfg, text);
	parsing = NULL;
	if (result == CFG_SUCCESS)
		return true;
	if (!parse->n_errors)
		config_error(parse, parse->cfg->line, "syntax error");
	return false;
}

struct config_parse *config_parse(const struct config_source *source)
{
	struct config_parse *parse = calloc(1, sizeof(*parse));
	char *text;
	bool ok;

	if (!parse) {
		source->report(source->ctx, "out of memory");
		return NULL;
	}
	parse->source = source;
	text = prepare_text(parse);
	ok = text && parse_text(parse, text);
	free(text);
	if (ok)
		return parse;
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
	free(parse);
}
