# SPDX-License-Identifier: BSD-2-Clause
# Event loop, streams, log and admin socket: linked into every daemon.
COMMON_SOURCES := $(addprefix handshake-agent/common/,admin.c log.c loop.c stream.c unix.c)
COMMON_CFLAGS := -D_GNU_SOURCE -Ihandshake-agent
COMMON_LIBS := -ljansson
# Configuration files and "did you mean": for those that have one.
CONFIG_SOURCES := $(addprefix handshake-agent/common/,\
	config_parse.c config_text.c config_value.c suggest.c)
CONFIG_LIBS := -lconfuse
