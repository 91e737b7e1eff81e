// SPDX-License-Identifier: BSD-2-Clause
/*
 * libsivshmem_preload.so: the hooks.
 *
 * Only calls that name an endpoint are hooked. What happens to a socket afterwards is the kernel's
 * work, because it is a real AF_SIVSHMEM socket; nothing about it is remembered here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <sivshmem.h>

#include "backend.h"
#include "log.h"
#include "rules.h"
#include "swap.h"

#define HOOK __attribute__((visibility("default")))

/* The calls that ours stand in front of: libc's, or another preloaded library's. */
static struct {
	int (*connect)(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len);
	int (*bind)(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len);
	ssize_t (*sendto)(int fd, const void *buf, size_t n, int flags,
			  __CONST_SOCKADDR_ARG addr, socklen_t len);
	ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
	int (*sendmmsg)(int fd, struct mmsghdr *messages, unsigned int n, int flags);
} next;

static struct rules rules;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A program whose rules cannot be read must not go on: it would talk plain TCP, unnoticed. */
__attribute__((noreturn))
static void refuse(const char *why, int code)
{
	dprintf(STDERR_FILENO, "sivshmem_preload: %s\n", why);
	_exit(code);
}

static void *find(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (!function)
		refuse("libc lacks one of connect, bind, sendto, sendmsg, sendmmsg", EX_SOFTWARE);
	return function;
}

static void set_up(void)
{
	char error[RULES_ERROR_LEN];

	next.connect = find("connect");
	next.bind = find("bind");
	next.sendto = find("sendto");
	next.sendmsg = find("sendmsg");
	next.sendmmsg = find("sendmmsg");
	if (rules_load(&rules, error))
		refuse(error, EX_CONFIG);
}

/* At load, so that an error stops the program at its start; earlier if another library connects. */
__attribute__((constructor))
static void ready(void)
{
	pthread_once(&once, set_up);
}

/* May @fd go to the plain endpoint, for which it must still be the program's own socket? */
static bool falls_back(const struct rule *rule, int fd, int err)
{
	struct siv_alias alias;
	char url[SIV_URL_LEN];

	if (!rule->fallback || !backend.never_set_up(err) || !backend.get_alias(fd, &alias))
		return false;
	siv_addr_format(&rule->target, url, sizeof(url));
	log_warning(url, ": ", strerrordesc_np(-err), ": sivshmem was never set up here, going on "
		    "with the plain endpoint as the rule allows", NULL);
	return true;
}

HOOK int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	const struct rule *rule;
	int err, saved = errno;

	ready();
	rule = rules_match(&rules, RULE_CONNECT, addr.__sockaddr__, len);
	if (!rule)
		return next.connect(fd, addr, len);
	err = swap_connect(&rules, rule, fd, addr.__sockaddr__, len);
	if (err == SWAP_PASS || (err < 0 && falls_back(rule, fd, err))) {
		errno = saved;
		return next.connect(fd, addr, len);
	}
	errno = err ? -err : saved;
	return err ? -1 : 0;
}

HOOK int bind(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	const struct rule *rule;
	int err, saved = errno;

	ready();
	rule = rules_match(&rules, RULE_LISTEN, addr.__sockaddr__, len);
	if (!rule)
		return next.bind(fd, addr, len);
	err = swap_bind(&rules, rule, fd, addr.__sockaddr__, len);
	errno = err < 0 ? -err : saved;
	if (err == SWAP_PASS)
		return next.bind(fd, addr, len);
	return err ? -1 : 0;
}

/*
 * TCP Fast Open connects inside a send. EOPNOTSUPP is what a kernel says that has it switched off,
 * and programs then connect() first.
 */
static bool fast_open(int flags, const struct sockaddr *addr, socklen_t len)
{
	return (flags & MSG_FASTOPEN) && rules_match(&rules, RULE_CONNECT, addr, len);
}

HOOK ssize_t sendto(int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG addr,
		    socklen_t len)
{
	ready();
	if (fast_open(flags, addr.__sockaddr__, len)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return next.sendto(fd, buf, n, flags, addr, len);
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	ready();
	if (message && fast_open(flags, message->msg_name, message->msg_namelen)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return next.sendmsg(fd, message, flags);
}

HOOK int sendmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags)
{
	ready();
	for (unsigned int i = 0; messages && i < n; i++) {
		if (fast_open(flags, messages[i].msg_hdr.msg_name,
			      messages[i].msg_hdr.msg_namelen)) {
			errno = EOPNOTSUPP;
			return -1;
		}
	}
	return next.sendmmsg(fd, messages, n, flags);
}
