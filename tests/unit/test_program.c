// SPDX-License-Identifier: BSD-2-Clause
/* Programs that would ignore LD_PRELOAD are told apart. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "program.h"
#include "remove_tree.h"

/* Any shared library of this machine will do for the shim. */
static char library[PATH_MAX];
static char folder[] = "/tmp/test_program.XXXXXX";
static char error[PROGRAM_ERROR_LEN];

static const char *in_folder(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static const char *write_file(const char *name, const void *content, size_t len, mode_t mode)
{
	const char *path = in_folder(name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0700);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static const char *write_text(const char *name, const char *text)
{
	return write_file(name, text, strlen(text), 0755);
}

/* This program: dynamic, and as good as any. */
static uint8_t *own_image(size_t *len)
{
	static uint8_t *image;
	static size_t size;

	if (!image) {
		int fd = open("/proc/self/exe", O_RDONLY);
		struct stat st;

		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		size = st.st_size;
		image = malloc(size);
		assert_non_null(image);
		assert_int_equal(read(fd, image, size), size);
		close(fd);
	}
	*len = size;
	return image;
}

static ElfW(Phdr) *interp_segment(uint8_t *image)
{
	ElfW(Ehdr) *header = (void *)image;
	ElfW(Phdr) *segments = (void *)(image + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_INTERP)
			return &segments[i];
	fail_msg("this program has no PT_INTERP");
	return NULL;
}

static void refused(const char *path, const char *part)
{
	if (!program_check(path, library, error))
		fail_msg("%s was taken", path);
	if (!strstr(error, part))
		fail_msg("%s: \"%s\" has no \"%s\"", path, error, part);
}

static void taken(const char *path)
{
	if (program_check(path, library, error))
		fail_msg("%s", error);
}

static void a_dynamic_program_is_taken(void **state)
{
	(void)state;
	taken("/proc/self/exe");
	taken("/bin/sh");
}

static void a_static_program_is_refused_even_if_position_independent(void **state)
{
	size_t len;
	uint8_t *image = own_image(&len);
	ElfW(Phdr) *interp = interp_segment(image);

	(void)state;
	interp->p_type = PT_NULL; /* PT_DYNAMIC is still there */
	write_file("static", image, len, 0755);
	interp->p_type = PT_INTERP;
	refused(in_folder("static"), "statically linked");
}

static void a_program_for_another_machine_is_refused(void **state)
{
	size_t len;
	uint8_t *image = own_image(&len);
	ElfW(Ehdr) *header = (void *)image;
	const ElfW(Ehdr) before = *header;

	(void)state;
	header->e_ident[EI_CLASS] ^= ELFCLASS32 ^ ELFCLASS64;
	refused(write_file("class", image, len, 0755), "another machine");
	*header = before;
	header->e_machine = EM_AARCH64 == before.e_machine ? EM_X86_64 : EM_AARCH64;
	refused(write_file("machine", image, len, 0755), "another machine");
	*header = before;
}

static void a_program_of_another_c_library_is_refused(void **state)
{
	static const char musl[] = "/lib/ld-musl-x86_64.so.1";
	size_t len;
	uint8_t *image = own_image(&len);
	ElfW(Phdr) *interp = interp_segment(image);
	char before[64];

	(void)state;
	memcpy(before, image + interp->p_offset, interp->p_filesz);
	memset(image + interp->p_offset, 0, interp->p_filesz);
	assert_true(interp->p_filesz >= sizeof(musl));
	memcpy(image + interp->p_offset, musl, sizeof(musl));
	write_file("musl", image, len, 0755);
	memcpy(image + interp->p_offset, before, interp->p_filesz);
	refused(in_folder("musl"), "musl");
}

static void broken_files_are_refused(void **state)
{
	size_t len;
	uint8_t *image = own_image(&len);
	ElfW(Ehdr) *header = (void *)image;
	const ElfW(Ehdr) before = *header;
	ElfW(Phdr) *interp = interp_segment(image);

	(void)state;
	refused(write_file("empty", "", 0, 0755), "neither an ELF program");
	refused(write_text("text", "echo hello\n"), "neither an ELF program");
	refused(write_file("short", image, sizeof(*header) - 1, 0755), "broken");
	refused(write_file("cut", image, sizeof(*header) + 1, 0755), "broken");
	header->e_phoff = len + 1000;
	refused(write_file("phoff", image, len, 0755), "broken");
	header->e_phoff = UINT64_MAX - 8;
	refused(write_file("phoff", image, len, 0755), "broken");
	*header = before;
	header->e_phentsize = 1;
	refused(write_file("phentsize", image, len, 0755), "broken");
	*header = before;
	interp->p_filesz += PATH_MAX;
	write_file("interp", image, len, 0755);
	interp->p_filesz -= PATH_MAX;
	refused(in_folder("interp"), "broken");
	refused(in_folder("nowhere"), "No such file");
}

static void the_interpreter_of_a_script_is_what_counts(void **state)
{
	char text[PATH_MAX + 16], long_line[400];
	size_t len;
	uint8_t *image = own_image(&len);
	ElfW(Phdr) *interp = interp_segment(image);

	(void)state;
	interp->p_type = PT_NULL;
	write_file("static", image, len, 0755);
	interp->p_type = PT_INTERP;

	taken(write_text("good", "#!/bin/sh\necho hello\n"));
	taken(write_text("blanks", "#! \t/bin/sh -e\n"));
	taken(write_text("no-newline", "#!/bin/sh"));
	taken(write_text("env", "#!/usr/bin/env sh\n"));
	refused(write_text("none", "#!  \n"), "without an interpreter");
	refused(write_text("missing", "#!/nowhere/sh\n"), "/nowhere/sh");

	snprintf(text, sizeof(text), "#!%s/static\n", folder);
	refused(write_text("of-static", text), "statically linked");
	snprintf(text, sizeof(text), "#!%s/of-static\n", folder);
	refused(write_text("of-script", text), "statically linked");
	snprintf(text, sizeof(text), "#!%s/loop\n", folder);
	refused(write_text("loop", text), "too deep");

	setenv("PATH", folder, 1);
	refused(write_text("env-static", "#!/usr/bin/env static\n"), "statically linked");
	refused(write_text("env-missing", "#!/usr/bin/env nosuch\n"), "nosuch");
	setenv("PATH", "/usr/bin:/bin", 1);

	memset(long_line, '/', sizeof(long_line)); /* the kernel reads 256 bytes of it */
	memcpy(long_line, "#!", 2);
	write_file("long", long_line, sizeof(long_line), 0755);
	assert_int_not_equal(program_check(in_folder("long"), library, error), 0);
}

static void a_broken_shim_is_refused(void **state)
{
	char text[PATH_MAX];

	(void)state;
	assert_int_not_equal(program_check("/bin/sh", "/nowhere/shim.so", error), 0);
	assert_non_null(strstr(error, "/nowhere/shim.so: No such file"));
	strcpy(text, write_text("shim.so", "not a library, but longer than an ELF header is: "
				"sixty-four bytes"));
	assert_int_not_equal(program_check("/bin/sh", text, error), 0);
	assert_non_null(strstr(error, "not a shared library"));
}

static bool ignores_set_id(void)
{
	struct statvfs fs;

	return statvfs(folder, &fs) || (fs.f_flag & ST_NOSUID);
}

static void a_set_id_program_of_another_user_is_refused(void **state)
{
	size_t len;
	uint8_t *image = own_image(&len);
	char path[PATH_MAX];

	(void)state;
	if (getuid() || ignores_set_id())
		skip(); /* cannot make one */
	strcpy(path, write_file("set-id", image, len, 0755));
	assert_int_equal(chown(path, 12345, 12345), 0);
	taken(path);
	assert_int_equal(chmod(path, 04755), 0);
	refused(path, "setuid");
	assert_int_equal(chmod(path, 02755), 0);
	refused(path, "setgid");
	assert_int_equal(chmod(path, 02745), 0); /* mandatory locking, once: not set-id */
	taken(path);
	assert_int_equal(chown(path, getuid(), getgid()), 0);
	assert_int_equal(chmod(path, 06755), 0); /* changes to who we are already */
	taken(path);
}

static void a_program_with_file_capabilities_is_refused_for_users(void **state)
{
	/* CAP_NET_RAW, permitted and effective; version 2 of the format */
	static const uint8_t capability[20] = { 0x01, 0, 0, 0x02, 0x00, 0x20 };
	size_t len;
	uint8_t *image = own_image(&len);
	char path[PATH_MAX];
	int status;
	pid_t child;

	(void)state;
	if (getuid() || ignores_set_id())
		skip();
	strcpy(path, write_file("capable", image, len, 0755));
	if (setxattr(path, "security.capability", capability, sizeof(capability), 0))
		skip(); /* not every file system has them */
	assert_int_equal(chmod(folder, 0755), 0);
	child = fork();
	if (!child) {
		if (setgid(12345) || setuid(12345))
			_exit(2);
		_exit(program_check(path, library, error) != -EPERM ||
		      !strstr(error, "file capabilities"));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	taken(path); /* root has them anyway */
}

static void programs_are_found_as_execvp_finds_them(void **state)
{
	char path[PATH_MAX], expected[PATH_MAX];

	(void)state;
	write_text("tool", "#!/bin/sh\n");
	write_file("plain", "x", 1, 0644);
	snprintf(expected, sizeof(expected), "%s/tool", folder);

	setenv("PATH", "/nowhere", 1);
	assert_int_equal(program_find("tool", path), -ENOENT);
	assert_int_equal(program_find(expected, path), 0);
	assert_string_equal(path, expected);
	snprintf(path, sizeof(path), "/nowhere:%s:/bin", folder);
	setenv("PATH", path, 1);
	assert_int_equal(program_find("tool", path), 0);
	assert_string_equal(path, expected);
	assert_int_equal(program_find("plain", path), -EACCES);
	assert_int_equal(program_find("", path), -ENOENT);
	assert_int_equal(program_find("sh", path), 0);
	assert_string_equal(path, "/bin/sh");
	setenv("PATH", "/usr/bin:/bin", 1);
}

/* The C library is a shared library that is always there. */
static int is_libc(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size;
	(void)data;
	if (!strstr(info->dlpi_name, "/libc.so"))
		return 0;
	snprintf(library, sizeof(library), "%s", info->dlpi_name);
	return 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dynamic_program_is_taken),
		cmocka_unit_test(a_static_program_is_refused_even_if_position_independent),
		cmocka_unit_test(a_program_for_another_machine_is_refused),
		cmocka_unit_test(a_program_of_another_c_library_is_refused),
		cmocka_unit_test(broken_files_are_refused),
		cmocka_unit_test(the_interpreter_of_a_script_is_what_counts),
		cmocka_unit_test(a_broken_shim_is_refused),
		cmocka_unit_test(a_set_id_program_of_another_user_is_refused),
		cmocka_unit_test(a_program_with_file_capabilities_is_refused_for_users),
		cmocka_unit_test(programs_are_found_as_execvp_finds_them),
	};
	size_t len;
	int failed;

	if (!dl_iterate_phdr(is_libc, NULL) || !mkdtemp(folder))
		return 1;
	own_image(&len);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(own_image(&len));
	return remove_tree(folder) ? 1 : failed;
}
