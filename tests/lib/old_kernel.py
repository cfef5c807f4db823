"""A kernel that answers as Linux before 6.13 does when it is asked whether a ring's table may be used."""
import os
import subprocess
import tempfile

SHIM = '''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
ssize_t recv(int fd, void *at, size_t bytes, int flags)
{
    if (bytes == 1 && flags == MSG_DONTWAIT) {
        errno = EAGAIN;
        return -1;
    }
    return ((ssize_t (*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv"))(fd, at, bytes, flags);
}
int signalfd(int fd, const void *set, int flags)
{
    if (getenv("NO_SIGNALFD")) {
        errno = EMFILE;
        return -1;
    }
    return ((int (*)(int, const void *, int))dlsym(RTLD_NEXT, "signalfd"))(fd, set, flags);
}
/* From the third second to the sixth, if it is asked for, no descriptor is left for another one. */
static int busy(int command)
{
    static time_t begin;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    begin = begin ? begin : now.tv_sec;
    return command == F_DUPFD_CLOEXEC && getenv("NO_DUP") && now.tv_sec - begin >= 3 && now.tv_sec - begin < 6;
}
int fcntl64(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (busy(command)) {
        errno = EMFILE;
        return -1;
    }
    return ((int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl64"))(fd, command, argument);
}
int fcntl(int fd, int command, ...) __attribute__((alias("fcntl64")));
'''


def in_front(code, **more):
    """The environment of a server in front of whose C library these functions come."""
    base = tempfile.mkdtemp(prefix='shim-', dir=os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests'))
    source, library = os.path.join(base, 'shim.c'), os.path.join(base, 'shim.so')
    with open(source, 'w') as file:
        file.write(code)
    subprocess.run([os.environ.get('CC', 'cc'), '-shared', '-fPIC', '-o', library, source], check=True)
    return dict(os.environ, LD_PRELOAD=os.path.abspath(library), **more)


def old_kernel(**more):
    """The environment of a server that shall take the kernel for one before Linux 6.13."""
    return in_front(SHIM, **more)
