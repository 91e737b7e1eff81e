# SPDX-License-Identifier: BSD-2-Clause
# sivshmem on top of the harness: hostd and its switch on the host, the module and the agent in the
# guests. Sourced after vm.bash:
#
#   siv_host                # host.conf as below, unless the suite wrote its own to $SIV_HOST_CONF
#   vm_pair cockpit adas
#   siv_guest cockpit; siv_guest adas

SIV_HOST_CONF=$VM_RUN/host.conf
SIV_BIN=$VM_BUILD/bin
SIV_AUDIT=$VM_RUN/state/audit.log
SIV_READY_SECONDS=60
# whom hostd becomes where root started it
SIV_HOSTD_USER=$( ((EUID == 0)) && echo nobody || echo root)

# The policy of most suites: what cockpit's dashboard may do, and what its probe may not.
siv_write_host_conf()
{
	mkdir -p "$VM_RUN/run" "$VM_RUN/state"
	chmod a+x ${BATS_RUN_TMPDIR:+"$BATS_RUN_TMPDIR"} "$VM_RUN" # it reads its configuration again as its own user
	cat >"$SIV_HOST_CONF" <<-EOF
		trust-domain = "car.example"
		state = "$VM_RUN/state"
		run = "$VM_RUN/run"
		audit = "$SIV_AUDIT"
		user = "$SIV_HOSTD_USER"
		handshake-timeout = "${SIV_HANDSHAKE_TIMEOUT:-30s}"
		vm "cockpit" { services = {"dashboard", "probe"} }
		vm "adas" { services = {"cache", "fusion", "check"} }
		link "cockpit" "adas" { size = "64M" }
		allow { from = "cockpit/dashboard"
		        to = "adas/cache" }
		allow { from = "cockpit/dashboard"
		        to = "adas/check" }
		allow { from = "adas/fusion"
		        to = "adas/check" }
	EOF
}

# Who is who in each guest: root and dash are the dashboard, nobody is the probe, mallory is nothing.
siv_agent_conf() # NAME
{
	case $1 in
	cockpit)
		cat <<-EOF
			service "dashboard" { user = "root" }
			service "probe" { user = "nobody" }
		EOF
		;;
	adas)
		cat <<-EOF
			service "cache" { user = "redis" }
			service "check" { user = "root" }
			service "fusion" { user = "fusion" }
		EOF
		;;
	esac
}

# QEMU's options for a VM's links and control channel, as an operator gets them.
vm_qemu_args() { "$SIV_BIN/sivctl" --config "$SIV_HOST_CONF" qemu-args "$1"; }

siv_hostd_start()
{
	host_job hostd "$SIV_BIN/sivshmem-hostd" --config "$SIV_HOST_CONF" --log-level debug \
		--ready-fd 1
	host_job_await_line hostd '^ready$' "$SIV_READY_SECONDS" >/dev/null
}

siv_host()
{
	[[ -e $SIV_HOST_CONF ]] || siv_write_host_conf
	siv_hostd_start
}

# The switch outlives hostd on purpose; nothing of a suite outlives it.
siv_host_stop()
{
	local pid

	host_job_stop hostd || true
	pid=$("$SIV_BIN/siv-switchctl" --run-dir "$VM_RUN/run" pid) || return 0
	kill "$pid"
}

siv_agent_start() # NAME
{
	vm_job "$1" agent sivshmem-agent --config /etc/sivshmem/agent.conf --log-level debug \
		--ready-fd 1
	vm_job_await_line "$1" agent '^ready$' "$SIV_READY_SECONDS" >/dev/null
}

# Loads the module and starts the agent, which is ready when its certificates are there.
siv_guest() # NAME
{
	vm_run "$1" 'modprobe af_sivshmem && mkdir -p /etc/sivshmem /run/sivshmem'
	siv_agent_conf "$1" | vm_run "$1" -i 'cat >/etc/sivshmem/agent.conf'
	siv_agent_start "$1"
}

siv_ctl() { "$SIV_BIN/sivctl" --socket "$VM_RUN/run/hostd.sock" "$@"; }

# The one that was granted last, as sivctl has it: another hostd counts its generations anew.
siv_newest_channel() { siv_ctl --json channels | jq -c '.channels | min_by(.age_ms)'; }

# Waits until both kernels have closed every channel of the link and its pages are free again.
siv_await_no_channels()
{
	local from

	from=$(($(wc -l <"$(host_job_dir hostd)/err") + 1))
	siv_ctl status | grep -q 'link cockpit--adas: .* 0 channels, 0 of' ||
		job_await_line "$(host_job_dir hostd)" \
			'link cockpit--adas: a channel is free again, 0 are open' 30 "$from" >/dev/null
}

# Starts JOB in VM, and waits until it says that it is connected and the host has heard so from both
# kernels: a host that is restarted before that resets the channel.
siv_connected() # VM JOB COMMAND...
{
	local vm=$1 job=$2 from

	shift 2
	from=$(($(wc -l <"$SIV_AUDIT") + 1))
	vm_job "$vm" "$job" "$@"
	vm_job_await_line "$vm" "$job" connected
	grep -q -m1 '"event":"connect","verdict":"allowed"' \
		< <(exec timeout 30 tail -f -n "+$from" "$SIV_AUDIT")
}

# In adas a server of "check" and, as redis, one of "cache"; from cockpit a channel to the latter, which
# siv_assert_ping asks after each test whether it is still the one that it was.
siv_serve_and_ping()
{
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
	vm_job adas other -u redis siv-check serve siv:///cache
	vm_job_await_line adas other listening
	vm_job cockpit ping siv-check run siv://adas/cache ping
	vm_job_await_line cockpit ping connected
	echo 0 >"$VM_RUN/pings"
}

siv_assert_ping()
{
	local n=$(($(<"$VM_RUN/pings") + 1))

	vm_job_signal cockpit ping USR1
	vm_job_await_line cockpit ping "pong $n\$"
	echo "$n" >"$VM_RUN/pings"
}

# The memory that both QEMUs map, as the host sees it.
siv_link_memory()
{
	local pid fd

	pid=$(pgrep -of "sivshmem-switch --run-dir $VM_RUN/run")
	for fd in "/proc/$pid/fd"/*; do
		[[ $(readlink "$fd") == /memfd:* ]] && echo "$fd"
	done
}

# Bytes over a channel's memory, as the peer's kernel could write them at any time.
siv_scribble() # OFFSET BYTES (as printf has them)
{
	printf "$2" | dd of="$(siv_link_memory)" bs=1 seek="$1" conv=notrunc status=none
}

# teardown_file of suites with a host: as vm.bash's, and the daemons too.
siv_teardown_file()
{
	local failed=0

	vm_check_all_leaks || failed=1
	vm_check_logs || failed=1
	vm_stop_all || failed=1
	siv_host_stop || failed=1
	return "$failed"
}
