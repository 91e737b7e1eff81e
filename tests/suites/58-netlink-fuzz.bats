#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The module's netlink against hostile and careless speakers (tests/guest/nlfuzz/), in one VM with two
# CPUs: no report of the kernel, no right where there is none, and everything works afterwards.
# NLFUZZ_SEED=N repeats the messages of a run, NLFUZZ_SECONDS=N (20) is for how long.

load ../vm/vm

LINK_BYTES=$((64 << 20)) # as siv-grantd has it

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
}

sockets() { vm_run one 'awk "/^SIVSHMEM/ { print \$3 }" /proc/net/protocols'; }

# A connection by the agent of other suites, which ends with an error unless all of it is closed again.
assert_works()
{
	vm_job one grantd siv-grantd
	vm_job_await_line one grantd '^ready$'
	vm_job one server siv-check serve siv://lab/check
	vm_job_await_line one server listening
	vm_run one siv-check run siv://lab/check duplex 4
	vm_job_kill one server
	vm_run one siv-faults settle lab
	vm_job_stop one grantd
}

# bats test_tags=smoke
@test "a link of more memory than there is is refused, and the kernel does not complain" {
	run vm_run one siv-nlfuzz refuse $((64 << 30))
	assert_output ENOMEM
	run vm_run one siv-nlfuzz refuse $((2 << 30))
	assert_output ENOMEM
	assert_works
}

# bats test_tags=smoke
@test "whatever is said, and by whom, who may not is refused, and who may does no harm" {
	local seconds=${NLFUZZ_SECONDS:-20}

	# who gets no answer goes on
	vm_run one 'echo 300 >/sys/module/af_sivshmem/parameters/upcall_timeout_ms'
	run vm_run one -t $((seconds + 120)) siv-nlfuzz --seconds "$seconds" --size "$LINK_BYTES" \
		${NLFUZZ_SEED:+--seed "$NLFUZZ_SEED"}
	assert_success
	echo "$output" >&2
	grep -E ' messages, | places of the module' <<<"$output" | sed 's/^/# /' >&3
	vm_run one 'echo 30000 >/sys/module/af_sivshmem/parameters/upcall_timeout_ms'
	vm_check_logs
}

@test "afterwards a connection is as good as before, and no socket is left" {
	assert_equal "$(sockets)" 0
	assert_works
	assert_equal "$(sockets)" 0
	vm_check_leaks one
}

@test "nothing holds the module" {
	run vm_run one cat /sys/module/af_sivshmem/refcnt
	assert_output 0
	vm_run one rmmod af_sivshmem
	vm_check_leaks one
}
