#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# io_uring on the local link, in one VM with two CPUs: each case on rings of several kinds. Channels
# are granted by a lab's agent, so that nothing but the module is looked at.

load ../vm/vm

URL=siv://lab/check
ZC_SECONDS=/sys/module/af_sivshmem/parameters/zc_seconds

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
	vm_job one grantd siv-grantd /tmp/ready
	vm_job one server sh -c 'until [ -e /tmp/ready ]; do sleep 0.05; done; exec siv-check serve '$URL
	vm_job_await_line one server listening
	zc_seconds 600 # or it would end what another rule must
}

uring() { vm_run one -t 120 siv-uring run "$URL" "$@"; }
accepts() { vm_run one -t 120 siv-uring run siv://lab/uring "$@"; }
zc_seconds() { vm_run one "echo $1 >$ZC_SECONDS"; }
sockets() { vm_run one 'awk "/^SIVSHMEM/ { print \$3 }" /proc/net/protocols'; }

# rings end after their process, in the kernel
await_sockets() # NUMBER
{
	vm_run one -t 30 "until [ \"\$(awk '/^SIVSHMEM/ { print \$3 }' /proc/net/protocols)\" = $1 ]; do
		sleep 0.1; done"
}

# bats test_tags=smoke
@test "each form of sending goes with each of receiving" { uring forms; }
@test "MSG_WAITALL gathers all, or what is there at the end" { uring waitall; }
@test "a send with MSG_WAITALL waits for the peer to have read" { uring send-waitall; }
@test "a send without it sends what fits, and nothing twice" { uring send-partial; }
@test "with MSG_DONTWAIT what would wait is EAGAIN" { uring dontwait; }
@test "a provided buffer is taken when there is something to receive" { uring provided; }
# bats test_tags=smoke
@test "multishot recv brings a stream, and ends with ENOBUFS when buffers run out" { uring multishot; }
@test "multishot recv is woken by each message" { uring multishot-ping; }
@test "multishot recv of records gives one each" { uring records; }
@test "a chain runs in its order, and breaks where one fails" { uring chain; }
@test "a linked time-out ends a recv, which takes nothing later" { uring link-timeout; }
@test "registered files live on without their number" { uring registered; }
@test "splice to a pipe and from one" { uring splice; }

@test "a recv and a poll are cancelled, and take nothing later" { uring cancel; }
@test "cancelling by descriptor ends all of one socket" { uring cancel-all; }
@test "a multishot recv that is cancelled ends once" { uring cancel-multishot; }
@test "poll tells what is there, what comes, and the end" { uring poll; }
@test "a multishot poll tells of each arrival" { uring poll-multishot; }
# bats test_tags=smoke
@test "a socket is made, connected, used, shut down and closed on the ring" { uring life; }
@test "a connect that is refused says why" { uring connect-fails 111; }
@test "a connect is cancelled" { uring cancel-connect; }
@test "a reset ends everything that waits" { uring reset; }
@test "completions do not interrupt an operation that waits for its turn" { uring crowd; }

@test "accept waits, and tells the peer" { accepts accept; }
@test "one multishot accept takes many" { accepts accept-multishot; }
@test "accept into the ring's own table" { accepts accept-direct; }
@test "an accept that is cancelled takes no connection" { accepts accept-cancel; }
@test "shutdown of a listener ends its accepts" { accepts accept-shutdown; }

@test "SEND_ZC of ordinary memory completes at once" { uring zc-copied; }
# bats test_tags=smoke
@test "SEND_ZC in place completes when the peer has read" { uring zc-in-place; }
@test "SEND_ZC from elsewhere in the window is EINVAL" { uring zc-elsewhere; }
@test "the 257th in place is ENOBUFS until one is done" { uring zc-too-many; }
# bats test_tags=smoke
@test "in place and copies mixed on one socket arrive unchanged" { uring zc-mixed "$(vm_load 8)"; }
@test "records in place come back as they were" { uring zc-records; }
@test "what was read in place is released on the ring" { uring zc-release; }
@test "shutdown completes what is open" { uring zc-shutdown; }
@test "a peer that reads no more completes what is open" { uring zc-peer-shut-rd; }
@test "a reset completes what is open" { uring zc-reset; }
@test "close completes what is open" { uring zc-close; }
@test "a send that fails has both completions, or one that says so" { uring zc-epipe; }

@test "the library's entries send and release in place" { uring helper-echo; }
@test "the library's entries are refused where they cannot be right" { uring helper-refused; }

@test "siv-uring-echo gives back what many clients send at once" {
	local i clients=''

	vm_job one echo siv-uring-echo siv://lab/echo
	vm_job_await_line one echo listening
	vm_run one siv-echo siv://lab/echo -n "$(vm_load 200)" -s 1000000
	for i in 1 2 3 4 5 6 7 8; do
		clients+="siv-echo siv://lab/echo -n 300 -s $((i * 977)) & pids=\"\$pids \$!\"; "
	done
	vm_run one "$clients for p in \$pids; do wait \$p || exit 1; done"
	vm_job_kill one echo
}

@test "siv-uring-stream brings a file unchanged, from files of odd sizes too" {
	local size

	vm_run one 'head -c 9000001 /dev/urandom >/tmp/whole'
	for size in 9000001 0 1 4096 32769; do
		vm_run one "head -c $size /tmp/whole >/tmp/file; rm -f /tmp/got"
		vm_job one cat sh -c 'exec siv-cat --listen siv://lab/file >/tmp/got'
		vm_run one 'until siv-uring-stream siv://lab/file /tmp/file; do # until somebody listens
			[ $((n += 1)) -lt 100 ] || exit 1; sleep 0.1; done'
		vm_job_wait one cat
		vm_run one 'cmp /tmp/file /tmp/got'
	done
}

@test "a peer that never reads is waited for zc_seconds" {
	zc_seconds 1
	uring zc-time-out
}

@test "exec, exit and kill with completions open end, and leave nothing" {
	local before

	zc_seconds 1
	before=$(sockets)
	uring zc-exec
	uring zc-exit
	uring zc-killed
	await_sockets "$before"
}

@test "the module goes when all rings and sockets are closed" {
	vm_job_kill one server
	vm_job_kill one grantd
	await_sockets 0
	vm_run one 'rmmod af_sivshmem && modprobe af_sivshmem && rmmod af_sivshmem'
}
