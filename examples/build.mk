# SPDX-License-Identifier: BSD-2-Clause
# Small programs that use libsivshmem.

SIV_EXAMPLES := siv-cat siv-echo siv-mapped siv-uring-echo siv-uring-stream
$(foreach e,$(SIV_EXAMPLES),$(eval $(call program,$(e),examples/$(e).c,-D_GNU_SOURCE,-lsivshmem -pthread $(if $(findstring uring,$(e)),-luring))))
GUEST_BIN += $(SIV_EXAMPLES:%=build/bin/%)

# In the build tree libraries are in ../lib, in guests in ../lib/sivshmem.
$(SIV_EXAMPLES:%=build/bin/%): private LDFLAGS += -Wl,-rpath,'$$ORIGIN/../lib:$$ORIGIN/../lib/sivshmem'
$(SIV_EXAMPLES:%=build/bin/%): build/lib/libsivshmem.so
