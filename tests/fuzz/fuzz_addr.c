// SPDX-License-Identifier: BSD-2-Clause
/* Addresses: any text is refused or makes an address with that text; so for any 96 bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sivshmem.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_sivshmem addr, again;
	char *text = malloc(size + 1), out[SIV_URL_LEN];

	check(text);
	memcpy(text, data, size);
	text[size] = '\0';
	if (!siv_addr_parse(text, &addr)) {
		check(siv_addr_format(&addr, out, sizeof(out)) == (int)strlen(text));
		check(!strcmp(out, text));
	}
	free(text);

	if (size >= sizeof(addr)) {
		memcpy(&addr, data, sizeof(addr));
		if (siv_addr_format(&addr, out, sizeof(out)) > 0) {
			check(!siv_addr_parse(out, &again));
			check(!strcmp(addr.ssiv_vm, again.ssiv_vm));
			check(!memcmp(addr.ssiv_service, again.ssiv_service, SIV_SERVICE_LEN));
		}
	}
	return 0;
}
