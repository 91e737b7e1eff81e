#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The differential matrix on the local link, in one VM with two CPUs: each case over AF_UNIX, TCP or
# AF_VSOCK and over the family, with a lab's agent that grants everything.

load ../vm/vm

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
	vm_job one grantd siv-grantd /tmp/ready
	vm_run one -t 30 'until [ -e /tmp/ready ]; do sleep 0.05; done'
}

# Prints what failed; a group without cases fails in siv-matrix.
group()
{
	vm_run one -t 300 siv-matrix run --subject siv://lab/matrix --group "$1" | grep -v '^ok '
	return "${PIPESTATUS[0]}"
}

@test "the table has at least 150 cases" {
	run vm_run one siv-matrix list
	assert_success
	((${#lines[@]} >= 150))
}

@test "connecting agrees with the oracles" { group connect; }
@test "listening and accepting agrees" { group listen; }
@test "sending and receiving agrees, flag by flag" { group stream; }
@test "vectors, names and several messages in a call agree" { group message; }
@test "bad memory loses nothing and sends nothing twice" { group memory; }
