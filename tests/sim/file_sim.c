/* file_sim.c - ring/file.h and the disk below ring_write() in the simulator: a disk that forgets
 * what was not synced.
 *
 * Each file has two images: `live` is what reading shows, `durable` what is surely on the disk. A
 * write goes to the live image and to a list; a sync, or the completion of a durable write, moves
 * it to the durable image. At a crash each listed write is kept, dropped or torn into sectors of
 * 512 bytes. Names work alike: an ordered log of creations, renames and removals that a directory
 * sync makes durable. */
#include "sim_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE_BYTES     4096U
#define FILES_MAX      4096U
#define OPEN_MAX       1024U
#define NAMES_MAX      4096U
#define PATH_BYTES_MAX 256U

struct page {
    union {
        unsigned references;
        struct page *next_free;
    };
    _Alignas(64) uint8_t at[PAGE_BYTES];
};

/* Only what was ever written takes memory. Images share with each other, and with the writes that
 * made them so, what is the same: a page that is written as a whole is copied once. */
struct image {
    struct page **pages; /* NULL: zeros */
    size_t size;         /* room for so many */
    size_t count;
    uint64_t bytes; /* length of the file; behind it all is zero */
};

struct disk_write {
    struct disk_write *next;
    struct inode *inode;
    uint64_t offset;
    size_t bytes;
    struct page **pages; /* of the file from the one that `offset` lies in; NULL: zeros */
    uint8_t *sectors;    /* per sector: enum sector_state */
    bool complete;       /* else in flight */
    bool durable;
    bool writable;
    bool too_late; /* began after the power cut */
    uint64_t due_ns;
};

/* For each sector of a write that is not durable as a whole. */
enum sector_state {
    SECTOR_HIDDEN, /* not in the live image yet (in flight) */
    SECTOR_SHOWN,  /* in the live image; may or may not survive a crash */
    SECTOR_SETTLED /* nothing left to decide: durable, or overwritten by something durable */
};

struct inode {
    unsigned number;
    bool directory;
    bool locked;
    unsigned open_count;
    struct image live;
    struct image durable;
    struct disk_write *writes; /* oldest first */
    struct inode *next;
};

struct name {
    char path[PATH_BYTES_MAX];
    struct inode *live;
    struct inode *durable;
};

/* One change of names, not durable yet. A rename has both parts. */
struct change {
    struct name *from; /* loses what it had */
    struct name *to;   /* gets inode */
    struct inode *inode;
    char directory[PATH_BYTES_MAX];
};

struct open_file {
    struct inode *inode;
    unsigned flags;
    unsigned references;
    bool holds_lock;
};

static struct {
    struct inode *inodes;
    unsigned inode_numbers;
    struct name *names[NAMES_MAX];
    unsigned name_count;
    struct change *changes;
    size_t change_count;
    size_t change_size;
    struct open_file open[OPEN_MAX];
    uint64_t ops;
    uint64_t fail_at;
    enum bk_err fail_err;
    uint64_t cut_at;
    uint64_t frozen_until_ns;
    bool dead;
} disk;

/* ---- images */

static const uint8_t zeros[PAGE_BYTES];
static struct page *pages_free; /* over all runs */

static struct page *page_take(void)
{
    struct page *page = pages_free;
    if (page) {
        pages_free = page->next_free;
    } else {
        page = aligned_alloc(64, sizeof *page);
        bk_assert(page);
    }
    page->references = 1;
    return page;
}

static void page_give(struct page *page)
{
    if (page && --page->references == 0) {
        page->next_free = pages_free;
        pages_free = page;
    }
}

/* The page, to be changed: one that another image has, too, is copied before. */
static uint8_t *page_own(struct page **page)
{
    if (!*page || (*page)->references > 1) {
        struct page *own = page_take();
        memcpy(own->at, *page ? (*page)->at : zeros, sizeof own->at);
        page_give(*page);
        *page = own;
    }
    return (*page)->at;
}

static void image_resize(struct image *image, uint64_t bytes)
{
    size_t count = (size_t)((bytes + PAGE_BYTES - 1) / PAGE_BYTES);
    for (size_t i = count; i < image->count; i++) {
        page_give(image->pages[i]);
    }
    if (count > image->size) {
        image->size = 2 * count;
        image->pages = realloc(image->pages, image->size * sizeof(struct page *));
        bk_assert(image->pages);
    }
    for (size_t i = image->count; i < count; i++) {
        image->pages[i] = NULL;
    }
    size_t rest = (size_t)(bytes % PAGE_BYTES);
    if (bytes < image->bytes && rest != 0 && image->pages[count - 1]) {
        memset(page_own(&image->pages[count - 1]) + rest, 0, PAGE_BYTES - rest);
    }
    image->count = count;
    image->bytes = bytes;
}

static void image_copy(struct image *target, const struct image *source)
{
    image_resize(target, 0);
    image_resize(target, source->bytes);
    for (size_t i = 0; i < source->count; i++) {
        target->pages[i] = source->pages[i];
        if (target->pages[i]) {
            target->pages[i]->references++;
        }
    }
}

static void image_free(struct image *image)
{
    image_resize(image, 0);
    free(image->pages);
}

static void image_get(const struct image *image, uint64_t offset, uint8_t *at, size_t bytes)
{
    bk_assert(offset + bytes <= image->bytes);
    for (size_t piece; bytes > 0; offset += piece, at += piece, bytes -= piece) {
        const struct page *page = image->pages[offset / PAGE_BYTES];
        size_t from = (size_t)(offset % PAGE_BYTES);
        piece = bytes < PAGE_BYTES - from ? bytes : PAGE_BYTES - from;
        if (page) {
            memcpy(at, page->at + from, piece);
        } else {
            memset(at, 0, piece);
        }
    }
}

/* ---- writes */

static size_t sector_count(const struct disk_write *write)
{
    return (write->bytes + SECTOR - 1) / SECTOR;
}

static size_t sector_bytes(const struct disk_write *write, size_t sector)
{
    size_t left = write->bytes - sector * SECTOR;
    return left < SECTOR ? left : SECTOR;
}

/* A range of a write, counted from its beginning: what lies in one page of the file. */
static size_t piece_of(uint64_t offset, size_t bytes, size_t *ret_from)
{
    *ret_from = (size_t)(offset % PAGE_BYTES);
    return bytes < PAGE_BYTES - *ret_from ? bytes : PAGE_BYTES - *ret_from;
}

static struct page *page_of(const struct disk_write *write, uint64_t offset)
{
    return write->pages[offset / PAGE_BYTES - write->offset / PAGE_BYTES];
}

static void page_put(struct page **page, struct page *source, size_t from, size_t bytes)
{
    if (*page == source) {
        return;
    }
    if (bytes == PAGE_BYTES) {
        if (source) {
            source->references++;
        }
        page_give(*page);
        *page = source;
    } else {
        memcpy(page_own(page) + from, source ? source->at + from : zeros, bytes);
    }
}

static void range_put(const struct disk_write *write, size_t at, size_t bytes, struct image *image)
{
    uint64_t offset = write->offset + at;
    if (offset + bytes > image->bytes) {
        image_resize(image, offset + bytes);
    }
    for (size_t piece, from; bytes > 0; offset += piece, bytes -= piece) {
        piece = piece_of(offset, bytes, &from);
        page_put(&image->pages[offset / PAGE_BYTES], page_of(write, offset), from, piece);
    }
}

static void sector_put(struct disk_write *write, size_t sector, struct image *image)
{
    range_put(write, sector * SECTOR, sector_bytes(write, sector), image);
}

/* All sectors that are in this state, those that follow each other in one piece. */
static void sectors_put(struct disk_write *write, enum sector_state state, struct image *image)
{
    size_t count = sector_count(write);
    for (size_t i = 0, end; i < count; i = end) {
        end = i + 1;
        if (write->sectors[i] != state) {
            continue;
        }
        while (end < count && write->sectors[end] == state) {
            end++;
        }
        range_put(write, i * SECTOR, (end - i - 1) * SECTOR + sector_bytes(write, end - 1), image);
    }
}

/* What is written; nothing has to be kept of zeros. */
static void write_fill(struct disk_write *write, const uint8_t *at)
{
    uint64_t offset = write->offset;
    for (size_t bytes = write->bytes, piece, from, i = 0; bytes > 0; i++) {
        piece = piece_of(offset, bytes, &from);
        if (memcmp(at, zeros, piece) != 0) {
            write->pages[i] = page_take();
            memcpy(write->pages[i]->at + from, at, piece);
        }
        offset += piece, at += piece, bytes -= piece;
    }
}

static bool write_is(const struct disk_write *write, const uint8_t *at)
{
    uint64_t offset = write->offset;
    for (size_t bytes = write->bytes, piece, from; bytes > 0; bytes -= piece) {
        piece = piece_of(offset, bytes, &from);
        const struct page *page = page_of(write, offset);
        if (memcmp(page ? page->at + from : zeros, at, piece) != 0) {
            return false;
        }
        offset += piece, at += piece;
    }
    return true;
}

static size_t page_count(const struct disk_write *write)
{
    return (size_t)((write->offset % PAGE_BYTES + write->bytes + PAGE_BYTES - 1) / PAGE_BYTES);
}

/* at: NULL = zeros. */
static struct disk_write *write_add(struct inode *inode, const void *at, size_t bytes,
                                    uint64_t offset)
{
    struct disk_write *write = calloc(1, sizeof *write);
    bk_assert(write);
    write->inode = inode;
    write->offset = offset;
    write->bytes = bytes;
    write->too_late = disk.dead;
    write->pages = calloc(page_count(write) + 1, sizeof(struct page *));
    write->sectors = calloc(sector_count(write) + 1, 1);
    bk_assert(write->pages && write->sectors);
    if (at) {
        write_fill(write, at);
    }
    struct disk_write **link = &inode->writes;
    while (*link) {
        link = &(*link)->next;
    }
    *link = write;
    return write;
}

static void write_remove(struct disk_write *write)
{
    struct disk_write **link = &write->inode->writes;
    while (*link != write) {
        link = &(*link)->next;
    }
    *link = write->next;
    for (size_t i = 0; i < page_count(write); i++) {
        page_give(write->pages[i]);
    }
    free(write->pages);
    free(write->sectors);
    free(write);
}

static void write_show(struct disk_write *write, size_t sector)
{
    if (write->sectors[sector] == SECTOR_HIDDEN) {
        sector_put(write, sector, &write->inode->live);
        write->sectors[sector] = SECTOR_SHOWN;
    }
}

static void write_show_all(struct disk_write *write)
{
    sectors_put(write, SECTOR_HIDDEN, &write->inode->live);
    for (size_t i = 0; i < sector_count(write); i++) {
        if (write->sectors[i] == SECTOR_HIDDEN) {
            write->sectors[i] = SECTOR_SHOWN;
        }
    }
}

/* Older writes to these bytes cannot come back once newer ones are durable. Sectors that are only
 * partly covered (files written without alignment) are settled too: the live image decides. */
static void older_settle(struct inode *inode, const struct disk_write *newer, uint64_t from,
                         uint64_t to)
{
    for (struct disk_write *write = inode->writes; write && write != newer; write = write->next) {
        for (size_t i = 0; write->complete && i < sector_count(write); i++) {
            uint64_t at = write->offset + i * SECTOR;
            if (at >= from && at + sector_bytes(write, i) <= to) {
                write->sectors[i] = SECTOR_SETTLED;
            }
        }
    }
}

/* The whole write is on the disk now. */
static void write_settle(struct disk_write *write)
{
    struct inode *inode = write->inode;
    write_show_all(write);
    sectors_put(write, SECTOR_SHOWN, &inode->durable);
    older_settle(inode, write, write->offset, write->offset + write->bytes);
    write_remove(write);
}

/* ---- files and names */

static struct inode *inode_make(bool directory)
{
    struct inode *inode = calloc(1, sizeof *inode);
    bk_assert(inode);
    inode->number = disk.inode_numbers++;
    inode->directory = directory;
    inode->next = disk.inodes;
    disk.inodes = inode;
    return inode;
}

static void inode_free(struct inode *inode)
{
    while (inode->writes) {
        write_remove(inode->writes);
    }
    image_free(&inode->live);
    image_free(&inode->durable);
    free(inode);
}

static bool inode_named(const struct inode *inode)
{
    for (unsigned i = 0; i < disk.name_count; i++) {
        if (disk.names[i]->live == inode || disk.names[i]->durable == inode) {
            return true;
        }
    }
    for (size_t i = 0; i < disk.change_count; i++) {
        if (disk.changes[i].inode == inode) {
            return true;
        }
    }
    return false;
}

/* Files that nobody can reach any more. */
static void inodes_sweep(void)
{
    struct inode **link = &disk.inodes;
    while (*link) {
        struct inode *inode = *link;
        if (inode->open_count == 0 && !inode_named(inode)) {
            *link = inode->next;
            inode_free(inode);
        } else {
            link = &inode->next;
        }
    }
}

static bool name_used(const struct name *name)
{
    for (size_t i = 0; i < disk.change_count; i++) {
        if (disk.changes[i].from == name || disk.changes[i].to == name) {
            return true;
        }
    }
    return name->live || name->durable;
}

static void names_sweep(void)
{
    unsigned kept = 0;
    for (unsigned i = 0; disk.name_count > NAMES_MAX / 2 && i < disk.name_count; i++) {
        if (name_used(disk.names[i])) {
            disk.names[kept++] = disk.names[i];
        } else {
            free(disk.names[i]);
        }
    }
    disk.name_count = kept ? kept : disk.name_count;
}

static void path_clean(const char *path, char *ret_path)
{
    size_t bytes = 0;
    while (path[0] == '.' && path[1] == '/') {
        path += 2;
    }
    for (; *path; path++) {
        if (path[0] == '/' && (path[1] == '/' || path[1] == '\0') && bytes > 0) {
            continue;
        }
        if (path[0] == '/' && path[1] == '.' && (path[2] == '/' || path[2] == '\0')) {
            path++;
            continue;
        }
        bk_assert(bytes < PATH_BYTES_MAX - 1);
        ret_path[bytes++] = *path;
    }
    if (bytes == 1 && ret_path[0] == '.') {
        bytes = 0;
    }
    ret_path[bytes] = '\0';
}

static void path_directory(const char *path, char *ret_directory)
{
    const char *slash = strrchr(path, '/');
    size_t bytes = slash ? (size_t)(slash - path) : 0;
    memcpy(ret_directory, path, bytes);
    ret_directory[bytes] = '\0';
}

static struct name *name_find(const char *path, bool make)
{
    char clean[PATH_BYTES_MAX];
    path_clean(path, clean);
    for (unsigned i = 0; i < disk.name_count; i++) {
        if (strcmp(disk.names[i]->path, clean) == 0) {
            return disk.names[i];
        }
    }
    if (!make) {
        return NULL;
    }
    bk_assert(disk.name_count < NAMES_MAX);
    struct name *name = calloc(1, sizeof *name);
    bk_assert(name);
    memcpy(name->path, clean, sizeof clean);
    disk.names[disk.name_count++] = name;
    return name;
}

static bool directory_there(const char *path)
{
    char clean[PATH_BYTES_MAX];
    path_clean(path, clean);
    if (clean[0] == '\0') {
        return true; /* where the process stands */
    }
    const struct name *name = name_find(clean, false);
    return name && name->live && name->live->directory;
}

static bool parent_there(const char *path)
{
    char clean[PATH_BYTES_MAX], directory[PATH_BYTES_MAX];
    path_clean(path, clean);
    path_directory(clean, directory);
    return directory_there(directory);
}

static void change_add(struct name *from, struct name *to, struct inode *inode)
{
    if (disk.change_count == disk.change_size) {
        disk.change_size = disk.change_size ? disk.change_size * 2 : 64;
        disk.changes = realloc(disk.changes, disk.change_size * sizeof *disk.changes);
        bk_assert(disk.changes);
    }
    struct change *change = &disk.changes[disk.change_count++];
    *change = (struct change){.from = from, .to = to, .inode = inode};
    sim_log("names: %s -> %s", from ? from->path : "(new)", to ? to->path : "(gone)");
    path_directory((to ? to : from)->path, change->directory);
    if (from) {
        from->live = NULL;
    }
    if (to) {
        to->live = inode;
    }
}

static void change_settle(const struct change *change)
{
    if (change->from) {
        change->from->durable = NULL;
    }
    if (change->to) {
        change->to->durable = change->inode;
    }
}

/* ---- faults */

uint64_t sim_disk_ops(void)
{
    return disk.ops;
}

void sim_disk_fail_at(uint64_t n, enum bk_err err)
{
    disk.fail_at = n ? disk.ops + n : 0;
    disk.fail_err = err;
}

void sim_disk_cut_at(uint64_t n)
{
    disk.cut_at = n ? disk.ops + n : 0;
}

void sim_disk_cut(void)
{
    if (!disk.dead) {
        sim_log("power cut at disk operation %llu", (unsigned long long)disk.ops);
        sim_trace(disk.ops);
    }
    disk.dead = true;
}

bool sim_disk_dead(void)
{
    return disk.dead;
}

static uint64_t disk_delay(void)
{
    const struct sim_config *config = sim_config();
    uint64_t us = config->disk_us_max > config->disk_us_min
                      ? sim_between(config->disk_us_min, config->disk_us_max)
                      : config->disk_us_min;
    if (sim_chance(config->disk_slow)) {
        us *= sim_between(1, 100);
    }
    uint64_t frozen_ns =
        disk.frozen_until_ns > sim_now_ns() ? disk.frozen_until_ns - sim_now_ns() : 0;
    return frozen_ns + us * US;
}

void sim_disk_freeze(uint64_t ns)
{
    disk.frozen_until_ns = sim_now_ns() + ns;
}

/* Every operation that changes the disk comes through here. BK_OK: it happens as asked. */
static enum bk_err op_fate(uint32_t fail_ratio)
{
    disk.ops++;
    if (!disk.dead && disk.cut_at == disk.ops) {
        sim_disk_cut();
    }
    if (disk.dead) {
        return BK_IO;
    }
    if (disk.fail_at == disk.ops) {
        sim_log("disk operation %llu fails: %s", (unsigned long long)disk.ops,
                bk_err_name(disk.fail_err));
        return disk.fail_err;
    }
    return sim_chance(fail_ratio) ? BK_IO : BK_OK;
}

/* A blocking operation: other threads run meanwhile. */
static enum bk_err blocking_op(void)
{
    sim_sleep(disk_delay());
    return op_fate(sim_config()->file_fail);
}

/* Which sectors of an unfinished write reach the disk: all, none, the first ones, or any. */
struct tear {
    uint64_t kind;
    size_t prefix;
};

static struct tear tear_choose(const struct disk_write *write)
{
    return (struct tear){sim_below(4), (size_t)sim_below(sector_count(write) + 1)};
}

static bool tear_keeps(const struct tear *tear, size_t sector)
{
    return tear->kind == 0 || (tear->kind == 1 && sector < tear->prefix) ||
           (tear->kind == 2 && sim_below(2));
}

/* A failed write may be on the disk in any part; one that began after the power cut is not. */
static void write_scatter(struct disk_write *write)
{
    struct tear tear = tear_choose(write);
    for (size_t i = 0; i < sector_count(write); i++) {
        if (write->sectors[i] == SECTOR_HIDDEN && !write->too_late && tear_keeps(&tear, i)) {
            write_show(write, i);
        } else if (write->sectors[i] == SECTOR_HIDDEN) {
            write->sectors[i] = SECTOR_SETTLED;
        }
    }
    write->complete = true;
}

void sim_disk_dump(const char *directory)
{
    for (unsigned i = 0; i < disk.name_count; i++) {
        const struct inode *inode = disk.names[i]->live;
        char path[2 * PATH_BYTES_MAX];
        snprintf(path, sizeof path, "%.255s/%s", directory, disk.names[i]->path);
        for (char *at = path + strlen(directory) + 1; *at; at++) {
            *at = *at == '/' ? '_' : *at;
        }
        FILE *out = inode && !inode->directory ? fopen(path, "wb") : NULL;
        if (out) {
            for (uint64_t at = 0; at < inode->live.bytes; at++) {
                uint8_t byte;
                image_get(&inode->live, at, &byte, 1);
                fputc(byte, out);
            }
            fclose(out);
        }
    }
}

uint64_t sim_disk_used(void)
{
    uint64_t bytes = 0;
    for (const struct inode *inode = disk.inodes; inode; inode = inode->next) {
        bytes += (inode->live.bytes + 4095) / 4096 * 4096;
    }
    return bytes;
}

/* Room for a file to become `bytes` long. */
static bool space_for(const struct inode *inode, uint64_t bytes)
{
    uint64_t limit = sim_config()->disk_bytes;
    if (!limit || bytes <= inode->live.bytes) {
        return true;
    }
    inodes_sweep();
    return sim_disk_used() + (bytes - inode->live.bytes) <= limit;
}

/* ---- open files */

static struct open_file *file_get(int file)
{
    sim_check(file >= 0 && (unsigned)file < OPEN_MAX && disk.open[file].references > 0,
              "file %d is not open", file);
    return &disk.open[file];
}

int disk_file_share(int file)
{
    file_get(file)->references++;
    return file;
}

void disk_file_release(int file)
{
    struct open_file *open = file_get(file);
    if (--open->references == 0) {
        if (open->holds_lock) {
            open->inode->locked = false;
        }
        open->inode->open_count--;
        memset(open, 0, sizeof *open);
        inodes_sweep();
    }
}

bool disk_writable(int file)
{
    return (file_get(file)->flags & FILE_WRITE) != 0;
}

enum bk_err file_open(const char *path, unsigned flags, int *ret_file)
{
    bk_assert((flags & (FILE_READ | FILE_WRITE)) != 0);
    struct name *name = name_find(path, (flags & FILE_CREATE) != 0);
    if (!parent_there(path) || ((!name || !name->live) && !(flags & FILE_CREATE))) {
        return BK_NOT_FOUND;
    }
    if (name->live && (flags & FILE_CREATE) && (flags & FILE_EXCLUSIVE)) {
        return BK_EXISTS;
    }
    if (name->live && name->live->directory) {
        return BK_DIRECTORY;
    }
    if (!name->live) {
        enum bk_err err = blocking_op();
        if (err != BK_OK) {
            return err;
        }
        if (!name->live) { /* nobody else made it meanwhile */
            change_add(NULL, name, inode_make(false));
        }
    }
    if ((flags & FILE_TRUNCATE) && name->live->live.bytes) {
        image_resize(&name->live->live, 0);
    }
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        if (disk.open[i].references == 0) {
            disk.open[i] = (struct open_file){.inode = name->live, .flags = flags, .references = 1};
            name->live->open_count++;
            *ret_file = (int)i;
            return BK_OK;
        }
    }
    return BK_NO_DESCRIPTORS;
}

enum bk_err file_is_regular(const char *path)
{
    const struct name *name = name_find(path, false);
    if (!name || !name->live) {
        return BK_NOT_FOUND;
    }
    return name->live->directory ? BK_DIRECTORY : BK_OK;
}

void file_close(int file)
{
    disk_file_release(file);
}

enum bk_err file_bytes(int file, uint64_t *ret_bytes)
{
    *ret_bytes = file_get(file)->inode->live.bytes;
    return BK_OK;
}

/* Nobody else removes files here. */
bool file_is_gone(int file, const char *path)
{
    (void)file;
    (void)path;
    return false;
}

static void direct_check(const struct open_file *open, const void *at, size_t bytes,
                         uint64_t offset)
{
    sim_check(!(open->flags & FILE_DIRECT) ||
                  ((uintptr_t)at % 4096 == 0 && bytes % 4096 == 0 && offset % 4096 == 0),
              "direct access of %zu bytes at %llu is not aligned", bytes,
              (unsigned long long)offset);
}

enum bk_err file_read(int file, void *at, size_t bytes, uint64_t offset, size_t *ret_bytes)
{
    struct open_file *open = file_get(file);
    struct inode *inode = open->inode;
    direct_check(open, at, bytes, offset);
    sim_check(open->flags & FILE_READ, "file %d is not open for reading", file);
    sim_sleep(disk_delay());
    if (disk.dead || sim_chance(sim_config()->read_fail)) {
        return BK_IO;
    }
    /* A write in flight may already be seen in part. */
    for (struct disk_write *write = inode->writes; write; write = write->next) {
        for (size_t i = 0; !write->complete && write->writable && i < sector_count(write); i++) {
            uint64_t sector_at = write->offset + i * SECTOR;
            if (sector_at + SECTOR > offset && sector_at < offset + bytes && sim_below(4) == 0) {
                write_show(write, i);
            }
        }
    }
    size_t there = offset < inode->live.bytes ? (size_t)(inode->live.bytes - offset) : 0;
    size_t count = bytes < there ? bytes : there;
    if (count) {
        image_get(&inode->live, offset, at, count);
    }
    *ret_bytes = count;
    return BK_OK;
}

enum bk_err file_write(int file, const void *at, size_t bytes, uint64_t offset)
{
    struct open_file *open = file_get(file);
    direct_check(open, at, bytes, offset);
    sim_check(open->flags & FILE_WRITE, "file %d is not open for writing", file);
    struct disk_write *write = write_add(open->inode, at, bytes, offset);
    write->writable = true;
    enum bk_err err = blocking_op();
    if (err == BK_OK && !space_for(open->inode, offset + bytes)) {
        err = BK_NO_SPACE;
    }
    if (err == BK_NO_SPACE) {
        write_remove(write);
        return err;
    }
    if (err != BK_OK) {
        write_scatter(write);
        return err;
    }
    write_show_all(write);
    write->complete = true;
    return BK_OK;
}

enum bk_err file_allocate(int file, uint64_t bytes)
{
    struct open_file *open = file_get(file);
    enum bk_err err = blocking_op();
    if (err == BK_OK && !space_for(open->inode, bytes)) {
        err = BK_NO_SPACE;
    }
    if (err == BK_OK && bytes > open->inode->live.bytes) {
        image_resize(&open->inode->live, bytes);
    }
    return err;
}

/* Like writing zeros; sometimes the device cannot. */
enum bk_err file_zero(int file, uint64_t offset, uint64_t bytes)
{
    struct open_file *open = file_get(file);
    sim_check(offset + bytes <= open->inode->live.bytes, "zeroing behind the end of a file");
    if (!sim_config()->disk_zeroes) {
        return BK_UNSUPPORTED;
    }
    struct disk_write *write = write_add(open->inode, NULL, (size_t)bytes, offset);
    write->writable = true;
    enum bk_err err = blocking_op();
    if (err != BK_OK) {
        write_scatter(write);
        return err;
    }
    write_show_all(write);
    write->complete = true;
    return BK_OK;
}

enum bk_err file_truncate(int file, uint64_t bytes)
{
    struct open_file *open = file_get(file);
    enum bk_err err = blocking_op();
    if (err == BK_OK && !space_for(open->inode, bytes)) {
        err = BK_NO_SPACE;
    }
    if (err == BK_OK) {
        image_resize(&open->inode->live, bytes);
    }
    return err;
}

enum bk_err file_sync(int file)
{
    struct inode *inode = file_get(file)->inode;
    /* Only what was written before the call is promised; what comes during it may or may not be. */
    struct disk_write *last = inode->writes;
    while (last && last->next) {
        last = last->next;
    }
    uint64_t bytes = inode->live.bytes;
    enum bk_err err = blocking_op();
    if (err != BK_OK) {
        /* The kernel drops dirty pages: they can still be read, but no later sync brings them to
         * the disk. */
        for (struct disk_write *lost = inode->writes; lost && !disk.dead; lost = lost->next) {
            for (size_t i = 0; lost->complete && i < sector_count(lost); i++) {
                if (sim_below(2)) {
                    lost->sectors[i] = SECTOR_SETTLED;
                }
            }
        }
        return err;
    }
    struct disk_write *write = inode->writes;
    while (write) {
        struct disk_write *next = write == last ? NULL : write->next;
        if (write->complete) {
            sectors_put(write, SECTOR_SHOWN, &inode->durable);
            write_remove(write);
        }
        write = next;
    }
    if (inode->live.bytes == bytes || inode->durable.bytes < bytes) {
        image_resize(&inode->durable, bytes);
    }
    return BK_OK;
}

enum bk_err file_rename(const char *from, const char *to)
{
    struct name *source = name_find(from, false);
    if (!source || !source->live || !parent_there(to)) {
        return BK_NOT_FOUND;
    }
    enum bk_err err = blocking_op();
    if (err != BK_OK) {
        return err;
    }
    if (!source->live) {
        return BK_NOT_FOUND;
    }
    struct name *target = name_find(to, true);
    if (target != source) {
        change_add(source, target, source->live);
    }
    return BK_OK;
}

enum bk_err file_unlink(const char *path)
{
    struct name *name = name_find(path, false);
    if (!name || !name->live) {
        return BK_NOT_FOUND;
    }
    enum bk_err err = blocking_op();
    if (err == BK_OK && name->live) {
        change_add(name, NULL, NULL);
    }
    return err;
}

enum bk_err file_mode(const char *path, unsigned *ret_mode)
{
    const struct name *name = name_find(path, false);
    if (!name || !name->live) {
        return BK_NOT_FOUND;
    }
    *ret_mode = name->live->directory ? 0700 : 0600;
    return BK_OK;
}

enum bk_err file_in_place(const char *path)
{
    (void)path;
    return BK_UNSUPPORTED;
}

enum bk_err directory_make(const char *path)
{
    if (directory_there(path)) {
        return BK_OK;
    }
    struct name *name = name_find(path, true);
    if (name->live) {
        return BK_EXISTS;
    }
    if (!parent_there(path)) {
        return BK_NOT_FOUND;
    }
    enum bk_err err = blocking_op();
    if (err == BK_OK) {
        change_add(NULL, name, inode_make(true));
    }
    return err;
}

enum bk_err directory_sync(const char *path)
{
    char clean[PATH_BYTES_MAX];
    path_clean(path, clean);
    if (!directory_there(clean)) {
        return BK_NOT_FOUND;
    }
    size_t count = disk.change_count; /* what comes during the sync is not promised */
    enum bk_err err = blocking_op();
    if (err != BK_OK) {
        return err;
    }
    bk_assert(count <= disk.change_count);
    size_t kept = 0;
    for (size_t i = 0; i < disk.change_count; i++) {
        if (i < count && strcmp(disk.changes[i].directory, clean) == 0) {
            change_settle(&disk.changes[i]);
        } else {
            disk.changes[kept++] = disk.changes[i];
        }
    }
    disk.change_count = kept;
    inodes_sweep();
    names_sweep();
    return BK_OK;
}

static int name_order(const void *a, const void *b)
{
    return strcmp((*(const struct name *const *)a)->path, (*(const struct name *const *)b)->path);
}

/* Directories list in no order that one may rely on. */
enum bk_err directory_list(const char *path, directory_entry_fn *entry, void *context)
{
    char clean[PATH_BYTES_MAX], directory[PATH_BYTES_MAX];
    const struct name *found[NAMES_MAX];
    unsigned count = 0;
    path_clean(path, clean);
    if (!directory_there(clean)) {
        return BK_NOT_FOUND;
    }
    if (disk.dead || sim_chance(sim_config()->read_fail)) {
        return BK_IO;
    }
    for (unsigned i = 0; i < disk.name_count; i++) {
        path_directory(disk.names[i]->path, directory);
        if (disk.names[i]->live && strcmp(directory, clean) == 0) {
            found[count++] = disk.names[i];
        }
    }
    qsort(found, count, sizeof found[0], name_order);
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)sim_below(i);
        const struct name *swap = found[i - 1];
        found[i - 1] = found[j];
        found[j] = swap;
    }
    for (unsigned i = 0; i < count; i++) {
        const char *slash = strrchr(found[i]->path, '/');
        entry(slash ? slash + 1 : found[i]->path, context);
    }
    return BK_OK;
}

enum bk_err file_system_space(const char *path, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes)
{
    uint64_t total = sim_config()->disk_bytes ? sim_config()->disk_bytes : 1ULL << 40;
    uint64_t used = sim_disk_used();
    (void)path;
    *ret_free_bytes = used < total ? total - used : 0;
    *ret_total_bytes = total;
    return BK_OK;
}

enum bk_err file_lock(int file)
{
    struct open_file *open = file_get(file);
    if (open->holds_lock) {
        return BK_OK;
    }
    if (open->inode->locked) {
        return BK_BUSY;
    }
    open->inode->locked = true;
    open->holds_lock = true;
    return BK_OK;
}

enum bk_err file_lock_wait(int file, uint64_t patience_ns)
{
    (void)patience_ns;
    return file_lock(file);
}

enum bk_err file_read_all(const char *path, size_t bytes_max, char **ret_text, size_t *ret_bytes)
{
    int file;
    enum bk_err err = file_open(path, FILE_READ, &file);
    if (err != BK_OK) {
        return err;
    }
    uint64_t bytes = 0;
    err = file_bytes(file, &bytes);
    if (err == BK_OK && bytes > bytes_max) {
        err = BK_TOO_LARGE;
    }
    if (err == BK_OK) {
        char *text = malloc((size_t)bytes + 1);
        size_t got = 0;
        bk_assert(text);
        err = file_read(file, text, (size_t)bytes, 0, &got);
        if (err == BK_OK) {
            text[got] = '\0';
            *ret_text = text;
            if (ret_bytes) {
                *ret_bytes = got;
            }
        } else {
            free(text);
        }
    }
    file_close(file);
    return err;
}

enum bk_err file_replace(const char *path, const void *at, size_t bytes)
{
    char temporary[PATH_BYTES_MAX + 8], directory[PATH_BYTES_MAX], clean[PATH_BYTES_MAX];
    path_clean(path, clean);
    path_directory(clean, directory);
    snprintf(temporary, sizeof temporary, "%s.new", clean);
    int file;
    enum bk_err err = file_open(temporary, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
    if (err != BK_OK) {
        return err;
    }
    err = file_write(file, at, bytes, 0);
    err = err == BK_OK ? file_sync(file) : err;
    file_close(file);
    err = err == BK_OK ? file_rename(temporary, clean) : err;
    return err == BK_OK ? directory_sync(directory) : err;
}

/* ---- below ring_write() */

struct disk_write *disk_write_begin(int file, const void *at, size_t bytes, uint64_t offset,
                                    bool durable)
{
    struct open_file *open = file_get(file);
    struct disk_write *write = write_add(open->inode, at, bytes, offset);
    write->durable = durable;
    write->writable = (open->flags & FILE_WRITE) != 0;
    write->due_ns = sim_now_ns() + disk_delay() + sim_config()->flush_us * US;
    open->inode->open_count++; /* a write in flight keeps the file */
    return write;
}

uint64_t disk_write_due(const struct disk_write *write)
{
    return write->due_ns;
}

/* The end of a write that failed or was cut off: what is in place is anybody's guess. */
static void write_forget(struct disk_write *write)
{
    write->inode->open_count--;
    write->durable = false;
    if (write->writable) {
        write_scatter(write);
    } else {
        write_remove(write);
    }
}

int32_t disk_write_finish(struct disk_write *write, const void *at)
{
    sim_check(write_is(write, at), "the bytes of a write changed in flight");
    int32_t value = (int32_t)write->bytes;
    if (!write->writable) {
        write_forget(write);
        return -BK_CLOSED;
    }
    enum bk_err err = op_fate(sim_config()->write_fail);
    if (err == BK_OK && !space_for(write->inode, write->offset + write->bytes)) {
        err = BK_NO_SPACE;
    }
    if (err != BK_OK) {
        write_forget(write);
        return -(int32_t)err;
    }
    if (sim_chance(sim_config()->write_short) && write->bytes > 4096) {
        value = (int32_t)(4096 * sim_between(1, write->bytes / 4096 - 1));
        write_forget(write);
        return value;
    }
    write_show_all(write);
    write->complete = true;
    write->inode->open_count--;
    if (write->durable) {
        write_settle(write);
    }
    return value;
}

void disk_write_abandon(struct disk_write *write)
{
    write_forget(write);
}

/* ---- crashes */

/* A file has one name, whatever order its renames came in. */
static void only_name(const struct inode *inode)
{
    for (unsigned i = 0; inode && i < disk.name_count; i++) {
        if (disk.names[i]->durable == inode) {
            disk.names[i]->durable = NULL;
        }
    }
}

static void changes_crash(void)
{
    uint64_t prefix = sim_below(disk.change_count + 1);
    for (size_t i = 0; i < disk.change_count; i++) {
        bool kept = sim_config()->metadata_unordered ? sim_below(2) == 0 : i < prefix;
        if (kept) {
            only_name(disk.changes[i].inode);
            change_settle(&disk.changes[i]);
        }
    }
    disk.change_count = 0;
    for (unsigned i = 0; i < disk.name_count; i++) {
        disk.names[i]->live = disk.names[i]->durable;
    }
    /* A directory that is lost takes everything in it along. Paths are short: few levels. */
    for (unsigned level = 0; level < 8; level++) {
        for (unsigned i = 0; i < disk.name_count; i++) {
            if (disk.names[i]->live && !parent_there(disk.names[i]->path)) {
                disk.names[i]->live = disk.names[i]->durable = NULL;
            }
        }
    }
}

static void inode_crash(struct inode *inode)
{
    /* Size first: grown or shrunk without a sync, it may be either. */
    uint64_t live_bytes = inode->live.bytes;
    if (live_bytes != inode->durable.bytes && sim_below(2)) {
        image_resize(&inode->durable, live_bytes);
    }
    while (inode->writes) {
        struct disk_write *write = inode->writes;
        struct tear tear = tear_choose(write);
        for (size_t i = 0; i < sector_count(write); i++) {
            if (write->sectors[i] != SECTOR_SETTLED && write->writable && tear_keeps(&tear, i)) {
                sector_put(write, i, &inode->durable);
            }
        }
        write_remove(write);
    }
    image_copy(&inode->live, &inode->durable);
    inode->locked = false;
}

static void disk_all_closed(void)
{
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        sim_check(disk.open[i].references == 0, "file %u is still open at a crash", i);
    }
}

void sim_disk_crash(void)
{
    disk_all_closed();
    changes_crash();
    inodes_sweep();
    for (struct inode *inode = disk.inodes; inode; inode = inode->next) {
        inode_crash(inode);
    }
    disk.dead = false;
    disk.cut_at = disk.fail_at = 0;
    sim_log("disk crashed and came back");
    for (unsigned i = 0; i < disk.name_count; i++) {
        if (disk.names[i]->live) {
            sim_log("  %s, %llu bytes", disk.names[i]->path,
                    (unsigned long long)disk.names[i]->live->live.bytes);
        }
    }
}

void sim_disk_restart(void)
{
    disk_all_closed();
    for (struct inode *inode = disk.inodes; inode; inode = inode->next) {
        inode->locked = false;
    }
    disk.dead = false;
    disk.cut_at = disk.fail_at = 0;
}

bool sim_disk_flip(const char *path, uint64_t offset, unsigned bit)
{
    struct name *name = name_find(path, false);
    if (!name || !name->live || offset >= name->live->live.bytes) {
        return false;
    }
    uint8_t mask = (uint8_t)(1U << bit % 8);
    page_own(&name->live->live.pages[offset / PAGE_BYTES])[offset % PAGE_BYTES] ^= mask;
    if (offset < name->live->durable.bytes) {
        page_own(&name->live->durable.pages[offset / PAGE_BYTES])[offset % PAGE_BYTES] ^= mask;
    }
    return true;
}

void sim_disk_each(void (*each)(const char *path, uint64_t bytes, void *context), void *context)
{
    for (unsigned i = 0; i < disk.name_count; i++) {
        if (disk.names[i]->live && !disk.names[i]->live->directory) {
            each(disk.names[i]->path, disk.names[i]->live->live.bytes, context);
        }
    }
}

void disk_begin(void)
{
    memset(&disk, 0, sizeof disk);
}

void disk_end(void)
{
    disk_all_closed();
    while (disk.inodes) {
        struct inode *next = disk.inodes->next;
        inode_free(disk.inodes);
        disk.inodes = next;
    }
    for (unsigned i = 0; i < disk.name_count; i++) {
        free(disk.names[i]);
    }
    free(disk.changes);
    memset(&disk, 0, sizeof disk);
}
