# SPDX-License-Identifier: BSD-2-Clause
# The harness's own programs: the command channel, and what keeps suites tidy.

VMEXEC_SRC := $(addprefix tests/vm/,vmexec.c frame.c serve.c mux.c client.c ports.c)
$(eval $(call program,vmexec,$(VMEXEC_SRC),,))
$(eval $(call program,guard,tests/vm/guard.c,,))
$(eval $(call program,tsc-khz,tests/vm/tsc-khz.c,,))
$(eval $(call unit,test_frame,tests/unit/test_frame.c tests/vm/frame.c,-Itests/vm,))

GUEST_BIN += build/bin/vmexec
