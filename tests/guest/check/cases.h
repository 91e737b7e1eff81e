/* SPDX-License-Identifier: BSD-2-Clause */
/* What the client's cases share. */
#ifndef CASES_H
#define CASES_H

#include <stdint.h>

#include <sivshmem/abi.h>

/* The server: as given, and parsed. */
extern const char *url;
extern struct sockaddr_sivshmem addr;

int order(uint32_t mode, uint64_t seed, uint64_t bytes); /* a connection that gave this order */
/* MODE_ECHO that has echoed a byte: what happens from now on happens to a peer that waits for more. */
int order_to_echo(void);
uint64_t fresh_seed(void); /* of a stream, for MODE_STALL: no two are the same */
int new_socket(int flags);
void spin_for_ever(int fd); /* until data comes, and what ends a wait otherwise */
short poll_now(int fd, short events);
short poll_wait(int fd, short events); /* exits if nothing comes within 30 s */

void case_names(const char *arg);
void case_connect_nonblock(const char *arg);
void case_connect_signal(const char *arg);
void case_connect_abandon(const char *arg);
void case_refused(const char *arg);
void case_bad_address(const char *arg);
void case_connect_time(const char *arg);
void case_reuseport(const char *arg);
void case_so_reuseport(const char *arg);
void case_no_memory(const char *arg);
void case_backlog(const char *arg);
void case_connect_timeout(const char *arg);
void case_listener_closed(const char *arg);
void case_herd(const char *arg);
void case_burst(const char *arg);
void case_autobind(const char *arg);
void case_records(const char *arg);
void case_record_held(const char *arg);
void case_hold(const char *arg);
void case_ping(const char *arg);
void case_marker(const char *arg);
void case_map_rights(const char *arg);
void case_map_fork(const char *arg);
void case_map_in_place(const char *arg);
void case_map_elsewhere(const char *arg);
void case_map_direct(const char *arg);
void case_map_wait(const char *arg);
void case_map_violation(const char *arg);
void case_map_scribble(const char *arg);
void case_map_reset(const char *arg);
void case_map_records(const char *arg);
void case_map_held(const char *arg);
void case_load_sockets(const char *arg);
void case_load_pending(const char *arg);
void case_load_channels(const char *arg);
void case_round_trips(const char *arg);
void case_records_held(const char *arg);
void case_stream_held(const char *arg);
void case_sealed(const char *arg);
void case_seal_full_end(const char *arg);
void case_seal_rekey(const char *arg);
void case_seal_keys_held(const char *arg);
void case_lowat_lowered(const char *arg);
void case_poll_beside_reader(const char *arg);
void case_spin_ends(const char *arg);
void case_spin_yields(const char *arg);
void case_late_page(const char *arg);

#endif
