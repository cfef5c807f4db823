/* copy.c - a check that writes down what it reads. A sidecar goes along when it says of its segment
 * what was copied: without it the first start reads the segment whole. One that outlived its
 * segment is all that remembers its delivery ids. */
#include "journal/copy.h"

#include "journal/format.h"
#include "journal/index.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY_BYTES      1048576U
#define COPY_PATH_BYTES 1024U

struct copy {
    const char *to;
    enum copy_space space;
    check_problem_fn *problem;
    void *context;
    uint8_t *buffer;
    bool damaged;
    /* The journal being copied: what is there of it. */
    uint16_t journal;
    uint64_t first, next; /* equal: nothing */
};

static void copy_path(const struct copy *copy, char ret_path[COPY_PATH_BYTES], const char *from)
{
    const char *name = strrchr(from, '/');
    snprintf(ret_path, COPY_PATH_BYTES, "%s/%s", copy->to, name ? name + 1 : from);
}

/* What lies before a segment that the server removed meanwhile is of no more use. */
static enum bk_err drop_older(struct copy *copy)
{
    enum bk_err err = BK_OK;
    for (; copy->first < copy->next && err == BK_OK; copy->first++) {
        char path[COPY_PATH_BYTES];
        char name[FORMAT_NAME_BYTES];
        format_name(name, copy->journal, copy->first, ".log");
        snprintf(path, sizeof path, "%s/%s", copy->to, name);
        err = file_unlink(path);
    }
    return err;
}

static enum bk_err copy_bytes(struct copy *copy, int from, int to, uint64_t end)
{
    for (uint64_t at = 0; at < end;) {
        size_t bytes = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        size_t done = 0;
        enum bk_err err = file_read(from, copy->buffer, bytes, at, &done);
        if (err != BK_OK || done == 0) {
            return err != BK_OK ? err : BK_CORRUPT;
        }
        err = file_write(to, copy->buffer, done, at);
        if (err != BK_OK) {
            return err;
        }
        at += done;
    }
    return BK_OK;
}

/* Behind the last commit: nothing, or zeros that were written, as in every segment of a server. */
static enum bk_err copy_rest(struct copy *copy, int to, uint64_t at, uint64_t bytes)
{
    if (copy->space == COPY_SPARSE || at >= bytes) {
        return file_truncate(to, bytes);
    }
    memset(copy->buffer, 0, COPY_BYTES);
    enum bk_err err = BK_OK;
    while (at < bytes && err == BK_OK) {
        size_t count = bytes - at < COPY_BYTES ? (size_t)(bytes - at) : COPY_BYTES;
        err = file_write(to, copy->buffer, count, at);
        at += count;
    }
    return err;
}

static enum bk_err copy_file(struct copy *copy, const struct check_segment *segment,
                             const char *path)
{
    int from = -1;
    int to = -1;
    uint64_t end = segment->end;
    enum bk_err err = file_open(segment->path, FILE_READ, &from);
    if (err != BK_OK) {
        return err;
    }
    if (segment->sidecar) {
        err = file_bytes(from, &end);
    }
    if (err == BK_OK) {
        err = file_open(path, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &to);
    }
    if (err == BK_OK) {
        err = copy_bytes(copy, from, to, end);
        if (err == BK_OK && !segment->sidecar) {
            err = copy_rest(copy, to, end, segment->bytes);
        }
        if (err == BK_OK) {
            err = file_sync(to);
        }
        file_close(to);
    }
    file_close(from);
    return err;
}

/* The segment may have been completed since it was read: then its sidecar knows more. Any failure
 * but a full disk costs the first start some time, no more. */
static enum bk_err copy_sidecar(struct copy *copy, const struct check_segment *segment)
{
    char from[COPY_PATH_BYTES], path[COPY_PATH_BYTES];
    struct index_file file = {.memory = NULL};
    size_t bytes = strlen(segment->path);
    if (bytes < 4 || bytes >= sizeof from) {
        return BK_OK;
    }
    snprintf(from, sizeof from, "%.*s.idx", (int)(bytes - 4), segment->path);
    if (index_read(from, false, &file) != BK_OK) {
        return BK_OK;
    }
    bool same = file.header.end == segment->end && file.header.number == segment->number &&
                file.header.journal == segment->journal;
    index_file_fini(&file);
    struct check_segment sidecar = {.path = from, .sidecar = true};
    copy_path(copy, path, from);
    enum bk_err err = same ? copy_file(copy, &sidecar, path) : BK_OK;
    return err == BK_NOT_FOUND || err == BK_CORRUPT ? BK_OK : err;
}

static enum bk_err copy_segment(const struct check_segment *segment, void *context)
{
    struct copy *copy = context;
    char path[COPY_PATH_BYTES];
    unsigned mode = 0;
    copy_path(copy, path, segment->path);
    enum bk_err err = copy_file(copy, segment, path);
    /* Looked for after it was read: a file that is used again has no name here in between. */
    if ((err == BK_OK || err == BK_NOT_FOUND || err == BK_CORRUPT) &&
        file_mode(segment->path, &mode) == BK_NOT_FOUND) {
        err = file_unlink(path);
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    if (err != BK_OK || segment->sidecar) {
        return err;
    }
    err = copy_sidecar(copy, segment);
    if (err != BK_OK) {
        return err;
    }
    if (copy->journal != segment->journal) {
        copy->journal = segment->journal;
        copy->first = copy->next = segment->number;
    }
    if (segment->number != copy->next) {
        err = copy->damaged ? BK_OK : drop_older(copy);
        copy->first = segment->number;
    }
    copy->next = segment->number + 1;
    return err;
}

static void copy_problem(const struct check_problem *problem, void *context)
{
    struct copy *copy = context;
    copy->damaged = true;
    if (copy->problem) {
        copy->problem(problem, copy->context);
    }
}

enum bk_err journal_copy(const char *from, const char *to, enum copy_space space,
                         check_problem_fn *problem, void *context, struct check_totals *ret_totals)
{
    struct copy copy = {.to = to,
                        .space = space,
                        .problem = problem,
                        .context = context,
                        .journal = UINT16_MAX,
                        .buffer = malloc(COPY_BYTES)};
    if (!copy.buffer) {
        return BK_NO_MEMORY;
    }
    enum bk_err err = journal_check_segments(from, copy_problem, copy_segment, &copy, ret_totals);
    free(copy.buffer);
    return err == BK_OK ? directory_sync(to) : err;
}
