# SPDX-License-Identifier: BSD-2-Clause
# Event loop, streams, log and admin socket: linked into every daemon.
COMMON_SOURCES := $(addprefix handshake-agent/common/,admin.c log.c loop.c stream.c unix.c)
COMMON_CFLAGS := -D_GNU_SOURCE -Ihandshake-agent
COMMON_LIBS := -ljansson
# Least privilege: for the programs that are daemons.
CONFINE_SOURCES := handshake-agent/common/confine.c
# For who hands descriptors on.
FD_PASS := handshake-agent/common/fd_pass.c
# Keys in memory: for those of them that link OpenSSL.
SECRETS_SOURCES := handshake-agent/common/secrets.c
CONFINE_LIBS := $(shell pkg-config --libs libseccomp)
# Configuration files and "did you mean": for those that have one.
CONFIG_SOURCES := $(addprefix handshake-agent/common/,\
	config_parse.c config_text.c config_value.c suggest.c)
CONFIG_LIBS := -lconfuse

$(eval $(call unit,test_confine,tests/unit/test_confine.c $(CONFINE_SOURCES) \
	handshake-agent/common/log.c,$(COMMON_CFLAGS),$(CONFINE_LIBS)))
$(eval $(call unit,test_id_hash,tests/unit/test_id_hash.c,$(COMMON_CFLAGS),))
