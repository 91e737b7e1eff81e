# SPDX-License-Identifier: BSD-2-Clause
# What each protection costs: the same thing with it and without it. Input: results.json.
include "text";

def WHAT: 60; def FIGURE: 9; def COST: 17;

# More of a rate is better: its ratio is turned over, so that more than 1 is always a cost.
def turned: if .unit == "MB/s" then .ratio |= 1 / . | .spread |= map(1 / .) else . end;

# Does each repetition by itself say that it costs, or that it does not?
def times:
  (.spread | min) as $least | (.spread | max) as $most
  | "x \(.ratio | short), "
    + (if $least > 1 then "" elif $most < 1 then "nothing: " else "in the spread: " end)
    + "\($least | short) .. \($most | short)";

def row($what; $with; $without):
  ([compare(.; $with; $without)] | .[0]) as $c
  | ($what | pad(WHAT))
    + (if $c == null then "not measured"
       else ($c.a | short | left(FIGURE)) + ($c.b | short | left(FIGURE)) + "  "
         + ($c.unit | pad(FIGURE + 4)) + ($c.a - $c.b | if . < 0 then -. | "-" + (short | tostring)
                                         else "+" + (short | tostring) end | left(FIGURE))
         + "   " + ($c | turned | times) end);

"\nWhat each protection costs: with it, without it, the difference; how many times as much, and in each repetition",
("" | pad(WHAT)) + ("with" | left(FIGURE)) + ("without" | left(FIGURE)),
row("each shared word checked: 64 B there and back, two VMs";
    "rtt/64/mapped/two-vms"; "rtt/64/bare-ring/two-vms"),
row("  the same, native";
    "rtt/64/mapped/native"; "rtt/64/bare-ring/native"),
row("  of a 64 B message, by count";
    "instructions/64/mapped/native"; "instructions/64/bare-ring/native"),
row("a kernel between process and ring: 64 B, two VMs";
    "rtt/64/socket/two-vms"; "rtt/64/mapped/two-vms"),
row("  64 KiB one way";
    "throughput/65536/socket/two-vms"; "throughput/65536/mapped/two-vms"),
row("sealing: 64 B there and back";
    "rtt/64/sealed/two-vms"; "rtt/64/socket/two-vms"),
row("  64 KiB there and back";
    "rtt/65536/sealed/two-vms"; "rtt/65536/socket/two-vms"),
row("  64 KiB one way";
    "throughput/65536/sealed/two-vms"; "throughput/65536/socket/two-vms"),
row("authentication: first connect(), against TCP's";
    "connect/first/socket/two-vms"; "connect/first/tcp-virtio/two-vms"),
row("  resumed";
    "connect/resumed/socket/two-vms"; "connect/first/tcp-virtio/two-vms"),
row("  of it TLS alone: over TCP, against TCP's";
    "connect/first/tls-virtio/two-vms"; "connect/first/tcp-virtio/two-vms"),
row("  in one VM: first connect(), against AF_UNIX";
    "connect/first/socket-local/one-vm"; "connect/first/af-unix/one-vm"),
row("  in one VM: resumed";
    "connect/resumed/socket-local/one-vm"; "connect/first/af-unix/one-vm"),
row("policy: 4096 rules, not one; hostd's part of a connect";
    "host-connect/1/rules/native"; "host-connect/1/plain/native"),
row("  1024 revocations, not none";
    "host-connect/1/revocations/native"; "host-connect/1/plain/native"),
row("  a journal, not none";
    "host-connect/1/plain/native"; "host-connect/1/no-journal/native"),
row("  a line of audit written, not only counted";
    "host-connect/1/plain/native"; "host-connect/1/no-audit/native"),
row("least privilege: hostd's system calls filtered";
    "host-connect/1/confined/native"; "host-connect/1/plain/native"),
row("selectors: 64 services told apart by executable, not one";
    "select/64/executable/native"; "select/1/executable/native"),
row("scrubbing: a channel with rings of 128 KiB, written anew";
    "scrub/131072/punched/native"; "scrub/131072/kept/native"),
row("  with rings of 1 MiB";
    "scrub/1048576/punched/native"; "scrub/1048576/kept/native"),
row("  a new epoch: all of a link of 64 MiB";
    "scrub-link/67108864/punched/native"; "scrub-link/67108864/kept/native")
