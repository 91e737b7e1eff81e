# SPDX-License-Identifier: BSD-2-Clause
# Kernel modules and the guests' file system, for one kernel release at a time. KREL and KDIR name
# another kernel than the one that scripts/setup fetched.

KREL ?= $(KERNEL_RELEASE)
KDIR ?= $(KERNEL_BUILD)

# Kbuild writes beside its sources, so each release gets a tree of links to build in; SIV_TOP tells
# it where the rest of the project is.
KMOD_TREE := build/kmod/$(KREL)
KMOD_SOURCES := $(foreach d,$(KMOD_DIRS) libsivshmem/include,$(shell find $(d) -type f 2>/dev/null))
MODULES := $(KMOD_DIRS:%=$(KMOD_TREE)/%.built)

$(MODULES): $(KMOD_TREE)/%.built: $(KMOD_SOURCES) scripts/link-tree $(KDIR)/Makefile
	$(call say,KMOD,$(KMOD_TREE)/$*)
	$(Q)scripts/link-tree $* $(KMOD_TREE)/$*
	$(Q)$(MAKE) $(if $(Q),-s) --no-print-directory -C $(KDIR) M=$(CURDIR)/$(KMOD_TREE)/$* \
		SIV_TOP=$(CURDIR) CONFIG_DEBUG_INFO_BTF_MODULES= modules
	$(Q)cp $(KMOD_TREE)/$*/*.ko $(KMOD_TREE)/
	$(Q)touch $@

# base: busybox, redis, libraries; made once. overlay: what this project builds. kernel: modules.
GUEST := build/guest
GUEST_INITRD := $(GUEST)/initrd-$(KREL).cpio

$(GUEST)/base.cpio: scripts/mkguest scripts/elf-libs scripts/packages $(wildcard tests/vm/guest/*)
	$(call say,GUEST,$@)
	$(Q)scripts/mkguest base

$(call remember,$(GUEST)/contents,$(GUEST_BIN) : $(GUEST_LIB))
$(GUEST)/overlay.cpio: $(GUEST)/base.cpio $(GUEST_BIN) $(GUEST_LIB) $(GUEST)/contents
	$(call say,GUEST,$@)
	$(Q)scripts/mkguest overlay $(GUEST_BIN) -- $(GUEST_LIB)

$(GUEST)/kernel-$(KREL).cpio: $(MODULES) scripts/mkguest
	$(call say,GUEST,$@)
	$(Q)scripts/mkguest kernel $(KREL) $(if $(MODULES),$(KMOD_TREE)/*.ko)

$(GUEST_INITRD): $(GUEST)/base.cpio $(GUEST)/kernel-$(KREL).cpio $(GUEST)/overlay.cpio
	$(Q)cat $^ >$@
