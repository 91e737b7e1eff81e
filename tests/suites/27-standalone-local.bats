#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# sivshmem-agent --standalone: one VM's own services over the local link, with all that two VMs have
# between them but the host: selectors, certificates, TLS, policy.

load ../vm/vm

URL=siv://local/check

# Starts the agent and waits until processes can connect.
start_agent()
{
	vm_job one agent sivshmem-agent --standalone --config /tmp/agent.conf --ready-fd 1
	vm_job_await_line one agent ready
}

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem && mkdir -p /run/sivshmem'
	vm_run one -i 'cat >/tmp/agent.conf' <<-EOF
		# root is the server and one client, 1234 another; 1235 is a service that may do nothing
		audit = "/tmp/audit.log"
		state = "/tmp/state"
		service "check"  { user = "0" }
		service "client" { user = "1234" }
		service "radio"  { user = "1235" }
		service "idle"   { user = "1236" }
		service "pod"    { cgroup = "/pod" }
		allow { from = "check"  to = "check" }
		allow { from = "check"  to = "idle" }
		allow { from = "client" to = "check" }
		allow { from = "pod"    to = "check" }
	EOF
	start_agent
	vm_job one server siv-check serve $URL
	vm_job_await_line one server listening
}

check() { vm_run one -t 120 siv-check run "$URL" "$@"; }
audited() { vm_run one grep -q "$1" /tmp/audit.log; }

@test "16 MiB each way at once arrive unchanged" { check duplex 16; }

@test "64 connections at once" { check many 64; }

@test "another user who is a service that may connects" {
	vm_run one -u 1234 siv-check run "$URL" duplex 1
	audited '"allowed".*"service":"client"'
}

@test "a service that policy does not allow gets EACCES" {
	run vm_run one -u 1235 siv-check run "$URL" duplex 1
	assert_failure
	assert_output --partial 'Permission denied'
	audited '"reason":"not-allowed".*"service":"radio"'
}

@test "a process that is no service gets EACCES" {
	run vm_run one -u 4711 siv-check run "$URL" duplex 1
	assert_failure
	assert_output --partial 'Permission denied'
	audited '"reason":"no-service".*"uid":4711'
}

@test "in a container a user number means nothing, and a cgroup is a service" {
	run vm_run one unshare -n siv-check run "$URL" duplex 1
	assert_failure
	assert_output --partial 'Permission denied'
	run vm_run one unshare -m siv-check run "$URL" duplex 1
	assert_failure
	assert_output --partial 'Permission denied'
	vm_run one 'mkdir /sys/fs/cgroup/pod && echo $$ >/sys/fs/cgroup/pod/cgroup.procs &&
		exec unshare -n -m siv-check run '$URL' duplex 1'
	audited '"allowed".*"service":"pod"'
}

@test "bind() to no service is to be the one that the process matches" {
	vm_run one -u 1236 siv-check run "$URL" autobind idle
	run vm_run one -u 4711 siv-check run "$URL" autobind idle
	assert_failure
	assert_output --partial 'Permission denied'
}

@test "another user cannot listen as a service" {
	run vm_run one -u 4711 siv-check serve "$URL"
	assert_failure
	assert_output --partial 'Permission denied'
}

@test "nobody listening is ECONNREFUSED" {
	run vm_run one siv-check run siv://local/idle duplex 1
	assert_failure
	assert_output --partial 'Connection refused'
	audited '"reason":"not-listening"'
}

@test "a bad configuration is refused with its line" {
	run vm_run one -i 'cat >/tmp/bad.conf; sivshmem-agent --check-config --config /tmp/bad.conf' <<-EOF
		# one
		service "a" { user = "0" exekutable = "/bin/sh" }
	EOF
	assert_failure
	assert_output --partial 'bad.conf:2: unknown key "exekutable"; did you mean "executable"?'
}

@test "the agent keeps CAP_NET_ADMIN alone and does not dump core" {
	run vm_run one 'grep CapEff /proc/$(pidof sivshmem-agent)/status'
	assert_output --partial '0000000000001000'
}

@test "an agent that is killed and started again: open channels go on" {
	local allowed

	allowed=$(vm_run one grep -c '"connect".*"allowed"' /tmp/audit.log)
	vm_job one holder siv-check run "$URL" duplex 256
	vm_run one -t 30 "until [ \$(grep -c '\"connect\".*\"allowed\"' /tmp/audit.log) -gt $allowed ]; do sleep 0.05; done"
	vm_job_kill one agent
	run vm_run one siv-check run "$URL" duplex 1
	assert_failure
	assert_output --partial 'Network is down'
	start_agent
	check duplex 1
	vm_job_wait one holder 120
}
