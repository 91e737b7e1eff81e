// SPDX-License-Identifier: BSD-2-Clause
/*
 * A lab's agent for the local link: grants everything to everybody, with no certificates and no
 * broker, so that the module's tests need nothing but the module. Extents are handed out in turn and
 * taken back when both ends are closed; anything unexpected ends it with status 1.
 *
 *   siv-grantd [READY-FILE]
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <sivshmem/abi.h>

#define LINK_SIZE (64ull << 20)
#define SLOTS     512
#define EXTENT    ((LINK_SIZE - SIV_LINK_CHANNELS) / SLOTS / SIV_PAGE_SIZE * SIV_PAGE_SIZE)
#define ORDER_MAX 15u /* two areas and two pages fit into an extent */

static struct nl_sock *sock;
static int family;
static uint32_t link_id[2], epoch = 1;
static uint64_t generation;
static struct {
	uint64_t generation;
	int open; /* ends that have not reported CLOSED */
} slots[SLOTS];

static void die(const char *what, int err)
{
	fprintf(stderr, "siv-grantd: %s: %s\n", what, nl_geterror(err));
	exit(1);
}

static struct nl_msg *begin(int cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, cmd,
				 SIV_ABI_VERSION))
		die("message", -NLE_NOMEM);
	return msg;
}

static bool acked;
static int refused; /* the kernel's errno for the last call(), which libnl's errors do not tell */

static int on_ack(struct nl_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
	acked = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	(void)from;
	(void)arg;
	refused = -e->error;
	return -nl_syserr2nlerr(e->error);
}

/* Sends and waits for the verdict, whatever comes in between: 0 or a libnl error. */
static int call(struct nl_msg *msg)
{
	int err = nl_send_auto(sock, msg);

	nlmsg_free(msg);
	refused = 0;
	if (err < 0)
		die("send", err);
	for (acked = false, err = 0; !err && !acked;)
		err = nl_recvmsgs_default(sock);
	return err;
}

static int on_link(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[SIV_A_MAX + 1], *l[SIV_LINK_A_MAX + 1];

	(void)arg;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, SIV_A_MAX, NULL) || !a[SIV_A_LINK] ||
	    nla_parse_nested(l, SIV_LINK_A_MAX, a[SIV_A_LINK], NULL))
		return NL_SKIP;
	if (nla_get_u32(l[SIV_LINK_A_KIND]) == SIV_LINK_LOCAL)
		link_id[nla_get_u32(l[SIV_LINK_A_END])] = nla_get_u32(l[SIV_LINK_A_ID]);
	return NL_OK;
}

/* Answers outside the kind that is expected (WORK hints, upcalls) go through here too. */
static int on_upcall(struct nl_msg *msg, void *arg);
static bool work;

static int on_message(struct nl_msg *msg, void *arg)
{
	switch (genlmsg_hdr(nlmsg_hdr(msg))->cmd) {
	case SIV_CMD_WORK:
		work = true;
		return NL_OK;
	case SIV_CMD_LINK_GET:
		return on_link(msg, arg);
	case SIV_CMD_PULL:
		return on_upcall(msg, arg);
	default:
		return NL_OK;
	}
}

static bool finished;

static int on_finish(struct nl_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
	finished = true;
	return NL_STOP;
}

static void dump(int cmd)
{
	struct nl_msg *msg = begin(cmd, NLM_F_DUMP);
	int err = nl_send_auto(sock, msg);

	nlmsg_free(msg);
	for (finished = false; err >= 0 && !finished;)
		err = nl_recvmsgs_default(sock);
	if (err < 0)
		die("dump", err);
}

static void put_name(struct sockaddr_sivshmem *addr, const char *service)
{
	addr->ssiv_family = AF_SIVSHMEM;
	strcpy(addr->ssiv_vm, "lab");
	snprintf(addr->ssiv_service, sizeof(addr->ssiv_service), "%s", service);
}

/* Pulled requests are worked off after the dump: the kernel has one dump at a time. */
struct job {
	struct job *next;
	uint32_t kind, tx_order, rx_order, type, link, slot;
	uint64_t id, generation;
	char service[SIV_SERVICE_LEN], own[SIV_SERVICE_LEN];
};
static struct job *jobs, **jobs_end = &jobs;

static void get_str(char *to, struct nlattr *a)
{
	if (a)
		snprintf(to, SIV_SERVICE_LEN, "%s", nla_get_string(a));
}

static int on_upcall(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[SIV_A_MAX + 1], *u[SIV_UPCALL_A_MAX + 1];
	struct job *job;

	(void)arg;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, SIV_A_MAX, NULL) || !a[SIV_A_UPCALL] ||
	    nla_parse_nested(u, SIV_UPCALL_A_MAX, a[SIV_A_UPCALL], NULL))
		die("upcall", -NLE_PARSE_ERR);
	job = calloc(1, sizeof(*job));
	if (!job)
		die("upcall", -NLE_NOMEM);
	job->kind = nla_get_u32(u[SIV_UPCALL_A_KIND]);
	get_str(job->service, u[SIV_UPCALL_A_SERVICE]);
	get_str(job->own, u[SIV_UPCALL_A_OWN_SERVICE]);
	if (u[SIV_UPCALL_A_ID])
		job->id = nla_get_u64(u[SIV_UPCALL_A_ID]);
	if (u[SIV_UPCALL_A_TX_ORDER])
		job->tx_order = nla_get_u32(u[SIV_UPCALL_A_TX_ORDER]);
	if (u[SIV_UPCALL_A_RX_ORDER])
		job->rx_order = nla_get_u32(u[SIV_UPCALL_A_RX_ORDER]);
	if (u[SIV_UPCALL_A_TYPE])
		job->type = nla_get_u32(u[SIV_UPCALL_A_TYPE]);
	if (u[SIV_UPCALL_A_SLOT])
		job->slot = nla_get_u32(u[SIV_UPCALL_A_SLOT]);
	if (u[SIV_UPCALL_A_GENERATION])
		job->generation = nla_get_u64(u[SIV_UPCALL_A_GENERATION]);
	*jobs_end = job;
	jobs_end = &job->next;
	return NL_OK;
}

static void answer(uint64_t id, int error, const char *service)
{
	struct nl_msg *msg = begin(SIV_CMD_ANSWER, 0);

	nla_put_u64(msg, SIV_A_ID, id);
	nla_put_u32(msg, SIV_A_ERROR, error);
	nla_put_string(msg, SIV_A_SERVICE, service);
	call(msg); /* the process may have given up meanwhile */
}

static uint64_t cookie;
static int on_cookie(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[SIV_A_MAX + 1];

	if (genlmsg_hdr(nlmsg_hdr(msg))->cmd != SIV_CMD_LISTENER)
		return on_message(msg, arg);
	if (!genlmsg_parse(nlmsg_hdr(msg), 0, a, SIV_A_MAX, NULL) && a[SIV_A_COOKIE])
		cookie = nla_get_u64(a[SIV_A_COOKIE]);
	return NL_OK;
}

/* 0, or the errno for connect(). */
static int find_listener(const char *service, uint32_t type)
{
	struct nl_msg *msg = begin(SIV_CMD_LISTENER, 0);
	int err;

	nla_put_string(msg, SIV_A_SERVICE, service);
	nla_put_u32(msg, SIV_A_TYPE, type);
	cookie = 0;
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_cookie, NULL);
	err = call(msg);
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, NULL);
	if (err)
		fprintf(stderr, "siv-grantd: listener of %s: %s\n", service, nl_geterror(err));
	return refused == EAGAIN ? ECONNREFUSED : refused;
}

static int grant(const struct job *job, uint32_t slot, bool server)
{
	struct nl_msg *msg = begin(SIV_CMD_GRANT, 0);
	struct siv_peer peer = { .not_after = 4102444800 };
	struct nlattr *nest = nla_nest_start(msg, SIV_A_CHAN);

	nla_put_u32(msg, SIV_CHAN_A_LINK_ID, link_id[server]);
	nla_put_u32(msg, SIV_CHAN_A_EPOCH, epoch);
	nla_put_u32(msg, SIV_CHAN_A_SLOT, slot);
	nla_put_u64(msg, SIV_CHAN_A_GENERATION, slots[slot].generation);
	nla_put_u64(msg, SIV_CHAN_A_OFFSET, SIV_LINK_CHANNELS + slot * EXTENT);
	nla_put_u32(msg, SIV_CHAN_A_C2S_ORDER, job->tx_order < ORDER_MAX ? job->tx_order : ORDER_MAX);
	nla_put_u32(msg, SIV_CHAN_A_S2C_ORDER, job->rx_order < ORDER_MAX ? job->rx_order : ORDER_MAX);
	nla_put_u32(msg, SIV_CHAN_A_SERVER, server);
	nla_put_u32(msg, SIV_CHAN_A_TYPE, job->type);
	nla_nest_end(msg, nest);
	put_name(&peer.addr, server ? (job->own[0] ? job->own : "client") : job->service);
	snprintf(peer.spiffe_id, sizeof(peer.spiffe_id), "spiffe://lab/vm/lab/service/%s",
		 peer.addr.ssiv_service);
	nla_put(msg, SIV_A_PEER, sizeof(peer), &peer);
	nla_put_string(msg, SIV_A_SERVICE, server ? job->service : job->own[0] ? job->own : "client");
	if (server)
		nla_put_u64(msg, SIV_A_COOKIE, cookie);
	else
		nla_put_u64(msg, SIV_A_ID, job->id);
	return call(msg);
}

static void reset(uint32_t slot)
{
	struct nl_msg *msg = begin(SIV_CMD_RESET, 0);

	nla_put_u32(msg, SIV_A_LINK_ID, link_id[1]);
	nla_put_u32(msg, SIV_A_EPOCH, epoch);
	nla_put_u32(msg, SIV_A_SLOT, slot);
	nla_put_u64(msg, SIV_A_GENERATION, slots[slot].generation);
	call(msg);
}

static void connect_job(const struct job *job)
{
	uint32_t slot;
	int err = find_listener(job->service, job->type);

	if (err) {
		answer(job->id, err, "none");
		return;
	}
	for (slot = 0; slot < SLOTS && slots[slot].open; slot++)
		;
	if (slot == SLOTS) {
		answer(job->id, ENOBUFS, "none");
		return;
	}
	slots[slot].generation = ++generation;
	err = grant(job, slot, true);
	if (err) {
		fprintf(stderr, "siv-grantd: grant to %s: %s\n", job->service, nl_geterror(err));
		answer(job->id, ECONNREFUSED, "none");
		return;
	}
	slots[slot].open = 2;
	if (grant(job, slot, false)) {
		slots[slot].open = 1; /* never attached on the client's side */
		reset(slot);
	}
}

static void run(const struct job *job)
{
	switch (job->kind) {
	case SIV_UPCALL_BIND:
		answer(job->id, 0, job->service[0] ? job->service : "chosen");
		break;
	case SIV_UPCALL_CONNECT:
		connect_job(job);
		break;
	case SIV_UPCALL_CLOSED:
		if (job->slot >= SLOTS || slots[job->slot].generation != job->generation ||
		    !slots[job->slot].open--)
			die("CLOSED of a channel that is not open", -NLE_INVAL);
		break;
	}
}

static void link_set(uint32_t end)
{
	struct nl_msg *msg = begin(SIV_CMD_LINK_SET, 0);
	struct nlattr *nest = nla_nest_start(msg, SIV_A_LINK);
	int err;

	nla_put_u32(msg, SIV_LINK_A_ID, link_id[end]);
	nla_put_u64(msg, SIV_LINK_A_SIZE, LINK_SIZE);
	nla_put_u32(msg, SIV_LINK_A_END, end);
	nla_put_u32(msg, SIV_LINK_A_EPOCH, epoch);
	nla_put_string(msg, SIV_LINK_A_PEER_VM, "lab");
	nla_nest_end(msg, nest);
	err = call(msg);
	if (err)
		die("LINK_SET", err);
}

static void start(void)
{
	struct nl_msg *msg;
	int err;

	sock = nl_socket_alloc();
	if (!sock)
		die("socket", -NLE_NOMEM);
	nl_socket_disable_seq_check(sock);
	err = genl_connect(sock);
	if (!err)
		err = family = genl_ctrl_resolve(sock, SIV_GENL_NAME);
	if (err < 0)
		die("family " SIV_GENL_NAME " (is the module loaded?)", err);
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, NULL);
	nl_socket_modify_cb(sock, NL_CB_ACK, NL_CB_CUSTOM, on_ack, NULL);
	nl_socket_modify_cb(sock, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, NULL);
	nl_socket_modify_err_cb(sock, NL_CB_CUSTOM, on_error, NULL);
	msg = begin(SIV_CMD_REGISTER, NLM_F_ACK);
	nla_put_u32(msg, SIV_A_ABI, SIV_ABI_VERSION);
	nla_put_string(msg, SIV_A_VM, "lab");
	err = call(msg);
	if (err)
		die("REGISTER", err);
	dump(SIV_CMD_LINK_GET);
	link_set(0);
	link_set(1);
}

int main(int argc, char **argv)
{
	FILE *ready;

	start();
	work = true; /* whatever was queued before */
	if (argc > 1) {
		ready = fopen(argv[1], "w");
		if (!ready || fclose(ready)) {
			perror(argv[1]);
			return 1;
		}
	}
	for (;;) {
		while (work || jobs) {
			if (work) {
				work = false;
				dump(SIV_CMD_PULL);
			}
			while (jobs) {
				struct job *job = jobs;

				jobs = job->next;
				if (!jobs)
					jobs_end = &jobs;
				run(job);
				free(job);
			}
		}
		if (nl_recvmsgs_default(sock) < 0)
			work = true; /* ENOBUFS: a hint may be lost */
	}
}
