/* SPDX-License-Identifier: BSD-2-Clause */
/* --standalone: broker and CA inside the agent, for one machine's own services. */
#ifndef SIVSHMEM_AGENT_STANDALONE_H
#define SIVSHMEM_AGENT_STANDALONE_H

#include "common/loop.h"
#include "config.h"

struct standalone;

/*
 * Starts a broker for the one VM of @config, with a CA of its own in config->state and the allow
 * rules of the same file. *@fd is the agent's end of the control stream. NULL: the log says why.
 * @config and @loop must outlive it.
 */
struct standalone *standalone_open(struct loop *loop, const struct agent_config *config, int *fd);
/* NULL is allowed. */
void standalone_close(struct standalone *standalone);

#endif
