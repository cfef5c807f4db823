/* Records of the store: bytes that a broken disk, or a newer version, may hand back.
 *
 * Properties: a record that decodes encodes to the same bytes, and so does a source's input (one of
 * version 1 to bytes of the present version that then stay the same); slots that are found are
 * inside the record; a sealed value opens only where it was sealed; keys come apart into what they
 * were made of. */
#include "base/assert.h"
#include "hub/hub_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct slice part, struct slice whole)
{
    return part.bytes == 0 ||
           (part.at >= whole.at && part.at + part.bytes <= whole.at + whole.bytes);
}

static void check_record(struct slice bytes)
{
    struct record record;
    if (record_decode(bytes, &record) != BK_OK) {
        return;
    }
    struct slice rest = record.slots;
    struct record_slot slot, found;
    unsigned count = 0;
    while (record_slot_next(&rest, &slot)) {
        bk_assert(inside(slot.field, bytes) && inside(slot.sealed, bytes));
        bk_assert(record_slot_find(&record, slot.field, &found));
        count++;
    }
    bk_assert(count == record.slot_count);
    struct buf again;
    buf_init(&again, 64U << 20);
    record_encode(&record, &again);
    bk_assert(slice_equal(buf_slice(&again), bytes));
    buf_fini(&again);
}

static void check_input(struct slice bytes)
{
    struct source_input input;
    if (source_input_decode(bytes, &input) != BK_OK) {
        return;
    }
    bk_assert(inside(input.path, bytes) && inside(input.type, bytes));
    bk_assert(inside(input.events_packed, bytes) || input.event_count == 0);
    struct buf again, third;
    buf_init(&again, 64U << 20);
    buf_init(&third, 64U << 20);
    source_input_encode(&input, &again);
    bk_assert(bytes.at[0] == 1 || slice_equal(buf_slice(&again), bytes));
    bk_assert(source_input_decode(buf_slice(&again), &input) == BK_OK);
    source_input_encode(&input, &third);
    bk_assert(slice_equal(buf_slice(&third), buf_slice(&again)));
    buf_fini(&third);
    buf_fini(&again);
}

static void check_seal(struct slice bytes)
{
    static const uint8_t key[AEAD_KEY_BYTES] = {7}, id[16] = {9};
    static struct seal seal;
    static bool ready;
    if (!ready) {
        seal_init(&seal, key);
        ready = true;
    }
    if (bytes.bytes > 4096) {
        return;
    }
    uint8_t *sealed = malloc(bytes.bytes + SEAL_OVERHEAD_BYTES);
    uint8_t *plain = malloc(bytes.bytes + SEAL_OVERHEAD_BYTES);
    size_t count = 0;
    bk_assert(sealed && plain);
    seal_value(&seal, id, SLICE("f"), bytes, sealed);
    struct slice box = slice_of(sealed, bytes.bytes + SEAL_OVERHEAD_BYTES);
    bk_assert(seal_open(&seal, id, SLICE("f"), box, plain, &count) == BK_OK);
    bk_assert(count == bytes.bytes && (count == 0 || memcmp(plain, bytes.at, count) == 0));
    bk_assert(seal_open(&seal, id, SLICE("g"), box, plain, &count) == BK_SEALED);
    /* The input itself was not sealed by us. */
    bk_assert(seal_open(&seal, id, SLICE("f"), bytes, plain, &count) == BK_SEALED);
    free(sealed);
    free(plain);
}

static void check_split(struct slice bytes)
{
    struct slice canvas, name;
    if (!hub_split(bytes, &canvas, &name)) {
        return;
    }
    bk_assert(canvas.bytes + 1 + name.bytes == bytes.bytes);
    struct key key;
    key_object(&key, 'E', canvas, name);
    bk_assert(slice_equal(slice_skip(key_slice(&key), 3), bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    check_record(bytes);
    check_input(bytes);
    check_seal(bytes);
    check_split(bytes);
    return 0;
}
