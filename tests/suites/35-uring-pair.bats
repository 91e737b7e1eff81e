#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# io_uring between two VMs, every real part in place: the cases of 26-uring-local that have a peer,
# and the examples.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
	zc_seconds 600 # or it would end what another rule must
}

teardown_file() { siv_teardown_file; }

uring() { vm_run cockpit -t 300 siv-uring run "$URL" "$@"; }
zc_seconds() { vm_run cockpit "echo $1 >/sys/module/af_sivshmem/parameters/zc_seconds"; }

@test "each form of sending goes with each of receiving" { uring forms; }
@test "a send with MSG_WAITALL waits for the peer to have read" { uring send-waitall; }
@test "a send without it sends what fits, and nothing twice" { uring send-partial; }
@test "multishot recv brings a stream, and ends with ENOBUFS when buffers run out" { uring multishot; }
@test "multishot recv is woken by each message" { uring multishot-ping; }
@test "multishot recv of records gives one each" { uring records; }
@test "a chain runs in its order, and breaks where one fails" { uring chain; }
@test "a linked time-out ends a recv, which takes nothing later" { uring link-timeout; }
@test "splice to a pipe and from one" { uring splice; }
@test "a recv and a poll are cancelled, and take nothing later" { uring cancel; }
@test "a multishot poll tells of each arrival" { uring poll-multishot; }
@test "a socket is made, connected, used, shut down and closed on the ring" { uring life; }
@test "a connect that is refused says why" { uring connect-fails 13; }
@test "a connect is cancelled, and nothing is left of it" {
	uring cancel-connect
	siv_await_no_channels
}
@test "a reset ends everything that waits" { uring reset; }

@test "SEND_ZC of ordinary memory completes at once" { uring zc-copied; }
@test "SEND_ZC in place completes when the peer has read" { uring zc-in-place; }
@test "the 257th in place is ENOBUFS until one is done" { uring zc-too-many; }
@test "in place and copies mixed on one socket arrive unchanged" { uring zc-mixed "$(vm_load 16)"; }
@test "records in place come back as they were" { uring zc-records; }
@test "what was read in place is released on the ring" { uring zc-release; }
@test "the library's entries send and release in place" { uring helper-echo; }
@test "a peer that reads no more completes what is open" { uring zc-peer-shut-rd; }
@test "a reset completes what is open" { uring zc-reset; }

@test "a peer that never reads is waited for zc_seconds, by exec and exit too" {
	zc_seconds 1
	uring zc-time-out
	uring zc-exec
	uring zc-exit
	uring zc-killed
	siv_await_no_channels
}

@test "siv-uring-echo and siv-uring-stream between two VMs" {
	vm_job_kill adas server
	vm_job adas echo siv-uring-echo siv:///check
	vm_job_await_line adas echo listening
	vm_run cockpit siv-echo "$URL" -n "$(vm_load 100)" -s 1000000
	vm_job_kill adas echo

	vm_run cockpit 'head -c 9000001 /dev/urandom >/tmp/file'
	vm_job adas cat sh -c 'exec siv-cat --listen siv:///check >/tmp/got'
	# until somebody listens
	vm_run cockpit "until siv-uring-stream $URL /tmp/file; do
		[ \$((n += 1)) -lt 100 ] || exit 1; sleep 0.1; done"
	vm_job_wait adas cat
	assert_equal "$(vm_run adas sha256sum /tmp/got | cut -d' ' -f1)" \
		"$(vm_run cockpit sha256sum /tmp/file | cut -d' ' -f1)"
}

@test "a VM that dies ends everything that waits, completions of zero copy too" {
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
	zc_seconds 600
	vm_job cockpit lost siv-uring run "$URL" link-lost
	vm_job_await_line cockpit lost waiting
	vm_kill adas
	vm_job_wait cockpit lost 20
}
