// SPDX-License-Identifier: BSD-2-Clause
/* The parser of rules, and where they come from. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sivshmem.h>

#include "local.h"
#include "rules.h"

struct parser {
	struct rules *rules;
	unsigned int line;
	char *error;
};

__attribute__((format(printf, 2, 3)))
static int fail(const struct parser *p, const char *format, ...)
{
	int len = snprintf(p->error, RULES_ERROR_LEN, "%s:%u: ", p->rules->source, p->line);
	va_list args;

	if (len < 0 || len >= RULES_ERROR_LEN)
		return -EINVAL;
	va_start(args, format);
	vsnprintf(p->error + len, RULES_ERROR_LEN - len, format, args);
	va_end(args);
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static char *skip_blanks(char *s)
{
	while (is_blank(*s))
		s++;
	return s;
}

/* Cuts trailing blanks off the string that ends at @end, not going before @start. */
static void trim_end(char *start, char *end)
{
	while (end > start && is_blank(end[-1]))
		end--;
	*end = '\0';
}

/* Cuts the first word off @rest. Returns it, "" at the end. */
static char *next_word(char **rest)
{
	char *word = skip_blanks(*rest), *end = word;

	while (*end && !is_blank(*end))
		end++;
	*rest = *end ? end + 1 : end;
	*end = '\0';
	return word;
}

/* An address without brackets; one IPv6 spelling of an IPv4 address is that IPv4 address. */
static bool parse_host(const char *text, struct in6_addr *host)
{
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*host = rules_mapped(v4);
		return true;
	}
	return inet_pton(AF_INET6, text, host) == 1;
}

static bool parse_port(const char *text, in_port_t *port)
{
	unsigned long n = 0;

	if (!*text || strlen(text) > 5)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (*text - '0');
	}
	*port = n;
	return n > 0 && n <= 65535;
}

/* HOST:PORT, where HOST is an IPv4 address, [an IPv6 address] or "*" */
static int parse_tcp(const struct parser *p, struct rule *rule, char *text)
{
	char *colon = strrchr(text, ':');
	size_t len;
	bool ok;

	if (!colon)
		return fail(p, "tcp: \"%s\" has no port: write tcp:HOST:PORT=siv://VM/SERVICE",
			    text);
	*colon = '\0';
	if (!parse_port(colon + 1, &rule->port))
		return fail(p, "tcp: \"%s\" is not a port: write a number from 1 to 65535",
			    colon + 1);
	len = strlen(text);
	if (!strcmp(text, "*")) {
		rule->any_host = true;
		return 0;
	}
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text[len - 1] = '\0';
		text++;
		ok = inet_pton(AF_INET6, text, &rule->host) == 1;
	} else {
		ok = !strchr(text, ':') && parse_host(text, &rule->host);
	}
	if (!ok)
		return fail(p, "tcp: \"%s\" is not an address: write an IPv4 address, an IPv6 "
			    "address in brackets, or * (the program resolves names before the "
			    "rule is looked up)", text);
	return 0;
}

static int parse_unix(const struct parser *p, struct rule *rule, const char *text)
{
	size_t len = strlen(text);

	if (text[0] != '/')
		return fail(p, "unix: \"%s\" does not start with /: write the path as the program "
			    "passes it", text);
	if (len >= sizeof(rule->path))
		return fail(p, "unix: the path has %zu bytes: a socket's has at most %zu", len,
			    sizeof(rule->path) - 1);
	memcpy(rule->path, text, len + 1);
	return 0;
}

/* Does @first, standing before @second, take everything that @second is for? */
static bool hides(const struct rule *first, const struct rule *second)
{
	if (first->kind != second->kind || (first->uses & second->uses) != second->uses)
		return false;
	if (first->kind == RULE_UNIX)
		return !strcmp(first->path, second->path);
	return first->port == second->port &&
	       (first->any_host ||
		(!second->any_host && IN6_ARE_ADDR_EQUAL(&first->host, &second->host)));
}

/* The '=' in front of the URL; paths may have others. */
static char *find_assignment(char *text)
{
	for (char *eq = strchr(text, '='); eq; eq = strchr(eq + 1, '='))
		if (!strncmp(skip_blanks(eq + 1), "siv:", 4))
			return eq;
	return NULL;
}

/* KIND:ENDPOINT=URL [fallback] */
static int parse_rule(const struct parser *p, unsigned int uses, char *text)
{
	struct rules *rules = p->rules;
	struct rule *rule = &rules->rule[rules->n_rules];
	bool tcp = !strncmp(text, "tcp:", 4);
	char *endpoint, *eq, *rest, *word;
	int err;

	if (!tcp && strncmp(text, "unix:", 5))
		return fail(p, "\"%s\" is not known: a line starts with tcp:, unix:, connect, "
			    "listen, as or peer", text);
	if (rules->n_rules == RULES_MAX)
		return fail(p, "too many rules: at most %d", RULES_MAX);
	eq = find_assignment(text);
	if (!eq)
		return fail(p, "\"%s\" has no service: write %s=siv://VM/SERVICE", text,
			    tcp ? "tcp:HOST:PORT" : "unix:/PATH");

	*rule = (struct rule){ .kind = tcp ? RULE_TCP : RULE_UNIX, .uses = uses, .line = p->line };
	endpoint = skip_blanks(strchr(text, ':') + 1);
	trim_end(endpoint, eq < endpoint ? endpoint : eq);
	err = tcp ? parse_tcp(p, rule, endpoint) : parse_unix(p, rule, endpoint);
	if (err)
		return err;

	rest = eq + 1;
	word = next_word(&rest);
	if (siv_addr_parse(word, &rule->target))
		return fail(p, "\"%s\" is not a service: write siv://VM/SERVICE or "
			    "siv:///SERVICE; names are a-z, 0-9, '.', '_' and '-'", word);
	for (word = next_word(&rest); *word; word = next_word(&rest)) {
		if (strcmp(word, "fallback"))
			return fail(p, "option \"%s\" is not known: only fallback is", word);
		if (!(uses & RULE_CONNECT))
			return fail(p, "fallback: not for a rule that only listens: a listener "
				    "never falls back");
		rule->fallback = true;
	}

	for (unsigned int i = 0; i < rules->n_rules; i++)
		if (hides(&rules->rule[i], rule))
			return fail(p, "can never be used: line %u comes first and takes the same "
				    "endpoint: remove one", rules->rule[i].line);
	rules->n_rules++;
	return 0;
}

/* as SERVICE */
static int parse_as(const struct parser *p, char *rest)
{
	struct rules *rules = p->rules;
	char *service = next_word(&rest);

	if (*skip_blanks(rest))
		return fail(p, "as: one name only: \"%s\" is too much", skip_blanks(rest));
	if (!siv_name_valid(service, sizeof(rules->as)))
		return fail(p, "as: \"%s\" is not the name of a service: write a-z, 0-9, '.', '_' "
			    "and '-'", service);
	if (rules->as[0])
		return fail(p, "as: line %u says \"%s\" already: remove one", rules->as_line,
			    rules->as);
	strcpy(rules->as, service);
	rules->as_line = p->line;
	return 0;
}

/* peer VM = ADDRESS */
static int parse_peer(const struct parser *p, char *rest)
{
	struct rules *rules = p->rules;
	struct rules_peer *peer = &rules->peer[rules->n_peers];
	char *vm = skip_blanks(rest), *eq = strchr(vm, '='), *address;
	const char *reason;

	if (!eq)
		return fail(p, "peer: no address: write peer VM = ADDRESS");
	if (rules->n_peers == SIV_ALIAS_PEERS_MAX)
		return fail(p, "peer: too many: at most %d", SIV_ALIAS_PEERS_MAX);
	address = skip_blanks(eq + 1);
	trim_end(vm, eq);
	trim_end(address, address + strlen(address));
	*peer = (struct rules_peer){ .line = p->line };
	if (!siv_name_valid(vm, sizeof(peer->vm)))
		return fail(p, "peer: \"%s\" is not the name of a VM: write a-z, 0-9, '.', '_' and "
			    "'-'", vm);
	strcpy(peer->vm, vm);
	if (!parse_host(address, &peer->host))
		return fail(p, "peer: \"%s\" is not an address: write an IPv4 or IPv6 address "
			    "without a port", address);
	reason = local_reason(&peer->host);
	if (reason)
		return fail(p, "peer: %s is %s: give the VM an address of its own", address,
			    reason);
	for (unsigned int i = 0; i < rules->n_peers; i++) {
		if (!strcmp(rules->peer[i].vm, peer->vm))
			return fail(p, "peer: line %u gives \"%s\" an address already: remove one",
				    rules->peer[i].line, vm);
		if (IN6_ARE_ADDR_EQUAL(&rules->peer[i].host, &peer->host))
			return fail(p, "peer: line %u gives %s to \"%s\": a service could not tell "
				    "the two apart", rules->peer[i].line, address,
				    rules->peer[i].vm);
	}
	rules->n_peers++;
	return 0;
}

/* A comment starts at the line's first '#', if nothing or a blank stands before it. */
static void cut_comment(char *line)
{
	for (char *c = line; *c; c++) {
		if (*c == '#' && (c == line || is_blank(c[-1]))) {
			*c = '\0';
			return;
		}
	}
}

static int parse_line(const struct parser *p, char *line)
{
	char *text, *rest, *after;

	cut_comment(line);
	text = skip_blanks(line);
	trim_end(text, text + strlen(text));
	if (!*text)
		return 0;

	/* tcp: and unix: lines are not made of words: a path may have blanks. */
	if (!strncmp(text, "tcp:", 4) || !strncmp(text, "unix:", 5))
		return parse_rule(p, RULE_CONNECT | RULE_LISTEN, text);
	rest = text;
	text = next_word(&rest);
	after = skip_blanks(rest);
	if (!strcmp(text, "connect"))
		return parse_rule(p, RULE_CONNECT, after);
	if (!strcmp(text, "listen"))
		return parse_rule(p, RULE_LISTEN, after);
	if (!strcmp(text, "as"))
		return parse_as(p, after);
	if (!strcmp(text, "peer"))
		return parse_peer(p, after);
	return parse_rule(p, 0, text); /* which says what is wrong */
}

int rules_parse(struct rules *rules, const char *source, const char *text, size_t len,
		char separator, char error[RULES_ERROR_LEN])
{
	struct parser p = { .rules = rules, .error = error };
	const char *end = text + len, *next;
	char line[RULES_LINE_MAX + 1];
	int err;

	rules->source = source;
	rules->n_rules = 0;
	rules->n_peers = 0;
	rules->as[0] = '\0';
	for (; text < end; text = next + 1) {
		next = memchr(text, separator, end - text);
		if (!next)
			next = end;
		p.line++;
		if (next - text > RULES_LINE_MAX)
			return fail(&p, "too long: at most %d bytes", RULES_LINE_MAX);
		memcpy(line, text, next - text);
		line[next - text] = '\0';
		for (const char *c = line; c < line + (next - text); c++)
			if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
				return fail(&p, "byte 0x%02x: remove it", (unsigned char)*c);
		err = parse_line(&p, line);
		if (err)
			return err;
	}
	if (!rules->n_rules) {
		snprintf(error, RULES_ERROR_LEN, "%s: no tcp: or unix: line: add one, or run the "
			 "program without the shim", source);
		return -EINVAL;
	}
	return 0;
}

int rules_load_file(struct rules *rules, const char *path, char error[RULES_ERROR_LEN])
{
	static char text[RULES_TEXT_MAX + 1];
	size_t len = 0;
	ssize_t n = 0;
	int err, fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		snprintf(error, RULES_ERROR_LEN, "%s: %m: write the rules there, or set "
			 RULES_ENV_FILE " or " RULES_ENV_RULE, path);
		return err;
	}
	while (len < sizeof(text)) {
		n = read(fd, text + len, sizeof(text) - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += n;
	}
	err = n < 0 ? -errno : 0;
	close(fd);
	if (err) {
		snprintf(error, RULES_ERROR_LEN, "%s: %s: not readable", path, strerror(-err));
		return err;
	}
	if (len > RULES_TEXT_MAX) {
		snprintf(error, RULES_ERROR_LEN, "%s: too long: at most %d bytes", path,
			 RULES_TEXT_MAX);
		return -EINVAL;
	}
	return rules_parse(rules, path, text, len, '\n', error);
}

int rules_load(struct rules *rules, char error[RULES_ERROR_LEN])
{
	const char *text = secure_getenv(RULES_ENV_RULE);
	const char *path = secure_getenv(RULES_ENV_FILE);

	if (text && path) {
		snprintf(error, RULES_ERROR_LEN, RULES_ENV_RULE ": " RULES_ENV_FILE " is set as "
			 "well: unset one of them");
		return -EINVAL;
	}
	if (!text)
		return rules_load_file(rules, path ? path : RULES_FILE, error);
	if (strlen(text) > RULES_TEXT_MAX) {
		snprintf(error, RULES_ERROR_LEN, RULES_ENV_RULE ": too long: at most %d bytes",
			 RULES_TEXT_MAX);
		return -EINVAL;
	}
	return rules_parse(rules, RULES_ENV_RULE, text, strlen(text), ';', error);
}
