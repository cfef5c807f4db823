/* store_check.h - is the store's file one that LMDB may be let loose on?
 *
 * Purpose     LMDB believes its file: it follows page numbers, offsets and lengths out of the map
 *             without a look, so a file that was cut short by a copy, or that a disk gave back
 *             with other bytes, ends the process in the middle of a read (SIGBUS, SIGSEGV), at
 *             each start again. Here all that it follows is looked at first, once, by reads that
 *             can fail: both trees of the present meta page, and the list of free pages.
 * Limits      LMDB has no checksums: bytes inside of a value are the reader's to judge. Of pages
 *             that nothing leads to nothing is asked; the file may end before they do.
 * Threads     At the start, before the store is opened. One read a page, some MiB of memory.
 */
#ifndef BECKET_STORE_STORE_CHECK_H
#define BECKET_STORE_STORE_CHECK_H

#include "base/err.h"

#define STORE_CHECK_WHY_BYTES 160U

/* BK_OK also for a file that is not there, or is empty. BK_CORRUPT: ret_why says what is wrong and
 * where. Others: it cannot be read. */
enum bk_err store_check(const char *path, char ret_why[STORE_CHECK_WHY_BYTES]) BK_MUST_CHECK;

#endif
