// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile kernel's reach, for tests: maps all of an ivshmem device into a process, beside
 * af_sivshmem, which owns it. A kernel module can; a process cannot by any other way.
 *
 * mmap() of /dev/siv_lab: the memory (BAR2) at its offsets, and at 1 << 40 the page that has the
 * registers (BAR0), which need not begin at its start. ioctl(LAB_INTERRUPT, n): the device's interrupt
 * n times, in the kernel that asks, as if its peer had rung. All within one interrupt of the CPU, so
 * within one jiffy, however slow the host is: doorbells of another VM come when both QEMUs run.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/irq.h>
#include <linux/irq_work.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define LAB_REGISTERS  (1ull << 40)
#define LAB_INTERRUPT  _IO('L', 1)

static struct pci_dev *lab_pdev;

/* One process at a time asks for interrupts. */
static DEFINE_MUTEX(lab_lock);
static unsigned long lab_left;
static int lab_irq;

static int lab_mmap(struct file *file, struct vm_area_struct *vma)
{
	u64 at = (u64)vma->vm_pgoff << PAGE_SHIFT, len = vma->vm_end - vma->vm_start;
	int bar = 2;
	u64 size;

	if (at >= LAB_REGISTERS) {
		at -= LAB_REGISTERS;
		bar = 0;
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	}
	size = PAGE_ALIGN(pci_resource_len(lab_pdev, bar));
	if (len > size || at > size - len)
		return -EINVAL;
	return io_remap_pfn_range(vma, vma->vm_start,
				  PHYS_PFN(pci_resource_start(lab_pdev, bar) + at), len,
				  vma->vm_page_prot);
}

static void lab_interrupt(struct irq_work *work)
{
	for (; lab_left; lab_left--)
		generic_handle_irq(lab_irq);
}

static DEFINE_IRQ_WORK(lab_work, lab_interrupt);

static long lab_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd != LAB_INTERRUPT)
		return -ENOTTY;
	mutex_lock(&lab_lock);
	lab_irq = pci_irq_vector(lab_pdev, 0);
	if (lab_irq > 0) {
		lab_left = arg;
		irq_work_queue(&lab_work);
		irq_work_sync(&lab_work);
	}
	mutex_unlock(&lab_lock);
	return lab_irq > 0 ? 0 : -ENODEV;
}

static int lab_open(struct inode *inode, struct file *file)
{
	return capable(CAP_SYS_RAWIO) ? 0 : -EPERM;
}

static const struct file_operations lab_fops = {
	.owner = THIS_MODULE,
	.open = lab_open,
	.mmap = lab_mmap,
	.unlocked_ioctl = lab_ioctl,
};

static struct miscdevice lab_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "siv_lab",
	.fops = &lab_fops,
};

static int __init lab_init(void)
{
	int err;

	lab_pdev = pci_get_device(IVSHMEM_VENDOR, IVSHMEM_DEVICE, NULL);
	if (!lab_pdev)
		return -ENODEV;
	err = misc_register(&lab_device);
	if (err)
		pci_dev_put(lab_pdev);
	return err;
}

static void __exit lab_exit(void)
{
	misc_deregister(&lab_device);
	pci_dev_put(lab_pdev);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_DESCRIPTION("Maps an ivshmem device into a process, for tests of hostile peers");
MODULE_LICENSE("GPL");
