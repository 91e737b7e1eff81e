#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Connects that resume an earlier handshake, what ends that, and many connects at once.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	server_start
}

teardown_file() { siv_teardown_file; }

server_start()
{
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
}

guest_ctl() { vm_run "$1" sivctl --socket /run/sivshmem/agent.sock "${@:2}"; } # VM COMMAND...

# How many connects of a VM's agent were resumed so far.
resumed() { guest_ctl "$1" --json status | jq .resumed; } # VM

# One connect that works, of which both agents say the same: that it was resumed, or was not.
connect_is() # full|resumed
{
	local before after want=0

	[[ $1 == full ]] || want=1
	before="$(resumed cockpit) $(resumed adas)"
	vm_run cockpit siv-check run "$URL" names
	after="$(resumed cockpit) $(resumed adas)"
	assert_equal "$after" "$((${before% *} + want)) $((${before#* } + want))"
}

@test "the second connect between two services is resumed" {
	connect_is full
	run vm_run cockpit siv-check run "$URL" names
	first=$output
	connect_is resumed
	connect_is resumed
	# who the peer is was verified once, and is the same
	run vm_run cockpit siv-check run "$URL" names
	assert_output "$first"
	assert_output --partial spiffe://car.example/vm/adas/service/check
	run tail -n 1 "$SIV_AUDIT"
	assert_output --partial '"resumed":true'
}

@test "a service that has no ticket of its own is verified" {
	connect_is resumed
	before=$(resumed adas)
	vm_run adas -u fusion siv-check run "$URL" names
	assert_equal "$(resumed adas)" "$before"
	# within one VM both ends are the same agent's
	vm_run adas -u fusion siv-check run "$URL" names
	assert_equal "$(resumed adas)" "$((before + 2))"
}

@test "sivctl forget ends it, on either side" {
	for vm in cockpit adas; do
		connect_is resumed
		guest_ctl "$vm" forget
		connect_is full
	done
}

@test "a restarted agent verifies its peers anew" {
	for vm in cockpit adas; do
		connect_is resumed
		vm_job_kill "$vm" agent
		siv_agent_start "$vm"
		before=$(resumed cockpit)
		vm_run cockpit siv-check run "$URL" names
		assert_equal "$(resumed cockpit)" "$before"
	done
	connect_is resumed
}

@test "a restarted host has every peer verified anew" {
	connect_is resumed
	host_job_stop hostd
	siv_hostd_start
	host_job_await_line hostd 'vm cockpit: its agent is back'
	host_job_await_line hostd 'vm adas: its agent is back'
	connect_is full
	connect_is resumed
}

@test "a connect is refused by policy whatever was resumed before" {
	connect_is resumed
	vm_run cockpit -u nobody siv-check run "$URL" refused 13
	vm_run cockpit -u mallory siv-check run "$URL" refused 13
	connect_is resumed
}

@test "a certificate that is not good is not resumed with" {
	connect_is resumed
	vm_put cockpit "$VM_RUN/state/ca.pem" /tmp/ca.pem
	vm_job_kill cockpit agent
	vm_job cockpit agent env SIV_LAB=expired SIV_LAB_CA=/tmp/ca.pem \
		lab-agent --config /etc/sivshmem/agent.conf --log-level debug --ready-fd 1
	vm_job_await_line cockpit agent '^ready$' "$SIV_READY_SECONDS"
	vm_run cockpit siv-check run "$URL" refused 127
	vm_job_kill cockpit agent
	siv_agent_start cockpit
	# nor has the refusal left anything that could be
	connect_is full
}

@test "256 connects at once all complete, and an open channel goes on" {
	n=$(vm_load 256)
	vm_run cockpit -t 300 siv-check run "$URL" burst "$n"
	siv_await_no_channels
	run siv_ctl status
	refute_output --regexp '[1-9][0-9]* on their way'
	assert_output --partial '0 channels, 0 of'
	connect_is resumed
}
