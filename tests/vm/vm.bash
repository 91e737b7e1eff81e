# SPDX-License-Identifier: BSD-2-Clause
# The VM harness for bats suites (and scripts that set VM_RUN and VM_LOGS themselves):
#
#   load ../vm/vm
#   setup_file() { vm_pair cockpit adas; }
#   @test "they see each other" { vm_run cockpit 'ping -c1 192.168.77.2'; }
#
# teardown() and teardown_file() are defined here: they check the kernel logs after each test and
# stop everything. A suite with its own calls vm_check_logs and vm_stop_all in them. A suite that
# defines vm_qemu_args gets its output, for the VM named, added to QEMU's command line (split at
# white space).
#
# From the environment: VM_SLOW=FACTOR stretches time limits, SIV_ACCEL=tcg|kvm|icount forces the
# accelerator, VM_FLAVOUR boots another kernel (kernel.bash lists them).

VM_TOP=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
VM_BUILD=$VM_TOP/build
VM_RUN=${VM_RUN:-${BATS_FILE_TMPDIR-}} # sockets and state; must be a short path
if [[ ${BATS_TEST_FILENAME-} ]]; then
	VM_LOGS=$VM_BUILD/logs/$(basename "$BATS_TEST_FILENAME" .bats)${VM_FLAVOUR:+.$VM_FLAVOUR}
fi
VMEXEC=$VM_BUILD/bin/vmexec
if [[ ${BATS_VERSION-} ]]; then
	bats_load_library bats-support
	bats_load_library bats-assert
fi

# Seconds, before VM_SLOW: from QEMU's start to the first command; one command; QEMU's end.
VM_BOOT_SECONDS=60
VM_COMMAND_SECONDS=60
VM_STOP_SECONDS=10

# shellcheck source-path=SCRIPTDIR
source "$VM_TOP/tests/vm/job.bash"
source "$VM_TOP/tests/vm/klog.bash"
source "$VM_TOP/tests/vm/kernel.bash"

VM_SLOW=${VM_SLOW:-$(vm_kernel_has_checks && echo 4 || echo 1)}

_vm_seconds() { echo $(($1 * VM_SLOW)); }
_vm_error() { printf 'vm: %s\n' "$*" >&2; return 1; }

# --- starting -------------------------------------------------------------------------------------

# vm_start NAME [--smp N] [--mem SIZE] [--ip ADDRESS] [--append KERNEL_ARGS] [--reboot]
#          [--up-kernel] [-- QEMU_ARG...]
# Starts a VM and does not wait. Without --reboot, a guest that resets or panics ends its QEMU.
# --up-kernel lets the kernel patch its SMP atomics away, which exposes those that another VM needs.
vm_start()
{
	# what a former run of this suite logged is not this run's
	[[ -d $VM_RUN/$1 ]] || rm -rf "${VM_LOGS:?}/$1"
	mkdir -p "$VM_RUN/$1" "$VM_LOGS/$1"
	printf '%q ' "${@:2}" >"$VM_RUN/$1/arguments"
	_vm_launch "$@"
}

# As vm_start, and waits until the guest runs commands.
vm_boot()
{
	vm_start "$@" && vm_await_boot "$1"
}

# Boots a VM that has ended again, with the arguments that it had. Its log goes on.
vm_restart() # NAME
{
	local arguments

	eval "arguments=($(<"$VM_RUN/$1/arguments"))"
	_vm_launch "$1" "${arguments[@]}" && vm_await_boot "$1"
}

# vm_pair A B [OPTION...]: boots two VMs with a virtio-net link, as 192.168.77.1 and .2 on eth0. The
# options are vm_start's, for both.
vm_pair()
{
	local a=$1 b=$2

	shift 2
	# of two VMs that want all CPUs both would starve; maxcpus keeps the barriers between them
	set -- --smp 1,maxcpus=2 "$@"
	vm_start "$a" --ip 192.168.77.1 --net "$b" 01 "$@" &&
		vm_start "$b" --ip 192.168.77.2 --net "$a" 02 "$@" &&
		vm_await_boot "$a" && vm_await_boot "$b"
}

vm_await_boot() # NAME
{
	"$VMEXEC" -t "$(_vm_seconds "$VM_BOOT_SECONDS")" "$VM_RUN/$1/exec" true 3>&- && return
	_vm_keep_log "$1"
	_vm_error "$1: did not boot: see $VM_LOGS/$1/console.log; QEMU said: $(tail -n 20 "$VM_LOGS/$1/qemu.log")"
}

_vm_launch()
{
	local name=$1 dir=$VM_RUN/$1 log=$VM_LOGS/$1 cpus=1,maxcpus=2 memory=512M ip='' append=''
	local reset=-no-reboot smp=noreplace-smp extra=() qemu

	shift
	# one vCPU never races with itself, and the checks are there to see races
	vm_kernel_has_checks && cpus=2 memory=1G
	while (($#)); do
		case $1 in
		--smp) cpus=$2; shift ;;
		--mem) memory=$2; shift ;;
		--ip) ip=$2; shift ;;
		--append) append+=" $2"; shift ;;
		--net) mapfile -t -O "${#extra[@]}" extra < <(_vm_net_args "$name" "$2" "$3"); shift 2 ;;
		--reboot) reset= ;;
		--up-kernel) smp=possible_cpus=1 ;;
		--) shift; extra+=("$@"); break ;;
		*) _vm_error "$name: $1: unknown option"; return 1 ;;
		esac
		shift
	done
	if declare -F vm_qemu_args >/dev/null; then
		# shellcheck disable=SC2207 # words are meant to be split
		extra+=($(vm_qemu_args "$name")) || return
	fi
	[[ -r $(vm_initrd) ]] || { _vm_error "$(vm_initrd): missing: run 'make guest'"; return 1; }
	append+=" $smp vm.name=$name vm.ip=$ip vm.ports=$(_vm_count_ports "${extra[@]}")"

	# shellcheck disable=SC2046,SC2206 # options are words
	qemu=(qemu-system-x86_64 -name "$name" -nodefaults -no-user-config -display none $reset
		$(vm_accel_args) -smp "$cpus" -m "$memory"
		-kernel "$(vm_kernel_image)" -initrd "$(vm_initrd)"
		-append "$(vm_kernel_args)$append"
		-chardev "file,id=console,path=$log/console.log,append=on" -serial chardev:console
		-device virtio-serial-pci,id=harness
		-chardev socket,id=exec,fd=3
		-device virtserialport,bus=harness.0,chardev=exec,name=org.sivshmem.exec
		"${extra[@]}")
	printf '%q ' "${qemu[@]}" >"$log/qemu.command"
	rm -f "$dir/exec" "$dir/net"
	job_start "$dir/qemu" "$VMEXEC" --vm "$dir/exec" "${qemu[@]}"
	job_await_line "$dir/qemu" '^listening' >/dev/null && return
	_vm_error "$name: QEMU did not start: $(<"$dir/qemu/err")"
}

# What QEMU said in this run joins what it said in those before.
_vm_keep_log() { cat "$VM_RUN/$1/qemu/err" >>"$VM_LOGS/$1/qemu.log" 2>/dev/null || true; }

# Datagrams over UNIX sockets: the fastest link that QEMU has between two VMs, and no privileges.
_vm_net_args() # NAME PEER NUMBER
{
	local local_path=$VM_RUN/$1/net remote_path=$VM_RUN/$2/net

	printf '%s\n' -netdev "dgram,id=net,local.type=unix,local.path=$local_path,remote.type=unix,remote.path=$remote_path" \
		-device "virtio-net-pci,netdev=net,mac=52:54:00:00:00:$3,romfile="
}

# Named virtio-serial ports; init waits until it has seen them all.
_vm_count_ports()
{
	local arg count=1

	for arg; do
		[[ $arg != virtserialport,* ]] || count=$((count + 1))
	done
	echo "$count"
}

# --- ending ---------------------------------------------------------------------------------------

vm_running() { job_running "$VM_RUN/$1/qemu"; } # NAME

vm_qemu_pid() { sed -n 's/^listening, QEMU is //p' "$VM_RUN/$1/qemu/out"; } # NAME

# SIGKILL to QEMU: the host's way of pulling the plug. Returns when it is gone.
vm_kill() # NAME
{
	vm_running "$1" || return 0
	kill -KILL "$(vm_qemu_pid "$1")"
	job_wait "$VM_RUN/$1/qemu" "$(_vm_seconds "$VM_STOP_SECONDS")" || true
	_vm_keep_log "$1"
}

# Ends a VM from outside; fails if its QEMU ended badly, now or by itself before.
vm_stop() # NAME
{
	local code=0

	if vm_running "$1"; then
		kill -TERM "$(vm_qemu_pid "$1")"
		job_wait "$VM_RUN/$1/qemu" "$(_vm_seconds "$VM_STOP_SECONDS")" || code=$?
	else
		job_wait "$VM_RUN/$1/qemu" || code=$?
	fi
	((code == 124)) && vm_kill "$1"
	_vm_keep_log "$1"
	# 137: a test killed it
	((code == 0 || code == 137)) || _vm_error "$1: QEMU ended with $code: see $VM_LOGS/$1/qemu.log"
}

# Waits for a VM to end by itself.
vm_await_end() # NAME [SECONDS]
{
	job_wait "$VM_RUN/$1/qemu" "$(_vm_seconds "${2:-30}")"
}

# Resets the guest inside its living QEMU (started with --reboot), without any shutdown in the guest,
# and waits until it has booted again.
vm_reboot_inside() # NAME
{
	local code=0

	vm_run "$1" -t "$VM_BOOT_SECONDS" 'echo b >/proc/sysrq-trigger; exec sleep 1000' \
		2>/dev/null || code=$?
	# 255 comes when the new boot says that it is there
	((code == 255)) && vm_await_boot "$1"
}

# Stops every VM and every job on the host.
vm_stop_all()
{
	local job failed=0

	for job in "$VM_RUN"/*/qemu; do
		[[ -e $job ]] || continue
		vm_stop "$(basename "${job%/qemu}")" || failed=1
	done
	for job in "$VM_LOGS"/host/*/lock; do
		[[ -e $job ]] && job_stop "${job%/lock}" || true
	done
	return "$failed"
}

# --- commands -------------------------------------------------------------------------------------

# vm_run NAME [-t SECONDS] [-i] [-u USER] COMMAND [ARGUMENT...]
# Runs a command in a guest and exits as it does; output and errors stay apart. One word is a line
# for the guest's shell, several are a program and its arguments. -i passes standard input on.
vm_run()
{
	local name=$1 seconds=$VM_COMMAND_SECONDS options=() user=()

	shift
	while [[ ${1-} == -[tiu] ]]; do
		case $1 in
		-t) seconds=$2; shift ;;
		-i) options+=(-i) ;;
		-u) user=(setpriv --reuid "$2" --regid "$2" --clear-groups --); shift ;;
		esac
		shift
	done
	(($# == 1)) && set -- sh -c "$1"
	"$VMEXEC" -t "$(_vm_seconds "$seconds")" "${options[@]}" "$VM_RUN/$name/exec" \
		"${user[@]}" "$@" 3>&-
}

vm_put() # NAME LOCAL_FILE GUEST_PATH: also its mode
{
	vm_run "$1" -i sh -c 'cat >"$1" && chmod "$2" "$1"' put "$3" "$(stat -c %a "$2")" <"$2"
}

vm_get() # NAME GUEST_PATH LOCAL_FILE
{
	vm_run "$1" cat "$2" >"$3"
}

# --- jobs -----------------------------------------------------------------------------------------
# A job is a command that goes on while the test does. It is killed with its VM or by vm_job_stop.
# Output: $(vm_job_dir NAME JOB)/out and /err, on the host, and kept with the logs.

vm_job_dir() { echo "$VM_LOGS/$1/jobs/$2"; } # NAME JOB

# vm_job NAME JOB [-u USER] COMMAND [ARGUMENT...]
vm_job()
{
	local name=$1 job=$2 user=()

	shift 2
	[[ $1 == -u ]] && user=(setpriv --reuid "$2" --regid "$2" --clear-groups --) && shift 2
	(($# == 1)) && set -- sh -c "$1"
	job_start "$(vm_job_dir "$name" "$job")" "$VMEXEC" "$VM_RUN/$name/exec" "${user[@]}" "$@"
}

# The job's own exit code (255: its VM went away), or 124 when time is up.
vm_job_wait() # NAME JOB [SECONDS]
{
	job_wait "$(vm_job_dir "$1" "$2")" "$(_vm_seconds "${3:-$VM_COMMAND_SECONDS}")"
}

# Waits for a line of the job's output, on either stream, and prints it.
vm_job_await_line() # NAME JOB REGEX [SECONDS]
{
	job_await_line "$(vm_job_dir "$1" "$2")" "$3" "$(_vm_seconds "${4:-30}")"
}

vm_job_signal() { job_signal "$(vm_job_dir "$1" "$2")" "$3"; } # NAME JOB TERM|INT|HUP|QUIT|USR1|USR2

# SIGTERM to the command; its exit code.
vm_job_stop() { job_stop "$(vm_job_dir "$1" "$2")" "$(_vm_seconds 10)"; } # NAME JOB

vm_job_kill() # NAME JOB: SIGKILL to the command; returns when it is gone
{
	job_signal "$(vm_job_dir "$1" "$2")" ALRM && job_wait "$(vm_job_dir "$1" "$2")" 10 || true
}

# The same for programs on the host: daemons that a suite needs. Stopped after the VMs.
host_job_dir() { echo "$VM_LOGS/host/$1"; } # JOB
host_job() { job_start "$(host_job_dir "$1")" "${@:2}"; } # JOB COMMAND [ARGUMENT...]
host_job_wait() { job_wait "$(host_job_dir "$1")" "$(_vm_seconds "${2:-60}")"; } # JOB [SECONDS]
host_job_pid() { echo "$(<"$(host_job_dir "$1")/pid")"; } # JOB
host_job_stop() { job_stop "$(host_job_dir "$1")"; } # JOB
host_job_await_line() # JOB REGEX [SECONDS]
{
	job_await_line "$(host_job_dir "$1")" "$2" "$(_vm_seconds "${3:-30}")"
}

# --- after each test, after each suite ------------------------------------------------------------

# What kmemleak, where the kernel has it and it is on, finds; it only sees a leak in its second scan.
vm_check_leaks() # NAME
{
	[[ ${VM_FLAVOUR-} == debug-leaks ]] || return 0
	vm_run "$1" -t 120 'echo scan >/sys/kernel/debug/kmemleak || exit 1
		echo scan >/sys/kernel/debug/kmemleak
		cat /sys/kernel/debug/kmemleak >/tmp/kmemleak
		[ ! -s /tmp/kmemleak ] || { cat /tmp/kmemleak; exit 1; }' >&2
}

vm_check_all_leaks()
{
	local dir failed=0

	for dir in "$VM_RUN"/*/qemu; do
		vm_running "$(basename "${dir%/qemu}")" || continue
		vm_check_leaks "$(basename "${dir%/qemu}")" || failed=1
	done
	return "$failed"
}

vm_check_logs()
{
	local dir failed=0

	for dir in "$VM_RUN"/*/qemu; do
		[[ -e $dir ]] || continue
		klog_check "$(basename "${dir%/qemu}")" || failed=1
	done
	return "$failed"
}

teardown() { vm_check_logs; }

teardown_file()
{
	local failed=0

	vm_check_all_leaks || failed=1
	vm_check_logs || failed=1
	vm_stop_all || failed=1
	return "$failed"
}
