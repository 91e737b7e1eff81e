/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration file's text, before libconfuse sees it. For config_parse.c alone. */
#ifndef SIVSHMEM_CONFIG_TEXT_H
#define SIVSHMEM_CONFIG_TEXT_H

#define CONFIG_TEXT_MAX (1024u * 1024) /* bytes of a configuration file */

/*
 * The whole file, NUL-terminated, to be freed in @text. 0 or -errno: -EFBIG for one that is no
 * regular file or has more than CONFIG_TEXT_MAX bytes, -EILSEQ for one with NULs.
 */
int config_text_read(const char *path, char **text);

/* Comments become spaces. 0, or the line on which the one starts that has no end. */
int config_text_blank_comments(char *text);

/* The rest is for a text without comments. */

/* Sections that are called @name have two titles: `"a" "b"` becomes `"a   b"`. */
void config_text_join_titles(char *text, const char *name);

/* 0, or the line of the outermost '{' that has no '}'. */
int config_text_check_braces(const char *text);

#endif
