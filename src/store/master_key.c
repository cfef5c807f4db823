/* master_key.c - finding or making the key that opens all others; contract in store/seal.h. */
#include "base/base64.h"
#include "base/ct.h"
#include "base/hex.h"
#include "ring/file.h"
#include "ring/ring.h"
#include "store/seal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_FILE_BYTES_MAX 4096U

__attribute__((format(printf, 3, 4))) static enum bk_err refuse(char *ret_why, enum bk_err err,
                                                                const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_why, SEAL_WHY_BYTES, format, args);
    va_end(args);
    return err;
}

/* 64 hex digits, or base64 (either alphabet) of 32 bytes; blanks around it do not count. */
static bool parse_key(struct slice text, uint8_t ret_key[MASTER_KEY_BYTES])
{
    while (text.bytes > 0 && strchr(" \t\r\n", text.at[text.bytes - 1])) {
        text.bytes--;
    }
    while (text.bytes > 0 && strchr(" \t\r\n", text.at[0])) {
        text = slice_skip(text, 1);
    }
    if (hex_decode(text, ret_key, MASTER_KEY_BYTES)) {
        return true;
    }
    size_t bytes = 0;
    return (base64_decode(text, BASE64_STANDARD, ret_key, MASTER_KEY_BYTES, &bytes) &&
            bytes == MASTER_KEY_BYTES) ||
           (base64_decode(text, BASE64_URL, ret_key, MASTER_KEY_BYTES, &bytes) &&
            bytes == MASTER_KEY_BYTES);
}

static enum bk_err from_environment(char *value, uint8_t ret_key[MASTER_KEY_BYTES], char *ret_why)
{
    bool good = parse_key(slice_str(value), ret_key);
    /* In place: /proc/PID/environ shows these very bytes. */
    bk_wipe(value, strlen(value));
    unsetenv("BECKET_MASTER_KEY");
    return good ? BK_OK
                : refuse(ret_why, BK_INVALID,
                         "BECKET_MASTER_KEY: not a key; give 64 hex digits or base64 of 32 bytes");
}

static enum bk_err from_file(const char *path, uint8_t ret_key[MASTER_KEY_BYTES], char *ret_why)
{
    unsigned mode = 0;
    enum bk_err err = file_mode(path, &mode);
    if (err == BK_OK && (mode & 077) != 0) {
        return refuse(ret_why, BK_PERMISSION,
                      "%s: others can read this key file (mode %04o); run: chmod 600 %s", path,
                      mode, path);
    }
    char *text = NULL;
    size_t bytes = 0;
    if (err == BK_OK) {
        err = file_read_all(path, KEY_FILE_BYTES_MAX, &text, &bytes);
    }
    if (err != BK_OK) {
        return refuse(ret_why, err, "%s: cannot read the master key: %s", path, bk_err_text(err));
    }
    bool good = parse_key(slice_of(text, bytes), ret_key);
    bk_wipe(text, bytes);
    free(text);
    return good ? BK_OK
                : refuse(ret_why, BK_INVALID,
                         "%s: no master key in it; give 64 hex digits or base64 of 32 bytes",
                         path);
}

static enum bk_err make_file(const char *path, uint8_t ret_key[MASTER_KEY_BYTES], char *ret_why)
{
    char text[2 * MASTER_KEY_BYTES + 1];
    ring_entropy(ret_key, MASTER_KEY_BYTES);
    hex_encode(ret_key, MASTER_KEY_BYTES, text);
    text[sizeof text - 1] = '\n';
    enum bk_err err = file_replace(path, text, sizeof text);
    bk_wipe(text, sizeof text);
    return err == BK_OK ? err
                        : refuse(ret_why, err, "%s: cannot write the master key: %s", path,
                                 bk_err_text(err));
}

enum bk_err master_key_load(const char *data_directory, bool make,
                            uint8_t ret_key[MASTER_KEY_BYTES], char ret_why[SEAL_WHY_BYTES])
{
    char path[4096];
    char *value = getenv("BECKET_MASTER_KEY");
    const char *file = getenv("BECKET_MASTER_KEY_FILE");
    ret_why[0] = '\0';
    if (value && value[0] != '\0') {
        return from_environment(value, ret_key, ret_why);
    }
    if (file && file[0] != '\0') {
        return from_file(file, ret_key, ret_why);
    }
    int count = snprintf(path, sizeof path, "%s/master.key", data_directory);
    if (count < 0 || (size_t)count >= sizeof path) {
        return refuse(ret_why, BK_TOO_LARGE, "the data directory's path is too long");
    }
    unsigned mode = 0;
    enum bk_err err = file_mode(path, &mode);
    if (err == BK_NOT_FOUND && make) {
        return make_file(path, ret_key, ret_why);
    }
    if (err == BK_NOT_FOUND) {
        return refuse(ret_why, err,
                      "%s: the master key is missing, and the secrets in this directory need it; "
                      "bring it back or set BECKET_MASTER_KEY",
                      path);
    }
    return from_file(path, ret_key, ret_why);
}
