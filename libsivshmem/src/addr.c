// SPDX-License-Identifier: BSD-2-Clause
/* Addresses as text: siv://VM/SERVICE, and the rules for names. */
#include <errno.h>
#include <string.h>

#include <sivshmem.h>

#include "internal.h"

static const char scheme[] = "siv://";

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The locale must not have a say here, hence no isalnum(). */
static bool name_valid(const char *name, size_t len)
{
	if (!len || !is_alnum(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alnum(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

/* A name in a fixed field: valid (or empty, if that may be), and zeroes behind it. */
static bool field_valid(const char *field, size_t size, bool may_be_empty)
{
	size_t len = strnlen(field, size);

	if (len == size)
		return false;
	for (size_t i = len; i < size; i++)
		if (field[i])
			return false;
	return len ? name_valid(field, len) : may_be_empty;
}

SIV_PUBLIC bool siv_name_valid(const char *name, size_t size)
{
	size_t len = strnlen(name, size);

	return len < size && name_valid(name, len);
}

SIV_PUBLIC int siv_addr_parse(const char *url, struct sockaddr_sivshmem *addr)
{
	struct sockaddr_sivshmem out = { 0 };
	const char *vm, *slash, *service;
	size_t vm_len, service_len;

	if (strncmp(url, scheme, sizeof(scheme) - 1))
		return -EINVAL;
	vm = url + sizeof(scheme) - 1;
	slash = strchr(vm, '/');
	if (!slash)
		return -EINVAL;
	service = slash + 1;
	vm_len = slash - vm;
	service_len = strlen(service);

	if (vm_len >= sizeof(out.ssiv_vm) || (vm_len && !name_valid(vm, vm_len)))
		return -EINVAL;
	if (service_len >= sizeof(out.ssiv_service) || !name_valid(service, service_len))
		return -EINVAL;

	out.ssiv_family = siv_family();
	memcpy(out.ssiv_vm, vm, vm_len);
	memcpy(out.ssiv_service, service, service_len);
	*addr = out;
	return 0;
}

SIV_PUBLIC int siv_addr_format(const struct sockaddr_sivshmem *addr, char *buf, size_t size)
{
	size_t vm_len, service_len, len;
	char *at = buf;

	if (addr->ssiv_flags || !field_valid(addr->ssiv_vm, sizeof(addr->ssiv_vm), true) ||
	    !field_valid(addr->ssiv_service, sizeof(addr->ssiv_service), false))
		return -EINVAL;
	vm_len = strlen(addr->ssiv_vm);
	service_len = strlen(addr->ssiv_service);
	len = sizeof(scheme) - 1 + vm_len + 1 + service_len;
	if (len >= size)
		return -ENOSPC;

	at = mempcpy(at, scheme, sizeof(scheme) - 1);
	at = mempcpy(at, addr->ssiv_vm, vm_len);
	*at++ = '/';
	memcpy(at, addr->ssiv_service, service_len + 1);
	return len;
}
