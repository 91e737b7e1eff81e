#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Sealed channels on the local link, in one VM with two CPUs: the family's cases, as on plain ones,
# and what is refused there. From the environment: RANDOM_SECONDS for each storm (10).

load ../vm/vm

URL=siv://lab/check

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
	# a debug kernel may have been built without; the others have it, or that is what fails
	vm_kernel_seals one || { vm_kernel_has_checks; touch "$BATS_FILE_TMPDIR/no-sealing"; }
	vm_job one grantd siv-grantd --seal /tmp/ready
	vm_job one server sh -c 'until [ -e /tmp/ready ]; do sleep 0.05; done; exec siv-check serve '$URL
	vm_job_await_line one server listening
}

setup()
{
	[[ ! -e $BATS_FILE_TMPDIR/no-sealing ]] || skip "this kernel has no gcm(aes)"
}

check() { vm_run one -t 120 siv-check run "$URL" "$@"; }

# bats test_tags=smoke
@test "the socket says that it is sealed, and can neither be mapped nor be direct" { check sealed; }
# bats test_tags=smoke
@test "what is sent each way at once in odd sizes arrives unchanged" { check duplex "$(vm_load 32)"; }
@test "64 connections at once each carry their own bytes" { check many 64; }
@test "what was sent before close is read before the end" { check data-before-eof; }
@test "half a close ends one direction and leaves the other" { check half-close; }
@test "a peer that does not read any more gives EPIPE and SIGPIPE" { check peer-shut-rd; }
@test "a peer that closes with data unread gives ECONNRESET, and no end of file" { check peer-abort; }
@test "a direction ends in order while its ring is full" { check seal-full-end; }
@test "a reader that stops blocks the writer, and both go on" { check stalled-reader; }
@test "close with SO_LINGER waits for the peer to have read" { check linger; }
@test "many waiters on one socket get every byte once" { check many-waiters; }
@test "records of odd lengths and empty ones stay what they are" { check records 1000; }
@test "edge-triggered epoll loses no wake-up under load" { check epoll-edge 10; }
@test "poll, FIONREAD, SIOCOUTQ and MSG_PEEK agree" { check poll-bits; }
@test "vectors of odd pieces, MSG_WAITALL and MSG_TRUNC" { check vectors; }
@test "a bad pointer loses nothing and sends nothing twice" { check efault; }
@test "SO_RCVTIMEO ends a wait" { check timeouts; }
@test "keys are changed on the way, by streams and by records" { check seal-rekey; }

uring() { vm_run one -t 120 siv-uring run "$URL" "$@"; }

# bats test_tags=smoke
@test "io_uring: each form of sending goes with each of receiving" { uring forms; }
@test "io_uring: MSG_WAITALL gathers all, or what is there at the end" { uring waitall; }
@test "io_uring: a send with MSG_WAITALL waits for the peer to have read" { uring send-waitall; }
@test "io_uring: a send without it sends what fits, and nothing twice" { uring send-partial; }
@test "io_uring: with MSG_DONTWAIT what would wait is EAGAIN" { uring dontwait; }
@test "io_uring: a provided buffer is taken when there is something to receive" { uring provided; }
@test "io_uring: multishot recv brings a stream, and ends with ENOBUFS when buffers run out" { uring multishot; }
@test "io_uring: multishot recv of records gives one each" { uring records; }
@test "io_uring: a linked time-out ends a recv, which takes nothing later" { uring link-timeout; }
@test "io_uring: splice to a pipe and from one" { uring splice; }
@test "io_uring: a recv and a poll are cancelled, and take nothing later" { uring cancel; }
@test "io_uring: poll tells what is there, what comes, and the end" { uring poll; }
@test "io_uring: completions do not interrupt an operation that waits for its turn" { uring crowd "$(vm_load 200)"; }
@test "SEND_ZC of ordinary memory completes at once" { uring zc-copied; }

storm() # TYPE
{
	vm_run one -t 120 siv-random storm --type "$1" --path siv --seconds "${RANDOM_SECONDS:-10}" \
		--slow "${VM_SLOW:-1}" ${RANDOM_SEED:+--seed "$RANDOM_SEED"}
}

@test "many threads on streams with signals, forks and cuts lose no byte" { storm stream; }
@test "many threads on records with signals, forks and cuts lose no record" { storm seqpacket; }
