/* directory.h - a directory for a test: made empty, gone at the end.
 *
 * Where       TMPDIR; else in memory, for a store commits often; else /tmp. Journals are written
 * past the page cache (O_DIRECT), which not every kernel can in memory: on_disk.
 */
#ifndef BECKET_TESTS_DIRECTORY_H
#define BECKET_TESTS_DIRECTORY_H

#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void test_directory(char *ret_path, size_t bytes, bool on_disk)
{
    const char *base = getenv("TMPDIR");
    base = base ? base : !on_disk && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(ret_path, bytes, "%s/becket-test-XXXXXX", base);
    if (!mkdtemp(ret_path)) {
        bail_out("no directory for tests in %s", base);
    }
}

static inline void test_directory_drop(const char *path)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ok(system(command) == 0, "clean up");
}

#endif
