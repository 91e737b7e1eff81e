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
storm() # TYPE [JOB]
{
	local job=server-${2:-$1}

	vm_job adas "$job" siv-random serve siv:///check --type "$1" --slow "${VM_SLOW:-1}"
	vm_job_await_line adas "$job" listening
	vm_run cockpit -t $((SECONDS_EACH + 120)) siv-random storm --to "$URL" --type "$1" \
		--seconds "$SECONDS_EACH" --slow "${VM_SLOW:-1}" ${RANDOM_SEED:+--seed "$RANDOM_SEED"}
	vm_job_signal adas "$job" TERM
	vm_job_wait adas "$job"
	siv_await_no_channels
}

@test "many threads on streams with signals, forks and cuts lose no byte" { storm stream; }
@test "the same where all spin for long" {
	local vm file=/sys/module/af_sivshmem/parameters/spin_us

	for vm in cockpit adas; do
		vm_run "$vm" "cat $file >/tmp/spin_us; echo 10000 >$file"
	done
	storm stream spinning
	for vm in cockpit adas; do
		vm_run "$vm" "cat /tmp/spin_us >$file"
	done
}
@test "many threads on records with signals, forks and cuts lose no record" { storm seqpacket; }
