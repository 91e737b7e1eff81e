# SPDX-License-Identifier: BSD-2-Clause
# Columns for gnuplot of one $metric and $scope: the size, and each path's median. Input: results.json.

map((.name | split("/")) as [$metric, $size, $path, $scope]
  | {$metric, size: ($size | tonumber? // 0), $path, $scope, median})
| map(select(.metric == $metric and .scope == $scope)) as $all
| ($all | reduce .[].path as $path ([]; if index([$path]) then . else . + [$path] end)) as $paths
| select($all | length > 0)
| (["size"] + $paths | join(" ")),
  ($all | map(.size) | unique | .[] as $size
   | [$size] + [$paths[] as $path
       | [$all[] | select(.path == $path and .size == $size) | .median] | .[0] // "NaN"]
   | map(tostring) | join(" "))
