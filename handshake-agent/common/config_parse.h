/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration files by libconfuse, with what it lacks: the line of each option, for what is found
 * wrong only when the whole file is known; suggestions for unknown keys; sections with two titles;
 * and no file that was cut off passes for a whole one.
 */
#ifndef SIVSHMEM_CONFIG_PARSE_H
#define SIVSHMEM_CONFIG_PARSE_H

#include <confuse.h>

struct config_parse;

/* What is parsed, and who is told what is wrong with it. */
struct config_source {
	const char *path;
	cfg_opt_t *opts;
	const char *manual;     /* where the keys are described: "host.conf(5)" */
	const char *two_titles; /* sections of this name have two, joined by spaces; NULL: none */
	/* Called with "path:line: what: what to do" for each thing that is wrong. */
	void (*report)(void *ctx, const char *message);
	void *ctx;
};

/* NULL: reported why. @source is the caller's, and stays as long as the result. One at a time. */
struct config_parse *config_parse(const struct config_source *source);
void config_parse_free(struct config_parse *parse); /* NULL is allowed */

cfg_t *config_root(struct config_parse *parse);

/* The line that an option was set on; that of its section if it was not. */
int config_line(const struct config_parse *parse, cfg_t *section, const char *option);

/*
 * The line of a section: that of the first option in it. libconfuse itself knows only the one on
 * which a section ends.
 */
int config_section_line(const struct config_parse *parse, cfg_t *section);

/* Reports "path:line: " and the text, and counts it. Line 0: none. */
void config_error(struct config_parse *parse, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
unsigned int config_errors(const struct config_parse *parse);

#endif
