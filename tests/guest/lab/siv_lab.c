// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile kernel's reach, for tests: maps all of an ivshmem device into a process, beside
 * af_sivshmem, which owns it. A kernel module can; a process cannot by any other way.
 *
 * mmap() of /dev/siv_lab: the memory (BAR2) at its offsets, and at 1 << 40 the page that has the
 * registers (BAR0), which need not begin at its start.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define LAB_REGISTERS  (1ull << 40)

static struct pci_dev *lab_pdev;

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

static int lab_open(struct inode *inode, struct file *file)
{
	return capable(CAP_SYS_RAWIO) ? 0 : -EPERM;
}

static const struct file_operations lab_fops = {
	.owner = THIS_MODULE,
	.open = lab_open,
	.mmap = lab_mmap,
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
