# SPDX-License-Identifier: BSD-2-Clause
# The broker: linked into sivshmem-hostd, and into the agent for --standalone.
BROKER_SOURCES := $(addprefix handshake-agent/broker/, \
	alloc.c audit.c audit_journal.c broker.c ca.c ca_file.c channel.c enforce.c limits.c \
	journal.c link.c policy.c recover.c revoke.c session.c status.c vm.c)
# The policy by itself, for who only asks it.
POLICY_SOURCES := $(addprefix handshake-agent/broker/,policy.c revoke.c)
BROKER_LIBS := -lcrypto -ljansson

BROKER_TEST_SOURCES := tests/unit/broker_fixture.c $(BROKER_SOURCES) $(COMMON_SOURCES) $(PROTO_SRC)

$(foreach t,test_broker test_broker_agent test_broker_journal test_broker_limits test_broker_restart \
	test_broker_revoke test_attacks_broker,\
	$(eval $(call unit,$(t),tests/unit/$(t).c $(BROKER_TEST_SOURCES),\
	$(COMMON_CFLAGS),$(BROKER_LIBS))))
$(eval $(call unit,test_policy,tests/unit/test_policy.c $(POLICY_SOURCES) \
	$(PROTO_SRC),$(COMMON_CFLAGS),))
$(eval $(call unit,test_alloc,tests/unit/test_alloc.c handshake-agent/broker/alloc.c,\
	$(COMMON_CFLAGS),))
$(eval $(call unit,test_ca,tests/unit/test_ca.c \
	$(addprefix handshake-agent/broker/,ca.c ca_file.c),$(COMMON_CFLAGS),-lcrypto))
$(eval $(call unit,test_audit,tests/unit/test_audit.c \
	$(addprefix handshake-agent/broker/,audit.c audit_journal.c) $(COMMON_SOURCES) \
	$(PROTO_SRC),$(COMMON_CFLAGS),-ljansson))
$(eval $(call fuzzer,fuzz_broker,tests/fuzz/fuzz_broker.c $(BROKER_SOURCES) $(COMMON_SOURCES) \
	$(PROTO_SRC),$(COMMON_CFLAGS),$(BROKER_LIBS)))
$(eval $(call unit,test_journal,tests/unit/test_journal.c handshake-agent/broker/journal.c \
	$(COMMON_SOURCES) $(PROTO_SRC),$(COMMON_CFLAGS),-ljansson))
$(eval $(call fuzzer,fuzz_journal,tests/fuzz/fuzz_journal.c $(BROKER_SOURCES) $(COMMON_SOURCES) \
	$(PROTO_SRC),$(COMMON_CFLAGS),$(BROKER_LIBS)))
$(eval $(call fuzzer,fuzz_csr,tests/fuzz/fuzz_csr.c \
	$(addprefix handshake-agent/broker/,ca.c ca_file.c),$(COMMON_CFLAGS),-lcrypto))
