#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Unmodified programs over the shim: stock redis-server in one VM, stock redis-cli and
# redis-benchmark in the other, by a TCP rule and by a UNIX rule.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

TCP_RULE='tcp:192.168.77.2:6379=siv://adas/cache'
UNIX_RULE='unix:/tmp/redis.sock=siv://adas/cache'

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
}

teardown_file() { siv_teardown_file; }

# redis_start RULE ARGUMENT...: the stock server under the shim, as its own user
redis_start()
{
	local rule=$1

	shift
	vm_job adas redis -u redis sh -c "umask 0; exec sivshmem-run --rule '$rule; peer cockpit = 192.168.77.1' redis-server --dir /tmp --save '' --protected-mode no $*"
	vm_job_await_line adas redis '[Rr]eady to accept connections'
}

redis_stop()
{
	vm_job_stop adas redis
}

cli() # RULE ARGUMENT...
{
	vm_run cockpit -t 120 sivshmem-run --rule "$1" "${@:2}"
}

@test "redis by a TCP rule: commands, and who the server sees" {
	redis_start "$TCP_RULE" --bind 192.168.77.2 --port 6379
	run cli "$TCP_RULE" redis-cli -h 192.168.77.2 set greeting 'hello world'
	assert_output OK
	run cli "$TCP_RULE" redis-cli -h 192.168.77.2 get greeting
	assert_output 'hello world'
	run cli "$TCP_RULE" redis-cli -h 192.168.77.2 client list
	assert_output --partial 'addr=192.168.77.1:'
	run siv_ctl --json status
	assert_output --partial '"granted"'
}

@test "nothing of it went over TCP: no such socket exists in the server's VM" {
	run vm_run adas 'ss -tlnH'
	refute_output --partial 6379
}

@test "BGSAVE forks while clients write, and every write is there" {
	vm_job cockpit load sivshmem-run --rule "$TCP_RULE" redis-benchmark -h 192.168.77.2 -t set -n 3000 -r 100000 -c 4 -d 100
	cli "$TCP_RULE" redis-cli -h 192.168.77.2 set before-save 1
	run cli "$TCP_RULE" redis-cli -h 192.168.77.2 bgsave
	assert_output --partial 'Background saving started'
	vm_job_await_line adas redis 'Background saving terminated with success'
	vm_job_wait cockpit load 120
	run cli "$TCP_RULE" redis-cli -h 192.168.77.2 get before-save
	assert_output 1
	vm_run adas 'test -s /tmp/dump.rdb'
}

@test "the process of another user is refused with EACCES by an unmodified client" {
	run vm_run cockpit -u nobody sivshmem-run --rule "$TCP_RULE" redis-cli -h 192.168.77.2 ping
	assert_failure
	assert_output --partial 'Permission denied'
	redis_stop
}

@test "a refusal does not fall back to TCP, although a plain server listens there" {
	vm_job adas plain -u redis redis-server --dir /tmp --save '' --protected-mode no --bind 192.168.77.2 --port 6379
	vm_job_await_line adas plain 'Ready to accept connections'
	run vm_run cockpit -u nobody sivshmem-run --rule "$TCP_RULE fallback" redis-cli -h 192.168.77.2 ping
	assert_failure
	refute_output --partial PONG
	run vm_run cockpit redis-cli -h 192.168.77.2 ping
	assert_output PONG
	vm_job_stop adas plain
}

@test "redis by a UNIX rule on both sides" {
	redis_start "$UNIX_RULE" --port 0 --unixsocket /tmp/redis.sock --unixsocketperm 777
	run cli "$UNIX_RULE" redis-cli -s /tmp/redis.sock set over unix
	assert_output OK
	run cli "$UNIX_RULE" redis-cli -s /tmp/redis.sock get over
	assert_output unix
	redis_stop
}

@test "a client that is registered with epoll before connect loses no event" {
	vm_job adas echo -u redis sivshmem-run --rule "$TCP_RULE" preload_server tcp:192.168.77.2:6379
	vm_job_await_line adas echo ready
	cli "$TCP_RULE" preload_epoll tcp:192.168.77.2:6379
	cli "$TCP_RULE" preload_epoll --edge tcp:192.168.77.2:6379
}

@test "fork and exec with the socket open: getpeername still answers" {
	cli "$TCP_RULE" preload_fork tcp:192.168.77.2:6379
	vm_job_kill adas echo
}

@test "a static program is refused: the shim would have no effect" {
	run vm_run cockpit sivshmem-run --rule "$TCP_RULE" busybox true
	assert_equal "$status" 126
}

@test "a rule that is wrong stops the program before it starts" {
	run vm_run cockpit sivshmem-run --rule 'tcp:192.168.77.2=siv://adas/cache' redis-cli ping
	assert_equal "$status" 78
}

@test "without the module a rule with fallback uses the plain endpoint, and says so" {
	vm_job adas plain -u redis redis-server --dir /tmp --save '' --protected-mode no --bind 192.168.77.2 --port 6379
	vm_job_await_line adas plain 'Ready to accept connections'
	vm_job_kill cockpit agent
	vm_run cockpit 'rmmod af_sivshmem'
	run cli "$TCP_RULE fallback" redis-cli -h 192.168.77.2 ping
	assert_output --partial PONG
	run cli "$TCP_RULE" redis-cli -h 192.168.77.2 ping
	refute_output --partial PONG
	vm_job_stop adas plain
}
