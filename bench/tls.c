// SPDX-License-Identifier: BSD-2-Clause
/* Streams of TLS 1.3 over connected sockets, by OpenSSL. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tls.h"

/* The agents' groups; of the ciphers of TLS 1.3 the one with the least work for each byte. */
#define TLS_GROUPS  "X25519:P-256"
#define TLS_CIPHERS "TLS_AES_128_GCM_SHA256"

struct tls_stream {
	struct stream stream; /* first */
	SSL *ssl;
	int fd;
};

static SSL_CTX *context;

static bool load(SSL_CTX *ctx, const char *folder)
{
	char ca[256], cert[256], key[256];

	snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
	snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
	snprintf(key, sizeof(key), "%s/key.pem", folder);
	return SSL_CTX_load_verify_file(ctx, ca) == 1 &&
	       SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM) == 1 &&
	       SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1;
}

int tls_setup(const char *folder)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set1_groups_list(ctx, TLS_GROUPS) ||
	    !SSL_CTX_set_ciphersuites(ctx, TLS_CIPHERS) || !SSL_CTX_set_num_tickets(ctx, 0) ||
	    !load(ctx, folder)) {
		ERR_print_errors_fp(stderr);
		SSL_CTX_free(ctx);
		return -EINVAL;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_free(context);
	context = ctx;
	return 0;
}

static int tls_error(SSL *ssl, int result)
{
	int reason = SSL_get_error(ssl, result);

	ERR_clear_error();
	if (reason == SSL_ERROR_ZERO_RETURN)
		return 0;
	return reason == SSL_ERROR_SYSCALL && errno ? -errno : -EKEYREJECTED;
}

static int tls_send(struct stream *stream, const void *buf, size_t len)
{
	SSL *ssl = ((struct tls_stream *)stream)->ssl;
	size_t written;
	int n = SSL_write_ex(ssl, buf, len, &written);

	return n == 1 ? 0 : tls_error(ssl, n) ?: -ECONNRESET;
}

static ssize_t tls_recv(struct stream *stream, void *buf, size_t min, size_t max)
{
	SSL *ssl = ((struct tls_stream *)stream)->ssl;
	size_t done = 0, n;

	while (done < min) {
		int ok = SSL_read_ex(ssl, (char *)buf + done, max - done, &n);

		if (ok != 1)
			return tls_error(ssl, ok) ?: done ? -ECONNRESET : 0;
		done += n;
	}
	return done;
}

static void tls_close(struct stream *stream)
{
	struct tls_stream *tls = (struct tls_stream *)stream;

	SSL_free(tls->ssl);
	close(tls->fd);
	free(tls);
}

static const struct stream_ops tls_ops = {
	.send = tls_send,
	.recv = tls_recv,
	.close = tls_close,
};

struct stream *tls_stream(int fd, bool server, int *err)
{
	struct tls_stream *tls;
	int ok;

	*err = -ENOENT;
	if (!context)
		return NULL;
	*err = -ENOMEM;
	tls = calloc(1, sizeof(*tls));
	if (!tls)
		return NULL;
	tls->stream.ops = &tls_ops;
	tls->fd = fd;
	tls->ssl = SSL_new(context);
	if (!tls->ssl || !SSL_set_fd(tls->ssl, fd))
		goto free_tls;
	ok = server ? SSL_accept(tls->ssl) : SSL_connect(tls->ssl);
	if (ok == 1) {
		*err = 0;
		return &tls->stream;
	}
	*err = tls_error(tls->ssl, ok) ?: -ECONNRESET;
free_tls:
	SSL_free(tls->ssl);
	free(tls);
	return NULL;
}
