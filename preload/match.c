// SPDX-License-Identifier: BSD-2-Clause
/* Which rule an endpoint matches: the only place that decides. */
#include <string.h>

#include "rules.h"

/* sin6_scope_id came later (RFC 2553); the kernel still takes an address without it. */
#define SIN6_LEN_MIN offsetof(struct sockaddr_in6, sin6_scope_id)

/* An endpoint in the form in which rules have it. */
struct endpoint {
	enum rule_kind kind;
	in_port_t port;
	struct in6_addr host;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static bool inet_endpoint(struct endpoint *ep, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_in in;

	if (len < sizeof(in))
		return false;
	memcpy(&in, addr, sizeof(in));
	ep->kind = RULE_TCP;
	ep->port = ntohs(in.sin_port);
	ep->host = rules_mapped(in.sin_addr);
	return true;
}

/* bind(2) takes AF_UNSPEC for AF_INET when the address is 0.0.0.0. */
static bool any_endpoint(struct endpoint *ep, const struct sockaddr *addr, socklen_t len)
{
	struct in_addr any = { htonl(INADDR_ANY) };

	return inet_endpoint(ep, addr, len) && !memcmp(&ep->host.s6_addr[12], &any, sizeof(any));
}

static bool inet6_endpoint(struct endpoint *ep, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_in6 in6 = { 0 };

	if (len < SIN6_LEN_MIN)
		return false;
	memcpy(&in6, addr, len < sizeof(in6) ? len : sizeof(in6));
	ep->kind = RULE_TCP;
	ep->port = ntohs(in6.sin6_port);
	ep->host = in6.sin6_addr;
	return true;
}

/*
 * A path need not be NUL-terminated within the length. An abstract name begins with a NUL: an empty
 * path, which no rule has.
 */
static bool unix_endpoint(struct endpoint *ep, const struct sockaddr *addr, socklen_t len)
{
	const size_t head = offsetof(struct sockaddr_un, sun_path);
	struct sockaddr_un un = { 0 };
	size_t path_len;

	if (len <= head || len > sizeof(un))
		return false;
	memcpy(&un, addr, len);
	path_len = strnlen(un.sun_path, sizeof(un.sun_path));
	if (path_len == sizeof(un.sun_path))
		return false;
	ep->kind = RULE_UNIX;
	memcpy(ep->path, un.sun_path, path_len + 1);
	return true;
}

static bool endpoint(struct endpoint *ep, unsigned int use, const struct sockaddr *addr,
		     socklen_t len)
{
	sa_family_t family;

	if (!addr || len < sizeof(family) || len > sizeof(struct sockaddr_storage))
		return false;
	memcpy(&family, addr, sizeof(family));
	switch (family) {
	case AF_INET:
		return inet_endpoint(ep, addr, len);
	case AF_INET6:
		return inet6_endpoint(ep, addr, len);
	case AF_UNIX:
		return unix_endpoint(ep, addr, len);
	case AF_UNSPEC:
		return use == RULE_LISTEN && any_endpoint(ep, addr, len);
	default:
		return false;
	}
}

static bool fits(const struct rule *rule, const struct endpoint *ep)
{
	if (rule->kind != ep->kind)
		return false;
	if (rule->kind == RULE_UNIX)
		return !strcmp(rule->path, ep->path);
	return rule->port == ep->port &&
	       (rule->any_host || !memcmp(&rule->host, &ep->host, sizeof(ep->host)));
}

const struct rule *rules_match(const struct rules *rules, unsigned int use,
			       const struct sockaddr *addr, socklen_t len)
{
	struct endpoint ep = { 0 };

	if (!endpoint(&ep, use, addr, len))
		return NULL;
	for (unsigned int i = 0; i < rules->n_rules; i++)
		if ((rules->rule[i].uses & use) && fits(&rules->rule[i], &ep))
			return &rules->rule[i];
	return NULL;
}
