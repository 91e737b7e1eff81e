/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs that would ignore LD_PRELOAD, told apart before they are started. */
#ifndef _PRELOAD_PROGRAM_H
#define _PRELOAD_PROGRAM_H

#include <limits.h>

#define PROGRAM_ERROR_LEN 512

/*
 * program_find - where execvp() would find a program
 * Returns 0, or -errno of the last place that was tried (-ENOENT: nowhere).
 */
int program_find(const char *name, char path[PATH_MAX]);

/*
 * program_check - will the dynamic linker load @library into this program?
 * @path: an ELF program, or a script, whose interpreters are followed
 * @library: the shim, which must be of the same machine
 * @error: gets "path: what: what to do", PROGRAM_ERROR_LEN bytes
 *
 * Returns 0 or -errno. It cannot see what a security module (SELinux, AppArmor) does at exec.
 */
int program_check(const char *path, const char *library, char error[PROGRAM_ERROR_LEN]);

#endif
