#include "journal/mark.h"

#include "base/crc32c.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>

#define MARK_NAME  "old-marks-j"
#define TEXT_BYTES 80U

bool mark_name_parse(const char *name, uint16_t *ret_journal)
{
    char again[FORMAT_NAME_BYTES];
    size_t bytes = sizeof MARK_NAME - 1;
    if (strncmp(name, MARK_NAME, bytes) != 0) {
        return false;
    }
    unsigned long number = strtoul(name + bytes, NULL, 10);
    snprintf(again, sizeof again, MARK_NAME "%lu", number);
    if (number >= FORMAT_JOURNALS_MAX || strcmp(name, again) != 0) {
        return false;
    }
    *ret_journal = (uint16_t)number;
    return true;
}

void mark_path(const struct catalog *catalog, uint16_t journal, char ret_path[CATALOG_PATH_BYTES])
{
    char name[FORMAT_NAME_BYTES];
    snprintf(name, sizeof name, MARK_NAME "%u", journal);
    catalog_path_name(catalog, ret_path, name);
}

/* Of one length, so that it is overwritten in place: on a full disk too, and within a sector. */
static size_t write_text(uint16_t journal, const struct journal_mark *mark, char text[TEXT_BYTES])
{
    int bytes = snprintf(text, TEXT_BYTES, "j%05u first %020llu last %020llu ", journal,
                         (unsigned long long)mark->first, (unsigned long long)mark->last);
    uint32_t crc = crc32c(0, text, (size_t)bytes);
    return (size_t)bytes +
           (size_t)snprintf(text + bytes, TEXT_BYTES - (size_t)bytes, "%08x\n", crc);
}

enum bk_err mark_read(const struct catalog *catalog, uint16_t journal,
                      struct journal_mark *ret_mark)
{
    char path[CATALOG_PATH_BYTES], again[TEXT_BYTES], *text = NULL;
    unsigned long long first = 0, last = 0;
    unsigned id = 0;
    size_t bytes = 0;
    mark_path(catalog, journal, path);
    enum bk_err err = file_read_all(path, TEXT_BYTES, &text, &bytes);
    if (err != BK_OK) {
        return err == BK_TOO_LARGE ? BK_NOT_FOUND : err;
    }
    bool read = sscanf(text, "j%5u first %20llu last %20llu", &id, &first, &last) == 3;
    struct journal_mark mark = {first, last};
    bool whole = read && id == journal && bytes == write_text(journal, &mark, again) &&
                 memcmp(text, again, bytes) == 0;
    free(text);
    if (!whole) {
        return BK_NOT_FOUND;
    }
    *ret_mark = mark;
    return BK_OK;
}

static enum bk_err overwrite(const char *path, const char *text, size_t bytes)
{
    int file = -1;
    uint64_t old_bytes = 0;
    enum bk_err err = file_open(path, FILE_WRITE, &file);
    if (err == BK_NOT_FOUND) {
        return file_replace(path, text, bytes);
    }
    if (err != BK_OK) {
        return err;
    }
    err = file_bytes(file, &old_bytes);
    if (err == BK_OK && old_bytes != bytes) {
        file_close(file);
        return file_replace(path, text, bytes);
    }
    if (err == BK_OK) {
        err = file_write(file, text, bytes, 0);
    }
    if (err == BK_OK) {
        err = file_sync(file);
    }
    file_close(file);
    return err;
}

enum bk_err mark_write(const struct catalog *catalog, uint16_t journal,
                       const struct journal_mark *mark)
{
    char path[CATALOG_PATH_BYTES], text[TEXT_BYTES];
    mark_path(catalog, journal, path);
    if (overwrite(path, text, write_text(journal, mark, text)) == BK_OK) {
        return BK_OK;
    }
    enum bk_err err = file_unlink(path);
    if (err == BK_OK) {
        err = directory_sync(catalog->directory);
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}
