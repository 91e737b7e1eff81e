# SPDX-License-Identifier: BSD-2-Clause
# sivshmem-switch, the tool that drives it in tests, its unit tests and fuzzers.

SWITCH_DIR := handshake-agent/switch
SWITCH_CFLAGS := $(COMMON_CFLAGS) -I$(SWITCH_DIR)
SWITCH_CORE := $(addprefix $(SWITCH_DIR)/, \
	control.c ivshmem.c link.c switchd.c unix_socket.c) \
	$(addprefix handshake-agent/common/,log.c loop.c) $(FD_PASS)
# what sivshmem-hostd links, with FD_PASS and -I$(SWITCH_DIR)
SWITCH_CLIENT := $(SWITCH_DIR)/switch_client.c

$(eval $(call program,sivshmem-switch,$(SWITCH_DIR)/main.c $(SWITCH_CORE) \
	$(CONFINE_SOURCES),$(SWITCH_CFLAGS),$(CONFINE_LIBS)))
$(eval $(call program,siv-switchctl,tests/tools/siv-switchctl.c $(SWITCH_CLIENT) $(FD_PASS),$(SWITCH_CFLAGS),))

SWITCH_FIXTURE := tests/unit/test_switch_fixture.c $(SWITCH_CORE) $(SWITCH_CLIENT)
SWITCH_TEST_CFLAGS := $(SWITCH_CFLAGS) -Itests/unit
$(foreach t,test_switch_ivshmem test_switch_control,\
	$(eval $(call unit,$(t),tests/unit/$(t).c $(SWITCH_FIXTURE),$(SWITCH_TEST_CFLAGS),)))
SWITCH_DAEMON_TEST := tests/unit/test_switch_daemon.c $(SWITCH_CLIENT) $(FD_PASS)
$(eval $(call unit,test_switch_daemon,$(SWITCH_DAEMON_TEST),$(SWITCH_CFLAGS),))
# it runs the daemon
build/unit/test_switch_daemon: | build/bin/sivshmem-switch

$(foreach f,fuzz_switch_control fuzz_switch_qemu,\
	$(eval $(call fuzzer,$(f),tests/fuzz/$(f).c $(SWITCH_CORE),$(SWITCH_TEST_CFLAGS),)))
