# SPDX-License-Identifier: BSD-2-Clause
# One SVG of medians over the size of a message. gnuplot -e "data='..'; picture='..'; what='..';
# title='..'; paths=N" plot.gp

set terminal svg size 900,540 dynamic font "sans-serif,13" background "#ffffff"
set output picture
set title title noenhanced
set logscale x 2
set logscale y 10
set xlabel "bytes of a message"
set ylabel what
set xtics ("64" 64, "256" 256, "1K" 1024, "4K" 4096, "16K" 16384, "64K" 65536, "256K" 262144, "1M" 1048576)
set grid
set key outside right noenhanced
set datafile missing "NaN"
plot for [i=2:paths+1] data using 1:i with linespoints linewidth 2 pointtype i title columnheader(i)
