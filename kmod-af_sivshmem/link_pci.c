// SPDX-License-Identifier: GPL-2.0-only
/*
 * A link over QEMU's ivshmem-doorbell device: BAR0 has the registers, BAR1 MSI-X, BAR2 the memory.
 *
 * The hard interrupt handler takes a few events and only wakes; more goes to its thread. A peer that
 * rings without end is masked, and a timer looks again: it costs us a bounded share of the CPU. Without
 * end is: faster than any use has, or more often than there were events, for each of which an honest
 * peer rings once.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <asm/memtype.h>

#include "link.h"
#include "sock.h"

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define IVSHMEM_REG_IVPOSITION 0x08
#define IVSHMEM_REG_DOORBELL   0x0c /* peer << 16 | vector */
#define IVSHMEM_REGS_SIZE 0x100

#define SIV_IRQ_BUDGET    64  /* events that the hard handler takes */
#define SIV_IRQ_FLOOD     (128000 / HZ) /* interrupts within one jiffy that count as a flood */
#define SIV_IRQ_CREDIT    1024 /* interrupts beyond one for each event that do not, yet ... */
#define SIV_IRQ_REFILL    1    /* ... and how many of these each jiffy gives back */
#define SIV_FLOOD_DELAY_MAX (HZ / 64 + 1) /* jiffies that it stays masked, at most; at first 1 */
#define SIV_FLOOD_MEMORY  HZ   /* a flood that begins within this time is the same one */

struct siv_pci {
	struct siv_link *link;
	struct pci_dev *pdev;
	void __iomem *regs;
	int irq;

	/* the flood guard; hard handler, its thread, and resume */
	unsigned long window;   /* the jiffy that is counted */
	unsigned int in_window;
	unsigned int credit;    /* of SIV_IRQ_CREDIT */
	u64 events;             /* link->events when last looked at */
	unsigned long masked;   /* bit 0 */
	unsigned long delay;    /* jiffies that it was masked for the last time ... */
	unsigned long resumed;  /* ... and until when */
	struct delayed_work resume;
};

/* Looks again later: twice as late each time, so that a flood costs ever less while it goes on. */
static void pci_later(struct siv_pci *pci)
{
	if (time_after(jiffies, pci->resumed + SIV_FLOOD_MEMORY))
		pci->delay = 1;
	else
		pci->delay = min_t(unsigned long, 2 * pci->delay, SIV_FLOOD_DELAY_MAX);
	pci->resumed = jiffies + pci->delay;
	queue_delayed_work(siv_wq, &pci->resume, pci->delay);
}

/* Stops the interrupt for a while; the work looks for events and lets it go on. */
static void pci_mask(struct siv_pci *pci)
{
	if (test_and_set_bit(0, &pci->masked))
		return;
	disable_irq_nosync(pci->irq);
	WRITE_ONCE(pci->link->floods, pci->link->floods + 1);
	pr_warn_ratelimited("%s: VM \"%s\" floods us with doorbells\n", pci->link->name,
			    pci->link->peer_vm);
	pci_later(pci);
}

static void pci_resume(struct work_struct *work)
{
	struct siv_pci *pci = container_of(to_delayed_work(work), struct siv_pci, resume);

	if (siv_link_drain(pci->link, SIV_LINK_SLOTS) == SIV_DRAIN_BUDGET) {
		pci_later(pci);
		return;
	}
	clear_bit(0, &pci->masked);
	enable_irq(pci->irq);
}

static bool pci_flooded(struct siv_pci *pci)
{
	u64 events = READ_ONCE(pci->link->events), earned = events - pci->events;

	pci->events = events;
	if (time_after(jiffies, pci->window)) {
		earned += SIV_IRQ_REFILL;
		pci->window = jiffies;
		pci->in_window = 0;
	}
	pci->credit = min_t(u64, pci->credit + earned, SIV_IRQ_CREDIT);
	if (++pci->in_window > SIV_IRQ_FLOOD || !pci->credit)
		return true;
	pci->credit--;
	return false;
}

static irqreturn_t pci_irq(int irq, void *data)
{
	struct siv_pci *pci = data;

	if (pci_flooded(pci))
		pci_mask(pci);
	return siv_link_drain(pci->link, SIV_IRQ_BUDGET) == SIV_DRAINED ? IRQ_HANDLED :
									 IRQ_WAKE_THREAD;
}

/* One capacity of the ring at most; a peer that fills it faster waits for the timer. */
static irqreturn_t pci_irq_thread(int irq, void *data)
{
	struct siv_pci *pci = data;

	if (siv_link_drain(pci->link, SIV_LINK_SLOTS) == SIV_DRAIN_BUDGET)
		pci_mask(pci);
	return IRQ_HANDLED;
}

static void pci_kick(struct siv_link *link)
{
	struct siv_pci *pci = pci_get_drvdata(to_pci_dev(link->dev));

	writel(link->peer_ivposition << 16, pci->regs + IVSHMEM_REG_DOORBELL);
}

static int pci_prepare(struct siv_link *link, u64 size)
{
	return size > link->mem_size ? -EINVAL : 0;
}

static unsigned long pci_pfn(const struct siv_link *link, u64 offset)
{
	return PHYS_PFN(pci_resource_start(to_pci_dev(link->dev), 2) + offset);
}

static const struct siv_link_ops pci_ops = {
	.kind = SIV_LINK_PCI,
	.kick = pci_kick,
	.prepare = pci_prepare,
	.pfn = pci_pfn,
	.heartbeat = true,
};

/* BAR2, write-back or not at all: behind the PCI hole's MTRR it would silently be uncached. */
static int pci_map_memory(struct pci_dev *pdev, struct siv_link *link)
{
	phys_addr_t start = pci_resource_start(pdev, 2);

	link->mem_size = pci_resource_len(pdev, 2);
	if (link->mem_size < SIV_LINK_SIZE_MIN || link->mem_size > SIV_LINK_SIZE_MAX)
		return dev_err_probe(&pdev->dev, -EINVAL,
				     "BAR2 has %llu bytes, a link has %llu to %llu\n", link->mem_size,
				     SIV_LINK_SIZE_MIN, SIV_LINK_SIZE_MAX);
	link->mem = memremap(start, link->mem_size, MEMREMAP_WB);
	if (!link->mem)
		return -ENOMEM;
	/* without PAT (nopat, no CONFIG_MTRR) nobody keeps the types, and all of them look uncached */
	if (!pat_enabled()) {
		dev_warn(&pdev->dev, "no PAT: cannot tell whether BAR2 at %pa is cached\n",
			 &start);
		return 0;
	}
	/* true: the memory type that the mapping got, against what was asked, is an uncached one */
	if (pat_pfn_immune_to_uc_mtrr(PHYS_PFN(start))) {
		memunmap(link->mem);
		return dev_err_probe(&pdev->dev, -EINVAL,
				     "BAR2 at %pa is uncached: put the device behind a bridge with pref64-reserve, as `sivctl qemu-args` prints\n",
				     &start);
	}
	return 0;
}

static int pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	const int bars = BIT(0) | BIT(1) | BIT(2);
	struct siv_link *link;
	struct siv_pci *pci;
	int err;

	pci = kzalloc(sizeof(*pci), GFP_KERNEL);
	link = siv_link_alloc(&pci_ops, pci_name(pdev));
	err = -ENOMEM;
	if (!pci || !link)
		goto free;
	pci->link = link;
	pci->pdev = pdev;
	INIT_DELAYED_WORK(&pci->resume, pci_resume);
	pci->window = pci->resumed = jiffies;
	pci->delay = 1;
	pci->credit = SIV_IRQ_CREDIT;
	link->dev = &pdev->dev;

	err = pci_enable_device(pdev);
	if (err)
		goto free;
	/* exclusive: from now on nobody maps the BARs through sysfs or /dev/mem */
	err = pci_request_selected_regions_exclusive(pdev, bars, "af_sivshmem");
	if (err)
		goto disable;
	err = -ENOMEM;
	pci->regs = ioremap(pci_resource_start(pdev, 0), IVSHMEM_REGS_SIZE);
	if (!pci->regs)
		goto release;
	err = pci_map_memory(pdev, link);
	if (err)
		goto unmap_regs;
	link->ivposition = readl(pci->regs + IVSHMEM_REG_IVPOSITION);
	if (link->ivposition > U16_MAX) {
		err = dev_err_probe(&pdev->dev, -EINVAL,
				    "IVPosition %#x: not an ivshmem-doorbell device?\n",
				    link->ivposition);
		goto unmap_memory;
	}
	pci_set_master(pdev);
	err = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX);
	if (err < 0)
		goto clear_master;
	pci->irq = pci_irq_vector(pdev, 0);
	pci_set_drvdata(pdev, pci);
	err = request_threaded_irq(pci->irq, pci_irq, pci_irq_thread, 0, "af_sivshmem", pci);
	if (err)
		goto free_vectors;
	siv_link_register(link);
	dev_info(&pdev->dev, "ivshmem link, IVPosition %u, %llu MiB\n", link->ivposition,
		 link->mem_size >> 20);
	return 0;

free_vectors:
	pci_free_irq_vectors(pdev);
clear_master:
	pci_clear_master(pdev);
unmap_memory:
	memunmap(link->mem);
unmap_regs:
	iounmap(pci->regs);
release:
	pci_release_selected_regions(pdev, bars);
disable:
	pci_disable_device(pdev);
free:
	if (link)
		siv_link_put(link);
	kfree(pci);
	return err;
}

static void pci_remove(struct pci_dev *pdev)
{
	struct siv_pci *pci = pci_get_drvdata(pdev);
	struct siv_link *link = pci->link;

	siv_link_unregister(link);
	disable_irq(pci->irq); /* on top of what pci_mask() did: nobody queues the work any more */
	cancel_delayed_work_sync(&pci->resume);
	free_irq(pci->irq, pci);
	pci_free_irq_vectors(pdev);
	pci_clear_master(pdev);
	memunmap(link->mem);
	iounmap(pci->regs);
	pci_release_selected_regions(pdev, BIT(0) | BIT(1) | BIT(2));
	pci_disable_device(pdev);
	siv_link_put(link);
	kfree(pci);
}

static const struct pci_device_id pci_ids[] = {
	{ PCI_DEVICE(IVSHMEM_VENDOR, IVSHMEM_DEVICE) },
	{}
};
MODULE_DEVICE_TABLE(pci, pci_ids);

static struct pci_driver siv_pci_driver = {
	.name = "af_sivshmem",
	.id_table = pci_ids,
	.probe = pci_probe,
	.remove = pci_remove,
};

int siv_link_pci_init(void)
{
	return pci_register_driver(&siv_pci_driver);
}

void siv_link_pci_exit(void)
{
	pci_unregister_driver(&siv_pci_driver);
}
