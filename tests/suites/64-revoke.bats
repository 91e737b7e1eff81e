#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What the host takes back while it is in use: a service, a VM, one channel, a rule of its policy. Each
# time what is open ends on both sides at once, connects are refused, and another service's
# channel on the same link, open from the first test to the last, goes on.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check
EKEYREVOKED=128

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	siv_serve_and_ping
}

teardown_file() { siv_teardown_file; }

# The other service's channel is the one that it was.
teardown()
{
	siv_assert_ping
	vm_check_logs
}

check() { vm_run cockpit -t 120 siv-check run "$URL" "$@"; }

# A connection whose both ends wait in recv(), and one that is mapped.
hold()
{
	server_lines=$(wc -l <"$(vm_job_dir adas server)/out")
	vm_job cockpit hold siv-check run "$URL" hold
	vm_job_await_line cockpit hold connected
	vm_job cockpit mapped siv-check run "$URL" map-reset both
	vm_job_await_line cockpit mapped mapped
}

# Both, on both sides; map-reset says that the mapping reads as zeros, by no signal.
assert_hold_reset()
{
	vm_job_await_line cockpit hold '^recv: ECONNRESET$'
	# ECONNRESET again, unless the peer's kernel was the first to say it: then it was told once
	vm_job_await_line cockpit hold '^send: (ECONNRESET|EPIPE)$'
	vm_job_wait cockpit hold
	vm_job_wait cockpit mapped
	await_server_resets 2
}

# N more connections of the server have ended with ECONNRESET.
await_server_resets() # N
{
	local dir
	dir=$(vm_job_dir adas server)

	job_await_line "$dir" '^echo: ECONNRESET$' 30 $((server_lines + $1))
	assert_equal "$(tail -n +$((server_lines + 1)) "$dir/out" | grep -c '^echo: ECONNRESET$')" "$1"
}

# Lines of the audit log from line N on that have it.
audited() { tail -n +"$(($1 + 1))" "$SIV_AUDIT" | grep -c "$2" || true; } # N REGEX
audit_lines() { wc -l <"$SIV_AUDIT"; }

@test "a revoked service: ECONNRESET on both sides, EKEYREVOKED, and unrevoke heals it" {
	local before

	before=$(audit_lines)
	hold
	run siv_ctl revoke service adas/check
	assert_output 'revoked: 2 channels reset, 0 connects rejected'
	assert_hold_reset
	check refused $EKEYREVOKED
	# in the other direction it is a client, inside its VM
	vm_run adas -u fusion siv-check run "$URL" refused $EKEYREVOKED
	assert_equal "$(audited "$before" '"event":"revoke"')" 1
	assert_equal "$(audited "$before" '"event":"reset".*"reason":"revoked"')" 2
	run siv_ctl revocations
	assert_output --partial 'service adas/check since '
	run siv_ctl explain cockpit/dashboard "$URL"
	assert_failure 3
	assert_output --partial 'revoked, EKEYREVOKED'
	siv_ctl unrevoke service adas/check
	check duplex 1
	run siv_ctl revocations
	assert_output 'nothing is revoked'
}

@test "a revoked client is as much revoked as a server" {
	vm_job cockpit root siv-check run "$URL" hold
	vm_job_await_line cockpit root connected
	run siv_ctl revoke service adas/fusion
	assert_output 'revoked: 0 channels reset, 0 connects rejected'
	vm_run adas -u fusion siv-check run "$URL" refused $EKEYREVOKED
	siv_ctl unrevoke service adas/fusion
	vm_run adas -u fusion siv-check run "$URL" duplex 1
	vm_job_stop cockpit root || true
}

@test "what could be resumed is forgotten" {
	check names
	check names
	run tail -n 1 "$SIV_AUDIT"
	assert_output --partial '"resumed":true'
	siv_ctl revoke service adas/check
	siv_ctl unrevoke service adas/check
	check names
	run tail -n 1 "$SIV_AUDIT"
	assert_output --partial '"verdict":"allowed"'
	refute_output --partial '"resumed":true'
}

@test "a revocation holds over restarts of the host and of the agent, and unrevoke heals the agent" {
	siv_ctl revoke service adas/check
	host_job_stop hostd
	siv_hostd_start
	host_job_await_line hostd 'vm cockpit: its agent is back'
	host_job_await_line hostd 'vm adas: its agent is back'
	host_job_await_line hostd 'link cockpit--adas: up in epoch'
	check refused $EKEYREVOKED
	vm_job_kill adas agent
	siv_agent_start adas # without a certificate for it
	run vm_run adas sivctl --socket /run/sivshmem/agent.sock status
	assert_output --partial 'service check: refused'
	assert_output --partial 'service cache: '
	check refused $EKEYREVOKED
	siv_ctl unrevoke service adas/check
	vm_job_await_line adas agent 'service check: certificate for'
	check duplex 1
}

@test "one channel: it alone, and the next connect works" {
	local slot

	hold
	slot=$(siv_ctl --json channels |
		jq '[.channels[] | select(.server.service == "check")] | min_by(.age_ms) | .slot')
	run siv_ctl revoke channel "cockpit--adas/$slot"
	assert_output --partial "reset: cockpit--adas slot $slot: cockpit/dashboard -> adas/check"
	vm_job_wait cockpit mapped
	await_server_resets 1
	check duplex 1
	# and the other one
	slot=$(siv_ctl --json channels |
		jq '.channels[] | select(.server.service == "check" and .state == "open") | .slot')
	siv_ctl revoke channel "cockpit--adas/$slot"
	vm_job_await_line cockpit hold '^recv: ECONNRESET$'
	vm_job_wait cockpit hold
	run siv_ctl revoke channel "cockpit--adas/$slot"
	assert_failure 1
	assert_output --partial 'none is open in slot'
}

@test "reload: a rule that is gone resets what is open, and refuses; one that is back allows" {
	local before

	before=$(audit_lines)
	hold
	cp "$SIV_HOST_CONF" "$VM_RUN/host.conf.kept"
	sed -i '/from = "cockpit\/dashboard"/{N;/adas\/check/d}' "$SIV_HOST_CONF"
	run siv_ctl reload
	assert_output --partial 'allow rules: 0 new, 1 gone'
	assert_output --partial '2 channels reset, 0 connects rejected'
	assert_hold_reset
	check refused 13
	assert_equal "$(audited "$before" '"event":"reload"')" 1
	assert_equal "$(audited "$before" '"event":"reset".*"reason":"not-allowed"')" 2
	# by the signal
	cp "$VM_RUN/host.conf.kept" "$SIV_HOST_CONF"
	kill -HUP "$(host_job_pid hostd)"
	host_job_await_line hostd 'read again: allow rules: 1 new, 0 gone'
	check duplex 1
}

@test "reload: what is wrong, or needs a restart, changes nothing" {
	vm_job cockpit hold siv-check run "$URL" hold
	vm_job_await_line cockpit hold connected
	cp "$SIV_HOST_CONF" "$VM_RUN/host.conf.kept"
	sed -i 's|adas/check|adas/chekc|' "$SIV_HOST_CONF"
	run siv_ctl reload
	assert_failure 1
	assert_output --regexp 'host.conf:[0-9]+: allow.to: no service "chekc" in vm "adas"; did you mean "check"'
	check duplex 1
	# with a rule that could have gone
	cp "$VM_RUN/host.conf.kept" "$SIV_HOST_CONF"
	sed -i 's|size = "64M"|size = "32M"|; /from = "cockpit\/dashboard"/{N;/adas\/check/d}' \
		"$SIV_HOST_CONF"
	run siv_ctl reload
	assert_failure 1
	assert_output --partial 'link.size: is another: it holds after a restart'
	cp "$VM_RUN/host.conf.kept" "$SIV_HOST_CONF"
	siv_ctl reload
	check duplex 1
	assert_equal "$(vm_job_signal cockpit hold TERM && vm_job_wait cockpit hold || echo $?)" 143
	run cat "$(vm_job_dir cockpit hold)/out"
	refute_output --partial ECONNRESET
}
