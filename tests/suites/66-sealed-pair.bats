#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Sealed channels between two VMs, by the host's policy, with everything in place: what lies in the
# link's memory, and what comes of changing it. A plain channel on the same link goes on from the first
# test to the last.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check PLAIN_URL=siv://adas/cache
EOPNOTSUPP=95
RECORD=32 # bytes in the ring of one of eight: header, ciphertext, tag
STATE=256 END=264 # in a control page

setup_file()
{
	siv_write_host_conf
	sed -i '/from = "cockpit\/dashboard"/{N;s|to = "adas/check" }|to = "adas/check" sealed = true }|}' \
		"$SIV_HOST_CONF"
	siv_host
	vm_pair cockpit adas
	# a debug kernel may have been built without; the others have it, or that is what fails
	vm_kernel_seals adas || { vm_kernel_has_checks; touch "$BATS_FILE_TMPDIR/no-sealing"; }
	siv_guest cockpit
	siv_guest adas
	siv_serve_and_ping
}

setup()
{
	[[ ! -e $BATS_FILE_TMPDIR/no-sealing ]] || skip "this kernel has no gcm(aes)"
}

# The plain channel is the one that it was.
teardown()
{
	siv_assert_ping
	vm_check_logs
}

teardown_file() { siv_teardown_file; }

check() { vm_run cockpit -t 120 siv-check run "$URL" "$@"; }
guest_ctl() { vm_run "$1" sivctl --socket /run/sivshmem/agent.sock "${@:2}"; } # VM COMMAND...

# Where the newest channel's control pages are in the link's memory, and its two rings.
newest_channel()
{
	channel=$(siv_newest_channel)
	client_page=$(jq '.offset' <<<"$channel")
	server_page=$(jq '.offset + 4096' <<<"$channel")
	to_server=$(jq '.offset + 8192' <<<"$channel")
	to_client=$(jq '.offset + 8192 + .to_server_bytes' <<<"$channel")
}

memory_get() # OFFSET BYTES
{
	dd if="$(siv_link_memory)" bs=1 skip="$1" count="$2" status=none
}

memory_copy() # FROM TO BYTES
{
	memory_get "$1" "$3" | dd of="$(siv_link_memory)" bs=1 seek="$2" conv=notrunc status=none
}

hold() # CASE ARG
{
	vm_job cockpit held siv-check run "$URL" "$@"
	vm_job_await_line cockpit held waiting
	newest_channel
}

# N records wait in the client's ring, and both ends have said that no more come.
hold_records() { hold records-held "$1"; } # N

# One bit of a byte is another one.
flip() # OFFSET
{
	siv_scribble "$1" "\\x$(printf %02x $(($(memory_get "$1" 1 | od -An -tu1) ^ 1)))"
}

# What recv() gave of what was held, in one line, and whether the client's kernel has found who lies.
assert_held_gives() # RESULTS
{
	local agent from
	agent=$(vm_job_dir cockpit agent)
	from=$(($(wc -l <"$agent/err") + 1))
	assert_held_is_told "$1"
	# the agent hears of it later, by an event
	[[ $1 != *ECONNRESET ]] ||
		job_await_line "$agent" "broke the ring's rules: channel reset" 30 "$from"
}

assert_held_is_told() # RESULTS
{

	vm_job_signal cockpit held USR1
	vm_job_await_line cockpit held 'recv: ([A-Z]|the end)'
	vm_job_wait cockpit held
	run sed -n 's/^recv: //p' "$(vm_job_dir cockpit held)/out"
	assert_equal "$(paste -sd, <<<"$output")" "$1"
}

violations() { guest_ctl cockpit --json status | jq .violations; }

# In all, as the agent has counted them.
assert_violations() # N
{
	assert_equal "$(violations)" "$1"
	run guest_ctl cockpit status
	assert_output --partial "because the peer broke the rules: $1"
}

@test "the line of policy that seals is told" {
	run siv_ctl explain cockpit/dashboard "$URL"
	assert_output --partial 'allowed, sealed, by'
	run siv_ctl explain cockpit/dashboard "$PLAIN_URL"
	assert_output --partial 'allowed by'
}

# bats test_tags=smoke
@test "a socket says that it is sealed, and can neither be mapped nor be direct" { check sealed; }
@test "what is sent each way at once in odd sizes arrives unchanged" { check duplex "$(vm_load 16)"; }
@test "records of odd lengths and empty ones stay what they are" { check records 500; }
@test "what was sent before close is read before the end" { check data-before-eof; }
@test "a peer that closes with data unread gives ECONNRESET, and no end of file" { check peer-abort; }
@test "keys are changed on the way, by streams and by records" { check seal-rekey; }

@test "what is sent is not to be found in the link's memory" {
	local marker=sivshmem-marker-0815-do-not-leak from

	vm_job cockpit open siv-check run "$PLAIN_URL" marker "$marker"
	vm_job_await_line cockpit open written
	run grep -ao "$marker" "$(siv_link_memory)"
	assert_line --index 1 "$marker" # there, and the echo
	from=$(($(wc -l <"$(host_job_dir hostd)/err") + 1))
	vm_job_kill cockpit open
	# its pages are zeroed, and only the plain channel of all tests is left
	job_await_line "$(host_job_dir hostd)" \
		'link cockpit--adas: a channel is free again, 1 are open' 30 "$from"
	vm_job cockpit open siv-check run "$URL" marker "$marker"
	vm_job_await_line cockpit open written
	run guest_ctl cockpit channels
	assert_output --partial ', sealed,'
	run grep -ao "$marker" "$(siv_link_memory)"
	assert_output ''
	vm_job_kill cockpit open
}

@test "the same bytes are others in the memory of the next channel, which was resumed" {
	local i seen=()

	for i in 0 1 2; do
		hold_records 1
		seen+=("$(memory_get "$to_server" $RECORD | od -An -tx1 -v | tr -d ' \n')")
		seen+=("$(memory_get "$to_client" $RECORD | od -An -tx1 -v | tr -d ' \n')")
		assert_held_gives 'record 0,the end'
	done
	run tail -n 1 "$SIV_AUDIT"
	assert_output --partial '"resumed":true'
	for i in "${seen[@]}"; do
		assert_equal "${i:0:8}" 18000000 # it is a record of 24 bytes, with its tag
	done
	assert_equal "$(printf '%s\n' "${seen[@]}" | sort -u | wc -l)" 6
}

@test "a record that was changed in any part resets its channel, and is not delivered" {
	local at before

	hold_records 1
	assert_held_gives 'record 0,the end'
	before=$(violations)
	# len twice, flags, the ciphertext's ends, the tag's ends
	for at in 0 3 4 8 15 16 31; do
		hold_records 2
		flip $((to_client + at))
		assert_held_gives ECONNRESET
	done
	assert_violations $((before + 7))
}

@test "a record that was repeated, moved, left out or cut resets its channel" {
	local before

	before=$(violations)
	hold_records 3
	memory_copy "$to_client" $((to_client + RECORD)) $RECORD
	assert_held_gives 'record 0,ECONNRESET'
	hold_records 3
	memory_copy $((to_client + RECORD)) $((to_client + 3 * RECORD)) $RECORD
	memory_copy "$to_client" $((to_client + RECORD)) $RECORD
	memory_copy $((to_client + 3 * RECORD)) "$to_client" $RECORD
	assert_held_gives ECONNRESET
	hold_records 3
	memory_copy $((to_client + 2 * RECORD)) $((to_client + RECORD)) $RECORD
	assert_held_gives 'record 0,ECONNRESET'
	# one of the other direction
	hold_records 1
	memory_copy "$to_server" "$to_client" $RECORD
	assert_held_gives ECONNRESET
	# the position behind the second, within it, and within its header
	hold_records 3
	siv_scribble "$server_page" '\x38'
	assert_held_gives 'record 0,ECONNRESET'
	hold_records 3
	siv_scribble "$server_page" '\x24'
	assert_held_gives 'record 0,ECONNRESET'
	# further than what was written
	hold_records 1
	siv_scribble "$server_page" '\x40'
	assert_held_gives 'record 0,ECONNRESET'
	assert_violations $((before + 7))
}

@test "a direction that is called ended early resets its channel, and gives no end of file" {
	local before

	before=$(violations)
	# both are as long as they say; the position is where the second begins
	hold_records 3
	siv_scribble "$server_page" '\x20'
	assert_held_gives 'record 0,ECONNRESET'
	hold stream-held 20000
	siv_scribble "$server_page" '\x30\x27'
	assert_held_gives '10007 bytes,ECONNRESET'
	# nothing at all has come
	hold_records 1
	siv_scribble "$server_page" '\x00'
	assert_held_gives ECONNRESET
	# nobody has ended it, and the state says so
	hold_records 1o
	siv_scribble $((server_page + STATE)) '\x03'
	assert_held_gives 'record 0,ECONNRESET'
	assert_violations $((before + 4))
}

@test "an end that is not there, was changed or is another one resets its channel" {
	local at before

	before=$(violations)
	hold_records 2e
	assert_held_gives 'record 0,empty,the end'
	hold_records 1
	siv_scribble $((server_page + END)) "$(printf '\\x00%.0s' {1..16})"
	assert_held_gives 'record 0,ECONNRESET'
	for at in 0 15; do
		hold_records 1
		flip $((server_page + END + at))
		assert_held_gives 'record 0,ECONNRESET'
	done
	# that of the other direction
	hold_records 1
	memory_copy $((client_page + END)) $((server_page + END)) 16
	assert_held_gives 'record 0,ECONNRESET'
	# an empty record is not an end, nor an end an empty record
	hold_records 2e
	memory_copy $((to_client + RECORD + 8)) $((server_page + END)) 16
	siv_scribble "$server_page" '\x20'
	assert_held_gives 'record 0,ECONNRESET'
	hold_records 1
	siv_scribble $((to_client + RECORD)) '\x10\x00\x00\x00\x02\x00\x00\x00'
	memory_copy $((server_page + END)) $((to_client + RECORD + 8)) 16
	siv_scribble "$server_page" '\x38'
	assert_held_gives 'record 0,ECONNRESET'
	assert_violations $((before + 6))
}

@test "who says that a channel is reset makes no end of file" {
	local before

	before=$(violations)
	hold_records 1o
	siv_scribble $((server_page + STATE)) '\x09'
	assert_held_is_told 'record 0,ECONNRESET'
	# no notification came with it: poll tells what the memory says
	run grep '^poll' "$(vm_job_dir cockpit held)/out"
	assert_output 'poll: an error'
	assert_violations "$before"
}

@test "what comes after the end resets the channel" {
	local before

	before=$(violations)
	hold records-held 1a
	vm_job_signal cockpit held USR1
	vm_job_await_line cockpit held 'recv: the end'
	memory_copy "$to_client" $((to_client + RECORD)) $RECORD
	siv_scribble "$server_page" '\x40'
	assert_held_gives 'record 0,the end,ECONNRESET'
	assert_violations $((before + 1))
}

@test "a reload that seals or unseals resets what is open, and it comes again on the new terms" {
	vm_job cockpit hold siv-check run "$URL" hold
	vm_job_await_line cockpit hold connected
	cp "$SIV_HOST_CONF" "$VM_RUN/host.conf.kept"
	sed -i 's| sealed = true||' "$SIV_HOST_CONF"
	run siv_ctl reload
	assert_output --partial 'allow rules: 1 new, 1 gone'
	assert_output --partial '1 channels reset, 0 connects rejected'
	vm_job_await_line cockpit hold '^recv: ECONNRESET$'
	vm_job_wait cockpit hold
	vm_job cockpit hold siv-check run "$URL" hold
	vm_job_await_line cockpit hold connected
	run guest_ctl cockpit channels
	refute_output --partial ', sealed,'
	cp "$VM_RUN/host.conf.kept" "$SIV_HOST_CONF"
	run siv_ctl reload
	assert_output --partial '1 channels reset, 0 connects rejected'
	vm_job_await_line cockpit hold '^recv: ECONNRESET$'
	vm_job_wait cockpit hold
	check sealed
	# nothing new
	run siv_ctl reload
	assert_output --partial '0 channels reset, 0 connects rejected'
}

@test "a restarted host keeps what is sealed" {
	siv_connected cockpit hold siv-check run "$URL" hold
	host_job_stop hostd
	siv_hostd_start
	host_job_await_line hostd 'link cockpit--adas: goes on with 2 channels'
	host_job_await_line hostd 'vm cockpit: its agent is back'
	host_job_await_line hostd 'vm adas: its agent is back'
	check sealed
	run guest_ctl cockpit channels
	assert_output --partial ', sealed,'
	# it is the one that was open before
	run cat "$(vm_job_dir cockpit hold)/out"
	assert_output connected
	vm_job_stop cockpit hold || true
}

# As a module loader that says no; af_sivshmem itself needs no symbol of gcm's.
@test "a kernel that cannot seal: EOPNOTSUPP on either end, its agent says why, and it heals" {
	local vm loader lines

	for vm in adas cockpit; do
		loader=$(vm_run "$vm" cat /proc/sys/kernel/modprobe)
		vm_run "$vm" test -e /sys/module/gcm/refcnt || skip "gcm is no module of this kernel"
		# the last channel that needed it is freed a moment after both ends have closed it
		vm_run "$vm" 'echo /bin/false >/proc/sys/kernel/modprobe
			until rmmod gcm; do [ $((n += 1)) -lt 100 ] || exit 1; sleep 0.1; done'
		lines=$(wc -l <"$SIV_AUDIT")
		check refused $EOPNOTSUPP
		vm_job_await_line "$vm" agent \
			'warning: .* it is to be sealed, and this kernel has no gcm\(aes\)'
		# the host may hear of the client's kernel after the client
		run grep -m1 '"reason":"no-sealing"' \
			< <(exec timeout 30 tail -f -n "+$((lines + 1))" "$SIV_AUDIT")
		assert_success
		assert_output --partial 'its kernel has no gcm(aes)'
		vm_run cockpit siv-check run "$PLAIN_URL" duplex 1
		vm_run "$vm" "echo $loader >/proc/sys/kernel/modprobe"
		check sealed
	done
}

# What the SIDE (0: the client) has sealed there as number NUMBER, by another implementation.
unseal() # SIDE NUMBER OFFSET [end]
{
	local secrets

	read -ra secrets < <(sed -n 's/^lab_agent: secrets //p' "$(vm_job_dir cockpit agent)/err" | tail -n 1)
	memory_get "$3" $RECORD | "$SIV_BIN/siv-unseal" "${secrets[$1]}" "$2" "${@:4}"
}

assert_unseals() # PLAIN SIDE NUMBER OFFSET [end]
{
	run unseal "${@:2}"
	assert_success
	assert_output "$1"
}

# The last test: the agent is another one then.
@test "what is sealed opens with the handshake's secrets alone, by OpenSSL, on both sides of a change of keys" {
	local bytes

	vm_job_kill cockpit agent
	vm_job cockpit agent env SIV_LAB=secrets \
		lab-agent --config /etc/sivshmem/agent.conf --log-level debug --ready-fd 1
	vm_job_await_line cockpit agent '^ready$' "$SIV_READY_SECONDS"
	hold_records 1
	assert_unseals 'record 0' 0 0 "$to_server"
	assert_unseals 'record 0' 1 0 "$to_client"
	assert_unseals '' 0 1 $((client_page + END)) end
	assert_unseals '' 1 1 $((server_page + END)) end
	run unseal 1 0 "$to_server"
	assert_output 'siv-unseal: it does not open'
	run unseal 0 1 "$to_server"
	assert_output 'siv-unseal: it does not open'
	assert_held_gives 'record 0,the end'
	# a first record of 48 bytes with its header, then 65536 of 32, of which the last has another key
	hold seal-keys-held
	bytes=$(jq .to_server_bytes <<<"$channel")
	assert_unseals x 0 65534 $((to_server + (48 + 65533 * RECORD) % bytes))
	assert_unseals x 0 65536 $((to_server + (48 + 65535 * RECORD) % bytes))
	assert_unseals '' 0 65537 $((client_page + END)) end
	assert_held_gives 'the end'
}
