// SPDX-License-Identifier: BSD-2-Clause
/* Programs that would ignore LD_PRELOAD: static, for another machine, or with privileges. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "program.h"

/* The kernel's limits for scripts: BINPRM_BUF_SIZE, and how often it follows a "#!". */
enum { SCRIPT_LINE_LEN = 256, SCRIPT_DEPTH_MAX = 5 };

__attribute__((format(printf, 3, 4)))
static int fail(char error[PROGRAM_ERROR_LEN], int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, PROGRAM_ERROR_LEN, format, args);
	va_end(args);
	return err;
}

static int try_file(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || access(path, X_OK))
		return -EACCES;
	return 0;
}

int program_find(const char *name, char path[PATH_MAX])
{
	const char *dirs = getenv("PATH"), *end;
	int err = -ENOENT;

	if (strchr(name, '/')) {
		if (snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX)
			return -ENAMETOOLONG;
		return try_file(path);
	}
	if (!*name)
		return -ENOENT;
	if (!dirs)
		dirs = "/bin:/usr/bin"; /* execvp's default */
	for (;; dirs = end + 1) {
		int tried, len;

		end = strchrnul(dirs, ':');
		len = end - dirs;
		if (snprintf(path, PATH_MAX, "%.*s%s%s", len, dirs, len ? "/" : "", name) <
		    PATH_MAX) {
			tried = try_file(path);
			if (!tried)
				return 0;
			if (tried != -ENOENT && tried != -ENOTDIR)
				err = tried;
		}
		if (!*end)
			return err;
	}
}

static bool read_exactly(int fd, void *buf, size_t len, off_t at)
{
	return pread(fd, buf, len, at) == (ssize_t)len;
}

static bool same_machine(const ElfW(Ehdr) *a, const ElfW(Ehdr) *b)
{
	return a->e_ident[EI_CLASS] == b->e_ident[EI_CLASS] &&
	       a->e_ident[EI_DATA] == b->e_ident[EI_DATA] && a->e_machine == b->e_machine;
}

static int read_header(const char *library, ElfW(Ehdr) *header, char error[PROGRAM_ERROR_LEN])
{
	int fd = open(library, O_RDONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return fail(error, -errno, "%s: %m: install the shim", library);
	ok = read_exactly(fd, header, sizeof(*header), 0) &&
	     !memcmp(header->e_ident, ELFMAG, SELFMAG) && header->e_type == ET_DYN;
	close(fd);
	if (!ok)
		return fail(error, -ENOEXEC, "%s: not a shared library: install the shim", library);
	return 0;
}

/*
 * A static program has no PT_INTERP, and one that is position independent has PT_DYNAMIC all the
 * same; so PT_INTERP is what counts. @interpreter: PATH_MAX bytes.
 */
static int find_interpreter(int fd, const ElfW(Ehdr) *header, char *interpreter)
{
	for (unsigned int i = 0; i < header->e_phnum; i++) {
		ElfW(Phdr) segment;

		if (!read_exactly(fd, &segment, sizeof(segment),
				  header->e_phoff + i * sizeof(segment)))
			return -ENOEXEC;
		if (segment.p_type != PT_INTERP)
			continue;
		if (segment.p_filesz < 2 || segment.p_filesz > PATH_MAX ||
		    !read_exactly(fd, interpreter, segment.p_filesz, segment.p_offset) ||
		    interpreter[segment.p_filesz - 1])
			return -ENOEXEC;
		return 0;
	}
	return -ENOENT;
}

/*
 * Will exec raise this process's privileges, so that the dynamic linker runs in secure mode? Set-id
 * bits do nothing on a nosuid mount, under no_new_privs, or for an id that is the caller's already.
 */
static const char *privileged(int fd)
{
	struct statvfs fs;
	struct stat st;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) > 0 ||
	    (!fstatvfs(fd, &fs) && (fs.f_flag & ST_NOSUID)))
		return NULL;
	if (fstat(fd, &st))
		return "unreadable";
	if ((st.st_mode & S_ISUID) && st.st_uid != getuid())
		return "setuid";
	if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid())
		return "setgid";
	if (getuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return "a program with file capabilities";
	return NULL;
}

static int check_elf(int fd, const char *path, const char *library, char error[PROGRAM_ERROR_LEN])
{
	char interpreter[PATH_MAX];
	const char *privilege, *name;
	ElfW(Ehdr) header, shim;
	int err;

	err = read_header(library, &shim, error);
	if (err)
		return err;
	if (!read_exactly(fd, &header, sizeof(header), 0))
		return fail(error, -ENOEXEC, "%s: a broken ELF file: install it again", path);
	if (!same_machine(&header, &shim))
		return fail(error, -ENOEXEC, "%s: for another machine or word size than %s: "
			    "install both for the same", path, library);
	if (header.e_phentsize != sizeof(ElfW(Phdr)))
		return fail(error, -ENOEXEC, "%s: a broken ELF file: install it again", path);
	err = find_interpreter(fd, &header, interpreter);
	if (err == -ENOENT)
		return fail(error, -ENOEXEC, "%s: statically linked, so LD_PRELOAD has no effect: "
			    "use a dynamically linked build, or AF_SIVSHMEM in the program", path);
	if (err)
		return fail(error, err, "%s: a broken ELF file: install it again", path);
	name = strrchr(interpreter, '/');
	if (!strncmp(name ? name + 1 : interpreter, "ld-musl", 7))
		return fail(error, -ENOEXEC, "%s: built for musl, whose linker cannot load %s: use "
			    "a glibc build", path, library);
	privilege = privileged(fd);
	if (privilege)
		return fail(error, -EPERM, "%s: %s, so the dynamic linker ignores LD_PRELOAD: "
			    "start it as the user that it changes to, without the bits", path,
			    privilege);
	return 0;
}

/* Words of a "#!" line. @line is cut up; @argument is the rest of it, as the kernel passes it. */
static const char *parse_script(char *line, const char **argument)
{
	static const char blanks[] = " \t";
	char *interpreter, *end;

	line[strcspn(line, "\n")] = '\0';
	interpreter = line + 2 + strspn(line + 2, blanks);
	end = interpreter + strcspn(interpreter, blanks);
	*argument = end + strspn(end, blanks);
	*end = '\0';
	return *interpreter ? interpreter : NULL;
}

/* "#!/usr/bin/env NAME" hides one interpreter behind another. */
static bool is_env(const char *interpreter, const char *argument)
{
	const char *name = strrchr(interpreter, '/');

	return !strcmp(name ? name + 1 : interpreter, "env") && *argument && *argument != '-' &&
	       !strpbrk(argument, "= \t");
}

static int check_file(const char *path, const char *library, int depth,
		      char error[PROGRAM_ERROR_LEN])
{
	char start[SCRIPT_LINE_LEN + 1], found[PATH_MAX];
	const char *interpreter, *argument;
	int err, fd;
	ssize_t len;

	if (depth > SCRIPT_DEPTH_MAX)
		return fail(error, -ELOOP, "%s: scripts that run scripts: too deep", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(error, -errno, "%s: %m: must be readable to be checked", path);
	len = pread(fd, start, SCRIPT_LINE_LEN, 0);
	start[len > 0 ? len : 0] = '\0';
	if (len >= SELFMAG && !memcmp(start, ELFMAG, SELFMAG)) {
		err = check_elf(fd, path, library, error);
		goto close_fd;
	}
	if (strncmp(start, "#!", 2)) {
		err = fail(error, -ENOEXEC, "%s: neither an ELF program nor a script with #!: name "
			   "its interpreter", path);
		goto close_fd;
	}
	interpreter = parse_script(start, &argument);
	if (!interpreter) {
		err = fail(error, -ENOEXEC, "%s: #! without an interpreter: name one", path);
		goto close_fd;
	}
	err = check_file(interpreter, library, depth + 1, error);
	if (!err && is_env(interpreter, argument)) {
		err = program_find(argument, found);
		if (err)
			fail(error, err, "%s: %s: %s: install it", path, argument, strerror(-err));
		else
			err = check_file(found, library, depth + 1, error);
	}
close_fd:
	close(fd);
	return err;
}

int program_check(const char *path, const char *library, char error[PROGRAM_ERROR_LEN])
{
	/* A process that is privileged itself hands secure mode down to all that it runs. */
	if (getuid() != geteuid() || getgid() != getegid())
		return fail(error, -EPERM, "%s: real and effective user differ, so the dynamic "
			    "linker ignores LD_PRELOAD: start as one user", path);
	return check_file(path, library, 1, error);
}
