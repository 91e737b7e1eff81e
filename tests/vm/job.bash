# SPDX-License-Identifier: BSD-2-Clause
# Background processes that tests can await from any shell: QEMU, daemons on the host, commands in
# guests. A job is a folder: pid, out, err, code (once it has ended) and a lock that is held for as
# long as it lives. Sourced by vm.bash.

# job_start FOLDER COMMAND...
# The lock is taken and the pid known before this returns, so that no wait comes too early.
job_start()
{
	local dir=$1 lock pid

	shift
	rm -rf "$dir" && mkdir -p "$dir"
	: >"$dir/out" >"$dir/err"
	: >"$dir/code"
	exec {lock}>"$dir/lock"
	flock "$lock"
	# Descriptor 3 is bats' own: whoever holds it keeps bats from ending.
	read -r pid < <(
		exec 2>>"$dir/err" 3>&-
		"$@" >>"$dir/out" {lock}>&- </dev/null &
		echo "$!"
		exec >/dev/null
		code=0
		wait "$!" || code=$?
		echo "$code" >"$dir/code"
	)
	exec {lock}>&-
	echo "$pid" >"$dir/pid"
}

job_running() # FOLDER
{
	[[ -e $1/lock ]] && ! flock -n "$1/lock" true
}

# job_wait FOLDER [SECONDS]: waits for its end; returns its exit code, or 124 when time is up.
job_wait()
{
	[[ -e $1/lock ]] || return 125
	flock -w "${2:-60}" "$1/lock" true || return 124
	return "$(<"$1/code")"
}

job_signal() # FOLDER SIGNAL
{
	job_running "$1" && kill -s "$2" "$(<"$1/pid")"
}

# job_stop FOLDER [SECONDS]: SIGTERM, and SIGKILL if that is not enough. Returns as job_wait.
job_stop()
{
	local code=0

	job_signal "$1" TERM || true
	job_wait "$1" "${2:-10}" || code=$?
	if ((code == 124)); then
		job_signal "$1" KILL || true
		job_wait "$1" 10 || true
	fi
	return "$code"
}

# job_await_line FOLDER REGEX [SECONDS [FROM]]: waits until a line of its output, on either stream,
# matches, from that line of each on.
# 1 if it ended without one, 124 when time is up. The line is printed.
job_await_line()
{
	local dir=$1 regex=$2 seconds=${3:-30} from=${4:-1} ended='^exited with [0-9]+$' code=124 line lines tail

	# tail wakes by inotify; flock tells that no more output comes
	exec {lines}< <(
		exec 3>&- 2>/dev/null
		# as long as tail at most: whoever holds the pipe keeps the reader waiting
		{ flock -w "$seconds" "$dir/lock" true && echo "exited with $(<"$dir/code")"; } &
		exec timeout "$seconds" tail -q -f -n "+$from" "$dir/out" "$dir/err"
	)
	tail=$!
	while read -r -u "$lines" line; do
		if [[ $line =~ $ended ]]; then
			code=1
			# the end may overtake the last lines
			line=$(tail -q -n "+$from" "$dir/out" "$dir/err" | grep -E -m1 -- "$regex") && code=0
		elif [[ $line =~ $regex ]]; then
			code=0
		else
			continue
		fi
		break
	done
	exec {lines}<&-
	kill "$tail" 2>/dev/null || true
	((code)) || echo "$line"
	return "$code"
}
