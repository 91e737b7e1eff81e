# SPDX-License-Identifier: BSD-2-Clause
# siv-bench, the program that bench/run measures with.

BENCH_CFLAGS := -D_GNU_SOURCE -Ibench
BENCH_SRC := $(addprefix bench/,siv-bench.c measure.c serve.c hold.c via.c socket.c uring.c uring_zc.c mapped.c tls.c ring.c samples.c)
BENCH_LIBS := -pthread -luring -lssl -lcrypto
$(eval $(call program,siv-bench,$(BENCH_SRC) $(LIBSIVSHMEM_SRC),$(BENCH_CFLAGS),$(BENCH_LIBS)))
GUEST_BIN += build/bin/siv-bench

$(eval $(call unit,test_bench_samples,tests/unit/test_bench_samples.c bench/samples.c,$(BENCH_CFLAGS),))
$(eval $(call unit,test_bench_streams,tests/unit/test_bench_streams.c $(filter-out bench/siv-bench.c,$(BENCH_SRC)) $(LIBSIVSHMEM_SRC),$(BENCH_CFLAGS),$(BENCH_LIBS)))
