#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# libsivshmem's mapped channels over real ones, by its example: a producer in one VM and a consumer in
# the other, and both in one VM. Each waits 20 s for the other's next step at most, so that a lost
# wake-up is a failure.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
}

teardown_file() { siv_teardown_file; }

consumer() # OPTION...
{
	vm_job adas consumer siv-mapped --listen --timeout 20 "$@" siv:///check
	vm_job_await_line adas consumer '^listening$'
}

produce() # OPTION...
{
	vm_run cockpit -t 200 siv-mapped --timeout 20 "$@" siv://adas/check
}

consumed() # BYTES
{
	vm_job_wait adas consumer
	vm_job_await_line adas consumer "^$1 bytes came as they were sent$"
}

# bats test_tags=smoke
@test "what a producer writes in place arrives, positions moved by the processes" {
	consumer
	produce --count "$(vm_load 800000)"
	consumed $(($(vm_load 800000) * 64))
}

@test "messages of an odd size near the ring's, which wrap" {
	consumer
	produce --count "$(vm_load 4000)" --size 65535
	consumed $(($(vm_load 4000) * 65535))
}

# bats test_tags=smoke
@test "the same with the kernel's positions, on one side and on both" {
	consumer --indirect
	produce --count "$(vm_load 40000)"
	consumed $(($(vm_load 40000) * 64))
	consumer
	produce --indirect --count "$(vm_load 40000)" --size 1001
	consumed $(($(vm_load 40000) * 1001))
	consumer --indirect
	produce --indirect --count "$(vm_load 40000)" --size 333
	consumed $(($(vm_load 40000) * 333))
}

# bats test_tags=smoke
@test "records, direct and not" {
	consumer --records
	produce --records --count "$(vm_load 100000)" --size 77
	consumed $(($(vm_load 100000) * 77))
	consumer --records --indirect
	produce --records --indirect --count "$(vm_load 20000)" --size 1003
	consumed $(($(vm_load 20000) * 1003))
}

@test "a consumer that sleeps is woken by each message of a producer that pauses" {
	consumer
	produce --count 300 --pause 20000
	consumed $((300 * 64))
	consumer --indirect --records
	produce --indirect --records --count 100 --pause 20000
	consumed $((100 * 64))
}

@test "inside one VM, over the local link, with one CPU for both" {
	consumer
	vm_run adas -t 200 -u fusion siv-mapped --timeout 20 --count "$(vm_load 100000)" siv://adas/check
	consumed $(($(vm_load 100000) * 64))
}

producer_job() # OPTION...
{
	vm_job cockpit producer siv-mapped "$@" siv://adas/check
	vm_job_await_line cockpit producer '^mapped$'
}

@test "a consumer that is killed ends its producer with an error and no signal" {
	local mode

	for mode in '' --indirect; do
		consumer
		producer_job $mode --timeout 20 --count 100000000
		vm_job_kill adas consumer
		run vm_job_wait cockpit producer
		assert_failure 1
	done
}

@test "a VM that is killed ends a consumer that sleeps, with ECONNRESET" {
	vm_job adas consumer siv-mapped --listen siv:///check
	vm_job_await_line adas consumer '^listening$'
	producer_job --pause 500000
	vm_kill cockpit
	run vm_job_wait adas consumer
	assert_failure 1
	run cat "$(vm_job_dir adas consumer)/err"
	assert_output --partial "the peer's VM is gone, or the channel was reset"
}
