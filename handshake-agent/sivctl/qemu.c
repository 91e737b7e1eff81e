// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a VM's QEMU needs: an ivshmem device for each of its links, behind a bridge, and a
 * virtio-serial port for the control channel.
 *
 * The bridge's pref64-reserve puts the devices' memory above 4 GiB: below it the firmware's MTRRs
 * make it uncached. master=off makes QEMU refuse snapshots and migration, which would rewind memory
 * and keys.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sivctl.h"

#define BRIDGE_SLOTS   31u          /* devices 1 to 31 of a bridge; its hotplug controller is 0 */
#define BRIDGE_RESERVE (8ull << 30) /* at least; a power of two */

/* Appends "-OPTION" and its value. */
static void __attribute__((format(printf, 3, 4)))
add(json_t *args, const char *option, const char *fmt, ...)
{
	char *value = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	json_array_append_new(args, json_string(option));
	json_array_append_new(args, json_string(value));
	free(value);
}

/* A path as a value of QEMU's: commas doubled. */
static void escape(const char *path, char *out, size_t size)
{
	size_t n = 0;

	for (; *path && n + 3 < size; path++) {
		if (*path == ',')
			out[n++] = ',';
		out[n++] = *path;
	}
	out[n] = '\0';
}

/* Which end of the link the VM is; -1: neither. */
static int end_of(const struct policy_link *link, unsigned int vm)
{
	return link->vm[0] == vm ? 0 : link->vm[1] == vm ? 1 : -1;
}

/* Memory windows are aligned to their size, so twice the sum always suffices. */
static uint64_t bridge_reserve(const struct policy *policy, unsigned int vm)
{
	uint64_t sum = 0, reserve = BRIDGE_RESERVE;

	for (unsigned int i = 0; i < policy->n_links; i++) {
		if (end_of(&policy->links[i], vm) >= 0)
			sum += policy->links[i].size;
	}
	while (reserve < 2 * sum)
		reserve *= 2;
	return reserve;
}

static void add_link(json_t *args, const struct host_config *config, unsigned int index, int end,
		     unsigned int place)
{
	char path[2 * HOST_SUN_PATH], whole[2 * HOST_SUN_PATH];

	snprintf(whole, sizeof(whole), "%s/%s", config->run, config->links[index].socket[end]);
	escape(whole, path, sizeof(path));
	add(args, "-chardev", "socket,id=siv-link%u,path=%s", place, path);
	add(args, "-device",
	    "ivshmem-doorbell,id=siv-iv%u,vectors=%u,chardev=siv-link%u,bus=siv-bridge%u,addr=0x%x,"
	    "master=off", place, config->links[index].vectors, place, place / BRIDGE_SLOTS,
	    place % BRIDGE_SLOTS + 1);
}

json_t *qemu_args(const struct host_config *config, unsigned int vm)
{
	const struct policy *policy = config->policy;
	char path[2 * HOST_SUN_PATH];
	json_t *args = json_array();
	unsigned int place = 0;

	if (!args)
		return NULL;
	for (unsigned int i = 0; i < policy->n_links; i++) {
		int end = end_of(&policy->links[i], vm);

		if (end < 0)
			continue;
		if (place % BRIDGE_SLOTS == 0)
			add(args, "-device",
			    "pci-bridge,id=siv-bridge%u,chassis_nr=%u,pref64-reserve=%lluG",
			    place / BRIDGE_SLOTS, place / BRIDGE_SLOTS + 1,
			    (unsigned long long)(bridge_reserve(policy, vm) >> 30));
		add_link(args, config, i, end, place++);
	}
	escape(config->vms[vm].control, path, sizeof(path));
	add(args, "-device", "virtio-serial-pci,id=siv-serial");
	add(args, "-chardev", "socket,id=siv-control,path=%s,reconnect=1", path);
	add(args, "-device",
	    "virtserialport,bus=siv-serial.0,chardev=siv-control,name=org.sivshmem.0");
	return args;
}
