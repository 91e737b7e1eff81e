# SPDX-License-Identifier: BSD-2-Clause
# Guests' kernel logs: what must not be in them, checked after every test from where the last check
# ended. The log is the console's, which has every message of "info" and above once init runs and
# stays readable when the guest is dead. Sourced by vm.bash.

KLOG_REPORTS='BUG:|WARNING:|Oops|KASAN|UBSAN|ODEBUG|possible (circular|recursive|irq lock)'
KLOG_REPORTS+='|inconsistent lock state|suspicious RCU|invalid wait context|INFO: task .* blocked'
KLOG_REPORTS+='|(INFO: rcu|rcu: INFO:|rcu_.* detected)|general protection|kmemleak: [1-9]|segfault at'
KLOG_REPORTS+='|Kernel panic|Call Trace:|[Uu]nable to handle|refcount_t:|Bad page|double fault'
KLOG_REPORTS+='|soft lockup|workqueue lockup|list_(add|del) corruption|still has locks held'
KLOG_REPORTS+='|lockdep is turned off|turning off the locking correctness validator'
KLOG_REPORTS+='|sysfs: cannot create duplicate|trying to register non-static key'
# seccomp: a daemon was refused a system call that it made
KLOG_REPORTS+='|type=1326'
KLOG_CONTEXT_LINES=40

_klog() { echo "$VM_LOGS/$1/console.log"; }

# Forgets what a VM has logged so far: after a panic that a test wanted.
klog_skip() # NAME
{
	vm_running "$1" && _klog_mark "$1" "skipped to here"
	stat -c %s "$(_klog "$1")" >"$VM_RUN/$1/klog-offset"
}

# Console output is synchronous, so once the guest has answered, what came before is in the file.
# A lockdep that has switched itself off checks nothing any more, and may have said so only once.
_klog_mark() # NAME TEXT
{
	"$VMEXEC" -t "$(_vm_seconds 10)" "$VM_RUN/$1/exec" sh -c '
		grep -qs " debug_locks: *0$" /proc/lockdep_stats &&
			echo "<4>vm: lockdep is turned off" >/dev/kmsg
		echo "<6>vm: $1" >/dev/kmsg' mark "$2" 2>/dev/null || true
}

# Leaves out data races (KCSAN) among functions of the kernel alone, which has some.
_klog_without_foreign_races()
{
	awk '
		/====================\r?$/ && block == "" { block = $0; next }
		block == "" { print; next }
		{ block = block "\n" $0 }
		/====================\r?$/ {
			if (block !~ /BUG: KCSAN/ || block ~ /af_sivshmem/) print block
			block = ""
		}
		END { if (block != "") print block }'
}

# Fails, and prints the place, if a VM's kernel has reported anything since the last check.
klog_check() # NAME
{
	local log offset=0 state=$VM_RUN/$1/klog-offset found

	log=$(_klog "$1")
	[[ -e $log ]] || return 0
	[[ ! -e $state ]] || offset=$(<"$state")
	if vm_running "$1"; then
		_klog_mark "$1" "end of: ${BATS_TEST_DESCRIPTION:-boot}"
	fi
	found=$(tail -c "+$((offset + 1))" "$log" | _klog_without_foreign_races |
		grep -aEm1 -A "$KLOG_CONTEXT_LINES" "$KLOG_REPORTS" || true)
	stat -c %s "$log" >"$state"
	[[ $found ]] || return 0
	printf '%s: the kernel reports:\n%s\n' "$1" "$found" >&2
	return 1
}
