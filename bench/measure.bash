# SPDX-License-Identifier: BSD-2-Clause
# How a measurement is run and where its line goes; the paths between two VMs, and within one.
# Sourced by run.

# emit NAME UNIT VALUE...: a measurement that siv-bench did not make
emit()
{
	local IFS=,

	printf '{"name":"%s","unit":"%s","samples":[%s]}\n' "$1" "$2" "${*:3}" >>"$samples"
}

# measure VM COMMAND NAME ENDPOINT [OPTION...]: a line for each size, with the others'
measure()
{
	stage_detail "$3"
	# shellcheck disable=SC2046 # two words or none
	vm_run "$1" -t 120 siv-bench "$2" --name "$3" --samples --milliseconds "$ms" \
		$(tls_option "$4") "${@:5}" "$4" >>"$samples"
}

LOCAL_PATHS=(socket-local af-unix tcp-loopback vsock-loopback)
ALL_PATHS=(socket sealed tcp-virtio bare-ring mapped uring uring-zc tls-virtio "${LOCAL_PATHS[@]}")

# any_path PATH...: is one of them wanted?
any_path()
{
	local path

	[[ $paths ]] || return 0
	for path; do
		[[ ,$paths, != *",$path,"* ]] || return 0
	done
	return 1
}

# sweep VM PATH/SCOPE ENDPOINT [OPTION...]: round trips and throughput over all sizes
sweep()
{
	local metric

	any_path "${2%/*}" || return 0
	for metric in rtt throughput; do
		measure "$1" "$metric" "$metric/@/$2" "$3" --size "$sizes" "${@:4}"
	done
}

# The polling server takes a whole CPU, so it is only there while it is asked.
ring_session=0
sweep_ring()
{
	local metric

	any_path bare-ring || return 0
	for metric in rtt throughput; do
		ring_session=$((ring_session + 1))
		vm_job adas ring siv-bench serve --session "$ring_session" "ring:$bare_adas"
		measure cockpit "$metric" "$metric/@/bare-ring/two-vms" "ring:$bare_cockpit" \
			--size "$sizes" --session "$ring_session"
		vm_job_wait adas ring
	done
}

# The stock redis-benchmark, one request at a time.
measure_redis() # PATH COMMAND...
{
	local path=$1 i csv test

	stage_detail "redis over $path"
	csv=$(for ((i = 0; i < REDIS_RUNS; i++)); do
		vm_run cockpit "${@:2}" -t set,get -c 1 -n "$redis_requests" \
			-d "$REDIS_VALUE_BYTES" --csv
	done)
	for test in GET SET; do
		# shellcheck disable=SC2046 # numbers
		emit "redis-${test,,}/1/$path/two-vms" requests/s \
			$(awk -F '"' -v test="$test" '$2 == test { print $4 }' <<<"$csv")
	done
}

# siv_connects VM PATH/SCOPE
# A first connect is a whole handshake: the agent has nothing that it could resume. One connect goes
# before them all, as TLS's contexts are made before any of its.
siv_connects()
{
	local i resume= whole=$samples samples=$VM_RUN/connects

	: >"$samples"
	! agents_resume || resume=yes
	vm_run "$1" siv-bench connect --count 1 "$SIV_URL" >/dev/null
	for ((i = 0; i < connects; i++)); do
		[[ ! $resume ]] || vm_run "$1" sivctl forget >/dev/null
		measure "$1" connect "connect/first/$2" "$SIV_URL" --count 1
		[[ ! $resume ]] || measure "$1" connect "connect/resumed/$2" "$SIV_URL" --count 1
	done
	# one line for all of this repetition's
	jq -c -s 'group_by(.name)[] | { name: .[0].name, unit: .[0].unit, samples: map(.samples[]) }' \
		"$samples" >>"$whole"
}

measure_connects()
{
	siv_connects cockpit socket/two-vms
	measure cockpit connect connect/first/tcp-virtio/two-vms "tcp:$ADAS_IP:$PORT" \
		--count "$connects" --milliseconds 5000
	# from one process: a program that has just started pays for its library's first use
	measure cockpit connect connect/first/tls-virtio/two-vms "tls:$ADAS_IP:$TLS_PORT" \
		--count "$connects" --milliseconds 5000
}

two_vms()
{
	sweep cockpit socket/two-vms "$SIV_URL"
	sweep cockpit sealed/two-vms "$SEALED_URL"
	sweep cockpit tcp-virtio/two-vms "tcp:$ADAS_IP:$PORT"
	sweep_ring
	sweep cockpit mapped/two-vms "$SIV_URL" --via mapped
	sweep cockpit uring/two-vms "$SIV_URL" --via uring
	sweep cockpit uring-zc/two-vms "$SIV_URL" --via uring-zc
	sweep cockpit tls-virtio/two-vms "tls:$ADAS_IP:$TLS_PORT"
	[[ ! $paths ]] || return 0
	measure_connects
	measure_redis socket sivshmem-run --rule "$REDIS_RULE" \
		redis-benchmark -h "$ADAS_IP" -p "$REDIS_SIV_PORT"
	measure_redis tcp-virtio redis-benchmark -h "$ADAS_IP" -p "$REDIS_TCP_PORT"
}

one_vm()
{
	sweep adas socket-local/one-vm "$SIV_URL"
	sweep adas af-unix/one-vm "unix:$UNIX_PATH"
	sweep adas tcp-loopback/one-vm "tcp:127.0.0.1:$PORT"
	sweep adas vsock-loopback/one-vm "vsock:$PORT"
	siv_connects adas socket-local/one-vm
	measure adas connect connect/first/af-unix/one-vm "unix:$UNIX_PATH" \
		--count "$connects" --milliseconds 5000
}
