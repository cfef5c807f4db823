#include "store/record.h"

#include "base/assert.h"
#include "store/keys.h"

#define RECORD_VERSION 1U
#define SLOT_HEADER_BYTES 6U

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_u32(uint8_t *at, size_t number)
{
    bk_assert(number <= UINT32_MAX);
    at[0] = (uint8_t)(number >> 24);
    at[1] = (uint8_t)(number >> 16);
    at[2] = (uint8_t)(number >> 8);
    at[3] = (uint8_t)number;
}

bool record_slot_next(struct slice *rest, struct record_slot *ret_slot)
{
    if (rest->bytes < SLOT_HEADER_BYTES) {
        return false;
    }
    size_t field = (size_t)rest->at[0] << 8 | rest->at[1], sealed = get_u32(rest->at + 2);
    size_t left = rest->bytes - SLOT_HEADER_BYTES;
    if (field > left || sealed > left - field) {
        return false;
    }
    const uint8_t *at = rest->at + SLOT_HEADER_BYTES;
    ret_slot->field = slice_of(at, field);
    ret_slot->sealed = slice_of(at + field, sealed);
    rest->at = at + field + sealed;
    rest->bytes = left - field - sealed;
    return true;
}

bool record_slot_find(const struct record *record, struct slice field,
                      struct record_slot *ret_slot)
{
    struct slice rest = record->slots;
    while (record_slot_next(&rest, ret_slot)) {
        if (slice_equal(ret_slot->field, field)) {
            return true;
        }
    }
    return false;
}

void record_slot_add(struct buf *slots, struct slice field, struct slice sealed)
{
    uint8_t header[SLOT_HEADER_BYTES];
    bk_assert(field.bytes <= UINT16_MAX);
    header[0] = (uint8_t)(field.bytes >> 8);
    header[1] = (uint8_t)field.bytes;
    put_u32(header + 2, sealed.bytes);
    buf_add(slots, header, sizeof header);
    buf_add_slice(slots, field);
    buf_add_slice(slots, sealed);
}

static bool slots_whole(const struct record *record)
{
    struct slice rest = record->slots;
    struct record_slot slot;
    unsigned count = 0;
    while (record_slot_next(&rest, &slot)) {
        count++;
    }
    return rest.bytes == 0 && count == record->slot_count;
}

enum bk_err record_decode(struct slice bytes, struct record *ret_record)
{
    if (bytes.bytes < RECORD_HEADER_BYTES) {
        return BK_CORRUPT;
    }
    const uint8_t *at = bytes.at;
    if (at[0] != RECORD_VERSION) {
        return at[0] > RECORD_VERSION ? BK_VERSION : BK_CORRUPT;
    }
    ret_record->kind = at[1];
    ret_record->slot_count = (unsigned)at[2] << 8 | at[3];
    memcpy(ret_record->id, at + 4, 16);
    ret_record->number = key_get_u64(at + 20);
    ret_record->revision = key_get_u64(at + 28);
    ret_record->created_ns = (int64_t)key_get_u64(at + 36);
    ret_record->updated_ns = (int64_t)key_get_u64(at + 44);
    struct slice rest = slice_of(at + RECORD_HEADER_BYTES, bytes.bytes - RECORD_HEADER_BYTES);
    struct slice *parts[4] = {&ret_record->compiled, &ret_record->slots, &ret_record->description,
                              &ret_record->spec};
    for (unsigned i = 0; i < 4; i++) {
        size_t part = get_u32(at + 52 + 4 * i);
        if (part > rest.bytes) {
            return BK_CORRUPT;
        }
        *parts[i] = slice_of(rest.at, part);
        rest.at += part;
        rest.bytes -= part;
    }
    return rest.bytes == 0 && slots_whole(ret_record) ? BK_OK : BK_CORRUPT;
}

void record_encode(const struct record *record, struct buf *bytes)
{
    uint8_t header[RECORD_HEADER_BYTES];
    bk_assert(record->slot_count <= UINT16_MAX);
    bk_verify(slots_whole(record));
    header[0] = RECORD_VERSION;
    header[1] = record->kind;
    header[2] = (uint8_t)(record->slot_count >> 8);
    header[3] = (uint8_t)record->slot_count;
    memcpy(header + 4, record->id, 16);
    key_put_u64(header + 20, record->number);
    key_put_u64(header + 28, record->revision);
    key_put_u64(header + 36, (uint64_t)record->created_ns);
    key_put_u64(header + 44, (uint64_t)record->updated_ns);
    put_u32(header + 52, record->compiled.bytes);
    put_u32(header + 56, record->slots.bytes);
    put_u32(header + 60, record->description.bytes);
    put_u32(header + 64, record->spec.bytes);
    buf_add(bytes, header, sizeof header);
    buf_add_slice(bytes, record->compiled);
    buf_add_slice(bytes, record->slots);
    buf_add_slice(bytes, record->description);
    buf_add_slice(bytes, record->spec);
}
