# SPDX-License-Identifier: BSD-2-Clause
# What people look at first: medians by size and path, p99 and max of the round trips, what is left
# over, and the targets. Input: results.json. A path that was not measured has no column.
include "text";

def SIZE: 9; def NAME: 40;

# Five characters at most.
def brief: if . >= 9999.5 then "\(. / 1000 | round)k" else short end;

# name, apart
def parts: .name | split("/") | {metric: .[0], size: (.[1] | tonumber? // 0), path: .[2], scope: .[3]};

def distinct: reduce .[] as $x ([]; if index([$x]) then . else . + [$x] end);

def matrix($metric; $scope; $title; $column; cell):
  [.[] | . + {key: parts} | select(.key.metric == $metric and .key.scope == $scope)] as $all
  | ($all | map(.key.path) | distinct) as $paths
  | ($all | map(.key.size) | unique) as $sizes
  | select($all | length > 0)
  | "\n\($title), \($scope):",
    ("" | pad(SIZE)) + ($paths | map(left($column)) | add),
    ($sizes[] as $size
     | ($size | bytes | pad(SIZE))
       + ([$paths[] as $path
           | ([$all[] | select(.key.path == $path and .key.size == $size) | cell] | .[0] // "-")
           | left($column)] | add));

def by_size: . == "rtt" or . == "throughput";

def verdict($most; $least):
  if $most then
    if .ratio <= $most then "met" else "missed by \((.ratio / $most - 1) * 100 | short) %" end
  elif .ratio >= $least then "met"
  else "missed by \((1 - .ratio / $least) * 100 | short) %" end;

def target($what; $a; $b; $most; $least):
  . as $all
  | ([compare($all; $a; $b)] | .[0]) as $c
  | ($what | pad(58)) + ((if $most then "<= \($most)" else ">= \($least)" end) | pad(9))
    + (if $c == null then "not measured"
       else ($c.ratio | short | left(8)) + "   "
         + ("\($c.spread | min | short) .. \($c.spread | max | short)" | pad(18))
         + ($c | verdict($most; $least)) end);

# Of all sizes the one that is farthest from it.
def at_every_size($what; $a; $b; $scope; $least):
  . as $all
  | [.[] | parts | select(.metric == "throughput" and .path == $a and .scope == $scope) | .size]
  | unique
  | map(. as $size | compare($all; "throughput/\($size)/\($a)/\($scope)";
      "throughput/\($size)/\($b)/\($scope)") + {size: $size})
  | if length == 0 then ($what | pad(58)) + (">= \($least)" | pad(9)) + "not measured"
    else min_by(.ratio)
      | ("\($what): worst at \(.size | bytes)" | pad(58)) + (">= \($least)" | pad(9))
        + (.ratio | short | left(8)) + "   "
        + ("\(.spread | min | short) .. \(.spread | max | short)" | pad(18))
        + verdict(null; $least)
    end;

def below($what; $name; $most):
  ([.[] | select(.name == $name)] | .[0]) as $r
  | ($what | pad(58)) + ("<= \($most)" | pad(9))
    + (if $r == null then "not measured"
       else ($r.median | short | left(8)) + "   "
         + ("\($r.medians | min | short) .. \($r.medians | max | short)" | pad(18))
         + ({ratio: $r.median} | verdict($most; null)) end);

# Virtual time, where it was measured: it does not depend on what else the machine does.
def local_scope: if any(.[]; .name | endswith("/one-vm-icount")) then "one-vm-icount" else "one-vm" end;

. as $results
| matrix("rtt"; ("two-vms", "one-vm", "one-vm-icount", "native");
    "Round trip in us, median / p99 / max"; 18;
    "\(.median | brief)/\(.p99 | brief)/\(.max | brief)"),
  ($results | matrix("throughput"; ("two-vms", "one-vm", "one-vm-icount", "native");
    "Throughput in MB/s, median"; 18; .median | short)),
  "\nEverything else:",
  ("" | pad(NAME)) + ("unit" | pad(13)) + (["median", "p99", "max" | left(10)] | add) + "   medians",
  ($results[] | select(parts.metric | by_size | not)
   | (.name | pad(NAME)) + (.unit | pad(13)) + ([.median, .p99, .max | short | left(10)] | add)
     + "   \(.medians | min | short) .. \(.medians | max | short)"),
  "\nTargets: ratios of medians; in each repetition; met or missed",
  ($results
   | target("64 B round trip, mapped / bare ring, two VMs";
       "rtt/64/mapped/two-vms"; "rtt/64/bare-ring/two-vms"; 1.02; null),
     target("64 B round trip, mapped / bare ring, native";
       "rtt/64/mapped/native"; "rtt/64/bare-ring/native"; 1.02; null),
     at_every_size("throughput, mapped / bare ring, two VMs"; "mapped"; "bare-ring"; "two-vms"; 0.98),
     target("64 B round trip, socket / TCP on virtio-net, two VMs";
       "rtt/64/socket/two-vms"; "rtt/64/tcp-virtio/two-vms"; 0.25; null),
     target("16 KiB throughput, socket / TCP on virtio-net";
       "throughput/16384/socket/two-vms"; "throughput/16384/tcp-virtio/two-vms"; null; 4),
     target("256 KiB throughput, socket / TCP on virtio-net";
       "throughput/262144/socket/two-vms"; "throughput/262144/tcp-virtio/two-vms"; null; 4),
     (local_scope as $scope
      | target("64 B round trip, local link / AF_UNIX, \($scope)";
          "rtt/64/socket-local/\($scope)"; "rtt/64/af-unix/\($scope)"; 1.0; null),
        target("16 KiB throughput, local link / AF_UNIX, \($scope)";
          "throughput/16384/socket-local/\($scope)"; "throughput/16384/af-unix/\($scope)"; null; 1.0)),
     target("first connect() / TLS 1.3 handshake over TCP";
       "connect/first/socket/two-vms"; "connect/first/tls-virtio/two-vms"; 1.0; null),
     below("first connect(), ms"; "connect/first/socket/two-vms"; 200),
     target("resumed connect() / first";
       "connect/resumed/socket/two-vms"; "connect/first/socket/two-vms"; 0.4; null),
     target("round trip beside 1,000 idle channels / alone";
       "rtt-beside/1000/socket/two-vms"; "rtt-beside/0/socket/two-vms"; 1.05; null),
     target("redis GET, shim / TCP on virtio-net";
       "redis-get/1/socket/two-vms"; "redis-get/1/tcp-virtio/two-vms"; null; 2),
     target("redis SET, shim / TCP on virtio-net";
       "redis-set/1/socket/two-vms"; "redis-set/1/tcp-virtio/two-vms"; null; 2))
