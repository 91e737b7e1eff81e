#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The kernel's allocations fail, one after another and by chance: in the calls of the family, and in
# the commands of the agent. Every call fails with a clean errno or not at all, and nothing is left.

load ../vm/vm

setup_file()
{
	vm_kernel_has_checks || return 0 # and so have those no fault injection
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
	# allocations that could wait fail as well, of any size, and say nothing in the log
	vm_run one 'cd /sys/kernel/debug && for f in failslab fail_page_alloc fail_usercopy; do
		echo 0 >$f/verbose; echo 0 >$f/probability; echo -1 >$f/times; echo Y >$f/task-filter
		[ ! -e $f/ignore-gfp-wait ] || echo N >$f/ignore-gfp-wait
		[ ! -e $f/min-order ] || echo 0 >$f/min-order
	done'
}

setup()
{
	vm_kernel_has_checks || skip "this kernel has no fault injection: make check-debug"
	before=$(sockets)
}

teardown()
{
	vm_kernel_has_checks || return 0
	# what a test that failed left
	chance 0 || true
	vm_job_kill one grantd || true
	vm_check_logs
}

sockets() { vm_run one 'awk "/^SIVSHMEM/ { print \$3 }" /proc/net/protocols'; }

grantd() # [OPTION]
{
	vm_job one grantd siv-grantd "$@"
	vm_job_await_line one grantd '^ready$' 60
}

# The agent has its extents back, and the sockets are gone.
assert_nothing_left()
{
	vm_run one siv-faults settle lab
	vm_job_stop one grantd
	assert_equal "$(sockets)" "$before"
	vm_check_leaks one
}

# The share of allocations of tasks with make-it-fail that fail, in percent.
chance()
{
	vm_run one sh -c 'for f in failslab fail_page_alloc; do
		echo "$1" >/sys/kernel/debug/$f/probability; done' chance "$1"
}

@test "each call with each of its allocations failing" {
	grantd
	vm_run one -t 300 siv-faults calls lab
	assert_nothing_left
}

@test "the same with records" {
	grantd
	vm_run one -t 300 siv-faults calls lab seqpacket
	assert_nothing_left
}

@test "each of the agent's commands with each of its allocations failing" {
	grantd --fail-nth
	vm_run one -t 300 siv-faults connects lab 200
	assert_nothing_left
	# every command that it sends came to its last fault, RESET too, which follows a failed GRANT
	for cmd in REGISTER LINK_GET LINK_SET PULL LISTENER GRANT "GRANT of the server" ANSWER RESET; do
		run grep "^$cmd: " "$(vm_job_dir one grantd)/out"
		assert_output --regexp "^$cmd: [1-9][0-9]* faults"
	done
}

@test "connects while allocations of processes fail by chance" {
	grantd
	chance 5
	vm_run one -t 120 siv-faults storm lab 10
	chance 0
	assert_nothing_left
}

@test "connects while allocations of processes and the agent fail by chance" {
	grantd
	vm_run one 'echo 1 >/proc/$(pidof siv-grantd)/make-it-fail'
	chance 3
	vm_run one -t 120 siv-faults storm lab 10 agent
	chance 0
	assert_nothing_left
}

@test "the module goes after all that" {
	vm_run one rmmod af_sivshmem
	vm_check_leaks one
}
