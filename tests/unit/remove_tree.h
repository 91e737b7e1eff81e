/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes a test's folder away, with all that is in it. */
#ifndef SIVSHMEM_TEST_REMOVE_TREE_H
#define SIVSHMEM_TEST_REMOVE_TREE_H

#include <ftw.h>
#include <stdio.h>

#define REMOVE_TREE_FDS 8 /* folders that are open at once; deeper ones are opened again */

static inline int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

/* 0, or what remove() said of the first thing that stays. Symbolic links are not followed. */
static inline int remove_tree(const char *folder)
{
	return nftw(folder, remove_entry, REMOVE_TREE_FDS, FTW_DEPTH | FTW_PHYS);
}

#endif
