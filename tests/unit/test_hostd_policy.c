// SPDX-License-Identifier: BSD-2-Clause
/* What changes while hostd runs: revocations, and its configuration read again. */
#include "hostd_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The configuration as hostd_write_config() has it, with one text in place of another. */
static void change_config(const struct daemon_fixture *d, const char *from, const char *to)
{
	char text[4096], *at;
	FILE *file;
	size_t len;

	hostd_write_config(d);
	file = fopen(d->config, "r+");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	at = strstr(text, from);
	assert_non_null(at);
	rewind(file);
	assert_int_equal(ftruncate(fileno(file), 0), 0);
	fprintf(file, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	fclose(file);
}

/* revoke or unrevoke; @error: a part of what it must say, NULL: it must do it. */
static void ask_about(struct daemon_fixture *d, const char *command, const char *what,
		      const char *name, const char *error)
{
	json_t *reply = hostd_call(d, json_pack("{s:s, s:s, s:s}", "command", command, "what", what,
					  "name", name));
	const char *said = json_string_value(json_object_get(reply, "error")) ?: "(nothing)";

	if (json_is_true(json_object_get(reply, "ok")) == !!error ||
	    (error && !strstr(said, error)))
		fail_msg("%s %s %s: %s", command, what, name, said);
	json_decref(reply);
}

static size_t count_revocations(struct daemon_fixture *d)
{
	json_t *reply = hostd_ask(d, "revocations");
	size_t n = json_array_size(json_object_get(reply, "revocations"));

	json_decref(reply);
	return n;
}

/* Lines of the audit log that have both. */
static unsigned int count_audited(struct daemon_fixture *d, const char *a, const char *b)
{
	char path[128], line[4096];
	unsigned int n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/state/audit.log", d->folder);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, a) && strstr(line, b);
	fclose(file);
	return n;
}

static void expect_revoked_close(struct daemon_fixture *d, unsigned int vm,
				 const struct fx_channel *channel)
{
	fx_expect(&d->fx, vm, SIVP_CHANGED);
	fx_expect_close(&d->fx, vm, channel, vm != A);
	assert_int_equal(sivp_u32(&d->fx.agent[vm].msg, SIVP_A_REASON), SIVP_R_REVOKED);
}

static void test_revoke_and_unrevoke(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d);
	struct fixture *fx = &d->fx;

	ask_about(d, "revoke", "service", "b/srv", NULL);
	expect_revoked_close(d, A, &channel);
	expect_revoked_close(d, B, &channel);
	assert_int_equal(count_audited(d, "\"event\":\"revoke\"", "1 channels reset"), 1);
	assert_int_equal(count_audited(d, "\"event\":\"reset\"", "\"reason\":\"revoked\""), 1);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_REVOKED);
	assert_int_equal(count_revocations(d), 1);
	ask_about(d, "unrevoke", "vm", "b", "is not revoked");
	ask_about(d, "unrevoke", "service", "b/srv", NULL);
	assert_int_equal(count_audited(d, "\"event\":\"unrevoke\"", "\"service\":\"srv\""), 1);
	for (unsigned int vm = A; vm <= B; vm++)
		fx_expect(fx, vm, SIVP_CHANGED);
	ask_about(d, "unrevoke", "service", "b/srv", "is not revoked");
	assert_int_equal(count_revocations(d), 0);
	channel = fx_connected(fx, 3, B, "srv");
	ask_about(d, "revoke", "vm", "a", NULL);
	expect_revoked_close(d, A, &channel);
	expect_revoked_close(d, B, &channel);
	ask_about(d, "revoke", "vm", "a", NULL); /* again */
	assert_int_equal(count_revocations(d), 1);
}

static void test_revoke_a_channel(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d), next;
	char name[32];

	snprintf(name, sizeof(name), "a--b/%u", channel.slot);
	ask_about(d, "revoke", "channel", name, NULL);
	for (unsigned int vm = A; vm <= B; vm++) {
		fx_expect_close(&d->fx, vm, &channel, vm != A);
		assert_int_equal(sivp_u32(&d->fx.agent[vm].msg, SIVP_A_REASON), SIVP_R_REVOKED);
	}
	assert_int_equal(count_audited(d, "\"event\":\"revoke\"", "this channel alone"), 1);
	ask_about(d, "revoke", "channel", name, "none is open in slot");
	assert_int_equal(count_revocations(d), 0);
	next = fx_connected(&d->fx, 2, B, "srv");
	assert_int_not_equal(next.generation, channel.generation);
}

static void test_what_cannot_be_revoked(void **state)
{
	static const char *const cases[][4] = {
		{ "revoke", "service", "b/srw", "did you mean \"srv\"?" },
		{ "revoke", "vm", "d", "no vm \"d\"" },
		{ "revoke", "service", "b", "write VM/SERVICE" },
		{ "revoke", "vm", "b/srv", "write a VM's name" },
		{ "revoke", "vm", "", "bad name" },
		{ "revoke", "service", "/", "bad name" },
		{ "revoke", "service", "b/s/r", "bad name" },
		{ "revoke", "service", "b/srv\n", "bad name" },
		{ "revoke", "link", "a--b", "one of service, vm, channel" },
		{ "revoke", "channel", "a--b", "write LINK/SLOT" },
		{ "revoke", "channel", "a--b/", "write LINK/SLOT" },
		{ "revoke", "channel", "a--b/1x", "write LINK/SLOT" },
		{ "revoke", "channel", "a--b/-1", "write LINK/SLOT" },
		{ "revoke", "channel", "/1", "write LINK/SLOT" },
		{ "revoke", "channel", "a--b/99999999999999999999", "write LINK/SLOT" },
		{ "revoke", "channel", "a--b/4294967296", "none is open in slot" },
		{ "revoke", "channel", "a--b/1", "none is open in slot" },
		{ "unrevoke", "channel", "a--b/1", "one of service, vm" },
	};
	struct daemon_fixture *d = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ask_about(d, cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
	assert_int_equal(count_revocations(d), 0);
	assert_int_equal(count_audited(d, "revoke", ""), 0);
}

static void test_revocations_survive_a_killed_hostd(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d);
	struct fixture *fx = &d->fx;

	fx_hang_up(fx, B); /* it cannot be told now */
	ask_about(d, "revoke", "service", "b/srv", NULL);
	hostd_kill(d, SIGKILL, 0);
	hostd_start(d);
	assert_int_equal(count_revocations(d), 1);
	hostd_connect_agent(d, A);
	fx_report(fx, A, &channel, 0, "b", "cli", "srv");
	fx_reported(fx, A);
	hostd_connect_agent(d, B);
	fx_report(fx, B, &channel, 1, "a", "srv", "cli");
	fx_reported(fx, B);
	for (unsigned int vm = A; vm <= B; vm++) {
		fx_ack(fx, vm, fx->agent[vm].positions[0],
		       sivp_u32(hostd_expect_link(d, vm, fx->agent[vm].positions[0], true),
				SIVP_A_EPOCH));
		fx_expect_close(fx, vm, &channel, vm != A);
		assert_int_equal(sivp_u32(&fx->agent[vm].msg, SIVP_A_REASON), SIVP_R_REVOKED);
	}
	hostd_barrier(d);
	fx_open(fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(fx, A, 2, SIVP_R_REVOKED);
}

/* What cannot be written down is not done: it would be gone after a restart. */
static void test_a_revocation_that_cannot_be_kept(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d);
	char path[128];

	snprintf(path, sizeof(path), "%s/state/hostd/revocations.new", d->folder);
	assert_int_equal(mkdir(path, 0700), 0);
	ask_about(d, "revoke", "service", "b/srv", "nothing was changed");
	assert_int_equal(count_revocations(d), 0);
	assert_int_equal(hostd_count_channels(d), 1);
	assert_int_equal(rmdir(path), 0);
	ask_about(d, "revoke", "service", "b/srv", NULL);
	expect_revoked_close(d, A, &channel);
	/* nor is one taken back that would be there again */
	assert_int_equal(mkdir(path, 0700), 0);
	ask_about(d, "unrevoke", "service", "b/srv", "nothing was changed");
	fx_open(&d->fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(&d->fx, A, 2, SIVP_R_REVOKED);
}

static void test_no_hostd_without_its_revocations(void **state)
{
	struct daemon_fixture *d = *state;
	char path[128];
	FILE *file;

	ask_about(d, "revoke", "service", "b/srv", NULL);
	hostd_kill(d, SIGTERM, 0);
	snprintf(path, sizeof(path), "%s/state/hostd/revocations", d->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	hostd_expect_no_start(d);
}

/* @error: a part of what it must say, NULL: it must do it. */
static void reload(struct daemon_fixture *d, const char *error)
{
	json_t *reply = hostd_call(d, json_pack("{s:s}", "command", "reload"));
	const char *said = json_string_value(json_object_get(reply, "error")) ?: "(nothing)";

	if (json_is_true(json_object_get(reply, "ok")) == !!error ||
	    (error && !strstr(said, error)))
		fail_msg("reload: \"%s\" has no \"%s\"", said, error ?: "");
	json_decref(reply);
}

#define ALLOW_SRV "allow { from = \"a/cli\" to = \"b/srv\" }\n"

static void expect_not_allowed(struct daemon_fixture *d, const struct fx_channel *channel)
{
	for (unsigned int vm = A; vm <= B; vm++) {
		fx_expect(&d->fx, vm, SIVP_CHANGED);
		fx_expect_close(&d->fx, vm, channel, vm != A);
		assert_int_equal(sivp_u32(&d->fx.agent[vm].msg, SIVP_A_REASON),
				 SIVP_R_NOT_ALLOWED);
	}
	fx_open(&d->fx, A, 77, "cli", "b", "srv");
	fx_expect_reject(&d->fx, A, 77, SIVP_R_NOT_ALLOWED);
}

static void test_reload_is_for_what_is_open_too(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d);
	struct fixture *fx = &d->fx;

	change_config(d, ALLOW_SRV, "");
	reload(d, NULL);
	expect_not_allowed(d, &channel);
	assert_int_equal(count_audited(d, "\"event\":\"reload\"", "1 channels reset"), 1);
	assert_int_equal(count_audited(d, "\"event\":\"reload\"", "0 new, 1 gone"), 1);
	/* back again, and one that is new, of a service that is new, before the old one */
	change_config(d, "services = {\"srv\"} }", "services = {\"new\", \"srv\"} }");
	reload(d, NULL);
	fx_expect(fx, A, SIVP_CHANGED);
	fx_expect(fx, B, SIVP_CHANGED);
	channel = fx_connected(fx, 2, B, "srv");
	change_config(d, ALLOW_SRV, ALLOW_SRV "vm_b = 1\n");
	reload(d, "unknown key \"vm_b\"");
	change_config(d, "services = {\"srv\"} }", "services = {\"new\"} }");
	reload(d, "no service \"srv\" in vm \"b\"");
	assert_int_equal(hostd_count_channels(d), 2); /* the first one's CLOSED was never sent */
	/* by signal */
	change_config(d, ALLOW_SRV, "");
	kill(d->hostd, SIGHUP);
	expect_not_allowed(d, &channel);
	assert_int_equal(count_audited(d, "\"event\":\"reload\"", ""), 3);
	/* a file that was only touched is nobody's business */
	reload(d, NULL);
	hostd_barrier(d);
	fx_open(fx, A, 78, "cli", "b", "srv");
	fx_expect_reject(fx, A, 78, SIVP_R_NOT_ALLOWED);
}

static void test_reload_rejects_connects_under_way(void **state)
{
	struct daemon_fixture *d = *state;
	struct fixture *fx = &d->fx;
	uint64_t incoming;

	hostd_bring_up(d);
	incoming = fx_open_to(fx, 2, B, "srv");
	change_config(d, ALLOW_SRV, "");
	reload(d, NULL);
	fx_expect(fx, A, SIVP_CHANGED);
	fx_expect(fx, B, SIVP_CHANGED);
	fx_expect_reject(fx, A, 2, SIVP_R_NOT_ALLOWED);
	fx_expect_reject(fx, B, incoming, SIVP_R_NOT_ALLOWED);
}

static void test_what_is_revoked_stays_so_after_reload(void **state)
{
	struct daemon_fixture *d = *state;
	struct fx_channel channel = hostd_bring_up(d);

	ask_about(d, "revoke", "service", "b/srv", NULL);
	expect_revoked_close(d, A, &channel);
	reload(d, NULL);
	fx_open(&d->fx, A, 2, "cli", "b", "srv");
	fx_expect_reject(&d->fx, A, 2, SIVP_R_REVOKED);
}

static void test_reload_takes_all_or_nothing(void **state)
{
	static const struct { const char *from, *to, *error; } cases[] = {
		{ "to = \"b/srv\"", "to = \"b/srw\"",
		  "host.conf:10: allow.to: no service \"srw\" in vm \"b\"; did you mean \"srv\"?" },
		{ "to = \"b/srv\" }", "to = \"b/srv\"", "host.conf:10: this '{' has no '}'" },
		{ "test.example", "other.example", "host.conf: trust-domain: is another" },
		{ "/run\"", "/run2\"", "host.conf: run: is another" },
		{ "/state\"", "/state2\"", "host.conf: state: is another" },
		{ "vm \"a\"", "audit = \"/tmp/siv-audit\" vm \"a\"", "host.conf: audit: is another" },
		{ "audit-journal = no", "audit-journal = yes", "host.conf: audit-journal: is another" },
		{ "vm \"a\"", "ca { certificate = \"/c\" key = \"/k\" } vm \"a\"",
		  "host.conf: ca: /k: not there" },
		{ "\"2M\" }\nvm", "\"4M\" }\nvm", "host.conf:5: vm.local-size: is another" },
		{ "{\"srv\"}", "{\"srv\"} user = \"4711\"", "host.conf:6: vm.user: is another" },
		{ "{\"srv\"}", "{\"srv\"} control = \"/tmp/siv-b\"",
		  "host.conf:6: vm.control: is another" },
		{ "link \"a\"", "vm \"d\" { services = {} }\nlink \"a\"",
		  "host.conf:8: vm \"d\": is new" },
		{ "vm \"b\"", "vm \"d\" { services = {} }\nvm \"b\"",
		  "host.conf:6: vm \"d\": is new, or in another place" },
		{ "allow", "link \"b\" \"c\" { size = \"2M\" }\nallow",
		  "host.conf:10: link \"b--c\": is new" },
		{ "link \"c\" \"a\" { size = \"2M\" }", "", "host.conf: link \"c--a\": is not there" },
		{ "link \"a\" \"b\"", "link \"b\" \"a\"", "host.conf:8: link \"b--a\": is new" },
		{ "\"2M\" }\nlink", "\"4M\" }\nlink", "host.conf:8: link.size: is another" },
		{ "\"2M\" }\nlink", "\"2M\" vectors = 2 }\nlink",
		  "host.conf:8: link.vectors: is another" },
		{ "\"2M\" }\nlink", "\"2M\" link-timeout = \"3s\" }\nlink",
		  "host.conf:8: link-timeout: is another" },
		{ "vm \"a\"", "link-timeout = \"3s\" vm \"a\"",
		  "host.conf:8: link-timeout: is another" },
	};
	struct daemon_fixture *d = *state;
	struct fixture *fx = &d->fx;

	hostd_bring_up(d);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		change_config(d, cases[i].from, cases[i].to);
		reload(d, cases[i].error);
	}
	/* not even what could have been taken */
	change_config(d, ALLOW_SRV, "link-timeout = \"3s\"\n");
	reload(d, "it holds after a restart of sivshmem-hostd");
	assert_int_equal(unlink(d->config), 0);
	reload(d, "No such file");
	assert_int_equal(hostd_count_channels(d), 1);
	assert_int_equal(count_audited(d, "\"event\":\"reload\"", ""), 0);
	fx_connected(fx, 2, B, "srv");
	hostd_write_config(d);
	reload(d, NULL);
	fx_connected(fx, 3, B, "srv");
}

/* Keys without structure: they hold for what comes next. */
static void test_reload_takes_limits(void **state)
{
	struct daemon_fixture *d = *state;
	uint32_t reason = SIVP_R_NONE;
	struct fixture *fx = &d->fx;

	hostd_bring_up(d);
	change_config(d, "vm \"a\"", "sessions-per-pair = 1 vm \"a\"");
	reload(d, NULL);
	fx_open_to(fx, 2, B, "srv");
	fx_open(fx, A, 3, "cli", "b", "srv");
	fx_expect_reject(fx, A, 3, SIVP_R_LIMIT);
	/* a's cli has one channel since hostd_bring_up() */
	change_config(d, "vm \"a\"", "limits \"a/cli\" { channels = 1 } vm \"a\"");
	reload(d, NULL);
	assert_int_equal(hostd_count_channels(d), 1);
	fx_open(fx, A, 4, "cli", "b", "srv");
	fx_expect_reject(fx, A, 4, SIVP_R_QUOTA);
	assert_int_equal(count_audited(d, "\"reason\":\"quota\"", "\"service\":\"cli\""), 1);
	change_config(d, "vm \"a\"", "limits \"a\" { opens-burst = 1 opens-per-second = 1 } "
		      "vm \"a\"");
	reload(d, NULL);
	/* The daemon's clock runs: two opens may be a second apart, many are not. */
	for (uint64_t id = 5; reason != SIVP_R_RATE; id++) {
		assert_true(id < 1000);
		fx_open(fx, A, id, "cli", "b", "no-such-service");
		reason = sivp_u32(fx_expect(fx, A, SIVP_REJECT), SIVP_A_REASON);
	}
	assert_true(count_audited(d, "\"reason\":\"rate\"", "more connects a second") >= 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hostd_setup, hostd_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_revoke_and_unrevoke),
		TEST(test_revoke_a_channel),
		TEST(test_what_cannot_be_revoked),
		TEST(test_revocations_survive_a_killed_hostd),
		TEST(test_a_revocation_that_cannot_be_kept),
		TEST(test_no_hostd_without_its_revocations),
		TEST(test_reload_is_for_what_is_open_too),
		TEST(test_reload_rejects_connects_under_way),
		TEST(test_what_is_revoked_stays_so_after_reload),
		TEST(test_reload_takes_all_or_nothing),
		TEST(test_reload_takes_limits),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
