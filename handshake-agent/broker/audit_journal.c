// SPDX-License-Identifier: BSD-2-Clause
/* Datagrams to systemd's journal (systemd.io/JOURNAL_NATIVE_PROTOCOL). */
#include "audit_journal.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIELD_PREFIX "SIVSHMEM_"
#define FIELD_MAX    64 /* bytes of a field's name; the journal allows no longer ones */

/* syslog(3) priorities and facility */
enum { PRIORITY_WARNING = 4, PRIORITY_NOTICE = 5, PRIORITY_INFO = 6, FACILITY_AUTHPRIV = 10 };

struct audit_journal {
	int fd;
	struct sockaddr_un address; /* by name each time: journald may be restarted */
	uint64_t lost;
};

struct audit_journal *audit_journal_open(const char *path)
{
	struct audit_journal *journal;

	if (access(path, F_OK) < 0)
		return NULL;
	if (strlen(path) >= sizeof(journal->address.sun_path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	journal = calloc(1, sizeof(*journal));
	if (!journal)
		return NULL;
	journal->address.sun_family = AF_UNIX;
	strcpy(journal->address.sun_path, path);
	journal->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (journal->fd < 0) {
		free(journal);
		return NULL;
	}
	return journal;
}

void audit_journal_close(struct audit_journal *journal)
{
	if (!journal)
		return;
	close(journal->fd);
	free(journal);
}

uint64_t audit_journal_lost(const struct audit_journal *journal)
{
	return journal->lost;
}

/* With its length before it, so that a newline in it begins no other field. */
static void put_field(FILE *out, const char *name, const char *value)
{
	uint64_t len = htole64(strlen(value));

	fprintf(out, "%s\n", name);
	fwrite(&len, sizeof(len), 1, out);
	fprintf(out, "%s\n", value);
}

static void put_key(FILE *out, const char *key, const json_t *value)
{
	char name[FIELD_MAX + 1] = FIELD_PREFIX;
	char *dump;

	for (size_t n = strlen(name); *key && n < FIELD_MAX; n++)
		name[n] = (char)toupper((unsigned char)*key++);
	if (json_is_string(value)) {
		put_field(out, name, json_string_value(value));
		return;
	}
	dump = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	if (dump)
		put_field(out, name, dump);
	free(dump);
}

static int priority(const json_t *line)
{
	const char *event = json_string_value(json_object_get(line, "event"));
	const char *verdict = json_string_value(json_object_get(line, "verdict"));

	if (event && (!strcmp(event, "violation") || !strcmp(event, "dropped")))
		return PRIORITY_WARNING;
	return verdict && !strcmp(verdict, "refused") ? PRIORITY_NOTICE : PRIORITY_INFO;
}

void audit_journal_send(struct audit_journal *journal, const json_t *line)
{
	char *message = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER);
	char *text = NULL;
	size_t size = 0;
	FILE *out = message ? open_memstream(&text, &size) : NULL;
	bool sent = false;
	json_t *value;
	const char *key;

	if (out) {
		put_field(out, "MESSAGE", message);
		fprintf(out, "PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%s\n",
			priority(line), FACILITY_AUTHPRIV, AUDIT_JOURNAL_NAME);
		json_object_foreach((json_t *)line, key, value)
			put_key(out, key, value);
		sent = fclose(out) == 0 &&
		       sendto(journal->fd, text, size, MSG_NOSIGNAL,
			      (const struct sockaddr *)&journal->address,
			      sizeof(journal->address)) == (ssize_t)size;
	}
	if (!sent)
		journal->lost++;
	free(text);
	free(message);
}
