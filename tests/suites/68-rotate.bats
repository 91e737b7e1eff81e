#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The host's authority is replaced while both agents live: connects that carry checked bytes follow
# each other all the time, a channel is open from the first test to the last, and none of them
# notices. Afterwards the former authority's word counts nothing.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check
EKEYREJECTED=129

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	siv_serve_and_ping
	vm_job cockpit traffic "until [ -e /tmp/enough ]
		do siv-check run $URL duplex 1 || exit 1; echo round; done"
}

teardown_file() { siv_teardown_file; }

# The channel is the one that it was, and no connect has failed.
teardown()
{
	siv_assert_ping
	vm_check_logs
}

# Two more rounds of the traffic are through: at least one of them has begun since.
await_traffic()
{
	local dir rounds
	dir=$(vm_job_dir cockpit traffic)

	rounds=$(grep -c '^round' "$dir/out" || true)
	job_await_line "$dir" '^round' "$(_vm_seconds 60)" $(($(wc -l <"$dir/out") + 1))
	job_await_line "$dir" '^round' "$(_vm_seconds 60)" $(($(wc -l <"$dir/out") + 1))
	(($(grep -c '^round' "$dir/out") >= rounds + 2))
}

status() { siv_ctl --json status | jq -c "$1"; } # FILTER

hostd_lines() { echo $(($(wc -l <"$(host_job_dir hostd)/err") + 1)); }

await_hostd() { job_await_line "$(host_job_dir hostd)" "$2" "$(_vm_seconds 60)" "$1"; } # FROM REGEX

# Replaces the authority, and waits until the former one is dropped.
rotate()
{
	local from before
	from=$(hostd_lines)
	before=$(status .authority.sha256)

	siv_ctl ca rotate
	await_hostd "$from" 'ca-drop: .* every agent has renewed'
	[[ $(status .authority.sha256) != "$before" ]]
	assert_equal "$(status .former_authority)" null
}

@test "the authority is replaced three times under traffic, and nobody notices" {
	local i

	await_traffic
	for i in 1 2 3; do
		rotate
		await_traffic
	done
	vm_run cockpit touch /tmp/enough
	vm_job_wait cockpit traffic # 0: none of them failed
	assert_equal "$(grep -c '"event":"ca-rotate"' "$SIV_AUDIT")" 3
	assert_equal "$(grep -c '"event":"ca-drop"' "$SIV_AUDIT")" 3
	assert_equal "$(grep -c '"event":"connect","verdict":"refused"' "$SIV_AUDIT" || true)" 0
	run siv_ctl status
	assert_output --partial 'authority: O = car.example, CN = sivshmem CA, sha256 '
	refute_output --partial 'former authority'
}

# The former authority is kept for an agent that is there and does nothing.
rotate_with_adas_stopped()
{
	local from

	vm_run adas 'kill -STOP $(pidof sivshmem-agent)'
	from=$(hostd_lines)
	siv_ctl ca rotate
	await_hostd "$from" 'vm cockpit: certificates renewed'
	run siv_ctl status
	assert_output --partial 'former authority: O = car.example, CN = sivshmem CA'
	assert_output --partial 'agents that have not renewed: 1'
}

@test "an agent that does not renew is waited for, and renews once it can" {
	local from

	rotate_with_adas_stopped
	run siv_ctl ca rotate
	assert_failure 1
	assert_output --partial 'the last rotation has not ended'
	from=$(hostd_lines)
	vm_run adas 'kill -CONT $(pidof sivshmem-agent)'
	await_hostd "$from" 'ca-drop: .* every agent has renewed'
	vm_run cockpit -t 120 siv-check run "$URL" duplex 1
}

@test "a host that is killed in the middle goes on with it, and the channel goes on" {
	rotate_with_adas_stopped
	kill -KILL "$(host_job_pid hostd)"
	host_job_wait hostd || true
	siv_hostd_start
	# to the host that agent is away now; it has missed that there was another one, and is told
	host_job_await_line hostd 'ca-drop: .* every agent has renewed' 60
	vm_run adas 'kill -CONT $(pidof sivshmem-agent)'
	host_job_await_line hostd 'vm adas: its agent is back' 60
	host_job_await_line hostd 'link cockpit--adas: up in epoch' 60
	vm_run cockpit -t 120 siv-check run "$URL" duplex 1
	assert_equal "$(status .former_authority)" null
}

@test "to an operator's authority, by a reload" {
	local from key=$VM_RUN/op.key crt=$VM_RUN/op.crt

	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$key" \
		-out "$crt" -subj /CN=operator -days 2 \
		-addext keyUsage=critical,keyCertSign 2>/dev/null
	chmod 600 "$key"
	cp "$SIV_HOST_CONF" "$VM_RUN/host.conf.kept"
	echo "ca { certificate = \"$crt\" key = \"$key\" }" >>"$SIV_HOST_CONF"
	from=$(hostd_lines)
	siv_ctl reload
	await_hostd "$from" 'ca-drop: O = car.example, CN = sivshmem CA is trusted no more'
	assert_equal "$(status .authority.name)" '"CN = operator"'
	vm_run cockpit -t 120 siv-check run "$URL" duplex 1
	# and back to the one in the state folder
	cp "$VM_RUN/host.conf.kept" "$SIV_HOST_CONF"
	from=$(hostd_lines)
	siv_ctl reload
	await_hostd "$from" 'ca-drop: CN = operator is trusted no more'
	vm_run cockpit -t 120 siv-check run "$URL" duplex 1
}

lab_agent() # VM CA_FILE
{
	vm_job_kill "$1" agent
	vm_job "$1" agent env SIV_LAB="san=spiffe://car.example/vm/adas/service/check" \
		SIV_LAB_CA="$2" lab-agent --config /etc/sivshmem/agent.conf --log-level debug \
		--ready-fd 1
	vm_job_await_line "$1" agent '^ready$' "$SIV_READY_SECONDS"
}

@test "after it, a certificate of the former authority is refused, and one of the present is not" {
	local lines

	vm_put adas "$VM_RUN/state/ca.pem" /tmp/former.pem
	rotate
	vm_put adas "$VM_RUN/state/ca.pem" /tmp/present.pem
	lab_agent adas /tmp/present.pem
	vm_run cockpit -t 120 siv-check run "$URL" duplex 1
	lab_agent adas /tmp/former.pem
	lines=$(wc -l <"$SIV_AUDIT")
	vm_run cockpit siv-check run "$URL" refused $EKEYREJECTED
	run jq -c 'select(.verdict == "refused" and .reason == "certificate")' \
		<(tail -n +"$((lines + 1))" "$SIV_AUDIT")
	assert_output --partial '"peer_service":"check"'
	vm_job_kill adas agent
	siv_agent_start adas
	vm_run cockpit -t 120 siv-check run "$URL" duplex 1
}
