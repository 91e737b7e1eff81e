# SPDX-License-Identifier: BSD-2-Clause
# Without VMs: two processes of this machine on one piece of shared memory, and instructions counted.
# Sourced by run.

PASS_FEW=1000 PASS_MANY=11000
BENCH=$VM_BUILD/bin/siv-bench

native_ring() # METRIC PATH PREFIX
{
	any_path "$2" || return 0
	ring_session=$((ring_session + 1))
	stage_detail "$1 $2 native"
	host_job ring "$BENCH" serve --session "$ring_session" "$3:$NATIVE_MEMORY"
	"$BENCH" "$1" --name "$1/@/$2/native" --samples --milliseconds "$ms" \
		--size "$sizes" --session "$ring_session" "$3:$NATIVE_MEMORY" >>"$samples"
	host_job_wait ring
}

native()
{
	local metric

	for metric in rtt throughput; do
		native_ring "$metric" mapped mapped
		native_ring "$metric" bare-ring ring
	done
}

# What needs no VM of the host's and the agent's work.
host_parts()
{
	local folder=$VM_RUN/host-parts

	stage_detail "siv-bench-host"
	mkdir -p -m 700 "$folder"
	"$BENCH-host" "$folder" >>"$samples"
	rm -r "$folder"
}

collected() # COUNT SIZE ENDPOINT: instructions of a run that passes so many messages
{
	valgrind --tool=callgrind --callgrind-out-file=/dev/null \
		"$BENCH" pass --count "$1" --size "$2" "$3" 2>&1 |
		sed -n 's/.*Collected : *//p'
}

# What many messages cost beyond what few do is theirs alone.
instructions() # PATH ENDPOINT
{
	local size few many

	any_path "$1" || return 0
	for size in 64 1024; do
		stage_detail "instructions/$size/$1/native"
		few=$(collected "$PASS_FEW" "$size" "$2")
		many=$(collected "$PASS_MANY" "$size" "$2")
		emit "instructions/$size/$1/native" instructions \
			"$(jq -n "($many - $few) / $((PASS_MANY - PASS_FEW))")"
	done
}

native_memory()
{
	NATIVE_MEMORY=$(mktemp /dev/shm/siv-bench.XXXXXX)
	truncate -s 1M "$NATIVE_MEMORY"
}
