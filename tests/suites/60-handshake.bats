#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Certificates that must not be taken, presented by an agent that is real but for them. Each is
# refused with its errno, by either side, with an audit line, and nothing is left behind.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check
EKEYEXPIRED=127
EKEYREJECTED=129

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
	for vm in cockpit adas; do
		vm_put "$vm" "$VM_RUN/state/ca.pem" /tmp/ca.pem
	done
}

teardown_file() { siv_teardown_file; }

lab_agent() # VM WHAT
{
	vm_job_kill "$1" agent
	vm_job "$1" agent env SIV_LAB="$2" SIV_LAB_CA=/tmp/ca.pem \
		lab-agent --config /etc/sivshmem/agent.conf --log-level debug --ready-fd 1
	vm_job_await_line "$1" agent '^ready$' "$SIV_READY_SECONDS"
}

honest_agent() # VM
{
	vm_job_kill "$1" agent
	siv_agent_start "$1"
}

# refused_by VM WHAT ERRNO REASON: the agent of VM presents WHAT.
refused_by()
{
	local lines

	lab_agent "$1" "$2"
	lines=$(wc -l <"$SIV_AUDIT")
	vm_run cockpit siv-check run "$URL" refused "$3"
	run jq -c "select(.verdict == \"refused\" and .reason == \"$4\")" \
		<(tail -n +"$((lines + 1))" "$SIV_AUDIT")
	assert_output --partial '"peer_service":"check"'
	run siv_ctl status
	assert_output --partial '0 on their way'
	refute_output --regexp '[1-9][0-9]* on their way'
	assert_output --partial 'link cockpit--adas: up'
	refute_output --regexp 'cockpit--adas:.* [1-9][0-9]* channels'
	honest_agent "$1"
	vm_run cockpit siv-check run "$URL" duplex 1
}

@test "a server's certificate from another CA" { refused_by adas other-ca $EKEYREJECTED certificate; }
@test "a server's certificate that is expired" { refused_by adas expired $EKEYEXPIRED expired; }
@test "a server's certificate that is not valid yet" { refused_by adas future $EKEYREJECTED certificate; }
@test "a server's certificate for another service" {
	refused_by adas san=spiffe://car.example/vm/adas/service/cache $EKEYREJECTED certificate
}
@test "a server's certificate for the same service of another VM" {
	refused_by adas san=spiffe://car.example/vm/cockpit/service/check $EKEYREJECTED certificate
}
@test "a client's certificate from another CA" { refused_by cockpit other-ca $EKEYREJECTED certificate; }
@test "a client's certificate that is expired" { refused_by cockpit expired $EKEYEXPIRED expired; }
@test "a client's certificate for another service" {
	refused_by cockpit san=spiffe://car.example/vm/cockpit/service/probe $EKEYREJECTED certificate
}
