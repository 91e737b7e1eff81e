/* SPDX-License-Identifier: BSD-2-Clause */
/* libconfuse, with right line numbers: for config.c alone. */
#ifndef SIVSHMEM_AGENT_CONFIG_TEXT_H
#define SIVSHMEM_AGENT_CONFIG_TEXT_H

#include <confuse.h>

#define CONFIG_TEXT_MAX (1024u * 1024) /* bytes of a configuration file */

struct config_text;

/*
 * Parses @path with @opts. NULL: the log says what is wrong, with the key that may have been meant
 * for one that is not known. One at a time.
 */
struct config_text *config_text_parse(const char *path, cfg_opt_t *opts);
void config_text_free(struct config_text *text);
cfg_t *config_text_root(struct config_text *text);

/* The line that @key of @section was set on; @key NULL, or not set: that of its first key. */
int config_text_line(const struct config_text *text, cfg_t *section, const char *key);

#endif
