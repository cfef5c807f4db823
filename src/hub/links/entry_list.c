/* entry_list.c - entries found by team, user, status and canvas; contract in links/entry.h. */
#include "base/hex.h"
#include "base/json.h"
#include "hub/links/entry_private.h"
#include "hub/operations/integration_view.h"

#include <stdlib.h>

#define LIST_SEEKS_MAX 20000U /* of one call; then `next` goes on */
#define FILL_MAX       256U

/* ---- indexes: "X/" what, text \0, ~number: the newest first */

static const struct {
    char by;
    const char *member;
    size_t at; /* in struct entries_query */
} marks[] = {{'t', "team", offsetof(struct entries_query, team)},
             {'u', "user", offsetof(struct entries_query, user)},
             {'s', "status", offsetof(struct entries_query, status)},
             {'c', "canvasId", offsetof(struct entries_query, canvas)}};

static enum bk_err change_rows(struct store_txn *txn, uint64_t number, struct slice json, bool put)
{
    struct integration_view entry;
    enum bk_err err = integration_view_open(json, &entry);
    if (err != BK_OK) {
        return err;
    }
    for (unsigned i = 0; err == BK_OK && i < bk_array_length(marks); i++) {
        struct slice text = integration_text(&entry, marks[i].member);
        struct key key;
        if (text.bytes == 0 || text.bytes > NAME_BYTES_MAX) {
            continue;
        }
        key_entries_by(&key, marks[i].by, text);
        key_add_u64(&key, ~number);
        err =
            put ? store_put(txn, key_slice(&key), SLICE_EMPTY) : store_delete(txn, key_slice(&key));
    }
    integration_view_close(&entry);
    return err;
}

/* The JSON may be the store's own: its slices end with the first write. */
static enum bk_err change_copy(struct store_txn *txn, uint64_t number, struct slice json, bool put)
{
    struct buf copy;
    buf_init(&copy, 1U << 20);
    buf_add_slice(&copy, json);
    enum bk_err err =
        copy.overflow ? BK_TOO_LARGE : change_rows(txn, number, buf_slice(&copy), put);
    buf_fini(&copy);
    return err;
}

enum bk_err entry_index_put(struct store_txn *txn, uint64_t number, struct slice json)
{
    return change_copy(txn, number, json, true);
}

enum bk_err entry_index_drop(struct store_txn *txn, uint64_t number, struct slice json)
{
    return change_copy(txn, number, json, false);
}

/* ---- an older store's */

struct fill {
    unsigned count;
    uint64_t numbers[FILL_MAX];
};

static bool take_number(void *context, struct slice key, struct slice value)
{
    struct fill *fill = context;
    (void)value;
    if (key.bytes == 10) {
        fill->numbers[fill->count++] = key_get_u64(key.at + 2);
    }
    return fill->count < FILL_MAX;
}

enum bk_err entry_index_fill(struct store_txn *txn)
{
    struct fill fill = {.count = 0};
    struct key prefix, from;
    struct slice json;
    enum bk_err err = store_get(txn, KEY_ENTRY_INDEXES, &json);
    if (err != BK_NOT_FOUND) {
        return err;
    }
    key_start(&prefix, 'w');
    from = prefix;
    do {
        fill.count = 0;
        err = store_walk(txn, key_slice(&prefix), key_slice(&from), take_number, &fill);
        for (unsigned i = 0; err == BK_OK && i < fill.count; i++) {
            err = entry_stored(txn, fill.numbers[i], &json);
            err = err == BK_OK ? entry_index_put(txn, fill.numbers[i], json) : err;
        }
        if (fill.count > 0) {
            key_entry(&from, fill.numbers[fill.count - 1] + 1);
        }
    } while (err == BK_OK && fill.count == FILL_MAX);
    return err == BK_OK ? store_put(txn, KEY_ENTRY_INDEXES, SLICE("1")) : err;
}

/* ---- lists: all the rows that are asked for, walked together from the newest to the oldest */

struct search {
    struct store_txn *txn;
    struct key prefixes[bk_array_length(marks)]; /* none: all entries */
    unsigned count;
    unsigned seeks;
    enum bk_err err;
};

static bool first_number(void *context, struct slice key, struct slice value)
{
    (void)value;
    *(uint64_t *)context = key.bytes >= 8 ? ~key_get_u64(key.at + key.bytes - 8) : 0;
    return false;
}

/* The newest that is no newer than this one; 0 = there is none. */
static uint64_t seek(struct search *search, const struct key *prefix, uint64_t number)
{
    struct key from = *prefix;
    uint64_t found = 0;
    key_add_u64(&from, ~number);
    search->seeks++;
    search->err =
        store_walk(search->txn, key_slice(prefix), key_slice(&from), first_number, &found);
    return search->err == BK_OK ? found : 0;
}

/* The newest that all rows have, no newer than this one. Where the seeks are used up it is one that
 * none before it was: *ret_all is false. */
static uint64_t next_of_all(struct search *search, uint64_t number, bool *ret_all)
{
    unsigned agreed = 0;
    *ret_all = true;
    for (unsigned i = 0; agreed < search->count && number > 0; i = (i + 1) % search->count) {
        if (search->seeks >= LIST_SEEKS_MAX) {
            *ret_all = false;
            return number;
        }
        uint64_t found = seek(search, &search->prefixes[i], number);
        agreed = found == number ? agreed + 1 : 1;
        number = found;
    }
    return number;
}

/* False: a text that no entry can have. */
static bool search_begin(struct search *search, const struct entries_query *query)
{
    for (unsigned i = 0; i < bk_array_length(marks); i++) {
        const struct slice *text = (const void *)((const char *)query + marks[i].at);
        if (text->bytes > NAME_BYTES_MAX ||
            memchr(text->at ? text->at : (const uint8_t *)"", 0, text->bytes)) {
            return false;
        }
        if (text->bytes > 0) {
            key_entries_by(&search->prefixes[search->count++], marks[i].by, *text);
        }
    }
    return true;
}

enum bk_err entries_list_json(struct hub *hub, const struct entries_query *query, struct buf *json)
{
    struct search search = {.err = BK_OK};
    struct slice value;
    struct hub_born born = {0};
    uint64_t number = 0;
    unsigned found = 0;
    bool all = true;
    enum bk_err err = store_read(hub->store, &search.txn);
    if (err != BK_OK) {
        return err;
    }
    err = store_number(search.txn, KEY_ENTRY_NUMBER, &number);
    number = query->before > 0 && query->before <= number ? query->before - 1 : number;
    number = search_begin(&search, query) ? number : 0;
    if (err == BK_OK && query->canvas.bytes > 0) {
        err = hub_born(search.txn, query->canvas, &born);
    }
    buf_add_str(json, "{\"items\":[");
    while (err == BK_OK && found < query->limit && search.seeks < LIST_SEEKS_MAX) {
        number = next_of_all(&search, number, &all);
        if (number <= born.entry) {
            number = 0;
        }
        if (number == 0 || !all) {
            break;
        }
        err = entry_stored(search.txn, number, &value);
        if (err == BK_OK) {
            buf_add_str(json, found++ > 0 ? "," : "");
            buf_add_slice(json, value);
        }
        search.seeks += err == BK_NOT_FOUND;
        err = err == BK_NOT_FOUND ? search.err : err; /* it was deleted */
        number--;
    }
    buf_add_byte(json, ']');
    if (number > 0) {
        buf_printf(json, ",\"next\":\"%llu\"", (unsigned long long)number + 1);
    }
    buf_add_byte(json, '}');
    store_read_end(search.txn);
    err = err == BK_OK ? search.err : err;
    return err == BK_OK && json->overflow ? BK_TOO_LARGE : err;
}

/* ---- one */

enum bk_err entry_find(struct store_txn *txn, struct slice id, uint64_t *ret_number,
                       struct slice *ret_json)
{
    struct slice value;
    struct key key;
    uint8_t bytes[16];
    if (!hex_decode(id, bytes, sizeof bytes)) {
        return BK_NOT_FOUND;
    }
    key_entry_id(&key, bytes);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK) {
        *ret_number = value.bytes == 8 ? key_get_u64(value.at) : 0;
        err = entry_stored(txn, *ret_number, ret_json);
    }
    return err;
}

bool entry_is_of(struct store_txn *txn, uint64_t number, struct slice entry_canvas,
                 struct slice canvas)
{
    struct hub_born born;
    return slice_equal(entry_canvas, canvas) && hub_born(txn, canvas, &born) == BK_OK &&
           number > born.entry;
}

static bool is_shown(struct store_txn *txn, uint64_t number, struct slice json, struct slice canvas)
{
    struct integration_view view;
    if (canvas.bytes == 0) {
        return true;
    }
    if (integration_view_open(json, &view) != BK_OK) {
        return false;
    }
    bool shown = entry_is_of(txn, number, integration_text(&view, "canvasId"), canvas);
    integration_view_close(&view);
    return shown;
}

enum bk_err entries_get_json(struct hub *hub, struct slice id, struct slice canvas,
                             struct buf *json)
{
    struct store_txn *txn;
    struct slice value;
    uint64_t number;
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = entry_find(txn, id, &number, &value);
    if (err == BK_OK) {
        err = is_shown(txn, number, value, canvas) ? BK_OK : BK_NOT_FOUND;
    }
    if (err == BK_OK) {
        buf_add_slice(json, value);
    }
    store_read_end(txn);
    return err;
}
