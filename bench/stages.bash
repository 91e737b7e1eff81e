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

# Daemons and servers that ended, badly or too early, with the last thing they said.
ended_jobs()
{
	local dir code

	for dir in "$VM_LOGS"/*/jobs/* "$VM_LOGS"/host/*; do
		code=$(cat "$dir/code" 2>/dev/null) || continue
		[[ $code && $code != 0 && $code != 143 ]] || continue # 143: it was told to end
		printf 'bench: %s ended with %d: %s\n' "${dir#"$VM_LOGS"/}" "$code" \
			"$(tail -n 1 "$dir/err")" >&2
	done
}

# What the failed command said is above this.
stage_failed() # EXIT_CODE
{
	trap - ERR
	ended_jobs
	printf 'bench: %s%s: failed with %d: see %s\n' "$STAGE" "${DETAIL:+: $DETAIL}" "$1" \
		"$VM_LOGS" >&2
	exit 1
}

bench_end()
{
	trap - ERR
	set +e
	vm_stop_all
	[[ ! -d $VM_RUN/run ]] || lab_host_stop
	rm -rf "$VM_RUN" ${NATIVE_MEMORY:+"$NATIVE_MEMORY"}
}

# subshells report to their parent
trap 'code=$?; ((BASH_SUBSHELL)) || stage_failed $code' ERR
trap bench_end EXIT
trap 'exit 143' INT TERM HUP
