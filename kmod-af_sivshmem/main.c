// SPDX-License-Identifier: GPL-2.0-only
/*
 * AF_SIVSHMEM: sockets between virtual machines over ivshmem. Initialisation, and its mirror.
 */
#include <linux/module.h>
#include <linux/workqueue.h>

#include "link.h"
#include "sock.h"
#include "upcall.h"

struct workqueue_struct *siv_wq;

static int __init siv_init(void)
{
	int err = -ENOMEM;

	siv_wq = alloc_workqueue("af_sivshmem", WQ_UNBOUND, 0);
	if (!siv_wq)
		return err;
	err = siv_netlink_init();
	if (err)
		goto destroy_wq;
	err = siv_link_local_init();
	if (err)
		goto exit_netlink;
	err = siv_link_pci_init();
	if (err)
		goto exit_local;
	err = siv_sock_init();
	if (err)
		goto exit_pci;
	return 0;

exit_pci:
	siv_link_pci_exit();
exit_local:
	siv_link_local_exit();
exit_netlink:
	siv_netlink_exit();
	siv_upcall_exit();
destroy_wq:
	destroy_workqueue(siv_wq);
	rcu_barrier();
	return err;
}

static void __exit siv_exit(void)
{
	siv_sock_exit();
	siv_link_pci_exit();
	siv_link_local_exit();
	siv_netlink_exit();
	siv_upcall_exit();
	destroy_workqueue(siv_wq);
	rcu_barrier(); /* channels are freed by RCU */
}

module_init(siv_init);
module_exit(siv_exit);
MODULE_DESCRIPTION("Authenticated sockets between virtual machines over ivshmem");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
