/* SPDX-License-Identifier: BSD-2-Clause */
/* libconfuse, with what host.conf needs beyond it. For config.c alone. */
#ifndef SIVSHMEM_HOSTD_CONFIG_PARSE_H
#define SIVSHMEM_HOSTD_CONFIG_PARSE_H

#include <confuse.h>
#include <stdbool.h>
#include <stdio.h>

struct config_parse;

/*
 * Parses @path with @opts. NULL: what is wrong is in @errors. Sections that are called @two_titles
 * have two titles, which libconfuse gives as one with spaces between. One at a time.
 */
struct config_parse *config_parse(const char *path, cfg_opt_t *opts, const char *two_titles,
				  FILE *errors);
void config_parse_free(struct config_parse *parse);

cfg_t *config_root(struct config_parse *parse);

/* The line that an option was set on; that of its section if it was not. */
int config_line(const struct config_parse *parse, cfg_t *section, const char *option);

/*
 * The line of a section: that of the first option in it. libconfuse itself knows only the one on
 * which a section ends.
 */
int config_section_line(const struct config_parse *parse, cfg_t *section);

/* "path:line: " and the text, counted. Line 0: none. */
void config_error(struct config_parse *parse, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
unsigned int config_errors(const struct config_parse *parse);

#endif
