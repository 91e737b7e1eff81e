#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Two VMs, every real part in place: switch, hostd, agents, TLS, policy. What the family promises
# between them, and that nothing is left behind on any of the three sides.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
}

teardown_file() { siv_teardown_file; }

check() { vm_run cockpit -t $((300 + ${DUPLEX_MIB:-0} / 4)) siv-check run "$URL" "$@"; }

# bats test_tags=smoke
@test "each side is told the authenticated peer" {
	run check names
	assert_success
	assert_output --partial spiffe://car.example/vm/adas/service/check
}

@test "an empty VM resolves to the one that policy knows" {
	vm_run cockpit siv-check run siv:///check names
}

# bats test_tags=smoke
@test "what is sent each way at once in odd sizes arrives unchanged" {
	check duplex "$(vm_load "${DUPLEX_MIB:-256}")"
}
@test "64 connections at once each carry their own bytes" { check many 64; }
@test "what was sent before close is read before the end" { check data-before-eof; }
# bats test_tags=smoke
@test "half a close ends one direction and leaves the other" { check half-close; }
@test "a peer that does not read any more gives EPIPE and SIGPIPE" { check peer-shut-rd; }
# bats test_tags=smoke
@test "a peer that closes with data unread gives ECONNRESET once" { check peer-abort; }
@test "a reader that stops blocks the writer, and both go on" { check stalled-reader; }
@test "close with SO_LINGER waits for the peer to have read" { check linger; }
@test "many waiters on one socket get every byte once" { check many-waiters; }
@test "records of odd lengths and empty ones stay what they are" { check records 1000; }
@test "edge-triggered epoll loses no wake-up in a minute under load" { check epoll-edge 60; }
@test "poll, FIONREAD, SIOCOUTQ and MSG_PEEK agree" { check poll-bits; }
@test "vectors of odd pieces, MSG_WAITALL and MSG_TRUNC" { check vectors; }
@test "a bad pointer loses nothing and sends nothing twice" { check efault; }
@test "a non-blocking connect is reported by poll" {
	run check connect-nonblock
	assert_success
	assert_output '10 in progress'
}

@test "a signal interrupts connect, and asking again completes it" { check connect-signal; }
@test "SO_SNDTIMEO interrupts connect, and asking again completes it" {
	run check connect-timeout
	assert_success
	refute_output '0 late'
}

@test "a connect that is abandoned leaves nothing behind" { check connect-abandon; }
@test "what ends a wait ends one that spins" { check spin-ends; }
@test "a reader with nothing to read leaves the CPU alone" { check spin-yields learned; }
@test "so does one that shall spin for ever, if somebody wants it" { check spin-yields asked; }
@test "a connection survives fork" { check fork; }

interrupts() { vm_run cockpit 'awk "/af_sivshmem/ { print \$2 }" /proc/interrupts'; }

spin_us() # MICROSECONDS: both VMs
{
	for vm in cockpit adas; do
		vm_run "$vm" "echo $1 >/sys/module/af_sivshmem/parameters/spin_us"
	done
}

interrupts_for() # ARG
{
	local before

	before=$(interrupts)
	check round-trips "$1"
	echo $(($(interrupts) - before))
}

@test "who spins is not interrupted, by spin_us and by SO_BUSY_POLL" {
	local default slept learned asked

	default=$(vm_run adas 'cat /sys/module/af_sivshmem/parameters/spin_us')
	spin_us 0
	slept=$(interrupts_for 300)
	asked=$(interrupts_for '300 spin')
	spin_us 10000
	learned=$(interrupts_for 300)
	spin_us "$default"
	echo "interrupts for 300 round trips: $slept sleeping, $learned by spin_us," \
		"$asked by SO_BUSY_POLL"
	((slept >= 200 && learned <= 100 && asked <= 100))
}

@test "rings that the link has no room for are ENOBUFS" { check no-memory; }

@test "connects inside one VM take the same policy" {
	vm_run adas -u fusion siv-check run siv://adas/check duplex 4
	vm_run adas -u redis siv-check run siv://adas/check refused 13
}

# What a leak would show in: channels and their memory, descriptors of all daemons, sockets.
resources()
{
	local pid

	siv_ctl --json channels | jq -c '.channels | length'
	for pid in $(host_job_pid hostd) $("$SIV_BIN/siv-switchctl" --run-dir "$VM_RUN/run" pid 2>/dev/null); do
		ls "/proc/$pid/fd" | wc -l
	done
	for vm in cockpit adas; do
		vm_run "$vm" 'ls /proc/$(pidof sivshmem-agent)/fd | wc -l
			awk "/^SIVSHMEM/ { print \$3 }" /proc/net/protocols'
	done
}

@test "300 times connect and close leave nothing behind on any side" {
	local before

	check churn 20
	siv_await_no_channels
	before=$(resources)
	check churn 300
	siv_await_no_channels
	assert_equal "$(resources)" "$before"
}

# bats test_tags=smoke
@test "the module goes from a VM whose link is up, and comes back" {
	vm_job_kill adas server
	for vm in cockpit adas; do
		vm_job_stop "$vm" agent
		vm_run "$vm" 'rmmod af_sivshmem && modprobe af_sivshmem && rmmod af_sivshmem'
	done
}
