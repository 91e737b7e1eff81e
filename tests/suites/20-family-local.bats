#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The family on the local link, in one VM with two CPUs. Channels are granted by a lab's agent, so
# that nothing but the module is looked at.

load ../vm/vm

URL=siv://lab/check
SPIN_US=/sys/module/af_sivshmem/parameters/spin_us

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
	vm_job one grantd siv-grantd /tmp/ready
	vm_job one server sh -c 'until [ -e /tmp/ready ]; do sleep 0.05; done; exec siv-check serve '$URL
	vm_job_await_line one server listening
}

check() { vm_run one -t $((120 + ${DUPLEX_MIB:-0} / 4)) siv-check run "$URL" "$@"; }

@test "addresses that are none are refused before anybody is asked" { check bad-address; }
# bats test_tags=smoke
@test "names of both sides and the authenticated peer are told" { check names; }
# bats test_tags=smoke
@test "what is sent each way at once in odd sizes arrives unchanged" {
	check duplex "$(vm_load "${DUPLEX_MIB:-256}")"
}

@test "64 connections at once each carry their own bytes" { check many 64; }
@test "what was sent before close is read before the end" { check data-before-eof; }
# bats test_tags=smoke
@test "half a close ends one direction and leaves the other" { check half-close; }
@test "a peer that does not read any more gives EPIPE and SIGPIPE" { check peer-shut-rd; }
@test "a peer that closes with data unread gives ECONNRESET once" { check peer-abort; }
@test "a reader that stops blocks the writer, and both go on" { check stalled-reader; }
@test "close with SO_LINGER waits for the peer to have read" { check linger; }
@test "many waiters on one socket get every byte once" { check many-waiters; }
@test "records of odd lengths and empty ones stay what they are" { check records 1000; }
@test "edge-triggered epoll loses no wake-up under load" { check epoll-edge 20; }
@test "poll, FIONREAD, SIOCOUTQ and MSG_PEEK agree" { check poll-bits; }
@test "vectors of odd pieces, MSG_WAITALL and MSG_TRUNC" { check vectors; }
# bats test_tags=smoke
@test "a bad pointer loses nothing and sends nothing twice" { check efault; }
@test "a page that does not come holds up its own call alone" {
	vm_run one '[ -e /proc/sys/vm/unprivileged_userfaultfd ]' || skip "this kernel has no userfaultfd"
	check late-page
}
@test "a non-blocking connect is reported by poll" { check connect-nonblock; }
@test "a signal interrupts connect, and asking again completes it" { check connect-signal; }
@test "a listener that closes refuses or resets who is on the way" { check listener-closed; }
@test "a connect that is abandoned leaves nothing behind" { check connect-abandon; }
@test "descriptors and urgent data are refused" { check no-scm-rights; }
@test "SO_RCVTIMEO ends a wait" { check timeouts; }
@test "a smaller SO_RCVLOWAT makes ready who waits since before" { check lowat-lowered; }
@test "a poll for the next byte leaves a reader of several its wake-up" {
	vm_run one "echo 0 >$SPIN_US"
	check poll-beside-reader 15
	vm_run one "echo 200 >$SPIN_US"
}
@test "what ends a wait ends one that spins" { check spin-ends; }
@test "a reader with nothing to read leaves the CPU alone" { check spin-yields learned; }
@test "so does one that shall spin for ever, if somebody wants it" { check spin-yields asked; }
@test "a connection survives fork" { check fork; }
@test "a descriptor passed over AF_UNIX is the same connection" { check pass; }

@test "listeners with SIVSHMEM_REUSEPORT share a service, others are EADDRINUSE" { check reuseport; }
# bats test_tags=smoke
@test "SO_REUSEPORT is the same from kernel 6.8 on, and EOPNOTSUPP before" { check so-reuseport; }

@test "a full backlog is ECONNREFUSED until somebody accepts" { check backlog; }

@test "a connection wakes one of the workers that share a listener by EPOLLEXCLUSIVE" { check herd; }

@test "nobody listening is ECONNREFUSED" {
	vm_run one siv-check run siv://lab/nobody refused 111
}

@test "300 times connect and close leave no channel and no memory behind" {
	local before after

	check churn 50
	before=$(vm_run one 'grep -E "^SIVSHMEM" /proc/net/protocols' | awk '{ print $3 }')
	check churn 300
	after=$(vm_run one 'grep -E "^SIVSHMEM" /proc/net/protocols' | awk '{ print $3 }')
	assert_equal "$after" "$before"
}

@test "the module cannot go while a socket is open" {
	run vm_run one rmmod af_sivshmem
	assert_failure
}

@test "without an agent bind and connect are ENETDOWN, and open connections go on" {
	vm_job one ping siv-check run "$URL" ping
	vm_job_await_line one ping connected
	vm_job_kill one grantd
	vm_run one siv-check run "$URL" refused 100
	vm_job_signal one ping USR1
	vm_job_await_line one ping 'pong 1'
	vm_job_signal one ping TERM
	vm_job_wait one ping
}

# bats test_tags=smoke
@test "the module goes when all sockets are closed, and comes back" {
	vm_job_kill one server
	vm_run one 'rmmod af_sivshmem && modprobe af_sivshmem && rmmod af_sivshmem'
}
