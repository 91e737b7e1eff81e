// SPDX-License-Identifier: BSD-2-Clause
/*
 * A lab's agent for the local link: grants everything to everybody, with no certificates and no
 * broker, so that the module's tests need nothing but the module. Extents are handed out in turn
 * and taken back when both ends are closed; anything unexpected ends it with status 1, and so does
 * SIGTERM while an extent is not taken back.
 *
 *   siv-grantd [--fail-nth] [--seal] [READY-FILE]
 *
 * --fail-nth, on a kernel with fault injection, lets the kernel's first allocation in each command
 * fail, then the second, and so on, until one went through without. Whether the command was done is
 * open then: the verdict itself may be what could not be sent. --seal has all channels sealed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

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
	uint64_t unsure; /* generation of a channel that may have been attached, and may report CLOSED */
} slots[SLOTS];

static void die(const char *what, int err)
{
	fprintf(stderr, "siv-grantd: %s: %s\n", what, strerror(-err));
	exit(1);
}

static struct nl_msg *begin(int cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, cmd,
				 SIV_ABI_VERSION))
		die("message", -ENOMEM);
	return msg;
}

/* What fails next in each command; GRANT has one of them for each side. */
static struct {
	unsigned int nth, handled;
	bool done;
} faults[SIV_CMD_MAX + 1][2];
static const char *const cmd_names[SIV_CMD_MAX + 1] = {
	[SIV_CMD_REGISTER] = "REGISTER", [SIV_CMD_PULL] = "PULL", [SIV_CMD_ANSWER] = "ANSWER",
	[SIV_CMD_LISTENER] = "LISTENER", [SIV_CMD_GRANT] = "GRANT", [SIV_CMD_LINK_SET] = "LINK_SET",
	[SIV_CMD_RESET] = "RESET", [SIV_CMD_LINK_GET] = "LINK_GET",
};
static int fail_fd = -1; /* /proc/thread-self/fail-nth */
static bool granting_server;

static void fail_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	/* switching it off may be what fails */
	while (pwrite(fail_fd, text, len, 0) != len)
		if (errno != EFAULT)
			die("fail-nth", -errno);
}

/* Reading may be what fails; then the command did not. */
static bool failed_nth(void)
{
	char text[16] = "";

	return pread(fail_fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);
}

/* nl_send_auto(), with the kernel's next allocation for such a command failing. 0 or -errno. */
static int send_faulty(struct nl_msg *msg)
{
	int cmd = genlmsg_hdr(nlmsg_hdr(msg))->cmd, err;
	bool server = cmd == SIV_CMD_GRANT && granting_server;
	typeof(&faults[0][0]) f = &faults[cmd][server];

	if (fail_fd >= 0 && !f->done)
		fail_nth(++f->nth);
	errno = 0;
	err = nl_send_auto(sock, msg) < 0 ? -(errno ?: EIO) : 0;
	if (fail_fd < 0 || f->done)
		return err;
	f->done = !failed_nth();
	fail_nth(0); /* or printing is what fails */
	if (f->done) {
		printf("%s%s: %u faults\n", cmd_names[cmd], server ? " of the server" : "", f->handled);
		return err;
	}
	f->handled++;
	/* memory of a link: after the first pages, one of each power of 1.25 is enough */
	if (f->nth > 64)
		f->nth += f->nth / 4;
	return err;
}

static uint32_t waiting_for; /* sequence number */
static bool answered;
static int verdict; /* -errno */

static int on_ack(struct nl_msg *msg, void *arg)
{
	(void)arg;
	if (nlmsg_hdr(msg)->nlmsg_seq != waiting_for)
		return NL_SKIP; /* of a command that was given up */
	answered = true;
	verdict = 0;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	(void)from;
	(void)arg;
	if (e->msg.nlmsg_seq != waiting_for)
		return NL_SKIP;
	answered = true;
	verdict = e->error;
	return NL_STOP;
}

/*
 * Sends and waits for the verdict, whatever comes in between: 0 or -errno. With -ENOBUFS it is open
 * whether the command was done.
 */
static int call(struct nl_msg *msg)
{
	int err = send_faulty(msg);

	waiting_for = nlmsg_hdr(msg)->nlmsg_seq;
	nlmsg_free(msg);
	for (answered = false; !err && !answered;)
		if (nl_recvmsgs_default(sock) < 0 && !answered)
			err = -ENOBUFS;
	return err ?: verdict;
}

/* The kernel had no memory, or injected that it could not read ours: worth another try. */
static bool want_retry(int err)
{
	return err == -ENOBUFS || err == -ENOMEM || (fail_fd >= 0 && err == -EFAULT);
}

/* What is said once is said until each fault has been, those that the kernel got over too. */
static bool say_again(int cmd, int err)
{
	return want_retry(err) || (fail_fd >= 0 && !faults[cmd][0].done);
}

static int on_link(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[SIV_A_MAX + 1], *l[SIV_LINK_A_MAX + 1];

	(void)arg;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, SIV_A_MAX, NULL) || !a[SIV_A_LINK] ||
	    nla_parse_nested(l, SIV_LINK_A_MAX, a[SIV_A_LINK], NULL))
		return NL_SKIP;
	if (nla_get_u32(l[SIV_LINK_A_KIND]) == SIV_LINK_LOCAL) {
		link_id[nla_get_u32(l[SIV_LINK_A_END])] = nla_get_u32(l[SIV_LINK_A_ID]);
		/* of an agent before: there is no way back from it */
		if (nla_get_u32(l[SIV_LINK_A_EPOCH]) > epoch)
			epoch = nla_get_u32(l[SIV_LINK_A_EPOCH]);
	}
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

/* 0 or -errno; -EBUSY: the one before, which had failed, has come to its end instead. */
static int dump_once(int cmd)
{
	struct nl_msg *msg = begin(cmd, NLM_F_DUMP);
	int err = send_faulty(msg);
	bool before;

	waiting_for = nlmsg_hdr(msg)->nlmsg_seq;
	nlmsg_free(msg);
	for (finished = answered = false; !err && !finished;) {
		before = answered;
		if (nl_recvmsgs_default(sock) < 0 && answered == before)
			err = -ENOBUFS;
		else if (answered && verdict != -EBUSY)
			err = verdict;
	}
	return err ?: answered ? verdict : 0;
}

static void dump(int cmd)
{
	int err;

	do
		err = dump_once(cmd);
	while (say_again(cmd, err) || err == -EBUSY);
	if (err)
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
		die("upcall", -EBADMSG);
	job = calloc(1, sizeof(*job));
	if (!job)
		die("upcall", -ENOMEM);
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
	struct nl_msg *msg;

	do {
		msg = begin(SIV_CMD_ANSWER, 0);
		nla_put_u64(msg, SIV_A_ID, id);
		nla_put_u32(msg, SIV_A_ERROR, error);
		nla_put_string(msg, SIV_A_SERVICE, service);
	} while (want_retry(call(msg))); /* the process may have given up meanwhile */
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
	struct nl_msg *msg;
	int err;

	cookie = 0;
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_cookie, NULL);
	do {
		msg = begin(SIV_CMD_LISTENER, 0);
		nla_put_string(msg, SIV_A_SERVICE, service);
		nla_put_u32(msg, SIV_A_TYPE, type);
		err = call(msg);
	} while (want_retry(err));
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, NULL);
	if (err)
		fprintf(stderr, "siv-grantd: listener of %s: %s\n", service, strerror(-err));
	return err == -EAGAIN ? ECONNREFUSED : -err;
}

/* As the agents take them from TLS: others for each channel, the same for both sides. */
static bool sealing;
static uint8_t secrets[2][SIV_SEAL_SECRET];

static void make_secrets(void)
{
	if (getrandom(secrets, sizeof(secrets), 0) != sizeof(secrets))
		die("getrandom", -errno);
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
	if (sealing)
		nla_put(msg, SIV_A_SEAL, sizeof(secrets), secrets);
	if (server)
		nla_put_u64(msg, SIV_A_COOKIE, cookie);
	else
		nla_put_u64(msg, SIV_A_ID, job->id);
	return call(msg);
}

/* True if that side had the channel; it reports CLOSED then. */
static bool reset(uint32_t slot, bool server)
{
	struct nl_msg *msg;
	bool had = false;
	int err;

	do {
		msg = begin(SIV_CMD_RESET, 0);
		nla_put_u32(msg, SIV_A_LINK_ID, link_id[server]);
		nla_put_u32(msg, SIV_A_EPOCH, epoch);
		nla_put_u32(msg, SIV_A_SLOT, slot);
		nla_put_u64(msg, SIV_A_GENERATION, slots[slot].generation);
		err = call(msg);
		had |= !err;
	} while (say_again(SIV_CMD_RESET, err));
	return had;
}

/* A grant of one side failed: what may be there of the channel goes. */
static void take_back(uint32_t slot)
{
	slots[slot].unsure = slots[slot].generation;
	slots[slot].open = reset(slot, true);
	slots[slot].open += reset(slot, false);
}

static void connect_job(const struct job *job)
{
	uint32_t slot = generation % SLOTS, i;
	int err = find_listener(job->service, job->type);

	if (err) {
		answer(job->id, err, "none");
		return;
	}
	/* in turn, so that a late CLOSED finds what its slot was unsure of */
	for (i = 0; i < SLOTS && slots[slot].open; i++)
		slot = (slot + 1) % SLOTS;
	if (slots[slot].open) {
		answer(job->id, ENOBUFS, "none");
		return;
	}
	slots[slot].generation = ++generation;
	make_secrets();
	granting_server = true;
	err = grant(job, slot, true);
	if (err) {
		fprintf(stderr, "siv-grantd: grant to %s: %s\n", job->service, strerror(-err));
		take_back(slot);
		answer(job->id, want_retry(err) ? ENOBUFS : ECONNREFUSED, "none");
		return;
	}
	slots[slot].open = 2;
	granting_server = false;
	err = grant(job, slot, false);
	if (err) {
		take_back(slot);
		answer(job->id, ENOBUFS, "none"); /* unless the process is gone */
	}
}

/* A channel whose grant failed may have been closed before it was taken back. */
static void closed_job(const struct job *job)
{
	typeof(&slots[0]) slot = &slots[job->slot];

	if (job->slot < SLOTS && slot->open && slot->generation == job->generation)
		slot->open--;
	else if (job->slot >= SLOTS || slot->unsure != job->generation)
		die("CLOSED of a channel that is not open", -EINVAL);
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
		closed_job(job);
		break;
	}
}

static void link_set(uint32_t end)
{
	struct nl_msg *msg;
	struct nlattr *nest;
	int err;

	do {
		msg = begin(SIV_CMD_LINK_SET, 0);
		nest = nla_nest_start(msg, SIV_A_LINK);
		nla_put_u32(msg, SIV_LINK_A_ID, link_id[end]);
		nla_put_u64(msg, SIV_LINK_A_SIZE, LINK_SIZE);
		nla_put_u32(msg, SIV_LINK_A_END, end);
		nla_put_u32(msg, SIV_LINK_A_EPOCH, epoch);
		nla_put_string(msg, SIV_LINK_A_PEER_VM, "lab");
		nla_nest_end(msg, nest);
		err = call(msg);
	} while (say_again(SIV_CMD_LINK_SET, err));
	if (err)
		die("LINK_SET", err);
}

static void start(void)
{
	struct nl_msg *msg;
	int err;

	sock = nl_socket_alloc();
	if (!sock)
		die("socket", -ENOMEM);
	nl_socket_disable_seq_check(sock);
	err = genl_connect(sock);
	if (!err)
		err = family = genl_ctrl_resolve(sock, SIV_GENL_NAME);
	if (err < 0) {
		fprintf(stderr, "siv-grantd: family " SIV_GENL_NAME " (is the module loaded?): %s\n",
			nl_geterror(err));
		exit(1);
	}
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, NULL);
	nl_socket_modify_cb(sock, NL_CB_ACK, NL_CB_CUSTOM, on_ack, NULL);
	nl_socket_modify_cb(sock, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, NULL);
	nl_socket_modify_err_cb(sock, NL_CB_CUSTOM, on_error, NULL);
	do {
		msg = begin(SIV_CMD_REGISTER, NLM_F_ACK);
		nla_put_u32(msg, SIV_A_ABI, SIV_ABI_VERSION);
		nla_put_string(msg, SIV_A_VM, "lab");
		err = call(msg);
	} while (say_again(SIV_CMD_REGISTER, err));
	if (err)
		die("REGISTER", err);
	dump(SIV_CMD_LINK_GET);
	link_set(0);
	link_set(1);
}

static void on_term(int signal)
{
	static const char leak[] = "siv-grantd: a channel is still open\n";
	unsigned int slot, open = 0;

	(void)signal;
	for (slot = 0; slot < SLOTS; slot++)
		open += slots[slot].open;
	if (open && write(STDERR_FILENO, leak, sizeof(leak) - 1) < 0)
		open++;
	_exit(!!open);
}

int main(int argc, char **argv)
{
	const char *ready_file;
	FILE *ready;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGTERM, on_term);
	if (argc > 1 && !strcmp(argv[1], "--fail-nth")) {
		fail_fd = open("/proc/thread-self/fail-nth", O_RDWR);
		if (fail_fd < 0) {
			perror("siv-grantd: fail-nth (a kernel with fault injection?)");
			return 1;
		}
		argc--, argv++;
	}
	if (argc > 1 && !strcmp(argv[1], "--seal")) {
		sealing = true;
		argc--, argv++;
	}
	ready_file = argc > 1 ? argv[1] : NULL;
	start();
	puts("ready");
	work = true; /* whatever was queued before */
	if (ready_file) {
		ready = fopen(ready_file, "w");
		if (!ready || fclose(ready)) {
			perror(ready_file);
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
