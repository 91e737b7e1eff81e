#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The preload shim on the local link, in one VM with two CPUs: programs that know nothing of sivshmem
# on the real module. Channels are granted by a lab's agent.

load ../vm/vm

SHIM='sivshmem-run -e tcp:10.0.0.2:7001=siv://lab/shim'
REDIS='sivshmem-run -e tcp:10.0.0.2:6379=siv://lab/cache'
SOCK=/tmp/redis.sock
REDIS_UNIX="sivshmem-run -e unix:$SOCK=siv://lab/unix-cache"

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
}

# grantd's first start is a test's own business: what counts is what was there before.
start_agent()
{
	vm_run one 'rm -f /tmp/ready'
	vm_job one grantd siv-grantd /tmp/ready
	vm_run one 'until [ -e /tmp/ready ]; do sleep 0.05; done'
}

plain_server() # CONNECTIONS
{
	vm_run one 'ip link set lo up && ip addr replace 10.0.0.2/32 dev lo'
	vm_job one plain preload_server tcp:10.0.0.2:7001 "$1"
	vm_job_await_line one plain ready
}

@test "a wrong rule stops the program at its start" {
	run vm_run one 'LD_PRELOAD=/usr/lib/sivshmem/libsivshmem_preload.so SIVSHMEM_RULE=x preload_fork'
	assert_failure 78
	assert_output --partial 'SIVSHMEM_RULE:1: "x" is not known'
}

@test "static programs are refused" {
	run vm_run one "$SHIM busybox true"
	assert_failure 126
	assert_output --partial 'statically linked'
}

@test "before an agent has ever registered, only a rule with fallback reaches the plain endpoint" {
	plain_server 1
	run vm_run one "$SHIM preload_fork tcp:10.0.0.2:7001"
	assert_failure 1
	assert_output 'connect: ENETDOWN'
	run vm_run one "sivshmem-run -e 'tcp:10.0.0.2:7001=siv://lab/shim fallback' preload_fork tcp:10.0.0.2:7001"
	assert_success
	assert_output --partial 'sivshmem was never set up here'
	assert_output --partial 'parent peer tcp:10.0.0.2:7001'
	vm_job_wait one plain
}

@test "a listener never falls back" {
	run vm_run one "sivshmem-run -e 'tcp:*:7001=siv:///shim fallback' preload_server tcp:0.0.0.0:7001 1"
	assert_failure 1
	assert_output 'bind: ENETDOWN'
}

@test "a client in epoll before connect gets its events, and sees the names that it expects" {
	start_agent
	vm_job one server sivshmem-run -e 'tcp:*:7001=siv:///shim;peer lab = 198.51.100.7' \
		preload_server tcp:0.0.0.0:7001
	vm_job_await_line one server ready
	for option in '' --edge --fast-open; do
		run vm_run one "$SHIM preload_epoll $option tcp:10.0.0.2:7001"
		assert_success
		assert_line 'client peer tcp:10.0.0.2:7001'
		assert_line --regexp '^client self tcp:192\.0\.2\.2:[0-9]+$'
		assert_line echoed
	done
	vm_job_await_line one server 'server peer tcp:198.51.100.7:[1-9]'
	vm_job_await_line one server 'server self tcp:0.0.0.0:7001'
}

@test "a child, and a program that it executes, use the connection and see its names" {
	run vm_run one "$SHIM preload_fork tcp:10.0.0.2:7001"
	assert_success
	for who in parent child exec; do
		assert_line "$who peer tcp:10.0.0.2:7001"
		assert_line --regexp "^$who self tcp:192\.0\.2\.2:[0-9]+$"
	done
	assert_line done
}

@test "IPv6 programs see IPv6 names" {
	vm_run one '[ -e /proc/net/if_inet6 ]' || skip "this kernel has no IPv6"
	vm_job one server6 sivshmem-run -e 'tcp:[::]:7006=siv:///shim6' preload_server 'tcp:[::]:7006' 1
	vm_job_await_line one server6 ready
	run vm_run one "sivshmem-run -e 'tcp:[fd00::2]:7006=siv://lab/shim6' preload_epoll 'tcp:[fd00::2]:7006'"
	assert_success
	assert_line 'client peer tcp:[fd00::2]:7006'
	assert_line --regexp '^client self tcp:\[2001:db8::2\]:[0-9]+$'
	vm_job_wait one server6
	run cat "$(vm_job_dir one server6)/out"
	assert_line --regexp '^server peer tcp:\[::ffff:192\.0\.2\.1\]:[0-9]+$'
}

@test "a service that nobody listens as is ECONNREFUSED, and so is the path without a rule" {
	run vm_run one "sivshmem-run -e 'tcp:10.0.0.2:7001=siv://lab/nobody fallback' preload_fork tcp:10.0.0.2:7001"
	assert_failure 1
	assert_output 'connect: ECONNREFUSED'
}

@test "redis serves TCP clients, and saves in a fork while they write" {
	vm_job one redis sivshmem-run -e 'tcp:*:6379=siv:///cache' redis-server --port 6379 \
		--bind 0.0.0.0 --protected-mode no --save '' --dir /tmp
	vm_job_await_line one redis 'Ready to accept connections'
	vm_run one "$REDIS redis-cli -h 10.0.0.2 set key value"
	run vm_run one "$REDIS redis-cli -h 10.0.0.2 get key"
	assert_output value
	run vm_run one "$REDIS redis-cli -h 10.0.0.2 client list"
	assert_output --partial 'addr=192.0.2.1:'
	assert_output --partial 'laddr=0.0.0.0:6379'

	vm_job one load sh -c "$REDIS redis-benchmark -h 10.0.0.2 -q -t set -c 8 -n 40000 -r 10000 -d 512"
	vm_run one "$REDIS redis-cli -h 10.0.0.2 bgsave"
	vm_job_await_line one redis 'DB saved on disk' 60
	vm_job_wait one load 120
	run vm_run one "$REDIS redis-cli -h 10.0.0.2 info persistence"
	assert_output --partial 'rdb_last_bgsave_status:ok'
	vm_run one 'redis-check-rdb /tmp/dump.rdb'
	vm_job_stop one redis
}

@test "redis serves AF_UNIX clients, with a socket at its path that nobody listens on" {
	vm_job one uredis sivshmem-run -e "unix:$SOCK=siv:///unix-cache" redis-server --port 0 \
		--unixsocket "$SOCK" --unixsocketperm 700 --save '' --dir /tmp
	vm_job_await_line one uredis 'ready to accept connections at'
	run vm_run one "stat -c '%F %a' $SOCK"
	assert_output 'socket 700'
	run vm_run one "$REDIS_UNIX redis-cli -s $SOCK ping"
	assert_output PONG
	run vm_run one "redis-cli -s $SOCK ping"
	assert_output --partial 'Connection refused'
	vm_run one -t 120 "$REDIS_UNIX redis-benchmark -s $SOCK -q -t set,get -c 8 -n 10000"
	vm_run one "$REDIS_UNIX redis-cli -s $SOCK bgsave"
	vm_job_await_line one uredis 'DB saved on disk' 60
	vm_job_stop one uredis
	run vm_run one "test -e $SOCK"
	assert_failure
}

@test "an agent that is gone is no reason to fall back" {
	vm_job_kill one server
	vm_job_kill one grantd
	plain_server 1
	run vm_run one "sivshmem-run -e 'tcp:10.0.0.2:7001=siv://lab/shim fallback' preload_fork tcp:10.0.0.2:7001"
	assert_failure 1
	assert_output 'connect: ENETDOWN'
	vm_job_kill one plain
}

@test "without the module, only a rule with fallback reaches the plain endpoint" {
	vm_run one 'rmmod af_sivshmem'
	plain_server 1
	run vm_run one "$SHIM preload_fork tcp:10.0.0.2:7001"
	assert_failure 1
	assert_output 'connect: EAFNOSUPPORT'
	run vm_run one "sivshmem-run -e 'tcp:10.0.0.2:7001=siv://lab/shim fallback' preload_fork tcp:10.0.0.2:7001"
	assert_success
	assert_output --partial 'parent peer tcp:10.0.0.2:7001'
	vm_job_wait one plain
}
