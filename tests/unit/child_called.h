/* SPDX-License-Identifier: BSD-2-Clause */
/* Which process is it that another one has forked? */
#ifndef CHILD_CALLED_H
#define CHILD_CALLED_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* @parent's child of that name that has not ended, or 0. */
static inline pid_t child_called(pid_t parent, const char *name)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		char path[300], comm[32] = "", state = 0;
		int pid = 0, ppid = 0;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = atoi(entry->d_name) ? fopen(path, "r") : NULL;
		if (!file)
			continue;
		if (fscanf(file, "%d (%31[^)]) %c %d", &pid, comm, &state, &ppid) == 4 &&
		    ppid == parent && state != 'Z' && strcmp(comm, name) == 0)
			found = pid;
		fclose(file);
	}
	if (proc)
		closedir(proc);
	return found;
}

#endif
