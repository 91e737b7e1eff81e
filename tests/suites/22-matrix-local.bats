#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The differential matrix on the local link, in one VM with two CPUs: each case over AF_UNIX, TCP or
# AF_VSOCK and over the family, with a lab's agent that grants everything. What one returns, the
# other must.

load ../vm/vm

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
	vm_job one grantd siv-grantd /tmp/ready
	vm_run one -t 30 'until [ -e /tmp/ready ]; do sleep 0.05; done'
}

# Prints the cases that do not agree, with both transcripts; no case at all fails as well.
group() # NAME
{
	local code=0

	vm_run one -t 300 siv-matrix run --subject siv://lab/matrix --group "$1" >"$BATS_TEST_TMPDIR/tap" ||
		code=$?
	grep -v '^ok ' "$BATS_TEST_TMPDIR/tap"
	return "$code"
}

@test "the table has at least 150 cases" {
	run vm_run one siv-matrix list
	assert_success
	((${#lines[@]} >= 150))
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
