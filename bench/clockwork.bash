# SPDX-License-Identifier: BSD-2-Clause
# One VM whose clock counts its instructions: medians are the same from run to run, whatever the
# machine does meanwhile. Sourced by run.

CLOCKWORK_TRIPS=1024 CLOCKWORK_TRANSFERS=8

clockwork_measure() # PATH ENDPOINT
{
	any_path "$1" || return 0
	measure clockwork rtt "rtt/@/$1/one-vm-icount" "$2" \
		--count "$CLOCKWORK_TRIPS" --milliseconds 5000
	measure clockwork throughput "throughput/@/$1/one-vm-icount" "$2" \
		--count "$CLOCKWORK_TRANSFERS" --milliseconds 5000
}

clockwork()
{
	SIV_ACCEL=icount vm_boot clockwork --smp 1
	vm_run clockwork 'modprobe af_sivshmem && mkdir -p /run/sivshmem'
	vm_run clockwork -i 'cat >/tmp/agent.conf' <<-EOF
		state = "/tmp/state"
		audit = "/tmp/audit.log"
		service "bench" { user = "root" }
		allow { from = "bench" to = "bench" }
	EOF
	vm_job clockwork agent sivshmem-agent --standalone --config /tmp/agent.conf --ready-fd 1
	vm_job_await_line clockwork agent '^ready$' >/dev/null
	bench_serve clockwork server siv:///bench "tcp:127.0.0.1:$PORT" "unix:$UNIX_PATH" \
		"vsock:$PORT"
	clockwork_measure socket-local siv:///bench
	clockwork_measure af-unix "unix:$UNIX_PATH"
	clockwork_measure tcp-loopback "tcp:127.0.0.1:$PORT"
	clockwork_measure vsock-loopback "vsock:$PORT"
	vm_check_logs
	vm_job_stop clockwork server || true
	vm_job_stop clockwork agent || true
	vm_stop clockwork
}
