// SPDX-License-Identifier: BSD-2-Clause
/* Links: their memory, their two sockets, their epoch, and the ids that QEMUs get on them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "switch.h"
#include "unix_socket.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3; a sysctl can demand it */
#endif

/* NUL-terminated and zero to its end, so that equal strings are equal bytes. */
static bool string_ok(const char *s, size_t size)
{
	size_t len = strnlen(s, size);

	for (size_t i = len; i < size; i++)
		if (s[i])
			return false;
	return len > 0 && len < size;
}

static bool name_char_ok(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return true;
	return !first && (c == '.' || c == '_' || c == '-');
}

static bool name_ok(const char *name, size_t size)
{
	if (!string_ok(name, size))
		return false;
	for (size_t i = 0; name[i]; i++)
		if (!name_char_ok(name[i], i == 0))
			return false;
	return true;
}

/* One or more names with single slashes between them: no way out of the run directory. */
static bool socket_path_ok(const char *path, size_t size)
{
	bool first = true;

	if (!string_ok(path, size))
		return false;
	for (; *path; path++) {
		if (*path == '/' && !first)
			first = true;
		else if (name_char_ok(*path, first))
			first = false;
		else
			return false;
	}
	return !first;
}

static bool request_ok(const struct swp_link_add *req)
{
	const struct swp_end_config *a = &req->end[0], *b = &req->end[1];

	return name_ok(req->link, sizeof(req->link)) && !req->pad &&
	       req->size >= SWP_SIZE_MIN && req->size <= SWP_SIZE_MAX &&
	       !(req->size & (req->size - 1)) && req->vectors >= 1 &&
	       req->vectors <= SWP_VECTORS_MAX && name_ok(a->vm, sizeof(a->vm)) &&
	       name_ok(b->vm, sizeof(b->vm)) && strcmp(a->vm, b->vm) &&
	       socket_path_ok(a->socket, sizeof(a->socket)) &&
	       socket_path_ok(b->socket, sizeof(b->socket)) && strcmp(a->socket, b->socket);
}

static bool link_equals(const struct link *link, const struct swp_link_add *req)
{
	if (link->size != req->size || link->vectors != req->vectors)
		return false;
	for (int i = 0; i < SWP_ENDS; i++)
		if (memcmp(&link->end[i].config, &req->end[i], sizeof(req->end[i])))
			return false;
	return true;
}

static bool socket_in_use(struct switchd *sw, const char *path)
{
	if (!strcmp(path, SWP_CONTROL_SOCKET))
		return true;
	for (unsigned int i = 0; i < sw->n_links; i++)
		for (int e = 0; e < SWP_ENDS; e++)
			if (!strcmp(sw->links[i]->end[e].config.socket, path))
				return true;
	return false;
}

struct link *link_find(struct switchd *sw, const char *name)
{
	for (unsigned int i = 0; i < sw->n_links; i++)
		if (!strcmp(sw->links[i]->name, name))
			return sw->links[i];
	return NULL;
}

struct link *link_next(struct switchd *sw, uint32_t after)
{
	for (unsigned int i = 0; i < sw->n_links; i++)
		if (sw->links[i]->serial > after)
			return sw->links[i];
	return NULL;
}

/*
 * The memory of a link. QEMU maps all of it and would get SIGBUS if somebody at the other end
 * shrank it, hence the seals; pages are taken from the host when they are first touched.
 */
static int memory_create(const char *name, uint64_t size)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	int err;

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* The path that an end listens at. False if it is too long for a socket. */
static bool end_path(const struct end *end, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/%s", end->link->sw->run_dir, end->config.socket);

	return n > 0 && (size_t)n < size;
}

static int end_listen(struct end *end)
{
	uid_t owner = end->config.uid == SWP_UID_SWITCH ? (uid_t)-1 : end->config.uid;
	char path[4096];
	int fd, err;

	fd = end_path(end, path, sizeof(path)) ?
		     unix_listen(path, SOCK_STREAM, owner, QEMU_BACKLOG) : -ENAMETOOLONG;
	if (fd < 0) {
		log_error("link %s: cannot listen at %s for VM %s: %s%s", end->link->name, path,
			  end->config.vm, strerror(-fd),
			  fd != -EPERM ? "" : ": its folder must be writable to root or "
					      "the switch's user only; only root gives sockets "
					      "away");
		return fd;
	}
	err = loop_add(end->link->sw->loop, &end->listener, fd, EPOLLIN);
	if (err) {
		unlink(path);
		close(fd);
	}
	return err;
}

static void end_unlisten(struct end *end)
{
	char path[4096];

	if (end->listener.fd < 0)
		return;
	loop_close(&end->listener);
	if (end_path(end, path, sizeof(path)))
		unlink(path);
}

static void end_init(struct end *end, struct link *link, unsigned int index,
		     const struct swp_end_config *config)
{
	end->link = link;
	end->index = index;
	end->config = *config;
	end->listener = (struct loop_io){ .fd = -1, .ready = ivshmem_accept };
	end->client.fd = -1;
	end->process.fd = -1;
	for (int i = 0; i < SWP_VECTORS_MAX; i++)
		end->eventfd[i] = -1;
	bucket_set(&end->joins, JOIN_BURST, JOIN_INTERVAL_MS * LOOP_NS_PER_MS);
	bucket_set(&end->refusals, REFUSAL_LOG_BURST, REFUSAL_LOG_INTERVAL_MS * LOOP_NS_PER_MS);
}

int link_add(struct switchd *sw, const struct swp_link_add *req, struct link **out)
{
	struct link *link;
	int err;

	if (!request_ok(req))
		return -EINVAL;
	link = link_find(sw, req->link);
	if (link) {
		*out = link;
		return link_equals(link, req) ? 0 : -EEXIST;
	}
	if (socket_in_use(sw, req->end[0].socket) || socket_in_use(sw, req->end[1].socket))
		return -EADDRINUSE;
	if (sw->n_links == SWP_LINKS_MAX)
		return -ENOSPC;

	link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->sw = sw;
	memcpy(link->name, req->link, sizeof(link->name));
	link->size = req->size;
	link->vectors = req->vectors;
	link->epoch = 1;
	for (int i = 0; i < SWP_ENDS; i++)
		end_init(&link->end[i], link, i, &req->end[i]);

	link->memfd = memory_create(link->name, link->size);
	if (link->memfd < 0) {
		err = link->memfd;
		log_error("link %s: cannot make %llu bytes of memory: %s", link->name,
			  (unsigned long long)link->size, strerror(-err));
		goto free_link;
	}
	err = end_listen(&link->end[0]);
	if (err)
		goto close_memory;
	err = end_listen(&link->end[1]);
	if (err)
		goto unlisten;

	link->serial = ++sw->last_serial;
	sw->links[sw->n_links++] = link;
	log_info("link %s: added: %s and %s, %llu bytes, %u vectors", link->name,
		 link->end[0].config.vm, link->end[1].config.vm, (unsigned long long)link->size,
		 link->vectors);
	*out = link;
	return 0;

unlisten:
	end_unlisten(&link->end[0]);
close_memory:
	close(link->memfd);
free_link:
	free(link);
	return err;
}

void link_free(struct link *link)
{
	struct switchd *sw = link->sw;
	unsigned int i = 0;

	while (sw->links[i] != link)
		i++;
	sw->n_links--;
	memmove(&sw->links[i], &sw->links[i + 1], (sw->n_links - i) * sizeof(sw->links[0]));
	for (int e = 0; e < SWP_ENDS; e++) {
		ivshmem_abandon(&link->end[e]);
		end_unlisten(&link->end[e]);
	}
	close(link->memfd);
	free(link);
}

int link_del(struct link *link)
{
	for (int e = 0; e < SWP_ENDS; e++)
		if (link->end[e].state != SWP_END_EMPTY)
			return -EBUSY;
	log_info("link %s: deleted", link->name);
	link_free(link);
	return 0;
}

void link_bump_epoch(struct link *link)
{
	/* 0 means "never set" in the guests. Epochs are only compared for equality. */
	if (!++link->epoch)
		link->epoch = 1;
}

/* Round and round rather than the lowest: an id stays unused for as long as possible. */
uint16_t end_get_id(struct end *end)
{
	struct switchd *sw = end->link->sw;
	uint16_t id = sw->last_id;

	for (int tries = ID_MIN; tries <= ID_MAX; tries++) {
		id = id >= ID_MAX ? ID_MIN : id + 1;
		if (id_set_has(&sw->ids_held, id) || id_set_has(&end_opposite(end)->told, id))
			continue;
		id_set_add(&sw->ids_held, id);
		sw->last_id = id;
		end->id = id;
		return id;
	}
	return ID_NONE;
}

void end_put_id(struct end *end)
{
	id_set_del(&end->link->sw->ids_held, end->id);
	end->id = ID_NONE;
}
