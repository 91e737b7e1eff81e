# SPDX-License-Identifier: BSD-2-Clause
# What the bench is doing, what it did when it failed, and its end. Sourced by run.

STAGE='' DETAIL=''

die() { printf 'bench: %s\n' "$*" >&2; exit 1; }

stage() # TEXT
{
	STAGE=$1 DETAIL=''
	printf '  %-8s %3d s  %s\n' BENCH "$SECONDS" "$1"
}

stage_detail() { DETAIL=$1; }

# What the command itself said is above this.
stage_failed() # EXIT_CODE
{
	trap - ERR
	printf 'bench: %s%s: failed with %d: see %s\n' "$STAGE" "${DETAIL:+: $DETAIL}" "$1" \
		"$VM_LOGS" >&2
	exit 1
}

bench_end()
{
	trap - ERR
	set +e
	vm_stop_all
	lab_host_stop
	rm -rf "$VM_RUN"
}

# subshells report to their parent
trap 'code=$?; ((BASH_SUBSHELL)) || stage_failed $code' ERR
trap bench_end EXIT
trap 'exit 143' INT TERM HUP
