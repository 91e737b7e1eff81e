/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sivshmem-hostd: what surrounds the broker on a host.
 *
 *   main.c     options, folders, lock, start and stop in order
 *   control.c  one listening socket for each VM's control channel        -> broker_add_vm_stream()
 *   links.c    the switch: starts it, adds links, hears who came and went -> broker_link_*()
 *   signer.c   the process that has the authority's key                  -> struct ca
 *   starter.c  the process that starts a switch
 *   admin.c    what sivctl asks
 *   reload.c   host.conf, again                                         -> broker_set_policy()
 *   rotate.c   another authority                                        -> broker_trust_changed()
 *   revoke.c   what it revokes                                          -> broker_enforce()
 */
#ifndef SIVSHMEM_HOSTD_H
#define SIVSHMEM_HOSTD_H

#include "broker/broker.h"
#include "common/loop.h"
#include "config.h"
#include "signer.h"

/* links.c */
struct links;

/*
 * Connects to the switch in the run folder, or lets @starter start @switch_binary, and makes the
 * links of the configuration known to both it and the broker. NULL: the log says why. Without links in the
 * configuration there is no switch.
 */
struct links *links_open(struct loop *loop, const struct host_config *config, struct broker *broker,
			 const char *switch_binary, int starter);
/* The switch and its links stay. */
void links_close(struct links *links);

/* control.c */
struct control;

/* Listens on the control sockets of all VMs. NULL: the log says why. */
struct control *control_open(struct loop *loop, const struct host_config *config,
			     struct broker *broker);
void control_close(struct control *control);
/* That VM's stream has ended: take the next one. For struct broker_config. */
void control_stream_ended(struct control *control, unsigned int vm);

/* admin.c */
struct host_admin {
	struct host_config *config; /* stays where it is; its contents may be replaced */
	struct broker *broker;
	struct signer *signer;
	struct ca *ca; /* the signer's */
	struct audit *audit;
	struct revocations *revoked;
	struct admin *admin;
	struct loop *loop;
	struct loop_timer ca_timer; /* rotate.c's: while there is a former authority */
	bool ca_renewed; /* some agent has said so, of the present one */
};
/* 0 or -errno. @admin and what it points to must outlive host_admin_close(). */
int host_admin_open(struct host_admin *admin, struct loop *loop);
void host_admin_close(struct host_admin *admin);

/*
 * reload.c: reads host.conf again. 0, with what has changed in @reply; or -1 with an error in it and
 * in the log, and nothing has changed.
 */
int host_reload(struct host_admin *admin, json_t *reply);

/* rotate.c */

/* Between host_admin_open() and host_admin_close(). A rotation that had begun goes on. */
void host_ca_start(struct host_admin *admin);
void host_ca_stop(struct host_admin *admin);
/* The signer has rotated: says so to all. */
void host_ca_rotated(struct host_admin *admin);
/* An agent has renewed; an agent has gone. Both may be in the middle of a message. */
void host_ca_renewed(struct host_admin *admin);
void host_ca_look(struct host_admin *admin);
void host_ca_status(const struct host_admin *admin, json_t *reply);
/* {"command": "ca", "what": "rotate" or "drop"} */
int run_ca(void *arg, const json_t *request, json_t *reply);

/* revoke.c: {"command": "revoke", "what": "service", "vm" or "channel", "name": "adas/cache"} */
int run_revoke(void *arg, const json_t *request, json_t *reply);
int run_unrevoke(void *arg, const json_t *request, json_t *reply);
int run_revocations(void *arg, const json_t *request, json_t *reply);

#endif
