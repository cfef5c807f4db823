/* sandbox.h - what a server that was broken into could still do: as little as possible.
 *
 * Purpose     no_new_privs; Landlock: files are written below the data directory only, and read
 *             where configuration may be; seccomp: an allow-list of system calls. Each as far as
 *             the kernel has it.
 * Order       sandbox_files() before the first thread starts (Landlock binds the thread that asks
 *             and its children), sandbox_calls() when everything is set up (it binds all threads).
 * Death       A call outside the list ends the process with exit code SANDBOX_EXIT and one line
 *             that names its number.
 */
#ifndef BECKET_CLI_SANDBOX_H
#define BECKET_CLI_SANDBOX_H

#include <stdbool.h>

#define SANDBOX_EXIT      159 /* 128 + SIGSYS */
#define SANDBOX_PATHS_MAX 40U

struct sandbox_files {
    const char *data_directory;           /* exists */
    const char *reads[SANDBOX_PATHS_MAX]; /* files whose folders are read; NULL is skipped */
};

/* Which Landlock the kernel has: its ABI, 0 = none. In effect from here on; false: the kernel has
 * it, but refused (errno). */
bool sandbox_files(const struct sandbox_files *files, int *ret_abi);
/* False: the kernel has no seccomp filters (errno). */
bool sandbox_calls(void);

#endif
