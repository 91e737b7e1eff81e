// SPDX-License-Identifier: BSD-2-Clause
/* A kernel module for the agent's tests. */
#include "fake_kernel.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/list.h"

static struct fake_kernel *fake(struct kernel *kernel)
{
	return container_of(kernel, struct fake_kernel, kernel);
}

static int op_submit(struct kernel *kernel, const struct kernel_request *request)
{
	struct fake_kernel *k = fake(kernel);

	if (k->absent)
		return -ENODEV;
	assert(k->nr_requests < FAKE_MAX);
	k->requests[k->nr_requests] = *request;
	if (request->secrets) {
		k->requests[k->nr_requests].secrets =
			memcpy(k->submitted_secrets[k->nr_submitted_secrets++ % FAKE_MAX],
			       request->secrets, KERNEL_SECRETS);
	}
	k->nr_requests++;
	return 0;
}

static unsigned int op_pending(const struct kernel *kernel)
{
	return container_of(kernel, struct fake_kernel, kernel)->nr_requests;
}

static void op_pull(struct kernel *kernel)
{
	assert(fake(kernel)->registered);
	fake(kernel)->pulling = true;
}

static int op_list(struct kernel *kernel, const struct kernel_request *dump, void *ctx)
{
	struct fake_kernel *k = fake(kernel);

	for (unsigned int i = 0; dump->got_link && i < k->nr_links; i++)
		dump->got_link(ctx, &k->links[i]);
	for (int i = 0; dump->got_channel && i < FAKE_MAX; i++)
		if (k->used[i])
			dump->got_channel(ctx, &k->channels[i]);
	return 0;
}

/* The agent's socket closes: what waits for it fails, what is queued stays for the next one. */
static void op_close(struct kernel *kernel)
{
	struct fake_kernel *k = fake(kernel);

	k->nr_requests = 0;
	k->announced = k->registered = k->pulling = false;
	for (unsigned int i = 0; i < k->nr_processes; i++) {
		if (!k->processes[i].waiting)
			continue;
		k->processes[i].waiting = false;
		k->processes[i].error = ENETDOWN;
	}
}

static const struct kernel_ops fake_ops = {
	.submit = op_submit,
	.pending = op_pending,
	.pull = op_pull,
	.list = op_list,
	.close = op_close,
};

void fake_kernel_init(struct fake_kernel *k)
{
	memset(k, 0, sizeof(*k));
	k->kernel.ops = &fake_ops;
	k->nonce = 1;
}

static struct kernel_upcall *queue_upcall(struct fake_kernel *k, enum siv_upcall_kind kind)
{
	struct kernel_upcall *u = &k->upcalls[k->nr_upcalls++];

	assert(k->nr_upcalls <= FAKE_MAX);
	*u = (struct kernel_upcall){ .kind = kind };
	return u;
}

struct kernel_link *fake_link_add(struct fake_kernel *k, enum siv_link_kind kind,
				  uint32_t ivposition, uint32_t end)
{
	struct kernel_link *l = &k->links[k->nr_links++];

	*l = (struct kernel_link){ .id = k->nr_links, .kind = kind, .ivposition = ivposition,
				   .end = end, .size = 1 << 26 };
	strcpy(l->name, kind == SIV_LINK_LOCAL ? "local" : "0000:00:05.0");
	queue_upcall(k, SIV_UPCALL_LINK_NEW)->link_id = l->id;
	return l;
}

static struct kernel_link *find_link(struct fake_kernel *k, uint32_t id)
{
	return id && id <= k->nr_links ? &k->links[id - 1] : NULL;
}

static struct fake_process *new_process(struct fake_kernel *k)
{
	struct fake_process *p = &k->processes[k->nr_processes++];

	assert(k->nr_processes <= FAKE_MAX);
	*p = (struct fake_process){ .id = ++k->last_id, .waiting = k->registered,
				    .error = k->registered ? 0 : ENETDOWN };
	return p;
}

static struct siv_caller caller(uint32_t uid)
{
	return (struct siv_caller){ .pid = 100 + uid, .uid = uid, .gid = uid,
				    .flags = SIV_CALLER_INIT_NETNS | SIV_CALLER_INIT_MNTNS |
					     SIV_CALLER_INIT_USERNS };
}

struct fake_process *fake_connect(struct fake_kernel *k, uint32_t uid, const char *vm,
				  const char *service, const char *own_service)
{
	struct fake_process *p = new_process(k);
	struct kernel_upcall *u;

	if (!p->waiting)
		return p;
	u = queue_upcall(k, SIV_UPCALL_CONNECT);
	u->id = p->id;
	u->caller = caller(uid);
	u->type = SOCK_STREAM;
	u->tx_order = 16;
	u->rx_order = 17;
	u->timeout_ms = 10000;
	strcpy(u->vm, vm);
	strcpy(u->service, service);
	strcpy(u->own_service, own_service);
	return p;
}

struct fake_process *fake_bind(struct fake_kernel *k, uint32_t uid, const char *service)
{
	struct fake_process *p = new_process(k);
	struct kernel_upcall *u;

	p->bind = true;
	if (!p->waiting)
		return p;
	u = queue_upcall(k, SIV_UPCALL_BIND);
	u->id = p->id;
	u->caller = caller(uid);
	strcpy(u->service, service);
	return p;
}

void fake_cancel(struct fake_kernel *k, struct fake_process *p)
{
	if (!p->waiting)
		return;
	p->waiting = false;
	p->error = EINTR;
	queue_upcall(k, SIV_UPCALL_CANCEL)->id = p->id;
}

uint64_t fake_listen(struct fake_kernel *k, const char *service)
{
	for (int i = 0; i < FAKE_MAX; i++) {
		struct kernel_upcall *u;

		if (k->listeners[i].cookie)
			continue;
		k->listeners[i].cookie = ++k->last_id;
		strcpy(k->listeners[i].service, service);
		u = queue_upcall(k, SIV_UPCALL_LISTEN);
		u->cookie = k->last_id;
		strcpy(u->service, service);
		return k->last_id;
	}
	assert(false);
	return 0;
}

void fake_unlisten(struct fake_kernel *k, uint64_t cookie)
{
	for (int i = 0; i < FAKE_MAX; i++) {
		struct kernel_upcall *u;

		if (k->listeners[i].cookie != cookie)
			continue;
		u = queue_upcall(k, SIV_UPCALL_UNLISTEN);
		u->cookie = cookie;
		strcpy(u->service, k->listeners[i].service);
		k->listeners[i].cookie = 0;
	}
}

unsigned int fake_channels(const struct fake_kernel *k)
{
	unsigned int n = 0;

	for (int i = 0; i < FAKE_MAX; i++)
		n += k->used[i];
	return n;
}

static void close_channel(struct fake_kernel *k, int i, enum siv_closed_reason reason)
{
	const struct kernel_chan *c = &k->channels[i].chan;
	struct kernel_upcall *u = queue_upcall(k, SIV_UPCALL_CLOSED);

	u->link_id = c->link_id;
	u->epoch = c->epoch;
	u->slot = c->slot;
	u->generation = c->generation;
	u->reason = reason;
	k->used[i] = false;
}

void fake_close_channels(struct fake_kernel *k)
{
	for (int i = 0; i < FAKE_MAX; i++)
		if (k->used[i])
			close_channel(k, i, SIV_CLOSED_LOCAL);
}

static void close_link(struct fake_kernel *k, uint32_t id)
{
	for (int i = 0; i < FAKE_MAX; i++)
		if (k->used[i] && k->channels[i].chan.link_id == id)
			close_channel(k, i, SIV_CLOSED_RESET);
}

void fake_unload(struct fake_kernel *k)
{
	static const struct kernel_answer none;

	k->absent = true;
	memset(k->used, 0, sizeof(k->used));
	memset(k->listeners, 0, sizeof(k->listeners));
	for (unsigned int i = 0; i < k->nr_requests; i++)
		if (k->requests[i].done)
			k->requests[i].done(k->kernel.ctx, k->requests[i].tag, -ENODEV, &none);
	k->nr_requests = k->nr_upcalls = 0;
	k->registered = k->pulling = false;
	k->kernel.present(k->kernel.ctx, false, 0);
}

void fake_load(struct fake_kernel *k)
{
	k->absent = k->announced = false;
	k->nonce++;
	for (unsigned int i = 0; i < k->nr_links; i++) {
		k->links[i].up = false;
		k->links[i].epoch = 0;
	}
}

static struct fake_process *waiting(struct fake_kernel *k, uint64_t id)
{
	for (unsigned int i = 0; i < k->nr_processes; i++)
		if (k->processes[i].id == id && k->processes[i].waiting)
			return &k->processes[i];
	return NULL;
}

static struct fake_listener *listener(struct fake_kernel *k, uint64_t cookie, const char *service)
{
	for (int i = 0; i < FAKE_MAX; i++)
		if (k->listeners[i].cookie && (k->listeners[i].cookie == cookie ||
					       (service && !strcmp(k->listeners[i].service, service))))
			return &k->listeners[i];
	return NULL;
}

static int do_answer(struct fake_kernel *k, const struct kernel_request *r)
{
	struct fake_process *p = waiting(k, r->id);

	if (!p)
		return -ENOENT;
	if (!r->error && !p->bind)
		return -EINVAL;
	p->waiting = false;
	p->error = r->error;
	strcpy(p->service, r->service);
	return 0;
}

static int do_grant(struct fake_kernel *k, const struct kernel_request *r)
{
	struct kernel_link *l = find_link(k, r->chan.link_id);
	struct fake_process *p = waiting(k, r->id);
	int i;

	if (r->chan.server ? !listener(k, r->cookie, NULL) : !p)
		return -ENOENT;
	if (!l || !l->up || l->epoch != r->chan.epoch)
		return -ESTALE;
	if (r->chan.offset < SIV_LINK_CHANNELS || r->chan.offset >= l->size)
		return -ERANGE;
	for (i = 0; i < FAKE_MAX; i++)
		if (k->used[i] && k->channels[i].chan.link_id == r->chan.link_id &&
		    k->channels[i].chan.slot == r->chan.slot)
			return -EEXIST;
	for (i = 0; k->used[i]; i++)
		assert(i < FAKE_MAX - 1);
	k->used[i] = true;
	k->channels[i] = (struct kernel_channel){ .chan = r->chan, .peer = r->peer,
						  .state = SIV_CHAN_OPEN, .sealed = r->secrets };
	strcpy(k->channels[i].service, r->service);
	if (r->secrets)
		memcpy(k->secrets[i], r->secrets, KERNEL_SECRETS);
	if (p) {
		p->waiting = false;
		p->error = 0;
		p->chan = r->chan;
		p->peer = r->peer;
		p->sealed = r->secrets;
		if (r->secrets)
			memcpy(p->secrets, r->secrets, KERNEL_SECRETS);
	}
	return 0;
}

static int do_link_set(struct fake_kernel *k, const struct kernel_request *r)
{
	struct kernel_link *l = find_link(k, r->link.id);

	k->nr_link_sets++;
	if (!l)
		return -ENODEV;
	if (r->link.epoch < l->epoch)
		return -ESTALE;
	if (r->link.epoch > l->epoch)
		close_link(k, l->id);
	l->epoch = r->link.epoch;
	l->up = true;
	l->size = r->link.size;
	strcpy(l->peer_vm, r->link.peer_vm);
	return 0;
}

static int do_reset(struct fake_kernel *k, const struct kernel_request *r)
{
	k->nr_resets++;
	for (int i = 0; i < FAKE_MAX; i++) {
		const struct kernel_chan *c = &k->channels[i].chan;

		if (k->used[i] && c->link_id == r->chan.link_id && c->slot == r->chan.slot &&
		    c->generation == r->chan.generation) {
			close_channel(k, i, SIV_CLOSED_RESET);
			return 0;
		}
	}
	return -ENOENT;
}

static int carry_out(struct fake_kernel *k, const struct kernel_request *r,
		     struct kernel_answer *answer)
{
	struct fake_listener *found;
	struct kernel_link *l;

	switch (r->cmd) {
	case SIV_CMD_REGISTER:
		k->registered = true;
		strcpy(k->vm, r->vm);
		answer->abi = SIV_ABI_VERSION;
		return 0;
	case SIV_CMD_ANSWER:
		return do_answer(k, r);
	case SIV_CMD_LISTENER:
		k->listener_type = r->type;
		if (k->listener_error)
			return k->listener_error;
		found = listener(k, 0, r->service);
		answer->cookie = found ? found->cookie : 0;
		return found ? 0 : -ECONNREFUSED;
	case SIV_CMD_GRANT:
		return do_grant(k, r);
	case SIV_CMD_LINK_SET:
		return do_link_set(k, r);
	case SIV_CMD_LINK_DOWN:
		l = find_link(k, r->link.id);
		if (!l)
			return -ENODEV;
		close_link(k, l->id);
		l->up = false;
		return 0;
	case SIV_CMD_RESET:
		return do_reset(k, r);
	case SIV_CMD_LINK_GET:
	case SIV_CMD_CHAN_GET:
		return op_list(&k->kernel, r, k->kernel.ctx);
	}
	return -EOPNOTSUPP;
}

static bool answer_one(struct fake_kernel *k)
{
	struct kernel_answer answer = { 0 };
	struct kernel_request r;
	int err;

	for (unsigned int i = 0; i < k->nr_requests; i++) {
		r = k->requests[i];
		if (k->hold & 1u << r.cmd)
			return false; /* in order: what comes after waits too */
		k->nr_requests--;
		memmove(&k->requests[i], &k->requests[i + 1],
			(k->nr_requests - i) * sizeof(k->requests[0]));
		err = carry_out(k, &r, &answer);
		if (r.done)
			r.done(k->kernel.ctx, r.tag, err, &answer);
		return true;
	}
	return false;
}

bool fake_kernel_run(struct fake_kernel *k)
{
	struct kernel_upcall u;

	if (!k->kernel.ctx)
		return false;
	if (!k->absent && !k->announced) {
		k->announced = true;
		k->kernel.present(k->kernel.ctx, true, k->nonce);
		return true;
	}
	if (answer_one(k))
		return true;
	if (!k->pulling || !k->nr_upcalls)
		return false;
	u = k->upcalls[0];
	memmove(k->upcalls, k->upcalls + 1, --k->nr_upcalls * sizeof(u));
	k->kernel.upcall(k->kernel.ctx, &u);
	return true;
}
