/* file_posix.c - file.h on Linux: plain blocking system calls. */
#include "ring/file.h"

#include "base/assert.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define KERNEL_FILE_BYTES_MAX 65536U

#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES                                                                     \
    0x80 /* Linux 6.17: written extents without writing, where the device can */
#endif

#define PATH_BYTES_MAX 4096

#define LOCK_PAUSE_NS 2000000L

static enum bk_err last_error(void)
{
    return errno == 0 ? BK_IO : bk_err_from_errno(errno);
}

/* ---- descriptors kept back. A reader has two files open at once, a log and its index. Closing one
 * makes room for an open; the next file_close() takes it again. Not for writing: those files stay
 * open. */

#define RESERVED 2U
static _Atomic int reserved[RESERVED]; /* 0 = none */
static _Atomic bool reserving;

static void reserve_fill(void)
{
    for (unsigned i = 0; i < RESERVED && atomic_load(&reserving); i++) {
        int none = 0;
        int file = atomic_load(&reserved[i]) ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        if (file > 0 && !atomic_compare_exchange_strong(&reserved[i], &none, file)) {
            (void)close(file);
        }
    }
}

void file_reserve(void)
{
    atomic_store(&reserving, true);
    reserve_fill();
}

static bool reserve_use(void)
{
    for (unsigned i = 0; i < RESERVED; i++) {
        int file = atomic_exchange(&reserved[i], 0);
        if (file > 0) {
            (void)close(file);
            return true;
        }
    }
    return false;
}

static int os_open(const char *path, int os_flags)
{
    int file = open(path, os_flags, 0600);
    bool used_up = file < 0 && (errno == EMFILE || errno == ENFILE);
    if (used_up && (os_flags & O_ACCMODE) == O_RDONLY && reserve_use()) {
        file = open(path, os_flags, 0600);
    }
    return file;
}

static enum bk_err check_kind(const char *path, bool devices)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return last_error();
    }
    if (S_ISREG(status.st_mode) || (devices && S_ISCHR(status.st_mode))) {
        return BK_OK;
    }
    return S_ISDIR(status.st_mode) ? BK_DIRECTORY : BK_NOT_A_FILE;
}

enum bk_err file_is_regular(const char *path)
{
    return check_kind(path, false);
}

static enum bk_err open_kind(const char *path, unsigned flags, bool devices, int *ret_file)
{
    bk_assert((flags & (FILE_READ | FILE_WRITE)) != 0);
    /* Before it is opened: a pipe would wait for its other end, a device might do anything. Who
     * could change it in between could as well change what is in it. */
    enum bk_err err = check_kind(path, devices);
    if (err != BK_OK && err != BK_NOT_FOUND) {
        return err;
    }
    int os_flags = O_CLOEXEC | O_NOCTTY | (devices ? O_NONBLOCK : 0);
    if ((flags & FILE_READ) && (flags & FILE_WRITE)) {
        os_flags |= O_RDWR;
    } else {
        os_flags |= flags & FILE_WRITE ? O_WRONLY : O_RDONLY;
    }
    os_flags |= flags & FILE_CREATE ? O_CREAT : 0;
    os_flags |= flags & FILE_EXCLUSIVE ? O_EXCL : 0;
    os_flags |= flags & FILE_TRUNCATE ? O_TRUNC : 0;
    int file = -1;
    if (flags & FILE_DIRECT) {
        file = os_open(path, os_flags | O_DIRECT);
        if (file < 0 && errno != EINVAL) {
            return last_error();
        }
        os_flags &= ~O_EXCL; /* it was not there, or the error were EEXIST; the failed try may have
                                made it */
    }
    if (file < 0) { /* no O_DIRECT asked for, or the file system (tmpfs before 6.6) has none */
        file = os_open(path, os_flags);
    }
    if (file < 0) {
        return last_error();
    }
    *ret_file = file;
    return BK_OK;
}

enum bk_err file_open(const char *path, unsigned flags, int *ret_file)
{
    return open_kind(path, flags, false, ret_file);
}

void file_close(int file)
{
    bk_assert(file >= 0);
    /* Nothing that matters is buffered: what must be durable went through file_sync. */
    (void)close(file);
    reserve_fill();
}

enum bk_err file_bytes(int file, uint64_t *ret_bytes)
{
    struct stat status;
    if (fstat(file, &status) != 0) {
        return last_error();
    }
    *ret_bytes = (uint64_t)status.st_size;
    return BK_OK;
}

bool file_is_gone(int file, const char *path)
{
    struct stat status, named;
    if (fstat(file, &status) < 0 || status.st_nlink > 0) {
        return false;
    }
    return stat(path, &named) < 0 ? errno == ENOENT
                                  : named.st_ino != status.st_ino || named.st_dev != status.st_dev;
}

enum bk_err file_read(int file, void *at, size_t bytes, uint64_t offset, size_t *ret_bytes)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t count = pread(file, (char *)at + done, bytes - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return last_error();
        }
        if (count == 0) {
            break;
        }
        done += (size_t)count;
        if ((size_t)count % 512 != 0) {
            break; /* the end of the file; going on would be unaligned for O_DIRECT */
        }
    }
    *ret_bytes = done;
    return BK_OK;
}

enum bk_err file_write(int file, const void *at, size_t bytes, uint64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t count = pwrite(file, (const char *)at + done, bytes - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return last_error();
        }
        if (count == 0) {
            return BK_IO;
        }
        done += (size_t)count;
    }
    return BK_OK;
}

enum bk_err file_allocate(int file, uint64_t bytes)
{
    while (fallocate(file, 0, 0, (off_t)bytes) != 0) {
        if (errno == EINTR) {
            continue;
        }
        if (errno != EOPNOTSUPP) {
            return last_error();
        }
        /* tmpfs before 3.5, some network file systems: at least the size. */
        return ftruncate(file, (off_t)bytes) == 0 ? BK_OK : last_error();
    }
    return BK_OK;
}

enum bk_err file_zero(int file, uint64_t offset, uint64_t bytes)
{
    if (fallocate(file, FALLOC_FL_WRITE_ZEROES, (off_t)offset, (off_t)bytes) == 0) {
        return BK_OK;
    }
    /* Old kernels say EOPNOTSUPP or EINVAL to a flag they do not know; a device may say ENOTTY. */
    bool failed = errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO;
    return failed ? last_error() : BK_UNSUPPORTED;
}

enum bk_err file_in_place(const char *path)
{
    struct statfs status;
    int flags = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0) {
        return last_error();
    }
    bool copies = fstatfs(file, &status) == 0 && status.f_type == BTRFS_SUPER_MAGIC;
    bool set = copies && ioctl(file, FS_IOC_GETFLAGS, &flags) == 0;
    flags |= FS_NOCOW_FL;
    set = set && ioctl(file, FS_IOC_SETFLAGS, &flags) == 0;
    (void)close(file);
    return set ? BK_OK : BK_UNSUPPORTED;
}

enum bk_err file_sync(int file)
{
    return fdatasync(file) == 0 ? BK_OK : last_error();
}

enum bk_err file_rename(const char *from, const char *to)
{
    return rename(from, to) == 0 ? BK_OK : last_error();
}

enum bk_err file_truncate(int file, uint64_t bytes)
{
    while (ftruncate(file, (off_t)bytes) != 0) {
        if (errno != EINTR) {
            return last_error();
        }
    }
    return BK_OK;
}

enum bk_err file_unlink(const char *path)
{
    return unlink(path) == 0 ? BK_OK : last_error();
}

enum bk_err file_mode(const char *path, unsigned *ret_mode)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return last_error();
    }
    *ret_mode = (unsigned)(status.st_mode & 07777);
    return BK_OK;
}

enum bk_err directory_make(const char *path)
{
    if (mkdir(path, 0700) == 0) {
        return BK_OK;
    }
    if (errno != EEXIST) {
        return last_error();
    }
    struct stat status;
    if (stat(path, &status) != 0) {
        return last_error();
    }
    return S_ISDIR(status.st_mode) ? BK_OK : BK_EXISTS;
}

enum bk_err directory_sync(const char *path)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        return last_error();
    }
    /* Some file systems cannot sync a directory and say EINVAL: they have no need to. */
    enum bk_err err = fsync(directory) == 0 || errno == EINVAL ? BK_OK : last_error();
    (void)close(directory);
    return err;
}

enum bk_err directory_list(const char *path, directory_entry_fn *entry, void *context)
{
    DIR *directory = opendir(path);
    if (!directory) {
        return last_error();
    }
    enum bk_err err = BK_OK;
    for (;;) {
        errno = 0;
        const struct dirent *next = readdir(directory);
        if (!next) {
            err = errno ? last_error() : BK_OK;
            break;
        }
        if (strcmp(next->d_name, ".") != 0 && strcmp(next->d_name, "..") != 0) {
            entry(next->d_name, context);
        }
    }
    (void)closedir(directory);
    return err;
}

enum bk_err file_system_space(const char *path, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes)
{
    struct statvfs status;
    if (statvfs(path, &status) != 0) {
        return last_error();
    }
    *ret_free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    *ret_total_bytes = (uint64_t)status.f_blocks * status.f_frsize;
    return BK_OK;
}

enum bk_err file_lock(int file)
{
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
        return BK_OK;
    }
    return errno == EWOULDBLOCK ? BK_BUSY : last_error();
}

enum bk_err file_lock_wait(int file, uint64_t patience_ns)
{
    enum bk_err err = file_lock(file);
    for (uint64_t waited_ns = 0; err == BK_BUSY && waited_ns < patience_ns;
         waited_ns += LOCK_PAUSE_NS) {
        struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
        (void)nanosleep(&pause, NULL);
        err = file_lock(file);
    }
    return err;
}

enum bk_err file_read_all(const char *path, size_t bytes_max, char **ret_text, size_t *ret_bytes)
{
    int file = -1;
    enum bk_err err = open_kind(path, FILE_READ, true, &file);
    if (err != BK_OK) {
        return err;
    }
    uint64_t bytes = 0;
    err = file_bytes(file, &bytes);
    if (err == BK_OK && bytes == 0) {
        /* So say also the files of /proc and of control groups, which have contents. */
        bytes = bytes_max < KERNEL_FILE_BYTES_MAX ? bytes_max : KERNEL_FILE_BYTES_MAX;
    }
    if (err == BK_OK && bytes > bytes_max) {
        err = BK_TOO_LARGE;
    }
    char *text = err == BK_OK ? malloc((size_t)bytes + 1) : NULL;
    if (err == BK_OK && !text) {
        err = BK_NO_MEMORY;
    }
    size_t done = 0;
    if (err == BK_OK) {
        err = file_read(file, text, (size_t)bytes, 0, &done);
    }
    file_close(file);
    if (err != BK_OK) {
        free(text);
        return err;
    }
    text[done] = '\0';
    *ret_text = text;
    if (ret_bytes) {
        *ret_bytes = done;
    }
    return BK_OK;
}

/* The directory part of a path, "." when it has none. */
static enum bk_err directory_of(const char *path, char *ret_directory, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t bytes = slash ? (size_t)(slash - path) : 1;
    if (bytes + 2 > size) {
        return BK_TOO_LARGE;
    }
    if (!slash) {
        memcpy(ret_directory, ".", 2);
    } else if (bytes == 0) {
        memcpy(ret_directory, "/", 2);
    } else {
        memcpy(ret_directory, path, bytes);
        ret_directory[bytes] = '\0';
    }
    return BK_OK;
}

enum bk_err file_replace(const char *path, const void *at, size_t bytes)
{
    char directory[PATH_BYTES_MAX];
    char temporary[PATH_BYTES_MAX];
    enum bk_err err = directory_of(path, directory, sizeof directory);
    if (err != BK_OK) {
        return err;
    }
    int count = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (count < 0 || (size_t)count >= sizeof temporary) {
        return BK_TOO_LARGE;
    }
    (void)unlink(temporary); /* a crash may have left one, perhaps with another mode */
    int file = -1;
    err = file_open(temporary, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &file);
    if (err != BK_OK) {
        return err;
    }
    err = file_write(file, at, bytes, 0);
    if (err == BK_OK) {
        err = fsync(file) == 0 ? BK_OK : last_error();
    }
    file_close(file);
    if (err == BK_OK) {
        err = file_rename(temporary, path);
    }
    if (err != BK_OK) {
        (void)unlink(temporary);
        return err;
    }
    return directory_sync(directory);
}
