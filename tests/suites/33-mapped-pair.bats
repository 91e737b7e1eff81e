#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Mapped channels between two VMs, every real part in place: the BAR's pages are what is mapped.

load ../vm/vm
source "$VM_TOP/tests/vm/siv.bash"

URL=siv://adas/check

setup_file()
{
	siv_host
	vm_pair cockpit adas
	siv_guest cockpit
	siv_guest adas
	vm_job adas server siv-check serve siv:///check
	vm_job_await_line adas server listening
}

teardown_file() { siv_teardown_file; }

check() { vm_run cockpit -t 120 siv-check run "$URL" "$@"; }

@test "only whole windows of the own channel, with their rights, and no way to more" { check map-rights; }
@test "a child has no mapping of its parent's, and maps for itself" { check map-fork; }
# bats test_tags=smoke
@test "what is written in place, and copies between it, arrive as one stream" {
	check map-in-place "$(vm_load 64)"
}
@test "sends from elsewhere in the window are EINVAL and send nothing" { check map-elsewhere; }
# bats test_tags=smoke
@test "a process moves both positions, and the kernel goes on from there" {
	check map-direct "$(vm_load 64)"
}
@test "records are sent and released in place" { check map-records; }
@test "a wait ends at its deadline, by a signal and with the connection" { check map-wait; }
@test "who breaks his own ring loses his channel, and reads zeros without a signal" { check map-violation; }
@test "scribbling over all that may be written harms nobody else" {
	vm_job cockpit other siv-check run "$URL" duplex "$(vm_load 64)"
	check map-scribble 20
	vm_job_wait cockpit other
	siv_await_no_channels
}

@test "the device unbound under a mapping: zeros, no signal, and it connects again" {
	local driver=/sys/bus/pci/drivers/af_sivshmem

	vm_job cockpit mapped siv-check run "$URL" map-reset
	vm_job_await_line cockpit mapped mapped
	vm_run cockpit "cd $driver && device=\$(basename 0000:*) && echo \$device >unbind &&
		echo \$device >bind"
	vm_job_wait cockpit mapped
	host_job_await_line hostd 'link cockpit--adas: up in epoch 2$' 30
	check map-direct 1
}

@test "the peer's VM killed under a mapping: zeros, and no signal" {
	vm_job cockpit killed siv-check run "$URL" map-reset
	vm_job_await_line cockpit killed mapped
	vm_kill adas
	vm_job_wait cockpit killed
}
