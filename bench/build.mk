# SPDX-License-Identifier: BSD-2-Clause
# The programs that bench/run measures with: siv-bench, and siv-bench-host for what needs no VM.

BENCH_CFLAGS := -D_GNU_SOURCE -Ibench
BENCH_SRC := $(addprefix bench/,siv-bench.c measure.c serve.c hold.c via.c socket.c uring.c uring_zc.c mapped.c tls.c ring.c samples.c)
BENCH_LIBS := -pthread -luring -lssl -lcrypto
$(eval $(call program,siv-bench,$(BENCH_SRC) $(LIBSIVSHMEM_SRC),$(BENCH_CFLAGS),$(BENCH_LIBS)))
GUEST_BIN += build/bin/siv-bench

# What runs on the host alone: the broker's and the agent's own code, driven by a script.
$(eval $(call program,siv-bench-host,$(addprefix bench/,siv-bench-host.c host_world.c samples.c) \
	$(addprefix handshake-agent/agent/,select.c config.c) $(CONFIG_SOURCES) $(BROKER_SOURCES) \
	$(COMMON_SOURCES) $(CONFINE_SOURCES) $(PROTO_SRC),\
	$(BENCH_CFLAGS) $(COMMON_CFLAGS),$(BROKER_LIBS) $(CONFIG_LIBS) $(CONFINE_LIBS)))

$(eval $(call unit,test_bench_samples,tests/unit/test_bench_samples.c bench/samples.c,$(BENCH_CFLAGS),))
$(eval $(call unit,test_bench_streams,tests/unit/test_bench_streams.c $(filter-out bench/siv-bench.c,$(BENCH_SRC)) $(LIBSIVSHMEM_SRC),$(BENCH_CFLAGS),$(BENCH_LIBS)))
