#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Mapped channels on the local link, in one VM with two CPUs: what a process may map, what it can do
# there, and how it ends.

load ../vm/vm

URL=siv://lab/check

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
	vm_job one grantd siv-grantd /tmp/ready
	vm_job one server sh -c 'until [ -e /tmp/ready ]; do sleep 0.05; done; exec siv-check serve '$URL
	vm_job_await_line one server listening
}

check() { vm_run one -t 120 siv-check run "$URL" "$@"; }

# bats test_tags=smoke
@test "only whole windows of the own channel, with their rights, and no way to more" { check map-rights; }
@test "a child has no mapping of its parent's, and maps for itself" { check map-fork; }
# bats test_tags=smoke
@test "what is written in place, and copies between it, arrive as one stream" {
	check map-in-place "$(vm_load 32)"
}
@test "sends from elsewhere in the window are EINVAL and send nothing" { check map-elsewhere; }
# bats test_tags=smoke
@test "a process moves both positions, and the kernel goes on from there" {
	check map-direct "$(vm_load 32)"
}
@test "records are sent and released in place" { check map-records; }
@test "a wait ends at its deadline, by a signal and with the connection" { check map-wait; }
@test "who breaks his own ring loses his channel, and reads zeros without a signal" { check map-violation; }
@test "scribbling over all that may be written harms nobody else" {
	vm_job one other siv-check run "$URL" duplex "$(vm_load 64)"
	check map-scribble 20
	vm_job_wait one other
}
