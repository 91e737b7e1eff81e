// SPDX-License-Identifier: GPL-2.0-only
/*
 * The link inside this kernel: two ends, each the other's peer, over memory of their own. Channels,
 * rings, events and epochs are those of any link; only the doorbell is a function call.
 */
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "link.h"
#include "sock.h"

static struct siv_link *ends[2];
static DEFINE_MUTEX(mem_lock); /* the two fields below; inside link->lock */
static void *mem;
static u64 mem_size;

static void local_kick(struct siv_link *link)
{
	/* as much as the ring can hold: nobody else is going to look */
	siv_link_drain(ends[!link->end], SIV_LINK_SLOTS);
}

/* The first epoch decides the size; the memory stays until the module goes. */
static int local_prepare(struct siv_link *link, u64 size)
{
	int err = 0;

	mutex_lock(&mem_lock);
	if (!mem) {
		/* as much as the agent says: what is not there is no reason to complain, or to kill */
		mem = __vmalloc(size, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
		mem_size = size;
	}
	if (!mem)
		err = -ENOMEM;
	else if (size > mem_size)
		err = -EINVAL;
	if (!err) {
		link->mem = mem;
		link->mem_size = mem_size;
	}
	mutex_unlock(&mem_lock);
	return err;
}

static unsigned long local_pfn(const struct siv_link *link, u64 offset)
{
	return vmalloc_to_pfn(link->mem + offset);
}

static const struct siv_link_ops local_ops = {
	.kind = SIV_LINK_LOCAL,
	.kick = local_kick,
	.prepare = local_prepare,
	.pfn = local_pfn,
	.fixed_end = true,
	.scrub = true,
};

int siv_link_local_init(void)
{
	u32 end;

	for (end = 0; end < 2; end++) {
		ends[end] = siv_link_alloc(&local_ops, "local");
		if (!ends[end]) {
			if (end)
				siv_link_put(ends[0]);
			return -ENOMEM;
		}
		ends[end]->end = end;
	}
	for (end = 0; end < 2; end++)
		siv_link_register(ends[end]);
	return 0;
}

void siv_link_local_exit(void)
{
	siv_link_unregister(ends[1]);
	siv_link_unregister(ends[0]);
	siv_link_put(ends[1]);
	siv_link_put(ends[0]);
	vfree(mem);
}
