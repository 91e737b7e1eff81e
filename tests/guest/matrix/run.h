/* SPDX-License-Identifier: BSD-2-Clause */
/* What the runner, the transports and the transcripts share, and cases do not see. */
#ifndef RUN_H
#define RUN_H

#include "matrix.h"

#define TRANSCRIPT_SIZE (64u << 10)

/* What the sides say to each other is in small letters; this comes from the server's runner. */
#define CONTROL_TRANSCRIPT 'T'

struct transcript {
	uint32_t len;
	bool open; /* the last line has no result yet */
	bool failed; /* t_fail() was called */
	char text[TRANSCRIPT_SIZE];
};

struct options {
	const char *subject; /* URL, or "unix:": the oracle itself */
	const char *peer; /* HOST:PORT, or NULL: both sides here */
	const char *group, *pattern;
	int repeat, limit; /* times; seconds for each case */
	bool verbose;
};

extern const struct group *const groups[];
extern const size_t n_groups;

struct transcript *transcript_new(void);
void transcript_free(struct transcript *t);
void transcript_append(struct transcript *to, const char *prefix, const struct transcript *from);

/* The side's whole life in its own process, after its control connection is there. */
void side_run(struct side *s, int limit) __attribute__((noreturn));
void side_connect(struct side *s);
void counters_init(void);

const char *via_name(enum via via);
int run_all(const struct options *o);
int run_serve(const char *port, const struct options *o);
/* Prints how two transcripts differ, as TAP comments; false if they do not. */
bool print_diff(const char *side, const char *oracle, const char *ours);
void print_lines(const char *text);
/* @oracle with its meant differences put in, in new memory; NULL, and said, if one is not there. */
struct expected {
	char *text[2];
};
bool expect(const struct testcase *c, int type, char *const oracle[2], bool itself,
	    struct expected *e);

#endif
