# SPDX-License-Identifier: BSD-2-Clause
# Every result, one a line. Input: results.json.
include "text";

def NAME: 42; def UNIT: 13; def FIGURE: 10; def COUNT: 9;

"\nEverything that was measured; the last column has the range of the repetitions' own medians.\n",
("name" | pad(NAME)) + ("unit" | pad(UNIT)) + (["median", "p99", "min", "max" | left(FIGURE)] | add)
  + ("n" | left(COUNT)) + "   medians",
(.[]
 | (.name | pad(NAME)) + (.unit | pad(UNIT))
   + ([.median, .p99, .min, .max | short | left(FIGURE)] | add) + (.n | left(COUNT))
   + "   \(.medians | min | short) .. \(.medians | max | short)")
