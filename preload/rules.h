/* SPDX-License-Identifier: BSD-2-Clause */
/* Rules: which endpoints of other families are sivshmem services. Parsed once, then read only. */
#ifndef _PRELOAD_RULES_H
#define _PRELOAD_RULES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <sivshmem/abi.h>

#define RULES_FILE     "/etc/sivshmem/preload.rules"
#define RULES_ENV_FILE "SIVSHMEM_RULES" /* path of another file */
#define RULES_ENV_RULE "SIVSHMEM_RULE"  /* the rules themselves, separated by ';' */

#define RULES_MAX       256       /* tcp and unix rules together */
#define RULES_TEXT_MAX  (1 << 16) /* bytes of a file, or of SIVSHMEM_RULE */
#define RULES_LINE_MAX  512       /* bytes of one line */
#define RULES_ERROR_LEN 512       /* bytes of an error message, the NUL included */

enum rule_kind { RULE_TCP, RULE_UNIX };

/* Rules and endpoints have one form for both: IPv4 as ::ffff:a.b.c.d. */
static inline struct in6_addr rules_mapped(struct in_addr v4)
{
	struct in6_addr host = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	memcpy(&host.s6_addr[12], &v4, sizeof(v4));
	return host;
}

/* What a rule serves; a set. */
enum { RULE_CONNECT = 1 << 0, RULE_LISTEN = 1 << 1 };

struct rule {
	enum rule_kind kind;
	unsigned int uses;    /* RULE_CONNECT | RULE_LISTEN */
	unsigned int line;    /* where it stands; in SIVSHMEM_RULE: which one it is, from 1 */
	bool fallback;        /* connect: plain endpoint where sivshmem was never set up */
	bool any_host;        /* tcp: "*" */
	in_port_t port;       /* tcp, host byte order */
	struct in6_addr host; /* tcp; IPv4 as ::ffff:a.b.c.d */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* unix, NUL-terminated */
	struct sockaddr_sivshmem target;
};

/* What sockets accepted from a VM report as their peer. */
struct rules_peer {
	char vm[SIV_VM_LEN];
	struct in6_addr host; /* IPv4 as ::ffff:a.b.c.d */
	unsigned int line;
};

struct rules {
	const char *source; /* for messages: the file, or SIVSHMEM_RULE; the caller's storage */
	unsigned int n_rules;
	unsigned int n_peers;
	char as[SIV_SERVICE_LEN]; /* service that clients bind to; "": the agent chooses */
	unsigned int as_line;
	struct rule rule[RULES_MAX];
	struct rules_peer peer[SIV_ALIAS_PEERS_MAX];
};

/*
 * rules_parse - parse rules
 * @rules: filled; of no use after an error
 * @source: name for messages, kept as a pointer
 * @text, @len: what to parse, not NUL-terminated
 * @separator: '\n' or ';'
 * @error: gets "source:line: what: what to do", RULES_ERROR_LEN bytes
 *
 * Needs no memory and touches nothing but its arguments, except for a question to the kernel about
 * each peer address (is it this machine's?). Returns 0 or -EINVAL.
 */
int rules_parse(struct rules *rules, const char *source, const char *text, size_t len,
		char separator, char error[RULES_ERROR_LEN]);

/*
 * rules_load - read and parse the rules of this process
 *
 * They come from SIVSHMEM_RULE, else the file SIVSHMEM_RULES, else RULES_FILE; sources are never
 * merged. The environment is not looked at in a set-id process. Not thread-safe: it has a static
 * buffer. Returns 0 or -errno, with @error set as by rules_parse().
 */
int rules_load(struct rules *rules, char error[RULES_ERROR_LEN]);

/* The same for one file, whatever the environment says. @path must outlive @rules. */
int rules_load_file(struct rules *rules, const char *path, char error[RULES_ERROR_LEN]);

/*
 * rules_match - the rule for an endpoint, or NULL
 * @use: RULE_CONNECT or RULE_LISTEN
 * @addr, @len: as the program gave them to connect() or bind(), hostile lengths included
 *
 * The one place that decides. The first rule that fits wins. Async-signal-safe.
 */
const struct rule *rules_match(const struct rules *rules, unsigned int use,
			       const struct sockaddr *addr, socklen_t len);

#endif
