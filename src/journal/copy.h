/* copy.h - `becket backup` and `restore`: the journal as it is now, in another directory.
 *
 * Purpose     Every segment is read and checked, and copied up to its last good commit. So the copy
 *             is what a power cut at one moment would have left, without its torn tail.
 * Threads     Any one thread (CLI). The server may write meanwhile, and may remove segments: those
 *             that went are left out, with all older ones of their journal.
 * Order       Copy the store first: a journal that knows more than the store is what a crash
 *             leaves, too; the other way round is not.
 */
#ifndef BECKET_JOURNAL_COPY_H
#define BECKET_JOURNAL_COPY_H

#include "journal/check.h"

enum copy_space {
    COPY_SPARSE, /* what is behind the last commit takes no room: to be kept */
    COPY_WRITTEN /* it is zeros, written: to be written on */
};

/* `to` is there and empty. Problems are told as journal_check does, and what is damaged is copied
 * as it is. An error: nothing in `to` counts. */
enum bk_err journal_copy(const char *from, const char *to, enum copy_space space,
                         check_problem_fn *problem, void *context,
                         struct check_totals *ret_totals) BK_MUST_CHECK;

#endif
