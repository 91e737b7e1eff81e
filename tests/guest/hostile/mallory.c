// SPDX-License-Identifier: BSD-2-Clause
/*
 * A peer whose kernel is hostile: writes random and crafted values over everything that it can
 * reach of the link, and rings. Honest channels of the same link it leaves alone.
 *
 *   siv-mallory channels URL AGENT-PID [OPTION...]   serves URL, and attacks who connects
 *   siv-mallory link AGENT-PID [OPTION...]           attacks link pages, event rings and all channels
 *   siv-mallory ring AGENT-PID [OPTION...]           rings for events that no channel has
 *   siv-mallory flood AGENT-PID [OPTION...]          rings, and says that all channels have news
 *
 *   --seed N, --cycles N, --clients N, --words N (each cycle), --seconds N
 *
 * The numbers of cycles and seconds are the least: it goes on until SIGTERM.
 *
 * An attack stops this VM's agent: as long as it does not run, this kernel says of no channel that it
 * is closed, so no page that is attacked can be given to somebody honest.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sivshmem.h>

#include "reach.h"

#define CLIENTS_MAX 64
#define BURST       512 /* words written to one channel before the next */

static struct {
	uint64_t seed, words;
	unsigned int cycles, clients, seconds;
} options = { .seed = 1, .words = 200000, .cycles = 3, .clients = 1, .seconds = 10 };

static pid_t agent;
static uint64_t state;
static volatile sig_atomic_t told;

static void on_term(int signal)
{
	(void)signal;
	told = 1;
}

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dull;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static char agent_state(void)
{
	char path[32], name[32], letter = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", agent);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*d %31s %c", name, &letter) != 2)
		die("%s: cannot be read", path);
	fclose(f);
	return letter;
}

/* Returns when it is in no system call any more, either. */
static void agent_stop(void)
{
	if (kill(agent, SIGSTOP))
		die("agent %d: %s", agent, strerror(errno));
	while (agent_state() != 'T')
		sched_yield();
}

static void agent_go_on(void)
{
	kill(agent, SIGCONT);
}

static void put64(__u64 *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static uint64_t get64(const __u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* A position that might be taken for one near @pos: just right, just wrong, far off. */
static uint64_t crafted(uint64_t pos, uint64_t size)
{
	static const uint64_t far[] = {
		0, 1, 1ull << 31, 1ull << 32, (1ull << 63) - 1, 1ull << 63, (1ull << 63) + 1,
		-1ull, -8ull,
	};

	switch (rnd() % 10) {
	case 0: return pos;
	case 1: return pos + 1;
	case 2: return pos - 1;
	case 3: return pos + size;
	case 4: return pos + size + 1;
	case 5: return pos - size;
	case 6: return pos + rnd() % size;
	case 7: return pos + far[rnd() % (sizeof(far) / sizeof(*far))];
	case 8: return far[rnd() % (sizeof(far) / sizeof(*far))];
	default: return rnd();
	}
}

/* How a channel is attacked. The first ones leave it alive, so that what it carries is garbage. */
enum way {
	WAY_STILL,  /* reads nothing, and forges wake words */
	WAY_LEGAL,  /* positions that can be true; nothing else in the channel is */
	WAY_STATES, /* the same, and states that come and go */
	WAY_LIES,   /* positions that cannot be true */
	WAY_WILD,   /* any word of the channel */
	WAYS
};

static void attack_wake_words(const struct target *t)
{
	const uint64_t tx = get64(&t->victim->tx_pos), rx = get64(&t->victim->rx_pos);

	put64(&t->own->wake_data, crafted(tx, t->rx_size));
	put64(&t->own->wake_space, crafted(rx, t->tx_size));
}

/* Any word of the victim's own page: it is an output of the victim's kernel and of nobody else. */
static void attack_victims_page(const struct target *t)
{
	__u64 *page = (__u64 *)t->victim;

	put64(page + (rnd() & 1 ? rnd() % 5 * 8 : rnd() % (SIV_PAGE_SIZE / 8)), rnd());
}

static void attack_data(const struct target *t)
{
	__u64 *data = (__u64 *)t->tx, at = rnd() % (t->tx_size / 8);
	const struct siv_record record = {
		.len = rnd() & 1 ? rnd() % 64 : rnd() % 4 ? rnd() % (2 * t->tx_size) : rnd(),
		.flags = rnd(),
	};
	uint64_t word;

	memcpy(&word, &record, sizeof(word));
	put64(data + at, rnd() & 3 ? word : rnd());
	((__u64 *)t->rx)[rnd() % (t->rx_size / 8)] = rnd();
}

/*
 * Goes on as a peer could that reads and writes garbage. What the victim has read and written, the
 * kernels know; in its page it may stand wrong by now, so positions move by what is surely possible
 * only as long as nobody has written there.
 */
static void attack_positions_legally(const struct target *t)
{
	const uint64_t read = get64(&t->victim->rx_pos), sent = get64(&t->victim->tx_pos);
	const uint64_t tx = get64(&t->own->tx_pos), room = read + t->tx_size - tx;
	const uint64_t rx = get64(&t->own->rx_pos);

	if (room <= t->tx_size)
		put64(&t->own->tx_pos, tx + (t->type == SOCK_STREAM ? rnd() % (room + 1) :
					     room / 8 ? rnd() % (room / 8) * 8 : 0));
	if (sent - rx <= t->rx_size)
		put64(&t->own->rx_pos, rx + rnd() % (sent - rx + 1));
}

static void attack_state(const struct target *t, bool known)
{
	uint32_t value = rnd() << 4;

	if (known)
		value |= rnd() & 15;
	else
		value |= SIV_STATE_ATTACHED;
	__atomic_store_n(&t->own->state, value, __ATOMIC_RELEASE);
}

static void attack_once(const struct target *t, enum way way)
{
	__u64 *any = (__u64 *)t->extent;

	switch (way) {
	case WAY_STILL:
		attack_wake_words(t);
		break;
	case WAY_LEGAL:
		switch (rnd() % 8) {
		case 0: attack_positions_legally(t); break;
		case 1: attack_state(t, false); break;
		case 2: attack_wake_words(t); break;
		default: attack_data(t); break;
		}
		break;
	case WAY_STATES:
		if (!(rnd() % 64))
			attack_state(t, true);
		attack_once(t, WAY_LEGAL);
		break;
	case WAY_LIES:
		put64(&t->own->tx_pos, crafted(get64(&t->victim->rx_pos), t->tx_size));
		put64(&t->own->rx_pos, crafted(get64(&t->victim->tx_pos), t->rx_size));
		attack_victims_page(t);
		break;
	default:
		put64(any + rnd() % (t->len / 8), rnd());
		attack_victims_page(t);
		attack_wake_words(t);
		attack_state(t, true);
		put64((__u64 *)t->own + rnd() % 5 * 8, rnd());
	}
}

/* There is news, by our honest kernel: its event ring is spared. */
static void tell(const int *fds, unsigned int n)
{
	ioctl(fds[rnd() % n], SIV_IOC_KICK);
}

static void attack_channels(const struct reach *r, const int *fds, unsigned int n_fds,
			    const char *service)
{
	struct target targets[CLIENTS_MAX];
	enum way ways[CLIENTS_MAX];
	unsigned int n = reach_targets(r, service, targets, CLIENTS_MAX), i, k;
	uint64_t done;

	for (i = 0; i < n; i++)
		ways[i] = rnd() % (WAY_STATES + 1);
	for (done = 0; done < options.words; done += (uint64_t)n * BURST) {
		for (i = 0; i < n; i++) {
			/* the last quarter is for what ends a channel at once */
			if (done > options.words / 4 * 3 && ways[i] < WAY_LIES)
				ways[i] = WAY_LIES + rnd() % 2;
			for (k = 0; k < BURST; k++)
				attack_once(&targets[i], ways[i]);
			/* by all ways, but late: it would end the legal ones */
			if (done > options.words / 2)
				attack_victims_page(&targets[i]);
			tell(fds, n_fds);
			if (!(rnd() % 16))
				reach_ring(r);
		}
		if (!n)
			break;
	}
	printf("attacked %u channels with %llu words\n", n, (unsigned long long)done);
}

#define COME_BACK_MS 40000

/* All that there are: one whose last connection was attacked has come back, or it hangs there. */
static void accept_clients(const int *listeners, int *fds)
{
	struct pollfd p[2] = {
		{ .fd = listeners[0], .events = POLLIN }, { .fd = listeners[1], .events = POLLIN },
	};
	unsigned int n = 0, i;

	while (n < options.clients) {
		int ready = poll(p, 2, COME_BACK_MS);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			die("poll: %s", strerror(errno));
		if (!ready)
			die("only %u of %u clients have come", n, options.clients);
		for (i = 0; i < 2; i++)
			if (p[i].revents) {
				fds[n] = accept4(p[i].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
				n += fds[n] >= 0;
			}
	}
}

static int run_channels(const char *url)
{
	const char *service = strrchr(url, '/') + 1;
	unsigned int cycle, n;
	int listeners[2], fds[CLIENTS_MAX + 1];
	struct reach r;

	listeners[0] = siv_listen(url, 64, SOCK_NONBLOCK);
	listeners[1] = siv_listen(url, 64, SOCK_NONBLOCK | SOCK_SEQPACKET);
	if (listeners[0] < 0 || listeners[1] < 0)
		die("%s: %s", url, siv_strerror(listeners[0] < 0 ? -listeners[0] : -listeners[1]));
	reach_open(&r);
	puts("listening");
	for (cycle = 0; cycle < options.cycles || !told; cycle++) {
		accept_clients(listeners, fds);
		n = options.clients;
		agent_stop();
		attack_channels(&r, fds, n, service);
		agent_go_on();
		while (n)
			close(fds[--n]);
	}
	return 0;
}

/* The link's own words: what this end tells, and what the other end keeps there. */
static void attack_link_once(const struct reach *r)
{
	struct siv_link_page *own = (void *)(r->mem + SIV_LINK_PAGE(r->end));
	struct siv_link_page *victim = (void *)(r->mem + SIV_LINK_PAGE(!r->end));
	uint32_t *ring = (uint32_t *)(r->mem + SIV_EVENT_RING(r->end));
	const uint64_t seen = get64(&victim->event_seen);

	switch (rnd() % 8) {
	case 0:
		put64(&own->event_pos, crafted(seen, SIV_LINK_SLOTS));
		break;
	case 1:
		put64(&own->event_seen, crafted(get64(&victim->event_pos), SIV_LINK_SLOTS));
		break;
	case 2:
		put64(&own->heartbeat, rnd());
		break;
	case 3:
		put64((__u64 *)r->mem + rnd() % (SIV_LINK_CHANNELS / 8), rnd());
		break;
	case 4:
		put64((__u64 *)r->mem + rnd() % (r->size / 8), rnd());
		break;
	default:
		ring[rnd() % SIV_LINK_SLOTS] = rnd() & 1 ? rnd() % SIV_LINK_SLOTS : rnd();
	}
}

static int run_link(void)
{
	const uint64_t end = now_ms() + options.seconds * 1000ull;
	uint64_t words = 0;
	struct reach r;

	reach_open(&r);
	agent_stop();
	puts("attacking");
	do {
		for (int i = 0; i < BURST; i++)
			attack_link_once(&r);
		words += BURST;
		reach_ring(&r);
	} while (now_ms() < end || !told);
	agent_go_on();
	printf("attacked the link with %llu words\n", (unsigned long long)words);
	return 0;
}

/*
 * One impossible event after the other, each rung for once the last one was taken: who rings faster has
 * several taken for one interrupt.
 */
static int run_ring(void)
{
	const uint64_t end = now_ms() + options.seconds * 1000ull;
	struct siv_link_page *own, *victim;
	uint64_t rings = 0, pos;
	uint32_t *ring, slot;
	struct reach r;

	reach_open(&r);
	own = (void *)(r.mem + SIV_LINK_PAGE(r.end));
	victim = (void *)(r.mem + SIV_LINK_PAGE(!r.end));
	ring = (uint32_t *)(r.mem + SIV_EVENT_RING(r.end));
	for (slot = 0; slot < SIV_LINK_SLOTS; slot++)
		ring[slot] = SIV_LINK_SLOTS + slot;
	agent_stop();
	puts("attacking");
	do {
		pos = get64(&victim->event_seen) + 1;
		put64(&own->event_pos, pos);
		reach_ring(&r);
		rings++;
		while (get64(&victim->event_seen) != pos && now_ms() < end)
			;
	} while (now_ms() < end || !told);
	agent_go_on();
	printf("rang %llu times\n", (unsigned long long)rings);
	return 0;
}

/*
 * Rings as fast as it can: for nothing; then each time with a position beyond the ring's capacity, which
 * means "look at all channels"; then with a full ring of events each time.
 */
static int run_flood(void)
{
	const uint64_t start = now_ms(), ms = options.seconds * 1000ull;
	struct siv_link_page *own, *victim;
	uint64_t rings = 0, spent;
	uint32_t *ring, slot;
	struct reach r;

	reach_open(&r);
	own = (void *)(r.mem + SIV_LINK_PAGE(r.end));
	victim = (void *)(r.mem + SIV_LINK_PAGE(!r.end));
	ring = (uint32_t *)(r.mem + SIV_EVENT_RING(r.end));
	for (slot = 0; slot < SIV_LINK_SLOTS; slot++)
		ring[slot] = slot;
	agent_stop();
	puts("attacking");
	while ((spent = now_ms() - start) < ms || !told)
		for (int i = 0; i < 256; i++, rings++) {
			if (spent >= ms / 3)
				put64(&own->event_pos, get64(&victim->event_seen) +
						       SIV_LINK_SLOTS + (spent < ms / 3 * 2));
			reach_ring(&r);
		}
	agent_go_on();
	printf("rang %llu times\n", (unsigned long long)rings);
	return 0;
}

static void parse_options(char **words)
{
	for (; words[0]; words += 2) {
		uint64_t value = words[1] ? strtoull(words[1], NULL, 0) : 0;

		if (!value)
			die("%s: wants a number that is not 0", words[0]);
		if (!strcmp(words[0], "--seed"))
			options.seed = value;
		else if (!strcmp(words[0], "--cycles"))
			options.cycles = value;
		else if (!strcmp(words[0], "--clients"))
			options.clients = value;
		else if (!strcmp(words[0], "--words"))
			options.words = value;
		else if (!strcmp(words[0], "--seconds"))
			options.seconds = value;
		else
			die("%s: unknown option", words[0]);
	}
	state = options.seed;
	printf("seed %llu\n", (unsigned long long)options.seed);
}

static const struct {
	const char *name;
	int (*run)(void);
} attacks[] = { { "link", run_link }, { "ring", run_ring }, { "flood", run_flood } };
#define ATTACKS (sizeof(attacks) / sizeof(*attacks))

int main(int argc, char **argv)
{
	const struct sigaction term = { .sa_handler = on_term };
	bool channels = argc >= 4 && !strcmp(argv[1], "channels");
	unsigned int attack = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (argc >= 3 && attack < ATTACKS && strcmp(argv[1], attacks[attack].name))
		attack++;
	if (!channels && (argc < 3 || attack == ATTACKS))
		die("usage: channels URL AGENT-PID | link|ring|flood AGENT-PID [OPTION...]");
	agent = atoi(argv[channels ? 3 : 2]);
	if (agent <= 1)
		die("%s: no process", argv[channels ? 3 : 2]);
	atexit(agent_go_on);
	sigaction(SIGTERM, &term, NULL);
	parse_options(argv + (channels ? 4 : 3));
	if (options.clients > CLIENTS_MAX)
		die("--clients: up to %d", CLIENTS_MAX);
	return channels ? run_channels(argv[2]) : attacks[attack].run();
}
