// SPDX-License-Identifier: BSD-2-Clause
/*
 * The shim as programs meet it: sivshmem-run starts unmodified ones on the hooks, with AF_UNIX in
 * AF_SIVSHMEM's part (so the names that they print are not checked here).
 */
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

static char build[PATH_MAX]; /* the folder that has bin and lib */
static char output[1 << 14]; /* of the last program, both streams */

/* Starts a shell command, with $bin, $run and $shim set. Its output ends with its last child. */
__attribute__((format(printf, 1, 2)))
static FILE *start(const char *format, ...)
{
	char command[4096];
	va_list args;
	int len;
	FILE *f;

	len = snprintf(command, sizeof(command),
		       "bin=%s/bin; shim=%s/lib/libsivshmem_preload_fake.so;"
		       " run=\"$bin/sivshmem-run -l $shim\"; exec 2>&1; ", build, build);
	va_start(args, format);
	vsnprintf(command + len, sizeof(command) - len, format, args);
	va_end(args);
	f = popen(command, "r");
	assert_non_null(f);
	return f;
}

/* Reads the rest of a program's output into @output. Returns its exit code. */
static int finish(FILE *f)
{
	size_t len = fread(output, 1, sizeof(output) - 1, f);
	int status = pclose(f);

	output[len] = '\0';
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void wait_ready(FILE *server)
{
	char line[64];

	assert_non_null(fgets(line, sizeof(line), server));
	assert_string_equal(line, "ready\n");
}

static void succeeded(FILE *f)
{
	int code = finish(f);

	if (code)
		fail_msg("exit code %d:\n%s", code, output);
}

static void has(const char *part)
{
	if (!strstr(output, part))
		fail_msg("no \"%s\" in:\n%s", part, output);
}

static void clients_reach_a_server_through_a_tcp_rule(void **state)
{
	FILE *server = start("$run -e 'tcp:*:7001=siv:///tcp' $bin/preload_server "
			     "tcp:0.0.0.0:7001 4");

	(void)state;
	wait_ready(server);
	succeeded(start("$run -e 'tcp:10.0.0.2:7001=siv://a/tcp' $bin/preload_epoll "
			"tcp:10.0.0.2:7001"));
	has("echoed");
	succeeded(start("$run -e 'tcp:10.0.0.2:7001=siv://a/tcp' $bin/preload_epoll --edge "
			"tcp:10.0.0.2:7001"));
	has("echoed");
	succeeded(start("$run -e 'tcp:10.0.0.2:7001=siv://a/tcp' $bin/preload_epoll --fast-open "
			"tcp:10.0.0.2:7001"));
	has("fast open declined");
	has("echoed");
	succeeded(start("$run -e 'tcp:10.0.0.2:7001=siv://a/tcp' $bin/preload_fork "
			"tcp:10.0.0.2:7001"));
	has("done");
	succeeded(server);
}

static void clients_reach_a_server_through_a_unix_rule(void **state)
{
	char path[64];
	FILE *server;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_preload.%d", getpid());
	server = start("$run -e 'unix:%s=siv:///unix' $bin/preload_server unix:%s 2", path, path);
	wait_ready(server);
	/* Without a rule the path is a socket that nobody listens on. */
	assert_int_equal(finish(start("$bin/preload_fork unix:%s", path)), 1);
	has("connect: ECONNREFUSED");
	succeeded(start("$run -e 'unix:/other=siv://a/unix' $bin/preload_epoll unix:/other"));
	has("echoed");
	succeeded(start("$run -e 'unix:/other=siv://a/unix' $bin/preload_fork unix:/other"));
	has("done");
	succeeded(server);
	assert_int_equal(unlink(path), 0);
}

/* An echo server on plain TCP, in another process, for one connection. Returns its port. */
static int plain_server(pid_t *child)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	socklen_t len = sizeof(addr);
	char buf[256];
	ssize_t n;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	*child = fork();
	if (!*child) {
		fd = accept(listener, NULL, NULL);
		while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
			send(fd, buf, n, MSG_NOSIGNAL);
		_exit(0);
	}
	close(listener);
	return ntohs(addr.sin_port);
}

static void endpoints_without_a_rule_are_left_alone(void **state)
{
	pid_t child;
	int port = plain_server(&child);

	(void)state;
	succeeded(start("$run -e 'tcp:127.0.0.2:%d=siv://a/x;unix:/x=siv://a/x' $bin/preload_fork "
			"tcp:127.0.0.1:%d", port, port));
	has("parent peer tcp:127.0.0.1:");
	waitpid(child, NULL, 0);
}

static void only_a_rule_with_fallback_falls_back_and_only_if_never_set_up(void **state)
{
	static const struct { const char *environment, *option; int code; } cases[] = {
		{ "FAKE_CONNECT_ERROR=100", "", 1 },
		{ "FAKE_CONNECT_ERROR=100", "fallback", 1 },
		{ "FAKE_CONNECT_ERROR=100 FAKE_NEVER_SET_UP=1", "", 1 },
		{ "FAKE_CONNECT_ERROR=100 FAKE_NEVER_SET_UP=1", "fallback", 0 },
	};
	pid_t child;
	int port = plain_server(&child);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		FILE *f = start("export %s; $run -e 'tcp:127.0.0.1:%d=siv://a/x %s' "
				"$bin/preload_fork tcp:127.0.0.1:%d", cases[i].environment, port,
				cases[i].option, port);

		if (finish(f) != cases[i].code)
			fail_msg("%s %s:\n%s", cases[i].environment, cases[i].option, output);
		if (cases[i].code)
			has("connect: ENETDOWN");
		else
			has("parent peer tcp:127.0.0.1:");
	}
	waitpid(child, NULL, 0);
}

static void a_program_with_wrong_rules_does_not_start(void **state)
{
	(void)state;
	assert_int_equal(finish(start("LD_PRELOAD=$shim SIVSHMEM_RULE='tcp:x:1=siv:///a' $bin/"
				      "preload_epoll")), EX_CONFIG);
	has("sivshmem_preload: SIVSHMEM_RULE:1: tcp: \"x\" is not an address");
	assert_int_equal(finish(start("LD_PRELOAD=$shim SIVSHMEM_RULES=/nowhere/rules $bin/"
				      "preload_epoll")), EX_CONFIG);
	has("/nowhere/rules: No such file");
	assert_int_equal(finish(start("$run -r /nowhere/rules $bin/preload_epoll")), EX_CONFIG);
	has("sivshmem-run: /nowhere/rules: No such file");
}

static void sivshmem_run_says_what_it_cannot_start(void **state)
{
	(void)state;
	assert_int_equal(finish(start("$run -e 'unix:/x=siv:///a' nosuch-program")), 127);
	assert_int_equal(finish(start("$run -e 'unix:/x=siv:///a' /etc/passwd")), 126);
	assert_int_equal(finish(start("$run -e 'unix:/x=siv:///a'")), EX_USAGE);
	assert_int_equal(finish(start("$run -e 'unix:/x=siv:///a' -r /x true")), EX_USAGE);
	assert_int_equal(finish(start("$run -l /nowhere/shim.so -e 'unix:/x=siv:///a' true")), 126);
}

static void sivshmem_run_checks_and_starts_nothing(void **state)
{
	(void)state;
	succeeded(start("$run -c -e 'connect tcp:*:1=siv://a/b fallback;as me;peer v=198.51.100.1' "
			"sh -c 'echo started'"));
	assert_string_equal(output, "SIVSHMEM_RULE:1: connect tcp:*:1 = siv://a/b fallback\n"
				    "SIVSHMEM_RULE:2: as me\n"
				    "SIVSHMEM_RULE:3: peer v = 198.51.100.1\n");
}

static void sivshmem_run_hands_arguments_and_exit_code_on(void **state)
{
	(void)state;
	assert_int_equal(finish(start("$run -e 'unix:/x=siv:///a' sh -c 'echo \"$@\"; exit 7' sh "
				      "-r a --check")), 7);
	assert_string_equal(output, "-r a --check\n");
}

static void what_is_preloaded_already_stays(void **state)
{
	(void)state;
	succeeded(start("export LD_PRELOAD=libm.so.6; $run -e 'unix:/x=siv:///a' sh -c "
			"'echo $LD_PRELOAD'"));
	has("/libsivshmem_preload_fake.so:libm.so.6\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_reach_a_server_through_a_tcp_rule),
		cmocka_unit_test(clients_reach_a_server_through_a_unix_rule),
		cmocka_unit_test(endpoints_without_a_rule_are_left_alone),
		cmocka_unit_test(only_a_rule_with_fallback_falls_back_and_only_if_never_set_up),
		cmocka_unit_test(a_program_with_wrong_rules_does_not_start),
		cmocka_unit_test(sivshmem_run_says_what_it_cannot_start),
		cmocka_unit_test(sivshmem_run_checks_and_starts_nothing),
		cmocka_unit_test(sivshmem_run_hands_arguments_and_exit_code_on),
		cmocka_unit_test(what_is_preloaded_already_stays),
	};
	char network[32], *slash;
	ssize_t len = readlink("/proc/self/exe", build, sizeof(build) - 1);

	if (len < 0)
		return 1;
	for (int up = 0; up < 2; up++) {
		slash = strrchr(build, '/');
		if (!slash)
			return 1;
		*slash = '\0';
	}
	snprintf(network, sizeof(network), "test_preload.%d", getpid());
	setenv("FAKE_NETWORK", network, 1);
	unsetenv("SIVSHMEM_RULE");
	unsetenv("SIVSHMEM_RULES");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
