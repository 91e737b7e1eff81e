// SPDX-License-Identifier: BSD-2-Clause
/* The link's memory and doorbell by siv_lab.ko, and where channels lie by the module's dumps. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include "reach.h"

#define LAB_REGISTERS    (1ll << 40) /* as siv_lab.c has it */
#define IVSHMEM_DOORBELL (0x0c / 4)

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "siv-mallory: ");
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* One dump: each message of it goes to @got. */
struct dump {
	void (*got)(struct dump *d, struct nlattr **a);
	struct reach *reach;
	const struct reach *from;
	const char *service;
	struct target *targets;
	unsigned int n, max;
};

static int on_message(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[SIV_A_MAX + 1];
	struct dump *d = arg;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, SIV_A_MAX, NULL))
		die("a message of the kernel that cannot be read");
	d->got(d, a);
	return NL_OK;
}

static void dump(int cmd, struct dump *d)
{
	struct nl_sock *sock = nl_socket_alloc();
	int family, err;

	if (!sock || genl_connect(sock))
		die("netlink: no socket");
	family = genl_ctrl_resolve(sock, SIV_GENL_NAME);
	if (family < 0)
		die("netlink: no family " SIV_GENL_NAME " (is the module loaded?)");
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, d);
	err = genl_send_simple(sock, family, cmd, SIV_ABI_VERSION, NLM_F_DUMP);
	if (err >= 0)
		err = nl_recvmsgs_default(sock);
	if (err < 0)
		die("netlink: %s", nl_geterror(err));
	nl_socket_free(sock);
}

static void got_link(struct dump *d, struct nlattr **a)
{
	struct nlattr *l[SIV_LINK_A_MAX + 1];

	if (!a[SIV_A_LINK] || nla_parse_nested(l, SIV_LINK_A_MAX, a[SIV_A_LINK], NULL) ||
	    nla_get_u32(l[SIV_LINK_A_KIND]) != SIV_LINK_PCI)
		return;
	d->reach->link_id = nla_get_u32(l[SIV_LINK_A_ID]);
	d->reach->end = nla_get_u32(l[SIV_LINK_A_END]);
	d->reach->size = nla_get_u64(l[SIV_LINK_A_SIZE]);
	d->reach->peer_ivposition = nla_get_u32(l[SIV_LINK_A_PEER_IVPOSITION]);
	snprintf(d->reach->name, sizeof(d->reach->name), "%s", nla_get_string(l[SIV_LINK_A_NAME]));
}

/* BAR0 is less than a page, and need not begin at the start of one. */
static uint64_t registers_in_page(const char *name)
{
	char path[96];
	uint64_t start;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%" SCNx64, &start) != 1)
		die("%s: cannot be read", path);
	fclose(f);
	return start % SIV_PAGE_SIZE;
}

void reach_open(struct reach *r)
{
	struct dump d = { .got = got_link, .reach = r };
	int fd = open("/dev/siv_lab", O_RDWR | O_CLOEXEC);
	uint8_t *page;

	if (fd < 0)
		die("/dev/siv_lab: %s (is siv_lab.ko loaded?)", strerror(errno));
	*r = (struct reach){};
	dump(SIV_CMD_LINK_GET, &d);
	if (!r->size)
		die("no link to another VM");
	r->mem = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	page = mmap(NULL, SIV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, LAB_REGISTERS);
	if (r->mem == MAP_FAILED || page == MAP_FAILED)
		die("the device's memory: %s", strerror(errno));
	r->regs = (void *)(page + registers_in_page(r->name));
	close(fd);
}

static void got_channel(struct dump *d, struct nlattr **a)
{
	struct nlattr *c[SIV_CHAN_A_MAX + 1];
	struct target *t = &d->targets[d->n];
	uint64_t c2s, s2c;
	bool server;

	if (!a[SIV_A_CHAN] || !a[SIV_A_SERVICE] ||
	    nla_parse_nested(c, SIV_CHAN_A_MAX, a[SIV_A_CHAN], NULL) ||
	    nla_get_u32(c[SIV_CHAN_A_LINK_ID]) != d->from->link_id ||
	    strcmp(nla_get_string(a[SIV_A_SERVICE]), d->service) || d->n == d->max)
		return;
	server = nla_get_u32(c[SIV_CHAN_A_SERVER]);
	c2s = 1ull << nla_get_u32(c[SIV_CHAN_A_C2S_ORDER]);
	s2c = 1ull << nla_get_u32(c[SIV_CHAN_A_S2C_ORDER]);
	t->slot = nla_get_u32(c[SIV_CHAN_A_SLOT]);
	t->type = nla_get_u32(c[SIV_CHAN_A_TYPE]);
	t->extent = d->from->mem + nla_get_u64(c[SIV_CHAN_A_OFFSET]);
	t->len = SIV_CHAN_PAGES * SIV_PAGE_SIZE + c2s + s2c;
	t->own = (void *)(t->extent + (server ? SIV_PAGE_SIZE : 0));
	t->victim = (void *)(t->extent + (server ? 0 : SIV_PAGE_SIZE));
	t->rx = t->extent + SIV_CHAN_PAGES * SIV_PAGE_SIZE + (server ? 0 : c2s);
	t->tx = t->extent + SIV_CHAN_PAGES * SIV_PAGE_SIZE + (server ? c2s : 0);
	t->tx_size = server ? s2c : c2s;
	t->rx_size = server ? c2s : s2c;
	d->n++;
}

unsigned int reach_targets(const struct reach *r, const char *service, struct target *targets,
			   unsigned int max)
{
	struct dump d = {
		.got = got_channel, .from = r, .service = service, .targets = targets, .max = max,
	};

	dump(SIV_CMD_CHAN_GET, &d);
	return d.n;
}

void reach_ring(const struct reach *r)
{
	r->regs[IVSHMEM_DOORBELL] = r->peer_ivposition << 16;
}
