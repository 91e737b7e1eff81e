/* SPDX-License-Identifier: BSD-2-Clause */
/* The journal's file: records, their text, appending, and writing it whole again. */
#ifndef SIVSHMEM_JOURNAL_H
#define SIVSHMEM_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sivshmem/abi.h>

#include "proto/proto.h"

#define JOURNAL_FILE     "journal"     /* in the state folder, mode 0600 */
#define JOURNAL_BAD_FILE "journal.bad" /* one that could not be read, kept for whoever looks */

/* Written whole again at this size, and then at twice what that left, if that is more. */
#define JOURNAL_COMPACT_BYTES (256u * 1024)
#define JOURNAL_RETRY_MS      1000u /* between attempts to write one that has failed */

#define JOURNAL_NAME_LEN (2 * SIV_VM_LEN + 8) /* "a--b", "local/a" */
#define JOURNAL_LINE_MAX 1024                 /* with its newline; a VM may have 64 IVPositions */

enum journal_type {
	JOURNAL_LINK,  /* the memory that is @link's: a new instance forgets all of an earlier one */
	JOURNAL_EPOCH, /* all epochs of @link before that have ended, or are to end */
	JOURNAL_VM,    /* the incarnation of @vm */
	JOURNAL_GRANT, /* pages of @link that either kernel may have from now on */
	JOURNAL_DONE,  /* both have attached */
	JOURNAL_FREE,  /* zeroed, and free */
};

struct journal_link {
	uint64_t instance; /* of the switch; 0: a local link, which has none */
	uint64_t size;
};

struct journal_vm {
	uint8_t boot_id[16];
	uint64_t module_nonce;
	uint32_t positions[SIVP_LINKS_MAX];
	unsigned int n_positions;
};

struct journal_grant {
	uint64_t generation, offset;
	uint32_t epoch, slot, c2s_order, s2c_order, type;
	uint32_t client_end, sealed;
	uint32_t position[2]; /* by end: the IVPosition under which it got the pages */
	char service[2][SIV_SERVICE_LEN];
};

struct journal_record {
	enum journal_type type;
	char name[JOURNAL_NAME_LEN]; /* of the link, or the VM */
	union {
		struct journal_link link;
		uint32_t epoch;
		struct journal_vm vm;
		struct journal_grant grant; /* DONE and FREE: slot and generation of it */
	};
};

/* The line, with its newline. */
size_t journal_format(const struct journal_record *record, char line[JOURNAL_LINE_MAX]);
/* @line without its newline, @len bytes. False: not exactly what journal_format() writes. */
bool journal_parse(const char *line, size_t len, struct journal_record *record);

struct journal;

/*
 * Opens or makes the one in folder @state. NULL and errno: it cannot be used. The folder is this
 * process's alone.
 */
struct journal *journal_open(const char *state);
void journal_close(struct journal *journal);

/*
 * Gives each record to @apply, which returns NULL or what is wrong with it. False: there is none
 * that holds; where that is because of what is in it, the log names file and line, and it is kept
 * as JOURNAL_BAD_FILE. Then what was applied is void. To be called once, before the others.
 */
bool journal_load(struct journal *journal,
		  const char *(*apply)(void *arg, const struct journal_record *record), void *arg);

/*
 * Adds a record. False, which only a grant can get: it is not written, and must not be sent.
 * Without any other record the file would be wrong, so if one cannot be written the file is emptied
 * until journal_rewrite() works again: no journal is always safe.
 */
bool journal_append(struct journal *journal, const struct journal_record *record);

/* Is it time for journal_rewrite()? */
bool journal_wants_rewrite(const struct journal *journal, uint64_t now_ns);
/* Replaces the file by what @dump gives to journal_put(). Logs where that fails. */
void journal_rewrite(struct journal *journal, uint64_t now_ns,
		     void (*dump)(void *arg, FILE *out), void *arg);
void journal_put(FILE *out, const struct journal_record *record);

#endif
