# SPDX-License-Identifier: BSD-2-Clause
# sivctl: for the host and for guests.
SIVCTL_SOURCES := $(addprefix handshake-agent/sivctl/,main.c print.c qemu.c) \
	handshake-agent/hostd/explain.c $(POLICY_SOURCES) \
	$(HOST_CONFIG_SOURCES) $(COMMON_SOURCES) $(PROTO_SRC)

$(eval $(call program,sivctl,$(SIVCTL_SOURCES),$(COMMON_CFLAGS),$(CONFIG_LIBS) -ljansson))
GUEST_BIN += build/bin/sivctl
