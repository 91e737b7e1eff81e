/* SPDX-License-Identifier: BSD-2-Clause */
/* The attributes of the module's netlink messages, to and from the structures of kernel.h. */
#ifndef SIVSHMEM_AGENT_NL_ATTR_H
#define SIVSHMEM_AGENT_NL_ATTR_H

#include <linux/genetlink.h>

#include <netlink/msg.h>

#include "kernel.h"

/* Adds what @request says. 0 or -ENOMEM. */
int nl_attr_put(struct nl_msg *msg, const struct kernel_request *request);

/*
 * What a message of the module (@nlh, its genetlink header behind it) holds. Each is false if a part
 * is missing or malformed; the kernel is trusted, but of another version perhaps.
 */
bool nl_attr_answer(struct nlmsghdr *nlh, struct kernel_answer *answer);
bool nl_attr_link(struct nlmsghdr *nlh, struct kernel_link *link);
bool nl_attr_channel(struct nlmsghdr *nlh, struct kernel_channel *channel);
bool nl_attr_upcall(struct nlmsghdr *nlh, struct kernel_upcall *upcall);

/* A family's name and number, from a message of the controller's. */
bool nl_attr_family(struct nlmsghdr *nlh, char name[GENL_NAMSIZ], uint16_t *family);

#endif
