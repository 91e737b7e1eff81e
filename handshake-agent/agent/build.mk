# SPDX-License-Identifier: BSD-2-Clause
# sivshmem-agent, its unit tests and the fuzzer of what the host sends it.
AGENT_DIR := handshake-agent/agent
AGENT_CORE := $(addprefix $(AGENT_DIR)/, \
	agent.c channels.c config.c config_text.c enrol.c host.c links.c nl.c nl_attr.c select.c session.c \
	session_table.c standalone.c status.c suggest.c tls.c x509.c) $(PROTO_SRC)
AGENT_CFLAGS := -D_GNU_SOURCE -Ihandshake-agent $(shell pkg-config --cflags libnl-genl-3.0)
AGENT_LIBS := -lconfuse $(shell pkg-config --libs libnl-genl-3.0) -lssl -lcrypto -ljansson

$(eval $(call program,sivshmem-agent,$(AGENT_DIR)/main.c $(AGENT_CORE) $(BROKER_SOURCES) \
	$(COMMON_SOURCES),$(AGENT_CFLAGS),$(AGENT_LIBS)))
GUEST_BIN += build/bin/sivshmem-agent

$(eval $(call unit,test_agent_config,tests/unit/test_agent_config.c \
	$(addprefix $(AGENT_DIR)/,config.c config_text.c suggest.c) handshake-agent/common/log.c $(PROTO_SRC),\
	$(AGENT_CFLAGS),-lconfuse))
$(eval $(call unit,test_select,tests/unit/test_select.c \
	$(addprefix $(AGENT_DIR)/,select.c config.c config_text.c suggest.c) handshake-agent/common/log.c \
	$(PROTO_SRC),$(AGENT_CFLAGS),-lconfuse))
$(eval $(call unit,test_tls,tests/unit/test_tls.c tests/unit/cert_maker.c \
	$(addprefix $(AGENT_DIR)/,tls.c x509.c) \
	$(PROTO_SRC),$(AGENT_CFLAGS),-lssl -lcrypto))
$(eval $(call unit,test_agent,tests/unit/test_agent.c tests/unit/fake_kernel.c \
	tests/unit/cert_maker.c $(AGENT_CORE) $(BROKER_SOURCES) $(COMMON_SOURCES),\
	$(AGENT_CFLAGS),$(AGENT_LIBS)))
$(eval $(call unit,test_agent_host,tests/unit/test_agent_host.c tests/unit/fake_kernel.c \
	tests/unit/cert_maker.c $(AGENT_CORE) $(BROKER_SOURCES) $(COMMON_SOURCES),\
	$(AGENT_CFLAGS),$(AGENT_LIBS)))
$(eval $(call fuzzer,fuzz_agent_host,tests/fuzz/fuzz_agent_host.c tests/unit/fake_kernel.c \
	tests/unit/cert_maker.c \
	$(AGENT_CORE) $(BROKER_SOURCES) $(filter-out %/log.c,$(COMMON_SOURCES)),\
	$(AGENT_CFLAGS) -Itests/unit,$(AGENT_LIBS)))
