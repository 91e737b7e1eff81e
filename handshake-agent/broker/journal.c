// SPDX-License-Identifier: BSD-2-Clause
/*
 * What must survive a restart of the broker, as a file.
 *
 * STATE/journal is text, one record a line after a first line that says so, and only grows:
 *
 *   sivshmem-journal 1
 *   link cockpit--adas INSTANCE SIZE             the memory; another instance is another memory
 *   epoch cockpit--adas N                        epochs before N have ended, or are to
 *   vm cockpit BOOT-ID MODULE-NONCE IVPOSITIONS  its incarnation
 *   grant cockpit--adas EPOCH SLOT GENERATION OFFSET C2S S2C TYPE CLIENT-END SEALED
 *         POSITION POSITION SERVICE SERVICE      (in one line)
 *   done cockpit--adas SLOT GENERATION           both kernels have attached
 *   free cockpit--adas SLOT GENERATION           both have closed it, and it was zeroed
 *
 * The local link of a VM is "local/VM". Generations are never used again on a link, so a record
 * names one channel and no other.
 *
 * A record is written before what it tells of is done: a grant before the first GRANT, the end of
 * an epoch before the switch is asked, a local link's epoch before its kernel hears of it. A VM's
 * new incarnation is the one exception: it comes after the ends of the epochs that it causes, so
 * that whoever dies in between sees it again. write(2) without fsync: what takes the page cache takes
 * the VMs.
 *
 * What can be wrong with it:
 *   - the last line is torn: that record was never written, and nothing came of it;
 *   - anything else is not what we write, to the letter: the log says where, and there is no
 *     journal;
 *   - a grant cannot be written: the file is cut back to what it was, and the connect refused;
 *   - any other record cannot be: the file is emptied, and written whole when there is room again.
 * Without a journal every link that somebody holds is reset (recover.c), so emptying is safe. What
 * is dead in it is dropped at each start, and when it has grown (JOURNAL_COMPACT_BYTES): the
 * broker's state is written to another file, which takes its place.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"

#define HEADER "sivshmem-journal 1\n"

struct journal {
	char path[PATH_MAX], bad[PATH_MAX], temporary[PATH_MAX];
	int fd;
	bool stale;       /* empty: what is missing is written by the next journal_rewrite() */
	bool failing;     /* and the log has said so */
	uint64_t size;    /* bytes */
	uint64_t limit;   /* at which it is written whole again */
	uint64_t retry_ns;
};

/* Records as text */

static const char *const verbs[] = {
	[JOURNAL_LINK] = "link", [JOURNAL_EPOCH] = "epoch", [JOURNAL_VM] = "vm",
	[JOURNAL_GRANT] = "grant", [JOURNAL_DONE] = "done", [JOURNAL_FREE] = "free",
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static int format_vm(const struct journal_vm *vm, char *out, size_t room)
{
	int n = 0;

	for (unsigned int i = 0; i < sizeof(vm->boot_id); i++)
		n += snprintf(out + n, room - (size_t)n, "%02x", vm->boot_id[i]);
	n += snprintf(out + n, room - (size_t)n, " %" PRIu64 " ", vm->module_nonce);
	for (unsigned int i = 0; i < vm->n_positions; i++)
		n += snprintf(out + n, room - (size_t)n, "%s%" PRIu32, i ? "," : "",
			      vm->positions[i]);
	if (!vm->n_positions)
		n += snprintf(out + n, room - (size_t)n, "-");
	return n;
}

size_t journal_format(const struct journal_record *record, char line[JOURNAL_LINE_MAX])
{
	const struct journal_grant *g = &record->grant;
	int n = snprintf(line, JOURNAL_LINE_MAX, "%s %s ", verbs[record->type], record->name);
	char *out = line + n;
	size_t room = JOURNAL_LINE_MAX - (size_t)n;

	switch (record->type) {
	case JOURNAL_LINK:
		n += snprintf(out, room, "%" PRIu64 " %" PRIu64, record->link.instance,
			      record->link.size);
		break;
	case JOURNAL_EPOCH:
		n += snprintf(out, room, "%" PRIu32, record->epoch);
		break;
	case JOURNAL_VM:
		n += format_vm(&record->vm, out, room);
		break;
	case JOURNAL_GRANT:
		n += snprintf(out, room,
			      "%" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32
			      " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %s %s",
			      g->epoch, g->slot, g->generation, g->offset, g->c2s_order,
			      g->s2c_order, g->type, g->client_end, g->sealed, g->position[0],
			      g->position[1], g->service[0], g->service[1]);
		break;
	case JOURNAL_DONE:
	case JOURNAL_FREE:
		n += snprintf(out, room, "%" PRIu32 " %" PRIu64, g->slot, g->generation);
		break;
	}
	line[n] = '\n';
	return (size_t)n + 1;
}

static void parse_vm(const char *text, struct journal_vm *vm)
{
	int n = 0, used;

	for (unsigned int i = 0; i < sizeof(vm->boot_id); i++) {
		if (sscanf(text, "%2" SCNx8 "%n", &vm->boot_id[i], &used) != 1)
			return;
		text += used;
	}
	if (sscanf(text, " %" SCNu64 " %n", &vm->module_nonce, &n) != 1)
		return;
	for (text += n; vm->n_positions < SIVP_LINKS_MAX; text += n + 1) {
		if (sscanf(text, "%" SCNu32 "%n", &vm->positions[vm->n_positions], &n) != 1)
			return;
		vm->n_positions++;
		if (text[n] != ',')
			return;
	}
}

static bool grant_ok(const struct journal_grant *g)
{
	return g->client_end < 2 && g->sealed < 2 && sivp_name_ok(g->service[0], SIV_SERVICE_LEN) &&
	       sivp_name_ok(g->service[1], SIV_SERVICE_LEN);
}

/* What was read is right if it is written the same: no field needs more than to be found. */
bool journal_parse(const char *line, size_t len, struct journal_record *record)
{
	struct journal_grant *g = &record->grant;
	char text[JOURNAL_LINE_MAX], verb[8], again[JOURNAL_LINE_MAX];
	int n = 0;

	memset(record, 0, sizeof(*record));
	if (len >= JOURNAL_LINE_MAX || memchr(line, '\0', len))
		return false;
	memcpy(text, line, len);
	text[len] = '\0';
	_Static_assert(JOURNAL_NAME_LEN == 64 && SIV_SERVICE_LEN == 64, "widths of sscanf");
	if (sscanf(text, "%7s %63s %n", verb, record->name, &n) != 2 || !n)
		return false;
	while (record->type < N_VERBS && strcmp(verbs[record->type], verb) != 0)
		record->type++;
	switch (record->type) {
	case JOURNAL_LINK:
		sscanf(text + n, "%" SCNu64 " %" SCNu64, &record->link.instance,
		       &record->link.size);
		break;
	case JOURNAL_EPOCH:
		sscanf(text + n, "%" SCNu32, &record->epoch);
		break;
	case JOURNAL_VM:
		parse_vm(text + n, &record->vm);
		break;
	case JOURNAL_GRANT:
		sscanf(text + n,
		       "%" SCNu32 " %" SCNu32 " %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu32
		       " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %63s %63s",
		       &g->epoch, &g->slot, &g->generation, &g->offset, &g->c2s_order,
		       &g->s2c_order, &g->type, &g->client_end, &g->sealed, &g->position[0],
		       &g->position[1], g->service[0], g->service[1]);
		if (!grant_ok(g))
			return false;
		break;
	case JOURNAL_DONE:
	case JOURNAL_FREE:
		sscanf(text + n, "%" SCNu32 " %" SCNu64, &g->slot, &g->generation);
		break;
	default:
		return false;
	}
	return journal_format(record, again) == len + 1 && memcmp(again, line, len) == 0;
}

/* The file */

struct journal *journal_open(const char *state)
{
	struct journal *journal = calloc(1, sizeof(*journal));

	if (!journal)
		return NULL;
	if (snprintf(journal->path, PATH_MAX, "%s/" JOURNAL_FILE, state) >= PATH_MAX ||
	    snprintf(journal->bad, PATH_MAX, "%s/" JOURNAL_BAD_FILE, state) >= PATH_MAX ||
	    snprintf(journal->temporary, PATH_MAX, "%s/" JOURNAL_FILE ".new", state) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		goto err_free;
	}
	journal->fd = open(journal->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			   0600);
	if (journal->fd < 0)
		goto err_free;
	return journal;

err_free:
	free(journal);
	return NULL;
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	close(journal->fd);
	free(journal);
}

/* All of it, NUL-terminated. NULL and errno. */
static char *read_file(int fd, size_t *len)
{
	struct stat st;
	ssize_t n = 0;
	char *text;

	if (fstat(fd, &st) < 0)
		return NULL;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return NULL;
	}
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return NULL;
	for (*len = 0; *len < (size_t)st.st_size; *len += (size_t)n) {
		n = pread(fd, text + *len, (size_t)st.st_size - *len, (off_t)*len);
		if (n < 0) {
			free(text);
			return NULL;
		}
		if (n == 0)
			break;
	}
	text[*len] = '\0';
	return text;
}

static void empty(struct journal *journal)
{
	journal->stale = true;
	journal->size = 0;
	if (ftruncate(journal->fd, 0) < 0)
		log_error("%s: cannot even be emptied: %s: remove it before the next start",
			  journal->path, strerror(errno));
}

/* What is wrong with the text, and in which line; NULL: nothing. @valid: bytes of whole lines. */
static const char *replay(const char *text, size_t len, size_t *valid, unsigned int *line,
			  const char *(*apply)(void *arg, const struct journal_record *record),
			  void *arg)
{
	const char *at = text, *end, *why = NULL;
	struct journal_record record;

	for (*line = 1; !why && (end = memchr(at, '\n', len - (size_t)(at - text))); ++*line) {
		size_t n = (size_t)(end - at);

		if (*line == 1)
			why = n + 1 == strlen(HEADER) && memcmp(at, HEADER, n) == 0 ?
				      NULL : "not a journal of this version";
		else if (!journal_parse(at, n, &record))
			why = "not a record";
		else
			why = apply(arg, &record);
		at = end + 1;
	}
	--*line;
	*valid = (size_t)(at - text);
	return why;
}

bool journal_load(struct journal *journal,
		  const char *(*apply)(void *arg, const struct journal_record *record), void *arg)
{
	size_t len = 0, valid = 0;
	char *text = read_file(journal->fd, &len);
	const char *why = text ? NULL : strerror(errno);
	unsigned int line = 0;

	if (text)
		why = replay(text, len, &valid, &line, apply, arg);
	free(text);
	if (why) {
		log_error("%s:%u: %s: what was open is not known, all links are reset; it is kept "
			  "as " JOURNAL_BAD_FILE, journal->path, line, why);
		/* The bad one's bytes are worth more than their place: it is the file that moves. */
		if (rename(journal->path, journal->bad) < 0)
			empty(journal);
		journal->stale = true;
		return false;
	}
	journal->size = valid;
	if (!valid || (valid < len && ftruncate(journal->fd, (off_t)valid) < 0)) {
		empty(journal);
		return false;
	}
	return true;
}

/* All or nothing. */
static bool write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static void report(struct journal *journal, const char *consequence)
{
	if (!journal->failing)
		log_error("%s: cannot be written: %s: %s", journal->path, strerror(errno),
			  consequence);
	journal->failing = true;
}

bool journal_append(struct journal *journal, const struct journal_record *record)
{
	char line[JOURNAL_LINE_MAX];
	size_t len;

	if (journal->stale)
		return record->type != JOURNAL_GRANT;
	len = journal_format(record, line);
	if (write_all(journal->fd, line, len)) {
		journal->size += len;
		journal->failing = false;
		return true;
	}
	if (record->type == JOURNAL_GRANT) {
		report(journal, "connects are refused until it can be");
		/* Without the half line, or the next one would be part of it. */
		if (ftruncate(journal->fd, (off_t)journal->size) < 0)
			empty(journal);
		return false;
	}
	report(journal, "it is emptied, and a restart before it can be resets all links");
	empty(journal);
	return true;
}

bool journal_wants_rewrite(const struct journal *journal, uint64_t now_ns)
{
	return (journal->stale || journal->size > journal->limit) && now_ns >= journal->retry_ns;
}

void journal_put(FILE *out, const struct journal_record *record)
{
	char line[JOURNAL_LINE_MAX];

	fwrite(line, 1, journal_format(record, line), out);
}

/* The new file, open for more, with @text in it. -1 and errno. */
static int write_new(const struct journal *journal, const char *text, size_t len)
{
	int fd, err;

	if (unlink(journal->temporary) < 0 && errno != ENOENT)
		return -1;
	fd = open(journal->temporary,
		  O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	if (write_all(fd, text, len) && rename(journal->temporary, journal->path) == 0)
		return fd;
	err = errno;
	close(fd);
	unlink(journal->temporary);
	errno = err;
	return -1;
}

void journal_rewrite(struct journal *journal, uint64_t now_ns,
		     void (*dump)(void *arg, FILE *out), void *arg)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int fd = -1;

	if (out) {
		fputs(HEADER, out);
		dump(arg, out);
		/* Short of memory it would be cut off without a sign. */
		if (ferror(out) | fclose(out))
			errno = ENOMEM;
		else
			fd = write_new(journal, text, len);
	}
	free(text);
	if (fd < 0) {
		report(journal, journal->stale ? "connects are refused until it can be" :
						 "it goes on growing");
		journal->retry_ns = now_ns + JOURNAL_RETRY_MS * LOOP_NS_PER_MS;
		return;
	}
	if (journal->failing)
		log_info("%s: written again", journal->path);
	close(journal->fd);
	journal->fd = fd;
	journal->size = len;
	journal->limit = 2 * len > JOURNAL_COMPACT_BYTES ? 2 * len : JOURNAL_COMPACT_BYTES;
	journal->stale = journal->failing = false;
}
