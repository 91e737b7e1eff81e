# SPDX-License-Identifier: BSD-2-Clause
# Which kernel guests boot, with which arguments, on which accelerator. Sourced by vm.bash.

# Flavours: what each is called by VM_FLAVOUR, the file in build/cache/ that says where its kernel is,
# and what that kernel is told. What debug leaves out makes its boots twice as long.
_vm_flavour()
{
	case ${VM_FLAVOUR-} in
	'') echo setup.mk ;;
	6.12) echo kernel-6.12.mk ;;
	debug) echo debug-kernel-kasan.mk kasan.fault=panic slub_debug=FZPU kmemleak=off no_debug_objects ;;
	debug-leaks) echo debug-kernel-kasan.mk kasan.fault=panic slub_debug=FZPU ;;
	# looks ten times as often and twice as long as usual: at its default it saw no race of ours
	kcsan) echo debug-kernel-kcsan.mk kcsan.skip_watch=400 kcsan.udelay_task=200 ;;
	*) _vm_error "VM_FLAVOUR: $VM_FLAVOUR: unknown: see tests/vm/kernel.bash" ;;
	esac
}

# Can that guest's kernel seal channels?
vm_kernel_seals() { vm_run "$1" 'modprobe -q gcm; grep -qw crypto_gcm_encrypt /proc/kallsyms'; } # NAME

# A kernel with checks is slow, needs memory, and is there to see races.
vm_kernel_has_checks() { [[ ${VM_FLAVOUR-} == debug* || ${VM_FLAVOUR-} == kcsan ]]; }

# How much a test moves: a kernel with checks copies slowly and gets an eighth.
vm_load() { echo $(($1 / ($(vm_kernel_has_checks && echo 8 || echo 1)))); } # AMOUNT

_vm_setting() # NAME
{
	local file args

	read -r file args < <(_vm_flavour) || return
	sed -n "s|\$(CURDIR)|$VM_TOP|; s/^KERNEL_$1 := //p" "$VM_BUILD/cache/$file" 2>/dev/null
}

vm_kernel_release() { _vm_setting RELEASE; }
vm_kernel_image() { _vm_setting IMAGE; }
vm_initrd() { echo "$VM_BUILD/guest/initrd-$(vm_kernel_release).cpio"; }

vm_kernel_args()
{
	local file extra args="console=ttyS0 loglevel=5 panic=-1 nokaslr mitigations=off no_timer_check nowatchdog"

	args+=" cryptomgr.notests rcupdate.rcu_expedited=1 random.trust_cpu=on"
	args+=" selinux=0 apparmor=0"
	if [[ $(vm_accel) == tcg ]]; then
		# an emulated guest sees the host's counter and cannot calibrate it
		args+=" tsc=reliable tsc_early_khz=$(vm_tsc_khz)"
	elif [[ $(vm_accel) == icount ]]; then
		args+=" tsc=reliable tsc_early_khz=1000000"
	fi
	read -r file extra < <(_vm_flavour) || return
	echo "$args${extra:+ $extra}"
}

vm_tsc_khz()
{
	local known=$VM_RUN/tsc-khz

	[[ -s $known ]] || "$VM_BUILD/bin/tsc-khz" >"$known"
	echo "$(<"$known")"
}

# --- accelerator ----------------------------------------------------------------------------------
# /dev/kvm may be there and not work: a short boot decides, once; SIV_ACCEL decides otherwise.

VM_PROBE_SECONDS=10

vm_accel()
{
	local known=$VM_BUILD/cache/accel

	if [[ ${SIV_ACCEL-} ]]; then
		echo "$SIV_ACCEL"
		return
	fi
	[[ -s $known ]] || _vm_probe_accel >"$known"
	echo "$(<"$known")"
}

# Kernel messages and time-outs of the attempt stay in build/logs/accel-probe.
_vm_probe_accel()
(
	exec 3>&-
	# a folder deeper than suites' VMs: the attempt is none of them
	VM_RUN=$VM_RUN/probe SIV_ACCEL=kvm VM_SLOW=1
	vm_kernel_has_checks && VM_FLAVOUR='' # it boots slowly
	VM_LOGS=$VM_BUILD/logs/accel-probe VM_BOOT_SECONDS=$VM_PROBE_SECONDS
	unset -f vm_qemu_args
	if [[ -r /dev/kvm && -w /dev/kvm ]]; then
		mkdir -p "$VM_LOGS"
		if vm_boot kvm >"$VM_LOGS/probe.log" 2>&1; then
			vm_kill kvm
			echo kvm
			return
		fi
		vm_kill kvm
	fi
	echo tcg
)

vm_accel_args()
{
	case $(vm_accel) in
	tcg)
		# erms and fsrm make large copies slow when emulated; with cx16, 6.12 crashes
		echo "-accel tcg,thread=multi -machine pc,usb=off,vmport=off -cpu max,-erms,-fsrm,-cx16" ;;
	icount)
		# one VM alone: a nanosecond of its clock is an instruction, and nothing else is
		echo "-accel tcg,thread=single -icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm"
		echo "-machine pc,usb=off,vmport=off -cpu max,-erms,-fsrm,-cx16" ;;
	kvm)
		echo "-accel kvm -machine pc,usb=off,vmport=off -cpu host" ;;
	*)
		_vm_error "SIV_ACCEL: $SIV_ACCEL: tcg, kvm or icount" ;;
	esac
}
