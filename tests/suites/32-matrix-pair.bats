#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The differential matrix between two VMs: each case over AF_UNIX, TCP or AF_VSOCK inside cockpit, and
# over the family from cockpit to adas. The sides meet over TCP. Cases that need listeners or services
# that policy does not give cockpit run on the local link alone.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

CONTROL=4711

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	vm_job adas server siv-matrix serve --control "$CONTROL" --subject siv:///check
	vm_job_await_line adas server listening
}

teardown_file() { siv_teardown_file; }

# Prints the cases that do not agree, with both transcripts; no case at all fails as well.
group() # NAME
{
	local code=0

	vm_run cockpit -t 300 siv-matrix run --subject siv://adas/check \
		--peer "192.168.77.2:$CONTROL" --group "$1" >"$BATS_TEST_TMPDIR/tap" || code=$?
	grep -v '^ok ' "$BATS_TEST_TMPDIR/tap"
	return "$code"
}

@test "connecting agrees" { group connect; }
@test "listening and accepting agree" { group listen; }
@test "sending and receiving agree, flag by flag" { group stream; }
@test "vectors, names and several messages in one call agree" { group message; }
@test "bad memory loses nothing and sends nothing twice" { group memory; }
@test "records agree" { group seqpacket; }
@test "poll and select agree in each state" { group poll; }
@test "epoll agrees, by level and by edge" { group epoll; }
@test "shutdown agrees, each way, by either side" { group shutdown; }
@test "close agrees, with and without data unread" { group close; }
@test "options and ioctls agree" { group options; }
@test "fork, dup, exec and passed descriptors agree" { group process; }
@test "splice and sendfile agree" { group splice; }

@test "no channel is left" { siv_await_no_channels; }
