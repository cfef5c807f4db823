#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void bk_assert_fail(const char *file, int line, const char *what)
{
    char text[512];
    int bytes =
        snprintf(text, sizeof text, "becket: assertion failed at %s:%d: %s\n", file, line, what);
    if (bytes > 0) {
        ssize_t ignored = write(STDERR_FILENO, text, strnlen(text, sizeof text));
        (void)ignored;
    }
    abort();
}
