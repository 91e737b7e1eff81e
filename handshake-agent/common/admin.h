/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The admin socket of a daemon: a UNIX stream socket, mode 0600, for root and the daemon's own user
 * (SO_PEERCRED). One line with a JSON object in, one line with a JSON object out, then it is
 * closed:
 *
 *   {"command": "status"}     ->  {"ok": true, ...}
 *                             ->  {"ok": false, "error": "what: where: what to do"}
 */
#ifndef SIVSHMEM_ADMIN_H
#define SIVSHMEM_ADMIN_H

#include <jansson.h>
#include <stddef.h>

#include "loop.h"

#define ADMIN_REQUEST_MAX  4096u        /* bytes of a request */
#define ADMIN_REPLY_MAX    (16u << 20)  /* bytes of a reply */
#define ADMIN_CLIENTS_MAX  16u          /* at once; more are closed at accept */
#define ADMIN_TIMEOUT_MS   5000u        /* for a client from accept to the end of its reply */

struct admin_command {
	const char *name;
	/*
	 * Fills @reply, an empty object. 0, or -1 with an error text set by admin_error().
	 * @request is the whole request.
	 */
	int (*run)(void *arg, const json_t *request, json_t *reply);
};

struct admin;

/*
 * Listens on @path, replacing a socket that nobody listens on. @commands ends with a row whose name
 * is NULL; it and @arg must outlive the admin. NULL and errno (EADDRINUSE: somebody listens there).
 */
struct admin *admin_new(struct loop *loop, const char *path, const struct admin_command *commands,
			void *arg);
/* Closes everything and removes the socket. NULL is allowed. */
void admin_free(struct admin *admin);

/* For run(): sets the reply's error; returns -1. */
int admin_error(json_t *reply, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Client side, blocking: sends @request to the socket at @path and returns the reply (a new
 * reference), whether ok or not. NULL with a text in @error: nobody there, no permission, no JSON.
 */
json_t *admin_call(const char *path, const json_t *request, char *error, size_t error_size);

#endif
