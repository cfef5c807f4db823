/* err.h - one error type for all of becket.
 *
 * Purpose     Functions that can fail for a reason outside the program return
 *             enum bk_err. Translation from errno, MDB_* or BR_ERR_* happens
 *             once, at the module that owns the boundary.
 * Classes     OK; AGAIN not finished; PEER they broke the rules; LIMIT ours
 *             reached; AUTH; DISK; GONE cancelled or closed; CONFIG the caller
 *             asked for something wrong. API and retry policy switch on class.
 */
#ifndef BECKET_BASE_ERR_H
#define BECKET_BASE_ERR_H

enum bk_err {
#define X(name, class, text) BK_##name,
#include "base/err.def"
#undef X
    BK_ERR_COUNT
};

enum bk_err_class {
    BK_CLASS_OK,
    BK_CLASS_AGAIN,
    BK_CLASS_PEER,
    BK_CLASS_LIMIT,
    BK_CLASS_AUTH,
    BK_CLASS_DISK,
    BK_CLASS_GONE,
    BK_CLASS_CONFIG
};

#define BK_MUST_CHECK __attribute__((warn_unused_result))

/* Static text, lower case, no full stop. */
const char *bk_err_text(enum bk_err err);
/* Static name as in err.def, e.g. "NO_SPACE". */
const char *bk_err_name(enum bk_err err);
enum bk_err_class bk_err_class(enum bk_err err);

/* From a positive errno value; unknown ones become BK_IO. */
enum bk_err bk_err_from_errno(int errno_value);

#endif
