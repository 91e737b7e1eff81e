// SPDX-License-Identifier: BSD-2-Clause
/* The authority's key and certificate as files. */
#include "ca_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMER_LINE "trusted until " /* before the PEM block, which readers of PEM pass over */

int ca_openssl_error(char error[CA_ERROR_LEN], const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	snprintf(error, CA_ERROR_LEN, "%s: %s", what, reason ? reason : "failed");
	ERR_clear_error();
	return -1;
}

static int system_error(char error[CA_ERROR_LEN], const char *what)
{
	snprintf(error, CA_ERROR_LEN, "%s: %s", what, strerror(errno));
	return -1;
}

/* An encrypted key would make OpenSSL ask on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* With no buffer of stdio's, which nobody would cleanse. */
static FILE *open_stream(int fd, const char *mode)
{
	FILE *file = fdopen(fd, mode);

	if (file)
		setvbuf(file, NULL, _IONBF, 0);
	else
		close(fd);
	return file;
}

static int load_key(const char *path, EVP_PKEY **key, char error[CA_ERROR_LEN])
{
	struct stat st;
	FILE *file;
	int err = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : system_error(error, path);
	file = open_stream(fd, "r");
	if (!file)
		return system_error(error, path);
	if (fstat(fd, &st) < 0) {
		system_error(error, path);
		goto out;
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) ||
	    (st.st_uid != 0 && st.st_uid != geteuid())) {
		snprintf(error, CA_ERROR_LEN,
			 "%s: others can reach this key: chown it to us and chmod 600", path);
		goto out;
	}
	*key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
	err = *key ? 0 : ca_openssl_error(error, path);
out:
	fclose(file);
	return err;
}

int ca_file_load(const char *key_path, const char *cert_path, EVP_PKEY **key, X509 **cert,
		 char error[CA_ERROR_LEN])
{
	FILE *file = NULL;
	int fd, err;

	*key = NULL;
	*cert = NULL;
	err = load_key(key_path, key, error);
	if (err)
		return err;
	fd = open(cert_path, O_RDONLY | O_CLOEXEC | O_NOCTTY); /* may be the key's file */
	if (fd >= 0)
		file = open_stream(fd, "r");
	if (!file) {
		err = system_error(error, cert_path);
		goto err_key;
	}
	*cert = PEM_read_X509(file, NULL, no_passphrase, NULL);
	fclose(file);
	if (!*cert) {
		err = ca_openssl_error(error, cert_path);
		goto err_key;
	}
	return 0;

err_key:
	EVP_PKEY_free(*key);
	*key = NULL;
	return err;
}

/* The folder of @path, synced: a name that link() or rename() made outlives a power cut. */
static int sync_folder(const char *path)
{
	char folder[PATH_MAX];
	char *slash;
	int fd, err;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash && slash != folder)
		*slash = '\0';
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	err = fsync(fd);
	close(fd);
	return err;
}

/* A new file "PATH.PID" with what @key (may be NULL), @line (may be "") and @cert hold, synced. */
static int write_temporary(const char *temporary, mode_t mode, EVP_PKEY *key, const char *line,
			   X509 *cert, char error[CA_ERROR_LEN])
{
	FILE *file;
	int fd;

	if (unlink(temporary) < 0 && errno != ENOENT)
		return system_error(error, temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return system_error(error, temporary);
	file = open_stream(fd, "w");
	if (!file)
		goto err_unlink;
	if ((key && !PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)) ||
	    fputs(line, file) == EOF || !PEM_write_X509(file, cert) || fchmod(fd, mode) < 0 ||
	    fflush(file) != 0 ||
	    fsync(fd) < 0) {
		fclose(file);
		goto err_unlink;
	}
	if (fclose(file) != 0)
		goto err_unlink;
	return 0;

err_unlink:
	system_error(error, temporary);
	unlink(temporary);
	return -1;
}

static int temporary_name(char out[PATH_MAX], const char *path, char error[CA_ERROR_LEN])
{
	if (snprintf(out, PATH_MAX, "%s.%d", path, (int)getpid()) < PATH_MAX)
		return 0;
	errno = ENAMETOOLONG;
	return system_error(error, path);
}

int ca_file_create(const char *path, EVP_PKEY *key, X509 *cert, char error[CA_ERROR_LEN])
{
	char temporary[PATH_MAX];
	int err;

	if (temporary_name(temporary, path, error) ||
	    write_temporary(temporary, 0600, key, "", cert, error))
		return -1;
	err = link(temporary, path) < 0 ? -errno : 0;
	unlink(temporary);
	if (err == -EEXIST)
		return err;
	if (err || sync_folder(path) < 0) {
		if (err)
			errno = -err;
		return system_error(error, path);
	}
	return 0;
}

/* Writes a file that takes the place of the one that is there. */
static int replace(const char *path, mode_t mode, EVP_PKEY *key, const char *line, X509 *cert,
		   char error[CA_ERROR_LEN])
{
	char temporary[PATH_MAX];

	if (temporary_name(temporary, path, error) ||
	    write_temporary(temporary, mode, key, line, cert, error))
		return -1;
	if (rename(temporary, path) < 0 || sync_folder(path) < 0) {
		system_error(error, path);
		unlink(temporary);
		return -1;
	}
	return 0;
}

int ca_file_replace(const char *path, EVP_PKEY *key, X509 *cert, char error[CA_ERROR_LEN])
{
	return replace(path, 0600, key, "", cert, error);
}

int ca_file_write_cert(const char *path, X509 *cert, char error[CA_ERROR_LEN])
{
	return replace(path, 0644, NULL, "", cert, error);
}

int ca_file_write_former(const char *path, X509 *cert, int64_t until, char error[CA_ERROR_LEN])
{
	char line[sizeof(FORMER_LINE) + 24];

	snprintf(line, sizeof(line), FORMER_LINE "%" PRId64 "\n", until);
	return replace(path, 0644, NULL, line, cert, error);
}

int ca_file_read_former(const char *path, X509 **cert, int64_t *until, char error[CA_ERROR_LEN])
{
	FILE *file = fopen(path, "re");

	*cert = NULL;
	if (!file)
		return errno == ENOENT ? -ENOENT : system_error(error, path);
	if (fscanf(file, FORMER_LINE "%" SCNd64, until) == 1)
		*cert = PEM_read_X509(file, NULL, no_passphrase, NULL);
	fclose(file);
	if (*cert)
		return 0;
	ERR_clear_error();
	snprintf(error, CA_ERROR_LEN, "%s: no certificate of a former authority with the time "
		 "until which it is trusted: remove the file to trust it no more", path);
	return -1;
}

int ca_file_remove_former(const char *path, char error[CA_ERROR_LEN])
{
	if ((unlink(path) < 0 && errno != ENOENT) || sync_folder(path) < 0)
		return system_error(error, path);
	return 0;
}
