/* SPDX-License-Identifier: BSD-2-Clause */
/* The authority's key and certificate as files. For ca.c alone. */
#ifndef SIVSHMEM_CA_FILE_H
#define SIVSHMEM_CA_FILE_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ca.h"

/*
 * Reads a private key and a certificate, which may be in one file; the key's file must belong to us
 * or root and be closed to everybody else. 0; -ENOENT if @key_path is not there; else -1 with a
 * text.
 */
int ca_file_load(const char *key_path, const char *cert_path, EVP_PKEY **key, X509 **cert,
		 char error[CA_ERROR_LEN]);

/*
 * Writes both into one new file with mode 0600 that appears whole and never replaces another. 0;
 * -EEXIST if there is one; else -1 with a text.
 */
int ca_file_create(const char *path, EVP_PKEY *key, X509 *cert, char error[CA_ERROR_LEN]);

/* The same, replacing what is there. 0, or -1 with a text. */
int ca_file_replace(const char *path, EVP_PKEY *key, X509 *cert, char error[CA_ERROR_LEN]);

/* Writes the certificate, mode 0644, replacing what is there. 0, or -1 with a text. */
int ca_file_write_cert(const char *path, X509 *cert, char error[CA_ERROR_LEN]);

/*
 * A former authority's certificate, and until when it is trusted, seconds since 1970. Reading: 0;
 * -ENOENT if there is none; else -1 with a text. Writing replaces what is there; removing what is
 * not there is none of its errors.
 */
int ca_file_read_former(const char *path, X509 **cert, int64_t *until, char error[CA_ERROR_LEN]);
int ca_file_write_former(const char *path, X509 *cert, int64_t until, char error[CA_ERROR_LEN]);
int ca_file_remove_former(const char *path, char error[CA_ERROR_LEN]);

/* "WHAT: OpenSSL's reason" from the error queue, which is emptied. Returns -1. */
int ca_openssl_error(char error[CA_ERROR_LEN], const char *what);

#endif
