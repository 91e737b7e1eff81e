/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of libsivshmem, and the preload shim that links them, share. */
#ifndef _SIV_INTERNAL_H
#define _SIV_INTERNAL_H

/* Everything else is hidden by -fvisibility=hidden; the symbol map repeats the list. */
#define SIV_PUBLIC __attribute__((visibility("default")))

/* Of the loaded module, in sysfs. */
#define SIV_SYSFS_MODULES    "/sys/module"
#define SIV_SYSFS_MODULE     SIV_SYSFS_MODULES "/af_sivshmem"
#define SIV_SYSFS_FAMILY     SIV_SYSFS_MODULE "/parameters/family"
#define SIV_SYSFS_AGENT_SEEN SIV_SYSFS_MODULE "/parameters/agent_seen"

/*
 * The first line of a small file, NUL-terminated and without its newline. Returns its length or
 * -errno. Async-signal-safe: the shim calls it inside connect().
 */
int siv_read_line(const char *path, char *buf, unsigned int size);

/* Makes @err what every call for @tx returns, unless another error came before. */
struct siv_tx;
void siv_tx_end(struct siv_tx *tx, int err);

#endif
