#include "store/master_key.h"

#include "base/base64.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/hmac.h"
#include "ring/file.h"
#include "ring/ring.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define KEY_FILE_BYTES_MAX 4096U
#define PATH_BYTES         4096U

__attribute__((format(printf, 3, 4))) static enum bk_err refuse(char *ret_why, enum bk_err err,
                                                                const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_why, MASTER_KEY_WHY_BYTES, format, args);
    va_end(args);
    return err;
}

static enum bk_err path_in(const char *directory, const char *name, char ret_path[PATH_BYTES],
                           char *ret_why)
{
    int count = snprintf(ret_path, PATH_BYTES, "%s/%s", directory, name);
    return count >= 0 && (size_t)count < PATH_BYTES
               ? BK_OK
               : refuse(ret_why, BK_TOO_LARGE, "the data directory's path is too long");
}

void master_key_id(const uint8_t key[MASTER_KEY_BYTES], char ret_id[MASTER_KEY_ID_BYTES])
{
    struct hmac_key by;
    struct slice part = SLICE("becket master key");
    uint8_t mac[HMAC_BYTES_MAX];
    hmac_key_init(&by, HMAC_SHA256, slice_of(key, MASTER_KEY_BYTES));
    hmac(&by, &part, 1, mac);
    hex_encode(mac, (MASTER_KEY_ID_BYTES - 1) / 2, ret_id);
    ret_id[MASTER_KEY_ID_BYTES - 1] = '\0';
    bk_wipe(&by, sizeof by);
    bk_wipe(mac, sizeof mac);
}

/* ---- reading */

/* 64 hex digits, or base64 (either alphabet) of 32 bytes; blanks around it do not count. */
static bool parse_key(struct slice text, uint8_t ret_key[MASTER_KEY_BYTES])
{
    while (text.bytes > 0 && text.at[text.bytes - 1] != 0 &&
           strchr(" \t\r\n", text.at[text.bytes - 1])) {
        text.bytes--;
    }
    while (text.bytes > 0 && text.at[0] != 0 && strchr(" \t\r\n", text.at[0])) {
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

/* BK_NOT_FOUND: it is not set. */
static enum bk_err from_environment(const char *name, bool look, uint8_t ret_key[MASTER_KEY_BYTES],
                                    char *ret_why)
{
    char *value = getenv(name);
    if (!value || value[0] == '\0') {
        return BK_NOT_FOUND;
    }
    bool good = parse_key(slice_str(value), ret_key);
    if (!look) { /* in place: /proc/PID/environ shows these very bytes */
        bk_wipe(value, strlen(value));
        unsetenv(name);
    }
    return good ? BK_OK
                : refuse(ret_why, BK_INVALID,
                         "%s: not a key; give 64 hex digits or base64 of 32 bytes", name);
}

enum bk_err master_key_read(const char *path, uint8_t ret_key[MASTER_KEY_BYTES],
                            char ret_why[MASTER_KEY_WHY_BYTES])
{
    unsigned mode = 0;
    struct stat status;
    enum bk_err err = file_mode(path, &mode);
    if (err == BK_OK && stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        return refuse(ret_why, BK_INVALID, "%s: this is no file, and has no master key", path);
    }
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
                         "%s: no master key in it; give 64 hex digits or base64 of 32 bytes", path);
}

enum bk_err master_key_write(const char *path, const uint8_t key[MASTER_KEY_BYTES],
                             char ret_why[MASTER_KEY_WHY_BYTES])
{
    char text[2 * MASTER_KEY_BYTES + 1];
    hex_encode(key, MASTER_KEY_BYTES, text);
    text[sizeof text - 1] = '\n';
    enum bk_err err = file_replace(path, text, sizeof text);
    bk_wipe(text, sizeof text);
    return err == BK_OK ? err
                        : refuse(ret_why, err, "%s: cannot write the master key: %s", path,
                                 bk_err_text(err));
}

/* master.key, and what an exchange that did not end left beside it. */
static enum bk_err load_in_data(const char *data_directory, bool make, struct master_keys *keys,
                                char *ret_why)
{
    char path[PATH_BYTES], next[PATH_BYTES], why[MASTER_KEY_WHY_BYTES];
    enum bk_err err = path_in(data_directory, MASTER_KEY_FILE, path, ret_why);
    if (err == BK_OK) {
        err = path_in(data_directory, MASTER_KEY_FILE_NEXT, next, ret_why);
    }
    if (err != BK_OK) {
        return err;
    }
    enum bk_err next_err = master_key_read(next, keys->next, why);
    keys->has_next = next_err == BK_OK;
    err = master_key_read(path, keys->key, ret_why);
    keys->has_key = err == BK_OK;
    if (err == BK_NOT_FOUND && make && next_err == BK_NOT_FOUND) {
        ring_entropy(keys->key, MASTER_KEY_BYTES);
        err = master_key_write(path, keys->key, ret_why);
        keys->has_key = err == BK_OK;
    } else if (err == BK_NOT_FOUND && !keys->has_next) {
        refuse(ret_why, err,
               "%s: the master key is missing, and the secrets in this directory need it; bring it "
               "back or set BECKET_MASTER_KEY",
               path);
    }
    /* Overwritten already: then the next one is it. */
    if ((err == BK_INVALID || err == BK_NOT_FOUND) && keys->has_next) {
        return BK_OK;
    }
    if (err == BK_OK && next_err != BK_OK && next_err != BK_NOT_FOUND &&
        next_err != BK_INVALID) { /* cut while it was written: it wraps nothing */
        return refuse(ret_why, next_err, "%s", why);
    }
    return err;
}

static enum bk_err load_before(struct master_keys *keys, bool look, char *ret_why)
{
    const char *file = getenv("BECKET_MASTER_KEY_BEFORE_FILE");
    enum bk_err err = from_environment("BECKET_MASTER_KEY_BEFORE", look, keys->before, ret_why);
    if (err == BK_NOT_FOUND && file && file[0] != '\0') {
        err = master_key_read(file, keys->before, ret_why);
        keys->has_before = err == BK_OK;
        return err;
    }
    keys->has_before = err == BK_OK;
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* What the environment names. BK_OK with MASTER_KEY_IN_DATA: nothing. */
static enum bk_err load_named(bool look, struct master_keys *ret_keys, char *ret_why)
{
    const char *file = getenv("BECKET_MASTER_KEY_FILE");
    *ret_keys = (struct master_keys){.place = MASTER_KEY_IN_ENVIRONMENT};
    ret_why[0] = '\0';
    enum bk_err err = from_environment("BECKET_MASTER_KEY", look, ret_keys->key, ret_why);
    if (err == BK_NOT_FOUND && file && file[0] != '\0') {
        ret_keys->place = MASTER_KEY_IN_FILE;
        err = master_key_read(file, ret_keys->key, ret_why);
    } else if (err == BK_NOT_FOUND) {
        ret_keys->place = MASTER_KEY_IN_DATA;
        return load_before(ret_keys, look, ret_why);
    }
    ret_keys->has_key = err == BK_OK;
    return err == BK_OK ? load_before(ret_keys, look, ret_why) : err;
}

static enum bk_err load(const char *data_directory, bool make, bool look,
                        struct master_keys *ret_keys, char *ret_why)
{
    enum bk_err err = load_named(look, ret_keys, ret_why);
    if (err == BK_OK && ret_keys->place == MASTER_KEY_IN_DATA) {
        err = load_in_data(data_directory, make, ret_keys, ret_why);
    }
    if (err != BK_OK) {
        master_keys_wipe(ret_keys);
    }
    return err;
}

enum bk_err master_keys_check(char ret_why[MASTER_KEY_WHY_BYTES])
{
    struct master_keys keys;
    enum bk_err err = load_named(true, &keys, ret_why);
    master_keys_wipe(&keys);
    return err;
}

enum bk_err master_keys_load(const char *data_directory, bool make, struct master_keys *ret_keys,
                             char ret_why[MASTER_KEY_WHY_BYTES])
{
    return load(data_directory, make, false, ret_keys, ret_why);
}

enum bk_err master_keys_look(const char *data_directory, struct master_keys *ret_keys,
                             char ret_why[MASTER_KEY_WHY_BYTES])
{
    return load(data_directory, false, true, ret_keys, ret_why);
}

void master_keys_wipe(struct master_keys *keys)
{
    bk_wipe(keys, sizeof *keys);
}

/* ---- exchange in the data directory */

enum bk_err master_key_may_change(const char *data_directory, char ret_why[MASTER_KEY_WHY_BYTES])
{
    char path[PATH_BYTES];
    struct stat status;
    enum bk_err err = path_in(data_directory, MASTER_KEY_FILE, path, ret_why);
    if (err == BK_OK && lstat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        return refuse(ret_why, BK_UNSUPPORTED,
                      "%s is a link to a key that is kept elsewhere, which becket cannot change",
                      path);
    }
    return err;
}

enum bk_err master_key_next_write(const char *data_directory, const uint8_t key[MASTER_KEY_BYTES],
                                  char ret_why[MASTER_KEY_WHY_BYTES])
{
    char path[PATH_BYTES];
    enum bk_err err = path_in(data_directory, MASTER_KEY_FILE_NEXT, path, ret_why);
    return err == BK_OK ? master_key_write(path, key, ret_why) : err;
}

/* With zeros, on the device. A disk that copies what it writes keeps the old bytes somewhere; no
 * program can do more. */
static enum bk_err overwrite(const char *path)
{
    static const char zeros[KEY_FILE_BYTES_MAX];
    int file = -1;
    uint64_t bytes = 0;
    (void)chmod(path, 0600); /* it may be 0400, and is ours */
    enum bk_err err = file_open(path, FILE_WRITE, &file);
    if (err != BK_OK) {
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    err = file_bytes(file, &bytes);
    if (err == BK_OK) {
        err = file_write(file, zeros, bytes < sizeof zeros ? (size_t)bytes : sizeof zeros, 0);
    }
    if (err == BK_OK) {
        err = file_sync(file);
    }
    file_close(file);
    return err;
}

enum bk_err master_key_next_take(const char *data_directory, char ret_why[MASTER_KEY_WHY_BYTES])
{
    char path[PATH_BYTES], next[PATH_BYTES];
    enum bk_err err = path_in(data_directory, MASTER_KEY_FILE, path, ret_why);
    if (err == BK_OK) {
        err = path_in(data_directory, MASTER_KEY_FILE_NEXT, next, ret_why);
    }
    if (err != BK_OK) {
        return err;
    }
    err = overwrite(path);
    if (err == BK_OK) {
        err = file_rename(next, path);
    }
    if (err == BK_OK) {
        err = directory_sync(data_directory);
    }
    return err == BK_OK ? err
                        : refuse(ret_why, err, "%s: cannot replace the old master key by %s: %s",
                                 path, next, bk_err_text(err));
}

enum bk_err master_key_next_drop(const char *data_directory, char ret_why[MASTER_KEY_WHY_BYTES])
{
    char next[PATH_BYTES];
    enum bk_err err = path_in(data_directory, MASTER_KEY_FILE_NEXT, next, ret_why);
    if (err != BK_OK) {
        return err;
    }
    unsigned mode = 0;
    if (file_mode(next, &mode) == BK_NOT_FOUND) {
        return BK_OK;
    }
    err = overwrite(next);
    if (err == BK_OK) {
        err = file_unlink(next);
    }
    if (err == BK_OK) {
        err = directory_sync(data_directory);
    }
    return err == BK_OK ? err
                        : refuse(ret_why, err, "%s: cannot remove it: %s", next, bk_err_text(err));
}
