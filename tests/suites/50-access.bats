#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Who may what: the device's memory, the module's netlink, names of services, connects. Everything
# that is refused has its errno, and a line in the host's audit log.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check
SIV_HANDSHAKE_TIMEOUT=5s
DEVICE=/sys/bus/pci/devices/0000:01:01.0

# cockpit's agent claims a service that policy gives to adas.
siv_agent_conf()
{
	case $1 in
	cockpit)
		cat <<-EOF
			service "dashboard" { user = "root" }
			service "probe" { user = "nobody" }
			service "cache" { user = "dash" }
		EOF
		;;
	adas)
		cat <<-EOF
			service "cache" { user = "redis" }
			service "check" { user = "root" }
			service "fusion" { user = "fusion" }
		EOF
		;;
	esac
}

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

# The audit lines since the last call that fit a jq filter.
audit()
{
	local seen=$BATS_FILE_TMPDIR/audit-seen lines

	lines=$(wc -l <"$SIV_AUDIT")
	tail -n +"$(($(cat "$seen" 2>/dev/null || echo 0) + 1))" "$SIV_AUDIT" | jq -c "select($1)"
	echo "$lines" >"$seen"
}

@test "root in the guest cannot map the device's memory through sysfs" {
	run vm_run cockpit siv-peek $DEVICE/resource2 0
	assert_output 'mmap: EINVAL'
}

@test "root in the guest cannot map the device's memory through /dev/mem" {
	local address

	address=$(vm_run cockpit "sed -n 3p $DEVICE/resource" | cut -d' ' -f1)
	run vm_run cockpit siv-peek /dev/mem "$address"
	assert_output --regexp ': EPERM$'
}

@test "once the driver lets go of the device, both work: the refusals above were its doing" {
	vm_run cockpit "echo 0000:01:01.0 >/sys/bus/pci/drivers/af_sivshmem/unbind"
	run vm_run cockpit siv-peek $DEVICE/resource2 0
	assert_output mapped
	vm_run cockpit "echo 0000:01:01.0 >/sys/bus/pci/drivers/af_sivshmem/bind"
	host_job_await_line hostd 'cockpit--adas: up in epoch [2-9]'
	vm_run cockpit siv-check run "$URL" duplex 1
}

@test "a socket that is not connected has nothing to map" {
	run vm_run cockpit siv-peek socket
	assert_failure
	assert_output 'mmap: ENOTCONN'
}

@test "an unprivileged process cannot speak to the module" {
	run vm_run cockpit -u nobody siv-grantd
	assert_failure
	assert_output --partial 'not permitted'
}

@test "a second agent is refused while one is registered" {
	run vm_run cockpit siv-grantd
	assert_failure
	assert_output --partial 'busy'
}

@test "the module's netlink is not there in another network namespace" {
	run vm_run cockpit unshare --net siv-grantd
	assert_failure
	assert_output --partial 'is the module loaded?' # or it would be refused as a second agent
}

@test "a process that matches no service is refused with EACCES and reported to the host" {
	audit true >/dev/null
	vm_run cockpit -u mallory siv-check run "$URL" refused 13
	run audit '.verdict == "refused" and .reason == "no-service"'
	assert_output --partial '"reported_by":"cockpit"'
}

@test "a service that policy does not allow is refused with EACCES and logged" {
	audit true >/dev/null
	vm_run cockpit -u nobody siv-check run "$URL" refused 13
	run audit '.verdict == "refused" and .reason == "not-allowed"'
	assert_output --partial probe
	assert_output --partial check
}

@test "a VM that claims a service of another VM gets no certificate, and it is logged" {
	run jq -c 'select(.verdict == "refused" and .reason == "not-held")' "$SIV_AUDIT"
	assert_output --partial cockpit
	assert_output --partial cache
	run vm_run cockpit -u dash siv-check run "$URL" refused 13
	assert_success
}

@test "another user cannot listen as a service, or join its listener" {
	run vm_run adas -u mallory siv-check serve siv:///check
	assert_failure
	assert_output --partial 'Permission denied'
	run vm_run adas -u fusion siv-check serve siv:///check
	assert_failure
	assert_output --partial 'Permission denied'
}

@test "the same user cannot listen twice without SIVSHMEM_REUSEPORT" {
	run vm_run adas siv-check serve siv:///check
	assert_failure
	assert_output --partial 'Address already in use'
}

@test "nobody listening is ECONNREFUSED, an unknown VM EHOSTUNREACH" {
	vm_run cockpit siv-check run siv://adas/cache refused 111
	vm_run cockpit siv-check run siv://nowhere/check refused 113
}

@test "a peer's agent that does not answer is ETIMEDOUT, and leaves nothing behind" {
	vm_run adas 'kill -STOP $(pidof sivshmem-agent)'
	vm_run cockpit siv-check run "$URL" refused 110
	run siv_ctl status
	refute_output --regexp '[1-9][0-9]* on their way'
	vm_run adas 'kill -CONT $(pidof sivshmem-agent)'
	vm_run cockpit siv-check run "$URL" duplex 1
}

@test "an explanation names the line of policy" {
	run siv_ctl explain cockpit/dashboard "$URL"
	assert_success
	assert_output --partial host.conf
	run siv_ctl explain cockpit/probe "$URL"
	assert_equal "$status" 3
}

@test "no byte of a closed channel is left for the next one" {
	local marker=sivshmem-marker-4711-do-not-leave

	vm_job cockpit holder siv-check run "$URL" marker "$marker"
	vm_job_await_line cockpit holder written
	run grep -ao "$marker" "$(siv_link_memory)"
	assert_line --index 1 "$marker" # there, and the echo
	vm_job_kill cockpit holder
	vm_run cockpit siv-check run "$URL" duplex 1
	siv_await_no_channels
	run grep -ao "$marker" "$(siv_link_memory)"
	assert_output ''
}

@test "a record that claims more than is there resets its channel, and no other" {
	local channel length offset

	vm_job cockpit ping siv-check run "$URL" ping
	vm_job_await_line cockpit ping connected
	for length in '\xff\xff\xff\xff' '\x06\0\0\0' '\x11\0\0\0'; do
		vm_job cockpit held siv-check run "$URL" record-held 'eight...'
		vm_job_await_line cockpit held waiting
		channel=$(siv_newest_channel)
		# behind the two control pages and the area client -> server
		offset=$(jq '.offset + 8192 + .to_server_bytes' <<<"$channel")
		siv_scribble "$offset" "$length"
		vm_job_signal cockpit held USR1
		if [[ $length == '\x06'* ]]; then
			vm_job_await_line cockpit held 'recv: a record' # shorter is the peer's own affair
		else
			vm_job_await_line cockpit held 'recv: ECONNRESET'
		fi
		vm_job_wait cockpit held
	done
	vm_job_signal cockpit ping USR1
	vm_job_await_line cockpit ping 'pong 1'
	vm_job_signal cockpit ping TERM
	vm_job_wait cockpit ping
	siv_await_no_channels
}
