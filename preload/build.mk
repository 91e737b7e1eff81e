# SPDX-License-Identifier: BSD-2-Clause
# The preload shim, and sivshmem-run.

PRELOAD_RULES_SRC := $(addprefix preload/,rules.c match.c local.c) $(SIV_ADDR_SRC)
# All that is decided below the hooks; backend.c, or a test's, goes with it.
PRELOAD_SWAP_SRC := $(addprefix preload/,swap.c alias.c carry.c watch.c)
PRELOAD_SRC := preload/preload.c preload/log.c $(PRELOAD_SWAP_SRC) $(PRELOAD_RULES_SRC)
PRELOAD_MAP := preload/libsivshmem_preload.map
PRELOAD_LIBS := -Wl$(comma)--version-script=$(PRELOAD_MAP)

$(eval $(call library,libsivshmem_preload.so,$(PRELOAD_SRC) preload/backend.c,-D_GNU_SOURCE,$(PRELOAD_LIBS)))
build/lib/libsivshmem_preload.so: $(PRELOAD_MAP)
GUEST_LIB += build/lib/libsivshmem_preload.so

$(eval $(call program,sivshmem-run,preload/run.c preload/program.c $(PRELOAD_RULES_SRC),-D_GNU_SOURCE,))
GUEST_BIN += build/bin/sivshmem-run

# The shim on the tests' backend, which is AF_UNIX: its hooks, without the module.
$(eval $(call library,libsivshmem_preload_fake.so,$(PRELOAD_SRC) tests/unit/fake_backend.c,-D_GNU_SOURCE -Ipreload,$(PRELOAD_LIBS)))

PRELOAD_TEST_FLAGS := -D_GNU_SOURCE -Ipreload
$(eval $(call unit,test_rules,tests/unit/test_rules.c $(PRELOAD_RULES_SRC),$(PRELOAD_TEST_FLAGS),))
$(eval $(call unit,test_match,tests/unit/test_match.c $(PRELOAD_RULES_SRC),$(PRELOAD_TEST_FLAGS),))
$(eval $(call unit,test_watch,tests/unit/test_watch.c preload/watch.c,$(PRELOAD_TEST_FLAGS),))
PRELOAD_SWAP_TEST_SRC := $(addprefix tests/unit/,swap_fixture.c fake_backend.c) $(PRELOAD_SWAP_SRC) $(PRELOAD_RULES_SRC)
$(foreach t,test_swap test_swap_bind test_swap_epoll,$(eval $(call unit,$(t),tests/unit/$(t).c $(PRELOAD_SWAP_TEST_SRC),$(PRELOAD_TEST_FLAGS),)))
$(eval $(call unit,test_program,tests/unit/test_program.c preload/program.c,$(PRELOAD_TEST_FLAGS),))
$(eval $(call fuzzer,fuzz_rules,tests/fuzz/fuzz_rules.c $(PRELOAD_RULES_SRC),$(PRELOAD_TEST_FLAGS),))

# Plain programs that the shim is tried on; here with the fake backend, in guests for good.
PRELOAD_GUEST := preload_server preload_epoll preload_fork
$(foreach p,$(PRELOAD_GUEST),$(eval $(call program,$(p),tests/guest/$(p).c tests/guest/preload_net.c,-D_GNU_SOURCE,)))
GUEST_BIN += $(PRELOAD_GUEST:%=build/bin/%)

$(eval $(call unit,test_preload,tests/unit/test_preload.c,-D_GNU_SOURCE,))
build/unit/test_preload: | build/bin/sivshmem-run build/lib/libsivshmem_preload_fake.so $(PRELOAD_GUEST:%=build/bin/%)
