// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sending to the module, and what it answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nlfuzz.h"

int nl_open(void)
{
	struct timeval patience = { .tv_usec = 300000 };
	int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0)
		die("netlink");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one,
		   sizeof(one)); /* fits into what reads it */
	return fd;
}

int nl_send(int fd, struct msg *m)
{
	struct nlmsghdr *nlh = (void *)m->bytes;
	int err;

	nlh->nlmsg_len = m->len;
	if (++messages >= messages_max)
		stop = true;
	cover_begin();
	/* without an address: with one, the kernel does not ask who opened the socket */
	err = send(fd, m->bytes, m->len, 0) < 0 ? -errno : 0;
	cover_end();
	return err;
}

/* Reads until the verdict on @seq; -ETIME: none came, the queue was too full for it. */
static int nl_verdict(int fd, uint32_t seq, on_reply reply, void *arg)
{
	_Alignas(8) uint8_t buf[32768];

	for (;;) {
		int n;

		cover_begin();
		n = recv(fd, buf, sizeof(buf), 0); /* goes on with a dump */
		cover_end();
		if (n < 0 && errno != ENOBUFS && errno != EINTR)
			return -ETIME;
		for (struct nlmsghdr *h = (void *)buf; n > 0 && NLMSG_OK(h, (uint32_t)n);
		     h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_seq != seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_type == NLMSG_DONE)
				return *(int *)NLMSG_DATA(h);
			if (reply && h->nlmsg_type == family)
				reply(NLMSG_DATA(h), h->nlmsg_len - NLMSG_HDRLEN, arg);
		}
	}
}

int nl_call(int fd, struct msg *m, on_reply reply, void *arg)
{
	int err = nl_send(fd, m);

	return err ?: nl_verdict(fd, ((struct nlmsghdr *)m->bytes)->nlmsg_seq, reply, arg);
}

void parse(const void *at, int len, const struct nlattr **attrs, unsigned int max)
{
	memset(attrs, 0, (max + 1) * sizeof(*attrs));
	while (len >= NLA_HDRLEN) {
		const struct nlattr *a = at;

		if (a->nla_len < NLA_HDRLEN || a->nla_len > len)
			return;
		if ((a->nla_type & NLA_TYPE_MASK) <= max)
			attrs[a->nla_type & NLA_TYPE_MASK] = a;
		at = (const uint8_t *)at + NLA_ALIGN(a->nla_len);
		len -= NLA_ALIGN(a->nla_len);
	}
}

uint64_t number(const struct nlattr *a)
{
	uint64_t v = 0;

	if (a)
		memcpy(&v, a + 1, a->nla_len - NLA_HDRLEN < 8 ? a->nla_len - NLA_HDRLEN : 8);
	return v;
}

static void resolved(const struct genlmsghdr *genl, int len, void *arg)
{
	const struct nlattr *a[CTRL_ATTR_MAX + 1];

	parse((const uint8_t *)genl + GENL_HDRLEN, len - GENL_HDRLEN, a, CTRL_ATTR_MAX);
	*(uint16_t *)arg = number(a[CTRL_ATTR_FAMILY_ID]);
}

uint16_t resolve(int fd, struct rng *r)
{
	struct msg *m = malloc(sizeof(*m));
	uint16_t id = 0, before = family;

	msg_begin(m, r, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
	msg_str(m, CTRL_ATTR_FAMILY_NAME, SIV_GENL_NAME);
	family = GENL_ID_CTRL; /* whose replies are looked at */
	nl_call(fd, m, resolved, &id);
	family = before;
	free(m);
	return id;
}
