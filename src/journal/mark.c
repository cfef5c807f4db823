#include "journal/mark.h"

#include "base/crc32c.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>

#define MARK_NAME  "old-marks-j"
#define TEXT_BYTES 160U

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
    int bytes = snprintf(
        text, TEXT_BYTES, "j%05u first %020llu %016llx last %020llu %016llx %016llx %016llx ",
        journal, (unsigned long long)mark->first, (unsigned long long)mark->first_uuid,
        (unsigned long long)mark->last, (unsigned long long)mark->last_uuids[0],
        (unsigned long long)mark->last_uuids[1], (unsigned long long)mark->last_uuids[2]);
    uint32_t crc = crc32c(0, text, (size_t)bytes);
    return (size_t)bytes +
           (size_t)snprintf(text + bytes, TEXT_BYTES - (size_t)bytes, "%08x\n", crc);
}

enum bk_err mark_read(const struct catalog *catalog, uint16_t journal,
                      struct journal_mark *ret_mark)
{
    char path[CATALOG_PATH_BYTES], again[TEXT_BYTES], *text = NULL;
    unsigned long long first = 0, last = 0, first_uuid = 0, uuids[3] = {0};
    unsigned id = 0;
    size_t bytes = 0;
    mark_path(catalog, journal, path);
    enum bk_err err = file_read_all(path, TEXT_BYTES, &text, &bytes);
    if (err != BK_OK) {
        return err == BK_TOO_LARGE ? BK_NOT_FOUND : err;
    }
    bool read = sscanf(text, "j%5u first %20llu %16llx last %20llu %16llx %16llx %16llx", &id,
                       &first, &first_uuid, &last, &uuids[0], &uuids[1], &uuids[2]) == 7;
    struct journal_mark mark = {first, last, first_uuid, {uuids[0], uuids[1], uuids[2]}};
    bool whole = read && id == journal && bytes == write_text(journal, &mark, again) &&
                 memcmp(text, again, bytes) == 0;
    free(text);
    if (!whole) {
        return BK_NOT_FOUND;
    }
    *ret_mark = mark;
    return BK_OK;
}

void mark_of(const struct catalog_journal *journal, struct journal_mark *ret_mark)
{
    const struct segment *first = bk_container_of(journal->segments.next, struct segment, node);
    const struct segment *last = bk_container_of(journal->segments.prev, struct segment, node);
    *ret_mark = (struct journal_mark){
        .first = first->number, .last = last->number, .first_uuid = first->uuid[0]};
    for (const struct list *node = journal->segments.prev; node != &journal->segments;
         node = node->prev) {
        const struct segment *segment = bk_container_of(node, const struct segment, node);
        uint64_t back = last->number - segment->number;
        if (back >= JOURNAL_MARK_NEWEST) {
            break;
        }
        ret_mark->last_uuids[back] = segment->uuid[0];
    }
}

bool mark_agrees(const struct journal_mark *mark, const struct segment *segment)
{
    uint64_t back = mark->last - segment->number;
    if (segment->number == mark->first && segment->uuid[0] != mark->first_uuid) {
        return false;
    }
    return segment->number > mark->last || back >= JOURNAL_MARK_NEWEST ||
           mark->last_uuids[back] == 0 || mark->last_uuids[back] == segment->uuid[0];
}

static enum bk_err overwrite(const char *path, const char *text, size_t bytes)
{
    int file = -1;
    uint64_t old_bytes = 0;
    enum bk_err err = file_open(path, FILE_WRITE, &file);
    if (err == BK_NOT_FOUND || err == BK_NOT_A_FILE) {
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
