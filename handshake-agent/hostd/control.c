// SPDX-License-Identifier: BSD-2-Clause
/*
 * The control channels' sockets. Which VM speaks is known from the socket that its QEMU connects
 * to, whose owner alone can do so; a second check asks the kernel who did. One connection at a
 * time: the next one waits in the backlog until the broker is done with the last.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/list.h"
#include "common/log.h"
#include "common/unix.h"
#include "hostd.h"

struct control_vm {
	struct control *control;
	unsigned int index;
	struct unix_listener listener;
	struct loop_io io; /* not added while the VM has a stream */
};

struct control {
	struct loop *loop;
	const struct host_config *config;
	struct broker *broker;
	unsigned int n_vms; /* that listen */
	struct control_vm *vms;
};

static bool uid_ok(const struct host_vm *vm, uid_t uid)
{
	if (uid == 0)
		return true;
	return uid == (vm->uid == HOST_UID_OWN ? geteuid() : vm->uid);
}

static void control_accept(struct loop_io *io, uint32_t events)
{
	struct control_vm *vm = container_of(io, struct control_vm, io);
	struct control *control = vm->control;
	const char *name = control->config->policy->vms[vm->index].name;
	struct ucred cred;
	int fd, err;

	(void)events;
	fd = unix_accept(vm->listener.fd, &cred);
	if (fd < 0) {
		if (fd != -EAGAIN && fd != -ECONNABORTED)
			log_error("%s: accept: %s", vm->listener.path, strerror(-fd));
		return;
	}
	if (!uid_ok(&control->config->vms[vm->index], cred.uid)) {
		log_warning("%s: refused uid %u, which is not that of vm %s", vm->listener.path,
			    cred.uid, name);
		close(fd);
		return;
	}
	loop_remove(io);
	err = broker_add_vm_stream(control->broker, vm->index, fd);
	if (err) {
		log_error("%s: %s", vm->listener.path, strerror(-err));
		control_stream_ended(control, vm->index);
	}
}

void control_stream_ended(struct control *control, unsigned int index)
{
	struct control_vm *vm = &control->vms[index];
	int err = 0;

	if (!vm->io.loop)
		err = loop_add(control->loop, &vm->io, vm->listener.fd, EPOLLIN);
	if (err)
		log_error("%s: %s: restart the daemon", vm->listener.path, strerror(-err));
}

struct control *control_open(struct loop *loop, const struct host_config *config,
			     struct broker *broker)
{
	struct control *control = calloc(1, sizeof(*control));
	const char *path = "control sockets";
	int err = -ENOMEM;

	if (!control)
		goto err_log;
	control->loop = loop;
	control->config = config;
	control->broker = broker;
	control->vms = calloc(config->policy->n_vms, sizeof(*control->vms));
	if (!control->vms)
		goto err_free;
	for (unsigned int i = 0; i < config->policy->n_vms; i++) {
		struct control_vm *vm = &control->vms[i];
		uid_t uid = config->vms[i].uid;

		path = config->vms[i].control;
		vm->control = control;
		vm->index = i;
		vm->io.ready = control_accept;
		err = unix_listen(&vm->listener, path, 0600, uid == HOST_UID_OWN ? (uid_t)-1 : uid);
		if (err)
			goto err_free;
		control->n_vms++;
		err = loop_add(loop, &vm->io, vm->listener.fd, EPOLLIN);
		if (err)
			goto err_free;
	}
	return control;

err_free:
	control_close(control);
err_log:
	log_error("%s: %s", path, strerror(-err));
	return NULL;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	for (unsigned int i = 0; i < control->n_vms; i++) {
		loop_remove(&control->vms[i].io);
		unix_unlisten(&control->vms[i].listener);
	}
	free(control->vms);
	free(control);
}
