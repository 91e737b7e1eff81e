// SPDX-License-Identifier: BSD-2-Clause
/*
 * Rules: any text is refused with a message that names its line, or gives rules that keep every
 * limit and match the endpoints that they are about. The first byte picks the separator.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <sivshmem.h>

#include "rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* The endpoint that a rule names leads to that rule or to one before it. */
static void check_match(const struct rules *rules, const struct rule *rule, unsigned int use)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(rule->port), .sin6_addr = rule->host,
	};
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const struct rule *found;

	if (rule->kind == RULE_UNIX) {
		strcpy(un.sun_path, rule->path);
		found = rules_match(rules, use, (struct sockaddr *)&un, sizeof(un));
	} else {
		found = rules_match(rules, use, (struct sockaddr *)&in6, sizeof(in6));
	}
	if (rule->uses & use)
		check(found && found <= rule && (found->uses & use));
	else
		check(found != rule);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rules rules;
	char error[RULES_ERROR_LEN], url[SIV_URL_LEN];

	if (!size)
		return 0;
	if (rules_parse(&rules, "fuzz", (const char *)data + 1, size - 1, data[0] & 1 ? ';' : '\n',
			error)) {
		check(strnlen(error, sizeof(error)) < sizeof(error));
		check(!strncmp(error, "fuzz:", 5));
		return 0;
	}
	check(rules.n_rules > 0 && rules.n_rules <= RULES_MAX);
	check(rules.n_peers <= SIV_ALIAS_PEERS_MAX);
	check(!rules.as[0] || siv_name_valid(rules.as, sizeof(rules.as)));
	for (unsigned int i = 0; i < rules.n_rules; i++) {
		const struct rule *rule = &rules.rule[i];

		check(siv_addr_format(&rule->target, url, sizeof(url)) > 0);
		check(rule->uses & (RULE_CONNECT | RULE_LISTEN));
		check(!rule->fallback || (rule->uses & RULE_CONNECT));
		check_match(&rules, rule, RULE_CONNECT);
		check_match(&rules, rule, RULE_LISTEN);
	}
	return 0;
}
