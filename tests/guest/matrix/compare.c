// SPDX-License-Identifier: BSD-2-Clause
/*
 * Comparing transcripts: the meant differences, and a diff of what remains.
 */
#include <stdio.h>
#include <stdlib.h>

#include "run.h"

#define LINES_MAX 600

static int split(const char *text, const char *lines[], int lens[])
{
	const char *end;
	int n = 0;

	for (; *text && n < LINES_MAX; text = end + !!*end) {
		end = strchrnul(text, '\n');
		lines[n] = text;
		lens[n++] = end - text;
	}
	return n;
}

void print_lines(const char *text)
{
	const char *end;

	for (; *text; text = end + !!*end) {
		end = strchrnul(text, '\n');
		printf("#   %.*s\n", (int)(end - text), text);
	}
}

/* Puts @ours where the line @oracle is; how often. */
static int substitute(char **text, const char *oracle, const char *ours)
{
	size_t len = strlen(oracle), ours_len = strlen(ours);
	char *from = *text, *to, *out, *end;
	int n = 0;

	out = to = malloc(strlen(from) * (1 + ours_len) + 1);
	if (!out)
		abort();
	for (; *from; from = end + !!*end) {
		end = strchrnul(from, '\n');
		if ((size_t)(end - from) == len && !memcmp(from, oracle, len)) {
			to = mempcpy(to, ours, ours_len);
			n++;
		} else {
			to = mempcpy(to, from, end - from);
		}
		*to++ = '\n';
	}
	*to = 0;
	free(*text);
	*text = out;
	return n;
}

bool expect(const struct testcase *c, int type, char *const oracle[2], bool itself,
	    struct expected *e)
{
	const enum types t = type == SOCK_STREAM ? STREAM : SEQPACKET;
	const struct difference *d;
	bool all = true;
	int i, n;

	for (i = 0; i < 2; i++) {
		e->text[i] = strdup(oracle[i]);
		if (!e->text[i])
			abort();
	}
	for (d = c->differences; d < c->differences + DIFFERENCES_MAX && d->oracle; d++) {
		if (d->types && !(d->types & t))
			continue;
		for (n = 0, i = 0; i < 2; i++)
			n += substitute(&e->text[i], d->oracle, itself ? d->oracle : d->ours);
		if (!n) {
			printf("# the oracle has no line `%s`, which is meant to differ\n",
			       d->oracle);
			all = false;
		}
	}
	return all;
}

/* The longest common subsequence, from the end, so that it can be walked from the start. */
bool print_diff(const char *side, const char *oracle, const char *ours)
{
	static unsigned short lcs[LINES_MAX + 1][LINES_MAX + 1];
	static const char *a[LINES_MAX], *b[LINES_MAX];
	static int a_len[LINES_MAX], b_len[LINES_MAX];
	int n, m, i, j;

	if (!strcmp(oracle, ours))
		return false;
	n = split(oracle, a, a_len);
	m = split(ours, b, b_len);
	memset(lcs, 0, sizeof(lcs));
	for (i = n - 1; i >= 0; i--)
		for (j = m - 1; j >= 0; j--)
			if (a_len[i] == b_len[j] && !memcmp(a[i], b[j], a_len[i]))
				lcs[i][j] = lcs[i + 1][j + 1] + 1;
			else
				lcs[i][j] = lcs[i + 1][j] > lcs[i][j + 1] ? lcs[i + 1][j] :
									    lcs[i][j + 1];
	printf("# %s: -should be +is\n", side);
	for (i = j = 0; i < n || j < m;) {
		if (i < n && j < m && a_len[i] == b_len[j] && !memcmp(a[i], b[j], a_len[i])) {
			printf("#   %.*s\n", a_len[i], a[i]);
			i++, j++;
		} else if (j >= m || (i < n && lcs[i + 1][j] >= lcs[i][j + 1])) {
			printf("# - %.*s\n", a_len[i], a[i]);
			i++;
		} else {
			printf("# + %.*s\n", b_len[j], b[j]);
			j++;
		}
	}
	return true;
}
