# SPDX-License-Identifier: BSD-2-Clause
# Host daemons, the guest's agent and sivctl; one fragment for each. First those that name sources
# which the others link.
SHARED_FRAGMENTS := $(wildcard $(patsubst %,handshake-agent/%/build.mk,proto common broker switch hostd))
include $(SHARED_FRAGMENTS)
include $(filter-out $(SHARED_FRAGMENTS),$(wildcard handshake-agent/*/build.mk))
