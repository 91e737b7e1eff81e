# SPDX-License-Identifier: BSD-2-Clause
# sivshmem-hostd. handshake-agent/build.mk has included common, proto and broker before.
HOST_CONFIG_SOURCES := handshake-agent/hostd/config.c $(CONFIG_SOURCES)
HOSTD_SOURCES := $(addprefix handshake-agent/hostd/,admin.c control.c explain.c links.c \
	reload.c revocations.c revoke.c rotate.c \
	child.c signer.c signer_side.c starter.c user.c) $(CONFINE_SOURCES) $(SECRETS_SOURCES) $(FD_PASS) \
	$(HOST_CONFIG_SOURCES) $(BROKER_SOURCES) $(COMMON_SOURCES) $(PROTO_SRC) $(SWITCH_CLIENT)
HOSTD_LIBS := $(BROKER_LIBS) $(CONFIG_LIBS)

$(eval $(call program,sivshmem-hostd,handshake-agent/hostd/main.c $(HOSTD_SOURCES),\
	$(COMMON_CFLAGS),$(HOSTD_LIBS) $(CONFINE_LIBS)))
$(eval $(call unit,test_host_config,tests/unit/test_host_config.c $(HOST_CONFIG_SOURCES) \
	$(POLICY_SOURCES) $(PROTO_SRC),$(COMMON_CFLAGS),$(CONFIG_LIBS)))
$(eval $(call unit,test_loop,tests/unit/test_loop.c $(COMMON_SOURCES),\
	$(COMMON_CFLAGS),$(COMMON_LIBS) -lpthread))
$(foreach t,test_hostd test_hostd_policy test_hostd_rotate test_hostd_signer test_hostd_user,\
	$(eval $(call unit,$(t),tests/unit/$(t).c tests/unit/hostd_fixture.c \
	$(BROKER_TEST_SOURCES) $(CONFINE_SOURCES),$(COMMON_CFLAGS),$(BROKER_LIBS) $(CONFINE_LIBS))))
$(addprefix build/unit/,test_hostd test_hostd_policy test_hostd_rotate test_hostd_signer test_hostd_user): | \
	build/bin/sivshmem-hostd build/bin/sivshmem-switch
# What answers, without its process.
SIGNER_SIDE := $(HOST_CONFIG_SOURCES) $(POLICY_SOURCES) handshake-agent/hostd/signer_side.c \
	$(addprefix handshake-agent/broker/,ca.c ca_file.c) handshake-agent/agent/x509.c \
	handshake-agent/common/log.c $(PROTO_SRC)
$(eval $(call unit,test_signer,tests/unit/test_signer.c $(SIGNER_SIDE) \
	$(addprefix handshake-agent/hostd/,child.c signer.c) handshake-agent/common/loop.c \
	$(CONFINE_SOURCES) $(SECRETS_SOURCES),\
	$(COMMON_CFLAGS),$(BROKER_LIBS) $(CONFIG_LIBS) $(CONFINE_LIBS)))
$(eval $(call fuzzer,fuzz_signer,tests/fuzz/fuzz_signer.c $(SIGNER_SIDE),\
	$(COMMON_CFLAGS),-lcrypto $(CONFIG_LIBS)))
$(eval $(call unit,test_revocations,tests/unit/test_revocations.c \
	handshake-agent/hostd/revocations.c handshake-agent/broker/revoke.c $(CONFIG_SOURCES) \
	$(PROTO_SRC),$(COMMON_CFLAGS),$(CONFIG_LIBS)))
$(eval $(call fuzzer,fuzz_host_config,tests/fuzz/fuzz_host_config.c $(HOST_CONFIG_SOURCES) \
	$(POLICY_SOURCES) $(PROTO_SRC),$(COMMON_CFLAGS),$(CONFIG_LIBS)))
