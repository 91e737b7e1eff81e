# SPDX-License-Identifier: BSD-2-Clause
# sivshmem-hostd. handshake-agent/build.mk has included common, proto and broker before.
HOST_CONFIG_SOURCES := $(addprefix handshake-agent/hostd/,config.c config_parse.c) \
	handshake-agent/agent/suggest.c
HOSTD_SOURCES := $(addprefix handshake-agent/hostd/,admin.c control.c explain.c links.c) \
	$(HOST_CONFIG_SOURCES) $(BROKER_SOURCES) $(COMMON_SOURCES) $(PROTO_SRC) $(SWITCH_CLIENT)
HOSTD_LIBS := $(BROKER_LIBS) -lconfuse

$(eval $(call program,sivshmem-hostd,handshake-agent/hostd/main.c $(HOSTD_SOURCES),$(COMMON_CFLAGS),$(HOSTD_LIBS)))
