// SPDX-License-Identifier: BSD-2-Clause
/* The signer's process: how it starts, and hostd's side of it. */
#include "signer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "child.h"
#include "common/confine.h"
#include "common/list.h"
#include "common/log.h"
#include "common/secrets.h"
#include "signer_side.h"

struct signer {
	int fd;
	struct ca *ca; /* a remote one */
	struct loop_io io;
	void (*gone)(void *arg);
	void *arg;
};

/* In its process */

struct start {
	const char *config;
	enum confine_mode sandbox;
};

/* The first reply, which nothing has asked for. False: there is no authority. */
static bool open_authority(struct signer_side *side, const char *config, struct signer_reply *reply)
{
	struct ca_options options;

	side->config = host_config_load(config, stderr);
	if (!side->config) {
		snprintf(reply->error, sizeof(reply->error), "signer: %s", config);
		return false;
	}
	signer_options(side->config, &options);
	if (ca_open(&options, &side->ca, reply->error))
		return false;
	reply->view = *ca_view(side->ca);
	return true;
}

/*
 * No capability, no socket, no program. Its user stays root's, where it was that: it is whom keys
 * belong to.
 */
static bool give_up_rights(enum confine_mode mode)
{
	static const int no_families[] = { 0 };
	static const char *const none[] = { NULL };
	const struct confine_calls calls = { .names = none, .families = no_families };

	return !confine(mode, 0, &calls);
}

static void serve(int fd, void *arg)
{
	static struct signer_request request;
	static struct signer_reply reply;
	struct signer_side side = { 0 };
	const struct start *start = arg;
	bool good;
	ssize_t n;

	confine_memory();
	secrets_init();
	good = open_authority(&side, start->config, &reply);
	if (good && !give_up_rights(start->sandbox)) {
		snprintf(reply.error, sizeof(reply.error), "signer: cannot be confined");
		good = false;
	}
	reply.reason = good ? SIVP_R_NONE : SIVP_R_CERTIFICATE;
	while (send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) == sizeof(reply) && good) {
		do {
			n = recv(fd, &request, sizeof(request), 0);
		} while (n < 0 && errno == EINTR);
		if (n <= 0)
			break;
		if (!signer_answer(&side, &request, (size_t)n, &reply)) {
			log_error("signer: what hostd asks is no request: it ends");
			break;
		}
	}
	ca_close(side.ca);
	host_config_free(side.config);
}

/* In hostd */

/* 0 and a reply, or -errno. */
static int receive(struct signer *signer, struct signer_reply *reply)
{
	ssize_t n;

	do {
		n = recv(signer->fd, reply, sizeof(*reply), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return n == sizeof(*reply) ? 0 : -EPIPE;
}

/* Whatever goes wrong here is the end of it: an answer that comes later would be taken for another. */
static enum sivp_reason call(struct signer *signer, const struct signer_request *request,
			     struct signer_reply *reply)
{
	size_t len = SIGNER_REQUEST_MIN + request->csr_len;
	int err = 0;

	if (send(signer->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		err = -errno;
	else
		err = receive(signer, reply);
	if (err) {
		snprintf(reply->error, sizeof(reply->error), "signer: %s", strerror(-err));
		shutdown(signer->fd, SHUT_RDWR); /* signer_ready() */
		return SIVP_R_LIMIT;
	}
	ca_set_view(signer->ca, &reply->view);
	return reply->reason;
}

static enum sivp_reason signer_issue(void *arg, const uint8_t *csr, size_t csr_len,
				     const char *spiffe_id, uint8_t *chain, size_t *chain_len,
				     int64_t *not_after, char error[CA_ERROR_LEN])
{
	struct signer_request request = { .op = SIGNER_ISSUE, .csr_len = (uint32_t)csr_len };
	struct signer_reply reply;
	enum sivp_reason reason;

	if (csr_len > sizeof(request.csr) || strlen(spiffe_id) >= sizeof(request.spiffe_id)) {
		snprintf(error, CA_ERROR_LEN, "request: longer than %u bytes", SIVP_CSR_MAX);
		return SIVP_R_CERTIFICATE;
	}
	memcpy(request.csr, csr, csr_len);
	strcpy(request.spiffe_id, spiffe_id);
	reason = call(arg, &request, &reply);
	if (reason == SIVP_R_NONE && reply.chain_len > *chain_len) {
		snprintf(reply.error, sizeof(reply.error), "CA: the certificate does not fit");
		reason = SIVP_R_LIMIT;
	}
	if (reason != SIVP_R_NONE) {
		memcpy(error, reply.error, CA_ERROR_LEN);
		return reason;
	}
	memcpy(chain, reply.chain, reply.chain_len);
	*chain_len = reply.chain_len;
	*not_after = reply.not_after;
	return SIVP_R_NONE;
}

static int change(struct signer *signer, enum signer_op op, char error[CA_ERROR_LEN])
{
	const struct signer_request request = { .op = op };
	struct signer_reply reply;

	if (call(signer, &request, &reply) == SIVP_R_NONE)
		return 0;
	memcpy(error, reply.error, CA_ERROR_LEN);
	return -1;
}

int signer_reload(struct signer *signer, char error[CA_ERROR_LEN])
{
	return change(signer, SIGNER_RELOAD, error);
}

int signer_rotate(struct signer *signer, char error[CA_ERROR_LEN])
{
	return change(signer, SIGNER_ROTATE, error);
}

int signer_drop(struct signer *signer, char error[CA_ERROR_LEN])
{
	return change(signer, SIGNER_DROP, error);
}

static void signer_ready(struct loop_io *io, uint32_t events)
{
	struct signer *signer = container_of(io, struct signer, io);

	(void)events; /* between calls it has nothing to say: it is gone */
	loop_remove(io);
	signer->gone(signer->arg);
}

int signer_watch(struct signer *signer, struct loop *loop, void (*gone)(void *arg), void *arg)
{
	signer->gone = gone;
	signer->arg = arg;
	signer->io.ready = signer_ready;
	return loop_add(loop, &signer->io, signer->fd, EPOLLIN);
}

struct ca *signer_ca(struct signer *signer)
{
	return signer->ca;
}

struct signer *signer_open(const char *config, enum confine_mode sandbox,
			   char error[CA_ERROR_LEN])
{
	const struct timeval timeout = { .tv_sec = SIGNER_TIMEOUT_S };
	struct start start = { .config = config, .sandbox = sandbox };
	struct signer *signer = calloc(1, sizeof(*signer));
	struct signer_reply reply;
	int err = -ENOMEM;

	if (!signer)
		goto err_error;
	signer->fd = -1;
	signer->ca = ca_new_remote(signer_issue, signer);
	if (!signer->ca)
		goto err_error;
	err = signer->fd = child_fork("siv-signer", serve, &start);
	if (err < 0)
		goto err_error;
	err = receive(signer, &reply); /* no limit: it may ask for a disk that sleeps */
	if (!err && reply.reason != SIVP_R_NONE) {
		memcpy(error, reply.error, CA_ERROR_LEN);
		goto err_close;
	}
	if (!err && setsockopt(signer->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		err = -errno;
	if (err)
		goto err_error;
	ca_set_view(signer->ca, &reply.view);
	return signer;

err_error:
	snprintf(error, CA_ERROR_LEN, "signer: %s", strerror(-err));
err_close:
	signer_close(signer);
	return NULL;
}

void signer_close(struct signer *signer)
{
	if (!signer)
		return;
	loop_remove(&signer->io);
	if (signer->fd >= 0)
		close(signer->fd);
	ca_close(signer->ca);
	free(signer);
}
