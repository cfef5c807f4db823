/* recover_names.c - what there is in the directory, by its names. */
#include "base/log.h"
#include "journal/mark.h"
#include "journal/recovery.h"
#include "ring/file.h"

#include <stdlib.h>

static void *grow_list(void *list, size_t *max, size_t count, size_t bytes)
{
    if (count < *max) {
        return list;
    }
    size_t larger = *max ? *max * 2 : 64;
    void *grown = realloc(list, larger * bytes);
    if (grown) {
        *max = larger;
    }
    return grown;
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* What a start removes: files that were being made or being removed. */
static void note_rubbish(struct recovery *recovery, const char *name)
{
    if (strlen(name) >= FORMAT_NAME_BYTES) {
        return;
    }
    void *list = grow_list(recovery->rubbish, &recovery->rubbish_max, recovery->rubbish_count,
                           FORMAT_NAME_BYTES);
    if (!list) {
        recovery->err = BK_NO_MEMORY;
        return;
    }
    recovery->rubbish = list;
    memcpy(recovery->rubbish[recovery->rubbish_count++], name, strlen(name) + 1);
}

static void note_pool(struct recovery *recovery, const char *name)
{
    struct catalog *catalog = recovery->catalog;
    char path[CATALOG_PATH_BYTES];
    int file = -1;
    uint64_t bytes = 0;
    bool fits = false;
    if (strlen(name) < FORMAT_NAME_BYTES && catalog->pool_count < CATALOG_POOL_MAX) {
        catalog_path_name(catalog, path, name);
        if (file_open(path, FILE_READ, &file) == BK_OK) {
            fits = file_bytes(file, &bytes) == BK_OK && bytes == catalog->segment_bytes;
            file_close(file);
        }
    }
    if (!fits) {
        note_rubbish(recovery, name);
        return;
    }
    unsigned long long serial = strtoull(name + strlen("spare-"), NULL, 10);
    if (serial >= catalog->pool_serial) {
        catalog->pool_serial = serial + 1;
    }
    memcpy(catalog->pool[catalog->pool_count++], name, strlen(name) + 1);
}

static void note_name(const char *name, void *context)
{
    struct recovery *recovery = context;
    struct name found = {0};
    if (recovery->err != BK_OK) {
        return;
    }
    if (mark_name_parse(name, &found.journal)) {
        recovery->marked[found.journal] = true;
        return;
    }
    if (starts(name, "tmp-") || starts(name, "old-")) {
        note_rubbish(recovery, name);
        return;
    }
    if (starts(name, "spare-")) {
        note_pool(recovery, name);
        return;
    }
    if (!format_name_parse(name, ".log", &found.journal, &found.number)) {
        if (!format_name_parse(name, ".idx", &found.journal, &found.number)) {
            return; /* somebody else's file */
        }
        found.sidecar = true;
    }
    void *list =
        grow_list(recovery->names, &recovery->name_max, recovery->name_count, sizeof found);
    if (!list) {
        recovery->err = BK_NO_MEMORY;
        return;
    }
    recovery->names = list;
    recovery->names[recovery->name_count++] = found;
}

static int compare_names(const void *left, const void *right)
{
    const struct name *a = left;
    const struct name *b = right;
    if (a->journal != b->journal) {
        return a->journal < b->journal ? -1 : 1;
    }
    if (a->sidecar != b->sidecar) {
        return a->sidecar ? 1 : -1;
    }
    return a->number < b->number ? -1 : a->number > b->number;
}

enum bk_err list_names(struct recovery *recovery)
{
    enum bk_err err = directory_list(recovery->catalog->directory, note_name, recovery);
    if (err == BK_OK) {
        err = recovery->err;
    }
    if (err == BK_OK && recovery->name_count > 1) {
        qsort(recovery->names, recovery->name_count, sizeof *recovery->names, compare_names);
    }
    return err;
}

void remove_rubbish(struct recovery *recovery)
{
    for (size_t i = 0; i < recovery->rubbish_count; i++) {
        char path[CATALOG_PATH_BYTES];
        catalog_path_name(recovery->catalog, path, recovery->rubbish[i]);
        enum bk_err err = file_unlink(path);
        /* A mark that was half made is gone by now: another was made in its place. */
        if (err != BK_OK && err != BK_NOT_FOUND) { /* costs space until the next start */
            log_event(LOG_WARN, "journal_remove_failed", LOG_Z("file", path),
                      LOG_Z("error", bk_err_text(err)));
        }
    }
}
