#include "base/err.h"

#include "base/assert.h"

#include <errno.h>

static const struct {
    const char *name;
    const char *text;
    enum bk_err_class class;
} errs[] = {
#define X(name, class, text) {#name, text, BK_CLASS_##class},
#include "base/err.def"
#undef X
};

const char *bk_err_text(enum bk_err err)
{
    bk_assert((unsigned)err < BK_ERR_COUNT);
    return errs[err].text;
}

const char *bk_err_name(enum bk_err err)
{
    bk_assert((unsigned)err < BK_ERR_COUNT);
    return errs[err].name;
}

enum bk_err_class bk_err_class(enum bk_err err)
{
    bk_assert((unsigned)err < BK_ERR_COUNT);
    return errs[err].class;
}

enum bk_err bk_err_from_errno(int errno_value)
{
    switch (errno_value) {
    case 0: return BK_OK;
    case EAGAIN: case EINTR: return BK_AGAIN;
    case EINVAL: return BK_INVALID;
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
        return BK_NOT_FOUND;
    case EISDIR:
        return BK_DIRECTORY;
    case EEXIST: return BK_EXISTS;
    case EPERM: case EACCES: return BK_PERMISSION;
    case EPIPE: case ECONNRESET: return BK_RESET;
    case ECONNREFUSED: return BK_REFUSED;
    case ETIMEDOUT: case ETIME: return BK_TIMEOUT;
    case EHOSTUNREACH: case ENETUNREACH: case ENETDOWN:
    case EADDRNOTAVAIL: case EAFNOSUPPORT: /* IPv6 is off, or there is none */
        return BK_UNREACHABLE;
    case ENOBUFS: return BK_NO_BUFFERS;
    case EMFILE: case ENFILE: return BK_NO_DESCRIPTORS;
    case ENOMEM: return BK_NO_MEMORY;
    case ENOSPC: case EDQUOT: case EFBIG: return BK_NO_SPACE;
    case EROFS: return BK_READ_ONLY;
    case ECANCELED: return BK_CANCELLED;
    case EBADF: case ENOTCONN: return BK_CLOSED;
    case EBUSY: case EADDRINUSE: return BK_BUSY;
    case ENOSYS: case EOPNOTSUPP: return BK_UNSUPPORTED;
    default: return BK_IO;
    }
}
