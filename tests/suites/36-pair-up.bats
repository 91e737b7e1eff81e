#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# A pair whose kernels see one possible CPU and patch their SMP atomics and fences away. The other
# VM is another CPU all the same: what is shared with it must not depend on them.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check

setup_file()
{
	siv_host
	vm_pair cockpit adas --up-kernel
	siv_guest cockpit
	siv_guest adas
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
}

teardown_file() { siv_teardown_file; }

check() { vm_run cockpit -t 300 siv-check run "$URL" "$@"; }

@test "the kernels have patched themselves for one CPU" {
	for vm in cockpit adas; do
		run vm_run "$vm" cat /sys/devices/system/cpu/possible
		assert_output 0
	done
}

@test "32 MiB each way at once in odd sizes arrive unchanged" { check duplex 32; }
@test "16 connections at once each carry their own bytes" { check many 16; }
@test "edge-triggered epoll loses no wake-up under load" { check epoll-edge 10; }
