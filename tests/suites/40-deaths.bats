#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What dies, and what the others see: a VM, a guest's kernel inside a living QEMU, a module, an
# agent, hostd. After each of them everything works again.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check

setup_file()
{
	siv_host
	vm_pair cockpit adas --reboot
	siv_guest cockpit
	siv_guest adas
	serve
}

teardown_file() { siv_teardown_file; }

serve()
{
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
}

check() { vm_run cockpit -t 120 siv-check run "$URL" "$@"; }

# A connection that waits in recv(), and what it says once the peer is gone.
hold() # [spin]
{
	vm_job cockpit hold siv-check run "$URL" hold "$@"
	vm_job_await_line cockpit hold connected
}

assert_hold_reset()
{
	vm_job_await_line cockpit hold '^recv: ECONNRESET$' 2
	vm_job_await_line cockpit hold '^send: ECONNRESET$' 2
	vm_job_wait cockpit hold
}

# Waits until hostd says that the link is usable again.
await_link_up() { host_job_await_line hostd "link cockpit--adas: up in epoch $1\$" 30; }
epoch() { siv_ctl --json status | jq '.links[] | select(.link == "cockpit--adas") | .epoch'; }

ping_start()
{
	siv_connected cockpit ping siv-check run "$URL" ping
}

assert_ping() # N
{
	vm_job_signal cockpit ping USR1
	vm_job_await_line cockpit ping "pong $1\$"
}

ping_stop()
{
	vm_job_signal cockpit ping TERM
	vm_job_wait cockpit ping
}

@test "hostd killed: open channels go on, new connects fail at once, and work again after" {
	ping_start
	assert_ping 1
	kill -KILL "$(host_job_pid hostd)"
	host_job_wait hostd || true
	assert_ping 2
	siv_hostd_start
	host_job_await_line hostd 'vm cockpit: its agent is back'
	host_job_await_line hostd 'vm adas: its agent is back'
	assert_ping 3
	check duplex 1
	assert_ping 4
	ping_stop
}

@test "hostd stopped and started: the same" {
	ping_start
	host_job_stop hostd
	assert_ping 1
	siv_hostd_start
	host_job_await_line hostd 'vm cockpit: its agent is back'
	host_job_await_line hostd 'vm adas: its agent is back'
	check duplex 1
	assert_ping 2
	ping_stop
}

@test "the client's agent killed: open channels go on, connects are ENETDOWN until it is back" {
	ping_start
	vm_job_kill cockpit agent
	vm_run cockpit siv-check run "$URL" refused 100
	assert_ping 1
	siv_agent_start cockpit
	check duplex 1
	assert_ping 2
	ping_stop
}

@test "the server's agent killed: open channels go on, and connects work once it is back" {
	ping_start
	vm_job_kill adas agent
	assert_ping 1
	siv_agent_start adas
	check duplex 1
	assert_ping 2
	ping_stop
}

@test "SIGKILL to a VM's QEMU in a transfer: ECONNRESET within a second, and it connects again" {
	local before

	before=$(epoch)
	hold
	vm_job cockpit transfer siv-check run "$URL" duplex 100000
	vm_kill adas
	assert_hold_reset
	run vm_job_wait cockpit transfer 2
	assert_failure
	vm_restart adas
	siv_guest adas
	serve
	check duplex 1
	(($(epoch) > before))
}

@test "SIGKILL to QEMU: who spins gets ECONNRESET, too" {
	hold spin
	vm_kill adas
	assert_hold_reset
	vm_restart adas
	siv_guest adas
	serve
}

@test "a VM that is down is EHOSTDOWN" {
	vm_kill adas
	vm_run cockpit siv-check run "$URL" refused 112
	vm_restart adas
	siv_guest adas
	serve
}

@test "SIGKILL to the client's QEMU: the server's sockets close, and it connects again" {
	hold
	vm_kill cockpit
	vm_restart cockpit
	siv_guest cockpit
	check duplex 1
	siv_await_no_channels
}

@test "a guest reset inside a living QEMU: ECONNRESET, and it connects again" {
	local before

	before=$(epoch)
	hold
	vm_reboot_inside adas
	siv_guest adas
	assert_hold_reset
	serve
	check duplex 1
	# a report that lacks the channel resets it too; another kernel is another epoch
	(($(epoch) > before))
}

@test "a VM that is frozen: ECONNRESET once its heartbeat is missed, and it connects again" {
	local before qemu

	before=$(epoch)
	qemu=$(vm_qemu_pid adas)
	hold
	kill -STOP "$qemu"
	# link-timeout is 10 s
	vm_job_await_line cockpit hold '^recv: ECONNRESET$' 60
	vm_job_wait cockpit hold
	kill -CONT "$qemu"
	await_link_up $((before + 1))
	check duplex 1
	siv_await_no_channels
}

@test "a module reloaded inside a living guest: ECONNRESET, and it connects again" {
	local before

	before=$(epoch)
	hold
	vm_job_kill adas server
	vm_job_kill adas agent
	vm_run adas 'rmmod af_sivshmem'
	siv_guest adas
	vm_job_wait cockpit hold
	serve
	check duplex 1
	(($(epoch) > before))
}

@test "the device unbound and bound again: ECONNRESET, and it connects again" {
	local driver=/sys/bus/pci/drivers/af_sivshmem before

	before=$(epoch)
	hold
	vm_run adas "cd $driver && device=\$(basename 0000:*) && echo \$device >unbind &&
		echo \$device >bind"
	# adas' kernel was there to say good-bye: told once, as when a process closes
	vm_job_await_line cockpit hold '^recv: ECONNRESET$' 2
	vm_job_wait cockpit hold
	await_link_up $((before + 1))
	check duplex 1
	siv_await_no_channels
}

@test "a process killed: its peer reads what was sent, then the end" {
	vm_job cockpit ping siv-check run "$URL" ping
	vm_job_await_line cockpit ping connected
	vm_job_kill cockpit ping
	check data-before-eof
	siv_await_no_channels
}
