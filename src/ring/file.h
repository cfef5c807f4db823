/* file.h - blocking file operations, for start-up, the store thread and the CLI. Never on a
 * reactor.
 *
 * Purpose     The other half of the seam: the journal makes, reads and removes segments
 *             through it. file_posix.c is the real one, tests/sim/file_sim.c the
 *             simulated disk that forgets what was not synced.
 * Failure     enum bk_err; short reads happen only at the end of a file.
 * Paths       Relative to the process's directory, or absolute; UTF-8, NUL-terminated.
 */
#ifndef BECKET_RING_FILE_H
#define BECKET_RING_FILE_H

#include "base/err.h"
#include "base/slice.h"

enum {
    FILE_READ = 1,
    FILE_WRITE = 2,
    FILE_CREATE = 4,    /* mode 0600 */
    FILE_EXCLUSIVE = 8, /* with FILE_CREATE: BK_EXISTS when it is there */
    FILE_DIRECT =
        16, /* O_DIRECT where the file system has it: 4 KiB aligned address, bytes, offset */
    FILE_TRUNCATE = 32
};

/* Keep descriptors back: when the process has no other left, files are still opened for reading,
 * one after the other. Once, at start-up, before much else is open. */
void file_reserve(void);
/* BK_DIRECTORY, BK_NOT_A_FILE: nothing else but a regular file is opened, so this never waits for
 * somebody. */
enum bk_err file_open(const char *path, unsigned flags, int *ret_file) BK_MUST_CHECK;
/* BK_OK, or what open() would make of it: BK_NOT_FOUND, BK_DIRECTORY, BK_NOT_A_FILE and others. For
 * files that somebody else opens. */
enum bk_err file_is_regular(const char *path) BK_MUST_CHECK;
void file_close(int file);
enum bk_err file_bytes(int file, uint64_t *ret_bytes) BK_MUST_CHECK;
/* It was removed: what is in it goes with the last descriptor. File systems in user space may count
 * no names at all, so it is not gone where its path still leads to it. */
bool file_is_gone(int file, const char *path);
enum bk_err file_read(int file, void *at, size_t bytes, uint64_t offset,
                      size_t *ret_bytes) BK_MUST_CHECK;
enum bk_err file_write(int file, const void *at, size_t bytes, uint64_t offset) BK_MUST_CHECK;
/* Blocks reserved and size set; contents read as zero. BK_NO_SPACE. */
enum bk_err file_allocate(int file, uint64_t bytes) BK_MUST_CHECK;
/* Make a range of an allocated file written zeros without writing them, where kernel, file system
 * and device can. BK_UNSUPPORTED: they cannot, write zeros. */
enum bk_err file_zero(int file, uint64_t offset, uint64_t bytes) BK_MUST_CHECK;
/* Whatever is overwritten from now on in this file (empty as yet), or in files that are made in
 * this directory, lies where it lay and needs no further room, on a file system that would write a
 * copy elsewhere (btrfs). BK_UNSUPPORTED: this one has no need to, or cannot. */
enum bk_err file_in_place(const char *path) BK_MUST_CHECK;
enum bk_err file_truncate(int file, uint64_t bytes) BK_MUST_CHECK;
/* Data and size on the device. BK_IO: nothing may be assumed; never call it again to "retry". */
enum bk_err file_sync(int file) BK_MUST_CHECK;
enum bk_err file_rename(const char *from, const char *to) BK_MUST_CHECK;
enum bk_err file_unlink(const char *path) BK_MUST_CHECK;
enum bk_err file_mode(const char *path, unsigned *ret_mode) BK_MUST_CHECK;
enum bk_err directory_make(const char *path) BK_MUST_CHECK; /* 0700; BK_OK when it is there */
enum bk_err directory_sync(const char *path) BK_MUST_CHECK;
typedef void directory_entry_fn(const char *name, void *context);
enum bk_err directory_list(const char *path, directory_entry_fn *entry,
                           void *context) BK_MUST_CHECK;
enum bk_err file_system_space(const char *path, uint64_t *ret_free_bytes,
                              uint64_t *ret_total_bytes) BK_MUST_CHECK;
/* Exclusive advisory lock until the file is closed; BK_BUSY when another process has it. */
enum bk_err file_lock(int file) BK_MUST_CHECK;
/* The same, but waits so long for a process that may be ending. */
enum bk_err file_lock_wait(int file, uint64_t patience_ns) BK_MUST_CHECK;
/* Whole small file, NUL-terminated, malloc'ed; BK_TOO_LARGE over bytes_max. Caller wipes and frees.
 * Also what a character device has at once: /dev/null is an empty file to many. */
enum bk_err file_read_all(const char *path, size_t bytes_max, char **ret_text,
                          size_t *ret_bytes) BK_MUST_CHECK;
/* Write to a temporary name, sync, rename, sync the directory: old or new, never half. Mode 0600.
 */
enum bk_err file_replace(const char *path, const void *at, size_t bytes) BK_MUST_CHECK;

#endif
