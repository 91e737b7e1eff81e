# SPDX-License-Identifier: BSD-2-Clause
# Builds, checks and demonstrates sivshmem. `make help` lists the targets; docs/development.md says
# what the templates below are for and where things live.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
MAKEFLAGS += --no-builtin-rules

CACHE := build/cache
SUITE ?=
TEST ?=
FUZZ_SECONDS ?= 10
RANDOM_SECONDS ?= 600
RANDOM_SEED ?=

# V=1 shows commands; otherwise one short line for each thing that is made.
Q := $(if $(filter-out 0,$(V)),,@)
say = $(if $(Q),@printf '  %-8s %s\n' '$(1)' '$(2)')

# --- set-up first ---------------------------------------------------------------------------------
# setup.mk is both the stamp of scripts/setup and what it found out (KERNEL_RELEASE, KERNEL_BUILD,
# KERNEL_IMAGE). make remakes it and then starts over, so that fragments which ask pkg-config are
# only ever read on a machine that has it.
NO_SETUP_GOALS := help setup clean distclean uninstall
NEEDS_SETUP := $(filter-out $(NO_SETUP_GOALS),$(or $(MAKECMDGOALS),help))

$(CACHE)/setup.mk: scripts/setup scripts/packages
	$(Q)scripts/setup

# KERNEL=6.12 builds for, and boots, that one instead: for guest, check-vm, vm-shell, demo, bench.
KERNEL ?=
$(CACHE)/kernel-%.mk: scripts/setup scripts/packages | $(CACHE)/setup.mk
	$(Q)scripts/setup $*

ifneq ($(NEEDS_SETUP),)
include $(CACHE)/setup.mk
ifneq ($(KERNEL),)
include $(CACHE)/kernel-$(KERNEL).mk
export VM_FLAVOUR := $(KERNEL)
endif
endif

# --- templates ------------------------------------------------------------------------------------
CC := gcc
FUZZ_CC := clang
BASE_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -g -O2 -Ilibsivshmem/include
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_SANITIZE := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
CFLAGS ?=
LDFLAGS ?=

PROGRAMS :=
LIBRARIES :=
UNIT_TESTS :=
FUZZERS :=
GUEST_BIN :=
GUEST_LIB :=
# Folders with a Kbuild file; modules.mk below builds each for each kernel: ours, and a lab of tests.
KMOD_DIRS := $(if $(wildcard kmod-af_sivshmem/Kbuild),kmod-af_sivshmem tests/guest/lab)

same = $(and $(findstring x$(1)x,x$(2)x),$(findstring x$(2)x,x$(1)x))
# remember,FILE,TEXT: FILE changes only when TEXT does, so what was built with other flags is rebuilt.
remember = $(if $(call same,$(strip $(file <$(1))),$(strip $(2))),,$(shell mkdir -p $(dir $(1)))$(file >$(1),$(strip $(2))))

# objects,FOLDER,SOURCES,COMPILER,FLAGS: how FOLDER/%.o is made from %.c
define objects
$(call remember,$(1)/flags,$(3) $(4))
$(1)/%.o: %.c $(1)/flags
	$$(Q)mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$(3) $(4) $$(CFLAGS) -MMD -MP -c -o $$@ $$<
-include $(patsubst %.c,$(1)/%.d,$(2))
endef

# linked,OUTPUT,OBJECTS,COMPILER,FLAGS,LIBS: Lbuild/lib so that programs find this project's libraries
define linked
$(call remember,$(1).link,$(3) $(4) $(5))
$(1): $(2) $(1).link
	$$(Q)mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$(3) $(4) $$(LDFLAGS) -o $$@ $(2) -Lbuild/lib $(5)
endef

# program,NAME,SOURCES,CFLAGS,LIBS
define program
PROGRAMS += build/bin/$(1)
$(call objects,build/obj/bin/$(1),$(2),$$(CC),$$(BASE_CFLAGS) $(3))
$(call linked,build/bin/$(1),$(patsubst %.c,build/obj/bin/$(1)/%.o,$(2)),$$(CC),,$(4))
endef

# library,NAME,SOURCES,CFLAGS,LIBS: NAME is libx.so (loaded by name) or libx.so.N (linked against;
# that becomes its soname and libx.so a link to it)
define library
LIBRARIES += build/lib/$(1)
$(call objects,build/obj/lib/$(1),$(2),$$(CC),$$(BASE_CFLAGS) -fPIC -fvisibility=hidden $(3))
$(call linked,build/lib/$(1),$(patsubst %.c,build/obj/lib/$(1)/%.o,$(2)),$$(CC),-shared -Wl$$(comma)-soname$$(comma)$(1),$(4))
$(if $(filter-out %.so,$(1)),$(call soname_link,build/lib/$(firstword $(subst .so,.so ,$(1))),$(1)))
endef
comma := ,
define soname_link
LIBRARIES += $(1)
$(1): build/lib/$(2)
	$$(Q)ln -sf $(2) $$@
endef

# unit,NAME,SOURCES,CFLAGS,LIBS
define unit
UNIT_TESTS += build/unit/$(1)
$(call objects,build/obj/unit/$(1),$(2),$$(CC),$$(BASE_CFLAGS) $$(SANITIZE) $(3))
$(call linked,build/unit/$(1),$(patsubst %.c,build/obj/unit/$(1)/%.o,$(2)),$$(CC),$$(SANITIZE),$(4) -lcmocka)
endef

# fuzzer,NAME,SOURCES,CFLAGS,LIBS
define fuzzer
FUZZERS += build/fuzz/$(1)
$(call objects,build/obj/fuzz/$(1),$(2),$$(FUZZ_CC),$$(BASE_CFLAGS) $$(FUZZ_SANITIZE) $(3))
$(call linked,build/fuzz/$(1),$(patsubst %.c,build/obj/fuzz/$(1)/%.o,$(2)),$$(FUZZ_CC),$$(FUZZ_SANITIZE),$(4))
endef

# --- what each folder builds ----------------------------------------------------------------------
ifneq ($(wildcard $(CACHE)/setup.mk),)
ifneq ($(NEEDS_SETUP),)
FRAGMENTS := libsivshmem handshake-agent preload examples bench tests tests/vm tests/guest
include $(wildcard $(FRAGMENTS:%=%/build.mk))
include scripts/modules.mk
endif
endif

# what tests/run and the suites use on this machine
HARNESS := build/bin/guard build/bin/vmexec build/bin/tsc-khz


.PHONY: demo help setup all modules guest check lint check-unit check-fuzz check-spin check-vm \
	check-6.12 check-random check-soak check-debug check-kcsan debug-kernel \
	vm-shell bench man install uninstall format clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing to build and test, fetch what guests get
	$(Q)scripts/setup

all: $(PROGRAMS) $(LIBRARIES) modules ## programs, libraries and the kernel module

modules: $(MODULES) ## the kernel module, for the guests' kernel (KERNEL=6.12 or KDIR=folder KREL=release for another)

guest: $(GUEST_INITRD) ## the guests' root file system


MODELS := $(sort $(wildcard tests/spin/*.pml))

# after guest: what is the same for both kernels is built once
.PHONY: guest-6.12
guest-6.12: guest
	$(Q)$(MAKE) --no-print-directory KERNEL=6.12 guest

# only with what `make debug-kernel` has built: it takes longer than all the rest
.PHONY: guest-kasan
ifneq ($(wildcard $(CACHE)/debug-kernel-kasan.mk),)
KASAN_QUICK := vm@debug 20-family-local 27-standalone-local 36-pair-up 55-faults-local
guest-kasan: guest
	$(Q)$(MAKE) --no-print-directory $$(scripts/debug-kernel kasan --make-args) guest
else
guest-kasan:
	$(call say,CHECK,without the suites under KASAN: "make debug-kernel" builds their kernel)
endif

check: all guest guest-6.12 guest-kasan $(UNIT_TESTS) $(FUZZERS) ## every test: lint, unit, fuzz, models and VM suites, a few of these on 6.12 and under KASAN
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run lint unit $(UNIT_TESTS) fuzz $(FUZZERS) \
		spin $(MODELS) vm smoke@6.12 $(KASAN_QUICK)

lint: $(HARNESS) $(CACHE)/kernel-6.12.mk ## sparse, W=1 and checkpatch (fetched once: 139 MB); C++ reads the headers
	$(Q)scripts/setup lint
	$(Q)tests/run lint

check-unit: $(HARNESS) $(UNIT_TESTS) ## unit tests, under ASan and UBSan
	$(Q)tests/run unit $(UNIT_TESTS)

check-fuzz: $(HARNESS) $(FUZZERS) ## each fuzzer for FUZZ_SECONDS (10)
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run fuzz $(FUZZERS)

check-spin: $(HARNESS) ## models of the protocols, in all their states
	$(Q)tests/run spin $(MODELS)

check-vm: all guest ## VM suites; SUITE=file runs one, TEST=regex those tests, KERNEL=6.12 on that kernel
	$(Q)TEST='$(TEST)' tests/run vm $(SUITE)

check-6.12: all guest-6.12 ## VM suites on the kernel of bookworm-backports; SUITE and TEST as above
	$(Q)TEST='$(TEST)' tests/run vm@6.12 $(SUITE)

check-random: all guest ## random calls alone, RANDOM_SECONDS (600) for each test; RANDOM_SEED=N repeats
	$(Q)RANDOM_SECONDS=$(RANDOM_SECONDS) RANDOM_SEED=$(RANDOM_SEED) \
		SUITE_SECONDS=$$((4 * ($(RANDOM_SECONDS) + 120) + 300)) TEST='$(TEST)' \
		tests/run vm $(or $(SUITE),$(wildcard tests/suites/*-random-*.bats))

check-soak: all guest ## 4 GiB each way, local and between two VMs, then random calls for RANDOM_SECONDS each
	$(Q)DUPLEX_MIB=4096 RANDOM_SECONDS=$(RANDOM_SECONDS) RANDOM_SEED=$(RANDOM_SEED) \
		SUITE_SECONDS=$$((4 * ($(RANDOM_SECONDS) + 120) + 3000)) TEST='each way|random|many threads' \
		tests/run vm 20-family-local 24-random-local 30-pair 34-random-pair

# kmemleak and debug objects cost half of the speed: they get a boot of their own, of these suites
LEAKS_SUITES := 20-family-local 27-standalone-local 30-pair 55-faults-local
check-debug: all debug-kernel ## VM suites on a kernel with KASAN, lockdep, UBSAN, then some with kmemleak
	$(Q)$(MAKE) --no-print-directory $$(scripts/debug-kernel kasan --make-args) guest
	$(Q)TEST='$(TEST)' tests/run $(if $(SUITE),vm@$(or $(FLAVOUR),debug) $(SUITE), \
		vm@debug vm@debug-leaks $(LEAKS_SUITES))

check-kcsan: all ## one-VM suites on a kernel with KCSAN, which sees data races
	$(Q)scripts/debug-kernel kcsan
	$(Q)$(MAKE) --no-print-directory $$(scripts/debug-kernel kcsan --make-args) guest
	$(Q)TEST='$(TEST)' tests/run vm@kcsan $(or $(SUITE),$(wildcard tests/suites/*-local*.bats))

debug-kernel: ## build the kernel with KASAN (once; about 16 minutes on two cores)
	$(Q)scripts/debug-kernel kasan

demo: all guest ## two VMs, stock redis in each, over an authenticated channel; about a minute
	$(Q)scripts/demo

vm-shell: all guest ## a shell in one VM of a running pair; VM=adas for the other
	$(Q)tests/vm/shell $(VM)

bench: all guest ## the scoreboard, about ten minutes (BENCH_QUICK=1: two); docs/bench.md
	$(Q)bench/run

# PREFIX and LIBDIR stand only in files that packaging/install writes itself, the pkg-config file and
# the units: so `make` as a user and `sudo make install PREFIX=/usr` go together.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
SYSCONFDIR ?= /etc
INSTALL_PROGRAMS := sivshmem-hostd sivshmem-switch sivshmem-agent sivctl sivshmem-run
MAN_PAGES := $(patsubst man/%.scd,build/man/%,$(wildcard man/*.scd))
packaging_install = DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' \
	SYSCONFDIR='$(SYSCONFDIR)' VERSION='$(SIV_VERSION)' packaging/install
SIV_VERSION ?= $(shell sed -n 's/^SIV_VERSION := //p' libsivshmem/build.mk)

$(MAN_PAGES): build/man/%: man/%.scd
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)scdoc <$< >$@

man: $(MAN_PAGES) ## man pages, in build/man

install: $(INSTALL_PROGRAMS:%=build/bin/%) $(LIBRARIES) man ## install under DESTDIR and PREFIX (/usr/local); packaging/install
	$(Q)$(packaging_install) install

uninstall: ## remove what install put there, but no configuration
	$(Q)$(packaging_install) uninstall

format: ## format all C sources in place
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format -i

clean: ## remove what was built; keeps build/cache
	$(Q)find build -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} + 2>/dev/null || true

distclean: ## remove build/ with all that was fetched
	$(Q)rm -rf build
