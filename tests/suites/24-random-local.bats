#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Random calls on the local link, in one VM with two CPUs: against a model, and from many threads.
# From the environment: RANDOM_SECONDS for each test (20), RANDOM_SEED to repeat one.

load ../vm/vm

SECONDS_EACH=${RANDOM_SECONDS:-20}

setup_file()
{
	vm_boot one --smp 2 --mem 1G
	vm_run one 'modprobe af_sivshmem'
	vm_job one grantd siv-grantd /tmp/ready
	vm_run one 'until [ -e /tmp/ready ]; do sleep 0.05; done'
}

random() # MODE TYPE
{
	vm_run one -t $((SECONDS_EACH + 120)) siv-random "$1" --type "$2" --path siv \
		--seconds "$SECONDS_EACH" --slow "${VM_SLOW:-1}" ${RANDOM_SEED:+--seed "$RANDOM_SEED"}
}

@test "random calls on streams are answered as the model says" { random model stream; }
@test "random calls on records are answered as the model says" { random model seqpacket; }
@test "many threads on streams with signals, forks and cuts lose no byte" { random storm stream; }

# Without spinning, and with so much of it that each wait ends in it.
storm_spinning() # MICROSECONDS TYPE
{
	local file=/sys/module/af_sivshmem/parameters/spin_us default

	default=$(vm_run one "cat $file")
	vm_run one "echo $1 >$file"
	random storm "$2"
	vm_run one "echo $default >$file"
}

@test "the same where nobody spins" { storm_spinning 0 stream; }
@test "the same where all spin for long" { storm_spinning 10000 stream; }
@test "many threads on records with signals, forks and cuts lose no record" { random storm seqpacket; }
