#include "hub/people/people_index.h"

#include "base/sha256.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people.h"

#include <ctype.h>

#define HASH_BYTES 16U

/* 128 bits of it: whoever chooses names cannot make two of them the same. */
static void hash_of(struct slice text, bool any_case, uint8_t ret_hash[HASH_BYTES])
{
    uint8_t digest[SHA256_BYTES], lower[512];
    size_t bytes = text.bytes < sizeof lower ? text.bytes : sizeof lower;
    for (size_t i = 0; i < bytes; i++) {
        lower[i] = any_case ? (uint8_t)tolower(text.at[i]) : text.at[i];
    }
    sha256(slice_of(lower, bytes), digest);
    memcpy(ret_hash, digest, HASH_BYTES);
}

static const struct {
    char by;
    bool any_case;
    const char *field;
} ways[] = {{'u', false, "uid"}, {'n', true, "nickname"}, {'e', true, "email"}};

struct person {
    struct integration_view view;
    struct slice canvas, integration; /* of the integration */
};

static enum bk_err person_open(const struct record *record, struct person *ret_person)
{
    struct people_input input;
    enum bk_err err = people_input_decode(record->compiled, &input);
    if (err == BK_OK) {
        err = integration_view_open(record->spec, &ret_person->view);
    }
    if (err == BK_OK) {
        ret_person->canvas = input.integration_canvas;
        ret_person->integration = integration_text(&ret_person->view, "integration/name");
    }
    return err;
}

static bool newest_key(const struct person *person, struct slice canvas, struct slice name,
                       const struct record *record, struct key *key)
{
    struct record_slot slot;
    if (!record_slot_find(record, SLICE(PEOPLE_ACCESS), &slot)) {
        return false;
    }
    key_signed_in(key, person->canvas, person->integration, canvas);
    key_add_u64(key, ~(uint64_t)record->updated_ns);
    key_add(key, name.at, name.bytes);
    return true;
}

static bool called_key(const struct person *person, struct slice canvas, struct slice name,
                       unsigned way, struct key *key)
{
    uint8_t hash[HASH_BYTES];
    struct slice text = integration_text(&person->view, ways[way].field);
    if (text.bytes == 0) {
        return false;
    }
    hash_of(text, ways[way].any_case, hash);
    key_called(key, person->canvas, person->integration, ways[way].by, hash);
    key_add_address(key, canvas, name);
    return true;
}

static enum bk_err change(struct store_txn *txn, const struct key *key, bool put)
{
    return put ? store_put(txn, key_slice(key), SLICE_EMPTY) : store_delete(txn, key_slice(key));
}

static enum bk_err change_all(struct store_txn *txn, struct slice canvas, struct slice name,
                              const struct record *record, bool put)
{
    struct person person;
    struct key key;
    enum bk_err err = person_open(record, &person);
    if (err != BK_OK) {
        return err;
    }
    if (newest_key(&person, canvas, name, record, &key)) {
        err = change(txn, &key, put);
    }
    for (unsigned way = 0; err == BK_OK && way < bk_array_length(ways); way++) {
        if (called_key(&person, canvas, name, way, &key)) {
            err = change(txn, &key, put);
        }
    }
    integration_view_close(&person.view);
    return err;
}

enum bk_err people_index_put(struct store_txn *txn, struct slice canvas, struct slice name,
                             const struct record *record)
{
    return change_all(txn, canvas, name, record, true);
}

enum bk_err people_index_drop(struct store_txn *txn, struct slice canvas, struct slice name,
                              const struct record *record)
{
    return change_all(txn, canvas, name, record, false);
}

/* ---- looking up */

struct first {
    size_t skip;
    bool found;
    struct hub_address *address;
};

static bool take_first(void *context, struct slice key, struct slice value)
{
    struct first *first = context;
    struct slice canvas, name;
    (void)value;
    if (!hub_split(slice_skip(key, first->skip), &canvas, &name)) {
        return true;
    }
    memcpy(first->address->canvas, canvas.at, canvas.bytes);
    first->address->canvas[canvas.bytes] = '\0';
    memcpy(first->address->name, name.at, name.bytes);
    first->address->name[name.bytes] = '\0';
    first->found = true;
    return false;
}

/* Of the people behind `prefix`, one of a canvas. */
static enum bk_err first_of_canvas(struct store_txn *txn, const struct key *prefix,
                                   struct slice canvas, struct hub_address *ret_address)
{
    struct first first = {.skip = prefix->bytes, .address = ret_address};
    struct key place = *prefix;
    key_add_name(&place, canvas);
    enum bk_err err = store_walk(txn, key_slice(&place), SLICE_EMPTY, take_first, &first);
    return err == BK_OK && !first.found ? BK_NOT_FOUND : err;
}

struct newest {
    size_t skip;
    bool found;
    struct hub_address *address;
};

static bool take_newest(void *context, struct slice key, struct slice value)
{
    struct newest *newest = context;
    struct slice name = slice_skip(key, newest->skip);
    (void)value;
    newest->found = name.bytes > 0 && name.bytes <= NAME_BYTES_MAX;
    if (newest->found) {
        memcpy(newest->address->name, name.at, name.bytes);
        newest->address->name[name.bytes] = '\0';
    }
    return false;
}

static enum bk_err newest_of(struct store_txn *txn, struct slice canvas, struct slice integration,
                             struct slice own, struct hub_address *ret_address)
{
    struct key prefix;
    key_signed_in(&prefix, canvas, integration, own);
    struct newest newest = {.skip = prefix.bytes + 8, .address = ret_address};
    enum bk_err err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, take_newest, &newest);
    memcpy(ret_address->canvas, own.at, own.bytes);
    ret_address->canvas[own.bytes] = '\0';
    return err == BK_OK && !newest.found ? BK_NOT_FOUND : err;
}

enum bk_err people_index_newest(struct store_txn *txn, struct slice canvas,
                                struct slice integration, struct slice own,
                                struct hub_address *ret_address)
{
    enum bk_err err = newest_of(txn, canvas, integration, own, ret_address);
    return err == BK_NOT_FOUND && !slice_equal(own, canvas)
               ? newest_of(txn, canvas, integration, canvas, ret_address)
               : err;
}

static void start_users(struct key *prefix, struct slice canvas, struct slice integration)
{
    uint8_t kind = resource_kind_info(RESOURCE_INTEGRATION_USER)->key;
    key_users(prefix, resource_kind_info(RESOURCE_INTEGRATION)->key, canvas, integration);
    key_add(prefix, &kind, 1);
}

bool people_index_anywhere(struct store_txn *txn, struct slice canvas, struct slice integration)
{
    bool found = false;
    struct key prefix;
    start_users(&prefix, canvas, integration);
    return store_any(txn, key_slice(&prefix), &found) != BK_OK || found;
}

static bool anybody_of(struct store_txn *txn, struct slice canvas, struct slice integration,
                       struct slice own)
{
    bool found = false;
    struct key prefix;
    start_users(&prefix, canvas, integration);
    key_add_name(&prefix, own);
    return store_any(txn, key_slice(&prefix), &found) == BK_OK && found;
}

bool people_index_anybody(struct store_txn *txn, struct slice canvas, struct slice integration,
                          struct slice own)
{
    return anybody_of(txn, canvas, integration, own) ||
           (!slice_equal(own, canvas) && anybody_of(txn, canvas, integration, canvas));
}

enum bk_err people_index_find(struct store_txn *txn, struct slice canvas, struct slice integration,
                              struct slice own, const struct people_called *called,
                              struct hub_address *ret_address)
{
    const struct slice texts[] = {called->uid, called->nickname, called->email};
    enum bk_err err = BK_NOT_FOUND;
    for (unsigned way = 0; err == BK_NOT_FOUND && way < bk_array_length(ways); way++) {
        uint8_t hash[HASH_BYTES];
        struct key prefix;
        if (texts[way].bytes == 0) {
            continue;
        }
        hash_of(texts[way], ways[way].any_case, hash);
        key_called(&prefix, canvas, integration, ways[way].by, hash);
        err = first_of_canvas(txn, &prefix, own, ret_address);
        if (err == BK_NOT_FOUND && !slice_equal(own, canvas)) {
            err = first_of_canvas(txn, &prefix, canvas, ret_address);
        }
    }
    return err;
}
