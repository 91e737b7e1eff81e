// SPDX-License-Identifier: BSD-2-Clause
/* Addresses of other families, with which a swapped socket answers getsockname and getpeername. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "alias.h"

/* Linux's default ip_local_port_range. */
enum { PORT_FIRST = 32768, PORT_COUNT = 60999 - PORT_FIRST + 1 };

union address {
	sa_family_t family;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage storage;
};

static void fill(struct siv_alias_addr *alias, const union address *addr, size_t len)
{
	memset(alias, 0, sizeof(*alias));
	memcpy(alias->addr, addr, len);
	alias->len = len;
}

/* As getsockname() reports it: the NUL behind a path counts, other families have a fixed size. */
static size_t reported_len(const union address *addr, socklen_t len)
{
	const size_t head = offsetof(struct sockaddr_un, sun_path);

	switch (addr->family) {
	case AF_INET:
		return sizeof(addr->in);
	case AF_INET6:
		return sizeof(addr->in6);
	default:
		if (len <= head)
			return head;
		if (!addr->un.sun_path[0])
			return len;
		return head + strnlen(addr->un.sun_path, sizeof(addr->un.sun_path) - 1) + 1;
	}
}

void alias_set(struct siv_alias_addr *alias, const struct sockaddr *addr, socklen_t len)
{
	union address copy = { 0 };

	memcpy(&copy, addr, len < sizeof(copy) ? len : sizeof(copy));
	if (copy.family == AF_UNSPEC)
		copy.family = AF_INET; /* rules_match() has seen that it is 0.0.0.0 */
	fill(alias, &copy, reported_len(&copy, len));
}

static in_port_t distinct_port(int fd)
{
	struct stat st;

	return htons(PORT_FIRST + (fstat(fd, &st) ? 0 : st.st_ino % PORT_COUNT));
}

static struct in6_addr plausible_ipv6(const struct siv_alias_addr *peer)
{
	struct in6_addr host;
	struct sockaddr_in6 to;

	memcpy(&to, peer->addr, sizeof(to));
	if (IN6_IS_ADDR_V4MAPPED(&to.sin6_addr))
		return rules_mapped((struct in_addr){ htonl(ALIAS_SELF_IPV4) });
	memcpy(&host, ALIAS_SELF_IPV6, sizeof(host));
	return host;
}

int alias_self(struct siv_alias_addr *alias, int fd, int new, const struct siv_alias_addr *peer)
{
	union address self = { 0 };
	socklen_t len = sizeof(self);

	if (getsockname(fd, (struct sockaddr *)&self, &len))
		return -errno;
	switch (self.family) {
	case AF_INET:
		if (self.in.sin_addr.s_addr == htonl(INADDR_ANY))
			self.in.sin_addr.s_addr = htonl(ALIAS_SELF_IPV4);
		if (!self.in.sin_port)
			self.in.sin_port = distinct_port(new);
		break;
	case AF_INET6:
		if (IN6_IS_ADDR_UNSPECIFIED(&self.in6.sin6_addr))
			self.in6.sin6_addr = plausible_ipv6(peer);
		if (!self.in6.sin6_port)
			self.in6.sin6_port = distinct_port(new);
		break;
	case AF_UNIX:
		break;
	default:
		return -EAFNOSUPPORT;
	}
	fill(alias, &self, reported_len(&self, len));
	return 0;
}

bool alias_peer(struct siv_alias_peer *alias, const struct rules_peer *peer, sa_family_t family)
{
	union address addr = { .family = family };

	switch (family) {
	case AF_INET:
		if (!IN6_IS_ADDR_V4MAPPED(&peer->host))
			return false;
		memcpy(&addr.in.sin_addr, &peer->host.s6_addr[12], sizeof(addr.in.sin_addr));
		break;
	case AF_INET6:
		addr.in6.sin6_addr = peer->host;
		break;
	default:
		return false; /* AF_UNIX peers are unnamed */
	}
	memset(alias, 0, sizeof(*alias));
	memcpy(alias->vm, peer->vm, sizeof(alias->vm));
	fill(&alias->addr, &addr, reported_len(&addr, 0));
	return true;
}
