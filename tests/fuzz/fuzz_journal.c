// SPDX-License-Identifier: BSD-2-Clause
/*
 * A journal of any content. Input: the file. What is taken for a record is written the same again;
 * a broker that starts with it, and whose VMs then come and go, keeps each channel in a place of
 * its own, and what it has then written is a journal again.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/journal.h"
#include "common/log.h"

enum { A, B, N_VMS };

#define LINK_SIZE (1u << 20)

static char folder[] = "/tmp/siv-fuzz-journal-XXXXXX";
static char path[64], bad[64];
static struct policy *policy;
static struct audit *audit;

static int scrub(void *backend, uint64_t offset, uint64_t length)
{
	(void)backend;
	assert(offset >= SIV_LINK_CHANNELS && length <= LINK_SIZE && offset <= LINK_SIZE - length);
	return 0;
}

static void bump(void *backend)
{
	*(unsigned int *)backend += 1;
}

static const struct broker_link_ops ops = { .scrub = scrub, .bump = bump };

static int64_t wall(void)
{
	return 1800000000;
}

static void clean_up(void)
{
	unlink(path);
	unlink(bad);
	rmdir(folder);
}

static void set_up(void)
{
	log_init("fuzz", LOG_LEVEL_NONE); /* each bad line is an error to a person; here it is the rule */
	assert(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/" JOURNAL_FILE, folder);
	snprintf(bad, sizeof(bad), "%s/" JOURNAL_BAD_FILE, folder);
	atexit(clean_up);
	audit = audit_open("/dev/null", NULL);
	policy = policy_new("host.conf", "fuzz.example");
	policy_add_vm(policy, "a", LINK_SIZE, 1);
	policy_add_vm(policy, "b", LINK_SIZE, 2);
	policy_add_service(policy, A, "s");
	policy_add_service(policy, B, "s");
	policy_add_link(policy, A, B, LINK_SIZE, 0, 3);
	policy_add_allow(policy, A, "s", B, "s", 4);
	policy_add_allow(policy, A, "s", A, "s", 5);
}

static void check_lines(const char *text, size_t len)
{
	const char *end;

	for (; (end = memchr(text, '\n', len)); len -= (size_t)(end + 1 - text), text = end + 1) {
		char line[JOURNAL_LINE_MAX];
		struct journal_record record;
		size_t n = (size_t)(end - text);

		if (!journal_parse(text, n, &record))
			continue;
		assert(journal_format(&record, line) == n + 1);
		assert(memcmp(line, text, n + 1) == 0);
	}
}

/* Its end of the stream. */
static int hello(struct broker *broker, unsigned int vm, uint32_t position, uint8_t boot)
{
	static struct sivp_builder b;
	const uint32_t links[] = { position, SIVP_LOCAL };
	uint8_t bytes[8], id[16] = { boot };
	int pair[2];
	size_t len;

	for (unsigned int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(links[i / 4] >> 8 * (i % 4));
	assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	assert(broker_add_vm_stream(broker, vm, pair[0]) == 0);
	assert(write(pair[1], SIVP_MAGIC, SIVP_MAGIC_LEN) == SIVP_MAGIC_LEN);
	sivp_begin(&b, SIVP_GUEST, SIVP_HELLO, 0);
	sivp_put_u32(&b, SIVP_A_VERSION, SIVP_VERSION);
	sivp_put_u32(&b, SIVP_A_ABI, SIV_ABI_VERSION);
	sivp_put_blob(&b, SIVP_A_BOOT_ID, id, sizeof(id));
	sivp_put_u64(&b, SIVP_A_MODULE_NONCE, 1);
	sivp_put_blob(&b, SIVP_A_NONCE, id, SIVP_NONCE_LEN);
	sivp_put_blob(&b, SIVP_A_LINKS, bytes, sizeof(bytes));
	len = sivp_end(&b);
	assert(len && write(pair[1], b.buf, len) == (ssize_t)len);
	sivp_begin(&b, SIVP_GUEST, SIVP_REPORTED, 0);
	len = sivp_end(&b);
	assert(len && write(pair[1], b.buf, len) == (ssize_t)len);
	return pair[1];
}

/* One life of a broker: it reads the file, both VMs report nothing, one of them as another. */
static void live(struct ca *ca, unsigned int life)
{
	struct broker_config config = {
		.loop = loop_new_manual(), .policy = policy, .ca = ca, .audit = audit,
		.journal = journal_open(folder), .wall_clock = wall,
	};
	unsigned int bumps = 0;
	struct broker *broker;
	int fd[N_VMS];

	assert(config.journal);
	broker = broker_new(&config);
	assert(broker);
	broker_link_start(broker, 0, &ops, &bumps, 77, LINK_SIZE, 1 + life);
	broker_link_joined(broker, 0, 0, 10);
	broker_link_joined(broker, 0, 1, 20);
	broker_link_ready(broker, 0);
	if (bumps)
		broker_link_epoch(broker, 0, 2 + life);
	fd[A] = hello(broker, A, 10, 0);
	fd[B] = hello(broker, B, 20, (uint8_t)life);
	for (int i = 0; i < 6; i++)
		loop_run_once(config.loop, 0);
	/* Neither has anything, and both were there: nothing can be left. */
	assert(broker_count_channels(broker) == 0);
	broker_free(broker);
	close(fd[A]);
	close(fd[B]);
	journal_close(config.journal);
	loop_free(config.loop);
	if (life)
		assert(access(bad, F_OK) < 0); /* it was we who wrote it */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ca *ca;
	int fd;

	if (!ca) {
		struct ca_options options = { .domain = "fuzz.example", .now = wall() };
		char file[128], error[CA_ERROR_LEN];

		set_up();
		options.state = folder;
		assert(ca_open(&options, &ca, error) == 0);
		snprintf(file, sizeof(file), "%s/" CA_FILE, folder);
		unlink(file);
		snprintf(file, sizeof(file), "%s/" CA_CERT_FILE, folder);
		unlink(file);
	}
	check_lines((const char *)data, size);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
	live(ca, 0);
	unlink(bad);
	live(ca, 1);
	return 0;
}
