// SPDX-License-Identifier: BSD-2-Clause
/*
 * The kernel module over generic netlink, never blocking. One request at a time: the next is sent
 * when the answer to the last is here, so that their order is theirs and a dump never meets another.
 *
 * Upcalls are pulled by a dump: after registering, on each WORK hint, and again after each dump that
 * brought something, since hints may be lost. The kernel may go on with a dump that it said had
 * failed; what that brings is taken, for the kernel does not say it twice.
 *
 * What failed for want of memory and may be said again is said again: a process waits for its answer,
 * and the kernel hints only once that its queue is not empty any more.
 *
 * If the socket overflows, hints and answers may be lost. A lost hint costs a pull. A lost answer
 * leaves it open whether, say, a grant was taken: then the socket is opened anew, which the module
 * sees as an agent that restarted, and the agent learns from it what is open.
 */
#include "kernel.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <openssl/crypto.h>

#include "common/list.h"
#include "common/log.h"
#include "common/loop.h"
#include "nl_attr.h"

#define NL_RCVBUF        (1024 * 1024) /* bytes */
#define NL_ROUND_MAX     64            /* datagrams read before others have their turn */
#define NONCE_FILE       "/sys/module/af_sivshmem/parameters/nonce" /* decimal */
#define NL_RETRY_NS      (10 * LOOP_NS_PER_MS)
#define NL_CTRL_NOTIFY   GENL_ID_CTRL  /* the controller's one group has a fixed number */
#define NL_CMD_GETFAMILY (-1)          /* request.cmd of our question to the controller */

struct nl_request {
	struct list node;
	struct kernel_request request;
	uint8_t *secrets; /* the request's */
	struct kernel_answer answer;
	uint32_t seq;
	bool sent;
	bool some; /* a PULL that brought something */
};

struct nl_kernel {
	struct kernel kernel;
	struct loop *loop;
	struct loop_io io;
	struct loop_timer later; /* completes what could not be sent */
	struct loop_timer retry; /* the first in the queue is sent again */
	struct nl_sock *sock;
	uint32_t seq;

	uint16_t family; /* 0: the module is not there */

	struct list queue; /* the first one is under way */
	unsigned int pending;

	bool lost;        /* the socket overflowed, and has not been emptied since */
	bool pulls;       /* the agent wants upcalls */
	bool pull_queued; /* a PULL is in the queue and not answered */
	bool pull_again;  /* there may be more than it brings */
};

static struct nl_kernel *nl_kernel(struct kernel *kernel)
{
	return container_of(kernel, struct nl_kernel, kernel);
}

const char *kernel_cmd_name(int cmd)
{
	static const char *const names[SIV_CMD_MAX + 1] = {
		[SIV_CMD_REGISTER] = "register", [SIV_CMD_WORK] = "work",
		[SIV_CMD_PULL] = "pull", [SIV_CMD_ANSWER] = "answer",
		[SIV_CMD_LISTENER] = "listener", [SIV_CMD_GRANT] = "grant",
		[SIV_CMD_LINK_SET] = "link-set", [SIV_CMD_LINK_DOWN] = "link-down",
		[SIV_CMD_RESET] = "reset", [SIV_CMD_LINK_GET] = "link-get",
		[SIV_CMD_CHAN_GET] = "chan-get",
	};

	return cmd > 0 && cmd <= SIV_CMD_MAX && names[cmd] ? names[cmd] : "get-family";
}

static bool is_dump(int cmd)
{
	return cmd == SIV_CMD_PULL || cmd == SIV_CMD_LINK_GET || cmd == SIV_CMD_CHAN_GET;
}

/* Sends @r on @sock. 0 or -errno. */
static int nl_request_send(struct nl_sock *sock, uint16_t family, uint32_t seq,
			   const struct kernel_request *r)
{
	struct nl_msg *msg = nlmsg_alloc();
	int err = -ENOMEM;

	if (!msg)
		return -ENOMEM;
	if (r->cmd == NL_CMD_GETFAMILY) {
		if (!genlmsg_put(msg, NL_AUTO_PORT, seq, GENL_ID_CTRL, 0, NLM_F_REQUEST | NLM_F_ACK,
				 CTRL_CMD_GETFAMILY, 1) ||
		    nla_put_string(msg, CTRL_ATTR_FAMILY_NAME, SIV_GENL_NAME))
			goto out;
	} else {
		if (!genlmsg_put(msg, NL_AUTO_PORT, seq, family, 0,
				 NLM_F_REQUEST | (is_dump(r->cmd) ? NLM_F_DUMP : NLM_F_ACK), r->cmd,
				 SIV_ABI_VERSION) ||
		    nl_attr_put(msg, r))
			goto out;
	}
	nl_complete_msg(sock, msg);
	err = nl_send(sock, msg);
	if (err < 0)
		err = errno ? -errno : -EIO;
	else
		err = 0;
out:
	OPENSSL_cleanse(nlmsg_data(nlmsg_hdr(msg)), nlmsg_datalen(nlmsg_hdr(msg))); /* secrets */
	nlmsg_free(msg);
	return err;
}

static struct nl_request *current_request(const struct nl_kernel *k)
{
	return list_empty(&k->queue) ? NULL : container_of(k->queue.next, struct nl_request, node);
}

static void advance(struct nl_kernel *k);

static void request_free(struct nl_request *r)
{
	OPENSSL_secure_clear_free(r->secrets, KERNEL_SECRETS);
	free(r);
}

static bool worth_retry(int cmd, int err)
{
	return (err == -ENOMEM || err == -ENOBUFS || err == -EBUSY) &&
	       (cmd == SIV_CMD_PULL || cmd == SIV_CMD_ANSWER || cmd == SIV_CMD_RESET);
}

/* Ends the request under way, and sends the next before anybody hears of it. */
static void complete(struct nl_kernel *k, int err)
{
	struct nl_request *r = current_request(k);
	const struct kernel_request *q = &r->request;

	if (worth_retry(q->cmd, err) && !loop_timer_set(k->loop, &k->retry, NL_RETRY_NS)) {
		r->seq = ++k->seq; /* nothing more that comes for the last one ends it */
		return;
	}
	list_del(&r->node);
	k->pending--;
	if (q->cmd == SIV_CMD_PULL) {
		k->pull_queued = false;
		if (r->some || k->pull_again)
			k->kernel.ops->pull(&k->kernel);
	}
	advance(k);
	if (q->cmd == NL_CMD_GETFAMILY && err)
		k->kernel.present(k->kernel.ctx, false, 0);
	else if (q->done)
		q->done(k->kernel.ctx, q->tag, err, &r->answer);
	else if (err == -ENOENT || err == -EPROTONOSUPPORT)
		log_debug("kernel: %s: process, channel or module are gone", kernel_cmd_name(q->cmd));
	else if (err)
		log_warning("kernel: %s: %s", kernel_cmd_name(q->cmd), strerror(-err));
	request_free(r);
}

static void later_due(struct loop_timer *timer)
{
	complete(container_of(timer, struct nl_kernel, later), -ENOBUFS);
}

static void retry_due(struct loop_timer *timer)
{
	struct nl_kernel *k = container_of(timer, struct nl_kernel, retry);

	current_request(k)->sent = false;
	advance(k);
}

static void advance(struct nl_kernel *k)
{
	struct nl_request *r = current_request(k);
	int err;

	if (!r || r->sent)
		return;
	r->seq = ++k->seq;
	r->sent = true;
	err = nl_request_send(k->sock, k->family, r->seq, &r->request);
	if (!err)
		return;
	log_error("kernel: %s: not sent: %s", kernel_cmd_name(r->request.cmd), strerror(-err));
	/* Not from inside submit(). If there is no memory for a timer, nothing goes on anyway. */
	loop_timer_set(k->loop, &k->later, 0);
}

static int enqueue(struct nl_kernel *k, const struct kernel_request *request)
{
	struct nl_request *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->request = *request;
	if (request->secrets) {
		r->secrets = OPENSSL_secure_malloc(KERNEL_SECRETS);
		if (!r->secrets) {
			free(r);
			return -ENOMEM;
		}
		memcpy(r->secrets, request->secrets, KERNEL_SECRETS);
		r->request.secrets = r->secrets;
	}
	list_add_tail(&k->queue, &r->node);
	k->pending++;
	advance(k);
	return 0;
}

static int op_submit(struct kernel *kernel, const struct kernel_request *request)
{
	struct nl_kernel *k = nl_kernel(kernel);

	return k->family ? enqueue(k, request) : -ENODEV;
}

static unsigned int op_pending(const struct kernel *kernel)
{
	return container_of(kernel, struct nl_kernel, kernel)->pending;
}

static void op_pull(struct kernel *kernel)
{
	const struct kernel_request pull = { .cmd = SIV_CMD_PULL };
	struct nl_kernel *k = nl_kernel(kernel);

	if (!k->family)
		return;
	k->pulls = true;
	if (k->pull_queued) {
		k->pull_again = true;
		return;
	}
	k->pull_again = false;
	k->pull_queued = !enqueue(k, &pull);
}

static void module_gone(struct nl_kernel *k)
{
	if (!k->family)
		return;
	k->family = 0;
	k->pulls = k->pull_again = false;
	loop_timer_cancel(&k->later);
	loop_timer_cancel(&k->retry);
	while (!list_empty(&k->queue)) {
		current_request(k)->sent = true;
		complete(k, -ENODEV);
	}
	k->kernel.present(k->kernel.ctx, false, 0);
}

/* What tells this load of the module from the last one; 0 if it cannot be read. */
static uint64_t load_nonce(void)
{
	FILE *file = fopen(NONCE_FILE, "re");
	unsigned long long nonce = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%llu", &nonce) != 1)
		errno = EINVAL;
	fclose(file);
	return nonce;
}

static void got_family(struct nl_kernel *k, struct nlmsghdr *nlh)
{
	const struct genlmsghdr *genl = nlmsg_data(nlh);
	char name[GENL_NAMSIZ];
	uint16_t family;
	uint64_t nonce;

	if (genl->cmd != CTRL_CMD_NEWFAMILY && genl->cmd != CTRL_CMD_DELFAMILY)
		return;
	if (!nl_attr_family(nlh, name, &family) || strcmp(name, SIV_GENL_NAME))
		return;
	if (genl->cmd == CTRL_CMD_DELFAMILY) {
		module_gone(k);
		return;
	}
	if (k->family)
		return;
	nonce = load_nonce();
	if (!nonce) {
		log_error("kernel: " NONCE_FILE ": %s: mount /sys", strerror(errno));
		return;
	}
	k->family = family;
	k->kernel.present(k->kernel.ctx, true, nonce);
}

/* An entry of a dump to whom it is for; one that cannot be read is left out. */
static void list_entry(const struct kernel_request *dump, struct nlmsghdr *nlh, void *ctx)
{
	struct kernel_channel channel;
	struct kernel_link link;

	if (dump->got_link && nl_attr_link(nlh, &link))
		dump->got_link(ctx, &link);
	if (dump->got_channel && nl_attr_channel(nlh, &channel))
		dump->got_channel(ctx, &channel);
}

/* An entry of a dump, an answer, or a hint. */
static void got_message(struct nl_kernel *k, struct nlmsghdr *nlh)
{
	const struct genlmsghdr *genl = nlmsg_data(nlh);
	struct nl_request *r = current_request(k);
	struct kernel_upcall upcall;

	if (genl->cmd == SIV_CMD_WORK) {
		if (k->pulls)
			op_pull(&k->kernel);
		return;
	}
	/* whichever PULL it was */
	if (genl->cmd == SIV_CMD_PULL && k->pulls) {
		if (r && r->request.cmd == SIV_CMD_PULL)
			r->some = true;
		if (nl_attr_upcall(nlh, &upcall))
			k->kernel.upcall(k->kernel.ctx, &upcall);
		else
			log_error("kernel: an upcall that cannot be read");
		return;
	}
	if (!r || !r->sent || nlh->nlmsg_seq != r->seq)
		return;
	switch (r->request.cmd) {
	case SIV_CMD_LINK_GET:
	case SIV_CMD_CHAN_GET:
		list_entry(&r->request, nlh, k->kernel.ctx);
		break;
	default:
		nl_attr_answer(nlh, &r->answer);
	}
}

/* True with the request's result if @nlh ends the request with number @seq. */
static bool ends(const struct nlmsghdr *nlh, uint32_t seq, int *err)
{
	const int *code = nlmsg_data(nlh);

	if (nlh->nlmsg_seq != seq)
		return false;
	if (nlh->nlmsg_type != NLMSG_ERROR && nlh->nlmsg_type != NLMSG_DONE)
		return false;
	*err = nlmsg_datalen(nlh) >= (int)sizeof(*code) ? *code : 0;
	return true;
}

static bool is_genl(const struct nlmsghdr *nlh)
{
	return nlmsg_datalen(nlh) >= (int)GENL_HDRLEN;
}

static void got_datagram(struct nl_kernel *k, unsigned char *data, int len)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)data;

	for (; nlmsg_ok(nlh, len); nlh = nlmsg_next(nlh, &len)) {
		struct nl_request *r = current_request(k);
		int err;

		if (r && r->sent && ends(nlh, r->seq, &err))
			complete(k, err);
		else if (nlh->nlmsg_type == GENL_ID_CTRL && is_genl(nlh))
			got_family(k, nlh);
		else if (k->family && nlh->nlmsg_type == k->family && is_genl(nlh))
			got_message(k, nlh);
	}
}

static int open_socket(struct nl_kernel *k)
{
	const struct kernel_request question = { .cmd = NL_CMD_GETFAMILY };
	int err;

	k->sock = nl_socket_alloc();
	if (!k->sock)
		return -ENOMEM;
	if (genl_connect(k->sock) < 0) {
		err = errno ? -errno : -EIO;
		goto err_free;
	}
	nl_socket_disable_seq_check(k->sock);
	nl_socket_disable_auto_ack(k->sock);
	nl_socket_set_buffer_size(k->sock, NL_RCVBUF, 0);
	/* Before the question, so that a module that comes in between is seen. */
	if (nl_socket_set_nonblocking(k->sock) < 0 ||
	    nl_socket_add_membership(k->sock, NL_CTRL_NOTIFY) < 0) {
		err = errno ? -errno : -EIO;
		goto err_free;
	}
	err = loop_add(k->loop, &k->io, nl_socket_get_fd(k->sock), EPOLLIN);
	if (err)
		goto err_free;
	err = enqueue(k, &question);
	if (err)
		goto err_remove;
	return 0;

err_remove:
	loop_remove(&k->io);
err_free:
	nl_socket_free(k->sock);
	k->sock = NULL;
	return err;
}

static void close_socket(struct nl_kernel *k)
{
	loop_remove(&k->io);
	nl_socket_free(k->sock);
	k->sock = NULL;
}

static void overflow(struct nl_kernel *k)
{
	struct nl_request *r = current_request(k);
	int err;

	k->lost = false;
	if (!r || !r->sent) {
		if (k->pulls)
			op_pull(&k->kernel);
		return;
	}
	log_warning("kernel: netlink socket overflowed during %s: starting anew",
		    kernel_cmd_name(r->request.cmd));
	module_gone(k);
	close_socket(k);
	err = open_socket(k);
	if (err) {
		log_error("kernel: netlink socket: %s: restart the agent", strerror(-err));
		loop_stop(k->loop);
	}
}

static void nl_ready(struct loop_io *io, uint32_t events)
{
	struct nl_kernel *k = container_of(io, struct nl_kernel, io);

	(void)events;
	for (int i = 0; i < NL_ROUND_MAX; i++) {
		struct sockaddr_nl from;
		unsigned char *data = NULL;
		int n = nl_recv(k->sock, &from, &data, NULL);

		if (n == -NLE_NOMEM) {
			k->lost = true;
			continue;
		}
		if (n <= 0) {
			/* All has been read: an answer that is not here now was lost. */
			if (k->lost)
				overflow(k);
			return;
		}
		if (!from.nl_pid) /* the kernel, not another process */
			got_datagram(k, data, n);
		free(data);
	}
}

static int op_list(struct kernel *kernel, const struct kernel_request *dump, void *ctx)
{
	struct nl_kernel *k = nl_kernel(kernel);
	struct nl_sock *sock;
	bool end = false;
	int err = -ENOMEM;

	if (!k->family)
		return -ENODEV;
	/* A socket of its own: the kernel answers at once, and nothing else is in its way. */
	sock = nl_socket_alloc();
	if (!sock)
		return -ENOMEM;
	if (genl_connect(sock) < 0) {
		err = errno ? -errno : -EIO;
		goto out;
	}
	err = nl_request_send(sock, k->family, 1, dump);
	while (!err && !end) {
		struct sockaddr_nl from;
		unsigned char *data = NULL;
		int n = nl_recv(sock, &from, &data, NULL);

		if (n <= 0) {
			err = -EIO;
			break;
		}
		for (struct nlmsghdr *nlh = (struct nlmsghdr *)data; !end && nlmsg_ok(nlh, n);
		     nlh = nlmsg_next(nlh, &n)) {
			end = ends(nlh, 1, &err);
			if (!end && nlh->nlmsg_type == k->family && is_genl(nlh))
				list_entry(dump, nlh, ctx);
		}
		free(data);
	}
out:
	nl_socket_free(sock);
	return err;
}

static void op_close(struct kernel *kernel)
{
	struct nl_kernel *k = nl_kernel(kernel);

	loop_timer_cancel(&k->later);
	loop_timer_cancel(&k->retry);
	if (k->sock)
		close_socket(k);
	while (!list_empty(&k->queue)) {
		struct nl_request *r = current_request(k);

		list_del(&r->node);
		request_free(r);
	}
	free(k);
}

static const struct kernel_ops nl_ops = {
	.submit = op_submit,
	.pending = op_pending,
	.pull = op_pull,
	.list = op_list,
	.close = op_close,
};

struct kernel *kernel_netlink_open(struct loop *loop)
{
	struct nl_kernel *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return NULL;
	k->kernel.ops = &nl_ops;
	k->loop = loop;
	k->io.ready = nl_ready;
	k->later.due = later_due;
	k->retry.due = retry_due;
	list_init(&k->queue);
	err = open_socket(k);
	if (err) {
		op_close(&k->kernel);
		errno = -err;
		return NULL;
	}
	return &k->kernel;
}
