// SPDX-License-Identifier: BSD-2-Clause
/* The admin socket of a daemon: one JSON line in, one JSON line out. */
#include "admin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "list.h"
#include "log.h"
#include "stream.h"
#include "unix.h"

struct admin {
	struct loop *loop;
	struct loop_io io;
	struct unix_listener listener;
	const struct admin_command *commands;
	void *arg;
	struct list clients;
	unsigned int n_clients;
};

struct admin_client {
	struct list node;
	struct admin *admin;
	struct stream stream;
	struct loop_timer timer;
	bool answered;
};

static void client_free(struct admin_client *client)
{
	loop_timer_cancel(&client->timer);
	stream_close(&client->stream);
	list_del(&client->node);
	client->admin->n_clients--;
	free(client);
}

int admin_error(json_t *reply, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_object_set_new(reply, "error", json_string(text));
	return -1;
}

static void run_command(struct admin *admin, const json_t *request, json_t *reply)
{
	const char *name = json_string_value(json_object_get(request, "command"));
	const struct admin_command *command;
	int err = -1;

	if (!name) {
		admin_error(reply, "request: it has no \"command\"");
		goto out;
	}
	for (command = admin->commands; command->name; command++) {
		if (strcmp(command->name, name) == 0)
			break;
	}
	if (command->name)
		err = command->run(admin->arg, request, reply);
	else
		admin_error(reply, "%s: this daemon has no such command", name);
out:
	json_object_set_new(reply, "ok", json_boolean(err == 0));
}

/* False: the client must go. */
static bool client_answer(struct admin_client *client, const char *line, size_t len)
{
	json_error_t parse_error;
	json_t *request = json_loadb(line, len, 0, &parse_error);
	json_t *reply = json_object();
	char *text = NULL;
	bool ok = false;

	if (!reply)
		goto out;
	if (json_is_object(request)) {
		run_command(client->admin, request, reply);
	} else {
		admin_error(reply, "request: no JSON object: %s", request ? "" : parse_error.text);
		json_object_set_new(reply, "ok", json_false());
	}
	text = json_dumps(reply, JSON_COMPACT);
	if (!text)
		goto out;
	client->answered = true;
	ok = stream_write(&client->stream, text, strlen(text)) == 0 &&
	     stream_write(&client->stream, "\n", 1) == 0 && stream_queued(&client->stream) > 0;
out:
	free(text);
	json_decref(reply);
	json_decref(request);
	return ok;
}

static void client_event(struct stream *stream, unsigned int what)
{
	struct admin_client *client = container_of(stream, struct admin_client, stream);
	const uint8_t *data, *newline;
	size_t len;

	if (client->answered) {
		if (what & (STREAM_OUT | STREAM_CLOSED))
			client_free(client);
		return;
	}
	data = stream_peek(stream, &len);
	newline = len ? memchr(data, '\n', len) : NULL;
	if (newline) {
		if (client_answer(client, (const char *)data, (size_t)(newline - data)))
			return; /* the rest of the reply goes out in later rounds */
	} else if (len < ADMIN_REQUEST_MAX && !(what & STREAM_CLOSED)) {
		return;
	}
	client_free(client);
}

static void client_late(struct loop_timer *timer)
{
	client_free(container_of(timer, struct admin_client, timer));
}

static void admin_accept(struct loop_io *io, uint32_t events)
{
	struct admin *admin = container_of(io, struct admin, io);
	struct admin_client *client;
	struct ucred cred;
	int fd;

	(void)events;
	fd = unix_accept(io->fd, &cred);
	if (fd < 0)
		return;
	if (cred.uid != 0 && cred.uid != geteuid()) {
		log_warning("admin socket: refused uid %u", cred.uid);
		goto err_close;
	}
	if (admin->n_clients == ADMIN_CLIENTS_MAX)
		goto err_close;
	client = calloc(1, sizeof(*client));
	if (!client)
		goto err_close;
	client->admin = admin;
	client->stream.event = client_event;
	client->stream.in_cap = ADMIN_REQUEST_MAX;
	client->stream.out_cap = ADMIN_REPLY_MAX;
	client->timer.due = client_late;
	list_add_tail(&admin->clients, &client->node);
	admin->n_clients++;
	if (stream_open(&client->stream, admin->loop, fd) ||
	    loop_timer_set(admin->loop, &client->timer, ADMIN_TIMEOUT_MS * LOOP_NS_PER_MS))
		client_free(client);
	return;

err_close:
	close(fd);
}

struct admin *admin_new(struct loop *loop, const char *path, const struct admin_command *commands,
			void *arg)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	int err;

	if (!admin)
		return NULL;
	admin->loop = loop;
	admin->commands = commands;
	admin->arg = arg;
	admin->io.ready = admin_accept;
	list_init(&admin->clients);
	err = unix_listen(&admin->listener, path, 0600, (uid_t)-1);
	if (err)
		goto err_free;
	err = loop_add(loop, &admin->io, admin->listener.fd, EPOLLIN);
	if (err)
		goto err_listener;
	return admin;

err_listener:
	unix_unlisten(&admin->listener);
err_free:
	free(admin);
	errno = -err;
	return NULL;
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	while (!list_empty(&admin->clients))
		client_free(container_of(admin->clients.next, struct admin_client, node));
	loop_remove(&admin->io);
	unix_unlisten(&admin->listener);
	free(admin);
}

/* Client side */

/* Reads up to the newline; NULL and errno. */
static char *read_line(int fd)
{
	size_t len = 0, room = 4096;
	char *line = malloc(room);

	while (line) {
		ssize_t n = read(fd, line + len, room - len - 1);
		char *end, *bigger;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n < 0 ? errno : EPROTO;
			goto err_free;
		}
		end = memchr(line + len, '\n', (size_t)n);
		len += (size_t)n;
		if (end) {
			*end = '\0';
			return line;
		}
		if (len > ADMIN_REPLY_MAX) {
			errno = EMSGSIZE;
			goto err_free;
		}
		if (room - len < 2) {
			room *= 2;
			bigger = realloc(line, room);
			if (!bigger)
				goto err_free;
			line = bigger;
		}
	}
	return NULL;

err_free:
	free(line);
	return NULL;
}

json_t *admin_call(const char *path, const json_t *request, char *error, size_t error_size)
{
	struct timeval patience = { .tv_sec = ADMIN_TIMEOUT_MS / 1000 };
	char *text = NULL, *line = NULL;
	const char *advice = "";
	json_t *reply = NULL;
	int fd, err;

	fd = unix_connect(path);
	if (fd < 0) {
		err = -fd;
		if (err == ENOENT || err == ECONNREFUSED)
			advice = ": is the daemon running?";
		else if (err == EACCES || err == EPERM)
			advice = ": this needs root or the daemon's user";
		snprintf(error, error_size, "%s: %s%s", path, strerror(err), advice);
		return NULL;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	text = json_dumps(request, JSON_COMPACT);
	if (!text) {
		errno = ENOMEM;
		goto err;
	}
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text) ||
	    send(fd, "\n", 1, MSG_NOSIGNAL) != 1)
		goto err;
	line = read_line(fd);
	if (!line)
		goto err;
	reply = json_loads(line, 0, NULL);
	if (!json_is_object(reply)) {
		json_decref(reply);
		reply = NULL;
		errno = EPROTO;
		goto err;
	}
	goto out;

err:
	snprintf(error, error_size, "%s: no answer: %s", path, strerror(errno));
out:
	free(line);
	free(text);
	close(fd);
	return reply;
}
