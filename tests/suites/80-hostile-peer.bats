#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# A peer whose kernel is hostile. adas is mallory: a lab module beside af_sivshmem maps all of the link's
# memory and its doorbell into a process, which writes there what it likes. cockpit is the victim.
#
# What is written are first channels that exist to be attacked, while others of the same link carry
# checked bytes; then everything of the link, with floods, while cockpit's local link does. From the
# environment: HOSTILE_SEED to repeat a run, HOSTILE_CYCLES of HOSTILE_WORDS each and HOSTILE_SECONDS
# of each of the others for more.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

SEED=${HOSTILE_SEED:-$RANDOM}
WORDS=${HOSTILE_WORDS:-$(vm_load 4000000)}
CYCLES=${HOSTILE_CYCLES:-6}
ATTACK_SECONDS=${HOSTILE_SECONDS:-10}
STYLES=11 # processes of siv-prey

siv_agent_conf()
{
	case $1 in
	cockpit) printf 'service "%s" { user = "%s" }\n' dashboard root inside fusion ;;
	adas) printf 'service "%s" { user = "%s" }\n' check root prey root ;;
	esac
}

setup_file()
{
	siv_write_host_conf
	sed -i '/^vm/d; /^allow/,/to = /d' "$SIV_HOST_CONF"
	cat >>"$SIV_HOST_CONF" <<-EOF
		vm "cockpit" { services = {"dashboard", "inside"} }
		vm "adas" { services = {"check", "prey"} }
		allow { from = "cockpit/dashboard"
		        to = "adas/check" }
		allow { from = "cockpit/dashboard"
		        to = "adas/prey" }
		allow { from = "cockpit/dashboard"
		        to = "cockpit/inside" }
	EOF
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	vm_run adas 'modprobe siv_lab'
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
	vm_job cockpit inside -u fusion siv-check serve siv:///inside
	vm_job_await_line cockpit inside listening
}

teardown_file() { siv_teardown_file; }

# Checked bytes, one connection after the other, until honest_stop; a line for each.
honest() # JOB URL
{
	vm_job cockpit "$1" "rm -f /tmp/$1.stop
		until [ -e /tmp/$1.stop ]; do
			siv-check run $2 duplex 1 >/dev/null || exit 1
			echo carried
		done"
	vm_job_await_line cockpit "$1" carried 60
}

honest_stop() # JOB
{
	vm_run cockpit "touch /tmp/$1.stop"
	vm_job_wait cockpit "$1" 60
}

carried() { wc -l <"$(vm_job_dir cockpit "$1")/out"; } # JOB

# Waits until JOB has carried a MiB each way all of which it began after it had carried N.
await_carries() # JOB N
{
	job_await_line "$(vm_job_dir cockpit "$1")" carried "$(_vm_seconds 120)" $(($2 + 2)) >/dev/null
}

tell_carried() # JOB N
{
	echo "# $1: $(($(carried "$1") - $2)) MiB each way meanwhile" >&3
}

adas_agent() { vm_run adas pidof sivshmem-agent; }

mallory() # JOB ARGUMENT...
{
	local job=$1

	shift
	vm_job adas "$job" siv-mallory "$@" --seed "$SEED"
}

# Ends its attack, which is under way, once it has gone on for long enough.
mallory_end() # JOB SECONDS
{
	vm_job_signal adas "$1" TERM
	vm_job_wait adas "$1" "$2"
}

# What cockpit's kernel counted of the link to adas.
counted() # COUNTER
{
	vm_run cockpit sivctl --json status |
		jq ".links[] | select(.kind == \"pci\") | .$1"
}

# Fails if one of its processes ended by itself, or cannot be killed.
prey_stop()
{
	vm_job_signal cockpit prey TERM
	vm_job_wait cockpit prey 60
}

interrupts() { vm_run cockpit "awk '/af_sivshmem/ { print \$2 }' /proc/interrupts"; }

# bats test_tags=smoke
@test "channels that a hostile kernel writes over end, and others of the same link go on" {
	local link local_link violations

	echo "# seed $SEED" >&3
	mallory hunter channels siv:///prey "$(adas_agent)" --cycles "$CYCLES" --clients $STYLES \
		--words "$WORDS"
	vm_job_await_line adas hunter listening
	vm_job cockpit ping siv-check run siv://adas/check ping
	vm_job_await_line cockpit ping connected
	honest honest siv://adas/check
	honest local siv://cockpit/inside
	violations=$(counted violations)

	vm_job cockpit prey siv-prey siv://adas/prey
	vm_job_await_line cockpit prey running
	vm_job_await_line adas hunter '^attacked' 120
	link=$(carried honest) local_link=$(carried local)
	await_carries honest "$link"
	await_carries local "$local_link"
	mallory_end hunter 200
	tell_carried honest "$link"
	tell_carried local "$local_link"
	prey_stop
	cat "$(vm_job_dir adas hunter)/out" "$(vm_job_dir cockpit prey)/out" | sed 's/^/# /' >&3

	honest_stop honest
	honest_stop local
	echo "# $(($(counted violations) - violations)) violations" >&3
	(($(counted violations) > violations))
	vm_job_signal cockpit ping USR1
	vm_job_await_line cockpit ping 'pong 1'
	vm_job_signal cockpit ping TERM
	vm_job_wait cockpit ping
	siv_await_no_channels
}

# What is open on the link is its peer's to harm; all else of the victim is not. In $attacked the
# seconds that it took.
attack_link() # COMMAND SECONDS
{
	local before started

	honest local siv://cockpit/inside
	vm_job cockpit prey siv-prey siv://adas/prey
	vm_job_await_line cockpit prey running
	vm_job cockpit ticks siv-prey ticks
	vm_job_await_line cockpit ticks running
	started=$SECONDS
	mallory "$1" "$1" "$(adas_agent)" --seconds "$2"
	vm_job_await_line adas "$1" attacking
	before=$(carried local)
	await_carries local "$before"
	mallory_end "$1" $(($2 + 60))
	attacked=$((SECONDS - started + 1))
	tell_carried local "$before"
	prey_stop
	vm_job_signal cockpit ticks TERM
	vm_job_wait cockpit ticks 60
	cat "$(vm_job_dir adas "$1")/out" "$(vm_job_dir cockpit ticks)/out" | sed 's/^/# /' >&3
	honest_stop local
}

# Another epoch of the link, as after a reboot of adas.
reset_link()
{
	local driver=/sys/bus/pci/drivers/af_sivshmem epoch

	epoch=$(siv_ctl --json status | jq '.links[] | select(.link == "cockpit--adas") | .epoch')
	vm_run adas "cd $driver && device=\$(basename 0000:*) && echo \$device >unbind &&
		echo \$device >bind"
	host_job_await_line hostd "link cockpit--adas: up in epoch $((epoch + 1))\$" 30
}

# Every slot and every page is free again, and all of them can be used.
assert_link_as_new()
{
	reset_link
	siv_await_no_channels
	vm_run cockpit siv-check run siv://adas/check duplex 1
	vm_run cockpit -t 120 siv-check run siv://adas/check many 64
	siv_await_no_channels
	run siv_ctl --json status
	assert_success
	assert_equal "$(jq -c '.links[] | select(.link == "cockpit--adas") | [.used, .channels]' \
		<<<"$output")" '[0,0]'
}

@test "lies about events, heartbeat and slots hurt that link alone, and are counted" {
	local before

	before=$(counted bad_events)
	attack_link link "$ATTACK_SECONDS"
	(($(counted bad_events) > before))
	assert_link_as_new
}

@test "a flood of doorbells is masked and counted, and the guest goes on" {
	local hz=250 # of the kernels that guests have, at most
	local seconds=$(((ATTACK_SECONDS + 1) / 2)) attacked floods interrupts looks

	interrupts=$(interrupts) floods=$(counted floods)
	attack_link ring "$seconds"
	interrupts=$(($(interrupts) - interrupts))
	echo "# $interrupts interrupts, masked $(($(counted floods) - floods)) times" >&3
	# SIV_IRQ_CREDIT, and of each jiffy SIV_IRQ_REFILL and the one that is masked for
	((interrupts > 0 && interrupts <= 1024 + 2 * hz * attacked))

	floods=$(counted floods) looks=$(counted bad_events)
	attack_link flood "$seconds"
	floods=$(($(counted floods) - floods)) looks=$(($(counted bad_events) - looks))
	echo "# masked $floods times, $looks looks at all channels" >&3
	((floods > 0))
	# after each look at all channels there is none for a jiffy at least
	((looks > 0 && looks <= hz * attacked))
	assert_link_as_new
}

# Interrupts of the link without an event that the handler took.
handled() # TIMES N
{
	local before

	before=$(interrupts)
	hz=$(vm_run cockpit siv-prey interrupts "$1" "$2")
	handled=$(($(interrupts) - before))
	echo "# $(($1 * $2)) interrupts without events, $2 in a jiffy: $handled were handled" >&3
}

@test "interrupts without events are masked: so many in a jiffy, and so many altogether" {
	local driver=/sys/bus/pci/drivers/af_sivshmem epoch floods handled hz jiffy
	local credit=1024 # SIV_IRQ_CREDIT

	# a driver that starts anew has all of SIV_IRQ_CREDIT
	epoch=$(siv_ctl --json status | jq '.links[] | select(.link == "cockpit--adas") | .epoch')
	vm_run cockpit "modprobe siv_lab; cd $driver && device=\$(basename 0000:*) &&
		echo \$device >unbind && echo \$device >bind"
	host_job_await_line hostd "link cockpit--adas: up in epoch $((epoch + 1))\$" 30
	floods=$(counted floods)

	# SIV_IRQ_FLOOD, and the one that masks
	handled 1 2000
	jiffy=$((128000 / hz < credit ? 128000 / hz : credit))
	((handled > jiffy / 2 && handled <= jiffy + 2))
	(($(counted floods) == floods + 1))

	# fewer than that: the credit that is left, and then in each jiffy the one that it gives back, the
	# one that masks, and one that came while it was masked
	handled 100 100
	((handled > 100 && handled <= credit + 3 * 100))
	(($(counted floods) > floods + 1))
	assert_link_as_new
}
