/* SPDX-License-Identifier: BSD-2-Clause */
/* sivctl: what the daemons know, what policy says, and what QEMU needs. */
#ifndef SIVCTL_H
#define SIVCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "hostd/config.h"

/* Exit codes, as sivctl(8) has them. */
enum {
	SIVCTL_OK = 0,
	SIVCTL_FAILED = 1,  /* no daemon, a bad configuration, or what was asked for is not there */
	SIVCTL_USAGE = 2,
	SIVCTL_REFUSED = 3, /* explain: policy refuses it */
};

struct sivctl {
	const char *socket; /* --socket, or NULL */
	const char *config; /* --config, or NULL */
	bool json, shell;
	const char **args; /* of the subcommand */
	unsigned int n_args;
};

/* print.c: for people */
void print_status(const json_t *status, FILE *out);
void print_forget(const json_t *reply, FILE *out);
void print_channels(const json_t *reply, FILE *out);
void print_explain(const json_t *reply, FILE *out);
void print_ca(const json_t *reply, FILE *out);
void print_reload(const json_t *reply, FILE *out);
void print_revoke(const json_t *reply, FILE *out);
void print_unrevoke(const json_t *reply, FILE *out);
void print_revocations(const json_t *reply, FILE *out);

/*
 * qemu.c: the options that VM @vm's QEMU needs, an array of strings, option and value in turns.
 * NULL: no memory.
 */
json_t *qemu_args(const struct host_config *config, unsigned int vm);

#endif
