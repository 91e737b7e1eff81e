# SPDX-License-Identifier: BSD-2-Clause
# What the tables share.

def pad($n): tostring | . + " " * ([$n - length, 0] | max);
def left($n): tostring | " " * ([$n - length, 0] | max) + .;
# Three digits: more than these figures can be trusted with.
def short:
  if . >= 100 then round
  elif . >= 10 then . * 10 | round / 10
  else . * 100 | round / 100 end;
def bytes:
  if . >= 1048576 then "\(. / 1048576) MiB" elif . >= 1024 then "\(. / 1024) KiB" else "\(.) B" end;

# The ratio of two results, and that of each repetition. Nothing where one was not measured.
def compare($all; $a; $b):
  ($all[] | select(.name == $a)) as $x | ($all[] | select(.name == $b)) as $y
  | {a: $x.median, b: $y.median, unit: $x.unit, ratio: ($x.median / $y.median),
     spread: ([$x.medians, $y.medians] | transpose | map(select(.[0] and .[1]) | .[0] / .[1]))};
