# SPDX-License-Identifier: BSD-2-Clause
# sivshmem-agent, its unit tests and the fuzzer of what the host sends it.
AGENT_DIR := handshake-agent/agent
AGENT_CORE := $(addprefix $(AGENT_DIR)/, \
	agent.c channels.c config.c enrol.c host.c links.c nl.c nl_attr.c select.c session.c \
	session_table.c standalone.c status.c tickets.c tls.c x509.c) $(CONFIG_SOURCES) $(PROTO_SRC)
AGENT_CFLAGS := -D_GNU_SOURCE -Ihandshake-agent $(shell pkg-config --cflags libnl-genl-3.0)
AGENT_LIBS := $(CONFIG_LIBS) $(shell pkg-config --libs libnl-genl-3.0) -lssl -lcrypto -ljansson

$(eval $(call program,sivshmem-agent,$(AGENT_DIR)/main.c $(AGENT_CORE) $(BROKER_SOURCES) \
	$(COMMON_SOURCES) $(CONFINE_SOURCES) $(SECRETS_SOURCES),$(AGENT_CFLAGS),$(AGENT_LIBS) $(CONFINE_LIBS)))
GUEST_BIN += build/bin/sivshmem-agent

$(eval $(call unit,test_agent_config,tests/unit/test_agent_config.c \
	$(AGENT_DIR)/config.c $(CONFIG_SOURCES) handshake-agent/common/log.c $(PROTO_SRC),\
	$(AGENT_CFLAGS),$(CONFIG_LIBS)))
$(eval $(call unit,test_select,tests/unit/test_select.c \
	$(addprefix $(AGENT_DIR)/,select.c config.c) $(CONFIG_SOURCES) \
	handshake-agent/common/log.c $(PROTO_SRC),$(AGENT_CFLAGS),$(CONFIG_LIBS)))
$(foreach t,test_tls test_resume test_attacks_tls,\
	$(eval $(call unit,$(t),tests/unit/$(t).c tests/unit/cert_maker.c \
	$(addprefix $(AGENT_DIR)/,tickets.c tls.c x509.c) \
	$(PROTO_SRC),$(AGENT_CFLAGS),-lssl -lcrypto)))

$(eval $(call unit,test_secrets,tests/unit/test_secrets.c tests/unit/cert_maker.c \
	$(addprefix $(AGENT_DIR)/,tickets.c tls.c x509.c) \
	$(addprefix handshake-agent/broker/,ca.c ca_file.c) handshake-agent/common/log.c $(SECRETS_SOURCES) \
	$(PROTO_SRC),$(AGENT_CFLAGS),-lssl -lcrypto))

AGENT_TEST_SOURCES := tests/unit/fake_kernel.c tests/unit/cert_maker.c $(AGENT_CORE) \
	$(BROKER_SOURCES) $(COMMON_SOURCES)
$(foreach t,test_agent test_agent_restart test_agent_resume test_attacks_agent test_rotate,\
	$(eval $(call unit,$(t),tests/unit/$(t).c tests/unit/agent_world.c $(AGENT_TEST_SOURCES),\
	$(AGENT_CFLAGS),$(AGENT_LIBS))))
$(eval $(call unit,test_agent_host,tests/unit/test_agent_host.c $(AGENT_TEST_SOURCES),\
	$(AGENT_CFLAGS),$(AGENT_LIBS)))
$(eval $(call fuzzer,fuzz_agent_host,tests/fuzz/fuzz_agent_host.c $(AGENT_TEST_SOURCES),\
	$(AGENT_CFLAGS) -Itests/unit,$(AGENT_LIBS)))
$(eval $(call fuzzer,fuzz_cert,tests/fuzz/fuzz_cert.c tests/unit/cert_maker.c \
	$(addprefix $(AGENT_DIR)/,tickets.c tls.c x509.c) $(PROTO_SRC),\
	$(AGENT_CFLAGS) -Itests/unit,-lssl -lcrypto))
$(eval $(call fuzzer,fuzz_agent_config,tests/fuzz/fuzz_agent_config.c \
	$(addprefix $(AGENT_DIR)/,config.c select.c) $(CONFIG_SOURCES) $(PROTO_SRC),\
	$(AGENT_CFLAGS),$(CONFIG_LIBS)))
