/* record.h - how an object lies in the store.
 *
 * Purpose     Header, what the hot path needs in binary (`compiled`), sealed values (`slots`), and
 *             the spec as JSON in which every secret reads "***". No secret is in it in clear.
 * Ownership   A decoded record points into the bytes it was decoded from.
 * Format      u8 version | u8 kind | u16 slots | 16 id | u64 number | u64 revision | i64 created |
 *             i64 updated | u32 bytes of compiled, slots, description, spec | these four. A slot is
 *             u16 field bytes | u32 sealed bytes | field | sealed. All numbers big-endian.
 * Failure     BK_CORRUPT for bytes that record_encode cannot have written; BK_VERSION for a newer
 *             one.
 */
#ifndef BECKET_STORE_RECORD_H
#define BECKET_STORE_RECORD_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define RECORD_HEADER_BYTES 68U

struct record {
    uint8_t kind;
    unsigned slot_count;
    uint8_t id[16];
    uint64_t number; /* event sources: the journal's */
    uint64_t revision;
    int64_t created_ns;
    int64_t updated_ns;
    struct slice compiled;
    struct slice slots;
    struct slice description;
    struct slice spec;
};

struct record_slot {
    struct slice field;
    struct slice sealed;
};

enum bk_err record_decode(struct slice bytes, struct record *ret_record) BK_MUST_CHECK;
void record_encode(const struct record *record, struct buf *bytes);

/* Walk: start with *rest = record->slots. False at the end. */
bool record_slot_next(struct slice *rest, struct record_slot *ret_slot);
bool record_slot_find(const struct record *record, struct slice field,
                      struct record_slot *ret_slot);
void record_slot_add(struct buf *slots, struct slice field, struct slice sealed);

#endif
