/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostd's own user. Root starts it, since sockets are to be given to the users of QEMUs and keys are
 * root's; it has become its own user before it reads what a guest wrote. What it writes itself is
 * that user's, in a folder of its own. Where root did not start it, or no user is to be had, all of
 * this does nothing but make the folders.
 */
#ifndef SIVSHMEM_HOSTD_USER_H
#define SIVSHMEM_HOSTD_USER_H

#include "config.h"

/*
 * The state folder, and hostd's own in it, which is taken over if root has kept it so far. False: the
 * log says why.
 */
bool user_make_folders(const struct host_config *config);

/*
 * Makes and opens files as its own user from here on, or as root again. False: the log says why, and
 * nothing may be made.
 */
bool user_acts(const struct host_config *config, bool own);

/* For good, with no group but its own. False: the log says why, and it must not go on. */
bool user_become(const struct host_config *config);

#endif
