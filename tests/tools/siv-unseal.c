// SPDX-License-Identifier: BSD-2-Clause
/*
 * Opens a record of a sealed channel with OpenSSL, by what kmod-af_sivshmem/chan_seal.c says that it is:
 * so that two kernels which are wrong alike are found out.
 *
 *   siv-unseal SECRET NUMBER      the record of that number, as it lies in the ring, from stdin; its plain
 *                                 text to stdout
 *   siv-unseal SECRET NUMBER end  the end, as it lies in the control page
 *
 * SECRET is the direction's, in hexadecimal digits. Exits with 1 if it does not open.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sivshmem/abi.h>
#include <sivshmem/ring.h>

enum { IV = 12 };

static void die(const char *what)
{
	fprintf(stderr, "siv-unseal: %s\n", what);
	exit(1);
}

static void mac(const uint8_t secret[SIV_SEAL_SECRET], const char *label, uint8_t out[32])
{
	if (!HMAC(EVP_sha256(), secret, SIV_SEAL_SECRET, (const uint8_t *)label, strlen(label), out,
		  NULL))
		die("no HMAC");
}

/* @data becomes plain; its tag is behind it. */
static void unseal(const uint8_t secret[SIV_SEAL_SECRET], uint64_t number,
		   const struct siv_record *header, uint8_t *data)
{
	const int len = header->len - SIV_SEAL_TAG;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t key[32], iv[32];
	int n;

	mac(secret, "sivshmem seal key", key);
	mac(secret, "sivshmem seal iv", iv);
	for (int i = 0; i < 8; i++)
		iv[IV - 1 - i] ^= number >> 8 * i;
	if (!ctx || EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv) != 1 ||
	    EVP_DecryptUpdate(ctx, NULL, &n, (const uint8_t *)header, sizeof(*header)) != 1 ||
	    EVP_DecryptUpdate(ctx, data, &n, data, len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SIV_SEAL_TAG, data + len) != 1)
		die("no AES-GCM");
	if (EVP_DecryptFinal_ex(ctx, data + len, &n) != 1)
		die("it does not open");
	EVP_CIPHER_CTX_free(ctx);
}

int main(int argc, char **argv)
{
	struct siv_record header = { .len = SIV_SEAL_TAG, .flags = SIV_RECORD_END };
	uint8_t secret[SIV_SEAL_SECRET], next[32], data[SIV_SEAL_DATA + SIV_SEAL_TAG];
	uint64_t number;
	size_t len;

	if (argc < 3 || !OPENSSL_hexstr2buf_ex(secret, sizeof(secret), &len, argv[1], '\0') ||
	    len != sizeof(secret))
		die("usage: siv-unseal SECRET NUMBER [end]");
	number = strtoull(argv[2], NULL, 10);
	for (uint64_t i = 0; i < number / SIV_SEAL_REKEY; i++) {
		mac(secret, "sivshmem seal next", next);
		memcpy(secret, next, sizeof(secret));
	}
	if (argc == 3 && fread(&header, sizeof(header), 1, stdin) != 1)
		die("no header");
	if (!siv_sealed_possible(header.len, 0, SIV_RECORD_HEADER + sizeof(data)))
		die("not a record");
	if (fread(data, 1, header.len, stdin) != header.len)
		die("not all of it");
	unseal(secret, number, &header, data);
	fwrite(data, 1, header.len - SIV_SEAL_TAG, stdout);
	return 0;
}
