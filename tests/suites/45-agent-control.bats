#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The agent and its virtio-serial port: the host is not there yet, comes, dies, and comes back.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://one/check

# Only the control channel: this VM has no link to another.
vm_qemu_args()
{
	echo "-device virtio-serial-pci" \
	     "-chardev socket,id=control,path=$VM_RUN/run/one.sock,reconnect=1" \
	     "-device virtserialport,chardev=control,name=org.sivshmem.0"
}

setup_file()
{
	mkdir -p "$VM_RUN/run" "$VM_RUN/state"
	cat >"$SIV_HOST_CONF" <<-EOF
		trust-domain = "car.example"
		state = "$VM_RUN/state"
		run = "$VM_RUN/run"
		audit = "$SIV_AUDIT"
		vm "one" { services = {"check"} control = "$VM_RUN/run/one.sock" }
		allow { from = "one/check" to = "one/check" }
	EOF
	vm_boot one --mem 512M
	vm_run one 'modprobe af_sivshmem && mkdir -p /etc/sivshmem /run/sivshmem'
	vm_run one -i 'cat >/etc/sivshmem/agent.conf' <<<'service "check" { user = "root" }'
	vm_job one agent sivshmem-agent --ready-fd 1
	vm_run one 'until [ -e /run/sivshmem/agent.sock ]; do sleep 0.05; done'
}

teardown_file() { siv_teardown_file; }

# Clock ticks that the agent has used.
agent_ticks() { vm_run one 'awk "{ print \$14 + \$15 }" /proc/$(pidof sivshmem-agent)/stat'; }

agent_sleeps()
{
	local before after

	before=$(agent_ticks)
	sleep 3 # long enough for one that spins to be seen
	after=$(agent_ticks)
	((after - before <= 3)) || { echo "$((after - before)) ticks in 3 s"; return 1; }
}

ready_lines() { grep -c ready "$(vm_job_dir one agent)/out"; }

@test "without a host the agent sleeps, and connects get ENETDOWN" {
	agent_sleeps
	run vm_run one siv-check run $URL duplex 1
	assert_failure
	assert_output --partial 'Network is down'
}

@test "when the host comes the agent is welcome and processes can connect" {
	siv_hostd_start
	vm_job_await_line one agent ready
	vm_job one server siv-check serve $URL
	vm_job_await_line one server listening
	vm_run one siv-check run $URL duplex 4
}

@test "when the host dies the agent sleeps, open channels go on, connects get ENETDOWN at once" {
	local opened

	opened=$(grep -c '"connect".*"allowed"' "$SIV_AUDIT")
	vm_job one holder siv-check run $URL duplex 256
	until (($(grep -c '"connect".*"allowed"' "$SIV_AUDIT") > opened)); do sleep 0.05; done
	kill -KILL "$(host_job_pid hostd)"
	host_job_wait hostd || true
	vm_run one -t 10 'until siv-check run '$URL' duplex 1 2>&1 | grep -q "Network is down"; do :; done'
	vm_job_wait one holder 120
	agent_sleeps
}

@test "when the host is back processes can connect again" {
	siv_hostd_start
	vm_run one -t 30 'until siv-check run '$URL' duplex 1 2>/dev/null; do sleep 0.1; done'
	vm_run one siv-check run $URL many 16
}

@test "the agent has given up what it does not need, and nobody looks into its memory" {
	local status limited="/usr/bin/setpriv --bounding-set=-all,+net_admin --inh-caps=-all"

	status=$(vm_run one 'cat /proc/$(pidof sivshmem-agent)/status')
	vm_kernel_has_checks || grep -qx $'Seccomp:\t2' <<<"$status" # our debug kernels have none
	grep -qx $'NoNewPrivs:\t1' <<<"$status"
	grep -qx $'CapEff:\t0000000000001000' <<<"$status" # CAP_NET_ADMIN
	grep -qx $'CapBnd:\t0000000000001000' <<<"$status"
	# root with the same capabilities may look into others, and not into the agent
	vm_run one "$limited sh -c 'sleep 60 & cat /proc/\$!/environ >/dev/null; s=\$?; kill \$!; exit \$s'"
	run vm_run one "$limited cat /proc/\$(pidof sivshmem-agent)/environ"
	assert_failure
	assert_output --partial 'Permission denied'
}

@test "an agent that is killed and started again is welcome" {
	vm_job_kill one agent
	vm_job one agent sivshmem-agent --ready-fd 1
	vm_job_await_line one agent ready
	vm_run one siv-check run $URL duplex 1
}

@test "the module is loaded anew under the agent" {
	vm_job_kill one server
	vm_run one 'rmmod af_sivshmem && modprobe af_sivshmem'
	vm_run one -t 30 'until [ "$(cat /sys/module/af_sivshmem/parameters/agent_seen)" = Y ]; do sleep 0.05; done'
	vm_job one server siv-check serve $URL
	vm_job_await_line one server listening
	vm_run one -t 30 'until siv-check run '$URL' duplex 1 2>/dev/null; do sleep 0.1; done'
}
