# SPDX-License-Identifier: BSD-2-Clause
# What channels cost that nobody uses: the round trip of a busy one beside them, CPU, memory.
# Sourced by run.

DEFAULT_RING=131072 DEFAULT_RING_CHANNELS=32
IDLE_RING=4096 # bytes of a ring: a thousand channels fit in the link

# beside N: a few measurements, so that one stall of the machine does not decide
beside()
{
	local i

	for ((i = 0; i < BESIDE_RUNS; i++)); do
		measure cockpit rtt "rtt-beside/$1/socket/two-vms" "$SIV_URL"
	done
}

# Of utime and stime, in ticks, of all threads.
qemu_ticks() # NAME
{
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$(vm_qemu_pid "$1")/stat"
}

# Busy and all ticks of a guest's CPU, as it sees them itself.
guest_ticks() # NAME
{
	vm_run "$1" awk '/^cpu / { print $2 + $3 + $4 + $7 + $8, $2 + $3 + $4 + $5 + $6 + $7 + $8 }' \
		/proc/stat
}

# idle_cpu N PATH: percent of a CPU while nothing is sent: of each QEMU on the host, of each guest
idle_cpu()
{
	local vm hz before=() guest=() start now percent=() guest_percent=()

	stage_detail "idle-cpu/$1/$2"
	hz=$(getconf CLK_TCK)
	for vm in cockpit adas; do
		guest+=("$(guest_ticks "$vm")")
		before+=("$(qemu_ticks "$vm")")
	done
	start=$(date +%s%N)
	sleep "$idle_seconds"
	now=$(date +%s%N)
	for vm in cockpit adas; do
		percent+=("$(jq -n "($(qemu_ticks "$vm") - ${before[${#percent[@]}]}) * 1e11 /
			($hz * ($now - $start))")")
	done
	for vm in cockpit adas; do
		guest_percent+=("$(awk '{ print 100 * ($3 - $1) / ($4 - $2) }' \
			<<<"${guest[${#guest_percent[@]}]} $(guest_ticks "$vm")")")
	done
	emit "idle-cpu/$1/$2/two-vms" percent "${percent[@]}"
	emit "idle-cpu-guest/$1/$2/two-vms" percent "${guest_percent[@]}"
}

kernel_memory() # NAME: bytes that its kernel has for itself
{
	vm_run "$1" awk '/^(Slab|VmallocUsed|Percpu|PageTables):/ { kib += $2 }
		END { print kib * 1024 }' /proc/meminfo
}

link_memory() { siv_ctl --json status | jq '.links[0].used'; }

# daemon_memory N: resident, and its own share of what is resident, of each daemon
daemon_memory()
{
	local switch daemon figures fields='/^Rss:/ { rss = $2 } /^Pss:/ { pss = $2 }
		END { print rss, pss }'

	stage_detail "memory of the daemons beside $1 channels"
	switch=$(pgrep -o -f "sivshmem-switch --run-dir $VM_RUN/run")
	while read -r daemon figures; do
		# shellcheck disable=SC2086 # two numbers
		set -- "$1" $figures
		emit "rss/$1/$daemon/two-vms" KiB "$2"
		emit "pss/$1/$daemon/two-vms" KiB "$3"
	done <<-EOF
		hostd $(awk "$fields" "/proc/$(host_job_pid hostd)/smaps_rollup")
		switch $(awk "$fields" "/proc/$switch/smaps_rollup")
		agent-cockpit $(agent_memory cockpit "$fields")
		agent-adas $(agent_memory adas "$fields")
	EOF
}

agent_memory() # NAME PROGRAM
{
	# shellcheck disable=SC2016 # the guest's shell expands it
	vm_run "$1" sh -c 'awk "$1" "/proc/$(pgrep -o -x sivshmem-agent)/smaps_rollup"' x "$2"
}

hold_channels() # JOB COUNT [OPTION...]
{
	vm_job cockpit "$1" siv-bench hold --count "$2" "${@:3}" "$SIV_URL"
	vm_job_await_line cockpit "$1" '^ready$' 240 >/dev/null
}

# memory_per_channel RING COUNT JOB: what the next COUNT channels take
memory_per_channel()
{
	local kernel link

	stage_detail "memory of $2 channels"
	kernel=$(kernel_memory cockpit) link=$(link_memory)
	hold_channels "$3" "$2" --ring "$1"
	emit "memory-kernel/$1/socket/two-vms" bytes \
		"$(jq -n "($(kernel_memory cockpit) - $kernel) / $2")"
	emit "memory-link/$1/socket/two-vms" bytes "$(jq -n "($(link_memory) - $link) / $2")"
}

# Until the host has taken all but so many back.
await_channels() # COUNT
{
	local from

	from=$(($(wc -l <"$(host_job_dir hostd)/err") + 1))
	siv_ctl status | grep -q "link cockpit--adas: .* $1 channels, " ||
		job_await_line "$(host_job_dir hostd)" \
			"link cockpit--adas: a channel is free again, $1 are open" 30 "$from" >/dev/null
}

# Up and down again, so that a machine that grows slower or faster meanwhile does not decide.
idle_channels()
{
	local level open=0 jobs=()

	idle_cpu 0 socket
	daemon_memory 0
	memory_per_channel "$DEFAULT_RING" "$DEFAULT_RING_CHANNELS" hold-default
	vm_job_stop cockpit hold-default || true
	siv_await_no_channels
	beside 0
	for level in $idle_levels; do
		stage_detail "opening channels up to $level"
		if ((open)); then
			hold_channels "hold-$level" $((level - open)) --ring "$IDLE_RING"
		else
			memory_per_channel "$IDLE_RING" "$level" "hold-$level"
		fi
		open=$level jobs=("$level" "${jobs[@]}")
		beside "$level"
	done
	idle_cpu "$open" socket
	daemon_memory "$open"
	for level in "${jobs[@]}"; do
		await_channels "$level"
		beside "$level"
		vm_job_stop cockpit "hold-$level" || true
	done
	siv_await_no_channels
	beside 0
}
