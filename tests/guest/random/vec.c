// SPDX-License-Identifier: BSD-2-Clause
/*
 * Memory for the calls: pieces at odd places, empty ones, ones whose pages are not there yet, and ones
 * that end in a hole.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model.h"

#define AREA  (512u << 10)
#define BLANK 0xa5

static uint8_t *area; /* AREA bytes, and a page that nobody may touch */

void vec_init(void)
{
	int fd = memfd_create("random", MFD_CLOEXEC);
	long page = sysconf(_SC_PAGESIZE);

	if (fd < 0 || ftruncate(fd, AREA))
		die("memfd: %s", strerror(errno));
	area = mmap(NULL, AREA + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* shared: pages that are dropped come back as they were */
	if (area == MAP_FAILED ||
	    mmap(area, AREA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	close(fd);
}

void vec_drop_pages(void)
{
	if (madvise(area, AREA, MADV_DONTNEED))
		die("madvise: %s", strerror(errno));
}

void vec_make(struct vec *v, struct rng *r, size_t len, bool many, bool fault)
{
	uint8_t *at = area + rng_below(r, 64);
	size_t left = len, n, at_text = 0;
	int pieces = many ? 2 + rng_below(r, PIECES_MAX - 1) : 1, hole = -1, i;

	*v = (struct vec){ .n = pieces, .len = len, .good = len };
	if (fault && len)
		hole = rng_below(r, pieces);
	for (i = 0; i < pieces; i++) {
		n = i == pieces - 1 ? left : rng_percent(r, 15) ? 0 : rng_below(r, left + 1);
		v->iov[i] = (struct iovec){ at, n };
		if (i == hole && n) {
			/* some of it before the hole; only the first hole matters, and there is one */
			size_t before = rng_percent(r, 30) ? 0 : rng_below(r, n);

			v->iov[i].iov_base = area + AREA - before;
			v->good = len - left + before;
		}
		at_text += snprintf(v->text + at_text, sizeof(v->text) - at_text, "%s%zu",
				    i ? "+" : "", n);
		if (at_text >= sizeof(v->text))
			at_text = sizeof(v->text) - 1;
		left -= n;
		at += n + rng_below(r, 16);
	}
}

/* Bytes of piece @i that can be touched. */
static size_t usable(const struct vec *v, int i)
{
	size_t to_end = area + AREA - (uint8_t *)v->iov[i].iov_base;

	return to_end < v->iov[i].iov_len ? to_end : v->iov[i].iov_len;
}

void vec_fill(const struct vec *v, uint64_t key, uint64_t pos)
{
	int i;

	for (i = 0; i < v->n; pos += v->iov[i++].iov_len)
		pattern_fill(key, pos, v->iov[i].iov_base, usable(v, i));
}

void vec_blank(const struct vec *v)
{
	int i;

	for (i = 0; i < v->n; i++)
		memset(v->iov[i].iov_base, BLANK, usable(v, i));
}

size_t vec_differs(const struct vec *v, uint64_t key, uint64_t pos, size_t n, bool rest_blank)
{
	size_t done = 0, here, i, bad;
	const uint8_t *from;
	int p;

	for (p = 0; p < v->n; done += v->iov[p++].iov_len) {
		from = v->iov[p].iov_base;
		here = done >= n ? 0 : n - done < v->iov[p].iov_len ? n - done : v->iov[p].iov_len;
		bad = pattern_differs(key, pos + done, from, here);
		if (bad < here)
			return done + bad;
		for (i = here; rest_blank && i < usable(v, p); i++)
			if (from[i] != BLANK)
				return done + i;
	}
	return v->len;
}
