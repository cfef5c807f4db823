#include "store/store.h"

#include "base/assert.h"
#include "base/log.h"
#include "ring/file.h"
#include "store/keys.h"
#include "store/store_check.h"
#include "store/store_fault.h"

#include <errno.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A commit of one object writes some ten pages; more than this free means it was not the space. */
#define DISK_FULL_BYTES (1U << 20)
/* More than one commit of ours adds. */
#define FILE_GROWTH_BYTES (64U << 20)
/* A server that was just stopped may hold the file a moment longer than becket.lock. */
#define LOCK_PATIENCE_NS 1000000000ULL

struct store_txn {
    struct store *store;
    MDB_txn *txn;
    bool writing;
    int failed; /* first MDB or errno value of a put or delete */
};

struct store {
    MDB_env *env;
    MDB_dbi dbi;
    uint64_t map_bytes;
    uint64_t commits;
    unsigned readers;
    unsigned format;
    char *path;
    int file;    /* data.mdb, whose lock we have; -1: shared */
    bool broken; /* a flush failed (what the device has is not known any more), or it was removed */
    bool updating;
};

/* Once: each look at the same page would say it again. */
static void report_damage(int code)
{
    static bool reported; /* one thread */
    if (!reported) {
        log_event(LOG_ERROR, "the store is damaged", LOG_Z("why", mdb_strerror(code)),
                  LOG_Z("effect", "what lies there cannot be read; put a copy of the data "
                                  "directory in its place"));
    }
    reported = true;
}

/* The one place where LMDB's codes become ours. */
static enum bk_err error_of(int code)
{
    switch (code) {
    case MDB_SUCCESS: return BK_OK;
    case MDB_NOTFOUND: return BK_NOT_FOUND;
    case MDB_MAP_FULL: return BK_NO_SPACE;
    case MDB_READERS_FULL: return BK_BUSY;
    case MDB_VERSION_MISMATCH: return BK_VERSION;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PANIC: report_damage(code); return BK_CORRUPT;
    case MDB_BAD_VALSIZE: return BK_TOO_LARGE;
    case EFBIG: return BK_NO_SPACE;
    default: return code > 0 ? bk_err_from_errno(code) : BK_IO;
    }
}

static MDB_val val_of(struct slice text)
{
    return (MDB_val){text.bytes, (void *)(uintptr_t)text.at};
}

static struct slice slice_val(MDB_val val)
{
    return slice_of(val.mv_data, val.mv_size);
}

/* ---- opening */

static enum bk_err refuse(char *ret_why, enum bk_err err, const char *path, const char *what,
                          const char *detail)
{
    snprintf(ret_why, STORE_WHY_BYTES, "%s: %s: %s", path, what, detail);
    return err;
}

static void look_foreign(const char *name, void *context)
{
    static const char *const ours[] = {"becket.",  "admin.token", "master.key", "state",
                                       "journal", "data.mdb",    "lock.mdb",   "lost+found"};
    bool foreign = true;
    for (size_t i = 0; i < bk_array_length(ours); i++) {
        foreign &= strncmp(name, ours[i], strlen(ours[i])) != 0;
    }
    *(bool *)context |= foreign;
}

/* Others have something there, too: whose mode it has is not ours to say (`--data /`). */
static bool is_shared(const char *path)
{
    bool foreign = false;
    return directory_list(path, look_foreign, &foreign) != BK_OK || foreign;
}

static enum bk_err make_directory(const char *path, char *ret_why)
{
    enum bk_err err = directory_make(path);
    if (err != BK_OK) {
        return refuse(ret_why, err, path, "cannot make the directory",
                      err == BK_EXISTS ? "there is something else of this name; move it away"
                                       : bk_err_text(err));
    }
    unsigned mode = 0;
    err = file_mode(path, &mode);
    if (err != BK_OK) {
        return refuse(ret_why, err, path, "cannot read the directory's mode", bk_err_text(err));
    }
    /* Made by somebody else, for example with a plain mkdir or as a container's volume. What is in
     * it is 0600 anyway, so a directory that is not ours to change is no reason to refuse. */
    if ((mode & 077) != 0 && (is_shared(path) || chmod(path, 0700) != 0)) {
        log_event(LOG_WARN, "others can list the data directory", LOG_Z("path", path),
                  LOG_Z("advice", "give becket a directory of its own, with mode 0700"));
    }
    return BK_OK;
}

static enum bk_err check_kinds(const char *path, char *ret_why)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    char file[PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (snprintf(file, sizeof file, "%s/%s", path, names[i]) >= (int)sizeof file) {
            return refuse(ret_why, BK_TOO_LARGE, path, "cannot open the store",
                          "the path is too long");
        }
        enum bk_err err = file_is_regular(file);
        if (err == BK_NOT_A_FILE || err == BK_DIRECTORY) {
            char detail[STORE_CHECK_WHY_BYTES];
            snprintf(detail, sizeof detail, "this %s; %s", bk_err_text(err),
                     i == 0 ? "put a copy of the data directory in its place"
                            : "remove it, it is made anew");
            return refuse(ret_why, err, path, names[i], detail);
        }
    }
    return BK_OK;
}

static enum bk_err check_file(const char *path, char *ret_why)
{
    char file[PATH_MAX], why[STORE_CHECK_WHY_BYTES], detail[STORE_CHECK_WHY_BYTES + 80];
    snprintf(file, sizeof file, "%s/data.mdb", path); /* check_kinds has seen that it fits */
    enum bk_err err = store_check(file, why);
    if (err == BK_CORRUPT) {
        snprintf(detail, sizeof detail,
                 "it is damaged; put a copy of the data directory in its place (%s)", why);
        return refuse(ret_why, err, path, "cannot open the store", detail);
    }
    return err == BK_OK ? BK_OK : refuse(ret_why, err, path, "cannot read the store", why);
}

/* becket.lock is taken before, but a script that clears locks away may have removed the one that
 * another server holds. Where no lock is to be had, that one has to do. One that just ended may
 * have let go of that, and not yet of this. */
static enum bk_err lock_file(struct store *store, const char *path, char *ret_why)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s/data.mdb", path); /* check_kinds has seen that it fits */
    if (file_open(name, FILE_READ | FILE_WRITE | FILE_CREATE, &store->file) == BK_OK &&
        file_lock_wait(store->file, LOCK_PATIENCE_NS) == BK_BUSY) {
        return refuse(ret_why, BK_BUSY, path, "another becket uses it",
                      "stop that one, then start this (somebody removed its becket.lock)");
    }
    return BK_OK;
}

/* LMDB writes to its lock file through memory, where no room cannot be told: the process would be
 * sent SIGBUS (store_fault.h). So it is overwritten in place, where the file system copies. */
static void make_lock_file(const char *path)
{
    char name[PATH_MAX];
    int file = -1;
    if (snprintf(name, sizeof name, "%s/lock.mdb", path) < (int)sizeof name &&
        file_open(name, FILE_READ | FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &file) == BK_OK) {
        file_close(file);
        (void)(file_in_place(name) == BK_OK); /* most file systems have no need */
    }
}

static const char *words_of(int code)
{
    switch (code) {
    case ENOMEM: return "no memory for its map; is the address space limited (ulimit -v)?";
    case ENODEV: return "this file system cannot show files as memory (mmap); put the data "
                        "directory on a local one";
    case ENOSPC: return "no space left on the device; free some there";
    default: return mdb_strerror(code);
    }
}

static enum bk_err open_env(struct store *store, const char *path, char *ret_why)
{
    int code = mdb_env_create(&store->env);
    if (code == 0) {
        code = mdb_env_set_mapsize(store->env, store->map_bytes);
    }
    if (code == 0) {
        /* Durable commits are LMDB's default; nothing here may weaken them. Read-ahead stays on:
         * the start reads everything once. */
        code = mdb_env_open(store->env, path, MDB_NOTLS, 0600);
    }
    if (code == 0) {
        MDB_envinfo info;
        code = mdb_env_info(store->env, &info);
        store->map_bytes = info.me_mapsize;
    }
    if (code != 0) {
        bool damaged = code == MDB_INVALID || code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND;
        return refuse(ret_why, damaged ? BK_CORRUPT : error_of(code), path, "cannot open the store",
                      damaged ? "it is damaged; put a copy of the data directory in its place"
                              : words_of(code));
    }
    return BK_OK;
}

static enum bk_err check_format(struct store *store, bool *ret_is_new, char *ret_why,
                                const char *path)
{
    struct store_txn *txn;
    enum bk_err err = store_read(store, &txn);
    if (err != BK_OK) {
        return refuse(ret_why, err, path, "cannot read the store", bk_err_text(err));
    }
    struct slice value = {0};
    err = store_get(txn, KEY_FORMAT, &value);
    uint32_t format = 0;
    if (err == BK_OK && value.bytes == 4) {
        format = (uint32_t)value.at[0] << 24 | (uint32_t)value.at[1] << 16 |
                 (uint32_t)value.at[2] << 8 | value.at[3];
    } else if (err == BK_OK) {
        err = BK_CORRUPT;
    }
    MDB_stat stat;
    bool empty = mdb_stat(txn->txn, store->dbi, &stat) == 0 && stat.ms_entries == 0;
    store_read_end(txn);
    *ret_is_new = err == BK_NOT_FOUND && empty;
    store->format = *ret_is_new ? STORE_FORMAT : format;
    if (*ret_is_new) {
        return BK_OK;
    }
    if (err != BK_OK) {
        return refuse(ret_why, BK_CORRUPT, path, "this is not a becket store",
                      "it has no format version");
    }
    if (format > STORE_FORMAT) {
        snprintf(ret_why, STORE_WHY_BYTES,
                 "%s: written by a newer becket: store format %u, this one reads up to %u; start "
                 "the newer version",
                 path, format, STORE_FORMAT);
        return BK_VERSION;
    }
    return BK_OK;
}

static enum bk_err write_format(struct store_txn *txn, void *context)
{
    (void)context;
    static const uint8_t format[4] = {0, 0, 0, STORE_FORMAT};
    return store_put(txn, KEY_FORMAT, slice_of(format, sizeof format));
}

unsigned store_format(const struct store *store)
{
    return store->format;
}

enum bk_err store_format_raise(struct store *store)
{
    enum bk_err err = store_update(store, write_format, NULL);
    store->format = err == BK_OK ? STORE_FORMAT : store->format;
    return err;
}

static enum bk_err open_dbi(struct store *store)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (code == 0) {
        code = mdb_dbi_open(txn, NULL, 0, &store->dbi);
        mdb_txn_abort(txn);
    }
    return error_of(code);
}

static enum bk_err open_at(struct store *store, const char *path, const char *data_directory,
                           bool shared, char *ret_why)
{
    enum bk_err err = make_directory(data_directory, ret_why);
    if (err == BK_OK) {
        err = make_directory(path, ret_why);
    }
    if (err == BK_OK) {
        err = check_kinds(path, ret_why);
    }
    if (err == BK_OK && !shared) {
        err = lock_file(store, path, ret_why);
    }
    if (err == BK_OK && !shared) {
        err = check_file(path, ret_why);
        make_lock_file(path);
    }
    if (err == BK_OK) {
        store_fault_watch(path);
        err = open_env(store, path, ret_why);
    }
    if (err != BK_OK) {
        return err;
    }
    bool is_new = false;
    err = open_dbi(store);
    if (err != BK_OK) {
        return refuse(ret_why, err, path, "cannot read the store", bk_err_text(err));
    }
    err = check_format(store, &is_new, ret_why, path);
    if (err == BK_OK && is_new) {
        err = store_update(store, write_format, NULL);
        if (err == BK_OK) {
            err = directory_sync(path); /* the new file's name */
        }
        if (err == BK_OK) {
            err = directory_sync(data_directory);
        }
        if (err != BK_OK) {
            return refuse(ret_why, err, path, "cannot write the store", bk_err_text(err));
        }
    }
    return err;
}

enum bk_err store_open(const char *data_directory, const struct store_options *options,
                       struct store **ret_store, char ret_why[STORE_WHY_BYTES])
{
    ret_why[0] = '\0';
    struct store *store = calloc(1, sizeof *store);
    size_t path_bytes = strlen(data_directory) + sizeof "/state";
    char *path = malloc(path_bytes);
    enum bk_err err = BK_NO_MEMORY;
    if (store) {
        store->file = -1;
    }
    if (store && path) {
        snprintf(path, path_bytes, "%s/state", data_directory);
        store->map_bytes = options && options->map_bytes_start ? options->map_bytes_start
                                                               : STORE_MAP_BYTES_START;
        err = open_at(store, path, data_directory, options && options->shared, ret_why);
    }
    if (store) {
        store->path = path;
    } else {
        free(path);
    }
    if (err != BK_OK) {
        store_close(store);
        return err;
    }
    *ret_store = store;
    return BK_OK;
}

void store_close(struct store *store)
{
    if (!store) {
        return;
    }
    bk_assert(store->readers == 0 && !store->updating);
    if (store->env) {
        mdb_env_close(store->env);
    }
    if (store->file >= 0) {
        file_close(store->file);
    }
    free(store->path);
    free(store);
}

/* ---- reading */

enum bk_err store_read(struct store *store, struct store_txn **ret_txn)
{
    struct store_txn *txn = calloc(1, sizeof *txn);
    if (!txn) {
        return BK_NO_MEMORY;
    }
    txn->store = store;
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn->txn);
    if (code != 0) {
        free(txn);
        return error_of(code);
    }
    store->readers++;
    *ret_txn = txn;
    return BK_OK;
}

void store_read_end(struct store_txn *txn)
{
    bk_assert(!txn->writing && txn->store->readers > 0);
    txn->store->readers--;
    mdb_txn_abort(txn->txn);
    free(txn);
}

enum bk_err store_get(struct store_txn *txn, struct slice key, struct slice *ret_value)
{
    bk_assert(key.bytes > 0 && key.bytes <= STORE_KEY_BYTES_MAX);
    MDB_val name = val_of(key), value;
    int code = mdb_get(txn->txn, txn->store->dbi, &name, &value);
    if (code == 0) {
        *ret_value = slice_val(value);
    }
    return error_of(code);
}

/* What a long walk sees of the file would stay mapped, and count as the process's memory. */
#define WALK_KEYS_MAPPED 65536U

struct seen {
    uintptr_t first, last;
    unsigned keys;
};

/* A reader's keys all lie in the map, from which pages may go at any time: who comes there next
 * finds them again. */
static void look(struct seen *seen, const MDB_val *key)
{
    uintptr_t at = (uintptr_t)key->mv_data, page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (seen->keys == 0) {
        seen->first = seen->last = at;
    }
    seen->first = at < seen->first ? at : seen->first;
    seen->last = at > seen->last ? at : seen->last;
    if (++seen->keys == WALK_KEYS_MAPPED) {
        uintptr_t begin = seen->first / page * page;
        (void)madvise((void *)begin, seen->last - begin + 1, MADV_DONTNEED);
        seen->keys = 0;
    }
}

enum bk_err store_walk(struct store_txn *txn, struct slice prefix, struct slice from,
                       store_walk_fn *walk, void *context)
{
    struct seen seen = {0};
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn->txn, txn->store->dbi, &cursor);
    if (code != 0) {
        return error_of(code);
    }
    MDB_val key = val_of(from.bytes ? from : prefix), value;
    code = mdb_cursor_get(cursor, &key, &value, key.mv_size ? MDB_SET_RANGE : MDB_FIRST);
    while (code == 0 && slice_starts(slice_val(key), prefix) &&
           walk(context, slice_val(key), slice_val(value))) {
        if (!txn->writing) {
            look(&seen, &key);
        }
        code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? BK_OK : error_of(code);
}

static bool found_one(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    *(bool *)context = true;
    return false;
}

enum bk_err store_any(struct store_txn *txn, struct slice prefix, bool *ret_any)
{
    *ret_any = false;
    return store_walk(txn, prefix, SLICE_EMPTY, found_one, ret_any);
}

/* ---- writing */

static enum bk_err write_failed(struct store_txn *txn, int code)
{
    if (txn->failed == 0) {
        txn->failed = code;
    }
    return error_of(code);
}

enum bk_err store_put(struct store_txn *txn, struct slice key, struct slice value)
{
    bk_assert(txn->writing);
    bk_assert(key.bytes > 0 && key.bytes <= STORE_KEY_BYTES_MAX);
    if (txn->failed) {
        return error_of(txn->failed);
    }
    MDB_val name = val_of(key), data = val_of(value);
    int code = mdb_put(txn->txn, txn->store->dbi, &name, &data, 0);
    return code == 0 ? BK_OK : write_failed(txn, code);
}

enum bk_err store_delete(struct store_txn *txn, struct slice key)
{
    bk_assert(txn->writing);
    if (txn->failed) {
        return error_of(txn->failed);
    }
    MDB_val name = val_of(key);
    int code = mdb_del(txn->txn, txn->store->dbi, &name, NULL);
    return code == 0 || code == MDB_NOTFOUND ? BK_OK : write_failed(txn, code);
}

enum bk_err store_number(struct store_txn *txn, struct slice key, uint64_t *ret_number)
{
    struct slice value;
    enum bk_err err = store_get(txn, key, &value);
    *ret_number = 0;
    if (err == BK_NOT_FOUND) {
        return BK_OK;
    }
    if (err == BK_OK && value.bytes != 8) {
        err = BK_CORRUPT;
    }
    if (err == BK_OK) {
        *ret_number = key_get_u64(value.at);
    }
    return err;
}

enum bk_err store_next_number(struct store_txn *txn, struct slice key, uint64_t *ret_number)
{
    uint64_t number;
    enum bk_err err = store_number(txn, key, &number);
    if (err != BK_OK) {
        return err;
    }
    uint8_t text[8];
    bk_assert(number < UINT64_MAX);
    key_put_u64(text, ++number);
    *ret_number = number;
    return store_put(txn, key, slice_of(text, sizeof text));
}

/* Twice the map. Requires that no transaction is open in this process. */
static enum bk_err grow(struct store *store)
{
    bk_assert(store->readers == 0);
    if (store->map_bytes >= STORE_MAP_BYTES_MAX) {
        return BK_NO_SPACE;
    }
    int code = mdb_env_set_mapsize(store->env, store->map_bytes * 2);
    if (code != 0) {
        return error_of(code);
    }
    store->map_bytes *= 2;
    log_event(LOG_DEBUG, "store map grown", LOG_I("bytes", store->map_bytes));
    return BK_OK;
}

/* LMDB reports a write that was cut short as EIO: by a full disk, or by what a file may have. */
static bool disk_is_full(struct store *store)
{
    uint64_t free_bytes = 0, total_bytes = 0;
    struct store_stats stats;
    struct rlimit limit;
    store_stats(store, &stats);
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < stats.used_bytes + FILE_GROWTH_BYTES) {
        return true;
    }
    return file_system_space(store->path, &free_bytes, &total_bytes) == BK_OK &&
           free_bytes < DISK_FULL_BYTES;
}

/* One try. *ret_full: undone because the map is full. */
static enum bk_err try_update(struct store *store, store_update_fn *update, void *context,
                              bool *ret_full)
{
    struct store_txn txn = {.store = store, .writing = true};
    *ret_full = false;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn.txn);
    if (code != 0) {
        return error_of(code);
    }
    store->updating = true;
    enum bk_err err = update(&txn, context);
    store->updating = false;
    if (txn.failed != 0 || err != BK_OK) {
        mdb_txn_abort(txn.txn);
        *ret_full = txn.failed == MDB_MAP_FULL;
        return err != BK_OK ? err : error_of(txn.failed);
    }
    code = mdb_txn_commit(txn.txn);
    *ret_full = code == MDB_MAP_FULL;
    if (code == 0) {
        store->commits++;
        return BK_OK;
    }
    err = error_of(code);
    if (err == BK_IO && disk_is_full(store)) {
        err = BK_NO_SPACE;
    }
    if (err != BK_NO_SPACE && err != BK_NO_MEMORY) {
        /* A flush that failed may have dropped pages: to try again could report success for data
         * that is not there. */
        store->broken = true;
    }
    return err;
}

/* A commit into a file without a name would be gone with the process. */
static bool was_removed(struct store *store)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s/data.mdb", store->path); /* check_kinds has seen that it fits */
    if (file_is_gone(store->file, name)) {
        store->broken = true;
        log_event(LOG_ERROR, "store_removed", LOG_Z("file", name),
                  LOG_Z("effect", "somebody removed it while it was in use: no change is taken any "
                                  "more; put a copy of the data directory in its place and start "
                                  "again"));
    }
    return store->broken;
}

enum bk_err store_update(struct store *store, store_update_fn *update, void *context)
{
    bk_assert(!store->updating);
    if (store->broken || was_removed(store)) {
        return BK_IO;
    }
    for (;;) {
        bool full = false;
        enum bk_err err = try_update(store, update, context, &full);
        if (!full) {
            return err;
        }
        err = grow(store);
        if (err != BK_OK) {
            return err;
        }
    }
}

/* ---- the rest */

void store_stats(struct store *store, struct store_stats *ret_stats)
{
    MDB_envinfo info = {0};
    MDB_stat stat = {0};
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat);
    *ret_stats = (struct store_stats){.map_bytes = info.me_mapsize,
                                      .used_bytes = (info.me_last_pgno + 1) * stat.ms_psize,
                                      .entries = stat.ms_entries,
                                      .commits = store->commits};
}

enum bk_err store_copy(struct store *store, const char *directory)
{
    int code = mdb_env_copy2(store->env, directory, MDB_CP_COMPACT);
    return code == 0 ? directory_sync(directory) : error_of(code);
}

const char *store_library_version(void)
{
    static char text[32];
    int major, minor, patch;
    mdb_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}
