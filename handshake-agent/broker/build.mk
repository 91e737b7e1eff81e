# SPDX-License-Identifier: BSD-2-Clause
# The broker: linked into sivshmem-hostd, and into the agent for --standalone.
BROKER_SOURCES := $(addprefix handshake-agent/broker/, \
	alloc.c audit.c broker.c ca.c ca_file.c channel.c link.c policy.c recover.c session.c \
	status.c vm.c)
BROKER_LIBS := -lcrypto -ljansson

BROKER_TEST_SOURCES := tests/unit/broker_fixture.c $(BROKER_SOURCES) $(COMMON_SOURCES) $(PROTO_SRC)

$(eval $(call unit,test_broker,tests/unit/test_broker.c $(BROKER_TEST_SOURCES),$(COMMON_CFLAGS),$(BROKER_LIBS)))
