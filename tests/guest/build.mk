# SPDX-License-Identifier: BSD-2-Clause
# Programs that run in guests, for tests alone.

$(eval $(call program,siv-check,$(addprefix tests/guest/check/,main.c lib.c server.c cases.c cases_connect.c cases_load.c cases_map.c cases_seal.c cases_wait.c) $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE -Itests/guest/check,-lpthread))
GENL_CFLAGS = $(shell pkg-config --cflags libnl-genl-3.0)
GENL_LIBS = $(shell pkg-config --libs libnl-genl-3.0)
$(eval $(call program,siv-grantd,tests/guest/siv-grantd.c,$(GENL_CFLAGS),$(GENL_LIBS)))
GUEST_BIN += build/bin/siv-check build/bin/siv-grantd
$(eval $(call program,siv-peek,tests/guest/siv-peek.c $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE,))
GUEST_BIN += build/bin/siv-peek
$(eval $(call program,siv-spy,tests/guest/siv-spy.c,-D_GNU_SOURCE,))
GUEST_BIN += build/bin/siv-spy
$(eval $(call program,siv-faults,tests/guest/siv-faults.c $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE,))
GUEST_BIN += build/bin/siv-faults
# the agent with seams where it takes its certificate into use, and a sealed channel's secrets
$(eval $(call program,lab-agent,tests/guest/lab_agent.c tests/unit/cert_maker.c $(AGENT_DIR)/main.c $(AGENT_CORE) \
	$(BROKER_SOURCES) $(COMMON_SOURCES) $(CONFINE_SOURCES) $(SECRETS_SOURCES),$(AGENT_CFLAGS) -Itests/unit,$(AGENT_LIBS) $(CONFINE_LIBS) -Wl$(comma)--wrap=tls_context_new -Wl$(comma)--wrap=tls_secrets))
GUEST_BIN += build/bin/lab-agent
# on the host: what a sealed channel's memory should open to
$(eval $(call program,siv-unseal,tests/tools/siv-unseal.c,,-lcrypto))
# random calls against a model, over AF_UNIX too: `build/bin/siv-random model`
$(eval $(call program,siv-random,$(addprefix tests/guest/random/,main.c stream.c where.c vec.c model.c calls.c \
	watch.c steps.c plan.c crew.c work.c storm.c) $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE -Itests/guest/random,-lpthread))
GUEST_BIN += build/bin/siv-random
# the same calls over the family and over AF_UNIX, TCP or AF_VSOCK: `build/bin/siv-matrix run`
$(eval $(call program,siv-matrix,$(sort $(wildcard tests/guest/matrix/*.c)) $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE -Itests/guest/matrix -Wno-missing-field-initializers,-lpthread))
GUEST_BIN += build/bin/siv-matrix
# io_uring on the family, against `siv-check serve`
$(eval $(call program,siv-uring,$(sort $(wildcard tests/guest/uring/*.c)) tests/guest/check/lib.c $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE,-luring -lpthread))
GUEST_BIN += build/bin/siv-uring
# hostile speakers of the module's netlink
$(eval $(call program,siv-nlfuzz,$(sort $(wildcard tests/guest/nlfuzz/*.c)),-D_GNU_SOURCE,-lpthread))
GUEST_BIN += build/bin/siv-nlfuzz
# a peer whose kernel is hostile, by way of tests/guest/lab/siv_lab.ko, and its victim
$(eval $(call program,siv-mallory,$(addprefix tests/guest/hostile/,mallory.c reach.c) $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE $(GENL_CFLAGS),$(GENL_LIBS)))
$(eval $(call program,siv-prey,tests/guest/hostile/prey.c $(LIBSIVSHMEM_SRC),-D_GNU_SOURCE,))
GUEST_BIN += build/bin/siv-mallory build/bin/siv-prey
