#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Who can reach a channel that is not his: another process of the same VM, a debugger, a third VM; and
# how much a process can take that nobody trusts.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check
DEVICE=/sys/bus/pci/devices/0000:01:01.0
MARKER=sivshmem-marker-4712-not-for-spies
VM_MEMORY=384M

# spy has a link of its own with adas, and none with cockpit. probe may have four channels.
siv_write_host_conf()
{
	mkdir -p "$VM_RUN/run" "$VM_RUN/state"
	cat >"$SIV_HOST_CONF" <<-EOF
		trust-domain = "car.example"
		state = "$VM_RUN/state"
		run = "$VM_RUN/run"
		audit = "$SIV_AUDIT"
		vm "cockpit" { services = {"dashboard", "probe"} }
		vm "adas" { services = {"check"} }
		vm "spy" { services = {"spy"} }
		link "cockpit" "adas" { size = "4M" }
		link "spy" "adas" { size = "4M" }
		allow { from = "cockpit/dashboard"
		        to = "adas/check" }
		allow { from = "cockpit/probe"
		        to = "adas/check" }
		allow { from = "spy/spy"
		        to = "adas/check" }
		limits "cockpit/probe" { channels = 4 }
	EOF
}

siv_agent_conf()
{
	case $1 in
	cockpit)
		cat <<-EOF
			service "dashboard" { user = "dash" }
			service "probe" { user = "nobody" }
		EOF
		;;
	*) echo "service \"$([[ $1 == adas ]] && echo check || echo spy)\" { user = \"root\" }" ;;
	esac
}

setup_file()
{
	siv_host
	for vm in cockpit adas spy; do
		vm_start $vm --mem $VM_MEMORY
	done
	for vm in cockpit adas spy; do
		vm_await_boot $vm
		siv_guest $vm
	done
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
	# the kernel's own rule for debuggers of one user is not what is looked at
	vm_run cockpit 'f=/proc/sys/kernel/yama/ptrace_scope; [ ! -e $f ] || echo 0 >$f'
	hold
}

teardown_file() { siv_teardown_file; }

# dash's process, with both rings mapped and full of the marker.
hold()
{
	vm_job cockpit held -u dash siv-check run "$URL" map-held "$MARKER"
	vm_job_await_line cockpit held '^held '
}

held() { vm_job_await_line cockpit held '^held ' | cut -d' ' -f2-; }
spy() # USER
{
	# shellcheck disable=SC2046 # words are meant to be split
	vm_run cockpit -u "$1" siv-spy $(held)
}

@test "a new channel shows its process no byte of an earlier one at the same place" {
	local before

	before=$(siv_ctl --json channels | jq '.channels[0].offset')
	vm_job_kill cockpit held
	siv_await_no_channels
	hold # which looks first
	run siv_ctl --json channels
	assert_equal "$(jq '.channels[0].offset' <<<"$output")" "$before"
}

@test "another user's process gets at a channel by no way: ptrace, /proc/PID, descriptors, vm_readv" {
	run spy mallory
	assert_success
	assert_output - <<-EOF
		open maps: EACCES
		readlink fd: EACCES
		open fd: EACCES
		pidfd_getfd: EPERM
		open mem: EACCES
		ptrace: EPERM
		vm_readv heap: EPERM
		vm_writev heap: EPERM
		vm_readv receive: EPERM
		vm_writev receive: EPERM
		vm_readv transmit: EPERM
		vm_writev transmit: EPERM
	EOF
}

# The heap is what shows that each way works; for the windows the kernel has none.
debugger_sees()
{
	cat <<-EOF
		open maps: ok
		readlink fd: ok
		open fd: ENXIO
		pidfd_getfd: ok
		mmap of it: ok
		open mem: ok
		ptrace: ok
		vm_readv heap: "sivshmem"
		vm_writev heap: ok
		read mem heap: "intruder"
		write mem heap: ok
		peek heap: "intruder"
		poke heap: ok
		vm_readv receive: EFAULT
		vm_writev receive: EFAULT
		read mem receive: EIO
		write mem receive: EIO
		peek receive: EIO
		poke receive: EIO
		vm_readv transmit: EFAULT
		vm_writev transmit: EFAULT
		read mem transmit: EIO
		write mem transmit: EIO
		peek transmit: EIO
		poke transmit: EIO
	EOF
}

@test "a debugger of the same user, and root's, sees the process but not through its windows" {
	run spy dash
	assert_success
	assert_output "$(debugger_sees)"
	vm_job_kill cockpit held
	hold
	run spy root
	assert_success
	assert_output "$(debugger_sees)"
}

@test "nobody but root opens the device's memory" {
	local file

	for file in $DEVICE/resource2 $DEVICE/resource0 /dev/mem; do
		run vm_run cockpit -u nobody siv-peek $file 0
		assert_output 'open: EACCES'
	done
}

# The switch's memory object of a link, as a file on the host.
link_memory() # LINK
{
	local fd

	for fd in /proc/"$(pgrep -f "sivshmem-switch --run-dir $VM_RUN/run")"/fd/*; do
		[[ $(readlink "$fd") != "/memfd:"*"$1"* ]] || echo "$fd"
	done
}

# Inodes of the memory objects that a VM's QEMU has mapped.
mapped_objects() { awk '/\/memfd:/ { print $5 }' "/proc/$(vm_qemu_pid "$1")/maps" | sort -u; }
inode() { stat -Lc %i "$(link_memory "$1")"; }

@test "a third VM's QEMU has its own link's memory object, and no other" {
	assert_equal "$(mapped_objects cockpit)" "$(inode cockpit--adas)"
	assert_equal "$(mapped_objects spy)" "$(inode spy--adas)"
	assert_equal "$(mapped_objects adas)" "$({ inode cockpit--adas; inode spy--adas; } | sort -u)"
	refute [ "$(inode cockpit--adas)" = "$(inode spy--adas)" ]
}

@test "a third VM's root finds nothing of a link in its device, and leaves nothing there" {
	local own=spy-was-here-4713

	run grep -aoc "$MARKER" "$(link_memory cockpit--adas)"
	assert_output --regexp '^[1-9]'
	vm_run spy "echo 0000:01:01.0 >$DEVICE/driver/unbind"
	run vm_run spy siv-peek $DEVICE/resource2 mark $own
	assert_output '1 in 4194304 bytes'
	run vm_run spy siv-peek $DEVICE/resource2 find "$MARKER"
	assert_output '0 in 4194304 bytes'
	run grep -aoc $own "$(link_memory spy--adas)"
	assert_output 1
	run grep -aoc $own "$(link_memory cockpit--adas)"
	assert_output 0
}

@test "where the kernel is locked down, not even root maps a device that no driver holds" {
	vm_run spy '[ -e /sys/kernel/security/lockdown ] || mount -t securityfs none /sys/kernel/security'
	vm_run spy '[ -e /sys/kernel/security/lockdown ]' || skip "this kernel has no lockdown"
	vm_run spy "! [ -e $DEVICE/driver ] || echo 0000:01:01.0 >$DEVICE/driver/unbind"
	vm_run spy "siv-peek $DEVICE/resource2 0"
	vm_run spy 'echo integrity >/sys/kernel/security/lockdown'
	run vm_run spy siv-peek $DEVICE/resource2 0
	assert_output 'mmap: EPERM'
}

# A job of somebody whom nobody trusts; what it has got when it was told to stop.
load() # WHAT
{
	vm_job cockpit load -u nobody siv-check run "$URL" "load-$1"
	vm_job_await_line cockpit load ' then '
}

@test "a service that takes all channels it can get has those of its limit, and others connect" {
	run load channels
	assert_output '4 channels, then ENOBUFS'
	run jq -r 'select(.reason == "quota") | .service' "$SIV_AUDIT"
	assert_output probe
	vm_run cockpit -u dash siv-check run "$URL" duplex 1
	vm_job_kill cockpit load
}

@test "connects that nobody answers are capped for each user, and another user's go on" {
	vm_run cockpit 'kill -STOP $(pidof sivshmem-agent)'
	run load pending
	assert_output '512 connects, then ENOBUFS'
	vm_job cockpit other -u dash siv-check run "$URL" load-pending
	run vm_job_await_line cockpit other ' then '
	assert_output '512 connects, then ENOBUFS'
	vm_job_kill cockpit load
	vm_job_kill cockpit other
	vm_run cockpit 'kill -CONT $(pidof sivshmem-agent)'
	vm_run cockpit -u dash siv-check run "$URL" duplex 1
}

# Bytes of one socket and its inode; its file and directory entry come on top.
socket_bytes()
{
	vm_run cockpit "awk '\$1 == \"SIVSHMEM\" { n += \$2 } \$1 == \"sock_inode_cache\" { n += \$4 }
		END { print n }' /proc/net/protocols /proc/slabinfo"
}

@test "sockets cost their process descriptors, and their memory is its cgroup's" {
	local bytes slab

	vm_run cockpit 'grep -qs memory /sys/fs/cgroup/cgroup.controllers' ||
		skip "this kernel does not account memory"
	vm_run cockpit 'echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir /sys/fs/cgroup/load'
	vm_job cockpit load 'ulimit -n 1000; echo $$ >/sys/fs/cgroup/load/cgroup.procs
		exec /usr/bin/setpriv --reuid nobody --regid nobody --clear-groups siv-check run '$URL' load-sockets'
	run vm_job_await_line cockpit load ' then '
	assert_output --regexp '^99[0-9] sockets, then EMFILE$'
	bytes=$(socket_bytes)
	slab=$(vm_run cockpit "awk '\$1 == \"slab\" { print \$2 }' /sys/fs/cgroup/load/memory.stat")
	assert [ "$bytes" -gt 1000 ]
	assert [ "$slab" -ge $((990 * bytes)) ]
	vm_job_kill cockpit load
}
