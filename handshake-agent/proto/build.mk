# SPDX-License-Identifier: BSD-2-Clause
# The control protocol's codec; sources for whoever speaks it.
PROTO_SRC := handshake-agent/proto/proto.c handshake-agent/proto/tables.c

$(eval $(call unit,test_proto,tests/unit/test_proto.c $(PROTO_SRC),-Ihandshake-agent,))
$(eval $(call fuzzer,fuzz_proto,tests/fuzz/fuzz_proto.c $(PROTO_SRC),-Ihandshake-agent,))
