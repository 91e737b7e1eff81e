#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The harness proves its own instruments, before anything else is measured with them.

bats_require_minimum_version 1.5.0
load ../vm/vm

setup_file()
{
	vm_pair cockpit adas --reboot
}

@test "exit codes pass through" {
	local code

	for code in 0 1 42 255; do
		run vm_run cockpit "exit $code"
		assert_equal "$status" "$code"
	done
	run vm_run cockpit 'kill -TERM $$'
	assert_equal "$status" $((128 + 15))
}

@test "a program that the guest does not have is 127, one that it cannot run 126" {
	run -127 vm_run cockpit no-such-program argument
	run vm_run cockpit /etc/passwd argument
	assert_equal "$status" 126
}

@test "standard output and error arrive apart and complete" {
	vm_run cockpit 'echo out; echo err >&2' >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
	assert_equal "$(<"$BATS_TEST_TMPDIR/out")" out
	assert_equal "$(<"$BATS_TEST_TMPDIR/err")" err
}

@test "arguments arrive as they are given" {
	run vm_run cockpit printf '<%s>' 'a b' '' '$HOME' "it's" '*'
	assert_output '<a b><><$HOME><it'\''s><*>'
}

@test "a file goes in and comes out unchanged" {
	head -c 3000001 /dev/urandom >"$BATS_TEST_TMPDIR/file"
	chmod 751 "$BATS_TEST_TMPDIR/file"
	vm_put cockpit "$BATS_TEST_TMPDIR/file" /tmp/file
	run vm_run cockpit stat -c %a /tmp/file
	assert_output 751
	vm_get cockpit /tmp/file "$BATS_TEST_TMPDIR/back"
	cmp "$BATS_TEST_TMPDIR/file" "$BATS_TEST_TMPDIR/back"
	vm_run cockpit rm /tmp/file
}

@test "a reader that stops early does not hang the command or the channel" {
	run bash -c "'$VMEXEC' -t 30 '$VM_RUN/cockpit/exec' cat /dev/zero | head -c 1000000 | wc -c"
	assert_output 1000000
	vm_run cockpit true
}

@test "a command that does not read its input ends all the same" {
	head -c 5000000 /dev/zero | vm_run cockpit -i 'head -c 10 >/dev/null'
}

@test "commands run side by side in one VM" {
	vm_job cockpit reader 'mkfifo /tmp/fifo; cat /tmp/fifo; rm /tmp/fifo'
	vm_job cockpit bystander sleep 1000
	# opening the fifo waits for its reader: a rendezvous, whoever comes first
	vm_run cockpit 'while [ ! -p /tmp/fifo ]; do :; done; echo through the fifo >/tmp/fifo'
	vm_job_wait cockpit reader 10
	assert_equal "$(<"$(vm_job_dir cockpit reader)/out")" "through the fifo"
	run vm_job_stop cockpit bystander
	assert_equal "$status" $((128 + 15))
}

@test "a time-out kills the command and everything in its process group" {
	run vm_run cockpit -t 1 'sleep 7654 & sleep 7654'
	assert_equal "$status" 124
	run vm_run cockpit pgrep -f 'sleep 765[4]'
	assert_equal "$status" 1
}

@test "a client that is killed takes its command with it" {
	vm_job cockpit doomed 'echo started; exec sleep 8765'
	vm_job_await_line cockpit doomed started
	vm_run cockpit pgrep -f 'sleep 876[5]'
	vm_job_kill cockpit doomed
	# frames keep their order, so the kill is there before this
	run vm_run cockpit pgrep -f 'sleep 876[5]'
	assert_equal "$status" 1
}

@test "a job is awaited by its end, its line and its signal" {
	vm_job cockpit waiter 'trap "echo caught; exit 9" USR1; echo ready; while :; do sleep 0.1; done'
	run vm_job_await_line cockpit waiter '^rea.y$' 10
	assert_output ready
	run vm_job_wait cockpit waiter 1
	assert_equal "$status" 124
	vm_job_signal cockpit waiter USR1
	run vm_job_wait cockpit waiter 10
	assert_equal "$status" 9
	run vm_job_await_line cockpit waiter caught
	assert_success
	run vm_job_await_line cockpit waiter "never printed"
	assert_equal "$status" 1
}

@test "a command gets a terminal when it is asked for" {
	run "$VMEXEC" -t 10 -p "$VM_RUN/cockpit/exec" sh -c 'test -t 0 && test -t 1 && echo yes' </dev/null
	assert_output --partial yes
}

@test "a command runs as the user named" {
	run vm_run cockpit -u mallory id -un
	assert_output mallory
}

@test "the pair reaches each other over virtio-net" {
	vm_run cockpit ping -c 1 -w 10 192.168.77.2
	vm_run adas ping -c 1 -w 10 192.168.77.1
}

@test "a kernel report fails the check, once, and an ordinary message does not" {
	vm_run adas 'echo "<6>all is well" >/dev/kmsg'
	klog_check adas
	vm_run adas 'echo "<4>WARNING: CPU: 0 PID: 1 at nowhere.c:1 nothing+0x0/0x0" >/dev/kmsg'
	run klog_check adas
	assert_failure
	assert_output --partial "WARNING: CPU: 0 PID: 1 at nowhere.c:1"
	klog_check adas
}

@test "every kind of kernel report is recognised" {
	local line

	while IFS= read -r line; do
		vm_run adas sh -c 'echo "<4>$1" >/dev/kmsg' report "$line"
		run klog_check adas
		assert_failure
	done <<-END
		BUG: KASAN: slab-use-after-free in f+0x0/0x0
		BUG: KCSAN: data-race in siv_poll [af_sivshmem] / siv_shutdown [af_sivshmem]
		INFO: lockdep is turned off.
		WARNING: possible circular locking dependency detected
		WARNING: suspicious RCU usage
		UBSAN: array-index-out-of-bounds in x.c:1:1
		INFO: task redis-server:99 blocked for more than 10 seconds.
		kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
		general protection fault, probably for non-canonical address 0x0
		Oops: 0000 [#1] PREEMPT SMP
		refcount_t: underflow; use-after-free.
		rcu: INFO: rcu_preempt self-detected stall on CPU
	END
}

@test "a data race is the kernel's own, or has the module in one of its stacks and fails" {
	local line rule="=================================================================="

	for line in "$rule" "BUG: KCSAN: data-race in tick / tock" " tick+0x1/0x2" "$rule"; do
		vm_run adas sh -c 'echo "<4>$1" >/dev/kmsg' report "$line"
	done
	klog_check adas
	for line in "$rule" "BUG: KCSAN: data-race in tick / tock" " siv_poll+0x1/0x2 [af_sivshmem]" "$rule"; do
		vm_run adas sh -c 'echo "<4>$1" >/dev/kmsg' report "$line"
	done
	run klog_check adas
	assert_failure
	assert_output --partial siv_poll
}

@test "a hung task is reported after ten seconds" {
	run vm_run adas cat /proc/sys/kernel/hung_task_timeout_secs
	assert_output 10
}

@test "a guest that resets inside its QEMU is noticed and used again" {
	local before after qemu

	before=$(vm_run adas cat /proc/sys/kernel/random/boot_id)
	qemu=$(vm_qemu_pid adas)
	vm_job adas lost sleep 1000
	vm_reboot_inside adas
	run vm_job_wait adas lost 10
	assert_equal "$status" 255
	after=$(vm_run adas cat /proc/sys/kernel/random/boot_id)
	assert_not_equal "$before" "$after"
	assert_equal "$(vm_qemu_pid adas)" "$qemu"
	vm_run adas ping -c 1 -w 10 192.168.77.1
}

@test "a VM that is killed ends its commands, and boots again" {
	vm_job adas lost 'echo up; exec sleep 1000'
	vm_job_await_line adas lost up
	vm_kill adas
	run vm_job_wait adas lost 10
	assert_equal "$status" 255
	run vm_run adas true
	assert_equal "$status" 255
	vm_restart adas
	vm_run adas ping -c 1 -w 10 192.168.77.1
}

@test "a panic ends a VM that may not reset, and is reported" {
	vm_boot victim
	run vm_run victim 'echo c >/proc/sysrq-trigger; sleep 1000'
	assert_equal "$status" 255
	vm_await_end victim
	run klog_check victim
	assert_failure
	assert_output --partial "sysrq triggered crash"
}

@test "descendants that outlive their suite are named and killed" {
	run "$VM_BUILD/bin/guard" 10 bash -c 'setsid sleep 5432 & sleep 0'
	assert_equal "$status" 123
	assert_output --partial "left running"
	run pgrep -f 'sleep 543[2]'
	assert_failure
}

@test "a time limit ends a suite that hangs" {
	run "$VM_BUILD/bin/guard" 1 sleep 6543
	assert_equal "$status" 124
}
