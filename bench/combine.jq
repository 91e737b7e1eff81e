# SPDX-License-Identifier: BSD-2-Clause
# From siv-bench's lines (with samples) of all repetitions, slurped: for each name the summary of
# all its samples, in the order in which names first came, and each repetition's own median.
# Percentiles are nearest-rank.

def rank($percent): .[(length * $percent / 100 | ceil) - 1];

. as $lines
| reduce .[].name as $name ([]; if index($name) then . else . + [$name] end)
| map(. as $name
  | [$lines[] | select(.name == $name)] as $mine
  | ($mine | map(.samples[]) | sort) as $all
  | {
      name: $name,
      unit: $mine[0].unit,
      median: ($all | rank(50)),
      p99: ($all | rank(99)),
      min: $all[0],
      max: $all[-1],
      n: ($all | length),
      medians: ($mine | map(.samples | sort | rank(50)))
    })
