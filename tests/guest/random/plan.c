// SPDX-License-Identifier: BSD-2-Clause
/*
 * The plan of a connection in a storm, the same on both sides.
 */
#include <sys/socket.h>

#include "storm.h"

#define VOLUME_MAX (2u << 20) /* bytes of one writer */
#define CALLS_MAX  2000u /* of one writer, about */

static void plan_way(struct plan_way *way, struct rng *r, int type, bool crowd)
{
	unsigned int i;

	way->key = rng_next(r);
	way->writers = crowd ? 1 + rng_below(r, CROWD_MAX) : 1;
	way->readers = crowd ? 1 + rng_below(r, CROWD_MAX) : 1;
	for (i = 0; i < CROWD_MAX; i++) {
		size_t max = (size_t)1 << (4 + rng_below(r, 13));

		way->writer[i].max = max;
		way->writer[i].volume = rng_size(r, type == SOCK_SEQPACKET	 ? RECORDS_MAX :
						    max * CALLS_MAX < VOLUME_MAX ? max * CALLS_MAX :
										   VOLUME_MAX);
	}
	way->fork = !crowd && rng_percent(r, 15);
}

/*
 * A third is calm: one direction, blocking calls, nobody beside. Traffic the other way, signals and
 * time-outs all wake, and would hide a wake-up that was lost.
 */
struct plan plan_make(uint64_t seed, uint64_t number, int type)
{
	struct rng r = rng_at(seed, number * 2 + (type == SOCK_SEQPACKET));
	struct plan p = { 0 };
	bool calm = rng_percent(&r, 33);
	int e;

	for (e = 0; e < 2; e++)
		plan_way(&p.way[e], &r, type, !calm && rng_percent(&r, 40));
	if (calm || rng_percent(&r, 20))
		p.way[rng_below(&r, 2)].writers = 0;
	if (rng_percent(&r, 70)) {
		p.wish.tx = 1u << (12 + rng_below(&r, 5));
		p.wish.rx = 1u << (12 + rng_below(&r, 5));
	}
	p.nonblock = rng_percent(&r, 50) ? rng_below(&r, 101) : 0;
	if (calm)
		return p;
	if (rng_percent(&r, 30)) {
		p.cut = rng_percent(&r, 50) ? CUT_SHUTDOWN : CUT_CLOSE;
		p.cut_end = rng_below(&r, 2);
		/* who cuts must have something to wake up for */
		if (!p.way[!p.cut_end].writers)
			p.cut_end = !p.cut_end;
		p.cut_how = rng_below(&r, 3);
		p.cut_after = rng_size(&r, 256 << 10);
	}
	p.signals = rng_percent(&r, 60);
	p.timeout_ms = rng_percent(&r, 30) ? 1 + rng_below(&r, 50) : 0;
	p.peekers = rng_below(&r, 2);
	p.pollers = rng_below(&r, 3);
	return p;
}

void plan_show(FILE *to, const struct plan *p)
{
	static const char *const cuts[] = { "none", "shutdown", "close" };
	unsigned int i;
	int e;

	for (e = 0; e < 2; e++) {
		fprintf(to, "  %d->%d: %u readers%s, writers:", e, !e, p->way[e].readers,
			p->way[e].fork ? ", a child first" : "");
		for (i = 0; i < p->way[e].writers; i++)
			fprintf(to, " %llu in up to %zu",
				(unsigned long long)p->way[e].writer[i].volume,
				p->way[e].writer[i].max);
		fputc('\n', to);
	}
	fprintf(to, "  cut: %s", cuts[p->cut]);
	if (p->cut)
		fprintf(to, " (how %d) by end %d after %llu bytes", p->cut_how, p->cut_end,
			(unsigned long long)p->cut_after);
	fprintf(to,
		"; signals %d, time-out %u ms, %u%% nonblocking, %u peekers, %u pollers, "
		"buffers %u and %u\n",
		p->signals, p->timeout_ms, p->nonblock, p->peekers, p->pollers, p->wish.tx,
		p->wish.rx);
}
