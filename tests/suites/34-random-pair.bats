#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Random traffic between two VMs, every real part in place: many threads on each connection on both
# sides, with signals, forks and cuts. From the environment: RANDOM_SECONDS for each test (20),
# RANDOM_SEED to repeat one.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check
SECONDS_EACH=${RANDOM_SECONDS:-20}

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
}

teardown_file() { siv_teardown_file; }

# Both sides have to find everything right.
storm() # TYPE
{
	vm_job adas "server-$1" siv-random serve siv:///check --type "$1" --slow "${VM_SLOW:-1}"
	vm_job_await_line adas "server-$1" listening
	vm_run cockpit -t $((SECONDS_EACH + 120)) siv-random storm --to "$URL" --type "$1" \
		--seconds "$SECONDS_EACH" --slow "${VM_SLOW:-1}" ${RANDOM_SEED:+--seed "$RANDOM_SEED"}
	vm_job_signal adas "server-$1" TERM
	vm_job_wait adas "server-$1"
	siv_await_no_channels
}

@test "many threads on streams with signals, forks and cuts lose no byte" { storm stream; }
@test "many threads on records with signals, forks and cuts lose no record" { storm seqpacket; }
