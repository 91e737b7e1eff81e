/* SPDX-License-Identifier: BSD-2-Clause */
/* What a configuration file's strings mean. False: not that, all of it, and nothing else. */
#ifndef SIVSHMEM_CONFIG_VALUE_H
#define SIVSHMEM_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

/* A size in bytes: "4096", "64K", "64M", "1G". */
bool config_size(const char *text, uint64_t *bytes);

/* A duration in milliseconds, up to UINT32_MAX: "500ms", "10s", "5m", "24h", "1d"; "0" is none. */
bool config_ms(const char *text, uint64_t *ms);

/* A user's or group's number. -1 is none: to the kernel it means "no id". */
bool config_id(const char *text, uint32_t *id);

#endif
