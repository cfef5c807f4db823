#include "cli/ground.h"

#include "base/slice.h"
#include "ring/file_magic.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

static const char in_memory[] = "the data directory is in memory (tmpfs)";
static const char in_layer[] = "the data directory is on an overlay, as a container has";
static const char on_network[] = "the data directory is on a network file system";
static const char on_fuse[] = "the data directory is on a file system of another program (FUSE)";

static const struct {
    unsigned long magic;
    const char *what, *effect, *advice;
} kinds[] = {
    {TMPFS_MAGIC, in_memory, "what is acknowledged is gone with the machine's power",
     "choose a directory on a disk with --data"},
    {RAMFS_MAGIC, in_memory, "what is acknowledged is gone with the machine's power",
     "choose a directory on a disk with --data"},
    {OVERLAYFS_SUPER_MAGIC, in_layer, "what is acknowledged is gone with the container",
     "mount a volume there"},
    {NFS_SUPER_MAGIC, on_network, "what is acknowledged is as safe as its server makes it",
     "a local disk is faster and safer"},
    {SMB2_MAGIC, on_network, "what is acknowledged is as safe as its server makes it",
     "a local disk is faster and safer"},
    {CIFS_MAGIC, on_network, "what is acknowledged is as safe as its server makes it",
     "a local disk is faster and safer"},
    {CEPH_MAGIC, on_network, "what is acknowledged is as safe as its servers make it",
     "a local disk is faster"},
    {NINE_MAGIC, on_network, "what is acknowledged is as safe as the host makes it",
     "a local disk is faster and safer"},
    {FUSE_MAGIC, on_fuse, "what is acknowledged is as safe as that program makes it",
     "a local disk is faster and safer"},
};

/* Words among the options of a mount, with which a flush is an empty word. */
static const char *const unflushed[] = {"volatile", "fsync=volatile", "nobarrier",
                                         "barrier=0"};

static bool has_option(struct slice options, const char *option)
{
    while (options.bytes) {
        size_t comma = slice_find(options, ',');
        if (slice_equal(slice_of(options.at, comma), slice_str(option))) {
            return true;
        }
        options = slice_skip(options, comma < options.bytes ? comma + 1 : comma);
    }
    return false;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" (proc(5)): the
 * last word. Empty: it cannot be told. */
static struct slice mount_options(unsigned long long mount, char *line, size_t size)
{
    struct slice options = SLICE_EMPTY;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    while (mounts && options.bytes == 0 && fgets(line, (int)size, mounts)) {
        char *rest;
        if (strtoull(line, &rest, 10) == mount && *rest == ' ') {
            line[strcspn(line, "\n")] = 0;
            const char *last = strrchr(line, ' ');
            options = slice_str(last ? last + 1 : "");
        }
    }
    if (mounts) {
        fclose(mounts);
    }
    return options;
}

static bool is_flushed(int file)
{
    static char line[8192];
    struct statx status;
    if (statx(file, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0 ||
        !(status.stx_mask & STATX_MNT_ID)) {
        return true;
    }
    struct slice options = mount_options(status.stx_mnt_id, line, sizeof line);
    for (size_t i = 0; i < sizeof unflushed / sizeof unflushed[0]; i++) {
        if (has_option(options, unflushed[i])) {
            return false;
        }
    }
    return true;
}

const char *ground_trouble(int file, const char **ret_effect, const char **ret_advice)
{
    struct statfs status;
    if (!is_flushed(file)) {
        *ret_effect = "what is acknowledged can be lost with the machine's power";
        *ret_advice = "mount it without volatile, nobarrier and barrier=0";
        return "the data directory's file system is mounted so that it flushes nothing";
    }
    if (fstatfs(file, &status) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if ((unsigned long)status.f_type == kinds[i].magic) {
            *ret_effect = kinds[i].effect;
            *ret_advice = kinds[i].advice;
            return kinds[i].what;
        }
    }
    return NULL;
}

bool ground_keeps_modes(int file, unsigned *ret_mode)
{
    struct stat status;
    if (fstat(file, &status) == 0 && (status.st_mode & 077) != 0) {
        (void)fchmod(file, 0600);
    }
    *ret_mode = fstat(file, &status) == 0 ? (unsigned)status.st_mode & 07777 : 0;
    return (*ret_mode & 077) == 0;
}
