# SPDX-License-Identifier: BSD-2-Clause
# The table for people. Input: results.json; $lines: what it was combined from, for how far the
# repetitions' own medians lie apart.

def pad($n): tostring | . + " " * ([$n - length, 0] | max);
def left($n): tostring | " " * ([$n - length, 0] | max) + .;
# Three digits: more than these figures can be trusted with.
def short:
  if . >= 100 then round
  elif . >= 10 then . * 10 | round / 10
  else . * 100 | round / 100 end;

# How wide the columns are: name and unit; then four figures and n.
def NAME: 40; def UNIT: 12; def FIGURE: 10; def COUNT: 9;

def spread($lines; $name):
  [$lines[] | select(.name == $name) | .samples | sort | .[(length / 2 | ceil) - 1]]
  | "\(min | short) .. \(max | short)";

def row($lines):
  (.name | pad(NAME)) + (.unit | pad(UNIT))
  + ([.median, .p99, .min, .max | short | left(FIGURE)] | add)
  + (.n | left(COUNT)) + "   " + spread($lines; .name);

# How many times as fast $a is as $b: a rate is better when it is larger, a time when it is smaller.
def ratio($metric; $a; $b; $scope):
  . as $all
  | def of($path): $all[] | select(.name == "\($metric)/\($path)/\($scope)");
  of($a) as $x | of($b) as $y
  | (if $x.unit | endswith("/s") then $x.median / $y.median else $y.median / $x.median end)
  | "  \($metric | pad(18))\($a | pad(13)) is "
    + if . >= 1 then "\(short | left(6)) times as fast as \($b)"
      else "\(1 / . | short | left(6)) times as slow as \($b)" end;

. as $results
| (("name" | pad(NAME)) + ("unit" | pad(UNIT))
   + (["median", "p99", "min", "max" | left(FIGURE)] | add) + ("n" | left(COUNT))
   + "   medians of the repetitions"),
  ($results[] | row($lines)),
  "",
  "two VMs, medians:",
  ($results
   | ratio("rtt/64", "throughput/16384", "redis-get/1"; "socket"; "tcp-virtio"; "two-vms"),
     ratio("rtt/64", "throughput/16384"; "socket"; "bare-ring"; "two-vms")),
  "one VM, medians:",
  ($results
   | ratio("rtt/64", "throughput/16384"; "socket-local";
           "af-unix", "tcp-loopback", "vsock-loopback"; "one-vm"))
