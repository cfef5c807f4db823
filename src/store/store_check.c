#include "store/store_check.h"

#include "ring/file.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

/* LMDB's file, version 1, as a machine of 64 bits writes it: numbers are the machine's own. */
#define MAGIC        0xBEEFC0DEU
#define DATA_VERSION 1U
#define HEAD_BYTES   16U
#define META_BYTES   (HEAD_BYTES + 136U)
#define NODE_BYTES   8U
#define DEPTH_MAX    32U
#define NO_PAGE      UINT64_MAX
#define FIRST_PAGE   2U /* the two before it are the meta pages */

#define PAGE_BRANCH   0x01U
#define PAGE_LEAF     0x02U
#define PAGE_OVERFLOW 0x04U
#define PAGE_META     0x08U
#define NODE_OVERFLOW 0x01U
#define TREE_INTEGERS 0x08U

_Static_assert(sizeof(size_t) == 8, "page numbers have 64 bits");

struct tree {
    bool is_free_list;
    unsigned flags, depth;
    uint64_t root;
};

struct check {
    int file;
    uint64_t file_bytes;
    uint32_t page_bytes;
    uint64_t last_page, txn;
    struct tree trees[2]; /* free pages, ours */
    uint8_t *seen;        /* a bit for each page: something leads to it */
    uint8_t *taken;       /* a byte for each two bytes of the page in hand */
    uint8_t *pages;       /* the way down to it */
    char *why;
};

struct node {
    const uint8_t *at;
    uint64_t bytes; /* of its value; in a branch: the page below */
    unsigned flags, key_bytes, stored_bytes;
};

static uint16_t get_u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static enum bk_err damaged(struct check *check, uint64_t page, const char *what)
{
    snprintf(check->why, STORE_CHECK_WHY_BYTES, "page %llu: %s", (unsigned long long)page, what);
    return BK_CORRUPT;
}

static enum bk_err read_at(struct check *check, uint64_t page, void *at, size_t bytes,
                           uint64_t offset)
{
    size_t count = 0;
    enum bk_err err = file_read(check->file, at, bytes, offset, &count);
    if (err != BK_OK) {
        snprintf(check->why, STORE_CHECK_WHY_BYTES, "page %llu cannot be read: %s",
                 (unsigned long long)page, bk_err_text(err));
        return err;
    }
    return count == bytes ? BK_OK : damaged(check, page, "the file ends before it");
}

/* Nothing may lead to a page twice: one of the two would be overwritten. */
static enum bk_err claim(struct check *check, uint64_t page)
{
    if (page < FIRST_PAGE || page > check->last_page) {
        return damaged(check, page, "there is no such page, but something leads to it");
    }
    uint8_t bit = (uint8_t)(1U << (page & 7));
    if (check->seen[page >> 3] & bit) {
        return damaged(check, page, "two things lead to it");
    }
    check->seen[page >> 3] |= bit;
    return BK_OK;
}

/* ---- the meta pages */

static struct tree tree_of(const uint8_t *at, bool is_free_list)
{
    return (struct tree){.is_free_list = is_free_list,
                         .flags = get_u16(at + 4),
                         .depth = get_u16(at + 6),
                         .root = get_u64(at + 40)};
}

static enum bk_err read_meta(struct check *check, unsigned page)
{
    uint8_t head[META_BYTES];
    const uint8_t *meta = head + HEAD_BYTES;
    enum bk_err err = read_at(check, page, head, sizeof head, page * (uint64_t)check->page_bytes);
    if (err != BK_OK) {
        return err;
    }
    uint32_t page_bytes = get_u32(meta + 24);
    if ((get_u16(head + 10) & PAGE_META) == 0 || get_u32(meta) != MAGIC) {
        return damaged(check, page, "it is no head of a store");
    }
    if (get_u32(meta + 4) != DATA_VERSION) {
        return BK_OK; /* LMDB says so in its own words */
    }
    if (page_bytes < 512 || page_bytes > 65536 || (page_bytes & (page_bytes - 1)) != 0 ||
        (page > 0 && page_bytes != check->page_bytes)) {
        return damaged(check, page, "the size of pages is none");
    }
    check->page_bytes = page_bytes;
    /* The newer one counts. */
    if (page > 0 && get_u64(meta + 128) <= check->txn) {
        return BK_OK;
    }
    check->txn = get_u64(meta + 128);
    check->last_page = get_u64(meta + 120);
    check->trees[0] = tree_of(meta + 24, true);
    check->trees[1] = tree_of(meta + 72, false);
    if (check->last_page >= STORE_MAP_BYTES_MAX / page_bytes || get_u64(meta + 8) != 0 ||
        check->trees[0].flags != TREE_INTEGERS || check->trees[1].flags != 0) {
        return damaged(check, page, "what it says of the store cannot be");
    }
    return BK_OK;
}

/* ---- free pages */

/* A list: how many, then their numbers, the highest first. There may be room behind. */
static enum bk_err check_free(struct check *check, uint64_t page, const uint8_t *list,
                              uint64_t bytes)
{
    uint64_t count = bytes < 8 ? 0 : get_u64(list);
    if (bytes < 8 || bytes % 8 != 0 || count > bytes / 8 - 1) {
        return damaged(check, page, "a list of free pages has a wrong length");
    }
    uint64_t before = NO_PAGE;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t free_page = get_u64(list + 8 * i);
        enum bk_err err = free_page < before ? claim(check, free_page)
                                             : damaged(check, page, "free pages are in disorder");
        if (err != BK_OK) {
            return err;
        }
        before = free_page;
    }
    return BK_OK;
}

/* ---- trees */

static enum bk_err check_overflow(struct check *check, const struct tree *tree, uint64_t page,
                                  uint64_t bytes)
{
    uint8_t head[HEAD_BYTES];
    uint64_t offset = page * check->page_bytes;
    uint64_t want = (HEAD_BYTES - 1 + bytes) / check->page_bytes + 1;
    enum bk_err err = claim(check, page);
    if (err == BK_OK) {
        err = read_at(check, page, head, sizeof head, offset);
    }
    if (err != BK_OK) {
        return err;
    }
    uint64_t count = get_u32(head + 12);
    if (get_u64(head) != page || get_u16(head + 10) != PAGE_OVERFLOW || count < want) {
        return damaged(check, page, "it is not the long value that it should be");
    }
    if (count > check->file_bytes / check->page_bytes - page) {
        return damaged(check, page, "the file ends in the middle of a long value");
    }
    for (uint64_t i = 1; err == BK_OK && i < count; i++) {
        err = claim(check, page + i);
    }
    if (err != BK_OK || !tree->is_free_list) {
        return err;
    }
    uint8_t *list = malloc(bytes);
    err = list ? read_at(check, page, list, bytes, offset + HEAD_BYTES) : BK_NO_MEMORY;
    if (err == BK_OK) {
        err = check_free(check, page, list, bytes);
    }
    free(list);
    return err;
}

static bool node_read(struct check *check, const uint8_t *page, unsigned index, bool is_leaf,
                      struct node *ret_node)
{
    unsigned upper = get_u16(page + 14);
    unsigned from = get_u16(page + HEAD_BYTES + 2 * (size_t)index);
    if (from < upper || from % 2 != 0 || from + NODE_BYTES > check->page_bytes) {
        return false;
    }
    struct node *node = ret_node;
    node->at = page + from;
    node->bytes = (uint64_t)get_u16(node->at) | (uint64_t)get_u16(node->at + 2) << 16;
    node->flags = get_u16(node->at + 4);
    node->key_bytes = get_u16(node->at + 6);
    node->stored_bytes = 0;
    if (!is_leaf) {
        node->bytes |= (uint64_t)node->flags << 32;
    } else if (node->flags & NODE_OVERFLOW) {
        node->stored_bytes = 8;
    } else if (node->bytes <= check->page_bytes) {
        node->stored_bytes = (unsigned)node->bytes;
    } else {
        return false;
    }
    unsigned bytes = NODE_BYTES + node->key_bytes + node->stored_bytes;
    if ((is_leaf && (node->flags & ~NODE_OVERFLOW) != 0) || node->key_bytes > STORE_KEY_BYTES_MAX ||
        bytes > check->page_bytes - from) {
        return false;
    }
    /* One over another would be torn when the other one goes. */
    for (unsigned i = from / 2; i < (from + bytes + 1) / 2; i++) {
        if (check->taken[i]) {
            return false;
        }
        check->taken[i] = 1;
    }
    return true;
}

static bool keys_ascend(const struct tree *tree, const struct node *before, const struct node *node)
{
    const uint8_t *a = before->at + NODE_BYTES, *b = node->at + NODE_BYTES;
    if (tree->is_free_list) {
        return before->key_bytes == 8 && node->key_bytes == 8 && get_u64(a) < get_u64(b);
    }
    unsigned common = before->key_bytes < node->key_bytes ? before->key_bytes : node->key_bytes;
    int order = memcmp(a, b, common);
    return order < 0 || (order == 0 && before->key_bytes < node->key_bytes);
}

static enum bk_err check_value(struct check *check, const struct tree *tree, uint64_t page,
                               const struct node *node)
{
    const uint8_t *value = node->at + NODE_BYTES + node->key_bytes;
    if (node->key_bytes == 0 ||
        (tree->is_free_list &&
         (node->key_bytes != 8 || get_u64(node->at + NODE_BYTES) > check->txn))) {
        return damaged(check, page, "a key of it cannot be");
    }
    if (node->flags & NODE_OVERFLOW) {
        return check_overflow(check, tree, get_u64(value), node->bytes);
    }
    return tree->is_free_list ? check_free(check, page, value, node->bytes) : BK_OK;
}

/* A page `level` steps below the root, and all below it. */
static enum bk_err check_page(struct check *check, const struct tree *tree, uint64_t page,
                              unsigned level)
{
    uint8_t *at = check->pages + (size_t)level * check->page_bytes;
    bool is_leaf = level + 1 == tree->depth;
    enum bk_err err = claim(check, page);
    if (err == BK_OK) {
        err = read_at(check, page, at, check->page_bytes, page * check->page_bytes);
    }
    if (err != BK_OK) {
        return err;
    }
    unsigned lower = get_u16(at + 12), upper = get_u16(at + 14);
    if (get_u64(at) != page || get_u16(at + 10) != (is_leaf ? PAGE_LEAF : PAGE_BRANCH) ||
        lower < HEAD_BYTES + (is_leaf || tree->is_free_list ? 2U : 4U) || lower % 2 != 0 ||
        lower > upper || upper > check->page_bytes) {
        return damaged(check, page, "it is not the page that it should be");
    }
    unsigned count = (lower - HEAD_BYTES) / 2;
    struct node before = {0}, node;
    memset(check->taken, 0, check->page_bytes / 2);
    for (unsigned i = 0; err == BK_OK && i < count; i++) {
        if (!node_read(check, at, i, is_leaf, &node)) {
            return damaged(check, page, "an entry of it is not inside of it");
        }
        /* The first key of a branch is never looked at. */
        if (i > (is_leaf ? 0U : 1U) && !keys_ascend(tree, &before, &node)) {
            return damaged(check, page, "its keys are in disorder");
        }
        before = node;
        err = is_leaf ? check_value(check, tree, page, &node) : BK_OK;
    }
    for (unsigned i = 0; err == BK_OK && !is_leaf && i < count; i++) {
        const uint8_t *below = at + get_u16(at + HEAD_BYTES + 2 * (size_t)i);
        err = check_page(check, tree,
                         (uint64_t)get_u16(below) | (uint64_t)get_u16(below + 2) << 16 |
                             (uint64_t)get_u16(below + 4) << 32,
                         level + 1);
    }
    return err;
}

static enum bk_err check_tree(struct check *check, const struct tree *tree)
{
    if (tree->root == NO_PAGE) {
        return BK_OK;
    }
    if (tree->depth == 0 || tree->depth > DEPTH_MAX) {
        return damaged(check, tree->root, "it is too deep a tree's");
    }
    return check_page(check, tree, tree->root, 0);
}

static enum bk_err check_all(struct check *check)
{
    enum bk_err err = read_meta(check, 0);
    if (err == BK_OK && check->page_bytes != 0) {
        err = read_meta(check, 1);
    }
    if (err != BK_OK || check->page_bytes == 0) {
        return err;
    }
    check->seen = calloc(1, check->last_page / 8 + 1);
    check->taken = malloc(check->page_bytes / 2);
    check->pages = malloc((size_t)DEPTH_MAX * check->page_bytes);
    err = check->seen && check->taken && check->pages ? BK_OK : BK_NO_MEMORY;
    for (unsigned i = 0; err == BK_OK && i < 2; i++) {
        err = check_tree(check, &check->trees[i]);
    }
    free(check->seen);
    free(check->taken);
    free(check->pages);
    return err;
}

enum bk_err store_check(const char *path, char ret_why[STORE_CHECK_WHY_BYTES])
{
    struct check check = {.why = ret_why};
    ret_why[0] = '\0';
    enum bk_err err = file_open(path, FILE_READ, &check.file);
    if (err == BK_NOT_FOUND) {
        return BK_OK;
    }
    if (err == BK_OK) {
        err = file_bytes(check.file, &check.file_bytes);
        if (err == BK_OK && check.file_bytes > 0) {
            err = check_all(&check);
        }
        file_close(check.file);
    }
    if (err != BK_OK && ret_why[0] == '\0') {
        snprintf(ret_why, STORE_CHECK_WHY_BYTES, "%s", bk_err_text(err));
    }
    return err;
}
