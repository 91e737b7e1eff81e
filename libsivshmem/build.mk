# SPDX-License-Identifier: BSD-2-Clause
# libsivshmem, shared and static, and its pkg-config file.

SIV_VERSION := 0.1.0
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib

LIBSIVSHMEM_SRC := $(addprefix libsivshmem/src/,addr.c error.c family.c map.c map_open.c socket.c)
LIBSIVSHMEM_MAP := libsivshmem/libsivshmem.map
# What the shim and the tests of rules need of it.
SIV_ADDR_SRC := $(addprefix libsivshmem/src/,addr.c family.c)

$(eval $(call library,libsivshmem.so.0,$(LIBSIVSHMEM_SRC),-D_GNU_SOURCE,-Wl$(comma)--version-script=$(LIBSIVSHMEM_MAP)))
build/lib/libsivshmem.so.0: $(LIBSIVSHMEM_MAP)
GUEST_LIB += build/lib/libsivshmem.so.0

LIBRARIES += build/lib/libsivshmem.a build/lib/libsivshmem.pc
build/lib/libsivshmem.a: $(LIBSIVSHMEM_SRC:%.c=build/obj/lib/libsivshmem.so.0/%.o)
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

build/lib/libsivshmem.pc: libsivshmem/libsivshmem.pc.in libsivshmem/build.mk
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' \
		-e 's|@VERSION@|$(SIV_VERSION)|' $< >$@

$(eval $(call unit,test_addr,tests/unit/test_addr.c $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE,))
$(eval $(call fuzzer,fuzz_addr,tests/fuzz/fuzz_addr.c $(SIV_ADDR_SRC),-D_GNU_SOURCE,))
$(eval $(call unit,test_ring,tests/unit/test_ring.c,,))
$(eval $(call unit,test_ring_exhaustive,tests/unit/test_ring_exhaustive.c,,))
$(eval $(call fuzzer,fuzz_ring,tests/fuzz/fuzz_ring.c,,))
$(eval $(call fuzzer,fuzz_map,tests/fuzz/fuzz_map.c libsivshmem/src/map.c,-D_GNU_SOURCE,))
# the test plays the kernel
MAP_WRAPS := $(foreach f,ioctl send recv clock_gettime,-Wl$(comma)--wrap=$(f))
MAP_LANE := tests/unit/map_lane.c libsivshmem/src/map.c
$(eval $(call unit,test_map,tests/unit/test_map.c $(MAP_LANE),-D_GNU_SOURCE,-pthread $(MAP_WRAPS)))
$(eval $(call unit,test_map_wait,tests/unit/test_map_wait.c $(MAP_LANE),-D_GNU_SOURCE,-pthread $(MAP_WRAPS)))
MAP_OPEN_WRAPS := $(foreach f,getsockopt setsockopt mmap munmap shutdown close,-Wl$(comma)--wrap=$(f))
$(eval $(call unit,test_map_open,tests/unit/test_map_open.c $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE,$(MAP_OPEN_WRAPS)))
