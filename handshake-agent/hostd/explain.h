/* SPDX-License-Identifier: BSD-2-Clause */
/* `sivctl explain`: what policy says about one service connecting to another. */
#ifndef SIVSHMEM_HOSTD_EXPLAIN_H
#define SIVSHMEM_HOSTD_EXPLAIN_H

#include <jansson.h>

#include "broker/policy.h"

#define EXPLAIN_ERROR_LEN 256u

/*
 * @from is VM/SERVICE, @to siv://VM/SERVICE (siv:///SERVICE: wherever policy says). Fills @reply
 * with verdict, reason, errno's name, and the file and line that decided. 0, or -1 with a text.
 */
int explain(const struct policy *policy, const char *from, const char *to, json_t *reply,
	    char error[EXPLAIN_ERROR_LEN]);

#endif
